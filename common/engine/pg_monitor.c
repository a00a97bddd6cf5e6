/*
 * Watching a PostgreSQL server. The postmaster's pidfd says at once that it died; looks on an old
 * connection, probes on new ones and commits on a third say whether it answers.
 */
#include "engine/pg_monitor.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "engine/pg_parse.h"
#include "os/clock.h"
#include "os/process.h"

/*
 * How soon to look again while something is expected, and while a server is starting (dbctl tells
 * when it is up; every refused look is a line in the server's log).
 */
#define LOOK_BUSY_MS     2
#define LOOK_STARTING_MS 50
/* Longer than wal_retrieve_retry_interval, which pg_files.c fixes. */
#define REST_NS (150 * NS_PER_MS)
/* A disk under a checkpoint is slow without being dead. */
#define FLUSH_PATIENCE 3
/* A server in recovery may be slow to refuse connections; killing it would begin it all again. */
#define STARTING_PATIENCE 5
#define SLOW_PATIENCE     3
/*
 * Each session that cannot begin stays in the server until it can, and takes a connection from
 * somebody: where that is known, few are tried.
 */
#define CLOSED_NS (30000 * NS_PER_MS)
/* What the server counts of wrong checksums is asked so often: a row per database is made for it.
 */
#define CHECKSUM_LOOK_NS (5000 * NS_PER_MS)
/* A backend of ours that somebody ended is no sign of a server that does not answer. */
#define LOOK_FAILURES_MAX 3

static void next_look(struct engine_monitor *monitor);
static void begin_fresh(struct engine_monitor *monitor);

static void on_closed(uv_handle_t *handle)
{
	free(handle);
}

static bool is_primary(const struct engine_monitor *monitor)
{
	return monitor->signs.looked && !monitor->look.recovery;
}

/* The postmaster's process */

static void unwatch_process(struct engine_monitor *monitor)
{
	if (monitor->pid_poll != NULL) {
		uv_poll_stop(monitor->pid_poll);
		uv_close((uv_handle_t *)monitor->pid_poll, on_closed);
		monitor->pid_poll = NULL;
	}
	if (monitor->pidfd >= 0)
		close(monitor->pidfd);
	monitor->pidfd = -1;
	monitor->signs.process = false;
	monitor->view.postmaster = 0;
}

/* Whatever was known was known of a server that is no more. */
static void forget_server(struct engine_monitor *monitor)
{
	pg_conn_close(&monitor->main);
	pg_conn_close(&monitor->repl);
	pg_conn_close(&monitor->fresh);
	pg_conn_close(&monitor->flush);
	pg_conn_close(&monitor->work);
	pg_knock_end(&monitor->knock);
	monitor->prepared = monitor->looking = monitor->look_soon = false;
	monitor->history_timeline = 0;
	monitor->exhausted_once = monitor->primary_seen = monitor->at_rest = false;
	monitor->rest_ns = 0;
	monitor->written_seen = monitor->written_asked = monitor->written_spread = 0;
	monitor->rule = (struct pg_rule_proof){.in_force = false};
	monitor->flush_at_ns = 0;
	monitor->settle_ns = 0;
	monitor->fresh_timeouts = monitor->look_failures = 0;
	monitor->look_ok_begun_ns = 0;
	signs_forget(monitor);
}

static void server_ended(struct engine_monitor *monitor)
{
	const pid_t pid = monitor->view.postmaster;

	unwatch_process(monitor);
	forget_server(monitor);
	log_event(LOG_NOTICE, "dbmon.server_ended", "pid=%d", (int)pid);
	monitor_view(monitor, true);
	order_lost(monitor);
	next_look(monitor);
}

static void on_process(uv_poll_t *poll, int status, int events)
{
	UNUSED(status);
	UNUSED(events);
	server_ended(poll->data);
}

