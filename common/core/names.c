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
		[ENTRY_NONE] = "none",           [ENTRY_INIT] = "init",
		[ENTRY_ASSIGN] = "assign",       [ENTRY_OPENED] = "opened",
		[ENTRY_SETTLE] = "settle",       [ENTRY_RECORD] = "record",
		[ENTRY_REBUILD] = "rebuild",     [ENTRY_REBUILT] = "rebuilt",
		[ENTRY_FRESH] = "fresh",         [ENTRY_SETTINGS] = "settings",
		[ENTRY_OPERATION] = "operation", [ENTRY_HELD] = "held",
		[ENTRY_MEMBER] = "member",
	};

	return name_of(names, ENTRY_KIND_COUNT, kind);
}

const char *member_step_name(unsigned step)
{
	static const char *const names[MEMBER_STEP_COUNT] = {
		[MEMBER_JOIN] = "join", [MEMBER_JOINED] = "joined", [MEMBER_LEAVE] = "leave",
		[MEMBER_STAY] = "stay", [MEMBER_LEFT] = "left",
	};

	return name_of(names, MEMBER_STEP_COUNT, step);
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
		[CAUSE_SWITCHOVER] = "switchover",
		[CAUSE_AUTO_SWITCH] = "auto_switch",
		[CAUSE_OPERATOR] = "operator",
		[CAUSE_STRAYED] = "promoted_by_hand",
		[CAUSE_RESTART] = "restart",
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

const char *db_fault_name(unsigned fault)
{
	static const char *const names[FAULT_COUNT] = {
		[FAULT_NONE] = "none",
		[FAULT_POSTMASTER_GONE] = "postmaster_gone",
		[FAULT_POSTMASTER_STOPPED] = "postmaster_stopped",
		[FAULT_FROZEN] = "database_frozen",
		[FAULT_NO_NEW_CONNECTIONS] = "no_new_connections",
		[FAULT_NO_ANSWER] = "no_answer",
		[FAULT_CONNECTIONS_FULL] = "connections_full",
		[FAULT_MONITOR_REFUSED] = "monitor_refused",
		[FAULT_CHECKPOINTER_STOPPED] = "checkpointer_stopped",
		[FAULT_WALWRITER_STOPPED] = "walwriter_stopped",
		[FAULT_STARTUP_STOPPED] = "startup_stopped",
		[FAULT_RECEIVER_STOPPED] = "receiver_stopped",
		[FAULT_SENDER_STOPPED] = "sender_stopped",
		[FAULT_PROCESS_STOPPED] = "process_stopped",
		[FAULT_DISK_STALLED] = "disk_stalled",
		[FAULT_DISK_ERROR] = "disk_error",
		[FAULT_DISK_FULL] = "disk_full",
		[FAULT_CRASH_LOOP] = "crash_loop",
		[FAULT_WAL_MISSING] = "wal_missing",
		[FAULT_PROMOTED_BY_HAND] = "promoted_by_hand",
		[FAULT_DATA_DAMAGED] = "data_damaged",
	};

	return name_of(names, FAULT_COUNT, fault);
}

const char *db_fault_advice(unsigned fault)
{
	static const char *const advice[FAULT_COUNT] = {
		[FAULT_NONE] = "",
		[FAULT_POSTMASTER_GONE] =
			"read the end of the server's log; it is started again by itself",
		[FAULT_POSTMASTER_STOPPED] =
			"find out who stopped the postmaster; kill -CONT lets it go on",
		[FAULT_FROZEN] = "thaw the server's control group, or kill -CONT its processes",
		[FAULT_NO_NEW_CONNECTIONS] = "look what holds the postmaster up: pg_hba.conf "
					     "look-ups, the backlog, forks",
		[FAULT_NO_ANSWER] =
			"look what holds the server up: the disk, the memory, the processors",
		[FAULT_CONNECTIONS_FULL] =
			"end idle sessions, or raise max_connections with a planned restart",
		[FAULT_MONITOR_REFUSED] =
			"let the monitor's role log in on the local socket (pg_hba.conf, the role)",
		[FAULT_CHECKPOINTER_STOPPED] =
			"kill -CONT the checkpointer before pg_wal fills its disk",
		[FAULT_WALWRITER_STOPPED] =
			"kill -CONT the WAL writer; asynchronous commits wait to be flushed",
		[FAULT_STARTUP_STOPPED] =
			"kill -CONT the startup process; until then this node cannot take over",
		[FAULT_RECEIVER_STOPPED] =
			"kill -CONT the WAL receiver; this node confirms no commit until then",
		[FAULT_SENDER_STOPPED] =
			"kill -CONT the WAL sender; its standby confirms no commit until then",
		[FAULT_PROCESS_STOPPED] = "kill -CONT the process that the detail names",
		[FAULT_DISK_STALLED] = "look at the disk under the data directory and pg_wal",
		[FAULT_DISK_ERROR] = "replace the disk under the data directory or pg_wal, then "
				     "rebuild the node",
		[FAULT_DISK_FULL] =
			"free space under the data directory or pg_wal; it goes on by itself then",
		[FAULT_CRASH_LOOP] =
			"read the end of the server's log; rebuild the node if need be",
		[FAULT_WAL_MISSING] = "the node needs a rebuild, or WAL from an archive",
		[FAULT_PROMOTED_BY_HAND] =
			"leave promotions to the agent; the node is fenced and rejoins by itself",
		[FAULT_DATA_DAMAGED] =
			"the detail names the page: switch a primary over to a standby that is "
			"not damaged, then give the node an empty data directory, and it is cloned",
	};

	return fault < FAULT_COUNT && advice[fault] != NULL ? advice[fault] : "";
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
		[ORDER_FENCE_CLIENTS] = "fence_clients",
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
		[PHASE_BLOCKED] = "blocked",     [PHASE_SWITCH] = "switch",
		[PHASE_HALT] = "halt",           [PHASE_PAUSED] = "paused",
	};

	return name_of(names, PHASE_COUNT, phase);
}

const char *fence_state_name(unsigned state)
{
	static const char *const names[FENCE_STATE_COUNT] = {
		[FENCE_NONE] = "none",
		[FENCE_CLOSED] = "closed",
		[FENCE_OPEN] = "open",
		[FENCE_CLIENTS] = "clients",
	};

	return name_of(names, FENCE_STATE_COUNT, state);
}
