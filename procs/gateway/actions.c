#include "gateway/actions.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/macros.h"
#include "base/text.h"
#include "gateway/requests.h"
#include "gateway/v1_calls.h"

#define TYPE_TEXT          "text/plain; charset=utf-8"
#define RESTART_WAIT_MAX_S 3600

void action_answer(struct http_answer *answer, unsigned status, const char *format, ...)
{
	va_list args;

	*answer = (struct http_answer){.status = status, .type = TYPE_TEXT};
	va_start(args, format);
	if (vasprintf(&answer->body, format, args) < 0)
		*answer = (struct http_answer){.status = 500};
	va_end(args);
}

void action_refuse(const struct action *action, struct http_answer *answer, enum problem problem,
		   const char *format, ...)
{
	va_list args;

	va_start(args, format);
	if (action->call != MHA__CLIENT__REQUEST__CALL__NOT_SET) {
		problem_answer_va(answer, problem, NULL, format, args);
	} else {
		*answer =
			(struct http_answer){.status = problem_status(problem), .type = TYPE_TEXT};
		if (vasprintf(&answer->body, format, args) < 0)
			*answer = (struct http_answer){.status = 500};
	}
	va_end(args);
}

static unsigned refuse(struct http_answer *answer, unsigned status, const char *text)
{
	action_answer(answer, status, "%s", text);
	return status;
}

static bool take_digits(const char **text, unsigned count, int *value)
{
	*value = 0;
	for (unsigned i = 0; i < count; i++, (*text)++) {
		if (**text < '0' || **text > '9')
			return false;
		*value = *value * 10 + (**text - '0');
	}
	return true;
}

static bool take(const char **text, char wanted)
{
	if (**text != wanted)
		return false;
	(*text)++;
	return true;
}

/* "Z", "+01:00", "+0100" or "+01", in minutes. */
static bool take_zone(const char **text, int *minutes)
{
	int hours, rest = 0;
	bool west;

	*minutes = 0;
	if (take(text, 'Z') || take(text, 'z'))
		return true;
	west = **text == '-';
	if (!take(text, '+') && !take(text, '-'))
		return false;
	if (!take_digits(text, 2, &hours) || hours > 14)
		return false;
	if (**text != '\0') {
		(void)take(text, ':');
		if (!take_digits(text, 2, &rest) || rest > 59)
			return false;
	}
	*minutes = (hours * 60 + rest) * (west ? -1 : 1);
	return true;
}

static bool take_clock(const char **text, struct tm *tm)
{
	int ignored;

	if (!take_digits(text, 2, &tm->tm_hour) || !take(text, ':') ||
	    !take_digits(text, 2, &tm->tm_min) || tm->tm_hour > 23 || tm->tm_min > 59)
		return false;
	if (take(text, ':') && (!take_digits(text, 2, &tm->tm_sec) || tm->tm_sec > 59))
		return false;
	if (take(text, '.')) {
		if (!take_digits(text, 1, &ignored))
			return false;
		while (take_digits(text, 1, &ignored))
			continue;
	}
	return true;
}

bool action_parse_time(const char *text, uint64_t *ms, bool *zone)
{
	struct tm tm = {.tm_isdst = 0};
	int minutes;
	time_t seconds;

	*zone = false;
	if (!take_digits(&text, 4, &tm.tm_year) || !take(&text, '-') ||
	    !take_digits(&text, 2, &tm.tm_mon) || !take(&text, '-') ||
	    !take_digits(&text, 2, &tm.tm_mday) || (!take(&text, 'T') && !take(&text, ' ')) ||
	    tm.tm_year < 1970 || tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_mday < 1 ||
	    tm.tm_mday > 31 || !take_clock(&text, &tm))
		return false;
	while (take(&text, ' '))
		continue;
	*zone = *text == '\0';
	if (!take_zone(&text, &minutes) || *text != '\0')
		return false;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	seconds = timegm(&tm) - (time_t)minutes * 60;
	if (seconds < 0)
		return false;
	*ms = (uint64_t)seconds * 1000;
	return true;
}

