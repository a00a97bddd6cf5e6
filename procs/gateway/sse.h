/*
 * The stream of events as server-sent events (text/event-stream), piece by piece. A stream keeps a
 * position and nothing else: what a client has not taken stays in `events`, which is bounded. Pure.
 */
#ifndef MHA_GATEWAY_SSE_H
#define MHA_GATEWAY_SSE_H

#include "gateway/events.h"

struct sse {
	bool begun;
	bool wanted;            /* the client has named `at`: what is missing after it is told */
	struct event_number at; /* everything up to here was made into text */
};

enum sse_end {
	SSE_TEXT,    /* `text` is the next piece (heap, the caller's) */
	SSE_NOTHING, /* nothing new is there */
	SSE_LOST,    /* what comes next is no longer kept: the client was too slow */
	SSE_FAILED,  /* out of memory */
};

/*
 * Each event is "id: INDEX.SUB" and "data: {...}", the same object as in GET /v1/events. Where
 * events after the wanted number may be missing, the first one is of the type "gap", with data
 * {"wanted", "complete_after"}; its id is the latter.
 */
enum sse_end sse_next(struct sse *sse, const struct events *events, char **text);
/* Whether sse_next() would say something else than SSE_NOTHING. */
bool sse_ready(const struct sse *sse, const struct events *events);
/* Some of what it has not got is gone. */
bool sse_lost(const struct sse *sse, const struct events *events);

#endif
