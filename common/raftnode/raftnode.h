/*
 * One member: libraft, the lease, the agent of common/core, wired together. It knows neither
 * sockets nor processes: the daemon (procs/consensus) and the simulator (tests/sim) give it a
 * struct raft_io for the disk and timers, and perform its effects.
 *
 * The caller fills `io` (raft_uv_init() in the daemon, the simulator's own disk otherwise) before
 * raftnode_new(). raftnode takes over io->send and io->random, hooks io->start to learn the
 * receive callback and to tick more often, and frames io->append, io->snapshot_put and
 * io->snapshot_get, so that the agent is stepped as soon as libraft has returned; everything else
 * stays the caller's. A failed write ends the membership of this process (ops->failed).
 */
#ifndef MHA_RAFTNODE_RAFTNODE_H
#define MHA_RAFTNODE_RAFTNODE_H

#include <raft.h>

#include "base/err.h"
#include "core/agent.h"
#include "core/lease.h"

struct raftnode;

struct raftnode_ops {
	/* CLOCK_BOOTTIME of this host in ns; never goes back. */
	uint64_t (*now_ns)(void *arg);
	/* Wall clock in ms, for decision records. */
	uint64_t (*wall_ms)(void *arg);
	/* A uniformly random number in [min, max). */
	int (*random)(void *arg, int min, int max);
	/*
	 * Put a Raft message on the wire to message->server_id. It is valid only during the call.
	 * `sent_ns` goes with AppendEntries and InstallSnapshot. Best effort: a message that cannot
	 * be sent now is dropped. Returns 0, or RAFT_NOCONNECTION if it was dropped.
	 */
	int (*send)(void *arg, const struct raft_message *message, uint64_t sent_ns);
	/* Tell leader `to` that its message sent at `sent_ns` in `term` was accepted. */
	void (*send_heard)(void *arg, node_id to, uint64_t term, uint64_t sent_ns);
	/* FX_SURVEY, FX_ANSWER, FX_FACTS, FX_ORDER, FX_GRANT, FX_NOTE: perform. Never re-enters. */
	void (*effect)(void *arg, const struct effect *effect);
	/* An entry was applied; for events and history. */
	void (*applied)(void *arg, uint64_t index, const struct entry *entry);
	/* Raft cannot go on (disk); the node is no voter any more until it is restarted. */
	void (*failed)(void *arg, const char *reason);
};

struct raftnode_config {
	struct agent_config agent;
	const char *address[NODES_MAX + 1]; /* by node id; opaque to raft, borrowed for ever */
	uint64_t lease_ns;                  /* L: a little shorter than T */
	unsigned snapshot_threshold;
	unsigned snapshot_trailing;
	/*
	 * This node held a lease under `resume_term` until `resume_until_ns` when its process died
	 * (from the status segment); 0: it did not. It may ask for the leadership again at once.
	 */
	uint64_t resume_term;
	uint64_t resume_until_ns;
};

/*
 * Heap object. `io` and `ops` are borrowed until raftnode_free(). Whether it was started or not, a
 * node that was made is ended by raftnode_close() and raftnode_free().
 */
MUST_CHECK int raftnode_new(struct raftnode **node, const struct raftnode_config *config,
			    struct raft_io *io, const struct raftnode_ops *ops, void *arg,
			    struct err *why);

/*
 * Load the log and take part. An empty one is begun with the first members (those not in
 * config.agent.later); a node that is none of them waits to be added.
 */
MUST_CHECK int raftnode_start(struct raftnode *node, struct err *why);

/* Stop; `closed` is called once nothing of it is under way. Then raftnode_free(). */
void raftnode_close(struct raftnode *node, void (*closed)(void *arg), void *arg);
void raftnode_free(struct raftnode *node);

/*
 * A Raft message from enrolled member `from` arrived. Takes over what libraft frees (entries, their
 * batch, snapshot data: raft_malloc'ed, see raft.h). `sent_ns` as it came with the message, else 0.
 * A message that makes no sense (ids, sizes) is refused with ERR_INVALID and freed.
 */
MUST_CHECK int raftnode_receive(struct raftnode *node, node_id from, struct raft_message *message,
				uint64_t sent_ns, struct err *why);
/* A voter's echo arrived. */
void raftnode_heard(struct raftnode *node, node_id from, uint64_t term, uint64_t sent_ns);
/*
 * The nodes that may be members have changed: node_total, nodes, later and roster of the agent's
 * part, and the addresses (borrowed for ever) count from now on, the rest of `config` not. Rows of
 * this node and of present members stay as they are.
 */
void raftnode_configure(struct raftnode *node, const struct raftnode_config *config);
/* `id` was a member, as far as this node knows, and is not any more. */
bool raftnode_has_left(const struct raftnode *node, node_id id);
/* Anything else that happened; now, wall and raft view are filled in here. */
void raftnode_event(struct raftnode *node, struct agent_event *event);
/* To be called about every H/2: runs the agent's tick, renews what the lease allows. */
void raftnode_tick(struct raftnode *node);

/* A view for status and checkers; valid until the next call. */
const struct agent *raftnode_agent(const struct raftnode *node);
struct raft *raftnode_raft(struct raftnode *node);
struct raft_view raftnode_view(const struct raftnode *node);
/* Hand the leadership to any other voter that is up to date (orderly stop). 0 or ERR_REFUSED. */
MUST_CHECK int raftnode_resign(struct raftnode *node, struct err *why);

/* The free functions of a struct raft_message that never reached raftnode_receive(). */
void raftnode_message_free(struct raft_message *message);

#endif
