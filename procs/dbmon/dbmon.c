#include "dbmon.h"

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

struct dbmon {
	struct worker *worker;
	const struct engine_monitor_ops *ops;
	struct engine_monitor *monitor;
	uint64_t incarnation;
	uint64_t epoch_seen; /* orders of earlier epochs are refused */
	struct engine_view view;
	struct status_dbmon status;
};

static void publish(struct dbmon *dbmon)
{
	const struct engine_view *view = &dbmon->view;
	struct status_dbmon *status = &dbmon->status;

	status->updated_ns = clock_boot_ns();
	status->facts = view->facts;
	snprintf(status->detail, sizeof(status->detail), "%.255s", view->detail);
	status->probes = view->probes;
	status->probe_failures = view->probe_failures;
	status->last_probe_us = view->last_probe_us;
	status->last_flush_us = view->last_flush_us;
	status->postmaster_pid = view->postmaster;
	status_publish(&dbmon->worker->status, status);
}

static void send_facts(struct dbmon *dbmon)
{
	struct facts_message facts;
	Mha__Bus__FactsReport report;
	struct err why;

	mha__bus__facts_report__init(&report);
	facts_to_message(&dbmon->view.facts, dbmon->view.detail, &facts);
	report.facts = &facts.facts;
	report.incarnation = dbmon->incarnation;
	/* Not delivered now: the next one follows within an interval. */
	if (bus_send(dbmon->worker->bus, ROUTE_FACTS, &report.base, &why) < 0)
		log_event(LOG_DEBUG, "dbmon.facts", "%s", why.text);
}

static void on_view(void *arg, const struct engine_view *view)
{
	struct dbmon *dbmon = arg;

	dbmon->view = *view;
	send_facts(dbmon);
	publish(dbmon);
}

static void send_result(struct dbmon *dbmon, const struct engine_result *result)
{
	struct facts_message facts;
	Mha__Bus__OrderResult message;
	char text[ENGINE_TEXT_SIZE];
	struct err why;

	mha__bus__order_result__init(&message);
	snprintf(text, sizeof(text), "%s", result->text);
	message.order_id = result->order_id;
	message.outcome = result->outcome;
	message.text = text;
	message.incarnation = dbmon->incarnation;
	if (result->has_facts) {
		facts_to_message(&result->facts, NULL, &facts);
		message.facts = &facts.facts;
	}
	if (bus_send(dbmon->worker->bus, ROUTE_RESULT_DBMON, &message.base, &why) < 0)
		log_event(LOG_WARNING, "dbmon.result", "%s", why.text);
}

static void on_finished(void *arg, const struct engine_result *result)
{
	send_result(arg, result);
	log_set_operation(0);
}

/* Neither a database that is well nor one that is gone: a new process looks again. */
static void on_starved(void *arg, const char *text)
{
	struct dbmon *dbmon = arg;

	log_event(LOG_ERROR, "dbmon.starved",
		  "the database cannot be looked at: %.200s; this worker ends and is started anew",
		  text);
	worker_stopped(dbmon->worker);
}

static const struct engine_monitor_events EVENTS = {
	.viewed = on_view, .finished = on_finished, .starved = on_starved};

static void take_order(struct dbmon *dbmon, const Mha__Bus__Order *message)
{
	struct engine_result refused = {.outcome = OUTCOME_REFUSED};
	struct order order;
	struct err why;

	if (order_from_message(message, &order, &why) < 0) {
		log_event(LOG_ERROR, "dbmon.order", "%s", why.text);
		return;
	}
	log_set_operation(message->operation);
	refused.order_id = order.id;
	if (order.epoch < dbmon->epoch_seen) {
		snprintf(refused.text, sizeof(refused.text),
			 "epoch %" PRIu64 " is over, %" PRIu64 " was seen", order.epoch,
			 dbmon->epoch_seen);
		send_result(dbmon, &refused);
		return;
	}
	if (order_executor(order.kind) != EXECUTOR_DBMON) {
		refused.outcome = OUTCOME_FAILED;
		snprintf(refused.text, sizeof(refused.text), "%s is not an order for dbmon",
			 order_kind_name(order.kind));
		send_result(dbmon, &refused);
		return;
	}
	dbmon->epoch_seen = order.epoch;
	dbmon->ops->execute(dbmon->monitor, &order);
}

static void take_job(struct dbmon *dbmon, const Mha__Bus__Job *job)
{
	if (job->directory >= DIRECTORY_COUNT || job->postmaster > INT32_MAX ||
	    job->fault >= FAULT_COUNT) {
		log_event(LOG_ERROR, "dbmon.job",
			  "directory=%u postmaster=%u fault=%u out of range", job->directory,
			  job->postmaster, job->fault);
		return;
	}
	dbmon->ops->tell(dbmon->monitor, &(struct engine_told){
						 .directory = (uint8_t)job->directory,
						 .postmaster = (pid_t)job->postmaster,
						 .ending = job->ending,
						 .fault = (uint8_t)job->fault,
						 .fault_text = job->fault_text,
						 .damaged = job->damaged,
						 .damaged_text = job->damaged_text,
						 .good_since_ms = job->good_since_ms,
					 });
}

static void dbmon_message(struct worker *worker, enum route_id route,
			  const ProtobufCMessage *message)
{
	struct dbmon *dbmon = worker->self;

	switch (route) {
	case ROUTE_ORDER_DBMON:
		take_order(dbmon, (const Mha__Bus__Order *)(const void *)message);
		break;
	case ROUTE_JOB_SEEN:
		take_job(dbmon, (const Mha__Bus__Job *)(const void *)message);
		break;
	case ROUTE_WATCH: {
		const Mha__Bus__Watch *watch = (const Mha__Bus__Watch *)(const void *)message;

		dbmon->ops->watch(dbmon->monitor, watch->until_ns, watch->interval_ms);
		break;
	}
	default:
		CHECK(false); /* the bus gives us no other route */
	}
}

static void on_peer(void *arg, enum worker_id peer)
{
	if (peer == WORKER_consensus)
		send_facts(arg);
}

static int dbmon_start(struct worker *worker, struct err *why)
{
	struct dbmon *dbmon = calloc(1, sizeof(*dbmon));
	int rc;

	if (dbmon == NULL)
		return err_set(why, ERR_NO_MEMORY, "out of memory");
	dbmon->worker = worker;
	dbmon->incarnation = clock_boot_ns();
	dbmon->ops = engine_monitor_find("postgresql");
	CHECK(dbmon->ops != NULL);
	rc = dbmon->ops->open(&dbmon->monitor, worker->loop, &worker->conf, &EVENTS, dbmon, why);
	if (rc < 0) {
		free(dbmon);
		return rc;
	}
	worker->self = dbmon;
	bus_watch(worker->bus, on_peer, dbmon);
	publish(dbmon);
	return 0;
}

static void dbmon_finish(struct worker *worker)
{
	struct dbmon *dbmon = worker->self;

	bus_watch(worker->bus, NULL, NULL);
	dbmon->ops->close(dbmon->monitor);
	free(dbmon);
}

const struct worker_ops DBMON = {
	.start = dbmon_start,
	.message = dbmon_message,
	.finish = dbmon_finish,
};
