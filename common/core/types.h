/*
 * The words of the core: nodes, positions in the WAL, the record of synchronous standbys.
 * Plain values without pointers, copied with `=`.
 */
#ifndef MHA_CORE_TYPES_H
#define MHA_CORE_TYPES_H

#include <stdbool.h>
#include <stdint.h>

#include "core/limits.h"

typedef uint8_t node_id;   /* 1..NODES_MAX; 0 = none */
typedef uint32_t node_set; /* bit `id` set = the node is in; bit 0 is never set */
typedef uint64_t wal_lsn;  /* byte position in the WAL; 0 = unknown */

#define NODE_NONE ((node_id)0)

static inline node_set node_bit(node_id node)
{
	return (node_set)1 << node;
}

static inline bool node_in(node_set set, node_id node)
{
	return (set >> node & 1) != 0;
}

static inline unsigned node_count(node_set set)
{
	unsigned count = 0;

	for (; set != 0; set &= set - 1)
		count++;
	return count;
}

enum node_kind { NODE_DATA = 1, NODE_WITNESS = 2 };

struct node {
	node_id id;
	uint8_t kind; /* enum node_kind */
	/* Higher wins among candidates that are equal on data; 0 = never primary. */
	uint16_t priority;
	char name[NODE_NAME_SIZE];
	/* Digest of its name and public key, so that an id means one node for ever; 0: not known */
	uint64_t identity;
};

/*
 * `need` of `members` have flushed. As a record: every commit acknowledged so far is on the
 * primary and on at least `need` of `members`. As a rule: PostgreSQL acknowledges a commit
 * only once `need` of `members` have flushed it. need = 0: nothing is promised.
 */
struct sync_rule {
	node_set members;
	uint8_t need;
};

/* A node's own timeline history: it was on `timeline` up to `end`. */
struct wal_branch {
	uint32_t timeline;
	wal_lsn end;
};

/*
 * Where a node's WAL stands: the branches it went through, oldest first, then the
 * timeline it is on now and how far its WAL is flushed (greatest of received and replayed).
 */
struct wal_position {
	uint32_t timeline; /* 0 = not known */
	wal_lsn flushed;
	wal_lsn replayed;
	uint8_t branch_count;
	struct wal_branch branches[WAL_HISTORY_MAX];
};

enum db_state {
	DB_UNKNOWN = 0, /* not looked at yet */
	DB_ABSENT,      /* no data directory */
	DB_DOWN,        /* a data directory, no server process */
	DB_STARTING,    /* a process that does not accept queries yet */
	DB_STANDBY,     /* in recovery and answering */
	DB_PRIMARY,     /* not in recovery and answering */
	DB_HUNG,        /* a process that does not answer, or whose disk does not */
	DB_BROKEN,      /* it cannot be started or used; a person or a rebuild is needed */
	DB_STATE_COUNT
};

/*
 * What is wrong with a database, by its own name. db_state says what the agent acts upon; the
 * fault says why it is so (DB_DOWN, DB_HUNG, DB_BROKEN), or what is wrong although the database
 * answers (DB_PRIMARY, DB_STANDBY): then it is named and alarmed, and nobody is failed over for
 * it. docs/faults.md has how each is detected, and what is done.
 */
