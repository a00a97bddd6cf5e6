#include "engine/pg_tail.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define OPEN_GONE UINT32_MAX /* the place of one that has ended */

/* Copy up to `size - 1` bytes of [text, text + length), printable ones only. */
static void copy_bounded(char *to, size_t size, const char *text, size_t length)
{
	size_t used = 0;

	for (size_t i = 0; i < length && used + 1 < size; i++)
		to[used++] = text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
	to[used] = '\0';
}

/* The decimal number at `text`; what follows goes to *rest. False: there is none, or too big. */
static bool take_u32(const char *text, uint32_t *value, const char **rest)
{
	uint64_t number = 0;
	size_t length = 0;

	for (; text[length] >= '0' && text[length] <= '9'; length++) {
		number = number * 10 + (uint64_t)(text[length] - '0');
		if (number > UINT32_MAX)
			return false;
	}
	*value = (uint32_t)number;
	*rest = text + length;
	return length > 0;
}

/* The LSN at `text`, which ends at a comma, a blank or the line's end. */
static bool take_lsn(const char *text, wal_lsn *lsn)
{
	char word[24];
	const size_t length = strcspn(text, ", ");

	if (length == 0 || length >= sizeof(word))
		return false;
	memcpy(word, text, length);
	word[length] = '\0';
	return text_parse_lsn(word, lsn);
}

static struct tail_manager *manager_of(struct pg_tail *tail, const char *name)
{
	for (unsigned i = 0; i < tail->manager_count; i++) {
		if (strcmp(tail->managers[i].name, name) == 0)
			return &tail->managers[i];
	}
	if (tail->manager_count == TAIL_MANAGERS_MAX)
		return NULL;
	copy_bounded(tail->managers[tail->manager_count].name, sizeof(tail->managers[0].name), name,
		     strlen(name));
	return &tail->managers[tail->manager_count++];
}

static uint32_t *open_find(struct pg_tail *tail, uint32_t xid, bool make)
{
	uint32_t at = xid * UINT32_C(2654435761) % TAIL_OPEN_MAX;
	uint32_t *gone = NULL;

	for (unsigned tries = 0; tries < 64; tries++, at = (at + 1) % TAIL_OPEN_MAX) {
		if (tail->open[at] == xid)
			return &tail->open[at];
		if (tail->open[at] == OPEN_GONE && gone == NULL)
			gone = &tail->open[at];
		if (tail->open[at] == 0)
			return make ? (gone != NULL ? gone : &tail->open[at]) : NULL;
	}
	if (make && gone == NULL)
		tail->open_cut = true;
	return make ? gone : NULL;
}

static void open_add(struct pg_tail *tail, uint32_t xid)
{
	uint32_t *place;

	if (xid == 0 || xid == OPEN_GONE)
		return;
	place = open_find(tail, xid, true);
	if (place != NULL)
		*place = xid;
}

static void open_remove(struct pg_tail *tail, uint32_t xid)
{
	uint32_t *place = xid == 0 ? NULL : open_find(tail, xid, false);

	if (place != NULL)
		*place = OPEN_GONE;
}

unsigned tail_open_count(const struct pg_tail *tail)
{
	unsigned count = 0;

	for (unsigned i = 0; i < TAIL_OPEN_MAX; i++)
		count += tail->open[i] != 0 && tail->open[i] != OPEN_GONE;
	return count;
}

/* "2026-11-21 11:04:28.034249 UTC; inval msgs: ...": up to the semicolon, if it is a time. */
static void take_time(const char *text, char when[TAIL_TIME_SIZE])
{
	const size_t length = strcspn(text, ";");

	when[0] = '\0';
	if (strspn(text, "0123456789-") == 10 && text[10] == ' ')
		copy_bounded(when, TAIL_TIME_SIZE, text, length);
}

/* "; subxacts: 731 732; ..." */
static void end_subtransactions(struct pg_tail *tail, const char *desc)
{
	const char *at = strstr(desc, "subxacts:");
	uint32_t xid;

	if (at == NULL)
		return;
	at += strlen("subxacts:");
	while (*at == ' ' && take_u32(at + 1, &xid, &at))
		open_remove(tail, xid);
}

