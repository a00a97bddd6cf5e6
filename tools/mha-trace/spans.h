/*
 * What happened in a cluster as spans of OpenTelemetry (OTLP in JSON). Pure: from the record and
 * from what one agent's events said, without clock, files or network.
 *
 * One act (a switchover, a restart, a failover) is one trace. Its id and those of its spans are
 * hashes of what names the act, so exporters beside different agents, and the same exporter twice,
 * make the same ids without talking to each other.
 *
 * Whatever follows from the record alone, which is the same on all nodes (the root, the outage and
 * its phases), is made beside one agent: that of the node that served when the act was over, or of
 * the standby that was restarted. Every exporter adds what its own agent has seen (a span "member",
 * under it the phases of the agent's own table).
 */
#ifndef MHA_TRACE_SPANS_H
#define MHA_TRACE_SPANS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "client.pb-c.h"

/* What names an act: an operation, or where `operation` is 0 the epoch that a failover began. */
struct act {
	uint64_t operation;
	uint64_t epoch;
};

struct spans_input {
	const char *cluster;
	const char *node;
	const char *version; /* of the agent */
	const char *host;
	uint64_t system_id; /* of the database */
	const Mha__Client__History *history;
	const Mha__Client__Event *const *events; /* of this agent, oldest first */
	unsigned event_count;
};

/* Whether this event ends an act, and which one. */
bool spans_end(const Mha__Client__Event *event, struct act *act);

/*
 * The record of an act that is over. False: it is not over by this record, or not in it, or it is
 * a failover that belongs to an operation.
 */
bool spans_recorded(const Mha__Client__History *history, struct act act);

/* When a recorded act was over, wall clock in ms. */
uint64_t spans_ended_ms(const Mha__Client__History *history, struct act act);

/* The acts of the record that are over, oldest first; at most `max`. Returns how many. */
unsigned spans_acts(const Mha__Client__History *history, struct act *acts, unsigned max);

/*
 * One OTLP request with the spans that this exporter makes of an act for which spans_recorded();
 * `*count` of them. NULL: none are its to make (count 0), or memory ran out (count > 0).
 */
json_t *spans_build(const struct spans_input *input, struct act act, unsigned *count);

/* Trace and span ids in hex. `node` and `what` name the span; NULL and 0 where they do not. */
#define TRACE_ID_SIZE 33
#define SPAN_ID_SIZE  17
void spans_trace_id(const struct spans_input *input, struct act act, char id[TRACE_ID_SIZE]);
void spans_span_id(const char *trace, const char *what, const char *node, uint64_t number,
		   char id[SPAN_ID_SIZE]);

#endif
