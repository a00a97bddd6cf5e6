#include "base/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

bool text_parse_u64(const char *text, uint64_t *value)
{
	uint64_t sum = 0;

	if (*text == '\0')
		return false;
	for (; *text != '\0'; text++) {
		if (*text < '0' || *text > '9')
			return false;
		uint64_t digit = (uint64_t)(*text - '0');

		if (sum > (UINT64_MAX - digit) / 10)
			return false;
		sum = sum * 10 + digit;
	}
	*value = sum;
	return true;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

/* 1..8 hex digits up to `end`. Returns where they stop, or NULL. */
static const char *hex_half(const char *text, char end, uint64_t *value)
{
	unsigned digits = 0;

	*value = 0;
	for (; *text != end; text++, digits++) {
		int digit = hex_digit(*text);

		if (digit < 0 || digits == 8)
			return NULL;
		*value = *value << 4 | (uint64_t)digit;
	}
	return digits > 0 ? text : NULL;
}

bool text_parse_lsn(const char *text, uint64_t *lsn)
{
	uint64_t high, low;

	text = hex_half(text, '/', &high);
	if (text == NULL)
		return false;
	if (hex_half(text + 1, '\0', &low) == NULL)
		return false;
	*lsn = high << 32 | low;
	return true;
}

const char *text_format_lsn(uint64_t lsn, char buffer[TEXT_LSN_SIZE])
{
	snprintf(buffer, TEXT_LSN_SIZE, "%" PRIX32 "/%" PRIX32, (uint32_t)(lsn >> 32),
		 (uint32_t)lsn);
	return buffer;
}

bool text_is_name(const char *text, size_t max)
{
	size_t length = 0;

	for (; text[length] != '\0'; length++) {
		char c = text[length];
		bool first = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');

		if (length == max || !(first || (length > 0 && (c == '_' || c == '-'))))
			return false;
	}
	return length > 0;
}

bool text_copy(char *to, size_t size, const char *from)
{
	size_t length = strlen(from);

	if (length >= size) {
		to[0] = '\0';
		return false;
	}
	memcpy(to, from, length + 1);
	return true;
}

bool text_is_z85_key(const char *text)
{
	static const char Z85[] = "0123456789abcdefghijklmnopqrstuvwxyz"
				  "ABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

	if (strlen(text) != 40)
		return false;
	for (size_t group = 0; group < 40; group += 5) {
		uint64_t value = 0;

		for (size_t i = group; i < group + 5; i++) {
			const char *digit = strchr(Z85, text[i]);

			if (digit == NULL)
				return false;
			value = value * 85 + (uint64_t)(digit - Z85);
		}
		if (value > UINT32_MAX)
			return false;
	}
	return true;
}
