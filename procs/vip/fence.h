/*
 * The kernel-held fence: table `inet mha4rdb` with three sets and three rules per direction. What
 * goes to or from the database port passes only while the port is an element of set `admitted`, or
 * the other end one of `peers` or `peers6`; under a lease the elements have a timeout, so that the
 * kernel closes by itself when nobody renews them.
 *
 *   input   tcp dport PORT, source in peers or peers6: accept
 *           tcp dport PORT, not admitted, no RST: reject with tcp reset (established ones too)
 *   output  tcp sport PORT, destination in peers or peers6: accept
 *           tcp sport PORT, not admitted, no RST: drop
 *
 * Resets pass in both directions: they carry no data and are how each side learns of the end.
 * Nothing else is matched, other tables are not touched. Each change is one transaction.
 *
 * The requests are built here, not by libnftables: that one reads back the sets of all tables
 * before each change (11 ms beside a block list of 30,000 addresses) and may end the process.
 */
#ifndef MHA_VIP_FENCE_H
#define MHA_VIP_FENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "netlink.h"
#include "peers.h"

#define FENCE_TABLE "mha4rdb"

struct fence {
	struct netlink netlink;
	struct netlink events;
	uint16_t port;
	uint64_t cluster; /* whose elements are taken over */
	struct peers peers;
};

enum fence_admits {
	FENCE_ADMITS_NOBODY = 0,
	FENCE_ADMITS_LEASE, /* everybody, for the timeout */
	FENCE_ADMITS_ALL,   /* everybody */
	FENCE_ADMITS_PEERS, /* the other members, for the timeout */
};

/* What the kernel lets through, or should. */
struct fence_rule {
	uint8_t admits;      /* enum fence_admits */
	uint64_t epoch;      /* not for NOBODY */
	uint64_t timeout_ms; /* LEASE and PEERS only, at least 1: what is left of it */
};

/* The kernel ends it by itself. */
bool fence_rule_ends(const struct fence_rule *rule);

/* ERR_NOT_FOUND: a kernel without nftables. ERR_PERM: no CAP_NET_ADMIN. */
MUST_CHECK int fence_open(struct fence *fence, uint16_t port, uint64_t cluster,
			  const struct peers *peers, struct err *why);
/* The kernel goes on with what it has. Closed already is fine. */
void fence_close(struct fence *fence);

/*
 * What is in force. ERR_NOT_FOUND: no table or no set. An element of another cluster, or one that
 * was not written here, counts as NOBODY.
 */
MUST_CHECK int fence_read(struct fence *fence, struct fence_rule *rule, struct err *why);

/* Both rules stand as they were installed. */
MUST_CHECK bool fence_is_whole(struct fence *fence);

/*
 * Install table, set and rules, atomically; leftovers are replaced. `keep`: the element that
 * fence_read() saw stays untouched, `rule` is not looked at unless the set has to be made anew.
 */
MUST_CHECK int fence_install(struct fence *fence, const struct fence_rule *rule, bool keep,
			     struct err *why);

/*
 * Change or renew what is let through. Returns 0 when the kernel has confirmed it. ERR_NOT_FOUND:
 * the table is gone, install it again.
 */
MUST_CHECK int fence_set(struct fence *fence, const struct fence_rule *rule, struct err *why);

/* Remove table, set and rules, where there are any: everything on the port passes. */
MUST_CHECK int fence_remove(struct fence *fence, struct err *why);

/*
 * Notice when somebody changes the table (a firewall reload flushes all rules): poll
 * fence_watch_fd() for input, then call fence_watch(), and look whether the fence still stands.
 * Own renewals are FENCE_ELEMENT_REMOVED too.
 */
enum fence_notice { FENCE_UNTOUCHED = 0, FENCE_ELEMENT_REMOVED, FENCE_RULES_REMOVED };

int fence_watch_fd(const struct fence *fence);
MUST_CHECK enum fence_notice fence_watch(struct fence *fence);

#endif
