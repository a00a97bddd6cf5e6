/* A bound on what clients can make this worker allocate. */
#ifndef MHA_GATEWAY_LIMIT_H
#define MHA_GATEWAY_LIMIT_H

#include <stddef.h>

#include "base/err.h"

/*
 * Let the process's data grow by at most `growth` bytes from now on; beyond, allocations fail and
 * the worker ends, to be started anew by the master. ZeroMQ bounds the frames of a message but
 * not their number, so one client could otherwise take the host's memory. ERR_IO: it could not be
 * set, and everything is as before.
 */
MUST_CHECK int limit_growth(size_t growth, struct err *why);

#endif
