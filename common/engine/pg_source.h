/*
 * What a rewind or a clone copies from: the questions that psql puts to it, and its answers as
 * values. Pure: text in, values out. The answers come over a network: every line is bounded, and
 * what is no answer to our questions is ignored.
 */
#ifndef MHA_ENGINE_PG_SOURCE_H
#define MHA_ENGINE_PG_SOURCE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "core/types.h"

struct pg_source {
	bool ended;   /* every question was answered */
	bool standby; /* it is in recovery */
	bool checksums;
	bool hints; /* wal_log_hints */
	bool full_pages;
	uint64_t system_id;
	uint64_t segment_size;
	uint64_t tablespaces; /* outside of the data directory */
	uint64_t database;    /* OID of the agent's database */
	uint32_t checkpoint_timeline;
	/* Its lineage: every earlier timeline with its end, the present one, and its flushed WAL.
	 */
	struct wal_position position;
	uint64_t oldest_segment; /* the lowest LSN in pg_wal; 0: not known */
	char denied[128];        /* the first function that the role may not execute; "": none */
	/* The history file while it is read: into `position`, however long it is. */
	bool in_history;
	unsigned history_lines;
	struct err history_trouble; /* of its first line that is none */
};

/* What psql is given; ends in a line that tells that all was answered. */
extern const char PG_SOURCE_QUESTIONS[];

void pg_source_init(struct pg_source *source);
/* One line of psql's output. */
void pg_source_line(struct pg_source *source, const char *line);
/*
 * After the last line. ERR_IO: not everything was answered; ERR_CORRUPT: what it said makes no
 * sense.
 */
MUST_CHECK int pg_source_end(struct pg_source *source, struct err *why);

/*
 * Can a rewind from it work at all? ERR_BUSY: not yet, it is no primary or its last
 * checkpoint is of an earlier timeline; ERR_REFUSED: no, and repeating does not help.
 */
MUST_CHECK int pg_source_check_rewind(const struct pg_source *source, const char *role,
				      struct err *why);
/* Can it be cloned by this agent? ERR_REFUSED: no. */
MUST_CHECK int pg_source_check_clone(const struct pg_source *source, struct err *why);

/* How two lineages part. */
struct pg_fork {
	uint32_t timeline; /* the last one that both have; 0: none */
	wal_lsn lsn;       /* where they part on it; UINT64_MAX: neither has left it */
};

/* `position` without its LSNs: only branches and timeline count. */
struct pg_fork pg_fork_find(const struct wal_position *ours, const struct wal_position *theirs);

#endif
