#include "fence.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>

#include "base/check.h"
#include "note.h"
#include "transaction.h"

#define SET       "admitted"
#define CHAIN_IN  "input"
#define CHAIN_OUT "output"
/* Before the usual filter chains: what they accept or count has passed here. */
#define HOOK_PRIORITY (-10)
/* nft's number for "internet network service", so that `nft list` prints the port as such. */
#define TYPE_SERVICE 13
#define TYPE_IPV4    7
#define TYPE_IPV6    8
/* Notices read per wake-up: somebody's long rule list must not keep the lease waiting. */
#define WATCH_LIMIT 64
/* Stands at every rule; another number is another shape, which is replaced. */
#define RULES_MARK "mha4rdb 2: no lease, no database"

enum direction { DIRECTION_IN, DIRECTION_OUT };

static const struct {
	const char *chain;
	uint32_t hook;
	uint32_t port_offset; /* of the database's end, in the TCP header */
	uint32_t ipv4_offset; /* of the other end, in the network header */
	uint32_t ipv6_offset;
} DIRECTIONS[] = {
	[DIRECTION_IN] = {CHAIN_IN, NF_INET_LOCAL_IN, 2, 12, 8},
	[DIRECTION_OUT] = {CHAIN_OUT, NF_INET_LOCAL_OUT, 0, 16, 24},
};

/* Sets of the other members' addresses, by family. */
static const struct family {
	int family;
	uint8_t protocol; /* NFPROTO_* */
	const char *set;
	uint32_t type;
} FAMILIES[] = {
	{AF_INET, NFPROTO_IPV4, "peers", TYPE_IPV4},
	{AF_INET6, NFPROTO_IPV6, "peers6", TYPE_IPV6},
};

bool fence_rule_ends(const struct fence_rule *rule)
{
	return rule->admits == FENCE_ADMITS_LEASE || rule->admits == FENCE_ADMITS_PEERS;
}

static void put_table(struct transaction *transaction, bool remove)
{
	struct nlmsghdr *message =
		transaction_message(transaction, remove ? NFT_MSG_DELTABLE : NFT_MSG_NEWTABLE,
				    remove ? 0 : NLM_F_CREATE);

	mnl_attr_put_strz(message, NFTA_TABLE_NAME, FENCE_TABLE);
}

static void put_set(struct transaction *transaction, const char *name, uint32_t type, uint32_t size,
		    uint32_t id)
{
	struct nlmsghdr *message = transaction_message(transaction, NFT_MSG_NEWSET, NLM_F_CREATE);

	mnl_attr_put_strz(message, NFTA_SET_TABLE, FENCE_TABLE);
	mnl_attr_put_strz(message, NFTA_SET_NAME, name);
	mnl_attr_put_u32(message, NFTA_SET_FLAGS, htonl(NFT_SET_TIMEOUT));
	mnl_attr_put_u32(message, NFTA_SET_KEY_TYPE, htonl(type));
	mnl_attr_put_u32(message, NFTA_SET_KEY_LEN, htonl(size));
	mnl_attr_put_u32(message, NFTA_SET_ID, htonl(id));
}

static void put_sets(struct transaction *transaction)
{
	put_set(transaction, SET, TYPE_SERVICE, sizeof(uint16_t), 1);
	for (unsigned i = 0; i < COUNT_OF(FAMILIES); i++)
		put_set(transaction, FAMILIES[i].set, FAMILIES[i].type,
			peer_address_size(FAMILIES[i].family), 2 + i);
}

