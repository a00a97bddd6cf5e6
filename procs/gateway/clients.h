/* The ZeroMQ doors: a ROUTER for requests and a PUB for events. */
#ifndef MHA_GATEWAY_CLIENTS_H
#define MHA_GATEWAY_CLIENTS_H

#include "gateway/gateway.h"

/*
 * Bind the local request socket in run_dir, client.listen and client.publish (each of the two
 * may be empty). The local socket is run_dir/client/client.sock where the master made that
 * directory for this worker (run_dir/client.sock leads there), else run_dir/client.sock itself.
 */
MUST_CHECK int clients_open(struct clients **clients, struct gateway *gateway, struct err *why);
/* NULL is fine. */
void clients_close(struct clients *clients);
/*
 * gateway->access has changed, and somebody lost a right: what such a client waits for is dropped,
 * and all connections over TCP end, to begin anew.
 */
void clients_revoke(struct clients *clients);
/* Topic: the event's name; then the event. Never waits; slow subscribers miss it. */
void clients_publish(struct clients *clients, const struct event_row *row);
/*
 * Topic EVENTS_TIP: the number of the newest event, so that a subscriber who missed the last ones
 * learns of it without waiting for the next one.
 */
void clients_tip(struct clients *clients, struct event_number last);
/* An event is new: whoever waits for one gets it. */
void clients_events(struct clients *clients);
/* The end of a call that was given to the consensus worker. */
/* The master has read the configuration again (0), or keeps the old one (an err_code). */
void clients_reloaded(struct clients *clients, int code);
void clients_call_end(struct clients *clients, const struct call_result *result);

#endif
