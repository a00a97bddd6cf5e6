/*
 * REWIND: look first, save what only this node has, and rewind only what can be rewound. Nothing
 * is changed before a marker says that the data are in pieces; it goes when they are whole again.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "base/text.h"
#include "engine/pg_files.h"
#include "engine/pg_parse.h"
#include "engine/pg_rejoin.h"

/* What must stay free beside what pg_rewind writes. */
#define SPARE_BYTES (UINT64_C(16) << 20)

static int rewind_check(struct pg_job *job, struct err *why)
{
	const struct engine_control *control = job->control;

	if (!file_exists(control->paths.data, "global/pg_control"))
		return err_set(why, ERR_REFUSED, "there is no database in %s to rewind",
			       control->paths.data);
	if (file_exists(control->paths.side, PG_REBUILD_MARKER))
		return err_set(why, ERR_REFUSED,
			       "an earlier rewind was not finished; a clone is needed");
	if (control->conf->rejoin_tries == 0)
		return err_set(why, ERR_REFUSED, "rejoin.rewind_tries is 0: only clones are made");
	return 0;
}

static int rewind_source(struct pg_job *job, struct err *why)
{
	return pg_source_check_rewind(&job->rejoin->source, job->control->conf->pg_replication_user,
				      why);
}

static int rewind_target(struct pg_job *job, struct err *why)
{
	const struct rejoin *rejoin = job->rejoin;
	const struct pg_tail *tail = &rejoin->tail;
	const struct wal_branch needed = whole_from(&job->control->paths);
	char lsn[TEXT_LSN_SIZE];

	if (rejoin->control.timeline == 0 || tail->fork.timeline == 0)
		return err_set(why, ERR_REFUSED,
			       "the timelines of this node and of node %s have nothing in common",
			       rejoin->facts.source);
	/* Its own WAL does not tell which pages came from the source before. */
	if (needed.timeline != 0)
		return err_set(why, ERR_REFUSED,
			       "it was rewound before, and lacks WAL up to %s on timeline %" PRIu32
			       " to be whole; a clone is needed",
			       text_format_lsn(needed.end, lsn), needed.timeline);
	if (tail_has_data(tail) &&
	    rejoin_fork_gone(job->control->paths.wal, tail, rejoin->source.segment_size))
		return err_set(why, ERR_REFUSED, "the WAL of this node from the fork at %s is gone",
			       text_format_lsn(tail->fork.lsn, lsn));
	return 0;
}

/*
 * pg_rewind wants a target that was shut down. What was a standby when it was killed is started
 * as one that takes WAL from nobody, and stopped; a primary is recovered by a single-user server,
 * as pg_rewind would do it, but before anything is looked at.
 */
static bool was_standby(const struct pg_job *job)
{
	return file_exists(job->control->paths.data, PG_STANDBY_SIGNAL);
}

/* In a thread. */
static int rewind_write(struct pg_job *job, struct err *why)
{
	const struct engine_control *control = job->control;
	struct order neutral = job->order;
	int rc;

	neutral.upstream = NODE_NONE;
	neutral.keep_rule = true;
	if ((rc = strip_auto_conf(control->paths.data, why)) < 0 ||
	    (rc = file_remove(control->paths.data, "postmaster.pid", why)) < 0)
		return rc;
	return write_configuration(control, control->paths.data, &neutral, why);
}

static int rewind_configure(struct pg_job *job, struct err *why)
{
	job->recovers = !pg_was_shut_down(job->control->paths.data);
	return job->recovers ? job_in_background(job, rewind_write, why) : 0;
}

static int rewind_recover(struct pg_job *job, struct err *why)
{
	const struct engine_control *control = job->control;
	char program[FILES_PATH_SIZE];
	const char *argv[] = {control_program(control, "postgres", program),
			      "--single",
			      "-D",
			      control->paths.data,
			      "-c",
			      "synchronous_standby_names=",
			      "-c",
			      "recovery_target_timeline=current",
			      "template1",
			      NULL};

	if (!job->recovers)
		return 0;
	if (was_standby(job))
		return job_serve(job, control->paths.data, why);
	return job_run(job, argv, NULL, NULL, why);
}