enum db_fault {
	FAULT_NONE = 0,
	FAULT_POSTMASTER_GONE,      /* it ended, and nobody had ordered that */
	FAULT_POSTMASTER_STOPPED,   /* by a signal: takes no connection, reaps nobody */
	FAULT_FROZEN,               /* every process of the server is stopped */
	FAULT_NO_NEW_CONNECTIONS,   /* those that are open are answered */
	FAULT_NO_ANSWER,            /* neither old nor new connections are answered */
	FAULT_CONNECTIONS_FULL,     /* max_connections are in use; it answers all the same */
	FAULT_MONITOR_REFUSED,      /* the server refuses the monitor's role */
	FAULT_CHECKPOINTER_STOPPED, /* WAL grows, a shutdown hangs */
	FAULT_WALWRITER_STOPPED,    /* asynchronous commits stay unflushed */
	FAULT_STARTUP_STOPPED,      /* standby: nothing is replayed, nothing can be promoted */
	FAULT_RECEIVER_STOPPED,     /* standby: nothing is received nor confirmed */
	FAULT_SENDER_STOPPED,       /* primary: a standby is sent nothing */
	FAULT_PROCESS_STOPPED,      /* another process of the server is stopped */
	FAULT_DISK_STALLED,         /* a flush does not end */
	FAULT_DISK_ERROR,           /* a write or a flush fails */
	FAULT_DISK_FULL,            /* no space is left for the database */
	FAULT_CRASH_LOOP,           /* it ends again and again after it was started */
	FAULT_WAL_MISSING,          /* standby: the upstream has not the WAL that it needs */
	FAULT_PROMOTED_BY_HAND,     /* it left recovery without an order */
	FAULT_DATA_DAMAGED,         /* a page is not what was written: see facts.damaged */
	FAULT_COUNT
};

/* What dbctl is doing to the data directory. */
enum db_job { JOB_NONE = 0, JOB_INITDB, JOB_REWIND, JOB_CLONE, JOB_COUNT };

/* The background check of the data, pages against their checksums. */
enum check_state {
	CHECK_OFF = 0,     /* check.interval is 0 */
	CHECK_UNAVAILABLE, /* the data have no checksums, or the program cannot be run */
	CHECK_WAITING,     /* for the time of the next pass, or for a server that is usable */
	CHECK_RUNNING,
	CHECK_STATE_COUNT
};

/* One standby as the primary's pg_stat_replication shows it. */
struct standby_view {
	node_id node;
	bool streaming;
	wal_lsn flushed;
	wal_lsn replayed;
};

/*
 * What a node says of itself: measured by its dbmon, completed by its agent, sent to all.
 * A fact is old from the moment it is sent; nothing is decided on a fact without its age.
 */
struct facts {
	node_id node;
	uint64_t seq;       /* rises with every report of this node's agent */
	uint8_t db;         /* enum db_state */
	uint8_t job;        /* enum db_job */
	uint8_t fault;      /* enum db_fault */
	uint64_t job_done;  /* bytes */
	uint64_t job_total; /* bytes; 0 = not known */
	uint64_t system_id; /* 0 = not known */
	struct wal_position position;
	/* The WAL receiver runs, and from whom it streams (NODE_NONE: not a member). */
	bool receiving;
	node_id upstream;
	/* Nothing of its WAL from here on was removed; 0 = not known. */
	wal_lsn wal_oldest;
	/* From the database's own configuration: it takes no WAL of epochs before this one. */
	uint64_t promise;
	/* The epoch for which its configuration was last written. */
	uint64_t config_epoch;
	/* Primary: the rule that new commits wait for, read back, and the flush LSN read after it.
	 */
	struct sync_rule rule;
	wal_lsn rule_since;
	uint8_t standby_count;
	struct standby_view standbys[NODES_MAX];
	/* The fence is lifted for clients under this epoch (0: it is not). */
	uint64_t serving_epoch;
	/* The agent cannot use this node as a primary, though its database answers. */
	bool excluded;
	/*
	 * Its data pages are known to be damaged; its WAL is what it was. It is no candidate,
	 * unless it is the primary on record, and commits rather wait for others. Also while
	 * another fault is told.
	 */
	bool damaged;
	/* Its WAL has left the recorded lineage, or is too old to be followed from. */
	bool needs_rebuild;
	/* What its agent does as the leader, for people: enum leader_phase of core/agent.h. */
	uint8_t phase;
	/* Digest of the nodes that its agent's configuration names: equal files, equal numbers. */
	uint64_t roster;
	/* The operation for which its agent last stopped the database, to start it again; 0: none.
	 */
	uint64_t restarted;
	/*
	 * When this was sent: how far this node has heard the primary of that epoch to be (0: not
	 * at all), and how long ago in ms, or since when it has listened in vain.
	 */
	uint64_t primary_epoch;
	wal_lsn primary_seen;
	uint32_t primary_age_ms;
	/* How much of the replicated state its agent knows: cluster.version. */
	uint64_t applied;
};

#endif
