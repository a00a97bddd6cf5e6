/* The leader's table as text, and documents that contain it. */
#ifndef MHA_STATECHART_DOCUMENT_H
#define MHA_STATECHART_DOCUMENT_H

#include <stdbool.h>
#include <stdio.h>

#include "base/err.h"

/* A Markdown table, one line per row; its numbers are those in the picture. */
void document_table(FILE *to);

/* Graphviz' language, for those who want another layout. */
void document_dot(FILE *to);

/* What `print` prints, as a string for free(). NULL when there is no memory. */
char *document_printed(void (*print)(FILE *to));

/* The whole file as a string for free(). NULL: `why` says it. */
char *document_read(const char *path, struct err *why);

MUST_CHECK int document_write(const char *path, const char *text, struct err *why);

/*
 * `text` with what stands between the two marker lines replaced by `table`, as a string for
 * free(). NULL when a marker is missing or there is no memory: `why` says it.
 */
char *document_with_table(const char *text, const char *table, struct err *why);

#endif
