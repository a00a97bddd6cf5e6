/*
 * What operators ask. A call is judged on what this leader knows now; what stands against it is
 * listed whole, so that one look shows everything that is to be done. A call that is allowed
 * becomes one entry of the log, and its result is sent once that entry is applied.
 */
#include <string.h>

#include "base/macros.h"
#include "core/agent_internal.h"

#define HOUR_MS UINT64_C(3600000)

struct findings {
	unsigned count;
	struct blocker *list; /* BLOCKERS_MAX */
};

static void find(struct findings *found, uint8_t kind, node_id node, uint64_t value, uint64_t limit)
{
	if (found->count < BLOCKERS_MAX)
		found->list[found->count++] = (struct blocker){kind, node, value, limit};
}

bool agent_serving(const struct agent *agent)
{
	return (agent->phase == PHASE_STEADY || agent->phase == PHASE_SWITCH) &&
	       agent_has_lease(agent) && agent->self.db == DB_PRIMARY;
}

bool agent_budget_spent(const struct agent *agent)
{
	const struct cluster *cluster = &agent->cluster;
	unsigned count = 0;

	if (cluster->settings.failover_budget == 0)
		return false;
	for (unsigned i = 0; i < cluster->decision_count; i++) {
		const struct decision *decision = &cluster->decisions[i];

		switch (decision->cause) {
		case CAUSE_BOOTSTRAP:
		case CAUSE_SWITCHOVER:
		case CAUSE_OPERATOR:
		case CAUSE_HANDOVER:
		case CAUSE_RESTART:
			continue;
		default:
			break;
		}
		if (decision->hold == HOLD_NONE && decision->from != decision->to &&
		    decision->at_ms + HOUR_MS > agent->wall_ms)
			count++;
	}
	return count >= cluster->settings.failover_budget;
}

/* What disqualifies a node as the target of any promotion that an operator asks for. */
static void find_target(const struct agent *agent, node_id id, struct findings *found)
{
	const struct node *node = cluster_node(&agent->cluster, id);

	if (node == NULL) {
		find(found, BLOCK_NO_SUCH_NODE, id, 0, 0);
		return;
	}
	if (node->kind != NODE_DATA) {
		find(found, BLOCK_WITNESS, id, 0, 0);
		return;
	}
	if (node->priority == 0)
		find(found, BLOCK_NOFAILOVER, id, 0, 0);
	if (node_in(agent->cluster.settings.maintenance, id))
		find(found, BLOCK_MAINTENANCE, id, 0, 0);
	if (node_in(agent->cluster.rebuilding | agent->cluster.settings.reinit, id))
		find(found, BLOCK_REBUILDING, id, 0, 0);
	if (node_in(agent->cluster.joining | agent->cluster.leaving, id))
		find(found, BLOCK_MEMBER_CHANGE, id, 0, 0);
}

/* It must be able to answer, to hold everything and to serve. */
static void find_standby(const struct agent *agent, node_id id, struct findings *found)
{
	const struct facts *facts = agent_facts(agent, id, agent->config.election_ns);
	const struct standby_view *view = agent_standby(agent, id);
	wal_lsn flushed = agent->self.position.flushed;

	if (facts == NULL) {
		find(found, BLOCK_NOT_HEARD, id, 0, 0);
		return;
	}
	if (facts->db != DB_STANDBY)
		find(found, BLOCK_NOT_STANDBY, id, facts->db, 0);
	if (facts->excluded)
		find(found, BLOCK_EXCLUDED, id, 0, 0);
	if (facts->fault != FAULT_NONE)
		find(found, BLOCK_FAULT, id, facts->fault, 0);
	if (facts->damaged && facts->fault != FAULT_DATA_DAMAGED)
		find(found, BLOCK_FAULT, id, FAULT_DATA_DAMAGED, 0);
	if (facts->db != DB_STANDBY)
		return;
	if (!agent_streams(agent, id))
		find(found, BLOCK_NOT_STREAMING, id, 0, 0);
	else if (view->flushed < flushed && flushed - view->flushed > JOIN_LAG_MAX)
		find(found, BLOCK_LAG, id, flushed - view->flushed, JOIN_LAG_MAX);
}

