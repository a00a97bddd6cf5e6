#include "wire/peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

#include "base/check.h"
#include "base/log.h"
#include "os/listen.h"
#include "wire/peer_internal.h"

#define BACKLOG 64

static const char *const DROP_NAMES[PEER_DROP_COUNT] = {
	[PEER_DROP_STRANGER] = "stranger", [PEER_DROP_CLUSTER] = "cluster",
	[PEER_DROP_VERSION] = "version",   [PEER_DROP_MALFORMED] = "malformed",
	[PEER_DROP_IDENTITY] = "identity", [PEER_DROP_TOO_BIG] = "too_big",
};

const char *peer_drop_name(enum peer_drop reason)
{
	return (unsigned)reason < PEER_DROP_COUNT ? DROP_NAMES[reason] : "unknown";
}

const struct peer_member *peer_member_of(const struct peer_net *net, node_id id)
{
	for (unsigned i = 0; i < net->config.count; i++) {
		if (net->config.members[i].id == id)
			return &net->config.members[i];
	}
	return NULL;
}

/* Known to be there once config_check() has passed. */
const struct peer_member *peer_own_member(const struct peer_net *net)
{
	const struct peer_member *self = peer_member_of(net, net->config.self);

	CHECK(self != NULL);
	return self;
}

void peer_drop(struct peer_net *net, node_id from, enum peer_drop reason, const char *text)
{
	CHECK(from <= NODES_MAX && (unsigned)reason < PEER_DROP_COUNT);

	const struct peer_member *member = peer_member_of(net, from);
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

/* The other member whose key this is, or is to become; NODE_NONE: nobody's. */
static node_id key_owner(const struct peer_config *config, const char *key)
{
	for (unsigned i = 0; i < config->count; i++) {
		const struct peer_member *member = &config->members[i];

		if (member->id != config->self && (strcmp(member->public_key, key) == 0 ||
						   strcmp(member->next_public_key, key) == 0))
			return member->id;
	}
	return NODE_NONE;
}

static bool is_enrolled(void *arg, const char *public_key)
{
	const struct peer_net *net = arg;

	return key_owner(&net->config, public_key) != NODE_NONE;
}

/* Who sent it, by the key as it counts now; NODE_NONE when the transport does not say. */
static node_id frame_sender(const struct peer_net *net, zmq_msg_t *frame)
{
	const char *key = zap_sender(frame);

	return key != NULL ? key_owner(&net->config, key) : NODE_NONE;
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
	node_id sender = frame_sender(net, frame);
	struct err why = {0};
	enum peer_drop reason;

	if (sender == NODE_NONE) {
		peer_drop(net, NODE_NONE, PEER_DROP_STRANGER,
			  "a message without a sender whose key is enrolled");
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
			peer_drop(net, frame_sender(net, &frame), PEER_DROP_MALFORMED,
				  "a message in parts");
		else
			frame_accept(net, &frame);
		net->in_parts = more;
		zmq_msg_close(&frame);
	}
	return true;
}

int peer_option_int(void *socket, int option, int value, struct err *why)
{
	if (zmq_setsockopt(socket, option, &value, sizeof(value)) != 0)
		return err_set(why, ERR_IO, "socket option %d: %s", option,
			       zmq_strerror(zmq_errno()));
	return 0;
}

int peer_option_text(void *socket, int option, const char *value, struct err *why)
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
int peer_options(const struct peer_net *net, void *socket, struct err *why)
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
	};
	/* A frame over PEER_FRAME_MAX is counted; one over twice that ends the connection. */
	const int64_t size_max = (int64_t)2 * PEER_FRAME_MAX;

	for (size_t i = 0; i < COUNT_OF(options); i++) {
		int rc = peer_option_int(socket, options[i].option, options[i].value, why);

		if (rc < 0)
			return rc;
	}
	if (zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &size_max, sizeof(size_max)) != 0)
		return err_set(why, ERR_IO, "bound of messages: %s", zmq_strerror(zmq_errno()));
	return 0;
}

void peer_address(const struct peer_member *member, char *text, size_t size)
{
	const bool six = strchr(member->address, ':') != NULL;

	snprintf(text, size, six ? "[%s]:%u" : "%s:%u", member->address, member->port);
}

