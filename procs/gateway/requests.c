#include "gateway/requests.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/macros.h"
#include "base/text.h"

static size_t reply_pack(const Mha__Client__Reply *reply, uint8_t **out)
{
	size_t size = mha__client__reply__get_packed_size(reply);

	*out = malloc(size);
	if (*out == NULL)
		return 0;
	CHECK(mha__client__reply__pack(reply, *out) == size);
	return size;
}

size_t request_reply(uint64_t id, Mha__Client__Reply *reply, uint8_t **bytes)
{
	reply->version = CLIENT_PROTOCOL_VERSION;
	reply->id = id;
	return reply_pack(reply, bytes);
}

size_t request_refuse(uint64_t id, const struct err *why, uint8_t **reply)
{
	Mha__Client__Reply message;
	struct err copy = *why;

	mha__client__reply__init(&message);
	message.version = CLIENT_PROTOCOL_VERSION;
	message.id = id;
	message.code = why->code;
	message.error = copy.text;
	return reply_pack(&message, reply);
}

static void reply_init(Mha__Client__Reply *reply, uint64_t id, Mha__Client__Reply__BodyCase body)
{
	mha__client__reply__init(reply);
	reply->version = CLIENT_PROTOCOL_VERSION;
	reply->id = id;
	reply->body_case = body;
}

static size_t answer_leader(uint64_t id, const struct view *view, uint8_t **out)
{
	Mha__Client__Reply reply;
	struct leader_message message;

	leader_to_message(view, &message);
	reply_init(&reply, id, MHA__CLIENT__REPLY__BODY_LEADER);
	reply.leader = &message.leader;
	return reply_pack(&reply, out);
}

static size_t answer_status(uint64_t id, const struct view *view, const struct events *events,
			    uint8_t **out)
{
	Mha__Client__Reply reply;
	struct status_message message;

	status_to_message(view, &message);
	events_place_status(events, &message.status);
	reply_init(&reply, id, MHA__CLIENT__REPLY__BODY_STATUS);
	reply.status = &message.status;
	return reply_pack(&reply, out);
}

static size_t answer_history(uint64_t id, const struct view *view, uint8_t **out)
{
	Mha__Client__Reply reply;
	struct history_message message;

	history_to_message(view, &message);
	reply_init(&reply, id, MHA__CLIENT__REPLY__BODY_HISTORY);
	reply.history = &message.history;
	return reply_pack(&reply, out);
}

size_t request_events(uint64_t id, const struct events *events, struct event_number since,
		      uint8_t **reply)
{
	Mha__Client__Reply message;
	struct events_message list;

	events_since(events, since, &list);
	reply_init(&message, id, MHA__CLIENT__REPLY__BODY_EVENTS);
	message.events = &list.events;
	return reply_pack(&message, reply);
}

size_t request_call_end(uint64_t id, const struct view *view, const struct call_result *result,
			uint8_t **reply)
{
	Mha__Client__Reply message;
	struct call_reply_message body;

	call_reply_to_message(view, result, &body);
	reply_init(&message, id, MHA__CLIENT__REPLY__BODY_CALL_REPLY);
	message.call_reply = &body.reply;
	return reply_pack(&message, reply);
}

static void answer_events(const struct events *events, const Mha__Client__GetEvents *get,
			  struct request *out)
{
	struct events_message list;

	out->since = (struct event_number){get->since_index, get->since_sub};
	out->wait_ms = get->wait_ms < EVENTS_WAIT_MS ? get->wait_ms : EVENTS_WAIT_MS;
	events_since(events, out->since, &list);
	if (out->wait_ms > 0 && list.events.n_events == 0)
		out->step = REQUEST_WAIT;
	else
		out->size = request_events(out->id, events, out->since, &out->reply);
}