/* It is the one that listens on our socket, or the one that dbctl started. */
static void watch_process(struct engine_monitor *monitor, pid_t pid)
{
	if (pid <= 1 || (monitor->pidfd >= 0 && pid == monitor->view.postmaster))
		return;
	if (monitor->pidfd >= 0) {
		unwatch_process(monitor);
		forget_server(monitor);
	}
	monitor->pidfd = process_open(pid, NULL);
	if (monitor->pidfd < 0)
		return; /* it has ended, or is hidden from this process */
	monitor->pid_poll = calloc(1, sizeof(*monitor->pid_poll));
	if (monitor->pid_poll == NULL ||
	    uv_poll_init(monitor->loop, monitor->pid_poll, monitor->pidfd) < 0) {
		free(monitor->pid_poll);
		monitor->pid_poll = NULL;
		unwatch_process(monitor);
		return;
	}
	monitor->pid_poll->data = monitor;
	CHECK(uv_poll_start(monitor->pid_poll, UV_READABLE, on_process) == 0);
	monitor->signs.process = monitor->signs.process_seen = true;
	monitor->signs.by_order = false;
	monitor->view.postmaster = pid;
}

/* Connections */

void monitor_open_conn(struct engine_monitor *monitor, struct pg_conn *conn, uint64_t timeout_ms,
		       pg_done done)
{
	const struct conf *conf = monitor->conf;
	const bool repl = conn == &monitor->repl;
	const bool flush = conn == &monitor->flush;
	char port[24];
	const char *const keywords[] = {"host",       "port",
					"user",       "dbname",
					"options",    "application_name",
					"sslmode",    "passfile",
					"gssencmode", repl ? "replication" : NULL,
					NULL};
	const char *const values[] = {
		conf->pg_socket_dir,
		port,
		conf->pg_monitor_user,
		conf->pg_dbname,
		flush  ? "-c search_path=pg_catalog -c synchronous_commit=local"
		: repl ? ""
		       : "-c search_path=pg_catalog",
		"mha_dbmon",
		"disable",
		"/nonexistent", /* the local socket needs no password */
		"disable",
		"true",
		NULL,
	};

	snprintf(port, sizeof(port), "%" PRIu64, conf_self(conf)->postgres_port);
	pg_conn_open(conn, keywords, values, timeout_ms, done, monitor);
	watch_process(monitor, pg_conn_server(conn));
}

static void look_unanswered(struct engine_monitor *monitor, enum pg_answer answer)
{
	struct pg_signs *signs = &monitor->signs;

	if (answer == PG_TIMEOUT) {
		/* One backend that hangs is not a server that hangs: new ones are asked, too. */
		if (monitor->fresh_ok_begun_ns < monitor->look_begun_ns)
			signs->old_hung = signs->looked;
		return;
	}
	signs->old_hung = false;
	signs->denied = answer == PG_DENIED;
	if (answer == PG_FULL)
		return; /* it answers everybody who is connected */
	if ((answer == PG_LOST || answer == PG_DENIED) && signs->looked &&
	    ++monitor->look_failures < LOOK_FAILURES_MAX) {
		monitor->look_soon = true;
		return;
	}
	signs->looked = false;
	signs->starting = answer != PG_DENIED;
}

static void tell_starved(struct engine_monitor *monitor, const char *text)
{
	if (monitor->starved)
		return;
	monitor->starved = true;
	monitor->events->starved(monitor->arg, text);
}

/* A look did not come to its end. */
static void look_failed(struct engine_monitor *monitor, enum pg_answer answer, const char *text)
{
	monitor->looking = false;
	monitor->prepared = false;
	monitor->view.probe_failures++;
	if (answer == PG_STARVED)
		tell_starved(monitor, text);
	else
		look_unanswered(monitor, answer);
	if (answer == PG_DENIED)
		log_event(LOG_WARNING, "dbmon.denied", "%.200s", text);
	pg_conn_close(&monitor->main);
	monitor_view(monitor, false);
	next_look(monitor);
}

/* A look: main, then repl, then it is complete. */

/*
 * At rest: seen waiting to try again twice, further apart than one such wait lasts. Between the two
 * it has read all WAL that is here once more, and it has replayed nothing.
 */
static void judge_rest(struct engine_monitor *monitor, const struct pg_look *before)
{
	const struct pg_look *look = &monitor->look;

	if (!look->recovery || look->receivers > 0 || look->replayed != before->replayed ||
	    look->received != before->received) {
		monitor->rest_ns = 0;
		monitor->at_rest = false;
	}
	if (!look->recovery || look->receivers > 0 || !look->exhausted)
		return;
	if (monitor->rest_ns == 0)
		monitor->rest_ns = clock_boot_ns();
	else if (monitor->look_begun_ns > monitor->rest_ns + REST_NS)
		monitor->at_rest = true;
}

