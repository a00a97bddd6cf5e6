/*
 * Numbered events for the gateway: applied log entries and the agent's notes, as JSON. The last
 * ones are kept and given again when the gateway comes up.
 */
#ifndef MHA_CONSENSUS_EVENTS_H
#define MHA_CONSENSUS_EVENTS_H

#include <stdint.h>

#include "core/agent.h"
#include "wire/bus.h"

#define EVENTS_KEPT 48

struct event {
	uint64_t index;
	uint32_t sub;
	uint64_t wall_ms;
	char name[48];
	char *json; /* malloc'ed; NULL: a free slot */
};

struct events {
	struct bus *bus;
	struct event kept[EVENTS_KEPT]; /* ring */
	unsigned first;
	unsigned count;
	uint64_t index; /* of the last entry */
	uint32_t sub;
	uint64_t told_index; /* entries up to here were told by an earlier process */
};

void events_init(struct events *events, struct bus *bus, uint64_t told_index);
void events_fini(struct events *events);

/* An entry that changed `cluster`, which is the state after it. */
void events_applied(struct events *events, uint64_t index, const struct entry *entry,
		    const struct cluster *cluster, uint64_t wall_ms);
/* A rule of the agent's table matched. */
void events_note(struct events *events, const char *rule, const char *why, uint64_t epoch,
		 uint64_t term, uint64_t wall_ms);
/* This node's Raft failed. */
void events_failed(struct events *events, const char *reason, uint64_t wall_ms);
/* The gateway came up: everything kept, once more. It drops what it knows. */
void events_repeat(struct events *events);

#endif