/* A string member of the body; "" if it is missing or null. NULL: it is something else. */
static const char *member_text(json_t *body, const char *name)
{
	json_t *value = json_object_get(body, name);

	if (value == NULL || json_is_null(value))
		return "";
	return json_string_value(value);
}

static node_id find_node(const struct view *view, const char *name)
{
	for (unsigned i = 0; i < view->member_count; i++) {
		if (strcmp(view->members[i].name, name) == 0)
			return view->members[i].id;
	}
	return NODE_NONE;
}

static unsigned take_candidate(const char *name, const struct view *view, struct action_call *out,
			       struct http_answer *answer)
{
	if (name[0] == '\0')
		return 0;
	out->call.node = find_node(view, name);
	if (out->call.node == NODE_NONE || !text_copy(out->wanted, sizeof(out->wanted), name)) {
		action_answer(answer, 412, "candidate does not exist");
		return 412;
	}
	return 0;
}

static unsigned take_schedule(json_t *body, uint64_t wall_ms, struct action_call *out,
			      struct http_answer *answer)
{
	const char *text = member_text(body, "scheduled_at");
	bool zone;

	if (text == NULL)
		return refuse(answer, 400, "scheduled_at: a string is wanted");
	if (text[0] == '\0')
		return 0;
	if (!action_parse_time(text, &out->call.start_ms, &zone))
		return zone ? refuse(answer, 400,
				     "Timezone information is mandatory for the scheduled "
				     "switchover")
			    : refuse(answer, 422,
				     "Unable to parse scheduled timestamp. It should be "
				     "in an unambiguous format, e.g. ISO 8601");
	if (out->call.start_ms <= wall_ms)
		return refuse(answer, 422, "Cannot schedule switchover in the past");
	return 0;
}

static unsigned read_switchover(json_t *body, const struct view *view, uint64_t wall_ms,
				struct action_call *out, struct http_answer *answer)
{
	const char *leader = member_text(body, "leader");
	const char *candidate = member_text(body, "candidate");
	unsigned status;

	out->call.kind = CALL_SWITCHOVER;
	if (leader == NULL || candidate == NULL)
		return refuse(answer, 400, "leader, candidate: strings are wanted");
	if (leader[0] == '\0')
		return refuse(answer, 400,
			      "Switchover could be performed only from a specific leader");
	if (strcmp(leader, candidate) == 0)
		return refuse(answer, 400, "Switchover target and source are the same");
	if ((status = take_schedule(body, wall_ms, out, answer)) != 0)
		return status;
	if (view->primary == NODE_NONE || find_node(view, leader) != view->primary)
		return refuse(answer, 412, "leader name does not match");
	return take_candidate(candidate, view, out, answer);
}

static unsigned read_failover(json_t *body, const struct view *view, uint64_t wall_ms,
			      struct action_call *out, struct http_answer *answer)
{
	const char *candidate = member_text(body, "candidate");
	const char *leader = member_text(body, "leader");
	json_t *loss = json_object_get(body, "accept_loss");

	if (candidate != NULL && candidate[0] == '\0')
		candidate = member_text(body, "member");
	if (candidate == NULL || leader == NULL || (loss != NULL && !json_is_boolean(loss)))
		return refuse(
			answer, 400,
			"leader, candidate, member: strings are wanted; accept_loss: a boolean");
	if (candidate[0] == '\0')
		return refuse(answer, 400,
			      "Failover could be performed only to a specific candidate");
	/* As there, a failover from a named leader is a switchover. */
	if (leader[0] != '\0')
		return read_switchover(body, view, wall_ms, out, answer);
	if (member_text(body, "scheduled_at") == NULL ||
	    member_text(body, "scheduled_at")[0] != '\0')
		return refuse(answer, 400, "Failover can't be scheduled");
	out->call.kind = CALL_FAILOVER;
	out->call.accept_loss = json_is_true(loss);
	if (out->call.accept_loss)
		out->needs = ROLE_ADMIN;
	return take_candidate(candidate, view, out, answer);
}

static unsigned read_cancel(json_t *body, const struct view *view, uint64_t wall_ms,
			    struct action_call *out, struct http_answer *answer)
{
	UNUSED(body);
	UNUSED(view);
	UNUSED(wall_ms);
	UNUSED(answer);
	out->call.kind = CALL_CANCEL;
	return 0;
}

