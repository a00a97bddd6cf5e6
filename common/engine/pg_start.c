/* START and CONFIGURE: the files first, then the server. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "engine/pg_bound.h"
#include "engine/pg_control.h"
#include "engine/pg_parse.h"
#include "os/clock.h"

/* The programs are silent while they wait for a checkpoint or bring everything to the disk. */
#define CHILD_PATIENCE 5

static int check_directory(struct pg_job *job, struct err *why)
{
	struct engine_control *control = job->control;

	control_directory(control);
	switch (control->work.directory) {
	case DIRECTORY_ABSENT:
		return err_set(why, ERR_NOT_FOUND, "there is no database in %s",
			       control->paths.data);
	case DIRECTORY_BROKEN:
		/* A server that gave up before may be tried again; half a rewind never. */
		if (control->start_failures > 0 &&
		    !file_exists(control->paths.side, PG_REBUILD_MARKER) &&
		    file_exists(control->paths.data, "global/pg_control"))
			return 0;
		return err_set(why, ERR_REFUSED, "%s: %s", control->paths.data, control->work.text);
	default:
		return 0;
	}
}

/* Backends that outlived their postmaster hold the shared memory. */
static int end_orphans(struct pg_job *job, struct err *why)
{
	struct pg_processes *found;
	bool orphans;

	if (job->was_running)
		return 0;
	found = malloc(sizeof(*found));
	if (found == NULL)
		return err_set(why, ERR_NO_MEMORY, "out of memory");
	pg_processes_find(found, job->control->paths.data);
	orphans = found->count > 0;
	free(found);
	return orphans ? job_end_server(job, job->control->paths.data, why) : 0;
}

/* In a thread. The order of these lines is what keeps a server from starting as a primary. */
static int write_all(struct pg_job *job, struct err *why)
{
	const struct engine_control *control = job->control;
	const char *data = control->paths.data;
	int rc;

	if (!job->was_running && job->order.kind == ORDER_DB_START) {
		if ((rc = write_standby_signal(data, why)) < 0 ||
		    (rc = strip_auto_conf(data, why)) < 0 ||
		    (rc = file_remove(data, "recovery.signal", why)) < 0 ||
		    (rc = file_remove(data, "postmaster.pid", why)) < 0)
			return rc;
	}
	return write_configuration(control, data, &job->order, why);
}

static int write_files(struct pg_job *job, struct err *why)
{
	return job_in_background(job, write_all, why);
}

static int reload(struct pg_job *job, struct err *why)
{
	const struct engine_control *control = job->control;
	int rc;

	if (control->work.postmaster == 0)
		return 0;
	rc = process_signal(control->postmaster_fd, SIGHUP, why);
	return rc < 0 && rc != ERR_GONE ? err_in(why, rc, "reload the database") : 0;
}

/* The server is forgotten as a child as soon as it runs: it must outlive this process. */
static void on_server(void *arg, const struct process_end *end)
{
	UNUSED(arg);
	UNUSED(end);
}

static int spawn_server(struct pg_job *job, struct err *why)
{
	static const struct child_events events = {.line = NULL, .ended = on_server};
	struct engine_control *control = job->control;
	char program[FILES_PATH_SIZE], log[FILES_PATH_SIZE + 32];
	const char *argv[] = {control_program(control, "postgres", program),
			      "-D",
			      control->paths.data,
			      job->own_timeline ? "-c" : NULL,
			      "recovery_target_timeline=current",
			      NULL};
	const struct child_spec spec = {.argv = argv, .log = log};
	struct child *server;
	pid_t pid;
	int rc;

	if (job->was_running)
		return 0;
	snprintf(log, sizeof(log), "%s/%s", control->paths.side, PG_START_LOG);
	if ((rc = pg_bound_start(control->conf, &server, control->loop, &spec, &events, NULL,
				 why)) < 0)
		return rc;
	pid = child_pid(server);
	child_forget(server);
	control_watch(control, pid);
	control_changed(control);
	return 0;
}

static void on_pidfile(uv_fs_event_t *event, const char *name, int events, int status)
{
	struct engine_control *control = event->data;

	UNUSED(events);
	UNUSED(status);
	if (control->job != NULL && name != NULL && strcmp(name, "postmaster.pid") == 0)
		start_look(control->job);
}

static void watch_pidfile(struct engine_control *control, const char *data_dir)
{
	uv_fs_event_t *event = calloc(1, sizeof(*event));

	if (event == NULL || uv_fs_event_init(control->loop, event) < 0) {
		free(event);
		return; /* the tick looks too, only later */
	}
	event->data = control;
	control->pidfile = event;
	(void)uv_fs_event_start(event, on_pidfile, data_dir, 0);
}