static int run_rewind(struct pg_job *job, bool rehearse, struct err *why)
{
	const struct engine_control *control = job->control;
	char program[FILES_PATH_SIZE], conninfo[PG_CONNINFO_SIZE];
	const char *argv[] = {control_program(control, "pg_rewind", program),
			      "--target-pgdata",
			      control->paths.data,
			      "--source-server",
			      conninfo,
			      "--progress",
			      rehearse ? "--dry-run" : NULL,
			      NULL};
	int rc;

	rc = pg_files_conninfo(conninfo, control->conf, &control->paths, job->order.upstream,
			       "_rewind", control->conf->pg_dbname, why);
	return rc < 0 ? rc : job_run(job, argv, NULL, NULL, why);
}

/* "... last common checkpoint at 0/3000060 on timeline 1" */
static bool take_checkpoint(const char *line, wal_lsn *checkpoint)
{
	const char *at = strstr(line, "last common checkpoint at ");
	char word[24];
	size_t length;

	if (at == NULL)
		return false;
	at += strlen("last common checkpoint at ");
	length = strcspn(at, " ");
	if (length < sizeof(word)) {
		memcpy(word, at, length);
		word[length] = '\0';
		(void)!text_parse_lsn(word, checkpoint);
	}
	return true;
}

enum rehearsal rewind_line(const char *line, struct rehearsal_sizes *sizes)
{
	uint64_t copy, total, done;
	const char *at;

	if (pg_parse_progress(line, &done, &total))
		return REHEARSAL_PROGRESS;
	if (take_checkpoint(line, &sizes->common_checkpoint))
		return REHEARSAL_WORDS;
	at = strstr(line, "need to copy ");
	if (at != NULL &&
	    sscanf(at, "need to copy %9" SCNu64 " MB (total source directory size is %9" SCNu64,
		   &copy, &total) == 2) {
		sizes->copy_bytes = copy << 20;
		sizes->source_bytes = total << 20;
		return REHEARSAL_SIZES;
	}
	return strstr(line, "source and target cluster are on the same timeline") != NULL
		       ? REHEARSAL_NO_FORK
		       : REHEARSAL_WORDS;
}

static bool on_rehearsal(struct pg_job *job, const char *line)
{
	struct rejoin *rejoin = job->rejoin;
	struct rehearsal_sizes sizes = {.common_checkpoint = rejoin->common_checkpoint,
					.copy_bytes = rejoin->copy_bytes,
					.source_bytes = rejoin->source_bytes};
	const enum rehearsal said = rewind_line(line, &sizes);

	rejoin->common_checkpoint = sizes.common_checkpoint;
	rejoin->copy_bytes = sizes.copy_bytes;
	rejoin->source_bytes = sizes.source_bytes;
	if (said == REHEARSAL_SIZES) {
		/* A rehearsal copies all the same, and throws it away: it has told enough. */
		job->any_end = true;
		child_kill(job->child);
	}
	if (said == REHEARSAL_NO_FORK)
		job->same_history = true;
	return said == REHEARSAL_PROGRESS;
}

static int rewind_rehearse(struct pg_job *job, struct err *why)
{
	const int rc = run_rewind(job, true, why);

	job->take_line = on_rehearsal;
	return rc;
}

/*
 * What pg_rewind writes takes the place of other files for the most part: it needs more room for
 * what the source has more of, and for the source's WAL before this node's own is removed.
 */
static int check_room(const struct pg_job *job, struct err *why)
{
	const struct pg_paths *paths = &job->control->paths;
	const struct rejoin *rejoin = job->rejoin;
	const uint64_t room = disk_free(paths->data), here = tree_size(paths->data);
	uint64_t need = rejoin->source_bytes > here ? rejoin->source_bytes - here : 0;

	need += tree_size(paths->wal);
	if (need > rejoin->copy_bytes)
		need = rejoin->copy_bytes;
	if (room < need + SPARE_BYTES)
		return err_set(why, ERR_REFUSED,
			       "a rewind may need %" PRIu64 " bytes more on the disk of %s, which "
			       "has %" PRIu64 " left",
			       need + SPARE_BYTES, paths->data, room);
	return 0;
}

