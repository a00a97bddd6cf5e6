/* What the stand-in agent publishes, and the names by which a test changes it. */
#ifndef MHA_TESTS_RIG_STATE_H
#define MHA_TESTS_RIG_STATE_H

#include "view/source.h"

struct rig_state {
	struct sections sections;
	/* Deadlines are kept relative and made absolute when the state is published. */
	uint64_t lease_ms; /* 0: none */
	uint64_t fence_ms;
};

void rig_state_init(struct rig_state *state, uint64_t now_ns, uint64_t wall_ms);
/* Every time stamp as if written just now. */
void rig_state_stamp(struct rig_state *state, uint64_t now_ns);
/* "lease_ms", "fence", "self.db", "peer2.flushed", ... False: there is no such name or value. */
MUST_CHECK bool rig_state_set(struct rig_state *state, const char *name, const char *value);
/* The section's struct. */
const void *rig_state_section(const struct rig_state *state, enum status_section_id id);

#endif
