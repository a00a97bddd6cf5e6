/* Lifecycle, the event ring, leadership and the effects that concern Raft. */
#include "raftnode/raftnode.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/macros.h"
#include "raftnode/raftnode_internal.h"
#include "wire/convert.h"

#define EVENTS_FIRST 64u
/* A ring this long means that nothing drains it any more. */
#define EVENTS_LIMIT 65536u

static void on_barrier(struct raft_barrier *request, int status);

void raftnode_fail(struct raftnode *node, const char *format, ...)
{
	va_list arguments;

	if (node->failed)
		return;
	node->failed = true;
	va_start(arguments, format);
	vsnprintf(node->failure, sizeof(node->failure), format, arguments);
	va_end(arguments);
}

static bool ring_grow(struct raftnode *node)
{
	const unsigned size = node->event_size == 0 ? EVENTS_FIRST : node->event_size * 2;
	struct queued_event *events;

	if (size > EVENTS_LIMIT)
		return false;
	events = malloc(size * sizeof(*events));
	if (events == NULL)
		return false;
	for (unsigned i = 0; i < node->event_count; i++)
		events[i] = node->events[(node->event_first + i) % node->event_size];
	free(node->events);
	node->events = events;
	node->event_size = size;
	node->event_first = 0;
	return true;
}

static bool is_replay(const struct agent_event *event)
{
	return event->kind == EV_APPLIED || event->kind == EV_RESTORED;
}

void raftnode_queue(struct raftnode *node, const struct agent_event *event,
		    struct cluster *restored, uint64_t index)
{
	struct queued_event *slot;

	if (node->closing) {
		free(restored);
		return;
	}
	if (node->event_count == node->event_size && !ring_grow(node)) {
		free(restored);
		raftnode_fail(node, "out of memory: %u events are waiting for the agent",
			      node->event_count);
		return;
	}
	slot = &node->events[(node->event_first + node->event_count) % node->event_size];
	slot->event = *event;
	slot->restored = restored;
	slot->index = index;
	node->event_count++;
	if (is_replay(event))
		node->replay_count++;
}

static void queue_kind(struct raftnode *node, enum agent_event_kind kind)
{
	struct agent_event event;

	memset(&event, 0, sizeof(event));
	event.kind = (uint8_t)kind;
	raftnode_queue(node, &event, NULL, 0);
}

static uint64_t lease_length(const struct raftnode *node)
{
#ifdef MHA_PLANT_BUGS
	if ((node->config.agent.bugs & BUG_LEASE_TOO_LONG) != 0)
		return 3 * node->config.agent.election_ns;
#endif
	return node->config.lease_ns;
}

struct raft_view raftnode_view(const struct raftnode *node)
{
	const uint64_t now = node->ops->now_ns(node->arg);
	struct raft_view view = {.term = node->raft.current_term};

	if (node->failed || !node->started)
		return view;
	view.voters = raftnode_voters(node);
	view.servers = raftnode_servers(node);
	view.changing = raftnode_changing(node);
	view.outside = !node_in(view.servers, node->config.agent.self);
	view.leader = node->led_term != 0;
	/* Not ready before the agent has seen every entry that was committed when it was elected.
	 */
	view.ready = view.leader && node->ready && node->replay_count == 0;
	view.current =
		node->shown.current || (node->replay_count == 0 && (view.ready || node->caught_up));
	if (view.leader)
		view.leader_id = node->config.agent.self;
	else if (node->raft.state == RAFT_FOLLOWER)
		view.leader_id = (node_id)node->raft.follower_state.current_leader.id;
	if (view.ready && !node->lease_given_up)
		view.lease_until_ns = raftnode_lease_until(node, now, lease_length(node));
	if (view.lease_until_ns <= now)
		view.lease_until_ns = 0;
	return view;
}

/* An entry of the own term: makes the leader ready, and outdates a late TimeoutNow. */
static void barrier_submit(struct raftnode *node)
{
	int rc;

	node->barrier_wanted = false;
	if (node->barrier_pending)
		return;
	rc = raft_barrier(&node->raft, &node->barrier, on_barrier);
	if (rc == 0)
		node->barrier_pending = true;
	else
		node->barrier_wanted = true;
}

