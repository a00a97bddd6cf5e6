/*
 * Knocking at a server's door: a request to cancel nothing. It needs no session, so no lock and no
 * password; that the server hangs up proves that its postmaster has taken the connection and
 * forked a process for it, after everything that it had begun before.
 */
#ifndef MHA_ENGINE_PG_KNOCK_H
#define MHA_ENGINE_PG_KNOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct pg_knock {
	uv_loop_t *loop;
	int fd; /* -1: none under way */
	uv_poll_t *poll;
	bool sent;
	void (*heard)(void *arg);
	void *arg;
};

void pg_knock_init(struct pg_knock *knock, uv_loop_t *loop);
/*
 * Knock at the local socket of `port` in `socket_dir`, unless a knock is under way. heard() is
 * called from the loop when the server has hung up; when nobody listens, or nobody answers before
 * pg_knock_end(), never.
 */
void pg_knock_begin(struct pg_knock *knock, const char *socket_dir, uint64_t port,
		    void (*heard)(void *arg), void *arg);
void pg_knock_end(struct pg_knock *knock);

#endif