static int in_bind(struct peer_net *net, struct err *why)
{
	char address[80], endpoint[96];
	int fd, rc;

	peer_address(peer_own_member(net), address, sizeof(address));
	snprintf(endpoint, sizeof(endpoint), "tcp://%s", address);
	if (net->listener < 0 && (net->listener = listen_tcp(address, BACKLOG, false, why)) < 0)
		return net->listener;
	/* libzmq closes its own; this one stays for the next door. */
	fd = fcntl(net->listener, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return err_set_errno(why, ERR_IO, errno, "listen at %s", endpoint);
	if ((rc = peer_option_int(net->in, ZMQ_USE_FD, fd, why)) < 0 ||
	    zmq_bind(net->in, endpoint) != 0) {
		close(fd);
		return rc < 0 ? rc
			      : err_set(why, ERR_IO, "listen at %s: %s", endpoint,
					zmq_strerror(zmq_errno()));
	}
	return 0;
}

static int in_open(struct peer_net *net, struct err *why)
{
	int rc;

	net->in = zmq_socket(net->context, ZMQ_PULL);
	if (net->in == NULL)
		return err_set(why, ERR_IO, "socket: %s", zmq_strerror(zmq_errno()));
	if ((rc = peer_options(net, net->in, why)) < 0 ||
	    (rc = peer_option_int(net->in, ZMQ_CURVE_SERVER, 1, why)) < 0 ||
	    (rc = peer_option_text(net->in, ZMQ_CURVE_SECRETKEY, net->config.secret_key, why)) <
		    0 ||
	    (rc = peer_option_text(net->in, ZMQ_ZAP_DOMAIN, ZAP_DOMAIN, why)) < 0 ||
	    (rc = in_bind(net, why)) < 0)
		return rc;
	return zloop_attach_raw(&net->in_attached, net->loop, net->in, on_frames, net, why);
}

static void in_close(struct peer_net *net)
{
	zloop_detach(net->in_attached);
	net->in_attached = NULL;
	if (net->in != NULL)
		zmq_close(net->in);
	net->in = NULL;
	net->in_parts = false;
}

static void on_timer(uv_timer_t *timer)
{
	struct peer_net *net = timer->data;

	for (unsigned i = 1; i <= NODES_MAX; i++)
		link_tick(&net->links[i]);
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
	if (member->next_public_key[0] != '\0' &&
	    (strlen(member->next_public_key) != PEER_KEY_SIZE - 1 ||
	     zmq_z85_decode(bytes, member->next_public_key) == NULL))
		return err_set(why, ERR_INVALID,
			       "its next_public_key is no Z85 key of 40 characters");
	for (unsigned j = 0; j < i; j++) {
		if (config->members[j].id == member->id ||
		    strcmp(config->members[j].public_key, member->public_key) == 0)
			return err_set(why, ERR_INVALID, "it has the id or key of %s",
				       config->members[j].name);
	}
	return 0;
}

static const struct peer_member *self_of(const struct peer_config *config)
{
	for (unsigned i = 0; i < config->count; i++) {
		if (config->members[i].id == config->self)
			return &config->members[i];
	}
	return NULL;
}

static int config_check(const struct peer_config *config, char public_key[PEER_KEY_SIZE],
			struct err *why)
{
	const struct peer_member *self;

	if (config->election_ms == 0)
		return err_set(why, ERR_INVALID, "the election timeout is 0");
	if (config->count > NODES_MAX)
		return err_set(why, ERR_INVALID, "%u members, at most %d", config->count,
			       NODES_MAX);
	self = self_of(config);
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
	if (strcmp(public_key, self->public_key) != 0 &&
	    strcmp(public_key, self->next_public_key) != 0)
		return err_set(why, ERR_INVALID,
			       "the secret key belongs to the public key %s, but the configuration "
			       "gives %s for this node (%s)",
			       public_key, self->public_key, self->name);
	return 0;
}

static int open_all(struct peer_net *net, struct err *why)
{
	int rc;

	if ((rc = config_check(&net->config, net->public_key, why)) < 0 ||
	    (rc = zap_open(&net->zap, net->context, net->loop, is_enrolled, on_stranger, net,
			   why)) < 0 ||
	    (rc = in_open(net, why)) < 0)
		return rc;
	for (unsigned i = 0; i < net->config.count; i++) {
		const struct peer_member *member = &net->config.members[i];

		if (member->id == net->config.self)
			continue;
		if ((rc = link_open(net, member, why)) < 0)
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
	made->listener = -1;
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

/* Who was enrolled by `before` and is no longer. */
static bool keys_were_revoked(const struct peer_config *before, const struct peer_config *after)
{
	for (unsigned i = 0; i < before->count; i++) {
		const struct peer_member *member = &before->members[i];

		if (member->id == before->self)
			continue;
		if (key_owner(after, member->public_key) != member->id ||
		    (member->next_public_key[0] != '\0' &&
		     key_owner(after, member->next_public_key) != member->id))
			return true;
	}
	return false;
}

/* Rows may come and go, and keys differ; where a node is stays as it is. */
static int reload_check(const struct peer_net *net, const struct peer_config *fresh,
			char public_key[PEER_KEY_SIZE], struct err *why)
{
	const struct peer_config *now = &net->config;
	int rc = config_check(fresh, public_key, why);

	if (rc < 0)
		return rc;
	if (fresh->self != now->self || fresh->cluster_id != now->cluster_id ||
	    fresh->election_ms != now->election_ms)
		return err_set(why, ERR_REFUSED,
			       "only members and keys can change while the agent runs");
	for (unsigned i = 0; i < fresh->count; i++) {
		const struct peer_member *member = peer_member_of(net, fresh->members[i].id);

		if (member != NULL && (member->port != fresh->members[i].port ||
				       strcmp(member->address, fresh->members[i].address) != 0))
			return err_set(why, ERR_REFUSED,
				       "member %s: its address and port cannot change while the "
				       "agent runs",
				       fresh->members[i].name);
	}
	return 0;
}

/* A link that was made with a key which does not count any more is made anew. */
static void link_reload(struct peer_link *link, const char *before, bool renamed)
{
	const struct peer_member *member = link->member;
	struct err why = {0};

	if (!renamed && strcmp(before, member->public_key) == 0) {
		link->next = false;
		return;
	}
	if (!renamed && strcmp(before, member->next_public_key) == 0) {
		link->next = true;
		return;
	}
	link->next = false;
	if (link_connect(link, &why) < 0)
		log_event(LOG_WARNING, "peer.connect_failed", "peer=%s id=%u %s", member->name,
			  member->id, why.text);
}

/* Links of members that are gone end; of the others, `used` gets the key they are made with. */
static void take_members(struct peer_net *net, const struct peer_config *fresh,
			 char used[NODES_MAX + 1][PEER_KEY_SIZE])
{
	for (node_id id = 1; id <= NODES_MAX; id++) {
		if (net->links[id].socket != NULL)
			snprintf(used[id], PEER_KEY_SIZE, "%s", link_server_key(&net->links[id]));
	}
	net->config = *fresh;
	for (node_id id = 1; id <= NODES_MAX; id++) {
		struct peer_link *link = &net->links[id];

		link->member = peer_member_of(net, id);
		if (link->member == NULL && link->socket != NULL)
			link_close(link);
	}
}

static int links_reload(struct peer_net *net, char used[NODES_MAX + 1][PEER_KEY_SIZE], bool renamed,
			struct err *why)
{
	for (unsigned i = 0; i < net->config.count; i++) {
		const struct peer_member *member = &net->config.members[i];
		struct peer_link *link = &net->links[member->id];

		if (member->id == net->config.self)
			continue;
		if (link->socket != NULL) {
			link_reload(link, used[member->id], renamed);
			continue;
		}
		if (link_open(net, member, why) < 0) {
			link_close(link);
			return err_in(why, ERR_IO, "member %s", member->name);
		}
	}
	return 0;
}

int peer_reload(struct peer_net *net, const struct peer_config *config, struct err *why)
{
	char public_key[PEER_KEY_SIZE], used[NODES_MAX + 1][PEER_KEY_SIZE] = {{0}};
	bool revoked, renamed;
	int rc = reload_check(net, config, public_key, why);

	if (rc < 0)
		return rc;
	revoked = keys_were_revoked(&net->config, config);
	renamed = strcmp(public_key, net->public_key) != 0;
	take_members(net, config, used);
	memcpy(net->public_key, public_key, sizeof(net->public_key));
	if (revoked || renamed) {
		/* libzmq cannot end one connection: all of them end, and who is enrolled is back
		 * within a few ms. */
		in_close(net);
		if (in_open(net, why) < 0)
			return err_in(why, ERR_IO, "listen anew");
		log_event(LOG_NOTICE, "peer.door", "key=%s revoked=%d connections begin anew",
			  net->public_key, revoked);
	}
	return links_reload(net, used, renamed, why);
}

static void on_timer_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void peer_close(struct peer_net *net)
{
	if (net == NULL)
		return;
	for (unsigned i = 0; i <= NODES_MAX; i++)
		link_close(&net->links[i]);
	in_close(net);
	if (net->listener >= 0)
		close(net->listener);
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
