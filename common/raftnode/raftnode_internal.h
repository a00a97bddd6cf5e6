/* What the files of raftnode share; nobody else includes this. */
#ifndef MHA_RAFTNODE_INTERNAL_H
#define MHA_RAFTNODE_INTERNAL_H

#include "raftnode/raftnode.h"

#define NS_PER_MS  UINT64_C(1000000)
#define REASON_MAX 256

/* An event that waits for its turn; RESTORED owns the state it points to. */
struct queued_event {
	struct agent_event event;
	struct cluster *restored; /* malloc'ed, or NULL */
	uint64_t index;           /* of an applied entry */
};

/* A message given to ops->send; libraft hears of its fate after it has returned to us. */
struct sent_message {
	struct raft_io_send *request;
	raft_io_send_cb done;
	int status;
};

struct raftnode {
	struct raftnode_config config;
	const struct raftnode_ops *ops;
	void *arg;

	struct raft raft;
	struct raft_fsm fsm;
	struct raft_io *io;
	/* The caller's own functions, behind our hooks. */
	struct raft_io inner;
	raft_io_tick_cb tick;
	raft_io_recv_cb receive;
	bool started;
	bool failed;
	bool failure_told;
	char failure[REASON_MAX];
	bool closing;
	void (*closed)(void *arg);
	void *closed_arg;

	/* Nesting of calls that may run libraft; events are stepped when it falls to 0. */
	unsigned depth;
	struct queued_event *events; /* ring of event_size slots */
	unsigned event_size;
	unsigned event_first;
	unsigned event_count;
	unsigned replay_count; /* EV_APPLIED and EV_RESTORED among them */
	struct sent_message *sent;
	unsigned sent_size;
	unsigned sent_count;

	struct agent agent;
	struct effects effects;
	struct raft_view shown; /* what the agent was told last */

	/* Leadership. */
	raft_term led_term; /* 0: not leading */
	bool ready;
	struct lease lease;
	/* A transfer was begun: no lease until a later entry of this term is committed. */
	bool lease_given_up;
	struct raft_barrier barrier;
	bool barrier_pending;
	bool barrier_wanted; /* ask again at the next tick: the last attempt was refused */
	struct raft_apply proposal;
	bool proposal_pending;
	struct raft_transfer transfer;
	bool transfer_pending;
	struct raft_change change;
	bool change_pending;

	/* Raft's servers as last committed, and as in the snapshot that was loaded. */
	struct raft_configuration committed;
	raft_index committed_index;
	struct raft_configuration base;
	raft_index base_index;

	/*
	 * What the leader of `matched_term` has proven to be the same in its log and in this one,
	 * and where the message that is being received would bring it.
	 */
	raft_term matched_term;
	raft_index matched_index;
	raft_index answering_index;
	raft_term answering_term;

	/*
	 * raft_uv is never asked to cut the log while it writes a snapshot, nor the other way
	 * round; see raftnode_log.c.
	 */
	uint64_t append_count;      /* writes of entries so far */
	uint64_t cut_until;         /* the log is being cut until that write ends; 0: it is not */
	bool putting;               /* a snapshot is being written, or waits for it */
	struct framed_put *waiting; /* for the cut to end; NULL: none */

	/* By member: what it has acknowledged, and told to be committed, under acked_term. */
	raft_term acked_term;
	raft_index acked[NODES_MAX + 1];
	raft_index told[NODES_MAX + 1];
	/* This follower has applied what its leader had committed (see raft_view.current). */
	bool caught_up;
	raft_index announced; /* everybody was told of this commit index */

	/* Promises of this voter, by its own clock. */
	uint64_t started_until_ns; /* T after the start */
	uint64_t heard_until_ns;   /* T after the last Heard */
	uint64_t lease_shown_ns;   /* end of the latest lease that this node was told it has */
};

/* Every call that may run libraft stands between these two. */
void raftnode_enter(struct raftnode *node);
void raftnode_leave(struct raftnode *node);

/* Append to the ring. Fails the node when memory is out. `restored` is taken over. */
void raftnode_queue(struct raftnode *node, const struct agent_event *event,
		    struct cluster *restored, uint64_t index);
/* The node takes part no more; the shell is told once libraft has returned. */
void raftnode_fail(struct raftnode *node, const char *format, ...) PRINTF_LIKE(2, 3);

/* Put the hooks into node->io. */
void raftnode_hook(struct raftnode *node);
/* Tell libraft what became of the messages that it gave to send. */
void raftnode_report_sent(struct raftnode *node);
/* How long a follower waits for its leader, in ms of raft time. */
unsigned raftnode_follower_timeout_ms(struct raftnode *node);
/* May this voter help to elect another now? */
bool raftnode_may_vote(const struct raftnode *node, uint64_t now_ns);
/* It held the lease when its process died, and that lease is not over. */
bool raftnode_resuming(const struct raftnode *node, uint64_t now_ns);

void raftnode_fsm_init(struct raftnode *node);

/* raftnode_log.c: where libraft 0.15 says or does more than the log bears out. */
/* Term of the entry, or 0 when this log does not hold it (any more). */
raft_term raftnode_log_term(const struct raft_log *log, raft_index index);
void raftnode_mend_append(struct raftnode *node, struct raft_append_entries *append);
/* A snapshot that waited need not do so any more. */
void raftnode_put_waiting(struct raftnode *node);
/* The node is closed: what waits is not going to be done. */
void raftnode_cancel_waiting(struct raftnode *node);
void raftnode_answering(struct raftnode *node, const struct raft_message *message);
void raftnode_answered(struct raftnode *node, raft_term term);
raft_index raftnode_proven_index(const struct raftnode *node);

/* raftnode_announce.c: commits are told to the followers at once. */
void raftnode_acknowledged(struct raftnode *node, node_id from,
			   const struct raft_append_entries_result *result);
void raftnode_announce(struct raftnode *node);

/* raftnode_member.c: Raft's list of servers. */
node_set raftnode_voters(const struct raftnode *node);
node_set raftnode_servers(const struct raftnode *node);
bool raftnode_changing(const struct raftnode *node);
uint64_t raftnode_lease_until(const struct raftnode *node, uint64_t now, uint64_t length);
/* After everything that libraft does. */
void raftnode_track_servers(struct raftnode *node);
/* Once, when the log was loaded. */
void raftnode_loaded_servers(struct raftnode *node);
/* Before libraft sees the message. */
void raftnode_mend_rollback(struct raftnode *node, const struct raft_append_entries *append);
/* The next step towards `role`, if one can be begun now. */
void raftnode_change_server(struct raftnode *node, node_id id, uint8_t role);
int raftnode_hook_load(struct raft_io *io, raft_term *term, raft_id *vote,
		       struct raft_snapshot **snapshot, raft_index *start,
		       struct raft_entry *entries[], size_t *count);

/* The bytes are a list of servers as libraft writes it. */
bool raftnode_configuration_sane(const uint8_t *bytes, size_t size);
/* Everything libraft takes for granted about a message; see raftnode_check.c. */
MUST_CHECK int raftnode_check_message(const struct raft *raft, node_id from,
				      const struct raft_message *message, struct err *why);

#endif
