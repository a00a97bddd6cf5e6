/*
 * Messages between agents: ZeroMQ over TCP with CURVE, one way per connection. Each agent binds
 * one PULL socket (CURVE server) at its member's address and connects one PUSH per other member
 * (CURVE client), so both ends prove their enrolled keys. The ZAP handler lets enrolled keys
 * in; the key names the member, and a frame that says it is from anybody else is dropped.
 *
 * Best effort and bounded: what cannot be sent now is dropped; small queues, no linger. A
 * connection that died without a word (a cut network) is noticed by heartbeats well within T and
 * made anew, so traffic flows again within about T/2 after a cut has healed.
 */
#ifndef MHA_WIRE_PEER_H
#define MHA_WIRE_PEER_H

#include <uv.h>

#include "base/err.h"
#include "core/limits.h"
#include "core/types.h"
#include "peer.pb-c.h"
#include "wire/envelope.h"

#define PEER_KEY_SIZE 41 /* Z85 with the final NUL */

struct peer_member {
	node_id id;
	char name[NODE_NAME_SIZE];
	char address[64]; /* IPv4 or IPv6 address */
	uint16_t port;
	char public_key[PEER_KEY_SIZE];
	/* Accepted as well, and tried where the other is not answered; empty: none. */
	char next_public_key[PEER_KEY_SIZE];
};

struct peer_config {
	node_id self;
	uint64_t cluster_id;
	unsigned election_ms; /* T; the transport's timers follow from it */
	unsigned count;       /* members, self included */
	struct peer_member members[NODES_MAX];
	char secret_key[PEER_KEY_SIZE]; /* of `self` */
};

/* Why a message of another agent was dropped. */
enum peer_drop {
	PEER_DROP_STRANGER = 0, /* key not enrolled; refused before any message */
	PEER_DROP_CLUSTER,      /* another cluster id */
	PEER_DROP_VERSION,      /* another protocol version */
	PEER_DROP_MALFORMED,    /* does not decode, or a field out of range */
	PEER_DROP_IDENTITY,     /* says it is from, or for, another node than it is */
	PEER_DROP_TOO_BIG,
	PEER_DROP_COUNT
};

struct peer_net;

/* An envelope of enrolled member `from`: version, cluster, from and to are checked. Borrowed. */
typedef void (*peer_handler)(void *arg, node_id from, const Mha__Peer__Envelope *envelope);

/*
 * `context` is a libzmq context that outlives the object; it must have no other ZAP handler.
 * `config` is copied. The handler runs inside `loop` and must not close the object.
 * ERR_INVALID: a key or address that is none, or the secret key does not belong to the public
 * key that is configured for this node.
 */
MUST_CHECK int peer_open(struct peer_net **net, void *context, uv_loop_t *loop,
			 const struct peer_config *config, peer_handler handler, void *arg,
			 struct err *why);
/* NULL is fine. The loop must run once more to end the handles. */
void peer_close(struct peer_net *net);

/*
 * Take another list of members, and other keys, of this node and of others. Rows that stay keep
 * address and port, and nothing else may differ in `config` (ERR_REFUSED). Connections to new
 * members are opened. Members and keys that are gone count no more at once: their connections end,
 * and what they still sent is dropped. For that, and for a new key of this node, all connections
 * are made anew, which takes a few ms. ERR_INVALID: as peer_open(). Nothing changes on these two
 * errors; on ERR_IO this node is deaf or mute to some: close the object and open it anew.
 */
MUST_CHECK int peer_reload(struct peer_net *net, const struct peer_config *config, struct err *why);

/*
 * Send now or not at all. Fills version, cluster_id, from and to of `envelope`. ERR_BUSY: no
 * connection, or its queue is full. ERR_TOO_BIG. ERR_NOT_FOUND: no other member has that id.
 */
MUST_CHECK int peer_send(struct peer_net *net, node_id to, Mha__Peer__Envelope *envelope,
			 struct err *why);

/*
 * Count a message of `from` as dropped, and log it once per peer, reason and minute. For what the
 * handler itself finds wrong in a body.
 */
void peer_drop(struct peer_net *net, node_id from, enum peer_drop reason, const char *text);
uint64_t peer_dropped(const struct peer_net *net, enum peer_drop reason);
/* "stranger", "cluster", ... Never NULL. */
const char *peer_drop_name(enum peer_drop reason);

#endif
