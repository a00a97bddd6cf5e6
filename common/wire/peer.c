#include "wire/peer.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "base/check.h"
#include "base/log.h"
#include "wire/zap.h"
#include "wire/zloop.h"

/* A Raft message that waits is worthless soon. */
#define PEER_QUEUE      64
#define PEER_DRAIN_MAX  32
#define PEER_LOG_GAP_MS 60000
#define RECONNECT_MS    5

/* The connection to one other member. */
struct peer_link {
	struct peer_net *net;
	const struct peer_member *member;
	void *socket;
	void *monitor;
	struct zloop_socket *attached;
	bool up;
	uint64_t opened_ms; /* when the connection was last asked for */
	bool refusal_logged;
	uint64_t refusal_ms;
};

struct logged {
	bool once;
	uint64_t at_ms;
};

struct peer_net {
	uv_loop_t *loop;
	uv_timer_t timer;
	void *context;
	struct peer_config config;
	peer_handler handler;
	void *arg;
	struct zap *zap;
	void *in;
	struct zloop_socket *in_attached;
	bool in_parts;
	uint64_t dropped[PEER_DROP_COUNT];
	struct logged logged[NODES_MAX + 1][PEER_DROP_COUNT];
	struct peer_link links[NODES_MAX + 1]; /* by node id */
};

static const char *const DROP_NAMES[PEER_DROP_COUNT] = {
	[PEER_DROP_STRANGER] = "stranger", [PEER_DROP_CLUSTER] = "cluster",
	[PEER_DROP_VERSION] = "version",   [PEER_DROP_MALFORMED] = "malformed",
	[PEER_DROP_IDENTITY] = "identity", [PEER_DROP_TOO_BIG] = "too_big",
};

const char *peer_drop_name(enum peer_drop reason)
{
	return (unsigned)reason < PEER_DROP_COUNT ? DROP_NAMES[reason] : "unknown";
}

static const struct peer_member *member_of(const struct peer_net *net, node_id id)
{
	for (unsigned i = 0; i < net->config.count; i++) {
		if (net->config.members[i].id == id)
			return &net->config.members[i];
	}
	return NULL;
}

/* Known to be there once config_check() has passed. */
static const struct peer_member *own_member(const struct peer_net *net)
{
	const struct peer_member *self = member_of(net, net->config.self);

	CHECK(self != NULL);
	return self;
}

void peer_drop(struct peer_net *net, node_id from, enum peer_drop reason, const char *text)
{
	CHECK(from <= NODES_MAX && (unsigned)reason < PEER_DROP_COUNT);

	const struct peer_member *member = member_of(net, from);
	struct logged *logged = &net->logged[from][reason];
	uint64_t now_ms = uv_now(net->loop);

	net->dropped[reason]++;
	if (logged->once && now_ms - logged->at_ms < PEER_LOG_GAP_MS)
		return;
	logged->once = true;
	logged->at_ms = now_ms;
	log_event(LOG_WARNING, "peer.dropped", "peer=%s id=%u reason=%s dropped=%" PRIu64 " %s",
		  member == NULL ? "-" : member->name, from, DROP_NAMES[reason],
		  net->dropped[reason], text);
}

uint64_t peer_dropped(const struct peer_net *net, enum peer_drop reason)
{
	return (unsigned)reason < PEER_DROP_COUNT ? net->dropped[reason] : 0;
}

static void on_stranger(void *arg, const char *text)
{
	peer_drop(arg, NODE_NONE, PEER_DROP_STRANGER, text);
}

/*
 * Who sent it, by the key; NODE_NONE when the transport does not say: libzmq lets everybody in
 * while there is no ZAP handler, but then without a User-Id.
 */
static node_id frame_sender(zmq_msg_t *frame)
{
	const char *user = zmq_msg_gets(frame, "User-Id");

	if (user == NULL || user[0] < '1' || user[0] > '9' || user[1] != '\0')
		return NODE_NONE;
	return (node_id)(user[0] - '0');
}

