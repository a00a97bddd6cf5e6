/*
 * Who may connect: libzmq asks inproc://zeromq.zap.01 (RFC 27) about each CURVE handshake, and
 * only enrolled keys get in. The member's id travels with every later message as its "User-Id".
 */
#ifndef MHA_WIRE_ZAP_H
#define MHA_WIRE_ZAP_H

#include <uv.h>

#include "base/err.h"
#include "core/types.h"

#define ZAP_DOMAIN   "mha"
#define ZAP_KEY_SIZE 41 /* Z85 with the final NUL */
#define ZAP_KEYS_MAX 16

struct zap_key {
	node_id id; /* 1..9 */
	char public_key[ZAP_KEY_SIZE];
};

struct zap;

/* A key that is not enrolled was refused; `text` names address and key. */
typedef void (*zap_stranger)(void *arg, const char *text);

/* One per libzmq context. `keys` are copied. */
MUST_CHECK int zap_open(struct zap **zap, void *context, uv_loop_t *loop,
			const struct zap_key *keys, unsigned count, zap_stranger stranger,
			void *arg, struct err *why);
/* After all sockets that ask. NULL is fine. */
void zap_close(struct zap *zap);

#endif
