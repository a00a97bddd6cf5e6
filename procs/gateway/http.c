#include "gateway/http.h"

#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "gateway/routes.h"
#include "os/listen.h"

#define HTTP_CONNECTIONS_MAX 256
#define HTTP_MEMORY_BYTES    8192 /* per connection: request line and headers */
#define HTTP_IDLE_S          10
#define HTTP_BACKLOG         128

/*
 * libmicrohttpd times out silence only. A client that sends a byte now and then is found here:
 * every connection must complete a request within HTTP_IDLE_S of the one before.
 */
struct http_connection {
	int fd; /* -1: free */
	uint64_t since_ms;
};

struct http {
	struct gateway *gateway;
	struct MHD_Daemon *daemon;
	uv_poll_t poll;
	uv_timer_t timer;
	unsigned handles; /* known to the loop */
	int listener;     /* -1: libmicrohttpd's */
	bool closed;      /* a connection was closed in this step */
	struct http_connection connections[HTTP_CONNECTIONS_MAX];
};

static void on_timer(uv_timer_t *timer);

/* libmicrohttpd has its own epoll set; it says how long it may be left alone. */
static void http_run(struct http *http)
{
	MHD_UNSIGNED_LONG_LONG wait_ms;

	/*
	 * At its limit of connections it stops listening, and looks whether it may listen again at
	 * the beginning of a step only: a step that closes some is followed by another one.
	 */
	for (unsigned step = 0; step == 0 || (http->closed && step < 2); step++) {
		http->closed = false;
		if (MHD_run(http->daemon) != MHD_YES)
			log_event(LOG_WARNING, "gateway.http",
				  "the HTTP server could not take its step");
	}
	if (MHD_get_timeout(http->daemon, &wait_ms) == MHD_YES)
		CHECK(uv_timer_start(&http->timer, on_timer, wait_ms, 0) == 0);
	else
		uv_timer_stop(&http->timer);
}

static void on_timer(uv_timer_t *timer)
{
	http_run(timer->data);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	UNUSED(status);
	UNUSED(events);
	http_run(poll->data);
}

static void on_connection(void *arg, struct MHD_Connection *connection, void **context,
			  enum MHD_ConnectionNotificationCode code)
{
	struct http *http = arg;
	const union MHD_ConnectionInfo *info;
	struct http_connection *row = *context;

	if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
		if (row != NULL)
			row->fd = -1;
		http->closed = true;
		*context = NULL;
		return;
	}
	info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	for (unsigned i = 0; info != NULL && i < HTTP_CONNECTIONS_MAX; i++) {
		row = &http->connections[i];
		if (row->fd < 0) {
			row->fd = info->connect_fd;
			row->since_ms = uv_now(http->gateway->worker->loop);
			*context = row;
			return;
		}
	}
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **context,
			 enum MHD_RequestTerminationCode code)
{
	struct http *http = arg;
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct http_connection *row = info != NULL ? info->socket_context : NULL;

	UNUSED(context);
	if (row != NULL && code == MHD_REQUEST_TERMINATED_COMPLETED_OK)
		row->since_ms = uv_now(http->gateway->worker->loop);
}

static enum MHD_Result add_query(void *arg, enum MHD_ValueKind kind, const char *name,
				 const char *value)
{
	struct http_request *request = arg;

	UNUSED(kind);
	if (request->query_count == HTTP_QUERY_MAX)
		return MHD_NO;
	request->query[request->query_count++] = (struct http_query){name, value};
	return MHD_YES;
}

static enum MHD_Result answer_send(struct MHD_Connection *connection, struct http_answer *answer)
{
	struct MHD_Response *response;
	size_t size = answer->body != NULL ? strlen(answer->body) : 0;
	enum MHD_Result result;

