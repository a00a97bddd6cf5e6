/* Orders in SQL. Each waits for looks that show its goal; a look is asked for every 2 ms. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "engine/pg_monitor.h"
#include "os/clock.h"

/* After so long an order has failed; whoever gave it may give it again. */
#define POSITION_NS   UINT64_C(10000000000)
#define PROMOTE_NS    UINT64_C(60000000000)
#define CONFIGURED_NS UINT64_C(1000000000)
#define CHECKPOINT_MS 600000

static void finish(struct engine_monitor *monitor, uint8_t outcome, const char *text)
{
	struct engine_result result = {.order_id = monitor->order.id, .outcome = outcome};
	const uint64_t took_us = (clock_boot_ns() - monitor->order_begun_ns) / 1000;
	const unsigned kind = monitor->order.kind;

	snprintf(result.text, sizeof(result.text), "%s", text);
	if (outcome == OUTCOME_DONE && kind != ORDER_DB_CHECKPOINT) {
		monitor_view(monitor, true);
		result.has_facts = true;
		result.facts = monitor->view.facts;
	}
	monitor->order.kind = ORDER_NONE;
	monitor->promoting = false;
	log_event(outcome == OUTCOME_DONE ? LOG_NOTICE : LOG_WARNING, "dbmon.order",
		  "order=%s outcome=%u took_us=%" PRIu64 " %s", order_kind_name(kind), outcome,
		  took_us, text);
	monitor->events->finished(monitor->arg, &result);
}

/* What the order waits for, should it have to give up. */
#define WAITS(monitor, ...)                                                                        \
	((void)snprintf((monitor)->order_text, sizeof((monitor)->order_text), __VA_ARGS__))

/* The file that this look ran under has reached every process of the server. */
static bool is_spread(const struct engine_monitor *monitor)
{
	return monitor->look.written != 0 && monitor->spread_at_start == monitor->look.written;
}

/*
 * The promise is in force once the startup process is seen waiting to try again after the reload
 * was spread: it has stopped the receiver before it waits, and reads the configuration when it
 * stops waiting. What was received and is not replayed yet counts (IDENTIFY_SYSTEM: the greatest of
 * both), as long as it is of the same timeline.
 */
static bool position_is_exact(struct engine_monitor *monitor)
{
	const struct pg_look *look = &monitor->look;

	if (look->promise < monitor->order.promise) {
		WAITS(monitor, "the promise %" PRIu64 " is not in the configuration (%" PRIu64 ")",
		      monitor->order.promise, look->promise);
		return false;
	}
	if (!is_spread(monitor))
		WAITS(monitor, "the configuration has not reached all processes");
	else if (look->timeline == 0)
		WAITS(monitor, "the timeline is not known");
	else if (look->recovery && !look->upstream_empty)
		WAITS(monitor, "the configuration names an upstream");
	else if (look->recovery && look->receivers > 0)
		WAITS(monitor, "the WAL receiver still runs");
	else if (look->recovery && !look->exhausted)
		WAITS(monitor, "recovery has not read all WAL that is here");
	else if (look->recovery && look->received > look->position)
		WAITS(monitor, "recovery has not come to the timeline that was received");
	else
		return true;
	return false;
}

static void on_promoted(void *arg, enum pg_answer answer, PGresult *const results[], unsigned count,
			const char *text)
{
	struct engine_monitor *monitor = arg;

	UNUSED(results);
	UNUSED(count);
	if (monitor->order.kind == ORDER_DB_PROMOTE && answer == PG_DENIED) {
		finish(monitor, OUTCOME_FAILED, text);
		return;
	}
	monitor_look(monitor);
}

/*
 * The promotion does not wait until the configuration is spread: what is forked after it has read
 * it, and the order is not done before the rule is proven to be in force.
 */
