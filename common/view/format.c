#include "view/format.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "base/macros.h"
#include "base/text.h"

_Static_assert(FORMAT_SIZE >= TEXT_LSN_SIZE, "an LSN fits");

const char *format_bytes(int64_t bytes, char buffer[FORMAT_SIZE])
{
	static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
	unsigned unit = 0;

	if (bytes < 0) {
		snprintf(buffer, FORMAT_SIZE, "unknown");
		return buffer;
	}
	while (bytes >= 10240 && unit < COUNT_OF(units) - 1) {
		bytes /= 1024;
		unit++;
	}
	snprintf(buffer, FORMAT_SIZE, "%" PRId64 " %s", bytes, units[unit]);
	return buffer;
}

const char *format_lsn(uint64_t lsn, char buffer[FORMAT_SIZE])
{
	return lsn == 0 ? "-" : text_format_lsn(lsn, buffer);
}

const char *format_time(uint64_t wall_ms, char buffer[FORMAT_SIZE])
{
	time_t seconds = (time_t)(wall_ms / 1000);
	struct tm parts;
	char day[24];

	if (wall_ms == 0 || gmtime_r(&seconds, &parts) == NULL ||
	    strftime(day, sizeof(day), "%Y-%m-%d %H:%M:%S", &parts) == 0)
		return "-";
	snprintf(buffer, FORMAT_SIZE, "%s.%03u UTC", day, (unsigned)(wall_ms % 1000));
	return buffer;
}

const char *format_duration(int64_t ms, char buffer[FORMAT_SIZE])
{
	int64_t s = ms / 1000;

	if (ms < 0)
		return "unknown";
	if (ms < 1000)
		snprintf(buffer, FORMAT_SIZE, "%" PRId64 " ms", ms);
	else if (s < 60)
		snprintf(buffer, FORMAT_SIZE, "%" PRId64 ".%" PRId64 " s", s, ms % 1000 / 100);
	else if (s < 3600)
		snprintf(buffer, FORMAT_SIZE, "%" PRId64 "m%02" PRId64 "s", s / 60, s % 60);
	else if (s < 86400)
		snprintf(buffer, FORMAT_SIZE, "%" PRId64 "h%02" PRId64 "m", s / 3600,
			 s % 3600 / 60);
	else
		snprintf(buffer, FORMAT_SIZE, "%" PRId64 "d%02" PRId64 "h", s / 86400,
			 s % 86400 / 3600);
	return buffer;
}