static void look_complete(struct engine_monitor *monitor)
{
	struct pg_look *look = &monitor->look;
	const struct pg_look before = *look;

	/* Nobody sees half a look. */
	*look = monitor->pending;
	judge_rest(monitor, &before);
	monitor->looking = false;
	monitor->look_ok_begun_ns = monitor->look_begun_ns;
	/* The reason why no session could begin is gone: whether one can is to be seen anew. */
	if ((monitor->signs.locked && !look->locked) || (before.recovery && !look->recovery)) {
		monitor->signs.new_hung = false;
		monitor->fresh_timeouts = 0;
	}
	monitor->signs.locked = look->locked;
	signs_checksums(monitor);
	if (monitor->signs.looked && monitor->signs.recovery && !look->recovery &&
	    !monitor->promote_called && monitor->order.kind != ORDER_DB_PROMOTE)
		monitor->signs.by_hand = true;
	monitor->signs.looked = true;
	monitor->signs.recovery = look->recovery;
	monitor->signs.old_hung = monitor->signs.denied = monitor->signs.starting = false;
	monitor->look_failures = 0;
	if (look->timeline != 0 && look->timeline != monitor->history_timeline) {
		monitor->history = monitor->pending_history;
		monitor->history_timeline = look->timeline;
	}
	if (look->exhausted || look->received != 0)
		monitor->exhausted_once = true;
	monitor->primary_seen = !look->recovery && look->timeline != 0;
	rule_looked(monitor);
	order_looked(monitor);
	monitor_view(monitor, false);
	next_look(monitor);
}

static void on_history(void *arg, enum pg_answer answer, PGresult *const results[], unsigned count,
		       const char *text)
{
	struct engine_monitor *monitor = arg;
	struct err why = {.text = ""};

	if (answer == PG_OK && count == 1 && PQntuples(results[0]) == 1 &&
	    PQnfields(results[0]) == 2 &&
	    pg_parse_history(PQgetvalue(results[0], 0, 1), (size_t)PQgetlength(results[0], 0, 1),
			     &monitor->pending_history, &why) == 0) {
		look_complete(monitor);
		return;
	}
	log_event(LOG_WARNING, "dbmon.history", "timeline=%" PRIu32 " %.200s",
		  monitor->pending.timeline, answer == PG_OK ? why.text : text);
	monitor->pending.timeline = 0;
	look_complete(monitor);
}

/* Without a replication connection the end of a standby's WAL is not known exactly. */
static void no_position(struct engine_monitor *monitor)
{
	struct pg_look *look = &monitor->pending;

	look->timeline = 0;
	look->system_id = monitor->view.facts.system_id;
	if (!look->recovery && monitor->primary_seen) {
		/* A running primary stays on its timeline. */
		look->timeline = monitor->history_timeline;
		look->position = look->flushed;
	}
	look_complete(monitor);
}

static void on_identify(void *arg, enum pg_answer answer, PGresult *const results[], unsigned count,
			const char *text)
{
	struct engine_monitor *monitor = arg;
	struct pg_look *look = &monitor->pending;
	struct err why = {.text = ""};
	char query[64];

	if (answer != PG_OK || count != 1 || pg_look_identify(look, results[0], &why) < 0) {
		log_event(LOG_WARNING, "dbmon.identify", "%.200s",
			  answer == PG_OK ? why.text : text);
		no_position(monitor);
		return;
	}
	if (look->timeline == monitor->history_timeline) {
		look_complete(monitor);
		return;
	}
	if (look->timeline == 1) {
		/* The first timeline has no history. */
		monitor->pending_history.branch_count = 0;
		look_complete(monitor);
		return;
	}
	snprintf(query, sizeof(query), "TIMELINE_HISTORY %" PRIu32, look->timeline);
	pg_conn_query(&monitor->repl, query, monitor->conf->monitor_timeout_ms, on_history,
		      monitor);
}

