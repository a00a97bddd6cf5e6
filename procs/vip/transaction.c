#include "transaction.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>

#include "base/check.h"

/* The first kind of user data in rules and set elements: a zero-terminated comment. */
#define USERDATA_COMMENT 0

static struct nlmsghdr *put_header(char *at, uint16_t type, uint16_t flags, uint8_t family,
				   uint16_t resource)
{
	struct nlmsghdr *message = mnl_nlmsg_put_header(at);
	struct nfgenmsg *generic = mnl_nlmsg_put_extra_header(message, sizeof(*generic));

	message->nlmsg_type = type;
	message->nlmsg_flags = flags;
	generic->nfgen_family = family;
	generic->version = NFNETLINK_V0;
	generic->res_id = htons(resource);
	return message;
}

static uint16_t type_of(uint16_t message)
{
	return (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | message);
}

struct nlmsghdr *nftables_message(char buffer[static 256], uint16_t type, uint16_t flags)
{
	return put_header(buffer, type_of(type), flags, NFPROTO_INET, 0);
}

/* Close the message that is being built. */
static void advance(struct transaction *transaction)
{
	if (transaction->last != NULL)
		transaction->end =
			(char *)transaction->last + MNL_ALIGN(transaction->last->nlmsg_len);
	CHECK(transaction->end <= transaction->bytes + NETLINK_REQUEST_MAX);
}

static struct nlmsghdr *put_bracket(struct transaction *transaction, uint16_t type)
{
	advance(transaction);
	transaction->last =
		put_header(transaction->end, type, NLM_F_REQUEST, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
	transaction->last->nlmsg_seq = ++transaction->netlink->seq;
	return transaction->last;
}

void transaction_begin(struct transaction *transaction, struct netlink *netlink)
{
	transaction->netlink = netlink;
	transaction->end = transaction->bytes;
	transaction->last = NULL;
	transaction->first_seq = put_bracket(transaction, NFNL_MSG_BATCH_BEGIN)->nlmsg_seq;
}

struct nlmsghdr *transaction_message(struct transaction *transaction, uint16_t type, uint16_t flags)
{
	advance(transaction);
	transaction->last =
		put_header(transaction->end, type_of(type), NLM_F_REQUEST | flags, NFPROTO_INET, 0);
	transaction->last->nlmsg_seq = ++transaction->netlink->seq;
	return transaction->last;
}

int transaction_commit(struct transaction *transaction, int *refusal, struct err *why)
{
	/* The acknowledgement of the last message arrives when all of it is in force. */
	transaction->last->nlmsg_flags |= NLM_F_ACK;
	(void)put_bracket(transaction, NFNL_MSG_BATCH_END);
	advance(transaction);
	return netlink_batch(transaction->netlink, transaction->bytes,
			     (size_t)(transaction->end - transaction->bytes),
			     transaction->first_seq, transaction->netlink->seq, refusal, why);
}

struct expression expression_begin(struct nlmsghdr *message, const char *name)
{
	struct expression expression = {.element = mnl_attr_nest_start(message, NFTA_LIST_ELEM)};

	mnl_attr_put_strz(message, NFTA_EXPR_NAME, name);
	expression.data = mnl_attr_nest_start(message, NFTA_EXPR_DATA);
	return expression;
}

void expression_end(struct nlmsghdr *message, const struct expression *expression)
{
	mnl_attr_nest_end(message, expression->data);
	mnl_attr_nest_end(message, expression->element);
}

void expression_put_value(struct nlmsghdr *message, uint16_t type, const void *bytes, size_t size)
{
	struct nlattr *nest = mnl_attr_nest_start(message, type);

	mnl_attr_put(message, NFTA_DATA_VALUE, size, bytes);
	mnl_attr_nest_end(message, nest);
}

bool expression_value_is(const struct nlattr *attribute, const void *bytes, size_t size)
{
	const struct nlattr *part = NULL;

	while ((part = netlink_next_nested(attribute, part)) != NULL) {
		if (mnl_attr_get_type(part) == NFTA_DATA_VALUE)
			return mnl_attr_get_payload_len(part) == size &&
			       memcmp(mnl_attr_get_payload(part), bytes, size) == 0;
	}
	return false;
}

void comment_put(struct nlmsghdr *message, uint16_t type, const char *text)
{
	uint8_t bytes[2 + 128];
	const size_t size = strlen(text) + 1;

	CHECK(size <= sizeof(bytes) - 2);
	bytes[0] = USERDATA_COMMENT;
	bytes[1] = (uint8_t)size;
	memcpy(bytes + 2, text, size);
	mnl_attr_put(message, type, size + 2, bytes);
}

const char *comment_get(const struct nlattr *attribute, size_t *size)
{
	const uint8_t *bytes = mnl_attr_get_payload(attribute);
	size_t left = mnl_attr_get_payload_len(attribute);

	while (left >= 2 && left - 2 >= bytes[1]) {
		if (bytes[0] == USERDATA_COMMENT) {
			*size = bytes[1];
			return (const char *)bytes + 2;
		}
		left -= 2U + bytes[1];
		bytes += 2 + bytes[1];
	}
	return NULL;
}
