#include "engine/pg_control.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "base/text.h"
#include "engine/pg_archive.h"
#include "os/clock.h"

/* How often a job tells its progress. */
#define TICK_MS 250
/* An immediate stop that takes longer is not going to happen. */
#define KILL_PATIENCE_MS      200
#define IMMEDIATE_PATIENCE_MS 2000
/* After so many servers that gave up by themselves the directory counts as broken. */
#define START_FAILURES_MAX 3
/* Before a rewind is tried a second time; twice as long before each further one. */
#define FIRST_PAUSE_MS UINT64_C(1000)
/* A program that was killed ends at once, unless the kernel holds it at the disk. */
#define LEFTOVER_MS 5000

static void take_order(struct engine_control *control, const struct order *order);

/* What others see */

void control_changed(struct engine_control *control)
{
	if (control->closing)
		return;
	end_tell(control);
	missing_tell(control);
	check_tell(control);
	control->events->working(control->arg, &control->work);
}

void control_directory(struct engine_control *control)
{
	const struct pg_paths *paths = &control->paths;
	uint8_t seen = DIRECTORY_PRESENT;
	const char *text = "";

	if (!directory_is_readable(paths->data)) {
		/* The disk's fault, not the data's: nobody clones for that. */
		seen = control->work.directory;
		text = "the data directory cannot be read";
	} else if (directory_is_empty(paths->data)) {
		seen = DIRECTORY_ABSENT;
	} else if (file_exists(paths->side, PG_REBUILD_MARKER)) {
		seen = DIRECTORY_BROKEN;
		text = "a rewind was not finished; a clone is needed";
	} else if (!file_exists(paths->data, "PG_VERSION") ||
		   !file_exists(paths->data, "global/pg_control")) {
		seen = DIRECTORY_BROKEN;
		text = "not a whole database: PG_VERSION or global/pg_control is missing";
	} else if (control->start_failures >= START_FAILURES_MAX) {
		seen = DIRECTORY_BROKEN;
		text = "the server gave up at every start; see its log";
	}
	control->work.directory = seen;
	/* Why a rebuild failed is what a person wants to know, as long as it has not come off. */
	snprintf(control->work.text, sizeof(control->work.text), "%s",
		 control->trouble[0] != '\0' ? control->trouble : text);
}

static void report(struct engine_control *control, const struct order *order, uint8_t outcome,
		   const char *text)
{
	struct engine_result result = {.order_id = order->id, .outcome = outcome};

	if (control->closing)
		return;
	snprintf(result.text, sizeof(result.text), "%s", text);
	control->last = result;
	control->events->finished(control->arg, &result);
}

const char *control_program(const struct engine_control *control, const char *name,
			    char path[FILES_PATH_SIZE])
{
	snprintf(path, FILES_PATH_SIZE, "%s/%s", control->conf->pg_bin_dir, name);
	return path;
}

/* The postmaster */

static void on_closed(uv_handle_t *handle)
{
	free(handle);
}

static void unwatch(struct engine_control *control)
{
	if (control->postmaster_poll != NULL) {
		uv_poll_stop(control->postmaster_poll);
		uv_close((uv_handle_t *)control->postmaster_poll, on_closed);
		control->postmaster_poll = NULL;
	}
	if (control->postmaster_fd >= 0)
		close(control->postmaster_fd);
	control->postmaster_fd = -1;
	control->work.postmaster = 0;
}

static void on_postmaster(uv_poll_t *poll, int status, int events)
{
	struct engine_control *control = poll->data;
	struct process_end end = {.by_signal = false, .code = -1};
	const pid_t pid = control->work.postmaster;

	UNUSED(status);
	UNUSED(events);
	if (process_reap(control->postmaster_fd, &end, NULL) == ERR_BUSY)
		return;
	unwatch(control);
	check_cut(control);
	log_event(LOG_NOTICE, "database.ended", "pid=%d %s=%d", (int)pid,
		  end.by_signal ? "signal" : "status", end.code);
	control_directory(control);
	if (control->job != NULL)
		start_failed(control->job, &end);
	else if (control->ending == NULL && !control->work.ending)
		end_seen(control);
	control_changed(control);
}

