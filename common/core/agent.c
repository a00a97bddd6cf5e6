/* Events in, effects out: what happened is noted here, what to do about it in the other files. */
#include "core/agent.h"

#include <string.h>

#include "base/check.h"
#include "core/agent_internal.h"

void agent_init(struct agent *agent, const struct agent_config *config, uint64_t now_ns)
{
	memset(agent, 0, sizeof(*agent));
	agent->config = *config;
	agent->now_ns = now_ns;
	agent->started_ns = now_ns;
	agent->why = "started";
	agent->self.node = config->self;
}

struct effect *effect_add(struct effects *effects, enum effect_kind kind)
{
	struct effect *effect;

	CHECK(effects->count < EFFECTS_MAX);
	effect = &effects->list[effects->count++];
	memset(effect, 0, sizeof(*effect));
	effect->kind = (uint8_t)kind;
	return effect;
}

void effect_note(struct effects *effects, const char *rule, const char *why)
{
	struct effect *effect = effect_add(effects, FX_NOTE);

	effect->note.rule = rule;
	effect->note.why = why;
}

const struct node *agent_configured(const struct agent *agent, node_id id)
{
	for (unsigned i = 0; i < agent->config.node_total; i++)
		if (agent->config.nodes[i].id == id)
			return &agent->config.nodes[i];
	return NULL;
}

bool agent_is_data(const struct agent *agent)
{
	const struct node *self = agent_configured(agent, agent->config.self);

	return self != NULL && self->kind == NODE_DATA;
}

bool agent_is_primary(const struct agent *agent)
{
	return agent->cluster.epoch != 0 && agent->cluster.primary == agent->config.self;
}

bool agent_has_lease(const struct agent *agent)
{
	return agent->raft.leader && agent->raft.ready && !agent->transferring &&
	       agent->raft.lease_until_ns > agent->now_ns;
}

uint64_t agent_promise(const struct agent *agent)
{
	return agent->promised > agent->self.promise ? agent->promised : agent->self.promise;
}

uint64_t agent_token(const struct agent *agent)
{
	uint64_t token = agent->cluster.epoch;

	if (agent_promise(agent) > token)
		token = agent_promise(agent);
	return agent->fence_epoch > token ? agent->fence_epoch : token;
}

bool agent_strayed(const struct agent *agent)
{
	return agent_is_primary(agent) && agent->cluster.opened && agent->self.db == DB_PRIMARY &&
	       agent->self.position.timeline != 0 &&
	       agent->self.position.timeline != agent->cluster.timeline;
}

/*
 * The server that was serving gives no answer, and nothing has been decided about it. It is the
 * same server on the same timeline, and no rule but those that cover the record can be in force in
 * it: nothing was ordered since. What is open stays open, so that a pause of a second ends no
 * session; nothing is opened. Without a kernel's fence a lease's end would have to be foreseen
 * by a database that answers.
 */
static bool hangs_open(const struct agent *agent)
{
	return agent->self.db == DB_HUNG && agent->last_word.db == DB_PRIMARY &&
	       agent->last_word.timeline == agent->cluster.timeline && agent->fence_known &&
	       agent->fence == FENCE_OPEN && agent->fence_epoch == agent->cluster.epoch &&
	       agent->fence_kernel;
}

static bool rule_covers(const struct agent *agent)
{
	const struct sync_rule rule =
		agent->self.db == DB_HUNG ? agent->last_word.rule : agent->self.rule;

	return PLANTED(agent,
		       BUG_NAMES_BEFORE_RECORD | BUG_NO_FLUSH_BARRIER | BUG_DEGRADE_UNRECORDED) ||
	       sync_covers(rule, agent->cluster.record);
}

bool agent_may_serve(const struct agent *agent)
{
	const struct cluster *cluster = &agent->cluster;

	return agent_is_data(agent) && agent_is_primary(agent) && cluster->opened &&
	       (agent->phase == PHASE_STEADY || agent->phase == PHASE_SWITCH) &&
	       agent_has_lease(agent) && (agent->self.db == DB_PRIMARY || hangs_open(agent)) &&
	       !agent_strayed(agent) && agent_token(agent) == cluster->epoch && !agent->leaving &&
	       rule_covers(agent);
}

bool agent_fenced(const struct agent *agent, uint64_t epoch)
{
	return agent->fence_known && agent->fence == FENCE_CLOSED && agent->fence_epoch >= epoch;
}

