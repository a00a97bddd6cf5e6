/* Inside the PostgreSQL monitor. */
#ifndef MHA_ENGINE_PG_MONITOR_H
#define MHA_ENGINE_PG_MONITOR_H

#include "engine/engine.h"
#include "engine/pg_conn.h"
#include "engine/pg_knock.h"
#include "engine/pg_look.h"
#include "engine/pg_stopped.h"
#include "engine/pg_verdict.h"

#define NS_PER_MS UINT64_C(1000000)
/*
 * The proof of a rule takes a few ms. Until then a primary is not told about, but not for longer.
 */
#define PG_SETTLE_NS (200 * NS_PER_MS)

/* How the rule in the file comes into force; see pg_monitor_rule() */
struct pg_rule_proof {
	uint64_t rule_written; /* the rule being proven; 0: none yet */
	bool in_force;
	bool barrier;      /* a checkpoint is under way, as the proof of the switch from '' */
	bool barrier_done; /* or was not needed */
	bool was_empty;    /* the rule before let commits wait for nobody */
	wal_lsn since;
	wal_lsn mark; /* insert LSN when the reload had been spread */
	uint64_t begun_ns;
	unsigned proven_count;
	int proven[PG_SENDERS_MAX]; /* senders that use it */
	uint64_t barrier_for;       /* the rule that the checkpoint under way was asked for */
};

struct engine_monitor {
	uv_loop_t *loop;
	const struct conf *conf;
	const struct engine_monitor_events *events;
	bool starved; /* told */
	void *arg;

	struct pg_conn main;  /* the old connection: every look */
	struct pg_conn repl;  /* replication protocol: position and history */
	struct pg_conn fresh; /* the new one: opened and closed at every interval */
	struct pg_conn flush; /* primary: commits that must be flushed */
	struct pg_conn work;  /* CHECKPOINT */
	struct pg_knock knock;
	uint64_t fresh_late_ns;   /* when the last new connection was given up */
	uint64_t knocked_ns;      /* when a knock was last answered; 0: never */
	uint64_t written_knocked; /* what had been seen when the knock began */

	uv_timer_t *look_timer;
	uv_timer_t *fresh_timer;
	uv_fs_event_t *socket_event;
	int pidfd; /* the postmaster; -1: none known */
	uv_poll_t *pid_poll;

	struct pg_signs signs;
	struct pg_stopped stopped; /* of the last look at the processes */
	uint64_t stopped_ns;       /* since when the postmaster is seen stopped; 0: it is not */
	uint64_t stopped_look_ns;  /* when the processes were last looked at */
	uint64_t told_ns;          /* since when dbctl tells this fault */
	char told_text[ENGINE_TEXT_SIZE];
	/* What the background check of the data has found, and what the server counts by itself. */
	uint64_t told_damaged;
	uint64_t good_since_ms;
	char damaged_text[ENGINE_TEXT_SIZE];
	uint64_t checksum_look_ns;   /* when it was last asked; 0: never */
	uint64_t checksum_failures;  /* as it last said; 0: none */
	uint64_t checksum_failed_ms; /* the last of them, by the wall clock */
	char checksum_database[64];
	bool promote_called;     /* of this server, by order */
	unsigned fresh_timeouts; /* in a row */
	unsigned look_failures;  /* in a row, of an answering server */
	bool prepared;           /* `main` knows its statements */
	bool looking;            /* a look is under way */
	bool look_soon;          /* another was asked for meanwhile */
	struct pg_look look;     /* the last complete one */
	struct pg_look pending;  /* the one under way */
	uint64_t look_begun_ns;
	uint64_t look_ok_begun_ns; /* when the last look that came to its end began */
	uint64_t spread_at_start;
	uint32_t history_timeline; /* whose history `branches` is; 0: none */
	struct wal_position history;
	struct wal_position pending_history; /* of the look under way, when it is another one */
	bool primary_seen;   /* the last look was at a primary on `history_timeline` */
	bool at_rest;        /* a standby that gets nothing and has nothing left to replay */
	uint64_t rest_ns;    /* when it was first seen so; 0: not now */
	bool exhausted_once; /* since the server started all local WAL was read */

	/* A stamp is spread once a connection made after it was seen has been answered. */
	uint64_t written_seen;
	uint64_t written_asked; /* what had been seen when `fresh` began */
	uint64_t written_spread;
	uint64_t fresh_ok_begun_ns; /* when the last answered new connection began */
	struct pg_rule_proof rule;

	uint64_t flush_at_ns; /* next flush probe */
	uint64_t watch_until_ns;
	uint64_t watch_ms;

	struct engine_view view;
	uint64_t viewed_ns;
	uint64_t settle_ns; /* since when a primary's rule is being proven; 0: it is not */

	struct order order; /* ORDER_NONE: none */
	uint64_t order_begun_ns;
	bool promoting;                    /* pg_promote() was called */
	char order_text[ENGINE_TEXT_SIZE]; /* what it waits for */
};

/* pg_monitor.c */
void monitor_look(struct engine_monitor *monitor);
void monitor_open_conn(struct engine_monitor *monitor, struct pg_conn *conn, uint64_t timeout_ms,
		       pg_done done);

/* pg_monitor_signs.c */
/* Look at the server's processes, and at how long what was seen or told has lasted. */
void signs_refresh(struct engine_monitor *monitor);
/* What dbctl tells, the directory and the postmaster apart. True: it is news. */
bool signs_told(struct engine_monitor *monitor, const struct engine_told *told);
/* The server has been asked what it counts of wrong checksums: in the last look. */
void signs_checksums(struct engine_monitor *monitor);
/* The server is another one now. */
void signs_forget(struct engine_monitor *monitor);

/* pg_monitor_view.c */
/* Put together and tell what is known now. */
void monitor_view(struct engine_monitor *monitor, bool always);

/* pg_monitor_order.c */
void order_begin(struct engine_monitor *monitor, const struct order *order);
/* A look is complete. */
void order_looked(struct engine_monitor *monitor);
/* The server is gone. */
void order_lost(struct engine_monitor *monitor);

/* pg_monitor_rule.c */
void rule_looked(struct engine_monitor *monitor);

#endif
