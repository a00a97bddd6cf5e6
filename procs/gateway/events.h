/* The last events of the cluster, numbered, kept in memory for clients that come back. */
#ifndef MHA_GATEWAY_EVENTS_H
#define MHA_GATEWAY_EVENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "bus.pb-c.h"
#include "client.pb-c.h"

#define EVENTS_MAX         256
#define EVENTS_BYTES_MAX   ((size_t)512 * 1024) /* of names and fields together */
#define EVENTS_REPLY_MAX   64
#define EVENTS_REPLY_BYTES ((size_t)128 * 1024)
#define EVENT_NAME_SIZE    65
#define EVENTS_TIP         "tip" /* topic of what is no event: the newest event's number */

/* Position in the stream: the log's index, then a count within it. Strictly rising. */
struct event_number {
	uint64_t index;
	uint32_t sub;
};

struct event_row {
	struct event_number number; /* as clients know it */
	struct event_number told;   /* as the sender gave it */
	struct event_number before; /* of the event before it; 0.0: none was seen */
	uint64_t wall_ms;
	char name[EVENT_NAME_SIZE];
	char *json;
	size_t size; /* of json */
};

struct events {
	struct event_row rows[EVENTS_MAX];
	unsigned first;
	unsigned count;
	size_t bytes;
	bool any; /* at least one event was ever seen */
	struct event_number last;
	/* The newest that went for want of room, as the sender told it: known when it comes again.
	 */
	struct event_number dropped_told;
	uint64_t dropped_wall_ms;
	/* Every event after this number is still here. */
	struct event_number complete_after;
};

/* Part of the stream as a message; borrowed from `events` until the next events_add(). */
struct events_message {
	Mha__Client__Events events;
	Mha__Client__Event rows[EVENTS_REPLY_MAX];
	Mha__Client__Event *list[EVENTS_REPLY_MAX];
};

void events_init(struct events *events);
void events_fini(struct events *events);

/* "INDEX.SUB", and the same from it, or from "INDEX" alone (SUB 0). False: it is neither. */
#define EVENT_NUMBER_SIZE 32
const char *event_number_format(struct event_number number, char buffer[EVENT_NUMBER_SIZE]);
bool event_number_parse(const char *text, struct event_number *number);

/* Negative, zero or positive, like memcmp(). */
int event_number_compare(struct event_number a, struct event_number b);

/*
 * Append an event; the oldest go when there is no room. Its number is kept if it rises, else it
 * gets the next one (a restarted sender counts `sub` anew). Returns the kept row, or NULL: a
 * repeat of an event that is here already (`why` untouched), or refused (`why` says why, with a
 * code below 0; otherwise the code is left 0).
 */
const struct event_row *events_add(struct events *events, const Mha__Bus__Event *event,
				   struct err *why);

/* The oldest events after `since`, at most EVENTS_REPLY_MAX; `gap`: some may be missing. */
void events_since(const struct events *events, struct event_number since,
		  struct events_message *out);

/* The oldest event after `since`; NULL: there is none yet. */
const struct event_row *events_next(const struct events *events, struct event_number since);

void event_row_to_message(const struct event_row *row, Mha__Client__Event *out);

/*
 * The place from which the stream goes on after this snapshot, which comes with the sender's number
 * of the last event that it contains. Never after an event that it lacks; events that it contains
 * may follow once more.
 */
void events_place_status(const struct events *events, Mha__Client__Status *status);

#endif
