/*
 * Requests to the kernel over netlink, answered inside the call: the kernel handles a request while
 * it is sent, so that its answer is there when the send returns. A short deadline guards all the
 * same. One socket has one request under way.
 */
#ifndef MHA_VIP_NETLINK_H
#define MHA_VIP_NETLINK_H

#include <libmnl/libmnl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* The largest request that is built here: the whole rule set of the fence. */
#define NETLINK_REQUEST_MAX 8192

struct netlink {
	struct mnl_socket *socket; /* NULL: not open */
	uint32_t seq;              /* of the last message sent */
};

/* One answer, without errors and acknowledgements. Borrowed for the call. */
typedef void (*netlink_answer)(void *arg, const struct nlmsghdr *message);

/* `bus`: NETLINK_ROUTE, ... ERR_PERM, ERR_NOT_FOUND (the kernel has no such family), ERR_IO. */
MUST_CHECK int netlink_open(struct netlink *netlink, int bus, struct err *why);
/* Join a multicast group, before anything is read. */
MUST_CHECK int netlink_join(struct netlink *netlink, unsigned group, struct err *why);
/* Closed already is fine. */
void netlink_close(struct netlink *netlink);
int netlink_fd(const struct netlink *netlink);

/*
 * Send `message` (its sequence number is set here; NLM_F_ACK or NLM_F_DUMP must be) and take the
 * answers until its end. Returns 0, or the kernel's refusal with errno's text and the kernel's own
 * words; the negative errno is in `*refusal` (may be NULL; 0 when there was none). ERR_TIMEOUT: no
 * answer came.
 */
MUST_CHECK int netlink_talk(struct netlink *netlink, struct nlmsghdr *message,
			    netlink_answer answer, void *arg, int *refusal, struct err *why);

/*
 * Send a batch whose messages carry the sequence numbers first..last and of which the message
 * before the end asks for an acknowledgement. All or nothing happened.
 */
MUST_CHECK int netlink_batch(struct netlink *netlink, const void *bytes, size_t size,
			     uint32_t first, uint32_t last, int *refusal, struct err *why);

/*
 * Read what a multicast socket has, at most `limit` datagrams. Returns true when messages were
 * lost (the socket's buffer ran over): then the reader has to look for itself.
 */
bool netlink_drain(struct netlink *netlink, unsigned limit, netlink_answer answer, void *arg);

/* The attribute after `previous` (NULL: the first) behind `offset` bytes of payload, or NULL. */
const struct nlattr *netlink_next(const struct nlmsghdr *message, size_t offset,
				  const struct nlattr *previous);
/* The same inside an attribute that holds others. */
const struct nlattr *netlink_next_nested(const struct nlattr *nest, const struct nlattr *previous);

#endif
