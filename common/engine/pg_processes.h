/*
 * The server processes of a data directory: found in /proc by their working directory, their
 * program and their user, so that backends whose postmaster is dead are found too; ended by
 * pidfd, so that no other process is ever hit.
 */
#ifndef MHA_ENGINE_PG_PROCESSES_H
#define MHA_ENGINE_PG_PROCESSES_H

#include <stdbool.h>
#include <sys/types.h>
#include <uv.h>

#include "base/err.h"
#include "engine/pg_paths.h"

#define PG_PROCESSES_MAX 2048

struct pg_processes {
	unsigned count;
	pid_t pids[PG_PROCESSES_MAX];
};

/* Every live process of this user that runs "postgres" in `data_dir`. Zombies do not count. */
void pg_processes_find(struct pg_processes *found, const char *data_dir);

/* The live postmaster that postmaster.pid names and that works in `data_dir`; 0: none. */
pid_t pg_postmaster_find(const char *data_dir);

/* What the status line of postmaster.pid says; -1 when there is none. See pg_parse.h. */
int pg_postmaster_status(const char *data_dir);

/* pg_control says that the server, primary or standby, was shut down in good order. */
bool pg_was_shut_down(const char *data_dir);

/*
 * How far a starting server has come: a number that changes while its recovery makes progress
 * (segments, CPU time, bytes read), not while it waits; 0 when there is no recovery.
 */
uint64_t pg_processes_progress(const char *data_dir);

/*
 * A number that changes while a process of the session that `leader` leads works or is at the disk,
 * not while they wait for somebody.
 */
uint64_t pg_program_progress(pid_t leader);

/* The server streams from its upstream, or it is a primary in production. */
bool pg_is_in_use(const char *data_dir);

struct pg_ending;

typedef void (*pg_ending_done)(void *arg, int rc, const struct err *why);

/*
 * End every server process of `data_dir`: fast with `fast_ms` of patience (0: not at all), then
 * immediate with `immediate_ms`, then SIGKILL. `done` is called later, once, when nothing runs
 * there any more or when something cannot be ended.
 */
MUST_CHECK int pg_ending_start(struct pg_ending **ending, uv_loop_t *loop, const char *data_dir,
			       uint64_t fast_ms, uint64_t immediate_ms, pg_ending_done done,
			       void *arg, struct err *why);
/* A fast one becomes immediate now, with so much patience. */
void pg_ending_hasten(struct pg_ending *ending, uint64_t immediate_ms);
/* Forget it; done() is not called. NULL is fine. */
void pg_ending_cancel(struct pg_ending *ending);

#endif
