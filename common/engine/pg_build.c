/* INITDB, REWIND and CLONE: the jobs that make or replace the data. None leaves a server running.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "engine/pg_control.h"
#include "engine/pg_files.h"
#include "engine/pg_parse.h"

/* Diverged WAL is kept for people: so many sets, and so much of each. */
#define DIVERGED_KEEP      3
#define DIVERGED_BYTES_MAX (UINT64_C(1) << 30)

static int end_server(struct pg_job *job, struct err *why)
{
	return job_end_server(job, job->control->paths.data, why);
}

/* INITDB */

static int initdb_check(struct pg_job *job, struct err *why)
{
	struct engine_control *control = job->control;

	control_directory(control);
	if (control->work.directory == DIRECTORY_PRESENT) {
		job->done = true;
		return 0;
	}
	if (control->work.directory == DIRECTORY_BROKEN)
		return err_set(why, ERR_EXISTS, "%s is neither empty nor a database",
			       control->paths.data);
	/* A private server that an earlier attempt left behind. */
	return job_end_server(job, control->paths.initdb, why);
}

static int initdb_clear(struct pg_job *job, struct err *why)
{
	const int rc = tree_remove(job->control->paths.initdb, why);

	return rc < 0 ? rc : write_side_directory(job->control, why);
}

static int initdb_prepare(struct pg_job *job, struct err *why)
{
	return job_in_background(job, initdb_clear, why);
}

static int initdb_run(struct pg_job *job, struct err *why)
{
	const struct engine_control *control = job->control;
	char program[FILES_PATH_SIZE];
	const char *argv[] = {control_program(control, "initdb", program),
			      "-D",
			      control->paths.initdb,
			      "-U",
			      control->conf->pg_os_user,
			      "--auth-local=peer",
			      "--auth-host=reject",
			      "--encoding=UTF8",
			      "--locale=C.UTF-8",
			      "--data-checksums",
			      NULL};

	return job_run(job, argv, NULL, NULL, why);
}

static void on_private_server(void *arg, const struct process_end *end)
{
	struct pg_job *job = arg;
	struct err why;

	UNUSED(end);
	job->server = NULL;
	if (job->cancelled || job->failed.code < 0) {
		why = job->failed;
		job_continue(job, why.code, &why);
	} else if (job->wait_dir != NULL) {
		err_set(&why, ERR_GONE, "the private server ended; see %s",
			job->control->paths.log_dir);
		job_continue(job, why.code, &why);
	}
}

/*
 * In a thread: the private server runs with the settings of the later one, because a standby does
 * not start with smaller limits than what wrote its WAL.
 */
static int initdb_write(struct pg_job *job, struct err *why)
{
	return write_configuration(job->control, job->control->paths.initdb, &job->order, why);
}

static int initdb_configure(struct pg_job *job, struct err *why)
{
	return job_in_background(job, initdb_write, why);
}

/*
 * A server for this job alone: no TCP, and its socket inside the directory that only this user may
 * enter. It stays on its own timeline, even where there is a history that leaves it out. Waits
 * until it answers.
 */
static int serve(struct pg_job *job, const char *data_dir, struct err *why)
{
	static const struct child_events events = {.line = NULL, .ended = on_private_server};
	const struct engine_control *control = job->control;
	char program[FILES_PATH_SIZE], log[FILES_PATH_SIZE + 32];
	const char *argv[] = {control_program(control, "postgres", program),
			      "-D",
			      data_dir,
			      "-c",
			      "listen_addresses=",
			      "-c",
			      "unix_socket_directories=.",
			      "-c",
			      "port=5432",
			      "-c",
			      "synchronous_standby_names=",
			      "-c",
			      "primary_conninfo=",
			      "-c",
			      "recovery_target_timeline=current",
			      "-c",
			      "log_statement=none",
			      NULL};
	const struct child_spec spec = {.argv = argv, .log = log, .directory = data_dir};
	int rc;

	snprintf(log, sizeof(log), "%s/%s", control->paths.side, PG_START_LOG);
	rc = child_start(&job->server, control->loop, &spec, &events, job, why);
	return rc < 0 ? rc : job_wait_ready(job, data_dir, why);
}