/* Members of `record` that could answer a survey now; the primary itself is stopped by then. */
static unsigned answerers(const struct agent *agent, struct sync_rule record)
{
	unsigned count = 0;

	for (node_id id = 1; id <= NODES_MAX; id++) {
		const struct facts *facts = agent_facts(agent, id, agent->config.election_ns);

		if (node_in(record.members, id) && facts != NULL && facts->db == DB_STANDBY)
			count++;
	}
	return count;
}

bool agent_replaceable(const struct agent *agent)
{
	const struct cluster *cluster = &agent->cluster;
	bool free = cluster->settings.mode == MODE_MAX_PERFORMANCE;

	if (cluster->record.need == 0
		    ? !free
		    : answerers(agent, cluster->record) < sync_answers_needed(cluster->record))
		return false;
	for (unsigned i = 0; i < cluster->node_total; i++) {
		const struct node *node = &cluster->nodes[i];
		const struct facts *facts = agent_facts(agent, node->id, agent->config.election_ns);
		struct blocker list[BLOCKERS_MAX];
		struct findings found = {.list = list};

		find_target(agent, node->id, &found);
		if (found.count == 0 && node->id != agent->config.self && facts != NULL &&
		    facts->db == DB_STANDBY && !facts->excluded && !facts->damaged &&
		    !facts->needs_rebuild)
			return true;
	}
	return false;
}

unsigned agent_switch_blockers(const struct agent *agent, node_id node,
			       struct blocker list[BLOCKERS_MAX])
{
	const struct cluster *cluster = &agent->cluster;
	struct findings found = {.list = list};
	unsigned needed = sync_answers_needed(cluster->record);

	if (!agent_serving(agent))
		find(&found, BLOCK_NOT_SERVING, NODE_NONE, 0, 0);
	if (cluster->settings.paused)
		find(&found, BLOCK_PAUSED, NODE_NONE, 0, 0);
	if (node == agent->config.self) {
		find(&found, BLOCK_ALREADY_PRIMARY, node, 0, 0);
		return found.count;
	}
	find_target(agent, node, &found);
	if (cluster_node(cluster, node) != NULL && node_in(cluster_nodes(cluster, NODE_DATA), node))
		find_standby(agent, node, &found);
	if (!cluster->settled)
		find(&found, BLOCK_UNSETTLED, NODE_NONE, 0, 0);
	if (cluster->record.need > 0 && answerers(agent, cluster->record) < needed)
		find(&found, BLOCK_ANSWERS, NODE_NONE, answerers(agent, cluster->record), needed);
	return found.count;
}

node_id agent_switch_target(const struct agent *agent)
{
	node_id best = NODE_NONE;

	for (unsigned i = 0; i < agent->cluster.node_total; i++) {
		const struct node *node = &agent->cluster.nodes[i];
		const struct node *chosen = cluster_node(&agent->cluster, best);
		struct blocker list[BLOCKERS_MAX];

		if (agent_switch_blockers(agent, node->id, list) == 0 &&
		    (chosen == NULL || node->priority > chosen->priority))
			best = node->id;
	}
	return best;
}

uint64_t agent_at_risk(const struct agent *agent, wal_lsn usable)
{
	wal_lsn seen = agent->seen;

	for (node_id id = 1; id <= NODES_MAX; id++)
		if (survey_complete(agent, id) && survey_usable(agent, id) > seen)
			seen = survey_usable(agent, id);
	/* Others may have heard it for longer. */
	for (node_id id = 1; id <= NODES_MAX; id++)
		if (agent->peers[id].known &&
		    agent->peers[id].facts.primary_epoch == agent->cluster.epoch &&
		    agent->peers[id].facts.primary_seen > seen)
			seen = agent->peers[id].facts.primary_seen;
	if (seen == 0)
		return LOSS_NOT_BOUNDED;
	return seen > usable ? seen - usable : 0;
}

/* one function for each kind of call: what stands against it, and the entry that it becomes */

static struct entry entry_for(const struct agent *agent, enum entry_kind kind)
{
	return (struct entry){
		.kind = (uint8_t)kind,
		.base_version = agent->cluster.version,
		.epoch = agent->cluster.epoch,
	};
}

static void judge_switchover(const struct agent *agent, const struct call *call,
			     struct findings *found, struct entry *entry)
{
	const struct operation *active = cluster_operation(&agent->cluster);
	struct operation *operation = &entry->operation;
	node_id target = call->node == NODE_NONE ? agent_switch_target(agent) : call->node;

