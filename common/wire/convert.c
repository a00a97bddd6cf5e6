#include "wire/convert.h"

#include <inttypes.h>
#include <string.h>

#include "base/check.h"
#include "core/agent.h"
#include "wire/ranges.h"

int range_node(uint32_t value, bool none_allowed, const char *field, node_id *node, struct err *why)
{
	if (value > NODES_MAX || (value == NODE_NONE && !none_allowed))
		return err_set(why, ERR_INVALID, "%s is %" PRIu32 ", not a node id of %d..%d",
			       field, value, none_allowed ? 0 : 1, NODES_MAX);
	*node = (node_id)value;
	return 0;
}

int range_set(uint32_t value, const char *field, node_set *set, struct err *why)
{
	const uint32_t allowed = ((UINT32_C(1) << NODES_MAX) - 1) << 1;

	if ((value & ~allowed) != 0)
		return err_set(why, ERR_INVALID, "%s is 0x%" PRIx32 ", not a set of nodes 1..%d",
			       field, value, NODES_MAX);
	*set = value;
	return 0;
}

int range_enum(uint32_t value, uint32_t min, uint32_t count, const char *field, uint8_t *to,
	       struct err *why)
{
	CHECK(count <= UINT8_MAX + 1);
	if (value < min || value >= count)
		return err_set(why, ERR_INVALID,
			       "%s is %" PRIu32 ", not one of %" PRIu32 "..%" PRIu32, field, value,
			       min, count - 1);
	*to = (uint8_t)value;
	return 0;
}

int range_count(size_t value, size_t max, const char *field, struct err *why)
{
	if (value > max)
		return err_set(why, ERR_TOO_BIG, "%s has %zu rows, at most %zu", field, value, max);
	return 0;
}

void rule_to_message(struct sync_rule rule, Mha__Bus__SyncRule *out)
{
	mha__bus__sync_rule__init(out);
	out->members = rule.members;
	out->need = rule.need;
}

int rule_from_message(const Mha__Bus__SyncRule *message, const char *field, struct sync_rule *rule,
		      struct err *why)
{
	*rule = (struct sync_rule){0};
	if (message == NULL)
		return 0;

	int rc = range_set(message->members, field, &rule->members, why);

	if (rc == 0)
		rc = range_enum(message->need, 0, NODES_MAX + 1, field, &rule->need, why);
	return rc;
}

static void position_to_message(const struct wal_position *position, struct facts_message *out)
{
	Mha__Bus__WalPosition *message = &out->position;

	CHECK(position->branch_count <= WAL_HISTORY_MAX);
	mha__bus__wal_position__init(message);
	message->timeline = position->timeline;
	message->flushed = position->flushed;
	message->replayed = position->replayed;
	message->n_branches = position->branch_count;
	message->branches = out->branch_list;
	for (unsigned i = 0; i < position->branch_count; i++) {
		mha__bus__wal_branch__init(&out->branches[i]);
		out->branches[i].timeline = position->branches[i].timeline;
		out->branches[i].end = position->branches[i].end;
		out->branch_list[i] = &out->branches[i];
	}
}

static int position_from_message(const Mha__Bus__WalPosition *message,
				 struct wal_position *position, struct err *why)
{
	*position = (struct wal_position){0};
	if (message == NULL)
		return 0;

	int rc = range_count(message->n_branches, WAL_HISTORY_MAX, "position.branches", why);

	if (rc < 0)
		return rc;
	position->timeline = message->timeline;
	position->flushed = message->flushed;
	position->replayed = message->replayed;
	position->branch_count = (uint8_t)message->n_branches;
	for (size_t i = 0; i < message->n_branches; i++) {
		position->branches[i].timeline = message->branches[i]->timeline;
		position->branches[i].end = message->branches[i]->end;
	}
	return 0;
}

static void standbys_to_message(const struct facts *facts, struct facts_message *out)
{
	CHECK(facts->standby_count <= NODES_MAX);
	out->facts.n_standbys = facts->standby_count;
	out->facts.standbys = out->standby_list;
	for (unsigned i = 0; i < facts->standby_count; i++) {
		Mha__Bus__StandbyView *view = &out->standbys[i];

		mha__bus__standby_view__init(view);
		view->node = facts->standbys[i].node;
		view->streaming = facts->standbys[i].streaming;
		view->flushed = facts->standbys[i].flushed;
		view->replayed = facts->standbys[i].replayed;
		out->standby_list[i] = view;
	}
}

static int standbys_from_message(const Mha__Bus__Facts *message, struct facts *facts,
				 struct err *why)
{
	int rc = range_count(message->n_standbys, NODES_MAX, "standbys", why);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < message->n_standbys; i++) {
		const Mha__Bus__StandbyView *view = message->standbys[i];

		rc = range_node(view->node, false, "standbys.node", &facts->standbys[i].node, why);
		if (rc < 0)
			return rc;
		facts->standbys[i].streaming = view->streaming;
		facts->standbys[i].flushed = view->flushed;
		facts->standbys[i].replayed = view->replayed;
	}
	facts->standby_count = (uint8_t)message->n_standbys;
	return 0;
}

