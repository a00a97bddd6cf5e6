/* One collector, spoken to over HTTP by libcurl. Blocks at most POST_TIMEOUT_MS. */
#ifndef MHA_TRACE_POST_H
#define MHA_TRACE_POST_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define POST_TIMEOUT_MS 10000

struct post;

enum post_end {
	POST_DONE = 0, /* taken */
	POST_AGAIN,    /* not now: the collector is away or says so */
	POST_REFUSED   /* it will never take this */
};

struct post_options {
	const char *endpoint;    /* http:// or https:// with a path */
	const char *header_file; /* lines "Name: value", for what is secret; NULL: none */
	const char *ca_file;     /* for https; NULL: the host's */
};

/* ERR_INVALID, ERR_IO, ERR_NO_MEMORY. */
MUST_CHECK int post_open(struct post **post, const struct post_options *options, struct err *why);
/* NULL is fine. */
void post_close(struct post *post);

/*
 * Send one request. `why` says what stands against it, also when the collector took only a part
 * (POST_DONE and a text). `*again_ms`: what the collector asks to wait; 0: nothing.
 */
enum post_end post_send(struct post *post, const char *body, size_t size, uint64_t *again_ms,
			struct err *why);

/* What an HTTP status means for what was sent. */
enum post_end post_judge(long status);

#endif
