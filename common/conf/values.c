/* Every value with the place that it comes from, for people; without secrets. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/macros.h"
#include "conf/option.h"

#define KEY_TEXT 128

struct reading {
	struct conf conf;
	struct conf_source source;
	void (*take)(void *arg, const struct conf_value *value);
	void *arg;
};

static bool names_a_secret(const char *key)
{
	static const char *const WORDS[] = {"password", "passphrase", "passwd", "secret", "token"};
	const char *last = strrchr(key, '.');
	const size_t length = strlen(key);

	if (last == NULL)
		last = key;
	/* The name of a file is none, and the commands below are looked into. */
	if (length > 5 && strcmp(key + length - 5, "_file") == 0)
		return false;
	for (size_t i = 0; i < COUNT_OF(WORDS); i++) {
		if (strcasestr(last, WORDS[i]) != NULL)
			return true;
	}
	return false;
}

/* Stars instead of the characters up to one of `ends`. */
static char *cover(char *text, const char *ends)
{
	const size_t length = strcspn(text, ends);

	memset(text, '*', length);
	return text + length;
}

/* "password=...", "passwd=..." and the like, whatever stands before. */
static void cover_assignments(char *text)
{
	static const char *const NAMES[] = {
		"password=", "passwd=", "PGPASSWORD=", "secret=", "token="};

	for (size_t i = 0; i < COUNT_OF(NAMES); i++) {
		char *at = text;

		while ((at = strcasestr(at, NAMES[i])) != NULL)
			at = cover(at + strlen(NAMES[i]), " \t\"&;,");
	}
}

/* "scheme://user:password@host". */
static void cover_urls(char *text)
{
	char *at = text;

	while ((at = strstr(at, "://")) != NULL) {
		char *end, *colon;

		at += 3;
		end = at + strcspn(at, "@/ \t\"");
		colon = memchr(at, ':', (size_t)(end - at));
		if (*end == '@' && colon != NULL)
			(void)cover(colon + 1, "@");
	}
}

void conf_redact(const char *key, char *text)
{
	if (names_a_secret(key)) {
		(void)cover(text[0] == '"' ? text + 1 : text, "\"");
		return;
	}
	cover_assignments(text);
	cover_urls(text);
}

static const char *effect_name(enum option_effect effect)
{
	switch (effect) {
	case ON_RELOAD:
		return "reload";
	case ON_NEW_LOG:
		return "new_log";
	default:
		return "restart";
	}
}

/* `text` is heap and released. */
static int give(const struct reading *reading, const char *key, char *text, unsigned line,
		const char *effect, struct err *why)
{
	const struct conf_value value = {.key = key, .value = text, .line = line, .effect = effect};

	if (text == NULL)
		return err_set(why, ERR_NO_MEMORY, "out of memory");
	conf_redact(key, text);
	reading->take(reading->arg, &value);
	free(text);
	return 0;
}

static char *value_text(const struct option *option, const void *record, const char *quoted)
{
	char *text = NULL;
	size_t size = 0;
	FILE *to = open_memstream(&text, &size);

	if (to == NULL)
		return NULL;
	if (quoted != NULL)
		option_print_quoted(to, quoted);
	else
		option_print_value(to, option, record);
	if (fclose(to) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

/* An empty list has a row of its own, so that the key is seen. */
static int give_list(const struct reading *reading, const struct option *option, unsigned line,
		     struct err *why)
{
	const char *field = (const char *)&reading->conf + option->offset;
	const char *effect = effect_name(option->effect);
	char key[KEY_TEXT];
	unsigned count;
	int rc = 0;

	memcpy(&count, (const char *)&reading->conf + option->count_offset, sizeof(count));
	if (count == 0)
		return give(reading, option->key,
			    strdup(option->kind == OPTION_PAIRS ? "{}" : "[]"), line, effect, why);
	for (unsigned i = 0; i < count && rc == 0; i++) {
		const struct conf_pair *pair = (const struct conf_pair *)(const void *)field + i;

		if (option->kind == OPTION_PAIRS)
			snprintf(key, sizeof(key), "%s.%s", option->key, pair->name);
		else
			snprintf(key, sizeof(key), "%s[%u]", option->key, i);
		rc = give(reading, key,
			  value_text(option, NULL,
				     option->kind == OPTION_PAIRS
					     ? pair->value
					     : field + (size_t)i * CONF_PAIR_SIZE),
			  line, effect, why);
	}
	return rc;
}

static int give_members(const struct reading *reading, struct err *why)
{
	char key[KEY_TEXT];
	int rc = 0;

	for (unsigned m = 0; m < reading->conf.member_count; m++) {
		for (unsigned i = 0; i < MEMBER_OPTION_COUNT && rc == 0; i++) {
			const struct option *option = &MEMBER_OPTIONS[i];

			snprintf(key, sizeof(key), "members[%u].%s", m, option->key);
			rc = give(reading, key, value_text(option, &reading->conf.members[m], NULL),
				  reading->source.member_key_line[m][i], "reload", why);
		}
	}
	return rc;
}

static int give_all(const struct reading *reading, struct err *why)
{
	int rc = 0;

	for (unsigned i = 0; i < OPTION_COUNT && rc == 0; i++) {
		const struct option *option = &OPTIONS[i];
		const unsigned line = reading->source.line[i];

		if (option->kind == OPTION_PAIRS || option->kind == OPTION_LINES)
			rc = give_list(reading, option, line, why);
		else
			rc = give(reading, option->key, value_text(option, &reading->conf, NULL),
				  line, effect_name(option->effect), why);
	}
	return rc < 0 ? rc : give_members(reading, why);
}

int conf_values(const char *path, void (*take)(void *arg, const struct conf_value *value),
		void *arg, struct err *why)
{
	const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct reading *reading;
	int rc;

	if (fd < 0)
		return err_set_errno(why, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, errno, "%s",
				     path);
	reading = calloc(1, sizeof(*reading));
	if (reading == NULL) {
		close(fd);
		return err_set(why, ERR_NO_MEMORY, "out of memory");
	}
	reading->source.name = path;
	reading->take = take;
	reading->arg = arg;
	rc = conf_read_source(&reading->conf, &reading->source, fd, why);
	close(fd);
	if (rc == 0)
		rc = give_all(reading, why);
	free(reading);
	return rc;
}