static void put_chain(struct transaction *transaction, enum direction direction)
{
	struct nlmsghdr *message = transaction_message(transaction, NFT_MSG_NEWCHAIN, NLM_F_CREATE);

	mnl_attr_put_strz(message, NFTA_CHAIN_TABLE, FENCE_TABLE);
	mnl_attr_put_strz(message, NFTA_CHAIN_NAME, DIRECTIONS[direction].chain);

	struct nlattr *hook = mnl_attr_nest_start(message, NFTA_CHAIN_HOOK);

	mnl_attr_put_u32(message, NFTA_HOOK_HOOKNUM, htonl(DIRECTIONS[direction].hook));
	mnl_attr_put_u32(message, NFTA_HOOK_PRIORITY, htonl((uint32_t)HOOK_PRIORITY));
	mnl_attr_nest_end(message, hook);
	mnl_attr_put_u32(message, NFTA_CHAIN_POLICY, htonl(NF_ACCEPT));
	mnl_attr_put_strz(message, NFTA_CHAIN_TYPE, "filter");

	/* Rules of an earlier installation go; the new ones follow in the same transaction. */
	message = transaction_message(transaction, NFT_MSG_DELRULE, 0);
	mnl_attr_put_strz(message, NFTA_RULE_TABLE, FENCE_TABLE);
	mnl_attr_put_strz(message, NFTA_RULE_CHAIN, DIRECTIONS[direction].chain);
}

/* reg1 = `size` bytes at `offset` of the header `base`, NFT_PAYLOAD_*. */
static void put_field(struct nlmsghdr *message, uint32_t base, uint32_t offset, uint32_t size)
{
	const struct expression payload = expression_begin(message, "payload");

	mnl_attr_put_u32(message, NFTA_PAYLOAD_DREG, htonl(NFT_REG_1));
	mnl_attr_put_u32(message, NFTA_PAYLOAD_BASE, htonl(base));
	mnl_attr_put_u32(message, NFTA_PAYLOAD_OFFSET, htonl(offset));
	mnl_attr_put_u32(message, NFTA_PAYLOAD_LEN, htonl(size));
	expression_end(message, &payload);
}

/* Go on only if reg1 has these bytes. */
static void put_equals(struct nlmsghdr *message, const void *bytes, size_t size)
{
	const struct expression compare = expression_begin(message, "cmp");

	mnl_attr_put_u32(message, NFTA_CMP_SREG, htonl(NFT_REG_1));
	mnl_attr_put_u32(message, NFTA_CMP_OP, htonl(NFT_CMP_EQ));
	expression_put_value(message, NFTA_CMP_DATA, bytes, size);
	expression_end(message, &compare);
}

/* Go on only if the packet's property `key`, NFT_META_*, is this. */
static void put_match_meta(struct nlmsghdr *message, uint32_t key, uint8_t value)
{
	const struct expression meta = expression_begin(message, "meta");

	mnl_attr_put_u32(message, NFTA_META_KEY, htonl(key));
	mnl_attr_put_u32(message, NFTA_META_DREG, htonl(NFT_REG_1));
	expression_end(message, &meta);
	put_equals(message, &value, sizeof(value));
}

/* Go on only with TCP segments of the database's port. */
static void put_match_port(struct nlmsghdr *message, enum direction direction, uint16_t port)
{
	const uint16_t port_be = htons(port);

	put_match_meta(message, NFT_META_L4PROTO, IPPROTO_TCP);
	put_field(message, NFT_PAYLOAD_TRANSPORT_HEADER, DIRECTIONS[direction].port_offset,
		  sizeof(port_be));
	put_equals(message, &port_be, sizeof(port_be));
}

/* Go on only if what is in reg1 is in the set, or with NFT_LOOKUP_F_INV: is not. */
static void put_lookup(struct nlmsghdr *message, const char *set, uint32_t flags)
{
	const struct expression lookup = expression_begin(message, "lookup");

	mnl_attr_put_strz(message, NFTA_LOOKUP_SET, set);
	mnl_attr_put_u32(message, NFTA_LOOKUP_SREG, htonl(NFT_REG_1));
	mnl_attr_put_u32(message, NFTA_LOOKUP_FLAGS, htonl(flags));
	expression_end(message, &lookup);
}

