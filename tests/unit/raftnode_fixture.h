/*
 * One member of three under test: real libraft and raftnode over a disk and a clock that the test
 * moves; the test plays the peers.
 */
#ifndef MHA_UNIT_RAFTNODE_FIXTURE_H
#define MHA_UNIT_RAFTNODE_FIXTURE_H

#include "raftnode/raftnode.h"

#define MS         UINT64_C(1000000)
#define ELECTION   (1000 * MS)
#define LEASE      (900 * MS)
#define SENT_MAX   512
#define WRITES_MAX 64

struct sent {
	unsigned short type;
	node_id to;
	uint64_t sent_ns;
	struct raft_message message; /* without what it points to */
};

struct bench {
	struct raft_io io;
	struct raftnode *node;
	struct raftnode_config config;
	raft_io_tick_cb tick;
	uint64_t now;
	/* Disk */
	uint64_t term, vote;
	struct raft_entry *log;
	unsigned log_count;
	struct {
		struct raft_io_append *request;
		raft_io_append_cb done;
	} writes[WRITES_MAX];
	unsigned write_count;
	struct {
		struct raft_io_snapshot_put *request;
		raft_io_snapshot_put_cb done;
	} put;
	/* What it said */
	struct sent sent[SENT_MAX];
	unsigned sent_count;
	unsigned heard_count;
	uint64_t heard_ns;
	node_id heard_to;
	char failure[256];
	unsigned applied_count;
};

/* Created as member 1, not started. */
void bench_open(struct bench *bench);
void bench_start(struct bench *bench);
void bench_close(struct bench *bench);
/* Let time pass; libraft's and the agent's timers run every 10 ms. */
void bench_pass(struct bench *bench, uint64_t ns);
/* Finish what is being written. */
void bench_flush(struct bench *bench);
/* It cannot be written. */
void bench_fail_writes(struct bench *bench);
/* The number of messages of `type` since the last call of bench_forget(). */
unsigned bench_sent(const struct bench *bench, unsigned short type);
const struct sent *bench_last(const struct bench *bench, unsigned short type);
void bench_forget(struct bench *bench);

int bench_receive(struct bench *bench, node_id from, struct raft_message message, struct err *why);
/* An AppendEntries of `leader` with `count` barriers of `entry_term` after (index, term). */
int bench_append(struct bench *bench, node_id leader, raft_term term, raft_index prev,
		 raft_term prev_term, unsigned count, raft_term entry_term, raft_index commit);
int bench_ask_vote(struct bench *bench, node_id from, raft_term term, raft_index last,
		   raft_term last_term, bool pre_vote, bool disrupt);
/* Stand for election and win it with the votes of member 2. Returns the term. */
raft_term bench_lead(struct bench *bench);
/* Members 2 and 3 say that they hold the log up to its end. */
void bench_follow(struct bench *bench);

#endif