/* Returns the reason for dropping it, or PEER_DROP_COUNT when it is fine. */
static enum peer_drop envelope_check(const struct peer_net *net, node_id sender,
				     const Mha__Peer__Envelope *envelope, struct err *why)
{
	if (envelope->version != PEER_PROTOCOL_VERSION) {
		err_set(why, ERR_VERSION, "speaks protocol version %" PRIu32 ", this node %d",
			envelope->version, PEER_PROTOCOL_VERSION);
		return PEER_DROP_VERSION;
	}
	if (envelope->cluster_id != net->config.cluster_id) {
		err_set(why, ERR_NOT_ALLOWED,
			"belongs to cluster %016" PRIx64 ", this node to %016" PRIx64,
			envelope->cluster_id, net->config.cluster_id);
		return PEER_DROP_CLUSTER;
	}
	if (envelope->from != sender) {
		err_set(why, ERR_NOT_ALLOWED, "says it is node %" PRIu32, envelope->from);
		return PEER_DROP_IDENTITY;
	}
	if (envelope->to != net->config.self) {
		err_set(why, ERR_NOT_ALLOWED, "means node %" PRIu32 ", this is node %u",
			envelope->to, net->config.self);
		return PEER_DROP_IDENTITY;
	}
	if (envelope->body_case == MHA__PEER__ENVELOPE__BODY__NOT_SET) {
		err_set(why, ERR_INVALID, "sent an envelope without a body that is known here");
		return PEER_DROP_MALFORMED;
	}
	return PEER_DROP_COUNT;
}

static void frame_accept(struct peer_net *net, zmq_msg_t *frame)
{
	Mha__Peer__Envelope *envelope = NULL;
	node_id sender = frame_sender(frame);
	struct err why = {0};
	enum peer_drop reason;

	if (sender == NODE_NONE) {
		peer_drop(net, NODE_NONE, PEER_DROP_STRANGER, "a message without a proven sender");
		return;
	}

	int rc = envelope_decode(zmq_msg_data(frame), zmq_msg_size(frame), &envelope, &why);

	if (rc < 0) {
		peer_drop(net, sender, rc == ERR_TOO_BIG ? PEER_DROP_TOO_BIG : PEER_DROP_MALFORMED,
			  why.text);
		return;
	}
	reason = envelope_check(net, sender, envelope, &why);
	if (reason == PEER_DROP_COUNT)
		net->handler(net->arg, sender, envelope);
	else
		peer_drop(net, sender, reason, why.text);
	envelope_free(envelope);
}

static bool on_frames(void *arg, void *socket)
{
	struct peer_net *net = arg;

	for (unsigned i = 0; i < PEER_DRAIN_MAX; i++) {
		zmq_msg_t frame;

		zmq_msg_init(&frame);
		if (zmq_msg_recv(&frame, socket, ZMQ_DONTWAIT) < 0) {
			zmq_msg_close(&frame);
			return false;
		}

		bool more = zmq_msg_more(&frame) != 0;

		if (more || net->in_parts)
			peer_drop(net, frame_sender(&frame), PEER_DROP_MALFORMED,
				  "a message in parts");
		else
			frame_accept(net, &frame);
		net->in_parts = more;
		zmq_msg_close(&frame);
	}
	return true;
}

static void link_event(struct peer_link *link, unsigned event, uint32_t value)
{
	uint64_t now_ms = uv_now(link->net->loop);
	const char *name = link->member->name;

	switch (event) {
	case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
		if (!link->up)
			log_event(LOG_NOTICE, "peer.connected", "peer=%s id=%u", name,
				  link->member->id);
		link->up = true;
		return;
	case ZMQ_EVENT_DISCONNECTED:
		if (link->up)
			log_event(LOG_NOTICE, "peer.disconnected", "peer=%s id=%u", name,
				  link->member->id);
		link->up = false;
		return;
	case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
	case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
		if (link->refusal_logged && now_ms - link->refusal_ms < PEER_LOG_GAP_MS)
			return;
		link->refusal_logged = true;
		link->refusal_ms = now_ms;
		log_event(LOG_WARNING, "peer.refused",
			  "peer=%s id=%u code=%" PRIu32
			  " it does not know this node's key, or has another key than configured",
			  name, link->member->id, value);
		return;
	default:
		return;
	}
}

