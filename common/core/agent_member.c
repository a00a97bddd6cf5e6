/*
 * Nodes that come and go, one at a time. The list of the replicated state and Raft's own list of
 * servers change in an order that never lets a vote or a record count on a node that is not ready:
 * on the list, the log, a copy of the data, the vote, a member; and back: not counted on, in no
 * record, off the list, the vote. The primary compares both lists and does the next step, so that
 * a change goes on under the next primary where the last one left it.
 */
#include <string.h>

#include "core/agent_internal.h"

struct findings {
	unsigned count;
	struct blocker *list; /* BLOCKERS_MAX */
};

static void find(struct findings *found, uint8_t kind, node_id node, uint64_t value, uint64_t limit)
{
	if (found->count < BLOCKERS_MAX)
		found->list[found->count++] = (struct blocker){kind, node, value, limit};
}

static node_id lowest(node_set set)
{
	for (node_id id = 1; id <= NODES_MAX; id++)
		if (node_in(set, id))
			return id;
	return NODE_NONE;
}

/* Raft has a server that is not on the list: one that has left, and whose vote is to be taken. */
static node_id unlisted(const struct agent *agent)
{
	for (node_id id = 1; id <= NODES_MAX; id++)
		if (node_in(agent->raft.servers, id) && cluster_node(&agent->cluster, id) == NULL)
			return id;
	return NODE_NONE;
}

/* A majority of `voters` is heard by this leader. */
static bool quorum(const struct agent *agent, node_set voters, unsigned *heard, unsigned *needed)
{
	*heard = 0;
	*needed = node_count(voters) / 2 + 1;
	for (node_id id = 1; id <= NODES_MAX; id++)
		if (node_in(voters, id) &&
		    agent_facts(agent, id, agent->config.election_ns) != NULL)
			++*heard;
	return *heard >= *needed;
}

static void find_quorum(const struct agent *agent, node_set voters, struct findings *found)
{
	unsigned heard, needed;

	if (!quorum(agent, voters, &heard, &needed))
		find(found, BLOCK_QUORUM, NODE_NONE, heard, needed);
}

/* What stands against any change of membership; `mine` may be under way already. */
static void find_common(const struct agent *agent, node_id mine, struct findings *found)
{
	const struct cluster *cluster = &agent->cluster;
	const struct operation *active = cluster_operation(cluster);
	node_id moving = lowest((cluster->joining | cluster->leaving) & ~node_bit(mine));

	if (!agent_serving(agent))
		find(found, BLOCK_NOT_SERVING, NODE_NONE, 0, 0);
	if (active != NULL)
		find(found, BLOCK_OPERATION, NODE_NONE, active->id, 0);
	if (moving == NODE_NONE)
		moving = unlisted(agent);
	if (moving != NODE_NONE)
		find(found, BLOCK_MEMBER_CHANGE, moving, 0, 0);
}

/* Every agent must know where the new node is, and it where they are. */
static void find_rosters(const struct agent *agent, node_id joiner, struct findings *found)
{
	for (node_id id = 1; id <= NODES_MAX; id++) {
		const struct facts *facts = agent_facts(agent, id, agent->config.election_ns);

		if ((id == joiner || cluster_node(&agent->cluster, id) != NULL) && facts != NULL &&
		    facts->roster != agent->config.roster)
			find(found, BLOCK_ROSTER, id, 0, 0);
	}
}

static bool identity_free(const struct cluster *cluster, const struct node *node, bool force)
{
	const size_t size = strlen(node->name) + 1;

	for (unsigned i = 0; i < cluster->node_total; i++)
		if (memcmp(cluster->nodes[i].name, node->name, size) == 0)
			return false;
	return force || cluster->bound[node->id] == 0 || cluster->bound[node->id] == node->identity;
}

static void find_joiner(const struct agent *agent, const struct node *node, bool force,
			struct findings *found)
{
	const struct facts *facts = agent_facts(agent, node->id, agent->config.election_ns);

	if (!identity_free(&agent->cluster, node, force))
		find(found, BLOCK_IDENTITY, node->id, 0, 0);
	if (facts == NULL) {
		find(found, BLOCK_NOT_HEARD, node->id, 0, 0);
		return;
	}
	if (node->kind == NODE_DATA && facts->db != DB_ABSENT && !force &&
	    facts->system_id != agent->cluster.system_id)
		find(found, BLOCK_FOREIGN_DATA, node->id, facts->db, 0);
	find_quorum(agent, agent->raft.voters | node_bit(node->id), found);
}

static struct entry member_entry(const struct agent *agent, enum member_step step, node_id id)
{
	struct entry entry = {
		.kind = ENTRY_MEMBER,
		.base_version = agent->cluster.version,
		.epoch = agent->cluster.epoch,
	};

	entry.member.step = (uint8_t)step;
	entry.member.id = id;
	return entry;
}

unsigned agent_join_blockers(const struct agent *agent, const struct call *call,
			     struct entry *entry, struct blocker list[BLOCKERS_MAX])
{
	const struct node *node = agent_configured(agent, call->node);
	struct findings found = {.list = list};

	if (node_in(agent->cluster.leaving, call->node)) {
		find_common(agent, call->node, &found);
		*entry = member_entry(agent, MEMBER_STAY, call->node);
		return found.count;
	}
	find_common(agent, NODE_NONE, &found);
	*entry = member_entry(agent, MEMBER_JOIN, call->node);
	if (cluster_node(&agent->cluster, call->node) != NULL) {
		find(&found, BLOCK_ALREADY_MEMBER, call->node, 0, 0);
		return found.count;
	}
	if (node == NULL) {
		find(&found, BLOCK_NOT_CONFIGURED, call->node, 0, 0);
		return found.count;
	}
	find_joiner(agent, node, call->force, &found);
	find_rosters(agent, call->node, &found);
	entry->member.node = *node;
	entry->member.rebind = call->force;
	return found.count;
}