static void on_barrier(struct raft_barrier *request, int status)
{
	struct raftnode *node = request->data;

	node->barrier_pending = false;
	if (status != 0 || node->raft.state != RAFT_LEADER)
		return;
	node->ready = true;
	/* Only an entry that was appended after the transfer's end outdates what it sent. */
	if (!node->transfer_pending && !node->barrier_wanted)
		node->lease_given_up = false;
}

static void on_proposal(struct raft_apply *request, int status, void *result)
{
	struct raftnode *node = request->data;

	UNUSED(result);
	node->proposal_pending = false;
	if (status != 0)
		queue_kind(node, EV_PROPOSAL_LOST);
}

static void on_transfer(struct raft_transfer *request)
{
	struct raftnode *node = request->data;

	node->transfer_pending = false;
	queue_kind(node, EV_TRANSFER_OVER);
	node->barrier_wanted = true;
}

static void propose(struct raftnode *node, const struct entry *entry)
{
	uint8_t bytes[LOG_ENTRY_MAX];
	struct raft_buffer buffer;
	struct err why;
	int size = log_entry_encode(entry, bytes, &why);

	CHECK(!node->proposal_pending);
	if (size <= 0) {
		raftnode_fail(node, "log entry %s does not encode: %s",
			      entry_kind_name(entry->kind), size < 0 ? why.text : "empty");
		return;
	}
	buffer.len = (size_t)size;
	buffer.base = raft_malloc(buffer.len);
	if (buffer.base == NULL) {
		queue_kind(node, EV_PROPOSAL_LOST);
		return;
	}
	memcpy(buffer.base, bytes, buffer.len);
	node->proposal_pending = true;
	if (raft_apply(&node->raft, &node->proposal, &buffer, 1, on_proposal) != 0) {
		raft_free(buffer.base);
		node->proposal_pending = false;
		queue_kind(node, EV_PROPOSAL_LOST);
	}
}

static void transfer(struct raftnode *node, node_id to)
{
	if (node->transfer_pending || node->led_term == 0) {
		queue_kind(node, EV_TRANSFER_OVER);
		return;
	}
	node->lease_given_up = true;
	lease_reset(&node->lease, node->raft.current_term, node->ops->now_ns(node->arg));
	node->transfer_pending = true;
	if (raft_transfer(&node->raft, &node->transfer, to, on_transfer) != 0) {
		node->transfer_pending = false;
		node->barrier_wanted = true;
		queue_kind(node, EV_TRANSFER_OVER);
	}
}

static void perform(struct raftnode *node, const struct effect *effect)
{
	if (effect->kind == FX_PROPOSE)
		propose(node, &effect->entry);
	else if (effect->kind == FX_TRANSFER)
		transfer(node, effect->node);
	else if (effect->kind == FX_SERVER)
		raftnode_change_server(node, effect->node, effect->role);
	else
		node->ops->effect(node->arg, effect);
}

static void step(struct raftnode *node, struct agent_event *event)
{
	event->now_ns = node->ops->now_ns(node->arg);
	event->wall_ms = node->ops->wall_ms(node->arg);
	event->raft = raftnode_view(node);
	node->shown = event->raft;
	if (event->raft.lease_until_ns > node->lease_shown_ns)
		node->lease_shown_ns = event->raft.lease_until_ns;
	node->effects.count = 0;
	agent_step(&node->agent, event, &node->effects);
	CHECK(node->effects.count <= EFFECTS_MAX);
	for (unsigned i = 0; i < node->effects.count; i++)
		perform(node, &node->effects.list[i]);
}

/* Follow libraft's role. */
static void watch_role(struct raftnode *node)
{
	const struct raft *raft = &node->raft;

	if (raft->state == RAFT_UNAVAILABLE && !node->failed && !node->closing)
		raftnode_fail(node,
			      "Raft has stopped on this node: %s; it takes part again only "
			      "after a restart",
			      node->raft.errmsg[0] != 0 ? node->raft.errmsg
							: "reading or writing its log failed");
	if (raft->state != RAFT_LEADER) {
		node->led_term = 0;
		node->ready = false;
		node->barrier_wanted = false;
		return;
	}
	if (node->led_term == raft->current_term)
		return;
	node->led_term = raft->current_term;
	node->ready = false;
	node->lease_given_up = false;
	lease_reset(&node->lease, raft->current_term, node->ops->now_ns(node->arg));
	barrier_submit(node);
}

