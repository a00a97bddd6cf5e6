/* What the serving primary does for the record, and for nodes that must be rebuilt. */
#include <string.h>

#include "core/agent_internal.h"

static void flushed_by_node(const struct agent *agent, wal_lsn flushed[NODES_MAX + 1])
{
	memset(flushed, 0, (NODES_MAX + 1) * sizeof(flushed[0]));
	for (node_id id = 1; id <= NODES_MAX; id++) {
		const struct standby_view *view = agent_standby(agent, id);

		if (view != NULL && view->streaming)
			flushed[id] = view->flushed;
	}
}

static bool wants_rebuild(const struct agent *agent, node_id node)
{
	const struct facts *facts = agent_facts(agent, node, agent->config.election_ns);

	return facts != NULL && facts->needs_rebuild;
}

static struct entry entry_of(const struct agent *agent, enum entry_kind kind)
{
	return (struct entry){
		.kind = (uint8_t)kind,
		.base_version = agent->cluster.version,
		.epoch = agent->cluster.epoch,
	};
}

/* Every commit of earlier epochs is on as many standbys as the record promises. */
static bool may_settle(const struct agent *agent)
{
	const struct cluster *cluster = &agent->cluster;
	wal_lsn flushed[NODES_MAX + 1];
	unsigned count = 0;

	if (cluster->settled)
		return false;
	flushed_by_node(agent, flushed);
	for (node_id id = 1; id <= NODES_MAX; id++)
		if (node_in(cluster->record.members, id) && flushed[id] != 0 &&
		    flushed[id] >= cluster->open_lsn)
			count++;
	return count >= cluster->record.need;
}

static node_id rebuilt_node(const struct agent *agent)
{
	for (node_id id = 1; id <= NODES_MAX; id++) {
		const struct facts *facts = agent_facts(agent, id, agent->config.election_ns);

		if (node_in(agent->cluster.rebuilding, id) && facts != NULL &&
		    facts->db == DB_STANDBY && facts->job == JOB_NONE && !facts->needs_rebuild &&
		    agent_streams(agent, id))
			return id;
	}
	return NODE_NONE;
}

/* pg_rewind compares timelines that a checkpoint has written; so the checkpoint comes first. */
static node_id rebuild_node(const struct agent *agent)
{
	node_set data = cluster_present(&agent->cluster, NODE_DATA) & ~agent->cluster.leaving;

	if (agent->checkpoint_epoch < agent->cluster.epoch || agent->cluster.settings.paused ||
	    PLANTED(agent, BUG_CLONE_WHILE_IN_S))
		return NODE_NONE;
	for (node_id id = 1; id <= NODES_MAX; id++)
		if (node_in(data & ~agent->cluster.rebuilding, id) && id != agent->config.self &&
		    !node_in(agent->cluster.settings.maintenance, id) && wants_rebuild(agent, id))
			return id;
	return NODE_NONE;
}

/*
 * `leaves` is lost for the record and too few others stream for a flush barrier: one holder less
 * is certainly true of what is on record, and any rule that covers the record covers that.
 */
static bool weaken_record(struct agent *agent, struct effects *effects, node_id leaves)
{
	struct entry entry = entry_of(agent, ENTRY_RECORD);
	struct sync_rule target = agent_sync_target(agent, leaves);
	unsigned streaming = 0;

	for (node_id id = 1; id <= NODES_MAX; id++)
		if (node_in(target.members, id) && agent_streams(agent, id))
			streaming++;
	if (streaming >= target.need)
		return false;
	entry.record.record = agent->cluster.record;
	entry.record.lsn = agent->self.position.flushed;
	entry.record.record.members &= ~node_bit(leaves);
	if (entry.record.record.need > 0)
		entry.record.record.need--;
	return sync_covers(agent->self.rule, entry.record.record) &&
	       agent_propose(agent, effects, entry);
}

/*
 * The rule that the database enforces is the one that was read back, and no other is on its way:
 * what was ordered, by this agent or the one before it, may still take effect. Until then nothing
 * new goes on record, and the last order is repeated.
 */
