/* All sections of one agent's status segment, read together. */
#ifndef MHA_VIEW_SOURCE_H
#define MHA_VIEW_SOURCE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "status/status.h"

/* A copy of every section that could be read. */
struct sections {
	uint64_t now_ns;  /* CLOCK_BOOTTIME of this host when they were read */
	uint64_t wall_ms; /* wall clock at that moment, for people only */
	bool has[STATUS_SECTION_COUNT];
	int code[STATUS_SECTION_COUNT]; /* enum err_code: why one is missing */
	struct status_master master;
	struct status_consensus consensus;
	struct status_dbmon dbmon;
	struct status_dbctl dbctl;
	struct status_vip vip;
	struct status_gateway gateway;
};

/* The mapped files. Caller's storage. */
struct source {
	char run_dir[128];
	bool mapped[STATUS_SECTION_COUNT];
	struct status_map map[STATUS_SECTION_COUNT];
	dev_t device[STATUS_SECTION_COUNT];
	ino_t inode[STATUS_SECTION_COUNT];
	struct err why[STATUS_SECTION_COUNT]; /* why a section is not mapped or not readable */
};

/* `run_dir` is copied. Maps what is there; what is not may come later. ERR_TOO_BIG: the path. */
MUST_CHECK int source_init(struct source *source, const char *run_dir, struct err *why);
void source_fini(struct source *source);

/*
 * Map what has appeared and map anew what was replaced by another file. One stat() per section;
 * call it about once a second.
 */
void source_refresh(struct source *source);

/* Copy every section and stamp the clocks. No system call but reading the clock. */
void source_read(struct source *source, struct sections *sections);

/* True when no section can be read at all: no agent has run here. */
bool sections_empty(const struct sections *sections);

#endif
