/* Inputs that are text: what a file or a program says, as the parsers get it. */
#ifndef MHA_FUZZ_TEXT_H
#define MHA_FUZZ_TEXT_H

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

/* A copy that ends in NUL, of exactly that size: a sanitizer sees a step beyond. free() it. */
static inline char *fuzz_text(const uint8_t *bytes, size_t size)
{
	char *text = malloc(size + 1);

	CHECK(text != NULL);
	if (size > 0)
		memcpy(text, bytes, size);
	text[size] = '\0';
	return text;
}

/* Each line alone, without its end, cut as child.c cuts them. */
static inline void fuzz_lines(const uint8_t *bytes, size_t size,
			      void (*take)(void *arg, const char *line), void *arg)
{
	enum { LINE_MAX_BYTES = 1023 };

	while (size > 0) {
		const uint8_t *end = memchr(bytes, '\n', size);
		const size_t whole = end != NULL ? (size_t)(end - bytes) : size;
		char *line = fuzz_text(bytes, whole < LINE_MAX_BYTES ? whole : LINE_MAX_BYTES);

		take(arg, line);
		free(line);
		bytes += end != NULL ? whole + 1 : whole;
		size -= end != NULL ? whole + 1 : whole;
	}
}

#endif
