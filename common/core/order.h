/*
 * What the agent orders its executors to do. Orders state a goal, carry the epoch and may be
 * repeated: an executor that has seen a later epoch refuses, one that is there already says done.
 */
#ifndef MHA_CORE_ORDER_H
#define MHA_CORE_ORDER_H

#include "core/types.h"

enum executor { EXECUTOR_DBCTL = 0, EXECUTOR_DBMON, EXECUTOR_VIP, EXECUTOR_COUNT };

enum order_kind {
	ORDER_NONE = 0,
	/* dbctl: processes and files of the database */
	ORDER_DB_INITDB, /* create the database in an absent directory, roles included; not started
			  */
	ORDER_DB_START,  /* write standby.signal and the configuration below, then start */
	ORDER_DB_STOP,   /* end every server process: fast, then immediate, then SIGKILL */
	ORDER_DB_KILL,   /* the same, immediate at once */
	ORDER_DB_CONFIGURE, /* write the configuration below durably and reload */
	ORDER_DB_REWIND,    /* save the diverged WAL aside, rewind to `upstream`; not started */
	ORDER_DB_CLONE,     /* clone from `upstream` beside the old directory, swap; not started */
	/* dbmon: SQL */
	ORDER_DB_POSITION, /* wait until `promise` is in force and no receiver runs; report facts */
	ORDER_DB_PROMOTE,  /* promote, unless `lease_until_ns` has passed; report facts */
	ORDER_DB_CHECKPOINT, /* write a checkpoint (a rewind from here needs the new timeline on
				disk) */
	/* vip */
	ORDER_FENCE_CLOSE, /* nobody reaches the database port; the VIP is removed */
	ORDER_FENCE_DROP,  /* this node is proven to be a standby: no fence is needed */
	/*
	 * The fence of a planned switchover: only the other members' addresses reach the database
	 * port (their replication goes on), the VIP is removed. Lasts until `lease_until_ns`, or
	 * with 0 until the end of the lease that was granted, then it is closed; given again with
	 * a later end it is renewed. A grant of the same epoch opens it again: the abort.
	 */
	ORDER_FENCE_CLIENTS,
	ORDER_KIND_COUNT
};

struct order {
	uint64_t id; /* echoed by the result; unique within an agent's life */
	uint64_t epoch;
	uint8_t kind; /* enum order_kind */
	/* START and CONFIGURE write all of these; REWIND and CLONE use `upstream`. */
	uint64_t promise;      /* takes no WAL of epochs before this one */
	node_id upstream;      /* stream from this member; NODE_NONE: from nobody */
	struct sync_rule rule; /* what new commits wait for, once this node is a primary */
	bool keep_rule; /* whatever they wait for stays as it is; `rule` is what it is believed to
			   be */
	uint32_t
		reserve_until; /* timeline numbers up to this one must not be used again; 0: none */
	uint64_t lease_until_ns;
};

enum order_outcome {
	OUTCOME_DONE = 0, /* it is so now */
	OUTCOME_FAILED,   /* it is not; `text` of the report says why */
	/*
	 * Not tried: an older epoch than what the executor has seen, a lease that ended, or the
	 * executor lacks memory, descriptors or processes. Says nothing of the database.
	 */
	OUTCOME_REFUSED,
};

/* Who executes `kind`; every order has exactly one executor. */
enum executor order_executor(unsigned kind);
/* Stable lower-case name. Never NULL. */
const char *order_kind_name(unsigned kind);

#endif
