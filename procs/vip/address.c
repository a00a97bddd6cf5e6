#include "address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if.h>
#include <linux/if_arp.h>
#include <linux/rtnetlink.h>
#include <string.h>

#include "base/check.h"
#include "base/text.h"

/* Notices read per wake-up: a storm must not keep the lease's timer waiting. */
#define WATCH_LIMIT 64

int ip_prefix_parse(struct ip_prefix *ip, const char *text, struct err *why)
{
	const char *slash = strchr(text, '/');
	char address[INET6_ADDRSTRLEN];
	uint64_t length;

	*ip = (struct ip_prefix){.family = AF_UNSPEC};
	if (slash == NULL || (size_t)(slash - text) >= sizeof(address))
		return err_set(why, ERR_INVALID, "'%s' is no address/prefix", text);
	memcpy(address, text, (size_t)(slash - text));
	address[slash - text] = '\0';
	if (inet_pton(AF_INET, address, ip->bytes) == 1) {
		ip->family = AF_INET;
		ip->size = 4;
	} else if (inet_pton(AF_INET6, address, ip->bytes) == 1) {
		ip->family = AF_INET6;
		ip->size = 16;
	} else {
		return err_set(why, ERR_INVALID, "'%s' is no IP address", address);
	}

	const unsigned bits = 8U * ip->size;

	if (!text_parse_u64(slash + 1, &length) || length == 0 || length > bits)
		return err_set(why, ERR_INVALID, "'%s': the prefix length must be 1..%u", text,
			       bits);
	ip->length = (uint8_t)length;
	return 0;
}

static void take_link(struct address *address, const struct nlmsghdr *message)
{
	const struct ifinfomsg *link = mnl_nlmsg_get_payload(message);
	const struct nlattr *attribute = NULL;
	const char *name = NULL;
	const uint8_t *mac = NULL;

	while ((attribute = netlink_next(message, sizeof(*link), attribute)) != NULL) {
		if (mnl_attr_get_type(attribute) == IFLA_IFNAME &&
		    mnl_attr_validate(attribute, MNL_TYPE_NUL_STRING) == 0)
			name = mnl_attr_get_str(attribute);
		if (mnl_attr_get_type(attribute) == IFLA_ADDRESS &&
		    mnl_attr_get_payload_len(attribute) == sizeof(address->mac))
			mac = mnl_attr_get_payload(attribute);
	}

	const bool named = name != NULL && strcmp(name, address->interface) == 0;
	const bool known = address->index != 0 && address->index == (unsigned)link->ifi_index;

	if (!named && !known)
		return;
	/* Removed or renamed away: what it carried is not this node's VIP any more. */
	if (!named || message->nlmsg_type == RTM_DELLINK) {
		address->index = 0;
		address->link_up = false;
		address->present = false;
		return;
	}
	if (!known)
		address->present = false;
	address->index = (unsigned)link->ifi_index;
	address->link_up = (link->ifi_flags & IFF_RUNNING) != 0;
	address->ethernet = link->ifi_type == ARPHRD_ETHER && mac != NULL;
	if (mac != NULL)
		memcpy(address->mac, mac, sizeof(address->mac));
}

static void take_address(struct address *address, const struct nlmsghdr *message)
{
	const struct ifaddrmsg *report = mnl_nlmsg_get_payload(message);
	const struct nlattr *attribute = NULL;
	const struct nlattr *local = NULL;

	if (report->ifa_family != address->ip.family || report->ifa_index != address->index)
		return;
	/* IPv4 has the own address in LOCAL (ADDRESS is the far end), IPv6 mostly in ADDRESS. */
	while ((attribute = netlink_next(message, sizeof(*report), attribute)) != NULL) {
		const uint16_t type = mnl_attr_get_type(attribute);

		if (type == IFA_LOCAL || (type == IFA_ADDRESS && local == NULL))
			local = attribute;
	}
	if (local == NULL || mnl_attr_get_payload_len(local) != address->ip.size ||
	    memcmp(mnl_attr_get_payload(local), address->ip.bytes, address->ip.size) != 0)
		return;
	if (message->nlmsg_type == RTM_NEWADDR) {
		address->present = true;
		address->present_length = report->ifa_prefixlen;
	} else if (report->ifa_prefixlen == address->present_length) {
		address->present = false;
	}
}

static void take_report(void *arg, const struct nlmsghdr *message)
{
	const size_t size = mnl_nlmsg_get_payload_len(message);

	if ((message->nlmsg_type == RTM_NEWLINK || message->nlmsg_type == RTM_DELLINK) &&
	    size >= sizeof(struct ifinfomsg))
		take_link(arg, message);
	if ((message->nlmsg_type == RTM_NEWADDR || message->nlmsg_type == RTM_DELADDR) &&
	    size >= sizeof(struct ifaddrmsg))
		take_address(arg, message);
}

