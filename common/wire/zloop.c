#include "wire/zloop.h"

#include <stdlib.h>
#include <zmq.h>

#include "base/check.h"

/*
 * ZMQ_FD becomes readable when there is something to look at, and says so once: whoever reads or
 * sends on the socket may swallow the signal. So ZMQ_EVENTS is asked before every wait of the loop
 * (uv_prepare), and the descriptor only serves to end the wait. While a reader stopped early, an
 * idle handle keeps the loop from waiting at all.
 */
struct zloop_socket {
	uv_poll_t poll;
	uv_prepare_t prepare;
	uv_idle_t idle;
	unsigned open_handles;
	bool detached;
	void *raw;
	zsock_t *czmq; /* NULL: attached as a raw socket */
	zloop_ready ready;
	zloop_raw_ready raw_ready;
	void *arg;
};

static void on_idle(uv_idle_t *handle)
{
	UNUSED(handle);
}

static bool readable(void *raw)
{
	int events = 0;
	size_t size = sizeof(events);

	/* Interrupted or terminating: nothing to read now. */
	if (zmq_getsockopt(raw, ZMQ_EVENTS, &events, &size) != 0)
		return false;
	return (events & ZMQ_POLLIN) != 0;
}

static void drain(struct zloop_socket *self)
{
	bool more = false;

	while (!self->detached && !more && readable(self->raw)) {
		if (self->czmq != NULL)
			more = self->ready(self->arg, self->czmq);
		else
			more = self->raw_ready(self->arg, self->raw);
	}
	if (self->detached)
		return;
	if (more)
		uv_idle_start(&self->idle, on_idle);
	else
		uv_idle_stop(&self->idle);
}

static void on_prepare(uv_prepare_t *handle)
{
	drain(handle->data);
}

static void on_poll(uv_poll_t *handle, int status, int events)
{
	UNUSED(status);
	UNUSED(events);
	drain(handle->data);
}

static void on_closed(uv_handle_t *handle)
{
	struct zloop_socket *self = handle->data;

	CHECK(self->open_handles > 0);
	if (--self->open_handles == 0)
		free(self);
}

static int attach(struct zloop_socket *self, uv_loop_t *loop, struct err *why)
{
	int fd = -1;
	size_t size = sizeof(fd);
	int rc;

	if (zmq_getsockopt(self->raw, ZMQ_FD, &fd, &size) != 0) {
		rc = err_set(why, ERR_IO, "watch a socket: %s", zmq_strerror(zmq_errno()));
		free(self);
		return rc;
	}
	rc = uv_poll_init(loop, &self->poll, fd);
	if (rc != 0) {
		rc = err_set(why, ERR_IO, "watch a socket: %s", uv_strerror(rc));
		free(self);
		return rc;
	}
	/* These two cannot fail. */
	uv_prepare_init(loop, &self->prepare);
	uv_idle_init(loop, &self->idle);
	self->poll.data = self->prepare.data = self->idle.data = self;
	self->open_handles = 3;

	uv_prepare_start(&self->prepare, on_prepare);
	rc = uv_poll_start(&self->poll, UV_READABLE, on_poll);
	if (rc != 0) {
		zloop_detach(self);
		return err_set(why, ERR_IO, "watch a socket: %s", uv_strerror(rc));
	}
	return 0;
}

int zloop_attach(struct zloop_socket **attached, uv_loop_t *loop, zsock_t *socket,
		 zloop_ready ready, void *arg, struct err *why)
{
	struct zloop_socket *self = calloc(1, sizeof(*self));

	if (self == NULL)
		return err_set(why, ERR_NO_MEMORY, "watch a socket: out of memory");
	self->raw = zsock_resolve(socket);
	self->czmq = socket;
	self->ready = ready;
	self->arg = arg;

	int rc = attach(self, loop, why);

	*attached = rc == 0 ? self : NULL;
	return rc;
}

int zloop_attach_raw(struct zloop_socket **attached, uv_loop_t *loop, void *socket,
		     zloop_raw_ready ready, void *arg, struct err *why)
{
	struct zloop_socket *self = calloc(1, sizeof(*self));

	if (self == NULL)
		return err_set(why, ERR_NO_MEMORY, "watch a socket: out of memory");
	self->raw = socket;
	self->raw_ready = ready;
	self->arg = arg;

	int rc = attach(self, loop, why);

	*attached = rc == 0 ? self : NULL;
	return rc;
}

void zloop_detach(struct zloop_socket *attached)
{
	if (attached == NULL || attached->detached)
		return;
	attached->detached = true;
	uv_close((uv_handle_t *)&attached->poll, on_closed);
	uv_close((uv_handle_t *)&attached->prepare, on_closed);
	uv_close((uv_handle_t *)&attached->idle, on_closed);
}
