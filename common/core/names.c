#include "core/agent.h"

#include <stddef.h>

#include "base/macros.h"

static const char *name_of(const char *const names[], unsigned count, unsigned value)
{
	return value < count && names[value] != NULL ? names[value] : "unknown";
}

const char *entry_kind_name(unsigned kind)
{
	static const char *const names[ENTRY_KIND_COUNT] = {
		[ENTRY_NONE] = "none",       [ENTRY_INIT] = "init",       [ENTRY_ASSIGN] = "assign",
		[ENTRY_OPENED] = "opened",   [ENTRY_SETTLE] = "settle",   [ENTRY_RECORD] = "record",
		[ENTRY_REBUILD] = "rebuild", [ENTRY_REBUILT] = "rebuilt", [ENTRY_FRESH] = "fresh",
	};

	return name_of(names, ENTRY_KIND_COUNT, kind);
}

const char *assign_cause_name(unsigned cause)
{
	static const char *const names[CAUSE_COUNT] = {
		[CAUSE_NONE] = "none",
		[CAUSE_BOOTSTRAP] = "bootstrap",
		[CAUSE_NODE_LOST] = "node_lost",
		[CAUSE_DB_DOWN] = "database_down",
		[CAUSE_DB_HUNG] = "database_hung",
		[CAUSE_COLD_START] = "cold_start",
		[CAUSE_RESUMED] = "resumed",
		[CAUSE_LEADER_UNABLE] = "leader_unable",
		[CAUSE_HANDOVER] = "handover",
	};

	return name_of(names, CAUSE_COUNT, cause);
}

const char *db_state_name(unsigned db)
{
	static const char *const names[DB_STATE_COUNT] = {
		[DB_UNKNOWN] = "unknown",   [DB_ABSENT] = "absent",   [DB_DOWN] = "down",
		[DB_STARTING] = "starting", [DB_STANDBY] = "standby", [DB_PRIMARY] = "primary",
		[DB_HUNG] = "hung",         [DB_BROKEN] = "broken",
	};

	return name_of(names, DB_STATE_COUNT, db);
}

const char *db_job_name(unsigned job)
{
	static const char *const names[JOB_COUNT] = {
		[JOB_NONE] = "none",
		[JOB_INITDB] = "initdb",
		[JOB_REWIND] = "rewind",
		[JOB_CLONE] = "clone",
	};

	return name_of(names, JOB_COUNT, job);
}

const char *order_kind_name(unsigned kind)
{
	static const char *const names[ORDER_KIND_COUNT] = {
		[ORDER_NONE] = "none",
		[ORDER_DB_INITDB] = "initdb",
		[ORDER_DB_START] = "start",
		[ORDER_DB_STOP] = "stop",
		[ORDER_DB_KILL] = "kill",
		[ORDER_DB_CONFIGURE] = "configure",
		[ORDER_DB_REWIND] = "rewind",
		[ORDER_DB_CLONE] = "clone",
		[ORDER_DB_POSITION] = "position",
		[ORDER_DB_PROMOTE] = "promote",
		[ORDER_DB_CHECKPOINT] = "checkpoint",
		[ORDER_FENCE_CLOSE] = "fence_close",
		[ORDER_FENCE_DROP] = "fence_drop",
	};

	return name_of(names, ORDER_KIND_COUNT, kind);
}

enum executor order_executor(unsigned kind)
{
	if (kind >= ORDER_FENCE_CLOSE)
		return EXECUTOR_VIP;
	return kind >= ORDER_DB_POSITION ? EXECUTOR_DBMON : EXECUTOR_DBCTL;
}

const char *leader_phase_name(unsigned phase)
{
	static const char *const names[PHASE_COUNT] = {
		[PHASE_FOLLOWING] = "following", [PHASE_BOOTSTRAP] = "bootstrap",
		[PHASE_STEADY] = "steady",       [PHASE_SURVEY] = "survey",
		[PHASE_ASSIGN] = "assign",       [PHASE_HANDOVER] = "handover",
		[PHASE_PROMOTE] = "promote",     [PHASE_OPENING] = "opening",
		[PHASE_BLOCKED] = "blocked",
	};

	return name_of(names, PHASE_COUNT, phase);
}

const char *fence_state_name(unsigned state)
{
	static const char *const names[] = {
		[FENCE_NONE] = "none",
		[FENCE_CLOSED] = "closed",
		[FENCE_OPEN] = "open",
	};

	return name_of(names, (unsigned)(sizeof(names) / sizeof(names[0])), state);
}
