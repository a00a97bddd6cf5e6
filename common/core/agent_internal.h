/* What the files of the agent share. Not for anybody else. */
#ifndef MHA_CORE_AGENT_INTERNAL_H
#define MHA_CORE_AGENT_INTERNAL_H

#include "core/agent.h"
#include "core/lineage.h"
#include "core/syncset.h"

#ifdef MHA_PLANT_BUGS
#define PLANTED(agent, bug) (((agent)->config.bugs & (uint32_t)(bug)) != 0)
#else
#define PLANTED(agent, bug) false
#endif

/* Append an effect of `kind`, zeroed otherwise. */
struct effect *effect_add(struct effects *effects, enum effect_kind kind);
void effect_note(struct effects *effects, const char *rule, const char *why);

/* This node */
bool agent_is_data(const struct agent *agent);
bool agent_is_primary(const struct agent *agent); /* on record */
/* As this node's configuration has it; NULL: it does not name the node. */
const struct node *agent_configured(const struct agent *agent, node_id id);
/* Leader of a majority that cannot elect another before the lease ends. */
bool agent_has_lease(const struct agent *agent);
/* The database of the recorded primary is a primary on a timeline that nobody recorded. */
bool agent_strayed(const struct agent *agent);
/* This node's clients may be let in now. */
bool agent_may_serve(const struct agent *agent);
/* The highest epoch that this node has promised or been fenced at: the token of its orders. */
uint64_t agent_token(const struct agent *agent);
/* The highest epoch before which this node takes no WAL. */
uint64_t agent_promise(const struct agent *agent);
bool agent_needs_rebuild(const struct agent *agent);
/* Nobody reaches the database here, now or later, under an epoch before `epoch`. */
bool agent_fenced(const struct agent *agent, uint64_t epoch);
/* This node's facts as others get them. */
struct facts agent_own_facts(const struct agent *agent);

/* Others */
/* Their facts if they are younger than `age_ns`, own ones included; NULL otherwise. */
const struct facts *agent_facts(const struct agent *agent, node_id node, uint64_t age_ns);
/* The recorded primary lets clients and replication in under the present epoch. */
bool agent_primary_serves(const struct agent *agent);

/* agent_standing.c */
/* As this primary's pg_stat_replication shows it; NULL: not at all. */
const struct standby_view *agent_standby(const struct agent *agent, node_id node);
/* It streams from this primary, on the epoch's timeline. */
bool agent_streams(const struct agent *agent, node_id node);
/* And it confirms what it is sent. */
bool agent_standby_good(const struct agent *agent, node_id node);
/* From which state on each node that was rebuilt knows that it counts again. */
void agent_track_marks(struct agent *agent);
/* The state was replaced: it does not tell when they ended, so now. */
void agent_marks_forgotten(struct agent *agent);
void agent_track_standings(struct agent *agent);
/* Which nodes had everything that the primary was known to have, and when. */
void agent_track_levels(struct agent *agent);
/* What rule and record should become, without `leaves` (NODE_NONE: nobody leaves). */
struct sync_rule agent_sync_target(const struct agent *agent, node_id leaves);

/* agent_call.c: what operators ask. */
void agent_take_call(struct agent *agent, struct effects *effects, const struct call *call);
/* The proposal of the open call was applied (`applied`), or will never be. */
void agent_call_over(struct agent *agent, struct effects *effects, bool applied);
/* Go on with the open call, if there is one. */
void agent_calls(struct agent *agent, struct effects *effects);
/* What stands against a switchover to `node` now; returns how many were written to `list`. */
unsigned agent_switch_blockers(const struct agent *agent, node_id node,
			       struct blocker list[BLOCKERS_MAX]);
/* This primary has its lease and its database, and no failover is under way. */
bool agent_serving(const struct agent *agent);
/* Somebody else could become primary now, if this one were lost. */
bool agent_replaceable(const struct agent *agent);
/* The best target of a switchover without a name; NODE_NONE: nobody can be it. */
node_id agent_switch_target(const struct agent *agent);
/* Bytes that a promotion of `node` may lose, as far as positions were heard. */
uint64_t agent_at_risk(const struct agent *agent, wal_lsn usable);

/* agent_member.c: nodes that come and go. */
/* What stands against it, and the entry that it becomes; returns how many were written. */
unsigned agent_join_blockers(const struct agent *agent, const struct call *call,
			     struct entry *entry, struct blocker list[BLOCKERS_MAX]);
unsigned agent_leave_blockers(const struct agent *agent, const struct call *call,
			      struct entry *entry, struct blocker list[BLOCKERS_MAX]);
void agent_track_servers(struct agent *agent);
/* The next step of a node that joins or leaves; true: it was proposed. */
bool agent_tend_members(struct agent *agent, struct effects *effects);

/* agent_restart.c: restarts and rebuilds that an operator wants. */
/* What stands against it, and the entry that it becomes; returns how many were written. */
unsigned agent_restart_blockers(const struct agent *agent, node_id id, bool force,
				struct blocker list[BLOCKERS_MAX]);
