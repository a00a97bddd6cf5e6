#include "dbctl.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "core/cluster.h"
#include "engine/engine.h"
#include "os/clock.h"
#include "wire/convert.h"

/*
 * dbmon cannot look into the data directory. It is told of every change, when it connects, and
 * this often all the same, because a message may be dropped.
 */
#define TELL_MS 2000

struct dbctl {
	struct worker *worker;
	const struct engine_control_ops *ops;
	struct engine_control *control;
	uv_timer_t tell;
	uint64_t incarnation;
	uint64_t order_seen; /* highest id: ids follow the clock of this host */
	struct status_dbctl status;
};

static void publish(struct dbctl *dbctl)
{
	const struct engine_work *work = dbctl->ops->work(dbctl->control);
	struct status_dbctl *status = &dbctl->status;

	status->updated_ns = clock_boot_ns();
	status->job = work->job;
	status->job_done = work->done;
	status->job_total = work->total;
	status->job_started_ns = work->job == JOB_NONE ? 0 : work->started_ns;
	status->postmaster_pid = work->postmaster;
	status->check = work->check.state;
	status->check_damaged = work->check.damaged;
	status->check_passes = work->check.passes;
	status->check_pages = work->check.pages;
	status->check_unread = work->check.unread;
	status->check_ended_ms = work->check.ended_ms;
	snprintf(status->check_text, sizeof(status->check_text), "%s", work->check.text);
	status_publish(&dbctl->worker->status, status);
}

static void send_job(struct dbctl *dbctl, enum route_id route)
{
	const struct engine_work *work = dbctl->ops->work(dbctl->control);
	Mha__Bus__Job job;
	char text[ENGINE_TEXT_SIZE], fault_text[ENGINE_TEXT_SIZE], damaged_text[ENGINE_TEXT_SIZE];
	struct err why;

	mha__bus__job__init(&job);
	snprintf(text, sizeof(text), "%s", work->text);
	snprintf(fault_text, sizeof(fault_text), "%s", work->fault_text);
	snprintf(damaged_text, sizeof(damaged_text), "%s", work->check.text);
	job.job = work->job;
	job.done = work->done;
	job.total = work->total;
	job.text = text;
	job.incarnation = dbctl->incarnation;
	job.directory = work->directory;
	job.postmaster = (uint32_t)work->postmaster;
	job.ending = work->ending;
	job.fault = work->fault;
	job.fault_text = fault_text;
	job.wal_oldest = work->wal_oldest;
	job.whole_timeline = work->whole_from.timeline;
	job.whole_from = work->whole_from.end;
	job.damaged = work->check.damaged;
	job.damaged_text = damaged_text;
	job.good_since_ms = work->check.good_since_ms;
	if (bus_send(dbctl->worker->bus, route, &job.base, &why) < 0)
		log_event(LOG_DEBUG, "dbctl.job", "%s", why.text);
}

static void on_working(void *arg, const struct engine_work *work)
{
	struct dbctl *dbctl = arg;

	UNUSED(work);
	send_job(dbctl, ROUTE_JOB_SEEN);
	send_job(dbctl, ROUTE_JOB);
	publish(dbctl);
}

static void send_result(struct dbctl *dbctl, const struct engine_result *result)
{
	Mha__Bus__OrderResult message;
	char text[ENGINE_TEXT_SIZE];
	struct err why;

	mha__bus__order_result__init(&message);
	snprintf(text, sizeof(text), "%s", result->text);
	message.order_id = result->order_id;
	message.outcome = result->outcome;
	message.text = text;
	message.incarnation = dbctl->incarnation;
	if (bus_send(dbctl->worker->bus, ROUTE_RESULT_DBCTL, &message.base, &why) < 0)
		log_event(LOG_WARNING, "dbctl.result", "%s", why.text);
}

static void on_finished(void *arg, const struct engine_result *result)
{
	struct dbctl *dbctl = arg;

	/* dbmon looks at once, so that the facts follow the result. */
	send_job(dbctl, ROUTE_JOB_SEEN);
	send_result(dbctl, result);
	if (result->outcome == OUTCOME_DONE) {
		dbctl->status.orders_done++;
	} else {
		dbctl->status.orders_failed++;
		snprintf(dbctl->status.last_error, sizeof(dbctl->status.last_error), "%.255s",
			 result->text);
	}
	publish(dbctl);
	log_set_operation(0);
}

static const struct engine_control_events EVENTS = {.working = on_working, .finished = on_finished};

