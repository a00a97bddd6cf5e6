#include "consensus.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/check.h"
#include "base/log.h"
#include "os/clock.h"

/* Our log is tiny: small snapshots often keep the disk and a newcomer's catch-up small. */
#define SNAPSHOT_THRESHOLD 256
#define SNAPSHOT_TRAILING  64
/* An orderly stop gives up waiting for others before the worker's own deadline of 10 s. */
#define HANDOVER_MAX_NS (8000 * NS_PER_MS)
/* Turns of the loop that may pass until everything is closed. */
#define CLOSE_MAX_MS 2000

uint64_t consensus_now_ns(void)
{
	return clock_boot_ns();
}

uint64_t consensus_wall_ms(void)
{
	return clock_wall_ms();
}

bool consensus_takes_part(const struct consensus *self)
{
	return self->node != NULL && self->node_started && !self->node_closing &&
	       !self->section.failed;
}

static uint64_t op_now_ns(void *arg)
{
	UNUSED(arg);
	return consensus_now_ns();
}

static uint64_t op_wall_ms(void *arg)
{
	UNUSED(arg);
	return consensus_wall_ms();
}

/* Not for secrets: it spreads timers. */
static int op_random(void *arg, int min, int max)
{
	uint32_t number = 0;

	UNUSED(arg);
	if (max <= min)
		return min;
	if (getrandom(&number, sizeof(number), GRND_NONBLOCK) != (ssize_t)sizeof(number))
		number = (uint32_t)consensus_now_ns();
	return min + (int)(number % (uint32_t)(max - min));
}

static int op_send(void *arg, const struct raft_message *message, uint64_t sent_ns)
{
	struct consensus *self = arg;

	/* A node whose log failed says nothing more. */
	if (self->section.failed)
		return RAFT_NOCONNECTION;
	return peers_send_raft(self, message, sent_ns);
}

static void op_send_heard(void *arg, node_id to, uint64_t term, uint64_t sent_ns)
{
	struct consensus *self = arg;

	if (!self->section.failed)
		peers_send_heard(self, to, term, sent_ns);
}

static void op_note(struct consensus *self, const struct effect *effect)
{
	const struct agent *agent = raftnode_agent(self->node);

	log_event(LOG_NOTICE, "agent.rule",
		  "rule=%s phase=%s epoch=%" PRIu64 " term=%" PRIu64 " why=\"%s\"",
		  effect->note.rule, leader_phase_name(agent->phase), agent->cluster.epoch,
		  agent->raft.term, effect->note.why);
	events_note(&self->events, effect->note.rule, effect->note.why, agent->cluster.epoch,
		    agent->raft.term, consensus_wall_ms());
}

static void op_effect(void *arg, const struct effect *effect)
{
	struct consensus *self = arg;

	if (self->section.failed)
		return;
	self->section_changed = true;
	switch (effect->kind) {
	case FX_SURVEY:
		peers_send_survey(self, effect->node, &effect->survey);
		break;
	case FX_ANSWER:
		peers_send_answer(self, effect->node, &effect->answer);
		break;
	case FX_FACTS:
		peers_send_facts(self, &effect->answer.facts);
		break;
	case FX_ORDER:
		executors_order(self, &effect->order);
		break;
	case FX_GRANT:
		executors_grant(self, effect->grant.epoch, effect->grant.until_ns);
		break;
	case FX_NOTE:
		op_note(self, effect);
		break;
	case FX_CALL_RESULT:
		calls_effect(self, effect->node, &effect->call_result);
		break;
	default:
		/* Proposals and transfers are the raftnode's own. */
		break;
	}
}

uint64_t consensus_operation(const struct consensus *self)
{
	const struct operation *operation =
		self->node != NULL ? cluster_operation(&raftnode_agent(self->node)->cluster) : NULL;

	return operation != NULL && operation->state == OPERATION_RUNNING ? operation->id : 0;
}

static void tell_applied(struct consensus *self, uint64_t index, const struct entry *entry,
			 const struct agent *agent)
{
	/* An entry that came too late has changed nothing. */
	if (agent->cluster.version != entry->base_version + 1)
		return;
	log_event(index <= self->events.told_index ? LOG_DEBUG : LOG_NOTICE, "log.applied",
		  "entry=%s index=%" PRIu64 " epoch=%" PRIu64 " version=%" PRIu64,
		  entry_kind_name(entry->kind), index, entry->epoch, agent->cluster.version);
	events_applied(&self->events, index, entry, &agent->cluster, consensus_wall_ms());
}

