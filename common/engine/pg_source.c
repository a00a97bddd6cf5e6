#include "engine/pg_source.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "engine/pg_parse.h"

/*
 * In one session that may also be asked replication commands. The functions are those that
 * pg_rewind calls; the list of segments can be read only with the right to call the first.
 */
const char PG_SOURCE_QUESTIONS[] =
	"\\set ON_ERROR_STOP on\n"
	"SELECT pg_is_in_recovery() AS standby, has_function_privilege("
	"'pg_catalog.pg_ls_dir(text, boolean, boolean)', 'execute') AS may_list \\gset\n"
	"SELECT 'mha standby ' || pg_is_in_recovery()::int;\n"
	"SELECT 'mha system ' || system_identifier FROM pg_control_system();\n"
	"SELECT 'mha checkpoint ' || timeline_id FROM pg_control_checkpoint();\n"
	"SELECT 'mha checksums ' || data_page_checksum_version FROM pg_control_init();\n"
	"SELECT 'mha hints ' || (current_setting('wal_log_hints') = 'on')::int;\n"
	"SELECT 'mha full_pages ' || (current_setting('full_page_writes') = 'on')::int;\n"
	"SELECT 'mha segment_size ' || pg_size_bytes(current_setting('wal_segment_size'));\n"
	"\\if :standby\n"
	"SELECT 'mha flushed ' || greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn());\n"
	"SELECT timeline_id AS timeline FROM pg_control_checkpoint() \\gset\n"
	"\\else\n"
	"SELECT 'mha flushed ' || pg_current_wal_flush_lsn();\n"
	"SELECT ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int"
	" AS timeline \\gset\n"
	"\\endif\n"
	"\\echo mha timeline :timeline\n"
	"SELECT 'mha tablespaces ' || count(*) FROM pg_tablespace"
	" WHERE pg_tablespace_location(oid) LIKE '/%';\n"
	"SELECT 'mha database ' || oid FROM pg_database WHERE datname = current_database();\n"
	"SELECT 'mha denied ' || f FROM unnest(ARRAY["
	"'pg_ls_dir(text, boolean, boolean)', 'pg_stat_file(text, boolean)',"
	" 'pg_read_binary_file(text)', 'pg_read_binary_file(text, bigint, bigint, boolean)']) f"
	" WHERE NOT has_function_privilege('pg_catalog.' || f, 'execute');\n"
	"\\if :may_list\n"
	"SELECT 'mha oldest ' || min(substr(f, 9)) FROM pg_ls_dir('pg_wal', true, false) f"
	" WHERE f ~ '^[0-9A-F]{24}$';\n"
	"\\endif\n"
	"SELECT :timeline > 1 AS has_history \\gset\n"
	"\\if :has_history\n"
	"\\echo mha history\n"
	"TIMELINE_HISTORY :timeline;\n"
	"\\endif\n"
	"\\echo mha end\n";

void pg_source_init(struct pg_source *source)
{
	memset(source, 0, sizeof(*source));
}

/* One line of the file; the first one follows its name and a bar. */
static void keep_history(struct pg_source *source, const char *line)
{
	const char *bar = strchr(line, '|');

	if (source->history_lines == 0 && bar != NULL && strstr(line, ".history|") == bar - 8)
		line = bar + 1;
	source->history_lines++;
	if (source->history_trouble.code == 0)
		(void)!pg_parse_history_line(line, strlen(line), source->history_lines,
					     &source->position, &source->history_trouble);
}

/* "0000000100000003": the upper and the lower half of a segment's number. */
static bool parse_segment(const char *text, uint64_t segment_size, uint64_t *lsn)
{
	uint64_t half[2] = {0, 0};

	if (strlen(text) != 16 || segment_size == 0)
		return false;
	for (unsigned i = 0; i < 16; i++) {
		const char *digit = strchr("0123456789ABCDEF", text[i]);

		if (digit == NULL)
			return false;
		half[i / 8] = half[i / 8] << 4 | (uint64_t)(digit - "0123456789ABCDEF");
	}
	*lsn = (half[0] << 32) + half[1] * segment_size;
	return true;
}

static void take_value(struct pg_source *source, const char *key, const char *value)
{
	uint64_t number = 0;
	const bool is_number = text_parse_u64(value, &number);

	if (strcmp(key, "denied") == 0 && source->denied[0] == '\0')
		snprintf(source->denied, sizeof(source->denied), "%s", value);
	else if (strcmp(key, "flushed") == 0)
		(void)!text_parse_lsn(value, &source->position.flushed);
	else if (strcmp(key, "oldest") == 0)
		(void)!parse_segment(value, source->segment_size, &source->oldest_segment);
	else if (!is_number)
		return;
	else if (strcmp(key, "standby") == 0)
		source->standby = number != 0;
	else if (strcmp(key, "system") == 0)
		source->system_id = number;
	else if (strcmp(key, "checkpoint") == 0 && number <= UINT32_MAX)
		source->checkpoint_timeline = (uint32_t)number;
	else if (strcmp(key, "timeline") == 0 && number <= INT32_MAX)
		source->position.timeline = (uint32_t)number;
	else if (strcmp(key, "checksums") == 0)
		source->checksums = number != 0;
	else if (strcmp(key, "hints") == 0)
		source->hints = number != 0;
	else if (strcmp(key, "full_pages") == 0)
		source->full_pages = number != 0;
	else if (strcmp(key, "segment_size") == 0)
		source->segment_size = number;
	else if (strcmp(key, "tablespaces") == 0)
		source->tablespaces = number;
	else if (strcmp(key, "database") == 0)
		source->database = number;
}

