#include "gateway/v1_calls.h"

#include <stdalign.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/macros.h"
#include "gateway/problems.h"
#include "gateway/requests.h"
#include "view/json.h"
#include "view/message.h"

#define NUMBER_SIZE 24

static const struct action_field TO_FIELDS[] = {
	{"to", "to", FIELD_TEXT, false},
	{"dry_run", "dry_run", FIELD_FLAG, false},
	{"not_before", "start_ms", FIELD_TIME, false},
	{"not_after", "end_ms", FIELD_TIME, false},
	{0},
};
static const struct action_field FAILOVER_FIELDS[] = {
	{"to", "to", FIELD_TEXT, true},
	{"accept_loss", "accept_loss", FIELD_FLAG, false},
	{"dry_run", "dry_run", FIELD_FLAG, false},
	{0},
};
static const struct action_field MODE_FIELDS[] = {
	{"mode", "mode", FIELD_TEXT, false},       {"quorum", "quorum", FIELD_QUORUM, false},
	{"pin", "pin", FIELD_FLAG, false},         {"force", "force", FIELD_FLAG, false},
	{"dry_run", "dry_run", FIELD_FLAG, false}, {0},
};
static const struct action_field ON_FIELDS[] = {{"on", "on", FIELD_FLAG, true}, {0}};
static const struct action_field UNTIL_FIELDS[] = {{"until", "until_ms", FIELD_TIME, false}, {0}};
static const struct action_field MAINTENANCE_FIELDS[] = {
	{"node", "node", FIELD_TEXT, true},
	{"on", "on", FIELD_FLAG, true},
	{0},
};
static const struct action_field MEMBER_FIELDS[] = {
	{"node", "node", FIELD_TEXT, true},
	{"force", "force", FIELD_FLAG, false},
	{"dry_run", "dry_run", FIELD_FLAG, false},
	{0},
};
static const struct action_field NO_FIELDS[] = {{0}};

/*
 * Tokens of new nodes are not given out over HTTP, nor is it told who used one: a token lets a host
 * in whom nobody has seen yet, HTTP need not be encrypted, and what proves an admin there is a
 * password or a token that load balancers and their logs may see. The request socket asks for a
 * CURVE key.
 */
#define CALL(PATH, NEEDS, CALL_CASE, FIELDS)                                                       \
	{                                                                                          \
		"POST", "/v1/" PATH, NEEDS, PATH, NULL, MHA__CLIENT__REQUEST__CALL_##CALL_CASE,    \
			FIELDS                                                                     \
	}

/* The role is the least one; request_needs() has the last word. */
static const struct action V1_ACTIONS[] = {
	CALL("switchover", ROLE_OPERATE, SWITCHOVER, TO_FIELDS),
	CALL("failover", ROLE_OPERATE, FAILOVER, FAILOVER_FIELDS),
	CALL("cancel", ROLE_OPERATE, CANCEL, NO_FIELDS),
	CALL("pause", ROLE_OPERATE, PAUSE, UNTIL_FIELDS),
	CALL("resume", ROLE_OPERATE, RESUME, NO_FIELDS),
	CALL("maintenance", ROLE_OPERATE, MAINTENANCE, MAINTENANCE_FIELDS),
	CALL("restart", ROLE_OPERATE, RESTART, MEMBER_FIELDS),
	CALL("reload", ROLE_OPERATE, RELOAD, NO_FIELDS),
	CALL("reinit", ROLE_ADMIN, REINIT, MEMBER_FIELDS),
	CALL("mode", ROLE_ADMIN, SET_MODE, MODE_FIELDS),
	CALL("auto-failover", ROLE_ADMIN, AUTO_FAILOVER, ON_FIELDS),
	CALL("auto-switch", ROLE_ADMIN, AUTO_SWITCH, ON_FIELDS),
	CALL("member-add", ROLE_ADMIN, MEMBER_ADD, MEMBER_FIELDS),
	CALL("member-remove", ROLE_ADMIN, MEMBER_REMOVE, MEMBER_FIELDS),
};

