/* Locking a process's memory, so that a starved machine does not page out who keeps the lease. */
#ifndef MHA_OS_MEMORY_H
#define MHA_OS_MEMORY_H

#include "base/err.h"

/*
 * Lock what is touched, now and later. ERR_REFUSED: the limit on locked memory is not lifted, and
 * a partial lock would make later allocations fail, or a sanitizer is linked; ERR_PERM, ERR_IO.
 */
MUST_CHECK int memory_lock(struct err *why);

#endif
