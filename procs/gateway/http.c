#include "gateway/http.h"

#include <microhttpd.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "base/macros.h"
#include "gateway/access.h"
#include "gateway/calls.h"
#include "gateway/problems.h"
#include "gateway/routes.h"
#include "gateway/streams.h"
#include "gateway/tls.h"
#include "os/listen.h"

#define HTTP_CONNECTIONS_MAX 256
#define HTTP_MEMORY_BYTES    8192 /* per connection: request line and headers */
#define HTTP_IDLE_S          10
#define HTTP_BACKLOG         128
#define TLS_DIGEST_BYTES     32
#define HTTP_WORDS_MS        10000 /* so often at most a lack is logged */

/*
 * libmicrohttpd times out silence only. A client that sends a byte now and then is found here:
 * every connection must complete a request within HTTP_IDLE_S of the one before.
 */
struct http_connection {
	int fd; /* -1: free */
	uint64_t since_ms;
	bool waits; /* for the end of a call, or for events */
};

struct http {
	struct gateway *gateway;
	struct MHD_Daemon *daemon;
	uv_poll_t *poll; /* freed by the loop */
	uv_timer_t timer;
	bool timer_open; /* the loop knows it */
	int listener;    /* -1: libmicrohttpd's */
	bool closed;     /* a connection was closed in this step */
	struct http_calls calls;
	uint64_t lack_ms; /* when a lack was logged; 0: never */
	struct streams streams;
	unsigned char tls_digest[TLS_DIGEST_BYTES]; /* of what the server was started with */
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
			row->waits = false;
			*context = row;
			return;
		}
	}
}

static struct http_connection *row_of(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return info != NULL ? info->socket_context : NULL;
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **context,
			 enum MHD_RequestTerminationCode code)
{
	struct http *http = arg;
	struct http_connection *row = row_of(connection);

