/* Asking the source, and finding out which WAL only this node has. */
#include "engine/pg_rejoin.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "base/text.h"
#include "engine/pg_files.h"
#include "engine/pg_history.h"
#include "engine/pg_parse.h"

/* A report about more records than these is not read by anybody; the WAL itself is kept whole. */
#define TAIL_RECORDS_MAX 2000000
#define ASK_PATIENCE_MS  20000
/* A line of some fifty bytes for each promotion that there ever was. */
#define HISTORY_BYTES_MAX ((size_t)4 << 20)

int pg_control_file_read(const char *data_dir, struct pg_control_file *control, struct err *why)
{
	/*
	 * struct ControlFileData, the same from version 12 on: identifier, two version numbers,
	 * state, time; then the last checkpoint: its record, its redo, its timeline. 96 bytes after
	 * the redo: where recovery must end at least, and its timeline.
	 */
	enum {
		STATE_AT = 16,
		CHECKPOINT_AT = 32,
		REDO_AT = 40,
		TIMELINE_AT = 48,
		WHOLE_AT = 136,
		WHOLE_TIMELINE_AT = 144,
		SIZE = 148
	};
	char path[FILES_PATH_SIZE + 32], image[SIZE];
	ssize_t got;
	int fd;

	memset(control, 0, sizeof(*control));
	snprintf(path, sizeof(path), "%s/global/pg_control", data_dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_set_errno(why, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, errno,
				     "open %s", path);
	got = pread(fd, image, sizeof(image), 0);
	close(fd);
	if (got != SIZE)
		return err_set(why, ERR_IO, "%s is too short", path);
	memcpy(&control->system_id, image, sizeof(control->system_id));
	memcpy(&control->state, image + STATE_AT, sizeof(control->state));
	memcpy(&control->checkpoint, image + CHECKPOINT_AT, sizeof(control->checkpoint));
	memcpy(&control->redo, image + REDO_AT, sizeof(control->redo));
	memcpy(&control->timeline, image + TIMELINE_AT, sizeof(control->timeline));
	memcpy(&control->whole_from.end, image + WHOLE_AT, sizeof(control->whole_from.end));
	memcpy(&control->whole_from.timeline, image + WHOLE_TIMELINE_AT,
	       sizeof(control->whole_from.timeline));
	return 0;
}

/* The source */

static bool on_answer(struct pg_job *job, const char *line)
{
	pg_source_line(&job->rejoin->source, line);
	return strncmp(line, "psql:", 5) != 0;
}

static int run_questions(struct pg_job *job, const char *questions, job_line take, struct err *why)
{
	const struct engine_control *control = job->control;
	char program[FILES_PATH_SIZE], conninfo[PG_CONNINFO_SIZE + 96];
	const char *argv[] = {control_program(control, "psql", program),
			      "-X",
			      "-A",
			      "-t",
			      "-q",
			      "-w",
			      "-F",
			      "|",
			      "-d",
			      conninfo,
			      "-f",
			      "-",
			      NULL};
	char base[PG_CONNINFO_SIZE];
	int rc;

	rc = pg_files_conninfo(base, control->conf, &control->paths, job->order.upstream, "_rejoin",
			       control->conf->pg_dbname, why);
	if (rc < 0)
		return rc;
	snprintf(conninfo, sizeof(conninfo),
		 "%s replication=database options='-c statement_timeout=10s'", base);
	if ((rc = job_run(job, argv, NULL, questions, why)) < 0)
		return rc;
	job->take_line = take;
	job->patience_ms = ASK_PATIENCE_MS;
	return rc;
}

/* In a thread: the password file. */
static int prepare(struct pg_job *job, struct err *why)
{
	return write_side_directory(job->control, why);
}

int rejoin_prepare(struct pg_job *job, struct err *why)
{
	return job_in_background(job, prepare, why);
}

int rejoin_ask(struct pg_job *job, struct err *why)
{
	const struct conf_member *member =
		conf_member_by_id(job->control->conf, job->order.upstream);
	struct rejoin *rejoin = job->rejoin;

	if (rejoin == NULL) {
		rejoin = calloc(1, sizeof(*rejoin));
		if (rejoin == NULL)
			return err_set(why, ERR_NO_MEMORY, "out of memory");
		job->rejoin = rejoin;
	}
	memset(rejoin, 0, sizeof(*rejoin));
	pg_source_init(&rejoin->source);
	rejoin->facts = (struct tail_facts){
		.node = job->control->conf->node_name,
		.source = member != NULL ? member->name : "?",
		.operation = job->plan->name,
		.epoch = job->order.epoch,
	};
	return run_questions(job, PG_SOURCE_QUESTIONS, on_answer, why);
}

int rejoin_hear(struct pg_job *job, struct err *why)
{
	struct rejoin *rejoin = job->rejoin;
	struct err unread;
	int rc;

	if ((rc = pg_source_end(&rejoin->source, why)) < 0)
		return err_in(why, rc, "node %s", rejoin->facts.source);
	/* Without one there is nothing to compare, and nothing that a person could miss. */
	if (pg_control_file_read(job->control->paths.data, &rejoin->control, &unread) < 0)
		return 0;
	if (rejoin->control.system_id != rejoin->source.system_id)
		return err_set(why, ERR_REFUSED,
			       "%s holds another database (system identifier %" PRIu64
			       ", not %" PRIu64 "): it is not replaced; move it away by hand",
			       job->control->paths.data, rejoin->control.system_id,
			       rejoin->source.system_id);
	return 0;
}

/* The lineage of this node */

/* True: the file was read. Stubs do not count. */
static bool read_history(const char *wal, uint32_t timeline, struct wal_position *position)
{
	char name[24];
	char *text = NULL;
	bool good;

	position->timeline = timeline;
	position->branch_count = 0;
	if (timeline <= 1)
		return true;
	snprintf(name, sizeof(name), "%08" PRIX32 ".history", timeline);
	good = file_read(wal, name, HISTORY_BYTES_MAX, &text, NULL) == 0 && text != NULL &&
	       pg_parse_history(text, strlen(text), position, NULL) == 0 &&
	       position->branch_count > 0;
	free(text);
	return good;
}

static bool passes(const struct wal_position *position, uint32_t timeline)
{
	for (unsigned i = 0; i < position->branch_count; i++) {
		if (position->branches[i].timeline == timeline)
			return true;
	}
	return position->timeline == timeline;
}

/*
 * A node that was promoted and killed before its first checkpoint is on a timeline that its
 * control file does not know of yet: its newest history that has the control file's timeline.
 */
static void find_lineage(const char *wal, uint32_t timeline, struct wal_position *ours)
{
	DIR *dir = opendir(wal);
	const struct dirent *entry;

	(void)read_history(wal, timeline, ours);
	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		const uint32_t number = pg_history_number(entry->d_name);
		struct wal_position other;

		if (number <= ours->timeline || !read_history(wal, number, &other) ||
		    !passes(&other, ours->timeline))
			continue;
		/* A standby has the histories of its upstreams before it has any of their WAL. */
		if (wal_segments(wal, number, 1, 0, UINT64_MAX, NULL, NULL, NULL) > 0)
			*ours = other;
	}
	if (dir != NULL)
		closedir(dir);
}

