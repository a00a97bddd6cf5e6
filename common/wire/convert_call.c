/* What operators ask for, and what became of it. */
#include <inttypes.h>

#include "base/check.h"
#include "wire/convert.h"
#include "wire/ranges.h"

void call_to_message(const struct call *call, Mha__Bus__Call *out)
{
	mha__bus__call__init(out);
	out->id = call->id;
	out->via = call->via;
	out->kind = call->kind;
	out->node = call->node;
	out->on = call->on;
	out->dry_run = call->dry_run;
	out->accept_loss = call->accept_loss;
	out->force = call->force;
	out->pin = call->pin;
	out->mode = call->mode;
	out->quorum_sync = call->quorum_sync;
	out->start_ms = call->start_ms;
	out->end_ms = call->end_ms;
}

int call_from_message(const Mha__Bus__Call *message, struct call *call, struct err *why)
{
	struct call made = {0};
	int rc;

	if (message->id == 0)
		return err_set(why, ERR_INVALID, "call: id is 0");
	if (message->quorum_sync >= NODES_MAX && message->quorum_sync != QUORUM_SYNC_KEEP)
		return err_set(why, ERR_INVALID,
			       "call: quorum_sync is %" PRIu32 ", not one of 0..%d or %d",
			       message->quorum_sync, NODES_MAX - 1, QUORUM_SYNC_KEEP);
	if ((rc = range_node(message->via, true, "via", &made.via, why)) < 0 ||
	    (rc = range_enum(message->kind, CALL_NONE + 1, CALL_KIND_COUNT, "kind", &made.kind,
			     why)) < 0 ||
	    (rc = range_node(message->node, true, "node", &made.node, why)) < 0 ||
	    (rc = range_enum(message->mode, 0, MODE_COUNT, "mode", &made.mode, why)) < 0)
		return err_in(why, rc, "call");
	made.id = message->id;
	made.on = message->on;
	made.dry_run = message->dry_run;
	made.accept_loss = message->accept_loss;
	made.force = message->force;
	made.pin = message->pin;
	made.quorum_sync = (uint8_t)message->quorum_sync;
	made.start_ms = message->start_ms;
	made.end_ms = message->end_ms;
	*call = made;
	return 0;
}

void call_result_to_message(const struct call_result *result, struct call_result_message *out)
{
	Mha__Bus__CallResult *to = &out->result;

	CHECK(result->blocker_count <= BLOCKERS_MAX);
	mha__bus__call_result__init(to);
	to->id = result->id;
	to->via = result->via;
	to->code = result->code;
	to->leader = result->leader;
	to->node = result->node;
	to->operation = result->operation;
	to->epoch = result->epoch;
	to->loss_bytes = result->loss_bytes;
	to->n_blockers = result->blocker_count;
	to->blockers = out->blocker_list;
	for (unsigned i = 0; i < result->blocker_count; i++) {
		Mha__Bus__Blocker *blocker = &out->blockers[i];

		mha__bus__blocker__init(blocker);
		blocker->kind = result->blockers[i].kind;
		blocker->node = result->blockers[i].node;
		blocker->value = result->blockers[i].value;
		blocker->limit = result->blockers[i].limit;
		out->blocker_list[i] = blocker;
	}
}

static int blockers_from_message(const Mha__Bus__CallResult *message, struct call_result *result,
				 struct err *why)
{
	int rc = range_count(message->n_blockers, BLOCKERS_MAX, "blockers", why);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < message->n_blockers; i++) {
		const Mha__Bus__Blocker *from = message->blockers[i];
		struct blocker *to = &result->blockers[i];

		if ((rc = range_enum(from->kind, BLOCK_NONE + 1, BLOCK_KIND_COUNT, "blockers.kind",
				     &to->kind, why)) < 0 ||
		    (rc = range_node(from->node, true, "blockers.node", &to->node, why)) < 0)
			return rc;
		to->value = from->value;
		to->limit = from->limit;
	}
	result->blocker_count = (uint8_t)message->n_blockers;
	return 0;
}

int call_result_from_message(const Mha__Bus__CallResult *message, struct call_result *result,
			     struct err *why)
{
	struct call_result made = {0};
	int rc;

	if (message->id == 0)
		return err_set(why, ERR_INVALID, "call result: id is 0");
	if ((rc = range_node(message->via, true, "via", &made.via, why)) < 0 ||
	    (rc = range_enum(message->code, 0, CALL_CODE_COUNT, "code", &made.code, why)) < 0 ||
	    (rc = range_node(message->leader, true, "leader", &made.leader, why)) < 0 ||
	    (rc = range_node(message->node, true, "node", &made.node, why)) < 0 ||
	    (rc = blockers_from_message(message, &made, why)) < 0)
		return err_in(why, rc, "call result");
	made.id = message->id;
	made.operation = message->operation;
	made.epoch = message->epoch;
	made.loss_bytes = message->loss_bytes;
	*result = made;
	return 0;
}
