/*
 * The questions of the /v1 tree: a closed table of path and role, each answered in JSON as
 * docs/openapi.json describes. What changes something is in v1_calls.h. Pure.
 */
#ifndef MHA_GATEWAY_V1_H
#define MHA_GATEWAY_V1_H

#include "access/role.h"
#include "gateway/routes.h"

/* "{...}" in a path stands for its last part. */
struct v1_question {
	const char *path;
	enum role needs;   /* who has proven nothing has the role read */
	const char *query; /* names of what the query may say, blanks between */
	void (*answer)(const struct http_request *request, const char *part,
		       const struct http_world *world, struct http_answer *answer);
};

/* The path is /v1 or below it. */
bool v1_has(const char *path);
/* NULL: behind the last one. */
const struct v1_question *v1_question_at(size_t at);
/* v1_has(request->path). Always gives an answer. */
void v1_answer(const struct http_request *request, const struct http_world *world,
	       struct http_answer *answer);

#endif
