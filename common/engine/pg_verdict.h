/* What is to be made of the signs of a server's life: its state and what is wrong. Pure. */
#ifndef MHA_ENGINE_PG_VERDICT_H
#define MHA_ENGINE_PG_VERDICT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/types.h"

/* What is known of the server's processes, its answers and its disk. */
struct pg_signs {
	uint8_t directory; /* enum engine_directory */
	bool process;      /* the postmaster is alive */
	bool process_seen; /* there was one */
	bool looked;       /* the last look was answered */
	bool starting;     /* it refuses connections, and so is not ready, but not hung either */
	bool recovery;
	bool new_hung;    /* a new connection got no answer in time */
	bool old_answers; /* meanwhile a query on an old one was answered */
	bool locked;      /* and the new one waits for a session that holds a system catalog */
	bool closed;      /* not asked yet: it takes connections, but no session begins */
	bool old_hung;    /* a query on an old one got none, and no new one did since */
	bool flush_hung;  /* a commit was not flushed in time */
	bool denied;      /* it answers, but refuses the monitor's role */
	bool full;        /* it answers, but has no connection left */
	bool by_order;    /* dbctl has ended the server, or is about to */
	bool by_hand;     /* it left recovery, and nobody had ordered that */
	/* enum db_fault, one of FAULT_*_STOPPED or FAULT_FROZEN: processes that a signal stopped */
	uint8_t stopped;
	bool stopped_long; /* for longer than a probe waits */
	/* enum db_fault: what dbctl, which sees the disk and the server's end, tells */
	uint8_t told;
	bool damaged;   /* a page of the data is not what was written */
	bool told_long; /* for so long that a primary is not left with it */
};

struct pg_verdict {
	uint8_t db;         /* enum db_state */
	uint8_t fault;      /* enum db_fault */
	const char *detail; /* static; never NULL */
};

/* Total: every combination of signs has a verdict. */
void pg_judge(const struct pg_signs *signs, struct pg_verdict *verdict);

/* A standby with this fault could not be made a primary, or would be of no use as one. */
bool pg_fault_excludes(uint8_t fault);

#endif
