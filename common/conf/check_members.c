/* The list of members: each row, no two alike, one of them this node, and a k that they can meet.
 */
#include <inttypes.h>
#include <string.h>

#include "base/text.h"
#include "conf/option.h"
#include "conf/valid.h"

static unsigned key_line(const struct conf_source *source, unsigned member, enum member_row row)
{
	const unsigned line = source->member_key_line[member][row];

	return line != 0 ? line : source->member_line[member];
}

static int refuse(const struct conf_source *source, unsigned member, enum member_row row,
		  struct err *why, const char *reason)
{
	char key[64];

	snprintf(key, sizeof(key), "members[%u].%s", member, MEMBER_OPTIONS[row].key);
	return conf_refuse(source, key_line(source, member, row), key, why, "%s", reason);
}

static int check_member(const struct conf *conf, const struct conf_source *source, unsigned index,
			struct err *why)
{
	const struct conf_member *member = &conf->members[index];

	if (!text_is_name(member->name, sizeof(member->name) - 1))
		return refuse(source, index, MEM_name, why,
			      "must be lower-case letters, digits, - and _, 1 to 32 of them");
	if (!valid_address(member->address))
		return refuse(source, index, MEM_address, why,
			      "must be the IP address of one host (names are not looked up)");
	if (!text_is_z85_key(member->public_key))
		return refuse(source, index, MEM_public_key, why,
			      "is no CURVE public key (40 characters of Z85)");
	if (member->next_public_key[0] != '\0' && !text_is_z85_key(member->next_public_key))
		return refuse(source, index, MEM_next_public_key, why,
			      "is no CURVE public key (40 characters of Z85)");
	if (strcmp(member->next_public_key, member->public_key) == 0)
		return refuse(source, index, MEM_next_public_key, why, "is the same as public_key");
	if (member->peer_port == member->postgres_port && member->kind == MEMBER_DATA)
		return refuse(source, index, MEM_peer_port, why, "is the port of the database too");
	return 0;
}

static bool keys_meet(const struct conf_member *a, const struct conf_member *b)
{
	return strcmp(a->public_key, b->public_key) == 0 ||
	       strcmp(a->public_key, b->next_public_key) == 0 ||
	       strcmp(a->next_public_key, b->public_key) == 0 ||
	       (a->next_public_key[0] != '\0' &&
		strcmp(a->next_public_key, b->next_public_key) == 0);
}

/* Two rows that would be the same node to somebody. */
static int check_distinct(const struct conf *conf, const struct conf_source *source, unsigned index,
			  struct err *why)
{
	const struct conf_member *member = &conf->members[index];

	for (unsigned i = 0; i < index; i++) {
		const struct conf_member *other = &conf->members[i];

		if (strcmp(member->name, other->name) == 0)
			return refuse(source, index, MEM_name, why, "is given to two members");
		if (member->id == other->id)
			return refuse(source, index, MEM_id, why, "is given to two members");
		if (keys_meet(member, other))
			return refuse(source, index, MEM_public_key, why,
				      "is given to two members; every node has a key of its own");
		if (!same_address(member->address, other->address))
			continue;
		if (member->peer_port == other->peer_port)
			return refuse(source, index, MEM_address, why,
				      "and peer_port are those of another member");
		if (member->kind == MEMBER_DATA && other->kind == MEMBER_DATA &&
		    member->postgres_port == other->postgres_port)
			return refuse(source, index, MEM_address, why,
				      "and postgres_port are those of another data member");
	}
	return 0;
}

static int check_counts(const struct conf *conf, const struct conf_source *source, struct err *why)
{
	unsigned data = 0;
	unsigned able = 0;

	for (unsigned i = 0; i < conf->member_count; i++) {
		if (conf->members[i].kind != MEMBER_DATA || !conf->members[i].founding)
			continue;
		data++;
		able += conf->members[i].priority > 0;
	}
	if (data == 0)
		return conf_refuse(source, source->members_line, "members", why,
				   "none of them is a founding data member");
	if (able == 0)
		return conf_refuse(
			source, source->members_line, "members", why,
			"every founding data member has priority 0 or nofailover, so none may be "
			"primary");
	if (conf->quorum_sync > data - 1)
		return conf_refuse(
			source, source->line[OPT_quorum_sync], OPTIONS[OPT_quorum_sync].key, why,
			"%" PRIu64 " standbys are asked for, but a primary among %u data "
			"members has at most %u",
			conf->quorum_sync, data, data - 1);
	if (data < 2 && conf->protection_choice == MODE_MAX_PROTECTION)
		return conf_refuse(source, source->line[OPT_protection_choice],
				   OPTIONS[OPT_protection_choice].key, why,
				   "max_protection needs a standby, but there is one data member");
	return 0;
}

int conf_check_members(struct conf *conf, const struct conf_source *source, struct err *why)
{
	int rc;

	if (conf->member_count == 0)
		return conf_refuse(source, source->members_line, "members", why,
				   "is required: the list of all nodes of the cluster");
	for (unsigned i = 0; i < conf->member_count; i++) {
		if ((rc = check_member(conf, source, i, why)) < 0)
			return rc;
		if (conf->members[i].nofailover)
			conf->members[i].priority = 0;
		if ((rc = check_distinct(conf, source, i, why)) < 0)
			return rc;
	}
	if ((rc = check_counts(conf, source, why)) < 0)
		return rc;
	for (unsigned i = 0; i < conf->member_count; i++) {
		if (strcmp(conf->members[i].name, conf->node_name) == 0) {
			conf->self = i;
			return 0;
		}
	}
	return conf_refuse(source, source->line[OPT_node_name], OPTIONS[OPT_node_name].key, why,
			   "%s is not among the members", conf->node_name);
}