void facts_to_message(const struct facts *facts, const char *detail, struct facts_message *out)
{
	/* The generated struct has char * where it only reads. */
	static char nothing[] = "";
	union {
		const char *from;
		char *to;
	} text = {.from = detail};

	mha__bus__facts__init(&out->facts);
	out->facts.node = facts->node;
	out->facts.seq = facts->seq;
	out->facts.db = facts->db;
	out->facts.job = facts->job;
	out->facts.job_done = facts->job_done;
	out->facts.job_total = facts->job_total;
	out->facts.system_id = facts->system_id;
	position_to_message(&facts->position, out);
	out->facts.position = &out->position;
	out->facts.receiving = facts->receiving;
	out->facts.upstream = facts->upstream;
	out->facts.promise = facts->promise;
	out->facts.config_epoch = facts->config_epoch;
	rule_to_message(facts->rule, &out->rule);
	out->facts.rule = &out->rule;
	out->facts.rule_since = facts->rule_since;
	standbys_to_message(facts, out);
	out->facts.serving_epoch = facts->serving_epoch;
	out->facts.excluded = facts->excluded;
	out->facts.damaged = facts->damaged;
	out->facts.needs_rebuild = facts->needs_rebuild;
	out->facts.fault = facts->fault;
	out->facts.phase = facts->phase;
	out->facts.wal_oldest = facts->wal_oldest;
	out->facts.roster = facts->roster;
	out->facts.restarted = facts->restarted;
	out->facts.primary_epoch = facts->primary_epoch;
	out->facts.primary_seen = facts->primary_seen;
	out->facts.primary_age_ms = facts->primary_age_ms;
	out->facts.applied = facts->applied;
	out->facts.detail = detail == NULL ? nothing : text.to;
}

int facts_from_message(const Mha__Bus__Facts *message, struct facts *facts, struct err *why)
{
	struct facts made = {0};
	int rc;

	if ((rc = range_node(message->node, true, "node", &made.node, why)) < 0 ||
	    (rc = range_enum(message->db, 0, DB_STATE_COUNT, "db", &made.db, why)) < 0 ||
	    (rc = range_enum(message->job, 0, JOB_COUNT, "job", &made.job, why)) < 0 ||
	    (rc = range_enum(message->fault, 0, FAULT_COUNT, "fault", &made.fault, why)) < 0 ||
	    (rc = range_enum(message->phase, 0, PHASE_COUNT, "phase", &made.phase, why)) < 0 ||
	    (rc = range_node(message->upstream, true, "upstream", &made.upstream, why)) < 0 ||
	    (rc = position_from_message(message->position, &made.position, why)) < 0 ||
	    (rc = rule_from_message(message->rule, "rule", &made.rule, why)) < 0 ||
	    (rc = standbys_from_message(message, &made, why)) < 0)
		return err_in(why, rc, "facts");
	made.seq = message->seq;
	made.job_done = message->job_done;
	made.job_total = message->job_total;
	made.system_id = message->system_id;
	made.receiving = message->receiving;
	made.promise = message->promise;
	made.config_epoch = message->config_epoch;
	made.rule_since = message->rule_since;
	made.serving_epoch = message->serving_epoch;
	made.excluded = message->excluded;
	made.damaged = message->damaged;
	made.needs_rebuild = message->needs_rebuild;
	made.wal_oldest = message->wal_oldest;
	made.roster = message->roster;
	made.restarted = message->restarted;
	made.primary_epoch = message->primary_epoch;
	made.primary_seen = message->primary_seen;
	made.primary_age_ms = message->primary_age_ms;
	made.applied = message->applied;
	*facts = made;
	return 0;
}

void order_to_message(const struct order *order, struct order_message *out)
{
	mha__bus__order__init(&out->order);
	out->order.id = order->id;
	out->order.epoch = order->epoch;
	out->order.kind = order->kind;
	out->order.promise = order->promise;
	out->order.upstream = order->upstream;
	rule_to_message(order->rule, &out->rule);
	out->order.rule = &out->rule;
	out->order.keep_rule = order->keep_rule;
	out->order.reserve_until = order->reserve_until;
	out->order.lease_until_ns = order->lease_until_ns;
}

int order_from_message(const Mha__Bus__Order *message, struct order *order, struct err *why)
{
	struct order made = {0};
	int rc;

	if (message->id == 0)
		return err_set(why, ERR_INVALID, "order: id is 0");
	if ((rc = range_enum(message->kind, 1, ORDER_KIND_COUNT, "kind", &made.kind, why)) < 0 ||
	    (rc = range_node(message->upstream, true, "upstream", &made.upstream, why)) < 0 ||
	    (rc = rule_from_message(message->rule, "rule", &made.rule, why)) < 0)
		return err_in(why, rc, "order");
	made.id = message->id;
	made.epoch = message->epoch;
	made.promise = message->promise;
	made.keep_rule = message->keep_rule;
	made.reserve_until = message->reserve_until;
	made.lease_until_ns = message->lease_until_ns;
	*order = made;
	return 0;
}
