/*
 * How the nodes have been doing: which standbys the serving primary may wait for, and how much of
 * the primary's WAL each node was known to have.
 */
#include <string.h>

#include "core/agent_internal.h"

const struct standby_view *agent_standby(const struct agent *agent, node_id node)
{
	for (unsigned i = 0; i < agent->self.standby_count && i < NODES_MAX; i++)
		if (agent->self.standbys[i].node == node)
			return &agent->self.standbys[i];
	return NULL;
}

/*
 * It streams, and by its own word it is on the primary's timeline: a position on another one says
 * nothing about the primary's WAL, though PostgreSQL takes the number for what it is.
 */
bool agent_streams(const struct agent *agent, node_id node)
{
	const struct standby_view *view = agent_standby(agent, node);
	const struct facts *facts = agent_facts(agent, node, agent->config.election_ns);

	return view != NULL && view->streaming && facts != NULL && !facts->needs_rebuild &&
	       facts->position.timeline == agent->cluster.timeline;
}

static uint64_t patience_ns(const struct agent *agent)
{
	return (uint64_t)agent->cluster.settings.degrade_ms * 1000000;
}

/* One that streams and confirms nothing is as good as gone. */
static void track_standing(struct agent *agent, node_id id)
{
	struct standing *standing = &agent->standings[id];
	const struct standby_view *view = agent_standby(agent, id);
	uint64_t now = agent->now_ns;
	bool good = agent_streams(agent, id);

	if (view != NULL && (standing->moved_ns == 0 || view->flushed != standing->flushed ||
			     view->flushed >= agent->self.position.flushed)) {
		standing->flushed = view->flushed;
		standing->moved_ns = now;
	}
	if (!good)
		standing->moved_ns = 0;
	else if (now - standing->moved_ns > patience_ns(agent))
		good = false;
	if (good) {
		standing->bad_ns = 0;
		if (standing->good_ns == 0)
			standing->good_ns = now;
	} else {
		standing->good_ns = 0;
		if (standing->bad_ns == 0)
			standing->bad_ns = now;
	}
}

void agent_track_marks(struct agent *agent)
{
	for (node_id id = 1; id <= NODES_MAX; id++)
		if (node_in(agent->cluster.rebuilding, id))
			agent->unmarked[id] = agent->cluster.version + 1;
}

void agent_marks_forgotten(struct agent *agent)
{
	for (node_id id = 1; id <= NODES_MAX; id++)
		agent->unmarked[id] = agent->cluster.version;
}

/* One that still sees the mark of a rebuild that is over may begin it again. */
static bool knows_it_counts(const struct agent *agent, node_id node)
{
	const struct facts *facts = agent_facts(agent, node, agent->config.election_ns);

	return facts != NULL && facts->applied >= agent->unmarked[node];
}

void agent_track_standings(struct agent *agent)
{
	if (!agent_is_primary(agent) || agent->self.db != DB_PRIMARY || !agent->raft.ready) {
		memset(agent->standings, 0, sizeof(agent->standings));
		return;
	}
	for (node_id id = 1; id <= NODES_MAX; id++)
		if (id != agent->config.self && cluster_node(&agent->cluster, id) != NULL)
			track_standing(agent, id);
}

bool agent_standby_good(const struct agent *agent, node_id node)
{
	return agent->standings[node].good_ns != 0;
}

/* A member of the record that is gone for a moment only is still counted on. */
static bool missed_briefly(const struct agent *agent, node_id node)
{
	const struct standing *standing = &agent->standings[node];

	return standing->bad_ns != 0 && agent->now_ns - standing->bad_ns < patience_ns(agent) &&
	       !node_in(agent->cluster.settings.maintenance, node);
}

/*
 * It may be waited for from now on: caught up but for a moment's worth of WAL, and for some time
 * if nobody waits for it, so that a link that flaps does not change the record each time.
 */
static bool may_join(const struct agent *agent, node_id node, bool wanted)
{
	const struct standing *standing = &agent->standings[node];
	const struct standby_view *view = agent_standby(agent, node);
	wal_lsn flushed = agent->self.position.flushed;

	if (standing->good_ns == 0 || view == NULL || !knows_it_counts(agent, node) ||
	    node_in(agent->cluster.settings.maintenance, node))
		return false;
	if (view->flushed < flushed && flushed - view->flushed > JOIN_LAG_MAX)
		return false;
	return wanted || agent->now_ns - standing->good_ns >= agent->config.election_ns;
}

/* By what was heard of it last, however long ago: pages do not mend in silence. */
static bool is_damaged(const struct agent *agent, node_id node)
{
	return agent->peers[node].known && agent->peers[node].facts.damaged;
}

struct sync_rule agent_sync_target(const struct agent *agent, node_id leaves)
{
	const struct cluster *cluster = &agent->cluster;
	const uint8_t need = cluster_sync_need(cluster);
	const bool protection = cluster->settings.mode == MODE_MAX_PROTECTION;
	struct sync_rule target = {.need = need};
	node_set data = cluster_counted(cluster);
	node_set kept = 0, sound = 0;

	if (need == 0)
		return target;
	data &= ~(cluster->rebuilding | node_bit(agent->config.self));
	if (leaves != NODE_NONE)
		data &= ~node_bit(leaves);
	for (node_id id = 1; id <= NODES_MAX; id++) {
		bool member = node_in(cluster->record.members, id);

		if (!node_in(data, id))
			continue;
		if (member)
			kept |= node_bit(id);
		if (member && (agent_standby_good(agent, id) || missed_briefly(agent, id)) &&
		    !node_in(cluster->settings.maintenance, id))
			target.members |= node_bit(id);
		else if (may_join(agent, id,
				  protection && node_count(cluster->record.members) < need))
			target.members |= node_bit(id);
	}
	/* A commit that only a damaged node had would keep the others from being promoted. */
	for (node_id id = 1; id <= NODES_MAX; id++)
		if (node_in(target.members, id) && !is_damaged(agent, id))
			sound |= node_bit(id);
	if (node_count(sound) >= need)
		target.members = sound;
	if (node_count(target.members) >= need)
		return target;
	if (protection)
		target.members |= kept; /* commits wait until enough of them are back */
	else
		target.need = (uint8_t)node_count(target.members);
	return target;
}

/* How far the recorded primary was heard to be; a database that is down has no position. */
static void track_seen(struct agent *agent)
{
	const struct cluster *cluster = &agent->cluster;
	const struct peer *peer = &agent->peers[cluster->primary];
	const struct facts *facts = &peer->facts;
	uint64_t heard_ns = peer->heard_ns;

	if (agent->seen_epoch != cluster->epoch) {
		agent->seen_epoch = cluster->epoch;
		agent->seen = 0;
		agent->seen_ns = 0;
		agent->listening_ns = agent->now_ns;
	}
	if (agent_is_primary(agent)) {
		facts = &agent->self;
		heard_ns = agent->self_ns;
	}
	if (cluster->primary == NODE_NONE || facts->position.flushed == 0 ||
	    heard_ns < agent->seen_ns)
		return;
	agent->seen_ns = heard_ns;
	if (facts->position.flushed > agent->seen)
		agent->seen = facts->position.flushed;
}

void agent_track_levels(struct agent *agent)
{
	track_seen(agent);
	if (agent->seen == 0)
		return;
	for (node_id id = 1; id <= NODES_MAX; id++) {
		const struct facts *facts =
			id == agent->config.self ? &agent->self : &agent->peers[id].facts;

		if (facts->position.flushed >= agent->seen &&
		    facts->position.timeline == agent->cluster.timeline)
			agent->level_ns[id] = agent->seen_ns;
	}
}