/* A question: answered from what is known here. False: the request is none. */
static bool answer_question(const Mha__Client__Request *request, const struct view *view,
			    const struct events *events, struct request *out)
{
	switch (request->call_case) {
	case MHA__CLIENT__REQUEST__CALL_GET_LEADER:
		out->size = answer_leader(out->id, view, &out->reply);
		return true;
	case MHA__CLIENT__REQUEST__CALL_GET_STATUS:
		out->size = answer_status(out->id, view, events, &out->reply);
		return true;
	case MHA__CLIENT__REQUEST__CALL_GET_HISTORY:
		out->size = answer_history(out->id, view, &out->reply);
		return true;
	case MHA__CLIENT__REQUEST__CALL_GET_EVENTS:
		answer_events(events, request->get_events, out);
		return true;
	default:
		return false;
	}
}

/* The id of the member with that name. `needed`: an empty name is none. */
static int take_node(const char *name, bool needed, const struct view *view, node_id *node,
		     const char *field, struct err *why)
{
	*node = NODE_NONE;
	if (name[0] == '\0' && !needed)
		return 0;
	for (unsigned i = 0; i < view->member_count; i++) {
		if (strcmp(view->members[i].name, name) == 0) {
			*node = view->members[i].id;
			return 0;
		}
	}
	return err_set(why, ERR_NOT_FOUND, "%s: no member is named '%.40s'", field, name);
}

static int take_mode(const Mha__Client__SetMode *set, struct call *call, struct err *why)
{
	uint64_t number = 0;

	call->kind = CALL_MODE;
	call->pin = set->pin;
	call->force = set->force;
	call->dry_run = set->dry_run;
	/* What is not named stays as the leader's log has it, which may be newer than this node's.
	 */
	call->mode = MODE_KEEP;
	for (uint8_t mode = MODE_MAX_PROTECTION; mode < MODE_COUNT; mode++) {
		if (strcmp(set->mode, protection_mode_name(mode)) == 0)
			call->mode = mode;
	}
	if (call->mode == MODE_KEEP && set->mode[0] != '\0')
		return err_set(why, ERR_INVALID,
			       "set_mode.mode: '%.40s' is none of max_protection, "
			       "max_availability, max_performance",
			       set->mode);
	call->quorum_sync = QUORUM_SYNC_KEEP;
	if (set->quorum[0] == '\0')
		return 0;
	if (strcmp(set->quorum, "majority") != 0 &&
	    (!text_parse_u64(set->quorum, &number) || number == 0 || number >= NODES_MAX))
		return err_set(why, ERR_INVALID,
			       "set_mode.quorum: '%.40s' is neither majority nor 1 to %d",
			       set->quorum, NODES_MAX - 1);
	call->quorum_sync = (uint8_t)number;
	return 0;
}

static int take_switchover(const Mha__Client__Switchover *from, const struct view *view,
			   struct call *call, struct err *why)
{
	call->kind = CALL_SWITCHOVER;
	call->dry_run = from->dry_run;
	call->start_ms = from->start_ms;
	call->end_ms = from->end_ms;
	return take_node(from->to, false, view, &call->node, "switchover.to", why);
}

static int take_failover(const Mha__Client__Failover *from, const struct view *view,
			 struct call *call, struct err *why)
{
	call->kind = CALL_FAILOVER;
	call->dry_run = from->dry_run;
	call->accept_loss = from->accept_loss;
	return take_node(from->to, true, view, &call->node, "failover.to", why);
}

static int take_member(uint8_t kind, const char *node, bool force, bool dry_run,
		       const struct view *view, struct call *call, struct err *why)
{
	call->kind = kind;
	call->force = force;
	call->dry_run = dry_run;
	return take_node(node, true, view, &call->node, "member.node", why);
}

