/* dbctl and dbmon: orders take their time, one at a time, and may be cut off at any step. */
#include <string.h>

#include "base/check.h"
#include "sim.h"

static void work_later(struct host *host, enum executor who, uint64_t delay)
{
	struct executor_state *executor = &host->executors[who];

	event_add(world.now + delay, (struct event){.what = AT_WORK,
						    .host = host->id,
						    .part = (uint8_t)who,
						    .generation = executor->generation,
						    .lsn = executor->ticket});
}

static void probe_later(struct host *host, uint64_t delay)
{
	event_add(world.now + delay,
		  (struct event){.what = AT_PROBE,
				 .host = host->id,
				 .part = EXECUTOR_DBMON,
				 .generation = host->executors[EXECUTOR_DBMON].generation,
				 .lsn = 1});
}

static void job_report(struct host *host, enum db_job job)
{
	struct agent_event event;

	memset(&event, 0, sizeof(event));
	host->job = (uint8_t)job;
	event.kind = EV_JOB;
	event.job.job = (uint8_t)job;
	event.job.total = job == JOB_NONE ? 0 : 100;
	event.job.whole_from = host->whole_from;
	bus_send(host, &event);
}

/* dbctl looks into the control file of a server that runs. */
static void dbctl_look(struct host *host)
{
	const struct pg *pg = &host->pg;
	struct wal_branch from = {0};

	if (!host->executors[EXECUTOR_DBCTL].up || host->job != JOB_NONE ||
	    pg->state < PG_RECOVERING)
		return;
	if (pg->state == PG_RECOVERING && pg->flushed < pg->consistent_at)
		from = (struct wal_branch){pg->consistent_on, pg->consistent_at};
	if (from.timeline == host->whole_from.timeline && from.end == host->whole_from.end)
		return;
	host->whole_from = from;
	job_report(host, JOB_NONE);
}

void executor_start(struct host *host, enum executor who)
{
	struct executor_state *executor = &host->executors[who];
	struct agent_event event;

	executor->up = true;
	executor->generation++;
	executor->busy = false;
	executor->epoch_seen = 0;
	memset(&event, 0, sizeof(event));
	event.kind = EV_EXECUTOR_RESET;
	event.reset.executor = (uint8_t)who;
	bus_send(host, &event);
	if (who == EXECUTOR_VIP) {
		vip_start(host);
	} else if (who == EXECUTOR_DBCTL) {
		host->whole_from = (struct wal_branch){0};
		job_report(host, JOB_NONE);
	} else {
		host->probed_once = false;
		probe_later(host, random_between(1, 50) * MS);
	}
}

void executor_stop(struct host *host, enum executor who)
{
	struct executor_state *executor = &host->executors[who];

	executor->up = false;
	executor->generation++;
	/* A job's children die with dbctl; half a rewind leaves a directory that cannot start. */
	if (who == EXECUTOR_DBCTL && executor->busy && executor->order.kind == ORDER_DB_REWIND &&
	    executor->step > 1 && random_permille(500))
		host->pg.broken = true;
	executor->busy = false;
}

static void finish(struct host *host, enum executor who, enum order_outcome outcome)
{
	struct executor_state *executor = &host->executors[who];
	struct agent_event event;

	memset(&event, 0, sizeof(event));
	event.kind = EV_ORDER_RESULT;
	event.result.order_id = executor->order.id;
	event.result.outcome = (uint8_t)outcome;
	if (executor->order.kind == ORDER_DB_POSITION || executor->order.kind == ORDER_DB_PROMOTE) {
		event.result.has_facts = true;
		event.result.facts = dbmon_facts(host);
		host->probed = event.result.facts;
	}
	trace("n%u %s: %s", host->id, order_kind_name(executor->order.kind),
	      outcome == OUTCOME_DONE     ? "done"
	      : outcome == OUTCOME_FAILED ? "failed"
					  : "refused");
	executor->busy = false;
	bus_send(host, &event);
}

/* --- dbctl --- */

static uint64_t duration(unsigned kind)
{
	switch (kind) {
	case ORDER_DB_INITDB:
		return random_between(200, 600) * MS;
	case ORDER_DB_START:
		return random_between(20, 80) * MS;
	case ORDER_DB_STOP:
		return random_between(20, 150) * MS;
	case ORDER_DB_KILL:
		return random_between(3, 30) * MS;
	case ORDER_DB_REWIND:
		return random_between(150, 1200) * MS;
	case ORDER_DB_CLONE:
		return random_between(400, 2000) * MS;
	default:
		return random_between(1, 6) * MS;
	}
}

