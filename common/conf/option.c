#include "conf/option.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "base/text.h"

static const struct option_word LOG_FORMATS[] = {
	{"text", LOG_FORMAT_TEXT},
	{"json", LOG_FORMAT_JSON},
	{NULL, 0},
};

static const struct option_word LOG_LEVELS[] = {
	{"error", LOG_ERROR}, {"warning", LOG_WARNING}, {"notice", LOG_NOTICE},
	{"info", LOG_INFO},   {"debug", LOG_DEBUG},     {NULL, 0},
};
static const struct option_word PROTECTION_CHOICES[] = {
	{"auto", PROTECTION_AUTO},
	{"max_protection", MODE_MAX_PROTECTION},
	{"max_availability", MODE_MAX_AVAILABILITY},
	{"max_performance", MODE_MAX_PERFORMANCE},
	{NULL, 0},
};
static const struct option_word SWITCH[] = {
	{"off", 0},
	{"on", 1},
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
static const struct option_word SAVE_POLICIES[] = {
	{"required", SAVE_REQUIRED},
	{"best_effort", SAVE_BEST_EFFORT},
	{NULL, 0},
};
static const struct option_word VERIFY_POLICIES[] = {
	{"manifest", VERIFY_MANIFEST},
	{"control", VERIFY_CONTROL},
	{NULL, 0},
};
static const struct option_word OLD_POLICIES[] = {
	{"remove", OLD_REMOVE},
	{"keep", OLD_KEEP},
	{NULL, 0},
};
static const struct option_word SANDBOX_MODES[] = {
	{"enforce", SANDBOX_ENFORCE},
	{"log", SANDBOX_LOG},
	{"off", SANDBOX_OFF},
	{NULL, 0},
};
static const struct option_word LANDLOCK_MODES[] = {
	{"automatic", LANDLOCK_AUTOMATIC},
	{"required", LANDLOCK_REQUIRED},
	{"off", LANDLOCK_OFF},
	{NULL, 0},
};
static const struct option_word WATCHDOG_MODES[] = {
	{"off", WATCHDOG_OFF},
	{"automatic", WATCHDOG_AUTOMATIC},
	{"required", WATCHDOG_REQUIRED},
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

struct suffix {
	const char *suffix;
	uint64_t factor;
};

static const struct suffix DURATIONS[] = {
	{"ms", 1}, {"s", 1000}, {"min", 60000}, {"h", 3600000}, {NULL, 0}};
static const struct suffix SIZES[] = {{"B", 1},
				      {"kB", UINT64_C(1) << 10},
				      {"MB", UINT64_C(1) << 20},
				      {"GB", UINT64_C(1) << 30},
				      {"TB", UINT64_C(1) << 40},
				      {NULL, 0}};

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

/* "300ms", "1s", "16MB"; a bare 0 needs no unit. */
static bool parse_with_unit(const char *text, const struct suffix *units, uint64_t *value)
{
	const size_t digits = strspn(text, "0123456789");
	char number[21];

	if (digits == 0 || digits >= sizeof(number))
		return false;
	memcpy(number, text, digits);
	number[digits] = '\0';
	if (!text_parse_u64(number, value))
		return false;
	if (text[digits] == '\0')
		return *value == 0;
	for (; units->suffix != NULL; units++) {
		if (strcmp(text + digits, units->suffix) == 0)
			return !__builtin_mul_overflow(*value, units->factor, value);
	}
	return false;
}

/* How numbers of each unit are read and written. */
static const struct {
	const struct suffix *suffixes; /* NULL: none */
	const char *printed;           /* the unit that conf_print() uses */
	const char *zero;              /* a word for 0; NULL: none */
	const char *wanted;
} UNITS[] = {
	[UNIT_N] = {NULL, "", NULL, "is no whole number"},
	[UNIT_MS] = {DURATIONS, "ms", NULL,
		     "is no duration; write a number and its unit: ms, s, min or h"},
	[UNIT_BYTE] = {SIZES, "B", NULL,
		       "is no size; write a number and its unit: B, kB, MB, GB or TB"},
	[UNIT_QUORUM] = {NULL, "", "majority", "is neither a whole number nor majority"},
};

static bool parse_number(const char *text, enum option_unit unit, uint64_t *value)
{
	if (UNITS[unit].zero != NULL && strcmp(text, UNITS[unit].zero) == 0) {
		*value = 0;
		return true;
	}
	return UNITS[unit].suffixes != NULL ? parse_with_unit(text, UNITS[unit].suffixes, value)
					    : text_parse_u64(text, value);
}

void option_print_number(const struct option *option, uint64_t value, FILE *to)
{
	if (value == 0 && UNITS[option->unit].zero != NULL)
		fputs(UNITS[option->unit].zero, to);
	else
		fprintf(to, "%" PRIu64 "%s", value, UNITS[option->unit].printed);
}

static bool set_number(const struct option *option, void *record, const char *text, char *reason,
		       size_t size)
{
	const char *unit = UNITS[option->unit].printed;
	uint64_t value = 0;

	if (!parse_number(text, option->unit, &value)) {
		snprintf(reason, size, "\"%.40s\" %s", text, UNITS[option->unit].wanted);
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