int request_to_call(const Mha__Client__Request *request, const struct view *view, struct call *call,
		    struct err *why)
{
	switch (request->call_case) {
	case MHA__CLIENT__REQUEST__CALL_SWITCHOVER:
		return take_switchover(request->switchover, view, call, why);
	case MHA__CLIENT__REQUEST__CALL_FAILOVER:
		return take_failover(request->failover, view, call, why);
	case MHA__CLIENT__REQUEST__CALL_CANCEL:
		call->kind = CALL_CANCEL;
		return 0;
	case MHA__CLIENT__REQUEST__CALL_SET_MODE:
		return take_mode(request->set_mode, call, why);
	case MHA__CLIENT__REQUEST__CALL_AUTO_FAILOVER:
		call->kind = CALL_AUTO_FAILOVER;
		call->on = request->auto_failover->on;
		return 0;
	case MHA__CLIENT__REQUEST__CALL_AUTO_SWITCH:
		call->kind = CALL_AUTO_SWITCH;
		call->on = request->auto_switch->on;
		return 0;
	case MHA__CLIENT__REQUEST__CALL_PAUSE:
		call->kind = CALL_PAUSE;
		call->end_ms = request->pause->until_ms;
		return 0;
	case MHA__CLIENT__REQUEST__CALL_RESUME:
		call->kind = CALL_RESUME;
		return 0;
	case MHA__CLIENT__REQUEST__CALL_MAINTENANCE:
		call->kind = CALL_MAINTENANCE;
		call->on = request->maintenance->on;
		return take_node(request->maintenance->node, true, view, &call->node,
				 "maintenance.node", why);
	case MHA__CLIENT__REQUEST__CALL_MEMBER_ADD:
		return take_member(CALL_MEMBER_ADD, request->member_add->node,
				   request->member_add->force, request->member_add->dry_run, view,
				   call, why);
	case MHA__CLIENT__REQUEST__CALL_MEMBER_REMOVE:
		return take_member(CALL_MEMBER_REMOVE, request->member_remove->node,
				   request->member_remove->force, request->member_remove->dry_run,
				   view, call, why);
	case MHA__CLIENT__REQUEST__CALL_RESTART:
		return take_member(CALL_RESTART, request->restart->node, request->restart->force,
				   request->restart->dry_run, view, call, why);
	case MHA__CLIENT__REQUEST__CALL_REINIT:
		return take_member(CALL_REINIT, request->reinit->node, request->reinit->force,
				   request->reinit->dry_run, view, call, why);
	default: /* check_role() refuses what is not known */
		return err_set(why, ERR_INVALID, "request.call: is no call");
	}
}

/* A name that nobody has: an end of the call like any other, told without asking the leader. */
static void refuse_name(const struct view *view, char *name, struct request *out)
{
	const struct call_result result = {
		.code = CALL_REFUSED,
		.blocker_count = 1,
		.blockers = {{.kind = BLOCK_NO_SUCH_NODE}},
	};
	Mha__Client__Reply message;
	struct call_reply_message body;

	call_reply_to_message(view, &result, &body);
	body.blockers[0].node = name;
	reply_init(&message, out->id, MHA__CLIENT__REPLY__BODY_CALL_REPLY);
	message.call_reply = &body.reply;
	out->size = reply_pack(&message, &out->reply);
}

/* The name that a call is about; requests carry it in different places. */
static char *name_of(const Mha__Client__Request *request)
{
	static char none[] = "";

	switch (request->call_case) {
	case MHA__CLIENT__REQUEST__CALL_SWITCHOVER:
		return request->switchover->to;
	case MHA__CLIENT__REQUEST__CALL_FAILOVER:
		return request->failover->to;
	case MHA__CLIENT__REQUEST__CALL_MAINTENANCE:
		return request->maintenance->node;
	case MHA__CLIENT__REQUEST__CALL_MEMBER_ADD:
		return request->member_add->node;
	case MHA__CLIENT__REQUEST__CALL_MEMBER_REMOVE:
		return request->member_remove->node;
	case MHA__CLIENT__REQUEST__CALL_RESTART:
		return request->restart->node;
	case MHA__CLIENT__REQUEST__CALL_REINIT:
		return request->reinit->node;
	default:
		return none;
	}
}

