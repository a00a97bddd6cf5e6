/* The life of workers: start, heartbeat, end, restart with back-off. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "base/text.h"
#include "master.h"
#include "os/clock.h"
#include "os/control.h"
#include "os/process.h"
#include "os/seccomp.h"

#define MS                  UINT64_C(1000000)
#define BACKOFF_FIRST_MS    50 /* of the second restart; the first one is immediate */
#define BACKOFF_MAX_MS      5000
#define GOOD_LIFE_MS        30000 /* a life this long forgives what was before */
#define SECTION_RETRY_MS    2     /* while an earlier life is just ending */
#define SECTION_WAIT_MS     100   /* while it does not end */
#define PULSE_MS            1000
#define READY_LIMIT_MS      60000
#define ALIVE_LIMIT_MS      15000
#define READY_TOLD_LIMIT_MS 10000

static void child_start(struct child *child);

unsigned master_lives(const struct master *master)
{
	unsigned count = 0;

	for (unsigned i = 0; i < MASTER_WORKER_COUNT; i++)
		count += master->children[i].life != NULL;
	return count;
}

void master_publish(struct master *master)
{
	struct status_master *section = &master->section;

	section->worker_count = 0;
	for (unsigned i = 0; i < MASTER_WORKER_COUNT; i++) {
		const struct child *child = &master->children[i];
		struct status_worker *row = &section->workers[section->worker_count];

		if (!child->enabled)
			continue;
		*row = (struct status_worker){.restarts = child->restarts};
		CHECK(text_copy(row->name, sizeof(row->name), WORKER_ROWS[i].name));
		if (child->life != NULL) {
			row->pid = child->life->pid;
			row->started_ns = child->life->started_ns;
			row->ready = child->life->ready;
			row->cpu_us = child->life->cpu_us;
			row->memory_bytes = child->life->memory_bytes;
		}
		section->worker_count++;
	}
	status_publish(&master->status, section);
}

static void tell_ready(struct master *master, bool waited_enough)
{
	for (unsigned i = 0; i < MASTER_WORKER_COUNT; i++) {
		const struct child *child = &master->children[i];

		if (!child->enabled || (child->life != NULL && child->life->ready))
			continue;
		if (!waited_enough)
			return;
		log_event(LOG_WARNING, "master.not_all_ready", "worker=%s is not ready yet",
			  WORKER_ROWS[i].name);
	}
	master->ready_told = true;
	log_event(LOG_NOTICE, "master.ready", "pid=%d workers=%u", getpid(), master_lives(master));
	notify_send(&master->notify, "READY=1");
}

static void on_retry(uv_timer_t *timer)
{
	struct child *child = timer->data;

	child_start(child);
}

static void retry_in(struct child *child, uint64_t ms)
{
	CHECK(uv_timer_start(&child->retry, on_retry, ms, 0) == 0);
}

/* After an end or a failed start. The first restart of a worker that lived well is immediate. */
static void restart(struct child *child, uint64_t lived_ns)
{
	uint64_t delay = 0;

	if (lived_ns >= GOOD_LIFE_MS * MS)
		child->failures = 0;
	if (child->failures > 0) {
		delay = BACKOFF_MAX_MS;
		if (child->failures < 8)
			delay = (uint64_t)BACKOFF_FIRST_MS << (child->failures - 1);
		if (delay > BACKOFF_MAX_MS)
			delay = BACKOFF_MAX_MS;
	}
	child->failures++;
	child->restarts++;
	if (delay == 0) {
		child_start(child);
		return;
	}
	log_event(LOG_WARNING, "worker.backoff", "worker=%s delay_ms=%llu",
		  WORKER_ROWS[child->id].name, (unsigned long long)delay);
	retry_in(child, delay);
}

static void on_poll_closed(uv_handle_t *handle)
{
	struct life *life = handle->data;

	if (--life->open_polls > 0)
		return;
	close(life->pidfd);
	close(life->control);
	free(life);
}

static void life_close(struct life *life)
{
	uv_close((uv_handle_t *)&life->exit_poll, on_poll_closed);
	uv_close((uv_handle_t *)&life->control_poll, on_poll_closed);
}

/* One message of a worker; false: there is none. */
static bool life_hear(struct life *life, struct control_message *message, int *failed)
{
	struct err why;
	int fd;

	*failed = control_receive(life->control, message, &fd, &why);
	if (fd >= 0) /* Workers have nothing to hand over. */
		close(fd);
	if (*failed == 0 && message->kind == CONTROL_REFUSED) {
		life->refused = true;
		life->refused_call = message->flag;
	}
	return *failed == 0;
}