static bool on_monitor(void *arg, void *socket)
{
	struct peer_link *link = arg;

	for (unsigned i = 0; i < PEER_DRAIN_MAX; i++) {
		zmq_msg_t part;
		uint16_t event = 0;
		uint32_t value = 0;

		zmq_msg_init(&part);
		if (zmq_msg_recv(&part, socket, ZMQ_DONTWAIT) < 0) {
			zmq_msg_close(&part);
			return false;
		}
		/* [uint16 event, uint32 value][endpoint] */
		if (zmq_msg_more(&part) && zmq_msg_size(&part) == sizeof(event) + sizeof(value)) {
			const uint8_t *bytes = zmq_msg_data(&part);

			memcpy(&event, bytes, sizeof(event));
			memcpy(&value, bytes + sizeof(event), sizeof(value));
		}
		zmq_msg_close(&part);
		link_event(link, event, value);
	}
	return true;
}

static int option_int(void *socket, int option, int value, struct err *why)
{
	if (zmq_setsockopt(socket, option, &value, sizeof(value)) != 0)
		return err_set(why, ERR_IO, "socket option %d: %s", option,
			       zmq_strerror(zmq_errno()));
	return 0;
}

static int option_text(void *socket, int option, const char *value, struct err *why)
{
	if (zmq_setsockopt(socket, option, value, strlen(value)) != 0)
		return err_set(why, ERR_IO, "socket option %d: %s", option,
			       zmq_strerror(zmq_errno()));
	return 0;
}

static int clamp(int value, int min, int max)
{
	if (value < min)
		return min;
	return value > max ? max : value;
}

struct int_option {
	int option;
	int value;
};

/*
 * A silent connection is given up after T/4 + T/2 without a sign of life, a half-open one after
 * T/4, and a new attempt follows at once: after a cut has healed the next attempt gets through.
 */
static int options_common(const struct peer_net *net, void *socket, struct err *why)
{
	const int quarter = (int)net->config.election_ms / 4;
	const struct int_option options[] = {
		{ZMQ_LINGER, 0},
		{ZMQ_IPV6, 1},
		{ZMQ_SNDHWM, PEER_QUEUE},
		{ZMQ_RCVHWM, PEER_QUEUE},
		{ZMQ_HEARTBEAT_IVL, clamp(quarter, 20, 2000)},
		{ZMQ_HEARTBEAT_TIMEOUT, clamp(2 * quarter, 40, 4000)},
		{ZMQ_HANDSHAKE_IVL, clamp(2 * quarter, 100, 4000)},
		{ZMQ_TCP_MAXRT, clamp(2 * quarter, 100, 4000)},
		{ZMQ_CONNECT_TIMEOUT, clamp(quarter, 50, 1000)},
		{ZMQ_RECONNECT_IVL, RECONNECT_MS},
		{ZMQ_RECONNECT_IVL_MAX, clamp(quarter / 5, 20, 100)},
		{ZMQ_IMMEDIATE, 1},

		{ZMQ_BACKLOG, 64},
	};
	/* A frame over PEER_FRAME_MAX is counted; one over twice that ends the connection. */
	const int64_t size_max = (int64_t)2 * PEER_FRAME_MAX;

	for (size_t i = 0; i < COUNT_OF(options); i++) {
		int rc = option_int(socket, options[i].option, options[i].value, why);

		if (rc < 0)
			return rc;
	}
	if (zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &size_max, sizeof(size_max)) != 0)
		return err_set(why, ERR_IO, "bound of messages: %s", zmq_strerror(zmq_errno()));
	return 0;
}

static void listen_at(const struct peer_member *member, char *endpoint, size_t size)
{
	const bool six = strchr(member->address, ':') != NULL;

	snprintf(endpoint, size, six ? "tcp://[%s]:%u" : "tcp://%s:%u", member->address,
		 member->port);
}

/*
 * From this node's own address, whatever else the interface carries: a connection from the VIP
 * would die when the VIP moves away.
 */
