/*
 * What operators ask of the cluster, and what stands against it. A call is judged by the leader's
 * agent; each blocker is named, with the node it is about and the number that matters.
 */
#ifndef MHA_CORE_CALL_H
#define MHA_CORE_CALL_H

#include "core/settings.h"

enum call_kind {
	CALL_NONE = 0,
	CALL_SWITCHOVER, /* to `node`, or to the best one; now or within a window */
	CALL_FAILOVER,   /* a promotion that is not safe or not allowed unasked */
	CALL_CANCEL,     /* of the operation that is scheduled, or has not stopped anything yet */
	CALL_MODE,       /* protection mode and k */
	CALL_AUTO_FAILOVER, /* on or off */
	CALL_AUTO_SWITCH,
	CALL_PAUSE,
	CALL_RESUME,
	CALL_MAINTENANCE, /* of `node`, on or off */
	CALL_MEMBER_ADD,  /* `node`, which the configuration files name already */
	CALL_MEMBER_REMOVE,
	CALL_RESTART, /* of the database of `node`, which keeps its role */
	CALL_REINIT,  /* the data of `node` are replaced by a new clone */
	CALL_KIND_COUNT
};

#define QUORUM_SYNC_KEEP 255
#define MODE_KEEP        0

struct call {
	uint64_t id;      /* chosen by the caller, echoed */
	node_id via;      /* the member at which the caller waits */
	uint8_t kind;     /* enum call_kind */
	node_id node;     /* NODE_NONE: the best one */
	bool on;          /* AUTO_FAILOVER, AUTO_SWITCH, MAINTENANCE */
	bool dry_run;     /* only say what stands against it */
	bool accept_loss; /* FAILOVER: of acknowledged commits, if need be */
	bool force; /* MODE, RESTART, REINIT: though commits would wait; MEMBER_*: see the blockers
		     */
	bool pin;   /* MODE: and never change it again */
	uint8_t mode;        /* MODE: enum protection_mode; MODE_KEEP: as it is */
	uint8_t quorum_sync; /* MODE: 0 = majority; QUORUM_SYNC_KEEP: as it is */
	uint64_t start_ms;   /* SWITCHOVER: wall clock; 0: now */
	uint64_t end_ms;     /* SWITCHOVER: not begun after this; 0: no such limit. PAUSE: until */
};

enum blocker_kind {
	BLOCK_NONE = 0,
	BLOCK_NO_QUORUM,      /* no leader that a majority of the voters hears */
	BLOCK_BUSY,           /* another call is being carried out */
	BLOCK_NOT_SERVING,    /* no primary serves: there is nothing to switch over */
	BLOCK_PRIMARY_SERVES, /* the primary serves: a failover would only do harm */
	BLOCK_PAUSED,
	BLOCK_NOT_PAUSED,
	BLOCK_OPERATION, /* value: the id of the operation under way */
	BLOCK_NO_OPERATION,
	BLOCK_TOO_LATE, /* the operation has gone too far to be cancelled */
	BLOCK_NO_SUCH_NODE,
	BLOCK_WITNESS,
	BLOCK_ALREADY_PRIMARY,
	BLOCK_IS_PRIMARY, /* maintenance and a rebuild are not for the primary */
	BLOCK_NOFAILOVER, /* priority 0 */
	BLOCK_MAINTENANCE,
	BLOCK_NOT_HEARD,
	BLOCK_NOT_STANDBY, /* value: enum db_state */
	BLOCK_REBUILDING,
	BLOCK_EXCLUDED, /* it stops, or promotions failed there lately */
	BLOCK_FAULT,    /* value: enum db_fault */
	BLOCK_NOT_STREAMING,
	BLOCK_LAG,       /* value, limit: bytes */
	BLOCK_UNSETTLED, /* the last promotion is not settled yet */
	BLOCK_ANSWERS,   /* value of limit needed members of S could answer */
	BLOCK_NO_CANDIDATE,
	BLOCK_NO_POSITION, /* it has not answered the survey */
	BLOCK_LOSS,        /* value: bytes at risk; consent is missing */
	BLOCK_PINNED,
	BLOCK_QUORUM_RANGE,       /* value, limit */
	BLOCK_COMMITS_WOULD_WAIT, /* value of limit standbys are connected */
	BLOCK_WINDOW,             /* it ends before it begins, or is over */
	BLOCK_DEADLINE,           /* a phase took too long */
	BLOCK_INVALID,            /* the call makes no sense */
	BLOCK_MEMBER_CHANGE,      /* the node is joining or leaving */
	BLOCK_NOT_CONFIGURED,     /* the leader's configuration does not name it */
	BLOCK_ALREADY_MEMBER,
	BLOCK_ROSTER,       /* the node's configuration names other nodes than the leader's */
	BLOCK_IDENTITY,     /* its id or name is, or was, another node's */
	BLOCK_FOREIGN_DATA, /* value: enum db_state; data that are not this cluster's */
	BLOCK_QUORUM,       /* value of limit needed voters would be connected */
	BLOCK_LAST_STANDBY, /* nobody would be left to hold commits beside the primary */
	BLOCK_KIND_COUNT
};

#define BLOCKERS_MAX     16
#define LOSS_NOT_BOUNDED UINT64_MAX

struct blocker {
	uint8_t kind; /* enum blocker_kind */
	node_id node; /* NODE_NONE: the cluster */
	uint64_t value;
	uint64_t limit;
};

enum call_code {
	CALL_ACCEPTED = 0, /* on record; an operation goes on under its id */
	CALL_POSSIBLE,     /* dry run: nothing stands against it */
	CALL_REFUSED,      /* the blockers say why; nothing was changed */
	CALL_UNCERTAIN,    /* leadership changed before it was on record: look, then ask again */
	CALL_NOT_LEADER,   /* ask `leader` */
	CALL_CODE_COUNT
};

struct call_result {
	uint64_t id;  /* of the call */
	node_id via;  /* echoed */
	uint8_t code; /* enum call_code */
	node_id leader;
	node_id node;        /* who was chosen */
	uint64_t operation;  /* 0: none */
	uint64_t epoch;      /* FAILOVER: of the promotion */
	uint64_t loss_bytes; /* FAILOVER: at most so much is lost; LOSS_NOT_BOUNDED: not known */
	uint8_t blocker_count;
	struct blocker blockers[BLOCKERS_MAX];
};

/* Stable lower-case names, and for blockers what stands against it and what to do about it. */
const char *call_kind_name(unsigned kind);
const char *call_code_name(unsigned code);
const char *blocker_name(unsigned kind);
const char *blocker_text(unsigned kind);
const char *blocker_remedy(unsigned kind);

#endif
