/*
 * One event per line: a stable name, key=value pairs, then a sentence.
 *
 *   log_event(LOG_NOTICE, "failover.start", "old=a new=b epoch=8 why=\"...\"");
 *
 * Levels say who must wake up: error = a person now, warning = a person this week,
 * notice = a state changed, info = an operator asked, debug = a developer.
 * Lines go to stderr with journald's "<N>" priority prefix when stderr is no terminal.
 * Control characters in what is logged are replaced, so that one event stays one line.
 *
 * The keys before the event are the same in every process: time, level, node, process, and op, the
 * id of the operation (a switchover) that the process works on. As JSON (log.format) these and the
 * event are members of one object per line; the event's own pairs are strings in "fields", and what
 * is no pair is "message".
 */
#ifndef MHA_BASE_LOG_H
#define MHA_BASE_LOG_H

#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

enum log_level { LOG_ERROR = 3, LOG_WARNING = 4, LOG_NOTICE = 5, LOG_INFO = 6, LOG_DEBUG = 7 };

/* Name the process once, at start: `node` and `process` stand in every line. */
void log_open(const char *node, const char *process, enum log_level threshold);
void log_set_threshold(enum log_level threshold);
enum log_format { LOG_FORMAT_TEXT = 0, LOG_FORMAT_JSON };
void log_set_format(enum log_format format);
/* Stands in every line from now on; 0: none. */
void log_set_operation(uint64_t operation);

void log_event(enum log_level level, const char *event, const char *format, ...) PRINTF_LIKE(3, 4);

/* "error", "warning", ... <-> level. Returns -1 for a word that is none. */
const char *log_level_name(enum log_level level);
int log_level_parse(const char *word);

#endif
