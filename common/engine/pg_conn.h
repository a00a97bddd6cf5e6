/* One connection by libpq, without ever waiting: everything has a deadline and ends in a call. */
#ifndef MHA_ENGINE_PG_CONN_H
#define MHA_ENGINE_PG_CONN_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <sys/types.h>
#include <uv.h>

#include "base/err.h"

enum pg_answer {
	PG_OK = 0,
	PG_REFUSED,  /* nobody listens */
	PG_STARTING, /* "the database system is starting up", or shutting down (57P03) */
	PG_FULL,     /* no connection is left (53300): alive, all the same */
	PG_DENIED,   /* it answers, but this role may not, or the request is wrong */
	PG_LOST,     /* the connection broke */
	PG_STARVED,  /* this process has no descriptor or memory left: says nothing of the server */
	PG_TIMEOUT,  /* no answer within the deadline */
};

/* `results`: one per statement of a query, freed after the call; none for a connect. */
typedef void (*pg_done)(void *arg, enum pg_answer answer, PGresult *const results[], unsigned count,
			const char *text);

/*
 * What libpq's words about a failed connect mean. Pure. libpq gives no SQLSTATE then; with
 * verbosity "sqlstate" the text begins with it.
 */
enum pg_answer pg_classify_connect(const char *text);

#define PG_RESULTS_MAX 5

struct pg_conn {
	uv_loop_t *loop;
	PGconn *conn;
	uv_poll_t *poll;
	uv_timer_t *timer;
	uv_timer_t *again; /* connecting: the next try, while the queue of the server is full */
	int watched;       /* the descriptor that `poll` watches */
	bool connecting;
	bool ready; /* connected, and no query is under way */
	bool busy;  /* a query is under way */
	uint64_t begun_ns;
	pg_done done;
	void *arg;
	PGresult *results[PG_RESULTS_MAX];
	unsigned count;
};

void pg_conn_init(struct pg_conn *conn, uv_loop_t *loop);
/* Begin to connect. `done` is called later, once, unless pg_conn_close() comes first. */
void pg_conn_open(struct pg_conn *conn, const char *const keywords[], const char *const values[],
		  uint64_t timeout_ms, pg_done done, void *arg);
/* Send statements; only when `ready`. After anything but PG_OK and PG_DENIED it is closed. */
void pg_conn_query(struct pg_conn *conn, const char *sql, uint64_t timeout_ms, pg_done done,
		   void *arg);
/* Drop it, whatever it does; no call follows. It may be opened again. */
void pg_conn_close(struct pg_conn *conn);
/* The process that listens on the other end of the local socket; 0: not known. */
pid_t pg_conn_server(const struct pg_conn *conn);

#endif