/* Go on only if the segment is no reset. */
static void put_no_reset(struct nlmsghdr *message)
{
	const uint8_t rst = 0x04;
	const uint8_t nothing = 0;

	put_field(message, NFT_PAYLOAD_TRANSPORT_HEADER, 13, sizeof(rst));

	const struct expression bits = expression_begin(message, "bitwise");

	mnl_attr_put_u32(message, NFTA_BITWISE_SREG, htonl(NFT_REG_1));
	mnl_attr_put_u32(message, NFTA_BITWISE_DREG, htonl(NFT_REG_1));
	mnl_attr_put_u32(message, NFTA_BITWISE_LEN, htonl(sizeof(rst)));
	expression_put_value(message, NFTA_BITWISE_MASK, &rst, sizeof(rst));
	expression_put_value(message, NFTA_BITWISE_XOR, &nothing, sizeof(nothing));
	expression_end(message, &bits);
	put_equals(message, &nothing, sizeof(nothing));
}

static void put_reject(struct nlmsghdr *message)
{
	const struct expression reject = expression_begin(message, "reject");

	mnl_attr_put_u32(message, NFTA_REJECT_TYPE, htonl(NFT_REJECT_TCP_RST));
	mnl_attr_put_u8(message, NFTA_REJECT_ICMP_CODE, 0);
	expression_end(message, &reject);
}

/* NF_ACCEPT: of this table only, the host's own firewall still has its say. NF_DROP. */
static void put_verdict(struct nlmsghdr *message, uint32_t code)
{
	const struct expression immediate = expression_begin(message, "immediate");

	mnl_attr_put_u32(message, NFTA_IMMEDIATE_DREG, htonl(NFT_REG_VERDICT));

	struct nlattr *data = mnl_attr_nest_start(message, NFTA_IMMEDIATE_DATA);
	struct nlattr *verdict = mnl_attr_nest_start(message, NFTA_DATA_VERDICT);

	mnl_attr_put_u32(message, NFTA_VERDICT_CODE, htonl(code));
	mnl_attr_nest_end(message, verdict);
	mnl_attr_nest_end(message, data);
	expression_end(message, &immediate);
}

/* A rule at the end of its chain; its expressions follow until end_rule(). */
static struct nlmsghdr *begin_rule(struct transaction *transaction, enum direction direction,
				   struct nlattr **list)
{
	struct nlmsghdr *message =
		transaction_message(transaction, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);

	mnl_attr_put_strz(message, NFTA_RULE_TABLE, FENCE_TABLE);
	mnl_attr_put_strz(message, NFTA_RULE_CHAIN, DIRECTIONS[direction].chain);
	*list = mnl_attr_nest_start(message, NFTA_RULE_EXPRESSIONS);
	return message;
}

static void end_rule(struct nlmsghdr *message, struct nlattr *list)
{
	mnl_attr_nest_end(message, list);
	comment_put(message, NFTA_RULE_USERDATA, RULES_MARK);
}

static void put_peers_rule(struct transaction *transaction, enum direction direction, uint16_t port,
			   const struct family *family)
{
	struct nlattr *list;
	struct nlmsghdr *message = begin_rule(transaction, direction, &list);
	const uint32_t offset = family->family == AF_INET ? DIRECTIONS[direction].ipv4_offset
							  : DIRECTIONS[direction].ipv6_offset;

	put_match_meta(message, NFT_META_NFPROTO, family->protocol);
	put_match_port(message, direction, port);
	put_field(message, NFT_PAYLOAD_NETWORK_HEADER, offset, peer_address_size(family->family));
	put_lookup(message, family->set, 0);
	put_verdict(message, NF_ACCEPT);
	end_rule(message, list);
}