static bool view_changed(const struct raftnode *node, const struct raft_view *view)
{
	const struct raft_view *shown = &node->shown;

	/* A lone voter's lease grows with the clock; that alone is no news. */
	const uint64_t step = node->config.agent.heartbeat_ns / 4;

	return view->leader != shown->leader || view->current != shown->current ||
	       view->ready != shown->ready || view->term != shown->term ||
	       view->leader_id != shown->leader_id || view->voters != shown->voters ||
	       view->servers != shown->servers || view->changing != shown->changing ||
	       view->lease_until_ns < shown->lease_until_ns ||
	       view->lease_until_ns > shown->lease_until_ns + step;
}

/* One waiting event, or the news about Raft itself; false when there is neither. */
static bool step_next(struct raftnode *node)
{
	struct queued_event next;

	watch_role(node);
	if (node->barrier_wanted && !node->barrier_pending && !node->transfer_pending &&
	    node->led_term != 0)
		barrier_submit(node);
	if (node->event_count == 0) {
		const struct raft_view view = raftnode_view(node);

		if (!view_changed(node, &view))
			return false;
		memset(&next, 0, sizeof(next));
		next.event.kind = EV_RAFT;
		step(node, &next.event);
		return true;
	}
	next = node->events[node->event_first];
	node->event_first = (node->event_first + 1) % node->event_size;
	node->event_count--;
	if (is_replay(&next.event))
		node->replay_count--;
	step(node, &next.event);
	if (next.event.kind == EV_APPLIED)
		node->ops->applied(node->arg, next.index, &next.event.applied);
	free(next.restored);
	return true;
}

void raftnode_enter(struct raftnode *node)
{
	node->depth++;
	raftnode_track_servers(node);
}

void raftnode_leave(struct raftnode *node)
{
	CHECK(node->depth > 0);
	if (node->depth == 1) {
		raftnode_report_sent(node);
		raftnode_track_servers(node);
		while (node->started && !node->closing && !node->failed && step_next(node))
			raftnode_report_sent(node);
		raftnode_announce(node);
		watch_role(node);
		if (node->failed && !node->failure_told) {
			node->failure_told = true;
			node->ops->failed(node->arg, node->failure);
		}
	}
	node->depth--;
}

static int config_check(const struct raftnode_config *config, struct err *why)
{
	const struct agent_config *agent = &config->agent;

	if (agent->node_total < 1 || agent->node_total > NODES_MAX)
		return err_set(why, ERR_INVALID, "a cluster has 1 to %d members, not %u", NODES_MAX,
			       agent->node_total);
	if (agent->election_ns < 20 * NS_PER_MS || agent->heartbeat_ns < NS_PER_MS ||
	    agent->heartbeat_ns * 2 > agent->election_ns)
		return err_set(why, ERR_INVALID,
			       "the election timeout must be at least 20 ms and two heartbeats");
	if (config->lease_ns == 0 || config->lease_ns >= agent->election_ns)
		return err_set(why, ERR_INVALID,
			       "the lease must be shorter than the election timeout");
	for (unsigned i = 0; i < agent->node_total; i++) {
		const node_id id = agent->nodes[i].id;

		if (id < 1 || id > NODES_MAX || config->address[id] == NULL)
			return err_set(why, ERR_INVALID, "member %u has no valid id or address", i);
	}
	if (agent->self < 1 || agent->self > NODES_MAX || config->address[agent->self] == NULL)
		return err_set(why, ERR_INVALID, "this node is not among the members");
	return 0;
}

