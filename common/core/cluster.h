/*
 * The replicated state and the entries that change it. Every member applies the same entries
 * in the same order and holds the same state; cluster_apply() is deterministic and total.
 *
 * An entry names the version of the state it was proposed on and is refused when another came
 * first, so a proposal made on an old view changes nothing.
 */
#ifndef MHA_CORE_CLUSTER_H
#define MHA_CORE_CLUSTER_H

#include "core/settings.h"
#include "core/types.h"

enum entry_kind {
	ENTRY_NONE = 0,
	ENTRY_INIT,      /* cluster id and members; first entry of a log */
	ENTRY_ASSIGN,    /* a new epoch: who is primary, from which WAL, under which record */
	ENTRY_OPENED,    /* the primary of the epoch has promoted: its timeline and fork LSN */
	ENTRY_SETTLE,    /* every commit of earlier epochs is held as the record says */
	ENTRY_RECORD,    /* a new record of synchronous standbys within the epoch */
	ENTRY_REBUILD,   /* the node is about to lose its data: it counts for nothing */
	ENTRY_REBUILT,   /* its data are good again */
	ENTRY_FRESH,     /* changes nothing: makes late messages meet a newer log */
	ENTRY_SETTINGS,  /* what operators decided */
	ENTRY_OPERATION, /* an operation is accepted, begins, or ends without a promotion */
	ENTRY_HELD,      /* a decision not to promote, and why */
	ENTRY_MEMBER,    /* a node begins or ends to join or to leave */
	ENTRY_KIND_COUNT
};

enum assign_cause {
	CAUSE_NONE = 0,
	CAUSE_BOOTSTRAP,     /* first primary of the cluster */
	CAUSE_NODE_LOST,     /* the primary's agent was not heard for the election timeout */
	CAUSE_DB_DOWN,       /* the primary's postmaster died */
	CAUSE_DB_HUNG,       /* the primary's database did not answer */
	CAUSE_COLD_START,    /* no database was a primary when a leader was elected */
	CAUSE_RESUMED,       /* the same primary goes on after a survey, without a promotion */
	CAUSE_LEADER_UNABLE, /* the recorded primary could not take or keep the leadership */
	CAUSE_HANDOVER,      /* the primary's agent was stopped and hands over */
	CAUSE_SWITCHOVER,    /* an operator's planned switch */
	CAUSE_AUTO_SWITCH,   /* a planned switch back to a node of higher priority */
	CAUSE_OPERATOR,      /* an operator's failover */
	CAUSE_STRAYED,       /* the primary was promoted again behind the agent's back */
	CAUSE_RESTART,       /* an operator's restart of the primary, which stays the primary */
	CAUSE_COUNT
};

/* Why nobody is promoted. */
enum hold_reason {
	HOLD_NONE = 0,
	HOLD_ANSWERS,       /* answers are missing that may hold acknowledged commits */
	HOLD_NO_CANDIDATE,  /* who has all the data may not be primary */
	HOLD_AUTO_FAILOVER, /* it is switched off */
	HOLD_PAUSED,
	HOLD_BUDGET,      /* too many changes of primary within an hour */
	HOLD_LAG,         /* max_performance: more than max_lag would be lost */
	HOLD_LAG_UNKNOWN, /* max_performance: the lost primary's position was never heard */
	HOLD_COUNT
};

/*
 * A node comes and goes in steps, one node at a time. One that joins is heard, gets the log and a
 * copy of the data; it has no vote, is in no record and is never chosen. It is a member once Raft
 * counts its vote. One that leaves is a member that is not counted on any more; once no record
 * names it, it is taken off the list, and then Raft takes its vote.
 */
enum member_step {
	MEMBER_JOIN = 1, /* the node is on the list, and is prepared */
	MEMBER_JOINED,   /* its vote counts: a member like the others */
	MEMBER_LEAVE,    /* not counted on any more; one that only joins is off the list at once */
	MEMBER_STAY,     /* it does not leave after all */
	MEMBER_LEFT,     /* off the list */
	MEMBER_STEP_COUNT
};

/* What one node answered to a survey, as kept in the decision record. */
struct survey_answer {
	node_id node;
	uint8_t db;    /* enum db_state */
	uint8_t fault; /* enum db_fault */
	bool excluded; /* it may not be primary, whatever it holds */
	bool diverged; /* it has WAL beyond `usable` */
	uint16_t priority;
	uint32_t timeline;
	wal_lsn flushed;
	wal_lsn usable; /* end of the common prefix with the lineage */
};

