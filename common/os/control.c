#include "os/control.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union control_buffer {
	struct cmsghdr header; /* for its alignment */
	char bytes[CMSG_SPACE(sizeof(int))];
};

/*
 * Whatever came along is open in this process now. One descriptor is taken; more, which the other
 * side may send although none is wanted, would stay for ever.
 */
static int take_descriptor(struct msghdr *packet)
{
	int taken = -1;

	for (struct cmsghdr *passed = CMSG_FIRSTHDR(packet); passed != NULL;
	     passed = CMSG_NXTHDR(packet, passed)) {
		if (passed->cmsg_level != SOL_SOCKET || passed->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t at = 0; CMSG_LEN(at + sizeof(int)) <= passed->cmsg_len;
		     at += sizeof(int)) {
			int fd;

			memcpy(&fd, CMSG_DATA(passed) + at, sizeof(fd));
			if (taken < 0)
				taken = fd;
			else
				close(fd);
		}
	}
	return taken;
}

int control_send(int socket, enum control_kind kind, uint32_t flag, int fd, struct err *why)
{
	struct control_message message = {.kind = (uint32_t)kind, .flag = flag};
	struct iovec part = {.iov_base = &message, .iov_len = sizeof(message)};
	struct msghdr packet = {.msg_iov = &part, .msg_iovlen = 1};
	union control_buffer buffer = {.bytes = {0}};
	ssize_t sent;

	if (fd >= 0) {
		packet.msg_control = buffer.bytes;
		packet.msg_controllen = sizeof(buffer.bytes);
		struct cmsghdr *passed = CMSG_FIRSTHDR(&packet);
		passed->cmsg_level = SOL_SOCKET;
		passed->cmsg_type = SCM_RIGHTS;
		passed->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(passed), &fd, sizeof(fd));
	}
	do {
		sent = sendmsg(socket, &packet, MSG_NOSIGNAL | MSG_DONTWAIT);
	} while (sent < 0 && errno == EINTR);
	if (sent == (ssize_t)sizeof(message))
		return 0;
	if (sent >= 0)
		return err_set(why, ERR_IO, "control socket: a packet was cut");
	if (errno == EAGAIN)
		return err_set(why, ERR_BUSY, "control socket: the other side does not read");
	if (errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN)
		return err_set(why, ERR_GONE, "control socket: the other side is gone");
	return err_set_errno(why, ERR_IO, errno, "control socket: send");
}

int control_receive(int socket, struct control_message *message, int *fd, struct err *why)
{
	struct iovec part = {.iov_base = message, .iov_len = sizeof(*message)};
	union control_buffer buffer = {.bytes = {0}};
	struct msghdr packet = {.msg_iov = &part,
				.msg_iovlen = 1,
				.msg_control = buffer.bytes,
				.msg_controllen = sizeof(buffer.bytes)};
	ssize_t got;

	*fd = -1;
	do {
		got = recvmsg(socket, &packet, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	} while (got < 0 && errno == EINTR);
	if (got < 0 && (errno == EAGAIN))
		return err_set(why, ERR_BUSY, "control socket: nothing to read");
	if (got == 0 || (got < 0 && errno == ECONNRESET))
		return err_set(why, ERR_GONE, "control socket: the other side is gone");
	if (got < 0)
		return err_set_errno(why, ERR_IO, errno, "control socket: receive");
	*fd = take_descriptor(&packet);
	if (got != (ssize_t)sizeof(*message) ||
	    (packet.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
		if (*fd >= 0)
			close(*fd);
		*fd = -1;
		return err_set(why, ERR_INVALID, "control socket: a packet of a wrong size");
	}
	return 0;
}
