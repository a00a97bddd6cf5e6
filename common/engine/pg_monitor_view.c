/* What is told of a server: the last complete look and the signs, as facts. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "core/cluster.h"
#include "engine/pg_monitor.h"
#include "engine/pg_parse.h"
#include "os/clock.h"

/*
 * How far a standby's WAL goes. What was received may end within a record that no primary ever
 * finished; it would be promoted at its last whole record. But what was received and not replayed
 * may be whole records too, as long as the standby is not known to be at rest: then the answer to
 * a survey counts all of it, and anybody else is told nothing yet.
 */
static wal_lsn standby_end(const struct engine_monitor *monitor)
{
	const struct pg_look *look = &monitor->look;

	if (look->receivers > 0 || look->position <= look->replayed)
		return look->position;
	if (monitor->at_rest)
		return look->replayed;
	return monitor->order.kind == ORDER_DB_POSITION ? look->position : 0;
}

static void view_position(const struct engine_monitor *monitor, struct facts *facts)
{
	const struct pg_look *look = &monitor->look;
	const wal_lsn end = look->recovery ? standby_end(monitor) : look->position;

	facts->system_id = look->system_id;
	/* A standby that has not read all of its own WAL does not know how far it goes. */
	if (look->timeline == 0 || look->timeline != monitor->history_timeline || end == 0 ||
	    (look->recovery && !monitor->exhausted_once))
		return;
	facts->position = monitor->history;
	facts->position.timeline = look->timeline;
	facts->position.flushed = end;
	facts->position.replayed = look->recovery ? look->replayed : look->flushed;
}

/*
 * The standby streams this server's own timeline. One whose WAL has left the lineage asks for its
 * old timeline, gets it up to the fork, and shows as streaming with a position that is its own:
 * it has been sent nothing from beyond the fork, or claims more than it was sent.
 */
static bool is_following(const struct engine_monitor *monitor, const struct pg_sender *sender)
{
	const struct wal_position *history = &monitor->history;
	const wal_lsn fork =
		history->branch_count == 0 ? 0 : history->branches[history->branch_count - 1].end;

	return sender->streaming && sender->sent > fork && sender->flushed <= sender->sent;
}

static void view_primary(const struct engine_monitor *monitor, struct facts *facts)
{
	const struct pg_look *look = &monitor->look;

	/* No rule is promised until every sender is known to use it; see pg_monitor_rule.c. */
	if (monitor->rule.in_force && pg_parse_rule(look->names, &facts->rule, NULL) == 0)
		facts->rule_since = monitor->rule.since;
	for (unsigned i = 0; i < look->sender_count; i++) {
		const struct pg_sender *sender = &look->senders[i];

		if (sender->node == NODE_NONE || facts->standby_count == NODES_MAX)
			continue;
		facts->standbys[facts->standby_count++] = (struct standby_view){
			.node = sender->node,
			.streaming = is_following(monitor, sender),
			.flushed = is_following(monitor, sender) ? sender->flushed : 0,
			.replayed = sender->replayed};
	}
}

/* Why, in words: who is stopped, what the disk said. */
static void make_detail(struct engine_monitor *monitor, const struct pg_verdict *verdict)
{
	char *text = monitor->view.detail;
	const size_t size = sizeof(monitor->view.detail);

	if (verdict->fault == FAULT_NONE)
		snprintf(text, size, "%s", verdict->detail);
	else if (verdict->fault == FAULT_DATA_DAMAGED)
		snprintf(text, size, "%s; %.200s", verdict->detail, monitor->damaged_text);
	else if (verdict->fault == monitor->signs.stopped)
		snprintf(text, size, "%s; pid %d: %s", verdict->detail, (int)monitor->stopped.pid,
			 db_fault_name(verdict->fault));
	else if (verdict->fault == monitor->signs.told)
		snprintf(text, size, "%s; %.180s", verdict->detail, monitor->told_text);
	else
		snprintf(text, size, "%s; %s", verdict->detail, db_fault_name(verdict->fault));
}

