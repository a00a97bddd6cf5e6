#include "os/process.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

int process_open(pid_t pid, struct err *why)
{
	const int fd = pidfd_open(pid, 0); /* always close-on-exec */

	if (fd < 0)
		return err_set_errno(why, errno == ESRCH ? ERR_GONE : ERR_IO, errno,
				     "pidfd of process %d", (int)pid);
	return fd;
}

int process_signal(int pidfd, int signal, struct err *why)
{
	if (pidfd_send_signal(pidfd, signal, NULL, 0) == 0)
		return 0;
	if (errno == ESRCH)
		return err_set(why, ERR_GONE, "the process has ended");
	return err_set_errno(why, errno == EPERM ? ERR_PERM : ERR_IO, errno, "send signal %d",
			     signal);
}

int process_reap(int pidfd, struct process_end *end, struct err *why)
{
	siginfo_t info = {.si_pid = 0};
	int rc;

	do {
		rc = waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG);
	} while (rc < 0 && errno == EINTR);
	if (rc < 0)
		return err_set_errno(why, ERR_IO, errno, "wait for a process");
	if (info.si_pid == 0)
		return err_set(why, ERR_BUSY, "the process has not ended");
	end->by_signal = info.si_code != CLD_EXITED;
	end->code = info.si_status;
	return 0;
}

bool process_usage(pid_t pid, uint64_t *cpu_us, uint64_t *memory_bytes)
{
	const long ticks = sysconf(_SC_CLK_TCK), page = sysconf(_SC_PAGESIZE);
	uint64_t user, system, resident;
	char path[40], text[1024];
	const char *fields;
	ssize_t size;
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	size = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (size <= 0 || ticks <= 0 || page <= 0)
		return false;
	text[size] = '\0';
	/* The second field is a name and may hold anything; what follows it are numbers. */
	fields = strrchr(text, ')');
	if (fields == NULL || sscanf(fields,
				     ") %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %" SCNu64
				     " %" SCNu64 " %*s %*s %*s %*s %*s %*s %*s %*s %" SCNu64,
				     &user, &system, &resident) != 3)
		return false;
	*cpu_us = (user + system) * 1000000 / (uint64_t)ticks;
	*memory_bytes = resident * (uint64_t)page;
	return true;
}