/* In a thread: the last looks, then the marker. From here on it is no database. */
static int rewind_begin(struct pg_job *job, struct err *why)
{
	const struct pg_paths *paths = &job->control->paths;
	const struct rejoin *rejoin = job->rejoin;
	char needed[TEXT_LSN_SIZE], oldest[TEXT_LSN_SIZE];
	int rc;

	if (rejoin->common_checkpoint != 0 &&
	    rejoin->common_checkpoint < rejoin->source.oldest_segment)
		return err_set(why, ERR_REFUSED,
			       "node %s has no WAL before %s any more, and the last common "
			       "checkpoint is at %s",
			       rejoin->facts.source,
			       text_format_lsn(rejoin->source.oldest_segment, oldest),
			       text_format_lsn(rejoin->common_checkpoint, needed));
	if ((rc = check_room(job, why)) < 0)
		return rc;
	job->marked = true;
	return file_write(paths->side, PG_REBUILD_MARKER, "rewind\n", 0600, why);
}

static int rewind_mark(struct pg_job *job, struct err *why)
{
	/*
	 * "On the same timeline" is what pg_rewind sees right after a promotion, before the new
	 * primary's next checkpoint, and when nothing diverged.
	 */
	if (job->same_history)
		return err_set(why, ERR_REFUSED,
			       "pg_rewind sees no fork: this node and node %s are on the same "
			       "timeline",
			       job->rejoin->facts.source);
	return job_in_background(job, rewind_begin, why);
}

/* From its start on it counts as having written into the target; see note_rewind(). */
static int rewind_run(struct pg_job *job, struct err *why)
{
	const int rc = run_rewind(job, false, why);

	job->touched = rc == STEP_WAIT;
	return rc;
}

/* In a thread. pg_rewind has synced what it wrote. */
static int rewind_install(struct pg_job *job, struct err *why)
{
	const struct pg_paths *paths = &job->control->paths;
	struct pg_control_file control;
	int rc;

	/* pg_rewind removed it, because its source has none. */
	if ((rc = write_standby_signal(paths->data, why)) < 0 ||
	    (rc = pg_control_file_read(paths->data, &control, why)) < 0)
		return rc;
	if (control.system_id != job->rejoin->source.system_id)
		return err_set(why, ERR_CORRUPT, "the control file is not the source's");
	if ((rc = whole_note(paths, &control, why)) < 0)
		return rc;
	return file_remove(paths->side, PG_REBUILD_MARKER, why);
}

static int rewind_finish(struct pg_job *job, struct err *why)
{
	return job_in_background(job, rewind_install, why);
}

void rewind_failed(struct pg_job *job)
{
	struct err why;

	/* An earlier job's marker stays. */
	if (!job->marked || job->touched)
		return;
	/* Nothing in the directory was changed yet: it is as good, or bad, as before. */
	if (file_remove(job->control->paths.side, PG_REBUILD_MARKER, &why) < 0)
		log_event(LOG_WARNING, "database.marker", "%s", why.text);
}

/* What pg_rewind says when no repetition helps, in words for people. */
const char *rewind_hopeless(const char *line)
{
	static const char gone[] = "this node's own WAL before the fork is gone or damaged";
	static const struct {
		const char *phrase, *meaning;
	} rows[] = {
		{"could not find common ancestor", "the two databases have no common history"},
		{"clusters are from different systems", "the two are different databases"},
		{"not compatible with this version", "the two are of different versions"},
		{"needs to use either data checksums",
		 "this node has neither data checksums nor wal_log_hints"},
		{"could not find previous WAL record", gone},
		{"could not read WAL record", gone},
		{"could not open file", gone},
		{"permission denied", "the replication role lacks a right"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		if (strstr(line, rows[i].phrase) != NULL)
			return rows[i].meaning;
	}
	return NULL;
}

static const job_step STEPS[] = {
	rewind_check,  job_end_data,     rejoin_prepare, rejoin_ask,   rejoin_hear,
	rewind_source, rejoin_find,      rejoin_read,    rejoin_name,  rejoin_save,
	rewind_target, rewind_configure, rewind_recover, job_end_data, rewind_rehearse,
	rewind_mark,   rewind_run,       rewind_finish,  job_fresh,    NULL,
};

const struct job_plan PLAN_REWIND = {.name = "rewind",
				     .job = JOB_REWIND,
				     .interruptible = false,
				     .repeats = true,
				     .steps = STEPS};
