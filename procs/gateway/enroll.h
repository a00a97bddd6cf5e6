/* Requests about one-time tokens, which the gateway answers itself. */
#ifndef MHA_GATEWAY_ENROLL_H
#define MHA_GATEWAY_ENROLL_H

#include "gateway/gateway.h"
#include "gateway/requests.h"

/* Frees out->enroll, and makes out->reply. `key`: what the connection has proven, or NULL. */
MUST_CHECK int enroll_answer(struct gateway *gateway, const struct caller *caller, const char *key,
			     struct request *out, struct err *why);

#endif
