/*
 * The hooks in struct raft_io: our wire, our election timers, and a frame around every callback
 * through which libraft runs, so that the agent is stepped only when libraft has returned.
 */
#include <stdlib.h>
#include <string.h>

#include "raftnode/raftnode_internal.h"

/* Raft time is cut to whole ms; a timer of T + 2 ms cannot end within T of the last message. */
#define TIMER_MARGIN_MS 2u
/* Timers are looked at this often within T. */
#define TICKS_PER_TIMEOUT 50u

static struct raftnode *node_of(struct raft_io *io)
{
	struct raft *raft = io->data;

	return raft->data;
}

bool raftnode_may_vote(const struct raftnode *node, uint64_t now_ns)
{
	return now_ns >= node->started_until_ns && now_ns >= node->heard_until_ns &&
	       now_ns >= node->lease_shown_ns;
}

unsigned raftnode_follower_timeout_ms(struct raftnode *node)
{
	const unsigned timeout = node->raft.election_timeout;
	uint64_t delay = agent_election_delay_ns(&node->agent) / NS_PER_MS;

	if (delay < timeout + TIMER_MARGIN_MS)
		delay = timeout + TIMER_MARGIN_MS;
	return delay < 2 * timeout ? (unsigned)delay : 2 * timeout;
}

/*
 * libraft draws with (T, 2T) when it becomes a follower and at each start of an election, and
 * counts the follower's time from the last message of the leader. The value for a follower that
 * has a leader is set in raftnode_tick(); one without a leader and a candidate wait for a random
 * time, so that rivals part.
 */
static int hook_random(struct raft_io *io, int min, int max)
{
	struct raftnode *node = node_of(io);
	int value = node->ops->random(node->arg, min, max);

	if (value < min + (int)TIMER_MARGIN_MS)
		value = min + (int)TIMER_MARGIN_MS;
	return value < max ? value : max;
}

static bool sent_append(struct raftnode *node, struct raft_io_send *request, raft_io_send_cb done,
			int status)
{
	if (node->sent_count == node->sent_size) {
		const unsigned size = node->sent_size == 0 ? 32 : node->sent_size * 2;
		struct sent_message *sent = realloc(node->sent, size * sizeof(*sent));

		if (sent == NULL)
			return false;
		node->sent = sent;
		node->sent_size = size;
	}
	node->sent[node->sent_count++] =
		(struct sent_message){.request = request, .done = done, .status = status};
	return true;
}

void raftnode_report_sent(struct raftnode *node)
{
	/* A callback may send again. */
	for (unsigned i = 0; i < node->sent_count; i++) {
		const struct sent_message sent = node->sent[i];

		if (sent.done != NULL)
			sent.done(sent.request, sent.status);
	}
	node->sent_count = 0;
}

/*
 * Failures are reported through the callback, never by the return value: after some of its calls
 * libraft 0.15 frees a message twice when send refuses it.
 */
static int hook_send(struct raft_io *io, struct raft_io_send *request,
		     const struct raft_message *message, raft_io_send_cb done)
{
	struct raftnode *node = node_of(io);
	const uint64_t now = node->ops->now_ns(node->arg);
	struct raft_message patched;
	int status = RAFT_NOCONNECTION;

	if (node->failed || node->closing)
		goto report;
	if (message->type == RAFT_IO_REQUEST_VOTE) {
		const bool resuming = node->config.resume_term != 0 &&
				      now < node->config.resume_until_ns &&
				      message->request_vote.term == node->config.resume_term + 1;

		patched = *message;
		if (resuming)
			patched.request_vote.disrupt_leader = true;
		message = &patched;
		/* The promise that goes with Heard binds this node's own candidacy too. */
		if (!patched.request_vote.disrupt_leader && now < node->heard_until_ns)
			goto report;
	}
	if (message->type == RAFT_IO_APPEND_ENTRIES_RESULT &&
	    message->append_entries_result.rejected == 0) {
		const raft_index proven = raftnode_proven_index(node);

		patched = *message;
		if (patched.append_entries_result.last_log_index > proven)
			patched.append_entries_result.last_log_index = proven;
		message = &patched;
	}
	status = node->ops->send(node->arg, message, now);
report:
	return sent_append(node, request, done, status) ? 0 : RAFT_NOMEM;
}

static void hook_tick(struct raft_io *io)
{
	struct raftnode *node = node_of(io);

	if (node->failed || node->closing)
		return;
	raftnode_enter(node);
	node->tick(io);
	raftnode_leave(node);
}

static int hook_start(struct raft_io *io, unsigned msecs, raft_io_tick_cb tick,
		      raft_io_recv_cb receive)
{
	struct raftnode *node = node_of(io);
	const unsigned fine = node->raft.election_timeout / TICKS_PER_TIMEOUT;

	node->tick = tick;
	node->receive = receive;
	if (fine >= 1 && fine < msecs)
		msecs = fine;
	/* Messages do not come through `io`; raftnode_receive() calls `receive`. */
	return node->inner.start(io, msecs, hook_tick, receive);
}

/* A disk request of libraft, framed. */
struct framed_append {
	struct raft_io_append inner;
	uint64_t number; /* raftnode.append_count */
	struct raft_io_append *outer;
	raft_io_append_cb done;
	struct raftnode *node;
};