void pg_source_line(struct pg_source *source, const char *line)
{
	static const char head[] = "mha ";
	char key[24];
	size_t length;

	if (source->ended)
		return;
	if (strcmp(line, "mha end") == 0) {
		source->ended = true;
		source->in_history = false;
		return;
	}
	if (source->in_history) {
		keep_history(source, line);
		return;
	}
	if (strcmp(line, "mha history") == 0) {
		source->in_history = true;
		return;
	}
	if (strncmp(line, head, strlen(head)) != 0)
		return;
	line += strlen(head);
	length = strcspn(line, " ");
	if (line[length] != ' ' || length >= sizeof(key))
		return;
	memcpy(key, line, length);
	key[length] = '\0';
	take_value(source, key, line + length + 1);
}

static bool is_power_of_two(uint64_t number)
{
	return number != 0 && (number & (number - 1)) == 0;
}

int pg_source_end(struct pg_source *source, struct err *why)
{
	if (!source->ended)
		return err_set(why, ERR_IO, "it did not answer every question");
	if (source->system_id == 0 || source->position.timeline == 0 ||
	    source->position.flushed == 0 || !is_power_of_two(source->segment_size) ||
	    source->segment_size < (1 << 20) || source->segment_size > (1 << 30))
		return err_set(why, ERR_CORRUPT, "its answers make no sense");
	if (source->history_trouble.code < 0)
		return err_set(why, source->history_trouble.code, "%s",
			       source->history_trouble.text);
	if (source->position.branch_count > 0 &&
	    source->position.branches[source->position.branch_count - 1].timeline >=
		    source->position.timeline)
		return err_set(why, ERR_CORRUPT, "its timeline history is of another timeline");
	return 0;
}

int pg_source_check_rewind(const struct pg_source *source, const char *role, struct err *why)
{
	if (source->standby)
		return err_set(why, ERR_BUSY, "the source is in recovery: it is no primary");
	if (source->denied[0] != '\0')
		return err_set(why, ERR_REFUSED,
			       "role %s may not execute %s on the source; GRANT EXECUTE ON "
			       "FUNCTION pg_catalog.%s TO %s mends it",
			       role, source->denied, source->denied, role);
	if (!source->checksums && !source->hints)
		return err_set(why, ERR_REFUSED,
			       "the source has neither data checksums nor wal_log_hints: changes "
			       "of hint bits are not in its WAL");
	if (!source->full_pages)
		return err_set(why, ERR_REFUSED, "full_page_writes is off on the source");
	if (source->checkpoint_timeline != source->position.timeline)
		return err_set(why, ERR_BUSY,
			       "the source has not written a checkpoint on its timeline %" PRIu32
			       " yet (its last one is of timeline %" PRIu32 ")",
			       source->position.timeline, source->checkpoint_timeline);
	return 0;
}

int pg_source_check_clone(const struct pg_source *source, struct err *why)
{
	if (source->tablespaces > 0)
		return err_set(why, ERR_REFUSED,
			       "the source has %" PRIu64 " tablespaces outside of its data "
			       "directory: their files cannot be built beside the old ones, so a "
			       "clone must be made by hand (docs/rejoin.md says how)",
			       source->tablespaces);
	return 0;
}

/* Entry `i` of a lineage: where it begins (0: not known) and ends (UINT64_MAX: it has not). */
static struct wal_branch entry_of(const struct wal_position *position, unsigned i, wal_lsn *begin)
{
	struct wal_branch entry = {.timeline = position->timeline, .end = UINT64_MAX};

	*begin = i > 0 ? position->branches[i - 1].end : 0;
	if (i < position->branch_count)
		entry = position->branches[i];
	return entry;
}

struct pg_fork pg_fork_find(const struct wal_position *ours, const struct wal_position *theirs)
{
	struct pg_fork fork = {.timeline = 0, .lsn = 0};

	for (unsigned i = 0; i <= ours->branch_count; i++) {
		wal_lsn begin;
		const struct wal_branch entry = entry_of(ours, i, &begin);
		bool shared = false;

		for (unsigned j = 0; j <= theirs->branch_count && !shared; j++) {
			wal_lsn other_begin;
			const struct wal_branch other = entry_of(theirs, j, &other_begin);

			/* The oldest entry that is kept may have lost its predecessor. */
			if (other.timeline != entry.timeline ||
			    (begin != other_begin && begin != 0 && other_begin != 0))
				continue;
			shared = true;
			fork.timeline = entry.timeline;
			fork.lsn = entry.end < other.end ? entry.end : other.end;
		}
		if (!shared && fork.timeline != 0)
			break;
		if (shared && fork.lsn != entry.end)
			break;
	}
	return fork;
}
