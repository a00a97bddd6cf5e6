#include "gateway/tokens.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

#define NS_PER_MINUTE (60 * UINT64_C(1000000000))

static bool is_good(const struct token_row *row, uint64_t now_ns)
{
	return row->public_key[0] != '\0' && now_ns < row->until_ns;
}

static bool name_is_taken(const struct tokens *tokens, const struct conf *conf, const char *name)
{
	for (unsigned i = 0; i < conf->member_count; i++) {
		if (strcmp(conf->members[i].name, name) == 0)
			return true;
	}
	for (unsigned i = 0; i < tokens->enrolled_count; i++) {
		if (strcmp(tokens->enrolled[i].name, name) == 0)
			return true;
	}
	return false;
}

int tokens_issue(struct tokens *tokens, const struct conf *conf, const char *server,
		 const char *name, unsigned minutes, uint64_t now_ns, char text[TOKEN_SIZE],
		 struct err *why)
{
	struct token_row *row = NULL;
	struct token token;
	int rc;

	if (!text_is_name(name, sizeof(row->name) - 1))
		return err_set(why, ERR_INVALID,
			       "enroll_token.name: a node's name is wanted (lower-case letters, "
			       "digits, - and _, 1 to 32 of them)");
	if (minutes > TOKEN_MINUTES_MAX)
		return err_set(why, ERR_INVALID, "enroll_token.minutes: at most %d",
			       TOKEN_MINUTES_MAX);
	if (name_is_taken(tokens, conf, name))
		return err_set(why, ERR_EXISTS, "enroll_token.name: there is a member named %s",
			       name);
	for (unsigned i = 0; i < TOKENS_MAX; i++) {
		/* A newer token for the same node takes the place of the older one. */
		if (strcmp(tokens->rows[i].name, name) == 0)
			row = &tokens->rows[i];
	}
	for (unsigned i = 0; row == NULL && i < TOKENS_MAX; i++) {
		if (!is_good(&tokens->rows[i], now_ns))
			row = &tokens->rows[i];
	}
	if (row == NULL)
		return err_set(why, ERR_BUSY, "%d tokens are waiting to be used; let one expire",
			       TOKENS_MAX);
	if ((rc = token_make(server, &token, why)) < 0)
		return rc;
	*row = (struct token_row){.until_ns = now_ns + (minutes == 0 ? TOKEN_MINUTES : minutes) *
							       NS_PER_MINUTE};
	snprintf(row->name, sizeof(row->name), "%s", name);
	memcpy(row->public_key, token.key.public, sizeof(row->public_key));
	token_format(&token, text);
	explicit_bzero(&token, sizeof(token));
	return 0;
}

const struct token_row *tokens_find(const struct tokens *tokens, const char *public_key,
				    uint64_t now_ns)
{
	for (unsigned i = 0; i < TOKENS_MAX; i++) {
		if (is_good(&tokens->rows[i], now_ns) &&
		    strcmp(tokens->rows[i].public_key, public_key) == 0)
			return &tokens->rows[i];
	}
	return NULL;
}

static bool id_is_taken(const struct tokens *tokens, const struct conf *conf, unsigned id)
{
	for (unsigned i = 0; i < tokens->enrolled_count; i++) {
		if (tokens->enrolled[i].id == id)
			return true;
	}
	return conf_member_by_id(conf, id) != NULL;
}

static bool key_is_taken(const struct tokens *tokens, const struct conf *conf, const char *key)
{
	for (unsigned i = 0; i < conf->member_count; i++) {
		if (strcmp(conf->members[i].public_key, key) == 0 ||
		    strcmp(conf->members[i].next_public_key, key) == 0)
			return true;
	}
	for (unsigned i = 0; i < tokens->enrolled_count; i++) {
		if (strcmp(tokens->enrolled[i].public_key, key) == 0)
			return true;
	}
	return false;
}

