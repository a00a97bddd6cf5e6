/*
 * The leader's table: phase x condition -> action, next phase. Rows are tried from the top; the
 * first whose condition holds is taken, until no row changes the phase any more. A row that
 * leads to its own phase is a standing duty.
 */
#include <string.h>

#include "base/check.h"
#include "base/macros.h"
#include "core/agent_internal.h"

typedef bool (*guard_fn)(const struct agent *agent);
typedef void (*action_fn)(struct agent *agent, struct effects *effects);

/* proposals */

bool agent_propose(struct agent *agent, struct effects *effects, struct entry entry)
{
	bool again =
		entry.kind == agent->proposed_kind && entry.base_version == agent->proposed_base;

	if (agent->proposing || !agent->raft.ready)
		return false;
	/* Refused on the same state: not more often than a heartbeat. */
	if (again && agent->now_ns - agent->proposed_ns < agent->config.heartbeat_ns)
		return false;
	agent->proposing = true;
	agent->proposed_ns = agent->now_ns;
	agent->proposed_kind = entry.kind;
	agent->proposed_base = entry.base_version;
	entry.at_ms = agent->wall_ms;
	effect_add(effects, FX_PROPOSE)->entry = entry;
	return true;
}

/* what the bootstrap looks at */

struct founding {
	bool all_known;
	unsigned with_data;
	node_id founder; /* the only one with data, else the best empty one */
};

static bool better_founder(const struct agent *agent, node_id node, node_id than)
{
	const struct node *a = cluster_node(&agent->cluster, node);
	const struct node *b = cluster_node(&agent->cluster, than);

	if (a == NULL || a->priority == 0)
		return false;
	return b == NULL || a->priority > b->priority;
}

static struct founding found(const struct agent *agent)
{
	struct founding founding = {.all_known = true};
	node_id empty = NODE_NONE;

	for (unsigned i = 0; i < agent->cluster.node_total; i++) {
		const struct node *node = &agent->cluster.nodes[i];
		const struct facts *facts;

		if (node->kind != NODE_DATA)
			continue;
		facts = agent_facts(agent, node->id, agent->config.election_ns);
		if (facts == NULL || facts->db == DB_UNKNOWN) {
			founding.all_known = false;
		} else if (facts->db != DB_ABSENT) {
			founding.with_data++;
			founding.founder = node->id;
		} else if (better_founder(agent, node->id, empty)) {
			empty = node->id;
		}
	}
	if (founding.with_data == 0)
		founding.founder = empty;
	else if (founding.with_data > 1)
		founding.founder = NODE_NONE;
	return founding;
}

/* conditions */

static bool always(const struct agent *agent)
{
	UNUSED(agent);
	return true;
}

static bool uninitialised(const struct agent *agent)
{
	return agent->cluster.cluster_id == 0;
}

static bool no_epoch(const struct agent *agent)
{
	return agent->cluster.epoch == 0;
}

static bool have_epoch(const struct agent *agent)
{
	return agent->cluster.epoch != 0;
}

static bool i_found_empty(const struct agent *agent)
{
	struct founding founding = found(agent);

	return founding.all_known && founding.founder == agent->config.self &&
	       agent->self.db == DB_ABSENT && !agent->cluster.settings.paused;
}

static bool i_found_running(const struct agent *agent)
{
	struct founding founding = found(agent);

	return founding.all_known && founding.founder == agent->config.self &&
	       agent->self.db == DB_STANDBY && agent->self.position.timeline != 0 &&
	       !agent->cluster.settings.paused;
}

static bool other_founds(const struct agent *agent)
{
	struct founding founding = found(agent);

	return founding.all_known && founding.founder != NODE_NONE &&
	       founding.founder != agent->config.self;
}

static bool several_found(const struct agent *agent)
{
	return found(agent).with_data > 1;
}

static bool one_found(const struct agent *agent)
{
	return no_epoch(agent) && !several_found(agent);
}

/* Somebody has promised an epoch beyond the recorded one. */
static bool outdone(const struct agent *agent)
{
	if (agent_is_data(agent) && agent_token(agent) > agent->cluster.epoch)
		return true;
	for (node_id id = 1; id <= NODES_MAX; id++) {
		const struct facts *facts = agent_facts(agent, id, agent->config.election_ns);

		if (facts != NULL && facts->promise > agent->cluster.epoch)
			return true;
	}
	return false;
}

/* A leader that was stopped for long hears of later promises before it hears that it is none. */
static bool outbid(const struct agent *agent)
{
	return agent_has_lease(agent) && outdone(agent);
}