static void put_rules(struct transaction *transaction, enum direction direction, uint16_t port)
{
	struct nlattr *list;

	for (unsigned i = 0; i < COUNT_OF(FAMILIES); i++)
		put_peers_rule(transaction, direction, port, &FAMILIES[i]);

	struct nlmsghdr *message = begin_rule(transaction, direction, &list);

	put_match_port(message, direction, port);
	/* The port is still in the register. */
	put_lookup(message, SET, NFT_LOOKUP_F_INV);
	put_no_reset(message);
	if (direction == DIRECTION_IN)
		put_reject(message);
	else
		put_verdict(message, NF_DROP);
	end_rule(message, list);
}

/* Add or delete elements of a set: begin, any number of elements, end. */
static struct nlmsghdr *begin_elements(struct transaction *transaction, uint16_t type,
				       const char *set, struct nlattr **list)
{
	struct nlmsghdr *message = transaction_message(
		transaction, type, type == NFT_MSG_NEWSETELEM ? NLM_F_CREATE : 0);

	mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_TABLE, FENCE_TABLE);
	mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_SET, set);
	*list = mnl_attr_nest_start(message, NFTA_SET_ELEM_LIST_ELEMENTS);
	return message;
}

/* `rule` NULL: the bare key. */
static void put_key(struct nlmsghdr *message, const struct fence *fence, const void *key,
		    size_t size, const struct fence_rule *rule)
{
	static const uint8_t NOTES[] = {
		[FENCE_ADMITS_LEASE] = NOTE_LEASE,
		[FENCE_ADMITS_ALL] = NOTE_STANDBY,
		[FENCE_ADMITS_PEERS] = NOTE_SWITCHOVER,
	};
	struct nlattr *element = mnl_attr_nest_start(message, NFTA_LIST_ELEM);

	expression_put_value(message, NFTA_SET_ELEM_KEY, key, size);
	if (rule != NULL && fence_rule_ends(rule))
		mnl_attr_put_u64(message, NFTA_SET_ELEM_TIMEOUT, htobe64(rule->timeout_ms));
	if (rule != NULL) {
		const struct note note = {.kind = NOTES[rule->admits],
					  .epoch = rule->epoch,
					  .cluster = fence->cluster};
		char text[NOTE_SIZE];

		comment_put(message, NFTA_SET_ELEM_USERDATA, note_print(&note, text));
	}
	mnl_attr_nest_end(message, element);
}

/* The element of this port; `rule` NULL: without anything said about it. */
static void put_port(struct transaction *transaction, uint16_t type, const struct fence *fence,
		     const struct fence_rule *rule)
{
	const uint16_t port_be = htons(fence->port);
	struct nlattr *list;
	struct nlmsghdr *message = begin_elements(transaction, type, SET, &list);

	put_key(message, fence, &port_be, sizeof(port_be), rule);
	mnl_attr_nest_end(message, list);
}

static void put_peers(struct transaction *transaction, const struct fence *fence,
		      const struct fence_rule *rule)
{
	const struct peers *peers = &fence->peers;

	for (unsigned i = 0; i < peers->count; i++) {
		const struct peer_address *peer = &peers->list[i];
		const struct family *family = &FAMILIES[peer->family == AF_INET ? 0 : 1];
		struct nlattr *list;
		struct nlmsghdr *message =
			begin_elements(transaction, NFT_MSG_NEWSETELEM, family->set, &list);

		put_key(message, fence, peer->bytes, peer_address_size(peer->family), rule);
		mnl_attr_nest_end(message, list);
	}
}

static void put_flush_set(struct transaction *transaction, const char *set)
{
	struct nlmsghdr *message = transaction_message(transaction, NFT_MSG_DELSETELEM, 0);

	mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_TABLE, FENCE_TABLE);
	mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_SET, set);
}

static void put_flush_peers(struct transaction *transaction)
{
	for (unsigned i = 0; i < COUNT_OF(FAMILIES); i++)
		put_flush_set(transaction, FAMILIES[i].set);
}