static void connect_to(const struct peer_member *self, const struct peer_member *member,
		       char *endpoint, size_t size)
{
	const bool from_six = strchr(self->address, ':') != NULL;
	const bool to_six = strchr(member->address, ':') != NULL;

	if (from_six != to_six)
		listen_at(member, endpoint, size);
	else
		snprintf(endpoint, size, to_six ? "tcp://[%s]:0;[%s]:%u" : "tcp://%s:0;%s:%u",
			 self->address, member->address, member->port);
}

static int in_open(struct peer_net *net, struct err *why)
{
	const struct peer_member *self = own_member(net);
	char endpoint[128];
	int rc;

	net->in = zmq_socket(net->context, ZMQ_PULL);
	if (net->in == NULL)
		return err_set(why, ERR_IO, "socket: %s", zmq_strerror(zmq_errno()));
	if ((rc = options_common(net, net->in, why)) < 0 ||
	    (rc = option_int(net->in, ZMQ_CURVE_SERVER, 1, why)) < 0 ||
	    (rc = option_text(net->in, ZMQ_CURVE_SECRETKEY, net->config.secret_key, why)) < 0 ||
	    (rc = option_text(net->in, ZMQ_ZAP_DOMAIN, ZAP_DOMAIN, why)) < 0)
		return rc;
	listen_at(self, endpoint, sizeof(endpoint));
	if (zmq_bind(net->in, endpoint) != 0)
		return err_set(why, ERR_IO, "listen at %s: %s", endpoint,
			       zmq_strerror(zmq_errno()));
	return zloop_attach_raw(&net->in_attached, net->loop, net->in, on_frames, net, why);
}

static int monitor_open(struct peer_link *link, struct err *why)
{
	char endpoint[64];

	snprintf(endpoint, sizeof(endpoint), "inproc://peer-%p", (void *)link);
	if (zmq_socket_monitor(link->socket, endpoint,
			       ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED |
				       ZMQ_EVENT_HANDSHAKE_FAILED_AUTH |
				       ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL) != 0)
		return err_set(why, ERR_IO, "watch it: %s", zmq_strerror(zmq_errno()));
	link->monitor = zmq_socket(link->net->context, ZMQ_PAIR);
	if (link->monitor == NULL || zmq_connect(link->monitor, endpoint) != 0)
		return err_set(why, ERR_IO, "watch it: %s", zmq_strerror(zmq_errno()));
	return zloop_attach_raw(&link->attached, link->net->loop, link->monitor, on_monitor, link,
				why);
}

/*
 * libzmq gives a connection up for good when the other side refuses the key, though its key list
 * may be another one after a restart. So a link that is down for T is asked for again.
 */
static int link_connect(struct peer_link *link, struct err *why)
{
	char endpoint[192];

	connect_to(own_member(link->net), link->member, endpoint, sizeof(endpoint));
	/* Fails when there is none to end. */
	(void)zmq_disconnect(link->socket, endpoint);
	link->opened_ms = uv_now(link->net->loop);
	if (zmq_connect(link->socket, endpoint) != 0)
		return err_set(why, ERR_IO, "connect %s: %s", endpoint, zmq_strerror(zmq_errno()));
	return 0;
}

static void on_timer(uv_timer_t *timer)
{
	struct peer_net *net = timer->data;
	uint64_t now_ms = uv_now(net->loop);

	for (unsigned i = 1; i <= NODES_MAX; i++) {
		struct peer_link *link = &net->links[i];
		struct err why = {0};

		if (link->socket == NULL || link->up ||
		    now_ms - link->opened_ms < net->config.election_ms)
			continue;
		if (link_connect(link, &why) < 0)
			log_event(LOG_WARNING, "peer.connect_failed", "peer=%s id=%u %s",
				  link->member->name, i, why.text);
	}
}

static int link_open(struct peer_net *net, const struct peer_member *member, const char *public_key,
		     struct err *why)
{
	struct peer_link *link = &net->links[member->id];
	int rc;

