#include "base/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* The log sink is the one piece of process-wide state that a library here owns. */
static struct {
	char node[64];
	char process[32];
	enum log_level threshold;
	bool terminal;
} sink = {"-", "-", LOG_INFO, false};

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

void log_event(enum log_level level, const char *event, const char *format, ...)
{
	char line[2048];
	char stamp[32];
	struct timespec now;
	struct tm utc;
	va_list args;

	if (level > sink.threshold)
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &utc);

	int head = snprintf(line, sizeof(line), "%s.%03ldZ %s node=%s process=%s %s ", stamp,
			    now.tv_nsec / 1000000, log_level_name(level), sink.node, sink.process,
			    event);

	if (head < 0 || (size_t)head >= sizeof(line))
		return;

	va_start(args, format);
	int body = vsnprintf(line + head, sizeof(line) - (size_t)head, format, args);
	va_end(args);
	if (body < 0)
		return;
	for (char *c = line; *c != '\0'; c++) {
		if ((unsigned char)*c < ' ' || *c == 127)
			*c = ' ';
	}
	if (sink.terminal)
		dprintf(STDERR_FILENO, "%s\n", line);
	else
		dprintf(STDERR_FILENO, "<%d>%s\n", (int)level, line);
}