static bool i_am_running(const struct agent *agent)
{
	return agent_is_primary(agent) && agent->cluster.opened && agent->self.db == DB_PRIMARY &&
	       !agent_strayed(agent) && !outdone(agent);
}

static bool i_must_promote(const struct agent *agent)
{
	return agent_is_primary(agent) && !agent->cluster.opened && !outdone(agent) &&
	       !agent->own.excluded &&
	       (agent->self.db == DB_STANDBY || agent->self.db == DB_PRIMARY);
}

static bool i_am_primary_unseen(const struct agent *agent)
{
	return agent_is_primary(agent) && !agent->self_known &&
	       agent->now_ns - agent->led_ns < 2 * agent->config.election_ns;
}

static bool other_is_able(const struct agent *agent)
{
	const struct cluster *cluster = &agent->cluster;
	const struct facts *facts =
		agent_facts(agent, cluster->primary, agent->config.election_ns / 2);

	if (agent_is_primary(agent) || facts == NULL || facts->excluded || outdone(agent) ||
	    agent->transfers >= 2)
		return false;
	return facts->db == DB_PRIMARY || (!cluster->opened && facts->db == DB_STANDBY);
}

/* An agent that has just started has not heard the others yet. */
static bool just_started(const struct agent *agent)
{
	return agent->now_ns - agent->started_ns < agent->config.election_ns / 2;
}

static bool i_was_primary(const struct agent *agent)
{
	return agent_is_primary(agent) &&
	       (agent->self.db == DB_DOWN || agent->self.db == DB_HUNG) &&
	       agent->granted_epoch != 0;
}

static bool primary_was_heard(const struct agent *agent)
{
	node_id primary = agent->cluster.primary;

	return primary != agent->config.self && agent->peers[primary].known &&
	       agent->peers[primary].facts.db == DB_PRIMARY;
}

static bool not_primary(const struct agent *agent)
{
	return !agent_is_primary(agent);
}

static bool leaving_stopped(const struct agent *agent)
{
	return agent->leaving && agent->self.db != DB_PRIMARY;
}

static bool db_hung(const struct agent *agent)
{
	return agent->self.db == DB_HUNG;
}

/* Stopped as such, not merely slow. */
static bool hangs_for_certain(uint8_t fault)
{
	return fault == FAULT_POSTMASTER_STOPPED || fault == FAULT_FROZEN ||
	       fault == FAULT_DISK_ERROR || fault == FAULT_DISK_FULL;
}

/*
 * A database that is slow to answer is worth more than none at all: where nobody could take over
 * it is given time before it is ended, for it may be the one that others are being rebuilt from.
 */
static bool hung_for_good(const struct agent *agent)
{
	return db_hung(agent) &&
	       (hangs_for_certain(agent->self.fault) || agent_replaceable(agent) ||
		agent->now_ns - agent->hung_ns > HUNG_PATIENCE_NS);
}

static bool db_not_primary(const struct agent *agent)
{
	return (agent->self.db != DB_PRIMARY && agent->self.db != DB_UNKNOWN) ||
	       agent_strayed(agent);
}

/* Not merely slow. */
static bool db_gone(const struct agent *agent)
{
	return db_not_primary(agent) && !db_hung(agent);
}

static bool db_lost(const struct agent *agent)
{
	return db_not_primary(agent) && agent->self.db != DB_STANDBY;
}

static bool db_promoted(const struct agent *agent)
{
	return agent->self.db == DB_PRIMARY && agent->self.position.timeline != 0;
}

static bool excluded(const struct agent *agent)
{
	return agent->own.excluded;
}

static bool opened(const struct agent *agent)
{
	return agent->cluster.opened;
}

static bool used_timeline(const struct agent *agent)
{
	return db_promoted(agent) && agent->self.position.timeline < agent->cluster.timeline_max;
}

static bool rule_in_place(const struct agent *agent)
{
	return db_promoted(agent) && agent->self.position.branch_count > 0 &&
	       sync_covers(agent->self.rule, agent->cluster.record);
}

static bool survey_over(const struct agent *agent)
{
	return agent->cluster.epoch >= agent->survey_epoch;
}

static bool assigned_other(const struct agent *agent)
{
	return survey_over(agent) && !agent_is_primary(agent);
}

static bool survey_outdone(const struct agent *agent)
{
	if (agent_is_data(agent) && agent_token(agent) > agent->survey_epoch)
		return true;
	for (node_id id = 1; id <= NODES_MAX; id++) {
		const struct facts *facts = agent_facts(agent, id, agent->config.election_ns);

		if (facts != NULL && facts->promise > agent->survey_epoch)
			return true;
		if (node_in(agent->answered, id) &&
		    agent->answers[id].facts.promise > agent->survey_epoch)
			return true;
	}
	return false;
}

