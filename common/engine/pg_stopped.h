/*
 * Processes of a server that a signal, a debugger or a frozen control group has stopped, as /proc
 * shows them to everybody.
 */
#ifndef MHA_ENGINE_PG_STOPPED_H
#define MHA_ENGINE_PG_STOPPED_H

#include <stdint.h>
#include <sys/types.h>

#include "core/types.h"

struct pg_stopped {
	/*
	 * enum db_fault: FAULT_FROZEN, FAULT_POSTMASTER_STOPPED, FAULT_*_STOPPED of the process
	 * that matters most; FAULT_NONE: nobody is stopped, or nothing can be seen.
	 */
	uint8_t fault;
	pid_t pid; /* that process; FAULT_FROZEN: the postmaster */
};

/* Look at the postmaster and at its children. Reads a few lines per process, writes nothing. */
void pg_stopped_look(pid_t postmaster, struct pg_stopped *found);

/*
 * enum db_fault for a stopped child with this process title: "postgres: checkpointer ",
 * "postgres: main: walreceiver streaming 0/3000148". FAULT_PROCESS_STOPPED when it is none of those
 * that have a name.
 */
uint8_t pg_stopped_name(const char *title);

/* The state letter in a line of /proc/PID/stat; '\0' when it is none. */
char pg_stopped_state(const char *stat_line);

#endif
