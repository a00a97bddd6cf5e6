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
/* Notices read per wake-up: somebody's long rule list must not keep the lease waiting. */
#define WATCH_LIMIT 64
#define RULES_MARK  "mha4rdb 1: no lease, no database"

enum direction { DIRECTION_IN, DIRECTION_OUT };

static const struct {
	const char *chain;
	uint32_t hook;
	uint32_t port_offset; /* in the TCP header */
} DIRECTIONS[] = {
	[DIRECTION_IN] = {CHAIN_IN, NF_INET_LOCAL_IN, 2},
	[DIRECTION_OUT] = {CHAIN_OUT, NF_INET_LOCAL_OUT, 0},
};

static void put_table(struct transaction *transaction, bool remove)
{
	struct nlmsghdr *message =
		transaction_message(transaction, remove ? NFT_MSG_DELTABLE : NFT_MSG_NEWTABLE,
				    remove ? 0 : NLM_F_CREATE);

	mnl_attr_put_strz(message, NFTA_TABLE_NAME, FENCE_TABLE);
}

static void put_set(struct transaction *transaction)
{
	struct nlmsghdr *message = transaction_message(transaction, NFT_MSG_NEWSET, NLM_F_CREATE);

	mnl_attr_put_strz(message, NFTA_SET_TABLE, FENCE_TABLE);
	mnl_attr_put_strz(message, NFTA_SET_NAME, SET);
	mnl_attr_put_u32(message, NFTA_SET_FLAGS, htonl(NFT_SET_TIMEOUT));
	mnl_attr_put_u32(message, NFTA_SET_KEY_TYPE, htonl(TYPE_SERVICE));
	mnl_attr_put_u32(message, NFTA_SET_KEY_LEN, htonl(sizeof(uint16_t)));
	mnl_attr_put_u32(message, NFTA_SET_ID, htonl(1));
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

/* reg1 = `size` bytes of the TCP header at `offset`. */
static void put_tcp_field(struct nlmsghdr *message, uint32_t offset, uint32_t size)
{
	const struct expression payload = expression_begin(message, "payload");

	mnl_attr_put_u32(message, NFTA_PAYLOAD_DREG, htonl(NFT_REG_1));
	mnl_attr_put_u32(message, NFTA_PAYLOAD_BASE, htonl(NFT_PAYLOAD_TRANSPORT_HEADER));
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

/* Go on only with TCP segments of the database's port. */
static void put_match_port(struct nlmsghdr *message, enum direction direction, uint16_t port)
{
	const struct expression meta = expression_begin(message, "meta");
	const uint8_t tcp = IPPROTO_TCP;
	const uint16_t port_be = htons(port);

	mnl_attr_put_u32(message, NFTA_META_KEY, htonl(NFT_META_L4PROTO));
	mnl_attr_put_u32(message, NFTA_META_DREG, htonl(NFT_REG_1));
	expression_end(message, &meta);
	put_equals(message, &tcp, sizeof(tcp));
	put_tcp_field(message, DIRECTIONS[direction].port_offset, sizeof(port_be));
	put_equals(message, &port_be, sizeof(port_be));
}

/* Go on only if the port, which is still in reg1, is not in the set. */
static void put_not_admitted(struct nlmsghdr *message)
{
	const struct expression lookup = expression_begin(message, "lookup");

	mnl_attr_put_strz(message, NFTA_LOOKUP_SET, SET);
	mnl_attr_put_u32(message, NFTA_LOOKUP_SREG, htonl(NFT_REG_1));
	mnl_attr_put_u32(message, NFTA_LOOKUP_FLAGS, htonl(NFT_LOOKUP_F_INV));
	expression_end(message, &lookup);
}

/* Go on only if the segment is no reset. */
static void put_no_reset(struct nlmsghdr *message)
{
	const uint8_t rst = 0x04;
	const uint8_t nothing = 0;

	put_tcp_field(message, 13, sizeof(rst));

	const struct expression bits = expression_begin(message, "bitwise");

	mnl_attr_put_u32(message, NFTA_BITWISE_SREG, htonl(NFT_REG_1));
	mnl_attr_put_u32(message, NFTA_BITWISE_DREG, htonl(NFT_REG_1));
	mnl_attr_put_u32(message, NFTA_BITWISE_LEN, htonl(sizeof(rst)));
	expression_put_value(message, NFTA_BITWISE_MASK, &rst, sizeof(rst));
	expression_put_value(message, NFTA_BITWISE_XOR, &nothing, sizeof(nothing));
	expression_end(message, &bits);
	put_equals(message, &nothing, sizeof(nothing));
}

static void put_verdict(struct nlmsghdr *message, enum direction direction)
{
	if (direction == DIRECTION_IN) {
		const struct expression reject = expression_begin(message, "reject");

		mnl_attr_put_u32(message, NFTA_REJECT_TYPE, htonl(NFT_REJECT_TCP_RST));
		mnl_attr_put_u8(message, NFTA_REJECT_ICMP_CODE, 0);
		expression_end(message, &reject);
		return;
	}

	const struct expression drop = expression_begin(message, "immediate");

	mnl_attr_put_u32(message, NFTA_IMMEDIATE_DREG, htonl(NFT_REG_VERDICT));

	struct nlattr *data = mnl_attr_nest_start(message, NFTA_IMMEDIATE_DATA);
	struct nlattr *verdict = mnl_attr_nest_start(message, NFTA_DATA_VERDICT);

	mnl_attr_put_u32(message, NFTA_VERDICT_CODE, htonl(NF_DROP));
	mnl_attr_nest_end(message, verdict);
	mnl_attr_nest_end(message, data);
	expression_end(message, &drop);
}

static void put_rule(struct transaction *transaction, enum direction direction, uint16_t port)
{
	struct nlmsghdr *message =
		transaction_message(transaction, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);

	mnl_attr_put_strz(message, NFTA_RULE_TABLE, FENCE_TABLE);
	mnl_attr_put_strz(message, NFTA_RULE_CHAIN, DIRECTIONS[direction].chain);

	struct nlattr *list = mnl_attr_nest_start(message, NFTA_RULE_EXPRESSIONS);

	put_match_port(message, direction, port);
	put_not_admitted(message);
	put_no_reset(message);
	put_verdict(message, direction);
	mnl_attr_nest_end(message, list);
	comment_put(message, NFTA_RULE_USERDATA, RULES_MARK);
}

/* The element of this port, or with NULL: every element of the set. */
static void put_element(struct transaction *transaction, uint16_t type, const struct fence *fence,
			const struct fence_rule *rule)
{
	struct nlmsghdr *message = transaction_message(
		transaction, type, type == NFT_MSG_NEWSETELEM ? NLM_F_CREATE : 0);
	const uint16_t port_be = htons(fence->port);

	mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_TABLE, FENCE_TABLE);
	mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_SET, SET);

	struct nlattr *list = mnl_attr_nest_start(message, NFTA_SET_ELEM_LIST_ELEMENTS);
	struct nlattr *element = mnl_attr_nest_start(message, NFTA_LIST_ELEM);

	expression_put_value(message, NFTA_SET_ELEM_KEY, &port_be, sizeof(port_be));
	if (rule != NULL && rule->admits == FENCE_ADMITS_LEASE)
		mnl_attr_put_u64(message, NFTA_SET_ELEM_TIMEOUT, htobe64(rule->timeout_ms));
	if (rule != NULL) {
		const struct note note = {.lease = rule->admits == FENCE_ADMITS_LEASE,
					  .epoch = rule->epoch,
					  .cluster = fence->cluster};
		char text[NOTE_SIZE];

		comment_put(message, NFTA_SET_ELEM_USERDATA, note_print(&note, text));
	}
	mnl_attr_nest_end(message, element);
	mnl_attr_nest_end(message, list);
}