	entry->kind = ENTRY_OPERATION;
	if (active != NULL)
		find(found, BLOCK_OPERATION, NODE_NONE, active->id, 0);
	if (call->end_ms != 0 && (call->end_ms <= call->start_ms || call->end_ms <= agent->wall_ms))
		find(found, BLOCK_WINDOW, NODE_NONE, call->end_ms, call->start_ms);
	if (target == NODE_NONE) {
		find(found, BLOCK_NO_CANDIDATE, NODE_NONE, 0, 0);
		return;
	}
	if (call->start_ms > agent->wall_ms) {
		/* What stands against it now may have passed by then; what never passes has not. */
		find_target(agent, target, found);
		if (target == agent->cluster.primary)
			find(found, BLOCK_ALREADY_PRIMARY, target, 0, 0);
		operation->state = OPERATION_SCHEDULED;
	} else {
		struct blocker list[BLOCKERS_MAX];
		unsigned count = agent_switch_blockers(agent, target, list);

		for (unsigned i = 0; i < count; i++)
			find(found, list[i].kind, list[i].node, list[i].value, list[i].limit);
		operation->state = OPERATION_RUNNING;
		operation->begun_ms = agent->wall_ms;
	}
	operation->kind = OPERATION_SWITCHOVER;
	operation->from = agent->cluster.primary;
	operation->to = target;
	operation->epoch = agent->cluster.epoch;
	operation->asked_ms = agent->wall_ms;
	operation->start_ms = call->start_ms;
	operation->end_ms = call->end_ms;
}

/*
 * A node with so much of the lineage has every commit that was promised to last: the answers prove
 * it, or the mode promises no more than max_lag.
 */
static bool promised_whole(const struct agent *agent, wal_lsn usable)
{
	const struct settings *settings = &agent->cluster.settings;

	if (agent->verdict.verdict != SURVEY_SAFE ||
	    usable < survey_usable(agent, agent->verdict.choice))
		return false;
	return settings->mode != MODE_MAX_PERFORMANCE || agent->cluster.record.need > 0 ||
	       agent_at_risk(agent, usable) <= settings->max_lag_bytes;
}

/* Carried out by the leader's table once agent->forced is set. */
static void judge_failover(const struct agent *agent, const struct call *call,
			   struct findings *found, struct call_result *result)
{
	bool open = agent->phase == PHASE_SURVEY || agent->phase == PHASE_BLOCKED;
	wal_lsn usable;

	if (agent_serving(agent) || (agent->phase != PHASE_PAUSED && agent_primary_serves(agent)))
		find(found, BLOCK_PRIMARY_SERVES, agent->cluster.primary, 0, 0);
	else if (agent->cluster.settings.paused)
		find(found, BLOCK_PAUSED, NODE_NONE, 0, 0);
	else if (!open)
		find(found, BLOCK_BUSY, NODE_NONE, 0, 0);
	find_target(agent, call->node, found);
	if (!open || cluster_node(&agent->cluster, call->node) == NULL)
		return;
	if (!survey_complete(agent, call->node)) {
		find(found, BLOCK_NO_POSITION, call->node, 0, 0);
		return;
	}
	usable = survey_usable(agent, call->node);
	if (usable == 0 && agent->cluster.lineage_count > 0) {
		find(found, BLOCK_NO_POSITION, call->node, 0, 0);
		return;
	}
	if (agent->answers[call->node].facts.damaged && call->node != agent->cluster.primary &&
	    !call->accept_loss)
		find(found, BLOCK_FAULT, call->node, FAULT_DATA_DAMAGED, 0);
	result->loss_bytes = agent_at_risk(agent, usable);
	if (promised_whole(agent, usable))
		result->loss_bytes = 0;
	else if (!call->accept_loss)
		find(found, BLOCK_LOSS, call->node, result->loss_bytes, 0);
}

static void judge_mode(const struct agent *agent, const struct call *call, struct findings *found,
		       struct entry *entry)
{
	const struct cluster *cluster = &agent->cluster;
	const struct settings *now = &cluster->settings;
	struct settings *next = &entry->settings;
	unsigned data = node_count(cluster_counted(cluster));
	unsigned good = 0;

