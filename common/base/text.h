/* Reading numbers and names out of text that somebody else wrote. */
#ifndef MHA_BASE_TEXT_H
#define MHA_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

/* The whole of `text` as an unsigned decimal number. False on anything else or overflow. */
MUST_CHECK bool text_parse_u64(const char *text, uint64_t *value);

/* PostgreSQL's "XXXXXXXX/XXXXXXXX". False on anything else. */
MUST_CHECK bool text_parse_lsn(const char *text, uint64_t *lsn);

#define TEXT_LSN_SIZE 18
/* Writes "1/2A3B4C". Returns `buffer`. */
const char *text_format_lsn(uint64_t lsn, char buffer[TEXT_LSN_SIZE]);

/* [a-z0-9][a-z0-9_-]*, 1..max characters: names that are safe in paths, SQL and labels. */
MUST_CHECK bool text_is_name(const char *text, size_t max);

/* A CURVE key: 40 characters of Z85 that decode. */
MUST_CHECK bool text_is_z85_key(const char *text);

/* Copy and terminate; false (and an empty string) when it does not fit. */
MUST_CHECK bool text_copy(char *to, size_t size, const char *from);

#endif
