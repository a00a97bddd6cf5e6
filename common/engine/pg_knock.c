#include "engine/pg_knock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/macros.h"

/* The protocol's CancelRequest: length, code, process, key. */
#define CANCEL_CODE UINT32_C(80877102)

static void on_closed(uv_handle_t *handle)
{
	free(handle);
}

void pg_knock_init(struct pg_knock *knock, uv_loop_t *loop)
{
	*knock = (struct pg_knock){.loop = loop, .fd = -1};
}

void pg_knock_end(struct pg_knock *knock)
{
	if (knock->poll != NULL) {
		uv_poll_stop(knock->poll);
		uv_close((uv_handle_t *)knock->poll, on_closed);
		knock->poll = NULL;
	}
	if (knock->fd >= 0)
		close(knock->fd);
	knock->fd = -1;
	knock->sent = false;
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct pg_knock *knock = poll->data;
	const uint32_t request[4] = {htonl(16), htonl(CANCEL_CODE), 0, 0};
	char byte;
	ssize_t got;

	UNUSED(events);
	if (status < 0) {
		pg_knock_end(knock);
		return;
	}
	if (!knock->sent) {
		knock->sent = send(knock->fd, request, sizeof(request), MSG_NOSIGNAL) ==
			      (ssize_t)sizeof(request);
		if (!knock->sent || uv_poll_start(poll, UV_READABLE, on_poll) < 0)
			pg_knock_end(knock);
		return;
	}
	got = recv(knock->fd, &byte, 1, MSG_DONTWAIT);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	pg_knock_end(knock);
	if (got == 0)
		knock->heard(knock->arg);
}

void pg_knock_begin(struct pg_knock *knock, const char *socket_dir, uint64_t port,
		    void (*heard)(void *arg), void *arg)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	if (knock->fd >= 0)
		return;
	if (snprintf(address.sun_path, sizeof(address.sun_path), "%s/.s.PGSQL.%" PRIu64, socket_dir,
		     port) >= (int)sizeof(address.sun_path))
		return;
	knock->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (knock->fd < 0)
		return;
	knock->heard = heard;
	knock->arg = arg;
	knock->poll = calloc(1, sizeof(*knock->poll));
	/* A local connection is made at once, or its queue is full: then nobody hears. */
	if (knock->poll == NULL ||
	    connect(knock->fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    uv_poll_init(knock->loop, knock->poll, knock->fd) < 0) {
		free(knock->poll);
		knock->poll = NULL;
		pg_knock_end(knock);
		return;
	}
	knock->poll->data = knock;
	if (uv_poll_start(knock->poll, UV_WRITABLE, on_poll) < 0)
		pg_knock_end(knock);
}
