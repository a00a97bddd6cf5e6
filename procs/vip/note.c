#include "note.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/text.h"

static const char *const KINDS[NOTE_KIND_COUNT] = {
	[NOTE_LEASE] = "lease",
	[NOTE_STANDBY] = "standby",
	[NOTE_SWITCHOVER] = "switchover",
};

const char *note_print(const struct note *note, char text[static NOTE_SIZE])
{
	const int length = snprintf(text, NOTE_SIZE, "%s epoch %" PRIu64 " cluster %016" PRIx64,
				    KINDS[note->kind], note->epoch, note->cluster);

	CHECK(length > 0 && length < NOTE_SIZE);
	return text;
}

static bool parse_hex(const char *text, uint64_t *value)
{
	static const char DIGITS[] = "0123456789abcdef";

	*value = 0;
	if (strlen(text) != 16)
		return false;
	for (; *text != '\0'; text++) {
		const char *digit = strchr(DIGITS, *text);

		if (digit == NULL)
			return false;
		*value = *value << 4 | (uint64_t)(digit - DIGITS);
	}
	return true;
}

bool note_parse(struct note *note, const char *text, size_t size)
{
	char copy[NOTE_SIZE];
	char *rest = NULL;
	struct note parsed;

	if (size > 0 && text[size - 1] == '\0')
		size--;
	if (size >= sizeof(copy) || memchr(text, '\0', size) != NULL)
		return false;
	memcpy(copy, text, size);
	copy[size] = '\0';

	const char *words[5];

	for (unsigned i = 0; i < COUNT_OF(words); i++) {
		words[i] = strtok_r(i == 0 ? copy : NULL, " ", &rest);
		if (words[i] == NULL)
			return false;
	}
	parsed.kind = 0;
	while (strcmp(words[0], KINDS[parsed.kind]) != 0) {
		if (++parsed.kind == NOTE_KIND_COUNT)
			return false;
	}
	if (strcmp(words[1], "epoch") != 0 || strcmp(words[3], "cluster") != 0 ||
	    strtok_r(NULL, " ", &rest) != NULL)
		return false;
	if (!text_parse_u64(words[2], &parsed.epoch) || !parse_hex(words[4], &parsed.cluster))
		return false;
	*note = parsed;
	return true;
}