/* Nobody waited for the last commits: only the old primary can show that nothing is lost. */
static bool primary_awaited(const struct agent *agent)
{
	const struct facts *facts =
		agent_facts(agent, agent->cluster.primary, agent->config.election_ns / 2);

	return survey_owes_primary(agent) && facts != NULL && facts->db != DB_ABSENT &&
	       facts->db != DB_BROKEN;
}

/* Everybody who can be heard has answered; or a moment passed since it was enough. */
static bool survey_ripe(const struct agent *agent)
{
	node_set data = cluster_nodes(&agent->cluster, NODE_DATA);
	uint64_t grace = agent->config.election_ns / 20;
	const struct operation *operation = cluster_switching(&agent->cluster);
	const struct operation *awaited = NULL;

	if (agent->hold != HOLD_NONE || agent->proposing)
		return false;
	/* The target of a switchover is worth waiting for, as long as it is heard. */
	if (operation != NULL && agent->verdict.choice != operation->to &&
	    !survey_complete(agent, operation->to) &&
	    agent_facts(agent, operation->to, agent->config.election_ns / 2) != NULL)
		awaited = operation;
	if (awaited != NULL)
		grace = awaited->kind == OPERATION_RESTART ? 10 * agent->config.election_ns
							   : agent->config.election_ns;
	if (primary_awaited(agent))
		return agent->now_ns - agent->survey_enough_ns >= 10 * agent->config.election_ns;
	if (agent->now_ns - agent->survey_enough_ns >= grace)
		return true;
	/* What has just been stopped answers without a position first. */
	if (awaited != NULL && awaited->kind == OPERATION_RESTART)
		return false;
	for (node_id id = 1; id <= NODES_MAX; id++)
		if (node_in(data & ~agent->answered, id) &&
		    agent_facts(agent, id, agent->config.election_ns / 2) != NULL)
			return false;
	return true;
}

static bool lost_in_pause(const struct agent *agent)
{
	return paused(agent) && (db_hung(agent) || db_not_primary(agent));
}

static bool survey_repeat_due(const struct agent *agent)
{
	uint64_t period = agent->phase == PHASE_BLOCKED ? agent->config.election_ns / 2
							: 2 * agent->config.heartbeat_ns;

	return agent->now_ns - agent->survey_sent_ns >= period;
}

static bool proposal_over(const struct agent *agent)
{
	return !agent->proposing;
}

static node_id handover_target(const struct agent *agent)
{
	return agent->cluster.epoch == 0 ? found(agent).founder : agent->cluster.primary;
}

static bool handover_moot(const struct agent *agent)
{
	node_id target = handover_target(agent);

	return target == NODE_NONE || target == agent->config.self;
}

static bool handover_failed(const struct agent *agent)
{
	return !agent->transferring &&
	       (agent->transfers >= 2 ||
		agent->now_ns - agent->phase_ns > 5 * agent->config.election_ns);
}

static bool failed_in_pause(const struct agent *agent)
{
	return paused(agent) && handover_failed(agent);
}

static bool handover_failed_early(const struct agent *agent)
{
	return no_epoch(agent) && handover_failed(agent);
}

/* Nobody is let in here any more once another may get the lease. */
static bool handover_safe(const struct agent *agent)
{
	if (agent->transferring || agent->now_ns < agent->transfer_retry_ns)
		return false;
	/* A close of an epoch that was granted may be older than the grant; this epoch never is. */
	if (!agent_is_data(agent) || agent_fenced(agent, agent->cluster.epoch) ||
	    (agent->fence_known && agent->fence == FENCE_NONE && agent->self.db == DB_STANDBY))
		return true;
	/* No lease lasts longer than T: those of the agent before this one are over by then. */
	return agent->fence_kernel && agent->now_ns > agent->granted_until_ns &&
	       agent->now_ns - agent->started_ns > agent->config.election_ns;
}

/* Nobody has told the database to promote itself yet. */
static bool promote_overdue(const struct agent *agent)
{
	const struct pending_order *pending = &agent->pending[EXECUTOR_DBMON];

	return agent->now_ns - agent->phase_ns > 10 * agent->config.election_ns &&
	       !(pending->kind == ORDER_DB_PROMOTE && pending->id != 0);
}

static bool opening_overdue(const struct agent *agent)
{
	return agent->now_ns - agent->phase_ns > 10 * agent->config.election_ns;
}

/* actions */

static void nothing(struct agent *agent, struct effects *effects)
{
	UNUSED(agent);
	UNUSED(effects);
}