const struct action *v1_action_at(size_t at)
{
	return at < COUNT_OF(V1_ACTIONS) ? &V1_ACTIONS[at] : NULL;
}

/* A request of any of these kinds, with what its oneof points to. */
struct built {
	Mha__Client__Request request;
	union {
		max_align_t align;
		Mha__Client__Switchover switchover;
		Mha__Client__Failover failover;
		Mha__Client__SetMode set_mode;
		Mha__Client__Maintenance maintenance;
		Mha__Client__MemberAdd member;
		Mha__Client__Pause pause;
	} body;
	char number[NUMBER_SIZE];
};

static const ProtobufCFieldDescriptor *call_descriptor(const struct action *action)
{
	const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field(
		&mha__client__request__descriptor, action->call);

	CHECK(field != NULL && field->type == PROTOBUF_C_TYPE_MESSAGE);
	return field;
}

static void build_init(const struct action *action, struct built *built)
{
	const ProtobufCFieldDescriptor *field = call_descriptor(action);
	const ProtobufCMessageDescriptor *kind = field->descriptor;
	void *body = &built->body;

	CHECK(kind->sizeof_message <= sizeof(built->body));
	mha__client__request__init(&built->request);
	built->request.version = CLIENT_PROTOCOL_VERSION;
	built->request.call_case = action->call;
	protobuf_c_message_init(kind, body);
	memcpy((char *)&built->request + field->offset, &body, sizeof(body));
}

static bool take_text(const char *text, char *at)
{
	if (text == NULL)
		return false;
	memcpy(at, &text, sizeof(text));
	return true;
}

static bool take_flag(const json_t *value, char *at)
{
	const protobuf_c_boolean flag = json_is_true(value);

	memcpy(at, &flag, sizeof(flag));
	return json_is_boolean(value);
}

static bool take_time(const json_t *value, char *at)
{
	const char *text = json_string_value(value);
	uint64_t ms = 0;
	bool zone;

	if (text == NULL || !action_parse_time(text, &ms, &zone))
		return false;
	memcpy(at, &ms, sizeof(ms));
	return true;
}

/* A number, or "majority". */
static bool take_quorum(const json_t *value, struct built *built, char *at)
{
	if (!json_is_integer(value))
		return take_text(json_string_value(value), at);
	snprintf(built->number, sizeof(built->number), "%lld",
		 (long long)json_integer_value(value));
	return take_text(built->number, at);
}

static const char *const EXPECTED[] = {
	[FIELD_TEXT] = "a string",
	[FIELD_FLAG] = "a boolean",
	[FIELD_TIME] = "a time with its zone (2026-01-31T12:00:00Z)",
	[FIELD_QUORUM] = "a number or \"majority\"",
};

static bool take_field(const struct action *action, const struct action_field *row,
		       const json_t *value, struct built *built)
{
	const ProtobufCMessageDescriptor *kind = call_descriptor(action)->descriptor;
	const ProtobufCFieldDescriptor *field =
		protobuf_c_message_descriptor_get_field_by_name(kind, row->to);
	char *at;

	CHECK(field != NULL);
	at = (char *)&built->body + field->offset;
	switch (row->kind) {
	case FIELD_TEXT:
		return take_text(json_string_value(value), at);
	case FIELD_FLAG:
		return take_flag(value, at);
	case FIELD_TIME:
		return take_time(value, at);
	default:
		return take_quorum(value, built, at);
	}
}

static const struct action_field *field_named(const struct action *action, const char *name)
{
	for (const struct action_field *row = action->fields; row->name != NULL; row++) {
		if (strcmp(row->name, name) == 0)
			return row;
	}
	return NULL;
}

/* Names that nobody knows, and what is missing, are refused: a slip must not become a default. */
static bool take_fields(const struct action *action, json_t *body, struct built *built,
			struct http_answer *answer)
{
	const char *name;
	json_t *value;

