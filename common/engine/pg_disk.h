/*
 * The disk under a database: a program of its own (mha-diskprobe) writes and flushes a page in the
 * data directory and in pg_wal, and the verdict is given by what it says or by its silence. This
 * process never waits for the disk.
 */
#ifndef MHA_ENGINE_PG_DISK_H
#define MHA_ENGINE_PG_DISK_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"
#include "conf/conf.h"

#define PG_DISK_TEXT 200
/*
 * Less than a WAL segment is as good as nothing: the next one cannot be made, and the server
 * panics. Once full, it takes twice as much until the disk counts as usable.
 */
#define PG_DISK_FULL_BYTES (UINT64_C(16) << 20)

struct pg_disk;

/* Opened once per control. `conf` is borrowed until close; `data_dir` is copied. */
struct pg_disk_spec {
	const struct conf *conf;
	const char *data_dir;
	/* The verdict changed, or a disk that nothing was known of is known now. */
	void (*changed)(void *arg);
	void *arg;
};

/*
 * ERR_NO_MEMORY only: when the program cannot be run, nothing is known of the disk, a warning is
 * logged, and it is tried again.
 */
MUST_CHECK int pg_disk_open(struct pg_disk **disk, uv_loop_t *loop, const struct pg_disk_spec *spec,
			    struct err *why);
/* The probe is killed; changed() is not called any more. NULL is fine. */
void pg_disk_close(struct pg_disk *disk);

/* enum db_fault: FAULT_DISK_STALLED, _ERROR, _FULL, or FAULT_NONE. */
uint8_t pg_disk_fault(const struct pg_disk *disk);
/* In words; "" for FAULT_NONE. */
const char *pg_disk_text(const struct pg_disk *disk);
/*
 * A server may be started on it: it is known to work, or nothing can be known. False also until
 * the first answer: changed() tells.
 */
bool pg_disk_usable(const struct pg_disk *disk);
/*
 * What a server said of the disk when it ended, a line of its log: from now on the disk is full
 * until space has been freed (or five probes found plenty), or fails until the probe has been
 * answered twice. NULL is fine.
 */
void pg_disk_said(struct pg_disk *disk, const char *words);

/* A server ended by itself: the next answer is wanted at once. */
void pg_disk_hurry(struct pg_disk *disk);

/* The pure part, for one directory. */
struct pg_disk_state {
	bool begun;          /* a probe is under way */
	bool late;           /* for longer than it may take */
	bool known;          /* one has been answered */
	unsigned errors;     /* in a row */
	unsigned good;       /* in a row */
	unsigned room;       /* probes in a row that found plenty of it */
	int number;          /* errno of the last error */
	bool full;           /* too little space, until there is enough again */
	uint64_t free_bytes; /* at the last answer */
	uint64_t wanted;     /* so much makes it usable again, while `full` */
	bool said_error;     /* a server said that it fails */
};

/* A line of mha-diskprobe for `states[count]`. False: it is none. */
bool pg_disk_take(struct pg_disk_state *states, unsigned count, const char *line);
/* enum db_fault */
uint8_t pg_disk_judge(const struct pg_disk_state *state);

#endif