static void report_end(struct life *life, const struct process_end *end, uint64_t lived_ns)
{
	const struct child *child = life->child;
	const char *name = WORKER_ROWS[child->id].name;
	struct control_message message;
	char call[64];
	int failed;

	log_event(child->master->stopping ? LOG_INFO : LOG_WARNING, "worker.ended",
		  "worker=%s pid=%d %s=%d lived_ms=%llu", name, life->pid,
		  end->by_signal ? "signal" : "status", end->code,
		  (unsigned long long)(lived_ns / MS));
	if (!end->by_signal || end->code != SIGSYS)
		return;
	/* Its last words wait where the heartbeats were. */
	while (life_hear(life, &message, &failed))
		continue;
	log_event(
		LOG_ERROR, "worker.sandbox",
		"worker=%s pid=%d call=%s: a system call that is not on its list ended it; this is "
		"a fault of the program or an attack",
		name, life->pid,
		life->refused ? seccomp_call_name((int)life->refused_call, call) : "unknown");
}

static void on_exit_poll(uv_poll_t *poll, int status, int events)
{
	struct life *life = poll->data;
	struct child *child = life->child;
	struct master *master = child->master;
	const uint64_t lived_ns = clock_boot_ns() - life->started_ns;
	struct process_end end;
	struct err why;
	int rc;

	UNUSED(status);
	UNUSED(events);
	rc = process_reap(life->pidfd, &end, &why);
	if (rc == ERR_BUSY)
		return;
	if (rc < 0)
		log_event(LOG_ERROR, "worker.reap", "worker=%s pid=%d %s",
			  WORKER_ROWS[child->id].name, life->pid, why.text);
	else
		report_end(life, &end, lived_ns);
	child->life = NULL;
	life_close(life);
	if (master->stopping)
		stop_continue(master);
	else
		restart(child, lived_ns);
	master_publish(master);
}

/* Reading the file costs little, and not more often than that. */
#define RELOAD_GAP_MS 500

/* Whoever is allowed to ask has been asked for a role by the gateway; the others have no business.
 */
static void reload_for(struct master *master, const struct life *life)
{
	int rc = ERR_BUSY;
	struct err why;

	if (life->child->id != MASTER_gateway || master->stopping)
		return;
	if (master->reloaded_ns == 0 ||
	    life->heard_ns - master->reloaded_ns >= RELOAD_GAP_MS * MS) {
		master->reloaded_ns = life->heard_ns;
		rc = reload(master);
	}
	if (control_send(life->control, CONTROL_RELOADED, (uint32_t)-rc, -1, &why) < 0)
		log_event(LOG_WARNING, "reload.not_told", "%s", why.text);
}

static void on_control_poll(uv_poll_t *poll, int status, int events)
{
	struct life *life = poll->data;
	struct master *master = life->child->master;
	struct control_message message;
	int rc;

	UNUSED(status);
	UNUSED(events);
	if (!life_hear(life, &message, &rc) && (rc == ERR_BUSY || rc == ERR_INVALID))
		return;
	if (rc < 0) { /* Its end comes by the pidfd, or its heartbeat is missed. */
		uv_poll_stop(poll);
		return;
	}
	life->heard_ns = clock_boot_ns();
	if (message.kind == CONTROL_RELOAD)
		reload_for(master, life);
	if (message.kind != CONTROL_READY || life->ready)
		return;
	life->ready = true;
	log_event(LOG_INFO, "worker.ready", "worker=%s pid=%d after_ms=%llu",
		  WORKER_ROWS[life->child->id].name, life->pid,
		  (unsigned long long)((life->heard_ns - life->started_ns) / MS));
	master_publish(master);
	if (!master->ready_told && !master->stopping)
		tell_ready(master, false);
}

static int life_watch(struct life *life)
{
	uv_loop_t *loop = &life->child->master->loop;
	int rc;

	/* Both are initialised before anything can fail, so that both can be closed. */
	rc = uv_poll_init(loop, &life->exit_poll, life->pidfd);
	CHECK(rc == 0);
	rc = uv_poll_init(loop, &life->control_poll, life->control);
	CHECK(rc == 0);
	life->exit_poll.data = life;
	life->control_poll.data = life;
	life->open_polls = 2;
	rc = uv_poll_start(&life->exit_poll, UV_READABLE, on_exit_poll);
	if (rc == 0)
		rc = uv_poll_start(&life->control_poll, UV_READABLE, on_control_poll);
	return rc;
}

