/*
 * CLONE: a whole copy is made beside the old directory, proven, and put in its place in one step.
 * The old one stays until the new one streams. Killed at any point, either the old directory is
 * where it was or the new one is, and what is left over is removed by the next clone.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "engine/pg_files.h"
#include "engine/pg_rejoin.h"

/* What must stay free beside the copy: the WAL that is written meanwhile is not known before. */
#define SPARE_BYTES (UINT64_C(64) << 20)

/* What cannot be swapped is not copied first. */
static int clone_check(struct pg_job *job, struct err *why)
{
	const struct pg_paths *paths = &job->control->paths;
	char parent[FILES_PATH_SIZE + 4], wal[FILES_PATH_SIZE];
	struct stat here, above;
	ssize_t length;

	if (lstat(paths->data, &here) < 0)
		return errno == ENOENT
			       ? 0
			       : err_set_errno(why, ERR_IO, errno, "look at %s", paths->data);
	if (S_ISLNK(here.st_mode))
		return err_set(why, ERR_REFUSED,
			       "%s is a symbolic link, and a clone cannot take its place: set "
			       "postgresql.data_dir to where it points",
			       paths->data);
	snprintf(parent, sizeof(parent), "%s/..", paths->data);
	if (stat(parent, &above) == 0 && above.st_dev != here.st_dev)
		return err_set(why, ERR_REFUSED,
			       "%s is a mount point, and a clone cannot take its place: put the "
			       "database into a directory below it",
			       paths->data);
	length = readlink(paths->wal, wal, sizeof(wal) - 1);
	if (length > 0) {
		wal[length] = '\0';
		log_event(LOG_WARNING, "clone.wal_link",
			  "%s is a link to %s; the clone has its WAL inside the data directory, "
			  "and what the link pointed to stays",
			  paths->wal, wal);
	}
	return 0;
}

static int clone_source(struct pg_job *job, struct err *why)
{
	return pg_source_check_clone(&job->rejoin->source, why);
}

/* In a thread. */
static int clone_clear(struct pg_job *job, struct err *why)
{
	const struct pg_paths *paths = &job->control->paths;
	int rc;

	if ((rc = write_side_directory(job->control, why)) < 0 ||
	    (rc = file_remove(paths->side, PG_PROVEN, why)) < 0 ||
	    (rc = tree_remove(paths->clone, why)) < 0)
		return rc;
	/* Two old ones are not kept: there may be no room for a third copy. */
	return tree_remove(paths->old, why);
}

static int clone_prepare(struct pg_job *job, struct err *why)
{
	return job_in_background(job, clone_clear, why);
}

static int clone_run(struct pg_job *job, struct err *why)
{
	const struct engine_control *control = job->control;
	char program[FILES_PATH_SIZE], conninfo[PG_CONNINFO_SIZE];
	const char *argv[] = {control_program(control, "pg_basebackup", program),
			      "-D",
			      control->paths.clone,
			      "-d",
			      conninfo,
			      "--wal-method=stream",
			      "--checkpoint=fast",
			      "--no-password",
			      "--progress",
			      NULL};
	int rc;

	rc = pg_files_conninfo(conninfo, control->conf, &control->paths, job->order.upstream,
			       "_clone", NULL, why);
	if (rc < 0 || (rc = job_run(job, argv, NULL, NULL, why)) < 0)
		return rc;
	job->measures = true;
	return rc;
}

/* The first estimate of the size has come: is there room for it? */
void clone_measure(struct pg_job *job, uint64_t total)
{
	const char *side = job->control->paths.side;
	const uint64_t room = disk_free(side);

	job->measures = false;
	if (room >= total + SPARE_BYTES)
		return;
	job->refused = true;
	snprintf(job->last_line, sizeof(job->last_line),
		 "the clone needs %" PRIu64 " bytes beside the old directory and the disk has "
		 "%" PRIu64 " left; make room (nothing was overwritten)",
		 total + SPARE_BYTES, room);
	child_kill(job->child);
}

/* Every file is read again and compared with what the source had sent. */
static int clone_verify(struct pg_job *job, struct err *why)
{
	const struct engine_control *control = job->control;
	char program[FILES_PATH_SIZE];
	const char *argv[] = {control_program(control, "pg_verifybackup", program),
			      "--exit-on-error", control->paths.clone, NULL};

	if (control->conf->rejoin_verify != VERIFY_MANIFEST)
		return 0;
	return job_run(job, argv, NULL, NULL, why);
}

static int make_token(char token[40], struct err *why)
{
	uint64_t number[2];

	if (getrandom(number, sizeof(number), 0) != (ssize_t)sizeof(number))
		return err_set_errno(why, ERR_IO, errno, "random numbers");
	snprintf(token, 40, "%016" PRIx64 "%016" PRIx64, number[0], number[1]);
	return 0;
}

/*
 * In a thread: is it a whole copy of the right database? Then a token inside it, and the same
 * beside it, say so; a marker of an earlier rewind is not about a directory with that token.
 */
