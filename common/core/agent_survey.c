/* Step 2 and 3 of a failover: promises and positions are asked for, collected and judged. */
#include <string.h>

#include "core/agent_internal.h"

static uint64_t highest_promise(const struct agent *agent)
{
	uint64_t highest = agent_token(agent);

	for (node_id id = 1; id <= NODES_MAX; id++) {
		const struct peer *peer = &agent->peers[id];

		if (peer->known && peer->facts.promise > highest)
			highest = peer->facts.promise;
		if (node_in(agent->answered, id) && agent->answers[id].facts.promise > highest)
			highest = agent->answers[id].facts.promise;
	}
	return highest;
}

static void ask(struct agent *agent, struct effects *effects, node_set nodes)
{
	struct survey_request request = {
		.from = agent->config.self,
		.term = agent->raft.term,
		.epoch = agent->survey_epoch,
	};

	agent->survey_sent_ns = agent->now_ns;
	for (node_id id = 1; id <= NODES_MAX; id++) {
		struct effect *effect;

		if (!node_in(nodes, id) || id == agent->config.self)
			continue;
		effect = effect_add(effects, FX_SURVEY);
		effect->node = id;
		effect->survey = request;
	}
	if (node_in(nodes, agent->config.self) &&
	    (agent->asked.term != request.term || agent->asked.epoch != request.epoch)) {
		agent->asked = request;
		agent->asked_complete = false;
		agent->asked_replied = false;
		if (request.epoch > agent->promised)
			agent->promised = request.epoch;
	}
}

uint8_t survey_primary_fault(const struct agent *agent)
{
	return agent_is_primary(agent) ? agent->self.fault
				       : agent->peers[agent->cluster.primary].facts.fault;
}

void survey_name_fault(struct agent *agent)
{
	if ((agent->phase == PHASE_SURVEY || agent->phase == PHASE_BLOCKED) &&
	    (agent->cause == CAUSE_DB_DOWN || agent->cause == CAUSE_DB_HUNG) &&
	    agent->fault == FAULT_NONE)
		agent->fault = survey_primary_fault(agent);
}

void survey_begin(struct agent *agent, struct effects *effects, uint8_t cause)
{
	uint64_t epoch = highest_promise(agent) + 1;
	const struct peer *lost = &agent->peers[agent->cluster.primary];

	if (epoch <= agent->survey_epoch)
		epoch = agent->survey_epoch + 1;
	agent->cause = cause;
	agent->fault = survey_primary_fault(agent);
	agent->fault_ns = agent->now_ns;
	if (cause == CAUSE_NODE_LOST && lost->known)
		agent->fault_ns = lost->heard_ns;
	agent->survey_epoch = epoch;
	agent->survey_begin_ns = agent->now_ns;
	agent->fenced_ns = agent->phase == PHASE_HALT ? agent->now_ns - agent->phase_ns : 0;
	agent->survey_enough_ns = 0;
	agent->answered = 0;
	memset(&agent->verdict, 0, sizeof(agent->verdict));
	agent->verdict.verdict = SURVEY_WAITING;
	agent->hold = HOLD_ANSWERS;
	ask(agent, effects, cluster_nodes(&agent->cluster, NODE_DATA));
}

bool survey_complete(const struct agent *agent, node_id id)
{
	return node_in(agent->answered, id) && agent->answers[id].facts.position.timeline != 0;
}

wal_lsn survey_usable(const struct agent *agent, node_id id)
{
	return lineage_compare(&agent->cluster, &agent->answers[id].facts.position).usable;
}

void survey_repeat(struct agent *agent, struct effects *effects)
{
	node_set silent = cluster_nodes(&agent->cluster, NODE_DATA);

	for (node_id id = 1; id <= NODES_MAX; id++)
		if (survey_complete(agent, id))
			silent &= ~node_bit(id);
	ask(agent, effects, silent);
}

void survey_take(struct agent *agent, const struct survey_reply *reply)
{
	node_id node = reply->facts.node;

	if (!agent->raft.leader || reply->term != agent->raft.term ||
	    reply->epoch != agent->survey_epoch ||
	    (agent->phase != PHASE_SURVEY && agent->phase != PHASE_BLOCKED))
		return;
	if (!node_in(cluster_nodes(&agent->cluster, NODE_DATA), node))
		return;
	/* An empty answer that was overtaken by the complete one. */
	if (reply->facts.position.timeline == 0 && survey_complete(agent, node))
		return;
	agent->answered |= node_bit(node);
	agent->answers[node] = *reply;
}

