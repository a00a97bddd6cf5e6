#include "wire/bus.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <zmq.h>

#include "base/check.h"
#include "base/log.h"
#include "base/macros.h"
#include "bus.pb-c.h"
#include "wire/zloop.h"

/* What waits in a queue between two workers; more is dropped and repeated by who gave it. */
#define BUS_QUEUE         64
#define BUS_DRAIN_MAX     64
#define BUS_HEAD          2
#define BUS_LOG_GAP_MS    60000
#define BUS_RECONNECT_MS  5
#define BUS_RECONNECT_MAX 50

static const char *const WORKER_NAMES[WORKER_COUNT] = {
#define WORKER(name, ...) [WORKER_##name] = #name,
#include "workers.def"
#undef WORKER
};

/* protobuf-c's spelling of a message's name cannot be made from ours: one line per message. */
#define DESCRIPTOR_Order       &mha__bus__order__descriptor
#define DESCRIPTOR_OrderResult &mha__bus__order_result__descriptor
#define DESCRIPTOR_FactsReport &mha__bus__facts_report__descriptor
#define DESCRIPTOR_Job         &mha__bus__job__descriptor
#define DESCRIPTOR_Grant       &mha__bus__grant__descriptor
#define DESCRIPTOR_FenceReport &mha__bus__fence_report__descriptor
#define DESCRIPTOR_Watch       &mha__bus__watch__descriptor
#define DESCRIPTOR_Event       &mha__bus__event__descriptor
#define DESCRIPTOR_Call        &mha__bus__call__descriptor
#define DESCRIPTOR_CallResult  &mha__bus__call_result__descriptor