	entry->kind = ENTRY_SETTINGS;
	*next = *now;
	if (call->mode != MODE_KEEP)
		next->mode = call->mode;
	if (call->quorum_sync != QUORUM_SYNC_KEEP)
		next->quorum_sync = call->quorum_sync;
	next->pinned = now->pinned || call->pin;
	if (now->pinned && (next->mode != now->mode || next->quorum_sync != now->quorum_sync))
		find(found, BLOCK_PINNED, NODE_NONE, 0, 0);
	if (next->mode < MODE_MAX_PROTECTION || next->mode >= MODE_COUNT)
		find(found, BLOCK_INVALID, NODE_NONE, next->mode, 0);
	else if (!settings_sane(next, data))
		find(found, BLOCK_QUORUM_RANGE, NODE_NONE, next->quorum_sync,
		     data == 0 ? 0 : data - 1);
	/* It would let a stale standby be elected, and nobody has been told what that may lose. */
	if (next->mode == MODE_MAX_PERFORMANCE && now->mode != next->mode &&
	    !agent_serving(agent) && !call->force)
		find(found, BLOCK_NOT_SERVING, NODE_NONE, 0, 0);
	for (node_id id = 1; id <= NODES_MAX; id++)
		good += agent_standby_good(agent, id);
	if (next->mode == MODE_MAX_PROTECTION && !call->force &&
	    good < settings_sync_need(next, data))
		find(found, BLOCK_COMMITS_WOULD_WAIT, NODE_NONE, good,
		     settings_sync_need(next, data));
}

static void judge_maintenance(const struct agent *agent, const struct call *call,
			      struct findings *found, struct entry *entry)
{
	const struct node *node = cluster_node(&agent->cluster, call->node);

	entry->kind = ENTRY_SETTINGS;
	entry->settings = agent->cluster.settings;
	if (node == NULL) {
		find(found, BLOCK_NO_SUCH_NODE, call->node, 0, 0);
		return;
	}
	if (call->on && call->node == agent->cluster.primary)
		find(found, BLOCK_IS_PRIMARY, call->node, 0, 0);
	if (call->on)
		entry->settings.maintenance |= node_bit(call->node);
	else
		entry->settings.maintenance &= ~node_bit(call->node);
}

static void judge_cancel(const struct agent *agent, struct findings *found, struct entry *entry)
{
	const struct operation *active = cluster_operation(&agent->cluster);

	entry->kind = ENTRY_OPERATION;
	if (active == NULL) {
		find(found, BLOCK_NO_OPERATION, NODE_NONE, 0, 0);
		return;
	}
	if (active->state == OPERATION_RUNNING && agent->phase != PHASE_STEADY &&
	    agent->phase != PHASE_SWITCH)
		find(found, BLOCK_TOO_LATE, NODE_NONE, active->id, 0);
	entry->operation = *active;
	entry->operation.state = OPERATION_CANCELLED;
	entry->operation.ended_ms = agent->wall_ms;
}

static void judge_setting(const struct agent *agent, const struct call *call,
			  struct findings *found, struct entry *entry)
{
	struct settings *next = &entry->settings;

	entry->kind = ENTRY_SETTINGS;
	*next = agent->cluster.settings;
	switch (call->kind) {
	case CALL_AUTO_FAILOVER:
		next->auto_failover = call->on;
		return;
	case CALL_AUTO_SWITCH:
		next->auto_primary_switch = call->on;
		return;
	case CALL_PAUSE:
		if (call->end_ms != 0 && call->end_ms <= agent->wall_ms)
			find(found, BLOCK_WINDOW, NODE_NONE, call->end_ms, 0);
		next->paused = true;
		next->pause_until_ms = call->end_ms;
		return;
	default:
		if (!next->paused)
			find(found, BLOCK_NOT_PAUSED, NODE_NONE, 0, 0);
		next->paused = false;
		next->pause_until_ms = 0;
		return;
	}
}