	response = MHD_create_response_from_buffer(size, answer->body, MHD_RESPMEM_MUST_FREE);
	if (response == NULL) {
		free(answer->body);
		return MHD_NO;
	}
	if (answer->type != NULL)
		(void)MHD_add_response_header(response, "Content-Type", answer->type);
	if (answer->allow != NULL)
		(void)MHD_add_response_header(response, "Allow", answer->allow);
	(void)MHD_add_response_header(response, "Cache-Control", "no-store");
	result = MHD_queue_response(connection, answer->status, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url,
				  const char *method, const char *version, const char *data,
				  size_t *data_size, void **context)
{
	struct http *http = arg;
	struct gateway *gateway = http->gateway;
	struct http_request request = {.method = method, .path = url};
	struct http_answer answer;

	UNUSED(version);
	UNUSED(data);
	/* The first call comes with the headers only; a body is read and thrown away. */
	if (*context == NULL) {
		*context = http;
		return MHD_YES;
	}
	if (*data_size != 0) {
		*data_size = 0;
		return MHD_YES;
	}
	MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, add_query, &request);
	http_answer(
		&request,
		&(struct http_world){.view = gateway_look(gateway),
				     .events = &gateway->events,
				     .counters = &gateway->counters,
				     .http_listen = gateway->worker->conf.http_listen,
				     .election_ns = gateway->worker->conf.election_ms * 1000000},
		&answer);
	gateway->counters.http_requests++;
	if (answer.status >= 400 && answer.status != 503)
		gateway->counters.refused++;
	return answer_send(connection, &answer);
}

static int http_listen(struct http *http, const char *address, struct err *why)
{
	const int fd = listen_tcp(address, HTTP_BACKLOG, false, why);

	if (fd < 0)
		return fd;
	http->listener = fd;
	return 0;
}

static int http_serve(struct http *http, struct err *why)
{
	const union MHD_DaemonInfo *info;
	uv_loop_t *loop = http->gateway->worker->loop;

	http->daemon = MHD_start_daemon(
		MHD_USE_EPOLL, 0, NULL, NULL, on_request, http, MHD_OPTION_LISTEN_SOCKET,
		http->listener, MHD_OPTION_CONNECTION_LIMIT, (unsigned)HTTP_CONNECTIONS_MAX,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HTTP_MEMORY_BYTES,
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)HTTP_IDLE_S, MHD_OPTION_NOTIFY_CONNECTION,
		on_connection, http, MHD_OPTION_NOTIFY_COMPLETED, on_completed, http,
		MHD_OPTION_END);
	if (http->daemon == NULL)
		return err_set(why, ERR_IO, "the HTTP server does not start");
	http->listener = -1;
	info = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	if (info == NULL || uv_poll_init(loop, &http->poll, info->epoll_fd) != 0)
		return err_set(why, ERR_IO, "the HTTP server cannot be watched");
	CHECK(uv_timer_init(loop, &http->timer) == 0);
	http->handles = 2;
	http->poll.data = http->timer.data = http;
	if (uv_poll_start(&http->poll, UV_READABLE, on_poll) != 0)
		return err_set(why, ERR_IO, "the HTTP server cannot be watched");
	http_run(http);
	return 0;
}

int http_open(struct http **opened, struct gateway *gateway, struct err *why)
{
	struct http *http = calloc(1, sizeof(*http));
	int rc;

	*opened = NULL;
	if (http == NULL)
		return err_set(why, ERR_NO_MEMORY, "%zu bytes", sizeof(*http));
	http->gateway = gateway;
	http->listener = -1;
	for (unsigned i = 0; i < HTTP_CONNECTIONS_MAX; i++)
		http->connections[i].fd = -1;
	if ((rc = http_listen(http, gateway->worker->conf.http_listen, why)) < 0 ||
	    (rc = http_serve(http, why)) < 0) {
		http_close(http);
		return rc;
	}
	*opened = http;
	return 0;
}

static void on_closed(uv_handle_t *handle)
{
	struct http *http = handle->data;

	if (--http->handles == 0)
		free(http);
}

void http_close(struct http *http)
{
	if (http == NULL)
		return;
	if (http->handles > 0) {
		uv_close((uv_handle_t *)&http->poll, on_closed);
		uv_close((uv_handle_t *)&http->timer, on_closed);
	}
	if (http->daemon != NULL)
		MHD_stop_daemon(http->daemon);
	if (http->listener >= 0)
		close(http->listener);
	/* Otherwise the loop still knows its handles and frees it. */
	if (http->handles == 0)
		free(http);
}

void http_drop_idle(struct http *http)
{
	uint64_t now_ms = uv_now(http->gateway->worker->loop);

	for (unsigned i = 0; i < HTTP_CONNECTIONS_MAX; i++) {
		struct http_connection *row = &http->connections[i];

		/* libmicrohttpd sees the end of the stream and closes the descriptor itself. */
		if (row->fd >= 0 && now_ms - row->since_ms > HTTP_IDLE_S * UINT64_C(1000))
			(void)shutdown(row->fd, SHUT_RDWR);
	}
	http_run(http);
}
