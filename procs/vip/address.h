/*
 * The virtual IP on its interface, by rtnetlink: add or renew with a kernel lifetime, delete,
 * notice when somebody else adds, removes or changes something.
 */
#ifndef MHA_VIP_ADDRESS_H
#define MHA_VIP_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "netlink.h"

/* "192.0.2.9/24", "2001:db8::9/64". */
struct ip_prefix {
	int family; /* AF_INET, AF_INET6 */
	uint8_t bytes[16];
	uint8_t size; /* 4, 16 */
	uint8_t length;
};

struct address {
	struct netlink netlink;
	struct netlink events;
	struct ip_prefix ip;
	char interface[16];
	/* As the kernel last said. */
	unsigned index; /* of the interface; 0: there is none of that name */
	bool link_up;
	bool ethernet;
	uint8_t mac[6];
	bool present;
	uint8_t present_length; /* its prefix length, when present */
};

/* ERR_INVALID with the reason. The prefix is needed: a VIP without one is a mistake more often. */
MUST_CHECK int ip_prefix_parse(struct ip_prefix *ip, const char *text, struct err *why);

/* Open the sockets and look. A missing interface is no failure: address_watch() notices it later.
 */
MUST_CHECK int address_open(struct address *address, const struct ip_prefix *ip,
			    const char *interface, struct err *why);
void address_close(struct address *address);

/*
 * Present for `lifetime_s` from now on, at least 1: the kernel removes it then if nobody renews.
 * An IPv6 address is preferred for no time at all, so that nothing takes it as a source address;
 * it is `present` when address_watch() has seen the kernel say so.
 * ERR_NOT_FOUND: no such interface.
 */
MUST_CHECK int address_add(struct address *address, uint32_t lifetime_s, struct err *why);
/* Absent when this returns 0. */
MUST_CHECK int address_delete(struct address *address, struct err *why);

/* To be polled for input; then call address_watch(). */
int address_watch_fd(const struct address *address);
/* Take what the kernel reports into the fields above. True when one of them changed. */
bool address_watch(struct address *address);

#endif