/* Among equals: whom the operator chose, or who need not be replaced at all. */
static bool preferred(const struct agent *agent, node_id id)
{
	const struct operation *operation = cluster_switching(&agent->cluster);

	if (operation != NULL)
		return id == operation->to;
	return !agent->cluster.settings.auto_failover && id == agent->cluster.primary;
}

/* Pages may have been mended since the node answered. */
static bool is_damaged(const struct agent *agent, node_id id)
{
	const struct facts *present = agent_facts(agent, id, agent->config.election_ns);

	return present == NULL ? agent->answers[id].facts.damaged : present->damaged;
}

static struct candidate candidate_of(const struct agent *agent, node_id id)
{
	const struct facts *facts = &agent->answers[id].facts;
	const struct node *node = cluster_node(&agent->cluster, id);
	const struct facts *present = agent_facts(agent, id, agent->config.election_ns);
	struct candidate candidate = {
		.node = id,
		.db = facts->db,
		.priority = node == NULL ? 0 : node->priority,
		/* Positions stay as they were answered; what stands against a node may end. */
		.excluded = present == NULL ? facts->excluded : present->excluded,
		.damaged = is_damaged(agent, id) && !PLANTED(agent, BUG_CHOICE_DAMAGED),
		.position = facts->position,
		.match = lineage_compare(&agent->cluster, &facts->position),
	};

	if (agent->unable_until_ns[id] > agent->now_ns ||
	    node_in(agent->cluster.settings.maintenance, id))
		candidate.excluded = true;
	if (candidate.priority != 0 && preferred(agent, id))
		candidate.priority = UINT16_MAX;
	/* Another database's WAL is no answer at all. */
	if (agent->cluster.system_id != 0 && facts->system_id != 0 &&
	    facts->system_id != agent->cluster.system_id)
		candidate.match.known = false;
	if (PLANTED(agent, BUG_CHOICE_BY_TIMELINE) && candidate.match.known) {
		candidate.match.usable = facts->position.flushed;
		candidate.match.diverged = false;
		candidate.match.clash = false;
	}
	if (PLANTED(agent, BUG_BARRED_UNHEARD) && candidate.match.known &&
	    (candidate.excluded || candidate.damaged || candidate.priority == 0))
		candidate.match.usable = 1;
	return candidate;
}

void survey_judge(struct agent *agent)
{
	struct candidate candidates[NODES_MAX];
	unsigned count = 0;
	const struct cluster *cluster = &agent->cluster;
#ifdef MHA_PLANT_BUGS
	struct cluster forgetful;

	if (PLANTED(agent, BUG_EARLIER_FORGOTTEN)) {
		forgetful = *cluster;
		forgetful.earlier_count = 0;
		cluster = &forgetful;
	}
	if (PLANTED(agent, BUG_ELECT_ALONE) && agent->cluster.record.need == 0) {
		forgetful = *cluster;
		forgetful.record.need = 1; /* of nobody: nothing was acknowledged */
		cluster = &forgetful;
	}
#endif
	for (node_id id = 1; id <= NODES_MAX; id++)
		if (node_in(agent->answered, id))
			candidates[count++] = candidate_of(agent, id);
	agent->verdict = survey_evaluate(cluster, candidates, count);
	agent->hold = survey_hold(agent);
	if (agent->verdict.verdict != SURVEY_SAFE)
		agent->survey_enough_ns = 0;
	else if (agent->survey_enough_ns == 0)
		agent->survey_enough_ns = agent->now_ns;
}

/* Nobody waited for the commits of this epoch: what was not shipped is lost. */
static bool unprotected(const struct cluster *cluster)
{
	return cluster->record.need == 0 && cluster->settings.mode == MODE_MAX_PERFORMANCE;
}

static bool has_answered(const struct agent *agent, node_id id)
{
	return survey_complete(agent, id) && candidate_of(agent, id).match.known &&
	       !node_in(agent->cluster.rebuilding, id);
}

/*
 * When anybody heard of the primary last, as far as is known here: others may have let it serve
 * while this node was cut off from it. `vague`: that one has only begun to listen then.
 */
