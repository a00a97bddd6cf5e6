/*
 * The whole decision of one member, as a pure function: events in, effects out. The daemon
 * (procs/consensus) and the simulator (tests/sim) run the same objects.
 *
 *   shell: something happened -> agent_step(agent, event, effects) -> shell performs effects
 *
 * No I/O, no clock, no heap. Times are the node's own CLOCK_BOOTTIME in ns and never go back.
 */
#ifndef MHA_CORE_AGENT_H
#define MHA_CORE_AGENT_H

#include "core/call.h"
#include "core/candidate.h"
#include "core/cluster.h"
#include "core/order.h"

/* What the node's own configuration says. */
struct agent_config {
	node_id self;
	uint64_t cluster_id;
	uint8_t node_total;
	struct node nodes[NODES_MAX]; /* that may be members, this one included */
	node_set later;               /* of them: not among the first members of a new log */
	uint64_t roster;              /* as in struct facts */
	uint64_t election_ns;         /* T */
	uint64_t heartbeat_ns;        /* H */
	struct settings settings;     /* of a new log; later those of the log count */
	/*
	 * Planted bugs, a set of enum agent_bug bits; honoured only by the objects compiled with
	 * MHA_PLANT_BUGS, which nothing but the simulator's own test links.
	 */
	uint32_t bugs;
};

/* What Raft says, given with every event. */
struct raft_view {
	bool leader; /* this member leads `term` */
	bool ready;  /* leader, and an entry of its own term is committed and applied */
	/*
	 * Since this process started, everything has been applied that was committed when a leader
	 * was first heard, or elected here: the replicated state is no memory of long ago.
	 */
	bool current;
	uint64_t term;
	node_id leader_id; /* NODE_NONE: not known */
	/* Raft's own list, with a change that is not committed yet: who votes, and all of it. */
	node_set voters;
	node_set servers;
	bool changing;           /* such a change is under way */
	bool outside;            /* the list, as far as it is known here, does not name this node */
	uint64_t lease_until_ns; /* 0: no lease. Only ever set on the leader */
};

/* FENCE_CLIENTS: shut for clients; the other members' replication passes until the lease ends. */
enum fence_state { FENCE_NONE = 0, FENCE_CLOSED, FENCE_OPEN, FENCE_CLIENTS, FENCE_STATE_COUNT };

enum agent_event_kind {
	EV_TICK = 1,       /* time passed; at least every H */
	EV_RAFT,           /* role, term, readiness or lease changed */
	EV_APPLIED,        /* a committed entry, in log order */
	EV_RESTORED,       /* the replicated state was replaced by a snapshot */
	EV_PROPOSAL_LOST,  /* the outstanding proposal will not be applied under this leadership */
	EV_TRANSFER_OVER,  /* the outstanding transfer ended, either way */
	EV_LOCAL_FACTS,    /* from this node's dbmon; node, seq, job, serving are filled in here */
	EV_PEER_FACTS,     /* from another agent */
	EV_SURVEY,         /* the leader asks for a promise and a position */
	EV_ANSWER,         /* a node's answer to this leader's survey */
	EV_ORDER_RESULT,   /* an executor is done with an order */
	EV_EXECUTOR_RESET, /* an executor was restarted: its outstanding order is lost */
	EV_FENCE,          /* vip reports its state */
	EV_JOB,            /* dbctl reports what it does to the data directory */
	EV_LEAVE,          /* the agent stops and hands over: the database is stopped, not killed */
	EV_CALL,           /* an operator asks for something; for the leader */
};

struct survey_request {
	node_id from;
	uint64_t term;
	uint64_t epoch; /* the promise asked for */
};

struct survey_reply {
	uint64_t term;  /* echoed */
	uint64_t epoch; /* echoed */
	struct facts facts;
};