static void add_part(struct pg_tail *tail, uint32_t timeline, wal_lsn begin, wal_lsn end)
{
	if (tail->part_count == TAIL_PARTS_MAX || begin >= end)
		return;
	tail->parts[tail->part_count++] = (struct tail_part){
		.timeline = timeline, .begin = begin, .limit = end == UINT64_MAX ? 0 : end};
}

/* In a thread: which stretches of WAL are beyond what the source went on from? */
static int find_tail(struct pg_job *job, struct err *why)
{
	const struct pg_paths *paths = &job->control->paths;
	struct rejoin *rejoin = job->rejoin;
	const struct wal_position *theirs = &rejoin->source.position;
	struct pg_tail *tail = &rejoin->tail;
	struct wal_position ours = {.timeline = 0};
	wal_lsn begin;

	UNUSED(why);
	/* Half a rewind: what was there has been saved before it. */
	rejoin->saved_before = file_exists(paths->side, PG_REBUILD_MARKER);
	if (rejoin->control.timeline == 0 || rejoin->saved_before)
		return 0;
	find_lineage(paths->wal, rejoin->control.timeline, &ours);
	tail->fork = pg_fork_find(&ours, theirs);
	if (tail->fork.timeline != 0 && tail->fork.lsn == UINT64_MAX)
		tail->fork.lsn = theirs->flushed;
	begin = tail->fork.lsn;
	for (unsigned i = 0; i <= ours.branch_count; i++) {
		const bool last = i == ours.branch_count;
		const uint32_t timeline = last ? ours.timeline : ours.branches[i].timeline;
		const wal_lsn end = last ? UINT64_MAX : ours.branches[i].end;

		if (timeline < tail->fork.timeline)
			continue;
		add_part(tail, timeline, begin, end);
		begin = end;
	}
	return 0;
}

