/*
 * This node's own part, leader or not: it answers surveys, keeps the fence and the database as
 * the cluster's state wants them, and passes the lease on to vip. Each executor has at most one
 * order outstanding; an order states a goal and is given again until it is reached.
 */
#include <string.h>

#include "core/agent_internal.h"

/* Whatever runs here must not be one that answers with what it still takes in. */
static bool survey_pending(const struct agent *agent)
{
	return agent->asked.epoch > agent->cluster.epoch && agent->asked.epoch != 0;
}

/* When an unanswered order is given again. */
static uint64_t order_patience(const struct agent *agent, unsigned kind)
{
	switch (kind) {
	case ORDER_FENCE_CLOSE:
	case ORDER_FENCE_DROP:
	case ORDER_FENCE_CLIENTS:
	case ORDER_DB_POSITION:
		return agent->config.election_ns / 4;
	case ORDER_DB_CONFIGURE:
	case ORDER_DB_PROMOTE:
	case ORDER_DB_KILL:
		return agent->config.election_ns;
	default:
		return 5 * agent->config.election_ns;
	}
}

static bool same_goal(const struct order *a, const struct order *b)
{
	return a->kind == b->kind && a->epoch == b->epoch && a->promise == b->promise &&
	       a->upstream == b->upstream && a->reserve_until == b->reserve_until &&
	       a->keep_rule == b->keep_rule && sync_rule_equal(a->rule, b->rule);
}

bool agent_give(struct agent *agent, struct effects *effects, const struct order *order)
{
	struct pending_order *pending = &agent->pending[order_executor(order->kind)];
	bool same = same_goal(&pending->order, order);

	if (pending->id != 0) {
		if (agent->now_ns < pending->deadline_ns &&
		    (same || order->kind != ORDER_DB_KILL || pending->kind == ORDER_DB_KILL))
			return false;
	} else if (agent->now_ns < pending->retry_ns &&
		   (same || (pending->failures > 0 && pending->kind == order->kind))) {
		return false;
	}
	/* Its answer will not be taken: what the file says now, nobody has told. */
	if (!same && pending->id != 0 && pending->kind == ORDER_DB_CONFIGURE)
		agent->configured.known = false;
	if (!same || pending->id == 0) {
		uint64_t clock = agent->now_ns;

		if (pending->kind != order->kind)
			pending->failures = pending->tried = 0;
		pending->id = clock > agent->order_seq ? clock : agent->order_seq + 1;
		agent->order_seq = pending->id;
	}
	pending->kind = order->kind;
	pending->order = *order;
	pending->order.id = pending->id;
	pending->deadline_ns = agent->now_ns + order_patience(agent, order->kind);
	effect_add(effects, FX_ORDER)->order = pending->order;
	return true;
}

/* fence */

static void plan_vip(struct agent *agent, struct effects *effects)
{
	struct order order = {.kind = ORDER_FENCE_CLOSE, .epoch = agent_token(agent)};
	uint8_t db = agent->self.db;

	if (!agent->self_known || !agent->fence_known)
		return;
	if (agent->phase == PHASE_HALT && agent_is_primary(agent) && agent_has_lease(agent) &&
	    !survey_pending(agent)) {
		/* Renewed like a lease: the standbys must get the last of the WAL. */
		order.kind = ORDER_FENCE_CLIENTS;
		order.lease_until_ns = agent->raft.lease_until_ns;
		(void)agent_give(agent, effects, &order);
		return;
	}
	if (agent_is_primary(agent)) {
		/* An open primary is closed by the end of its lease, or before it answers. */
		if (agent->cluster.opened && (db == DB_PRIMARY || agent_may_serve(agent)) &&
		    !survey_pending(agent) && !agent->leaving && !agent_strayed(agent))
			return;
	} else if (db == DB_STANDBY && agent->cluster.epoch != 0) {
		if (agent->fence == FENCE_NONE)
			return;
		/*
		 * Proven: it streams from the primary. One that does not may have been told to
		 * promote itself, and that cannot be taken back.
		 */
		if (agent->self.receiving && agent->self.upstream == agent->cluster.primary)
			order.kind = ORDER_FENCE_DROP;
	}
	if (order.kind == ORDER_FENCE_CLOSE && agent_fenced(agent, order.epoch))
		return;
	(void)agent_give(agent, effects, &order);
}