static const struct route {
	const char *name;
	const ProtobufCMessageDescriptor *descriptor;
	enum worker_id from;
	enum worker_id to;
	size_t size_max;
} ROUTES[ROUTE_COUNT] = {
#define ROUTE(route_name, message, sender, receiver, size)                                         \
	[ROUTE_##route_name] = {#route_name, DESCRIPTOR_##message, WORKER_##sender,                \
				WORKER_##receiver, size},
#include "routes.def"
#undef ROUTE
};

/* One end of a directed pair. */
struct bus_end {
	struct bus *bus;
	enum worker_id other;
	zsock_t *socket;
	struct zloop_socket *attached; /* inward only */
	zsock_t *monitor;              /* outward only: says when the connection came up */
	struct zloop_socket *monitor_attached;
	uint64_t logged_ms;
	bool logged;
	bool in_parts;
};

struct bus {
	uv_loop_t *loop;
	enum worker_id self;
	bus_handler handler;
	void *arg;
	bus_watcher watcher;
	void *watcher_arg;
	uint64_t refused;
	struct bus_end in[WORKER_COUNT];
	struct bus_end out[WORKER_COUNT];
};

const char *worker_id_name(enum worker_id id)
{
	return (unsigned)id < WORKER_COUNT ? WORKER_NAMES[id] : "unknown";
}

const char *route_name(enum route_id route)
{
	return (unsigned)route < ROUTE_COUNT ? ROUTES[route].name : "unknown";
}

int route_check(enum worker_id from, enum worker_id to, unsigned route, size_t size,
		struct err *why)
{
	if (route >= ROUTE_COUNT)
		return err_set(why, ERR_NOT_ALLOWED, "%s sent the unknown message %u",
			       worker_id_name(from), route);

	const struct route *row = &ROUTES[route];

	if (row->from != from || row->to != to)
		return err_set(why, ERR_NOT_ALLOWED, "%s is not %s's to send to %s", row->name,
			       worker_id_name(from), worker_id_name(to));
	if (size > row->size_max)
		return err_set(why, ERR_TOO_BIG, "%s from %s: %zu bytes, at most %zu", row->name,
			       worker_id_name(from), size, row->size_max);
	return 0;
}

/* Every refusal is counted; one per pair and minute is logged. */
static void refuse(struct bus_end *end, const struct err *why)
{
	struct bus *bus = end->bus;
	uint64_t now_ms = uv_now(bus->loop);

	bus->refused++;
	if (end->logged && now_ms - end->logged_ms < BUS_LOG_GAP_MS)
		return;
	end->logged = true;
	end->logged_ms = now_ms;
	log_event(LOG_WARNING, "bus.refused", "from=%s refused=%" PRIu64 " reason=%s %s",
		  worker_id_name(end->other), bus->refused, err_name(why->code), why->text);
}

int bus_frame_decode(enum worker_id from, enum worker_id to, const uint8_t *bytes, size_t size,
		     enum route_id *route, ProtobufCMessage **message, struct err *why)
{
	unsigned number;
	int rc;

	*route = ROUTE_COUNT;
	*message = NULL;
	if (size < BUS_HEAD)
		return err_set(why, ERR_INVALID, "a frame of %zu bytes from %s has no route", size,
			       worker_id_name(from));
	number = (unsigned)bytes[0] | (unsigned)bytes[1] << 8;
	rc = route_check(from, to, number, size - BUS_HEAD, why);
	if (rc < 0)
		return rc;
	*route = (enum route_id)number;
	*message = protobuf_c_message_unpack(ROUTES[number].descriptor, NULL, size - BUS_HEAD,
					     bytes + BUS_HEAD);
	if (*message == NULL)
		return err_set(why, ERR_INVALID, "%s from %s does not decode", ROUTES[number].name,
			       worker_id_name(from));
	return 0;
}

static int frame_accept(struct bus_end *end, const uint8_t *bytes, size_t size, struct err *why)
{
	struct bus *bus = end->bus;
	ProtobufCMessage *message;
	enum route_id route;
	int rc = bus_frame_decode(end->other, bus->self, bytes, size, &route, &message, why);

	if (rc < 0)
		return rc;
	bus->handler(bus->arg, route, message);
	protobuf_c_message_free_unpacked(message, NULL);
	return 0;
}

static bool on_frames(void *arg, zsock_t *socket)
{
	struct bus_end *end = arg;
	void *raw = zsock_resolve(socket);

	for (unsigned i = 0; i < BUS_DRAIN_MAX; i++) {
		zmq_msg_t frame;
		struct err why = {0};
		int rc;

		zmq_msg_init(&frame);
		if (zmq_msg_recv(&frame, raw, ZMQ_DONTWAIT) < 0) {
			zmq_msg_close(&frame);
			return false;
		}
		/* Nobody here sends frames in parts. */
		bool more = zmq_msg_more(&frame) != 0;

		if (more || end->in_parts)
			rc = err_set(&why, ERR_INVALID, "%s sent a frame in parts",
				     worker_id_name(end->other));
		else
			rc = frame_accept(end, zmq_msg_data(&frame), zmq_msg_size(&frame), &why);
		end->in_parts = more;
		if (rc < 0)
			refuse(end, &why);
		zmq_msg_close(&frame);
	}
	return true;
}

static bool on_monitor(void *arg, zsock_t *socket)
{
	struct bus_end *end = arg;
	struct bus *bus = end->bus;
	void *raw = zsock_resolve(socket);

	for (unsigned i = 0; i < BUS_DRAIN_MAX; i++) {
		zmq_msg_t part;
		uint16_t event = 0;
		int events = 0;
		size_t size = sizeof(events);

		zmq_msg_init(&part);
		if (zmq_msg_recv(&part, raw, ZMQ_DONTWAIT) < 0) {
			zmq_msg_close(&part);
			return false;
		}
		/* [event number and value][endpoint]: the first part counts. */
		bool head = zmq_msg_more(&part) && zmq_msg_size(&part) >= sizeof(event);

		if (head)
			memcpy(&event, zmq_msg_data(&part), sizeof(event));
		zmq_msg_close(&part);
		if (!head || event != ZMQ_EVENT_HANDSHAKE_SUCCEEDED)
			continue;
		/* Let the sending socket take note of its new connection before it is used. */
		(void)zmq_getsockopt(zsock_resolve(end->socket), ZMQ_EVENTS, &events, &size);
		if (bus->watcher != NULL)
			bus->watcher(bus->watcher_arg, end->other);
	}
	return true;
}

/*
 * Returns the endpoint of the pair in `endpoint` and what its folder is, 0 on success,
 * ERR_NOT_FOUND when the master made no directory for it.
 */
static int pair_endpoint(const char *run_dir, enum worker_id receiver, enum worker_id sender,
			 char *endpoint, size_t size, struct stat *folder, struct err *why)
{
	struct sockaddr_un address;
	char path[256];

	if (snprintf(path, sizeof(path), "%s/bus/%s/%s", run_dir, worker_id_name(receiver),
		     worker_id_name(sender)) >= (int)sizeof(path))
		return err_set(why, ERR_TOO_BIG, "paths.run_dir is too long: %s", run_dir);
	if (stat(path, folder) != 0) {
		if (errno == ENOENT)
			return err_set(why, ERR_NOT_FOUND, "no folder %s", path);
		return err_set_errno(why, ERR_IO, errno, "look at %s", path);
	}
	if (strlen(path) + sizeof("/socket") > sizeof(address.sun_path))
		return err_set(why, ERR_TOO_BIG,
			       "paths.run_dir is too long for a local socket: %s/socket", path);
	if (snprintf(endpoint, size, "ipc://%s/socket", path) >= (int)size)
		return err_set(why, ERR_TOO_BIG, "paths.run_dir is too long: %s", run_dir);
	return 0;
}

/*
 * The folder's group is the sender's. Once the kernel has let somebody in, it is asked who that is,
 * too; root's group is admitted, for root is kept out by nothing. A folder that is open to all, as
 * in a test, has no sender to be asked for.
 */
static int admit_sender(struct bus_end *end, const struct stat *folder, struct err *why)
{
	const gid_t groups[] = {folder->st_gid, 0};

	if ((folder->st_mode & S_IRWXO) != 0)
		return 0;
	for (size_t i = 0; i < COUNT_OF(groups); i++) {
		if (zmq_setsockopt(zsock_resolve(end->socket), ZMQ_IPC_FILTER_GID, &groups[i],
				   sizeof(groups[i])) != 0)
			return err_set(why, ERR_IO, "admit %s only: %s", worker_id_name(end->other),
				       zmq_strerror(zmq_errno()));
	}
	return 0;
}

static int bind_in(struct bus_end *end, const char *endpoint, const struct stat *folder,
		   struct err *why)
{
	int rc;

	if ((rc = admit_sender(end, folder, why)) < 0)
		return rc;
	zsock_set_rcvhwm(end->socket, BUS_QUEUE);
	zsock_set_linger(end->socket, 0);
	/* Anything longer than the largest route ends the connection before it takes memory. */
	zsock_set_maxmsgsize(end->socket, 65536);

	/* What a dead predecessor left behind; libzmq would only notice when binding. */
	if (unlink(endpoint + strlen("ipc://")) != 0 && errno != ENOENT)
		return err_set_errno(why, ERR_IO, errno, "remove the stale %s", endpoint);

	/*
	 * Connecting needs the right to write the socket file. Who may come near it at all is
	 * decided by its folder, which belongs to this worker and the sender's group alone.
	 */
	mode_t before = umask(0);
	rc = zsock_bind(end->socket, "%s", endpoint);
	int failure = zmq_errno();

	umask(before);
	if (rc < 0)
		return err_set(why, ERR_IO, "bind %s: %s", endpoint, zmq_strerror(failure));
	return zloop_attach(&end->attached, end->bus->loop, end->socket, on_frames, end, why);
}

static int connect_out(struct bus_end *end, const char *endpoint, struct err *why)
{
	char monitor[96];

	zsock_set_sndhwm(end->socket, BUS_QUEUE);
	zsock_set_linger(end->socket, 0);
	zsock_set_immediate(end->socket, 1);
	zsock_set_reconnect_ivl(end->socket, BUS_RECONNECT_MS);
	zsock_set_reconnect_ivl_max(end->socket, BUS_RECONNECT_MAX);

	snprintf(monitor, sizeof(monitor), "inproc://bus-%s-%s-%p", worker_id_name(end->bus->self),
		 worker_id_name(end->other), (void *)end);
	if (zmq_socket_monitor(zsock_resolve(end->socket), monitor,
			       ZMQ_EVENT_HANDSHAKE_SUCCEEDED) != 0)
		return err_set(why, ERR_IO, "watch %s: %s", endpoint, zmq_strerror(zmq_errno()));
	end->monitor = zsock_new(ZMQ_PAIR);
	if (end->monitor == NULL)
		return err_set(why, ERR_NO_MEMORY, "watch %s: no more sockets", endpoint);
	zsock_set_linger(end->monitor, 0);
	if (zsock_connect(end->monitor, "%s", monitor) != 0)
		return err_set(why, ERR_IO, "watch %s: %s", endpoint, zmq_strerror(zmq_errno()));

	int rc = zloop_attach(&end->monitor_attached, end->bus->loop, end->monitor, on_monitor, end,
			      why);

	if (rc < 0)
		return rc;
	if (zsock_connect(end->socket, "%s", endpoint) != 0)
		return err_set(why, ERR_IO, "connect %s: %s", endpoint, zmq_strerror(zmq_errno()));
	return 0;
}

/* `inward`: this worker receives. */
static int end_open(struct bus *bus, bool inward, enum worker_id other, const char *run_dir,
		    struct err *why)
{
	struct bus_end *end = inward ? &bus->in[other] : &bus->out[other];
	char endpoint[sizeof(struct sockaddr_un) + 8];
	struct stat folder;
	int rc;

	if (end->socket != NULL)
		return 0;
	rc = pair_endpoint(run_dir, inward ? bus->self : other, inward ? other : bus->self,
			   endpoint, sizeof(endpoint), &folder, why);
	if (rc == ERR_NOT_FOUND)
		return 0;
	if (rc < 0)
		return rc;
	end->bus = bus;
	end->other = other;
	end->socket = zsock_new(inward ? ZMQ_PULL : ZMQ_PUSH);
	if (end->socket == NULL)
		return err_set(why, ERR_NO_MEMORY, "open %s: no more sockets", endpoint);
	return inward ? bind_in(end, endpoint, &folder, why) : connect_out(end, endpoint, why);
}

int bus_open(struct bus **bus, uv_loop_t *loop, const char *run_dir, enum worker_id self,
	     bus_handler handler, void *arg, struct err *why)
{
	struct bus *made = calloc(1, sizeof(*made));
	int rc = 0;

	*bus = NULL;
	if (made == NULL)
		return err_set(why, ERR_NO_MEMORY, "open the bus: out of memory");
	made->loop = loop;
	made->self = self;
	made->handler = handler;
	made->arg = arg;
	/* Signals are the loop's business, not czmq's. */
	zsys_handler_set(NULL);
	for (size_t i = 0; i < ROUTE_COUNT && rc == 0; i++) {
		if (ROUTES[i].to == self)
			rc = end_open(made, true, ROUTES[i].from, run_dir, why);
		else if (ROUTES[i].from == self)
			rc = end_open(made, false, ROUTES[i].to, run_dir, why);
	}
	if (rc < 0) {
		bus_close(made);
		return err_in(why, rc, "open the bus of %s", worker_id_name(self));
	}
	*bus = made;
	return 0;
}

static void end_close(struct bus_end *end)
{
	zloop_detach(end->attached);
	zloop_detach(end->monitor_attached);
	if (end->monitor != NULL)
		(void)zmq_socket_monitor(zsock_resolve(end->socket), NULL, 0);
	zsock_destroy(&end->monitor);
	zsock_destroy(&end->socket);
}

void bus_close(struct bus *bus)
{
	if (bus == NULL)
		return;
	for (size_t i = 0; i < WORKER_COUNT; i++) {
		end_close(&bus->in[i]);
		end_close(&bus->out[i]);
	}
	free(bus);
}

/* Send without waiting. Ownership of `frame` passes on success only. */
static int frame_send(void *raw, zmq_msg_t *frame)
{
	int events = 0;
	size_t size = sizeof(events);

	if (zmq_msg_send(frame, raw, ZMQ_DONTWAIT) >= 0)
		return 0;
	if (zmq_errno() != EAGAIN)
		return -1;
	/* libzmq looks at its news only now and then; a connection may just have come up. */
	(void)zmq_getsockopt(raw, ZMQ_EVENTS, &events, &size);
	return zmq_msg_send(frame, raw, ZMQ_DONTWAIT) >= 0 ? 0 : -1;
}

int bus_send(struct bus *bus, enum route_id route, const ProtobufCMessage *message, struct err *why)
{
	if ((unsigned)route >= ROUTE_COUNT)
		return err_set(why, ERR_NOT_ALLOWED, "unknown route %u", (unsigned)route);

	const struct route *row = &ROUTES[route];

	CHECK(message->descriptor == row->descriptor);

	size_t size = protobuf_c_message_get_packed_size(message);
	int rc = route_check(bus->self, row->to, route, size, why);

	if (rc < 0)
		return rc;

	struct bus_end *end = &bus->out[row->to];
	zmq_msg_t frame;

	if (end->socket == NULL)
		return err_set(why, ERR_BUSY, "send %s: there is no %s on this node", row->name,
			       worker_id_name(row->to));
	if (zmq_msg_init_size(&frame, BUS_HEAD + size) != 0)
		return err_set(why, ERR_NO_MEMORY, "send %s: out of memory", row->name);

	uint8_t *bytes = zmq_msg_data(&frame);

	bytes[0] = (uint8_t)(route & 0xff);
	bytes[1] = (uint8_t)(route >> 8);
	protobuf_c_message_pack(message, bytes + BUS_HEAD);
	if (frame_send(zsock_resolve(end->socket), &frame) != 0) {
		rc = zmq_errno();
		zmq_msg_close(&frame);
		if (rc == EAGAIN)
			return err_set(why, ERR_BUSY, "send %s: %s is not there or is behind",
				       row->name, worker_id_name(row->to));
		return err_set(why, ERR_IO, "send %s: %s", row->name, zmq_strerror(rc));
	}
	return 0;
}

void bus_watch(struct bus *bus, bus_watcher watcher, void *arg)
{
	bus->watcher = watcher;
	bus->watcher_arg = arg;
}

uint64_t bus_refused(const struct bus *bus)
{
	return bus->refused;
}
