/* From root to a worker: fork, give everything away in the one right order, exec. */
#ifndef MHA_MASTER_SPAWN_H
#define MHA_MASTER_SPAWN_H

#include <sys/resource.h>

#include "os/user.h"
#include "table.h"

struct spawn {
	const struct worker_row *row;
	const struct os_user *user;
	const char *program; /* path */
	int control;         /* the worker's end */
	int conf;
	int status;
	int packet;           /* -1: none */
	int secret;           /* -1: none */
	struct rlimit locked; /* limit on locked memory of workers that are not real-time */
};

/*
 * Returns the pid. What goes wrong in the child is logged there, and it exits with
 * SPAWN_EXIT_SETUP or SPAWN_EXIT_EXEC.
 */
MUST_CHECK int spawn_worker(const struct spawn *spawn, struct err *why);

#define SPAWN_EXIT_SETUP 126
#define SPAWN_EXIT_EXEC  127

#endif