bool agent_needs_rebuild(const struct agent *agent)
{
	if (!agent_is_data(agent) || !agent->self_known || agent->cluster.epoch == 0 ||
	    agent_is_primary(agent))
		return false;
	return agent->rebuild_wanted || agent_reinit_due(agent) || agent->self.needs_rebuild ||
	       agent->self.db == DB_ABSENT || agent->self.db == DB_BROKEN;
}

struct facts agent_own_facts(const struct agent *agent)
{
	struct facts facts = agent->self;

	facts.node = agent->config.self;
	facts.promise = agent_promise(agent);
	facts.needs_rebuild = agent_needs_rebuild(agent);
	facts.roster = agent->config.roster;
	facts.restarted = agent->restarted;
	facts.excluded =
		agent->self.excluded || agent->leaving || agent->excluded_until_ns > agent->now_ns;
	facts.phase = agent->phase;
	facts.applied = agent->cluster.version;
	facts.serving_epoch = 0;
	if (agent_is_primary(agent) && agent->fence_known && agent->fence == FENCE_OPEN &&
	    agent->fence_epoch == agent->cluster.epoch)
		facts.serving_epoch = agent->cluster.epoch;
	return facts;
}

const struct facts *agent_facts(const struct agent *agent, node_id node, uint64_t age_ns)
{
	const struct peer *peer;

	if (node == NODE_NONE || node > NODES_MAX)
		return NULL;
	if (node == agent->config.self)
		return agent->self_known || !agent_is_data(agent) ? &agent->own : NULL;
	peer = &agent->peers[node];
	if (!peer->known || agent->now_ns - peer->heard_ns > age_ns)
		return NULL;
	return &peer->facts;
}

bool agent_primary_serves(const struct agent *agent)
{
	const struct facts *facts =
		agent_facts(agent, agent->cluster.primary, agent->config.election_ns);

	return facts != NULL && agent->cluster.opened &&
	       facts->serving_epoch == agent->cluster.epoch;
}

static void take_local_facts(struct agent *agent, const struct facts *seen)
{
	struct facts kept = agent->self;

	agent->self = *seen;
	agent->self.node = agent->config.self;
	agent->self.job = kept.job;
	agent->self.job_done = kept.job_done;
	agent->self.job_total = kept.job_total;
	agent->self.wal_oldest = kept.wal_oldest;
	agent->self_known = seen->db != DB_UNKNOWN || agent->self_known;
	agent->self_ns = agent->now_ns;
	agent->presumed_ns = 0;
	/* A monitor that has just started knows less than what it reported before. */
	if (seen->db == DB_UNKNOWN)
		agent->self = kept;
	if (agent->self.db == DB_HUNG)
		return;
	agent->last_word.db = agent->self.db;
	agent->last_word.timeline = agent->self.position.timeline;
	agent->last_word.rule = agent->self.rule;
}

static void take_peer_facts(struct agent *agent, const struct facts *facts)
{
	struct peer *peer;

	if (facts->node == NODE_NONE || facts->node > NODES_MAX ||
	    facts->node == agent->config.self)
		return;
	peer = &agent->peers[facts->node];
	/* Numbers start again when a host has booted; then there was silence before. */
	if (peer->known && facts->seq <= peer->facts.seq &&
	    agent->now_ns - peer->heard_ns < agent->config.election_ns)
		return;
	peer->known = true;
	peer->heard_ns = agent->now_ns;
	peer->facts = *facts;
}

static void take_survey(struct agent *agent, const struct survey_request *request)
{
	struct survey_request *asked = &agent->asked;

	if (request->term < agent->raft.term || request->term < asked->term ||
	    request->epoch <= agent->cluster.epoch)
		return;
	if (request->term != asked->term || request->epoch != asked->epoch ||
	    request->from != asked->from) {
		*asked = *request;
		agent->asked_complete = false;
	}
	agent->asked_replied = false;
	if (request->epoch > agent->promised)
		agent->promised = request->epoch;
}

