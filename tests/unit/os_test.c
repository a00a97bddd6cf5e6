/* The thin wrappers of Linux that the master and the workers stand on. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/macros.h"
#include "os/clock.h"
#include "os/control.h"
#include "os/directory.h"
#include "os/memfd.h"
#include "os/process.h"
#include "os/user.h"

#define EXPECT cr_assert

static void send_two(int socket)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(2 * sizeof(int))];
	} extra = {.bytes = {0}};
	struct control_message message = {.kind = CONTROL_ALIVE};
	struct iovec part = {.iov_base = &message, .iov_len = sizeof(message)};
	struct msghdr packet = {.msg_iov = &part,
				.msg_iovlen = 1,
				.msg_control = extra.bytes,
				.msg_controllen = sizeof(extra.bytes)};
	const int fds[2] = {socket, socket};

	extra.header.cmsg_level = SOL_SOCKET;
	extra.header.cmsg_type = SCM_RIGHTS;
	extra.header.cmsg_len = CMSG_LEN(sizeof(fds));
	memcpy(CMSG_DATA(&extra.header), fds, sizeof(fds));
	EXPECT(sendmsg(socket, &packet, 0) == (ssize_t)sizeof(message));
}

static int open_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int count = 0;

	EXPECT(dir != NULL);
	while (readdir(dir) != NULL)
		count++;
	closedir(dir);
	return count;
}

Test(os, control_packets_carry_a_descriptor_and_survive_strangers)
{
	struct control_message message;
	struct err why;
	int sockets[2], fd, passed, open_before;
	char byte;

	EXPECT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) == 0);
	EXPECT(control_receive(sockets[1], &message, &fd, &why) == ERR_BUSY);
	EXPECT(control_send(sockets[0], CONTROL_STOP, 1, -1, &why) == 0);
	EXPECT(control_receive(sockets[1], &message, &fd, &why) == 0);
	EXPECT(message.kind == CONTROL_STOP && message.flag == 1 && fd == -1);

	passed = memfd_sealed("test", "x", 1, &why);
	EXPECT(passed >= 0);
	EXPECT(control_send(sockets[0], CONTROL_CONF, 0, passed, &why) == 0);
	EXPECT(control_receive(sockets[1], &message, &fd, &why) == 0);
	EXPECT(message.kind == CONTROL_CONF && fd >= 0 && fd != passed);
	EXPECT(memfd_is_sealed(fd) && pread(fd, &byte, 1, 0) == 1 && byte == 'x');
	EXPECT((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
	close(fd);
	close(passed);

	EXPECT(send(sockets[0], "short", 5, 0) == 5);
	EXPECT(control_receive(sockets[1], &message, &fd, &why) == ERR_INVALID);
	EXPECT(send(sockets[0], "much longer than a packet", 25, 0) == 25);
	EXPECT(control_receive(sockets[1], &message, &fd, &why) == ERR_INVALID);

	/* Two descriptors in one packet: at most one arrives, none is left open. */
	send_two(sockets[0]);
	open_before = open_descriptors();
	EXPECT(control_receive(sockets[1], &message, &fd, &why) == 0 && fd >= 0);
	EXPECT(open_descriptors() == open_before + 1, "a descriptor was left open");
	close(fd);

	for (int rc = 0, sent = 0; rc == 0; sent++) {
		EXPECT(sent < 100000, "the socket never fills");
		rc = control_send(sockets[0], CONTROL_ALIVE, 0, -1, &why);
		EXPECT(rc == 0 || rc == ERR_BUSY, "%s", why.text);
	}
	close(sockets[1]);
	EXPECT(control_send(sockets[0], CONTROL_ALIVE, 0, -1, &why) == ERR_GONE, "%s", why.text);
	EXPECT(control_receive(sockets[0], &message, &fd, &why) == ERR_GONE, "%s", why.text);
	close(sockets[0]);
}