static uint64_t last_heard(const struct agent *agent, bool *vague)
{
	uint64_t last_ns = agent->seen_ns;

	*vague = false;
	for (node_id id = 1; id <= NODES_MAX; id++) {
		const struct peer *peer = &agent->peers[id];
		uint64_t age_ns = peer->facts.primary_age_ms * UINT64_C(1000000);

		if (!peer->known || id == agent->cluster.primary || id == agent->config.self ||
		    peer->facts.primary_epoch != agent->cluster.epoch || peer->heard_ns < age_ns ||
		    peer->heard_ns - age_ns <= last_ns)
			continue;
		last_ns = peer->heard_ns - age_ns;
		*vague = peer->facts.primary_seen == 0;
	}
	return last_ns;
}

bool survey_owes_primary(const struct agent *agent)
{
	const struct cluster *cluster = &agent->cluster;

	return cluster_switching(cluster) != NULL && unprotected(cluster) &&
	       cluster->primary != NODE_NONE && agent->verdict.choice != cluster->primary &&
	       !has_answered(agent, cluster->primary);
}

static uint8_t lag_hold(const struct agent *agent, node_id choice)
{
	const struct settings *settings = &agent->cluster.settings;
	uint64_t level_ns = agent->level_ns[choice];
	uint64_t at_risk = agent_at_risk(agent, survey_usable(agent, choice));
	bool vague;
	uint64_t last_ns = last_heard(agent, &vague);

	/* By its own answer the primary has nothing that the choice has not. */
	if (has_answered(agent, agent->cluster.primary) &&
	    survey_usable(agent, agent->cluster.primary) <= survey_usable(agent, choice))
		return HOLD_NONE;
	if (agent->seen == 0 || level_ns == 0)
		return HOLD_LAG_UNKNOWN;
	if (at_risk > settings->max_lag_bytes)
		return HOLD_LAG;
	if (last_ns > level_ns && last_ns - level_ns > settings->max_lag_ms * UINT64_C(1000000))
		return vague ? HOLD_LAG_UNKNOWN : HOLD_LAG;
	return HOLD_NONE;
}

uint8_t survey_hold(const struct agent *agent)
{
	const struct cluster *cluster = &agent->cluster;
	node_id choice = agent->verdict.choice;

	if (agent->verdict.verdict == SURVEY_WAITING)
		return HOLD_ANSWERS;
	if (agent->verdict.verdict == SURVEY_NO_CANDIDATE)
		return HOLD_NO_CANDIDATE;
	if (choice == cluster->primary)
		return HOLD_NONE;
	/* Without the old primary's answer a planned switch is no better than a failover. */
	if (cluster_switching(cluster) != NULL && !survey_owes_primary(agent))
		return HOLD_NONE;
	if (!cluster->settings.auto_failover)
		return HOLD_AUTO_FAILOVER;
	if (agent_budget_spent(agent))
		return HOLD_BUDGET;
	return unprotected(cluster) ? lag_hold(agent, choice) : HOLD_NONE;
}