/* dbmon */

static bool configured_for_promotion(const struct agent *agent)
{
	const struct configured *configured = &agent->configured;

	return configured->known && configured->promise == agent->cluster.epoch &&
	       configured->upstream == NODE_NONE && configured->epoch == agent->cluster.epoch &&
	       configured->reserved + 1 >= agent->cluster.timeline_max &&
	       sync_rule_equal(configured->rule, agent->cluster.record);
}

static bool promoting(const struct agent *agent)
{
	return agent->phase == PHASE_PROMOTE && !agent->cluster.settings.paused &&
	       agent_is_primary(agent) && !agent->cluster.opened && agent_has_lease(agent) &&
	       !survey_pending(agent) && agent->self.db == DB_STANDBY;
}

/* Its promise is on disk and nobody writes here but the recovery. */
static bool may_measure(const struct agent *agent)
{
	const struct configured *configured = &agent->configured;
	uint64_t epoch = agent->asked.epoch;

	if (!survey_pending(agent) || agent->asked_complete || agent->promised != epoch)
		return false;
	if (!(configured->known && configured->promise >= epoch) && agent->self.promise < epoch)
		return false;
	if (agent->self.db == DB_PRIMARY)
		return agent_is_primary(agent) && agent_fenced(agent, epoch);
	return agent->self.db == DB_STANDBY;
}

static void plan_dbmon(struct agent *agent, struct effects *effects)
{
	struct order order = {.epoch = agent_token(agent), .promise = agent_promise(agent)};

	if (may_measure(agent)) {
		order.kind = ORDER_DB_POSITION;
	} else if (promoting(agent) && agent_fenced(agent, agent->cluster.epoch) &&
		   configured_for_promotion(agent)) {
		order.kind = ORDER_DB_PROMOTE;
		order.lease_until_ns = agent->raft.lease_until_ns;
	} else if (agent_may_serve(agent) && agent->self.db == DB_PRIMARY &&
		   (agent->checkpoint_epoch < agent->cluster.epoch ||
		    (agent->phase == PHASE_SWITCH && !agent->checkpointed))) {
		order.kind = ORDER_DB_CHECKPOINT;
	} else {
		return;
	}
	(void)agent_give(agent, effects, &order);
}

/* dbctl */

/* What a database that nobody made a primary would wait for, should somebody promote it. */
static struct sync_rule closed_rule(const struct agent *agent)
{
	bool alone = node_count(cluster_present(&agent->cluster, NODE_DATA)) == 1;

	return (struct sync_rule){.members = 0, .need = alone ? 0 : 1};
}

/* An operator looks after the database here, or wants nothing to be begun. */
static bool hands_off(const struct agent *agent)
{
	return agent->cluster.settings.paused ||
	       node_in(agent->cluster.settings.maintenance, agent->config.self);
}

/* Promoted, but to a number that is somebody else's or nobody's: it can never be opened. */
static bool took_used_timeline(const struct agent *agent)
{
	return !agent->cluster.opened && agent->self.db == DB_PRIMARY &&
	       agent->self.position.timeline != 0 &&
	       agent->self.position.timeline < agent->cluster.timeline_max;
}

static bool must_stop_primary(const struct agent *agent)
{
	uint64_t limit = 2 * agent->config.election_ns;
	uint64_t until = agent->granted_until_ns;

	if (!agent_is_primary(agent) || agent_strayed(agent) || took_used_timeline(agent))
		return true;
	if (survey_pending(agent) || !agent->cluster.opened)
		return false;
	if (agent->lease_lost_ns != 0 && agent->now_ns - agent->lease_lost_ns > limit)
		return true;
	if (!agent->fence_known || agent->fence_kernel)
		return false;
	/* Without a kernel fence the database stops before the lease ends. */
	if (agent->raft.lease_until_ns > until && agent_has_lease(agent))
		until = agent->raft.lease_until_ns;
	return agent->now_ns + agent->config.election_ns / 4 > until;
}

#ifdef MHA_PLANT_BUGS
static node_id any_standby(const struct agent *agent)
{
	node_set data = cluster_nodes(&agent->cluster, NODE_DATA);

	for (node_id id = 1; id <= NODES_MAX; id++) {
		const struct facts *facts = agent_facts(agent, id, agent->config.election_ns);

		if (node_in(data, id) && id != agent->config.self && facts != NULL &&
		    facts->db == DB_STANDBY)
			return id;
	}
	return agent->cluster.primary;
}
#endif

