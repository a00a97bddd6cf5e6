/* Points in time and spans of time as operators type them. */
#ifndef MHA_MHACTL_WHEN_H
#define MHA_MHACTL_WHEN_H

#include <stdbool.h>
#include <stdint.h>

/* "500ms", "30s", "10min", "2h", "1d". False on anything else or overflow. */
bool when_parse_span(const char *text, uint64_t *ms);

/*
 * A point in time, in ms since 1970: "+10min" from now, "2026-01-31T12:00[:00]" or with a blank in
 * the middle (local time), the same with "Z" (UTC), or "12:00[:00]", the next time that it is so.
 * False on anything else.
 */
bool when_parse_time(const char *text, uint64_t now_ms, uint64_t *ms);

#endif
