/*
 * What operators decide for the whole cluster at run time. It is part of the replicated state:
 * the configuration file gives the values of a new log, mhactl changes them later.
 */
#ifndef MHA_CORE_SETTINGS_H
#define MHA_CORE_SETTINGS_H

#include "core/types.h"

enum protection_mode {
	/* Each commit is flushed by k standbys, or waits. */
	MODE_MAX_PROTECTION = 1,
	/* The same while standbys are connected; degraded on record when they are not. */
	MODE_MAX_AVAILABILITY,
	/* No commit waits; a failover may lose what max_lag allows. */
	MODE_MAX_PERFORMANCE,
	MODE_COUNT
};

struct settings {
	uint8_t mode;             /* enum protection_mode */
	bool pinned;              /* mode and quorum cannot be changed any more */
	uint8_t quorum_sync;      /* k; 0 = majority: half of the data nodes, rounded down */
	bool auto_failover;       /* off: only the recorded primary itself comes back unasked */
	bool auto_primary_switch; /* back to a node of higher priority, when it has been well */
	bool paused;              /* no starts, no promotions; the fence stays on */
	uint64_t pause_until_ms;  /* wall clock; 0: until somebody resumes */
	node_set maintenance;     /* not started, not elected, not counted on, not alarmed about */
	node_set reinit;          /* their data are to be replaced by a new clone; ends by itself */
	uint8_t failover_budget;  /* unasked changes of primary within an hour; 0: any number */
	uint64_t max_lag_bytes;   /* max_performance: what an unasked failover may lose */
	uint32_t max_lag_ms;      /* the same in time */
	uint32_t degrade_ms;      /* a standby gone or stuck for so long is not waited for */
	uint32_t switch_back_ms;  /* a better node has been well for so long */
};

/* Modes and numbers are in range for `data` data nodes. */
bool settings_sane(const struct settings *settings, unsigned data);

/* k for `data` data nodes: how many standbys flush a commit before it is acknowledged. */
uint8_t settings_sync_need(const struct settings *settings, unsigned data);

/* max_availability for two data nodes, max_protection else; and the defaults of options.def. */
struct settings settings_default(unsigned data);

/* "max_protection", ...; "unknown" for anything else. */
const char *protection_mode_name(unsigned mode);

#endif
