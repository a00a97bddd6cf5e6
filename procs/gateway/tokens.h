/*
 * One-time tokens of this agent, in this process only: one that is lost with it is made anew, and
 * none comes back by a restart. Kept is the public key of each, by which its holder is known to the
 * ZAP handler; the secret half is forgotten as soon as it is told.
 */
#ifndef MHA_GATEWAY_TOKENS_H
#define MHA_GATEWAY_TOKENS_H

#include "client.pb-c.h"
#include "conf/conf.h"
#include "wire/token.h"

#define TOKENS_MAX          8
#define TOKEN_MINUTES       15 /* unless another time is asked for */
#define TOKEN_MINUTES_MAX   1440
#define TOKENS_ENROLLED_MAX 9

struct token_row {
	char public_key[KEY_SIZE]; /* empty: a free row */
	char name[33];
	uint64_t until_ns; /* CLOCK_BOOTTIME */
};

/* A node that used its token, as it belongs into `members`. */
struct token_node {
	char name[33], address[64], public_key[KEY_SIZE], kind[8];
	unsigned id, peer_port, postgres_port;
};

struct tokens {
	struct token_row rows[TOKENS_MAX];
	unsigned enrolled_count;
	struct token_node enrolled[TOKENS_ENROLLED_MAX];
};

/* What EnrollReply points to. */
struct enroll_message {
	Mha__Client__EnrollReply reply;
	Mha__Client__MemberRow rows[CONF_MEMBERS_MAX + 1];
	Mha__Client__MemberRow *list[CONF_MEMBERS_MAX + 1];
};

struct enrolled_message {
	Mha__Client__Enrolled reply;
	Mha__Client__MemberRow rows[TOKENS_ENROLLED_MAX];
	Mha__Client__MemberRow *list[TOKENS_ENROLLED_MAX];
};

/* `minutes` 0: TOKEN_MINUTES. ERR_INVALID, ERR_EXISTS (a member of that name), ERR_BUSY. */
MUST_CHECK int tokens_issue(struct tokens *tokens, const struct conf *conf, const char *server,
			    const char *name, unsigned minutes, uint64_t now_ns,
			    char text[TOKEN_SIZE], struct err *why);
/* NULL: no token that is good now has this key. */
const struct token_row *tokens_find(const struct tokens *tokens, const char *public_key,
				    uint64_t now_ns);
/*
 * The holder of `row` enrols: `row` is used up by a request that makes sense, and by no other.
 * `out` borrows from `conf` and `tokens`.
 */
MUST_CHECK int tokens_use(struct tokens *tokens, const struct token_row *row,
			  const struct conf *conf, const Mha__Client__Enroll *enroll,
			  struct enroll_message *out, struct err *why);
void tokens_enrolled(struct tokens *tokens, struct enrolled_message *out);

#endif