int job_wait_ready(struct pg_job *job, const char *data_dir, struct err *why)
{
	UNUSED(why);
	if (pg_postmaster_status(data_dir) == PIDFILE_READY)
		return 0;
	job->wait_dir = data_dir;
	job->moved_ns = clock_boot_ns();
	watch_pidfile(job->control, data_dir);
	return STEP_WAIT;
}

static int wait_ready(struct pg_job *job, struct err *why)
{
	const struct engine_control *control = job->control;

	if (control->work.postmaster == 0)
		return err_set(why, ERR_GONE, "the server ended at once; see %s/%s",
			       control->paths.side, PG_START_LOG);
	return job_wait_ready(job, control->paths.data, why);
}

/*
 * A standby that cannot read its last checkpoint, or lacks WAL to be consistent, waits for ever
 * for somebody to send it. It is ended, and counts as one that gave up.
 */
static void give_up(struct pg_job *job)
{
	struct engine_control *control = job->control;
	struct err why;
	int rc;

	err_set(&job->failed, ERR_TIMEOUT, "no progress for %" PRIu64 " ms; see its log in %.200s",
		control->conf->db_start_ms, control->paths.log_dir);
	if (job->wait_dir == control->paths.data)
		control->start_failures++;
	rc = job_end_server(job, job->wait_dir, &why);
	job->wait_dir = NULL;
	if (rc < 0)
		job_continue(job, rc, &why);
}

void start_look(struct pg_job *job)
{
	struct engine_control *control = job->control;
	const uint64_t patience_ns = control->conf->db_start_ms * UINT64_C(1000000);
	const uint64_t now = clock_boot_ns();
	const uint64_t child_ns = job->patience_ms > 0 ? job->patience_ms * UINT64_C(1000000)
						       : CHILD_PATIENCE * patience_ns;
	uint64_t progress;

	/* Some say nothing for as long as they read: pg_verifybackup, the syncing of pg_rewind. */
	if (job->child != NULL && job->patience_ms == 0 && now - job->moved_ns > patience_ns &&
	    (progress = pg_program_progress(child_pid(job->child))) != job->progress) {
		job->progress = progress;
		job->moved_ns = now;
	}
	if (job->child != NULL && now - job->moved_ns > child_ns) {
		snprintf(job->last_line, sizeof(job->last_line), "no progress for %" PRIu64 " ms",
			 child_ns / UINT64_C(1000000));
		job->moved_ns = now;
		child_kill(job->child);
	}
	if (job->wait_dir == NULL)
		return;
	if (pg_postmaster_status(job->wait_dir) == PIDFILE_READY) {
		job->wait_dir = NULL;
		job_continue(job, 0, NULL);
		return;
	}
	progress = pg_processes_progress(job->wait_dir);
	if (progress != job->progress) {
		job->progress = progress;
		job->moved_ns = now;
	}
	if (now - job->moved_ns > patience_ns)
		give_up(job);
}

void log_read_tail(const char *path, char *text, size_t size)
{
	const int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat stat;
	ssize_t got = 0;

	text[0] = '\0';
	if (fd < 0)
		return;
	if (fstat(fd, &stat) == 0)
		got = pread(fd, text, size - 1,
			    stat.st_size > (off_t)size - 1 ? stat.st_size - ((off_t)size - 1) : 0);
	text[got > 0 ? got : 0] = '\0';
	close(fd);
}

bool log_newest(const char *dir_path, char path[2 * FILES_PATH_SIZE])
{
	DIR *dir = opendir(dir_path);
	const struct dirent *entry;
	time_t newest = 0;

	if (dir == NULL)
		return false;
	while ((entry = readdir(dir)) != NULL) {
		char candidate[2 * FILES_PATH_SIZE];
		struct stat stat_log;

		snprintf(candidate, sizeof(candidate), "%s/%.200s", dir_path, entry->d_name);
		if (stat(candidate, &stat_log) == 0 && S_ISREG(stat_log.st_mode) &&
		    stat_log.st_mtime >= newest) {
			newest = stat_log.st_mtime;
			snprintf(path, (size_t)2 * FILES_PATH_SIZE, "%s", candidate);
		}
	}
	closedir(dir);
	return newest != 0;
}

/* Where the last run of the server begins in its log. */
static const char *last_run(const char *log)
{
	const char *next;

	while ((next = strstr(log, "LOG:  starting ")) != NULL)
		log = next + 1;
	return log;
}

