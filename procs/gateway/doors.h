/*
 * The ZeroMQ sockets that clients come in by: the local one, open to every user of this host, and
 * those at client.listen and client.publish, where a key is proven if client.secret_file is given.
 */
#ifndef MHA_GATEWAY_DOORS_H
#define MHA_GATEWAY_DOORS_H

#include "gateway/access.h"
#include "gateway/tokens.h"
#include "wire/zap.h"
#include "wire/zloop.h"

enum door_id { DOOR_LOCAL, DOOR_REQUESTS, DOOR_EVENTS, DOOR_COUNT };

struct door {
	zsock_t *socket; /* NULL: not configured */
	struct zloop_socket *watched;
	int listener; /* stays open while the socket is made anew; -1: none */
};

struct doors {
	const struct worker *worker;
	const struct tokens *tokens;
	struct access *const *access; /* as it is now */
	struct zap *zap;
	zloop_ready ready; /* something waits at DOOR_LOCAL or DOOR_REQUESTS */
	void *arg;
	uint64_t refused; /* handshakes */
	uint64_t logged_ms;
	struct door doors[DOOR_COUNT];
};

/* Errors name the option. `access` points to what counts at any time. */
MUST_CHECK int doors_open(struct doors *doors, const struct worker *worker,
			  const struct tokens *tokens, struct access *const *access,
			  zloop_ready ready, void *arg, struct err *why);
/*
 * End all connections over TCP, which is the only way to end one: whoever is authorised is back at
 * once, subscribers miss what is published meanwhile.
 */
MUST_CHECK int doors_renew(struct doors *doors, struct err *why);
void doors_close(struct doors *doors);

#endif