static void promote(struct engine_monitor *monitor)
{
	const struct pg_look *look = &monitor->look;

	if (look->epoch != monitor->order.epoch) {
		WAITS(monitor,
		      "the configuration is that of epoch %" PRIu64 ", not %" PRIu64
		      ": CONFIGURE comes first",
		      look->epoch, monitor->order.epoch);
		/* The server may be about to read it. */
		if (clock_boot_ns() - monitor->order_begun_ns > CONFIGURED_NS)
			finish(monitor, OUTCOME_FAILED, monitor->order_text);
		return;
	}
	if (!monitor->main.ready)
		return;
	if (clock_boot_ns() >= monitor->order.lease_until_ns) {
		finish(monitor, OUTCOME_REFUSED, "the lease has ended");
		return;
	}
	monitor->promoting = monitor->promote_called = true;
	WAITS(monitor, "the server has not left recovery");
	pg_conn_query(&monitor->main, "SELECT pg_promote(false)", monitor->conf->monitor_timeout_ms,
		      on_promoted, monitor);
}

static void promote_looked(struct engine_monitor *monitor)
{
	const struct pg_look *look = &monitor->look;

	if (look->recovery) {
		if (!monitor->promoting)
			promote(monitor);
		return;
	}
	if (look->timeline == 0)
		WAITS(monitor, "the new timeline is not known");
	else if (!monitor->rule.in_force)
		WAITS(monitor, "the rule is not proven to be in force");
	else
		finish(monitor, OUTCOME_DONE, "");
}

void order_looked(struct engine_monitor *monitor)
{
	const uint64_t age = clock_boot_ns() - monitor->order_begun_ns;

	switch (monitor->order.kind) {
	case ORDER_DB_POSITION:
		if (position_is_exact(monitor))
			finish(monitor, OUTCOME_DONE, "");
		else if (age > POSITION_NS)
			finish(monitor, OUTCOME_FAILED, monitor->order_text);
		break;
	case ORDER_DB_PROMOTE:
		promote_looked(monitor);
		if (monitor->order.kind != ORDER_NONE && age > PROMOTE_NS)
			finish(monitor, OUTCOME_FAILED, monitor->order_text);
		break;
	default:
		break;
	}
}

void order_lost(struct engine_monitor *monitor)
{
	if (monitor->order.kind != ORDER_NONE)
		finish(monitor, OUTCOME_FAILED, "the server ended");
}

static void on_checkpoint(void *arg, enum pg_answer answer, PGresult *const results[],
			  unsigned count, const char *text)
{
	struct engine_monitor *monitor = arg;

	UNUSED(results);
	UNUSED(count);
	if (monitor->order.kind == ORDER_DB_CHECKPOINT)
		finish(monitor, answer == PG_OK ? OUTCOME_DONE : OUTCOME_FAILED, text);
	pg_conn_close(&monitor->work);
}

static void on_checkpoint_conn(void *arg, enum pg_answer answer, PGresult *const results[],
			       unsigned count, const char *text)
{
	struct engine_monitor *monitor = arg;

	if (answer == PG_OK)
		pg_conn_query(&monitor->work, "CHECKPOINT", CHECKPOINT_MS, on_checkpoint, monitor);
	else
		on_checkpoint(arg, answer, results, count, text);
}

void order_begin(struct engine_monitor *monitor, const struct order *order)
{
	if (monitor->order.kind == order->kind && monitor->order.id == order->id)
		return; /* the same once more */
	monitor->order = *order;
	monitor->order_begun_ns = clock_boot_ns();
	monitor->promoting = false;
	WAITS(monitor, "the server does not answer");
	switch (order->kind) {
	case ORDER_DB_POSITION:
	case ORDER_DB_PROMOTE:
		if (!monitor->signs.process && !monitor->signs.looked)
			finish(monitor, OUTCOME_FAILED, "there is no server");
		else
			monitor_look(monitor);
		break;
	case ORDER_DB_CHECKPOINT:
		monitor_open_conn(monitor, &monitor->work, monitor->conf->monitor_timeout_ms,
				  on_checkpoint_conn);
		break;
	default:
		finish(monitor, OUTCOME_FAILED, "not an order for dbmon");
		break;
	}
}