unsigned agent_judge_restart(const struct agent *agent, const struct call *call,
			     struct entry *entry, struct blocker list[BLOCKERS_MAX]);
unsigned agent_judge_reinit(const struct agent *agent, const struct call *call, struct entry *entry,
			    struct blocker list[BLOCKERS_MAX]);
/* For the leader's table: the restart of a standby has come to an end. */
bool restart_over(const struct agent *agent);
void restart_end(struct agent *agent, struct effects *effects);
/* This standby's database is to be stopped for a restart; it starts again like any other. */
bool agent_restart_due(const struct agent *agent);
/* It was stopped, or is down anyway. */
void agent_restart_stopped(struct agent *agent);
/* The data here are to be replaced by a clone, and that was not done yet. */
bool agent_reinit_due(const struct agent *agent);

/* agent_switch.c: conditions and actions of planned switches, for the leader's table. */
/* The switchover that this primary is to carry out now; NULL: none. */
const struct operation *agent_switching(const struct agent *agent);
bool switch_under_way(const struct agent *agent);
bool switch_over(const struct agent *agent);
bool switch_due(const struct agent *agent);
bool switch_hindered(const struct agent *agent);
bool switch_ready(const struct agent *agent);
bool halt_done(const struct agent *agent);
bool halt_overdue(const struct agent *agent);
bool better_node_due(const struct agent *agent);
void switch_begin(struct agent *agent, struct effects *effects);
void switch_abort(struct agent *agent, struct effects *effects);
void switch_late(struct agent *agent, struct effects *effects);
void switch_survey(struct agent *agent, struct effects *effects);
void switch_back(struct agent *agent, struct effects *effects);
void switch_entered(struct agent *agent);
void agent_track_better(struct agent *agent);
/* As many unasked changes of primary within the last hour as the settings allow. */
bool agent_budget_spent(const struct agent *agent);

/* agent_hold.c: conditions and actions of decisions not to promote, for the leader's table. */
bool held_for_answers(const struct agent *agent);
bool held_without_candidate(const struct agent *agent);
bool held_by_switch(const struct agent *agent);
bool held_by_budget(const struct agent *agent);
bool held_by_lag(const struct agent *agent);
bool held_unrecorded(const struct agent *agent);
bool held_in_pause(const struct agent *agent);
bool survey_forced(const struct agent *agent);
bool paused(const struct agent *agent);
bool not_paused(const struct agent *agent);
bool pause_over(const struct agent *agent);
void propose_forced(struct agent *agent, struct effects *effects);
void note_lost(struct agent *agent, struct effects *effects);
void propose_held(struct agent *agent, struct effects *effects);
void propose_resume(struct agent *agent, struct effects *effects);

/* agent_detour.c */
/* From whom this standby streams: the primary, or a standby that has what the primary removed. */
node_id agent_upstream(const struct agent *agent);
/* After agent->stalled_ns. True: it needs WAL that nobody has whom it could ask. */
bool agent_track_detour(struct agent *agent);

/* agent_local.c: answers to surveys, orders to the executors, grants. */
void agent_local(struct agent *agent, struct effects *effects);
/* An order for `executor` is wanted by somebody else than the local plan. */
bool agent_give(struct agent *agent, struct effects *effects, const struct order *order);

/* agent_survey.c */
void survey_begin(struct agent *agent, struct effects *effects, uint8_t cause);
/* enum db_fault of the recorded primary, as this node sees or has heard it. */
uint8_t survey_primary_fault(const struct agent *agent);
/*
 * A database that is lost may be named a moment after the survey for it has begun, and be well
 * again before the decision: the first name stays.
 */
void survey_name_fault(struct agent *agent);
void survey_take(struct agent *agent, const struct survey_reply *reply);
/* Ask again those who have not answered. */
void survey_repeat(struct agent *agent, struct effects *effects);
/* Evaluate what has been answered into agent->verdict. */
void survey_judge(struct agent *agent);
/* Judge whether the verdict may be acted upon without being asked: enum hold_reason. */
uint8_t survey_hold(const struct agent *agent);
/* The promotion of `choice`; `forced` by an operator. */
struct entry survey_assignment(const struct agent *agent, node_id choice, bool forced);
/* Whose answers or abilities are missed, for agent->hold. */
node_set survey_missing(const struct agent *agent);
/* The decision not to promote, for agent->hold. */
struct entry survey_held(const struct agent *agent);
/* An answer of `node` with a position was taken. */
bool survey_complete(const struct agent *agent, node_id node);
/*
 * A planned switch in max_performance, and the old primary has not said how far it got: what the
 * choice lacks of it would be lost.
 */
bool survey_owes_primary(const struct agent *agent);
/* Where the WAL of `node`, as it has answered, leaves the lineage. */
wal_lsn survey_usable(const struct agent *agent, node_id node);

/* agent_sync.c: what the serving primary's leader does for the record and the standbys. */
void agent_tend(struct agent *agent, struct effects *effects);

/* agent_leader.c */
void agent_lead(struct agent *agent, struct effects *effects);
bool agent_propose(struct agent *agent, struct effects *effects, struct entry entry);

#endif
