/* What peer.c (the net and its door) and peer_link.c (connections to others) share. */
#ifndef MHA_WIRE_PEER_INTERNAL_H
#define MHA_WIRE_PEER_INTERNAL_H

#include "wire/peer.h"
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
	bool next;          /* it is asked for by the member's next_public_key */
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
	int listener;                   /* stays open while the door is changed; -1: none */
	char public_key[PEER_KEY_SIZE]; /* of config.secret_key */
	uint64_t dropped[PEER_DROP_COUNT];
	struct logged logged[NODES_MAX + 1][PEER_DROP_COUNT];
	struct peer_link links[NODES_MAX + 1]; /* by node id */
};

/* NULL: there is no such member. */
const struct peer_member *peer_member_of(const struct peer_net *net, node_id id);
/* This node's row; known to be there once the configuration has been checked. */
const struct peer_member *peer_own_member(const struct peer_net *net);

/* Options of every socket here, before it is bound or connected. */
MUST_CHECK int peer_options(const struct peer_net *net, void *socket, struct err *why);
MUST_CHECK int peer_option_int(void *socket, int option, int value, struct err *why);
MUST_CHECK int peer_option_text(void *socket, int option, const char *value, struct err *why);
/* "1.2.3.4:80" or "[::1]:80" */
void peer_address(const struct peer_member *member, char *text, size_t size);

/* peer_link.c */
MUST_CHECK int link_open(struct peer_net *net, const struct peer_member *member, struct err *why);
/* End the connection, if there is one, and ask for it with the keys that are configured now. */
MUST_CHECK int link_connect(struct peer_link *link, struct err *why);
/* The other side's key as it is asked for. */
const char *link_server_key(const struct peer_link *link);
/* Called now and then: what is down too long is asked for again. */
void link_tick(struct peer_link *link);
void link_close(struct peer_link *link);

#endif