static const struct host *source_of(const struct host *host, const struct order *order)
{
	const struct host *source = &world.hosts[order->upstream];

	if (order->upstream == NODE_NONE || order->upstream == host->id ||
	    !link_open(host->id, source->id) || !link_open(source->id, host->id) ||
	    !fence_admits_members(source) || !pg_answers(source))
		return NULL;
	return source;
}

static enum order_outcome rewind_to(struct host *host, const struct pg *source)
{
	struct pg *pg = &host->pg;

	if (pg->state != PG_STOPPED || pg->broken || pg->system_id != source->system_id)
		return OUTCOME_FAILED;
	/* Its own WAL does not tell what came from its source before. */
	if (pg->flushed < pg->consistent_at)
		return OUTCOME_FAILED;
	if (random_permille(100)) {
		pg->broken = random_permille(700);
		return OUTCOME_FAILED;
	}
	/* It compares the timelines of the last checkpoints, and "same timeline" is no error. */
	if (source->checkpointed == pg->timeline)
		return OUTCOME_DONE;
	pg_cut(pg, pg_common(pg, source));
	memcpy(pg->history, source->history, sizeof(pg->history));
	pg->consistent_at = source->flushed;
	pg->consistent_on = source->timeline;
	return OUTCOME_DONE;
}

static enum order_outcome clone_of(struct host *host, const struct pg *source)
{
	struct pg *pg = &host->pg;

	if (pg->state >= PG_RECOVERING || random_permille(50))
		return OUTCOME_FAILED;
	pg_copy_wal(pg, source, source->flushed);
	memcpy(pg->history, source->history, sizeof(pg->history));
	pg->system_id = source->system_id;
	pg->consistent_at = source->flushed;
	pg->consistent_on = source->timeline;
	pg->checkpointed = source->timeline;
	pg->broken = false;
	host->lost = false;
	pg->state = PG_STOPPED;
	return OUTCOME_DONE;
}

static struct pg_config config_of(const struct order *order)
{
	return (struct pg_config){.promise = order->promise,
				  .epoch = order->epoch,
				  .upstream = order->upstream,
				  .rule = order->rule};
}

static enum order_outcome dbctl_do(struct host *host, const struct order *order)
{
	struct pg *pg = &host->pg;
	const struct host *source = source_of(host, order);
	struct pg_config config = config_of(order);

	if (order->keep_rule)
		config.rule = pg->disk.rule;
	switch (order->kind) {
	case ORDER_DB_INITDB:
		if (pg->state == PG_ABSENT)
			pg_found(host);
		return OUTCOME_DONE;
	case ORDER_DB_START:
		if (pg->state == PG_ABSENT || pg->broken || random_permille(20))
			return OUTCOME_FAILED;
		pg_configure(host, &config, order->reserve_until);
		if (pg->state == PG_STOPPED)
			pg_start(host);
		return OUTCOME_DONE;
	case ORDER_DB_STOP:
		pg_stop(host);
		return OUTCOME_DONE;
	case ORDER_DB_KILL:
		pg_kill(host, false);
		return OUTCOME_DONE;
	case ORDER_DB_CONFIGURE:
		if (pg->state == PG_ABSENT)
			return OUTCOME_FAILED;
		pg_configure(host, &config, order->reserve_until);
		return OUTCOME_DONE;
	case ORDER_DB_REWIND:
		return source == NULL ? OUTCOME_FAILED : rewind_to(host, &source->pg);
	default:
		return source == NULL ? OUTCOME_FAILED : clone_of(host, &source->pg);
	}
}

static bool is_job(unsigned kind)
{
	return kind == ORDER_DB_INITDB || kind == ORDER_DB_REWIND || kind == ORDER_DB_CLONE;
}

static void dbctl_work(struct host *host)
{
	struct executor_state *executor = &host->executors[EXECUTOR_DBCTL];
	const struct order order = executor->order;
	enum order_outcome outcome;

	if (executor->step == 1 && is_job(order.kind)) {
		executor->step = 2;
		if (order.kind != ORDER_DB_INITDB)
			check_rebuild(host);
		work_later(host, EXECUTOR_DBCTL, duration(order.kind));
		return;
	}
	outcome = dbctl_do(host, &order);
	if (is_job(order.kind)) {
		if (outcome == OUTCOME_DONE)
			host->whole_from = (struct wal_branch){0};
		job_report(host, JOB_NONE);
	}
	finish(host, EXECUTOR_DBCTL, outcome);
}

/* --- dbmon --- */

