/*
 * Messages between the workers of one agent, on ZeroMQ ipc sockets in paths.run_dir/bus.
 * Each directed pair has a directory of its own, owned by the receiver's user and open to the
 * sender's group only: the socket a frame arrives on is the sender's identity. A frame is
 * [uint16 route, little endian][protobuf]; route_check() refuses before decoding.
 *
 * Sockets: receiver binds PULL at bus/<receiver>/<sender>/socket, sender connects PUSH.
 * Small high-water mark, ZMQ_IMMEDIATE, no linger: what cannot be delivered now is dropped, and
 * orders are repeated by who gave them.
 */
#ifndef MHA_WIRE_BUS_H
#define MHA_WIRE_BUS_H

#include <protobuf-c/protobuf-c.h>
#include <uv.h>

#include "base/err.h"

enum worker_id {
#define WORKER(name, ...) WORKER_##name,
#include "workers.def"
#undef WORKER
	WORKER_COUNT
};

enum route_id {
#define ROUTE(name, ...) ROUTE_##name,
#include "routes.def"
#undef ROUTE
	ROUTE_COUNT
};

struct bus;

typedef void (*bus_handler)(void *arg, enum route_id route, const ProtobufCMessage *message);

/* "consensus", ... Never NULL. */
const char *worker_id_name(enum worker_id id);
const char *route_name(enum route_id route);

/* Unlisted sender, receiver, kind or size is refused. */
MUST_CHECK int route_check(enum worker_id from, enum worker_id to, unsigned route, size_t size,
			   struct err *why);

/*
 * The message in a frame that came from `from`: route_check() first, then decoding. To be freed
 * with protobuf_c_message_free_unpacked(). What bus_open()'s handler is given has passed here.
 */
MUST_CHECK int bus_frame_decode(enum worker_id from, enum worker_id to, const uint8_t *bytes,
				size_t size, enum route_id *route, ProtobufCMessage **message,
				struct err *why);

/*
 * Bind and connect every socket that routes.def gives `self`; drains inside `loop`. A pair whose
 * directory the master did not make is left out (a witness has no dbctl); sending there is
 * ERR_BUSY. `handler` must not close the bus.
 */
MUST_CHECK int bus_open(struct bus **bus, uv_loop_t *loop, const char *run_dir, enum worker_id self,
			bus_handler handler, void *arg, struct err *why);
/* NULL is fine. The loop must run once more to end the handles. */
void bus_close(struct bus *bus);

/*
 * Send now or not at all: ERR_BUSY when the receiver is not there or its queue is full.
 * ERR_NOT_ALLOWED: not this worker's route. ERR_TOO_BIG: over the route's bound.
 */
MUST_CHECK int bus_send(struct bus *bus, enum route_id route, const ProtobufCMessage *message,
			struct err *why);

/*
 * `watcher` is called inside the loop each time the connection to receiver `peer` came up, the
 * first time included: what is sent to it from then on arrives while it lives. An executor reports
 * its state to consensus then (bus.proto, INCARNATION). One watcher per bus; NULL ends it.
 */
typedef void (*bus_watcher)(void *arg, enum worker_id peer);
void bus_watch(struct bus *bus, bus_watcher watcher, void *arg);

/* Frames refused since the start (unknown route, malformed, too big). */
uint64_t bus_refused(const struct bus *bus);

#endif