int raftnode_new(struct raftnode **result, const struct raftnode_config *config, struct raft_io *io,
		 const struct raftnode_ops *ops, void *arg, struct err *why)
{
	const unsigned election_ms = (unsigned)(config->agent.election_ns / NS_PER_MS);
	struct raftnode *node;
	int rc = config_check(config, why);

	if (rc < 0)
		return rc;
	node = calloc(1, sizeof(*node));
	if (node == NULL)
		return err_set(why, ERR_NO_MEMORY, "out of memory");
	node->config = *config;
	node->ops = ops;
	node->arg = arg;
	node->io = io;
	node->barrier.data = node;
	node->proposal.data = node;
	node->transfer.data = node;
	node->change.data = node;
	raft_configuration_init(&node->committed);
	raft_configuration_init(&node->base);
	raftnode_fsm_init(node);
	rc = raft_init(&node->raft, io, &node->fsm, config->agent.self,
		       config->address[config->agent.self]);
	if (rc != 0) {
		err_set(why, ERR_IO, "Raft does not start: %s: %s", raft_strerror(rc),
			node->raft.errmsg);
		free(node);
		return ERR_IO;
	}
	node->raft.data = node;
	raftnode_hook(node);
	raft_set_election_timeout(&node->raft, election_ms);
	raft_set_heartbeat_timeout(&node->raft, (unsigned)(config->agent.heartbeat_ns / NS_PER_MS));
	/* A snapshot is small; one that has not arrived within a few timeouts is lost. */
	raft_set_install_snapshot_timeout(&node->raft, 4 * election_ms);
	raft_set_snapshot_threshold(&node->raft, config->snapshot_threshold);
	raft_set_snapshot_trailing(&node->raft, config->snapshot_trailing);
	raft_set_pre_vote(&node->raft, true);
	*result = node;
	return 0;
}

static int bootstrap(struct raftnode *node, struct err *why)
{
	const struct agent_config *agent = &node->config.agent;
	struct raft_configuration members;
	int rc = 0;

	/* It gets the log from those that have one, and all logs begin with the same entry. */
	if (node_in(agent->later, agent->self))
		return 0;
	raft_configuration_init(&members);
	for (unsigned i = 0; i < agent->node_total && rc == 0; i++)
		if (!node_in(agent->later, agent->nodes[i].id))
			rc = raft_configuration_add(&members, agent->nodes[i].id,
						    node->config.address[agent->nodes[i].id],
						    RAFT_VOTER);
	if (rc == 0)
		rc = raft_bootstrap(&node->raft, &members);
	raft_configuration_close(&members);
	if (rc == 0 || rc == RAFT_CANTBOOTSTRAP) /* a log is there already */
		return 0;
	return err_set(why, ERR_IO, "cannot begin a Raft log: %s: %s", raft_strerror(rc),
		       node->io->errmsg);
}

bool raftnode_resuming(const struct raftnode *node, uint64_t now_ns)
{
	return node->config.resume_term != 0 && now_ns < node->config.resume_until_ns &&
	       node->raft.current_term == node->config.resume_term;
}

/* It still holds the lease: it stands for election now instead of waiting for its own silence. */
static void resume(struct raftnode *node)
{
	const uint64_t now = node->ops->now_ns(node->arg);
	const raft_time past = 2 * (raft_time)node->raft.election_timeout;

	if (node->raft.state != RAFT_FOLLOWER || !raftnode_resuming(node, now))
		return;
	if (node->raft.election_timer_start > past)
		node->raft.election_timer_start -= past;
	else
		node->raft.election_timer_start = 0;
	node->tick(node->io);
}

int raftnode_start(struct raftnode *node, struct err *why)
{
	const uint64_t now = node->ops->now_ns(node->arg);
	int rc = bootstrap(node, why);

	if (rc < 0)
		return rc;
	node->started_until_ns = now + node->config.agent.election_ns;
#ifdef MHA_PLANT_BUGS
	if ((node->config.agent.bugs & BUG_VOTE_AT_ONCE) != 0)
		node->started_until_ns = 0;
#endif
	agent_init(&node->agent, &node->config.agent, now);
	raftnode_enter(node);
	rc = raft_start(&node->raft);
	if (rc != 0) {
		node->depth--;
		return err_set(why, ERR_IO, "cannot load the Raft log: %s: %s", raft_strerror(rc),
			       node->raft.errmsg[0] != 0 ? node->raft.errmsg : node->io->errmsg);
	}
	raftnode_loaded_servers(node);
	node->started = true;
	resume(node);
	raftnode_leave(node);
	if (node->failed)
		return err_set(why, ERR_CORRUPT, "the Raft log of this node cannot be used");
	return 0;
}

