#include "gateway/v1.h"

#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "base/text.h"
#include "gateway/actions.h"
#include "gateway/problems.h"
#include "view/json.h"
#include "view/message.h"

#define ALLOW_QUESTION "GET, HEAD, OPTIONS"
#define ALLOW_ACTION   "POST, OPTIONS"
#define TYPE_STREAM    "text/event-stream"

bool v1_has(const char *path)
{
	return strncmp(path, "/v1", 3) == 0 && (path[3] == '\0' || path[3] == '/');
}

static void tell(struct http_answer *answer, json_t *value)
{
	*answer = (struct http_answer){.status = 200, .type = TYPE_JSON};
	answer->body = json_print(value, JSON_COMPACT);
	if (answer->body == NULL)
		*answer = (struct http_answer){.status = 500};
}

static void answer_cluster(const struct http_request *request, const char *part,
			   const struct http_world *world, struct http_answer *answer)
{
	struct status_message message;

	UNUSED(request);
	UNUSED(part);
	status_to_message(world->view, &message);
	events_place_status(world->events, &message.status);
	tell(answer, status_to_json(&message.status));
}

static void answer_leader(const struct http_request *request, const char *part,
			  const struct http_world *world, struct http_answer *answer)
{
	struct leader_message message;

	UNUSED(request);
	UNUSED(part);
	leader_to_message(world->view, &message);
	tell(answer, leader_to_json(&message.leader));
}

static void answer_members(const struct http_request *request, const char *part,
			   const struct http_world *world, struct http_answer *answer)
{
	struct status_message message;
	json_t *list = json_array();

	UNUSED(request);
	UNUSED(part);
	status_to_message(world->view, &message);
	for (size_t i = 0; list != NULL && i < message.status.n_members; i++)
		json_array_append_new(list, member_to_json(message.status.members[i]));
	tell(answer, json_pack("{s:o}", "members", list));
}

static void answer_member(const struct http_request *request, const char *part,
			  const struct http_world *world, struct http_answer *answer)
{
	struct status_message message;

	UNUSED(request);
	status_to_message(world->view, &message);
	for (size_t i = 0; i < message.status.n_members; i++) {
		if (strcmp(message.status.members[i]->name, part) == 0) {
			tell(answer, member_to_json(message.status.members[i]));
			return;
		}
	}
	problem_answer(answer, PROBLEM_UNKNOWN_MEMBER, NULL, "no member is named '%.40s'", part);
}

static void answer_history(const struct http_request *request, const char *part,
			   const struct http_world *world, struct http_answer *answer)
{
	struct history_message message;

	UNUSED(request);
	UNUSED(part);
	history_to_message(world->view, &message);
	tell(answer, history_to_json(&message.history));
}

static void answer_operations(const struct http_request *request, const char *part,
			      const struct http_world *world, struct http_answer *answer)
{
	struct status_message message;

	UNUSED(request);
	UNUSED(part);
	status_to_message(world->view, &message);
	tell(answer,
	     json_pack("{s:o}", "operations",
		       operations_to_json(message.status.operations, message.status.n_operations)));
}

static void answer_operation(const struct http_request *request, const char *part,
			     const struct http_world *world, struct http_answer *answer)
{
	struct status_message message;
	uint64_t id;

	UNUSED(request);
	if (!text_parse_u64(part, &id)) {
		problem_answer(answer, PROBLEM_INVALID, NULL,
			       "/v1/operations/{id}: '%.40s' is no number", part);
		return;
	}
	status_to_message(world->view, &message);
	for (size_t i = 0; i < message.status.n_operations; i++) {
		if (message.status.operations[i]->id == id) {
			tell(answer, operation_to_json(message.status.operations[i]));
			return;
		}
	}
	problem_answer(answer, PROBLEM_UNKNOWN_OPERATION, NULL,
		       "no operation with the id %llu is kept here", (unsigned long long)id);
}

/* The decisions of one epoch, the newest without a word, and why nobody is promoted now. */
static void answer_why(const struct http_request *request, const char *part,
		       const struct http_world *world, struct http_answer *answer)
{
	const char *text = http_query_value(request, "epoch");
	const struct view *view = world->view;
	struct history_message message;
	uint64_t epoch = 0;
	json_t *list;

	UNUSED(part);
	if (text != NULL && !text_parse_u64(text, &epoch)) {
		problem_answer(answer, PROBLEM_INVALID, NULL, "epoch: '%.40s' is no number", text);
		return;
	}
	history_to_message(view, &message);
	if (text == NULL && message.history.n_decisions > 0)
		epoch = message.history.decisions[message.history.n_decisions - 1]->epoch;
	list = json_array();
	for (size_t i = 0; list != NULL && i < message.history.n_decisions; i++) {
		if (message.history.decisions[i]->epoch == epoch)
			json_array_append_new(list, decision_to_json(message.history.decisions[i]));
	}
	if (text != NULL && json_array_size(list) == 0) {
		json_decref(list);
		problem_answer(answer, PROBLEM_UNKNOWN_EPOCH, NULL,
			       "no decision about epoch %llu is kept here",
			       (unsigned long long)epoch);
		return;
	}
	tell(answer,
	     json_pack("{s:o, s:o, s:o, s:o}", "hold",
		       json_text(view->hold != HOLD_NONE ? hold_reason_name(view->hold) : ""),
		       "hold_text", json_text(view->hold_text), "advice", json_text(view->advice),
		       "decisions", list));
}

