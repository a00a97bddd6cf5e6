/*
 * How a server ends that nobody ended, and what follows for the next start: none on a disk that is
 * full or fails, and none at once after it has crashed again and again. A START waits here; it goes
 * on when space is freed, when the disk answers, or when the pause is over.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "engine/pg_control.h"
#include "os/clock.h"

/* A server that ends so soon after its start has not recovered from what ended the one before. */
#define SOON_NS UINT64_C(10000000000)
/* So many of them in a row are a loop; then there is one start per pause. */
#define CRASHES_MAX 3
#define PAUSE_NS    UINT64_C(30000000000)

/* The end of the server's log, read in a thread: the disk may be what failed. */
struct end_words {
	uv_work_t work;
	struct engine_control *control; /* NULL: it was closed meanwhile */
	char log_dir[FILES_PATH_SIZE];
	char reason[512];
};

static bool pauses(const struct engine_control *control)
{
	return control->crashes >= CRASHES_MAX && clock_boot_ns() - control->crashed_ns < PAUSE_NS;
}

void end_tell(struct engine_control *control)
{
	struct engine_work *work = &control->work;

	work->fault = pg_disk_fault(control->disk);
	snprintf(work->fault_text, sizeof(work->fault_text), "%s", pg_disk_text(control->disk));
	if (work->fault == FAULT_NONE && control->crashes >= CRASHES_MAX) {
		work->fault = FAULT_CRASH_LOOP;
		snprintf(work->fault_text, sizeof(work->fault_text),
			 "%u servers in a row ended soon after their start; see the log in %.120s",
			 control->crashes, control->paths.log_dir);
	}
}

static bool may_start(const struct engine_control *control)
{
	return pg_disk_usable(control->disk) && !pauses(control);
}

int end_wait(struct pg_job *job, struct err *why)
{
	struct engine_control *control = job->control;

	UNUSED(why);
	if (job->was_running || may_start(control))
		return 0;
	job->waits_disk = true;
	end_tell(control);
	if (control->work.fault != FAULT_NONE)
		log_event(LOG_WARNING, "database.waits", "no server is started: %s",
			  control->work.fault_text);
	control_changed(control);
	return STEP_WAIT;
}

void end_look(struct engine_control *control)
{
	struct pg_job *job = control->job;

	/* One that has run for a while is out of the loop. */
	if (control->crashes > 0 && control->work.postmaster != 0 &&
	    clock_boot_ns() - control->watched_ns > SOON_NS) {
		control->crashes = 0;
		control_changed(control);
	}
	if (job == NULL || !job->waits_disk || !may_start(control))
		return;
	job->waits_disk = false;
	job_continue(job, 0, NULL);
}

static void on_disk(void *arg)
{
	struct engine_control *control = arg;

	control_changed(control);
	end_look(control);
}

void log_find_disk(const char *log, char *reason, size_t size)
{
	static const char *const phrases[] = {"No space left on device", "Disk quota exceeded",
					      "Input/output error", "Read-only file system"};

	reason[0] = '\0';
	for (const char *line = log; *line != '\0'; line += strspn(line, "\n")) {
		const size_t length = strcspn(line, "\n");
		char copy[512];

		snprintf(copy, sizeof(copy), "%.*s", (int)(length < 500 ? length : 500), line);
		line += length;
		if (strstr(copy, "PANIC:  ") == NULL && strstr(copy, "FATAL:  ") == NULL)
			continue;
		for (size_t i = 0; i < COUNT_OF(phrases); i++) {
			if (strstr(copy, phrases[i]) != NULL)
				snprintf(reason, size, "%s", copy);
		}
	}
}

static void on_read(uv_work_t *work)
{
	struct end_words *words = work->data;
	char path[2 * FILES_PATH_SIZE], log[16384];

	if (!log_newest(words->log_dir, path))
		return;
	log_read_tail(path, log, sizeof(log));
	log_find_disk(log, words->reason, sizeof(words->reason));
}

static void on_read_done(uv_work_t *work, int status)
{
	struct end_words *words = work->data;
	struct engine_control *control = words->control;

	UNUSED(status);
	if (control != NULL) {
		control->words = NULL;
		if (words->reason[0] != '\0') {
			log_event(LOG_WARNING, "database.last_words", "%.400s", words->reason);
			pg_disk_said(control->disk, words->reason);
		}
	}
	free(words);
}

void end_seen(struct engine_control *control)
{
	const uint64_t now = clock_boot_ns();
	struct end_words *words;

	control->crashes = now - control->watched_ns < SOON_NS ? control->crashes + 1 : 0;
	control->crashed_ns = now;
	pg_disk_hurry(control->disk);
	if (control->words != NULL)
		return;
	words = calloc(1, sizeof(*words));
	if (words == NULL)
		return; /* the probe of the disk says it too, only later */
	words->work.data = words;
	words->control = control;
	snprintf(words->log_dir, sizeof(words->log_dir), "%s", control->paths.log_dir);
	if (uv_queue_work(control->loop, &words->work, on_read, on_read_done) < 0)
		free(words);
	else
		control->words = words;
}

int end_open(struct engine_control *control, struct err *why)
{
	const struct pg_disk_spec spec = {.conf = control->conf,
					  .data_dir = control->paths.data,
					  .changed = on_disk,
					  .arg = control};

	return pg_disk_open(&control->disk, control->loop, &spec, why);
}

void end_close(struct engine_control *control)
{
	if (control->words != NULL)
		control->words->control = NULL;
	control->words = NULL;
	pg_disk_close(control->disk);
	control->disk = NULL;
}