/* What `rule` admits, into sets that are empty by now. */
static void put_admitted(struct transaction *transaction, const struct fence *fence,
			 const struct fence_rule *rule)
{
	if (rule->admits == FENCE_ADMITS_PEERS)
		put_peers(transaction, fence, rule);
	else if (rule->admits != FENCE_ADMITS_NOBODY)
		put_port(transaction, NFT_MSG_NEWSETELEM, fence, rule);
}

static int install(struct fence *fence, const struct fence_rule *rule, bool keep, bool anew,
		   struct err *why)
{
	struct transaction transaction;

	transaction_begin(&transaction, &fence->netlink);
	put_table(&transaction, false);
	if (anew) {
		put_table(&transaction, true);
		put_table(&transaction, false);
	}
	put_sets(&transaction);
	if (!keep) {
		put_flush_set(&transaction, SET);
		put_flush_peers(&transaction);
		put_admitted(&transaction, fence, rule);
	}
	put_chain(&transaction, DIRECTION_IN);
	put_chain(&transaction, DIRECTION_OUT);
	put_rules(&transaction, DIRECTION_IN, fence->port);
	put_rules(&transaction, DIRECTION_OUT, fence->port);
	return transaction_commit(&transaction, NULL, why);
}

int fence_install(struct fence *fence, const struct fence_rule *rule, bool keep, struct err *why)
{
	/*
	 * First over what is there, which leaves a live element alone and swaps the rules at once.
	 * A table that is built differently makes the kernel refuse that, and is replaced whole.
	 */
	if (install(fence, rule, keep, false, NULL) == 0)
		return 0;

	const int rc = install(fence, rule, false, true, why);

	return rc < 0 ? err_in(why, rc, "install nftables table inet %s", FENCE_TABLE) : 0;
}

int fence_set(struct fence *fence, const struct fence_rule *rule, struct err *why)
{
	int rc = 0;

	/*
	 * Adding an element that exists does not renew its timeout: it is removed and added in one
	 * transaction, after an addition that makes sure that there is one to remove. An older
	 * kernel may see it expire between the two; then it is not there and the next try adds it.
	 */
	for (unsigned attempt = 0; attempt < 3; attempt++) {
		struct transaction transaction;
		int refusal = 0;

		transaction_begin(&transaction, &fence->netlink);
		put_port(&transaction, NFT_MSG_NEWSETELEM, fence, NULL);
		put_port(&transaction, NFT_MSG_DELSETELEM, fence, NULL);
		put_flush_peers(&transaction);
		put_admitted(&transaction, fence, rule);
		rc = transaction_commit(&transaction, &refusal, why);
		if (rc == 0 || (refusal != -ENOENT && refusal != -EEXIST))
			break;
	}
	return rc < 0 ? err_in(why, rc, "nftables set inet %s %s", FENCE_TABLE, SET) : 0;
}

struct element_search {
	const void *key; /* NULL: any */
	size_t key_size;
	uint64_t cluster;
	struct fence_rule *rule;
};

static int read_element(const struct nlattr *element, void *arg)
{
	static const uint8_t ADMITS[NOTE_KIND_COUNT] = {
		[NOTE_LEASE] = FENCE_ADMITS_LEASE,
		[NOTE_STANDBY] = FENCE_ADMITS_ALL,
		[NOTE_SWITCHOVER] = FENCE_ADMITS_PEERS,
	};
	const struct element_search *search = arg;
	const struct nlattr *part = NULL;
	bool is_key = false;
	bool has_timeout = false;
	bool noted = false;
	uint64_t left_ms = 0;
	struct note note;

	while ((part = netlink_next_nested(element, part)) != NULL) {
		const char *comment = NULL;
		size_t size = 0;

		switch (mnl_attr_get_type(part)) {
		case NFTA_SET_ELEM_KEY:
			is_key = search->key == NULL ||
				 expression_value_is(part, search->key, search->key_size);
			break;
		case NFTA_SET_ELEM_TIMEOUT:
			has_timeout = true;
			break;
		case NFTA_SET_ELEM_EXPIRATION:
			if (mnl_attr_validate(part, MNL_TYPE_U64) == 0)
				left_ms = be64toh(mnl_attr_get_u64(part));
			break;
		case NFTA_SET_ELEM_USERDATA:
			comment = comment_get(part, &size);
			noted = comment != NULL && note_parse(&note, comment, size);
			break;
		default:
			break;
		}
	}
	if (!is_key || !noted || note.cluster != search->cluster ||
	    (note.kind == NOTE_SWITCHOVER) != (search->key == NULL))
		return MNL_CB_OK;

	const struct fence_rule found = {.admits = ADMITS[note.kind],
					 .epoch = note.epoch,
					 .timeout_ms = has_timeout ? left_ms : 0};

	if (fence_rule_ends(&found) == (found.timeout_ms > 0) && has_timeout == (left_ms > 0))
		*search->rule = found;
	return MNL_CB_OK;
}