/* What a data node is missed for. */
static void find_protection(const struct agent *agent, node_id id, bool force,
			    struct findings *found)
{
	const struct cluster *cluster = &agent->cluster;
	const struct settings *settings = &cluster->settings;
	unsigned data = node_count(cluster_counted(cluster) & ~node_bit(id));
	unsigned need = settings_sync_need(settings, data);
	unsigned good = 0;

	if (!cluster->settled)
		find(found, BLOCK_UNSETTLED, NODE_NONE, 0, 0);
	if (!settings_sane(settings, data))
		find(found, BLOCK_QUORUM_RANGE, NODE_NONE, settings->quorum_sync,
		     data == 0 ? 0 : data - 1);
	if (data < 2 && !force)
		find(found, BLOCK_LAST_STANDBY, NODE_NONE, 0, 0);
	for (node_id other = 1; other <= NODES_MAX; other++)
		good += other != id && node_in(cluster_counted(cluster), other) &&
			agent_standby_good(agent, other);
	if (settings->mode == MODE_MAX_PROTECTION && good < need && !force)
		find(found, BLOCK_COMMITS_WOULD_WAIT, NODE_NONE, good, need);
}

unsigned agent_leave_blockers(const struct agent *agent, const struct call *call,
			      struct entry *entry, struct blocker list[BLOCKERS_MAX])
{
	const struct cluster *cluster = &agent->cluster;
	const struct node *node = cluster_node(cluster, call->node);
	bool joining = node_in(cluster->joining, call->node);
	struct findings found = {.list = list};

	*entry = member_entry(agent, MEMBER_LEAVE, call->node);
	find_common(agent, joining ? call->node : NODE_NONE, &found);
	if (node == NULL) {
		find(&found, BLOCK_NO_SUCH_NODE, call->node, 0, 0);
		return found.count;
	}
	if (call->node == cluster->primary)
		find(&found, BLOCK_IS_PRIMARY, call->node, 0, 0);
	if (joining)
		return found.count;
	find_quorum(agent, agent->raft.voters & ~node_bit(call->node), &found);
	if (node->kind == NODE_DATA)
		find_protection(agent, call->node, call->force, &found);
	return found.count;
}

void agent_track_servers(struct agent *agent)
{
	if (!agent->raft.ready || agent->cluster.cluster_id == 0 || unlisted(agent) == NODE_NONE)
		agent->unlisted_ns = 0;
	else if (agent->unlisted_ns == 0)
		agent->unlisted_ns = agent->now_ns;
}

/* It has what it needs to be of use with its vote: a witness the log, a data node the data too. */
static bool prepared(const struct agent *agent, node_id id)
{
	const struct node *node = cluster_node(&agent->cluster, id);
	const struct facts *facts = agent_facts(agent, id, agent->config.election_ns);
	const struct standby_view *view = agent_standby(agent, id);
	wal_lsn flushed = agent->self.position.flushed;

	if (node == NULL || facts == NULL || node_in(agent->cluster.rebuilding, id))
		return false;
	if (node->kind != NODE_DATA)
		return true;
	return facts->db == DB_STANDBY && agent_streams(agent, id) &&
	       (view->flushed >= flushed || flushed - view->flushed <= JOIN_LAG_MAX);
}

/* Asked for now and then, until Raft's list shows it. */
static void ask_for(struct agent *agent, struct effects *effects, node_id id, enum server_role role)
{
	struct effect *effect;

	if (agent->raft.changing || agent->now_ns - agent->server_ns < agent->config.heartbeat_ns)
		return;
	agent->server_ns = agent->now_ns;
	effect = effect_add(effects, FX_SERVER);
	effect->node = id;
	effect->role = (uint8_t)role;
}

static bool tend_joining(struct agent *agent, struct effects *effects, node_id id)
{
	unsigned heard, needed;

	if (node_in(agent->raft.voters, id))
		return !agent->raft.changing &&
		       agent_propose(agent, effects, member_entry(agent, MEMBER_JOINED, id));
	/* Nothing is done for what it is already. */
	if (prepared(agent, id) &&
	    quorum(agent, agent->raft.voters | node_bit(id), &heard, &needed))
		ask_for(agent, effects, id, SERVER_VOTER);
	else
		ask_for(agent, effects, id, SERVER_LEARNER);
	return false;
}

static bool tend_leaving(struct agent *agent, struct effects *effects, node_id id)
{
	const struct cluster *cluster = &agent->cluster;
	unsigned heard, needed;

	/* The rule as well: whoever is off the list is not waited for either. */
	if (!cluster->settled || node_in(cluster->record.members, id) ||
	    node_in(agent->self.rule.members, id) ||
	    !quorum(agent, agent->raft.voters & ~node_bit(id), &heard, &needed))
		return false;
	return agent_propose(agent, effects, member_entry(agent, MEMBER_LEFT, id));
}

bool agent_tend_members(struct agent *agent, struct effects *effects)
{
	const struct cluster *cluster = &agent->cluster;
	node_id gone = unlisted(agent);

	if (cluster_operation(cluster) != NULL)
		return false;
	if (cluster->joining != 0)
		return tend_joining(agent, effects, lowest(cluster->joining));
	if (cluster->leaving != 0)
		return tend_leaving(agent, effects, lowest(cluster->leaving));
	/* It still gets the log for a moment, so that it learns that it has left. */
	if (gone != NODE_NONE && agent->now_ns - agent->unlisted_ns >= agent->config.election_ns)
		ask_for(agent, effects, gone, SERVER_NONE);
	return false;
}