/* A member of the body that is there and is not null or false. */
static bool wants(json_t *body, const char *name)
{
	json_t *value = json_object_get(body, name);

	return value != NULL && !json_is_null(value) && !json_is_false(value);
}

/* "primary" and the like: only a node that is it is restarted. */
static unsigned take_role(json_t *body, const struct view *view, struct http_answer *answer)
{
	const char *role = member_text(body, "role");
	const bool primary = view->self != NODE_NONE && view->self == view->primary;

	if (role == NULL)
		return refuse(answer, 400, "role: a string is wanted");
	if (role[0] == '\0')
		return 0;
	if (strcmp(role, "primary") != 0 && strcmp(role, "replica") != 0 &&
	    strcmp(role, "standby_leader") != 0)
		return refuse(answer, 400,
			      "PostgreSQL role should be either primary, standby_leader, or "
			      "replica");
	/* There are no standby clusters here, so nobody leads one. */
	if (strcmp(role, primary ? "primary" : "replica") != 0)
		return refuse(answer, 503, "restart conditions are not satisfied");
	return 0;
}

/* Seconds, as a number or in a string of digits: how long the client waits. */
static unsigned take_wait(json_t *body, struct action_call *out, struct http_answer *answer)
{
	json_t *value = json_object_get(body, "timeout");
	uint64_t seconds = 0;

	if (value == NULL || json_is_null(value))
		return 0;
	if (json_is_string(value) && !text_parse_u64(json_string_value(value), &seconds))
		seconds = 0;
	if (json_is_integer(value) && json_integer_value(value) > 0)
		seconds = (uint64_t)json_integer_value(value);
	if (seconds == 0 || seconds > RESTART_WAIT_MAX_S)
		return refuse(answer, 400, "timeout: a number of seconds is wanted, 1 to 3600");
	out->wait_ms = seconds * 1000;
	return 0;
}

/* Of this node. What Patroni's body can say and is not known here is refused, not passed over. */
static unsigned read_restart(json_t *body, const struct view *view, uint64_t wall_ms,
			     struct action_call *out, struct http_answer *answer)
{
	unsigned status;

	UNUSED(wall_ms);
	if (wants(body, "schedule"))
		return refuse(answer, 400, "a restart cannot be scheduled here");
	if (wants(body, "postgres_version") || wants(body, "restart_pending"))
		return refuse(answer, 400,
			      "postgres_version, restart_pending: this agent does not know whether "
			      "a restart is pending; restart without them");
	if ((status = take_role(body, view, answer)) != 0 ||
	    (status = take_wait(body, out, answer)) != 0)
		return status;
	out->call.kind = CALL_RESTART;
	out->call.node = view->self;
	return 0;
}

/* None can be scheduled, so there is none to delete. */
static unsigned read_restart_delete(json_t *body, const struct view *view, uint64_t wall_ms,
				    struct action_call *out, struct http_answer *answer)
{
	UNUSED(body);
	UNUSED(view);
	UNUSED(wall_ms);
	UNUSED(out);
	return refuse(answer, 404, "no restarts are scheduled");
}

/* Clones are made of the primary, so `from_leader` asks for nothing else. */
static unsigned read_reinitialize(json_t *body, const struct view *view, uint64_t wall_ms,
				  struct action_call *out, struct http_answer *answer)
{
	static const char *const flags[] = {"force", "from_leader", "from-leader"};

	UNUSED(wall_ms);
	for (size_t i = 0; i < COUNT_OF(flags); i++) {
		json_t *value = json_object_get(body, flags[i]);

		if (value != NULL && !json_is_boolean(value) && !json_is_null(value))
			return refuse(answer, 400, "force, from_leader: booleans are wanted");
	}
	out->call.kind = CALL_REINIT;
	out->call.node = view->self;
	out->call.force = json_is_true(json_object_get(body, "force"));
	return 0;
}