static uint8_t db_seen(struct host *host)
{
	const struct pg *pg = &host->pg;

	if (pg->state == PG_ABSENT)
		return DB_ABSENT;
	if (pg->state == PG_STOPPED)
		return pg->broken ? DB_BROKEN : DB_DOWN;
	if (!pg->hung)
		host->hang_seen = 0;
	else if (host->hang_seen == 0)
		host->hang_seen = world.now;
	if (pg->hung && world.now - host->hang_seen > world.agent.election_ns / 2)
		return DB_HUNG;
	return pg->state == PG_RECOVERING ? DB_STARTING
	       : pg->state == PG_STANDBY  ? DB_STANDBY
					  : DB_PRIMARY;
}

/* As far as the monitor can prove it: senders and checkpointer use what the file says. */
static bool rule_in_force(const struct pg *pg)
{
	const struct sync_rule rule = pg->loaded.rule;

	if (pg->sync_defined != (rule.need > 0) || world.now < pg->proven_at)
		return false;
	for (unsigned id = 1; id <= world.total; id++)
		if (pg->senders[id].on && (pg->senders[id].rule.members != rule.members ||
					   pg->senders[id].rule.need != rule.need))
			return false;
	return true;
}

static void see_rule(struct host *host, struct facts *facts)
{
	const struct pg *pg = &host->pg;

	if (host->rule_generation != pg->generation || host->rule_since == 0 ||
	    host->rule_seen.members != pg->loaded.rule.members ||
	    host->rule_seen.need != pg->loaded.rule.need) {
		/* Nothing is said of a rule that is not in force everywhere. */
		if (!rule_in_force(pg))
			return;
		host->rule_generation = pg->generation;
		host->rule_seen = pg->loaded.rule;
		host->rule_since = pg->flushed;
	}
	facts->rule = pg->loaded.rule;
	facts->rule_since = host->rule_since;
}

static void see_primary(struct host *host, struct facts *facts)
{
	const struct pg *pg = &host->pg;

	see_rule(host, facts);
	for (unsigned id = 1; id <= world.total; id++) {
		const struct wal_sender *sender = &pg->senders[id];

		if (sender->on && facts->standby_count < NODES_MAX)
			facts->standbys[facts->standby_count++] =
				(struct standby_view){.node = (node_id)id,
						      .streaming = sender->acknowledged != 0,
						      .flushed = sender->acknowledged,
						      .replayed = sender->acknowledged};
	}
}

struct facts dbmon_facts(struct host *host)
{
	const struct pg *pg = &host->pg;
	const uint8_t db = db_seen(host);
	struct facts facts;

	/* A database that does not answer: what it said last, for a while. */
	if (pg->hung) {
		facts = host->probed;
		facts.db = db == DB_HUNG ? db : facts.db;
		if (db == DB_HUNG)
			facts.fault = FAULT_NO_ANSWER;
		return facts;
	}
	memset(&facts, 0, sizeof(facts));
	facts.db = db;
	if (db == DB_DOWN && host->job == JOB_NONE)
		facts.fault = FAULT_POSTMASTER_GONE;
	else if (db > DB_DOWN && db < DB_HUNG)
		facts.fault = host->alarm;
	facts.damaged = host->alarm == FAULT_DATA_DAMAGED;
	if (db == DB_ABSENT || db == DB_BROKEN)
		return facts;
	facts.system_id = pg->system_id;
	if (db != DB_STANDBY && db != DB_PRIMARY)
		return facts;
	pg_position(pg, &facts.position);
	facts.promise = pg->loaded.promise;
	facts.config_epoch = pg->loaded.epoch;
	if (db == DB_PRIMARY) {
		see_primary(host, &facts);
	} else {
		host->rule_since = 0;
		facts.receiving = pg->receiving;
		facts.upstream = pg->receiving ? pg->receiving_from : NODE_NONE;
	}
	return facts;
}

/* Once more soon: the postmaster's pidfd, or the timer. */
void dbmon_probe(struct host *host, bool again)
{
	struct agent_event event;

	memset(&event, 0, sizeof(event));
	event.kind = EV_LOCAL_FACTS;
	event.facts = dbmon_facts(host);
	if (event.facts.db == DB_PRIMARY && !host->pg.hung && event.facts.rule_since == 0) {
		if (host->proof_at == 0)
			host->proof_at = world.now;
	} else {
		host->proof_at = 0;
	}
	/* A reload is given a moment to spread before anything is said. */
	if (host->proof_at != 0 && world.now - host->proof_at < 200 * MS) {
		if (again)
			probe_later(host, random_between(40, 60) * MS);
		return;
	}
	if (!host->probed_once || memcmp(&event.facts, &host->probed, sizeof(host->probed)) != 0) {
		host->probed = event.facts;
		host->probed_once = true;
		bus_send(host, &event);
	}
	dbctl_look(host);
	if (again)
		probe_later(host, random_between(40, 60) * MS);
}

