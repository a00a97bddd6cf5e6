#include "worker/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "os/control.h"
#include "os/memfd.h"
#include "os/memory.h"
#include "worker/confine.h"

/* A worker that has not finished its stop by then goes without finishing. */
#define STOP_DEADLINE_MS 10000
/* Exit statuses, for the master's log. */
#define EXIT_FAILED 1 /* start() or the bus said why */
#define EXIT_MISUSE 2 /* not started by the master */

enum { REALTIME_NONE, REALTIME_MODEST };

static const struct {
	enum status_section_id section;
	int realtime;
} WORKERS[WORKER_COUNT] = {
	[WORKER_consensus] = {.section = STATUS_CONSENSUS},
	[WORKER_vip] = {.section = STATUS_VIP},
	[WORKER_dbctl] = {.section = STATUS_DBCTL},
	[WORKER_dbmon] = {.section = STATUS_DBMON},
	[WORKER_gateway] = {.section = STATUS_GATEWAY},
};

static const int REALTIME[WORKER_COUNT] = {
#define WORKER(name, user, capabilities, realtime, ...) [WORKER_##name] = (realtime),
#include "workers.def"
#undef WORKER
};

/* What only this file knows of a worker; `worker` is its first member. */
struct skeleton {
	struct worker worker;
	uv_loop_t loop;
	uv_poll_t control;
	uv_timer_t alive;
	uv_timer_t deadline;
	bool stopping;
};

static struct skeleton *skeleton_of(struct worker *worker)
{
	return (struct skeleton *)(void *)worker;
}

static int check_descriptor(int fd, const char *what, mode_t type, struct err *why)
{
	struct stat stat;

	if (fstat(fd, &stat) < 0)
		return err_set(
			why, ERR_NOT_FOUND,
			"descriptor %d (%s) is missing: this program is started by mhad, not "
			"by hand",
			fd, what);
	if ((stat.st_mode & S_IFMT) != type)
		return err_set(why, ERR_INVALID,
			       "descriptor %d is not %s: this program is started by mhad, not by "
			       "hand",
			       fd, what);
	return 0;
}

/* They must be what they should be, and must not reach the programs that dbctl executes. */
static int check_descriptors(struct err *why)
{
	int type = 0, rc;
	socklen_t size = sizeof(type);

	if ((rc = check_descriptor(WORKER_FD_CONTROL, "the control socket", S_IFSOCK, why)) < 0 ||
	    (rc = check_descriptor(WORKER_FD_CONF, "the configuration", S_IFREG, why)) < 0 ||
	    (rc = check_descriptor(WORKER_FD_STATUS, "the status section", S_IFREG, why)) < 0)
		return rc;
	if (getsockopt(WORKER_FD_CONTROL, SOL_SOCKET, SO_TYPE, &type, &size) < 0 ||
	    type != SOCK_SEQPACKET)
		return err_set(why, ERR_INVALID, "descriptor %d is no SOCK_SEQPACKET socket",
			       WORKER_FD_CONTROL);
	if (!memfd_is_sealed(WORKER_FD_CONF))
		return err_set(why, ERR_INVALID,
			       "descriptor %d (the configuration) is no sealed memory file",
			       WORKER_FD_CONF);
	for (int fd = WORKER_FD_CONTROL; fd <= WORKER_FD_SECRET; fd++) {
		if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 && errno != EBADF)
			return err_set_errno(why, ERR_IO, errno, "descriptor %d: close-on-exec",
					     fd);
	}
	return 0;
}

static int uv_check(int rc, const char *what, struct err *why)
{
	return rc < 0 ? err_set(why, ERR_IO, "%s: %s", what, uv_strerror(rc)) : 0;
}

static void on_message(void *arg, enum route_id route, const ProtobufCMessage *message)
{
	struct skeleton *skeleton = arg;

	if (skeleton->worker.ops->message != NULL)
		skeleton->worker.ops->message(&skeleton->worker, route, message);
}

void worker_stopped(struct worker *worker)
{
	uv_stop(&skeleton_of(worker)->loop);
}

static void on_deadline(uv_timer_t *timer)
{
	struct skeleton *skeleton = timer->data;

	log_event(LOG_WARNING, "worker.stop_timeout",
		  "after_ms=%d the stop is not finished; exiting all the same", STOP_DEADLINE_MS);
	worker_stopped(&skeleton->worker);
}

static void on_alive(uv_timer_t *timer)
{
	struct err why;

	UNUSED(timer);
	/* A master that does not read yet finds the earlier ones; a dead one ends the loop. */
	if (control_send(WORKER_FD_CONTROL, CONTROL_ALIVE, 0, -1, &why) == ERR_IO)
		log_event(LOG_WARNING, "worker.heartbeat", "%s", why.text);
}

static void handle_stop(struct skeleton *skeleton, bool handover)
{
	struct worker *worker = &skeleton->worker;

	if (skeleton->stopping)
		return;
	skeleton->stopping = true;
	log_event(LOG_INFO, "worker.stop", "handover=%d", handover);
	CHECK(uv_timer_start(&skeleton->deadline, on_deadline, STOP_DEADLINE_MS, 0) == 0);
	if (worker->ops->stop != NULL)
		worker->ops->stop(worker, handover);
	else
		worker_stopped(worker);
}

