#include "conf/option.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "base/text.h"

static const struct option_word LOG_LEVELS[] = {
	{"error", LOG_ERROR}, {"warning", LOG_WARNING}, {"notice", LOG_NOTICE},
	{"info", LOG_INFO},   {"debug", LOG_DEBUG},     {NULL, 0},
};
static const struct option_word PROTECTION_MODES[] = {
	{"max_protection", PROTECTION_MAX_PROTECTION},
	{NULL, 0},
};
static const struct option_word STOP_POLICIES[] = {
	{"leave", STOP_LEAVE},
	{"handover", STOP_HANDOVER},
	{NULL, 0},
};
static const struct option_word FENCE_MODES[] = {
	{"automatic", FENCE_MODE_AUTOMATIC},
	{"required", FENCE_MODE_REQUIRED},
	{"off", FENCE_MODE_OFF},
	{NULL, 0},
};
static const struct option_word MEMBER_KINDS[] = {
	{"data", MEMBER_DATA},
	{"witness", MEMBER_WITNESS},
	{NULL, 0},
};

#define FIELD(record, key_, field_)                                                                \
	.key = (key_), .offset = offsetof(struct record, field_),                                  \
	.size = sizeof(((struct record *)NULL)->field_)

const struct option OPTIONS[OPTION_COUNT] = {
#define TEXT(key, field, size_, default_, effect_, description_)                                   \
	[OPT_##field] = {FIELD(conf, key, field), .kind = OPTION_TEXT, .text = (default_),         \
			 .effect = (effect_), .description = (description_)},
#define WORD(key, field, words_, default_, effect_, description_)                                  \
	[OPT_##field] = {FIELD(conf, key, field), .kind = OPTION_WORD,                             \
			 .words = (words_),       .text = (default_),                              \
			 .effect = (effect_),     .description = (description_)},
#define NUMBER(key, field, unit_, min_, max_, default_, effect_, description_)                     \
	[OPT_##field] = {FIELD(conf, key, field), .kind = OPTION_NUMBER,                           \
			 .unit = UNIT_##unit_,    .min = (min_),                                   \
			 .max = (max_),           .number = (default_),                            \
			 .effect = (effect_),     .description = (description_)},
#define PAIRS(key, field, effect_, description_)                                                   \
	[OPT_##field] = {FIELD(conf, key, field),                                                  \
			 .kind = OPTION_PAIRS,                                                     \
			 .count_offset = offsetof(struct conf, field##_count),                     \
			 .text = "",                                                               \
			 .effect = (effect_),                                                      \
			 .description = (description_)},
#define LINES(key, field, effect_, description_)                                                   \
	[OPT_##field] = {FIELD(conf, key, field),                                                  \
			 .kind = OPTION_LINES,                                                     \
			 .count_offset = offsetof(struct conf, field##_count),                     \
			 .text = "",                                                               \
			 .effect = (effect_),                                                      \
			 .description = (description_)},
#include "conf/options.def"
};

const struct option MEMBER_OPTIONS[MEMBER_OPTION_COUNT] = {
#define MEMBER_TEXT(key, field, size_, default_, description_)                                     \
	[MEM_##field] = {FIELD(conf_member, key, field), .kind = OPTION_TEXT, .text = (default_),  \
			 .description = (description_)},
#define MEMBER_WORD(key, field, words_, default_, description_)                                    \
	[MEM_##field] = {FIELD(conf_member, key, field), .kind = OPTION_WORD, .words = (words_),   \
			 .text = (default_), .description = (description_)},
#define MEMBER_NUMBER(key, field, unit_, min_, max_, default_, description_)                       \
	[MEM_##field] = {FIELD(conf_member, key, field),                                           \
			 .kind = OPTION_NUMBER,                                                    \
			 .unit = UNIT_##unit_,                                                     \
			 .min = (min_),                                                            \
			 .max = (max_),                                                            \
			 .number = (default_),                                                     \
			 .description = (description_)},
#include "conf/options.def"
};

static const struct {
	const char *suffix;
	uint64_t ms;
} DURATIONS[] = {{"ms", 1}, {"s", 1000}, {"min", 60000}, {"h", 3600000}};

bool option_is_required(const struct option *option)
{
	if (option->kind == OPTION_NUMBER)
		return option->number < option->min;
	return option->text == NULL;
}

const char *option_word_name(const struct option *option, int value)
{
	for (const struct option_word *word = option->words; word->word != NULL; word++) {
		if (word->value == value)
			return word->word;
	}
	return "unknown";
}

static bool set_text(const struct option *option, void *record, const char *text, char *reason,
		     size_t size)
{
	char *field = (char *)record + option->offset;

	/* No byte of the default stays behind the terminator: reloads compare bytes. */
	memset(field, 0, option->size);
	if (text_copy(field, option->size, text))
		return true;
	snprintf(reason, size, "%zu characters are too many, at most %zu", strlen(text),
		 option->size - 1);
	return false;
}

static bool set_word(const struct option *option, void *record, const char *text, char *reason,
		     size_t size)
{
	int used;

	for (const struct option_word *word = option->words; word->word != NULL; word++) {
		if (strcmp(word->word, text) == 0) {
			memcpy((char *)record + option->offset, &word->value, sizeof(word->value));
			return true;
		}
	}
	used = snprintf(reason, size, "\"%.40s\" is none of", text);
	for (const struct option_word *word = option->words; word->word != NULL; word++) {
		if (used < 0 || (size_t)used >= size)
			return false;
		used += snprintf(reason + used, size - (size_t)used, " %s", word->word);
	}
	return false;
}

/* "300ms", "1s", "2min", "1h"; a bare 0 needs no unit. */
static bool parse_duration(const char *text, uint64_t *ms)
{
	const size_t digits = strspn(text, "0123456789");
	char number[21];

	if (digits == 0 || digits >= sizeof(number))
		return false;
	memcpy(number, text, digits);
	number[digits] = '\0';
	if (!text_parse_u64(number, ms))
		return false;
	if (text[digits] == '\0')
		return *ms == 0;
	for (size_t i = 0; i < COUNT_OF(DURATIONS); i++) {
		if (strcmp(text + digits, DURATIONS[i].suffix) == 0)
			return !__builtin_mul_overflow(*ms, DURATIONS[i].ms, ms);
	}
	return false;
}

static bool set_number(const struct option *option, void *record, const char *text, char *reason,
		       size_t size)
{
	const char *unit = option->unit == UNIT_MS ? "ms" : "";
	uint64_t value = 0;

	if (option->unit == UNIT_MS && !parse_duration(text, &value)) {
		snprintf(reason, size,
			 "\"%.40s\" is no duration; write a number and its unit: ms, s, min or h",
			 text);
		return false;
	}
	if (option->unit == UNIT_N && !text_parse_u64(text, &value)) {
		snprintf(reason, size, "\"%.40s\" is no whole number", text);
		return false;
	}
	if (value < option->min || value > option->max) {
		snprintf(reason, size, "%.40s is out of range, %" PRIu64 "%s to %" PRIu64 "%s",
			 text, option->min, unit, option->max, unit);
		return false;
	}
	memcpy((char *)record + option->offset, &value, sizeof(value));
	return true;
}

bool option_set(const struct option *option, void *record, const char *text, char *reason,
		size_t size)
{
	switch (option->kind) {
	case OPTION_TEXT:
		return set_text(option, record, text, reason, size);
	case OPTION_WORD:
		return set_word(option, record, text, reason, size);
	case OPTION_NUMBER:
		return set_number(option, record, text, reason, size);
	case OPTION_PAIRS:
	case OPTION_LINES:
		break;
	}
	snprintf(reason, size, "is a list, not one value");
	return false;
}

void option_set_default(const struct option *option, void *record)
{
	char reason[128];

	if (option_is_required(option) || option->kind == OPTION_PAIRS ||
	    option->kind == OPTION_LINES)
		return;
	if (option->kind == OPTION_NUMBER)
		memcpy((char *)record + option->offset, &option->number, sizeof(option->number));
	else /* A default that its own row refuses is a mistake in the table. */
		CHECK(option_set(option, record, option->text, reason, sizeof(reason)));
}

int conf_refuse(const struct conf_source *source, unsigned line, const char *key, struct err *why,
		const char *format, ...)
{
	char reason[320];
	va_list args;

	va_start(args, format);
	vsnprintf(reason, sizeof(reason), format, args);
	va_end(args);
	if (line == 0)
		return err_set(why, ERR_INVALID, "%s: %s%s: %s", source->name, source->within, key,
			       reason);
	return err_set(why, ERR_INVALID, "%s:%u: %s%s: %s", source->name, line, source->within, key,
		       reason);
}
