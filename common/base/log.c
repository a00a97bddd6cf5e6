#include "base/log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LOG_BODY_MAX 2048
#define LOG_LINE_MAX 8192

/* The log sink is the one piece of process-wide state that a library here owns. */
static struct {
	char node[64];
	char process[32];
	enum log_level threshold;
	enum log_format format;
	uint64_t operation; /* 0: none */
	bool terminal;
} sink = {"-", "-", LOG_INFO, LOG_FORMAT_TEXT, 0, false};

static const struct {
	enum log_level level;
	const char *name;
} LEVELS[] = {
	{LOG_ERROR, "error"}, {LOG_WARNING, "warning"}, {LOG_NOTICE, "notice"},
	{LOG_INFO, "info"},   {LOG_DEBUG, "debug"},
};

const char *log_level_name(enum log_level level)
{
	for (size_t i = 0; i < COUNT_OF(LEVELS); i++) {
		if (LEVELS[i].level == level)
			return LEVELS[i].name;
	}
	return "unknown";
}

int log_level_parse(const char *word)
{
	for (size_t i = 0; i < COUNT_OF(LEVELS); i++) {
		if (strcmp(LEVELS[i].name, word) == 0)
			return (int)LEVELS[i].level;
	}
	return -1;
}

void log_open(const char *node, const char *process, enum log_level threshold)
{
	snprintf(sink.node, sizeof(sink.node), "%s", node);
	snprintf(sink.process, sizeof(sink.process), "%s", process);
	sink.threshold = threshold;
	sink.terminal = isatty(STDERR_FILENO) == 1;
}

void log_set_threshold(enum log_level threshold)
{
	sink.threshold = threshold;
}

void log_set_format(enum log_format format)
{
	sink.format = format;
}

void log_set_operation(uint64_t operation)
{
	sink.operation = operation;
}

/* What does not fit is left out; there is always room to close the strings and objects. */
struct json_line {
	size_t length;
	char text[LOG_LINE_MAX];
};

#define JSON_END_SPARE 16

static void json_raw(struct json_line *line, const char *text)
{
	size_t length = strlen(text);

	if (length > sizeof(line->text) - line->length - 1)
		return;
	memcpy(line->text + line->length, text, length + 1);
	line->length += length;
}

/* Bytes of the UTF-8 character at `text` that lies within `left`; 0: it is none. */
static size_t character_size(const char *text, size_t left)
{
	const unsigned char first = (unsigned char)text[0];
	const size_t size = first < 0x80 ? 1 : first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;

	if ((first >= 0x80 && first < 0xc2) || first > 0xf4 || size > left)
		return 0;
	for (size_t i = 1; i < size; i++) {
		if (((unsigned char)text[i] & 0xc0) != 0x80)
			return 0;
	}
	return size;
}

static void json_string(struct json_line *line, const char *text, size_t length)
{
	json_raw(line, "\"");
	for (size_t i = 0; i < length && line->length + JSON_END_SPARE < sizeof(line->text);) {
		const size_t size = character_size(text + i, length - i);
		char one[8] = "?";

		if (size == 1 && (text[i] == '"' || text[i] == '\\'))
			(void)snprintf(one, sizeof(one), "\\%c", text[i]);
		else if (size > 0)
			(void)snprintf(one, sizeof(one), "%.*s", (int)size, text + i);
		json_raw(line, one);
		i += size > 0 ? size : 1;
	}
	json_raw(line, "\"");
}

static void json_member(struct json_line *line, const char *key, const char *value)
{
	json_raw(line, line->length > 1 ? ",\"" : "\"");
	json_raw(line, key);
	json_raw(line, "\":");
	json_string(line, value, strlen(value));
}

/* Length of "key=value" or 'key="value"' at `text`; the value's place. 0: it is none. */
static size_t pair_at(const char *text, size_t *key, const char **value, size_t *length)
{
	const char *end;

	*key = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_.");
	if (*key == 0 || text[*key] != '=')
		return 0;
	*value = text + *key + 1;
	if (**value == '"' && (end = strchr(*value + 1, '"')) != NULL) {
		*value += 1;
		*length = (size_t)(end - *value);
		return (size_t)(end + 1 - text);
	}
	*length = strcspn(*value, " ");
	return (size_t)(*value - text) + *length;
}

/* The pairs of the event as "fields"; the other words are left in `rest`. */
static void json_fields(struct json_line *line, const char *body, char *rest, size_t size)
{
	size_t used = 0;
	bool any = false;

	rest[0] = '\0';
	while (*body != '\0' && line->length + 4 * JSON_END_SPARE < sizeof(line->text)) {
		const char *value = NULL;
		size_t key, length = 0, pair = pair_at(body, &key, &value, &length);

		if (pair == 0) {
			pair = strcspn(body, " ");
			used += (size_t)snprintf(rest + used, size - used, "%s%.*s",
						 used > 0 ? " " : "", (int)pair, body);
		} else {
			json_raw(line, any ? "," : ",\"fields\":{");
			any = true;
			json_string(line, body, key);
			json_raw(line, ":");
			json_string(line, value, length);
		}
		body += pair;
		body += strspn(body, " ");
	}
	json_raw(line, any ? "}" : "");
}

static void write_json(const char *stamp, enum log_level level, const char *event, const char *body)
{
	struct json_line line = {.length = 0};
	char rest[LOG_BODY_MAX], number[24];

	json_raw(&line, "{");
	json_member(&line, "time", stamp);
	json_member(&line, "level", log_level_name(level));
	json_member(&line, "node", sink.node);
	json_member(&line, "process", sink.process);
	if (sink.operation != 0) {
		(void)snprintf(number, sizeof(number), "%" PRIu64, sink.operation);
		json_member(&line, "op", number);
	}
	json_member(&line, "event", event);
	json_fields(&line, body, rest, sizeof(rest));
	if (rest[0] != '\0')
		json_member(&line, "message", rest);
	json_raw(&line, "}");
	dprintf(STDERR_FILENO, "%s\n", line.text);
}

static void write_text(const char *stamp, enum log_level level, const char *event, const char *body)
{
	char operation[32] = "", priority[8] = "";

	if (sink.operation != 0)
		(void)snprintf(operation, sizeof(operation), " op=%" PRIu64, sink.operation);
	if (!sink.terminal)
		(void)snprintf(priority, sizeof(priority), "<%d>", (int)level);
	dprintf(STDERR_FILENO, "%s%s %s node=%s process=%s%s %s %s\n", priority, stamp,
		log_level_name(level), sink.node, sink.process, operation, event, body);
}

void log_event(enum log_level level, const char *event, const char *format, ...)
{
	char body[LOG_BODY_MAX], stamp[64], day[32];
	struct timespec now;
	struct tm utc;
	va_list args;
	int length;

	if (level > sink.threshold)
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &utc);
	(void)snprintf(stamp, sizeof(stamp), "%s.%03ldZ", day, now.tv_nsec / 1000000);
	va_start(args, format);
	length = vsnprintf(body, sizeof(body), format, args);
	va_end(args);
	if (length < 0)
		return;
	for (char *c = body; *c != '\0'; c++) {
		if ((unsigned char)*c < ' ' || *c == 127)
			*c = ' ';
	}
	if (sink.format == LOG_FORMAT_JSON)
		write_json(stamp, level, event, body);
	else
		write_text(stamp, level, event, body);
}
