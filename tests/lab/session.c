#include "session.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int64_t now_ns(void)
{
	struct timespec now;

	if (clock_gettime(CLOCK_MONOTONIC, &now) != 0)
		abort();
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* A cancelled wait for the standbys is reported as success with this warning. */
static void on_notice(void *arg, const PGresult *result)
{
	struct session *session = arg;
	const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

	if (text != NULL && strstr(text, "synchronous replication") != NULL)
		session->wait_cancelled = true;
}

bool session_start(struct session *session, const char *conninfo)
{
	memset(session, 0, sizeof *session);
	session->since = session->made = now_ns();
	session->pg = PQconnectStart(conninfo);
	if (session->pg == NULL || PQstatus(session->pg) == CONNECTION_BAD) {
		session_close(session);
		return false;
	}
	PQsetNoticeReceiver(session->pg, on_notice, session);
	session->want = PGRES_POLLING_WRITING;
	session->state = SESSION_CONNECTING;
	return true;
}

void session_close(struct session *session)
{
	if (session->pg != NULL)
		PQfinish(session->pg);
	memset(session, 0, sizeof *session);
}

bool session_reached(const struct session *session)
{
	return session->state != SESSION_EMPTY && PQstatus(session->pg) != CONNECTION_STARTED;
}

bool session_write(struct session *session, const char *table, unsigned client, uint64_t id)
{
	char sql[256];

	/* The timeline names the reign under which it was accepted; a standby refuses to name it.
	 */
	if (table[0] == '-')
		snprintf(sql, sizeof sql,
			 "SELECT substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)");
	else
		snprintf(sql, sizeof sql,
			 "INSERT INTO %s (client, id) VALUES (%u, %" PRIu64 ") "
			 "RETURNING substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)",
			 table, client, id);
	session->id = id;
	session->sent = session->since = now_ns();
	session->timeline[0] = '\0';
	session->given_up = session->read_only = session->wait_cancelled = false;
	if (!PQsendQuery(session->pg, sql))
		return false;
	session->state = SESSION_BUSY;
	return true;
}

short session_wants(const struct session *session)
{
	switch (session->state) {
	case SESSION_CONNECTING:
		return session->want == PGRES_POLLING_READING ? POLLIN : POLLOUT;
	case SESSION_IDLE:
	case SESSION_BUSY:
		return POLLIN;
	case SESSION_EMPTY:
		break;
	}
	return 0;
}

static enum session_event step_connecting(struct session *session)
{
	struct pollfd ready = {.fd = PQsocket(session->pg), .events = session_wants(session)};

	if (poll(&ready, 1, 0) <= 0)
		return SESSION_NOTHING;
	session->want = PQconnectPoll(session->pg);
	if (session->want == PGRES_POLLING_FAILED)
		return SESSION_LOST;
	if (session->want != PGRES_POLLING_OK)
		return SESSION_NOTHING;
	session->state = SESSION_IDLE;
	session->since = now_ns();
	return SESSION_CONNECTED;
}

/* Read one result of the write into the session; remembers a refusal in *refused. */
static void take_result(struct session *session, PGresult *result, bool *refused)
{
	ExecStatusType status = PQresultStatus(result);

	if (status == PGRES_TUPLES_OK && PQntuples(result) == 1) {
		snprintf(session->timeline, sizeof session->timeline, "%s",
			 PQgetvalue(result, 0, 0));
	} else {
		const char *code = PQresultErrorField(result, PG_DIAG_SQLSTATE);

		*refused = true;
		session->read_only =
			code != NULL && (strcmp(code, "25006") == 0 || strcmp(code, "55000") == 0);
	}
	PQclear(result);
}

static enum session_event step_busy(struct session *session)
{
	bool refused = false;
	PGresult *result;

	if (!PQconsumeInput(session->pg))
		return SESSION_DOUBTFUL;
	if (PQisBusy(session->pg))
		return SESSION_NOTHING;
	session->answered = now_ns();
	while ((result = PQgetResult(session->pg)) != NULL)
		take_result(session, result, &refused);
	if (PQstatus(session->pg) == CONNECTION_BAD && (refused || session->timeline[0] == '\0'))
		return SESSION_DOUBTFUL;
	session->state = SESSION_IDLE;
	session->since = session->answered;
	if (refused)
		return SESSION_REFUSED;
	return session->wait_cancelled ? SESSION_DOUBTFUL : SESSION_ACKNOWLEDGED;
}

enum session_event session_step(struct session *session)
{
	switch (session->state) {
	case SESSION_CONNECTING:
		return step_connecting(session);
	case SESSION_BUSY:
		return step_busy(session);
	case SESSION_IDLE:
		if (!PQconsumeInput(session->pg) || PQstatus(session->pg) == CONNECTION_BAD)
			return SESSION_LOST;
		return SESSION_NOTHING;
	case SESSION_EMPTY:
		break;
	}
	return SESSION_NOTHING;
}
