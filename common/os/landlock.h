/*
 * Landlock: what a process and its descendants can open, whatever its user could. Paths are looked
 * up once, when the ruleset is made.
 */
#ifndef MHA_OS_LANDLOCK_H
#define MHA_OS_LANDLOCK_H

#include <spawn.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum landlock_access {
	LANDLOCK_READ = 1 << 0,
	LANDLOCK_WRITE = 1 << 1,   /* create, change and remove files and directories */
	LANDLOCK_SOCKETS = 1 << 2, /* create and remove local sockets */
	LANDLOCK_EXECUTE = 1 << 3,
	LANDLOCK_DEVICES = 1 << 4, /* ioctl on what is a device */
};

struct landlock_path {
	const char *path; /* a directory means all below it; one that is not there is left out */
	unsigned access;  /* enum landlock_access */
};

#define LANDLOCK_PORTS_MAX 16

struct landlock_rules {
	const struct landlock_path *paths;
	size_t path_count;
	bool network; /* TCP is limited to the ports below; else it is not looked at */
	uint16_t listen[LANDLOCK_PORTS_MAX];
	unsigned listen_count;
	uint16_t connect[LANDLOCK_PORTS_MAX];
	unsigned connect_count;
	bool alone; /* no signal and no abstract socket reaches a process outside */
};

/* What this kernel has: 0 none, 1 files (5.13), 4 TCP ports (6.7), 6 signals (6.12). */
int landlock_version(void);

/*
 * A ruleset (close-on-exec) or an error; what this kernel's version does not know is left out.
 * ERR_NOT_FOUND: this kernel has no Landlock.
 */
MUST_CHECK int landlock_make(const struct landlock_rules *rules, struct err *why);

/* Bind this thread, and what it starts from now on, to the ruleset; sets no_new_privs. */
MUST_CHECK int landlock_enter(int ruleset, struct err *why);

/*
 * posix_spawn() of a program that is bound to the ruleset, while this process is not. Returns 0 or
 * an error's number, as posix_spawn() does.
 */
MUST_CHECK int landlock_spawn(int ruleset, pid_t *pid, const char *path,
			      const posix_spawn_file_actions_t *actions,
			      const posix_spawnattr_t *attributes, char *const argv[],
			      char *const envp[]);

#endif
