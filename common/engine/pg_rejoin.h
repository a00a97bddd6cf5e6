/*
 * What REWIND and CLONE have in common: asking the source, finding out which WAL only this node
 * has, and saving it with a report before anything is overwritten. docs/rejoin.md has the whole.
 */
#ifndef MHA_ENGINE_PG_REJOIN_H
#define MHA_ENGINE_PG_REJOIN_H

#include "engine/pg_control.h"
#include "engine/pg_tail.h"

/* pg_control, as far as it is looked at. */
struct pg_control_file {
	uint64_t system_id;
	int32_t state;
	wal_lsn checkpoint;
	wal_lsn redo;
	uint32_t timeline; /* of the last checkpoint */
	/* A standby's data are whole once WAL up to here has been replayed; 0: a primary's. */
	struct wal_branch whole_from;
};

struct rejoin {
	struct pg_source source;
	struct pg_control_file control; /* of the directory that is replaced; all 0: unreadable */
	struct pg_tail tail;
	struct tail_facts facts;
	bool saved_before; /* what is here is half a rewind; its WAL was saved before that */
	bool named;        /* the relations' names were asked for */
	unsigned part;     /* the part of the tail that pg_waldump reads */
	unsigned failures; /* times that pg_waldump ended without having come to the WAL's end */
	bool killed;       /* pg_waldump was ended because it had told enough */
	uint64_t counted;  /* records when progress was last told */
	/* What a rehearsal said. */
	wal_lsn common_checkpoint; /* 0: nothing */
	uint64_t copy_bytes;
	uint64_t source_bytes;
	char token[40]; /* CLONE: what proves that the directory is the new one */
};

/* ERR_IO, ERR_NOT_FOUND: there is none that can be read. */
MUST_CHECK int pg_control_file_read(const char *data_dir, struct pg_control_file *control,
				    struct err *why);

/*
 * pg_whole.c: what pg_rewind made takes pages from its source that its own WAL says nothing of, and
 * is whole once it has replayed what the source had by then. A note beside the data says so until
 * the server has answered, or there are other data. All of it may block on a disk.
 */
MUST_CHECK int whole_note(const struct pg_paths *paths, const struct pg_control_file *control,
			  struct err *why);
/* What it still needs; timeline 0: nothing, the data are whole or were not rewound. */
struct wal_branch whole_from(const struct pg_paths *paths);
/* "TIMELINE LSN\n". Pure. */
MUST_CHECK bool whole_parse(const char *text, struct wal_branch *from);

/* What a rehearsed rewind has told so far; 0: not yet. */
struct rehearsal_sizes {
	wal_lsn common_checkpoint;
	uint64_t copy_bytes, source_bytes;
};

enum rehearsal { REHEARSAL_PROGRESS, REHEARSAL_WORDS, REHEARSAL_SIZES, REHEARSAL_NO_FORK };

/* One line of `pg_rewind --dry-run`; what it tells goes into `sizes`. Pure. */
enum rehearsal rewind_line(const char *line, struct rehearsal_sizes *sizes);

/* Steps of both plans, in this order. */
MUST_CHECK int rejoin_prepare(struct pg_job *job, struct err *why);
MUST_CHECK int rejoin_ask(struct pg_job *job, struct err *why);
MUST_CHECK int rejoin_hear(struct pg_job *job, struct err *why);
MUST_CHECK int rejoin_find(struct pg_job *job, struct err *why);
MUST_CHECK int rejoin_read(struct pg_job *job, struct err *why);
MUST_CHECK int rejoin_name(struct pg_job *job, struct err *why);
MUST_CHECK int rejoin_save(struct pg_job *job, struct err *why);

/*
 * The segment in which the tail begins is not there. A tail that begins with a segment has it on
 * its first part's timeline only, which need not be the one that forked.
 */
bool rejoin_fork_gone(const char *wal, const struct pg_tail *tail, uint64_t segment_size);

/* "AAAAAAAABBBBBBBBCCCCCCCC", or that and ".partial". False: any other name. Pure. */
bool wal_segment_name(const char *name, uint32_t *timeline, uint32_t *high, uint32_t *low);

typedef int (*wal_visit)(const char *name, void *arg, struct err *why);
/*
 * The segments of `timeline` in the directory `wal` that overlap [begin, end), partial ones too,
 * in no order; `visit` may be NULL. Returns how many, or a negative code.
 */
MUST_CHECK int wal_segments(const char *wal, uint32_t timeline, uint64_t segment_size,
			    wal_lsn begin, wal_lsn end, wal_visit visit, void *arg,
			    struct err *why);

/* The lowest position of which the directory has the segment, on any timeline; 0: not known. */
wal_lsn wal_oldest(const char *wal);

/*
 * The saved set called `fresh` has all that the set `name` has: the same fork and no earlier end,
 * and WAL if that has. Pure.
 */
bool tail_set_contains(const char *fresh, const char *name);

/*
 * Remove saved sets beyond the newest `keep`, and those that `fresh` contains (same fork, longer).
 * `fresh` is a name in paths->side. Says in the log what was removed.
 */
MUST_CHECK int tail_prune(const struct pg_paths *paths, const char *fresh, unsigned keep,
			  struct err *why);

#endif
