/* struct conf to YAML that parses back to the same struct. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "conf/option.h"

/* One UTF-8 sequence as a code point; the parser let only valid UTF-8 in. */
static uint32_t take_code_point(const unsigned char **at)
{
	const unsigned char lead = *(*at)++;
	unsigned more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : lead >= 0xc0 ? 1 : 0;
	uint32_t point = more == 3 ? lead & 0x07u : more == 2 ? lead & 0x0fu : lead & 0x1fu;

	for (; more > 0 && (**at & 0xc0) == 0x80; more--)
		point = point << 6 | (*(*at)++ & 0x3fu);
	return point;
}

/* Double quotes; what is not plain ASCII is escaped, because YAML folds some of it as line ends. */
void option_print_quoted(FILE *to, const char *text)
{
	const unsigned char *at = (const unsigned char *)text;

	fputc('"', to);
	while (*at != '\0') {
		if (*at >= 0x80) {
			fprintf(to, "\\U%08" PRIX32, take_code_point(&at));
			continue;
		}
		if (*at == '"' || *at == '\\')
			fputc('\\', to);
		fputc(*at++, to);
	}
	fputc('"', to);
}

void option_print_value(FILE *to, const struct option *option, const void *record)
{
	const char *field = (const char *)record + option->offset;
	uint64_t number;
	int word;

	switch (option->kind) {
	case OPTION_TEXT:
		option_print_quoted(to, field);
		break;
	case OPTION_WORD:
		memcpy(&word, field, sizeof(word));
		fputs(option_word_name(option, word), to);
		break;
	case OPTION_NUMBER:
		memcpy(&number, field, sizeof(number));
		option_print_number(option, number, to);
		break;
	case OPTION_PAIRS:
	case OPTION_LINES:
		break;
	}
}

static void print_list(FILE *to, const struct option *option, const struct conf *conf)
{
	const char *field = (const char *)conf + option->offset;
	unsigned count;

	memcpy(&count, (const char *)conf + option->count_offset, sizeof(count));
	if (count == 0) {
		fputs(option->kind == OPTION_PAIRS ? " {}\n" : " []\n", to);
		return;
	}
	fputc('\n', to);
	for (unsigned i = 0; i < count; i++) {
		if (option->kind == OPTION_PAIRS) {
			const struct conf_pair *pair =
				(const struct conf_pair *)(const void *)field;

			fputs("    ", to);
			option_print_quoted(to, pair[i].name);
			fputs(": ", to);
			option_print_quoted(to, pair[i].value);
		} else {
			fputs("    - ", to);
			option_print_quoted(to, field + (size_t)i * CONF_PAIR_SIZE);
		}
		fputc('\n', to);
	}
}

static void print_options(FILE *to, const struct conf *conf)
{
	size_t section = 0; /* length of the section name of the row before */

	for (unsigned i = 0; i < OPTION_COUNT; i++) {
		const struct option *option = &OPTIONS[i];
		const size_t length = strcspn(option->key, ".");

		if (i == 0 || length != section ||
		    strncmp(option->key, OPTIONS[i - 1].key, length + 1) != 0)
			fprintf(to, "%s%.*s:\n", i == 0 ? "" : "\n", (int)length, option->key);
		section = length;
		fprintf(to, "  # %s\n  %s:", option->description, option->key + length + 1);
		if (option->kind == OPTION_PAIRS || option->kind == OPTION_LINES) {
			print_list(to, option, conf);
			continue;
		}
		fputc(' ', to);
		option_print_value(to, option, conf);
		fputc('\n', to);
	}
}

static void print_members(FILE *to, const struct conf *conf)
{
	fputs("\nmembers:\n", to);
	for (unsigned m = 0; m < conf->member_count; m++) {
		for (unsigned i = 0; i < MEMBER_OPTION_COUNT; i++) {
			fprintf(to, "  %s%s: ", i == 0 ? "- " : "  ", MEMBER_OPTIONS[i].key);
			option_print_value(to, &MEMBER_OPTIONS[i], &conf->members[m]);
			fputc('\n', to);
		}
	}
}

int conf_print(const struct conf *conf, FILE *to, struct err *why)
{
	print_options(to, conf);
	print_members(to, conf);
	if (fflush(to) != 0 || ferror(to))
		return err_set_errno(why, ERR_IO, errno, "print the configuration");
	return 0;
}