static void op_applied(void *arg, uint64_t index, const struct entry *entry)
{
	struct consensus *self = arg;
	const struct agent *agent = raftnode_agent(self->node);

	self->section_changed = true;
	if (agent->raft.leader && agent->proposed_ns != 0 && agent->now_ns >= agent->proposed_ns)
		status_time_add(&self->commits, (agent->now_ns - agent->proposed_ns) / 1000);
	/* An entry that ends an operation is told with its id. */
	if (consensus_operation(self) != 0)
		log_set_operation(consensus_operation(self));
	tell_applied(self, index, entry, agent);
	log_set_operation(consensus_operation(self));
}

static void op_failed(void *arg, const char *reason)
{
	failure_enter(arg, reason);
}

static void on_disk_failure(void *arg, const char *reason)
{
	failure_enter(arg, reason);
}

static void on_bus_peer(void *arg, enum worker_id peer)
{
	struct consensus *self = arg;

	if (peer == WORKER_gateway)
		events_repeat(&self->events);
	/* A new vip that knows nothing of the failure must hear of it. */
	if (peer == WORKER_vip && self->section.failed) {
		self->fence = FENCE_NONE;
		self->failure_ns = 0;
		failure_tick(self);
	}
}

static bool handover_done(struct consensus *self)
{
	const struct raft_view view = raftnode_view(self->node);
	const struct agent *agent = raftnode_agent(self->node);
	const uint64_t waited = consensus_now_ns() - self->stop_ns;
	const uint8_t db = agent->self.db;
	const bool has_db = conf_self(&self->worker->conf)->kind == MEMBER_DATA;
	struct err why = {0};

	if (waited >= HANDOVER_MAX_NS) {
		log_event(LOG_WARNING, "consensus.stop",
			  "leader=%d the handover is not finished after %" PRIu64
			  " ms; stopping all the same",
			  view.leader, waited / NS_PER_MS);
		return true;
	}
	if (has_db && (db == DB_STARTING || db == DB_STANDBY || db == DB_PRIMARY || db == DB_HUNG))
		return false;
	if (!view.leader)
		return true;
	/* Alone there is nobody to hand over to. */
	if (node_count(view.voters) == 1)
		return true;
	/*
	 * The agent looks for the next primary and gives it the leadership. Where it does not (a
	 * witness, no candidate), anybody may lead.
	 */
	if (!self->resigned &&
	    (!has_db || waited > 3 * self->config.agent.election_ns + 1000 * NS_PER_MS)) {
		self->resigned = raftnode_resign(self->node, &why) == 0;
		if (!self->resigned)
			log_event(LOG_INFO, "consensus.resign", "%s", why.text);
	}
	return false;
}

/*
 * This node held the lease when its last process died and asks for the leadership again. Its first
 * requests may have gone before the others were connected again: it asks at each tick, as long as
 * the lease lasts and the vote has not come to a new term.
 */
static void resume_again(struct consensus *self)
{
	struct raft *raft = raftnode_raft(self->node);

	if (self->config.resume_until_ns <= consensus_now_ns() ||
	    raft->current_term != self->config.resume_term || raft->state != RAFT_CANDIDATE ||
	    !raft->candidate_state.in_pre_vote)
		return;
	/* Long ago: libraft's next tick begins the vote anew. */
	raft->election_timer_start = 0;
}

/* What the cluster has committed is in this log: it is a voter that remembers. */
static void claim(struct consensus *self)
{
	const struct agent_config *agent = &self->config.agent;
	struct err why = {0};

	if (!self->disk.fresh || !raftnode_view(self->node).current)
		return;
	if (disk_claim(&self->disk, agent->cluster_id, agent->self, &why) < 0)
		failure_enter(self, why.text);
	else
		log_event(LOG_NOTICE, "consensus.caught_up", "this node votes like any other");
}

static void on_timer(uv_timer_t *timer)
{
	struct consensus *self = timer->data;

	failure_tick(self);
	if (consensus_takes_part(self)) {
		resume_again(self);
		raftnode_tick(self->node);
		claim(self);
	}
	calls_tick(self);
	report_publish(self);
	if (self->state == CONSENSUS_STOPPING && self->handover &&
	    (!consensus_takes_part(self) || handover_done(self))) {
		self->handover = false;
		worker_stopped(self->worker);
	}
}

/* Disk callbacks run inside libraft; what they changed is published before the loop waits. */
static void on_prepare(uv_prepare_t *handle)
{
	struct consensus *self = handle->data;

	report_publish(self);
}

