/*
 * Connections that hear events as they come (GET /v1/events, text/event-stream). At most
 * STREAMS_MAX at a time; each holds one piece of text and a small socket buffer, so that what a
 * client costs does not depend on how it reads. Who does not keep up is dropped.
 */
#ifndef MHA_GATEWAY_STREAMS_H
#define MHA_GATEWAY_STREAMS_H

#include <microhttpd.h>

#include "gateway/gateway.h"
#include "gateway/routes.h"

#define STREAMS_MAX 32

struct stream;

struct streams {
	struct gateway *gateway;
	bool closing;
	struct stream *list[STREAMS_MAX]; /* NULL: a free place */
};

/* NULL: no place is left, or out of memory. Ends with the response, which the caller destroys. */
struct MHD_Response *streams_add(struct streams *streams, struct MHD_Connection *connection,
				 const struct http_answer *answer);
/* Events may have come. */
void streams_look(struct streams *streams);
/* To be called about every second: who is gone or stuck is dropped, the others hear a comment. */
void streams_tick(struct streams *streams);
/* The daemon is about to stop: none is suspended any more. */
void streams_release(struct streams *streams);
unsigned streams_count(const struct streams *streams);

#endif
