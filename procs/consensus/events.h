/*
 * Numbered events for the gateway: applied log entries and the agent's notes, as JSON. The last
 * ones are kept and given again when the gateway comes up.
 */
#ifndef MHA_CONSENSUS_EVENTS_H
#define MHA_CONSENSUS_EVENTS_H

#include <stdint.h>

#include "core/agent.h"
#include "status/status.h"
#include "wire/bus.h"

#define EVENTS_KEPT 48

struct event {
	uint64_t index;
	uint32_t sub;
	uint64_t wall_ms;
	char name[48];
	char *json; /* malloc'ed; NULL: a free slot */
};

/* What the state was like when it was looked at last: what has changed since is told. */
struct events_state {
	bool known;
	uint64_t version;
	struct settings settings;
	uint64_t operation; /* id and state of the newest */
	uint8_t operation_state;
	bool degraded; /* the record promises less than the mode wants */
};

struct events_counts {
	uint64_t failovers[CAUSE_COUNT];
	uint64_t holds;
	uint64_t operations[OPERATION_STATE_COUNT];
	struct status_times phases[STATUS_PHASE_COUNT];
};

struct events {
	struct bus *bus;
	struct events_state state;
	struct events_counts counts;
	uint8_t fault;                  /* enum db_fault of the own database, as told last */
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
/* The state may have been replaced by a snapshot. */
void events_state(struct events *events, const struct cluster *cluster);
/* What is wrong with this node's own database; told when it changes. `detail` may be NULL. */
void events_fault(struct events *events, const char *node, uint8_t fault, const char *detail,
		  uint64_t wall_ms);
/* A rewind or a clone of this node's data is done; `text` says what was saved before. */
void events_rejoined(struct events *events, const char *node, const char *order, const char *text,
		     uint64_t wall_ms);
/* A rule of the agent's table matched. */
void events_note(struct events *events, const char *rule, const char *why, uint64_t epoch,
		 uint64_t term, uint64_t wall_ms);
/* This node's Raft failed. */
void events_failed(struct events *events, const char *reason, uint64_t wall_ms);
/* The gateway came up: everything kept, once more. It drops what it knows. */
void events_repeat(struct events *events);

#endif