int rejoin_find(struct pg_job *job, struct err *why)
{
	return job_in_background(job, find_tail, why);
}

/* Reading it */

static bool on_record(struct pg_job *job, const char *line)
{
	struct rejoin *rejoin = job->rejoin;
	struct tail_part *part = &rejoin->tail.parts[rejoin->part];

	if (rejoin->killed)
		return true;
	tail_line(&rejoin->tail, part, line);
	if (rejoin->tail.records >= TAIL_RECORDS_MAX) {
		rejoin->killed = true;
		part->unread = true;
		snprintf(part->last, sizeof(part->last), "%d records were read, no more are",
			 TAIL_RECORDS_MAX);
		child_kill(job->child);
	}
	return true;
}

struct span {
	char first[32], last[32]; /* "": there is none */
};

static int widen(const char *name, void *arg, struct err *why)
{
	struct span *span = arg;

	UNUSED(why);
	if (strlen(name) != 24) /* a partial one, which pg_waldump does not look for */
		return 0;
	if (span->first[0] == '\0' || strcmp(name, span->first) < 0)
		snprintf(span->first, sizeof(span->first), "%.24s", name);
	if (strcmp(name, span->last) > 0)
		snprintf(span->last, sizeof(span->last), "%.24s", name);
	return 0;
}

bool rejoin_fork_gone(const char *wal, const struct pg_tail *tail, uint64_t segment_size)
{
	const struct tail_part *part = &tail->parts[0];

	return tail->part_count > 0 && wal_segments(wal, part->timeline, segment_size, part->begin,
						    part->begin + 1, NULL, NULL, NULL) == 0;
}

/*
 * The segments of a part. They are named to pg_waldump: when it is to look for itself, it believes
 * the first file of the directory, which may be one that is all zeros. False: it cannot begin.
 */
static bool find_span(const struct pg_job *job, struct tail_part *part, struct span *span)
{
	const uint64_t size = job->rejoin->source.segment_size;
	const char *wal = job->control->paths.wal;
	const wal_lsn limit = part->limit != 0 ? part->limit : UINT64_MAX;
	struct span begin = {.first = ""};
	char lsn[TEXT_LSN_SIZE];
	int count;

	(void)!wal_segments(wal, part->timeline, size, part->begin, part->begin + 1, widen, &begin,
			    NULL);
	count = wal_segments(wal, part->timeline, size, part->begin, limit, widen, span, NULL);
	memcpy(span->first, begin.first, sizeof(span->first));
	if (span->first[0] != '\0')
		return true;
	snprintf(part->last, sizeof(part->last), "the segment with %s is not there",
		 text_format_lsn(part->begin, lsn));
	part->unread = count != 0;
	return false;
}

/*
 * pg_waldump has ended. Killed, or hindered, it has not said what is in the WAL: it is asked again,
 * and when that does not help either, all that is there counts as written.
 */
