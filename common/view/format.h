/* Sizes, times and positions as people read them. */
#ifndef MHA_VIEW_FORMAT_H
#define MHA_VIEW_FORMAT_H

#include <stdint.h>

#include "base/macros.h"

#define FORMAT_SIZE 40

/* Each returns the text, which need not be in the buffer. */

/* "512 B", "16 MB" (rounded down, at least three digits); "unknown" below 0. */
MUST_CHECK const char *format_bytes(int64_t bytes, char buffer[FORMAT_SIZE]);
/* "1/2A3B4C"; "-" for 0. */
MUST_CHECK const char *format_lsn(uint64_t lsn, char buffer[FORMAT_SIZE]);
/* "2026-01-31 12:00:00.123 UTC"; "-" for 0. Milliseconds since 1970. */
MUST_CHECK const char *format_time(uint64_t wall_ms, char buffer[FORMAT_SIZE]);
/* "812 ms", "4.2 s", "3m05s", "2h07m", "5d03h". Milliseconds; "unknown" below 0. */
MUST_CHECK const char *format_duration(int64_t ms, char buffer[FORMAT_SIZE]);

#endif
