/* What a step may stand on: a program, or the end of a server. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "engine/pg_bound.h"
#include "engine/pg_control.h"
#include "engine/pg_parse.h"
#include "os/clock.h"

static void remember_child(struct pg_job *job)
{
	char path[FILES_PATH_SIZE + 32];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", job->control->paths.side, PG_CHILD_FILE);
	file = fopen(path, "we");
	if (file == NULL)
		return; /* costs a second process after a crash of this one, nothing more */
	fprintf(file, "%d\n", (int)child_pid(job->child));
	fclose(file);
}

static void forget_child(struct pg_job *job)
{
	char path[FILES_PATH_SIZE + 32];

	snprintf(path, sizeof(path), "%s/%s", job->control->paths.side, PG_CHILD_FILE);
	(void)unlink(path);
}

/* It connects before anything else: a failure to do so is the one that surely changed nothing. */
static void note_rewind(struct pg_job *job, const char *line)
{
	if (job->last_line[0] == '\0' && strstr(line, "connection to server at") != NULL)
		job->touched = false;
	if (job->hopeless == NULL)
		job->hopeless = rewind_hopeless(line);
}

static void on_line(void *arg, const char *line)
{
	struct pg_job *job = arg;
	struct engine_control *control = job->control;
	uint64_t done, total;

	if (job->cancelled || job->refused)
		return;
	if (job->take_line != NULL && job->take_line(job, line)) {
		job->moved_ns = clock_boot_ns();
		return;
	}
	if (pg_parse_progress(line, &done, &total)) {
		if (job->measures && total > 0)
			clone_measure(job, total);
		if (done != control->work.done)
			job->moved_ns = clock_boot_ns();
		control->work.done = done;
		control->work.total = total;
		return;
	}
	if (line[strspn(line, " ")] == '\0')
		return;
	job->moved_ns = clock_boot_ns();
	if (job->plan == &PLAN_REWIND)
		note_rewind(job, line);
	snprintf(job->last_line, sizeof(job->last_line), "%s", line);
	log_event(LOG_INFO, "database.output", "job=%s %.300s", job->plan->name, line);
}

static void on_ended(void *arg, const struct process_end *end)
{
	struct pg_job *job = arg;
	struct err why;
	int rc = 0;

	job->child = NULL;
	job->end = *end;
	job->take_line = NULL;
	job->measures = false;
	forget_child(job);
	if (job->any_end)
		rc = 0;
	else if (job->refused)
		rc = err_set(&why, ERR_REFUSED, "%.400s", job->last_line);
	else if (job->hopeless != NULL && !end->by_signal && end->code != 0)
		rc = err_set(&why, ERR_REFUSED, "%s (%.300s)", job->hopeless, job->last_line);
	else if (end->by_signal)
		rc = err_set(&why, ERR_IO, "ended by signal %d: %.200s", end->code, job->last_line);
	else if (end->code != 0)
		rc = err_set(&why, ERR_IO, "exit status %d: %.200s", end->code, job->last_line);
	job_continue(job, rc, &why);
}

static const struct child_events CHILD_EVENTS = {.line = on_line, .ended = on_ended};

int job_run(struct pg_job *job, const char *const *argv, const char *directory, const char *input,
	    struct err *why)
{
	const struct child_spec spec = {.argv = argv, .directory = directory, .input = input};
	int rc;

	CHECK(job->child == NULL);
	job->last_line[0] = '\0';
	job->take_line = NULL;
	job->any_end = false;
	job->patience_ms = 0;
	job->moved_ns = clock_boot_ns();
	rc = pg_bound_start(job->control->conf, &job->child, job->control->loop, &spec,
			    &CHILD_EVENTS, job, why);
	if (rc < 0)
		return rc;
	remember_child(job);
	return STEP_WAIT;
}

static void on_server_ended(void *arg, int rc, const struct err *why)
{
	struct pg_job *job = arg;

	job->ending = NULL;
	if (rc == 0 && job->failed.code < 0) {
		start_explain(job);
		why = &job->failed;
		rc = job->failed.code;
	}
	job_continue(job, rc, why);
}

int job_end_server(struct pg_job *job, const char *data_dir, struct err *why)
{
	const struct conf *conf = job->control->conf;

	/* Told before it happens: its end is no fault. */
	if (!job->control->work.ending && job->control->work.postmaster != 0 &&
	    strcmp(data_dir, job->control->paths.data) == 0) {
		job->control->work.ending = true;
		control_changed(job->control);
	}

	const int rc = pg_ending_start(&job->ending, job->control->loop, data_dir, conf->db_stop_ms,
				       2000, on_server_ended, job, why);

	return rc < 0 ? rc : STEP_WAIT;
}

int job_end_data(struct pg_job *job, struct err *why)
{
	return job_end_server(job, job->control->paths.data, why);
}

/* The directory is a new one: what its predecessor did does not count. */
int job_fresh(struct pg_job *job, struct err *why)
{
	UNUSED(why);
	job->control->start_failures = 0;
	return 0;
}
