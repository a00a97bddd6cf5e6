/*
 * Operators' calls. One that comes in from the gateway waits here until its end is known: at the
 * leader it goes to the agent, at any other member over the peer wire to the leader's agent.
 *
 * A call may be given to the leader more than once only as long as nobody can have carried it out:
 * while no leader is known, and after an answer that says "not the leader". Once it was given away
 * and no answer comes, its end is not known, and that is what the caller hears.
 */
#include <inttypes.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "consensus.h"

/* The agent gives a call up after 4 T; the ways there and back are short. */
static uint64_t call_lifetime_ns(const struct consensus *self)
{
	return 5 * self->config.agent.election_ns + 1000 * NS_PER_MS;
}

static void tell_gateway(struct consensus *self, const struct call_result *result)
{
	struct call_result_message message;
	struct err why = {0};

	call_result_to_message(result, &message);
	/* A gateway that is gone has no caller any more. */
	if (bus_send(self->worker->bus, ROUTE_CALL_RESULT, &message.result.base, &why) < 0)
		log_event(LOG_INFO, "call.lost", "id=%" PRIu64 " %s", result->id, why.text);
}

static void log_end(const struct call *call, const struct call_result *result)
{
	log_event(LOG_NOTICE, "call.end",
		  "call=%s id=%" PRIu64 " result=%s operation=%" PRIu64 " first_blocker=%s",
		  call_kind_name(call->kind), call->id, call_code_name(result->code),
		  result->operation,
		  result->blocker_count > 0 ? blocker_name(result->blockers[0].kind) : "none");
}

static void row_end(struct consensus *self, struct pending_call *row,
		    const struct call_result *result)
{
	log_end(&row->call, result);
	tell_gateway(self, result);
	row->call.kind = CALL_NONE;
}

static void end_with(struct consensus *self, struct pending_call *row, uint8_t code,
		     uint8_t blocker)
{
	const struct call_result result = {
		.id = row->call.id,
		.via = row->call.via,
		.code = code,
		.blocker_count = 1,
		.blockers = {{.kind = blocker}},
	};

	row_end(self, row, &result);
}

/* Nothing was changed by a dry run, whatever became of it. */
static void end_late(struct consensus *self, struct pending_call *row)
{
	end_with(self, row, row->given && !row->call.dry_run ? CALL_UNCERTAIN : CALL_REFUSED,
		 BLOCK_NO_QUORUM);
}

/* To the leader, if one is known now and the row has not been given to anybody yet. */
static void give(struct consensus *self, struct pending_call *row)
{
	const struct raft_view view = raftnode_view(self->node);
	struct agent_event event = {.kind = EV_CALL, .call = row->call};

	if (row->given || view.leader_id == NODE_NONE || (view.leader && !view.ready))
		return;
	if (view.leader) {
		row->given = true;
		raftnode_event(self->node, &event);
		return;
	}
	/* What could not be put on the wire has not been given. */
	row->given = peers_send_call(self, view.leader_id, &row->call) == 0;
}

static struct pending_call *row_free(struct consensus *self)
{
	for (unsigned i = 0; i < CALLS_MAX; i++) {
		if (self->calls[i].call.kind == CALL_NONE)
			return &self->calls[i];
	}
	return NULL;
}

static struct pending_call *row_find(struct consensus *self, uint64_t id)
{
	for (unsigned i = 0; i < CALLS_MAX; i++) {
		if (self->calls[i].call.kind != CALL_NONE && self->calls[i].call.id == id)
			return &self->calls[i];
	}
	return NULL;
}

static void refuse(struct consensus *self, uint64_t id, uint8_t blocker)
{
	const struct call_result result = {
		.id = id,
		.via = self->config.agent.self,
		.code = CALL_REFUSED,
		.blocker_count = 1,
		.blockers = {{.kind = blocker}},
	};

	tell_gateway(self, &result);
}

void calls_take(struct consensus *self, const Mha__Bus__Call *message)
{
	struct pending_call *row = row_free(self);
	struct err why = {0};
	struct call call;

	if (call_from_message(message, &call, &why) < 0) {
		log_event(LOG_WARNING, "call.refused", "%s", why.text);
		if (message->id != 0)
			refuse(self, message->id, BLOCK_INVALID);
		return;
	}
	if (!consensus_takes_part(self)) {
		refuse(self, call.id, BLOCK_NO_QUORUM);
		return;
	}
	if (row == NULL || row_find(self, call.id) != NULL) {
		refuse(self, call.id, BLOCK_BUSY);
		return;
	}
	call.via = self->config.agent.self;
	*row = (struct pending_call){
		.call = call,
		.until_ns = consensus_now_ns() + call_lifetime_ns(self),
	};
	log_event(LOG_NOTICE, "call.taken", "call=%s id=%" PRIu64 " node=%u dry_run=%d",
		  call_kind_name(call.kind), call.id, call.node, call.dry_run);
	give(self, row);
}

void calls_take_forwarded(struct consensus *self, node_id from, const Mha__Bus__Call *message)
{
	struct agent_event event = {.kind = EV_CALL};
	struct err why = {0};

	if (call_from_message(message, &event.call, &why) < 0) {
		peer_drop(self->peers, from, PEER_DROP_MALFORMED, why.text);
		return;
	}
	if (event.call.via != from) {
		peer_drop(self->peers, from, PEER_DROP_IDENTITY, "it sent a call via another node");
		return;
	}
	raftnode_event(self->node, &event);
}

static void take_end(struct consensus *self, const struct call_result *result)
{
	struct pending_call *row = row_find(self, result->id);

	/* The caller has been told already that its end is not known. */
	if (row == NULL || !row->given)
		return;
	if (result->code != CALL_NOT_LEADER) {
		row_end(self, row, result);
		return;
	}
	/* It changed nothing there; the next tick gives it to whoever leads by then. */
	row->given = false;
}

void calls_take_result(struct consensus *self, node_id from, const Mha__Bus__CallResult *message)
{
	struct call_result result;
	struct err why = {0};

	if (call_result_from_message(message, &result, &why) < 0) {
		peer_drop(self->peers, from, PEER_DROP_MALFORMED, why.text);
		return;
	}
	if (result.via != self->config.agent.self) {
		peer_drop(self->peers, from, PEER_DROP_IDENTITY,
			  "it sent the end of another node's call");
		return;
	}
	take_end(self, &result);
}

void calls_effect(struct consensus *self, node_id to, const struct call_result *result)
{
	if (to == self->config.agent.self)
		take_end(self, result);
	else
		peers_send_call_result(self, to, result);
}

void calls_tick(struct consensus *self)
{
	const uint64_t now = consensus_now_ns();

	for (unsigned i = 0; i < CALLS_MAX; i++) {
		struct pending_call *row = &self->calls[i];

		if (row->call.kind == CALL_NONE)
			continue;
		if (now >= row->until_ns || !consensus_takes_part(self))
			end_late(self, row);
		else
			give(self, row);
	}
}
