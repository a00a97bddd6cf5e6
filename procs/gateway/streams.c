#include "gateway/streams.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/macros.h"
#include "gateway/sse.h"

#define BLOCK_BYTES  1024
#define SOCKET_BYTES 32768
/* What is to be sent must move within that; and a comment is sent after so long without an event.
 */
#define STUCK_MS UINT64_C(10000)
#define PING_MS  UINT64_C(15000)
/* After a break, browsers come back when so long has passed. */
#define HELLO   "retry: 1000\n\n"
#define COMMENT ":\n\n"

struct stream {
	struct streams *streams;
	struct MHD_Connection *connection;
	int fd;
	bool suspended;
	bool ping;
	bool dropped;
	struct sse sse;
	uint64_t moved_ms; /* when it last took something */
	char *text;        /* NULL: none is under way */
	size_t size, sent;
};

static uint64_t now_ms(const struct stream *stream)
{
	return uv_now(stream->streams->gateway->worker->loop);
}

static void resume(struct stream *stream)
{
	if (!stream->suspended)
		return;
	stream->suspended = false;
	MHD_resume_connection(stream->connection);
}

/* libmicrohttpd sees the end of the stream, and closes the descriptor itself. */
static void drop(struct stream *stream)
{
	stream->dropped = true;
	(void)shutdown(stream->fd, SHUT_RDWR);
	resume(stream);
}

static void drop_slow(struct stream *stream, const char *why)
{
	char at[EVENT_NUMBER_SIZE];

	if (stream->dropped)
		return;
	stream->streams->gateway->counters.streams_slow++;
	log_event(LOG_NOTICE, "gateway.stream_slow", "after=%s %s",
		  event_number_format(stream->sse.at, at), why);
	drop(stream);
}

static enum sse_end take_text(struct stream *stream)
{
	enum sse_end end = sse_next(&stream->sse, &stream->streams->gateway->events, &stream->text);

	if (end == SSE_NOTHING && stream->ping) {
		stream->text = strdup(COMMENT);
		end = stream->text != NULL ? SSE_TEXT : SSE_FAILED;
	}
	stream->ping = false;
	if (end == SSE_TEXT) {
		stream->size = strlen(stream->text);
		stream->sent = 0;
	}
	return end;
}

static ssize_t on_read(void *arg, uint64_t position, char *to, size_t room)
{
	struct stream *stream = arg;
	size_t length;

	UNUSED(position);
	if (stream->streams->closing || stream->dropped)
		return MHD_CONTENT_READER_END_OF_STREAM;
	stream->moved_ms = now_ms(stream);
	if (stream->text == NULL) {
		switch (take_text(stream)) {
		case SSE_TEXT:
			break;
		case SSE_NOTHING:
			stream->suspended = true;
			MHD_suspend_connection(stream->connection);
			return 0;
		case SSE_LOST:
			drop_slow(stream, "what it has not taken is no longer kept");
			return MHD_CONTENT_READER_END_WITH_ERROR;
		default:
			return MHD_CONTENT_READER_END_WITH_ERROR;
		}
	}
	length = stream->size - stream->sent < room ? stream->size - stream->sent : room;
	memcpy(to, stream->text + stream->sent, length);
	stream->sent += length;
	if (stream->sent == stream->size) {
		free(stream->text);
		stream->text = NULL;
	}
	return (ssize_t)length;
}

static void on_free(void *arg)
{
	struct stream *stream = arg;

	for (unsigned i = 0; i < STREAMS_MAX; i++) {
		if (stream->streams->list[i] == stream)
			stream->streams->list[i] = NULL;
	}
	stream->streams->gateway->counters.streams = streams_count(stream->streams);
	free(stream->text);
	free(stream);
}

static struct stream *stream_new(struct MHD_Connection *connection,
				 const struct http_answer *answer)
{
	static const int bytes = SOCKET_BYTES;
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct stream *stream = info != NULL ? calloc(1, sizeof(*stream)) : NULL;

	if (stream == NULL || (stream->text = strdup(HELLO)) == NULL) {
		free(stream);
		return NULL;
	}
	stream->connection = connection;
	stream->fd = info->connect_fd;
	stream->size = strlen(stream->text);
	stream->sse = (struct sse){.at = answer->since, .wanted = answer->since_given};
	/* Here a connection that says nothing is in order. */
	if (MHD_set_connection_option(connection, MHD_CONNECTION_OPTION_TIMEOUT, 0U) != MHD_YES ||
	    setsockopt(stream->fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes)) != 0) {
		free(stream->text);
		free(stream);
		return NULL;
	}
	return stream;
}

struct MHD_Response *streams_add(struct streams *streams, struct MHD_Connection *connection,
				 const struct http_answer *answer)
{
	struct MHD_Response *response;
	struct stream *stream;
	unsigned at = 0;

	while (at < STREAMS_MAX && streams->list[at] != NULL)
		at++;
	if (at == STREAMS_MAX || (stream = stream_new(connection, answer)) == NULL)
		return NULL;
	stream->streams = streams;
	stream->moved_ms = now_ms(stream);
	response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_BYTES, on_read, stream,
						     on_free);
	if (response == NULL) {
		free(stream->text);
		free(stream);
		return NULL;
	}
	streams->list[at] = stream;
	streams->gateway->counters.streams = streams_count(streams);
	return response;
}

void streams_look(struct streams *streams)
{
	const struct events *events = &streams->gateway->events;

	for (unsigned i = 0; i < STREAMS_MAX; i++) {
		struct stream *stream = streams->list[i];

		if (stream == NULL)
			continue;
		if (sse_lost(&stream->sse, events))
			drop_slow(stream, "what it has not taken is no longer kept");
		else if (stream->suspended && sse_ready(&stream->sse, events))
			resume(stream);
	}
}

static void tick(struct stream *stream)
{
	const uint64_t still_ms = now_ms(stream) - stream->moved_ms;
	ssize_t got;
	char byte;

	if (!stream->suspended) {
		if (still_ms > STUCK_MS)
			drop_slow(stream, "it takes nothing");
		return;
	}
	/* A suspended connection is not looked at by libmicrohttpd: has the client left? */
	got = recv(stream->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
	if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
		drop(stream);
		return;
	}
	if (still_ms > PING_MS) {
		stream->ping = true;
		resume(stream);
	}
}

void streams_tick(struct streams *streams)
{
	for (unsigned i = 0; i < STREAMS_MAX; i++) {
		if (streams->list[i] != NULL)
			tick(streams->list[i]);
	}
}

void streams_release(struct streams *streams)
{
	streams->closing = true;
	for (unsigned i = 0; i < STREAMS_MAX; i++) {
		if (streams->list[i] != NULL)
			resume(streams->list[i]);
	}
}

unsigned streams_count(const struct streams *streams)
{
	unsigned count = 0;

	for (unsigned i = 0; i < STREAMS_MAX; i++)
		count += streams->list[i] != NULL;
	return count;
}
