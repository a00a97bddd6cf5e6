/* Connections to other members: made, watched, asked for again. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "wire/peer_internal.h"

/* Between two tries with another key of the same member. */
#define OTHER_KEY_MS 20

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
		snprintf(endpoint, size, to_six ? "tcp://[%s]:%u" : "tcp://%s:%u", member->address,
			 member->port);
	else
		snprintf(endpoint, size, to_six ? "tcp://[%s]:0;[%s]:%u" : "tcp://%s:0;%s:%u",
			 self->address, member->address, member->port);
}

const char *link_server_key(const struct peer_link *link)
{
	return link->next ? link->member->next_public_key : link->member->public_key;
}

/*
 * libzmq gives a connection up for good when the other side refuses the key, though its key list
 * may be another one after a restart. So a link that is down for T is asked for again.
 */
int link_connect(struct peer_link *link, struct err *why)
{
	const struct peer_net *net = link->net;
	char endpoint[192];
	int rc;

	connect_to(peer_own_member(net), link->member, endpoint, sizeof(endpoint));
	/* Fails when there is none to end. */
	(void)zmq_disconnect(link->socket, endpoint);
	link->opened_ms = uv_now(net->loop);
	link->up = false;
	/* Options count from the next connection on. */
	if ((rc = peer_option_text(link->socket, ZMQ_CURVE_SERVERKEY, link_server_key(link), why)) <
		    0 ||
	    (rc = peer_option_text(link->socket, ZMQ_CURVE_PUBLICKEY, net->public_key, why)) < 0 ||
	    (rc = peer_option_text(link->socket, ZMQ_CURVE_SECRETKEY, net->config.secret_key,
				   why)) < 0)
		return rc;
	if (zmq_connect(link->socket, endpoint) != 0)
		return err_set(why, ERR_IO, "connect %s: %s", endpoint, zmq_strerror(zmq_errno()));
	return 0;
}

static void connect_again(struct peer_link *link)
{
	struct err why = {0};

	if (link->member->next_public_key[0] != '\0')
		link->next = !link->next;
	if (link_connect(link, &why) < 0)
		log_event(LOG_WARNING, "peer.connect_failed", "peer=%s id=%u %s",
			  link->member->name, link->member->id, why.text);
}

/* A server with another key ends the handshake without a word: it may have changed by now. */
static void try_other_key(struct peer_link *link)
{
	if (!link->up && link->member->next_public_key[0] != '\0' &&
	    uv_now(link->net->loop) - link->opened_ms >= OTHER_KEY_MS)
		connect_again(link);
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
	case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
		try_other_key(link);
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

static int monitor_open(struct peer_link *link, struct err *why)
{
	char endpoint[64];

	snprintf(endpoint, sizeof(endpoint), "inproc://peer-%p", (void *)link);
	if (zmq_socket_monitor(link->socket, endpoint,
			       ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED |
				       ZMQ_EVENT_HANDSHAKE_FAILED_AUTH |
				       ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL |
				       ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL) != 0)
		return err_set(why, ERR_IO, "watch it: %s", zmq_strerror(zmq_errno()));
	link->monitor = zmq_socket(link->net->context, ZMQ_PAIR);
	if (link->monitor == NULL || zmq_connect(link->monitor, endpoint) != 0)
		return err_set(why, ERR_IO, "watch it: %s", zmq_strerror(zmq_errno()));
	return zloop_attach_raw(&link->attached, link->net->loop, link->monitor, on_monitor, link,
				why);
}

void link_tick(struct peer_link *link)
{
	if (link->socket != NULL && !link->up &&
	    uv_now(link->net->loop) - link->opened_ms >= link->net->config.election_ms)
		connect_again(link);
}

int link_open(struct peer_net *net, const struct peer_member *member, struct err *why)
{
	struct peer_link *link = &net->links[member->id];
	int rc;

	link->net = net;
	link->member = member;
	link->socket = zmq_socket(net->context, ZMQ_PUSH);
	if (link->socket == NULL)
		return err_set(why, ERR_IO, "socket: %s", zmq_strerror(zmq_errno()));
	if ((rc = peer_options(net, link->socket, why)) < 0 || (rc = monitor_open(link, why)) < 0)
		return rc;
	return link_connect(link, why);
}

void link_close(struct peer_link *link)
{
	zloop_detach(link->attached);
	if (link->monitor != NULL) {
		(void)zmq_socket_monitor(link->socket, NULL, 0);
		zmq_close(link->monitor);
	}
	if (link->socket != NULL)
		zmq_close(link->socket);
	*link = (struct peer_link){.socket = NULL};
}