static unsigned read_reload(json_t *body, const struct view *view, uint64_t wall_ms,
			    struct action_call *out, struct http_answer *answer)
{
	UNUSED(body);
	UNUSED(view);
	UNUSED(wall_ms);
	UNUSED(answer);
	out->reload = true;
	return 0;
}

/* What is neither here nor in v1_calls.c changes nothing. */
static const struct action ACTIONS[] = {
	{"POST", "/switchover", ROLE_OPERATE, "Switchover", read_switchover, 0, NULL},
	{"DELETE", "/switchover", ROLE_OPERATE, "Cancellation", read_cancel, 0, NULL},
	{"POST", "/failover", ROLE_OPERATE, "Failover", read_failover, 0, NULL},
	{"POST", "/restart", ROLE_OPERATE, "Restart", read_restart, 0, NULL},
	{"DELETE", "/restart", ROLE_OPERATE, "Restart", read_restart_delete, 0, NULL},
	{"POST", "/reinitialize", ROLE_ADMIN, "Reinitialize", read_reinitialize, 0, NULL},
	{"POST", "/reload", ROLE_OPERATE, "Reload", read_reload, 0, NULL},
};

const struct action *action_at(size_t at)
{
	return at < COUNT_OF(ACTIONS) ? &ACTIONS[at] : v1_action_at(at - COUNT_OF(ACTIONS));
}

const struct action *action_find(const char *method, const char *path)
{
	const struct action *action;

	for (size_t i = 0; (action = action_at(i)) != NULL; i++) {
		if (strcmp(action->method, method) == 0 && strcmp(action->path, path) == 0)
			return action;
	}
	return NULL;
}

unsigned action_read(const struct action *action, const char *body, size_t size,
		     const struct view *view, uint64_t wall_ms, struct action_call *out,
		     struct http_answer *answer)
{
	json_error_t wrong;
	json_t *parsed = NULL;
	unsigned status;

	*out = (struct action_call){.action = action, .needs = action->needs};
	if (size > 0)
		parsed = json_loadb(body, size, JSON_REJECT_DUPLICATES, &wrong);
	if (size > 0 && !json_is_object(parsed)) {
		json_decref(parsed);
		action_refuse(action, answer, PROBLEM_INVALID, "the body must be a JSON object");
		return 400;
	}
	status = action->read == NULL ? v1_read(action, parsed, view, out, answer)
				      : action->read(parsed, view, wall_ms, out, answer);
	json_decref(parsed);
	return status;
}

static bool has_blocker(const struct call_result *result, enum blocker_kind kind)
{
	for (unsigned i = 0; i < result->blocker_count; i++) {
		if (result->blockers[i].kind == kind)
			return true;
	}
	return false;
}

/* Where Patroni says 503 for what it cannot do now. */
static unsigned refused_status(const struct action_call *asked, const struct call_result *result)
{
	switch (asked->call.kind) {
	case CALL_RESTART:
	case CALL_REINIT:
		return 503;
	case CALL_CANCEL:
		return has_blocker(result, BLOCK_NO_QUORUM) ? 503 : 409;
	default:
		return has_blocker(result, BLOCK_NO_QUORUM) ? 503 : 412;
	}
}

/* "node-b: it is not streaming; ..." */
static void tell_blockers(const struct action_call *asked, const struct view *view, unsigned status,
			  const struct call_result *result, struct http_answer *answer)
{
	char text[1024] = "";
	size_t used = 0;

	for (unsigned i = 0; i < result->blocker_count && used < sizeof(text) - 1; i++) {
		const struct blocker *blocker = &result->blockers[i];
		const int more = snprintf(
			text + used, sizeof(text) - used, "%s%s%s%s", i > 0 ? "; " : "",
			blocker->node != NODE_NONE ? view_name(view, blocker->node) : "",
			blocker->node != NODE_NONE ? ": " : "", blocker_text(blocker->kind));

		used += more > 0 ? (size_t)more : 0;
	}
	action_answer(answer, status, "%s failed: %s", asked->action->name, text);
}

