/* The service manager's notification protocol: one datagram to $NOTIFY_SOCKET. */
#ifndef MHA_OS_NOTIFY_H
#define MHA_OS_NOTIFY_H

#include "base/err.h"

struct notify {
	int fd; /* -1: nobody asked to be told */
};

/* Look at the environment once. ERR_INVALID: the socket's name is unusable; ERR_IO. */
MUST_CHECK int notify_open(struct notify *notify, struct err *why);
/* "READY=1", "STOPPING=1", "STATUS=...". A failure is logged: nothing depends on it here. */
void notify_send(const struct notify *notify, const char *state);

#endif
