/*
 * What the /v1 tree can change: JSON bodies read into the requests of the request socket
 * (proto/client.proto), so that both ways have one table of permissions and one meaning. Pure.
 */
#ifndef MHA_GATEWAY_V1_CALLS_H
#define MHA_GATEWAY_V1_CALLS_H

#include <jansson.h>

#include "gateway/actions.h"

/* NULL: behind the last one. */
const struct action *v1_action_at(size_t at);
/* As action_read(); `body` is an object, or NULL where there was none. */
unsigned v1_read(const struct action *action, json_t *body, const struct view *view,
		 struct action_call *out, struct http_answer *answer);
/* The end of the call is the answer: what goes on has an id. */
void v1_end(const struct view *view, const struct call_result *result, struct http_answer *answer);

#endif
