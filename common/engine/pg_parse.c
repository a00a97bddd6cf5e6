#include "engine/pg_parse.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/text.h"

node_id pg_parse_member(const char *application_name)
{
	const size_t prefix = strlen(PG_MEMBER_PREFIX);
	uint64_t id;

	if (strncmp(application_name, PG_MEMBER_PREFIX, prefix) != 0 ||
	    application_name[prefix] == '0' || !text_parse_u64(application_name + prefix, &id) ||
	    id > NODES_MAX)
		return NODE_NONE;
	return (node_id)id;
}

/* "a, b, c)" -> members. The list of nobody is the one without members. */
static int parse_members(const char *text, node_set *members, struct err *why)
{
	char name[32];
	bool nobody = false;

	*members = 0;
	for (;;) {
		const size_t length = strcspn(text, ",)");
		node_id id;

		if (length == 0 || length >= sizeof(name) || text[length] == '\0')
			return err_set(why, ERR_INVALID, "the list of names is not ours");
		memcpy(name, text, length);
		name[length] = '\0';
		text += length;
		id = pg_parse_member(name);
		if (strcmp(name, PG_NOBODY) == 0)
			nobody = true;
		else if (id == NODE_NONE || node_in(*members, id))
			return err_set(why, ERR_INVALID, "\"%s\" is no member, or twice", name);
		else
			*members |= node_bit(id);
		if (strcmp(text, ")") == 0)
			break;
		if (strncmp(text, ", ", 2) != 0)
			return err_set(why, ERR_INVALID, "the list of names is not ours");
		text += 2;
	}
	if (nobody && *members != 0)
		return err_set(why, ERR_INVALID, "members beside nobody");
	return 0;
}

int pg_parse_rule(const char *text, struct sync_rule *rule, struct err *why)
{
	struct sync_rule parsed = {.members = 0, .need = 0};
	char count[4];
	uint64_t need;
	size_t length;
	int rc;

	*rule = parsed;
	if (text[0] == '\0')
		return 0;
	if (strncmp(text, "ANY ", 4) != 0)
		return err_set(why, ERR_INVALID, "\"%.60s\": not a rule of this agent", text);
	length = strcspn(text + 4, " ");
	if (length == 0 || length >= sizeof(count) || strncmp(text + 4 + length, " (", 2) != 0)
		return err_set(why, ERR_INVALID, "\"%.60s\": not a rule of this agent", text);
	memcpy(count, text + 4, length);
	count[length] = '\0';
	if (!text_parse_u64(count, &need) || need == 0 || need > NODES_MAX)
		return err_set(why, ERR_INVALID, "\"%.60s\": impossible count", text);
	rc = parse_members(text + 4 + length + 2, &parsed.members, why);
	if (rc < 0)
		return err_in(why, rc, "\"%.60s\"", text);
	parsed.need = (uint8_t)need;
	*rule = parsed;
	return 0;
}

void pg_format_rule(struct sync_rule rule, char text[PG_RULE_SIZE])
{
	int used;

	text[0] = '\0';
	if (rule.need == 0)
		return;
	if (rule.members == 0) {
		used = snprintf(text, PG_RULE_SIZE, "ANY %u (%s)", rule.need, PG_NOBODY);
		CHECK(used > 0 && used < PG_RULE_SIZE);
		return;
	}
	used = snprintf(text, PG_RULE_SIZE, "ANY %u (", rule.need);
	for (node_id id = 1; id <= NODES_MAX; id++) {
		if (!node_in(rule.members, id))
			continue;
		CHECK(used > 0 && used < PG_RULE_SIZE);
		used += snprintf(text + used, PG_RULE_SIZE - (size_t)used, "%s%s%u",
				 text[used - 1] == '(' ? "" : ", ", PG_MEMBER_PREFIX, id);
	}
	CHECK(used > 0 && used + 1 < PG_RULE_SIZE);
	memcpy(text + used, ")", 2);
}

/* "3 <white> 0/5000028 <white> reason" */
static bool parse_branch(char *line, struct wal_branch *branch)
{
	char *rest = NULL;
	const char *number = strtok_r(line, " \t", &rest);
	const char *end = strtok_r(NULL, " \t", &rest);
	uint64_t timeline, lsn;

	if (number == NULL || end == NULL || !text_parse_u64(number, &timeline) ||
	    !text_parse_lsn(end, &lsn) || timeline == 0 || timeline > UINT32_MAX)
		return false;
	branch->timeline = (uint32_t)timeline;
	branch->end = lsn;
	return true;
}

static void branch_append(struct wal_position *position, struct wal_branch branch)
{
	if (position->branch_count == WAL_HISTORY_MAX) {
		memmove(position->branches, position->branches + 1,
			(WAL_HISTORY_MAX - 1) * sizeof(position->branches[0]));
		position->branch_count--;
	}
	position->branches[position->branch_count++] = branch;
}