static int initdb_serve(struct pg_job *job, struct err *why)
{
	return serve(job, job->control->paths.initdb, why);
}

/* psql in the directory of the socket: its path may be longer than a socket's name may be. */
static int run_psql(struct pg_job *job, const char *dbname, const char *file, const char *input,
		    struct err *why)
{
	const struct engine_control *control = job->control;
	char program[FILES_PATH_SIZE];
	const char *argv[] = {control_program(control, "psql", program),
			      "-X",
			      "-q",
			      "-v",
			      "ON_ERROR_STOP=1",
			      "-h",
			      "/proc/self/cwd",
			      "-p",
			      "5432",
			      "-U",
			      control->conf->pg_os_user,
			      "-d",
			      dbname,
			      "-f",
			      file,
			      NULL};

	return job_run(job, argv, control->paths.initdb, input, why);
}

static int run_sql(struct pg_job *job, const char *dbname, const char *sql, struct err *why)
{
	return run_psql(job, dbname, "-", sql, why);
}

static int initdb_database(struct pg_job *job, struct err *why)
{
	const char *dbname = job->control->conf->pg_dbname;
	char sql[128];

	if (strcmp(dbname, "postgres") == 0)
		return 0;
	snprintf(sql, sizeof(sql), "CREATE DATABASE %s;\n", dbname);
	return run_sql(job, "postgres", sql, why);
}

static int initdb_roles(struct pg_job *job, struct err *why)
{
	const struct engine_control *control = job->control;
	char sql[8192];
	FILE *to = fmemopen(sql, sizeof(sql), "w");
	int rc;

	if (to == NULL)
		return err_set(why, ERR_NO_MEMORY, "out of memory");
	pg_files_roles(to, control->conf, control->secret);
	if (fclose(to) != 0)
		return err_set(why, ERR_TOO_BIG, "the roles' SQL is too long");
	rc = run_sql(job, control->conf->pg_dbname, sql, why);
	explicit_bzero(sql, sizeof(sql));
	return rc;
}

static int initdb_bootstrap(struct pg_job *job, struct err *why)
{
	const struct conf *conf = job->control->conf;

	if (conf->pg_bootstrap_sql_file[0] == '\0')
		return 0;
	return run_psql(job, conf->pg_dbname, conf->pg_bootstrap_sql_file, NULL, why);
}

static int initdb_end(struct pg_job *job, struct err *why)
{
	return job_end_server(job, job->control->paths.initdb, why);
}

static int initdb_install(struct pg_job *job, struct err *why)
{
	const struct pg_paths *paths = &job->control->paths;
	int rc;

	if ((rc = write_standby_signal(paths->initdb, why)) < 0 ||
	    (rc = file_remove(paths->side, PG_REBUILD_MARKER, why)) < 0)
		return rc;
	/* Takes the place of an empty directory, too. */
	if (rename(paths->initdb, paths->data) < 0)
		return err_set_errno(why, ERR_IO, errno, "rename %s to %s", paths->initdb,
				     paths->data);
	return directory_sync_parent(paths->data, why);
}

static int initdb_finish(struct pg_job *job, struct err *why)
{
	return job_in_background(job, initdb_install, why);
}

/* REWIND */

static int rewind_check(struct pg_job *job, struct err *why)
{
	const struct engine_control *control = job->control;

	if (!file_exists(control->paths.data, "global/pg_control"))
		return err_set(why, ERR_NOT_FOUND, "there is no database in %s to rewind",
			       control->paths.data);
	if (file_exists(control->paths.side, PG_REBUILD_MARKER))
		return err_set(why, ERR_REFUSED,
			       "an earlier rewind was not finished; a clone is needed");
	return 0;
}

/*
 * pg_rewind wants a target that was shut down, and sees to it with a single-user server. That one
 * refuses to be a standby: what was a standby when it was killed is started as one that takes WAL
 * from nobody, and stopped.
 */
static bool needs_recovery(const struct pg_job *job)
{
	const char *data_dir = job->control->paths.data;

	return file_exists(data_dir, PG_STANDBY_SIGNAL) && !pg_was_shut_down(data_dir);
}