struct agent_event {
	uint8_t kind; /* enum agent_event_kind */
	uint64_t now_ns;
	uint64_t wall_ms; /* for decision records only */
	struct raft_view raft;
	union {
		struct entry applied;
		const struct cluster *restored; /* borrowed for the call */
		struct facts facts;             /* EV_LOCAL_FACTS, EV_PEER_FACTS */
		struct survey_request survey;
		struct survey_reply answer;
		struct {
			uint64_t order_id;
			uint8_t outcome; /* enum order_outcome */
			bool has_facts;  /* POSITION and PROMOTE report what they saw */
			struct facts facts;
		} result;
		struct {
			uint8_t executor; /* enum executor */
		} reset;
		struct {
			uint8_t state; /* enum fence_state */
			uint64_t epoch;
			bool kernel; /* the kernel closes by itself when the lease ends */
		} fence;
		struct {
			uint8_t job; /* enum db_job */
			uint64_t done;
			uint64_t total;
			wal_lsn wal_oldest; /* as in struct facts */
			/* The data are whole only with WAL up to here; timeline 0: they are. */
			struct wal_branch whole_from;
		} job;
		struct call call;
	};
};

/* What Raft is to make of a node. */
enum server_role {
	SERVER_NONE = 0, /* no part of it */
	SERVER_LEARNER,  /* gets the log, has no vote */
	SERVER_VOTER,    /* once it has the whole log */
};

enum effect_kind {
	FX_PROPOSE = 1, /* append `entry`; at most one is outstanding */
	FX_TRANSFER,    /* give up the lease, then hand the leadership to `node` */
	FX_SURVEY,      /* send `survey` to `node` (never self) */
	FX_ANSWER,      /* send `answer` to `node` (never self) */
	FX_FACTS,       /* send this node's facts to all others */
	FX_ORDER,       /* give `order` to its executor */
	FX_GRANT,       /* to vip: `grant.epoch` may serve until `grant.until_ns`; no result */
	FX_NOTE,        /* for people: a rule of a table matched */
	FX_CALL_RESULT, /* the end of a call, for the member `node` */
	FX_SERVER, /* make `node` a `role` of Raft, if that can be done now; tried again else */
};

struct effect {
	uint8_t kind; /* enum effect_kind */
	node_id node;
	union {
		struct entry entry;
		struct survey_request survey;
		struct survey_reply answer;
		struct order order;
		struct {
			uint64_t epoch;
			uint64_t until_ns;
		} grant;
		struct {
			const char *rule; /* "LEADING/primary_lost", static */
			const char *why;  /* the table's last column, static */
		} note;
		struct call_result call_result;
		uint8_t role; /* enum server_role */
	};
};

struct effects {
	unsigned count;
	struct effect list[EFFECTS_MAX];
};

/* What the leader is doing; the rows of its table are in agent_leader.c. */
enum leader_phase {
	PHASE_FOLLOWING = 0, /* not the leader, or not ready yet */
	PHASE_BOOTSTRAP,     /* no epoch yet: a first primary is being made */
	PHASE_STEADY,        /* the recorded primary is this node and serves */
	PHASE_SURVEY,        /* collecting promises and positions */
	PHASE_ASSIGN,        /* Assign is proposed */
	PHASE_HANDOVER,      /* the leadership goes to the assigned node */
	PHASE_PROMOTE,       /* this node is assigned: fence closed, rule in place, promoting */
	PHASE_OPENING,       /* Opened is proposed, then the fence is lifted */
	PHASE_BLOCKED,       /* no safe candidate; waits for facts and says for whom */
	PHASE_SWITCH,        /* as STEADY, and a switchover is being prepared */
	PHASE_HALT,          /* clients are fenced, the database ships its WAL and stops */
	PHASE_PAUSED,        /* no primary serves, and nothing is done about it until resumed */
	PHASE_COUNT
};

/* An executor's outstanding order. */
struct pending_order {
	uint64_t id; /* 0: none */
	uint8_t kind;
	struct order order;
	uint64_t deadline_ns;
	uint64_t retry_ns; /* after a failure: not before this */
	unsigned failures; /* of this kind, in a row */
	unsigned tried;    /* of these, those in which the executor tried */
};

/* What dbctl last wrote into the database's configuration, as far as this agent knows. */
struct configured {
	bool known;
	uint64_t epoch;
	uint64_t promise;
	node_id upstream;
	struct sync_rule rule;
	bool rule_kept;    /* the file's own was kept: `rule` is a belief, dbmon reads it back */
	uint64_t done_ns;  /* when it was written */
	uint32_t reserved; /* timeline numbers up to this one are taken */
};