/* The description of a record of the Transaction manager. */
static void take_end(struct pg_tail *tail, uint32_t xid, wal_lsn lsn, const char *desc)
{
	static const struct {
		const char *word;
		enum tail_end_kind kind;
		bool names_xid; /* "COMMIT_PREPARED 735: time" */
	} words[] = {
		{"COMMIT_PREPARED ", TAIL_COMMIT, true}, {"ABORT_PREPARED ", TAIL_ABORT, true},
		{"COMMIT ", TAIL_COMMIT, false},         {"ABORT ", TAIL_ABORT, false},
		{"PREPARE ", TAIL_PREPARE, false},
	};

	for (size_t i = 0; i < COUNT_OF(words); i++) {
		struct tail_end end = {.kind = words[i].kind, .xid = xid, .lsn = lsn};

		if (strncmp(desc, words[i].word, strlen(words[i].word)) != 0)
			continue;
		desc += strlen(words[i].word);
		if (words[i].names_xid) {
			const char *rest;

			if (take_u32(desc, &end.xid, &rest) && strncmp(rest, ": ", 2) == 0)
				desc = rest + 2;
		}
		take_time(desc, end.when);
		end_subtransactions(tail, desc);
		if (end.kind != TAIL_PREPARE)
			open_remove(tail, end.xid);
		tail->commits += end.kind == TAIL_COMMIT;
		tail->aborts += end.kind == TAIL_ABORT;
		tail->prepared += end.kind == TAIL_PREPARE;
		if (tail->end_count < TAIL_ENDS_MAX)
			tail->ends[tail->end_count++] = end;
		return;
	}
}

static void count_relation(struct pg_tail *tail, const struct tail_relation *seen)
{
	for (unsigned i = 0; i < tail->relation_count; i++) {
		struct tail_relation *known = &tail->relations[i];

		if (known->relation == seen->relation && known->database == seen->database &&
		    known->tablespace == seen->tablespace) {
			known->records++;
			return;
		}
	}
	if (tail->relation_count == TAIL_RELATIONS_MAX) {
		tail->relations_cut = true;
		return;
	}
	tail->relations[tail->relation_count] = *seen;
	tail->relations[tail->relation_count++].records = 1;
}

static bool take_relation(const char *text, struct tail_relation *relation, const char **rest)
{
	memset(relation, 0, sizeof(*relation));
	return take_u32(text, &relation->tablespace, rest) && **rest == '/' &&
	       take_u32(*rest + 1, &relation->database, rest) && **rest == '/' &&
	       take_u32(*rest + 1, &relation->relation, rest);
}

/* ", blkref #0: rel 1663/5/16384 blk 0 FPW, blkref #1: rel ...": one record counts once each. */
static void take_relations(struct pg_tail *tail, const char *desc)
{
	struct tail_relation before = {.relation = 0};
	struct tail_relation relation;
	const char *at = desc;

	while ((at = strstr(at, "blkref #")) != NULL) {
		const char *rel = strstr(at, ": rel ");

		at += strlen("blkref #");
		if (rel == NULL || !take_relation(rel + 6, &relation, &at))
			continue;
		if (relation.relation != before.relation || relation.database != before.database ||
		    relation.tablespace != before.tablespace)
			count_relation(tail, &relation);
		before = relation;
	}
}

/* What pg_waldump writes of a record, in columns that are padded with blanks. */
struct record {
	char manager[24];
	uint32_t size;
	uint32_t xid;
	wal_lsn lsn;
	const char *desc;
};