static void take_elements(void *arg, const struct nlmsghdr *message)
{
	const struct nlattr *attribute = NULL;

	while ((attribute = netlink_next(message, sizeof(struct nfgenmsg), attribute)) != NULL) {
		if (mnl_attr_get_type(attribute) == NFTA_SET_ELEM_LIST_ELEMENTS)
			(void)mnl_attr_parse_nested(attribute, read_element, arg);
	}
}

static int read_set(struct fence *fence, const char *set, const void *key, size_t key_size,
		    struct fence_rule *rule, struct err *why)
{
	struct element_search search = {
		.key = key, .key_size = key_size, .cluster = fence->cluster, .rule = rule};
	char buffer[256];
	struct nlmsghdr *message =
		nftables_message(buffer, NFT_MSG_GETSETELEM, NLM_F_REQUEST | NLM_F_DUMP);

	mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_TABLE, FENCE_TABLE);
	mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_SET, set);

	const int rc = netlink_talk(&fence->netlink, message, take_elements, &search, NULL, why);

	return rc < 0 ? err_in(why, rc, "read nftables set inet %s %s", FENCE_TABLE, set) : 0;
}

int fence_read(struct fence *fence, struct fence_rule *rule, struct err *why)
{
	const uint16_t port_be = htons(fence->port);
	int rc;

	*rule = (struct fence_rule){.admits = FENCE_ADMITS_NOBODY};
	rc = read_set(fence, SET, &port_be, sizeof(port_be), rule, why);
	for (unsigned i = 0; rc == 0 && i < COUNT_OF(FAMILIES); i++) {
		struct fence_rule peers = {.admits = FENCE_ADMITS_NOBODY};

		rc = read_set(fence, FAMILIES[i].set, NULL, 0, &peers, why);
		if (rule->admits == FENCE_ADMITS_NOBODY)
			*rule = peers;
	}
	return rc;
}

static void count_rule(void *arg, const struct nlmsghdr *message)
{
	unsigned *count = arg;
	const struct nlattr *attribute = NULL;

	while ((attribute = netlink_next(message, sizeof(struct nfgenmsg), attribute)) != NULL) {
		size_t size = 0;

		if (mnl_attr_get_type(attribute) != NFTA_RULE_USERDATA)
			continue;

		const char *comment = comment_get(attribute, &size);

		if (comment != NULL && size == sizeof(RULES_MARK) &&
		    memcmp(comment, RULES_MARK, size) == 0)
			(*count)++;
	}
}

bool fence_is_whole(struct fence *fence)
{
	unsigned count = 0;
	char buffer[256];
	struct fence_rule rule;
	struct nlmsghdr *message =
		nftables_message(buffer, NFT_MSG_GETRULE, NLM_F_REQUEST | NLM_F_DUMP);

	mnl_attr_put_strz(message, NFTA_RULE_TABLE, FENCE_TABLE);
	if (netlink_talk(&fence->netlink, message, count_rule, &count, NULL, NULL) < 0)
		return false;
	return count == COUNT_OF(DIRECTIONS) * (1 + COUNT_OF(FAMILIES)) &&
	       fence_read(fence, &rule, NULL) == 0;
}