	json_object_foreach(body, name, value)
	{
		const struct action_field *row = field_named(action, name);

		if (row == NULL) {
			problem_answer(answer, PROBLEM_INVALID, NULL, "%s: it has no field '%.40s'",
				       action->path, name);
			return false;
		}
		if (json_is_null(value) && !row->needed)
			continue;
		if (!take_field(action, row, value, built)) {
			problem_answer(answer, PROBLEM_INVALID, NULL, "%s: %s must be %s",
				       action->path, name, EXPECTED[row->kind]);
			return false;
		}
	}
	for (const struct action_field *row = action->fields; row->name != NULL; row++) {
		if (row->needed && json_object_get(body, row->name) == NULL) {
			problem_answer(answer, PROBLEM_INVALID, NULL, "%s: %s is missing",
				       action->path, row->name);
			return false;
		}
	}
	return true;
}

unsigned v1_read(const struct action *action, json_t *body, const struct view *view,
		 struct action_call *out, struct http_answer *answer)
{
	struct built built;
	struct err why = {0};
	int rc;

	build_init(action, &built);
	if (!take_fields(action, body, &built, answer))
		return answer->status;
	out->needs = request_needs(&built.request);
	if (out->needs == ROLE_NONE) {
		problem_answer(answer, PROBLEM_FORBIDDEN, NULL, "%s: nobody may", action->path);
		return answer->status;
	}
	if (action->call == MHA__CLIENT__REQUEST__CALL_RELOAD) {
		out->reload = true;
		return 0;
	}
	rc = request_to_call(&built.request, view, &out->call, &why);
	if (rc == 0)
		return 0;
	problem_answer(answer, rc == ERR_NOT_FOUND ? PROBLEM_UNKNOWN_MEMBER : PROBLEM_INVALID, NULL,
		       "%s", why.text);
	return answer->status;
}

static bool no_quorum(const struct call_result *result)
{
	return result->blocker_count > 0 && result->blockers[0].kind == BLOCK_NO_QUORUM;
}

static void end_badly(const struct call_result *result, const json_t *reply,
		      struct http_answer *answer)
{
	json_t *blockers = json_incref(json_object_get(reply, "blockers"));

	if (result->code != CALL_REFUSED)
		problem_answer(answer, PROBLEM_UNCERTAIN, blockers,
			       "leadership changed before it was on record");
	else if (no_quorum(result))
		problem_answer(answer, PROBLEM_NO_QUORUM, blockers, "%s",
			       blocker_text(BLOCK_NO_QUORUM));
	else
		problem_answer(answer, PROBLEM_REFUSED, blockers, "%u blocker%s against it",
			       result->blocker_count,
			       result->blocker_count == 1 ? " stands" : "s stand");
}

void v1_end(const struct view *view, const struct call_result *result, struct http_answer *answer)
{
	struct call_reply_message message;
	json_t *reply;

	call_reply_to_message(view, result, &message);
	reply = call_reply_to_json(&message.reply);
	if (reply == NULL) {
		*answer = (struct http_answer){.status = 500};
		return;
	}
	if (result->code != CALL_ACCEPTED && result->code != CALL_POSSIBLE) {
		end_badly(result, reply, answer);
		json_decref(reply);
		return;
	}
	*answer = (struct http_answer){.status = 200, .type = TYPE_JSON};
	/* Something goes on: a promotion is known by its epoch, the rest by an id. */
	if (result->code == CALL_ACCEPTED && (result->operation != 0 || result->epoch != 0))
		answer->status = 202;
	if (answer->status == 202 && result->operation != 0)
		snprintf(answer->location, sizeof(answer->location), "/v1/operations/%llu",
			 (unsigned long long)result->operation);
	answer->body = json_print(reply, JSON_COMPACT);
	if (answer->body == NULL)
		*answer = (struct http_answer){.status = 500};
}
