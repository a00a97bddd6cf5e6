/*
 * One host of the laboratory: the first process of a PID namespace, with mounts, System V and
 * shared memory, and a hostname of its own, in a network namespace that exists already.
 *
 *   lab-host --hostname NAME --netns FILE --log FILE -- PROGRAM [ARGUMENT]...
 *
 * Prints the pid of the namespace's first process (as seen from outside) and returns. The first
 * process starts PROGRAM at each SIGUSR1 unless it still runs, and reaps whatever ends. Killing
 * it ends every process of the host at once, as a power cut does.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct host {
	const char *hostname;
	const char *netns;
	const char *log;
	char **program;
};

_Noreturn static void die(const char *what)
{
	fprintf(stderr, "lab-host: %s: %s\n", what, strerror(errno));
	exit(1);
}

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
	struct timespec now;
	va_list args;

	if (clock_gettime(CLOCK_MONOTONIC, &now) != 0)
		die("clock_gettime");
	fprintf(stderr, "lab-host: %lld.%06ld: ", (long long)now.tv_sec, now.tv_nsec / 1000);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

static void enter_network(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || setns(fd, CLONE_NEWNET) != 0)
		die(path);
	close(fd);
}

/* Pids of one boot must not repeat those of the boot before: real hosts spread them too. */
static void scatter_pids(void)
{
	uint16_t seed;
	FILE *file;

	if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed)
		die("getrandom");
	file = fopen("/proc/sys/kernel/ns_last_pid", "w");
	if (file == NULL)
		return; /* a kernel without it: pids start at 2 */
	fprintf(file, "%u", 1000U + seed % 20000U);
	fclose(file);
}

static void furnish(const struct host *host)
{
	int log, null;

	if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
		die("making mounts private");
	if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) != 0)
		die("mounting /proc");
	if (mount("shm", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777") != 0)
		die("mounting /dev/shm");
	if (sethostname(host->hostname, strlen(host->hostname)) != 0)
		die("sethostname");
	scatter_pids();
	log = open(host->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (log < 0 || null < 0)
		die(host->log);
	if (dup2(null, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0)
		die("dup2");
	if (close_range(3, ~0U, 0) != 0)
		die("close_range");
	setvbuf(stderr, NULL, _IOLBF, 0);
}

static pid_t start_program(char **program)
{
	sigset_t none;
	pid_t child = fork();

	if (child < 0) {
		say("fork: %s", strerror(errno));
		return 0;
	}
	if (child > 0) {
		say("started %s, pid %d in here", program[0], (int)child);
		return child;
	}
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	execvp(program[0], program);
	say("%s: %s", program[0], strerror(errno));
	_exit(127);
}

static void say_ended(int status)
{
	if (WIFSIGNALED(status))
		say("the program was ended by signal %d", WTERMSIG(status));
	else
		say("the program ended with status %d", WEXITSTATUS(status));
}

_Noreturn static void run(const struct host *host, const sigset_t *signals)
{
	pid_t main_pid = 0;

	for (;;) {
		int status, number = sigwaitinfo(signals, NULL);
		pid_t ended;

		while ((ended = waitpid(-1, &status, WNOHANG)) > 0) {
			if (ended != main_pid)
				continue;
			say_ended(status);
			main_pid = 0;
		}
		if (number == SIGUSR1 && main_pid == 0)
			main_pid = start_program(host->program);
	}
}

static void parse(struct host *host, int argc, char **argv)
{
	static const struct option OPTIONS[] = {
		{"hostname", required_argument, NULL, 'h'},
		{"netns", required_argument, NULL, 'n'},
		{"log", required_argument, NULL, 'l'},
		{NULL, 0, NULL, 0},
	};
	int option;

	while ((option = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1) {
		switch (option) {
		case 'h':
			host->hostname = optarg;
			break;
		case 'n':
			host->netns = optarg;
			break;
		case 'l':
			host->log = optarg;
			break;
		default:
			exit(2);
		}
	}
	host->program = argv + optind;
	if (host->hostname == NULL || host->netns == NULL || host->log == NULL ||
	    host->program[0] == NULL) {
		fputs("usage: lab-host --hostname NAME --netns FILE --log FILE -- PROGRAM...\n",
		      stderr);
		exit(2);
	}
}

int main(int argc, char **argv)
{
	struct host host = {0};
	sigset_t signals;
	pid_t first;

	parse(&host, argc, argv);
	enter_network(host.netns);
	if (unshare(CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS) != 0)
		die("unshare (root is needed)");
	/* Blocked before the fork: a SIGUSR1 that comes early waits instead of being ignored. */
	sigemptyset(&signals);
	sigaddset(&signals, SIGUSR1);
	sigaddset(&signals, SIGCHLD);
	if (sigprocmask(SIG_BLOCK, &signals, NULL) != 0)
		die("sigprocmask");
	first = fork();
	if (first < 0)
		die("fork");
	if (first > 0) {
		/* No exit handlers: a sanitizer's would start threads in the new PID namespace. */
		printf("%d\n", (int)first);
		_exit(fflush(stdout) == 0 ? 0 : 1);
	}
	if (setsid() < 0)
		die("setsid");
	furnish(&host);
	run(&host, &signals);
}