static void handle_conf(struct skeleton *skeleton, int fd)
{
	struct worker *worker = &skeleton->worker;
	struct conf *fresh;
	struct err why;

	if (fd < 0 || !memfd_is_sealed(fd)) {
		log_event(LOG_ERROR, "worker.reload",
			  "the master sent no sealed configuration; the old one stays");
		return;
	}
	fresh = calloc(1, sizeof(*fresh));
	if (fresh == NULL) {
		log_event(LOG_ERROR, "worker.reload", "out of memory; the old configuration stays");
		return;
	}
	if (conf_read_fd(fresh, fd, "configuration", &why) < 0) {
		log_event(LOG_ERROR, "worker.reload", "%s; the old configuration stays", why.text);
	} else {
		worker->conf = *fresh;
		log_set_threshold((enum log_level)worker->conf.log_level);
		if (worker->ops->reload != NULL)
			worker->ops->reload(worker);
	}
	free(fresh);
}

/* True: the worker keeps the descriptor. It is used by the reload that follows. */
static bool take_secret(struct worker *worker, int fd)
{
	if (fd < 0 || !memfd_is_sealed(fd)) {
		log_event(LOG_ERROR, "worker.reload",
			  "the master sent no sealed secret; the old one stays");
		return false;
	}
	if (memfd_is_sealed(worker->secret_fd))
		close(worker->secret_fd);
	worker->secret_fd = fd;
	return true;
}

static void on_control(uv_poll_t *poll, int status, int events)
{
	struct skeleton *skeleton = poll->data;
	struct control_message message;
	struct err why;
	int fd, rc;

	UNUSED(status);
	UNUSED(events);
	rc = control_receive(WORKER_FD_CONTROL, &message, &fd, &why);
	if (rc == ERR_BUSY)
		return;
	if (rc == ERR_INVALID) {
		log_event(LOG_ERROR, "worker.control", "%s", why.text);
		return;
	}
	if (rc < 0) {
		log_event(LOG_NOTICE, "worker.orphaned", "%s; exiting", why.text);
		uv_stop(&skeleton->loop);
		return;
	}
	switch (message.kind) {
	case CONTROL_SECRET:
		if (take_secret(&skeleton->worker, fd))
			fd = -1;
		break;
	case CONTROL_STOP:
		handle_stop(skeleton, message.flag != 0);
		break;
	case CONTROL_CONF:
		handle_conf(skeleton, fd);
		break;
	case CONTROL_RELOADED:
		if (skeleton->worker.ops->reloaded != NULL)
			skeleton->worker.ops->reloaded(&skeleton->worker, -(int)message.flag);
		break;
	default:
		log_event(LOG_ERROR, "worker.control", "unknown message kind=%u", message.kind);
		break;
	}
	if (fd >= 0)
		close(fd);
}

int worker_ask_reload(struct err *why)
{
	return control_send(WORKER_FD_CONTROL, CONTROL_RELOAD, 0, -1, why);
}

static int open_loop(struct skeleton *skeleton, struct err *why)
{
	uv_loop_t *loop = &skeleton->loop;
	int rc;

	if ((rc = uv_check(uv_loop_init(loop), "event loop", why)) < 0)
		return rc;
	skeleton->worker.loop = loop;
	skeleton->control.data = skeleton;
	skeleton->alive.data = skeleton;
	skeleton->deadline.data = skeleton;
	if ((rc = uv_check(uv_poll_init(loop, &skeleton->control, WORKER_FD_CONTROL),
			   "control socket", why)) < 0 ||
	    (rc = uv_check(uv_timer_init(loop, &skeleton->alive), "timer", why)) < 0 ||
	    (rc = uv_check(uv_timer_init(loop, &skeleton->deadline), "timer", why)) < 0)
		return rc;
	return 0;
}

/* After start(): only what start() promised may be watched from now on. */
static int run_loop(struct skeleton *skeleton, struct err *why)
{
	int rc;

	rc = uv_check(uv_poll_start(&skeleton->control, UV_READABLE | UV_DISCONNECT, on_control),
		      "control socket", why);
	if (rc < 0)
		return rc;
	rc = uv_check(
		uv_timer_start(&skeleton->alive, on_alive, CONTROL_ALIVE_MS, CONTROL_ALIVE_MS),
		"timer", why);
	if (rc < 0)
		return rc;
	rc = control_send(WORKER_FD_CONTROL, CONTROL_READY, 0, -1, why);
	if (rc < 0)
		return rc;
	uv_run(&skeleton->loop, UV_RUN_DEFAULT);
	/* finish() may turn the loop to close what it has open; none of this is wanted then. */
	uv_poll_stop(&skeleton->control);
	uv_timer_stop(&skeleton->alive);
	uv_timer_stop(&skeleton->deadline);
	return 0;
}