static void make_facts(struct engine_monitor *monitor, struct facts *facts)
{
	const struct pg_look *look = &monitor->look;
	struct pg_verdict verdict;

	memset(facts, 0, sizeof(*facts));
	pg_judge(&monitor->signs, &verdict);
	make_detail(monitor, &verdict);
	facts->db = verdict.db;
	facts->fault = verdict.fault;
	facts->damaged = monitor->signs.damaged;
	facts->excluded = verdict.db == DB_STANDBY && pg_fault_excludes(verdict.fault);
	if (facts->db != DB_STANDBY && facts->db != DB_PRIMARY)
		return;
	facts->promise = look->promise;
	facts->config_epoch = look->epoch;
	view_position(monitor, facts);
	if (facts->db == DB_PRIMARY) {
		view_primary(monitor, facts);
	} else {
		/* A receiver that is still there although recovery has stopped it is ending. */
		facts->receiving = look->receivers > 0 && !look->exhausted;
		facts->upstream = pg_find_member(monitor->conf, look->host, look->port);
	}
}

static bool same_position(const struct wal_position *a, const struct wal_position *b)
{
	if (a->timeline != b->timeline || a->flushed != b->flushed || a->replayed != b->replayed ||
	    a->branch_count != b->branch_count)
		return false;
	for (unsigned i = 0; i < a->branch_count; i++) {
		if (a->branches[i].timeline != b->branches[i].timeline ||
		    a->branches[i].end != b->branches[i].end)
			return false;
	}
	return true;
}

static bool same_standbys(const struct facts *a, const struct facts *b)
{
	if (a->standby_count != b->standby_count)
		return false;
	for (unsigned i = 0; i < a->standby_count; i++) {
		const struct standby_view *x = &a->standbys[i], *y = &b->standbys[i];

		if (x->node != y->node || x->streaming != y->streaming ||
		    x->flushed != y->flushed || x->replayed != y->replayed)
			return false;
	}
	return true;
}

/* In what the monitor fills in. */
static bool same_facts(const struct facts *a, const struct facts *b)
{
	return a->db == b->db && a->fault == b->fault && a->excluded == b->excluded &&
	       a->damaged == b->damaged && a->system_id == b->system_id &&
	       a->receiving == b->receiving && a->upstream == b->upstream &&
	       a->promise == b->promise && a->config_epoch == b->config_epoch &&
	       a->rule.members == b->rule.members && a->rule.need == b->rule.need &&
	       a->rule_since == b->rule_since && same_position(&a->position, &b->position) &&
	       same_standbys(a, b);
}

void monitor_view(struct engine_monitor *monitor, bool always)
{
	const uint64_t now = clock_boot_ns();
	const uint64_t interval = monitor->conf->monitor_interval_ms * NS_PER_MS;
	struct facts facts;

	make_facts(monitor, &facts);
	if (facts.db == DB_PRIMARY && !monitor->rule.in_force) {
		if (monitor->settle_ns == 0)
			monitor->settle_ns = now;
		if (!always && now - monitor->settle_ns < PG_SETTLE_NS)
			return;
	} else {
		monitor->settle_ns = 0;
	}
	if (!always && now - monitor->viewed_ns < interval &&
	    same_facts(&facts, &monitor->view.facts))
		return;
	if (facts.db != monitor->view.facts.db)
		log_event(LOG_NOTICE, "dbmon.state", "db=%s was=%s %s", db_state_name(facts.db),
			  db_state_name(monitor->view.facts.db), monitor->view.detail);
	if (facts.fault != monitor->view.facts.fault)
		log_event(facts.fault != FAULT_NONE ? LOG_WARNING : LOG_NOTICE, "dbmon.fault",
			  "fault=%s was=%s db=%s %s", db_fault_name(facts.fault),
			  db_fault_name(monitor->view.facts.fault), db_state_name(facts.db),
			  monitor->view.detail);
	monitor->view.facts = facts;
	monitor->viewed_ns = now;
	monitor->events->viewed(monitor->arg, &monitor->view);
}
