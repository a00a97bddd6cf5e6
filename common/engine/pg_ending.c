/*
 * Ending a server. One epoll descriptor holds the pidfds of whom we wait for, so that the loop
 * watches a single one, however many backends there are.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "base/text.h"
#include "engine/pg_processes.h"
#include "os/process.h"

/* Helpers of a postmaster that ended in good order leave by themselves, the log writer last. */
#define GRACE_MS 100
/* SIGKILL takes effect at once, unless the kernel holds the process in a disk wait. */
#define KILL_MS 10000

enum stage { STAGE_FAST, STAGE_IMMEDIATE, STAGE_GRACE, STAGE_KILL };

struct pg_ending {
	uv_loop_t *loop;
	uv_poll_t *poll;
	uv_timer_t *timer;
	int epoll;
	unsigned waiting; /* pidfds inside `epoll` */
	enum stage stage;
	uint64_t fast_ms;
	uint64_t immediate_ms;
	unsigned killed;
	pg_ending_done done;
	void *arg;
	char data_dir[FILES_PATH_SIZE];
	struct pg_processes found;
	int pidfds[PG_PROCESSES_MAX];
};

static void next_stage(struct pg_ending *ending);

static void on_closed(uv_handle_t *handle)
{
	free(handle);
}

static void forget_pidfds(struct pg_ending *ending)
{
	for (unsigned i = 0; i < ending->found.count; i++) {
		if (ending->pidfds[i] >= 0)
			close(ending->pidfds[i]);
		ending->pidfds[i] = -1;
	}
	ending->found.count = 0;
	ending->waiting = 0;
}

void pg_ending_cancel(struct pg_ending *ending)
{
	if (ending == NULL)
		return;
	forget_pidfds(ending);
	if (ending->poll != NULL) {
		uv_poll_stop(ending->poll);
		uv_close((uv_handle_t *)ending->poll, on_closed);
	}
	if (ending->timer != NULL)
		uv_close((uv_handle_t *)ending->timer, on_closed);
	if (ending->epoll >= 0)
		close(ending->epoll);
	free(ending);
}

static void finish(struct pg_ending *ending, int rc, const struct err *why)
{
	pg_ending_done done = ending->done;
	void *arg = ending->arg;

	if (ending->killed > 0)
		log_event(LOG_NOTICE, "database.killed", "processes=%u by SIGKILL", ending->killed);
	pg_ending_cancel(ending);
	done(arg, rc, why);
}

static void on_timer(uv_timer_t *timer)
{
	next_stage(timer->data);
}

static void arm(struct pg_ending *ending, uint64_t ms)
{
	CHECK(uv_timer_start(ending->timer, on_timer, ms, 0) == 0);
}

/* Watch the processes found, and signal them (0: only watch). */
static void watch_found(struct pg_ending *ending, int signal)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < ending->found.count; i++) {
		struct epoll_event event = {.events = EPOLLIN};
		const int pidfd = process_open(ending->found.pids[i], NULL);

		if (pidfd < 0)
			continue; /* has ended in between */
		event.data.u32 = kept;
		if (epoll_ctl(ending->epoll, EPOLL_CTL_ADD, pidfd, &event) < 0) {
			close(pidfd);
			continue;
		}
		if (signal != 0 && process_signal(pidfd, signal, NULL) == 0 && signal == SIGKILL)
			ending->killed++;
		ending->pidfds[kept] = pidfd;
		ending->found.pids[kept++] = ending->found.pids[i];
	}
	ending->found.count = kept;
	ending->waiting = kept;
}

/* Everybody that works in the directory; true when there is anybody. */
static bool watch_all(struct pg_ending *ending, int signal)
{
	forget_pidfds(ending);
	pg_processes_find(&ending->found, ending->data_dir);
	watch_found(ending, signal);
	return ending->waiting > 0;
}

/* Signal the postmaster and wait for it; false when there is none. */
static bool signal_postmaster(struct pg_ending *ending, int signal)
{
	const pid_t pid = pg_postmaster_find(ending->data_dir);

	forget_pidfds(ending);
	if (pid == 0)
		return false;
	ending->found.count = 1;
	ending->found.pids[0] = pid;
	watch_found(ending, signal);
	return ending->waiting > 0;
}

static void kill_all(struct pg_ending *ending)
{
	ending->stage = STAGE_KILL;
	if (watch_all(ending, SIGKILL))
		arm(ending, KILL_MS);
	else
		finish(ending, 0, NULL);
}

static void grace(struct pg_ending *ending)
{
	ending->stage = STAGE_GRACE;
	if (watch_all(ending, 0))
		arm(ending, GRACE_MS);
	else
		finish(ending, 0, NULL);
}

static void immediate(struct pg_ending *ending)
{
	ending->stage = STAGE_IMMEDIATE;
	if (signal_postmaster(ending, SIGQUIT))
		arm(ending, ending->immediate_ms);
	else
		kill_all(ending);
}