static int prepare(struct skeleton *skeleton, enum worker_id id, struct err *why)
{
	struct worker *worker = &skeleton->worker;
	struct err unlocked;
	int rc;

	if ((rc = check_descriptors(why)) < 0)
		return rc;
	if ((rc = conf_read_fd(&worker->conf, WORKER_FD_CONF, "configuration", why)) < 0)
		return rc;
	log_open(worker->conf.node_name, worker->name, (enum log_level)worker->conf.log_level);
	log_set_format((enum log_format)worker->conf.log_format);
	if ((rc = status_open_fd(&worker->status, WORKERS[id].section, WORKER_FD_STATUS, why)) < 0)
		return rc;
	if (REALTIME[id] == REALTIME_MODEST && memory_lock(&unlocked) < 0)
		log_event(LOG_INFO, "worker.memory_not_locked", "%s", unlocked.text);
	/* Before the first thread and the first message. */
	if ((rc = worker_confine(id, &worker->conf, WORKER_FD_CONTROL, why)) < 0)
		return err_in(why, rc, "sandbox");
	return open_loop(skeleton, why);
}

static int run(struct skeleton *skeleton, enum worker_id id, struct err *why)
{
	struct worker *worker = &skeleton->worker;
	int rc;

	rc = bus_open(&worker->bus, worker->loop, worker->conf.run_dir, id, on_message, skeleton,
		      why);
	if (rc < 0)
		return err_in(why, rc, "bus");
	rc = worker->ops->start(worker, why);
	if (rc == 0) {
		rc = run_loop(skeleton, why);
		if (worker->ops->finish != NULL)
			worker->ops->finish(worker);
	}
	bus_close(worker->bus);
	return rc;
}

int worker_main(enum worker_id id, const struct worker_ops *ops)
{
	/* Static, because handles may still be known to the loop when main() has returned. */
	static struct skeleton skeleton;
	struct worker *worker = &skeleton.worker;
	struct err why;

	CHECK((unsigned)id < WORKER_COUNT && ops->start != NULL);
	worker->id = id;
	worker->name = worker_id_name(id);
	worker->ops = ops;
	worker->secret_fd = WORKER_FD_SECRET;
	log_open("-", worker->name, LOG_NOTICE);
	if (signal(SIGPIPE, SIG_IGN) == SIG_ERR) {
		log_event(LOG_ERROR, "worker.start", "SIGPIPE cannot be ignored");
		return EXIT_FAILED;
	}
	if (prepare(&skeleton, id, &why) < 0) {
		log_event(LOG_ERROR, "worker.start", "%s", why.text);
		return EXIT_MISUSE;
	}
	if (run(&skeleton, id, &why) < 0) {
		log_event(LOG_ERROR, "worker.failed", "%s", why.text);
		status_close(&worker->status);
		return EXIT_FAILED;
	}
	status_close(&worker->status);
	return EXIT_SUCCESS;
}

static int read_secret(const struct worker *worker, void *into, size_t size, size_t *used,
		       struct err *why)
{
	*used = 0;
	if (!memfd_is_sealed(worker->secret_fd))
		return err_set(why, ERR_NOT_FOUND, "the master gave this worker no secret");
	while (*used < size) {
		const ssize_t got =
			pread(worker->secret_fd, (char *)into + *used, size - *used, (off_t)*used);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_set_errno(why, ERR_IO, errno, "read the secret");
		if (got == 0)
			break;
		*used += (size_t)got;
	}
	if (*used == size)
		return err_set(why, ERR_TOO_BIG, "the secret has more than %zu bytes", size - 1);
	return 0;
}

int worker_secret(const struct worker *worker, char *secret, size_t size, struct err *why)
{
	size_t used;
	int rc;

	CHECK(size > 0);
	if ((rc = read_secret(worker, secret, size, &used, why)) < 0)
		return rc;
	while (used > 0 && (secret[used - 1] == '\n' || secret[used - 1] == '\r'))
		used--;
	secret[used] = '\0';
	if (used == 0 || strlen(secret) != used)
		return err_set(why, ERR_INVALID, "the secret is empty or holds a NUL");
	return 0;
}

int worker_secret_bytes(const struct worker *worker, uint8_t **bytes, size_t *size, struct err *why)
{
	struct stat stat;
	int rc;

	*bytes = NULL;
	if (!memfd_is_sealed(worker->secret_fd) || fstat(worker->secret_fd, &stat) < 0)
		return err_set(why, ERR_NOT_FOUND, "the master gave this worker no secret");
	if (stat.st_size < 0 || (size_t)stat.st_size > WORKER_SECRET_MAX)
		return err_set(why, ERR_TOO_BIG, "the secret has more than %zu bytes",
			       WORKER_SECRET_MAX);
	*bytes = malloc((size_t)stat.st_size + 1);
	if (*bytes == NULL)
		return err_set(why, ERR_NO_MEMORY, "out of memory");
	rc = read_secret(worker, *bytes, (size_t)stat.st_size + 1, size, why);
	if (rc < 0) {
		explicit_bzero(*bytes, (size_t)stat.st_size + 1);
		free(*bytes);
		*bytes = NULL;
	}
	return rc;
}
