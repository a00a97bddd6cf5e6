/*
 * The cluster as this node may show it to others: one plain struct computed from the status
 * sections and the time at which they were read. Pure: no I/O, no clock, no heap.
 *
 * Nothing here is a guess. A lease or a fence counts only while it has not expired; what another
 * node said counts only while it is fresh, and carries its age.
 */
#ifndef MHA_VIEW_VIEW_H
#define MHA_VIEW_VIEW_H

#include "view/source.h"

#define VIEW_FRESH_DEFAULT_NS UINT64_C(3000000000)
#define VIEW_SENTENCE         400 /* room for a sentence */

/* What the configuration adds to the sections; a reader without one passes NULL. */
struct view_setup {
	unsigned member_count;
	struct view_setup_member {
		node_id id;
		uint8_t kind; /* enum node_kind */
		uint16_t priority;
		uint16_t postgres_port;
		char name[NODE_NAME_SIZE];
		char address[64];
	} members[NODES_MAX];
	char vip[64];         /* address without prefix; empty: none */
	uint64_t fresh_ns;    /* how long facts of another node are believed */
	uint64_t db_fresh_ns; /* how long the local DB monitor's facts are believed */
};

struct view_member {
	node_id id;
	uint8_t kind; /* enum node_kind */
	uint16_t priority;
	uint16_t postgres_port; /* 0: not known */
	char name[NODE_NAME_SIZE];
	char address[64]; /* empty: not known */

	bool self;
	bool known;     /* facts were heard at least once */
	bool fresh;     /* and recently enough to be believed */
	int64_t age_ms; /* of the facts; -1: never heard */
	bool primary;   /* on record as the primary of the epoch */
	bool serving;   /* fresh, and open for clients under the epoch */
	bool streaming; /* a standby that receives WAL */
	bool in_record; /* one of S */
	bool rebuilding;
	uint8_t db;    /* enum db_state */
	uint8_t fault; /* enum db_fault */
	bool damaged;  /* its data pages are; also while another fault is told */
	bool maintenance;
	bool reinit; /* its data are to be replaced by a new clone */
	bool clock_known;
	int64_t clock_ms;       /* its wall clock, ahead of the one here */
	const char *membership; /* "member", "joining", "leaving" or "none"; static */
	bool listed;            /* the first or the third of these: it votes, and may hold data */
	uint8_t job;            /* enum db_job */
	uint64_t job_done;      /* bytes */
	uint64_t job_total;     /* bytes; 0: not known */
	node_id upstream;
	uint32_t timeline;
	wal_lsn flushed;
	wal_lsn replayed;
	int64_t lag_bytes;        /* behind the primary in flushed WAL; -1: not known */
	int64_t replay_lag_bytes; /* the same in replayed WAL */
	const char *state;        /* one or two words for people; static */
};

struct view {
	const struct sections *from;    /* borrowed */
	const struct view_setup *setup; /* borrowed; may be NULL */
	uint64_t now_ns;
	char cluster[NODE_NAME_SIZE];
	char node[NODE_NAME_SIZE];
	node_id self; /* NODE_NONE: not known yet */

	bool agent_known; /* the consensus section was read */
	int64_t age_ms;   /* of the consensus section; -1: none */
	uint64_t epoch;
	uint64_t term;
	node_id primary; /* on record */
	node_id raft_leader;
	int64_t lease_ms; /* what is left of this node's lease; -1: none */
	bool lease_held;
	bool fence_known;
	uint8_t fence;              /* enum fence_state, with an expired opening shown as closed */
	bool serves;                /* this node is the primary and serves clients */
	bool reads;                 /* this node is a streaming standby and serves reads */
	const char *no_primary_why; /* why not; static, NULL when `serves` */
	const char *no_replica_why; /* why not; static, NULL when `reads` */
	const char *phase;          /* static */
	const char *why;            /* borrowed from the sections */

	bool db_known;    /* the local database was looked at recently */
	bool is_data;     /* this node runs a database */
	const char *mode; /* as on the log; "" when not known */

	const struct settings *settings; /* borrowed; NULL: none are on the log yet */
	const char *ha; /* "automatic", "manual", "paused", "none" (one data node); "" not known */
	bool degraded;  /* commits are held by fewer standbys than the mode wants */
	uint64_t degraded_lsn;             /* since when; 0: not known */
	uint64_t degraded_ms;              /* the same by the wall clock */
	const struct operation *operation; /* scheduled or running; NULL: none */
	const char *operation_phase;       /* static; "" where another node knows it */
	uint8_t hold;                      /* enum hold_reason: nobody is promoted for it */
	char hold_text[VIEW_SENTENCE];     /* "" without a hold */
	char advice[VIEW_SENTENCE];        /* what an operator may do */

	unsigned member_count;
	struct view_member members[NODES_MAX];
	/* The one that is open for clients, as far as this node may say; NULL: nobody. */
	const struct view_member *server;
};

void view_build(const struct sections *sections, const struct view_setup *setup, struct view *view);

/* NULL when `id` is no member. */
const struct view_member *view_member(const struct view *view, node_id id);
/* This node's row, or NULL. */
const struct view_member *view_self(const struct view *view);
/* A member's name, or "-". */
const char *view_name(const struct view *view, node_id id);
/* k as the mode on the log wants it; 0: nothing is known of it. */
unsigned view_sync_need(const struct view *view);
/* "primary", "standby" or "witness": what the record says. */
const char *view_role(const struct view_member *member);
/* "sync" (each of S must flush), "quorum" (k of S must) or "" (it does not count). */
const char *view_sync(const struct view *view, const struct view_member *member);
const char *view_fence_name(const struct view *view);
/* The version of this build: "0.1.0". */
const char *view_version(void);

#endif
