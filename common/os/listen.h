/* Listening TCP sockets that outlive what is served on them. */
#ifndef MHA_OS_LISTEN_H
#define MHA_OS_LISTEN_H

#include <stdbool.h>

#include "base/err.h"

/*
 * Listen at "address:port" (IPv6: "[::1]:80"), both numeric. `both`: an IPv6 address takes IPv4
 * connections too. Returns a close-on-exec, non-blocking descriptor, or ERR_INVALID, ERR_IO.
 */
MUST_CHECK int listen_tcp(const char *address, int backlog, bool both, struct err *why);

#endif
