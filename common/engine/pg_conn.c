#include "engine/pg_conn.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/check.h"
#include "os/clock.h"

/* How soon to try again when nobody more may wait for the server. */
#define QUEUE_FULL_MS 20

static void advance(struct pg_conn *conn);

static void on_closed(uv_handle_t *handle)
{
	free(handle);
}

void pg_conn_init(struct pg_conn *conn, uv_loop_t *loop)
{
	*conn = (struct pg_conn){.loop = loop, .watched = -1};
}

static void clear_results(struct pg_conn *conn)
{
	for (unsigned i = 0; i < conn->count; i++)
		PQclear(conn->results[i]);
	conn->count = 0;
}

static void unwatch(struct pg_conn *conn)
{
	if (conn->poll != NULL) {
		uv_poll_stop(conn->poll);
		uv_close((uv_handle_t *)conn->poll, on_closed);
	}
	conn->poll = NULL;
	conn->watched = -1;
}

void pg_conn_close(struct pg_conn *conn)
{
	unwatch(conn);
	if (conn->timer != NULL)
		uv_close((uv_handle_t *)conn->timer, on_closed);
	conn->timer = NULL;
	if (conn->again != NULL)
		uv_close((uv_handle_t *)conn->again, on_closed);
	conn->again = NULL;
	clear_results(conn);
	if (conn->conn != NULL)
		PQfinish(conn->conn);
	conn->conn = NULL;
	conn->connecting = conn->ready = conn->busy = false;
	conn->done = NULL;
}

/* Tell how it ended. The callee may close, query or open the connection again. */
static void conclude(struct pg_conn *conn, enum pg_answer answer, const char *text)
{
	const pg_done done = conn->done;
	void *arg = conn->arg;
	PGresult *results[PG_RESULTS_MAX];
	const unsigned count = conn->count;
	char copy[256];

	/* The text may live in what is freed below. */
	strncpy(copy, text, sizeof(copy) - 1);
	copy[sizeof(copy) - 1] = '\0';
	copy[strcspn(copy, "\n")] = '\0';
	memcpy(results, conn->results, sizeof(results));
	conn->count = 0;
	conn->done = NULL;
	conn->connecting = conn->busy = false;
	if (answer == PG_OK || (answer == PG_DENIED && count > 0)) {
		conn->ready = true;
		uv_timer_stop(conn->timer);
	} else {
		pg_conn_close(conn);
	}
	if (done != NULL)
		done(arg, answer, results, count, copy);
	for (unsigned i = 0; i < count; i++)
		PQclear(results[i]);
}

static void on_timeout(uv_timer_t *timer)
{
	struct pg_conn *conn = timer->data;

	clear_results(conn);
	conclude(conn, PG_TIMEOUT,
		 conn->connecting ? "no answer to a new connection" : "no answer to a query");
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
	UNUSED(status);
	UNUSED(events);
	advance(poll->data);
}

/* Watch the connection's descriptor, which may have changed. False: out of memory. */
static bool watch(struct pg_conn *conn, int events)
{
	const int fd = PQsocket(conn->conn);

	if (fd != conn->watched)
		unwatch(conn);
	if (conn->poll == NULL) {
		conn->poll = malloc(sizeof(*conn->poll));
		if (conn->poll == NULL)
			return false;
		if (fd < 0 || uv_poll_init(conn->loop, conn->poll, fd) < 0) {
			free(conn->poll);
			conn->poll = NULL;
			return false;
		}
		conn->poll->data = conn;
		conn->watched = fd;
	}
	return uv_poll_start(conn->poll, events, on_ready) == 0;
}

enum pg_answer pg_classify_connect(const char *text)
{
	if (strstr(text, "57P03") != NULL || strstr(text, "is starting up") != NULL ||
	    strstr(text, "is shutting down") != NULL ||
	    strstr(text, "is not accepting connections") != NULL ||
	    strstr(text, "in recovery mode") != NULL ||
	    strstr(text, "not yet accepting connections") != NULL)
		return PG_STARTING;
	if (strstr(text, "too many clients") != NULL ||
	    strstr(text, "connection slots are reserved") != NULL ||
	    strstr(text, "too many connections") != NULL ||
	    strstr(text, "exceeds max_wal_senders") != NULL)
		return PG_FULL;
	if (strstr(text, "FATAL:") != NULL)
		return PG_DENIED;
	if (strstr(text, "No such file or directory") != NULL ||
	    strstr(text, "Connection refused") != NULL)
		return PG_REFUSED;
	if (strstr(text, "Too many open files") != NULL || strstr(text, "out of memory") != NULL ||
	    strstr(text, "Cannot allocate memory") != NULL ||
	    strstr(text, "No buffer space available") != NULL)
		return PG_STARVED;
	return PG_LOST;
}

/*
 * A local socket whose queue is full refuses at once with EAGAIN, which libpq takes for a connect
 * under way, and so fails when it writes.
 */
static bool queue_is_full(const char *text)
{
	return strstr(text, "Transport endpoint is not connected") != NULL ||
	       strstr(text, "Resource temporarily unavailable") != NULL;
}

static void on_again(uv_timer_t *timer)
{
	struct pg_conn *conn = timer->data;

	if (PQresetStart(conn->conn) == 0 || !watch(conn, UV_WRITABLE))
		conclude(conn, PG_LOST, PQerrorMessage(conn->conn));
}