	link->net = net;
	link->member = member;
	link->socket = zmq_socket(net->context, ZMQ_PUSH);
	if (link->socket == NULL)
		return err_set(why, ERR_IO, "socket: %s", zmq_strerror(zmq_errno()));
	if ((rc = options_common(net, link->socket, why)) < 0 ||
	    (rc = option_text(link->socket, ZMQ_CURVE_SERVERKEY, member->public_key, why)) < 0 ||
	    (rc = option_text(link->socket, ZMQ_CURVE_PUBLICKEY, public_key, why)) < 0 ||
	    (rc = option_text(link->socket, ZMQ_CURVE_SECRETKEY, net->config.secret_key, why)) <
		    0 ||
	    (rc = monitor_open(link, why)) < 0)
		return rc;
	return link_connect(link, why);
}

static int member_check(const struct peer_config *config, unsigned i, struct err *why)
{
	const struct peer_member *member = &config->members[i];
	uint8_t bytes[32];
	struct in6_addr address;

	if (member->id == NODE_NONE || member->id > NODES_MAX)
		return err_set(why, ERR_INVALID, "its id is %u, not 1..%d", member->id, NODES_MAX);
	if (inet_pton(AF_INET, member->address, &address) != 1 &&
	    inet_pton(AF_INET6, member->address, &address) != 1)
		return err_set(why, ERR_INVALID, "'%s' is no IP address", member->address);
	if (strlen(member->public_key) != PEER_KEY_SIZE - 1 ||
	    zmq_z85_decode(bytes, member->public_key) == NULL)
		return err_set(why, ERR_INVALID, "its public_key is no Z85 key of 40 characters");
	for (unsigned j = 0; j < i; j++) {
		if (config->members[j].id == member->id ||
		    strcmp(config->members[j].public_key, member->public_key) == 0)
			return err_set(why, ERR_INVALID, "it has the id or key of %s",
				       config->members[j].name);
	}
	return 0;
}

static int config_check(const struct peer_net *net, char public_key[PEER_KEY_SIZE], struct err *why)
{
	const struct peer_config *config = &net->config;
	const struct peer_member *self;

	if (config->election_ms == 0)
		return err_set(why, ERR_INVALID, "the election timeout is 0");
	if (config->count > NODES_MAX)
		return err_set(why, ERR_INVALID, "%u members, at most %d", config->count,
			       NODES_MAX);
	self = member_of(net, config->self);
	if (self == NULL)
		return err_set(why, ERR_INVALID, "this node is not among the members");
	for (unsigned i = 0; i < config->count; i++) {
		int rc = member_check(config, i, why);

		if (rc < 0)
			return err_in(why, rc, "member %s", config->members[i].name);
	}
	if (strlen(config->secret_key) != PEER_KEY_SIZE - 1 ||
	    zmq_curve_public(public_key, config->secret_key) != 0)
		return err_set(why, ERR_INVALID,
			       "the secret key is no CURVE key of 40 characters (make one with "
			       "mha-keygen)");
	if (strcmp(public_key, self->public_key) != 0)
		return err_set(why, ERR_INVALID,
			       "the secret key belongs to the public key %s, but the configuration "
			       "gives %s for this node (%s)",
			       public_key, self->public_key, self->name);
	return 0;
}

static int zap_start(struct peer_net *net, struct err *why)
{
	struct zap_key keys[NODES_MAX];
	unsigned count = 0;

	for (unsigned i = 0; i < net->config.count; i++) {
		const struct peer_member *member = &net->config.members[i];

		if (member->id == net->config.self)
			continue;
		keys[count].id = member->id;
		memcpy(keys[count].public_key, member->public_key, PEER_KEY_SIZE);
		count++;
	}
	return zap_open(&net->zap, net->context, net->loop, keys, count, on_stranger, net, why);
}