static void order_done(struct agent *agent, const struct order *order)
{
	switch (order->kind) {
	case ORDER_FENCE_CLOSE:
		agent->fence_known = true;
		agent->fence = FENCE_CLOSED;
		if (order->epoch > agent->fence_epoch)
			agent->fence_epoch = order->epoch;
		break;
	case ORDER_FENCE_DROP:
		agent->fence_known = true;
		agent->fence = FENCE_NONE;
		break;
	case ORDER_FENCE_CLIENTS:
		agent->fence_known = true;
		agent->fence = FENCE_CLIENTS;
		if (order->epoch > agent->fence_epoch)
			agent->fence_epoch = order->epoch;
		break;
	case ORDER_DB_START:
	case ORDER_DB_CONFIGURE:
		/* Until dbmon looks: nobody replaces the data under a server. */
		if (order->kind == ORDER_DB_START && agent->self.db == DB_DOWN) {
			agent->self.db = DB_STARTING;
			agent->presumed_ns = agent->now_ns;
		}
		if (!order->keep_rule || !agent->configured.known) {
			agent->configured.rule = order->rule;
			agent->configured.rule_kept = order->keep_rule;
		}
		agent->configured.known = true;
		agent->configured.done_ns = agent->now_ns;
		agent->configured.epoch = order->epoch;
		agent->configured.promise = order->promise;
		agent->configured.upstream = order->upstream;
		agent->configured.reserved = order->reserve_until;
		break;
	case ORDER_DB_INITDB:
		agent->self.db = DB_DOWN;
		break;
	case ORDER_DB_REWIND:
	case ORDER_DB_CLONE:
		if (order->kind == ORDER_DB_CLONE)
			agent->recloned = true;
		agent->rebuild_wanted = false;
		agent->rebuild_clone = false;
		agent->self.needs_rebuild = false;
		agent->stalled_ns = 0;
		agent->starting_ns = 0;
		agent->whole_from = (struct wal_branch){0};
		/* Until dbmon looks: there is a directory, and nothing runs in it. */
		agent->self.db = DB_DOWN;
		agent->configured.known = false;
		break;
	case ORDER_DB_CHECKPOINT:
		agent->checkpoint_epoch = order->epoch;
		agent->checkpointed = agent->phase == PHASE_SWITCH;
		break;
	case ORDER_DB_STOP:
		agent->halted = agent->phase == PHASE_HALT;
		agent_restart_stopped(agent);
		break;
	case ORDER_DB_KILL:
		agent_restart_stopped(agent);
		break;
	default:
		break;
	}
}

static void order_failed(struct agent *agent, struct pending_order *pending, uint8_t outcome)
{
	uint64_t wait = agent->config.election_ns / 4;

	pending->failures++;
	if (outcome != OUTCOME_REFUSED)
		pending->tried++;
	for (unsigned i = 1; i < pending->failures && i < 8; i++)
		wait *= 2;
	pending->retry_ns = agent->now_ns + wait;
	if (pending->kind == ORDER_DB_REWIND)
		agent->rebuild_clone = true;
	if (pending->kind == ORDER_DB_PROMOTE && pending->failures >= 3)
		agent->excluded_until_ns = agent->now_ns + 10 * agent->config.election_ns;
	if (pending->kind == ORDER_DB_START && pending->tried >= 5 && !agent_is_primary(agent)) {
		agent->rebuild_wanted = true;
		agent->rebuild_clone = true;
	}
}

/* A position counts when it was measured under the promise that was asked for. */
static void take_answer_facts(struct agent *agent)
{
	if (agent->asked.epoch > agent->cluster.epoch &&
	    agent->self.promise >= agent->asked.epoch && agent->promised == agent->asked.epoch &&
	    !agent->self.receiving &&
	    (agent->self.db == DB_STANDBY ||
	     (agent->self.db == DB_PRIMARY && agent_is_primary(agent) && !agent_strayed(agent)))) {
		agent->asked_complete = true;
		agent->asked_replied = false;
		agent->asked_facts = agent_own_facts(agent);
	}
}

