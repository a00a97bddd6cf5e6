/* What a step may stand on: a program, or the end of a server. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
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

static void note_rewind(struct pg_job *job, const char *line)
{
	/* From here on pg_rewind writes into the target. */
	if (strstr(line, "need to copy") != NULL)
		job->touched = true;
	if (strstr(line, "source and target cluster are on the same timeline") != NULL)
		job->same_history = true;
}

static void on_line(void *arg, const char *line)
{
	struct pg_job *job = arg;
	struct engine_control *control = job->control;
	uint64_t done, total;

	if (job->cancelled)
		return;
	if (pg_parse_progress(line, &done, &total)) {
		if (done != control->work.done)
			job->moved_ns = clock_boot_ns();
		control->work.done = done;
		control->work.total = total;
		return;
	}
	if (line[strspn(line, " ")] == '\0')
		return;
	job->moved_ns = clock_boot_ns();
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
	forget_child(job);
	if (end->by_signal)
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
	job->moved_ns = clock_boot_ns();
	rc = child_start(&job->child, job->control->loop, &spec, &CHILD_EVENTS, job, why);
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
	const int rc = pg_ending_start(&job->ending, job->control->loop, data_dir, conf->db_stop_ms,
				       2000, on_server_ended, job, why);

	return rc < 0 ? rc : STEP_WAIT;
}
