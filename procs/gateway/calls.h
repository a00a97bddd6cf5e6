/* What HTTP clients have changed: from the permission to the answer, while the connection waits. */
#ifndef MHA_GATEWAY_CALLS_H
#define MHA_GATEWAY_CALLS_H

#include <microhttpd.h>

#include "gateway/actions.h"
#include "gateway/auth.h"
#include "gateway/gateway.h"

#define HTTP_CALLS_MAX 16

/* One request that wants to change something, from its headers to its end. */
struct http_call {
	const struct action *action;
	struct MHD_Connection *connection;
	struct auth_result who;
	char body[ACTION_BODY_MAX];
	size_t size;
	bool too_big;
	bool waiting;  /* suspended */
	bool accepted; /* the operation goes on */
	bool answered; /* `answer` is to be sent */
	uint64_t until_ms;
	uint64_t asked_ms;
	struct action_call asked;
	struct http_answer answer;
};

struct http_calls {
	struct gateway *gateway;
	struct auth auth;
	struct http_call *list[HTTP_CALLS_MAX]; /* NULL: a free place */
};

MUST_CHECK int calls_init(struct http_calls *calls, struct gateway *gateway, struct err *why);
/*
 * The headers of a request are here. True: `who` may do that, as far as the headers tell; nobody
 * else takes up room. False: `answer` says why not.
 */
bool calls_admit(struct http_calls *calls, const struct action *action,
		 struct MHD_Connection *connection, struct auth_result *who,
		 struct http_answer *answer);
/* NULL: too many are under way, or out of memory. */
struct http_call *calls_add(struct http_calls *calls, const struct action *action,
			    struct MHD_Connection *connection, const struct auth_result *who);
void calls_remove(struct http_calls *calls, struct http_call *call);
/* A piece of the body. */
void call_take(struct http_call *call, const char *data, size_t size);
/* The request is here. True: call->answer is made; false: it is to wait. */
bool call_begin(struct http_calls *calls, struct http_call *call);
/* True: the result is that of one of these. */
bool calls_end(struct http_calls *calls, const struct call_result *result);
/* The master's word about the reload that was asked for. */
void calls_reloaded(struct http_calls *calls, int code);
void calls_look(struct http_calls *calls);

#endif
