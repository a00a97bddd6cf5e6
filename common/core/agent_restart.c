/*
 * What an operator wants done to one node's database: a restart, or new data.
 *
 * The primary is restarted as a switchover to itself: clients are fenced, it ships its WAL and
 * stops, and a survey prefers it. A standby is stopped by its own agent, which starts it again as
 * it starts any database that is down. New data are a rebuild like any other, wanted by the log
 * instead of by what the data look like.
 */
#include <stddef.h>

#include "core/agent_internal.h"

/* Recovery after the start may have much to replay. By the wall clock, so that leaders may change.
 */
#define RESTART_PATIENCE_MS UINT64_C(600000)

struct list {
	unsigned count;
	struct blocker *blockers; /* BLOCKERS_MAX */
};

static void against(struct list *list, uint8_t kind, node_id node, uint64_t value, uint64_t limit)
{
	if (list->count < BLOCKERS_MAX)
		list->blockers[list->count++] = (struct blocker){kind, node, value, limit};
}

/* What stands against touching that node's database at all. */
static void look_at_node(const struct agent *agent, node_id id, struct list *list)
{
	const struct cluster *cluster = &agent->cluster;
	const struct node *node = cluster_node(cluster, id);

	if (!agent_serving(agent))
		against(list, BLOCK_NOT_SERVING, NODE_NONE, 0, 0);
	if (cluster->settings.paused)
		against(list, BLOCK_PAUSED, NODE_NONE, 0, 0);
	if (node == NULL) {
		against(list, BLOCK_NO_SUCH_NODE, id, 0, 0);
		return;
	}
	if (node->kind != NODE_DATA) {
		against(list, BLOCK_WITNESS, id, 0, 0);
		return;
	}
	if (node_in(cluster->settings.maintenance, id))
		against(list, BLOCK_MAINTENANCE, id, 0, 0);
	if (node_in(cluster->rebuilding | cluster->settings.reinit, id))
		against(list, BLOCK_REBUILDING, id, 0, 0);
	if (node_in(cluster->joining | cluster->leaving, id))
		against(list, BLOCK_MEMBER_CHANGE, id, 0, 0);
	if (agent_facts(agent, id, agent->config.election_ns) == NULL)
		against(list, BLOCK_NOT_HEARD, id, 0, 0);
}

/* Without `id` as many standbys are left as each commit waits for. */
static void look_at_commits(const struct agent *agent, node_id id, bool force, struct list *list)
{
	unsigned need = cluster_sync_need(&agent->cluster), left = 0;

	if (force || !agent_standby_good(agent, id))
		return;
	for (node_id other = 1; other <= NODES_MAX; other++)
		left += other != id && agent_standby_good(agent, other);
	if (left < need)
		against(list, BLOCK_COMMITS_WOULD_WAIT, NODE_NONE, left, need);
}

/* The primary comes back by a survey: enough of the others must be able to answer it. */
static void look_at_answers(const struct agent *agent, struct list *list)
{
	const struct sync_rule record = agent->cluster.record;
	const unsigned needed = sync_answers_needed(record);
	unsigned count = 0;

	if (!agent->cluster.settled)
		against(list, BLOCK_UNSETTLED, NODE_NONE, 0, 0);
	for (node_id id = 1; id <= NODES_MAX; id++) {
		const struct facts *facts = agent_facts(agent, id, agent->config.election_ns);

		if (node_in(record.members, id) && facts != NULL && facts->db == DB_STANDBY)
			count++;
	}
	if (record.need > 0 && count < needed)
		against(list, BLOCK_ANSWERS, NODE_NONE, count, needed);
}

unsigned agent_restart_blockers(const struct agent *agent, node_id id, bool force,
				struct blocker blockers[BLOCKERS_MAX])
{
	struct list list = {.blockers = blockers};
	const struct facts *facts = agent_facts(agent, id, agent->config.election_ns);

	look_at_node(agent, id, &list);
	if (id == agent->config.self) {
		look_at_answers(agent, &list);
		return list.count;
	}
	if (cluster_node(&agent->cluster, id) == NULL || facts == NULL ||
	    !node_in(cluster_nodes(&agent->cluster, NODE_DATA), id))
		return list.count;
	if (facts->db != DB_STANDBY && facts->db != DB_STARTING && facts->db != DB_HUNG)
		against(&list, BLOCK_NOT_STANDBY, id, facts->db, 0);
	look_at_commits(agent, id, force, &list);
	return list.count;
}

