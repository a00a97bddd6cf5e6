#include "mhactl/when.h"

#include <string.h>
#include <time.h>

#include "base/macros.h"
#include "base/text.h"

bool when_parse_span(const char *text, uint64_t *ms)
{
	static const struct {
		const char *suffix;
		uint64_t ms;
	} units[] = {{"ms", 1}, {"s", 1000}, {"min", 60000}, {"h", 3600000}, {"d", 86400000}};
	const size_t digits = strspn(text, "0123456789");
	char number[21];

	if (digits == 0 || digits >= sizeof(number))
		return false;
	memcpy(number, text, digits);
	number[digits] = '\0';
	if (!text_parse_u64(number, ms))
		return false;
	for (size_t i = 0; i < COUNT_OF(units); i++) {
		if (strcmp(text + digits, units[i].suffix) == 0)
			return !__builtin_mul_overflow(*ms, units[i].ms, ms);
	}
	return false;
}

static bool known_day(const char *text, uint64_t *ms)
{
	static const char *const formats[] = {"%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M",
					      "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M"};

	for (size_t i = 0; i < COUNT_OF(formats); i++) {
		struct tm parts = {.tm_isdst = -1};
		const char *rest = strptime(text, formats[i], &parts);
		bool utc = rest != NULL && strcmp(rest, "Z") == 0;
		time_t seconds;

		if (rest == NULL || (rest[0] != '\0' && !utc))
			continue;
		seconds = utc ? timegm(&parts) : mktime(&parts);
		if (seconds < 0)
			return false;
		*ms = (uint64_t)seconds * 1000;
		return true;
	}
	return false;
}

static bool time_of_day(const char *text, uint64_t now_ms, uint64_t *ms)
{
	static const char *const formats[] = {"%H:%M:%S", "%H:%M"};
	const time_t now = (time_t)(now_ms / 1000);

	for (size_t i = 0; i < COUNT_OF(formats); i++) {
		struct tm parts;
		const char *rest;
		time_t seconds;

		if (localtime_r(&now, &parts) == NULL)
			return false;
		parts.tm_sec = 0;
		parts.tm_isdst = -1;
		rest = strptime(text, formats[i], &parts);
		if (rest == NULL || rest[0] != '\0')
			continue;
		seconds = mktime(&parts);
		if (seconds <= now) {
			parts.tm_mday++;
			parts.tm_isdst = -1;
			seconds = mktime(&parts);
		}
		if (seconds <= now)
			return false;
		*ms = (uint64_t)seconds * 1000;
		return true;
	}
	return false;
}

bool when_parse_time(const char *text, uint64_t now_ms, uint64_t *ms)
{
	uint64_t span;

	if (text[0] == '+')
		return when_parse_span(text + 1, &span) &&
		       !__builtin_add_overflow(now_ms, span, ms);
	return known_day(text, ms) || time_of_day(text, now_ms, ms);
}
