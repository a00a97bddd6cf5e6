/* One request of a client, bytes in and bytes out. Pure: sockets are in clients.c. */
#ifndef MHA_GATEWAY_REQUESTS_H
#define MHA_GATEWAY_REQUESTS_H

#include "gateway/events.h"
#include "view/message.h"

#define REQUEST_BYTES_MAX 4096

/*
 * The packed Reply to the packed Request in `bytes`; whatever they are, there is an answer, which
 * names the place and the reason of what is wrong. Returns its size and sets `*reply` (heap,
 * caller's), or 0 when memory ran out. `*refused` says that it is an error.
 */
size_t request_answer(const uint8_t *bytes, size_t size, const struct view *view,
		      const struct events *events, uint8_t **reply, bool *refused);

/* The same for a message that is no request at all: an error reply made of `code` and `text`. */
size_t request_refuse(uint64_t id, const struct err *why, uint8_t **reply);

#endif
