/*
 * Packets from a worker to the master, and what comes along with them. The first byte says how
 * many descriptors are passed: whatever is sent, none but a taken one stays open.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "fuzz.h"
#include "os/control.h"

#define FDS_MAX 4

/* The lowest free descriptor tells when one has been left behind. */
static int lowest_free(void)
{
	int fd = fcntl(0, F_DUPFD_CLOEXEC, 3);

	if (fd >= 0)
		close(fd);
	return fd;
}

static void put_packet(int socket, const uint8_t *bytes, size_t size, unsigned count)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
	} extra;
	struct iovec part = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = size};
	struct msghdr packet = {.msg_iov = &part, .msg_iovlen = 1};
	int fds[FDS_MAX] = {socket, socket, socket, socket};

	if (count > 0) {
		memset(&extra, 0, sizeof(extra));
		packet.msg_control = extra.bytes;
		packet.msg_controllen = CMSG_SPACE(count * sizeof(int));
		struct cmsghdr *header = CMSG_FIRSTHDR(&packet);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(header), fds, count * sizeof(int));
	}
	CHECK(sendmsg(socket, &packet, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)size);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct control_message message;
	struct err why = {0};
	int ends[2], fd = -1, before, rc;

	if (size < 2 || size > 4096)
		return 0;
	CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
	before = lowest_free();
	put_packet(ends[0], bytes + 1, size - 1, bytes[0] % (FDS_MAX + 1));
	rc = control_receive(ends[1], &message, &fd, &why);
	CHECK((rc == 0) == (why.text[0] == '\0'));
	CHECK(rc == 0 || fd == -1);
	if (fd >= 0)
		close(fd);
	CHECK(lowest_free() == before);
	CHECK(control_receive(ends[1], &message, &fd, &why) == ERR_BUSY && fd == -1);
	close(ends[0]);
	close(ends[1]);
	return 0;
}