/* The closed table: what is not here is refused. */
static const struct {
	Mha__Client__Request__CallCase call;
	enum role needs;
	const char *name;
} NEEDS[] = {
	{MHA__CLIENT__REQUEST__CALL_GET_LEADER, ROLE_READ, "get_leader"},
	{MHA__CLIENT__REQUEST__CALL_GET_STATUS, ROLE_READ, "get_status"},
	{MHA__CLIENT__REQUEST__CALL_GET_HISTORY, ROLE_READ, "get_history"},
	{MHA__CLIENT__REQUEST__CALL_GET_EVENTS, ROLE_READ, "get_events"},
	{MHA__CLIENT__REQUEST__CALL_SWITCHOVER, ROLE_OPERATE, "switchover"},
	{MHA__CLIENT__REQUEST__CALL_FAILOVER, ROLE_OPERATE, "failover"},
	{MHA__CLIENT__REQUEST__CALL_CANCEL, ROLE_OPERATE, "cancel"},
	{MHA__CLIENT__REQUEST__CALL_PAUSE, ROLE_OPERATE, "pause"},
	{MHA__CLIENT__REQUEST__CALL_RESUME, ROLE_OPERATE, "resume"},
	{MHA__CLIENT__REQUEST__CALL_MAINTENANCE, ROLE_OPERATE, "maintenance"},
	{MHA__CLIENT__REQUEST__CALL_RESTART, ROLE_OPERATE, "restart"},
	{MHA__CLIENT__REQUEST__CALL_RELOAD, ROLE_OPERATE, "reload"},
	{MHA__CLIENT__REQUEST__CALL_REINIT, ROLE_ADMIN, "reinit"},
	{MHA__CLIENT__REQUEST__CALL_SET_MODE, ROLE_ADMIN, "set_mode"},
	{MHA__CLIENT__REQUEST__CALL_AUTO_FAILOVER, ROLE_ADMIN, "auto_failover"},
	{MHA__CLIENT__REQUEST__CALL_AUTO_SWITCH, ROLE_ADMIN, "auto_switch"},
	{MHA__CLIENT__REQUEST__CALL_MEMBER_ADD, ROLE_ADMIN, "member_add"},
	{MHA__CLIENT__REQUEST__CALL_MEMBER_REMOVE, ROLE_ADMIN, "member_remove"},
	{MHA__CLIENT__REQUEST__CALL_ENROLL_TOKEN, ROLE_ADMIN, "enroll_token"},
	{MHA__CLIENT__REQUEST__CALL_GET_ENROLLED, ROLE_OPERATE, "get_enrolled"},
};

static const char *call_name(const Mha__Client__Request *request)
{
	for (size_t i = 0; i < COUNT_OF(NEEDS); i++) {
		if (NEEDS[i].call == request->call_case)
			return NEEDS[i].name;
	}
	return "request.call";
}

enum role request_needs(const Mha__Client__Request *request)
{
	if (request->call_case == MHA__CLIENT__REQUEST__CALL_FAILOVER &&
	    request->failover->accept_loss)
		return ROLE_ADMIN;
	for (size_t i = 0; i < COUNT_OF(NEEDS); i++) {
		if (NEEDS[i].call == request->call_case)
			return NEEDS[i].needs;
	}
	return ROLE_NONE;
}

static int check_role(const Mha__Client__Request *request, const struct caller *caller,
		      struct err *why)
{
	const enum role needs = request_needs(request);

