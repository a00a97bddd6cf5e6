#include "netlink.h"

#include <errno.h>
#include <linux/netlink.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/check.h"

/* The kernel answers at once; only a stuck one does not. */
#define ANSWER_DEADLINE_MS 200
/* A multicast reader that falls behind this much is told to look for itself. */
#define RECEIVE_BUFFER (256 * 1024)
#define RECEIVE_MAX    32768

/* What came back for one request. */
struct exchange {
	uint32_t first;
	uint32_t last;
	netlink_answer answer;
	void *arg;
	bool ended;
	int error; /* negative errno, the first one reported */
	char words[128];
};

static int code_of(int errnum)
{
	if (errnum == EPERM || errnum == EACCES)
		return ERR_PERM;
	if (errnum == ENOENT || errnum == ENODEV || errnum == EPROTONOSUPPORT)
		return ERR_NOT_FOUND;
	if (errnum == EEXIST)
		return ERR_EXISTS;
	return errnum == ENOMEM ? ERR_NO_MEMORY : ERR_IO;
}

int netlink_open(struct netlink *netlink, int bus, struct err *why)
{
	*netlink = (struct netlink){.socket = mnl_socket_open2(bus, SOCK_CLOEXEC | SOCK_NONBLOCK)};
	if (netlink->socket == NULL)
		return err_set_errno(why, code_of(errno), errno, "open netlink family %d", bus);
	if (mnl_socket_bind(netlink->socket, 0, MNL_SOCKET_AUTOPID) < 0) {
		const int errnum = errno;

		netlink_close(netlink);
		return err_set_errno(why, code_of(errnum), errnum, "bind netlink family %d", bus);
	}

	/* Both only make errors shorter and clearer; an old kernel does without. */
	int on = 1;

	(void)mnl_socket_setsockopt(netlink->socket, NETLINK_EXT_ACK, &on, sizeof(on));
	(void)mnl_socket_setsockopt(netlink->socket, NETLINK_CAP_ACK, &on, sizeof(on));
	return 0;
}

