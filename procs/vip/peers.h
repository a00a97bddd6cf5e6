/* The other members' addresses: whose replication passes the fence of a planned switchover. */
#ifndef MHA_VIP_PEERS_H
#define MHA_VIP_PEERS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "conf/conf.h"

struct peer_address {
	int family;        /* AF_INET, AF_INET6 */
	uint8_t bytes[16]; /* in network order; AF_INET: the first 4 */
};

struct peers {
	unsigned count;
	struct peer_address list[CONF_MEMBERS_MAX];
};

/* Every address once, never this node's own. ERR_INVALID: one is no IP address. */
MUST_CHECK int peers_from_conf(struct peers *peers, const struct conf *conf, struct err *why);

/* 4, 16. */
unsigned peer_address_size(int family);
/* "192.0.2.1", "2001:db8::1"; an IPv4 address in IPv6's clothes counts as IPv4. */
MUST_CHECK bool peer_address_parse(struct peer_address *address, const char *text);
/* The same from a socket's raw address. */
void peer_address_set(struct peer_address *address, int family, const void *bytes);
bool peer_address_equal(const struct peer_address *a, const struct peer_address *b);
bool peers_have(const struct peers *peers, const struct peer_address *address);

#endif
