/*
 * options.def as a table that the parser, the printer and the reload check walk. Internal to
 * common/conf.
 */
#ifndef MHA_CONF_OPTION_H
#define MHA_CONF_OPTION_H

#include <stdbool.h>

#include "conf/conf.h"

enum option_kind { OPTION_TEXT, OPTION_WORD, OPTION_NUMBER, OPTION_PAIRS, OPTION_LINES };
enum option_unit { UNIT_N, UNIT_MS, UNIT_BYTE, UNIT_QUORUM };
/* ON_NEW_LOG: an initial value of the replicated state, which has its own copy from then on. */
enum option_effect { ON_RESTART, ON_RELOAD, ON_NEW_LOG };

/* One word of a closed set; a list ends with a NULL word. */
struct option_word {
	const char *word;
	int value;
};

struct option {
	const char *key; /* "section.name", or a member's plain "name" */
	enum option_kind kind;
	enum option_effect effect;
	size_t offset;       /* of the field in struct conf or struct conf_member */
	size_t count_offset; /* PAIRS and LINES: of the field that counts them */
	size_t size;         /* TEXT: of the field, terminator included */
	const struct option_word *words;
	enum option_unit unit;
	uint64_t min;
	uint64_t max;
	uint64_t number;  /* default of a NUMBER; below min: the key is required */
	const char *text; /* default of a TEXT or a WORD; NULL: the key is required */
	const char *description;
};

/* Row numbers, for the line table and for the checks that name a key. */
enum option_row {
#define TEXT(key, field, ...)   OPT_##field,
#define WORD(key, field, ...)   OPT_##field,
#define NUMBER(key, field, ...) OPT_##field,
#define PAIRS(key, field, ...)  OPT_##field,
#define LINES(key, field, ...)  OPT_##field,
#include "conf/options.def"
	OPTION_COUNT
};

enum member_row {
#define MEMBER_TEXT(key, field, ...)   MEM_##field,
#define MEMBER_WORD(key, field, ...)   MEM_##field,
#define MEMBER_NUMBER(key, field, ...) MEM_##field,
#include "conf/options.def"
	MEMBER_OPTION_COUNT
};

extern const struct option OPTIONS[OPTION_COUNT];
extern const struct option MEMBER_OPTIONS[MEMBER_OPTION_COUNT];

/* Where each value was read, for errors found later. Line 0: not in the file, a default. */
struct conf_source {
	const char *name; /* of the file */
	char within[24];  /* stands before keys in errors: "members[1]." while that one is read */
	unsigned line[OPTION_COUNT];
	unsigned members_line;
	unsigned member_line[CONF_MEMBERS_MAX];
	unsigned member_key_line[CONF_MEMBERS_MAX][MEMBER_OPTION_COUNT];
};

bool option_is_required(const struct option *option);
/* The text of a WORD's value. Never NULL for a value the parser stored. */
const char *option_word_name(const struct option *option, int value);
void option_set_default(const struct option *option, void *record);
/*
 * Parse `text` into the field of `record`. On failure `reason` (caller's, `size` bytes) says what
 * is wrong with it.
 */
bool option_set(const struct option *option, void *record, const char *text, char *reason,
		size_t size);
/* A NUMBER's value as option_set() reads it back. */
void option_print_number(const struct option *option, uint64_t value, FILE *to);

/* A value as the file has it; not of PAIRS and LINES. */
void option_print_value(FILE *to, const struct option *option, const void *record);
void option_print_quoted(FILE *to, const char *text);
/* conf_read_fd() with the lines. */
MUST_CHECK int conf_read_source(struct conf *conf, struct conf_source *source, int fd,
				struct err *why);

/* "file:line: within+key: reason" into `why`; ERR_INVALID. Line 0 is left out. */
int conf_refuse(const struct conf_source *source, unsigned line, const char *key, struct err *why,
		const char *format, ...) PRINTF_LIKE(5, 6);

/* Fill `conf` and `source` from YAML text. */
MUST_CHECK int conf_parse(struct conf *conf, struct conf_source *source, const char *text,
			  size_t size, struct err *why);

/* Every value's own form, then what contradicts what; sets conf->self. */
MUST_CHECK int conf_check(struct conf *conf, const struct conf_source *source, struct err *why);
MUST_CHECK int conf_check_members(struct conf *conf, const struct conf_source *source,
				  struct err *why);
MUST_CHECK int conf_check_database(const struct conf *conf, const struct conf_source *source,
				   struct err *why);

#endif