void control_watch(struct engine_control *control, pid_t pid)
{
	struct err why;

	if (pid == 0)
		pid = pg_postmaster_find(control->paths.data);
	/* That the watched one has ended is for its pidfd to say. */
	if (pid == 0 || pid == control->work.postmaster)
		return;
	unwatch(control);
	control->postmaster_fd = process_open(pid, &why);
	if (control->postmaster_fd < 0)
		return; /* it has ended already */
	control->postmaster_poll = calloc(1, sizeof(*control->postmaster_poll));
	if (control->postmaster_poll == NULL ||
	    uv_poll_init(control->loop, control->postmaster_poll, control->postmaster_fd) < 0) {
		free(control->postmaster_poll);
		control->postmaster_poll = NULL;
		unwatch(control);
		log_event(LOG_WARNING, "database.unwatched", "the postmaster cannot be watched");
		return;
	}
	control->postmaster_poll->data = control;
	CHECK(uv_poll_start(control->postmaster_poll, UV_READABLE, on_postmaster) == 0);
	control->work.postmaster = pid;
	control->work.ending = false;
	control->watched_ns = clock_boot_ns();
}

/* Jobs */

static void control_free(struct engine_control *control)
{
	explicit_bzero(control->secret, sizeof(control->secret));
	free(control);
}

static void job_free(struct pg_job *job)
{
	struct engine_control *control = job->control;
	struct order next;

	if (control->leaving == job)
		control->leaving = NULL;
	free(job->rejoin);
	free(job);
	if (control->closing && control->leaving == NULL) {
		if (!control->removing)
			control_free(control);
		return;
	}
	next = control->next;
	control->next.kind = ORDER_NONE;
	if (next.kind != ORDER_NONE)
		take_order(control, &next);
}

static void stop_watching(struct engine_control *control)
{
	uv_timer_stop(control->tick);
	if (control->pidfile != NULL) {
		uv_close((uv_handle_t *)control->pidfile, on_closed);
		control->pidfile = NULL;
	}
}

static bool job_is_busy(const struct pg_job *job)
{
	return job->in_background || job->child != NULL || job->server != NULL;
}

/* The job is nobody's any more; what still runs for it is waited for before the next begins. */
static void job_cancel(struct engine_control *control)
{
	struct pg_job *job = control->job;

	if (job == NULL)
		return;
	CHECK(control->leaving == NULL);
	log_event(LOG_NOTICE, "database.cancelled", "order=%s", order_kind_name(job->order.kind));
	control->job = NULL;
	stop_watching(control);
	job->cancelled = true;
	pg_ending_cancel(job->ending);
	job->ending = NULL;
	if (job->child != NULL)
		child_kill(job->child);
	if (job->server != NULL)
		child_kill(job->server);
	control->work.job = JOB_NONE;
	control->work.done = control->work.total = 0;
	control->leaving = job;
	if (!job_is_busy(job))
		job_free(job);
}

/*
 * A start that lacked memory, descriptors or processes says nothing of the database, whose data
 * must not be thrown away for it. What has touched the data is judged by its end, whatever the
 * reason.
 */
static uint8_t job_outcome(uint8_t kind, int rc)
{
	if (rc >= 0)
		return OUTCOME_DONE;
	return kind == ORDER_DB_START && rc == ERR_NO_MEMORY ? OUTCOME_REFUSED : OUTCOME_FAILED;
}