unsigned agent_judge_restart(const struct agent *agent, const struct call *call,
			     struct entry *entry, struct blocker blockers[BLOCKERS_MAX])
{
	const struct operation *active = cluster_operation(&agent->cluster);
	struct list list = {.blockers = blockers};
	struct operation *operation = &entry->operation;

	list.count = agent_restart_blockers(agent, call->node, call->force, blockers);
	if (active != NULL)
		against(&list, BLOCK_OPERATION, NODE_NONE, active->id, 0);
	entry->kind = ENTRY_OPERATION;
	operation->kind = call->node == agent->cluster.primary ? OPERATION_RESTART
							       : OPERATION_RESTART_STANDBY;
	operation->state = OPERATION_RUNNING;
	operation->from = call->node;
	operation->to = call->node;
	operation->epoch = agent->cluster.epoch;
	operation->asked_ms = agent->wall_ms;
	operation->begun_ms = agent->wall_ms;
	return list.count;
}

unsigned agent_judge_reinit(const struct agent *agent, const struct call *call, struct entry *entry,
			    struct blocker blockers[BLOCKERS_MAX])
{
	const struct operation *active = cluster_operation(&agent->cluster);
	struct list list = {.blockers = blockers};

	entry->kind = ENTRY_SETTINGS;
	entry->settings = agent->cluster.settings;
	look_at_node(agent, call->node, &list);
	if (call->node == agent->cluster.primary)
		against(&list, BLOCK_IS_PRIMARY, call->node, 0, 0);
	if (active != NULL && (active->from == call->node || active->to == call->node))
		against(&list, BLOCK_OPERATION, NODE_NONE, active->id, 0);
	if (list.count > 0)
		return list.count;
	look_at_commits(agent, call->node, call->force, &list);
	entry->settings.reinit |= node_bit(call->node);
	return list.count;
}

/* the leader's part */

/* Why the running restart of a standby ends now: BLOCK_NONE, it is done; BLOCK_KIND_COUNT: not. */
static uint8_t end_reason(const struct agent *agent, const struct operation *operation)
{
	const struct facts *facts = agent_facts(agent, operation->to, agent->config.election_ns);

	if (operation->to == agent->cluster.primary)
		return BLOCK_IS_PRIMARY;
	if (facts != NULL && facts->restarted == operation->id && facts->db == DB_STANDBY &&
	    agent_streams(agent, operation->to))
		return BLOCK_NONE;
	if (agent->wall_ms > operation->begun_ms + RESTART_PATIENCE_MS)
		return BLOCK_DEADLINE;
	return BLOCK_KIND_COUNT;
}

static const struct operation *restarting(const struct agent *agent)
{
	const struct operation *active = cluster_operation(&agent->cluster);

	return active != NULL && active->kind == OPERATION_RESTART_STANDBY ? active : NULL;
}

bool restart_over(const struct agent *agent)
{
	const struct operation *operation = restarting(agent);

	return operation != NULL && !agent->proposing &&
	       end_reason(agent, operation) != BLOCK_KIND_COUNT;
}

void restart_end(struct agent *agent, struct effects *effects)
{
	struct entry entry = {
		.kind = ENTRY_OPERATION,
		.base_version = agent->cluster.version,
		.epoch = agent->cluster.epoch,
		.operation = *restarting(agent),
	};

	entry.operation.reason = end_reason(agent, &entry.operation);
	entry.operation.state =
		entry.operation.reason == BLOCK_NONE ? OPERATION_DONE : OPERATION_FAILED;
	entry.operation.ended_ms = agent->wall_ms;
	(void)agent_propose(agent, effects, entry);
}

/* the node's own part */

bool agent_restart_due(const struct agent *agent)
{
	const struct operation *operation = restarting(agent);
	const uint8_t db = agent->self.db;

	return operation != NULL && operation->to == agent->config.self &&
	       agent->restarted != operation->id && !agent_is_primary(agent) &&
	       (db == DB_STANDBY || db == DB_STARTING || db == DB_HUNG);
}

void agent_restart_stopped(struct agent *agent)
{
	const struct operation *operation = restarting(agent);

	if (operation != NULL && operation->to == agent->config.self)
		agent->restarted = operation->id;
}

bool agent_reinit_due(const struct agent *agent)
{
	return node_in(agent->cluster.settings.reinit, agent->config.self) && !agent->recloned;
}
