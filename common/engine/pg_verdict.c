#include "engine/pg_verdict.h"

#include "engine/engine.h"

static void judge_without_process(const struct pg_signs *signs, struct pg_verdict *verdict)
{
	verdict->fault = signs->told;
	switch (signs->directory) {
	case DIRECTORY_ABSENT:
		verdict->db = DB_ABSENT;
		verdict->detail = "there is no data directory";
		return;
	case DIRECTORY_BROKEN:
		verdict->db = DB_BROKEN;
		verdict->detail = "the data directory must not be started; a rebuild is needed";
		return;
	case DIRECTORY_PRESENT:
		verdict->db = DB_DOWN;
		verdict->detail = "no server process";
		break;
	default:
		verdict->db = signs->process_seen ? DB_DOWN : DB_UNKNOWN;
		verdict->detail = signs->process_seen
					  ? "the server process ended"
					  : "dbctl has not said yet what the data directory is";
		break;
	}
	if (verdict->fault == FAULT_NONE && signs->process_seen && !signs->by_order)
		verdict->fault = FAULT_POSTMASTER_GONE;
}

static bool disk_fails(const struct pg_signs *signs)
{
	return signs->told == FAULT_DISK_STALLED || signs->told == FAULT_DISK_ERROR;
}

static bool postmaster_stopped(const struct pg_signs *signs)
{
	return signs->stopped == FAULT_POSTMASTER_STOPPED || signs->stopped == FAULT_FROZEN;
}

/* The cause rather than its effect: who is stopped gives no answer, nor does who waits for a disk.
 */
static uint8_t cause_of(const struct pg_signs *signs, uint8_t effect)
{
	if (postmaster_stopped(signs))
		return signs->stopped;
	if (disk_fails(signs))
		return signs->told;
	return effect;
}

/*
 * A new session cannot begin, and that is no reason to end a server: a standby goes on receiving
 * and replaying, and a catalog that is locked here is locked on every standby too.
 */
static bool is_closed_only(const struct pg_signs *signs)
{
	return signs->new_hung && signs->old_answers && signs->looked &&
	       (signs->recovery || signs->locked) && !postmaster_stopped(signs);
}

/* False: it is not hung. */
static bool judge_hung(const struct pg_signs *signs, struct pg_verdict *verdict)
{
	const bool primary = signs->looked && !signs->recovery;

	if (postmaster_stopped(signs) && signs->stopped_long) {
		verdict->fault = signs->stopped;
		verdict->detail = signs->stopped == FAULT_FROZEN
					  ? "every process of the server is stopped"
					  : "the postmaster is stopped by a signal";
	} else if (signs->new_hung && !is_closed_only(signs)) {
		verdict->fault = cause_of(signs, signs->old_answers ? FAULT_NO_NEW_CONNECTIONS
								    : FAULT_NO_ANSWER);
		verdict->detail = signs->old_answers
					  ? "a new connection gets no answer, an open one does"
					  : "neither a new nor an open connection gets an answer";
	} else if (signs->old_hung) {
		verdict->fault = cause_of(signs, FAULT_NO_ANSWER);
		verdict->detail = "an open connection gets no answer";
	} else if (signs->flush_hung) {
		verdict->fault = cause_of(signs, signs->stopped != FAULT_NONE ? signs->stopped
									      : FAULT_DISK_STALLED);
		verdict->detail = "a commit is not flushed";
	} else if (primary && disk_fails(signs) && signs->told_long) {
		verdict->fault = signs->told;
		verdict->detail = "it answers, but its disk does not";
	} else {
		return false;
	}
	verdict->db = DB_HUNG;
	return true;
}

/* What is wrong with a server that answers. */
static uint8_t named_fault(const struct pg_signs *signs)
{
	if (signs->stopped != FAULT_NONE)
		return signs->stopped;
	if (signs->told != FAULT_NONE)
		return signs->told;
	if (is_closed_only(signs))
		return FAULT_NO_NEW_CONNECTIONS;
	if (signs->by_hand)
		return FAULT_PROMOTED_BY_HAND;
	if (signs->damaged)
		return FAULT_DATA_DAMAGED;
	return signs->full ? FAULT_CONNECTIONS_FULL : FAULT_NONE;
}

void pg_judge(const struct pg_signs *signs, struct pg_verdict *verdict)
{
	if (!signs->process && !signs->looked) {
		judge_without_process(signs, verdict);
		return;
	}
	if (judge_hung(signs, verdict))
		return;
	verdict->fault = named_fault(signs);
	if (signs->looked) {
		verdict->db = signs->recovery ? DB_STANDBY : DB_PRIMARY;
		verdict->detail = signs->recovery ? "in recovery" : "accepts writes";
	} else if (signs->denied) {
		verdict->db = DB_UNKNOWN;
		verdict->fault = FAULT_MONITOR_REFUSED;
		verdict->detail = "the server refuses the monitor's role";
	} else if (signs->starting) {
		verdict->db = DB_STARTING;
		if (signs->closed && verdict->fault == FAULT_NONE)
			verdict->fault = FAULT_NO_NEW_CONNECTIONS;
		verdict->detail = "the server does not accept connections yet";
	} else {
		/* Nothing is said of a server before it has answered once: this process may be the
		 * new one. */
		verdict->db = DB_UNKNOWN;
		verdict->detail = "the server has not answered yet";
	}
}

bool pg_fault_excludes(uint8_t fault)
{
	switch (fault) {
	case FAULT_CHECKPOINTER_STOPPED:
	case FAULT_STARTUP_STOPPED:
	case FAULT_DISK_STALLED:
	case FAULT_DISK_ERROR:
	case FAULT_DISK_FULL:
		return true;
	default:
		return false;
	}
}