static void on_repl(void *arg, enum pg_answer answer, PGresult *const results[], unsigned count,
		    const char *text)
{
	struct engine_monitor *monitor = arg;

	UNUSED(results);
	UNUSED(count);
	if (answer == PG_OK) {
		pg_conn_query(&monitor->repl, "IDENTIFY_SYSTEM", monitor->conf->monitor_timeout_ms,
			      on_identify, monitor);
		return;
	}
	log_event(LOG_WARNING, "dbmon.replication", "%.200s", text);
	no_position(monitor);
}

static void on_look(void *arg, enum pg_answer answer, PGresult *const results[], unsigned count,
		    const char *text)
{
	struct engine_monitor *monitor = arg;
	struct err why = {.text = ""};

	if (answer == PG_OK && pg_look_parse(&monitor->pending, results, count, &why) < 0) {
		answer = PG_DENIED;
		text = why.text;
	}
	if (answer != PG_OK) {
		look_failed(monitor, answer, text);
		return;
	}
	monitor->view.probes++;
	if (monitor->pending.written != monitor->written_seen) {
		monitor->written_seen = monitor->pending.written;
		begin_fresh(monitor);
	}
	if (monitor->repl.ready)
		on_repl(monitor, PG_OK, NULL, 0, "");
	else
		monitor_open_conn(monitor, &monitor->repl, monitor->conf->monitor_timeout_ms,
				  on_repl);
}

static void send_look(struct engine_monitor *monitor)
{
	const uint64_t now = clock_boot_ns();
	const uint64_t timeout_ms = monitor->conf->monitor_timeout_ms;
	/* A new connection that takes long already: should it fail, it is known why. */
	const bool waits = monitor->signs.new_hung || monitor->signs.locked ||
			   (monitor->fresh.connecting &&
			    now - monitor->fresh.begun_ns > timeout_ms * NS_PER_MS / 4);

	const bool counts = now - monitor->checksum_look_ns >= CHECKSUM_LOOK_NS ||
			    monitor->checksum_look_ns == 0;

	monitor->look_begun_ns = now;
	monitor->spread_at_start = monitor->written_spread;
	if (counts)
		monitor->checksum_look_ns = now;
	pg_conn_query(&monitor->main,
		      waits && counts ? PG_LOOK_QUERY PG_LOOK_LOCKS PG_LOOK_CHECKSUMS
		      : waits         ? PG_LOOK_QUERY PG_LOOK_LOCKS
		      : counts        ? PG_LOOK_QUERY PG_LOOK_CHECKSUMS
				      : PG_LOOK_QUERY,
		      timeout_ms, on_look, monitor);
}

static void on_prepared(void *arg, enum pg_answer answer, PGresult *const results[], unsigned count,
			const char *text)
{
	struct engine_monitor *monitor = arg;

	UNUSED(results);
	UNUSED(count);
	if (answer != PG_OK) {
		look_failed(monitor, answer, text);
		return;
	}
	monitor->prepared = true;
	send_look(monitor);
}

static void on_main(void *arg, enum pg_answer answer, PGresult *const results[], unsigned count,
		    const char *text)
{
	struct engine_monitor *monitor = arg;

	UNUSED(results);
	UNUSED(count);
	if (answer != PG_OK) {
		look_failed(monitor, answer, text);
		return;
	}
	pg_conn_query(&monitor->main, PG_LOOK_PREPARE, monitor->conf->monitor_timeout_ms,
		      on_prepared, monitor);
}

void monitor_look(struct engine_monitor *monitor)
{
	if (monitor->looking) {
		monitor->look_soon = true;
		return;
	}
	monitor->look_soon = false;
	if (monitor->signs.closed && !monitor->main.ready && !monitor->main.connecting &&
	    clock_boot_ns() - monitor->look_begun_ns < CLOSED_NS) {
		next_look(monitor);
		return;
	}
	if (monitor->main.ready && !monitor->prepared)
		pg_conn_close(&monitor->main);
	if (monitor->main.busy || monitor->main.connecting)
		return; /* an order uses it; the look follows */
	monitor->looking = true;
	if (monitor->main.ready) {
		send_look(monitor);
		return;
	}
	monitor->prepared = false;
	monitor->look_begun_ns = clock_boot_ns();
	monitor_open_conn(monitor, &monitor->main, monitor->conf->monitor_timeout_ms, on_main);
}

