/* Processes by pidfd: no pid is ever signalled that could have been given to somebody else. */
#ifndef MHA_OS_PROCESS_H
#define MHA_OS_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/* A descriptor (close-on-exec) that becomes readable when the process has ended, or an error. */
MUST_CHECK int process_open(pid_t pid, struct err *why);

/* ERR_GONE: it has ended already. */
MUST_CHECK int process_signal(int pidfd, int signal, struct err *why);

struct process_end {
	bool by_signal;
	int code; /* exit status, or the signal */
};

/* Reap an ended child. ERR_BUSY: it has not ended. */
MUST_CHECK int process_reap(int pidfd, struct process_end *end, struct err *why);

/*
 * Processor time of the process and all its threads (microseconds) and its resident memory (bytes),
 * from /proc. False, with nothing changed, when it cannot be read.
 */
MUST_CHECK bool process_usage(pid_t pid, uint64_t *cpu_us, uint64_t *memory_bytes);

#endif
