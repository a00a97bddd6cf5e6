/*
 * Requests that wait for the collector, oldest first. Bounded: what has no room pushes out the
 * oldest, which is counted. Pure but for its memory; the caller says what time it is.
 */
#ifndef MHA_TRACE_QUEUE_H
#define MHA_TRACE_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define QUEUE_ITEMS_MAX  128
#define QUEUE_BYTES_MAX  ((size_t)8 * 1024 * 1024)
#define QUEUE_BACKOFF_MS 500   /* after the first failure; twice as long after each further one */
#define QUEUE_WAIT_MAX   30000 /* ms; the collector may ask for at most this much, too */

struct queue_item {
	char *body; /* malloc'ed */
	size_t size;
	unsigned spans;
	char trace[33];
};

struct queue {
	struct queue_item items[QUEUE_ITEMS_MAX];
	unsigned first;
	unsigned count;
	size_t bytes;
	unsigned failures; /* of the oldest one, in a row */
	uint64_t next_ms;  /* not tried before */
	uint64_t dropped;  /* requests, ever */
	uint64_t dropped_spans;
	uint64_t sent; /* requests, ever */
};

void queue_init(struct queue *queue);
void queue_fini(struct queue *queue);

/* Takes over `body` (malloc'ed). Returns how many older requests, or this one, had no room. */
unsigned queue_push(struct queue *queue, char *body, size_t size, unsigned spans,
		    const char trace[33]);

/* What is to be tried at `now_ms`; NULL: nothing yet. */
const struct queue_item *queue_due(const struct queue *queue, uint64_t now_ms);
/* Milliseconds until something is due, at most `most`. */
unsigned queue_wait(const struct queue *queue, uint64_t now_ms, unsigned most);

/* What became of the oldest one: delivered; of no use to the collector, now or later (dropped). */
void queue_done(struct queue *queue);
void queue_refused(struct queue *queue);
/*
 * Or to be tried again, `asked_ms` from now if the collector said so (0: it did not). `chance`: any
 * number; by it the wait is up to a fifth shorter, so that exporters do not come all at once.
 */
void queue_again(struct queue *queue, uint64_t now_ms, uint64_t asked_ms, uint32_t chance);

#endif