/* The part that a reload may change. */
static void fill_members(struct consensus *self)
{
	const struct conf *conf = &self->worker->conf;
	struct raftnode_config *config = &self->config;
	struct agent_config *agent = &config->agent;

	agent->node_total = (uint8_t)conf->member_count;
	agent->roster = conf_roster(conf);
	agent->later = 0;
	memset(agent->nodes, 0, sizeof(agent->nodes));
	memset(config->address, 0, sizeof(config->address));
	for (unsigned i = 0; i < conf->member_count; i++) {
		const struct conf_member *member = &conf->members[i];
		struct node *node = &agent->nodes[i];

		node->id = (node_id)member->id;
		node->kind = member->kind == MEMBER_WITNESS ? NODE_WITNESS : NODE_DATA;
		node->priority = (uint16_t)member->priority;
		node->identity = conf_member_identity(member);
		if (!member->founding)
			agent->later |= node_bit(node->id);
		snprintf(node->name, sizeof(node->name), "%s", member->name);
		snprintf(self->address[member->id], sizeof(self->address[0]), "%s:%" PRIu64,
			 member->address, member->peer_port);
		config->address[member->id] = self->address[member->id];
	}
}

static void fill_config(struct consensus *self)
{
	const struct conf *conf = &self->worker->conf;
	struct raftnode_config *config = &self->config;
	struct agent_config *agent = &config->agent;

	agent->self = (node_id)conf_self(conf)->id;
	agent->cluster_id = conf_cluster_digest(conf);
	agent->election_ns = conf->election_ms * NS_PER_MS;
	agent->heartbeat_ns = agent->election_ns / 10;
	agent->settings = conf_settings(conf);
	fill_members(self);
	config->lease_ns = agent->election_ns / 10 * 9;
	config->snapshot_threshold = SNAPSHOT_THRESHOLD;
	config->snapshot_trailing = SNAPSHOT_TRAILING;
}

/* Everything that needs the log. A failure here is not the process's end. */
static int node_open(struct consensus *self, struct err *why)
{
	const struct agent_config *agent = &self->config.agent;
	char path[sizeof(self->disk.path)];
	int rc;

	if (snprintf(path, sizeof(path), "%s/raft", self->worker->conf.state_dir) >=
	    (int)sizeof(path))
		return err_set(why, ERR_TOO_BIG, "paths.state_dir is too long");
	rc = disk_open(&self->disk, self->worker->loop, path, agent->cluster_id, agent->self,
		       on_disk_failure, self, why);
	if (rc < 0)
		return rc;
	rc = raftnode_new(&self->node, &self->config, &self->disk.io, &self->ops, self, why);
	if (rc < 0)
		return rc;
	rc = raftnode_start(self->node, why);
	if (rc < 0)
		return rc;
	self->node_started = true;
	if (self->disk.fresh)
		log_event(
			LOG_NOTICE, "consensus.fresh",
			"%s was empty: until this node has caught up with the others it votes only "
			"for members that begin as well",
			path);
	return 0;
}

static int timer_open(struct consensus *self, struct err *why)
{
	const uint64_t tick_ms = self->worker->conf.tick_ms;
	const uint64_t half_ms = self->config.agent.heartbeat_ns / NS_PER_MS / 2;
	uint64_t every_ms = tick_ms < half_ms ? tick_ms : half_ms;
	int rc;

	if (every_ms == 0)
		every_ms = 1;
	/* uv_prepare_start() and the inits cannot fail. */
	uv_timer_init(self->worker->loop, &self->timer);
	uv_prepare_init(self->worker->loop, &self->prepare);
	self->timer.data = self->prepare.data = self;
	self->prepare_ready = true;
	uv_prepare_start(&self->prepare, on_prepare);
	self->timer_every_ms = every_ms;
	rc = uv_timer_start(&self->timer, on_timer, every_ms, every_ms);
	return rc == 0 ? 0 : err_set(why, ERR_IO, "timer: %s", uv_strerror(rc));
}

static void consensus_finish(struct worker *worker);

static int consensus_start(struct worker *worker, struct err *why)
{
	struct consensus *self = calloc(1, sizeof(*self));
	struct err lost = {0};
	int rc;

	if (self == NULL)
		return err_set(why, ERR_NO_MEMORY, "out of memory");
	self->worker = worker;
	worker->self = self;
	self->envelope = calloc(1, sizeof(*self->envelope));
	self->ops = (struct raftnode_ops){
		.now_ns = op_now_ns,
		.wall_ms = op_wall_ms,
		.random = op_random,
		.send = op_send,
		.send_heard = op_send_heard,
		.effect = op_effect,
		.applied = op_applied,
		.failed = op_failed,
	};
	self->fence_order = consensus_now_ns();
	fill_config(self);
	report_recover(self);
	bus_watch(worker->bus, on_bus_peer, self);
	if (self->envelope == NULL)
		rc = err_set(why, ERR_NO_MEMORY, "out of memory");
	else
		rc = peers_open(self, why);
	if (rc == 0)
		rc = timer_open(self, why);
	if (rc < 0) {
		consensus_finish(worker);
		return rc;
	}
	self->state = CONSENSUS_RUNNING;
	if (node_open(self, &lost) < 0)
		failure_enter(self, lost.text);
	report_publish(self);
	return 0;
}