struct peer {
	bool known;
	uint64_t heard_ns; /* when its last facts arrived */
	struct facts facts;
};

struct agent {
	struct agent_config config;
	struct cluster cluster;
	struct raft_view raft;
	uint64_t now_ns;
	uint64_t wall_ms;

	/* This node. */
	struct facts self; /* as dbmon sees the database */
	struct facts own;  /* the same as others get it */
	/* What dbmon last said of the database that was not `hung`. */
	struct {
		uint8_t db; /* enum db_state */
		uint32_t timeline;
		struct sync_rule rule;
	} last_word;
	bool self_known;
	uint64_t self_ns; /* when dbmon last reported */
	uint8_t fence;    /* enum fence_state */
	bool fence_known;
	uint64_t fence_epoch;
	bool fence_kernel;
	bool leaving;
	uint64_t granted_epoch;
	uint64_t granted_ns;       /* when */
	uint64_t granted_until_ns; /* no client is let in after this, even if vip dies */
	uint64_t order_seq;
	struct pending_order pending[EXECUTOR_COUNT];
	struct configured configured;
	uint64_t facts_sent_ns;
	struct facts facts_sent;
	uint64_t lease_lost_ns; /* since when a primary here has had no lease; 0: it has one */
	uint64_t hung_ns;       /* since when the database here has not answered; 0: it does */
	uint64_t stalled_ns;    /* since when it should stream and does not; 0: it does */
	/* Since when a start is done that dbmon has not said a word about; 0: it has. */
	uint64_t presumed_ns;
	uint64_t starting_ns; /* since when it starts, though it could stream; 0: it does not */
	struct wal_branch whole_from; /* as dbctl told it last */
	/* Where this standby gets WAL that the primary has no more; agent_detour.c. */
	struct detour {
		uint64_t epoch;  /* it is about */
		node_id over;    /* stream from this standby for now; NODE_NONE: from the primary */
		node_set failed; /* could not send it */
		uint8_t count;   /* detours since this node last streamed from the primary */
	} detour;
	struct survey_request asked; /* survey being answered; epoch 0: none */
	bool asked_complete;         /* asked_facts are measured under the promise */
	bool asked_replied;          /* the present answer, complete or not, was sent */
	struct facts asked_facts;
	uint64_t promised;         /* highest epoch ever asked for, also if it is not on disk yet */
	bool rebuild_wanted;       /* the data cannot be followed with, whatever they look like */
	bool rebuild_clone;        /* a rewind does not help */
	bool recloned;             /* the clone that settings.reinit wants was made */
	uint64_t restarted;        /* as in struct facts */
	uint64_t diverged_ns;      /* since when its WAL leaves the lineage; 0: it does not */
	uint64_t checkpoint_epoch; /* the epoch whose promotion has been checkpointed */
	uint64_t excluded_until_ns; /* a promotion failed here */

