/*
 * Timeline numbers that must not be used again.
 *
 * PostgreSQL numbers a new timeline after the history files that it finds without a gap above its
 * own, so a reserved number is a history file. Such a stub holds nothing but a comment:
 *  - a running standby looks at the newest file, finds that its own timeline is not in it, says so
 *    in its log and goes on as before;
 *  - a starting one does not start ("requested timeline N is not a child of this server's
 *    history"), so a stub above the newest true history is removed before every start, and before
 *    a standby is pointed at an upstream, whose true file of that number it would hide;
 *  - a stub below a true history must stay: the search for the newest stops at the first gap, and
 *    whoever follows this server asks it for every file up to its own timeline.
 * Therefore stubs are written just before a promotion and nowhere else.
 */
#ifndef MHA_ENGINE_PG_HISTORY_H
#define MHA_ENGINE_PG_HISTORY_H

#include <stdint.h>

#include "base/err.h"

/* A number further away than this is a damaged order, not a cluster's past. */
#define PG_RESERVE_MAX 100000

/* Stubs for 2..until in `wal_dir` where there is no file yet; durable. */
MUST_CHECK int pg_history_reserve(const char *wal_dir, uint32_t until, struct err *why);
/* Remove the stubs above the newest true history file; durable. */
MUST_CHECK int pg_history_release(const char *wal_dir, struct err *why);
/* "0000000A.history" -> 10; 0 for any other name. */
uint32_t pg_history_number(const char *file_name);

#endif