static void propose_init(struct agent *agent, struct effects *effects)
{
	struct entry entry = {.kind = ENTRY_INIT};

	entry.init.cluster_id = agent->config.cluster_id;
	entry.init.settings = agent->config.settings;
	for (unsigned i = 0; i < agent->config.node_total; i++)
		if (!node_in(agent->config.later, agent->config.nodes[i].id))
			entry.init.nodes[entry.init.node_total++] = agent->config.nodes[i];
	(void)agent_propose(agent, effects, entry);
}

static void order_initdb(struct agent *agent, struct effects *effects)
{
	struct order order = {.kind = ORDER_DB_INITDB, .epoch = agent_token(agent)};

	(void)agent_give(agent, effects, &order);
}

static void propose_first(struct agent *agent, struct effects *effects)
{
	struct entry entry = {
		.kind = ENTRY_ASSIGN,
		.base_version = agent->cluster.version,
		.epoch = agent_token(agent) + 1,
	};
	struct decision *decision = &entry.assign.decision;

	/* No standby exists: in maximum protection commits wait until the first ones joined. */
	entry.assign.node = agent->config.self;
	if (agent->cluster.settings.mode == MODE_MAX_PROTECTION)
		entry.assign.record.need = cluster_sync_need(&agent->cluster);
	decision->epoch = entry.epoch;
	decision->cause = CAUSE_BOOTSTRAP;
	decision->to = agent->config.self;
	decision->at_ms = agent->wall_ms;
	decision->after = entry.assign.record;
	decision->usable = agent->self.position.flushed;
	(void)agent_propose(agent, effects, entry);
}

static void survey_for(struct agent *agent, struct effects *effects, enum assign_cause cause)
{
	survey_begin(agent, effects, (uint8_t)cause);
}

static void survey_cold(struct agent *agent, struct effects *effects)
{
	survey_for(agent, effects, CAUSE_COLD_START);
}

static void survey_lost(struct agent *agent, struct effects *effects)
{
	survey_for(agent, effects, CAUSE_NODE_LOST);
}

static void survey_down(struct agent *agent, struct effects *effects)
{
	survey_for(agent, effects, agent_strayed(agent) ? CAUSE_STRAYED : CAUSE_DB_DOWN);
}

static void survey_hung(struct agent *agent, struct effects *effects)
{
	survey_for(agent, effects, CAUSE_DB_HUNG);
}

static void survey_outbid(struct agent *agent, struct effects *effects)
{
	survey_for(agent, effects, CAUSE_RESUMED);
}

static void survey_unable(struct agent *agent, struct effects *effects)
{
	survey_for(agent, effects, CAUSE_LEADER_UNABLE);
}

static void survey_leaving(struct agent *agent, struct effects *effects)
{
	survey_for(agent, effects, CAUSE_HANDOVER);
}

static void survey_higher(struct agent *agent, struct effects *effects)
{
	survey_begin(agent, effects, agent->cause);
}

static void survey_without(struct agent *agent, struct effects *effects)
{
	node_id target = handover_target(agent);

	/* Not its fault when nothing was transferred, because the fence here is not closed. */
	if (agent->transfers > 0)
		agent->unable_until_ns[target] = agent->now_ns + 10 * agent->config.election_ns;
	survey_for(agent, effects, CAUSE_LEADER_UNABLE);
}

static void give_up(struct agent *agent, struct effects *effects)
{
	agent->excluded_until_ns = agent->now_ns + 10 * agent->config.election_ns;
	survey_for(agent, effects, CAUSE_LEADER_UNABLE);
}

static void propose_assign(struct agent *agent, struct effects *effects)
{
	(void)agent_propose(agent, effects, survey_assignment(agent, agent->verdict.choice, false));
}

static void hand_over(struct agent *agent, struct effects *effects)
{
	agent->transferring = true;
	agent->transfers++;
	effect_add(effects, FX_TRANSFER)->node = handover_target(agent);
}

static uint32_t clamped_us(uint64_t ns)
{
	return ns / 1000 > UINT32_MAX ? UINT32_MAX : (uint32_t)(ns / 1000);
}

static void propose_opened(struct agent *agent, struct effects *effects)
{
	const struct wal_position *position = &agent->self.position;
	struct wal_branch fork = lineage_fork(&agent->cluster, position);
	struct entry entry = {
		.kind = ENTRY_OPENED,
		.base_version = agent->cluster.version,
		.epoch = agent->cluster.epoch,
	};

	entry.opened.timeline = position->timeline;
	entry.opened.parent = fork.timeline;
	entry.opened.fork = fork.end;
	entry.opened.system_id = agent->self.system_id;
	if (agent->promoted_ns > agent->assigned_ns)
		entry.opened.promote_us = clamped_us(agent->promoted_ns - agent->assigned_ns);
	entry.opened.open_us = clamped_us(agent->now_ns - agent->assigned_ns);
	(void)agent_propose(agent, effects, entry);
}