/*
 * The worker's own section, locked for as long as the process lives: an earlier life, even of an
 * earlier master, that is not gone yet still holds the lock. ERR_BUSY then.
 */
static int open_section(struct child *child, struct err *why)
{
	const int fd =
		layout_open_status(&child->master->layout, WORKER_ROWS[child->id].section, why);

	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) == 0)
		return fd;
	const int code = errno == EWOULDBLOCK
				 ? err_set(why, ERR_BUSY, "an earlier process still runs")
				 : err_set_errno(why, ERR_IO, errno, "lock the status section");
	close(fd);
	return code;
}

static int fork_worker(struct child *child, int control, int section, struct err *why)
{
	struct master *master = child->master;
	const struct worker_row *row = &WORKER_ROWS[child->id];
	char program[320];
	const struct spawn spawn = {.row = row,
				    .user = &child->user,
				    .program = program,
				    .control = control,
				    .conf = master->conf_fd,
				    .status = section,
				    .packet = row->packet_socket ? master->packet_fd : -1,
				    .secret = master->secrets[row->secret],
				    .locked = master->locked};

	snprintf(program, sizeof(program), "%s/mha-%s", master->libexec_dir, row->name);
	return spawn_worker(&spawn, why);
}

static int life_begin(struct child *child, int sockets[2], int section, struct err *why)
{
	struct life *life = calloc(1, sizeof(*life));
	int pid, pidfd;

	if (life == NULL)
		return err_set(why, ERR_NO_MEMORY, "out of memory");
	pid = fork_worker(child, sockets[1], section, why);
	if (pid < 0) {
		free(life);
		return pid;
	}
	pidfd = process_open(pid, why);
	/* Without a pidfd it could not be watched; not yet reaped, its pid is still its own. */
	if (pidfd < 0) {
		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, NULL, 0);
		free(life);
		return pidfd;
	}
	*life = (struct life){.child = child,
			      .pid = pid,
			      .pidfd = pidfd,
			      .control = sockets[0],
			      .started_ns = clock_boot_ns()};
	life->heard_ns = life->started_ns;
	child->life = life;
	CHECK(life_watch(life) == 0);
	return 0;
}

static int try_start(struct child *child, struct err *why)
{
	const int section = open_section(child, why);
	int sockets[2];
	int rc;

	if (section < 0)
		return section;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0) {
		rc = err_set_errno(why, ERR_IO, errno, "control socket");
		close(section);
		return rc;
	}
	rc = life_begin(child, sockets, section, why);
	close(section);
	close(sockets[1]);
	if (rc < 0)
		close(sockets[0]);
	return rc;
}

/* A process of an earlier life, perhaps of an earlier master, still has the section. */
static void wait_for_section(struct child *child)
{
	const uint64_t now = clock_boot_ns();

	if (child->busy_ns == 0)
		child->busy_ns = now;
	if (!child->busy_told && now - child->busy_ns > 1000 * MS) {
		child->busy_told = true;
		log_event(LOG_WARNING, "worker.earlier_life",
			  "worker=%s a process of an earlier agent has not ended; waiting for it",
			  WORKER_ROWS[child->id].name);
	}
	retry_in(child, child->busy_told ? SECTION_WAIT_MS : SECTION_RETRY_MS);
}

static void child_start(struct child *child)
{
	const char *name = WORKER_ROWS[child->id].name;
	struct err why;
	int rc;

	CHECK(child->life == NULL && child->enabled);
	if (child->master->stopping)
		return;
	rc = try_start(child, &why);
	if (rc == ERR_BUSY) {
		wait_for_section(child);
		return;
	}
	child->busy_ns = 0;
	child->busy_told = false;
	if (rc < 0) {
		log_event(LOG_ERROR, "worker.start_failed", "worker=%s %s", name, why.text);
		restart(child, 0);
		return;
	}
	CHECK(child->life != NULL);
	log_event(LOG_INFO, "worker.started", "worker=%s pid=%d user=%s restarts=%u", name,
		  child->life->pid, child->user.name, child->restarts);
}

/* A worker whose loop no longer turns helps nobody; its successor takes over its section. */
static void check_heartbeat(struct life *life, uint64_t now)
{
	const uint64_t limit_ms = life->ready ? ALIVE_LIMIT_MS : READY_LIMIT_MS;
	struct err why;

	if (now - life->heard_ns <= limit_ms * MS)
		return;
	log_event(LOG_ERROR, "worker.hung", "worker=%s pid=%d silent_ms=%llu; it is killed",
		  WORKER_ROWS[life->child->id].name, life->pid,
		  (unsigned long long)((now - life->heard_ns) / MS));
	life->heard_ns = now;
	if (process_signal(life->pidfd, SIGKILL, &why) < 0)
		log_event(LOG_ERROR, "worker.kill", "%s", why.text);
}

