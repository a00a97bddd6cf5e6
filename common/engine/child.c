#include "engine/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "os/landlock.h"

#define INPUT_MAX 60000 /* fits into a pipe without waiting for a reader */

struct child {
	pid_t pid;
	bool reaped;
	int pidfd;
	int output; /* -1: none */
	uv_poll_t *end_poll;
	uv_poll_t *output_poll;
	const struct child_events *events;
	void *arg;
	size_t used;
	char line[CHILD_LINE_SIZE];
};

/* The same for every program, whatever the agent was started with. */
static char *const ENVIRONMENT[] = {
	(char[]){"PATH=/usr/bin:/bin"},
	(char[]){"LC_ALL=C"},
	(char[]){"LANG=C"},
	(char[]){"TZ=UTC"},
	/* Progress lines at once, colours never. */
	(char[]){"PG_COLOR=never"},
	NULL,
};

static void on_poll_closed(uv_handle_t *handle)
{
	free(handle);
}

static void poll_close(uv_poll_t **poll)
{
	if (*poll == NULL)
		return;
	uv_poll_stop(*poll);
	uv_close((uv_handle_t *)*poll, on_poll_closed);
	*poll = NULL;
}

static int poll_open(uv_poll_t **poll, uv_loop_t *loop, int fd, uv_poll_cb callback, void *data,
		     struct err *why)
{
	uv_poll_t *fresh = malloc(sizeof(*fresh));

	if (fresh == NULL)
		return err_set(why, ERR_NO_MEMORY, "out of memory");
	if (uv_poll_init(loop, fresh, fd) < 0) {
		free(fresh);
		return err_set(why, ERR_IO, "watch descriptor %d", fd);
	}
	fresh->data = data;
	*poll = fresh;
	if (uv_poll_start(fresh, UV_READABLE | UV_DISCONNECT, callback) < 0) {
		poll_close(poll);
		return err_set(why, ERR_IO, "watch descriptor %d", fd);
	}
	return 0;
}

void child_forget(struct child *child)
{
	if (child == NULL)
		return;
	poll_close(&child->end_poll);
	poll_close(&child->output_poll);
	if (child->pidfd >= 0)
		close(child->pidfd);
	if (child->output >= 0)
		close(child->output);
	free(child);
}

static void flush_line(struct child *child)
{
	if (child->used == 0)
		return;
	child->line[child->used] = '\0';
	child->used = 0;
	if (child->events->line != NULL)
		child->events->line(child->arg, child->line);
}

static void take_output(struct child *child, const char *text, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (text[i] == '\n' || text[i] == '\r')
			flush_line(child);
		else if (child->used + 1 < sizeof(child->line))
			child->line[child->used++] = text[i];
	}
}

/* False at the end of the output. Takes a bounded amount, so that nothing else waits. */
static bool drain(struct child *child)
{
	char block[4096];

	for (unsigned i = 0; i < 16; i++) {
		const ssize_t got = read(child->output, block, sizeof(block));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && errno == EAGAIN)
			return true;
		if (got <= 0)
			return false;
		take_output(child, block, (size_t)got);
	}
	return true;
}

static void on_output(uv_poll_t *poll, int status, int events)
{
	struct child *child = poll->data;

	UNUSED(status);
	UNUSED(events);
	if (!drain(child))
		poll_close(&child->output_poll);
}

static void on_end(uv_poll_t *poll, int status, int events)
{
	struct child *child = poll->data;
	struct process_end end = {.by_signal = false, .code = -1};
	siginfo_t info = {.si_pid = 0};

	UNUSED(status);
	UNUSED(events);
	/*
	 * Whom it left behind must not go on writing. As long as it is not reaped (who ends a
	 * server may have done so), the group's number cannot be anybody else's.
	 */
	if (waitid(P_PIDFD, (id_t)child->pidfd, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
	    info.si_pid != 0)
		(void)kill(-child->pid, SIGKILL);
	if (process_reap(child->pidfd, &end, NULL) == ERR_BUSY)
		return;
	child->reaped = true;
	/* Whoever it left behind may hold the pipe open: only what is there now is read. */
	if (child->output >= 0)
		(void)drain(child);
	flush_line(child);
	child->events->ended(child->arg, &end);
	child_forget(child);
}

pid_t child_pid(const struct child *child)
{
	return child->pid;
}

void child_kill(struct child *child)
{
	/* Until it is reaped the group's number cannot be anybody else's. */
	if (!child->reaped)
		(void)kill(-child->pid, SIGKILL);
}

struct plumbing {
	int input[2];
	int output[2];
};

static void plumbing_close(struct plumbing *pipes)
{
	for (int i = 0; i < 2; i++) {
		if (pipes->input[i] >= 0)
			close(pipes->input[i]);
		if (pipes->output[i] >= 0)
			close(pipes->output[i]);
		pipes->input[i] = pipes->output[i] = -1;
	}
}

static int plumbing_open(struct plumbing *pipes, const struct child_spec *spec, struct err *why)
{
	const size_t size = spec->input != NULL ? strlen(spec->input) : 0;

	*pipes = (struct plumbing){{-1, -1}, {-1, -1}};
	if (size > INPUT_MAX)
		return err_set(why, ERR_TOO_BIG, "input of more than %d bytes", INPUT_MAX);
	if ((spec->input != NULL && pipe2(pipes->input, O_CLOEXEC) < 0) ||
	    (spec->log == NULL && pipe2(pipes->output, O_CLOEXEC) < 0)) {
		plumbing_close(pipes);
		return err_set_errno(why, ERR_IO, errno, "pipe");
	}
	if (spec->input != NULL && write(pipes->input[1], spec->input, size) != (ssize_t)size) {
		plumbing_close(pipes);
		return err_set_errno(why, ERR_IO, errno, "write into a pipe");
	}
	if (pipes->output[0] >= 0 && fcntl(pipes->output[0], F_SETFL, O_NONBLOCK) < 0) {
		plumbing_close(pipes);
		return err_set_errno(why, ERR_IO, errno, "pipe");
	}
	return 0;
}

static int add_actions(posix_spawn_file_actions_t *actions, const struct child_spec *spec,
		       const struct plumbing *pipes)
{
	int rc = 0;

	rc |= posix_spawn_file_actions_addchdir_np(actions,
						   spec->directory != NULL ? spec->directory : "/");
	if (spec->input != NULL)
		rc |= posix_spawn_file_actions_adddup2(actions, pipes->input[0], 0);
	else
		rc |= posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0);
	if (spec->log != NULL)
		rc |= posix_spawn_file_actions_addopen(
			actions, 1, spec->log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
	else
		rc |= posix_spawn_file_actions_adddup2(actions, pipes->output[1], 1);
	rc |= posix_spawn_file_actions_adddup2(actions, 1, 2);
	rc |= posix_spawn_file_actions_addclosefrom_np(actions, 3);
	return rc;
}

static int add_attributes(posix_spawnattr_t *attributes)
{
	sigset_t none, all;
	int rc = 0;

	sigemptyset(&none);
	sigfillset(&all);
	rc |= posix_spawnattr_setsigmask(attributes, &none);
	rc |= posix_spawnattr_setsigdefault(attributes, &all);
	rc |= posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK |
							   POSIX_SPAWN_SETSIGDEF);
	return rc;
}