static int check_enroll(const struct tokens *tokens, const struct conf *conf,
			const Mha__Client__Enroll *enroll, struct err *why)
{
	struct in6_addr address;

	if (!text_is_z85_key(enroll->public_key))
		return err_set(why, ERR_INVALID, "enroll.public_key: is no CURVE public key");
	if (key_is_taken(tokens, conf, enroll->public_key))
		return err_set(why, ERR_EXISTS, "enroll.public_key: another node has this key");
	if (strlen(enroll->address) >= sizeof(tokens->enrolled[0].address) ||
	    (inet_pton(AF_INET, enroll->address, &address) != 1 &&
	     inet_pton(AF_INET6, enroll->address, &address) != 1))
		return err_set(why, ERR_INVALID, "enroll.address: an IP address is wanted");
	if (enroll->peer_port == 0 || enroll->peer_port > 65535 || enroll->postgres_port == 0 ||
	    enroll->postgres_port > 65535)
		return err_set(why, ERR_INVALID, "enroll: ports are 1 to 65535");
	if (strcmp(enroll->kind, "data") != 0 && strcmp(enroll->kind, "witness") != 0)
		return err_set(why, ERR_INVALID, "enroll.kind: neither data nor witness");
	if (conf->member_count >= CONF_MEMBERS_MAX || tokens->enrolled_count == TOKENS_ENROLLED_MAX)
		return err_set(why, ERR_REFUSED, "the cluster has %u members, at most %d",
			       conf->member_count, CONF_MEMBERS_MAX);
	return 0;
}

static void row_of_node(struct token_node *node, Mha__Client__MemberRow *row)
{
	mha__client__member_row__init(row);
	row->name = node->name;
	row->id = node->id;
	row->kind = node->kind;
	row->address = node->address;
	row->peer_port = node->peer_port;
	row->postgres_port = node->postgres_port;
	row->public_key = node->public_key;
	row->priority = 100;
	row->later = true;
}

static void row_of_member(const struct conf_member *member, Mha__Client__MemberRow *row)
{
	static char kinds[][8] = {"data", "witness"};
	union {
		const struct conf_member *from;
		struct conf_member *to;
	} it = {.from = member};

	mha__client__member_row__init(row);
	row->name = it.to->name;
	row->id = (uint32_t)member->id;
	row->kind = kinds[member->kind == MEMBER_WITNESS];
	row->address = it.to->address;
	row->peer_port = (uint32_t)member->peer_port;
	row->postgres_port = (uint32_t)member->postgres_port;
	row->public_key = it.to->public_key;
	row->priority = (uint32_t)member->priority;
	row->later = !member->founding;
}

static void fill_reply(const struct conf *conf, struct token_node *node, struct enroll_message *out)
{
	union {
		const struct conf *from;
		struct conf *to;
	} it = {.from = conf};

	mha__client__enroll_reply__init(&out->reply);
	out->reply.cluster_name = it.to->cluster_name;
	out->reply.cluster_id = it.to->cluster_id;
	for (unsigned i = 0; i < conf->member_count; i++)
		row_of_member(&conf->members[i], &out->rows[i]);
	row_of_node(node, &out->rows[conf->member_count]);
	out->reply.n_members = conf->member_count + 1;
	for (unsigned i = 0; i <= conf->member_count; i++)
		out->list[i] = &out->rows[i];
	out->reply.members = out->list;
}

int tokens_use(struct tokens *tokens, const struct token_row *row, const struct conf *conf,
	       const Mha__Client__Enroll *enroll, struct enroll_message *out, struct err *why)
{
	struct token_node *node = &tokens->enrolled[tokens->enrolled_count];
	struct token_row *used = &tokens->rows[row - tokens->rows];
	unsigned id = 1;
	int rc = check_enroll(tokens, conf, enroll, why);

	if (rc < 0)
		return rc;
	while (id_is_taken(tokens, conf, id))
		id++;
	if (id > CONF_MEMBERS_MAX)
		return err_set(why, ERR_REFUSED, "no number from 1 to %d is free",
			       CONF_MEMBERS_MAX);
	*node = (struct token_node){
		.id = id, .peer_port = enroll->peer_port, .postgres_port = enroll->postgres_port};
	snprintf(node->name, sizeof(node->name), "%s", used->name);
	snprintf(node->address, sizeof(node->address), "%s", enroll->address);
	snprintf(node->public_key, sizeof(node->public_key), "%s", enroll->public_key);
	snprintf(node->kind, sizeof(node->kind), "%s", enroll->kind);
	tokens->enrolled_count++;
	memset(used, 0, sizeof(*used));
	fill_reply(conf, node, out);
	return 0;
}

void tokens_enrolled(struct tokens *tokens, struct enrolled_message *out)
{
	mha__client__enrolled__init(&out->reply);
	for (unsigned i = 0; i < tokens->enrolled_count; i++) {
		row_of_node(&tokens->enrolled[i], &out->rows[i]);
		out->list[i] = &out->rows[i];
	}
	out->reply.n_members = tokens->enrolled_count;
	out->reply.members = out->list;
}