static int prove(struct pg_job *job, struct err *why)
{
	const struct pg_paths *paths = &job->control->paths;
	struct rejoin *rejoin = job->rejoin;
	struct pg_control_file control;
	int rc;

	if ((rc = pg_control_file_read(paths->clone, &control, why)) < 0)
		return rc;
	if (control.system_id != rejoin->source.system_id)
		return err_set(why, ERR_CORRUPT,
			       "the clone has system identifier %" PRIu64 ", not %" PRIu64,
			       control.system_id, rejoin->source.system_id);
	if (control.timeline < rejoin->source.checkpoint_timeline)
		return err_set(why, ERR_CORRUPT,
			       "the clone is on timeline %" PRIu32 ", its source was on %" PRIu32,
			       control.timeline, rejoin->source.checkpoint_timeline);
	if (!file_exists(paths->clone, "PG_VERSION") || !file_exists(paths->clone, "backup_label"))
		return err_set(why, ERR_CORRUPT, "the clone has no PG_VERSION or no backup_label");
	if ((rc = make_token(rejoin->token, why)) < 0 ||
	    (rc = write_standby_signal(paths->clone, why)) < 0 ||
	    (rc = file_write(paths->clone, PG_PROVEN, rejoin->token, 0600, why)) < 0)
		return rc;
	return file_write(paths->side, PG_PROVEN, rejoin->token, 0600, why);
}

static int clone_prove(struct pg_job *job, struct err *why)
{
	return job_in_background(job, prove, why);
}

/* In one step where the file system can; else with a moment without a directory (clone_repair). */
static int swap(const struct pg_paths *paths, struct err *why)
{
	if (access(paths->data, F_OK) < 0 || directory_is_empty(paths->data)) {
		if (rename(paths->clone, paths->data) == 0)
			return 0;
	} else if (renameat2(AT_FDCWD, paths->clone, AT_FDCWD, paths->data, RENAME_EXCHANGE) == 0) {
		if (rename(paths->clone, paths->old) == 0)
			return 0;
	} else if (rename(paths->data, paths->old) == 0 && rename(paths->clone, paths->data) == 0) {
		return 0;
	}
	return err_set_errno(why, ERR_IO, errno, "put %s in the place of %s", paths->clone,
			     paths->data);
}

static bool has_token(const char *dir, const char *token)
{
	char *text = NULL;
	const bool same = file_read(dir, PG_PROVEN, 64, &text, NULL) == 0 && text != NULL &&
			  strcmp(text, token) == 0;

	free(text);
	return same;
}

/* The swap is durable: what was said about the directory before is not about this one. */
static int settle(const struct pg_paths *paths, struct err *why)
{
	int rc;

	if ((rc = directory_sync_parent(paths->data, why)) < 0 ||
	    (rc = file_remove(paths->side, PG_CHECK_NOTE, why)) < 0 ||
	    (rc = file_remove(paths->side, PG_REWOUND_NOTE, why)) < 0 ||
	    (rc = file_remove(paths->side, PG_REBUILD_MARKER, why)) < 0)
		return rc;
	return file_remove(paths->side, PG_PROVEN, why);
}

int clone_swap(const struct pg_paths *paths, struct err *why)
{
	const int rc = swap(paths, why);

	return rc < 0 ? rc : settle(paths, why);
}

/* In a thread. */
static int install(struct pg_job *job, struct err *why)
{
	return clone_swap(&job->control->paths, why);
}

static int clone_install(struct pg_job *job, struct err *why)
{
	return job_in_background(job, install, why);
}

void clone_repair(const struct pg_paths *paths)
{
	char *token = NULL;
	struct err why;

	/* A swap that was cut off between its two renames. */
	if (directory_is_empty(paths->data) && !directory_is_empty(paths->old) &&
	    rename(paths->old, paths->data) == 0)
		log_event(LOG_WARNING, "database.swap_repaired",
			  "the earlier data directory is back in place");
	if (file_read(paths->side, PG_PROVEN, 64, &token, NULL) < 0 || token == NULL)
		return;
	if (has_token(paths->data, token)) {
		/* After the exchange, before the old one had its name. */
		if (access(paths->clone, F_OK) == 0 && access(paths->old, F_OK) < 0)
			(void)rename(paths->clone, paths->old);
		log_event(LOG_NOTICE, "database.swapped", "the clone is in place");
		if (settle(paths, &why) < 0)
			log_event(LOG_WARNING, "database.marker", "%s", why.text);
	} else if (file_remove(paths->side, PG_PROVEN, &why) < 0) {
		log_event(LOG_WARNING, "database.marker", "%s", why.text);
	}
	free(token);
}

static const job_step STEPS[] = {
	clone_check,  job_end_data, rejoin_prepare, rejoin_ask,  rejoin_hear,   clone_source,
	rejoin_find,  rejoin_read,  rejoin_name,    rejoin_save, clone_prepare, clone_run,
	clone_verify, clone_prove,  clone_install,  job_fresh,   NULL,
};

const struct job_plan PLAN_CLONE = {
	.name = "clone", .job = JOB_CLONE, .interruptible = false, .steps = STEPS};
