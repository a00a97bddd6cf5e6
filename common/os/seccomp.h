/* System call filters, made from calls.def with libseccomp. */
#ifndef MHA_OS_SECCOMP_H
#define MHA_OS_SECCOMP_H

#include <stdbool.h>

#include "base/err.h"

/* Groups of calls.def; 0: no allow-list, for a process whose programs would inherit it. */
enum call_group {
	CALLS_NONE = 0,
	CALLS_BASE = 1 << 0,
	CALLS_TCP = 1 << 1,
	CALLS_DISK = 1 << 2,
	CALLS_NETWORK = 1 << 3,
	CALLS_DATABASE = 1 << 4,
	CALLS_CLIENTS = 1 << 5,
	CALLS_SANITIZER = 1 << 6,
};

/*
 * From now on this process and its threads can do what the groups allow. Anything else, and any
 * call of another architecture's numbering, ends the process with SIGSYS; before that, a packet on
 * `control` (-1: none) tells the number. `log_only`: the kernel logs it and lets it pass.
 * Sets no_new_privs. There is no way back.
 */
MUST_CHECK int seccomp_allow(unsigned groups, bool log_only, int control, struct err *why);

/*
 * What no process of an agent and no program of the database has a use for: modules, mounts,
 * tracing, other kernels, other socket families. Refused (EPERM, EAFNOSUPPORT), here and in
 * whatever is executed from here. Sets no_new_privs.
 */
MUST_CHECK int seccomp_guard(bool log_only, struct err *why);

/* The name of a call of this architecture, "call 999" for one that has none. Returns `name`. */
const char *seccomp_call_name(int number, char name[64]);

#endif
