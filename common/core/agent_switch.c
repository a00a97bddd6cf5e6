/*
 * Planned switches: the conditions and actions of PHASE_SWITCH and PHASE_HALT in the leader's
 * table. Until the database was told to stop, ending the operation leaves the primary as it is;
 * after that a survey decides, and the primary before is among its candidates.
 */
#include <stddef.h>

#include "base/macros.h"
#include "core/agent_internal.h"

/* A checkpoint ahead of the switch may have much to write. */
#define PREPARE_PATIENCE_NS UINT64_C(120000000000)

const struct operation *agent_switching(const struct agent *agent)
{
	const struct operation *operation = cluster_switching(&agent->cluster);

	if (operation == NULL || operation->from != agent->config.self || !agent_is_primary(agent))
		return NULL;
	return operation;
}

bool switch_under_way(const struct agent *agent)
{
	return agent_switching(agent) != NULL;
}

bool switch_over(const struct agent *agent)
{
	return agent_switching(agent) == NULL;
}

static bool window_over(const struct agent *agent, const struct operation *operation)
{
	return operation->end_ms != 0 && agent->wall_ms > operation->end_ms;
}

/*
 * A scheduled one whose window has begun, or is over. While something stands against it the
 * primary goes on with its other duties, as long as the window lasts: they may be what helps.
 */
bool switch_due(const struct agent *agent)
{
	const struct operation *operation = cluster_operation(&agent->cluster);
	struct blocker list[BLOCKERS_MAX];

	if (operation == NULL || operation->state != OPERATION_SCHEDULED || agent->proposing ||
	    agent->wall_ms < operation->start_ms)
		return false;
	return window_over(agent, operation) || operation->to == agent->config.self ||
	       agent_switch_blockers(agent, operation->to, list) == 0;
}

static bool overdue(const struct agent *agent, uint64_t patience_ns)
{
	return agent->now_ns - agent->phase_ns > patience_ns;
}

/* What stands against going on with it. */
static unsigned switch_blockers(const struct agent *agent, const struct operation *operation,
				struct blocker list[BLOCKERS_MAX])
{
	if (operation->kind == OPERATION_RESTART)
		return agent_restart_blockers(agent, operation->to, true, list);
	return agent_switch_blockers(agent, operation->to, list);
}

/* A reason to give up that will not pass, and one that has not passed for too long. */
static uint8_t hindrance(const struct agent *agent)
{
	const struct operation *operation = agent_switching(agent);
	struct blocker list[BLOCKERS_MAX];

	if (operation == NULL)
		return BLOCK_NONE;
	if (agent->switch_reason != BLOCK_NONE)
		return agent->switch_reason;
	if (overdue(agent, PREPARE_PATIENCE_NS))
		return BLOCK_DEADLINE;
	if (switch_blockers(agent, operation, list) > 0 &&
	    overdue(agent, 5 * agent->config.election_ns))
		return list[0].kind;
	return BLOCK_NONE;
}

bool switch_hindered(const struct agent *agent)
{
	return hindrance(agent) != BLOCK_NONE && !agent->proposing;
}

/* Everything that takes long is done, and the target has all but the last moment's WAL. */
bool switch_ready(const struct agent *agent)
{
	const struct operation *operation = agent_switching(agent);
	struct blocker list[BLOCKERS_MAX];

	return operation != NULL && agent->checkpointed && !agent->proposing &&
	       agent->switch_reason == BLOCK_NONE && agent_has_lease(agent) &&
	       switch_blockers(agent, operation, list) == 0;
}

/* The database has ended: what it wrote is all that there will be of its epoch. */
bool halt_done(const struct agent *agent)
{
	return agent->halted || (agent->halting && agent->self.db == DB_DOWN);
}

/* The fence does not come, or nobody can stop the database: nothing is lost yet. */
bool halt_overdue(const struct agent *agent)
{
	const struct pending_order *pending = &agent->pending[EXECUTOR_DBCTL];
	bool failing = pending->kind == ORDER_DB_STOP && pending->failures >= 3;

	return agent->self.db == DB_PRIMARY &&
	       (failing || (!agent->halting && overdue(agent, agent->config.election_ns)));
}

static struct entry operation_entry(const struct agent *agent, uint8_t state, uint8_t reason)
{
	struct entry entry = {
		.kind = ENTRY_OPERATION,
		.base_version = agent->cluster.version,
		.epoch = agent->cluster.epoch,
	};
	const struct operation *operation = cluster_operation(&agent->cluster);