static bool parse_record(const char *line, struct record *record)
{
	const char *at = line, *rest;
	size_t length;

	if (strncmp(at, "rmgr: ", 6) != 0)
		return false;
	at += 6;
	length = strcspn(at, " ");
	copy_bounded(record->manager, sizeof(record->manager), at, length);
	at = strstr(at, "len (rec/tot): ");
	if (at == NULL || (at = strchr(at + 15, '/')) == NULL)
		return false;
	at++;
	at += strspn(at, " ");
	if (!take_u32(at, &record->size, &rest) || strncmp(rest, ", tx:", 5) != 0)
		return false;
	at = rest + 5;
	at += strspn(at, " ");
	if (!take_u32(at, &record->xid, &rest) || strncmp(rest, ", lsn: ", 7) != 0 ||
	    !take_lsn(rest + 7, &record->lsn))
		return false;
	at = strstr(rest, ", desc: ");
	record->desc = at != NULL ? at + 8 : "";
	return length > 0;
}

void tail_line(struct pg_tail *tail, struct tail_part *part, const char *line)
{
	struct tail_manager *manager;
	struct record record;

	if (!parse_record(line, &record)) {
		/* "pg_waldump: error: ...", or "first record is after ...". */
		if (strncmp(line, "rmgr: ", 6) == 0)
			tail->unreadable++;
		else
			copy_bounded(part->last, sizeof(part->last), line, strlen(line));
		return;
	}
	if (record.lsn < part->begin || (part->limit != 0 && record.lsn >= part->limit))
		return;
	tail->records++;
	tail->bytes += record.size;
	part->size += record.size;
	/* Records are aligned to 8 bytes; page headers in between make it a little less than true.
	 */
	part->end = (record.lsn + record.size + 7) & ~UINT64_C(7);
	manager = manager_of(tail, record.manager);
	if (manager != NULL) {
		manager->records++;
		manager->bytes += record.size;
	}
	open_add(tail, record.xid);
	take_relations(tail, record.desc);
	if (strcmp(record.manager, "Transaction") == 0)
		take_end(tail, record.xid, record.lsn, record.desc);
}

bool tail_read_ended(const struct tail_part *part, const struct process_end *end)
{
	static const char *const words[] = {
		"error in WAL record at", /* what is there is no record, or a damaged one */
		"could not find a valid record after", /* none at all */
		"could not find file",                 /* the WAL ends with a segment */
		"WAL segment size must be",            /* one that was never written to */
	};

	if (end->by_signal)
		return false;
	for (size_t i = 0; i < COUNT_OF(words) && end->code != 0; i++) {
		if (strstr(part->last, words[i]) != NULL)
			return true;
	}
	return end->code == 0;
}

void tail_begin_again(struct pg_tail *tail)
{
	const struct pg_fork fork = tail->fork;
	const unsigned count = tail->part_count;
	struct tail_part parts[TAIL_PARTS_MAX];

	for (unsigned i = 0; i < count; i++)
		parts[i] = (struct tail_part){.timeline = tail->parts[i].timeline,
					      .begin = tail->parts[i].begin,
					      .limit = tail->parts[i].limit};
	memset(tail, 0, sizeof(*tail));
	tail->fork = fork;
	tail->part_count = count;
	memcpy(tail->parts, parts, count * sizeof(parts[0]));
}

bool tail_is_unread(const struct pg_tail *tail)
{
	for (unsigned i = 0; i < tail->part_count; i++) {
		if (tail->parts[i].unread)
			return true;
	}
	return false;
}

bool tail_has_data(const struct pg_tail *tail)
{
	return tail_is_unread(tail) || tail->commits + tail->aborts + tail->prepared > 0 ||
	       tail->relation_count > 0 || tail_open_count(tail) > 0;
}

void tail_name(struct pg_tail *tail, const char *line)
{
	struct tail_relation named;
	const char *rest;

	if (!take_relation(line, &named, &rest) || *rest != ' ')
		return;
	for (unsigned i = 0; i < tail->relation_count; i++) {
		struct tail_relation *known = &tail->relations[i];

		if (known->relation == named.relation && known->database == named.database &&
		    known->tablespace == named.tablespace)
			copy_bounded(known->name, sizeof(known->name), rest + 1, strlen(rest + 1));
	}
}