int fence_remove(struct fence *fence, struct err *why)
{
	struct transaction transaction;

	transaction_begin(&transaction, &fence->netlink);
	put_table(&transaction, false);
	put_table(&transaction, true);

	const int rc = transaction_commit(&transaction, NULL, why);

	return rc < 0 ? err_in(why, rc, "remove nftables table inet %s", FENCE_TABLE) : 0;
}

int fence_watch_fd(const struct fence *fence)
{
	return netlink_fd(&fence->events);
}

/* Every kind of removal has the table's name as its first attribute. */
static void take_removal(void *arg, const struct nlmsghdr *message)
{
	enum fence_notice *notice = arg;
	enum fence_notice kind = FENCE_RULES_REMOVED;
	const struct nlattr *attribute = NULL;

	_Static_assert(NFTA_TABLE_NAME == 1 && NFTA_CHAIN_TABLE == 1 && NFTA_RULE_TABLE == 1 &&
			       NFTA_SET_TABLE == 1 && NFTA_SET_ELEM_LIST_TABLE == 1,
		       "one attribute number names the table in all of them");
	if (message->nlmsg_type >> 8 != NFNL_SUBSYS_NFTABLES)
		return;
	switch (message->nlmsg_type & 0xff) {
	case NFT_MSG_DELTABLE:
	case NFT_MSG_DELCHAIN:
	case NFT_MSG_DELRULE:
	case NFT_MSG_DELSET:
		break;
	case NFT_MSG_DELSETELEM:
		kind = FENCE_ELEMENT_REMOVED;
		break;
	default:
		return;
	}
	while ((attribute = netlink_next(message, sizeof(struct nfgenmsg), attribute)) != NULL) {
		if (mnl_attr_get_type(attribute) == NFTA_TABLE_NAME &&
		    mnl_attr_validate(attribute, MNL_TYPE_NUL_STRING) == 0 &&
		    strcmp(mnl_attr_get_str(attribute), FENCE_TABLE) == 0 && kind > *notice)
			*notice = kind;
	}
}

enum fence_notice fence_watch(struct fence *fence)
{
	enum fence_notice notice = FENCE_UNTOUCHED;

	if (netlink_drain(&fence->events, WATCH_LIMIT, take_removal, &notice))
		return FENCE_RULES_REMOVED;
	return notice;
}

int fence_open(struct fence *fence, uint16_t port, uint64_t cluster, const struct peers *peers,
	       struct err *why)
{
	char buffer[256];
	int rc;

	CHECK(port != 0);
	*fence = (struct fence){.port = port, .cluster = cluster, .peers = *peers};
	if ((rc = netlink_open(&fence->netlink, NETLINK_NETFILTER, why)) < 0)
		return err_in(why, rc, "kernel fence");

	/* A question that every kernel with nftables answers, and no other. */
	struct nlmsghdr *message =
		nftables_message(buffer, NFT_MSG_GETGEN, NLM_F_REQUEST | NLM_F_ACK);

	if ((rc = netlink_talk(&fence->netlink, message, NULL, NULL, NULL, why)) < 0) {
		fence_close(fence);
		return err_in(why, rc, "kernel fence: no usable nftables (module nf_tables?)");
	}
	if ((rc = netlink_open(&fence->events, NETLINK_NETFILTER, why)) < 0 ||
	    (rc = netlink_join(&fence->events, NFNLGRP_NFTABLES, why)) < 0) {
		fence_close(fence);
		return err_in(why, rc, "kernel fence: events");
	}
	return 0;
}

void fence_close(struct fence *fence)
{
	netlink_close(&fence->netlink);
	netlink_close(&fence->events);
}
