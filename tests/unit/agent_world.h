/*
 * A few agents in one process, with the least that they need around them: a log that a majority
 * can append to, executors that do an order one tick after it was given, databases that are only
 * a position, and a fence. No delays, no lost messages: tests/sim does that. What a script wants
 * to go wrong, it says.
 */
#ifndef MHA_TESTS_AGENT_WORLD_H
#define MHA_TESTS_AGENT_WORLD_H

#include "core/agent.h"

#define MS        UINT64_C(1000000)
#define TICK_NS   (10 * MS)
#define ELECTION  (1000 * MS)
#define HEARTBEAT (100 * MS)
#define LEASE     (900 * MS)
#define MAIL_MAX  256
#define LOG_MAX   512
#define RULES_MAX 96
#define SEEN_MAX  128

struct db {
	uint8_t state; /* enum db_state */
	struct wal_position position;
	bool receiving;
	uint64_t promise;
	uint64_t config_epoch;
	node_id upstream;
	struct sync_rule rule;
	uint32_t reserved;
	wal_lsn rule_since;
	bool excluded;
	bool damaged;
	bool overruled;      /* what is configured does not become the rule */
	bool deaf;           /* its receiver gets nothing, though it is connected */
	uint8_t fault;       /* enum db_fault */
	wal_lsn oldest;      /* its WAL before that was removed */
	uint32_t promote_to; /* the next promotion takes this number, whatever is reserved */
};

struct host {
	bool up;   /* its agent runs */
	bool cut;  /* no network */
	bool deaf; /* its agent has no network, its database has */
	bool late; /* it applies no entries of the log */
	struct agent agent;
	struct raft_view raft;
	unsigned applied; /* entries of the log */
	struct db db;
	uint8_t fence; /* enum fence_state */
	uint64_t fence_epoch;
	uint64_t fence_until_ns;
	struct order orders[EXECUTOR_COUNT]; /* id 0: none */
	uint8_t stuck;                       /* bit e: executor e does nothing */
	uint64_t failing;                    /* bit k: orders of kind k fail */
	bool lacking;                        /* and are not even tried: it lacks what they need */
	unsigned done[ORDER_KIND_COUNT];
	bool refuses_leadership;
	uint64_t led_since_ns;
};

struct mail {
	uint8_t kind; /* enum effect_kind: SURVEY, ANSWER, FACTS */
	node_id from, to;
	struct survey_request survey;
	struct survey_reply answer;
};

struct world {
	uint64_t now_ns;
	unsigned count; /* nodes 1..count */
	struct host hosts[NODES_MAX + 1];
	struct entry log[LOG_MAX];
	unsigned log_length;
	uint64_t term;
	node_id leader;           /* whom a majority has elected */
	uint64_t leader_heard_ns; /* when a majority last heard it */
	node_id next_leader;      /* who wins the next election; NODE_NONE: anybody */
	bool clients;             /* they write wherever a fence is open */
	bool hold_proposals;      /* proposals are neither committed nor lost */
	wal_lsn acknowledged;     /* the newest commit a client was told of */
	unsigned transfers;
	struct mail mail[MAIL_MAX];
	unsigned mail_count;
	bool mute_answers;
	struct settings settings;  /* of the agents that start */
	struct call_result result; /* of the last call that ended */
	unsigned results;
	bool taken[RULES_MAX];      /* rows of the leader's table, by index */
	const char *seen[SEEN_MAX]; /* rows in the order in which they were taken, newest last */
	unsigned seen_count;
};

/*
 * `data` data nodes and `witnesses` after them, in max_protection with k = data / 2. All databases
 * are absent.
 */
void world_init(struct world *world, unsigned data, unsigned witnesses);

/* One tick of everything. Checks the invariants. */
void world_tick(struct world *world);
/* Run until `done` holds; fails the test with `what` after `limit_ms`. */
void world_until(struct world *world, const char *what, unsigned limit_ms,
		 bool (*done)(const struct world *));
void world_run(struct world *world, unsigned ms);

/* An operator asks the leader; the result is in world->result, at once or later. */
void world_call(struct world *world, struct call call);

/* Give one event to one agent, now. */
void world_event(struct world *world, node_id node, struct agent_event event);

void world_stop_agent(struct world *world, node_id node);
void world_start_agent(struct world *world, node_id node);
/* The whole host dies: agent and database. */
void world_kill_host(struct world *world, node_id node);
void world_kill_db(struct world *world, node_id node);

/* The recorded state, as the leader or any connected node knows it. */
const struct cluster *world_cluster(const struct world *world);
/* The node where clients can write now; NODE_NONE when there is none. */
node_id world_writer(const struct world *world);
/* Row `name` of the leader's table was taken since `from`. */
bool world_saw(const struct world *world, unsigned from, const char *name);

#endif
