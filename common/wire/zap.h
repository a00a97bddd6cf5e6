/*
 * Who may connect: libzmq asks inproc://zeromq.zap.01 (RFC 27) about each CURVE handshake, and
 * only the keys that `judge` knows get in. The proven public key travels with every later message
 * as its "User-Id" (zap_sender()), so that a key which is known no longer can be refused at once.
 */
#ifndef MHA_WIRE_ZAP_H
#define MHA_WIRE_ZAP_H

#include <stdbool.h>
#include <uv.h>
#include <zmq.h>

#include "base/err.h"

#define ZAP_DOMAIN   "mha"
#define ZAP_KEY_SIZE 41 /* Z85 with the final NUL */

struct zap;

/* May the holder of this key (Z85) connect? */
typedef bool (*zap_judge)(void *arg, const char *public_key);
/* A key that may not was refused; `text` names address and key. */
typedef void (*zap_stranger)(void *arg, const char *text);

/* One per libzmq context. */
MUST_CHECK int zap_open(struct zap **zap, void *context, uv_loop_t *loop, zap_judge judge,
			zap_stranger stranger, void *arg, struct err *why);
/* Sockets with this domain (static text) instead of ZAP_DOMAIN have a judge of their own. */
void zap_also(struct zap *zap, const char *domain, zap_judge judge);
/* After all sockets that ask. NULL is fine. */
void zap_close(struct zap *zap);

/*
 * The key that the sender of `message` has proven, or NULL: libzmq lets everybody in while there is
 * no handler, but then without a User-Id.
 */
const char *zap_sender(zmq_msg_t *message);

#endif