static int open_all(struct peer_net *net, struct err *why)
{
	char public_key[PEER_KEY_SIZE];
	int rc;

	if ((rc = config_check(net, public_key, why)) < 0 || (rc = zap_start(net, why)) < 0 ||
	    (rc = in_open(net, why)) < 0)
		return rc;
	for (unsigned i = 0; i < net->config.count; i++) {
		const struct peer_member *member = &net->config.members[i];

		if (member->id == net->config.self)
			continue;
		if ((rc = link_open(net, member, public_key, why)) < 0)
			return err_in(why, rc, "member %s", member->name);
	}
	rc = uv_timer_start(&net->timer, on_timer, net->config.election_ms,
			    net->config.election_ms);
	return rc == 0 ? 0 : err_set(why, ERR_IO, "timer: %s", uv_strerror(rc));
}

int peer_open(struct peer_net **net, void *context, uv_loop_t *loop,
	      const struct peer_config *config, peer_handler handler, void *arg, struct err *why)
{
	struct peer_net *made = calloc(1, sizeof(*made));

	*net = NULL;
	if (made == NULL)
		return err_set(why, ERR_NO_MEMORY, "open the wire to other agents: out of memory");
	made->loop = loop;
	made->context = context;
	made->config = *config;
	made->handler = handler;
	made->arg = arg;
	uv_timer_init(loop, &made->timer);
	made->timer.data = made;

	int rc = open_all(made, why);

	if (rc < 0) {
		peer_close(made);
		return err_in(why, rc, "open the wire to other agents");
	}
	*net = made;
	return 0;
}

static void on_timer_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void peer_close(struct peer_net *net)
{
	if (net == NULL)
		return;
	for (unsigned i = 0; i <= NODES_MAX; i++) {
		struct peer_link *link = &net->links[i];

		zloop_detach(link->attached);
		if (link->monitor != NULL) {
			(void)zmq_socket_monitor(link->socket, NULL, 0);
			zmq_close(link->monitor);
		}
		if (link->socket != NULL)
			zmq_close(link->socket);
	}
	zloop_detach(net->in_attached);
	if (net->in != NULL)
		zmq_close(net->in);
	zap_close(net->zap);
	explicit_bzero(net->config.secret_key, sizeof(net->config.secret_key));
	uv_close((uv_handle_t *)&net->timer, on_timer_closed);
}

/* Send without waiting. Ownership of `frame` passes on success only. */
static int frame_send(void *socket, zmq_msg_t *frame)
{
	int events = 0;
	size_t size = sizeof(events);

	if (zmq_msg_send(frame, socket, ZMQ_DONTWAIT) >= 0)
		return 0;
	if (zmq_errno() != EAGAIN)
		return -1;
	/* libzmq looks at its news only now and then; a connection may just have come up. */
	(void)zmq_getsockopt(socket, ZMQ_EVENTS, &events, &size);
	return zmq_msg_send(frame, socket, ZMQ_DONTWAIT) >= 0 ? 0 : -1;
}

int peer_send(struct peer_net *net, node_id to, Mha__Peer__Envelope *envelope, struct err *why)
{
	struct peer_link *link = to <= NODES_MAX ? &net->links[to] : NULL;
	zmq_msg_t frame;

	if (link == NULL || link->socket == NULL)
		return err_set(why, ERR_NOT_FOUND, "node %u is no other member", to);
	envelope->version = PEER_PROTOCOL_VERSION;
	envelope->cluster_id = net->config.cluster_id;
	envelope->from = net->config.self;
	envelope->to = to;

	size_t size = mha__peer__envelope__get_packed_size(envelope);

	if (size > PEER_FRAME_MAX)
		return err_set(why, ERR_TOO_BIG, "a message of %zu bytes to %s, at most %d", size,
			       link->member->name, PEER_FRAME_MAX);
	if (zmq_msg_init_size(&frame, size) != 0)
		return err_set(why, ERR_NO_MEMORY, "a message to %s: out of memory",
			       link->member->name);
	mha__peer__envelope__pack(envelope, zmq_msg_data(&frame));
	if (frame_send(link->socket, &frame) != 0) {
		int failure = zmq_errno();

		zmq_msg_close(&frame);
		if (failure == EAGAIN)
			return err_set(why, ERR_BUSY, "%s is not connected or is behind",
				       link->member->name);
		return err_set(why, ERR_IO, "send to %s: %s", link->member->name,
			       zmq_strerror(failure));
	}
	return 0;
}
