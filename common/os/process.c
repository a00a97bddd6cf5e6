#include "os/process.h"

#include <errno.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/wait.h>

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
