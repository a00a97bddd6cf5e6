/* INITDB: the job that makes a new database. It leaves no server running. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "engine/pg_bound.h"
#include "engine/pg_control.h"
#include "engine/pg_files.h"
#include "engine/pg_parse.h"

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

int job_serve(struct pg_job *job, const char *data_dir, struct err *why)
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
	rc = pg_bound_start(control->conf, &job->server, control->loop, &spec, &events, job, why);
	return rc < 0 ? rc : job_wait_ready(job, data_dir, why);
}

static int initdb_serve(struct pg_job *job, struct err *why)
{
	return job_serve(job, job->control->paths.initdb, why);
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
	    (rc = file_remove(paths->side, PG_CHECK_NOTE, why)) < 0 ||
	    (rc = file_remove(paths->side, PG_REWOUND_NOTE, why)) < 0 ||
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

static const job_step INITDB_STEPS[] = {
	initdb_check, initdb_prepare,   initdb_run, initdb_configure, initdb_serve, initdb_database,
	initdb_roles, initdb_bootstrap, initdb_end, initdb_finish,    job_fresh,    NULL,
};

const struct job_plan PLAN_INITDB = {
	.name = "initdb", .job = JOB_INITDB, .interruptible = false, .steps = INITDB_STEPS};