	/* Anything but the mark of a question is a call. */
	if (*context != NULL && *context != http)
		calls_remove(&http->calls, *context);
	*context = NULL;
	if (row != NULL)
		row->waits = false;
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

static enum MHD_Result response_send(struct MHD_Connection *connection,
				     struct MHD_Response *response,
				     const struct http_answer *answer)
{
	enum MHD_Result result;

	if (answer->type != NULL)
		(void)MHD_add_response_header(response, "Content-Type", answer->type);
	if (answer->allow != NULL)
		(void)MHD_add_response_header(response, "Allow", answer->allow);
	if (answer->challenge != NULL)
		(void)MHD_add_response_header(response, "WWW-Authenticate", answer->challenge);
	if (answer->location[0] != '\0')
		(void)MHD_add_response_header(response, "Location", answer->location);
	(void)MHD_add_response_header(response, "Cache-Control", "no-store");
	result = MHD_queue_response(connection, answer->status, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result answer_send(struct MHD_Connection *connection, struct http_answer *answer)
{
	struct MHD_Response *response;
	size_t size = answer->body != NULL ? strlen(answer->body) : 0;

	response = MHD_create_response_from_buffer(size, answer->body, MHD_RESPMEM_MUST_FREE);
	if (response == NULL) {
		free(answer->body);
		return MHD_NO;
	}
	return response_send(connection, response, answer);
}

static void count(struct gateway *gateway, unsigned status)
{
	gateway->counters.http_requests++;
	if (status >= 400 && status != 503)
		gateway->counters.refused++;
}

static enum MHD_Result stream_begin(struct http *http, struct MHD_Connection *connection,
				    struct http_answer *answer)
{
	struct MHD_Response *response = streams_add(&http->streams, connection, answer);
	struct http_connection *row = row_of(connection);

	if (response == NULL) {
		problem_answer(answer, PROBLEM_BUSY, NULL,
			       "%u clients hear events already, and no more than %d may",
			       streams_count(&http->streams), STREAMS_MAX);
		count(http->gateway, answer->status);
		return answer_send(connection, answer);
	}
	count(http->gateway, answer->status);
	if (row != NULL)
		row->waits = true;
	return response_send(connection, response, answer);
}

static const char *header(struct MHD_Connection *connection, const char *name)
{
	return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

static enum MHD_Result question(struct http *http, struct MHD_Connection *connection,
				const char *url, const char *method)
{
	struct gateway *gateway = http->gateway;
	struct http_request request = {.method = method,
				       .path = url,
				       .accept = header(connection, "Accept"),
				       .last_event = header(connection, "Last-Event-ID")};
	struct http_answer answer;
	const uint64_t began_ns = uv_hrtime();

	MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, add_query, &request);
	http_answer(
		&request,
		&(struct http_world){.view = gateway_look(gateway),
				     .events = &gateway->events,
				     .counters = &gateway->counters,
				     .lag = &gateway->lag,
				     .http_listen = gateway->worker->conf.http_listen,
				     .election_ns = gateway->worker->conf.election_ms * 1000000},
		&answer);
	if (answer.stream)
		return stream_begin(http, connection, &answer);
	count(gateway, answer.status);
	status_time_add(&gateway->counters.http, (uv_hrtime() - began_ns) / 1000);
	return answer_send(connection, &answer);
}

/* Called when all of it is here, and again when its end has come. */
static enum MHD_Result change(struct http *http, struct MHD_Connection *connection,
			      struct http_call *call)
{
	struct http_connection *row = row_of(connection);
	struct http_answer answer;

	if (!call->answered && !call_begin(&http->calls, call)) {
		call->waiting = true;
		if (row != NULL)
			row->waits = true;
		MHD_suspend_connection(connection);
		return MHD_YES;
	}
	answer = call->answer;
	call->answer.body = NULL;
	count(http->gateway, answer.status);
	return answer_send(connection, &answer);
}

/* The headers are here. What changes something is kept apart from the first moment on. */
static enum MHD_Result begin(struct http *http, struct MHD_Connection *connection, const char *url,
			     const char *method, void **context)
{
	const struct action *action = action_find(method, url);
	struct http_answer answer;
	struct auth_result who;

	*context = http;
	if (action == NULL)
		return MHD_YES;
	if (!calls_admit(&http->calls, action, connection, &who, &answer)) {
		count(http->gateway, answer.status);
		return answer_send(connection, &answer);
	}
	*context = calls_add(&http->calls, action, connection, &who);
	if (*context != NULL)
		return MHD_YES;
	*context = http;
	action_refuse(action, &answer, PROBLEM_BUSY, "too many changes are under way; ask again");
	count(http->gateway, answer.status);
	return answer_send(connection, &answer);
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url,
				  const char *method, const char *version, const char *data,
				  size_t *data_size, void **context)
{
	struct http *http = arg;

	UNUSED(version);
	if (*context == NULL)
		return begin(http, connection, url, method, context);
	if (*data_size != 0) {
		/* Of a question the body is read and thrown away. */
		if (*context != http)
			call_take(*context, data, *data_size);
		*data_size = 0;
		return MHD_YES;
	}
	if (*context != http)
		return change(http, connection, *context);
	return question(http, connection, url, method);
}

/*
 * What libmicrohttpd says of this process: that it has no descriptor or memory for another
 * connection. What it says of clients is theirs to know.
 */
static void on_words(void *arg, const char *format, va_list list) PRINTF_LIKE(2, 0);

static void on_words(void *arg, const char *format, va_list list)
{
	struct http *http = arg;
	const uint64_t now = uv_now(http->gateway->worker->loop);
	char text[200];

	if (vsnprintf(text, sizeof(text), format, list) < 0 ||
	    (strstr(text, "resource limit") == NULL &&
	     strstr(text, "accepting connection") == NULL))
		return;
	if (http->lack_ms != 0 && now - http->lack_ms < HTTP_WORDS_MS)
		return;
	http->lack_ms = now;
	text[strcspn(text, "\n")] = '\0';
	log_event(LOG_WARNING, "gateway.http", "connections are refused: %s", text);
}

static int http_listen(struct http *http, const char *address, struct err *why)
{
	const int fd = listen_tcp(address, HTTP_BACKLOG, false, why);

	if (fd < 0)
		return fd;
	http->listener = fd;
	return 0;
}

static void add_option(struct MHD_OptionItem *options, enum MHD_OPTION option, const char *text)
{
	union {
		const char *from;
		char *to;
	} value = {.from = text};

	while (options->option != MHD_OPTION_END)
		options++;
	*options = (struct MHD_OptionItem){option, 0, value.to};
}

/* Of all that a TLS connection is made with. */
static void tls_digest(const struct http *http, unsigned char digest[TLS_DIGEST_BYTES])
{
	static const enum bundle_part parts[] = {BUNDLE_TLS_CERTIFICATE, BUNDLE_TLS_KEY,
						 BUNDLE_TLS_CLIENT_CA};
	const struct bundle *files = &http->gateway->access->files;
	crypto_generichash_state state;

	(void)crypto_generichash_init(&state, NULL, 0, TLS_DIGEST_BYTES);
	for (size_t i = 0; i < COUNT_OF(parts); i++) {
		const char *text = files->text[parts[i]] != NULL ? files->text[parts[i]] : "";

		/* With the final NUL, so that nothing moves from one part into the next. */
		(void)crypto_generichash_update(&state, (const unsigned char *)text,
						strlen(text) + 1);
	}
	(void)crypto_generichash_final(&state, digest, TLS_DIGEST_BYTES);
	sodium_memzero(&state, sizeof(state));
}

static int start_daemon(struct http *http, struct err *why)
{
	const struct bundle *files = &http->gateway->access->files;
	struct MHD_OptionItem tls[6] = {{MHD_OPTION_END, 0, NULL}, {MHD_OPTION_END, 0, NULL},
					{MHD_OPTION_END, 0, NULL}, {MHD_OPTION_END, 0, NULL},
					{MHD_OPTION_END, 0, NULL}, {MHD_OPTION_END, 0, NULL}};
	unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;

	if (files->text[BUNDLE_TLS_CERTIFICATE] != NULL) {
		flags |= MHD_USE_TLS;
		add_option(tls, MHD_OPTION_HTTPS_MEM_CERT, files->text[BUNDLE_TLS_CERTIFICATE]);
		add_option(tls, MHD_OPTION_HTTPS_MEM_KEY, files->text[BUNDLE_TLS_KEY]);
		add_option(tls, MHD_OPTION_HTTPS_PRIORITIES, TLS_PRIORITIES);
		if (files->text[BUNDLE_TLS_CLIENT_CA] != NULL)
			add_option(tls, MHD_OPTION_HTTPS_MEM_TRUST,
				   files->text[BUNDLE_TLS_CLIENT_CA]);
	}
	http->daemon = MHD_start_daemon(
		flags, 0, NULL, NULL, on_request, http, MHD_OPTION_EXTERNAL_LOGGER, on_words, http,
		MHD_OPTION_LISTEN_SOCKET, http->listener, MHD_OPTION_CONNECTION_LIMIT,
		(unsigned)HTTP_CONNECTIONS_MAX, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
		(size_t)HTTP_MEMORY_BYTES, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)HTTP_IDLE_S,
		MHD_OPTION_NOTIFY_CONNECTION, on_connection, http, MHD_OPTION_NOTIFY_COMPLETED,
		on_completed, http, MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
	if (http->daemon == NULL)
		return err_set(why, ERR_IO, "the HTTP server does not start");
	http->listener = -1;
	tls_digest(http, http->tls_digest);
	return 0;
}

static void on_poll_closed(uv_handle_t *handle)
{
	free(handle);
}

static void unwatch(struct http *http)
{
	if (http->poll != NULL)
		uv_close((uv_handle_t *)http->poll, on_poll_closed);
	http->poll = NULL;
}

static int watch(struct http *http, struct err *why)
{
	const union MHD_DaemonInfo *info =
		MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD);

	http->poll = calloc(1, sizeof(*http->poll));
	if (http->poll == NULL)
		return err_set(why, ERR_NO_MEMORY, "%zu bytes", sizeof(*http->poll));
	if (info == NULL ||
	    uv_poll_init(http->gateway->worker->loop, http->poll, info->epoll_fd) != 0) {
		free(http->poll);
		http->poll = NULL;
		return err_set(why, ERR_IO, "the HTTP server cannot be watched");
	}
	http->poll->data = http;
	if (uv_poll_start(http->poll, UV_READABLE, on_poll) != 0)
		return err_set(why, ERR_IO, "the HTTP server cannot be watched");
	return 0;
}

static int http_serve(struct http *http, struct err *why)
{
	int rc = start_daemon(http, why);

	if (rc < 0 || (rc = watch(http, why)) < 0)
		return rc;
	CHECK(uv_timer_init(http->gateway->worker->loop, &http->timer) == 0);
	http->timer.data = http;
	http->timer_open = true;
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
	http->streams.gateway = gateway;
	http->listener = -1;
	for (unsigned i = 0; i < HTTP_CONNECTIONS_MAX; i++)
		http->connections[i].fd = -1;
	if ((rc = calls_init(&http->calls, gateway, why)) < 0 ||
	    (rc = http_listen(http, gateway->worker->conf.http_listen, why)) < 0 ||
	    (rc = http_serve(http, why)) < 0) {
		http_close(http);
		return rc;
	}
	*opened = http;
	return 0;
}

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void stop_daemon(struct http *http)
{
	/* Whoever is suspended would be waited for. */
	for (unsigned i = 0; i < HTTP_CALLS_MAX; i++) {
		struct http_call *call = http->calls.list[i];

		if (call != NULL && call->waiting)
			MHD_resume_connection(call->connection);
		if (call != NULL)
			call->waiting = false;
	}
	streams_release(&http->streams);
	if (http->daemon != NULL)
		MHD_stop_daemon(http->daemon);
	http->daemon = NULL;
	http->streams.closing = false;
}

int http_reload(struct http *http, struct err *why)
{
	unsigned char digest[TLS_DIGEST_BYTES];
	int rc;

	auth_forget(&http->calls.auth);
	if (http->gateway->access->files.text[BUNDLE_TLS_CERTIFICATE] == NULL)
		return 0;
	/* Whoever has asked for the reload is told its end, unless the certificate is another one.
	 */
	tls_digest(http, digest);
	if (memcmp(digest, http->tls_digest, sizeof(digest)) == 0)
		return 0;
	/* The listening socket stays; connections end and are made anew with the new certificate.
	 */
	http->listener = MHD_quiesce_daemon(http->daemon);
	unwatch(http);
	stop_daemon(http);
	if (http->listener < 0)
		return err_set(why, ERR_IO, "the listening socket was lost");
	if ((rc = start_daemon(http, why)) < 0 || (rc = watch(http, why)) < 0)
		return rc;
	http_run(http);
	return 0;
}

void http_close(struct http *http)
{
	if (http == NULL)
		return;
	unwatch(http);
	stop_daemon(http);
	if (http->listener >= 0)
		close(http->listener);
	/* Otherwise the loop still knows its timer and frees it. */
	if (http->timer_open)
		uv_close((uv_handle_t *)&http->timer, on_closed);
	else
		free(http);
}

bool http_call_end(struct http *http, const struct call_result *result)
{
	if (http == NULL || !calls_end(&http->calls, result))
		return false;
	http_run(http);
	return true;
}

void http_reloaded(struct http *http, int code)
{
	if (http == NULL)
		return;
	calls_reloaded(&http->calls, code);
	http_run(http);
}

void http_look(struct http *http)
{
	if (http == NULL)
		return;
	calls_look(&http->calls);
	streams_look(&http->streams);
	http_run(http);
}

void http_drop_idle(struct http *http)
{
	uint64_t now_ms = uv_now(http->gateway->worker->loop);

	for (unsigned i = 0; i < HTTP_CONNECTIONS_MAX; i++) {
		struct http_connection *row = &http->connections[i];

		/* libmicrohttpd sees the end of the stream and closes the descriptor itself. */
		if (row->fd >= 0 && !row->waits &&
		    now_ms - row->since_ms > HTTP_IDLE_S * UINT64_C(1000))
			(void)shutdown(row->fd, SHUT_RDWR);
	}
	streams_tick(&http->streams);
	http_run(http);
}