static bool rule_certain(struct agent *agent, struct effects *effects)
{
	const struct pending_order *pending = &agent->pending[EXECUTOR_DBCTL];
	const struct configured *configured = &agent->configured;
	bool ordered =
		pending->kind == ORDER_DB_CONFIGURE && (pending->id != 0 || pending->failures > 0);
	struct order order = {
		.kind = ORDER_DB_CONFIGURE,
		.epoch = agent_token(agent),
		.promise = agent->cluster.epoch,
		.rule = agent->self.rule,
		.keep_rule = true,
	};

	if (!ordered && configured->known && configured->rule_kept)
		/* Whatever it is, it is what was found in force after the order was done. */
		return agent->self.rule_since != 0 &&
		       agent->self_ns >= configured->done_ns + agent->config.heartbeat_ns;
	if (!ordered && configured->known && sync_rule_equal(configured->rule, agent->self.rule))
		return true;
	if (ordered) {
		order.rule = pending->order.rule;
		order.keep_rule = pending->order.keep_rule;
	} else if (configured->known) {
		return false; /* done; dbmon reads it back */
	}
	(void)agent_give(agent, effects, &order);
	return false;
}

static void tend_sync(struct agent *agent, struct effects *effects, node_id leaves)
{
	struct sync_rule target = agent_sync_target(agent, leaves);
	struct entry entry = entry_of(agent, ENTRY_RECORD);
	struct order order = {
		.kind = ORDER_DB_CONFIGURE,
		.epoch = agent_token(agent),
		.promise = agent->cluster.epoch,
	};
	struct sync_step step;
	wal_lsn flushed[NODES_MAX + 1];

	flushed_by_node(agent, flushed);
	step = sync_next_step(agent->self.rule, agent->cluster.record, target,
			      agent->self.rule_since, flushed);
	if (PLANTED(agent, BUG_NO_FLUSH_BARRIER) && step.kind == SYNC_WAIT_FLUSH)
		step.kind = SYNC_COMMIT_RECORD;
	if (PLANTED(agent, BUG_NAMES_BEFORE_RECORD) && step.kind == SYNC_COMMIT_RECORD &&
	    !sync_rule_equal(agent->self.rule, target)) {
		step.kind = SYNC_SET_RULE;
		step.rule = target;
	}
	if (PLANTED(agent, BUG_DEGRADE_UNRECORDED) && step.kind == SYNC_COMMIT_RECORD &&
	    target.need < agent->self.rule.need) {
		step.kind = SYNC_SET_RULE;
		step.rule = target;
	}
	if (step.kind == SYNC_COMMIT_RECORD) {
		entry.record.record = step.rule;
		entry.record.lsn = agent->self.position.flushed;
		(void)agent_propose(agent, effects, entry);
	} else if (step.kind == SYNC_SET_RULE) {
		order.rule = step.rule;
		(void)agent_give(agent, effects, &order);
	}
}

/* With what is known of the tail that will be lost with the node's data. */
static struct entry rebuild_entry(const struct agent *agent, node_id node)
{
	struct entry entry = entry_of(agent, ENTRY_REBUILD);
	const struct facts *facts = agent_facts(agent, node, agent->config.election_ns);
	struct lineage_match match;

	entry.rebuild.node = node;
	if (facts == NULL)
		return entry;
	match = lineage_compare(&agent->cluster, &facts->position);
	if (match.known && match.diverged) {
		entry.rebuild.timeline = facts->position.timeline;
		entry.rebuild.fork = match.usable;
		entry.rebuild.end = facts->position.flushed;
	}
	return entry;
}

void agent_tend(struct agent *agent, struct effects *effects)
{
	struct entry entry;
	node_id rebuilt = rebuilt_node(agent);
	node_id rebuild = rebuild_node(agent);

	if (agent->proposing || !agent_has_lease(agent) || agent->self.db != DB_PRIMARY)
		return;
	if (may_settle(agent)) {
		(void)agent_propose(agent, effects, entry_of(agent, ENTRY_SETTLE));
		return;
	}
	if (rebuilt != NODE_NONE) {
		entry = entry_of(agent, ENTRY_REBUILT);
		entry.rebuild.node = rebuilt;
		(void)agent_propose(agent, effects, entry);
		return;
	}
	if (agent_tend_members(agent, effects) || !rule_certain(agent, effects))
		return;
	if (rebuild != NODE_NONE) {
		if (!node_in(agent->cluster.record.members, rebuild)) {
			entry = rebuild_entry(agent, rebuild);
			(void)agent_propose(agent, effects, entry);
			return;
		}
		if (weaken_record(agent, effects, rebuild))
			return;
	}
	tend_sync(agent, effects, rebuild);
}