	/* The leader's side. */
	uint8_t phase;   /* enum leader_phase */
	const char *why; /* why the phase was entered; static, never NULL */
	uint64_t phase_ns;
	uint64_t led_ns; /* when this leadership became ready */
	bool proposing;  /* a proposal is outstanding */
	uint8_t proposed_kind;
	uint64_t proposed_base;
	uint64_t proposed_ns;
	uint8_t cause; /* enum assign_cause of the survey under way */
	uint8_t fault; /* enum db_fault of the primary: the first since it began */
	uint64_t fault_ns;
	uint64_t survey_epoch;
	uint64_t survey_begin_ns;
	uint64_t fenced_ns; /* what came before the survey: clients were fenced off for so long */
	uint64_t survey_sent_ns;
	uint64_t survey_enough_ns;
	node_set answered; /* with or without a position */
	struct survey_reply answers[NODES_MAX + 1];
	struct survey_result verdict;
	uint8_t hold; /* enum hold_reason: why the verdict is not acted upon */
	uint64_t assigned_ns;
	uint64_t promoted_ns; /* since then the own database was seen as a primary; 0: not yet */
	struct call call;     /* the one that is being carried out; kind 0: none */
	struct call_result call_end; /* its result once it is on record */
	bool call_proposed;
	uint64_t call_ns;      /* when it came */
	node_id forced;        /* by an operator's failover */
	bool forced_loss;      /* he accepts a loss */
	uint8_t switch_reason; /* enum blocker_kind: the operation is to be ended for it */
	bool checkpointed;     /* ahead of the switchover */
	bool halting;          /* the database was told to stop for the switchover */
	bool halted;           /* and has */
	node_id better;        /* who should be primary by priority, and since when */
	uint64_t better_ns;
	uint64_t unlisted_ns; /* since when Raft has had a server that is not on the list */
	uint64_t server_ns;   /* when it was last asked to change its servers */
	/*
	 * When the primary was heard of last at a position that the node has: what it lacks was
	 * committed after that.
	 */
	uint64_t level_ns[NODES_MAX + 1];
	uint64_t seen_epoch; /* the furthest position of its primary that was heard of, and when */
	wal_lsn seen;
	uint64_t seen_ns;
	uint64_t listening_ns; /* since when that primary is listened to */
	/* The serving primary's leader: standbys that it may wait for. */
	struct standing {
		uint64_t good_ns; /* streams and confirms since then; 0: it does not */
		uint64_t bad_ns;  /* the contrary */
		wal_lsn flushed;  /* its last position, and when that moved or was the primary's */
		uint64_t moved_ns;
	} standings[NODES_MAX + 1];
	/* It counts for nothing before it knows this much: the end of its last rebuild. */
	uint64_t unmarked[NODES_MAX + 1]; /* cluster.version */
	bool transferring;
	uint64_t transfer_retry_ns;              /* the next attempt: a refusal may come at once */
	unsigned transfers;                      /* tried in this phase */
	uint64_t unable_until_ns[NODES_MAX + 1]; /* did not take the leadership; passed over */
	struct peer peers[NODES_MAX + 1];
	uint64_t started_ns;
};

void agent_init(struct agent *agent, const struct agent_config *config, uint64_t now_ns);

/* Same agent and event, same effects. Effects are to be performed in the order given. */
void agent_step(struct agent *agent, const struct agent_event *event, struct effects *effects);

/*
 * How long this follower should wait for the leader before it stands for election, in ns: about
 * T; the best data node a hair longer, because the last to time out wins (docs/protocol.md).
 */
uint64_t agent_election_delay_ns(const struct agent *agent);

/* One row of the leader's table, for documents and tests; `index` is below the count. */
struct leader_rule_info {
	uint8_t phase;    /* enum leader_phase */
	uint8_t next;     /* the same: a standing duty */
	const char *name; /* as in FX_NOTE */
	const char *why;  /* as in agent.why while the row is the last one that was taken */
};

unsigned leader_rule_count(void);
struct leader_rule_info leader_rule(unsigned index);

const char *leader_phase_name(unsigned phase);
const char *fence_state_name(unsigned state);

#ifdef MHA_PLANT_BUGS
enum agent_bug {
	BUG_NAMES_BEFORE_RECORD = 1 << 0,  /* a member joins the rule before the record */
	BUG_NO_FLUSH_BARRIER = 1 << 1,     /* the record follows the rule at once */
	BUG_EARLIER_FORGOTTEN = 1 << 2,    /* Assign drops the earlier record */
	BUG_CLONE_WHILE_IN_S = 1 << 3,     /* rebuilt from any standby, on no record */
	BUG_CHOICE_BY_TIMELINE = 1 << 4,   /* the longest WAL wins, whatever its timelines */
	BUG_SURVEY_WITH_RECEIVER = 1 << 5, /* positions reported while WAL still arrives */
	BUG_VOTE_AT_ONCE = 1 << 6,         /* a restarted voter grants at once */
	BUG_LEASE_TOO_LONG = 1 << 7,       /* the lease outlives the election timeout */
	BUG_DEGRADE_UNRECORDED = 1 << 8,   /* the database stops waiting before the log says so */
	BUG_PROMOTE_IN_PAUSE = 1 << 9,     /* a pause is no reason to wait */
	BUG_ELECT_ALONE = 1 << 10,         /* with S empty whoever answers is elected */
	BUG_CHOICE_DAMAGED = 1 << 11,      /* damaged pages are no reason to choose another */
	BUG_BARRED_UNHEARD = 1 << 12,      /* what only barred nodes have is not owed */
};
#endif

#endif