static void take_result(struct agent *agent, const struct agent_event *event)
{
	for (unsigned i = 0; i < EXECUTOR_COUNT; i++) {
		struct pending_order *pending = &agent->pending[i];

		if (pending->id == 0 || pending->id != event->result.order_id)
			continue;
		pending->id = 0;
		if (order_executor(pending->kind) == EXECUTOR_DBCTL)
			agent->self.job = JOB_NONE;
		if (event->result.has_facts)
			take_local_facts(agent, &event->result.facts);
		if (event->result.outcome != OUTCOME_DONE) {
			order_failed(agent, pending, event->result.outcome);
			return;
		}
		pending->failures = pending->tried = 0;
		/* dbmon's next look must have been taken after the order was done. */
		pending->retry_ns = agent->now_ns + (pending->kind >= ORDER_DB_REWIND &&
								     pending->kind <= ORDER_DB_CLONE
							     ? agent->config.election_ns
							     : agent->config.heartbeat_ns);
		order_done(agent, &pending->order);
		if (pending->kind == ORDER_DB_POSITION && event->result.has_facts)
			take_answer_facts(agent);
		return;
	}
}

static void take_applied(struct agent *agent, struct effects *effects, const struct entry *entry)
{
	uint64_t epoch = agent->cluster.epoch;
	bool own = agent->proposing && entry->kind == agent->proposed_kind &&
		   entry->base_version == agent->proposed_base;
	enum apply_result result;

	if (own)
		agent->proposing = false;
	result = cluster_apply(&agent->cluster, entry);
	if (agent->cluster.epoch != epoch) {
		agent->assigned_ns = agent->now_ns;
		agent->promoted_ns = 0;
	}
	/* Whom the database lets in for replication is written again. */
	if (result == APPLIED && entry->kind == ENTRY_MEMBER && agent_is_primary(agent))
		agent->configured.known = false;
	if (!own || !agent->call_proposed)
		return;
	/* Another entry came first: the call is judged again on the new state. */
	if (result == APPLIED)
		agent_call_over(agent, effects, true);
	else
		agent->call_proposed = false;
}

static void take_event(struct agent *agent, struct effects *effects,
		       const struct agent_event *event)
{
	switch (event->kind) {
	case EV_APPLIED:
		take_applied(agent, effects, &event->applied);
		break;
	case EV_RESTORED:
		agent->cluster = *event->restored;
		agent_marks_forgotten(agent);
		break;
	case EV_PROPOSAL_LOST:
		agent->proposing = false;
		agent_call_over(agent, effects, false);
		break;
	case EV_CALL:
		agent_take_call(agent, effects, &event->call);
		break;
	case EV_TRANSFER_OVER:
		agent->transferring = false;
		agent->transfer_retry_ns = agent->now_ns + agent->config.heartbeat_ns;
		break;
	case EV_LOCAL_FACTS:
		take_local_facts(agent, &event->facts);
		if (agent->promoted_ns == 0 && agent_is_primary(agent) &&
		    agent->self.db == DB_PRIMARY)
			agent->promoted_ns = agent->now_ns;
		break;
	case EV_PEER_FACTS:
		take_peer_facts(agent, &event->facts);
		break;
	case EV_SURVEY:
		take_survey(agent, &event->survey);
		break;
	case EV_ANSWER:
		survey_take(agent, &event->answer);
		break;
	case EV_ORDER_RESULT:
		take_result(agent, event);
		break;
	case EV_EXECUTOR_RESET:
		if (event->reset.executor < EXECUTOR_COUNT)
			memset(&agent->pending[event->reset.executor], 0,
			       sizeof(agent->pending[0]));
		if (event->reset.executor == EXECUTOR_DBCTL) {
			agent->configured.known = false;
			agent->self.job = JOB_NONE;
		}
		break;
	case EV_FENCE:
		agent->fence_known = true;
		agent->fence = event->fence.state;
		agent->fence_epoch = event->fence.epoch;
		agent->fence_kernel = event->fence.kernel;
		break;
	case EV_JOB:
		agent->self.job = event->job.job;
		agent->self.job_done = event->job.done;
		agent->self.job_total = event->job.total;
		agent->self.wal_oldest = event->job.wal_oldest;
		agent->whole_from = event->job.whole_from;
		break;
	case EV_LEAVE:
		agent->leaving = true;
		break;
	default:
		break;
	}
}

static void since(uint64_t *start_ns, bool condition, uint64_t now_ns)
{
	if (!condition)
		*start_ns = 0;
	else if (*start_ns == 0)
		*start_ns = now_ns;
}

/*
 * Whether the node left the recorded lineage only its data can tell, so only a standby that
 * receives nothing does at once; one that streams may have followed further than this node's log
 * knows yet, but not for long.
 */