/* Ask for everything anew. */
static int look(struct address *address, struct err *why)
{
	_Alignas(8) char buffer[256];
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
	struct ifinfomsg *link = mnl_nlmsg_put_extra_header(message, sizeof(*link));
	int refusal = 0;
	int rc;

	address->index = 0;
	address->link_up = false;
	address->present = false;
	message->nlmsg_type = RTM_GETLINK;
	message->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	mnl_attr_put_strz(message, IFLA_IFNAME, address->interface);
	rc = netlink_talk(&address->netlink, message, take_report, address, &refusal, why);
	if (refusal == -ENODEV)
		return 0;
	if (rc < 0)
		return err_in(why, rc, "look at interface %s", address->interface);

	message = mnl_nlmsg_put_header(buffer);

	struct ifaddrmsg *all = mnl_nlmsg_put_extra_header(message, sizeof(*all));

	message->nlmsg_type = RTM_GETADDR;
	message->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	all->ifa_family = (uint8_t)address->ip.family;
	rc = netlink_talk(&address->netlink, message, take_report, address, NULL, why);
	return rc < 0 ? err_in(why, rc, "look at the addresses of %s", address->interface) : 0;
}

static int open_sockets(struct address *address, struct err *why)
{
	const unsigned group =
		address->ip.family == AF_INET ? RTNLGRP_IPV4_IFADDR : RTNLGRP_IPV6_IFADDR;
	int rc;

	if ((rc = netlink_open(&address->netlink, NETLINK_ROUTE, why)) < 0)
		return rc;
	if ((rc = netlink_open(&address->events, NETLINK_ROUTE, why)) < 0)
		return rc;
	/* Joined before the first look, so that no change falls between the two. */
	if ((rc = netlink_join(&address->events, RTNLGRP_LINK, why)) < 0)
		return rc;
	return netlink_join(&address->events, group, why);
}

int address_open(struct address *address, const struct ip_prefix *ip, const char *interface,
		 struct err *why)
{
	int rc;

	*address = (struct address){.ip = *ip};
	if (!text_copy(address->interface, sizeof(address->interface), interface))
		return err_set(why, ERR_INVALID, "interface name '%s' is too long", interface);
	if ((rc = open_sockets(address, why)) < 0 || (rc = look(address, why)) < 0) {
		address_close(address);
		return err_in(why, rc, "virtual IP");
	}
	return 0;
}

void address_close(struct address *address)
{
	netlink_close(&address->netlink);
	netlink_close(&address->events);
}

static struct nlmsghdr *change(const struct address *address, char *buffer, uint16_t type,
			       uint16_t flags, uint8_t length)
{
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
	struct ifaddrmsg *target = mnl_nlmsg_put_extra_header(message, sizeof(*target));

	message->nlmsg_type = type;
	message->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
	target->ifa_family = (uint8_t)address->ip.family;
	target->ifa_prefixlen = length;
	target->ifa_scope = RT_SCOPE_UNIVERSE;
	target->ifa_index = address->index;
	mnl_attr_put(message, IFA_LOCAL, address->ip.size, address->ip.bytes);
	mnl_attr_put(message, IFA_ADDRESS, address->ip.size, address->ip.bytes);
	return message;
}

static int no_interface(const struct address *address, struct err *why)
{
	return err_set(why, ERR_NOT_FOUND, "virtual IP: there is no interface %s",
		       address->interface);
}

int address_add(struct address *address, uint32_t lifetime_s, struct err *why)
{
	_Alignas(8) char buffer[256];
	const bool v6 = address->ip.family == AF_INET6;
	const struct ifa_cacheinfo lifetime = {.ifa_prefered = v6 ? 0 : lifetime_s,
					       .ifa_valid = lifetime_s};
	int rc;

	CHECK(lifetime_s > 0);
	if (address->index == 0)
		return no_interface(address, why);
	/* Left there by hand with another prefix: it has no lifetime, so it goes. */
	if (address->present && address->present_length != address->ip.length &&
	    (rc = address_delete(address, why)) < 0)
		return rc;

	struct nlmsghdr *message = change(address, buffer, RTM_NEWADDR,
					  NLM_F_CREATE | NLM_F_REPLACE, address->ip.length);

	/* No duplicate address detection: it takes a second, and the lease has proven more. */
	if (v6)
		mnl_attr_put_u32(message, IFA_FLAGS, IFA_F_NODAD);
	mnl_attr_put(message, IFA_CACHEINFO, sizeof(lifetime), &lifetime);
	if ((rc = netlink_talk(&address->netlink, message, NULL, NULL, NULL, why)) < 0)
		return err_in(why, rc, "add the virtual IP to %s", address->interface);
	/* An IPv6 address answers only when the kernel has said so, a moment later. */
	if (!v6) {
		address->present = true;
		address->present_length = address->ip.length;
	}
	return 0;
}

int address_delete(struct address *address, struct err *why)
{
	_Alignas(8) char buffer[256];
	int refusal = 0;

	if (address->index == 0)
		return 0;

	const uint8_t length = address->present ? address->present_length : address->ip.length;
	struct nlmsghdr *message = change(address, buffer, RTM_DELADDR, 0, length);
	const int rc = netlink_talk(&address->netlink, message, NULL, NULL, &refusal, why);

	if (rc < 0 && refusal != -EADDRNOTAVAIL && refusal != -ENODEV)
		return err_in(why, rc, "remove the virtual IP from %s", address->interface);
	address->present = false;
	return 0;
}

int address_watch_fd(const struct address *address)
{
	return netlink_fd(&address->events);
}

bool address_watch(struct address *address)
{
	const unsigned index = address->index;
	const bool link_up = address->link_up;
	const bool present = address->present;

	if (netlink_drain(&address->events, WATCH_LIMIT, take_report, address))
		(void)look(address, NULL);
	return index != address->index || link_up != address->link_up ||
	       present != address->present;
}