static int run(pid_t *pid, const struct child_spec *spec, const posix_spawn_file_actions_t *actions,
	       const posix_spawnattr_t *attributes, char *const argv[])
{
	if (spec->ruleset == NULL)
		return posix_spawn(pid, argv[0], actions, attributes, argv, ENVIRONMENT);
	return landlock_spawn(*spec->ruleset, pid, argv[0], actions, attributes, argv, ENVIRONMENT);
}

static int spawn(pid_t *pid, const struct child_spec *spec, const struct plumbing *pipes,
		 struct err *why)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	char **argv;
	int rc;

	if (posix_spawn_file_actions_init(&actions) != 0)
		return err_set(why, ERR_NO_MEMORY, "out of memory");
	if (posix_spawnattr_init(&attributes) != 0) {
		posix_spawn_file_actions_destroy(&actions);
		return err_set(why, ERR_NO_MEMORY, "out of memory");
	}
	/* posix_spawn() takes its strings as not const and does not write to them. */
	memcpy(&argv, &spec->argv, sizeof(argv));
	if (add_actions(&actions, spec, pipes) != 0 || add_attributes(&attributes) != 0)
		rc = err_set(why, ERR_NO_MEMORY, "prepare %s: out of memory", spec->argv[0]);
	else if ((rc = run(pid, spec, &actions, &attributes, argv)) != 0)
		rc = err_set_errno(why,
				   rc == ENOENT   ? ERR_NOT_FOUND
				   : rc == EAGAIN ? ERR_NO_MEMORY
						  : ERR_IO,
				   rc, "run %s", spec->argv[0]);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	return rc;
}

/* Once it runs, a failure to watch it ends it: nothing runs here unseen. */
static int watch(struct child *child, uv_loop_t *loop, struct err *why)
{
	int rc;

	child->pidfd = pidfd_open(child->pid, 0);
	if (child->pidfd < 0)
		return err_set_errno(why, ERR_IO, errno, "pidfd");
	if ((rc = poll_open(&child->end_poll, loop, child->pidfd, on_end, child, why)) < 0)
		return rc;
	if (child->output < 0)
		return 0;
	return poll_open(&child->output_poll, loop, child->output, on_output, child, why);
}

int child_start(struct child **child, uv_loop_t *loop, const struct child_spec *spec,
		const struct child_events *events, void *arg, struct err *why)
{
	struct child *fresh = calloc(1, sizeof(*fresh));
	struct plumbing pipes;
	int rc;

	CHECK(spec->argv[0] != NULL && spec->argv[0][0] == '/' && events->ended != NULL);
	if (fresh == NULL)
		return err_set(why, ERR_NO_MEMORY, "out of memory");
	*fresh = (struct child){.pidfd = -1, .output = -1, .events = events, .arg = arg};
	if ((rc = plumbing_open(&pipes, spec, why)) < 0) {
		free(fresh);
		return rc;
	}
	rc = spawn(&fresh->pid, spec, &pipes, why);
	if (rc == 0) {
		fresh->output = pipes.output[0];
		pipes.output[0] = -1;
		rc = watch(fresh, loop, why);
		if (rc < 0)
			(void)kill(-fresh->pid, SIGKILL);
	}
	plumbing_close(&pipes);
	if (rc < 0) {
		child_forget(fresh);
		return rc;
	}
	*child = fresh;
	return 0;
}

void child_beside(char path[FILES_PATH_SIZE], const char *name)
{
	char self[FILES_PATH_SIZE - 32];
	const ssize_t got = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	self[got > 0 ? got : 0] = '\0';
	slash = strrchr(self, '/');
	if (slash != NULL)
		*slash = '\0';
	snprintf(path, FILES_PATH_SIZE, "%s/%.30s", slash != NULL ? self : "", name);
}
