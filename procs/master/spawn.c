#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "os/caps.h"
#include "os/sanitizer.h"

/* Descriptors 3..7 of common/worker/worker.h, in that order. */
#define FD_FIRST 3
#define FD_COUNT 5
/* Where they wait while their places are taken by something else. */
#define FD_PARKED 64

#define REALTIME_PRIORITY 1
/* CPU time without once waiting for anything: a real-time worker that spins ends itself. */
#define REALTIME_SPIN_US UINT64_C(3000000)

/* What a worker keeps of the master's environment: the time zone of logs, sanitizers' options. */
static const char *const KEPT[] = {"TZ", "ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS",
				   "TSAN_OPTIONS"};
static const char *const FIXED[] = {
	"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8",
	"ZSYS_SIGHANDLER=false", /* CZMQ leaves SIGTERM alone */
};
#define ENVIRONMENT_MAX (COUNT_OF(KEPT) + COUNT_OF(FIXED) + 1)

/* Nothing of the below may be skipped: a worker starts as what it should be or not at all. */
static void must(int rc, const struct spawn *spawn, const char *what)
{
	if (rc >= 0)
		return;
	log_event(LOG_ERROR, "worker.spawn_failed", "worker=%s step=\"%s\" %s", spawn->row->name,
		  what, strerror(errno));
	_exit(SPAWN_EXIT_SETUP);
}

static void must_err(int rc, const struct spawn *spawn, const struct err *why)
{
	if (rc >= 0)
		return;
	log_event(LOG_ERROR, "worker.spawn_failed", "worker=%s %s", spawn->row->name, why->text);
	_exit(SPAWN_EXIT_SETUP);
}

static void arrange_descriptors(const struct spawn *spawn)
{
	const int sources[FD_COUNT] = {spawn->control, spawn->conf, spawn->status, spawn->packet,
				       spawn->secret};
	int parked[FD_COUNT];
	const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	must(null, spawn, "open /dev/null");
	for (int i = 0; i < FD_COUNT; i++) {
		parked[i] = sources[i] < 0 ? -1 : fcntl(sources[i], F_DUPFD_CLOEXEC, FD_PARKED);
		/* How the kernel says that the limit is below the number that is wanted. */
		if (sources[i] >= 0 && parked[i] < 0 && errno == EINVAL)
			errno = EMFILE;
		must(sources[i] < 0 ? 0 : parked[i], spawn, "duplicate a descriptor");
	}
	must(dup2(null, STDIN_FILENO), spawn, "standard input");
	must(dup2(STDERR_FILENO, STDOUT_FILENO), spawn, "standard output");
	for (int i = 0; i < FD_COUNT; i++) {
		if (parked[i] < 0)
			close(FD_FIRST + i);
		else
			must(dup2(parked[i], FD_FIRST + i), spawn, "place a descriptor");
	}
	must(close_range(FD_FIRST + FD_COUNT, ~0U, 0), spawn, "close descriptors");
}

/*
 * A starved machine must keep its lease. Where the kernel refuses, the worker runs as others do.
 * The right of way has a bound: who spins gets SIGXCPU long before the heartbeat is missed.
 */
static void set_urgency(const struct spawn *spawn)
{
	const struct sched_param priority = {.sched_priority = REALTIME_PRIORITY};
	const struct rlimit spin = {.rlim_cur = REALTIME_SPIN_US, .rlim_max = 2 * REALTIME_SPIN_US};

	if (!spawn->row->realtime) {
		must(setrlimit(RLIMIT_MEMLOCK, &spawn->locked), spawn, "limit locked memory");
		return;
	}
	must(setrlimit(RLIMIT_RTTIME, &spin), spawn, "limit real-time");
	if (sched_setscheduler(0, SCHED_RR, &priority) < 0)
		log_event(LOG_INFO, "worker.not_realtime", "worker=%s %s", spawn->row->name,
			  strerror(errno));
}

static void drop_ids(const struct spawn *spawn)
{
	const struct os_user *user = spawn->user;
	struct err why;

	must(spawn->row->groups ? initgroups(user->name, user->gid) : setgroups(0, NULL), spawn,
	     "supplementary groups");
	must(setresgid(user->gid, user->gid, user->gid), spawn, "group");
	must_err(caps_bound(spawn->row->caps, &why), spawn, &why);
	/* Across the change of user; what must not stay is dropped right after it. */
	must(prctl(PR_SET_KEEPCAPS, spawn->row->caps != 0, 0, 0, 0), spawn, "keep capabilities");
	must(setresuid(user->uid, user->uid, user->uid), spawn, "user");
	must_err(caps_keep(spawn->row->caps, true, &why), spawn, &why);
	must(prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0), spawn, "keep capabilities no more");
	must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), spawn, "no new privileges");
}