static void put_flush_set(struct transaction *transaction)
{
	struct nlmsghdr *message = transaction_message(transaction, NFT_MSG_DELSETELEM, 0);

	mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_TABLE, FENCE_TABLE);
	mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_SET, SET);
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
	put_set(&transaction);
	if (!keep) {
		put_flush_set(&transaction);
		if (rule->admits != FENCE_ADMITS_NOBODY)
			put_element(&transaction, NFT_MSG_NEWSETELEM, fence, rule);
	}
	put_chain(&transaction, DIRECTION_IN);
	put_chain(&transaction, DIRECTION_OUT);
	put_rule(&transaction, DIRECTION_IN, fence->port);
	put_rule(&transaction, DIRECTION_OUT, fence->port);
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
		put_element(&transaction, NFT_MSG_NEWSETELEM, fence, NULL);
		put_element(&transaction, NFT_MSG_DELSETELEM, fence, NULL);
		if (rule->admits != FENCE_ADMITS_NOBODY)
			put_element(&transaction, NFT_MSG_NEWSETELEM, fence, rule);
		rc = transaction_commit(&transaction, &refusal, why);
		if (rc == 0 || (refusal != -ENOENT && refusal != -EEXIST))
			break;
	}
	return rc < 0 ? err_in(why, rc, "nftables set inet %s %s", FENCE_TABLE, SET) : 0;
}

struct element_search {
	uint16_t port_be;
	uint64_t cluster;
	struct fence_rule *rule;
};

static int read_element(const struct nlattr *element, void *arg)
{
	const struct element_search *search = arg;
	const struct nlattr *part = NULL;
	bool is_port = false;
	bool has_timeout = false;
	bool noted = false;
	uint64_t left_ms = 0;
	struct note note;

	while ((part = netlink_next_nested(element, part)) != NULL) {
		const char *comment = NULL;
		size_t size = 0;

		switch (mnl_attr_get_type(part)) {
		case NFTA_SET_ELEM_KEY:
			is_port = expression_value_is(part, &search->port_be,
						      sizeof(search->port_be));
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
	if (!is_port || !noted || note.cluster != search->cluster || note.lease != has_timeout)
		return MNL_CB_OK;
	if (note.lease && left_ms == 0)
		return MNL_CB_OK;
	*search->rule = (struct fence_rule){
		.admits = note.lease ? FENCE_ADMITS_LEASE : FENCE_ADMITS_ALL,
		.epoch = note.epoch,
		.timeout_ms = left_ms,
	};
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

int fence_read(struct fence *fence, struct fence_rule *rule, struct err *why)
{
	struct element_search search = {
		.port_be = htons(fence->port), .cluster = fence->cluster, .rule = rule};
	char buffer[256];
	struct nlmsghdr *message =
		nftables_message(buffer, NFT_MSG_GETSETELEM, NLM_F_REQUEST | NLM_F_DUMP);

	*rule = (struct fence_rule){.admits = FENCE_ADMITS_NOBODY};
	mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_TABLE, FENCE_TABLE);
	mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_SET, SET);

	const int rc = netlink_talk(&fence->netlink, message, take_elements, &search, NULL, why);

	return rc < 0 ? err_in(why, rc, "read nftables set inet %s %s", FENCE_TABLE, SET) : 0;
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
	return count == COUNT_OF(DIRECTIONS) && fence_read(fence, &rule, NULL) == 0;
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

int fence_open(struct fence *fence, uint16_t port, uint64_t cluster, struct err *why)
{
	char buffer[256];
	int rc;

	CHECK(port != 0);
	*fence = (struct fence){.port = port, .cluster = cluster};
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