static void framed_append_done(struct raft_io_append *request, int status)
{
	struct framed_append *framed = request->data;
	struct raftnode *node = framed->node;
	struct raft_io_append *outer = framed->outer;
	const raft_io_append_cb done = framed->done;
	const uint64_t number = framed->number;

	free(framed);
	raftnode_enter(node);
	if (node->cut_until != 0 && number >= node->cut_until)
		node->cut_until = 0;
	/*
	 * After a failed write libraft cuts its log in memory back, and corrupts it when a snapshot
	 * has taken the place of these entries meanwhile. A log that is being closed needs no cut;
	 * a member that cannot write takes part no more, and nothing it says is sent.
	 */
	if (status != 0 && !node->closing)
		raftnode_fail(node, "writing the Raft log failed: %s", raft_strerror(status));
	done(outer, 0);
	raftnode_put_waiting(node);
	raftnode_leave(node);
}

static int hook_truncate(struct raft_io *io, raft_index index)
{
	struct raftnode *node = node_of(io);
	int rc;

	/* raftnode_mend_append() has seen to it that this does not happen. */
	if (node->putting) {
		raftnode_fail(node, "the log is to be cut while a snapshot is written");
		return RAFT_BUSY;
	}
	rc = node->inner.truncate(io, index);
	/* What replaces the entries is written once the cut has ended. */
	if (rc == 0)
		node->cut_until = node->append_count + 1;
	return rc;
}

static int hook_append(struct raft_io *io, struct raft_io_append *request,
		       const struct raft_entry entries[], unsigned count, raft_io_append_cb done)
{
	struct raftnode *node = node_of(io);
	struct framed_append *framed = calloc(1, sizeof(*framed));
	int rc;

	if (framed == NULL)
		return RAFT_NOMEM;
	framed->inner.data = framed;
	framed->outer = request;
	framed->done = done;
	framed->node = node;
	framed->number = ++node->append_count;
	rc = node->inner.append(io, &framed->inner, entries, count, framed_append_done);
	if (rc != 0)
		free(framed);
	return rc;
}

struct framed_put {
	struct raft_io_snapshot_put inner;
	unsigned trailing;
	const struct raft_snapshot *snapshot; /* libraft's until `done` */
	struct raft_io_snapshot_put *outer;
	raft_io_snapshot_put_cb done;
	struct raftnode *node;
};

static void framed_put_done(struct raft_io_snapshot_put *request, int status)
{
	struct framed_put *framed = request->data;
	struct raftnode *node = framed->node;
	struct raft_io_snapshot_put *outer = framed->outer;
	const raft_io_snapshot_put_cb done = framed->done;

	free(framed);
	raftnode_enter(node);
	node->putting = false;
	done(outer, status);
	raftnode_leave(node);
}

void raftnode_put_waiting(struct raftnode *node)
{
	struct framed_put *framed = node->waiting;
	int rc;

	if (framed == NULL || node->cut_until != 0 || node->closing || node->failed)
		return;
	node->waiting = NULL;
	rc = node->inner.snapshot_put(node->io, framed->trailing, &framed->inner, framed->snapshot,
				      framed_put_done);
	if (rc != 0)
		framed_put_done(&framed->inner, rc);
}

void raftnode_cancel_waiting(struct raftnode *node)
{
	struct framed_put *framed = node->waiting;

	node->waiting = NULL;
	if (framed != NULL)
		framed_put_done(&framed->inner, RAFT_CANCELED);
}

static int hook_snapshot_put(struct raft_io *io, unsigned trailing,
			     struct raft_io_snapshot_put *request,
			     const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb done)
{
	struct raftnode *node = node_of(io);
	struct framed_put *framed = calloc(1, sizeof(*framed));
	int rc;

	if (framed == NULL)
		return RAFT_NOMEM;
	framed->inner.data = framed;
	framed->outer = request;
	framed->done = done;
	framed->node = node;
	framed->trailing = trailing;
	framed->snapshot = snapshot;
	if (node->cut_until != 0) {
		node->waiting = framed;
		node->putting = true;
		return 0;
	}
	rc = node->inner.snapshot_put(io, trailing, &framed->inner, snapshot, framed_put_done);
	if (rc != 0)
		free(framed);
	else
		node->putting = true;
	return rc;
}

struct framed_get {
	struct raft_io_snapshot_get inner;
	struct raft_io_snapshot_get *outer;
	raft_io_snapshot_get_cb done;
	struct raftnode *node;
};

static void framed_get_done(struct raft_io_snapshot_get *request, struct raft_snapshot *snapshot,
			    int status)
{
	struct framed_get *framed = request->data;
	struct raftnode *node = framed->node;
	struct raft_io_snapshot_get *outer = framed->outer;
	const raft_io_snapshot_get_cb done = framed->done;

	free(framed);
	raftnode_enter(node);
	done(outer, snapshot, status);
	raftnode_leave(node);
}

static int hook_snapshot_get(struct raft_io *io, struct raft_io_snapshot_get *request,
			     raft_io_snapshot_get_cb done)
{
	struct raftnode *node = node_of(io);
	struct framed_get *framed = calloc(1, sizeof(*framed));
	int rc;

	if (framed == NULL)
		return RAFT_NOMEM;
	framed->inner.data = framed;
	framed->outer = request;
	framed->done = done;
	framed->node = node;
	rc = node->inner.snapshot_get(io, &framed->inner, framed_get_done);
	if (rc != 0)
		free(framed);
	return rc;
}

void raftnode_hook(struct raftnode *node)
{
	struct raft_io *io = node->io;

	node->inner = *io;
	io->load = raftnode_hook_load;
	io->start = hook_start;
	io->send = hook_send;
	io->random = hook_random;
	io->append = hook_append;
	io->truncate = hook_truncate;
	io->snapshot_put = hook_snapshot_put;
	io->snapshot_get = hook_snapshot_get;
}
