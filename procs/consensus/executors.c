/* dbctl, dbmon and vip: orders out, results and reports in. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "consensus.h"

#define LOG_GAP_NS (60000 * NS_PER_MS)
/* After dbctl has changed something, dbmon looks often for this long. */
#define WATCH_NS          (1000 * NS_PER_MS)
#define WATCH_INTERVAL_MS 20

static const char *const EXECUTOR_NAMES[EXECUTOR_COUNT] = {
	[EXECUTOR_DBCTL] = "dbctl", [EXECUTOR_DBMON] = "dbmon", [EXECUTOR_VIP] = "vip"};

static const enum route_id ORDER_ROUTES[EXECUTOR_COUNT] = {
	[EXECUTOR_DBCTL] = ROUTE_ORDER_DBCTL,
	[EXECUTOR_DBMON] = ROUTE_ORDER_DBMON,
	[EXECUTOR_VIP] = ROUTE_ORDER_VIP,
};

/* Once, and again when it is another sentence or a minute has passed. */
static void log_trouble(struct consensus *self, enum executor executor, const char *event,
			const char *text)
{
	struct executor_state *state = &self->executors[executor];
	const uint64_t now = consensus_now_ns();

	if (state->logged_ns != 0 && now - state->logged_ns < LOG_GAP_NS &&
	    strncmp(state->logged, text, sizeof(state->logged) - 1) == 0)
		return;
	snprintf(state->logged, sizeof(state->logged), "%s", text);
	state->logged_ns = now;
	log_event(LOG_WARNING, event, "executor=%s %s", EXECUTOR_NAMES[executor], text);
}

static void refuse(struct consensus *self, enum executor executor, const char *text)
{
	log_trouble(self, executor, "executor.refused", text);
}

/*
 * A new incarnation of an executor has forgotten its order. The first one that this process hears
 * of may be a later one than the order was given to; only a result proves that it knows the order.
 */
static void see_incarnation(struct consensus *self, enum executor executor, uint64_t incarnation,
			    bool is_result)
{
	struct executor_state *state = &self->executors[executor];
	struct agent_event event = {.kind = EV_EXECUTOR_RESET};
	const bool first = state->incarnation == 0;

	if (incarnation == 0 || incarnation == state->incarnation)
		return;
	state->incarnation = incarnation;
	if (first && is_result)
		return;
	if (!first)
		log_event(LOG_NOTICE, "executor.restarted", "executor=%s",
			  EXECUTOR_NAMES[executor]);
	event.reset.executor = (uint8_t)executor;
	if (consensus_takes_part(self))
		raftnode_event(self->node, &event);
}

static void take_facts(struct consensus *self, const Mha__Bus__FactsReport *report)
{
	struct agent_event event = {.kind = EV_LOCAL_FACTS};
	struct err why = {0};

	see_incarnation(self, EXECUTOR_DBMON, report->incarnation, false);
	if (report->facts == NULL) {
		refuse(self, EXECUTOR_DBMON, "a report without facts");
		return;
	}
	if (facts_from_message(report->facts, &event.facts, &why) < 0) {
		refuse(self, EXECUTOR_DBMON, why.text);
		return;
	}
	events_fault(&self->events, conf_self(&self->worker->conf)->name, event.facts.fault,
		     report->facts->detail, consensus_wall_ms());
	if (consensus_takes_part(self)) {
		raftnode_event(self->node, &event);
		return;
	}
	/* Nobody decides on them any more, but they are shown. */
	const node_id id = (node_id)conf_self(&self->worker->conf)->id;

	event.facts.node = id;
	self->section.peers[id] = (struct status_peer){
		.known = true, .heard_ns = consensus_now_ns(), .facts = event.facts};
	self->section_changed = true;
}

static void look_at_once(struct consensus *self)
{
	Mha__Bus__Watch watch = MHA__BUS__WATCH__INIT;
	struct err why = {0};

	watch.until_ns = consensus_now_ns() + WATCH_NS;
	watch.interval_ms = WATCH_INTERVAL_MS;
	/* Without it dbmon looks at its usual pace. */
	(void)!bus_send(self->worker->bus, ROUTE_WATCH, &watch.base, &why);
}

/* What became of the data that this node had alone is worth an event. */
static void tell_rejoined(struct consensus *self, const Mha__Bus__OrderResult *result)
{
	const struct pending_order *pending;

	if (!consensus_takes_part(self) || result->outcome != OUTCOME_DONE)
		return;
	pending = &raftnode_agent(self->node)->pending[EXECUTOR_DBCTL];
	if (pending->id == result->order_id &&
	    (pending->kind == ORDER_DB_REWIND || pending->kind == ORDER_DB_CLONE))
		events_rejoined(&self->events, conf_self(&self->worker->conf)->name,
				order_kind_name(pending->kind), result->text, consensus_wall_ms());
}

