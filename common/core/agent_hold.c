/*
 * Decisions not to promote: the conditions under which the leader's table stands still, what it
 * writes to the log then, and the operator's word that ends it.
 */
#include "base/macros.h"
#include "core/agent_internal.h"

static bool stuck(const struct agent *agent, uint8_t hold)
{
	return agent->hold == hold &&
	       (agent->phase == PHASE_BLOCKED ||
		agent->now_ns - agent->survey_begin_ns > 2 * agent->config.election_ns);
}

bool held_for_answers(const struct agent *agent)
{
	return stuck(agent, HOLD_ANSWERS);
}

bool held_without_candidate(const struct agent *agent)
{
	return stuck(agent, HOLD_NO_CANDIDATE);
}

bool held_by_switch(const struct agent *agent)
{
	return stuck(agent, HOLD_AUTO_FAILOVER);
}

bool held_by_budget(const struct agent *agent)
{
	return stuck(agent, HOLD_BUDGET);
}

bool held_by_lag(const struct agent *agent)
{
	return stuck(agent, HOLD_LAG) || stuck(agent, HOLD_LAG_UNKNOWN);
}

/* The log has this decision not to promote already, the last of its decisions. */
bool held_unrecorded(const struct agent *agent)
{
	const struct cluster *cluster = &agent->cluster;
	const struct decision *last;

	if (agent->proposing || agent->hold == HOLD_NONE)
		return false;
	if (cluster->decision_count == 0)
		return true;
	last = &cluster->decisions[cluster->decision_count - 1];
	return last->hold != agent->hold || last->epoch != cluster->epoch ||
	       last->missing != survey_missing(agent);
}

/* Not at once: who leads has to hear the others first. */
bool held_in_pause(const struct agent *agent)
{
	return agent->now_ns - agent->phase_ns > 2 * agent->config.election_ns &&
	       held_unrecorded(agent);
}

bool survey_forced(const struct agent *agent)
{
	return agent->forced != NODE_NONE && !agent->proposing &&
	       survey_complete(agent, agent->forced);
}

bool paused(const struct agent *agent)
{
	return agent->cluster.settings.paused && !PLANTED(agent, BUG_PROMOTE_IN_PAUSE);
}

bool not_paused(const struct agent *agent)
{
	return !agent->cluster.settings.paused;
}

bool pause_over(const struct agent *agent)
{
	const struct settings *settings = &agent->cluster.settings;

	return settings->paused && settings->pause_until_ms != 0 &&
	       agent->wall_ms >= settings->pause_until_ms && !agent->proposing;
}

void propose_forced(struct agent *agent, struct effects *effects)
{
	agent->call_proposed =
		agent_propose(agent, effects, survey_assignment(agent, agent->forced, true));
}

/* What would be surveyed for, were it not for the pause. */
void note_lost(struct agent *agent, struct effects *effects)
{
	UNUSED(effects);
	agent->cause = CAUSE_NODE_LOST;
	agent->fault = survey_primary_fault(agent);
	if (agent_is_primary(agent))
		agent->cause = agent->self.db == DB_HUNG ? CAUSE_DB_HUNG : CAUSE_DB_DOWN;
}

void propose_held(struct agent *agent, struct effects *effects)
{
	(void)agent_propose(agent, effects, survey_held(agent));
}

void propose_resume(struct agent *agent, struct effects *effects)
{
	struct entry entry = {
		.kind = ENTRY_SETTINGS,
		.base_version = agent->cluster.version,
		.epoch = agent->cluster.epoch,
		.settings = agent->cluster.settings,
	};

	entry.settings.paused = false;
	entry.settings.pause_until_ms = 0;
	(void)agent_propose(agent, effects, entry);
}