static void job_finish(struct pg_job *job, int rc, const struct err *why)
{
	struct engine_control *control = job->control;
	const struct order order = job->order;
	const uint8_t kind = job->plan->job;
	char text[ENGINE_TEXT_SIZE];

	CHECK(control->job == job && !job_is_busy(job));
	control->job = NULL;
	stop_watching(control);
	control->work.job = JOB_NONE;
	control->work.done = control->work.total = 0;
	snprintf(text, sizeof(text), "%s", job->note);
	if (rc < 0) {
		snprintf(text, sizeof(text), "%s: %.240s", job->plan->name, why->text);
		rewind_failed(job);
		/* Of a copy it may be the source's disk that the text is about. */
		if (kind == JOB_NONE)
			pg_disk_said(control->disk, text);
	}
	if (rc == 0)
		missing_forget(control);
	/* A rewind leaves what it does not copy as it was. */
	if (rc == 0 && (kind == JOB_CLONE || kind == JOB_INITDB))
		check_forget(control);
	if (kind != JOB_NONE)
		snprintf(control->trouble, sizeof(control->trouble), "%s", rc < 0 ? text : "");
	free(job->rejoin);
	free(job);
	control_directory(control);
	control_watch(control, 0);
	if (rc < 0 && control->work.text[0] == '\0')
		snprintf(control->work.text, sizeof(control->work.text), "%s", text);
	log_event(rc < 0 ? LOG_ERROR : LOG_NOTICE, rc < 0 ? "database.failed" : "database.done",
		  "order=%s epoch=%" PRIu64 " %s", order_kind_name(order.kind), order.epoch, text);
	control_changed(control);
	report(control, &order, job_outcome(order.kind, rc), text);
}

/* Nothing was changed and it may come off the next time: true, and it is begun again later. */
static bool begin_again(struct pg_job *job, int rc, const struct err *why)
{
	const struct conf *conf = job->control->conf;
	const uint64_t pause_ms = FIRST_PAUSE_MS << (job->tries < 4 ? job->tries : 4);

	if (!job->plan->repeats || job->touched || rc == ERR_REFUSED || rc == ERR_CORRUPT ||
	    job->tries + 1 >= conf->rejoin_tries)
		return false;
	rewind_failed(job);
	job->marked = job->same_history = false;
	job->hopeless = NULL;
	job->read_part = false;
	job->failed.code = 0;
	job->tries++;
	job->step = 0;
	job->resume_ns = clock_boot_ns() + pause_ms * UINT64_C(1000000);
	log_event(LOG_WARNING, "rejoin.again", "try %u of %" PRIu64 " in %" PRIu64 " ms: %.300s",
		  job->tries + 1, conf->rejoin_tries, pause_ms, why->text);
	snprintf(job->control->work.text, sizeof(job->control->work.text), "%s: %.200s",
		 job->plan->name, why->text);
	control_changed(job->control);
	return true;
}

void job_continue(struct pg_job *job, int rc, const struct err *why)
{
	struct err reason = {.code = rc};

	if (why != NULL)
		reason = *why;
	if (job->cancelled) {
		if (!job_is_busy(job))
			job_free(job);
		return;
	}
	job->wait_dir = NULL;
	while (rc == 0 && !job->done && job->plan->steps[job->step] != NULL)
		rc = job->plan->steps[job->step++](job, &reason);
	if (rc == STEP_WAIT)
		return;
	if (job->server != NULL) {
		/* It ends first; its end comes back here. */
		job->failed = reason;
		job->failed.code = rc;
		child_kill(job->server);
		return;
	}
	if (rc < 0 && begin_again(job, rc, &reason))
		return;
	job_finish(job, rc, &reason);
}

static void on_work(uv_work_t *work)
{
	struct pg_job *job = work->data;

	job->background_rc = job->background(job, &job->background_why);
}

static void on_work_done(uv_work_t *work, int status)
{
	struct pg_job *job = work->data;

	UNUSED(status);
	job->in_background = false;
	job_continue(job, job->background_rc, &job->background_why);
}

int job_in_background(struct pg_job *job, job_step background, struct err *why)
{
	job->background = background;
	job->background_rc = 0;
	job->background_why = (struct err){.code = 0};
	job->work.data = job;
	if (uv_queue_work(job->control->loop, &job->work, on_work, on_work_done) < 0)
		return err_set(why, ERR_NO_MEMORY, "no background thread");
	job->in_background = true;
	return STEP_WAIT;
}

static void on_tick(uv_timer_t *timer)
{
	struct engine_control *control = timer->data;

	struct pg_job *job = control->job;

	if (job == NULL)
		return;
	if (job->resume_ns != 0 && clock_boot_ns() >= job->resume_ns) {
		job->resume_ns = 0;
		job_continue(job, 0, NULL);
		return;
	}
	start_look(job);
	control_changed(control);
}