/* clang-format off */
static const struct leader_rule {
	enum leader_phase phase;
	guard_fn condition;
	action_fn action;
	enum leader_phase next;
	const char *name;
	const char *why;
} rules[] = {
	{PHASE_FOLLOWING, uninitialised,       propose_init,   PHASE_FOLLOWING, "following/uninitialised",   "the log is new: cluster id and members are written"},
	{PHASE_FOLLOWING, no_epoch,            nothing,        PHASE_BOOTSTRAP, "following/no_epoch",        "there was never a primary: the first one is being made"},
	{PHASE_FOLLOWING, i_am_running,        nothing,        PHASE_STEADY,    "following/primary_runs",    "this node is the recorded primary and its database runs"},
	{PHASE_FOLLOWING, i_must_promote,      nothing,        PHASE_PROMOTE,   "following/assigned",        "this node was assigned and is to be promoted"},
	{PHASE_FOLLOWING, i_am_primary_unseen, nothing,        PHASE_FOLLOWING, "following/unseen",          "this node is the recorded primary; its database was not looked at yet"},
	{PHASE_FOLLOWING, other_is_able,       nothing,        PHASE_HANDOVER,  "following/other_able",      "the recorded primary is alive: the leadership goes back to it"},
	{PHASE_FOLLOWING, paused,              note_lost,      PHASE_PAUSED,    "following/paused",          "the cluster is paused: nobody is promoted"},
	{PHASE_FOLLOWING, just_started,        nothing,        PHASE_FOLLOWING, "following/just_started",    "this agent has just started and listens for the others first"},
	{PHASE_FOLLOWING, i_was_primary,       survey_down,    PHASE_SURVEY,    "following/own_lost",        "this node's database is no primary any more"},
	{PHASE_FOLLOWING, primary_was_heard,   survey_lost,    PHASE_SURVEY,    "following/primary_lost",    "the recorded primary is not heard any more, or cannot lead"},
	{PHASE_FOLLOWING, always,              survey_cold,    PHASE_SURVEY,    "following/cold_start",      "no database is known to be a primary"},

	{PHASE_BOOTSTRAP, have_epoch,          nothing,        PHASE_FOLLOWING, "bootstrap/over",            "the first epoch is on record"},
	{PHASE_BOOTSTRAP, several_found,       nothing,        PHASE_BLOCKED,   "bootstrap/several",         "more than one node has a data directory, and no log says which is the cluster's: move all but the right one away"},
	{PHASE_BOOTSTRAP, i_found_empty,       order_initdb,   PHASE_BOOTSTRAP, "bootstrap/initdb",          "no node has data: a database is created here"},
	{PHASE_BOOTSTRAP, i_found_running,     propose_first,  PHASE_BOOTSTRAP, "bootstrap/assign",          "the only database is here: it becomes the first primary"},
	{PHASE_BOOTSTRAP, other_founds,        nothing,        PHASE_HANDOVER,  "bootstrap/other",           "another node makes the first primary: the leadership goes there"},

	{PHASE_STEADY,    not_primary,         nothing,        PHASE_FOLLOWING, "steady/replaced",           "another primary is on record"},
	{PHASE_STEADY,    pause_over,          propose_resume, PHASE_STEADY,    "steady/pause_over",         "the pause ends by itself"},
	{PHASE_STEADY,    lost_in_pause,       note_lost,      PHASE_PAUSED,    "steady/paused",             "the primary's database stopped in a pause: nothing is done about it until resumed"},
	{PHASE_STEADY,    leaving_stopped,     survey_leaving, PHASE_SURVEY,    "steady/leaving",            "this agent stops and hands over"},
	{PHASE_STEADY,    hung_for_good,       survey_hung,    PHASE_SURVEY,    "steady/hung",               "the primary's database does not answer"},
	{PHASE_STEADY,    db_gone,             survey_down,    PHASE_SURVEY,    "steady/down",               "the primary's database stopped"},
	{PHASE_STEADY,    outbid,              survey_outbid,  PHASE_SURVEY,    "steady/outdone",            "a node has promised itself to a later epoch"},
	{PHASE_STEADY,    db_hung,             nothing,        PHASE_STEADY,    "steady/hanging",            "the database does not answer, and nobody could take over: it is given time"},
	{PHASE_STEADY,    switch_due,          switch_begin,   PHASE_STEADY,    "steady/scheduled",          "a scheduled switchover is due"},
	{PHASE_STEADY,    switch_under_way,    nothing,        PHASE_SWITCH,    "steady/switch",             "a switchover is on record"},
	{PHASE_STEADY,    restart_over,        restart_end,    PHASE_STEADY,    "steady/restarted",          "the restart of a standby is over: that is written to the log"},
	{PHASE_STEADY,    better_node_due,     switch_back,    PHASE_STEADY,    "steady/better",             "a node of higher priority has been well for long enough"},
	{PHASE_STEADY,    always,              agent_tend,     PHASE_STEADY,    "steady/tend",               "the primary serves; standbys and the record are looked after"},

	{PHASE_SWITCH,    hung_for_good,       survey_hung,    PHASE_SURVEY,    "switch/hung",               "the primary's database does not answer"},
	{PHASE_SWITCH,    db_gone,             survey_down,    PHASE_SURVEY,    "switch/down",               "the primary's database stopped"},
	{PHASE_SWITCH,    outbid,              survey_outbid,  PHASE_SURVEY,    "switch/outdone",            "a node has promised itself to a later epoch"},
	{PHASE_SWITCH,    switch_over,         nothing,        PHASE_STEADY,    "switch/over",               "the switchover was ended: the primary goes on"},
	{PHASE_SWITCH,    switch_hindered,     switch_abort,   PHASE_SWITCH,    "switch/hindered",           "something stands against the switchover: it is given up"},
	{PHASE_SWITCH,    switch_ready,        nothing,        PHASE_HALT,      "switch/ready",              "checkpoint done, target caught up: clients are fenced and the database stops"},
	{PHASE_SWITCH,    always,              agent_tend,     PHASE_SWITCH,    "switch/prepare",            "a checkpoint is written ahead, and the target catches up"},

	{PHASE_HALT,      not_primary,         nothing,        PHASE_FOLLOWING, "halt/replaced",             "another primary is on record"},
	{PHASE_HALT,      halt_done,           switch_survey,  PHASE_SURVEY,    "halt/done",                 "the database has stopped and shipped its WAL: the standbys are asked"},
	{PHASE_HALT,      outbid,              survey_outbid,  PHASE_SURVEY,    "halt/outdone",              "a node has promised itself to a later epoch"},
	{PHASE_HALT,      halt_overdue,        switch_late,    PHASE_SWITCH,    "halt/overdue",              "the fence for clients does not come: the switchover is given up, the primary goes on"},

	{PHASE_SURVEY,    survey_over,         nothing,        PHASE_FOLLOWING, "survey/overtaken",          "a later epoch is on record"},
	{PHASE_SURVEY,    survey_outdone,      survey_higher,  PHASE_SURVEY,    "survey/outdone",            "a node has promised itself to a later epoch: asked again for a higher one"},
	{PHASE_SURVEY,    paused,              nothing,        PHASE_PAUSED,    "survey/paused",             "the cluster is paused: nobody is promoted"},
	{PHASE_SURVEY,    survey_forced,       propose_forced, PHASE_ASSIGN,    "survey/forced",             "an operator has chosen"},
	{PHASE_SURVEY,    survey_ripe,         propose_assign, PHASE_ASSIGN,    "survey/safe",               "the answers hold every acknowledged commit"},
	{PHASE_SURVEY,    held_for_answers,    nothing,        PHASE_BLOCKED,   "survey/stuck",              "answers are missing that may hold acknowledged commits: bring the named nodes back"},
	{PHASE_SURVEY,    held_without_candidate, nothing,     PHASE_BLOCKED,   "survey/no_candidate",       "who has all the data may not be primary: bring the named nodes back, or let one be primary again"},
	{PHASE_SURVEY,    held_by_switch,      nothing,        PHASE_BLOCKED,   "survey/switched_off",       "automatic failover is switched off: `mhactl failover`, or bring the primary back"},
	{PHASE_SURVEY,    held_by_budget,      nothing,        PHASE_BLOCKED,   "survey/budget",             "too many changes of primary within an hour: find out why, then `mhactl failover`"},
	{PHASE_SURVEY,    held_by_lag,         nothing,        PHASE_BLOCKED,   "survey/lag",                "more than max_lag may be lost: bring the primary back, or `mhactl failover --accept-loss`"},
	{PHASE_SURVEY,    survey_repeat_due,   survey_repeat,  PHASE_SURVEY,    "survey/repeat",             "those who have not answered are asked again"},

	{PHASE_BLOCKED,   one_found,           nothing,        PHASE_BOOTSTRAP, "blocked/one_found",         "at most one node has a data directory now"},
	{PHASE_BLOCKED,   no_epoch,            nothing,        PHASE_BLOCKED,   "blocked/several",           "more than one node has a data directory, and no log says which is the cluster's: move all but the right one away"},
	{PHASE_BLOCKED,   survey_over,         nothing,        PHASE_FOLLOWING, "blocked/overtaken",         "a later epoch is on record"},
	{PHASE_BLOCKED,   survey_outdone,      survey_higher,  PHASE_SURVEY,    "blocked/outdone",           "a node has promised itself to a later epoch: asked again for a higher one"},
	{PHASE_BLOCKED,   paused,              nothing,        PHASE_PAUSED,    "blocked/paused",            "the cluster is paused: nobody is promoted"},
	{PHASE_BLOCKED,   survey_forced,       propose_forced, PHASE_ASSIGN,    "blocked/forced",            "an operator has chosen"},
	{PHASE_BLOCKED,   survey_ripe,         propose_assign, PHASE_ASSIGN,    "blocked/safe",              "the missing answers came: they hold every acknowledged commit"},
	{PHASE_BLOCKED,   survey_repeat_due,   survey_repeat,  PHASE_BLOCKED,   "blocked/repeat",            "those who have not answered are asked again"},

	{PHASE_BLOCKED,   held_unrecorded,     propose_held,   PHASE_BLOCKED,   "blocked/record",            "the decision not to promote is written to the log"},
	{PHASE_BLOCKED,   held_for_answers,    nothing,        PHASE_BLOCKED,   "blocked/answers",           "answers are missing that may hold acknowledged commits: bring the named nodes back"},
	{PHASE_BLOCKED,   held_without_candidate, nothing,     PHASE_BLOCKED,   "blocked/no_candidate",      "who has all the data may not be primary: bring the named nodes back, or let one be primary again"},
	{PHASE_BLOCKED,   held_by_switch,      nothing,        PHASE_BLOCKED,   "blocked/switched_off",      "automatic failover is switched off: `mhactl failover`, or bring the primary back"},
	{PHASE_BLOCKED,   held_by_budget,      nothing,        PHASE_BLOCKED,   "blocked/budget",            "too many changes of primary within an hour: find out why, then `mhactl failover`"},
	{PHASE_BLOCKED,   held_by_lag,         nothing,        PHASE_BLOCKED,   "blocked/lag",               "more than max_lag may be lost: bring the primary back, or `mhactl failover --accept-loss`"},

	{PHASE_PAUSED,    pause_over,          propose_resume, PHASE_PAUSED,    "paused/over",               "the pause ends by itself"},
	{PHASE_PAUSED,    not_paused,          nothing,        PHASE_FOLLOWING, "paused/resumed",            "the pause has ended"},
	{PHASE_PAUSED,    i_am_running,        nothing,        PHASE_STEADY,    "paused/primary_runs",       "this node is the recorded primary and its database runs"},
	{PHASE_PAUSED,    other_is_able,       nothing,        PHASE_HANDOVER,  "paused/other_able",         "the recorded primary is alive: the leadership goes back to it"},
	{PHASE_PAUSED,    held_in_pause,       propose_held,   PHASE_PAUSED,    "paused/record",             "the decision not to promote is written to the log"},

	{PHASE_ASSIGN,    assigned_other,      nothing,        PHASE_HANDOVER,  "assign/other",              "another node was assigned: the leadership goes there"},
	{PHASE_ASSIGN,    survey_over,         nothing,        PHASE_FOLLOWING, "assign/self",               "this node was assigned"},
	{PHASE_ASSIGN,    proposal_over,       survey_higher,  PHASE_SURVEY,    "assign/refused",            "the state changed meanwhile: asked again"},

	{PHASE_HANDOVER,  handover_moot,       nothing,        PHASE_FOLLOWING, "handover/moot",             "there is nobody else to hand over to"},
	{PHASE_HANDOVER,  handover_failed_early, nothing,      PHASE_BOOTSTRAP, "handover/failed_early",     "the other node did not take the leadership"},
	{PHASE_HANDOVER,  failed_in_pause,     nothing,        PHASE_PAUSED,    "handover/paused",           "the recorded primary did not take the leadership, and the cluster is paused"},
	{PHASE_HANDOVER,  handover_failed,     survey_without, PHASE_SURVEY,    "handover/failed",           "the assigned node did not take the leadership: it is passed over"},
	{PHASE_HANDOVER,  handover_safe,       hand_over,      PHASE_HANDOVER,  "handover/transfer",         "fenced here: the leadership is transferred"},

	{PHASE_PROMOTE,   not_primary,         nothing,        PHASE_FOLLOWING, "promote/replaced",          "another primary is on record"},
	{PHASE_PROMOTE,   outdone,             survey_outbid,  PHASE_SURVEY,    "promote/outdone",           "a node has promised itself to a later epoch"},
	{PHASE_PROMOTE,   db_promoted,         nothing,        PHASE_OPENING,   "promote/done",              "the database is a primary now"},
	{PHASE_PROMOTE,   paused,              nothing,        PHASE_PAUSED,    "promote/paused",            "the cluster is paused: nobody is promoted"},
	{PHASE_PROMOTE,   db_lost,             survey_down,    PHASE_SURVEY,    "promote/lost",              "the database stopped before it was promoted"},
	{PHASE_PROMOTE,   excluded,            survey_unable,  PHASE_SURVEY,    "promote/unable",            "the promotion failed again and again"},
	{PHASE_PROMOTE,   promote_overdue,     give_up,        PHASE_SURVEY,    "promote/overdue",           "fence or configuration are not ready for the promotion: this node is passed over"},

	{PHASE_OPENING,   opened,              nothing,        PHASE_STEADY,    "opening/done",              "timeline and fork are on record: clients are let in"},
	{PHASE_OPENING,   not_primary,         nothing,        PHASE_FOLLOWING, "opening/replaced",          "another primary is on record"},
	{PHASE_OPENING,   db_not_primary,      survey_down,    PHASE_SURVEY,    "opening/lost",              "the database stopped before it was opened"},
	{PHASE_OPENING,   outdone,             survey_outbid,  PHASE_SURVEY,    "opening/outdone",           "a node has promised itself to a later epoch"},
	{PHASE_OPENING,   used_timeline,       give_up,        PHASE_SURVEY,    "opening/used_timeline",     "the promotion took a timeline number that was used before: this node is passed over"},
	{PHASE_OPENING,   opening_overdue,     give_up,        PHASE_SURVEY,    "opening/overdue",           "the rule for new commits does not come into force: this node is passed over"},
	{PHASE_OPENING,   rule_in_place,       propose_opened, PHASE_OPENING,   "opening/record",            "timeline and fork are written to the log"},
};
/* clang-format on */