Test(os, a_sealed_memory_file_cannot_be_changed)
{
	struct err why;
	const int fd = memfd_sealed("test", "bytes", 5, &why);
	const int open_fd = memfd_create("open", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	EXPECT(fd >= 0 && open_fd >= 0);
	EXPECT(memfd_is_sealed(fd) && !memfd_is_sealed(open_fd) && !memfd_is_sealed(-1));
	EXPECT(pwrite(fd, "x", 1, 0) < 0 && errno == EPERM);
	EXPECT(ftruncate(fd, 0) < 0 && errno == EPERM);
	EXPECT(ftruncate(fd, 100) < 0 && errno == EPERM);
	close(fd);
	close(open_fd);
}

Test(os, a_process_is_watched_signalled_and_reaped_by_descriptor)
{
	struct process_end end;
	struct pollfd event = {.events = POLLIN};
	struct err why;
	const pid_t pid = fork();

	EXPECT(pid >= 0);
	if (pid == 0) {
		/* Not left behind when the test fails. */
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) == 0)
			pause();
		_exit(0);
	}
	event.fd = process_open(pid, &why);
	EXPECT(event.fd >= 0, "%s", why.text);
	EXPECT(poll(&event, 1, 0) == 0, "not readable while it lives");
	EXPECT(process_reap(event.fd, &end, &why) == ERR_BUSY);
	EXPECT(process_signal(event.fd, SIGTERM, &why) == 0);
	EXPECT(poll(&event, 1, 10000) == 1);
	EXPECT(process_reap(event.fd, &end, &why) == 0 && end.by_signal && end.code == SIGTERM);
	EXPECT(process_signal(event.fd, SIGTERM, &why) == ERR_GONE);
	EXPECT(process_reap(event.fd, &end, &why) < 0, "reaped once");
	close(event.fd);
	EXPECT(process_open(pid, &why) == ERR_GONE);
}

Test(os, directories_get_their_exact_mode_and_are_no_links)
{
	char base[] = "/tmp/mha-os-XXXXXX";
	char path[64];
	struct stat stat;
	struct err why;
	int fd;

	EXPECT(mkdtemp(base) != NULL);
	snprintf(path, sizeof(path), "%s/a/b", base);
	EXPECT(directory_make_parents(path, &why) == 0);
	fd = directory_make(AT_FDCWD, path, getuid(), getgid(), 0710, &why);
	EXPECT(fd >= 0, "%s", why.text);
	EXPECT(fstat(fd, &stat) == 0 && (stat.st_mode & 07777) == 0710);
	EXPECT(fchmod(fd, 0777) == 0);
	close(fd);
	fd = directory_make(AT_FDCWD, path, getuid(), getgid(), 0710, &why);
	EXPECT(fd >= 0 && fstat(fd, &stat) == 0 && (stat.st_mode & 07777) == 0710, "set right");

	EXPECT(mkdirat(fd, "sub", 0700) == 0 && symlinkat("/etc", fd, "link") == 0);
	close(openat(fd, "file", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	EXPECT(directory_make(fd, "link", getuid(), getgid(), 0700, &why) == ERR_EXISTS, "a link");
	EXPECT(directory_make(fd, "file", getuid(), getgid(), 0700, &why) == ERR_EXISTS, "a file");
	EXPECT(directory_clear(fd, path, &why) == 0, "%s", why.text);
	EXPECT(fstatat(fd, "file", &stat, 0) < 0 && fstatat(fd, "link", &stat, 0) < 0);
	EXPECT(fstatat(fd, "sub", &stat, 0) == 0, "directories stay");
	EXPECT(access("/etc/passwd", F_OK) == 0, "links are not followed");

	EXPECT(unlinkat(fd, "sub", AT_REMOVEDIR) == 0);
	close(fd);
	EXPECT(rmdir(path) == 0);
	snprintf(path, sizeof(path), "%s/a", base);
	EXPECT(rmdir(path) == 0 && rmdir(base) == 0);
}

Test(os, users_are_found_and_root_is_none)
{
	struct os_user user;
	struct err why;

	EXPECT(user_find(&user, "daemon", &why) == 0 && user.uid != 0 && user.gid != 0);
	EXPECT(strcmp(user.name, "daemon") == 0);
	EXPECT(user_find(&user, "root", &why) == ERR_INVALID);
	EXPECT(user_find(&user, "mha-nobody-has-this", &why) == ERR_NOT_FOUND);
	EXPECT(strstr(why.text, "--print-sysusers") != NULL, "%s", why.text);
}

Test(os, the_clock_counts_nanoseconds_and_never_goes_back)
{
	uint64_t before = clock_boot_ns();
	const uint64_t start = before;

	for (int i = 0; i < 1000; i++) {
		const uint64_t now = clock_boot_ns();

		EXPECT(now >= before);
		before = now;
	}
	usleep(2000);
	EXPECT(clock_boot_ns() - start >= 2000000);
}