/* In a thread. */
static int rewind_write(struct pg_job *job, struct err *why)
{
	const struct engine_control *control = job->control;
	struct order neutral = job->order;
	int rc;

	neutral.upstream = NODE_NONE;
	if ((rc = strip_auto_conf(control->paths.data, why)) < 0 ||
	    (rc = file_remove(control->paths.data, "postmaster.pid", why)) < 0)
		return rc;
	return write_configuration(control, control->paths.data, &neutral, why);
}

static int rewind_configure(struct pg_job *job, struct err *why)
{
	if (!needs_recovery(job))
		return 0;
	return job_in_background(job, rewind_write, why);
}

static int rewind_recover(struct pg_job *job, struct err *why)
{
	if (!needs_recovery(job))
		return 0;
	return serve(job, job->control->paths.data, why);
}

static int newest_first(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*b)->d_name, (*a)->d_name);
}

/* What a rewind will overwrite: segments, whole or partial, and history files. */
static int is_wal(const struct dirent *entry)
{
	return strspn(entry->d_name, "0123456789ABCDEF") >= 8;
}

static int is_diverged(const struct dirent *entry)
{
	return strncmp(entry->d_name, "diverged-", 9) == 0;
}

static void free_names(struct dirent **names, int count)
{
	for (int i = 0; i < count; i++)
		free(names[i]);
	free(names);
}

/* Newest segments first, until it is enough: the tail is what diverged. */
static int copy_wal(const struct pg_paths *paths, const char *to, struct err *why)
{
	struct dirent **names;
	const int count = scandir(paths->wal, &names, is_wal, newest_first);
	uint64_t room = DIVERGED_BYTES_MAX;
	int rc = 0;

	if (count < 0)
		return err_set_errno(why, ERR_IO, errno, "read %s", paths->wal);
	for (int i = 0; i < count && rc == 0; i++) {
		char source[2 * FILES_PATH_SIZE], target[2 * FILES_PATH_SIZE];
		struct stat stat_source;

		snprintf(source, sizeof(source), "%s/%.64s", paths->wal, names[i]->d_name);
		snprintf(target, sizeof(target), "%s/%.64s", to, names[i]->d_name);
		if (stat(source, &stat_source) < 0 || !S_ISREG(stat_source.st_mode))
			continue;
		if ((uint64_t)stat_source.st_size > room)
			continue;
		room -= (uint64_t)stat_source.st_size;
		rc = file_copy(source, target, why);
	}
	free_names(names, count);
	return rc < 0 ? rc : directory_sync(to, why);
}

static int drop_old_sets(const struct pg_paths *paths, struct err *why)
{
	struct dirent **names;
	const int count = scandir(paths->side, &names, is_diverged, newest_first);
	int rc = 0;

	if (count < 0)
		return err_set_errno(why, ERR_IO, errno, "read %s", paths->side);
	for (int i = DIVERGED_KEEP; i < count && rc == 0; i++) {
		char path[2 * FILES_PATH_SIZE];

		snprintf(path, sizeof(path), "%s/%.64s", paths->side, names[i]->d_name);
		rc = tree_remove(path, why);
	}
	free_names(names, count);
	return rc;
}

/* In a thread: save the WAL that is about to be lost, then say that the data are in pieces. */
static int rewind_save(struct pg_job *job, struct err *why)
{
	const struct pg_paths *paths = &job->control->paths;
	char name[40], path[2 * FILES_PATH_SIZE];
	const time_t now = time(NULL);
	struct tm parts;
	int rc;

	if (gmtime_r(&now, &parts) == NULL ||
	    strftime(name, sizeof(name), "diverged-%Y%m%dT%H%M%SZ", &parts) == 0)
		return err_set(why, ERR_INVALID, "the clock cannot be read");
	snprintf(path, sizeof(path), "%s/%s", paths->side, name);
	if ((rc = write_side_directory(job->control, why)) < 0 ||
	    (rc = directory_ensure(path, why)) < 0 || (rc = copy_wal(paths, path, why)) < 0 ||
	    (rc = drop_old_sets(paths, why)) < 0)
		return err_in(why, rc, "save the diverged WAL");
	job->marked = true;
	return file_write(paths->side, PG_REBUILD_MARKER, "rewind\n", 0600, why);
}

