/*
 * What one agent says, followed: its events are kept for a while, and the acts that end are handed
 * over as OTLP requests, once each. Asks the agent; knows nothing of collectors.
 */
#ifndef MHA_TRACE_FOLLOW_H
#define MHA_TRACE_FOLLOW_H

#include <stdbool.h>
#include <stdint.h>

#include "mhactl/fetch.h"
#include "trace/spans.h"

#define FOLLOW_EVENTS_MAX  512
#define FOLLOW_PENDING_MAX 16
#define FOLLOW_DONE_MAX    64
#define FOLLOW_LOOK_MS     250  /* between looks at a record that has not come yet */
#define FOLLOW_LOOKS_MAX   120  /* of one act: half a minute */
#define FOLLOW_AWAY_MS     1000 /* between tries while the agent does not answer */

/* Takes over `body` (malloc'ed). */
typedef void (*follow_give)(void *arg, char *body, unsigned spans, const char trace[33],
			    struct act act);

struct follow {
	struct fetch_from from;
	follow_give give;
	void *arg;
	const char *host;
	struct fetched fetched; /* of the question under way */
	char cluster[64], node[64], version[64];
	uint64_t system_id;
	uint64_t index; /* events after this are asked for */
	uint32_t sub;
	uint64_t new_index; /* those after this are news */
	uint32_t new_sub;
	bool away;   /* the agent did not answer the last time */
	bool primed; /* the events that it remembered at the start are here */
	uint64_t now_ms;
	Mha__Client__Event *events[FOLLOW_EVENTS_MAX]; /* oldest first */
	unsigned event_count;
	struct {
		struct act act;
		unsigned looks;
	} pending[FOLLOW_PENDING_MAX];
	unsigned pending_count;
	struct act done[FOLLOW_DONE_MAX]; /* ring */
	uint64_t done_count;
	uint64_t lost; /* acts whose record did not come */
};

void follow_init(struct follow *follow, const struct fetch_from *from, const char *host,
		 follow_give give, void *arg);
void follow_fini(struct follow *follow);

/*
 * Ask who the agent is and read what it remembers. Acts of the record that were over at `since_ms`
 * (wall clock; UINT64_MAX: none) or later are handed over. Where the agent is away its status
 * segment is read, which has no events: `live` false allows that.
 */
MUST_CHECK int follow_begin(struct follow *follow, uint64_t since_ms, bool live, struct err *why);

/*
 * Wait for the next events, at most `wait_ms`, and hand over what has ended. Returns below 0 when
 * the agent does not answer; the next call asks again.
 */
MUST_CHECK int follow_step(struct follow *follow, unsigned wait_ms, uint64_t now_ms,
			   struct err *why);

/* Acts that ended and whose record is still looked for. */
bool follow_busy(const struct follow *follow);

#endif