	if (operation != NULL)
		entry.operation = *operation;
	entry.operation.state = state;
	entry.operation.reason = reason;
	if (state == OPERATION_RUNNING)
		entry.operation.begun_ms = agent->wall_ms;
	else
		entry.operation.ended_ms = agent->wall_ms;
	return entry;
}

void switch_begin(struct agent *agent, struct effects *effects)
{
	const struct operation *operation = cluster_operation(&agent->cluster);
	struct entry entry = operation_entry(agent, OPERATION_RUNNING, BLOCK_NONE);

	if (window_over(agent, operation))
		entry = operation_entry(agent, OPERATION_EXPIRED, operation->reason);
	else if (operation->to == agent->config.self)
		entry = operation_entry(agent, OPERATION_FAILED, BLOCK_ALREADY_PRIMARY);
	entry.operation.from = agent->config.self;
	entry.operation.epoch = agent->cluster.epoch;
	(void)agent_propose(agent, effects, entry);
}

void switch_abort(struct agent *agent, struct effects *effects)
{
	(void)agent_propose(agent, effects,
			    operation_entry(agent, OPERATION_ROLLED_BACK, hindrance(agent)));
}

void switch_late(struct agent *agent, struct effects *effects)
{
	UNUSED(effects);
	agent->switch_reason = BLOCK_DEADLINE;
}

void switch_survey(struct agent *agent, struct effects *effects)
{
	const struct operation *operation = agent_switching(agent);

	uint8_t cause = CAUSE_SWITCHOVER;

	if (operation != NULL && operation->kind == OPERATION_RESTART)
		cause = CAUSE_RESTART;
	else if (operation != NULL && operation->automatic)
		cause = CAUSE_AUTO_SWITCH;
	survey_begin(agent, effects, cause);
}

/* A new attempt: nothing of an earlier one counts. */
void switch_entered(struct agent *agent)
{
	agent->switch_reason = BLOCK_NONE;
	agent->checkpointed = false;
	agent->halting = false;
	agent->halted = false;
}

/* switching back by priority */

static node_id better_node(const struct agent *agent)
{
	const struct node *self = cluster_node(&agent->cluster, agent->config.self);
	node_id best = NODE_NONE;
	uint16_t priority = self == NULL ? UINT16_MAX : self->priority;

	for (unsigned i = 0; i < agent->cluster.node_total; i++) {
		const struct node *node = &agent->cluster.nodes[i];
		struct blocker list[BLOCKERS_MAX];

		if (node->priority > priority &&
		    agent_switch_blockers(agent, node->id, list) == 0) {
			best = node->id;
			priority = node->priority;
		}
	}
	return best;
}

void agent_track_better(struct agent *agent)
{
	node_id better = NODE_NONE;

	if (agent->cluster.settings.auto_primary_switch && agent->phase == PHASE_STEADY)
		better = better_node(agent);
	if (better != agent->better || better == NODE_NONE)
		agent->better_ns = agent->now_ns;
	agent->better = better;
}

/* An attempt that did not end well is not repeated for ten times as long. */
static bool tried_lately(const struct agent *agent)
{
	const struct cluster *cluster = &agent->cluster;
	const struct operation *last;
	uint64_t wait_ms = 10 * (uint64_t)cluster->settings.switch_back_ms;

	if (cluster->operation_count == 0)
		return false;
	last = &cluster->operations[cluster->operation_count - 1];
	return last->automatic && last->state != OPERATION_DONE &&
	       agent->wall_ms < last->ended_ms + wait_ms;
}

bool better_node_due(const struct agent *agent)
{
	uint64_t wait_ns = (uint64_t)agent->cluster.settings.switch_back_ms * 1000000;

	return agent->better != NODE_NONE && agent->now_ns - agent->better_ns >= wait_ns &&
	       !agent->proposing && !tried_lately(agent) && !agent_budget_spent(agent);
}

void switch_back(struct agent *agent, struct effects *effects)
{
	struct entry entry = {
		.kind = ENTRY_OPERATION,
		.base_version = agent->cluster.version,
		.epoch = agent->cluster.epoch,
	};

	entry.operation.kind = OPERATION_SWITCHOVER;
	entry.operation.state = OPERATION_RUNNING;
	entry.operation.automatic = true;
	entry.operation.from = agent->config.self;
	entry.operation.to = agent->better;
	entry.operation.epoch = agent->cluster.epoch;
	entry.operation.asked_ms = agent->wall_ms;
	entry.operation.begun_ms = agent->wall_ms;
	(void)agent_propose(agent, effects, entry);
}