static void take_job(struct engine_control *control, const struct order *order,
		     const struct job_plan *plan)
{
	struct pg_job *job = calloc(1, sizeof(*job));

	if (job == NULL) {
		report(control, order, OUTCOME_FAILED, "out of memory");
		return;
	}
	job->control = control;
	job->order = *order;
	job->plan = plan;
	job->moved_ns = clock_boot_ns();
	control->job = job;
	control_watch(control, 0);
	job->was_running = control->work.postmaster != 0;
	control->work.job = plan->job;
	control->work.started_ns = job->moved_ns;
	if (plan->job != JOB_NONE)
		check_cut(control);
	log_event(LOG_NOTICE, "database.order",
		  "order=%s epoch=%" PRIu64 " promise=%" PRIu64 " upstream=%u",
		  order_kind_name(order->kind), order->epoch, order->promise, order->upstream);
	CHECK(uv_timer_start(control->tick, on_tick, TICK_MS, TICK_MS) == 0);
	if (plan->job != JOB_NONE)
		control_changed(control);
	job_continue(job, 0, NULL);
}

/* The lane that ends the server */

static void on_server_ended(void *arg, int rc, const struct err *why)
{
	struct engine_control *control = arg;
	const struct order order = control->ending_order;

	control->ending = NULL;
	control_watch(control, 0);
	control_directory(control);
	log_event(rc < 0 ? LOG_ERROR : LOG_NOTICE, rc < 0 ? "database.failed" : "database.done",
		  "order=%s %s", order_kind_name(order.kind), rc < 0 ? why->text : "");
	control_changed(control);
	report(control, &order, rc < 0 ? OUTCOME_FAILED : OUTCOME_DONE, rc < 0 ? why->text : "");
	if (control->next.kind != ORDER_NONE && control->leaving == NULL) {
		const struct order next = control->next;

		control->next.kind = ORDER_NONE;
		take_order(control, &next);
	}
}

static void end_server(struct engine_control *control, const struct order *order)
{
	const bool kill = order->kind == ORDER_DB_KILL;
	struct err why;

	/* No server stands behind a rewind or a copy; the processes there are the job's own. */
	if (control->job != NULL && !control->job->plan->interruptible) {
		report(control, order, OUTCOME_DONE, "");
		return;
	}
	job_cancel(control);
	check_cut(control);
	control->next.kind = ORDER_NONE;
	if (control->ending != NULL) {
		if (kill && control->ending_order.kind != ORDER_DB_KILL)
			pg_ending_hasten(control->ending, KILL_PATIENCE_MS);
		control->ending_order = *order;
		return;
	}
	control->ending_order = *order;
	/* Told before it happens: its end is no fault. */
	control->work.ending = true;
	control_changed(control);
	if (pg_ending_start(&control->ending, control->loop, control->paths.data,
			    kill ? 0 : control->conf->db_stop_ms,
			    kill ? KILL_PATIENCE_MS : IMMEDIATE_PATIENCE_MS, on_server_ended,
			    control, &why) < 0)
		report(control, order, OUTCOME_FAILED, why.text);
}

/* Orders */

static const struct job_plan *plan_of(unsigned kind)
{
	switch (kind) {
	case ORDER_DB_START:
		return &PLAN_START;
	case ORDER_DB_CONFIGURE:
		return &PLAN_CONFIGURE;
	case ORDER_DB_INITDB:
		return &PLAN_INITDB;
	case ORDER_DB_REWIND:
		return &PLAN_REWIND;
	case ORDER_DB_CLONE:
		return &PLAN_CLONE;
	default:
		return NULL;
	}
}

static bool same_goal(const struct order *a, const struct order *b)
{
	return a->kind == b->kind && a->promise == b->promise && a->upstream == b->upstream &&
	       a->epoch == b->epoch && a->reserve_until == b->reserve_until &&
	       a->rule.members == b->rule.members && a->rule.need == b->rule.need;
}

/* The long ones are told apart by what they copy from; the epoch may have moved on meanwhile. */
static bool continues(const struct pg_job *job, const struct order *order)
{
	if (job->plan->job == JOB_NONE)
		return same_goal(&job->order, order);
	return job->order.kind == order->kind && job->order.upstream == order->upstream;
}

