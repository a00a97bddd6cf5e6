/*
 * A standby that needs WAL which the primary has removed takes it from another standby that still
 * has it, and returns to the primary once it has caught up: a clone is for when nobody has it.
 *
 * Whoever sends is a standby on the epoch's timeline that streams from the recorded primary: what
 * it passes on is WAL of the present epoch and the lineage before it, so the promise to take none
 * of earlier epochs holds. On record such a node counts for nothing: it streams from nobody whom
 * commits wait for.
 */
#include <string.h>

#include "core/agent_internal.h"

/* Detours without having come back to the primary in between. */
#define DETOURS_MAX 8

static uint64_t patience_ns(const struct agent *agent)
{
	return 2 * agent->config.election_ns;
}

/* The WAL from where this node's own ends is there. */
static bool reaches_back(const struct agent *agent, const struct facts *facts)
{
	return facts->wal_oldest != 0 && facts->wal_oldest <= agent->self.position.flushed;
}

static bool may_send(const struct agent *agent, node_id id)
{
	const struct cluster *cluster = &agent->cluster;
	const struct facts *facts = agent_facts(agent, id, patience_ns(agent));

	return id != agent->config.self && id != cluster->primary && facts != NULL &&
	       node_in(cluster_nodes(cluster, NODE_DATA), id) &&
	       !node_in(cluster->rebuilding | agent->detour.failed, id) &&
	       facts->db == DB_STANDBY && facts->receiving && facts->upstream == cluster->primary &&
	       !facts->needs_rebuild && facts->position.timeline == cluster->timeline &&
	       reaches_back(agent, facts) && facts->position.flushed > agent->self.position.flushed;
}

/* The one that keeps most of it. */
static node_id find_sender(const struct agent *agent)
{
	node_id best = NODE_NONE;

	for (node_id id = 1; id <= NODES_MAX; id++)
		if (may_send(agent, id) &&
		    (best == NODE_NONE ||
		     agent_facts(agent, id, patience_ns(agent))->wal_oldest <
			     agent_facts(agent, best, patience_ns(agent))->wal_oldest))
			best = id;
	return best;
}

/* Within a segment of the primary, which still has all of that. */
static bool caught_up(const struct agent *agent)
{
	const struct facts *primary =
		agent_facts(agent, agent->cluster.primary, patience_ns(agent));
	const wal_lsn flushed = agent->self.position.flushed;

	if (primary == NULL || primary->position.flushed == 0 ||
	    (primary->wal_oldest != 0 && !reaches_back(agent, primary)))
		return false;
	return primary->position.flushed <= flushed ||
	       primary->position.flushed - flushed <= JOIN_LAG_MAX;
}

/*
 * Told of the present upstream, not of the one before it. A standby that was rewound and is not
 * consistent yet needs WAL from before the place where it left the lineage, and may wait for it
 * while it still starts.
 */
static bool lacks_wal(const struct agent *agent)
{
	return agent->self.fault == FAULT_WAL_MISSING &&
	       (agent->stalled_ns != 0 || agent->starting_ns != 0) &&
	       agent->configured.upstream == agent_upstream(agent) &&
	       agent->now_ns - agent->configured.done_ns >= patience_ns(agent);
}

node_id agent_upstream(const struct agent *agent)
{
	const struct detour *detour = &agent->detour;

	return detour->over != NODE_NONE && detour->epoch == agent->cluster.epoch
		       ? detour->over
		       : agent->cluster.primary;
}

static void turn(struct agent *agent)
{
	struct detour *detour = &agent->detour;

	if (detour->over != NODE_NONE)
		detour->failed |= node_bit(detour->over);
	detour->over = detour->count < DETOURS_MAX ? find_sender(agent) : NODE_NONE;
	if (detour->over != NODE_NONE)
		detour->count++;
}

bool agent_track_detour(struct agent *agent)
{
	struct detour *detour = &agent->detour;
	const struct facts *self = &agent->self;
	const bool lacks = lacks_wal(agent);

	if (detour->epoch != agent->cluster.epoch || agent_is_primary(agent) ||
	    (self->receiving && self->upstream == agent->cluster.primary)) {
		memset(detour, 0, sizeof(*detour));
		detour->epoch = agent->cluster.epoch;
		return false;
	}
	if (lacks || (detour->over != NODE_NONE && agent->stalled_ns != 0 &&
		      agent->now_ns - agent->stalled_ns > 10 * patience_ns(agent)))
		turn(agent);
	else if (detour->over != NODE_NONE && self->receiving && self->upstream == detour->over &&
		 caught_up(agent))
		detour->over = NODE_NONE;
	return lacks && detour->over == NODE_NONE;
}