/* The data are replaced only while the node is on record as counting for nothing. */
static uint8_t plan_rebuild(const struct agent *agent, struct order *order)
{
	bool marked = node_in(agent->cluster.rebuilding, agent->config.self) ||
		      PLANTED(agent, BUG_CLONE_WHILE_IN_S);

	if (!marked || !agent_primary_serves(agent) || survey_pending(agent) || hands_off(agent))
		return ORDER_NONE;
	order->upstream = agent->cluster.primary;
#ifdef MHA_PLANT_BUGS
	if (PLANTED(agent, BUG_CLONE_WHILE_IN_S))
		order->upstream = any_standby(agent);
#endif
	switch (agent->self.db) {
	case DB_STANDBY:
	case DB_STARTING:
		return ORDER_DB_STOP;
	case DB_HUNG:
	case DB_PRIMARY:
		return ORDER_DB_KILL;
	case DB_DOWN:
		return agent->rebuild_clone || agent_reinit_due(agent) ? ORDER_DB_CLONE
								       : ORDER_DB_REWIND;
	case DB_ABSENT:
	case DB_BROKEN:
		return ORDER_DB_CLONE;
	default:
		return ORDER_NONE;
	}
}

static bool configured_is(const struct agent *agent, const struct order *order)
{
	const struct configured *configured = &agent->configured;

	return configured->known && configured->promise >= order->promise &&
	       configured->upstream == order->upstream &&
	       configured->epoch >= agent->cluster.epoch &&
	       sync_rule_equal(configured->rule, order->rule);
}

static bool on_lineage(const struct agent *agent)
{
	struct lineage_match match = lineage_compare(&agent->cluster, &agent->self.position);

	return agent->self.db == DB_STANDBY && match.known && !match.diverged && !match.clash;
}

static bool recovers_rebuilt(const struct agent *agent)
{
	return agent->self.db == DB_STARTING &&
	       node_in(agent->cluster.rebuilding, agent->config.self);
}

/* The same before it is started. No record counts on it yet, whatever it takes in. */
static bool was_rebuilt(const struct agent *agent)
{
	return node_in(agent->cluster.rebuilding, agent->config.self) &&
	       !agent_needs_rebuild(agent) && !survey_pending(agent) &&
	       agent_promise(agent) <= agent->cluster.epoch && agent_primary_serves(agent);
}

static uint8_t plan_standby(const struct agent *agent, struct order *order)
{
	const struct cluster *cluster = &agent->cluster;

	if (survey_pending(agent))
		return agent->promised == agent->asked.epoch && !configured_is(agent, order)
			       ? ORDER_DB_CONFIGURE
			       : ORDER_NONE;
	if (agent_promise(agent) > cluster->epoch || cluster->epoch == 0)
		return ORDER_NONE;
	if (agent_is_primary(agent)) {
		/*
		 * Written before it is promoted, and behind the fence: the rule may let commits
		 * pass, and whoever promotes it by hand would open it without a lease.
		 */
		if (cluster->opened || configured_for_promotion(agent) ||
		    !agent_fenced(agent, cluster->epoch))
			return ORDER_NONE;
		order->rule = cluster->record;
		order->reserve_until = cluster->timeline_max - 1;
		return ORDER_DB_CONFIGURE;
	}
	/*
	 * Compared with the lineage first: the primary would take the position of a diverged tail
	 * for a copy of its own WAL. What was rewound or cloned answers only once its upstream has
	 * sent the rest; no record counts on a node that is being rebuilt, whatever it reports.
	 */
	if (!agent_primary_serves(agent) || agent_needs_rebuild(agent) ||
	    !(on_lineage(agent) || recovers_rebuilt(agent)))
		return ORDER_NONE;
	order->upstream = agent_upstream(agent);
	return configured_is(agent, order) ? ORDER_NONE : ORDER_DB_CONFIGURE;
}

