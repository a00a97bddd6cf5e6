/* One request of a client, bytes in and bytes out. Pure: sockets are in clients.c. */
#ifndef MHA_GATEWAY_REQUESTS_H
#define MHA_GATEWAY_REQUESTS_H

#include "access/role.h"
#include "core/call.h"
#include "gateway/events.h"
#include "view/message.h"

#define REQUEST_BYTES_MAX 4096
#define EVENTS_WAIT_MS    30000 /* the longest that GetEvents may wait */
#define RELOAD_WAIT_MS    10000 /* for the master's word: a file is read, checked and handed out */

enum request_step {
	REQUEST_ANSWER = 0, /* `reply` is the answer */
	REQUEST_REFUSE,     /* so it is, and says what is wrong */
	REQUEST_CALL,       /* `call` is to be carried out; its end is the answer */
	REQUEST_ENROLL,     /* of the gateway itself: a token, its use, or who used one */
	REQUEST_RELOAD, /* the master is to read the configuration again; its end is the answer */
	REQUEST_WAIT,   /* nothing newer than `since` is here; wait for `wait_ms` at most */
};

struct request {
	uint64_t id; /* as the client numbered it */
	enum request_step step;
	uint8_t *reply; /* heap, caller's; NULL when memory ran out */
	size_t size;
	struct call call; /* without id and via */
	struct event_number since;
	unsigned wait_ms;
	Mha__Client__Request *enroll; /* REQUEST_ENROLL: the request; the caller frees it */
};

/* Who asks, as the connection has proven. */
struct caller {
	enum role role;
	const char *name; /* of the row that gives the role; "": nobody by name */
	bool local;       /* over the local socket */
	bool token; /* has proven a one-time token, which is good for enrol and nothing else */
};

/*
 * The role that the request needs; ROLE_NONE: it is none that is known here, and nobody may. With
 * accept_loss a failover needs more than without.
 */
enum role request_needs(const Mha__Client__Request *request);

/*
 * What a request that changes something asks of the cluster, whoever asks. ERR_NOT_FOUND: it names
 * nobody; ERR_INVALID: it makes no sense, or is a question.
 */
MUST_CHECK int request_to_call(const Mha__Client__Request *request, const struct view *view,
			       struct call *call, struct err *why);

/*
 * Read the packed Request in `bytes`; whatever they are, there is an answer, which names the place
 * and the reason of what is wrong. Refused is what `caller` has not the role for.
 */
void request_read(const uint8_t *bytes, size_t size, const struct view *view,
		  const struct events *events, const struct caller *caller, struct request *out);

/* Why the configuration was not read again: the master's code (not 0), in words for who has asked.
 */
void request_reload_error(int code, struct err *why);

/* Any reply, with version and id filled in. */
size_t request_reply(uint64_t id, Mha__Client__Reply *reply, uint8_t **bytes);
/* An error reply made of code and text, to `id`. */
size_t request_refuse(uint64_t id, const struct err *why, uint8_t **reply);
/* The end of a call as its reply. */
size_t request_call_end(uint64_t id, const struct view *view, const struct call_result *result,
			uint8_t **reply);
/* The events after `since`, be there any or not. */
size_t request_events(uint64_t id, const struct events *events, struct event_number since,
		      uint8_t **reply);

#endif