bool action_end(struct action_call *asked, const struct view *view,
		const struct call_result *result, struct http_answer *answer)
{
	if (asked->action->call != MHA__CLIENT__REQUEST__CALL__NOT_SET) {
		v1_end(view, result, answer);
		return true;
	}
	switch (result->code) {
	case CALL_ACCEPTED:
		break;
	case CALL_REFUSED:
		if (asked->call.kind == CALL_CANCEL && has_blocker(result, BLOCK_NO_OPERATION))
			action_answer(answer, 404, "no switchover is scheduled");
		else
			tell_blockers(asked, view, refused_status(asked, result), result, answer);
		return true;
	default:
		action_answer(answer, 503, "%s status unknown: look at /cluster, then ask again",
			      asked->action->name);
		return true;
	}
	if (asked->call.kind == CALL_CANCEL) {
		action_answer(answer, 200, "scheduled switchover deleted");
		return true;
	}
	/* The clone takes as long as the database is big. */
	if (asked->call.kind == CALL_REINIT) {
		action_answer(answer, 200, "reinitialize started");
		return true;
	}
	if (asked->call.start_ms != 0) {
		action_answer(answer, 202, "%s scheduled", asked->action->name);
		return true;
	}
	asked->operation = result->operation;
	asked->epoch = result->epoch;
	return false;
}

static void tell_done(const struct action_call *asked, const char *name, struct http_answer *answer)
{
	const char *what = asked->call.kind == CALL_FAILOVER ? "failed over" : "switched over";

	if (asked->call.kind == CALL_RESTART) {
		action_answer(answer, 200, "restarted successfully");
		return;
	}
	if (asked->wanted[0] != '\0' && strcmp(asked->wanted, name) != 0)
		action_answer(answer, 200, "%c%s to \"%s\" instead of \"%s\"",
			      what[0] == 'f' ? 'F' : 'S', what + 1, name, asked->wanted);
	else
		action_answer(answer, 200, "Successfully %s to \"%s\"", what, name);
}

bool action_look(const struct action_call *asked, const struct view *view,
		 struct http_answer *answer)
{
	const struct cluster *cluster = &view->from->consensus.cluster;

	if (asked->operation == 0) {
		if (asked->epoch == 0 || cluster->epoch < asked->epoch || !cluster->opened)
			return false;
		tell_done(asked, view_name(view, cluster->primary), answer);
		return true;
	}
	for (unsigned i = 0; i < cluster->operation_count && i < OPERATIONS_MAX; i++) {
		const struct operation *operation = &cluster->operations[i];

		if (operation->id != asked->operation || operation->state == OPERATION_SCHEDULED ||
		    operation->state == OPERATION_RUNNING)
			continue;
		if (operation->state == OPERATION_DONE)
			tell_done(asked, view_name(view, operation->to), answer);
		else
			action_answer(answer, 503, "%s failed: %s, %s", asked->action->name,
				      operation_state_name(operation->state),
				      blocker_text(operation->reason));
		return true;
	}
	return false;
}

void action_reloaded(const struct action_call *asked, const struct view *view, int code,
		     struct http_answer *answer)
{
	const struct call_result done = {.code = CALL_ACCEPTED};
	const bool v1 = asked->action->call != MHA__CLIENT__REQUEST__CALL__NOT_SET;
	struct err why = {0};

	if (code == 0 && v1) {
		v1_end(view, &done, answer);
		return;
	}
	if (code == 0) {
		action_answer(answer, 202, "reload scheduled");
		return;
	}
	request_reload_error(code, &why);
	if (!v1)
		action_answer(answer, 503, "Reload failed: %s", why.text);
	else
		problem_answer(answer,
			       code == ERR_BUSY      ? PROBLEM_BUSY
			       : code == ERR_TIMEOUT ? PROBLEM_UNAVAILABLE
						     : PROBLEM_REFUSED,
			       NULL, "%s", why.text);
}

void action_lost(const struct action_call *asked, unsigned seconds, struct http_answer *answer)
{
	if (asked->action->call != MHA__CLIENT__REQUEST__CALL__NOT_SET)
		action_refuse(asked->action, answer, PROBLEM_UNCERTAIN,
			      "the cluster has not answered within %u seconds", seconds);
	else
		action_answer(answer, 503, "%s status unknown after %u seconds",
			      asked->action->name, seconds);
}
