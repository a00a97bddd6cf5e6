#include "core/lease.h"

#include <string.h>

void lease_reset(struct lease *lease, uint64_t term, uint64_t since_ns)
{
	memset(lease, 0, sizeof(*lease));
	lease->term = term;
	lease->since_ns = since_ns;
}

void lease_echo(struct lease *lease, node_id node, uint64_t term, uint64_t sent_ns)
{
	if (node == NODE_NONE || node > NODES_MAX || term != lease->term)
		return;
	if (sent_ns < lease->since_ns || sent_ns <= lease->echo_ns[node])
		return;
	lease->echo_ns[node] = sent_ns;
}

uint64_t lease_until(const struct lease *lease, node_set voters, node_id self, uint64_t now_ns,
		     uint64_t length_ns)
{
	unsigned majority = node_count(voters) / 2 + 1;
	uint64_t newest = 0;

	if (voters == 0 || !node_in(voters, self))
		return 0;
	/* The newest time that a majority has echoed is one of the echoed times, or now. */
	for (node_id id = 1; id <= NODES_MAX; id++) {
		uint64_t time = id == self ? now_ns : lease->echo_ns[id];
		unsigned reached = 0;

		if (!node_in(voters, id) || time <= newest)
			continue;
		for (node_id other = 1; other <= NODES_MAX; other++) {
			uint64_t echoed = other == self ? now_ns : lease->echo_ns[other];

			if (node_in(voters, other) && echoed >= time)
				reached++;
		}
		if (reached >= majority)
			newest = time;
	}
	return newest == 0 || newest < lease->since_ns ? 0 : newest + length_ns;
}