static void on_look_timer(uv_timer_t *timer)
{
	monitor_look(timer->data);
}

static uint64_t look_delay(const struct engine_monitor *monitor)
{
	const struct pg_signs *signs = &monitor->signs;
	const uint64_t now = clock_boot_ns();

	if (monitor->look_soon)
		return 0;
	if (signs->looked &&
	    (monitor->order.kind == ORDER_DB_POSITION || monitor->order.kind == ORDER_DB_PROMOTE))
		return LOOK_BUSY_MS;
	if (signs->looked && (monitor->written_spread != monitor->written_seen ||
			      (!signs->recovery && !monitor->rule.in_force &&
			       now - monitor->rule.begun_ns < PG_SETTLE_NS)))
		return LOOK_BUSY_MS;
	if (signs->process && !signs->looked && !signs->denied && !signs->closed)
		return LOOK_STARTING_MS;
	if (now < monitor->watch_until_ns && monitor->watch_ms < monitor->conf->monitor_interval_ms)
		return monitor->watch_ms;
	return monitor->conf->monitor_interval_ms;
}

static void next_look(struct engine_monitor *monitor)
{
	CHECK(uv_timer_start(monitor->look_timer, on_look_timer, look_delay(monitor), 0) == 0);
}

/* New connections */

static void on_knocked(void *arg)
{
	struct engine_monitor *monitor = arg;

	monitor->knocked_ns = clock_boot_ns();
	if (monitor->written_spread == monitor->written_knocked)
		return;
	monitor->written_spread = monitor->written_knocked;
	monitor_look(monitor);
}

/*
 * No session can begin, but a reload may have been spread all the same: a survey waits for it. And
 * a server that was never asked may be well.
 */
static void knock(struct engine_monitor *monitor)
{
	pg_knock_end(&monitor->knock);
	if (monitor->signs.looked && monitor->written_spread == monitor->written_seen)
		return;
	monitor->written_knocked = monitor->written_seen;
	pg_knock_begin(&monitor->knock, monitor->conf->pg_socket_dir,
		       conf_self(monitor->conf)->postgres_port, on_knocked, monitor);
}

/* So many new connections in a row must have had no answer. */
static unsigned patience(const struct pg_signs *signs)
{
	if (signs->starting)
		return STARTING_PATIENCE;
	/* Where an open one is answered, the server works; a starved postmaster is only slow. */
	return signs->old_answers ? SLOW_PATIENCE : 1;
}

/*
 * Recovery has replayed a lock on a catalog, and holds it until more WAL says otherwise: ending the
 * server would begin it all again, and again.
 */
static bool is_closed(const struct engine_monitor *monitor)
{
	return monitor->signs.starting && !monitor->signs.looked && monitor->fresh_timeouts > 1 &&
	       monitor->knocked_ns > monitor->fresh_late_ns;
}

/* No session can begin, that is known, and no server is ended for it. */
static bool backs_off(const struct engine_monitor *monitor)
{
	const struct pg_signs *signs = &monitor->signs;

	return monitor->fresh_timeouts >= SLOW_PATIENCE &&
	       (signs->closed || (signs->old_answers && (signs->locked || signs->recovery))) &&
	       clock_boot_ns() - monitor->fresh.begun_ns < CLOSED_NS;
}

