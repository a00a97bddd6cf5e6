/*
 * A client of the probe: one thread that writes at a steady pace through one address, as a
 * well-written application would: a write without an answer within its patience is left to
 * itself (and counted if the answer comes late) while it tries to connect anew, several attempts
 * beside each other, because a silent peer answers none of them.
 */
#ifndef LAB_CLIENT_H
#define LAB_CLIENT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "session.h"

#define CLIENT_SESSIONS 24

/* What a client does; one line of the plan. */
struct client_plan {
	unsigned number;
	char name[48];
	char table[48];
	char netns[128];    /* file of the network namespace to connect from */
	int64_t pace_ns;    /* between the starts of two writes */
	int64_t retry_ns;   /* between the starts of two connection attempts */
	int64_t refresh_ns; /* connect anew so often, 0: keep the connection */
	unsigned attempts;  /* connections in the making at the same time, 1..6 */
	bool stay;          /* keep a connection to a server that is read-only */
	char conninfo[512];
};

struct client {
	struct client_plan plan;
	FILE *log;
	atomic_bool *stop;
	/* read by the main thread */
	atomic_ullong acknowledged;
	atomic_ullong doubtful;
	atomic_ullong refused;
	atomic_llong last_ack;
	/* the thread's own */
	struct session sessions[CLIENT_SESSIONS];
	uint64_t next_id;
	int64_t next_write;
	int64_t next_attempt;
	int64_t next_flush;
	int64_t patience;
	int64_t connect_patience;
};

/* Thread entry: runs until *stop. The log gets a line per acknowledged or doubtful write. */
void *client_run(void *arg);

#endif