static void take_order(struct dbctl *dbctl, const Mha__Bus__Order *message)
{
	struct engine_result refused = {.outcome = OUTCOME_REFUSED};
	struct order order;
	struct err why;

	if (order_from_message(message, &order, &why) < 0) {
		log_event(LOG_ERROR, "dbctl.order", "%s", why.text);
		return;
	}
	log_set_operation(message->operation);
	refused.order_id = order.id;
	if (order.epoch < dbctl->status.epoch_seen) {
		snprintf(refused.text, sizeof(refused.text),
			 "epoch %" PRIu64 " is over, %" PRIu64 " was seen", order.epoch,
			 dbctl->status.epoch_seen);
		send_result(dbctl, &refused);
		return;
	}
	/* Of a process before the one that gives orders now, and late. */
	if (order.id < dbctl->order_seen) {
		snprintf(refused.text, sizeof(refused.text), "a later order was seen");
		send_result(dbctl, &refused);
		return;
	}
	if (order_executor(order.kind) != EXECUTOR_DBCTL) {
		refused.outcome = OUTCOME_FAILED;
		snprintf(refused.text, sizeof(refused.text), "%s is not an order for dbctl",
			 order_kind_name(order.kind));
		send_result(dbctl, &refused);
		return;
	}
	dbctl->status.epoch_seen = order.epoch;
	dbctl->order_seen = order.id;
	dbctl->ops->execute(dbctl->control, &order);
	publish(dbctl);
}

static void dbctl_message(struct worker *worker, enum route_id route,
			  const ProtobufCMessage *message)
{
	CHECK(route == ROUTE_ORDER_DBCTL); /* the bus gives us no other route */
	take_order(worker->self, (const Mha__Bus__Order *)(const void *)message);
}

static void on_tell(uv_timer_t *timer)
{
	struct dbctl *dbctl = timer->data;

	dbctl->ops->look(dbctl->control);
	send_job(dbctl, ROUTE_JOB_SEEN);
	publish(dbctl);
}

static void on_peer(void *arg, enum worker_id peer)
{
	send_job(arg, peer == WORKER_dbmon ? ROUTE_JOB_SEEN : ROUTE_JOB);
}

/* What an earlier process of this worker has seen and counted goes on. */
static void restore(struct dbctl *dbctl)
{
	struct status_dbctl earlier;

	if (status_read(&dbctl->worker->status, &earlier, NULL) < 0)
		return;
	dbctl->status.epoch_seen = earlier.epoch_seen;
	dbctl->status.orders_done = earlier.orders_done;
	dbctl->status.orders_failed = earlier.orders_failed;
}

static int dbctl_open(struct dbctl *dbctl, struct err *why)
{
	struct worker *worker = dbctl->worker;
	char secret[256];
	int rc;

	dbctl->ops = engine_control_find("postgresql");
	CHECK(dbctl->ops != NULL);
	if ((rc = worker_secret(worker, secret, sizeof(secret), why)) < 0)
		return err_in(why, rc, "replication password");
	rc = dbctl->ops->open(&dbctl->control, worker->loop, &worker->conf, secret, &EVENTS, dbctl,
			      why);
	explicit_bzero(secret, sizeof(secret));
	return rc;
}

static int dbctl_start(struct worker *worker, struct err *why)
{
	struct dbctl *dbctl = calloc(1, sizeof(*dbctl));
	int rc;

	if (dbctl == NULL)
		return err_set(why, ERR_NO_MEMORY, "out of memory");
	dbctl->worker = worker;
	dbctl->incarnation = clock_boot_ns();
	if ((rc = dbctl_open(dbctl, why)) < 0) {
		free(dbctl);
		return rc;
	}
	worker->self = dbctl;
	restore(dbctl);
	CHECK(uv_timer_init(worker->loop, &dbctl->tell) == 0);
	dbctl->tell.data = dbctl;
	CHECK(uv_timer_start(&dbctl->tell, on_tell, 0, TELL_MS) == 0);
	bus_watch(worker->bus, on_peer, dbctl);
	publish(dbctl);
	return 0;
}

/* An operator may have changed postgresql.conf too. */
static void dbctl_reload(struct worker *worker)
{
	struct dbctl *dbctl = worker->self;
	struct err why = {0};

	if (dbctl->ops->reread(dbctl->control, &why) < 0)
		log_event(LOG_WARNING, "dbctl.reload", "%s", why.text);
}

/* The database goes on; what copies or rewinds ends with us and is begun again by an order. */
static void dbctl_finish(struct worker *worker)
{
	struct dbctl *dbctl = worker->self;

	bus_watch(worker->bus, NULL, NULL);
	uv_timer_stop(&dbctl->tell);
	dbctl->ops->close(dbctl->control);
}

const struct worker_ops DBCTL = {
	.start = dbctl_start,
	.message = dbctl_message,
	.reload = dbctl_reload,
	.finish = dbctl_finish,
};