int pg_parse_history_line(const char *text, size_t length, unsigned number,
			  struct wal_position *position, struct err *why)
{
	const uint32_t newest = position->branch_count == 0
					? 0
					: position->branches[position->branch_count - 1].timeline;
	struct wal_branch branch;
	char line[128];
	size_t skip = 0;
	size_t kept;

	/* The reason at the end of a line may be long; what matters stands before it. */
	while (skip < length && (text[skip] == ' ' || text[skip] == '\t'))
		skip++;
	kept = length - skip < sizeof(line) ? length - skip : sizeof(line) - 1;
	memcpy(line, text + skip, kept);
	line[kept] = '\0';
	if (line[0] == '\0' || line[0] == '#')
		return 0;
	if (!parse_branch(line, &branch) || branch.timeline <= newest)
		return err_set(why, ERR_CORRUPT, "timeline history, line %u", number);
	branch_append(position, branch);
	return 0;
}

int pg_parse_history(const char *text, size_t size, struct wal_position *position, struct err *why)
{
	const char *end = text + size;

	position->branch_count = 0;
	for (unsigned number = 1; text < end; number++) {
		const char *stop = memchr(text, '\n', (size_t)(end - text));
		const size_t length = (size_t)((stop != NULL ? stop : end) - text);
		const int rc = pg_parse_history_line(text, length, number, position, why);

		if (rc < 0)
			return rc;
		text += length + 1;
	}
	return 0;
}

node_id pg_find_member(const struct conf *conf, const char *host, const char *port)
{
	for (unsigned i = 0; i < conf->member_count; i++) {
		const struct conf_member *member = &conf->members[i];
		char number[24];

		snprintf(number, sizeof(number), "%" PRIu64, member->postgres_port);
		if (member->kind == MEMBER_DATA && strcmp(member->address, host) == 0 &&
		    strcmp(number, port) == 0)
			return (node_id)member->id;
	}
	return NODE_NONE;
}

/* The n-th line (from 1) without white space at its end. */
static bool copy_line(const char *text, unsigned n, char *line, size_t size)
{
	size_t length;

	for (; n > 1; n--) {
		text = strchr(text, '\n');
		if (text == NULL)
			return false;
		text++;
	}
	length = strcspn(text, "\n");
	if (text[length] != '\n' || length >= size)
		return false;
	memcpy(line, text, length);
	while (length > 0 && line[length - 1] == ' ')
		length--;
	line[length] = '\0';
	return length > 0;
}

int pg_parse_pidfile(const char *text, struct pg_pidfile *pidfile, struct err *why)
{
	static const struct {
		const char *word;
		enum pg_pidfile_status status;
	} words[] = {
		{"starting", PIDFILE_STARTING},
		{"stopping", PIDFILE_STOPPING},
		{"standby", PIDFILE_STANDBY},
		{"ready", PIDFILE_READY},
	};
	char line[32];
	const char *digits = line;
	uint64_t pid;

	if (!copy_line(text, 1, line, sizeof(line)))
		return err_set(why, ERR_CORRUPT, "postmaster.pid has no first line");
	pidfile->postmaster = line[0] != '-';
	if (!pidfile->postmaster)
		digits++;
	if (!text_parse_u64(digits, &pid) || pid == 0 || pid > INT32_MAX)
		return err_set(why, ERR_CORRUPT, "postmaster.pid: \"%s\" is no process id", line);
	pidfile->pid = (pid_t)pid;
	pidfile->status = PIDFILE_STARTING;
	/* The status is the last line and appears a moment after the others. */
	if (!copy_line(text, 8, line, sizeof(line)))
		return 0;
	for (size_t i = 0; i < COUNT_OF(words); i++) {
		if (strcmp(line, words[i].word) == 0)
			pidfile->status = words[i].status;
	}
	return 0;
}

/* Up to 15 digits followed by `end`. Returns what follows, or NULL. */
static const char *take_number(const char *text, const char *end, uint64_t *value)
{
	char digits[16];
	const size_t length = strspn(text, "0123456789");

	if (length == 0 || length >= sizeof(digits) ||
	    strncmp(text + length, end, strlen(end)) != 0)
		return NULL;
	memcpy(digits, text, length);
	digits[length] = '\0';
	if (!text_parse_u64(digits, value))
		return NULL;
	return text + length + strlen(end);
}

bool pg_parse_progress(const char *line, uint64_t *done, uint64_t *total)
{
	line += strspn(line, " ");
	line = take_number(line, "/", done);
	if (line == NULL || take_number(line, " kB", total) == NULL)
		return false;
	*done *= 1024;
	*total *= 1024;
	return true;
}
