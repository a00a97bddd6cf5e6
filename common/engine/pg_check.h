/*
 * The background check of the data: now and then a program of its own (mha-pagecheck) reads every
 * page of the running server's relations, slowly, and compares it with its checksum. What it finds
 * is told until a later pass finds nothing, or the data directory is replaced.
 */
#ifndef MHA_ENGINE_PG_CHECK_H
#define MHA_ENGINE_PG_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/engine.h"

/* In D.mha4rdb: the damaged pages that are known, a line of four words each. */
#define PG_CHECK_NOTE     "damaged"
#define PG_CHECK_NOTE_MAX 4096

struct engine_control;
struct pg_check;

/* ERR_NO_MEMORY. Reads what an earlier process has found. */
MUST_CHECK int check_open(struct engine_control *control, struct err *why);
void check_close(struct engine_control *control);
/* Time has passed: a pass may begin, or has lost its server. */
void check_look(struct engine_control *control);
/* The directory is about to change under a pass, or its server ends: the pass is given up. */
void check_cut(struct engine_control *control);
/* The directory is another one now. */
void check_forget(struct engine_control *control);
/* Into control->work. */
void check_tell(struct engine_control *control);

/* The pure part: what a line of either program means. */
struct pg_check_pass {
	bool controlled;    /* pg_controldata has told all three */
	uint64_t checksums; /* version; 0: none */
	uint64_t page_bytes;
	uint64_t segment_blocks;
	unsigned told; /* how many of them */
	bool done;
	uint64_t pages, bad, unread;
	char text[ENGINE_TEXT_SIZE]; /* of the first damaged page; "": none so far */
};

/* A line of `pg_controldata` in the C locale. */
void pg_check_control_line(struct pg_check_pass *pass, const char *line);
/* A line of mha-pagecheck. False: it is none. */
bool pg_check_line(struct pg_check_pass *pass, const char *line);
/* A line of the list of damaged pages, in words. False: it is none. */
bool pg_check_words(const char *line, char text[ENGINE_TEXT_SIZE]);

#endif