static void consensus_stop(struct worker *worker, bool handover)
{
	struct consensus *self = worker->self;
	struct agent_event event = {.kind = EV_LEAVE};

	self->state = CONSENSUS_STOPPING;
	self->stop_ns = consensus_now_ns();
	self->handover = handover && consensus_takes_part(self);
	if (!self->handover) {
		worker_stopped(worker);
		return;
	}
	raftnode_event(self->node, &event);
}

static void on_node_closed(void *arg)
{
	struct consensus *self = arg;

	self->node_closed = true;
}

static void on_close_late(uv_timer_t *timer)
{
	bool *late = timer->data;

	*late = true;
}

/* Run the loop until libraft has let go of the disk, but not for ever. */
static void node_finish(struct consensus *self)
{
	uv_timer_t deadline;
	bool late = false;

	if (self->node == NULL)
		return;
	if (!self->node_closing) {
		self->node_closing = true;
		raftnode_close(self->node, on_node_closed, self);
	}
	uv_timer_init(self->worker->loop, &deadline);
	deadline.data = &late;
	uv_timer_start(&deadline, on_close_late, CLOSE_MAX_MS, 0);
	while (!self->node_closed && !late)
		uv_run(self->worker->loop, UV_RUN_ONCE);
	uv_close((uv_handle_t *)&deadline, NULL);
	uv_run(self->worker->loop, UV_RUN_NOWAIT);
	if (!self->node_closed) {
		/* Its memory may still be in use by a write that does not end. */
		log_event(LOG_WARNING, "consensus.stop", "the log's disk does not answer");
		return;
	}
	raftnode_free(self->node);
	self->node = NULL;
	disk_close(&self->disk);
}

static void consensus_finish(struct worker *worker)
{
	struct consensus *self = worker->self;

	if (self == NULL)
		return;
	/* The last word: the lease stands in the section for whoever comes next. */
	bus_watch(worker->bus, NULL, NULL);
	if (self->prepare_ready) {
		uv_close((uv_handle_t *)&self->timer, NULL);
		uv_close((uv_handle_t *)&self->prepare, NULL);
		self->prepare_ready = false;
		self->timer_every_ms = 0;
	}
	node_finish(self);
	peer_close(self->peers);
	self->peers = NULL;
	uv_run(worker->loop, UV_RUN_NOWAIT);
	if (self->node != NULL)
		return;
	disk_close(&self->disk);
	events_fini(&self->events);
	free(self->envelope);
	free(self);
	worker->self = NULL;
}

/* Whoever is a member stays named, whatever the file says: it would be cut off. */
static bool names_all_members(const struct consensus *self)
{
	const struct cluster *cluster = &raftnode_agent(self->node)->cluster;

	for (unsigned i = 0; i < cluster->node_total; i++) {
		const struct node *node = &cluster->nodes[i];

		if (conf_member_by_id(&self->worker->conf, node->id) != NULL)
			continue;
		log_event(LOG_ERROR, "consensus.reload",
			  "member=%s is a member, but the new configuration does not name it: the "
			  "old members and keys stay here; put its row back, or remove it first "
			  "(mhactl member remove)",
			  node->name);
		return false;
	}
	return true;
}

static void consensus_reload(struct worker *worker)
{
	struct consensus *self = worker->self;
	struct err why = {0};
	int rc;

	if (consensus_takes_part(self) && !names_all_members(self))
		return;
	rc = peers_reload(self, &why);
	if (rc == ERR_IO || rc == ERR_NO_MEMORY) {
		/* Deaf, it would be a member only by name: the next life opens all anew. */
		log_event(LOG_ERROR, "consensus.reload", "%s; this worker begins anew", why.text);
		worker_stopped(worker);
		return;
	}
	if (rc < 0) {
		log_event(LOG_ERROR, "consensus.reload", "%s; the old members and keys stay",
			  why.text);
		return;
	}
	fill_members(self);
	if (consensus_takes_part(self))
		raftnode_configure(self->node, &self->config);
}

const struct worker_ops consensus_ops = {
	.start = consensus_start,
	.message = executors_message,
	.reload = consensus_reload,
	.stop = consensus_stop,
	.finish = consensus_finish,
};