/* The deadline of the present stage has passed. */
static void next_stage(struct pg_ending *ending)
{
	struct err why;

	switch (ending->stage) {
	case STAGE_FAST:
		log_event(LOG_WARNING, "database.stop_slow",
			  "a fast stop takes too long; stopping at once");
		immediate(ending);
		break;
	case STAGE_IMMEDIATE:
	case STAGE_GRACE:
		kill_all(ending);
		break;
	case STAGE_KILL:
		err_set(&why, ERR_TIMEOUT,
			"%u processes of the database do not end on SIGKILL (process %d first): "
			"the kernel holds them, look at the disk",
			ending->waiting, (int)ending->found.pids[0]);
		finish(ending, ERR_TIMEOUT, &why);
		break;
	}
}

/* All that we waited for have ended. */
static void stage_over(struct pg_ending *ending)
{
	switch (ending->stage) {
	case STAGE_FAST:
	case STAGE_IMMEDIATE:
		grace(ending);
		break;
	case STAGE_GRACE:
	case STAGE_KILL:
		/* Look again: one may have been forked while the others were being ended. */
		kill_all(ending);
		break;
	}
}

/* Our own child; an error means that it is somebody else's, who reaps it. */
static void reap(int pidfd)
{
	struct process_end end;

	if (process_reap(pidfd, &end, NULL) == 0)
		log_event(LOG_DEBUG, "database.ended", "%s=%d", end.by_signal ? "signal" : "status",
			  end.code);
}

static void on_ended(uv_poll_t *poll, int status, int events)
{
	struct pg_ending *ending = poll->data;
	struct epoll_event ready[64];
	int count;

	UNUSED(status);
	UNUSED(events);
	while ((count = epoll_wait(ending->epoll, ready, (int)COUNT_OF(ready), 0)) > 0) {
		for (int i = 0; i < count; i++) {
			int *pidfd = &ending->pidfds[ready[i].data.u32];

			if (*pidfd < 0)
				continue;
			reap(*pidfd);
			close(*pidfd);
			*pidfd = -1;
			ending->waiting--;
		}
	}
	if (ending->waiting == 0) {
		uv_timer_stop(ending->timer);
		stage_over(ending);
	}
}

/* The first step happens inside the loop, so that done() never comes before start() returns. */
static void on_start(uv_timer_t *timer)
{
	struct pg_ending *ending = timer->data;

	if (ending->stage == STAGE_IMMEDIATE)
		immediate(ending);
	else if (signal_postmaster(ending, SIGINT))
		arm(ending, ending->fast_ms);
	else
		grace(ending); /* of a server that gave up: its log writer has yet to write why */
}

static int open_handles(struct pg_ending *ending, struct err *why)
{
	ending->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (ending->epoll < 0)
		return err_set_errno(why, ERR_IO, errno, "epoll");
	ending->timer = calloc(1, sizeof(*ending->timer));
	if (ending->timer == NULL)
		return err_set(why, ERR_NO_MEMORY, "out of memory");
	CHECK(uv_timer_init(ending->loop, ending->timer) == 0);
	ending->timer->data = ending;
	ending->poll = calloc(1, sizeof(*ending->poll));
	if (ending->poll == NULL)
		return err_set(why, ERR_NO_MEMORY, "out of memory");
	if (uv_poll_init(ending->loop, ending->poll, ending->epoll) < 0) {
		free(ending->poll);
		ending->poll = NULL;
		return err_set(why, ERR_IO, "watch descriptor %d", ending->epoll);
	}
	ending->poll->data = ending;
	if (uv_poll_start(ending->poll, UV_READABLE, on_ended) < 0)
		return err_set(why, ERR_IO, "watch descriptor %d", ending->epoll);
	return 0;
}

int pg_ending_start(struct pg_ending **ending, uv_loop_t *loop, const char *data_dir,
		    uint64_t fast_ms, uint64_t immediate_ms, pg_ending_done done, void *arg,
		    struct err *why)
{
	struct pg_ending *fresh = calloc(1, sizeof(*fresh));
	int rc;

	if (fresh == NULL)
		return err_set(why, ERR_NO_MEMORY, "out of memory");
	CHECK(text_copy(fresh->data_dir, sizeof(fresh->data_dir), data_dir));
	fresh->loop = loop;
	fresh->epoll = -1;
	fresh->fast_ms = fast_ms;
	fresh->immediate_ms = immediate_ms;
	fresh->done = done;
	fresh->arg = arg;
	fresh->stage = fast_ms > 0 ? STAGE_FAST : STAGE_IMMEDIATE;
	if ((rc = open_handles(fresh, why)) < 0) {
		pg_ending_cancel(fresh);
		return rc;
	}
	CHECK(uv_timer_start(fresh->timer, on_start, 0, 0) == 0);
	*ending = fresh;
	return 0;
}

void pg_ending_hasten(struct pg_ending *ending, uint64_t immediate_ms)
{
	ending->immediate_ms = immediate_ms;
	if (ending->stage == STAGE_FAST)
		immediate(ending);
}
