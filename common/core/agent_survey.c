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

void survey_begin(struct agent *agent, struct effects *effects, uint8_t cause)
{
	uint64_t epoch = highest_promise(agent) + 1;
	const struct peer *lost = &agent->peers[agent->cluster.primary];

	if (epoch <= agent->survey_epoch)
		epoch = agent->survey_epoch + 1;
	agent->cause = cause;
	agent->fault_ns = agent->now_ns;
	if (cause == CAUSE_NODE_LOST && lost->known)
		agent->fault_ns = lost->heard_ns;
	agent->survey_epoch = epoch;
	agent->survey_begin_ns = agent->now_ns;
	agent->survey_enough_ns = 0;
	agent->answered = 0;
	memset(&agent->verdict, 0, sizeof(agent->verdict));
	agent->verdict.verdict = SURVEY_WAITING;
	ask(agent, effects, cluster_nodes(&agent->cluster, NODE_DATA));
}

static bool complete(const struct agent *agent, node_id id)
{
	return node_in(agent->answered, id) && agent->answers[id].facts.position.timeline != 0;
}

void survey_repeat(struct agent *agent, struct effects *effects)
{
	node_set silent = cluster_nodes(&agent->cluster, NODE_DATA);

	for (node_id id = 1; id <= NODES_MAX; id++)
		if (complete(agent, id))
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
	if (reply->facts.position.timeline == 0 && complete(agent, node))
		return;
	agent->answered |= node_bit(node);
	agent->answers[node] = *reply;
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
		.position = facts->position,
		.match = lineage_compare(&agent->cluster, &facts->position),
	};

	if (agent->unable_until_ns[id] > agent->now_ns)
		candidate.excluded = true;
	/* Another database's WAL is no answer at all. */
	if (agent->cluster.system_id != 0 && facts->system_id != 0 &&
	    facts->system_id != agent->cluster.system_id)
		candidate.match.known = false;
	if (PLANTED(agent, BUG_CHOICE_BY_TIMELINE) && candidate.match.known) {
		candidate.match.usable = facts->position.flushed;
		candidate.match.diverged = false;
		candidate.match.clash = false;
	}
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
#endif
	for (node_id id = 1; id <= NODES_MAX; id++)
		if (node_in(agent->answered, id))
			candidates[count++] = candidate_of(agent, id);
	agent->verdict = survey_evaluate(cluster, candidates, count);
	if (agent->verdict.verdict != SURVEY_SAFE)
		agent->survey_enough_ns = 0;
	else if (agent->survey_enough_ns == 0)
		agent->survey_enough_ns = agent->now_ns;
}

static uint32_t microseconds(uint64_t from_ns, uint64_t to_ns)
{
	uint64_t us = to_ns > from_ns ? (to_ns - from_ns) / 1000 : 0;

	return us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

struct entry survey_assignment(const struct agent *agent)
{
	const struct cluster *cluster = &agent->cluster;
	struct entry entry = {
		.kind = ENTRY_ASSIGN,
		.base_version = cluster->version,
		.epoch = agent->survey_epoch,
	};
	struct decision *decision = &entry.assign.decision;
	node_set following = 0;

	for (node_id id = 1; id <= NODES_MAX; id++) {
		struct candidate candidate;
		struct survey_answer *answer;

		if (!node_in(agent->answered, id))
			continue;
		candidate = candidate_of(agent, id);
		answer = &decision->answers[decision->answer_count++];
		answer->node = id;
		answer->db = candidate.db;
		answer->timeline = candidate.position.timeline;
		answer->flushed = candidate.position.flushed;
		answer->usable = candidate.match.usable;
		if (id == agent->verdict.choice)
			decision->usable = candidate.match.usable;
		else if (candidate.match.known && !candidate.match.diverged &&
			 !candidate.match.clash && candidate.db == DB_STANDBY &&
			 !node_in(cluster->rebuilding, id))
			following |= node_bit(id);
	}
	entry.assign.node = agent->verdict.choice;
	entry.assign.resume = agent->verdict.resume;
	entry.assign.record.members = following;
	entry.assign.record.need = agent->config.sync_need;
	if (entry.assign.resume)
		entry.assign.record = cluster->record;
	decision->epoch = entry.epoch;
	decision->cause = entry.assign.resume ? CAUSE_RESUMED : agent->cause;
	decision->from = cluster->primary;
	decision->to = entry.assign.node;
	decision->at_ms = agent->wall_ms;
	decision->before = cluster->record;
	decision->after = entry.assign.record;
	decision->detect_us = microseconds(agent->fault_ns, agent->survey_begin_ns);
	decision->survey_us = microseconds(agent->survey_begin_ns, agent->now_ns);
	return entry;
}