static void judge_lineage(struct agent *agent)
{
	struct lineage_match match = {0};
	bool left;

	if (agent->self.db == DB_STANDBY && !agent_is_primary(agent) && agent->cluster.opened &&
	    agent->cluster.primary != NODE_NONE && agent_promise(agent) <= agent->cluster.epoch)
		match = lineage_compare(&agent->cluster, &agent->self.position);
	left = match.known && (match.diverged || match.clash);
	since(&agent->diverged_ns, left, agent->now_ns);
	/* pg_rewind takes equal numbers for equal timelines and does nothing. */
	if (match.known && match.clash)
		agent->rebuild_clone = true;
	if (left && (!agent->self.receiving ||
		     agent->now_ns - agent->diverged_ns > 10 * agent->config.election_ns))
		agent->rebuild_wanted = true;
	if (!match.known || left)
		return;
	/* Who streams the recorded timeline can be followed with, whatever was thought before. */
	if (agent->self.receiving && agent->self.position.timeline == agent->cluster.timeline) {
		agent->rebuild_wanted = false;
		agent->rebuild_clone = false;
	}
}

/*
 * What was rewound is whole only with WAL that its source had by then. A failover may have lost
 * that: then no recovery ends well, however long it takes.
 */
static bool never_whole(const struct agent *agent)
{
	return agent->self.db == DB_STARTING && !agent_is_primary(agent) &&
	       agent_primary_serves(agent) && agent_promise(agent) <= agent->cluster.epoch &&
	       lineage_lost(&agent->cluster, agent->whole_from);
}

/* How long things have been as they are. */
static void track(struct agent *agent)
{
	const struct facts *self = &agent->self;
	uint64_t now = agent->now_ns;
	uint64_t patience = 60 * agent->config.election_ns;
	uint64_t recovery_patience;

	if (patience < UINT64_C(60000000000))
		patience = UINT64_C(60000000000);
	/*
	 * A node that was removed while its data were replaced, and joins again, may wait for WAL
	 * that it is not given before its data are known to be good. Nobody needs what it has.
	 */
	recovery_patience =
		node_in(agent->cluster.joining, agent->config.self) ? patience : 10 * patience;
	/* It ended again before dbmon saw it: what dbmon said before is true again. */
	if (agent->presumed_ns != 0 && now - agent->presumed_ns > 2 * agent->config.election_ns) {
		agent->presumed_ns = 0;
		if (self->db == DB_STARTING)
			agent->self.db = DB_DOWN;
	}
	since(&agent->lease_lost_ns,
	      self->db == DB_PRIMARY && agent_is_primary(agent) && !agent_has_lease(agent), now);
	since(&agent->hung_ns, self->db == DB_HUNG, now);
	since(&agent->stalled_ns,
	      self->db == DB_STANDBY && !self->receiving && !agent_is_primary(agent) &&
		      agent->configured.known && agent->configured.upstream != NODE_NONE &&
		      agent_primary_serves(agent),
	      now);
	/* Recovery may take long; recovery that waits for WAL which nobody has takes for ever. */
	since(&agent->starting_ns,
	      self->db == DB_STARTING && !agent_is_primary(agent) && agent_primary_serves(agent),
	      now);
	if (PLANTED(agent, BUG_CLONE_WHILE_IN_S) && agent->stalled_ns != 0 &&
	    now - agent->stalled_ns > agent->config.election_ns) {
		agent->rebuild_wanted = true;
		agent->rebuild_clone = true;
	}
	survey_name_fault(agent);
	judge_lineage(agent);
	if (!node_in(agent->cluster.settings.reinit, agent->config.self))
		agent->recloned = false;
	if (self->db == DB_DOWN)
		agent_restart_stopped(agent);
	/* What was thought of the data before they were the cluster's says nothing any more. */
	if (agent_is_primary(agent) && self->db == DB_PRIMARY && !agent_strayed(agent)) {
		agent->rebuild_wanted = false;
		agent->rebuild_clone = false;
	}
	/* It would wait for ever; the fault goes away with the server, what follows from it does
	 * not. */
	if (agent_track_detour(agent)) {
		agent->rebuild_wanted = true;
		agent->rebuild_clone = true;
	}
	if ((agent->stalled_ns != 0 && now - agent->stalled_ns > patience) ||
	    (agent->starting_ns != 0 && now - agent->starting_ns > recovery_patience) ||
	    never_whole(agent)) {
		agent->rebuild_wanted = true;
		agent->rebuild_clone = true;
	}
	if (self->db == DB_BROKEN || self->db == DB_ABSENT)
		agent->rebuild_clone = true;
	if (agent->asked.epoch != 0 && agent->asked.epoch <= agent->cluster.epoch)
		memset(&agent->asked, 0, sizeof(agent->asked));
	/* Answered as the running primary that it is no more: it is measured again. */
	if (agent->asked_complete && agent->asked_facts.db == DB_PRIMARY &&
	    (self->db != DB_PRIMARY || !agent_is_primary(agent))) {
		agent->asked_complete = false;
		agent->asked_replied = false;
	}
	if (!agent->raft.leader) {
		agent->proposing = false;
		agent->transferring = false;
	}
	agent->own = agent_own_facts(agent);
	agent_track_marks(agent);
	agent_track_standings(agent);
	agent_track_levels(agent);
	agent_track_better(agent);
	agent_track_servers(agent);
}