static void judge(const struct agent *agent, const struct call *call, struct findings *found,
		  struct entry *entry, struct call_result *result)
{
	*entry = entry_for(agent, ENTRY_NONE);
	if (agent->cluster.epoch == 0 && call->kind != CALL_PAUSE && call->kind != CALL_RESUME) {
		find(found, BLOCK_NOT_SERVING, NODE_NONE, 0, 0);
		return;
	}
	switch (call->kind) {
	case CALL_SWITCHOVER:
		judge_switchover(agent, call, found, entry);
		result->node = entry->operation.to;
		break;
	case CALL_FAILOVER:
		judge_failover(agent, call, found, result);
		result->node = call->node;
		break;
	case CALL_CANCEL:
		judge_cancel(agent, found, entry);
		result->operation = entry->operation.id;
		break;
	case CALL_MODE:
		judge_mode(agent, call, found, entry);
		break;
	case CALL_MAINTENANCE:
		judge_maintenance(agent, call, found, entry);
		break;
	case CALL_MEMBER_ADD:
		found->count = agent_join_blockers(agent, call, entry, found->list);
		result->node = call->node;
		break;
	case CALL_MEMBER_REMOVE:
		found->count = agent_leave_blockers(agent, call, entry, found->list);
		result->node = call->node;
		break;
	case CALL_RESTART:
		found->count = agent_judge_restart(agent, call, entry, found->list);
		result->node = call->node;
		break;
	case CALL_REINIT:
		found->count = agent_judge_reinit(agent, call, entry, found->list);
		result->node = call->node;
		break;
	case CALL_AUTO_FAILOVER:
	case CALL_AUTO_SWITCH:
	case CALL_PAUSE:
	case CALL_RESUME:
		judge_setting(agent, call, found, entry);
		break;
	default:
		find(found, BLOCK_INVALID, NODE_NONE, call->kind, 0);
		break;
	}
}

static void answer(struct effects *effects, const struct call_result *result)
{
	struct effect *effect = effect_add(effects, FX_CALL_RESULT);

	effect->node = result->via;
	effect->call_result = *result;
}

static void finish(struct agent *agent, struct effects *effects, uint8_t code)
{
	agent->call_end.code = code;
	answer(effects, &agent->call_end);
	memset(&agent->call, 0, sizeof(agent->call));
	agent->call_proposed = false;
	agent->forced = NODE_NONE;
}

void agent_take_call(struct agent *agent, struct effects *effects, const struct call *call)
{
	struct call_result result = {
		.id = call->id,
		.via = call->via,
		.leader = agent->raft.leader_id,
	};
	struct findings found = {.list = result.blockers};
	struct entry entry;

	if (!agent->raft.leader || !agent->raft.ready) {
		result.code = CALL_NOT_LEADER;
		answer(effects, &result);
		return;
	}
	judge(agent, call, &found, &entry, &result);
	if (agent->call.kind != CALL_NONE && !call->dry_run)
		find(&found, BLOCK_BUSY, NODE_NONE, 0, 0);
	result.blocker_count = (uint8_t)found.count;
	if (found.count > 0 || call->dry_run) {
		result.code = found.count > 0 ? CALL_REFUSED : CALL_POSSIBLE;
		answer(effects, &result);
		return;
	}
	agent->call = *call;
	agent->call_end = result;
	agent->call_ns = agent->now_ns;
	agent->call_proposed = false;
	if (call->kind == CALL_FAILOVER) {
		agent->forced = call->node;
		agent->forced_loss = call->accept_loss;
	}
}

void agent_call_over(struct agent *agent, struct effects *effects, bool applied)
{
	const struct operation *active = cluster_operation(&agent->cluster);

	if (!agent->call_proposed)
		return;
	if ((agent->call.kind == CALL_SWITCHOVER || agent->call.kind == CALL_RESTART) &&
	    active != NULL)
		agent->call_end.operation = active->id;
	if (agent->call.kind == CALL_FAILOVER)
		agent->call_end.epoch = agent->cluster.epoch;
	finish(agent, effects, applied ? CALL_ACCEPTED : CALL_UNCERTAIN);
}

/* Judged again on the state as it is when nothing else is being proposed any more. */
void agent_calls(struct agent *agent, struct effects *effects)
{
	struct findings found = {.list = agent->call_end.blockers};
	struct entry entry;

	if (agent->call.kind == CALL_NONE)
		return;
	if (!agent->raft.leader || agent->now_ns - agent->call_ns > 4 * agent->config.election_ns) {
		finish(agent, effects, CALL_UNCERTAIN);
		return;
	}
	if (agent->call_proposed || agent->proposing || agent->call.kind == CALL_FAILOVER)
		return;
	judge(agent, &agent->call, &found, &entry, &agent->call_end);
	agent->call_end.blocker_count = (uint8_t)found.count;
	if (found.count > 0)
		finish(agent, effects, CALL_REFUSED);
	else if (agent_propose(agent, effects, entry))
		agent->call_proposed = true;
}