static void on_fresh(void *arg, enum pg_answer answer, PGresult *const results[], unsigned count,
		     const char *text)
{
	struct engine_monitor *monitor = arg;
	struct pg_signs *signs = &monitor->signs;
	const uint64_t begun = monitor->fresh.begun_ns;
	const bool was_hung = signs->new_hung, was_closed = signs->closed;

	UNUSED(results);
	UNUSED(count);
	monitor->view.probes++;
	if (answer == PG_STARVED) {
		tell_starved(monitor, text);
	} else if (answer == PG_TIMEOUT) {
		monitor->view.probe_failures++;
		monitor->fresh_timeouts++;
		/* Not one that was answered just before everything stopped. */
		signs->old_answers = monitor->look_ok_begun_ns >
				     begun + monitor->conf->monitor_timeout_ms * NS_PER_MS / 2;
		signs->closed = is_closed(monitor);
		signs->new_hung = signs->process && !signs->closed &&
				  monitor->fresh_timeouts >= patience(signs);
		signs_refresh(monitor);
		monitor->fresh_late_ns = clock_boot_ns();
		knock(monitor);
	} else {
		monitor->fresh_timeouts = 0;
		signs->new_hung = signs->closed = false;
		signs->full = answer == PG_FULL;
	}
	if (answer == PG_OK) {
		monitor->fresh_ok_begun_ns = begun;
		monitor->view.last_probe_us = (clock_boot_ns() - begun) / 1000;
	}
	/* A refusal proves as well that the postmaster has taken the connection. */
	if ((answer == PG_OK || answer == PG_FULL || answer == PG_DENIED) &&
	    monitor->written_spread != monitor->written_asked) {
		monitor->written_spread = monitor->written_asked;
		monitor_look(monitor);
	}
	pg_conn_close(&monitor->fresh);
	if (monitor->written_asked != monitor->written_seen)
		begin_fresh(monitor);
	if (was_closed && !signs->closed)
		monitor_look(monitor);
	if (was_hung != signs->new_hung)
		monitor_view(monitor, true);
}

static void begin_fresh(struct engine_monitor *monitor)
{
	if (monitor->fresh.connecting)
		return; /* its end begins another if one is needed */
	monitor->written_asked = monitor->written_seen;
	monitor_open_conn(monitor, &monitor->fresh, monitor->conf->monitor_timeout_ms, on_fresh);
}

/* Commits */

static void on_flushed(void *arg, enum pg_answer answer, PGresult *const results[], unsigned count,
		       const char *text)
{
	struct engine_monitor *monitor = arg;
	const bool was_hung = monitor->signs.flush_hung;

	UNUSED(results);
	UNUSED(count);
	UNUSED(text);
	monitor->signs.flush_hung = answer == PG_TIMEOUT && is_primary(monitor);
	if (answer == PG_OK)
		monitor->view.last_flush_us = (clock_boot_ns() - monitor->flush.begun_ns) / 1000;
	if (was_hung != monitor->signs.flush_hung)
		monitor_view(monitor, true);
}

static void on_flush_conn(void *arg, enum pg_answer answer, PGresult *const results[],
			  unsigned count, const char *text)
{
	struct engine_monitor *monitor = arg;

	UNUSED(results);
	UNUSED(count);
	UNUSED(text);
	if (answer == PG_OK)
		pg_conn_query(
			&monitor->flush, "SELECT pg_logical_emit_message(true, 'mha4rdb', '')",
			FLUSH_PATIENCE * monitor->conf->monitor_timeout_ms, on_flushed, monitor);
}

static void probe_flush(struct engine_monitor *monitor)
{
	const uint64_t now = clock_boot_ns();

	if (!is_primary(monitor)) {
		monitor->signs.flush_hung = false;
		pg_conn_close(&monitor->flush);
		return;
	}
	if (monitor->conf->monitor_flush_ms == 0 || now < monitor->flush_at_ns ||
	    monitor->flush.busy || monitor->flush.connecting)
		return;
	monitor->flush_at_ns = now + monitor->conf->monitor_flush_ms * NS_PER_MS;
	if (monitor->flush.ready)
		on_flush_conn(monitor, PG_OK, NULL, 0, "");
	else
		monitor_open_conn(monitor, &monitor->flush, monitor->conf->monitor_timeout_ms,
				  on_flush_conn);
}

static void on_fresh_timer(uv_timer_t *timer)
{
	struct engine_monitor *monitor = timer->data;

	if ((monitor->signs.process || monitor->signs.looked) && !backs_off(monitor))
		begin_fresh(monitor);
	probe_flush(monitor);
	signs_refresh(monitor);
	/* A look may wait long for its answer; what is known is told all the same. */
	monitor_view(monitor, false);
	uv_timer_set_repeat(timer, monitor->conf->monitor_interval_ms);
}

/* The interface */