int netlink_join(struct netlink *netlink, unsigned group, struct err *why)
{
	int joined = (int)group;
	const int size = RECEIVE_BUFFER;

	(void)setsockopt(netlink_fd(netlink), SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if (mnl_socket_setsockopt(netlink->socket, NETLINK_ADD_MEMBERSHIP, &joined,
				  sizeof(joined)) < 0)
		return err_set_errno(why, code_of(errno), errno, "join netlink group %u", group);
	return 0;
}

void netlink_close(struct netlink *netlink)
{
	if (netlink->socket != NULL)
		(void)mnl_socket_close(netlink->socket);
	netlink->socket = NULL;
}

int netlink_fd(const struct netlink *netlink)
{
	return mnl_socket_get_fd(netlink->socket);
}

static const struct nlattr *checked(const struct nlattr *attribute, const void *end)
{
	const ptrdiff_t left = (const char *)end - (const char *)attribute;

	return left >= 0 && mnl_attr_ok(attribute, (int)left) ? attribute : NULL;
}

const struct nlattr *netlink_next(const struct nlmsghdr *message, size_t offset,
				  const struct nlattr *previous)
{
	return checked(previous == NULL ? mnl_nlmsg_get_payload_offset(message, offset)
					: mnl_attr_next(previous),
		       mnl_nlmsg_get_payload_tail(message));
}

const struct nlattr *netlink_next_nested(const struct nlattr *nest, const struct nlattr *previous)
{
	const char *inside = mnl_attr_get_payload(nest);

	return checked(previous == NULL ? (const struct nlattr *)(const void *)inside
					: mnl_attr_next(previous),
		       inside + mnl_attr_get_payload_len(nest));
}

static void take_words(struct exchange *exchange, const struct nlmsghdr *message)
{
	const struct nlmsgerr *report = mnl_nlmsg_get_payload(message);
	size_t skip = sizeof(*report);

	if ((message->nlmsg_flags & NLM_F_ACK_TLVS) == 0)
		return;
	if ((message->nlmsg_flags & NLM_F_CAPPED) == 0)
		skip += mnl_nlmsg_get_payload_len(&report->msg);

	const struct nlattr *attribute = NULL;

	while ((attribute = netlink_next(message, (unsigned)MNL_ALIGN(skip), attribute)) != NULL) {
		if (mnl_attr_get_type(attribute) != NLMSGERR_ATTR_MSG ||
		    mnl_attr_validate(attribute, MNL_TYPE_NUL_STRING) < 0)
			continue;
		strncpy(exchange->words, mnl_attr_get_str(attribute), sizeof(exchange->words) - 1);
	}
}

/* The kernel's errors are -1 to -4095; another number is no error that has a name. */
static int error_of(int32_t said)
{
	return said < 0 && said >= -4095 ? said : -EPROTO;
}

static void take_message(struct exchange *exchange, const struct nlmsghdr *message)
{
	/* What a request that ran into its deadline was answered later. */
	if (message->nlmsg_seq - exchange->first > exchange->last - exchange->first)
		return;
	if (message->nlmsg_type == NLMSG_DONE) {
		int32_t status = 0;

		if (mnl_nlmsg_get_payload_len(message) >= sizeof(status))
			memcpy(&status, mnl_nlmsg_get_payload(message), sizeof(status));
		if (status < 0 && exchange->error == 0)
			exchange->error = error_of(status);
		exchange->ended = true;
		return;
	}
	if (message->nlmsg_type != NLMSG_ERROR) {
		if (exchange->answer != NULL)
			exchange->answer(exchange->arg, message);
		return;
	}

	const struct nlmsgerr *report = mnl_nlmsg_get_payload(message);

	if (mnl_nlmsg_get_payload_len(message) < sizeof(*report))
		return;
	if (report->error != 0 && exchange->error == 0) {
		exchange->error = error_of(report->error);
		take_words(exchange, message);
	}
	exchange->ended = true;
}

/* libmnl's check takes a length of 2 GB and more for a negative one, which is less than any. */
static bool message_fits(const struct nlmsghdr *message, int left)
{
	return left >= (int)sizeof(*message) && message->nlmsg_len >= sizeof(*message) &&
	       message->nlmsg_len <= (unsigned)left;
}

/* Take everything that is there. Returns false when nothing was. */
static bool take_datagram(struct netlink *netlink, struct exchange *exchange, int *errnum)
{
	union {
		struct nlmsghdr header;
		char bytes[RECEIVE_MAX];
	} buffer;
	struct sockaddr_nl from = {.nl_pid = 0};
	socklen_t from_size = sizeof(from);
	const ssize_t size = recvfrom(netlink_fd(netlink), &buffer, sizeof(buffer), MSG_DONTWAIT,
				      (struct sockaddr *)&from, &from_size);

	if (size < 0) {
		*errnum = errno;
		return false;
	}
	/* Another process with CAP_NET_ADMIN can write here too; only the kernel is port 0. */
	if (from.nl_pid != 0)
		return true;

	int left = (int)size;

	for (const struct nlmsghdr *message = &buffer.header; message_fits(message, left);
	     message = mnl_nlmsg_next(message, &left))
		take_message(exchange, message);
	return true;
}

static int exchange_run(struct netlink *netlink, const void *bytes, size_t size,
			struct exchange *exchange, int *refusal, struct err *why)
{
	int errnum = 0;

	if (refusal != NULL)
		*refusal = 0;
	if (mnl_socket_sendto(netlink->socket, bytes, size) < 0)
		return err_set_errno(why, code_of(errno), errno, "send to the kernel");
	for (;;) {
		if (take_datagram(netlink, exchange, &errnum))
			continue;
		if (errnum == EINTR)
			continue;
		if (errnum != EAGAIN)
			return err_set_errno(why, code_of(errnum), errnum,
					     "read the kernel's answer");
		if (exchange->ended)
			break;

		struct pollfd wait = {.fd = netlink_fd(netlink), .events = POLLIN};

		if (poll(&wait, 1, ANSWER_DEADLINE_MS) == 0)
			return err_set(why, ERR_TIMEOUT, "no answer from the kernel within %d ms",
				       ANSWER_DEADLINE_MS);
	}
	if (exchange->error == 0)
		return 0;
	if (refusal != NULL)
		*refusal = exchange->error;
	return err_set_errno(why, code_of(-exchange->error), -exchange->error,
			     "the kernel refuses%s%s", exchange->words[0] == '\0' ? "" : ": ",
			     exchange->words);
}

int netlink_talk(struct netlink *netlink, struct nlmsghdr *message, netlink_answer answer,
		 void *arg, int *refusal, struct err *why)
{
	CHECK((message->nlmsg_flags & (NLM_F_ACK | NLM_F_DUMP)) != 0);
	message->nlmsg_seq = ++netlink->seq;

	struct exchange exchange = {
		.first = netlink->seq, .last = netlink->seq, .answer = answer, .arg = arg};

	return exchange_run(netlink, message, message->nlmsg_len, &exchange, refusal, why);
}

int netlink_batch(struct netlink *netlink, const void *bytes, size_t size, uint32_t first,
		  uint32_t last, int *refusal, struct err *why)
{
	struct exchange exchange = {.first = first, .last = last};

	CHECK(size <= NETLINK_REQUEST_MAX);
	return exchange_run(netlink, bytes, size, &exchange, refusal, why);
}

bool netlink_drain(struct netlink *netlink, unsigned limit, netlink_answer answer, void *arg)
{
	bool lost = false;
	struct exchange exchange = {.last = UINT32_MAX, .answer = answer, .arg = arg};

	for (unsigned i = 0; i < limit; i++) {
		int errnum = 0;

		if (take_datagram(netlink, &exchange, &errnum))
			continue;
		if (errnum == ENOBUFS)
			lost = true;
		else if (errnum != EINTR)
			break;
	}
	return lost;
}
