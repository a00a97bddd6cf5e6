/* Building nftables requests: messages, transactions, rule expressions, comments. */
#ifndef MHA_VIP_TRANSACTION_H
#define MHA_VIP_TRANSACTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "netlink.h"

/* Everything from begin to commit happens at once or not at all. */
struct transaction {
	struct netlink *netlink;
	uint32_t first_seq;
	char *end;
	struct nlmsghdr *last;
	/* One message may run over while it is built; each one is far below the spare room. */
	_Alignas(8) char bytes[NETLINK_REQUEST_MAX + 2048];
};

void transaction_begin(struct transaction *transaction, struct netlink *netlink);
/* The next message, of type NFT_MSG_*; filled by the caller until the next call. */
struct nlmsghdr *transaction_message(struct transaction *transaction, uint16_t type,
				     uint16_t flags);
MUST_CHECK int transaction_commit(struct transaction *transaction, int *refusal, struct err *why);

/* A single message, for questions; 256 bytes are enough for them. */
struct nlmsghdr *nftables_message(char buffer[static 256], uint16_t type, uint16_t flags);

struct expression {
	struct nlattr *element;
	struct nlattr *data;
};

struct expression expression_begin(struct nlmsghdr *message, const char *name);
void expression_end(struct nlmsghdr *message, const struct expression *expression);
/* Attribute `type`, holding a value. */
void expression_put_value(struct nlmsghdr *message, uint16_t type, const void *bytes, size_t size);
MUST_CHECK bool expression_value_is(const struct nlattr *attribute, const void *bytes, size_t size);

/* A comment as nft(8) writes and shows it; at most 127 characters. */
void comment_put(struct nlmsghdr *message, uint16_t type, const char *text);
/* NULL: none. `size` counts the terminating zero, if there is one. Borrowed from `attribute`. */
const char *comment_get(const struct nlattr *attribute, size_t *size);

#endif