/* As the header of a client that comes back says, or else as the query does. */
static const char *since_text(const struct http_request *request, bool stream)
{
	if (stream && request->last_event != NULL)
		return request->last_event;
	return http_query_value(request, "since");
}

static void answer_events(const struct http_request *request, const char *part,
			  const struct http_world *world, struct http_answer *answer)
{
	const bool stream = request->accept != NULL && strcmp(request->method, "GET") == 0 &&
			    strstr(request->accept, TYPE_STREAM) != NULL;
	const char *text = since_text(request, stream);
	struct event_number since = {0, 0};
	struct events_message message;

	UNUSED(part);
	if (text != NULL && !event_number_parse(text, &since)) {
		problem_answer(answer, PROBLEM_INVALID, NULL,
			       "since, Last-Event-ID: '%.40s' is not the id of an event "
			       "(INDEX or INDEX.SUB)",
			       text);
		return;
	}
	if (stream) {
		*answer = (struct http_answer){.status = 200, .type = TYPE_STREAM};
		answer->stream = true;
		answer->since = since;
		answer->since_given = text != NULL;
		return;
	}
	events_since(world->events, since, &message);
	tell(answer, events_to_json(&message.events));
}

/* What is not here, and no row of the actions, is not there. */
static const struct v1_question QUESTIONS[] = {
	{"/v1/cluster", ROLE_READ, "", answer_cluster},
	{"/v1/leader", ROLE_READ, "", answer_leader},
	{"/v1/members", ROLE_READ, "", answer_members},
	{"/v1/members/{name}", ROLE_READ, "", answer_member},
	{"/v1/history", ROLE_READ, "", answer_history},
	{"/v1/operations", ROLE_READ, "", answer_operations},
	{"/v1/operations/{id}", ROLE_READ, "", answer_operation},
	{"/v1/why", ROLE_READ, "epoch", answer_why},
	{"/v1/events", ROLE_READ, "since", answer_events},
};

const struct v1_question *v1_question_at(size_t at)
{
	return at < COUNT_OF(QUESTIONS) ? &QUESTIONS[at] : NULL;
}

/* NULL: does not match. Otherwise what stands for "{...}", or "". */
static const char *match(const char *pattern, const char *path)
{
	const char *open = strchr(pattern, '{');
	const size_t length = open != NULL ? (size_t)(open - pattern) : 0;

	if (open == NULL)
		return strcmp(pattern, path) == 0 ? "" : NULL;
	if (strncmp(pattern, path, length) != 0 || path[length] == '\0' ||
	    strchr(path + length, '/') != NULL)
		return NULL;
	return path + length;
}

static const struct v1_question *find(const char *path, const char **part)
{
	for (size_t i = 0; i < COUNT_OF(QUESTIONS); i++) {
		*part = match(QUESTIONS[i].path, path);
		if (*part != NULL)
			return &QUESTIONS[i];
	}
	return NULL;
}

void v1_answer(const struct http_request *request, const struct http_world *world,
	       struct http_answer *answer)
{
	const char *part = "";
	const struct v1_question *question = find(request->path, &part);
	const bool action = question == NULL && action_find("POST", request->path) != NULL;

	if (question == NULL && !action) {
		problem_answer(answer, PROBLEM_NOT_FOUND, NULL, "there is no %.80s", request->path);
		return;
	}
	if (strcmp(request->method, "OPTIONS") == 0) {
		*answer = (struct http_answer){.status = 204};
		answer->allow = action ? ALLOW_ACTION : ALLOW_QUESTION;
		return;
	}
	if (question == NULL ||
	    (strcmp(request->method, "GET") != 0 && strcmp(request->method, "HEAD") != 0)) {
		problem_answer(answer, PROBLEM_NOT_ALLOWED, NULL, "%.80s does not know %.20s",
			       request->path, request->method);
		answer->allow = action ? ALLOW_ACTION : ALLOW_QUESTION;
		return;
	}
	/* Questions need no proof: who has proven nothing has the role read. */
	if (question->needs > ROLE_READ) {
		problem_answer(answer, PROBLEM_FORBIDDEN, NULL, "%.80s needs the role %s",
			       request->path, role_name(question->needs));
		return;
	}
	question->answer(request, part, world, answer);
	if (strcmp(request->method, "HEAD") == 0) {
		free(answer->body);
		answer->body = NULL;
		answer->type = NULL;
	}
}