unsigned leader_rule_count(void)
{
	return COUNT_OF(rules);
}

struct leader_rule_info leader_rule(unsigned index)
{
	CHECK(index < COUNT_OF(rules));
	return (struct leader_rule_info){
		.phase = (uint8_t)rules[index].phase,
		.next = (uint8_t)rules[index].next,
		.name = rules[index].name,
		.why = rules[index].why,
	};
}

static const struct leader_rule *matching(const struct agent *agent)
{
	for (unsigned i = 0; i < COUNT_OF(rules); i++)
		if (rules[i].phase == agent->phase && rules[i].condition(agent))
			return &rules[i];
	return NULL;
}

static void enter(struct agent *agent, struct effects *effects, uint8_t phase, const char *name,
		  const char *why)
{
	if (phase != PHASE_HANDOVER && phase != PHASE_FOLLOWING)
		agent->transfers = 0;
	if (phase == PHASE_SWITCH && agent->phase == PHASE_STEADY)
		switch_entered(agent);
	agent->phase = phase;
	agent->phase_ns = agent->now_ns;
	agent->why = why;
	effect_note(effects, name, why);
}

void agent_lead(struct agent *agent, struct effects *effects)
{
	/* Whom the leader of a later term has asked leads no more, though Raft has not said so. */
	bool deposed = agent->asked.epoch != 0 && agent->asked.term > agent->raft.term;

	if (!agent->raft.leader || !agent->raft.ready || deposed) {
		agent->led_ns = 0;
		agent->transfers = 0;
		if (agent->phase != PHASE_FOLLOWING)
			enter(agent, effects, PHASE_FOLLOWING, "any/not_leader",
			      "another member leads, or none");
		return;
	}
	if (agent->led_ns == 0)
		agent->led_ns = agent->now_ns;
	/* More phases than rows in a chain would be a table that runs in a circle. */
	for (unsigned i = 0; i < PHASE_COUNT; i++) {
		const struct leader_rule *rule;

		if (agent->phase == PHASE_PAUSED)
			agent->hold = HOLD_PAUSED;
		if (agent->phase == PHASE_SURVEY || agent->phase == PHASE_BLOCKED)
			survey_judge(agent);
		rule = matching(agent);
		if (rule == NULL)
			return;
		rule->action(agent, effects);
		if (rule->next == agent->phase) {
			agent->why = rule->why;
			return;
		}
		enter(agent, effects, rule->next, rule->name, rule->why);
	}
}