bool log_find_failure(const char *log, char reason[CHILD_LINE_SIZE])
{
	bool found = false;

	log = last_run(log);
	for (const char *line = log; *line != '\0'; line += strspn(line, "\n")) {
		const size_t length = strcspn(line, "\n");
		char copy[CHILD_LINE_SIZE];
		const char *at;

		snprintf(copy, sizeof(copy), "%.*s", (int)(length < 400 ? length : 400), line);
		/* Refused clients are no reason. */
		if (strstr(copy, "@") == NULL && ((at = strstr(copy, "FATAL:  ")) != NULL ||
						  (at = strstr(copy, "PANIC:  ")) != NULL)) {
			snprintf(reason, CHILD_LINE_SIZE, "%s", at + 8);
			found = true;
		} else if (found && (at = strstr(copy, "DETAIL:  ")) != NULL) {
			const size_t used = strlen(reason);

			snprintf(reason + used, CHILD_LINE_SIZE - used, ": %s", at + 9);
		}
		line += length;
	}
	return found;
}

/* Why the server gave up: from its log, or from what it wrote before its log was open. */
static void last_words(const struct engine_control *control, char reason[CHILD_LINE_SIZE])
{
	char path[2 * FILES_PATH_SIZE], log[8192];

	snprintf(reason, CHILD_LINE_SIZE, "see its log in %s", control->paths.log_dir);
	snprintf(path, sizeof(path), "%s/%s", control->paths.side, PG_START_LOG);
	log_read_tail(path, log, sizeof(log));
	if (log_find_failure(log, reason) || !log_newest(control->paths.log_dir, path))
		return;
	log_read_tail(path, log, sizeof(log));
	if (!log_find_failure(log, reason))
		snprintf(reason, CHILD_LINE_SIZE, "see %.300s", path);
}

/* What no repetition mends. A port in use, a full disk or a bad setting is not among it. */
static bool is_damage(const char *reason)
{
	static const char *const phrases[] = {
		"could not locate a valid checkpoint record",
		"could not locate required checkpoint record",
		"could not find redo location",
		"invalid primary checkpoint",
		"invalid checkpoint",
		"invalid redo",
		"is not a child of this server's history",
		"does not contain minimum recovery point",
		"WAL ends before",
		"incorrect checksum in control file",
		"database files are incompatible with server",
		"invalid data in history file",
		"invalid data in file \"backup_label\"",
	};

	for (size_t i = 0; i < COUNT_OF(phrases); i++) {
		if (strstr(reason, phrases[i]) != NULL)
			return true;
	}
	return false;
}

/* Its log is whole once the log writer has ended too, which is when this is called. */
void start_explain(struct pg_job *job)
{
	char words[CHILD_LINE_SIZE];

	if (job->failed.code != ERR_GONE)
		return;
	last_words(job->control, words);
	/*
	 * The newest history here leaves out what this server has: it has diverged. On its own
	 * timeline it starts, so that its position can be seen and it can be rewound.
	 */
	if (!job->own_timeline && (strstr(words, "minimum recovery point") != NULL ||
				   strstr(words, "is not a child of this") != NULL)) {
		log_event(LOG_WARNING, "database.diverged", "%s; it is started on its own timeline",
			  words);
		job->own_timeline = true;
		job->failed.code = 0;
		job->step = 0;
		while (job->plan->steps[job->step] != spawn_server)
			job->step++;
		return;
	}
	/* Only a server that gave up over its data proves something about them. */
	pg_disk_said(job->control->disk, words);
	if (!job->end.by_signal && job->end.code > 0 && is_damage(words))
		job->control->start_failures++;
	err_set(&job->failed, ERR_GONE, "the server ended with %s %d: %.300s",
		job->end.by_signal ? "signal" : "status", job->end.code, words);
}

void start_failed(struct pg_job *job, const struct process_end *end)
{
	struct err why;
	int rc;

	if (job->wait_dir != job->control->paths.data)
		return;
	job->wait_dir = NULL;
	job->end = *end;
	job->failed.code = ERR_GONE;
	rc = job_end_server(job, job->control->paths.data, &why);
	if (rc < 0)
		job_continue(job, rc, &why);
}

static int proven(struct pg_job *job, struct err *why)
{
	UNUSED(why);
	job->control->start_failures = 0;
	job->control->trouble[0] = '\0';
	return 0;
}

static const job_step START_STEPS[] = {
	end_wait,     check_directory, end_orphans, write_files, reload,
	spawn_server, wait_ready,      proven,      NULL,
};

static const job_step CONFIGURE_STEPS[] = {check_directory, write_files, reload, NULL};

const struct job_plan PLAN_START = {
	.name = "start", .job = JOB_NONE, .interruptible = true, .steps = START_STEPS};
const struct job_plan PLAN_CONFIGURE = {
	.name = "configure", .job = JOB_NONE, .interruptible = true, .steps = CONFIGURE_STEPS};
