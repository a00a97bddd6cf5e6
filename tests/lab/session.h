/*
 * One connection of the probe, driven without blocking: connect, then one statement at a time.
 * Times are CLOCK_MONOTONIC nanoseconds of this machine, the same for every namespace.
 */
#ifndef LAB_SESSION_H
#define LAB_SESSION_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#define NS_PER_MS INT64_C(1000000)

enum session_state {
	SESSION_EMPTY = 0,
	SESSION_CONNECTING,
	SESSION_IDLE,
	SESSION_BUSY, /* a write was sent and has no answer yet */
};

enum session_event {
	SESSION_NOTHING = 0,
	SESSION_CONNECTED,
	SESSION_ACKNOWLEDGED, /* the write is committed; `timeline` says where */
	SESSION_REFUSED,      /* the server said no: the write is certainly not there */
	SESSION_DOUBTFUL,     /* connection lost or commit wait cancelled: it may be there */
	SESSION_LOST,         /* connection lost (or never made) with nothing under way */
};

struct session {
	enum session_state state;
	PGconn *pg;
	PostgresPollingStatusType want;
	int64_t since;    /* the state was entered */
	int64_t made;     /* the connection was started */
	int64_t answered; /* of the last finished write */
	uint64_t id;      /* write under way */
	int64_t sent;
	bool given_up;  /* answered too late for the writer; still listened to */
	bool read_only; /* the last refusal was that of a standby */
	bool wait_cancelled;
	char timeline[16];
};

int64_t now_ns(void);

/* Begin to connect. False: out of memory or descriptors. */
bool session_start(struct session *session, const char *conninfo);
void session_close(struct session *session);
/* True once the peer's kernel has accepted the connection. */
bool session_reached(const struct session *session);
/* Send one write, or with table "-" a read that only a primary answers. False: the connection is
 * gone; nothing was sent. */
bool session_write(struct session *session, const char *table, unsigned client, uint64_t id);
/* What to poll for: a poll(2) events mask, 0 for none. */
short session_wants(const struct session *session);
/* Go on after poll(2). At most one event per call; call again until SESSION_NOTHING. */
enum session_event session_step(struct session *session);

#endif