/* It changes all the time: told with whatever else is told. */
static void tell_of_primary(const struct agent *agent, struct facts *facts)
{
	uint64_t since_ns = agent->seen_ns != 0 ? agent->seen_ns : agent->listening_ns;
	uint64_t age_ms = (agent->now_ns - since_ns) / 1000000;

	facts->primary_epoch = agent->seen_epoch;
	facts->primary_seen = agent->seen;
	facts->primary_age_ms = age_ms < UINT32_MAX ? (uint32_t)age_ms : UINT32_MAX;
}

static void publish_facts(struct agent *agent, struct effects *effects)
{
	bool changed;

	agent->own = agent_own_facts(agent);
	agent->own.seq = agent->facts_sent.seq;
	agent->own.primary_epoch = agent->facts_sent.primary_epoch;
	agent->own.primary_seen = agent->facts_sent.primary_seen;
	agent->own.primary_age_ms = agent->facts_sent.primary_age_ms;
	changed = memcmp(&agent->own, &agent->facts_sent, sizeof(agent->own)) != 0;
	if (!changed && agent->now_ns - agent->facts_sent_ns < agent->config.election_ns / 4)
		return;
	agent->own.seq = agent->now_ns > agent->own.seq ? agent->now_ns : agent->own.seq + 1;
	tell_of_primary(agent, &agent->own);
	agent->facts_sent = agent->own;
	agent->facts_sent_ns = agent->now_ns;
	effect_add(effects, FX_FACTS)->answer.facts = agent->own;
}

void agent_step(struct agent *agent, const struct agent_event *event, struct effects *effects)
{
	uint8_t phase;

	effects->count = 0;
	if (event->now_ns > agent->now_ns)
		agent->now_ns = event->now_ns;
	agent->wall_ms = event->wall_ms;
	agent->raft = event->raft;
	take_event(agent, effects, event);
	track(agent);
	agent_calls(agent, effects);
	agent_local(agent, effects);
	phase = agent->phase;
	agent_lead(agent, effects);
	if (agent->phase != phase)
		agent_local(agent, effects);
	publish_facts(agent, effects);
}

uint64_t agent_election_delay_ns(const struct agent *agent)
{
	uint64_t delay = agent->config.election_ns;
	const struct facts *own = &agent->self;
	const struct node *self = cluster_node(&agent->cluster, agent->config.self);

	if (!agent_is_data(agent) || !agent->self_known || own->db != DB_STANDBY ||
	    agent_needs_rebuild(agent) || agent_is_primary(agent) || self == NULL ||
	    node_in(agent->cluster.joining | agent->cluster.leaving, self->id))
		return delay;
	for (node_id id = 1; id <= NODES_MAX; id++) {
		const struct facts *other = agent_facts(agent, id, 2 * delay);
		const struct node *node = cluster_node(&agent->cluster, id);

		if (id == agent->config.self || other == NULL || node == NULL ||
		    node->kind != NODE_DATA || id == agent->cluster.primary ||
		    node_in(agent->cluster.joining | agent->cluster.leaving, id) ||
		    other->db != DB_STANDBY || other->needs_rebuild)
			continue;
		if (other->position.flushed > own->position.flushed)
			return delay;
		if (other->position.flushed == own->position.flushed &&
		    (node->priority > self->priority ||
		     (node->priority == self->priority && id < agent->config.self)))
			return delay;
	}
	return delay + delay * 3 / 100;
}