	/* No role is enough for that, and a token is good for nothing else. */
	if (request->call_case == MHA__CLIENT__REQUEST__CALL_ENROLL)
		return caller->token ? 0 : err_set(why, ERR_PERM, "enroll needs a one-time token");
	if (caller->token)
		return err_set(why, ERR_PERM, "%s: a one-time token is good for enroll only",
			       call_name(request));
	if (needs == ROLE_NONE)
		return err_set(why, ERR_INVALID,
			       "request.call: none that this agent knows (get_leader, get_status, "
			       "get_history, get_events, switchover, failover, cancel, set_mode, "
			       "auto_failover, auto_switch, pause, resume, maintenance, "
			       "member_add, member_remove, restart, reinit, reload)");
	if (caller->role >= needs)
		return 0;
	if (caller->local)
		return err_set(why, ERR_PERM,
			       "%s needs the role %s: over the agent's local socket only root may "
			       "change something",
			       call_name(request), role_name(needs));
	if (caller->role == ROLE_NONE)
		return err_set(why, ERR_PERM, "%s needs the role %s: this key is not authorised",
			       call_name(request), role_name(needs));
	if (caller->name[0] == '\0')
		return err_set(why, ERR_PERM,
			       "%s needs the role %s: who connects without a key may only ask "
			       "(client.secret_file, client.authorized_file)",
			       call_name(request), role_name(needs));
	return err_set(why, ERR_PERM, "%s needs the role %s, but %s has the role %s",
		       call_name(request), role_name(needs), caller->name, role_name(caller->role));
}

static void read_request(const Mha__Client__Request *request, const struct view *view,
			 const struct events *events, const struct caller *caller,
			 struct request *out, struct err *why)
{
	int rc;

	out->id = request->id;
	if (request->version != CLIENT_PROTOCOL_VERSION) {
		err_set(why, ERR_VERSION, "request.version: %u, but this agent speaks version %d",
			request->version, CLIENT_PROTOCOL_VERSION);
		return;
	}
	if (check_role(request, caller, why) < 0 || answer_question(request, view, events, out))
		return;
	if (request->call_case == MHA__CLIENT__REQUEST__CALL_ENROLL ||
	    request->call_case == MHA__CLIENT__REQUEST__CALL_ENROLL_TOKEN ||
	    request->call_case == MHA__CLIENT__REQUEST__CALL_GET_ENROLLED) {
		out->step = REQUEST_ENROLL;
		return;
	}
	if (request->call_case == MHA__CLIENT__REQUEST__CALL_RELOAD) {
		out->step = REQUEST_RELOAD;
		return;
	}
	rc = request_to_call(request, view, &out->call, why);
	if (rc == ERR_NOT_FOUND) {
		*why = (struct err){0};
		refuse_name(view, name_of(request), out);
	} else if (rc == 0) {
		out->step = REQUEST_CALL;
	}
}

void request_read(const uint8_t *bytes, size_t size, const struct view *view,
		  const struct events *events, const struct caller *caller, struct request *out)
{
	struct err why = {0};
	Mha__Client__Request *request;

	memset(out, 0, sizeof(*out));
	request =
		size <= REQUEST_BYTES_MAX ? mha__client__request__unpack(NULL, size, bytes) : NULL;
	if (size > REQUEST_BYTES_MAX)
		err_set(&why, ERR_TOO_BIG, "request: %zu bytes, at most %d", size,
			REQUEST_BYTES_MAX);
	else if (request == NULL)
		err_set(&why, ERR_CORRUPT, "request: %zu bytes that are no mha.client.Request",
			size);
	else
		read_request(request, view, events, caller, out, &why);
	if (request != NULL && out->step == REQUEST_ENROLL)
		out->enroll = request;
	else if (request != NULL)
		mha__client__request__free_unpacked(request, NULL);
	if (why.code == 0)
		return;
	out->step = REQUEST_REFUSE;
	out->size = request_refuse(out->id, &why, &out->reply);
}

void request_reload_error(int code, struct err *why)
{
	if (code == ERR_BUSY)
		err_set(why, ERR_BUSY, "the configuration was read a moment ago; ask again");
	else if (code == ERR_TIMEOUT)
		err_set(why, ERR_TIMEOUT, "the master does not answer; see its log");
	else
		err_set(why, ERR_REFUSED,
			"the new configuration is refused (%s) and the running one stays: see "
			"reload.refused in the agent's log, or `mhactl config check`",
			err_name(code));
}
