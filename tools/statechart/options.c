#include "options.h"

#include <string.h>

#include "base/macros.h"
#include "conf/option.h"

static const char *const EFFECTS[] = {
	[ON_RESTART] = "restart",
	[ON_RELOAD] = "reload",
	[ON_NEW_LOG] = "new cluster",
};

/*
 * Text inside a cell: what separates cells must not stand there, and what is quoted in passing is
 * no command to be typed as it stands.
 */
static void put_cell(FILE *to, const char *text)
{
	for (; *text != '\0'; text++)
		if (*text != '`')
			(void)fprintf(to, *text == '|' ? "\\%c" : "%c", *text);
}

static void put_range(FILE *to, const struct option *option)
{
	switch (option->kind) {
	case OPTION_WORD:
		for (const struct option_word *word = option->words; word->word != NULL; word++)
			(void)fprintf(to, "%s`%s`", word == option->words ? "" : ", ", word->word);
		break;
	case OPTION_NUMBER:
		(void)fputc('`', to);
		option_print_number(option, option->min, to);
		(void)fputs("` to `", to);
		option_print_number(option, option->max, to);
		(void)fputc('`', to);
		break;
	case OPTION_PAIRS:
		(void)fputs("a map of names and values", to);
		break;
	case OPTION_LINES:
		(void)fputs("a list of lines", to);
		break;
	default:
		(void)fprintf(to, "text, up to %zu bytes", option->size - 1);
	}
}

static void put_default(FILE *to, const struct option *option)
{
	if (option_is_required(option)) {
		(void)fputs("required", to);
		return;
	}
	if (option->kind == OPTION_NUMBER) {
		(void)fputc('`', to);
		option_print_number(option, option->number, to);
		(void)fputc('`', to);
		return;
	}
	if (option->text[0] == '\0')
		(void)fputs("empty", to);
	else
		(void)fprintf(to, "`%s`", option->text);
}

static void put_row(FILE *to, const struct option *option, const char *effect)
{
	(void)fprintf(to, "| `%s` | ", option->key);
	put_range(to, option);
	(void)fputs(" | ", to);
	put_default(to, option);
	(void)fprintf(to, " | %s | ", effect);
	put_cell(to, option->description);
	(void)fputs(" |\n", to);
}

static void put_head(FILE *to, const char *name, size_t length)
{
	(void)fprintf(to,
		      "### %.*s\n\n| key | values | default | takes effect on | meaning |\n"
		      "|---|---|---|---|---|\n",
		      (int)length, name);
}

void options_markdown(FILE *to)
{
	const char *section = "";

	for (unsigned i = 0; i < OPTION_COUNT; i++) {
		const struct option *option = &OPTIONS[i];
		size_t length = strcspn(option->key, ".");

		if (strncmp(section, option->key, length + 1) != 0) {
			(void)fputs(i == 0 ? "" : "\n", to);
			put_head(to, option->key, length);
			section = option->key;
		}
		put_row(to, option, EFFECTS[option->effect]);
	}
	(void)fputc('\n', to);
	put_head(to, "members[]", strlen("members[]"));
	/* conf_reload_check() takes new keys of a member and refuses everything else. */
	for (unsigned i = 0; i < MEMBER_OPTION_COUNT; i++)
		put_row(to, &MEMBER_OPTIONS[i],
			EFFECTS[i == MEM_public_key || i == MEM_next_public_key ? ON_RELOAD
										: ON_RESTART]);
}