static uint8_t plan_primary(const struct agent *agent, struct order *order)
{
	if (must_stop_primary(agent))
		return ORDER_DB_KILL;
	/* Sealed like any other node before it answers; what commits wait for stays as it is. */
	order->rule = agent->self.rule;
	order->keep_rule = true;
	if (survey_pending(agent) && agent->promised == agent->asked.epoch &&
	    agent->self.promise < agent->asked.epoch &&
	    !(agent->configured.known && agent->configured.promise >= agent->asked.epoch))
		return ORDER_DB_CONFIGURE;
	/* Written before the promotion; given again only if nobody knows that it was. */
	if (!agent->cluster.opened && !survey_pending(agent) &&
	    !sync_rule_equal(agent->self.rule, agent->cluster.record) &&
	    !(agent->configured.known && !agent->configured.rule_kept &&
	      sync_rule_equal(agent->configured.rule, agent->cluster.record))) {
		order->rule = agent->cluster.record;
		order->keep_rule = false;
		return ORDER_DB_CONFIGURE;
	}
	return ORDER_NONE;
}

/* Stopped for a switchover once no client writes any more; the standbys get all of its WAL. */
static void plan_halt(struct agent *agent, struct effects *effects, struct order *order)
{
	/* A fence that is closed for all would keep the last of the WAL from the standbys. */
	bool fenced = agent->fence_known && agent->fence_epoch >= agent->cluster.epoch &&
		      agent->fence == FENCE_CLIENTS;

	if (!fenced && !agent->halting)
		return;
	agent->halting = true;
	order->kind = ORDER_DB_STOP;
	(void)agent_give(agent, effects, order);
}

static void plan_dbctl(struct agent *agent, struct effects *effects)
{
	struct order order = {
		.epoch = agent_token(agent),
		.promise = agent_token(agent),
		.rule = closed_rule(agent),
	};
	uint8_t db = agent->self.db;

	if (!agent->self_known)
		return;
	if (agent->leaving) {
		/* A fast stop ships all WAL to the standbys; clients are gone before. */
		order.kind = ORDER_DB_STOP;
		if (db == DB_STARTING || db == DB_STANDBY ||
		    (db == DB_PRIMARY && agent_fenced(agent, agent->cluster.epoch)))
			(void)agent_give(agent, effects, &order);
		return;
	}
	if (agent->phase == PHASE_HALT && agent_is_primary(agent) && !agent->halted) {
		plan_halt(agent, effects, &order);
		return;
	}
	if (agent_restart_due(agent) && !survey_pending(agent) && !hands_off(agent)) {
		order.kind = db == DB_HUNG ? ORDER_DB_KILL : ORDER_DB_STOP;
		(void)agent_give(agent, effects, &order);
		return;
	}
	if (agent_needs_rebuild(agent)) {
		order.kind = plan_rebuild(agent, &order);
		if (order.kind != ORDER_NONE) {
			(void)agent_give(agent, effects, &order);
			return;
		}
	}
	switch (db) {
	case DB_DOWN:
		/* A survey has nothing to ask of data that are just being replaced. */
		if (agent->self.job == JOB_NONE && !hands_off(agent))
			order.kind = ORDER_DB_START;
		/* It becomes consistent only with what its source has written meanwhile. */
		if (was_rebuilt(agent))
			order.upstream = agent->cluster.primary;
		break;
	case DB_HUNG:
		/* The leader's survey comes first when it is the primary that hangs. */
		if (!agent_is_primary(agent) || survey_pending(agent) || !agent->raft.leader)
			order.kind = ORDER_DB_KILL;
		break;
	case DB_PRIMARY:
		order.kind = plan_primary(agent, &order);
		break;
	case DB_STARTING:
	case DB_STANDBY:
		order.kind = plan_standby(agent, &order);
		break;
	default:
		break;
	}
	if (order.kind != ORDER_NONE)
		(void)agent_give(agent, effects, &order);
}

/*
 * Nobody has told this agent what the cluster's state is by now. What runs goes on, under the
 * fence as it is; without a kernel fence it may not go on for long.
 */
