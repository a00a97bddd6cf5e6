/*
 * The consensus worker: a shell around common/raftnode. It waits, translates and passes on; every
 * decision is made by the agent of common/core inside the raftnode.
 *
 *   consensus.c  start, timers, orderly stop
 *   disk.c       where Raft's log lives, and noticing that it fails
 *   failure.c    life without a log: fenced, and no voter
 *   peers.c      other agents
 *   executors.c  dbctl, dbmon and vip
 *   calls.c      what operators ask, and what became of it
 *   events.c     numbered events for the gateway
 *   report.c     the status section
 */
#ifndef MHA_CONSENSUS_CONSENSUS_H
#define MHA_CONSENSUS_CONSENSUS_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "disk.h"
#include "events.h"
#include "raftnode/raftnode.h"
#include "status/status.h"
#include "wire/convert.h"
#include "wire/peer.h"
#include "worker/worker.h"

#define NS_PER_MS UINT64_C(1000000)

/* Where the worker's life stands. */
enum consensus_state {
	CONSENSUS_STARTING = 0,
	CONSENSUS_RUNNING,
	CONSENSUS_FAILED, /* no log: no voter, fenced; stays until it is restarted */
	CONSENSUS_STOPPING,
};

#define CALLS_MAX 16 /* calls of this node's operators whose end is awaited */

struct pending_call {
	struct call call; /* kind CALL_NONE: a free row */
	uint64_t until_ns;
	bool given; /* to the leader's agent: it may be carried out */
};

/* What is known of an executor's process. */
struct executor_state {
	uint64_t incarnation; /* 0: never heard */
	/* The last failure that was logged, so that repeats are logged once a minute. */
	char logged[128];
	uint64_t logged_ns;
};

struct consensus {
	struct worker *worker;
	uint64_t stop_ns; /* when it was asked to stop */

	struct disk disk;
	struct raftnode *node; /* NULL before and after its life */
	struct raftnode_ops ops;
	struct raftnode_config config;
	char address[NODES_MAX + 1][80];

	struct peer_net *peers;
	struct raft_envelope *envelope; /* storage for messages on their way out */

	struct executor_state executors[EXECUTOR_COUNT];
	uint64_t fence_epoch; /* the highest that vip reported */
	uint64_t fence_order; /* numbers orders given without the agent */

	struct events events;
	struct pending_call calls[CALLS_MAX];
	/* How far the other members' wall clocks were ahead when they were last heard. */
	struct peer_clock {
		bool known;
		int64_t ms;
	} clocks[NODES_MAX + 1];

	struct status_consensus section; /* as last published */
	uint64_t elections;
	struct status_times commits;

	uv_timer_t timer; /* ticks; in failed state: repeats the fence order */
	uint64_t timer_every_ms;
	uv_prepare_t prepare;
	uint64_t failure_ns; /* when the fence was last ordered to close */
	uint64_t failed_ns;  /* when the log was lost */
	bool log_full;       /* for want of space */

	enum consensus_state state;
	uint8_t fence; /* as vip reported last, enum fence_state */
	bool handover; /* stopping: the agent hands over first */
	bool resigned;
	bool node_started;
	bool node_closing;
	bool node_closed;
	bool prepare_ready;
	bool section_changed;
	bool was_leader;
};

extern const struct worker_ops consensus_ops;

/* The node's own clock in ns (CLOCK_BOOTTIME), and the wall clock in ms. */
uint64_t consensus_now_ns(void);
uint64_t consensus_wall_ms(void);
/* Running, and not yet failed or stopping without a handover. */
bool consensus_takes_part(const struct consensus *self);
/* The operation that is under way; 0: none. */
uint64_t consensus_operation(const struct consensus *self);

/* failure.c: Raft's log is lost to this node. Safe to call from anywhere, more than once. */
void failure_enter(struct consensus *self, const char *reason);
/* Called now and then in that state. */
void failure_tick(struct consensus *self);

/* peers.c */
MUST_CHECK int peers_open(struct consensus *self, struct err *why);
/*
 * Members and keys of the configuration that was reloaded. ERR_IO: not all other agents are heard
 * and spoken to any more; on other errors nothing has changed.
 */
MUST_CHECK int peers_reload(struct consensus *self, struct err *why);
int peers_send_raft(struct consensus *self, const struct raft_message *message, uint64_t sent_ns);
void peers_send_heard(struct consensus *self, node_id to, uint64_t term, uint64_t sent_ns);
void peers_send_survey(struct consensus *self, node_id to, const struct survey_request *survey);
void peers_send_answer(struct consensus *self, node_id to, const struct survey_reply *answer);
void peers_send_facts(struct consensus *self, const struct facts *own);
/* 0, or negative: it was not sent. */
int peers_send_call(struct consensus *self, node_id to, const struct call *call);
void peers_send_call_result(struct consensus *self, node_id to, const struct call_result *result);

/* executors.c */
void executors_message(struct worker *worker, enum route_id route, const ProtobufCMessage *message);
void executors_order(struct consensus *self, const struct order *order);
void executors_grant(struct consensus *self, uint64_t epoch, uint64_t until_ns);

/* calls.c */
/* From the gateway. */
void calls_take(struct consensus *self, const Mha__Bus__Call *message);
/* From another member's agent: for this node's agent, as the leader's. */
void calls_take_forwarded(struct consensus *self, node_id from, const Mha__Bus__Call *message);
/* The end of a call that was given to `from`. */
void calls_take_result(struct consensus *self, node_id from, const Mha__Bus__CallResult *message);
/* FX_CALL_RESULT of this node's agent. */
void calls_effect(struct consensus *self, node_id to, const struct call_result *result);
/* Give what waits for a leader, end what has waited too long. */
void calls_tick(struct consensus *self);

/* report.c */
/* What an earlier process of this worker left: lease and applied index, if it is of this boot. */
void report_recover(struct consensus *self);
/* Publish what changed, and at least every H/2. */
void report_publish(struct consensus *self);

#endif
