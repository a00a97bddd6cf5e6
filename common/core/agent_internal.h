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

/* agent_local.c: answers to surveys, orders to the executors, grants. */
void agent_local(struct agent *agent, struct effects *effects);
/* An order for `executor` is wanted by somebody else than the local plan. */
bool agent_give(struct agent *agent, struct effects *effects, const struct order *order);

/* agent_survey.c */
void survey_begin(struct agent *agent, struct effects *effects, uint8_t cause);
void survey_take(struct agent *agent, const struct survey_reply *reply);
/* Ask again those who have not answered. */
void survey_repeat(struct agent *agent, struct effects *effects);
/* Evaluate what has been answered into agent->verdict. */
void survey_judge(struct agent *agent);
struct entry survey_assignment(const struct agent *agent);

/* agent_sync.c: what the serving primary's leader does for the record and the standbys. */
void agent_tend(struct agent *agent, struct effects *effects);

/* agent_leader.c */
void agent_lead(struct agent *agent, struct effects *effects);
bool agent_propose(struct agent *agent, struct effects *effects, struct entry entry);

#endif
