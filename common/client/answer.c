/* What a member's answer is worth: the members it names, and whether it confirms a leader. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/text.h"
#include "client/handle.h"

/* "tcp://10.0.0.1:7401" or "tcp://[fd99::1]:7401". */
static bool endpoint_split(const char *endpoint, char address[MHA_ADDRESS_SIZE], unsigned *port)
{
	const char *from = endpoint + strlen("tcp://"), *colon = strrchr(endpoint, ':');
	size_t length;

	if (strncmp(endpoint, "tcp://", 6) != 0 || colon == NULL || colon <= from)
		return false;
	length = (size_t)(colon - from);
	if (from[0] == '[' && length >= 2 && from[length - 1] == ']') {
		from++;
		length -= 2;
	}
	if (length >= MHA_ADDRESS_SIZE)
		return false;
	memcpy(address, from, length);
	address[length] = '\0';
	*port = (unsigned)strtoul(colon + 1, NULL, 10);
	return *port > 0 && *port <= 65535;
}

/* See DISCOVERY in mha.h. */
static unsigned port_of(const struct mha *mha, const char *address)
{
	char seed[MHA_ADDRESS_SIZE];
	unsigned port, first = 0;

	for (unsigned i = 0; i < mha->link_count; i++) {
		if (!mha->links[i].seed || !endpoint_split(mha->links[i].endpoint, seed, &port))
			continue;
		if (strcmp(seed, address) == 0)
			return port;
		if (first == 0)
			first = port;
	}
	if (mha->port != 0)
		return mha->port;
	return first != 0 ? first : PORT_DEFAULT;
}

static bool is_address(const char *text)
{
	struct in6_addr binary;

	return inet_pton(AF_INET, text, &binary) == 1 || inet_pton(AF_INET6, text, &binary) == 1;
}

static void learn_member(struct mha *mha, const Mha__Client__Member *member)
{
	struct link *link = &mha->links[mha->link_count];
	char endpoint[CLIENT_ENDPOINT_SIZE];

	/* An address that is none would be looked up by name, by whoever made it up. */
	if (mha->link_count == LINKS_MAX || !is_address(member->address) ||
	    (mha->curve && mha->server_key[0] == '\0'))
		return;
	snprintf(endpoint, sizeof(endpoint),
		 strchr(member->address, ':') != NULL ? "tcp://[%.64s]:%u" : "tcp://%.64s:%u",
		 member->address, port_of(mha, member->address));
	for (unsigned i = 0; i < mha->link_count; i++) {
		if (strcmp(mha->links[i].name, member->name) == 0 ||
		    strcmp(mha->links[i].endpoint, endpoint) == 0)
			return;
	}
	*link = (struct link){.seed = false};
	if (!text_copy(link->name, sizeof(link->name), member->name))
		return;
	memcpy(link->endpoint, endpoint, sizeof(endpoint));
	memcpy(link->server_key, mha->server_key, sizeof(link->server_key));
	mha->link_count++;
}

static bool names_member(const Mha__Client__Status *status, const char *name)
{
	for (size_t i = 0; i < status->n_members; i++) {
		if (strcmp(status->members[i]->name, name) == 0)
			return true;
	}
	return false;
}

/* Who left the cluster is not asked any more; only a leader's word counts for that. */
static void forget_members(struct mha *mha, const Mha__Client__Status *status)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < mha->link_count; i++) {
		const struct link *link = &mha->links[i];

		if (link->seed || status->n_members == 0 || names_member(status, link->name))
			mha->links[kept++] = *link;
	}
	mha->link_count = kept;
}

static void learn(struct mha *mha, const struct link *from, const Mha__Client__Status *status,
		  bool leads)
{
	for (unsigned i = 0; i < mha->link_count; i++) {
		struct link *link = &mha->links[i];

		if (strcmp(link->endpoint, from->endpoint) == 0 &&
		    !text_copy(link->name, sizeof(link->name), status->node))
			return;
	}
	if (leads)
		forget_members(mha, status);
	for (size_t i = 0; i < status->n_members; i++) {
		if (status->members[i]->name[0] != '\0' &&
		    strcmp(status->members[i]->name, status->node) != 0)
			learn_member(mha, status->members[i]);
	}
}

static int status_check(struct mha *mha, const Mha__Client__Reply *reply, struct err *why)
{
	const Mha__Client__Status *status;
	int rc = client_reply_check(reply, why);

	if (rc < 0)
		return rc;
	if (reply->body_case != MHA__CLIENT__REPLY__BODY_STATUS || reply->status == NULL)
		return err_set(why, ERR_CORRUPT, "it answers another question than was asked");
	status = reply->status;
	if (status->node[0] == '\0' || strlen(status->node) >= MHA_NAME_SIZE ||
	    status->cluster[0] == '\0' || strlen(status->cluster) >= MHA_NAME_SIZE)
		return err_set(why, ERR_CORRUPT, "its answer names neither itself nor its cluster");
	if (mha->cluster[0] == '\0')
		CHECK(text_copy(mha->cluster, sizeof(mha->cluster), status->cluster));
	if (strcmp(mha->cluster, status->cluster) != 0)
		return err_set(why, ERR_CORRUPT, "it belongs to cluster '%s', not to '%s'",
			       status->cluster, mha->cluster);
	return 0;
}

/* The only claim that counts is one about itself. */
static bool claims_itself(const Mha__Client__Status *status)
{
	const Mha__Client__Leader *leader = status->leader;

	return leader != NULL && leader->known && leader->lease_ms >= 0 && leader->epoch > 0 &&
	       strcmp(leader->name, status->node) == 0;
}

