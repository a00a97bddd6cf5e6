/*
 * What can be wrong with a request under /v1: one closed table of codes, each with its HTTP status
 * and what to do about it, and one JSON shape:
 *
 *   {"error": {"code", "status", "message", "remedy", "blockers": [...]}}
 */
#ifndef MHA_GATEWAY_PROBLEMS_H
#define MHA_GATEWAY_PROBLEMS_H

#include <jansson.h>

#include "gateway/routes.h"

enum problem {
	PROBLEM_INVALID,         /* the request makes no sense */
	PROBLEM_UNAUTHENTICATED, /* nothing, or something wrong, was proven */
	PROBLEM_FORBIDDEN,       /* the role is not enough */
	PROBLEM_NOT_FOUND,       /* no such path */
	PROBLEM_UNKNOWN_MEMBER,
	PROBLEM_UNKNOWN_OPERATION,
	PROBLEM_UNKNOWN_EPOCH,
	PROBLEM_NOT_ALLOWED, /* the path knows other methods */
	PROBLEM_REFUSED,     /* blockers stand against it; nothing was changed */
	PROBLEM_TOO_BIG,
	PROBLEM_TYPE, /* the body is not said to be JSON */
	PROBLEM_PASSWORDS,
	PROBLEM_BUSY,
	PROBLEM_NO_QUORUM,
	PROBLEM_UNAVAILABLE,
	PROBLEM_UNCERTAIN, /* it is not known how it ended */
	PROBLEM_COUNT
};

/* "invalid", ... Stable. */
const char *problem_code(enum problem problem);
unsigned problem_status(enum problem problem);
const char *problem_remedy(enum problem problem);

/*
 * Makes the answer; its status is that of the table. `blockers` (released; may be NULL) is what
 * call_reply_to_json() tells.
 */
void problem_answer(struct http_answer *answer, enum problem problem, json_t *blockers,
		    const char *format, ...) PRINTF_LIKE(4, 5);
void problem_answer_va(struct http_answer *answer, enum problem problem, json_t *blockers,
		       const char *format, va_list args) PRINTF_LIKE(4, 0);

#endif
