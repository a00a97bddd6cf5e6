/*
 * The leader's lease. Each AppendEntries carries the leader's send time; a voter that accepted
 * it echoes that time. With q the newest time that a majority of voters (self included) has
 * echoed, the lease ends at q + length. All times are the leader's CLOCK_BOOTTIME in ns.
 */
#ifndef MHA_CORE_LEASE_H
#define MHA_CORE_LEASE_H

#include "core/types.h"

struct lease {
	uint64_t term;     /* echoes of other terms count for nothing */
	uint64_t since_ns; /* echoes of sends before this count for nothing */
	uint64_t echo_ns[NODES_MAX + 1];
};

/* A new term, or a lease given up on purpose: nothing sent before `since_ns` counts. */
void lease_reset(struct lease *lease, uint64_t term, uint64_t since_ns);

/* `node` heard the leader's message sent at `sent_ns` in `term`. */
void lease_echo(struct lease *lease, node_id node, uint64_t term, uint64_t sent_ns);

/* When the lease ends; 0 when there is none. `self` counts as echoing `now_ns`. */
uint64_t lease_until(const struct lease *lease, node_set voters, node_id self, uint64_t now_ns,
		     uint64_t length_ns);

#endif