static void dbmon_work(struct host *host)
{
	struct executor_state *executor = &host->executors[EXECUTOR_DBMON];
	const struct order *order = &executor->order;
	const struct pg *pg = &host->pg;
	const bool waited = world.now - executor->since > SEC;

	if (!pg_answers(host)) {
		finish(host, EXECUTOR_DBMON, OUTCOME_FAILED);
		return;
	}
	switch (order->kind) {
	case ORDER_DB_POSITION:
		if (pg->loaded.promise >= order->promise && !pg->receiving)
			finish(host, EXECUTOR_DBMON, OUTCOME_DONE);
		else if (waited)
			finish(host, EXECUTOR_DBMON, OUTCOME_FAILED);
		else
			work_later(host, EXECUTOR_DBMON, random_between(1, 4) * MS);
		return;
	case ORDER_DB_PROMOTE:
		if (executor->step == 1 && pg->state == PG_STANDBY) {
			if (order->lease_until_ns <= local_ns(host)) {
				finish(host, EXECUTOR_DBMON, OUTCOME_REFUSED);
				return;
			}
			executor->step = 2;
			host->pg.promoting = true;
			event_add(world.now + random_between(15, 60) * MS,
				  (struct event){.what = AT_PG_PROMOTE,
						 .host = host->id,
						 .generation = pg->generation});
		}
		if (pg->state == PG_PRIMARY)
			finish(host, EXECUTOR_DBMON, OUTCOME_DONE);
		else if (waited)
			finish(host, EXECUTOR_DBMON, OUTCOME_FAILED);
		else
			work_later(host, EXECUTOR_DBMON, 2 * MS);
		return;
	default:
		if (executor->step == 1) {
			executor->step = 2;
			work_later(host, EXECUTOR_DBMON, random_between(10, 200) * MS);
			return;
		}
		host->pg.checkpointed = pg->timeline;
		finish(host, EXECUTOR_DBMON, OUTCOME_DONE);
		return;
	}
}

void executor_work(struct host *host, const struct event *event)
{
	const struct executor_state *executor = &host->executors[event->part];

	if (!executor->busy || executor->ticket != event->lsn)
		return;
	if (event->part == EXECUTOR_DBCTL)
		dbctl_work(host);
	else
		dbmon_work(host);
}

static void refuse(struct host *host, const struct order *order)
{
	struct agent_event event;

	memset(&event, 0, sizeof(event));
	event.kind = EV_ORDER_RESULT;
	event.result.order_id = order->id;
	event.result.outcome = OUTCOME_REFUSED;
	bus_send(host, &event);
}

void executor_order(struct host *host, const struct event *event)
{
	const enum executor who = event->part;
	struct executor_state *executor = &host->executors[who];
	const struct order *order = event->data;

	if (order->kind == ORDER_NONE) {
		vip_grant(host, order->epoch, order->lease_until_ns);
		return;
	}
	if (who == EXECUTOR_VIP) {
		vip_order(host, order);
		return;
	}
	if (order->epoch < executor->epoch_seen) {
		refuse(host, order);
		return;
	}
	executor->epoch_seen = order->epoch;
	if (executor->busy) {
		/* Repeated, or the same under another number; a job is not dropped for less than
		 * KILL. */
		if (executor->order.id == order->id)
			return;
		if (executor->order.kind == order->kind && is_job(order->kind)) {
			executor->order.id = order->id;
			return;
		}
		if (is_job(executor->order.kind) && order->kind != ORDER_DB_KILL)
			return;
		if (executor->order.kind == ORDER_DB_REWIND)
			host->pg.broken = random_permille(500);
		if (is_job(executor->order.kind))
			job_report(host, JOB_NONE);
	}
	executor->busy = true;
	executor->order = *order;
	executor->since = world.now;
	executor->step = 1;
	executor->ticket++;
	if (is_job(order->kind))
		job_report(host, order->kind == ORDER_DB_INITDB   ? JOB_INITDB
				 : order->kind == ORDER_DB_REWIND ? JOB_REWIND
								  : JOB_CLONE);
	work_later(host, who,
		   is_job(order->kind)     ? 0
		   : who == EXECUTOR_DBMON ? random_between(1, 3) * MS
					   : duration(order->kind));
}