static int rewind_prepare(struct pg_job *job, struct err *why)
{
	return job_in_background(job, rewind_save, why);
}

static int rewind_run(struct pg_job *job, struct err *why)
{
	const struct engine_control *control = job->control;
	char program[FILES_PATH_SIZE], conninfo[PG_CONNINFO_SIZE];
	const char *argv[] = {control_program(control, "pg_rewind", program),
			      "--target-pgdata",
			      control->paths.data,
			      "--source-server",
			      conninfo,
			      "--progress",
			      NULL};
	int rc;

	rc = pg_files_conninfo(conninfo, control->conf, &control->paths, job->order.upstream,
			       "_rewind", control->conf->pg_dbname, why);
	if (rc < 0)
		return rc;
	return job_run(job, argv, NULL, NULL, why);
}

static int rewind_install(struct pg_job *job, struct err *why)
{
	const struct pg_paths *paths = &job->control->paths;
	int rc;

	/* pg_rewind removed it, because its source has none. */
	if ((rc = write_standby_signal(paths->data, why)) < 0)
		return rc;
	return file_remove(paths->side, PG_REBUILD_MARKER, why);
}

static int rewind_finish(struct pg_job *job, struct err *why)
{
	/*
	 * "On the same timeline" is what pg_rewind sees right after a promotion, before the new
	 * primary's next checkpoint; it has then changed nothing.
	 */
	if (job->same_history)
		return err_set(why, ERR_BUSY,
			       "pg_rewind sees no fork: the primary has not written a checkpoint "
			       "on its timeline yet, or nothing diverged");
	return job_in_background(job, rewind_install, why);
}

/* CLONE */

static int clone_clear(struct pg_job *job, struct err *why)
{
	const struct pg_paths *paths = &job->control->paths;
	int rc;

	if ((rc = write_side_directory(job->control, why)) < 0 ||
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
	return rc < 0 ? rc : job_run(job, argv, NULL, NULL, why);
}

/* In one step where the file system can; else with a moment without a directory (repair_swap). */
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

static int clone_install(struct pg_job *job, struct err *why)
{
	const struct pg_paths *paths = &job->control->paths;
	int rc;

	if ((rc = write_standby_signal(paths->clone, why)) < 0 || (rc = swap(paths, why)) < 0 ||
	    (rc = directory_sync_parent(paths->data, why)) < 0)
		return rc;
	return file_remove(paths->side, PG_REBUILD_MARKER, why);
}

static int clone_finish(struct pg_job *job, struct err *why)
{
	return job_in_background(job, clone_install, why);
}

/* The directory is a new one: what its predecessor did does not count. */
static int fresh(struct pg_job *job, struct err *why)
{
	UNUSED(why);
	job->control->start_failures = 0;
	return 0;
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

static const job_step INITDB_STEPS[] = {
	initdb_check, initdb_prepare,   initdb_run, initdb_configure, initdb_serve, initdb_database,
	initdb_roles, initdb_bootstrap, initdb_end, initdb_finish,    fresh,        NULL,
};
static const job_step REWIND_STEPS[] = {
	rewind_check,   end_server, rewind_configure, rewind_recover, end_server,
	rewind_prepare, rewind_run, rewind_finish,    fresh,          NULL,
};
static const job_step CLONE_STEPS[] = {
	end_server, clone_prepare, clone_run, clone_finish, fresh, NULL,
};

const struct job_plan PLAN_INITDB = {
	.name = "initdb", .job = JOB_INITDB, .interruptible = false, .steps = INITDB_STEPS};
const struct job_plan PLAN_REWIND = {
	.name = "rewind", .job = JOB_REWIND, .interruptible = false, .steps = REWIND_STEPS};
const struct job_plan PLAN_CLONE = {
	.name = "clone", .job = JOB_CLONE, .interruptible = false, .steps = CLONE_STEPS};
