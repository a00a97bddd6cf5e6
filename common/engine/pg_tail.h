/*
 * What a stretch of WAL contains, from the output of pg_waldump, and the report for people. Pure:
 * text in, values and text out. The WAL may be damaged and a line may be anything: every table is
 * bounded, totals go on where a table is full, and the report says so.
 */
#ifndef MHA_ENGINE_PG_TAIL_H
#define MHA_ENGINE_PG_TAIL_H

#include <stdbool.h>
#include <stdio.h>

#include "base/err.h"
#include "core/types.h"
#include "engine/pg_source.h"
#include "os/process.h"

#define TAIL_PARTS_MAX     8
#define TAIL_ENDS_MAX      256  /* commits and aborts that are listed */
#define TAIL_RELATIONS_MAX 512  /* relations that are listed */
#define TAIL_MANAGERS_MAX  32   /* resource managers */
#define TAIL_OPEN_MAX      8192 /* transactions that are told apart; a power of two */
#define TAIL_TIME_SIZE     40
#define TAIL_NAME_SIZE     80

enum tail_end_kind { TAIL_COMMIT, TAIL_ABORT, TAIL_PREPARE };

struct tail_end {
	uint8_t kind; /* enum tail_end_kind */
	uint32_t xid;
	wal_lsn lsn;
	char when[TAIL_TIME_SIZE]; /* as pg_waldump writes it; "": it did not */
};

struct tail_relation {
	uint32_t tablespace, database, relation;
	uint64_t records;
	char name[TAIL_NAME_SIZE]; /* "": not known */
};

struct tail_manager {
	char name[24];
	uint64_t records;
	uint64_t bytes;
};

/* A stretch on one timeline. */
struct tail_part {
	uint32_t timeline;
	wal_lsn begin;  /* nothing before it counts */
	wal_lsn limit;  /* where the node left this timeline; 0: it did not */
	wal_lsn end;    /* after its last record that could be read; 0: there is none */
	uint64_t size;  /* bytes of records */
	bool unread;    /* pg_waldump has not read all, what follows is not known */
	char last[200]; /* pg_waldump's last words */
};

struct pg_tail {
	struct pg_fork fork;
	unsigned part_count;
	struct tail_part parts[TAIL_PARTS_MAX];
	uint64_t records;
	uint64_t bytes;
	uint64_t commits, aborts, prepared;
	uint64_t unreadable; /* lines that are no record */
	unsigned end_count;
	struct tail_end ends[TAIL_ENDS_MAX];
	unsigned relation_count;
	bool relations_cut;
	struct tail_relation relations[TAIL_RELATIONS_MAX];
	unsigned manager_count;
	struct tail_manager managers[TAIL_MANAGERS_MAX];
	/* Transactions that wrote and have not ended: a hash table, 0 is empty. */
	bool open_cut;
	uint32_t open[TAIL_OPEN_MAX];
};

/* A line of pg_waldump about `part`, which is one of the tail's. */
void tail_line(struct pg_tail *tail, struct tail_part *part, const char *line);
/*
 * How pg_waldump ended says that it has read `part` to where the WAL ends. False: it was killed or
 * could not read, and nobody knows what follows.
 */
bool tail_read_ended(const struct tail_part *part, const struct process_end *end);
/* Some of it was not read: numbers are lower bounds. */
bool tail_is_unread(const struct pg_tail *tail);
/* Forget what was read; which stretches there are stays. */
void tail_begin_again(struct pg_tail *tail);
/* Transactions that wrote and neither committed nor aborted. */
unsigned tail_open_count(const struct pg_tail *tail);
/*
 * Something was written after the fork, or may have been: a part could not be read. Checkpoints and
 * their like alone are nothing.
 */
bool tail_has_data(const struct pg_tail *tail);

/* "1663/5/16384 name", as psql answers; for the relations that were found. */
void tail_name(struct pg_tail *tail, const char *line);

/* What the node knows of how its commits were acknowledged. */
enum tail_rule {
	TAIL_RULE_UNKNOWN,
	TAIL_RULE_SYNC,  /* each commit waited for standbys */
	TAIL_RULE_ALONE, /* for a time at least, commits waited for nobody */
};

struct tail_facts {
	const char *node;      /* its name */
	const char *source;    /* from whom the node is rebuilt */
	const char *operation; /* "rewind" or "clone" */
	const char *written;   /* the time now */
	const char *named_in;  /* the database whose relations have names; NULL: none have */
	uint64_t epoch;
	uint64_t served_epoch; /* the last one in which it was a primary; 0: not known */
	enum tail_rule rule;
	uint64_t saved_bytes; /* of WAL beside the report */
	bool saved;           /* the WAL stands beside the report */
};

/* Write the report. The stream's errors are the caller's. */
void tail_report(FILE *to, const struct pg_tail *tail, const struct tail_facts *facts);
/* One sentence of it. */
void tail_summary(const struct pg_tail *tail, const struct tail_facts *facts, char *text,
		  size_t size);

#endif