static void on_pulse(uv_timer_t *timer)
{
	struct master *master = timer->data;
	const uint64_t now = clock_boot_ns();
	/* If this process was stopped itself, the heartbeats of that time are not missing. */
	const bool slept = now - master->pulse_ns > MS * PULSE_MS * 3;

	master->pulse_ns = now;
	for (unsigned i = 0; i < MASTER_WORKER_COUNT; i++) {
		struct life *life = master->children[i].life;

		if (life == NULL)
			continue;
		/* What cannot be read stays as it was: its end is told elsewhere. */
		if (!process_usage(life->pid, &life->cpu_us, &life->memory_bytes))
			log_event(LOG_DEBUG, "worker.usage", "worker=%s pid=%d is not known",
				  WORKER_ROWS[life->child->id].name, life->pid);
		if (slept)
			life->heard_ns = now;
		else
			check_heartbeat(life, now);
	}
	master_publish(master);
	if (!master->ready_told && !master->stopping &&
	    now - master->section.started_ns > READY_TOLD_LIMIT_MS * MS)
		tell_ready(master, true);
}

static void on_feeding(uv_timer_t *timer)
{
	struct master *master = timer->data;
	struct err why;
	bool changed;

	if (feed_turn(&master->feed, &changed, &why) < 0 && !master->stopping) {
		log_event(LOG_ERROR, "watchdog.failed", "%s; the agent stops", why.text);
		master->failed = true;
		stop_begin(master);
	}
	if (changed)
		master_publish(master);
}

static void on_signal(uv_poll_t *poll, int status, int events)
{
	struct master *master = poll->data;
	struct signalfd_siginfo info;

	UNUSED(status);
	UNUSED(events);
	if (read(master->signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	if (info.ssi_signo == SIGHUP) {
		(void)reload(master); /* it has logged how it ended */
		return;
	}
	log_event(LOG_NOTICE, "master.signal", "signal=%u from_pid=%u", info.ssi_signo,
		  info.ssi_pid);
	stop_begin(master);
}

/* Signals become readable bytes; nothing runs in a handler. */
static int watch_signals(struct master *master, struct err *why)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &signals, NULL) < 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR)
		return err_set_errno(why, ERR_IO, errno, "signals");
	master->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	if (master->signal_fd < 0)
		return err_set_errno(why, ERR_IO, errno, "signalfd");
	return 0;
}

static int open_loop(struct master *master, struct err *why)
{
	int rc = watch_signals(master, why);

	if (rc < 0)
		return rc;
	if ((rc = uv_loop_init(&master->loop)) < 0 ||
	    (rc = uv_poll_init(&master->loop, &master->signals, master->signal_fd)) < 0 ||
	    (rc = uv_poll_start(&master->signals, UV_READABLE, on_signal)) < 0 ||
	    (rc = uv_timer_init(&master->loop, &master->pulse)) < 0 ||
	    (rc = uv_timer_start(&master->pulse, on_pulse, PULSE_MS, PULSE_MS)) < 0 ||
	    (rc = uv_timer_init(&master->loop, &master->deadline)) < 0 ||
	    (rc = uv_timer_init(&master->loop, &master->feeding)) < 0 ||
	    (rc = uv_timer_start(&master->feeding, on_feeding, FEED_MS, FEED_MS)) < 0)
		return err_set(why, ERR_IO, "event loop: %s", uv_strerror(rc));
	master->signals.data = master;
	master->pulse.data = master;
	master->deadline.data = master;
	master->feeding.data = master;
	for (unsigned i = 0; i < MASTER_WORKER_COUNT; i++) {
		struct child *child = &master->children[i];

		child->master = master;
		child->id = (enum master_worker)i;
		CHECK(uv_timer_init(&master->loop, &child->retry) == 0);
		child->retry.data = child;
	}
	return 0;
}

int supervise(struct master *master, struct err *why)
{
	const int rc = open_loop(master, why);

	if (rc < 0)
		return rc;
	master->pulse_ns = clock_boot_ns();
	for (unsigned i = 0; i < MASTER_WORKER_COUNT; i++) {
		if (master->children[i].enabled)
			child_start(&master->children[i]);
	}
	master_publish(master);
	uv_run(&master->loop, UV_RUN_DEFAULT);
	feed_close(&master->feed);
	return master->failed ? err_set(why, ERR_REFUSED, "stopped, because it must not go on") : 0;
}