/* A soft limit that is stricter already stays. */
static void limit(const struct spawn *spawn, __rlimit_resource_t resource, uint64_t value)
{
	struct rlimit now;

	must(getrlimit(resource, &now), spawn, "read a limit");
	if (now.rlim_max > value)
		now.rlim_max = value;
	if (now.rlim_cur > now.rlim_max)
		now.rlim_cur = now.rlim_max;
	must(setrlimit(resource, &now), spawn, "set a limit");
}

/* What the database would inherit is left to the service. */
static void set_limits(const struct spawn *spawn)
{
	const struct sandbox_limits *limits = &spawn->row->limits;
	const uint64_t mib = 1024 * 1024;

	if (limits->files != 0)
		limit(spawn, RLIMIT_NOFILE, limits->files);
	if (limits->threads != 0)
		limit(spawn, RLIMIT_NPROC, limits->threads);
	if (limits->memory_mib != 0 && !OS_SANITIZED)
		limit(spawn, RLIMIT_DATA, limits->memory_mib * mib);
	if (limits->file_mib != 0)
		limit(spawn, RLIMIT_FSIZE, limits->file_mib * mib);
	if (spawn->row->calls != 0)
		limit(spawn, RLIMIT_CORE, 0);
}

/* That root cannot be regained is tried, not believed. */
static void prove_ids(const struct spawn *spawn)
{
	const struct os_user *user = spawn->user;
	uid_t real, effective, saved;
	uint64_t caps;
	struct err why;

	must(getresuid(&real, &effective, &saved), spawn, "read user");
	CHECK(real == user->uid && effective == user->uid && saved == user->uid);
	CHECK(getgid() == user->gid && getegid() == user->gid);
	CHECK(setuid(0) < 0 && setgid(0) < 0);
	must_err(caps_permitted(&caps, &why), spawn, &why);
	CHECK(caps == spawn->row->caps);
}

static void reset_signals(const struct spawn *spawn)
{
	sigset_t none;

	for (int signal_number = 1; signal_number < NSIG; signal_number++) {
		if (signal_number != SIGKILL && signal_number != SIGSTOP)
			(void)signal(signal_number, SIG_DFL);
	}
	sigemptyset(&none);
	must(sigprocmask(SIG_SETMASK, &none, NULL), spawn, "signal mask");
}

static void make_environment(char *environment[ENVIRONMENT_MAX], char kept[COUNT_OF(KEPT)][512])
{
	size_t count = 0;

	for (size_t i = 0; i < COUNT_OF(FIXED); i++)
		environment[count++] = strdup(FIXED[i]);
	for (size_t i = 0; i < COUNT_OF(KEPT); i++) {
		const char *value = getenv(KEPT[i]);

		if (value != NULL && snprintf(kept[i], sizeof(kept[i]), "%s=%s", KEPT[i], value) <
					     (int)sizeof(kept[i]))
			environment[count++] = kept[i];
	}
	environment[count] = NULL;
}

/*
 * The only road from root to a worker. The order is the security argument: each step needs a
 * right that a later one gives up.
 */
_Noreturn static void become_worker(const struct spawn *spawn, pid_t master)
{
	char *environment[ENVIRONMENT_MAX];
	char kept[COUNT_OF(KEPT)][512];
	char *arguments[2] = {NULL, NULL};

	make_environment(environment, kept);
	arguments[0] = strdup(spawn->program);
	must(setsid(), spawn, "session");
	must(chdir("/"), spawn, "root directory");
	umask(0077);
	arrange_descriptors(spawn);
	set_urgency(spawn);
	set_limits(spawn);
	drop_ids(spawn);
	/* After the last change of identity, which would clear it. */
	must(prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0), spawn, "end with the master");
	if (getppid() != master)
		_exit(SPAWN_EXIT_SETUP);
	prove_ids(spawn);
	reset_signals(spawn);
	execve(spawn->program, arguments, environment);
	log_event(LOG_ERROR, "worker.exec_failed", "worker=%s program=%s %s", spawn->row->name,
		  spawn->program, strerror(errno));
	_exit(SPAWN_EXIT_EXEC);
}

int spawn_worker(const struct spawn *spawn, struct err *why)
{
	const pid_t master = getpid();
	const pid_t pid = fork();

	if (pid < 0)
		return err_set_errno(why, ERR_IO, errno, "fork");
	if (pid == 0)
		become_worker(spawn, master);
	return pid;
}
