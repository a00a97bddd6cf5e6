/* The gateway worker's own state: what it read last, and its three doors. */
#ifndef MHA_GATEWAY_GATEWAY_H
#define MHA_GATEWAY_GATEWAY_H

#include "gateway/events.h"
#include "gateway/lag.h"
#include "gateway/tokens.h"
#include "view/view.h"
#include "worker/worker.h"

struct http;
struct clients;
struct access;

struct gateway {
	struct worker *worker;
	struct source source;
	struct view_setup setup;
	struct events events;
	struct status_gateway counters;
	struct lag_track lag;
	uv_timer_t housekeeping;
	struct http *http; /* NULL: http.listen is empty */
	struct clients *clients;
	struct access *access;
	struct tokens tokens;
	uint64_t last_call; /* ids of calls given to the consensus worker; never repeated */
	/* What the last answer was made of; overwritten by gateway_look(). */
	struct sections sections;
	struct view view;
};

extern const struct worker_ops gateway_ops;

/* Read the segment now. The view lives until the next call. */
const struct view *gateway_look(struct gateway *gateway);

/*
 * Give a call to the consensus worker: fills call->id, by which its end is told. `by` stands in the
 * log.
 */
MUST_CHECK int gateway_call(struct gateway *gateway, struct call *call, const char *by,
			    struct err *why);
/* After so long the consensus worker has told the end of a call, in ms. */
uint64_t gateway_call_ms(const struct gateway *gateway);

/* What the configuration says of the cluster. */
void gateway_setup(const struct conf *conf, struct view_setup *setup);

#endif