static void end_part(struct pg_job *job)
{
	enum { TRIES = 3 };
	struct rejoin *rejoin = job->rejoin;
	struct tail_part *part = &rejoin->tail.parts[rejoin->part];

	job->read_part = false;
	if (rejoin->killed || tail_read_ended(part, &job->end)) {
		rejoin->part++;
		return;
	}
	log_event(LOG_WARNING, "rejoin.unread", "pg_waldump ended by %s %d: %s",
		  job->end.by_signal ? "signal" : "status", job->end.code, part->last);
	if (++rejoin->failures < TRIES) {
		tail_begin_again(&rejoin->tail);
		rejoin->part = 0;
		return;
	}
	part->unread = true;
	if (job->end.by_signal || part->last[0] == '\0')
		snprintf(part->last, sizeof(part->last), "pg_waldump was ended by %s %d",
			 job->end.by_signal ? "signal" : "status", job->end.code);
	rejoin->part++;
}

/* One part of the tail after the other: the step is taken again until there is none. */
int rejoin_read(struct pg_job *job, struct err *why)
{
	const struct engine_control *control = job->control;
	struct rejoin *rejoin = job->rejoin;
	struct tail_part *part;
	struct span span = {.first = ""};
	char program[FILES_PATH_SIZE], timeline[16], begin[TEXT_LSN_SIZE];
	const char *argv[] = {control_program(control, "pg_waldump", program),
			      "-p",
			      control->paths.wal,
			      "-t",
			      timeline,
			      "-s",
			      begin,
			      span.first,
			      span.last,
			      NULL};
	int rc;

	if (job->read_part)
		end_part(job);
	for (part = &rejoin->tail.parts[rejoin->part];
	     rejoin->part < rejoin->tail.part_count && !find_span(job, part, &span); part++)
		rejoin->part++;
	if (rejoin->part >= rejoin->tail.part_count || rejoin->killed)
		return 0;
	snprintf(timeline, sizeof(timeline), "%" PRIu32, part->timeline);
	text_format_lsn(part->begin, begin);
	if ((rc = job_run(job, argv, NULL, NULL, why)) < 0)
		return rc;
	job->take_line = on_record;
	/* It ends with an error wherever the WAL ends; see end_part(). */
	job->any_end = true;
	job->read_part = true;
	job->step--;
	return rc;
}

/* Names of relations, where they are cheap: from the source, of the agent's own database */

static bool on_name(struct pg_job *job, const char *line)
{
	if (strcmp(line, "mha end") == 0)
		job->rejoin->facts.named_in = job->control->conf->pg_dbname;
	tail_name(&job->rejoin->tail, line);
	return true;
}

int rejoin_name(struct pg_job *job, struct err *why)
{
	struct rejoin *rejoin = job->rejoin;
	char questions[16384];
	FILE *to;
	unsigned asked = 0;
	int rc;

	if (rejoin->named || rejoin->source.database == 0)
		return 0;
	rejoin->named = true;
	to = fmemopen(questions, sizeof(questions), "w");
	if (to == NULL)
		return 0;
	fputs("SELECT s || '/' || d || '/' || r || ' ' || pg_filenode_relation("
	      "CASE s WHEN 1663 THEN 0 ELSE s END, r)::regclass FROM (VALUES (0::oid, 0::oid, "
	      "0::oid)",
	      to);
	for (unsigned i = 0; i < rejoin->tail.relation_count && asked < 200; i++) {
		const struct tail_relation *relation = &rejoin->tail.relations[i];

		if (relation->database != 0 && relation->database != rejoin->source.database)
			continue;
		fprintf(to, ", (%" PRIu32 "::oid, %" PRIu32 "::oid, %" PRIu32 "::oid)",
			relation->tablespace, relation->database, relation->relation);
		asked++;
	}
	fputs(") AS f (s, d, r) WHERE r <> 0 AND pg_filenode_relation("
	      "CASE s WHEN 1663 THEN 0 ELSE s END, r) IS NOT NULL;\n"
	      "\\echo mha end\n",
	      to);
	if (fclose(to) != 0 || asked == 0)
		return 0;
	if ((rc = run_questions(job, questions, on_name, why)) < 0)
		return rc;
	/* Numbers are enough, when it comes to that. */
	job->any_end = true;
	return rc;
}
