/*
 * What the kernel answers over netlink, read by the code of the VIP mover. The first byte chooses
 * the question; each datagram that is sent out is answered with the rest of the input, whose
 * messages with sequence number 0 become answers to it, and then with an acknowledgement.
 */
#include <linux/netlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "address.h"
#include "base/check.h"
#include "destroy.h"
#include "fence.h"
#include "fuzz.h"
#include "note.h"

#define CLUSTER  UINT64_C(0xc0ffee00c0ffee)
#define DATA_MAX 16384

static struct kernel {
	int fds[2]; /* the kernel's ends; -1: not made yet */
	struct mnl_socket *sockets[2];
	const uint8_t *bytes;
	size_t size;
	unsigned answers;
} kernel = {.fds = {-1, -1}};

static void put(int fd, const void *bytes, size_t size)
{
	if (size > 0)
		CHECK(send(fd, bytes, size, MSG_DONTWAIT) == (ssize_t)size);
}

/* Stands in for libmnl's: nothing leaves this process. */
ssize_t mnl_socket_sendto(const struct mnl_socket *socket, const void *request, size_t size)
{
	static union {
		struct nlmsghdr header;
		uint8_t bytes[DATA_MAX];
	} data;
	struct {
		struct nlmsghdr header;
		struct nlmsgerr report;
	} end = {.header = {.nlmsg_len = sizeof(end), .nlmsg_type = NLMSG_ERROR}};
	struct nlmsghdr first;
	int left = (int)kernel.size;

	const int fd = kernel.fds[socket == kernel.sockets[1]];

	CHECK(size >= sizeof(first));
	memcpy(&first, request, sizeof(first));
	/* One that asks again and again is told less and less. */
	if (kernel.answers++ < 16) {
		memcpy(data.bytes, kernel.bytes, kernel.size);
		for (struct nlmsghdr *message = &data.header;
		     mnl_nlmsg_ok(message, left) && message->nlmsg_len <= (unsigned)left;
		     message = mnl_nlmsg_next(message, &left))
			if (message->nlmsg_seq == 0)
				message->nlmsg_seq = first.nlmsg_seq;
		put(fd, data.bytes, kernel.size);
	}
	end.header.nlmsg_seq = first.nlmsg_seq;
	put(fd, &end, sizeof(end));
	return (ssize_t)size;
}

static void prepare(void)
{
	int ends[2];

	for (unsigned i = 0; i < 2 && kernel.fds[i] < 0; i++) {
		CHECK(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
		kernel.fds[i] = ends[0];
		kernel.sockets[i] = mnl_socket_fdopen(ends[1]);
		CHECK(kernel.sockets[i] != NULL);
	}
}

/* An answer that nobody waited for must not become the next input's. */
static void empty(void)
{
	char bytes[DATA_MAX];

	for (unsigned i = 0; i < 2; i++)
		while (recv(mnl_socket_get_fd(kernel.sockets[i]), bytes, sizeof(bytes),
			    MSG_DONTWAIT) >= 0)
			continue;
}

static void ask_fence(bool whole)
{
	struct fence fence = {
		.netlink = {.socket = kernel.sockets[0]}, .port = 5432, .cluster = CLUSTER};
	struct fence_rule rule;
	struct err why = {0};

	if (whole) {
		(void)!fence_is_whole(&fence);
	} else if (fence_read(&fence, &rule, &why) == 0) {
		CHECK(rule.admits <= FENCE_ADMITS_PEERS);
		CHECK(fence_rule_ends(&rule) == (rule.timeout_ms > 0));
	} else {
		CHECK(why.text[0] != '\0');
	}
}

static void ask_events(void)
{
	struct fence fence = {.events = {.socket = kernel.sockets[0]}};

	put(kernel.fds[0], kernel.bytes, kernel.size);
	CHECK(fence_watch(&fence) <= FENCE_RULES_REMOVED);
}

static void ask_address(bool six)
{
	struct address address = {.events = {.socket = kernel.sockets[0]},
				  .netlink = {.socket = kernel.sockets[0]},
				  .interface = "eth0",
				  .index = 2};
	struct err why = {0};

	CHECK(ip_prefix_parse(&address.ip, six ? "fd99::64/64" : "10.99.0.100/24", &why) == 0);
	put(kernel.fds[0], kernel.bytes, kernel.size);
	(void)address_watch(&address);
	CHECK(memchr(address.interface, '\0', sizeof(address.interface)) != NULL);
	if (address_add(&address, 5, &why) < 0)
		CHECK(why.text[0] != '\0');
	if (address_delete(&address, &why) < 0)
		CHECK(why.text[0] != '\0');
}

static void ask_sessions(bool spare)
{
	struct destroyer destroyer = {.finder = {.socket = kernel.sockets[0]},
				      .killer = {.socket = kernel.sockets[1]},
				      .port = 5432};
	struct peers peers = {.count = 1, .list = {{.family = 2, .bytes = {10, 99, 0, 12}}}};
	struct err why = {0};
	unsigned destroyed = 0;

	if (destroyer_run(&destroyer, spare ? &peers : NULL, NULL, &destroyed, &why) < 0)
		CHECK(why.text[0] != '\0');
}

static void ask_note(void)
{
	struct note note, again;
	char text[NOTE_SIZE];

	if (!note_parse(&note, (const char *)kernel.bytes, kernel.size))
		return;
	note_print(&note, text);
	CHECK(note_parse(&again, text, strlen(text)));
	CHECK(again.kind == note.kind && again.epoch == note.epoch &&
	      again.cluster == note.cluster);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	if (size < 1 || size - 1 > DATA_MAX)
		return 0;
	prepare();
	kernel.bytes = bytes + 1;
	kernel.size = size - 1;
	kernel.answers = 0;
	switch (bytes[0] % 8) {
	case 0:
	case 1:
		ask_fence(bytes[0] % 8 == 1);
		break;
	case 2:
		ask_events();
		break;
	case 3:
	case 4:
		ask_address(bytes[0] % 8 == 4);
		break;
	case 5:
	case 6:
		ask_sessions(bytes[0] % 8 == 6);
		break;
	default:
		ask_note();
		break;
	}
	empty();
	return 0;
}