static void on_socket(uv_fs_event_t *event, const char *name, int events, int status)
{
	struct engine_monitor *monitor = event->data;

	UNUSED(events);
	UNUSED(status);
	if (name != NULL && strncmp(name, ".s.PGSQL.", 9) == 0 && !monitor->signs.looked)
		monitor_look(monitor);
}

static void tell(struct engine_monitor *monitor, const struct engine_told *told)
{
	const bool news = signs_told(monitor, told);

	monitor->signs.directory = told->directory;
	if (monitor->pidfd < 0)
		watch_process(monitor, told->postmaster);
	monitor_look(monitor);
	monitor_view(monitor, news);
}

static void watch(struct engine_monitor *monitor, uint64_t until_ns, uint64_t interval_ms)
{
	monitor->watch_until_ns = until_ns;
	monitor->watch_ms = interval_ms < LOOK_BUSY_MS ? LOOK_BUSY_MS : interval_ms;
	monitor_look(monitor);
}

static uv_timer_t *new_timer(struct engine_monitor *monitor)
{
	uv_timer_t *timer = calloc(1, sizeof(*timer));

	if (timer == NULL)
		return NULL;
	CHECK(uv_timer_init(monitor->loop, timer) == 0);
	timer->data = monitor;
	return timer;
}

static void watch_socket(struct engine_monitor *monitor)
{
	uv_fs_event_t *event = calloc(1, sizeof(*event));

	if (event == NULL || uv_fs_event_init(monitor->loop, event) < 0) {
		free(event);
		return; /* the interval finds a new socket too */
	}
	event->data = monitor;
	monitor->socket_event = event;
	if (uv_fs_event_start(event, on_socket, monitor->conf->pg_socket_dir, 0) < 0)
		log_event(LOG_INFO, "dbmon.socket_dir", "%s cannot be watched",
			  monitor->conf->pg_socket_dir);
}

static void monitor_close(struct engine_monitor *monitor)
{
	if (monitor == NULL)
		return;
	unwatch_process(monitor);
	forget_server(monitor);
	if (monitor->look_timer != NULL)
		uv_close((uv_handle_t *)monitor->look_timer, on_closed);
	if (monitor->fresh_timer != NULL)
		uv_close((uv_handle_t *)monitor->fresh_timer, on_closed);
	if (monitor->socket_event != NULL)
		uv_close((uv_handle_t *)monitor->socket_event, on_closed);
	free(monitor);
}

static int monitor_open(struct engine_monitor **opened, uv_loop_t *loop, const struct conf *conf,
			const struct engine_monitor_events *events, void *arg, struct err *why)
{
	struct engine_monitor *monitor = calloc(1, sizeof(*monitor));
	struct pg_conn *conns[5];

	if (monitor == NULL)
		return err_set(why, ERR_NO_MEMORY, "out of memory");
	monitor->loop = loop;
	monitor->conf = conf;
	monitor->events = events;
	monitor->arg = arg;
	monitor->pidfd = -1;
	conns[0] = &monitor->main;
	conns[1] = &monitor->repl;
	conns[2] = &monitor->fresh;
	conns[3] = &monitor->flush;
	conns[4] = &monitor->work;
	for (size_t i = 0; i < COUNT_OF(conns); i++)
		pg_conn_init(conns[i], loop);
	pg_knock_init(&monitor->knock, loop);
	monitor->look_timer = new_timer(monitor);
	monitor->fresh_timer = new_timer(monitor);
	if (monitor->look_timer == NULL || monitor->fresh_timer == NULL) {
		monitor_close(monitor);
		return err_set(why, ERR_NO_MEMORY, "out of memory");
	}
	watch_socket(monitor);
	CHECK(uv_timer_start(monitor->look_timer, on_look_timer, 0, 0) == 0);
	CHECK(uv_timer_start(monitor->fresh_timer, on_fresh_timer, conf->monitor_interval_ms,
			     conf->monitor_interval_ms) == 0);
	*opened = monitor;
	return 0;
}

const struct engine_monitor_ops PG_MONITOR = {
	.open = monitor_open,
	.close = monitor_close,
	.tell = tell,
	.watch = watch,
	.execute = order_begin,
};