static void plan_unknown(struct agent *agent, struct effects *effects)
{
	struct order order = {
		.epoch = agent_token(agent),
		.promise = agent_token(agent),
		.rule = closed_rule(agent),
	};

	if (!agent->self_known)
		return;
	/* The fence was dropped for a standby, and this is none: somebody promoted it. */
	if (agent->self.db == DB_PRIMARY && agent->fence_known && agent->fence == FENCE_NONE) {
		struct order close = {.kind = ORDER_FENCE_CLOSE, .epoch = agent_token(agent)};

		(void)agent_give(agent, effects, &close);
	}
	if (agent->leaving)
		order.kind = agent->self.db == DB_STANDBY ? ORDER_DB_STOP : ORDER_NONE;
	else if (agent->self.db == DB_DOWN)
		order.kind = ORDER_DB_START;
	else if (agent->self.db == DB_PRIMARY && agent->fence_known && !agent->fence_kernel &&
		 agent->now_ns - agent->started_ns > agent->config.election_ns)
		order.kind = ORDER_DB_KILL;
	if (order.kind != ORDER_NONE)
		(void)agent_give(agent, effects, &order);
}

/* Not on the list any more: its database serves nobody, and nothing is begun with it. */
static void plan_gone(struct agent *agent, struct effects *effects)
{
	struct order order = {.epoch = agent_token(agent), .promise = agent_token(agent)};

	if (!agent->self_known)
		return;
	plan_vip(agent, effects);
	if (agent->self.db == DB_STARTING || agent->self.db == DB_STANDBY)
		order.kind = ORDER_DB_STOP;
	else if (agent->self.db == DB_PRIMARY || agent->self.db == DB_HUNG)
		order.kind = ORDER_DB_KILL;
	if (order.kind != ORDER_NONE)
		(void)agent_give(agent, effects, &order);
}

/* surveys */

static void send_answer(struct agent *agent, struct effects *effects, const struct facts *facts,
			bool complete)
{
	struct survey_reply reply = {
		.term = agent->asked.term,
		.epoch = agent->asked.epoch,
		.facts = *facts,
	};
	struct effect *effect;

	if (!complete)
		memset(&reply.facts.position, 0, sizeof(reply.facts.position));
	agent->asked_replied = true;
	if (agent->asked.from == agent->config.self) {
		survey_take(agent, &reply);
		return;
	}
	effect = effect_add(effects, FX_ANSWER);
	effect->node = agent->asked.from;
	effect->answer = reply;
}

static void answer_survey(struct agent *agent, struct effects *effects)
{
	bool coming = agent->self.db == DB_STANDBY || agent->self.db == DB_PRIMARY;

	if (!survey_pending(agent))
		return;
	if (PLANTED(agent, BUG_SURVEY_WITH_RECEIVER) && agent->self.db == DB_STANDBY &&
	    !agent->asked_complete) {
		agent->asked_complete = true;
		agent->asked_replied = false;
		agent->asked_facts = agent_own_facts(agent);
	}
	if (agent->asked_replied)
		return;
	if (agent->asked_complete)
		send_answer(agent, effects, &agent->asked_facts, true);
	else if (!coming || agent->promised != agent->asked.epoch)
		send_answer(agent, effects, &agent->own, false);
}

/* lease */

static void grant(struct agent *agent, struct effects *effects)
{
	struct effect *effect;
	uint64_t until = agent->raft.lease_until_ns;

	if (!agent_may_serve(agent) || !agent->fence_known)
		return;
	if (agent->granted_epoch == agent->cluster.epoch && agent->granted_until_ns >= until &&
	    (agent->fence == FENCE_OPEN ||
	     agent->now_ns - agent->granted_ns < agent->config.heartbeat_ns / 2))
		return;
	agent->granted_ns = agent->now_ns;
	agent->granted_epoch = agent->cluster.epoch;
	agent->granted_until_ns = until;
	effect = effect_add(effects, FX_GRANT);
	effect->grant.epoch = agent->granted_epoch;
	effect->grant.until_ns = until;
}

void agent_local(struct agent *agent, struct effects *effects)
{
	if (!agent_is_data(agent))
		return;
	/* What is in the directory of a node that is no member yet is not the cluster's. */
	if (agent->raft.outside && agent->cluster.cluster_id == 0)
		return;
	if (!agent->raft.current) {
		plan_unknown(agent, effects);
		return;
	}
	if (agent->cluster.cluster_id != 0 &&
	    cluster_node(&agent->cluster, agent->config.self) == NULL) {
		plan_gone(agent, effects);
		return;
	}
	plan_vip(agent, effects);
	plan_dbctl(agent, effects);
	plan_dbmon(agent, effects);
	answer_survey(agent, effects);
	grant(agent, effects);
}