static void take_result(struct consensus *self, enum executor executor,
			const Mha__Bus__OrderResult *result)
{
	struct agent_event event = {.kind = EV_ORDER_RESULT};
	struct err why = {0};

	see_incarnation(self, executor, result->incarnation, true);
	if (result->outcome > OUTCOME_REFUSED) {
		refuse(self, executor, "a result with an unknown outcome");
		return;
	}
	if (result->facts != NULL &&
	    facts_from_message(result->facts, &event.result.facts, &why) < 0) {
		refuse(self, executor, why.text);
		return;
	}
	if (result->outcome != OUTCOME_DONE)
		log_trouble(self, executor,
			    result->outcome == OUTCOME_FAILED ? "order.failed" : "order.refused",
			    result->text);
	event.result.order_id = result->order_id;
	event.result.outcome = (uint8_t)result->outcome;
	event.result.has_facts = result->facts != NULL;
	if (executor == EXECUTOR_DBCTL) {
		tell_rejoined(self, result);
		look_at_once(self);
	}
	if (consensus_takes_part(self))
		raftnode_event(self->node, &event);
}

static void take_job(struct consensus *self, const Mha__Bus__Job *job)
{
	struct agent_event event = {.kind = EV_JOB};

	see_incarnation(self, EXECUTOR_DBCTL, job->incarnation, false);
	if (job->job >= JOB_COUNT) {
		refuse(self, EXECUTOR_DBCTL, "a report of an unknown job");
		return;
	}
	event.job.job = (uint8_t)job->job;
	event.job.done = job->done;
	event.job.total = job->total;
	event.job.wal_oldest = job->wal_oldest;
	event.job.whole_from = (struct wal_branch){job->whole_timeline, job->whole_from};
	if (consensus_takes_part(self))
		raftnode_event(self->node, &event);
}

static void take_fence(struct consensus *self, const Mha__Bus__FenceReport *report)
{
	struct agent_event event = {.kind = EV_FENCE};

	see_incarnation(self, EXECUTOR_VIP, report->incarnation, false);
	if (report->state >= FENCE_STATE_COUNT) {
		refuse(self, EXECUTOR_VIP, "a report of an unknown fence state");
		return;
	}
	self->fence = (uint8_t)report->state;
	if (report->epoch > self->fence_epoch)
		self->fence_epoch = report->epoch;
	event.fence.state = (uint8_t)report->state;
	event.fence.epoch = report->epoch;
	event.fence.kernel = report->kernel_fence;
	if (consensus_takes_part(self))
		raftnode_event(self->node, &event);
}

void executors_message(struct worker *worker, enum route_id route, const ProtobufCMessage *message)
{
	struct consensus *self = worker->self;

	/* Reports may come in before start() is through. */
	if (self == NULL)
		return;
	/* bus.c has checked that each message is of its route's type. */
	switch (route) {
	case ROUTE_FACTS:
		take_facts(self, (const Mha__Bus__FactsReport *)message);
		break;
	case ROUTE_RESULT_DBCTL:
		take_result(self, EXECUTOR_DBCTL, (const Mha__Bus__OrderResult *)message);
		break;
	case ROUTE_RESULT_DBMON:
		take_result(self, EXECUTOR_DBMON, (const Mha__Bus__OrderResult *)message);
		break;
	case ROUTE_RESULT_VIP:
		take_result(self, EXECUTOR_VIP, (const Mha__Bus__OrderResult *)message);
		break;
	case ROUTE_JOB:
		take_job(self, (const Mha__Bus__Job *)message);
		break;
	case ROUTE_FENCE:
		take_fence(self, (const Mha__Bus__FenceReport *)message);
		break;
	case ROUTE_CALL:
		calls_take(self, (const Mha__Bus__Call *)message);
		break;
	default:
		break;
	}
	report_publish(self);
}

void executors_order(struct consensus *self, const struct order *order)
{
	const enum executor executor = order_executor(order->kind);
	struct order_message message;
	struct err why = {0};
	int rc;

	order_to_message(order, &message);
	message.order.operation = consensus_operation(self);
	rc = bus_send(self->worker->bus, ORDER_ROUTES[executor], &message.order.base, &why);
	/* The agent gives it again. */
	if (rc < 0)
		log_trouble(self, executor, "order.not_sent", why.text);
	else
		log_event(LOG_DEBUG, "order.sent",
			  "order=%s id=%" PRIu64 " epoch=%" PRIu64 " executor=%s",
			  order_kind_name(order->kind), order->id, order->epoch,
			  EXECUTOR_NAMES[executor]);
}

void executors_grant(struct consensus *self, uint64_t epoch, uint64_t until_ns)
{
	Mha__Bus__Grant grant = MHA__BUS__GRANT__INIT;
	struct err why = {0};

	grant.epoch = epoch;
	grant.until_ns = until_ns;
	grant.operation = consensus_operation(self);
	if (bus_send(self->worker->bus, ROUTE_GRANT, &grant.base, &why) < 0)
		log_trouble(self, EXECUTOR_VIP, "grant.not_sent", why.text);
}