static void on_closed(struct raft *raft)
{
	struct raftnode *node = raft->data;

	if (node->closed != NULL)
		node->closed(node->closed_arg);
}

void raftnode_close(struct raftnode *node, void (*closed)(void *arg), void *arg)
{
	CHECK(!node->closing);
	node->closing = true;
	node->closed = closed;
	node->closed_arg = arg;
	raftnode_report_sent(node);
	raftnode_cancel_waiting(node);
	raft_close(&node->raft, on_closed);
}

void raftnode_free(struct raftnode *node)
{
	if (node == NULL)
		return;
	for (unsigned i = 0; i < node->event_count; i++)
		free(node->events[(node->event_first + i) % node->event_size].restored);
	free(node->events);
	free(node->sent);
	raft_configuration_close(&node->committed);
	raft_configuration_close(&node->base);
	free(node);
}

void raftnode_configure(struct raftnode *node, const struct raftnode_config *config)
{
	struct agent_config *agents[] = {&node->config.agent, &node->agent.config};

	for (unsigned i = 0; i < COUNT_OF(agents); i++) {
		agents[i]->node_total = config->agent.node_total;
		memcpy(agents[i]->nodes, config->agent.nodes, sizeof(agents[i]->nodes));
		agents[i]->later = config->agent.later;
		agents[i]->roster = config->agent.roster;
	}
	memcpy(node->config.address, config->address, sizeof(node->config.address));
}

bool raftnode_has_left(const struct raftnode *node, node_id id)
{
	const struct cluster *cluster = &node->agent.cluster;

	return id >= 1 && id <= NODES_MAX && cluster->cluster_id != 0 && cluster->bound[id] != 0 &&
	       cluster_node(cluster, id) == NULL && !node_in(raftnode_servers(node), id);
}

void raftnode_heard(struct raftnode *node, node_id from, uint64_t term, uint64_t sent_ns)
{
	if (node->failed || node->closing || from < 1 || from > NODES_MAX ||
	    from == node->config.agent.self)
		return;
	/* A time of the future is not one that this node has ever sent. */
	if (sent_ns > node->ops->now_ns(node->arg))
		return;
	raftnode_enter(node);
	lease_echo(&node->lease, from, term, sent_ns);
	raftnode_leave(node);
}

void raftnode_event(struct raftnode *node, struct agent_event *event)
{
	if (node->failed || node->closing)
		return;
	raftnode_enter(node);
	raftnode_queue(node, event, NULL, 0);
	raftnode_leave(node);
}

void raftnode_tick(struct raftnode *node)
{
	if (node->failed || node->closing)
		return;
	raftnode_enter(node);
	/* libraft draws a follower's timer once; who is the best candidate changes since. */
	if (node->raft.state == RAFT_FOLLOWER && node->raft.follower_state.current_leader.id != 0)
		node->raft.follower_state.randomized_election_timeout =
			raftnode_follower_timeout_ms(node);
	queue_kind(node, EV_TICK);
	raftnode_leave(node);
}

const struct agent *raftnode_agent(const struct raftnode *node)
{
	return &node->agent;
}

struct raft *raftnode_raft(struct raftnode *node)
{
	return &node->raft;
}

int raftnode_resign(struct raftnode *node, struct err *why)
{
	if (node->failed || node->closing || node->led_term == 0)
		return err_set(why, ERR_REFUSED, "this node is not the leader");
	if (node->transfer_pending)
		return err_set(why, ERR_REFUSED, "a transfer of the leadership is under way");
	/* What was granted to vip cannot be taken back; it only ends. */
	if (node->agent.fence == FENCE_OPEN || node->agent.fence == FENCE_CLIENTS)
		return err_set(why, ERR_REFUSED,
			       "clients are served here under the lease; close the fence first");
	raftnode_enter(node);
	transfer(node, NODE_NONE);
	raftnode_leave(node);
	return 0;
}