static void take_order(struct engine_control *control, const struct order *order)
{
	const struct job_plan *plan = plan_of(order->kind);
	struct pg_job *job = control->job;

	if (order->kind == ORDER_DB_STOP || order->kind == ORDER_DB_KILL) {
		end_server(control, order);
		return;
	}
	if (plan == NULL) {
		report(control, order, OUTCOME_FAILED, "not an order for dbctl");
		return;
	}
	if (job != NULL && continues(job, order)) {
		job->order.id = order->id;
		return;
	}
	if (job != NULL && job->plan->job != JOB_NONE && plan->job == JOB_NONE) {
		report(control, order, OUTCOME_FAILED, "the data directory is being rebuilt");
		return;
	}
	job_cancel(control);
	if (control->leaving != NULL || control->ending != NULL)
		control->next = *order;
	else
		take_job(control, order, plan);
}

static void execute(struct engine_control *control, const struct order *order)
{
	/* The result was lost on its way: nobody wants a second clone for that. */
	if (order->id != 0 && order->id == control->last.order_id) {
		control->events->finished(control->arg, &control->last);
		return;
	}
	take_order(control, order);
}

/* In a thread. */
static void on_remove(uv_work_t *work)
{
	const struct engine_control *control = work->data;
	struct err why;

	if (tree_remove(control->paths.trash, &why) < 0)
		log_event(LOG_WARNING, "database.old", "%s", why.text);
}

static void on_removed(uv_work_t *work, int status)
{
	struct engine_control *control = work->data;

	UNUSED(status);
	control->removing = false;
	free(work);
	if (control->closing && control->leaving == NULL)
		control_free(control);
}

/*
 * What a clone took the place of, and what a clone that was cut off left behind, are needed until
 * the database streams, or serves. They are renamed first: the next clone uses their names.
 */
static void clear_leftovers(struct engine_control *control)
{
	const struct pg_paths *paths = &control->paths;
	const char *const names[] = {paths->clone,
				     control->conf->rejoin_old == OLD_REMOVE ? paths->old : NULL};
	bool any = access(paths->trash, F_OK) == 0;
	uv_work_t *work;

	for (size_t i = 0; i < COUNT_OF(names); i++)
		any |= names[i] != NULL && access(names[i], F_OK) == 0;
	if (!any || control->removing || control->work.postmaster == 0 ||
	    !pg_is_in_use(paths->data))
		return;
	for (size_t i = 0; i < COUNT_OF(names) && access(paths->trash, F_OK) < 0; i++) {
		if (names[i] == NULL || rename(names[i], paths->trash) < 0)
			continue;
		log_event(LOG_NOTICE, "database.old", "%s is removed: the database streams",
			  names[i]);
	}
	if (access(paths->trash, F_OK) < 0 || (work = calloc(1, sizeof(*work))) == NULL)
		return;
	work->data = control;
	control->removing = uv_queue_work(control->loop, work, on_remove, on_removed) == 0;
	if (!control->removing)
		free(work);
}

static void look(struct engine_control *control)
{
	const pid_t before = control->work.postmaster;
	const uint8_t directory = control->work.directory;

	/* A private server of a job is nobody else's to look at. */
	if (control->job != NULL && !control->job->plan->interruptible)
		return;
	if (control->job == NULL)
		control_directory(control);
	control_watch(control, 0);
	end_look(control);
	missing_look(control);
	check_look(control);
	if (before != control->work.postmaster || directory != control->work.directory)
		control_changed(control);
	if (control->job == NULL && control->leaving == NULL)
		clear_leftovers(control);
}

static const struct engine_work *work_of(const struct engine_control *control)
{
	return &control->work;
}

static bool is_ours(uint64_t pid)
{
	static const char *const programs[] = {
		"/pg_basebackup",   "/pg_rewind", "/initdb",   "/pg_waldump",
		"/pg_verifybackup", "/psql",      "/postgres",
	};
	char link[64], program[512];
	ssize_t got;

	snprintf(link, sizeof(link), "/proc/%" PRIu64 "/exe", pid);
	got = readlink(link, program, sizeof(program) - 1);
	program[got > 0 ? got : 0] = '\0';
	for (size_t i = 0; i < COUNT_OF(programs); i++) {
		if (strstr(program, programs[i]) != NULL)
			return true;
	}
	return false;
}