struct decision {
	uint64_t epoch;
	uint8_t cause;    /* enum assign_cause */
	uint8_t fault;    /* enum db_fault of the primary before, as it was seen */
	uint8_t hold;     /* enum hold_reason; HOLD_NONE: `to` was promoted */
	node_id from;     /* primary before; NODE_NONE at the bootstrap */
	node_id to;       /* held: who would be chosen, or NODE_NONE */
	node_set missing; /* held for answers: at least missing_count more of these must come */
	uint8_t missing_count;
	bool loss_accepted;      /* by an operator */
	uint64_t operation;      /* that it carries out; 0: none */
	wal_lsn seen;            /* the furthest position of the primary before that was heard of */
	uint64_t at_risk;        /* bytes between `usable` and `seen` that no record protects */
	uint32_t at_risk_ms;     /* commits of so long a time may be among them */
	wal_lsn usable;          /* where the chosen node's WAL ends */
	uint64_t at_ms;          /* wall clock of the proposer, for people only */
	struct sync_rule before; /* record that the survey had to satisfy */
	struct sync_rule after;  /* record of the new epoch */
	uint32_t detect_us;      /* phase times measured by the proposer: fault seen -> survey */
	uint32_t survey_us;      /* survey sent -> enough answers */
	uint32_t fence_us;       /* planned: clients fenced off -> survey; 0: part of detect_us */
	uint32_t promote_us;     /* Assign committed -> promoted; part of open_us */
	uint32_t open_us;        /* Assign committed -> Opened proposed; 0 until opened */
	uint8_t answer_count;
	struct survey_answer answers[NODES_MAX];
};

/* One epoch of the recorded lineage. */
struct lineage_row {
	uint64_t epoch;
	node_id node;
	uint32_t timeline; /* timeline of the epoch's primary */
	uint32_t parent;   /* timeline it forked from */
	wal_lsn fork;      /* where it forked */
};

/* A promise about commits of earlier epochs that the current record does not give yet. */
struct earlier_record {
	uint64_t epoch;
	struct sync_rule record;
	/* Its primary: with data untouched since, its answer satisfies the record alone. */
	node_id primary;
};

enum operation_kind {
	OPERATION_NONE = 0,
	OPERATION_SWITCHOVER,
	OPERATION_RESTART,         /* of the primary: a switchover to itself; `from` is `to` */
	OPERATION_RESTART_STANDBY, /* changes no primary; `from` is `to` */
	OPERATION_KIND_COUNT
};

enum operation_state {
	OPERATION_SCHEDULED = 1, /* its window has not begun */
	OPERATION_RUNNING,
	OPERATION_DONE,
	OPERATION_ROLLED_BACK, /* the primary before is primary again */
	OPERATION_FAILED,      /* another node than the target is primary */
	OPERATION_CANCELLED,
	OPERATION_EXPIRED, /* its window ended before it could begin */
	OPERATION_STATE_COUNT
};

/* A planned act, from the moment it is on record until its end. */
struct operation {
	uint64_t id;    /* cluster.version that accepted it */
	uint8_t kind;   /* enum operation_kind */
	uint8_t state;  /* enum operation_state */
	bool automatic; /* nobody asked for it: auto_primary_switch */
	uint8_t reason; /* enum blocker_kind: why it did not succeed */
	node_id from;
	node_id to;
	uint64_t epoch;    /* in which it began */
	uint64_t asked_ms; /* wall clock */
	uint64_t start_ms; /* not before; 0: at once */
	uint64_t end_ms;   /* not begun after; 0: no limit */
	uint64_t begun_ms;
	uint64_t ended_ms;
};

struct cluster {
	uint64_t version;    /* entries applied that changed the state */
	uint64_t cluster_id; /* 0 = not initialised */
	uint8_t node_total;
	struct node nodes[NODES_MAX];
	node_set joining; /* of them; of both together at most one node */
	node_set leaving;
	/* Whom each id was given to, also when that node has left; 0: nobody. */
	uint64_t bound[NODES_MAX + 1];

	uint64_t system_id; /* of the database; 0 until the first Opened */
	uint64_t epoch;     /* 0 = no primary was ever assigned */
	node_id primary;
	bool opened;       /* the epoch's primary has promoted and may serve */
	bool resume;       /* the epoch goes on with the same timeline, without a new promotion */
	uint32_t timeline; /* of the epoch once opened, else of the last opened one */
	/*
	 * Highest timeline number ever used or reserved. Each promotion reserves the next one, so a
	 * promotion that was never opened leaves its number to nobody else.
	 */
	uint32_t timeline_max;
	wal_lsn open_lsn; /* fork LSN of the epoch once opened */
	struct sync_rule record;
	bool settled;
	uint8_t earlier_count;
	struct earlier_record earlier[EARLIER_MAX];
	node_set rebuilding;
	/*
	 * Where and when (wall clock) the record last came to promise less than the mode wants:
	 * commits before that LSN are held as wanted. It stays after a restore; 0: not known.
	 */
	wal_lsn degraded_lsn;
	uint64_t degraded_ms;

