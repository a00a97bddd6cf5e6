/*
 * Programs that dbctl runs: absolute path, argument vector, clean environment, a session of their
 * own, no inherited descriptor. Watched by pidfd inside the loop.
 */
#ifndef MHA_ENGINE_CHILD_H
#define MHA_ENGINE_CHILD_H

#include <uv.h>

#include "base/err.h"
#include "engine/files.h"
#include "os/process.h"

#define CHILD_LINE_SIZE 1024

struct child;

struct child_events {
	/* One line of what it wrote, without the line end; longer ones are cut. May be NULL. */
	void (*line)(void *arg, const char *line);
	/* It has ended and was reaped; `child` is freed when this returns. */
	void (*ended)(void *arg, const struct process_end *end);
};

struct child_spec {
	const char *const *argv; /* argv[0] is the absolute path; ends in NULL */
	const char *directory;   /* its working directory; NULL: / */
	const char *input;       /* its standard input; NULL: none. At most 60 kB */
	const char *log;         /* file for its output, emptied first; NULL: lines are told */
	const int *ruleset;      /* Landlock ruleset that binds it (os/landlock.h); NULL: none */
};

/* `events` and `arg` must outlive the child, or child_forget(). */
MUST_CHECK int child_start(struct child **child, uv_loop_t *loop, const struct child_spec *spec,
			   const struct child_events *events, void *arg, struct err *why);
pid_t child_pid(const struct child *child);
/* The path of the program `name`, at most 30 characters, that stands beside this one. */
void child_beside(char path[FILES_PATH_SIZE], const char *name);
/* SIGKILL to its whole process group; ended() follows. */
void child_kill(struct child *child);
/* Watch it no longer; it goes on. No event follows, `child` is freed. NULL is fine. */
void child_forget(struct child *child);

#endif
