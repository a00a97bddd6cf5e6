/* One event, one line: text and JSON. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

/* What the log writes from now on goes into a file. */
static FILE *capture(void)
{
	FILE *file = tmpfile();

	cr_assert_not_null(file);
	cr_assert_geq(dup2(fileno(file), STDERR_FILENO), 0);
	log_open("n1", "vip", LOG_DEBUG);
	return file;
}

static char *written(FILE *file)
{
	static char text[65536];
	ssize_t size = pread(fileno(file), text, sizeof(text) - 1, 0);

	cr_assert_geq(size, 0);
	text[size] = '\0';
	return text;
}

static const char *word(const json_t *object, const char *key)
{
	const char *value = json_string_value(json_object_get(object, key));

	return value != NULL ? value : "(none)";
}

Test(log, text_has_the_same_keys_in_every_line)
{
	FILE *file = capture();
	const char *text;

	log_event(LOG_NOTICE, "fence.open", "epoch=%d vip=%s", 7, "10.0.0.1");
	log_set_operation(30);
	log_event(LOG_ERROR, "fence.failed", "why=\"a\nb\"");
	text = written(file);
	cr_expect_not_null(strstr(text, "Z notice node=n1 process=vip fence.open epoch=7 vip=10"));
	cr_expect_not_null(strstr(text, "Z error node=n1 process=vip op=30 fence.failed "
					"why=\"a b\"\n"));
	cr_expect_eq(text[0], '<', "journald's priority comes first");
	fclose(file);
}

/* Whoever reads one form finds the same keys with the same values in the other. */
Test(log, both_forms_say_the_same)
{
	FILE *file = capture();
	json_t *object, *fields;
	char *lines, *second;
	char text[512];

	log_set_operation(30);
	log_event(LOG_WARNING, "fence.open", "epoch=%d why=\"%s\" it is open", 7, "a b");
	log_set_format(LOG_FORMAT_JSON);
	log_event(LOG_WARNING, "fence.open", "epoch=%d why=\"%s\" it is open", 7, "a b");
	lines = written(file);
	second = strchr(lines, '\n') + 1;
	object = json_loads(second, JSON_DISABLE_EOF_CHECK, NULL);
	cr_assert_not_null(object, "%s", second);
	fields = json_object_get(object, "fields");
	cr_expect_eq(json_object_size(object), 8,
		     "time, level, node, process, op, event, fields, "
		     "message");
	cr_expect_eq(json_object_size(fields), 2);
	snprintf(text, sizeof(text), "Z %s node=%s process=%s op=%s %s epoch=%s why=\"%s\" %s\n",
		 word(object, "level"), word(object, "node"), word(object, "process"),
		 word(object, "op"), word(object, "event"), word(fields, "epoch"),
		 word(fields, "why"), word(object, "message"));
	cr_expect_eq(lines[0], '<');
	cr_expect_eq(strncmp(strchr(lines, 'Z'), text, strlen(text)), 0, "%s%s", lines, text);
	/* "2026-01-31T12:00:00.123Z" stands between the priority and the level. */
	cr_expect_eq((size_t)(strchr(lines, 'Z') + 1 - strchr(lines, '>') - 1),
		     strlen(word(object, "time")));
	json_decref(object);
	fclose(file);
}

Test(log, json_is_one_object_per_line)
{
	FILE *file = capture();
	json_t *object, *fields;
	char *text;

	log_set_format(LOG_FORMAT_JSON);
	log_set_operation(30);
	log_event(LOG_WARNING, "worker.ended",
		  "worker=vip node=n9 why=\"a = b \\ c\" empty= it is \"gone\" \xff é");
	text = written(file);
	cr_assert_eq(strcspn(text, "\n") + 1, strlen(text), "one line");
	object = json_loads(text, 0, NULL);
	cr_assert_not_null(object, "%s", text);
	cr_expect_str_eq(word(object, "level"), "warning");
	cr_expect_str_eq(word(object, "node"), "n1");
	cr_expect_str_eq(word(object, "process"), "vip");
	cr_expect_str_eq(word(object, "op"), "30");
	cr_expect_str_eq(word(object, "event"), "worker.ended");
	cr_expect_str_eq(word(object, "message"), "it is \"gone\" ? é");
	cr_expect_eq(strlen(word(object, "time")), strlen("2026-01-31T12:00:00.123Z"));
	fields = json_object_get(object, "fields");
	cr_expect_str_eq(word(fields, "worker"), "vip");
	cr_expect_str_eq(word(fields, "node"), "n9");
	cr_expect_str_eq(word(fields, "why"), "a = b \\ c");
	cr_expect_str_eq(word(fields, "empty"), "");
	json_decref(object);
	fclose(file);
}

Test(log, json_of_anything_is_json)
{
	static const char pieces[] = "a=\" \\\xc3\x28\xf5z\xe2\x82.";
	FILE *file = capture();
	unsigned state = 1, lines = 0;
	char body[3000];

	log_set_format(LOG_FORMAT_JSON);
	for (unsigned turn = 0; turn < 20; turn++) {
		unsigned length = turn * 150;

		for (unsigned i = 0; i < length; i++) {
			state = state * 1103515245 + 12345;
			body[i] = pieces[(state >> 16) % (sizeof(pieces) - 1)];
		}
		body[length] = '\0';
		log_event(LOG_NOTICE, "any.thing", "%s", body);
	}
	for (char *line = strtok(written(file), "\n"); line != NULL; line = strtok(NULL, "\n")) {
		json_t *object = json_loads(line, 0, NULL);

		cr_expect_not_null(object, "%s", line);
		json_decref(object);
		lines++;
	}
	cr_expect_eq(lines, 20);
	fclose(file);
}
