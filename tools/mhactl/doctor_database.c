/* What the database says of itself, and what of it takes away what high availability promises. */
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "base/text.h"
#include "mhactl/doctor.h"
#include "view/format.h"

#define AREA       "database"
#define SLOT_BYTES (UINT64_C(1) << 30)

const char *doctor_value(const struct doctor_facts *facts, const char *name)
{
	for (unsigned i = 0; i < facts->pair_count; i++) {
		if (strcmp(facts->pairs[i].name, name) == 0)
			return facts->pairs[i].value;
	}
	return NULL;
}

/* One of `values`, which end with NULL. */
static bool is_one_of(const char *value, const char *const values[])
{
	for (; *values != NULL; values++) {
		if (strcmp(*values, value) == 0)
			return true;
	}
	return false;
}

/* A setting that has one of `bad`, or none of `good`. */
static const struct setting {
	const char *name;
	const char *good[4]; /* empty: everything but `bad` */
	const char *bad[4];
	enum finding_level level;
	const char *text;
	const char *remedy;
} SETTINGS[] = {
	{"fsync",
	 {"on"},
	 {NULL},
	 FINDING_ERROR,
	 "acknowledged commits may be gone, and files torn, when the host crashes",
	 "fsync = on"},
	{"full_page_writes",
	 {"on"},
	 {NULL},
	 FINDING_ERROR,
	 "a crash may leave torn pages, and nothing can be rewound or cloned from here",
	 "full_page_writes = on"},
	{"synchronous_commit",
	 {"on", "remote_apply"},
	 {NULL},
	 FINDING_ERROR,
	 "commits are acknowledged before a standby has flushed them: a failover may lose them",
	 "synchronous_commit = on, in postgresql.parameters or with ALTER SYSTEM RESET"},
	{"wal_level",
	 {"replica", "logical"},
	 {NULL},
	 FINDING_ERROR,
	 "no standby can follow",
	 "the agent sets it; find who overrides it (ALTER SYSTEM, the command line)"},
	{"hot_standby",
	 {"on"},
	 {NULL},
	 FINDING_ERROR,
	 "a standby cannot be asked where it stands, so it is never promoted",
	 "the agent sets it; find who overrides it"},
	{"mha4rdb.epoch",
	 {NULL},
	 {""},
	 FINDING_ERROR,
	 "the agent's configuration file is not the one that this server reads",
	 "find who starts it with another config_file, or changed the include"},
	{"max_wal_senders",
	 {NULL},
	 {"0", "1", "2"},
	 FINDING_ERROR,
	 "too few for the standbys and a clone",
	 "max_wal_senders = 10 or more"},
	{"wal_keep_size",
	 {NULL},
	 {"0"},
	 FINDING_WARNING,
	 "a standby that was away for a moment may find its WAL gone, and is cloned",
	 "wal_keep_size of some minutes' WAL"},
	{"archive_failing",
	 {NULL},
	 {"on"},
	 FINDING_WARNING,
	 "the archive takes no WAL: it piles up in pg_wal until the disk is full",
	 "see pg_stat_archiver and the server's log"},
};

static void judge_setting(const struct setting *row, const char *value, struct findings *found)
{
	bool bad = is_one_of(value, row->bad);

	if (row->good[0] != NULL && !is_one_of(value, row->good))
		bad = true;
	if (bad)
		finding_add(found, row->level, AREA, row->name, row->remedy, "%s is %s: %s",
			    row->name, value[0] != '\0' ? value : "empty", row->text);
	else
		finding_add(found, FINDING_OK, AREA, row->name, NULL, "%s is %s", row->name, value);
}