/* A child of an earlier process of this worker still copies or rewinds: it is ended. */
static void end_leftover(struct engine_control *control)
{
	char *text = NULL;
	struct err why;
	uint64_t pid;

	if (file_read(control->paths.side, PG_CHILD_FILE, 64, &text, NULL) < 0 || text == NULL)
		return;
	text[strcspn(text, "\n")] = '\0';
	if (text_parse_u64(text, &pid) && pid > 1 && pid <= INT32_MAX) {
		const int pidfd = process_open((pid_t)pid, NULL);
		struct pollfd ended = {.fd = pidfd, .events = POLLIN};

		/* The pid may be somebody else's by now: only our programs are ended. */
		if (pidfd >= 0 && is_ours(pid) && killpg((pid_t)pid, SIGKILL) == 0) {
			(void)poll(&ended, 1, LEFTOVER_MS);
			log_event(LOG_NOTICE, "database.leftover", "pid=%" PRIu64 " ended", pid);
		}
		if (pidfd >= 0)
			close(pidfd);
	}
	if (file_remove(control->paths.side, PG_CHILD_FILE, &why) < 0)
		log_event(LOG_WARNING, "database.leftover", "%s", why.text);
	free(text);
}

static int control_open(struct engine_control **opened, uv_loop_t *loop, const struct conf *conf,
			const char *secret, const struct engine_control_events *events, void *arg,
			struct err *why)
{
	struct engine_control *control = calloc(1, sizeof(*control));
	int rc;

	if (control == NULL)
		return err_set(why, ERR_NO_MEMORY, "out of memory");
	control->loop = loop;
	control->conf = conf;
	control->events = events;
	control->arg = arg;
	control->postmaster_fd = -1;
	if (!text_copy(control->secret, sizeof(control->secret), secret))
		rc = err_set(why, ERR_TOO_BIG, "the replication password is too long");
	else
		rc = pg_paths_make(&control->paths, conf->pg_data_dir, why);
	control->tick = calloc(1, sizeof(*control->tick));
	if (control->tick == NULL)
		rc = err_set(why, ERR_NO_MEMORY, "out of memory");
	if (rc < 0 || control->tick == NULL) {
		free(control->tick);
		free(control);
		return rc;
	}
	CHECK(uv_timer_init(loop, control->tick) == 0);
	control->tick->data = control;
	if ((rc = archive_open(control, why)) < 0 || (rc = missing_open(control, why)) < 0 ||
	    (rc = check_open(control, why)) < 0 || (rc = end_open(control, why)) < 0) {
		check_close(control);
		missing_close(control);
		archive_close(control);
		uv_close((uv_handle_t *)control->tick, on_closed);
		free(control);
		return rc;
	}
	end_leftover(control);
	clone_repair(&control->paths);
	control_directory(control);
	control_watch(control, 0);
	*opened = control;
	return 0;
}

static void control_close(struct engine_control *control)
{
	if (control == NULL)
		return;
	control->closing = true;
	end_close(control);
	check_close(control);
	missing_close(control);
	archive_close(control);
	control->next.kind = ORDER_NONE;
	pg_ending_cancel(control->ending);
	control->ending = NULL;
	unwatch(control);
	stop_watching(control);
	uv_close((uv_handle_t *)control->tick, on_closed);
	if (control->job != NULL)
		job_cancel(control); /* the last to leave frees it */
	else if (control->leaving == NULL && !control->removing)
		control_free(control);
}

/* One that is starting or ending reads them anyway, or needs them no more. */
static int reread(struct engine_control *control, struct err *why)
{
	int rc = 0;

	if (control->work.postmaster != 0)
		rc = process_signal(control->postmaster_fd, SIGHUP, why);
	return rc < 0 && rc != ERR_GONE ? err_in(why, rc, "reload the database") : 0;
}

const struct engine_control_ops PG_CONTROL = {
	.open = control_open,
	.close = control_close,
	.execute = execute,
	.reread = reread,
	.look = look,
	.work = work_of,
};
