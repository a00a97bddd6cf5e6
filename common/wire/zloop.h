/* A CZMQ socket inside a libuv loop: edge-triggered descriptor, drained before and after polling. */
#ifndef MHA_WIRE_ZLOOP_H
#define MHA_WIRE_ZLOOP_H

#include <czmq.h>
#include <uv.h>

#include "base/err.h"

struct zloop_socket;

/* Called once per readable socket until it is drained; must receive (without waiting) until EAGAIN or at most a bounded number of messages. Returns true if it stopped early and more may wait. */
typedef bool (*zloop_ready)(void *arg, zsock_t *socket);

/* Borrow `socket` until zloop_detach(). */
MUST_CHECK int zloop_attach(struct zloop_socket **attached, uv_loop_t *loop, zsock_t *socket,
			    zloop_ready ready, void *arg, struct err *why);
void zloop_detach(struct zloop_socket *attached);

#endif