static uint32_t microseconds(uint64_t from_ns, uint64_t to_ns)
{
	uint64_t us = to_ns > from_ns ? (to_ns - from_ns) / 1000 : 0;

	return us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

static void write_answers(const struct agent *agent, struct decision *decision)
{
	/* Those of a survey that is over say nothing about now. */
	if (agent->survey_epoch <= agent->cluster.epoch)
		return;
	for (node_id id = 1; id <= NODES_MAX; id++) {
		struct candidate candidate;
		struct survey_answer *answer;

		if (!node_in(agent->answered, id))
			continue;
		candidate = candidate_of(agent, id);
		answer = &decision->answers[decision->answer_count++];
		answer->node = id;
		answer->db = candidate.db;
		answer->fault = agent->answers[id].facts.fault;
		if (!is_damaged(agent, id) && answer->fault == FAULT_DATA_DAMAGED)
			answer->fault = FAULT_NONE;
		else if (is_damaged(agent, id) && answer->fault == FAULT_NONE)
			answer->fault = FAULT_DATA_DAMAGED;
		answer->excluded =
			candidate.excluded || (candidate.damaged && id != agent->cluster.primary);
		answer->diverged = candidate.match.diverged || candidate.match.clash;
		answer->priority = candidate.priority;
		answer->timeline = candidate.position.timeline;
		answer->flushed = candidate.position.flushed;
		answer->usable = candidate.match.usable;
	}
}

/* Everything of a decision that does not depend on who is chosen. */
static struct decision decision_about(const struct agent *agent)
{
	const struct operation *operation = cluster_switching(&agent->cluster);
	struct decision decision = {
		.epoch = agent->survey_epoch,
		.cause = agent->cause,
		.fault = agent->fault,
		.from = agent->cluster.primary,
		.at_ms = agent->wall_ms,
		.before = agent->cluster.record,
		.seen = agent->seen,
		.detect_us = microseconds(agent->fault_ns, agent->survey_begin_ns),
		.survey_us = microseconds(agent->survey_begin_ns, agent->now_ns),
		.fence_us = microseconds(0, agent->fenced_ns),
	};

	if (operation != NULL)
		decision.operation = operation->id;
	write_answers(agent, &decision);
	return decision;
}

/* Who answered, and needs nothing but the new primary's WAL. */
static node_set followers(const struct agent *agent, node_id choice)
{
	wal_lsn end = survey_usable(agent, choice);
	node_set following = 0;

	for (node_id id = 1; id <= NODES_MAX; id++) {
		struct candidate candidate;

		if (!node_in(agent->answered, id) || id == choice)
			continue;
		candidate = candidate_of(agent, id);
		if (candidate.match.known && !candidate.match.diverged && !candidate.match.clash &&
		    candidate.db == DB_STANDBY && candidate.match.usable <= end &&
		    !node_in(agent->cluster.settings.maintenance, id) &&
		    !node_in(agent->cluster.rebuilding, id))
			following |= node_bit(id);
	}
	return following;
}

static struct sync_rule first_record(const struct agent *agent, node_set following)
{
	struct sync_rule record = {following, cluster_sync_need(&agent->cluster)};

	if (agent->cluster.settings.mode != MODE_MAX_PROTECTION &&
	    node_count(following) < record.need)
		record.need = (uint8_t)node_count(following);
	if (record.need == 0)
		record.members = 0;
	return record;
}

struct entry survey_assignment(const struct agent *agent, node_id choice, bool forced)
{
	const struct cluster *cluster = &agent->cluster;
	struct entry entry = {
		.kind = ENTRY_ASSIGN,
		.base_version = cluster->version,
		.epoch = agent->survey_epoch,
	};
	struct decision *decision = &entry.assign.decision;

	*decision = decision_about(agent);
	entry.assign.node = choice;
	entry.assign.resume = agent->verdict.resume && choice == agent->verdict.choice;
	entry.assign.accept_loss = forced && agent->forced_loss && !entry.assign.resume;
	entry.assign.record = entry.assign.resume ? cluster->record
						  : first_record(agent, followers(agent, choice));
	if (forced)
		decision->cause = CAUSE_OPERATOR;
	else if (entry.assign.resume)
		decision->cause = CAUSE_RESUMED;
	else if (survey_owes_primary(agent))
		decision->cause = CAUSE_DB_DOWN;
	decision->to = choice;
	decision->usable = survey_usable(agent, choice);
	decision->after = entry.assign.record;
	decision->loss_accepted = entry.assign.accept_loss;
	if (choice != cluster->primary && (unprotected(cluster) || decision->loss_accepted)) {
		uint64_t level_ns = agent->level_ns[choice];

		decision->at_risk = agent_at_risk(agent, decision->usable);
		decision->at_risk_ms =
			level_ns == 0 ? UINT32_MAX
				      : microseconds(level_ns, agent->survey_begin_ns) / 1000;
	}
	return entry;
}

node_set survey_missing(const struct agent *agent)
{
	return agent->hold == HOLD_ANSWERS || agent->hold == HOLD_NO_CANDIDATE
		       ? agent->verdict.missing
		       : 0;
}

struct entry survey_held(const struct agent *agent)
{
	struct entry entry = {
		.kind = ENTRY_HELD,
		.base_version = agent->cluster.version,
		.epoch = agent->cluster.epoch,
	};

	entry.held = decision_about(agent);
	entry.held.epoch = agent->cluster.epoch;
	entry.held.after = agent->cluster.record;
	entry.held.hold = agent->hold;
	entry.held.to = agent->hold == HOLD_PAUSED ? NODE_NONE : agent->verdict.choice;
	entry.held.missing = survey_missing(agent);
	if (agent->hold == HOLD_ANSWERS)
		entry.held.missing_count = (uint8_t)agent->verdict.missing_count;
	return entry;
}
