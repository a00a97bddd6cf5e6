/*
 * Ending sessions from outside the database: the kernel destroys the database's end of every
 * connection on its port (sock_diag, SOCK_DESTROY; what `ss -K` does). Both ends learn at once,
 * also a client that only waits for an answer and would send nothing that the fence could reject.
 */
#ifndef MHA_VIP_DESTROY_H
#define MHA_VIP_DESTROY_H

#include "netlink.h"
#include "peers.h"

/* The sockets are opened once: when the fence falls, nothing of this has to be asked for. */
struct destroyer {
	struct netlink finder;
	struct netlink killer;
	uint16_t port;
};

MUST_CHECK int destroyer_open(struct destroyer *destroyer, uint16_t port, struct err *why);
/* Closed already is fine. */
void destroyer_close(struct destroyer *destroyer);

/*
 * Destroy every connection whose local port is the given one, IPv4 and IPv6; listening sockets
 * stay. Call it when the fence is closed, so that no new one comes. `destroyed` is how many.
 *
 *   spared  NULL, or the members whose connections stay, unless they came in on `vip` (NULL: there
 *           is none): what a member's own agent does, it does without the virtual IP.
 *
 * Returns 0, ERR_PERM (no CAP_NET_ADMIN), ERR_NOT_FOUND (a kernel that cannot), ERR_IO.
 */
MUST_CHECK int destroyer_run(struct destroyer *destroyer, const struct peers *spared,
			     const struct peer_address *vip, unsigned *destroyed, struct err *why);

#endif
