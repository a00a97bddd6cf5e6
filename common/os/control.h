/*
 * What the master and a worker say to each other: fixed-size packets on a SOCK_SEQPACKET pair.
 * The master learns nothing from a worker but that it is ready and alive, and from the gateway that
 * an operator wants a reload.
 */
#ifndef MHA_OS_CONTROL_H
#define MHA_OS_CONTROL_H

#include <stdint.h>

#include "base/err.h"

enum control_kind {
	/* master -> worker */
	CONTROL_CONF = 1, /* a new configuration; its sealed memfd comes with the packet */
	CONTROL_SECRET,   /* a new secret in a sealed memfd; the configuration follows */
	CONTROL_STOP,     /* end orderly; flag 1: hand over first */
	/* worker -> master */
	CONTROL_READY, /* start() succeeded */
	CONTROL_ALIVE, /* the loop turns; every CONTROL_ALIVE_MS */
	/* the sandbox ends it: `flag` is the number of the system call that it tried (os/seccomp.h)
	 */
	CONTROL_REFUSED,
	CONTROL_RELOAD, /* the gateway's only: an operator wants the file read again, as by SIGHUP
			 */
	/* master -> who asked for it: how that ended; flag: 0, or an err_code negated */
	CONTROL_RELOADED,
};

#define CONTROL_ALIVE_MS 1000

struct control_message {
	uint32_t kind; /* enum control_kind */
	uint32_t flag;
};

/*
 * Send without waiting; `fd` (-1: none) is passed along and stays the caller's. ERR_BUSY: the other
 * side does not read; ERR_GONE: it is not there; ERR_IO.
 */
MUST_CHECK int control_send(int socket, enum control_kind kind, uint32_t flag, int fd,
			    struct err *why);

/*
 * Receive without waiting. `fd` receives the descriptor that came along (close-on-exec, the
 * caller's) or -1. ERR_BUSY: nothing there; ERR_GONE: end of file; ERR_INVALID: not a packet of
 * ours, which is dropped; ERR_IO.
 */
MUST_CHECK int control_receive(int socket, struct control_message *message, int *fd,
			       struct err *why);

#endif
