/*
 * Prints the gateway's tables of what HTTP offers, a line each, for the test that compares them
 * with docs/openapi.json:
 *
 *   question PATH ROLE [QUERY]...         under /v1
 *   path PATH                             a question in Patroni's form
 *   action METHOD PATH ROLE [FIELD:KIND:NEEDED]...
 *   problem CODE STATUS
 */
#include <stdio.h>

#include "gateway/actions.h"
#include "gateway/problems.h"
#include "gateway/v1.h"

static const char *const KINDS[] = {
	[FIELD_TEXT] = "text",
	[FIELD_FLAG] = "flag",
	[FIELD_TIME] = "time",
	[FIELD_QUORUM] = "quorum",
};

int main(void)
{
	const struct v1_question *question;
	const struct action *action;
	const char *path;

	for (size_t i = 0; (question = v1_question_at(i)) != NULL; i++)
		printf("question %s %s %s\n", question->path, role_name(question->needs),
		       question->query);
	for (size_t i = 0; (path = http_path_at(i)) != NULL; i++)
		printf("path %s%s\n", path[0] == '/' ? "" : "/", path);
	for (size_t i = 0; (action = action_at(i)) != NULL; i++) {
		printf("action %s %s %s", action->method, action->path, role_name(action->needs));
		for (const struct action_field *row = action->fields;
		     row != NULL && row->name != NULL; row++)
			printf(" %s:%s:%d", row->name, KINDS[row->kind], row->needed);
		printf("\n");
	}
	for (unsigned i = 0; i < PROBLEM_COUNT; i++)
		printf("problem %s %u\n", problem_code(i), problem_status(i));
	return 0;
}