/* pg_rewind needs one of the two. */
static void judge_rewind(const struct doctor_facts *facts, struct findings *found)
{
	const char *sums = doctor_value(facts, "data_checksums");
	const char *hints = doctor_value(facts, "wal_log_hints");

	if (sums == NULL || hints == NULL)
		return;
	if (strcmp(sums, "on") != 0 && strcmp(hints, "on") != 0)
		finding_add(found, FINDING_ERROR, AREA, "rewind",
			    "wal_log_hints = on and a restart; or checksums (pg_checksums, while "
			    "the database is down)",
			    "neither checksums nor wal_log_hints: an old primary cannot be rewound "
			    "and is always cloned");
	else if (strcmp(sums, "on") != 0)
		finding_add(found, FINDING_WARNING, AREA, "checksums",
			    "pg_checksums --enable on each standby in maintenance, then switch "
			    "over",
			    "without checksums a page that a disk has damaged is not noticed");
	else
		finding_add(found, FINDING_OK, AREA, "rewind", NULL,
			    "checksums are on: an old primary can be rewound");
}

/* "NAME active BYTES": pg_replication_slots. */
static void judge_slot(const char *value, struct findings *found)
{
	char name[128], text[FORMAT_SIZE];
	uint64_t bytes;
	const char *blank = strrchr(value, ' ');
	const char *size;

	if (blank == NULL || !text_parse_u64(blank + 1, &bytes))
		return;
	if (!text_copy(name, sizeof(name), value))
		return;
	name[strcspn(name, " ")] = '\0';
	size = format_bytes((int64_t)bytes, text);
	if (strstr(value, " inactive ") != NULL && bytes > SLOT_BYTES)
		finding_add(found, FINDING_ERROR, AREA, "slot",
			    "pg_drop_replication_slot() if its consumer is gone, or bring that "
			    "back; max_slot_wal_keep_size bounds it",
			    "slot %s has no consumer and keeps %s of WAL", name, size);
	else if (strstr(value, " inactive ") != NULL)
		finding_add(found, FINDING_WARNING, AREA, "slot",
			    "pg_drop_replication_slot() if its consumer is gone",
			    "slot %s has no consumer, keeps %s of WAL, and does not survive a "
			    "change of primary",
			    name, size);
	else
		finding_add(found, FINDING_WARNING, AREA, "slot",
			    "its consumer must be able to begin anew",
			    "slot %s is in use; mha4rdb uses none and carries none to the next "
			    "primary",
			    name);
}

static void judge_rows(const struct doctor_facts *facts, struct findings *found)
{
	for (unsigned i = 0; i < facts->pair_count; i++) {
		const struct doctor_pair *pair = &facts->pairs[i];

		if (strcmp(pair->name, "slot") == 0)
			judge_slot(pair->value, found);
		else if (strcmp(pair->name, "override") == 0)
			finding_add(found, FINDING_ERROR, AREA, "override",
				    "ALTER ROLE or ALTER DATABASE ... RESET synchronous_commit, or "
				    "know that a failover may lose what these sessions commit",
				    "%s: such sessions do not wait for a standby", pair->value);
		else if (strcmp(pair->name, "foreign_standby") == 0)
			finding_add(found, FINDING_WARNING, AREA, "foreign_standby",
				    "nothing, if it is meant so: it is not counted on",
				    "a receiver that is no member: %s", pair->value);
	}
}

void doctor_judge_database(const struct doctor_facts *facts, struct findings *found)
{
	if (facts->conf == NULL || conf_self(facts->conf)->kind != MEMBER_DATA)
		return;
	if (!facts->asked) {
		if (facts->database_why.code != 0)
			finding_add(found, FINDING_ERROR, AREA, "answer",
				    "see `mhactl list` and the server's log",
				    "the database does not answer: %s", facts->database_why.text);
		return;
	}
	finding_add(found, FINDING_OK, AREA, "answer", NULL, "the database answers");
	for (size_t i = 0; i < COUNT_OF(SETTINGS); i++) {
		const char *value = doctor_value(facts, SETTINGS[i].name);

		if (value != NULL)
			judge_setting(&SETTINGS[i], value, found);
	}
	judge_rewind(facts, found);
	judge_rows(facts, found);
}