static void take_claim(const Mha__Client__Status *status, int64_t sent_ms, struct answer *answer)
{
	const Mha__Client__Leader *leader = status->leader;
	struct mha_leader *to = &answer->leader;

	if (leader->address[0] == '\0' || leader->postgres_port == 0 ||
	    leader->postgres_port > 65535 || leader->epoch != status->epoch ||
	    !text_copy(to->name, sizeof(to->name), leader->name) ||
	    !text_copy(to->address, sizeof(to->address), leader->address) ||
	    !text_copy(to->vip, sizeof(to->vip), leader->vip)) {
		snprintf(answer->why, sizeof(answer->why),
			 "it claims to lead, but its answer contradicts itself");
		return;
	}
	to->epoch = leader->epoch;
	to->port = leader->postgres_port;
	/* The lease was this long at some moment after the question was sent. No lease is days. */
	answer->until_ms =
		sent_ms + (leader->lease_ms < 86400000 ? leader->lease_ms : (int64_t)86400000);
	answer->claims = true;
}

void answer_read(struct mha *mha, const struct link *link, const Mha__Client__Reply *reply,
		 int64_t sent_ms, struct answer *answer)
{
	const Mha__Client__Status *status = reply->status;
	struct err why = {0};

	*answer = (struct answer){.any = false};
	if (status_check(mha, reply, &why) < 0) {
		snprintf(answer->why, sizeof(answer->why), "%.255s", why.text);
		return;
	}
	answer->any = true;
	answer->epoch = status->epoch;
	CHECK(text_copy(answer->node, sizeof(answer->node), status->node));
	if (claims_itself(status))
		take_claim(status, sent_ms, answer);
	else if (status->leader == NULL || status->leader->name[0] == '\0')
		snprintf(answer->why, sizeof(answer->why), "it knows of no primary");
	else if (strcmp(status->leader->name, status->node) != 0)
		snprintf(answer->why, sizeof(answer->why), "its record names %.63s",
			 status->leader->name);
	else
		snprintf(answer->why, sizeof(answer->why), "it does not serve: %.200s",
			 status->leader->why[0] != '\0' ? status->leader->why : "no reason given");
	learn(mha, link, status, answer->claims);
}

static void append(char text[], size_t size, const char *name, const char *why)
{
	size_t used = strlen(text);

	snprintf(text + used, size - used, "%s%s: %s", used > 0 ? "; " : "", name, why);
}

/* All reasons in one sentence. */
static int nobody_leads(const struct answer *const *answers, unsigned count, int64_t now_ms,
			struct err *why)
{
	char text[ERR_TEXT_SIZE - 64] = "";
	bool any = false;

	for (unsigned i = 0; i < count; i++) {
		const struct answer *answer = answers[i];

		any = any || answer->any;
		append(text, sizeof(text), answer->node[0] != '\0' ? answer->node : "a member",
		       answer->claims && answer->until_ms < now_ms
			       ? "its lease may have run out since it answered"
			       : answer->why);
	}
	return err_set(why, any ? MHA_ERR_NO_LEADER : MHA_ERR_TIMEOUT, "%s: %s",
		       any ? "no member confirms that it leads" : "nobody answers",
		       text[0] != '\0' ? text : "no member is known");
}

int leader_judge(struct mha *mha, const struct answer *const *answers, unsigned count,
		 int64_t now_ms, const struct answer **winner, struct err *why)
{
	const struct answer *best = NULL, *newest = NULL;

	*winner = NULL;
	for (unsigned i = 0; i < count; i++) {
		const struct answer *answer = answers[i];

		if (!answer->any)
			continue;
		if (newest == NULL || answer->epoch > newest->epoch)
			newest = answer;
		if (!answer->claims || answer->until_ms < now_ms)
			continue;
		if (best != NULL && best->leader.epoch == answer->leader.epoch &&
		    strcmp(best->leader.name, answer->leader.name) != 0)
			return err_set(why, MHA_ERR_NO_LEADER,
				       "%s and %s both claim to lead epoch %llu", best->node,
				       answer->node, (unsigned long long)best->leader.epoch);
		if (best == NULL || answer->leader.epoch > best->leader.epoch)
			best = answer;
	}
	if (best == NULL)
		return nobody_leads(answers, count, now_ms, why);
	if (newest->epoch > best->leader.epoch)
		return err_set(why, MHA_ERR_NO_LEADER,
			       "%s claims to lead epoch %llu, but %s knows of epoch %llu",
			       best->node, (unsigned long long)best->leader.epoch, newest->node,
			       (unsigned long long)newest->epoch);
	if (best->leader.epoch < mha->floor_epoch)
		return err_set(why, MHA_ERR_NO_LEADER,
			       "%s claims to lead epoch %llu, but %s was confirmed for epoch %llu",
			       best->node, (unsigned long long)best->leader.epoch, mha->floor_name,
			       (unsigned long long)mha->floor_epoch);
	if (best->leader.epoch == mha->floor_epoch &&
	    strcmp(best->leader.name, mha->floor_name) != 0)
		return err_set(why, MHA_ERR_NO_LEADER,
			       "%s claims to lead epoch %llu, for which %s was confirmed",
			       best->node, (unsigned long long)best->leader.epoch, mha->floor_name);
	mha->floor_epoch = best->leader.epoch;
	CHECK(text_copy(mha->floor_name, sizeof(mha->floor_name), best->leader.name));
	*winner = best;
	return 0;
}
