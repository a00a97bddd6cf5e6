/*
 * The replicated state and the entries that change it. Every member applies the same entries
 * in the same order and holds the same state; cluster_apply() is deterministic and total.
 *
 * An entry names the version of the state it was proposed on and is refused when another came
 * first, so a proposal made on an old view changes nothing.
 */
#ifndef MHA_CORE_CLUSTER_H
#define MHA_CORE_CLUSTER_H

#include "core/types.h"

enum entry_kind {
	ENTRY_NONE = 0,
	ENTRY_INIT,    /* cluster id and members; first entry of a log */
	ENTRY_ASSIGN,  /* a new epoch: who is primary, from which WAL, under which record */
	ENTRY_OPENED,  /* the primary of the epoch has promoted: its timeline and fork LSN */
	ENTRY_SETTLE,  /* every commit of earlier epochs is held as the record says */
	ENTRY_RECORD,  /* a new record of synchronous standbys within the epoch */
	ENTRY_REBUILD, /* the node is about to lose its data: it counts for nothing */
	ENTRY_REBUILT, /* its data are good again */
	ENTRY_FRESH,   /* changes nothing: makes late messages meet a newer log */
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
	CAUSE_COUNT
};

/* What one node answered to a survey, as kept in the decision record. */
struct survey_answer {
	node_id node;
	uint8_t db; /* enum db_state */
	uint32_t timeline;
	wal_lsn flushed;
	wal_lsn usable; /* end of the common prefix with the lineage */
};

struct decision {
	uint64_t epoch;
	uint8_t cause; /* enum assign_cause */
	node_id from;  /* primary before; NODE_NONE at the bootstrap */
	node_id to;
	wal_lsn usable;          /* where the chosen node's WAL ends */
	uint64_t at_ms;          /* wall clock of the proposer, for people only */
	struct sync_rule before; /* record that the survey had to satisfy */
	struct sync_rule after;  /* record of the new epoch */
	uint32_t detect_us;      /* phase times measured by the proposer: fault seen -> survey */
	uint32_t survey_us;      /* survey sent -> enough answers */
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

struct cluster {
	uint64_t version;    /* entries applied that changed the state */
	uint64_t cluster_id; /* 0 = not initialised */
	uint8_t node_total;
	struct node nodes[NODES_MAX];

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

	uint8_t lineage_count; /* oldest first; the oldest go when it is full */
	struct lineage_row lineage[LINEAGE_MAX];
	uint8_t decision_count; /* oldest first */
	struct decision decisions[DECISIONS_MAX];
};

struct entry {
	uint8_t kind;          /* enum entry_kind */
	uint64_t base_version; /* cluster.version it was proposed on */
	uint64_t epoch;        /* the epoch it belongs to; Assign: the new one */
	union {
		struct {
			uint64_t cluster_id;
			uint8_t node_total;
			struct node nodes[NODES_MAX];
		} init;
		struct {
			node_id node;
			bool resume;
			struct sync_rule record;
			struct decision decision;
		} assign;
		struct {
			uint32_t timeline;
			uint32_t parent;
			wal_lsn fork;
			uint64_t system_id;
			uint32_t open_us;
		} opened;
		struct {
			struct sync_rule record;
		} record;
		struct {
			node_id node;
		} rebuild; /* REBUILD and REBUILT */
	};
};

enum apply_result {
	APPLIED = 0,
	APPLY_STALE,   /* proposed on another version of the state */
	APPLY_INVALID, /* makes no sense in this state; nothing changed */
};

/* Apply `entry`. Never fails in another way; an entry that is refused changes nothing. */
enum apply_result cluster_apply(struct cluster *cluster, const struct entry *entry);

/* NULL when `id` is not a member. */
const struct node *cluster_node(const struct cluster *cluster, node_id id);

/* All members of `kind`. */
node_set cluster_nodes(const struct cluster *cluster, enum node_kind kind);

/* Internal consistency; false means a bug or a damaged snapshot. */
bool cluster_sane(const struct cluster *cluster);

/* Stable lower-case names for logs, JSON and metrics. Never NULL. */
const char *entry_kind_name(unsigned kind);
const char *assign_cause_name(unsigned cause);
const char *db_state_name(unsigned db);
const char *db_job_name(unsigned job);

#endif
