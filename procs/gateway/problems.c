#include "gateway/problems.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/macros.h"
#include "view/json.h"

#define MESSAGE_SIZE 512

static const struct {
	const char *code;
	unsigned status;
	const char *remedy;
} PROBLEMS[PROBLEM_COUNT] = {
	[PROBLEM_INVALID] = {"invalid", 400, "docs/openapi.json describes what is expected"},
	[PROBLEM_UNAUTHENTICATED] = {"unauthenticated", 401,
				     "prove a row of http.users_file: by Authorization: Basic or "
				     "Bearer, or by a certificate"},
	[PROBLEM_FORBIDDEN] = {"forbidden", 403,
			       "an administrator gives roles in http.users_file, and reloads"},
	[PROBLEM_NOT_FOUND] = {"not_found", 404, "docs/openapi.json lists the paths under /v1"},
	[PROBLEM_UNKNOWN_MEMBER] = {"unknown_member", 404, "GET /v1/members lists the members"},
	[PROBLEM_UNKNOWN_OPERATION] = {"unknown_operation", 404,
				       "GET /v1/operations lists those that are kept"},
	[PROBLEM_UNKNOWN_EPOCH] = {"unknown_epoch", 404,
				   "GET /v1/history lists the decisions that are kept"},
	[PROBLEM_NOT_ALLOWED] = {"not_allowed", 405, "the Allow header says what may be asked"},
	[PROBLEM_REFUSED] = {"refused", 409, "each blocker has a remedy; nothing was changed"},
	[PROBLEM_TOO_BIG] = {"too_big", 413, "send the fields of the description only"},
	[PROBLEM_TYPE] = {"unsupported_type", 415, "send Content-Type: application/json"},
	[PROBLEM_PASSWORDS] = {"too_many_passwords", 429, "ask again in a second"},
	[PROBLEM_BUSY] = {"busy", 503, "ask again when others are done, or ask another member"},
	[PROBLEM_NO_QUORUM] = {"no_quorum", 503,
			       "ask again when a leader is known (GET /v1/cluster: raft_leader); "
			       "nothing was changed"},
	[PROBLEM_UNAVAILABLE] = {"unavailable", 503,
				 "ask another member, or again when this agent is whole"},
	[PROBLEM_UNCERTAIN] = {"uncertain", 504,
			       "it may have been done: look at GET /v1/operations and "
			       "GET /v1/cluster before asking again"},
};

const char *problem_code(enum problem problem)
{
	return PROBLEMS[problem].code;
}

unsigned problem_status(enum problem problem)
{
	return PROBLEMS[problem].status;
}

const char *problem_remedy(enum problem problem)
{
	return PROBLEMS[problem].remedy;
}

void problem_answer_va(struct http_answer *answer, enum problem problem, json_t *blockers,
		       const char *format, va_list args)
{
	char message[MESSAGE_SIZE];

	vsnprintf(message, sizeof(message), format, args);
	*answer = (struct http_answer){.status = problem_status(problem), .type = TYPE_JSON};
	answer->body = json_print(json_pack("{s:{s:s, s:i, s:o, s:s, s:o}}", "error", "code",
					    problem_code(problem), "status",
					    (int)problem_status(problem), "message",
					    json_text(message), "remedy", problem_remedy(problem),
					    "blockers", blockers != NULL ? blockers : json_array()),
				  JSON_COMPACT);
	if (answer->body == NULL)
		*answer = (struct http_answer){.status = 500};
}

void problem_answer(struct http_answer *answer, enum problem problem, json_t *blockers,
		    const char *format, ...)
{
	va_list args;

	va_start(args, format);
	problem_answer_va(answer, problem, blockers, format, args);
	va_end(args);
}