/* The same once more, until the deadline. False: out of memory. */
static bool connect_again(struct pg_conn *conn)
{
	unwatch(conn);
	if (conn->again == NULL) {
		conn->again = malloc(sizeof(*conn->again));
		if (conn->again == NULL)
			return false;
		CHECK(uv_timer_init(conn->loop, conn->again) == 0);
		conn->again->data = conn;
	}
	return uv_timer_start(conn->again, on_again, QUEUE_FULL_MS, 0) == 0;
}

static void advance_connect(struct pg_conn *conn)
{
	const char *text;
	enum pg_answer answer;
	bool watched = true;

	switch (PQconnectPoll(conn->conn)) {
	case PGRES_POLLING_READING:
		watched = watch(conn, UV_READABLE);
		break;
	case PGRES_POLLING_WRITING:
		watched = watch(conn, UV_WRITABLE);
		break;
	case PGRES_POLLING_OK:
		if (PQsetnonblocking(conn->conn, 1) != 0 || !watch(conn, UV_READABLE)) {
			watched = false;
			break;
		}
		conclude(conn, PG_OK, "");
		return;
	default:
		text = PQerrorMessage(conn->conn);
		if (queue_is_full(text) && connect_again(conn))
			return;
		answer = pg_classify_connect(text);
		conclude(conn, answer, text);
		return;
	}
	if (!watched)
		conclude(conn, PG_LOST, "the connection cannot be watched");
}

static void conclude_query(struct pg_conn *conn)
{
	for (unsigned i = 0; i < conn->count; i++) {
		const ExecStatusType status = PQresultStatus(conn->results[i]);

		if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
			conclude(conn, PQstatus(conn->conn) == CONNECTION_OK ? PG_DENIED : PG_LOST,
				 PQresultErrorMessage(conn->results[i]));
			return;
		}
	}
	conclude(conn, PG_OK, "");
}

static void advance_query(struct pg_conn *conn)
{
	int flushed = PQflush(conn->conn);

	if (flushed < 0 || PQconsumeInput(conn->conn) == 0) {
		conclude(conn, PG_LOST, PQerrorMessage(conn->conn));
		return;
	}
	if (!watch(conn, UV_READABLE | (flushed > 0 ? UV_WRITABLE : 0))) {
		conclude(conn, PG_LOST, "the connection cannot be watched");
		return;
	}
	while (PQisBusy(conn->conn) == 0) {
		PGresult *result = PQgetResult(conn->conn);

		if (result == NULL) {
			conclude_query(conn);
			return;
		}
		if (conn->count == PG_RESULTS_MAX)
			PQclear(result);
		else
			conn->results[conn->count++] = result;
	}
}

static void advance(struct pg_conn *conn)
{
	if (conn->connecting) {
		advance_connect(conn);
	} else if (conn->busy) {
		advance_query(conn);
	} else if (PQconsumeInput(conn->conn) == 0 || PQstatus(conn->conn) == CONNECTION_BAD) {
		/* Idle, and the server said good-bye: the next user finds it closed. */
		pg_conn_close(conn);
	}
}

static void arm(struct pg_conn *conn, uint64_t timeout_ms)
{
	if (conn->timer == NULL) {
		conn->timer = malloc(sizeof(*conn->timer));
		CHECK(conn->timer != NULL);
		CHECK(uv_timer_init(conn->loop, conn->timer) == 0);
		conn->timer->data = conn;
	}
	CHECK(uv_timer_start(conn->timer, on_timeout, timeout_ms, 0) == 0);
}

/* A connect that failed before it began is told from the loop, like any other. */
static void on_failed_at_once(uv_timer_t *timer)
{
	struct pg_conn *conn = timer->data;
	const char *text = conn->conn != NULL ? PQerrorMessage(conn->conn) : "out of memory";

	conclude(conn, pg_classify_connect(text), text);
}

void pg_conn_open(struct pg_conn *conn, const char *const keywords[], const char *const values[],
		  uint64_t timeout_ms, pg_done done, void *arg)
{
	pg_conn_close(conn);
	conn->done = done;
	conn->arg = arg;
	conn->connecting = true;
	conn->begun_ns = clock_boot_ns();
	arm(conn, timeout_ms);
	conn->conn = PQconnectStartParams(keywords, values, 0);
	if (conn->conn == NULL || PQstatus(conn->conn) == CONNECTION_BAD ||
	    !watch(conn, UV_WRITABLE))
		CHECK(uv_timer_start(conn->timer, on_failed_at_once, 0, 0) == 0);
}

void pg_conn_query(struct pg_conn *conn, const char *sql, uint64_t timeout_ms, pg_done done,
		   void *arg)
{
	CHECK(conn->ready && !conn->busy && conn->conn != NULL);
	conn->ready = false;
	conn->busy = true;
	conn->done = done;
	conn->arg = arg;
	conn->begun_ns = clock_boot_ns();
	arm(conn, timeout_ms);
	if (PQsendQuery(conn->conn, sql) == 0) {
		CHECK(uv_timer_start(conn->timer, on_failed_at_once, 0, 0) == 0);
		return;
	}
	if (PQflush(conn->conn) > 0 && !watch(conn, UV_READABLE | UV_WRITABLE))
		CHECK(uv_timer_start(conn->timer, on_failed_at_once, 0, 0) == 0);
}

pid_t pg_conn_server(const struct pg_conn *conn)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (conn->conn == NULL || PQsocket(conn->conn) < 0 ||
	    getsockopt(PQsocket(conn->conn), SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return 0;
	return peer.pid;
}
