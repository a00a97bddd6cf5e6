/* A ZeroMQ socket inside a libuv loop: edge-triggered descriptor, drained before each wait. */
#ifndef MHA_WIRE_ZLOOP_H
#define MHA_WIRE_ZLOOP_H

#include <czmq.h>
#include <uv.h>

/* czmq.h brings syslog's macros, which would hide enum log_level. */
#undef LOG_WARNING
#undef LOG_NOTICE
#undef LOG_INFO
#undef LOG_DEBUG

#include "base/err.h"

struct zloop_socket;

/*
 * Called when `socket` is readable. Must receive (without waiting) until EAGAIN or at most a
 * bounded number of messages. Returns true if it stopped early and more may wait: the loop then
 * turns once, so that others get their share, and calls again. May call zloop_detach() for its
 * own socket, but must then return without touching it.
 */
typedef bool (*zloop_ready)(void *arg, zsock_t *socket);

/* Borrow `socket` until zloop_detach(). */
MUST_CHECK int zloop_attach(struct zloop_socket **attached, uv_loop_t *loop, zsock_t *socket,
			    zloop_ready ready, void *arg, struct err *why);

/* The same for a socket of plain libzmq, in whatever context. */
typedef bool (*zloop_raw_ready)(void *arg, void *socket);
MUST_CHECK int zloop_attach_raw(struct zloop_socket **attached, uv_loop_t *loop, void *socket,
				zloop_raw_ready ready, void *arg, struct err *why);

/*
 * The socket may be closed right after. NULL is fine. The memory goes when the loop has run the
 * close callbacks.
 */
void zloop_detach(struct zloop_socket *attached);

#endif
