/*
 * Files that PostgreSQL, or somebody with its rights, wrote: the first byte chooses which. Timeline
 * histories, postmaster.pid, the agent's own settings, postgresql.auto.conf, and names of files.
 */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "engine/pg_files.h"
#include "engine/pg_history.h"
#include "engine/pg_parse.h"
#include "engine/pg_rejoin.h"
#include "fuzz.h"
#include "text.h"

static void take_history(const uint8_t *bytes, size_t size)
{
	struct wal_position position;
	struct err why = {0};

	memset(&position, 0, sizeof(position));
	if (pg_parse_history((const char *)bytes, size, &position, &why) < 0) {
		CHECK(why.text[0] != '\0');
		return;
	}
	CHECK(position.branch_count <= WAL_HISTORY_MAX);
	for (unsigned i = 1; i < position.branch_count; i++)
		CHECK(position.branches[i - 1].timeline < position.branches[i].timeline);
}

static void take_pidfile(const char *text)
{
	struct pg_pidfile pidfile;
	struct err why = {0};

	if (pg_parse_pidfile(text, &pidfile, &why) < 0)
		CHECK(why.text[0] != '\0');
	else
		CHECK(pidfile.pid > 0 && pidfile.status <= PIDFILE_READY);
}

static void take_settings(const char *text)
{
	char rule[256];
	uint64_t written = 0;
	struct sync_rule parsed;

	if (pg_files_read_rule(text, rule, &written) && strlen(rule) < PG_RULE_SIZE)
		(void)!pg_parse_rule(rule, &parsed, NULL);
	(void)pg_files_read_served(text);
	(void)pg_files_read_promise(text);
}

static void take_auto(char *text)
{
	const size_t before = strlen(text);

	if (!pg_files_strip_auto(text))
		CHECK(strlen(text) == before);
	/* Once is enough. */
	CHECK(!pg_files_strip_auto(text));
}

static void take_name(char *text)
{
	uint32_t timeline, high, low;
	struct wal_branch needed;
	char *other = strchr(text, '\n');

	if (other != NULL)
		*other++ = '\0';
	(void)wal_segment_name(text, &timeline, &high, &low);
	(void)pg_history_number(text);
	if (whole_parse(text, &needed))
		CHECK(needed.timeline != 0);
	(void)pg_parse_member(text);
	if (other != NULL)
		(void)tail_set_contains(text, other);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	char *text;

	if (size < 1)
		return 0;
	text = fuzz_text(bytes + 1, size - 1);
	switch (bytes[0] % 5) {
	case 0:
		take_history((uint8_t *)text, size - 1);
		break;
	case 1:
		take_pidfile(text);
		break;
	case 2:
		take_settings(text);
		break;
	case 3:
		take_auto(text);
		break;
	default:
		take_name(text);
		break;
	}
	free(text);
	return 0;
}
