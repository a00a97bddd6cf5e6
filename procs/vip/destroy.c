#include "destroy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

/* Everything between the handshake and the end; the kernel ends TIME_WAIT by itself. */
#define STATES                                                                                     \
	(1U << TCP_ESTABLISHED | 1U << TCP_SYN_RECV | 1U << TCP_FIN_WAIT1 | 1U << TCP_FIN_WAIT2 |  \
	 1U << TCP_CLOSE_WAIT | 1U << TCP_LAST_ACK | 1U << TCP_CLOSING)

struct destruction {
	struct netlink *killer;
	uint16_t port_be;
	const struct peers *spared;
	const struct peer_address *vip;
	unsigned destroyed;
	int rc; /* of the first connection that could not be destroyed */
	struct err why;
};

static struct nlmsghdr *request(char *buffer, uint16_t type, uint16_t flags, uint8_t family,
				const struct inet_diag_sockid *id)
{
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
	struct inet_diag_req_v2 *ask = mnl_nlmsg_put_extra_header(message, sizeof(*ask));

	message->nlmsg_type = type;
	message->nlmsg_flags = NLM_F_REQUEST | flags;
	ask->sdiag_family = family;
	ask->sdiag_protocol = IPPROTO_TCP;
	ask->idiag_states = STATES;
	ask->id = *id;
	return message;
}

static bool is_spared(const struct destruction *work, const struct inet_diag_msg *found)
{
	struct peer_address from;
	struct peer_address to;

	if (work->spared == NULL)
		return false;
	peer_address_set(&from, found->idiag_family, found->id.idiag_dst);
	peer_address_set(&to, found->idiag_family, found->id.idiag_src);
	return peers_have(work->spared, &from) &&
	       !(work->vip != NULL && peer_address_equal(&to, work->vip));
}

static void destroy_one(void *arg, const struct nlmsghdr *message)
{
	struct destruction *work = arg;
	const struct inet_diag_msg *found = mnl_nlmsg_get_payload(message);
	_Alignas(8) char buffer[256];
	int refusal = 0;

	if (mnl_nlmsg_get_payload_len(message) < sizeof(*found) ||
	    found->id.idiag_sport != work->port_be || found->idiag_state > TCP_CLOSING ||
	    (1U << found->idiag_state & STATES) == 0 || is_spared(work, found))
		return;

	struct nlmsghdr *ask =
		request(buffer, SOCK_DESTROY, NLM_F_ACK, found->idiag_family, &found->id);
	struct err why = {0};
	const int rc = netlink_talk(work->killer, ask, NULL, NULL, &refusal, &why);

	if (rc == 0) {
		work->destroyed++;
		return;
	}
	/* It ended by itself meanwhile. */
	if (refusal == -ENOENT || work->rc < 0)
		return;
	work->rc = refusal == -EOPNOTSUPP ? ERR_NOT_FOUND : rc;
	work->why = why;
}

int destroyer_open(struct destroyer *destroyer, uint16_t port, struct err *why)
{
	int rc;

	*destroyer = (struct destroyer){.port = port};
	if ((rc = netlink_open(&destroyer->finder, NETLINK_SOCK_DIAG, why)) == 0)
		rc = netlink_open(&destroyer->killer, NETLINK_SOCK_DIAG, why);
	if (rc < 0)
		destroyer_close(destroyer);
	return rc < 0 ? err_in(why, rc, "sock_diag") : 0;
}

void destroyer_close(struct destroyer *destroyer)
{
	netlink_close(&destroyer->finder);
	netlink_close(&destroyer->killer);
}

int destroyer_run(struct destroyer *destroyer, const struct peers *spared,
		  const struct peer_address *vip, unsigned *destroyed, struct err *why)
{
	static const uint8_t FAMILIES[] = {AF_INET, AF_INET6};
	struct destruction work = {.killer = &destroyer->killer,
				   .port_be = htons(destroyer->port),
				   .spared = spared,
				   .vip = vip};
	const struct inet_diag_sockid any = {
		.idiag_sport = htons(destroyer->port),
		.idiag_cookie = {INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE}};
	int rc = 0;

	for (unsigned i = 0; i < COUNT_OF(FAMILIES) && rc == 0; i++) {
		_Alignas(8) char buffer[256];
		struct nlmsghdr *ask =
			request(buffer, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, FAMILIES[i], &any);
		int refusal = 0;

		rc = netlink_talk(&destroyer->finder, ask, destroy_one, &work, &refusal, why);
		/* A kernel without IPv6 has no such connections. */
		if (refusal == -ENOENT)
			rc = 0;
	}
	if (rc == 0 && work.rc < 0)
		rc = err_set(why, work.rc, "%s", work.why.text);
	*destroyed = work.destroyed;
	return rc < 0 ? err_in(why, rc, "end sessions on port %u", destroyer->port) : 0;
}