	uint8_t lineage_count; /* oldest first; the oldest go when it is full */
	struct lineage_row lineage[LINEAGE_MAX];
	uint8_t decision_count; /* oldest first */
	struct decision decisions[DECISIONS_MAX];

	struct settings settings;
	uint8_t operation_count; /* oldest first; at most the newest is not over */
	struct operation operations[OPERATIONS_MAX];
};

struct entry {
	uint8_t kind;          /* enum entry_kind */
	uint64_t base_version; /* cluster.version it was proposed on */
	uint64_t epoch;        /* the epoch it belongs to; Assign: the new one */
	uint64_t at_ms;        /* wall clock of the proposer, for people only */
	union {
		struct {
			uint64_t cluster_id;
			uint8_t node_total;
			struct node nodes[NODES_MAX];
			struct settings settings;
		} init;
		struct {
			node_id node;
			bool resume;
			bool accept_loss; /* nothing is owed of earlier epochs any more */
			struct sync_rule record;
			struct decision decision;
		} assign;
		struct {
			uint32_t timeline;
			uint32_t parent;
			wal_lsn fork;
			uint64_t system_id;
			uint32_t promote_us;
			uint32_t open_us;
		} opened;
		struct {
			struct sync_rule record;
			wal_lsn lsn; /* the primary's flush position at the proposal */
		} record;
		struct {
			node_id node;
			/* REBUILD for a diverged tail: where it left the lineage, and its end. */
			uint32_t timeline;
			wal_lsn fork;
			wal_lsn end;
		} rebuild; /* REBUILD and REBUILT */
		struct settings settings;
		/* SCHEDULED and RUNNING of a new one: id 0; else the row with this id changes. */
		struct operation operation;
		struct decision held;
		struct {
			uint8_t step; /* enum member_step */
			bool rebind;  /* JOIN: though the id was another node's */
			node_id id;
			struct node node; /* JOIN */
		} member;
	};
};

enum apply_result {
	APPLIED = 0,
	APPLY_STALE,   /* proposed on another version of the state */
	APPLY_INVALID, /* makes no sense in this state; nothing changed */
};

/* Apply `entry`. Never fails in another way; an entry that is refused changes nothing. */
enum apply_result cluster_apply(struct cluster *cluster, const struct entry *entry);

/* NULL when `id` is not on the list. */
const struct node *cluster_node(const struct cluster *cluster, node_id id);

/* All members of `kind`: not those that only join. */
node_set cluster_nodes(const struct cluster *cluster, enum node_kind kind);

/* The operation that is scheduled or running; NULL: none. */
const struct operation *cluster_operation(const struct cluster *cluster);

/* The one that is running and decides who is primary next; NULL: none. */
const struct operation *cluster_switching(const struct cluster *cluster);

/* All of that kind, also those that only join: whoever is looked after. */
node_set cluster_present(const struct cluster *cluster, enum node_kind kind);

/* Data nodes that are to hold commits: neither joining nor leaving. */
node_set cluster_counted(const struct cluster *cluster);

/* k as the settings want it for this many data nodes. */
uint8_t cluster_sync_need(const struct cluster *cluster);

/* Each commit is held by fewer standbys than the operators want. */
bool cluster_degraded(const struct cluster *cluster);

/*
 * Where an entry that was just applied changed the record: no earlier than any commit that the
 * record before did not cover.
 */
wal_lsn cluster_record_lsn(const struct cluster *cluster, const struct entry *entry);

/* Internal consistency; false means a bug or a damaged snapshot. */
bool cluster_sane(const struct cluster *cluster);

/* Stable lower-case names for logs, JSON and metrics. Never NULL. */
const char *entry_kind_name(unsigned kind);
const char *assign_cause_name(unsigned cause);
const char *hold_reason_name(unsigned reason);
const char *operation_kind_name(unsigned kind);
const char *member_step_name(unsigned step);
const char *operation_state_name(unsigned state);
const char *db_state_name(unsigned db);
const char *db_job_name(unsigned job);
const char *db_fault_name(unsigned fault);
/* What an operator should do about it, as a sentence; "" for FAULT_NONE. */
const char *db_fault_advice(unsigned fault);

#endif
