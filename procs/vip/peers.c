#include "peers.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "base/check.h"

unsigned peer_address_size(int family)
{
	return family == AF_INET ? 4 : 16;
}

void peer_address_set(struct peer_address *address, int family, const void *bytes)
{
	static const uint8_t MAPPED[12] = {[10] = 0xff, [11] = 0xff};
	const uint8_t *from = bytes;

	if (family == AF_INET6 && memcmp(from, MAPPED, sizeof(MAPPED)) == 0) {
		family = AF_INET;
		from += sizeof(MAPPED);
	}
	*address = (struct peer_address){.family = family};
	memcpy(address->bytes, from, peer_address_size(family));
}

bool peer_address_parse(struct peer_address *address, const char *text)
{
	uint8_t bytes[16];
	const int family = strchr(text, ':') != NULL ? AF_INET6 : AF_INET;

	if (inet_pton(family, text, bytes) != 1)
		return false;
	peer_address_set(address, family, bytes);
	return true;
}

bool peer_address_equal(const struct peer_address *a, const struct peer_address *b)
{
	return a->family == b->family &&
	       memcmp(a->bytes, b->bytes, peer_address_size(a->family)) == 0;
}

bool peers_have(const struct peers *peers, const struct peer_address *address)
{
	for (unsigned i = 0; i < peers->count; i++) {
		if (peer_address_equal(&peers->list[i], address))
			return true;
	}
	return false;
}

int peers_from_conf(struct peers *peers, const struct conf *conf, struct err *why)
{
	struct peer_address own;

	*peers = (struct peers){.count = 0};
	CHECK(conf->member_count <= COUNT_OF(peers->list));
	if (!peer_address_parse(&own, conf_self(conf)->address))
		return err_set(why, ERR_INVALID, "member %s: address '%s' is no IP address",
			       conf_self(conf)->name, conf_self(conf)->address);
	for (unsigned i = 0; i < conf->member_count; i++) {
		const struct conf_member *member = &conf->members[i];
		struct peer_address address;

		if (i == conf->self)
			continue;
		if (!peer_address_parse(&address, member->address))
			return err_set(why, ERR_INVALID, "member %s: address '%s' is no IP address",
				       member->name, member->address);
		if (!peer_address_equal(&address, &own) && !peers_have(peers, &address))
			peers->list[peers->count++] = address;
	}
	return 0;
}
