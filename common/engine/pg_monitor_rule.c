/*
 * When is a rule in force? Three processes of the server read synchronous_standby_names on their
 * own, each when it gets to it:
 *  - a WAL sender releases waiting commits by the rule that it has read;
 *  - the checkpointer switches waiting as such on and off, when the names become or cease to be '';
 *  - a backend waits as that switch says.
 *
 * The proof, for the rule in the file stamped W:
 *  1. A look shows W: the postmaster has begun to reload and to signal its children.
 *  2. A connection begun after that is answered: the postmaster, which does one thing at a time,
 *     has signalled them all (pg_monitor.c calls W spread).
 *  3. A look begun after that shows a sender waiting in its main loop, or shows that it has had an
 *     answer about WAL which did not exist at 2: either way it passes the point where it reads the
 *     configuration before it releases anybody else. Senders that appear later have read it, and
 *     so has one that has not begun to send when it begins.
 *  4. From '' to names: a checkpoint asked for after 2 has ended, so the checkpointer has passed
 *     that point too.
 * The flush LSN read after 3 and 4 is `since`: what was acknowledged by an earlier rule is before.
 */
#include <string.h>

#include "base/log.h"
#include "engine/pg_monitor.h"
#include "os/clock.h"

#define CHECKPOINT_MS 600000

static bool is_proven(const struct pg_rule_proof *rule, int pid)
{
	for (unsigned i = 0; i < rule->proven_count; i++) {
		if (rule->proven[i] == pid)
			return true;
	}
	return false;
}

/* Step 3. True when every sender of this look uses the rule. */
static bool senders_agree(struct pg_rule_proof *rule, const struct pg_look *look)
{
	bool all = !look->senders_cut;

	for (unsigned i = 0; i < look->sender_count; i++) {
		const struct pg_sender *sender = &look->senders[i];

		if (!sender->active || is_proven(rule, sender->pid))
			continue;
		if (!sender->idle && sender->flushed <= rule->mark)
			all = false;
		else if (rule->proven_count < PG_SENDERS_MAX)
			rule->proven[rule->proven_count++] = sender->pid;
	}
	return all;
}

static void on_barrier(void *arg, enum pg_answer answer, PGresult *const results[], unsigned count,
		       const char *text)
{
	struct engine_monitor *monitor = arg;

	UNUSED(results);
	UNUSED(count);
	monitor->rule.barrier = false;
	/* One that was asked for before the present names were spread proves nothing about them. */
	if (answer == PG_OK)
		monitor->rule.barrier_done =
			monitor->rule.barrier_for == monitor->rule.rule_written;
	else
		log_event(LOG_WARNING, "dbmon.barrier", "%.200s", text);
	monitor_look(monitor);
}

static void on_barrier_conn(void *arg, enum pg_answer answer, PGresult *const results[],
			    unsigned count, const char *text)
{
	struct engine_monitor *monitor = arg;

	if (answer == PG_OK)
		pg_conn_query(&monitor->work, "CHECKPOINT", CHECKPOINT_MS, on_barrier, monitor);
	else
		on_barrier(arg, answer, results, count, text);
}

/* Step 4. */
static bool checkpointer_agrees(struct engine_monitor *monitor)
{
	struct pg_rule_proof *rule = &monitor->rule;

	if (rule->barrier_done || !rule->was_empty || monitor->look.names[0] == '\0')
		return true;
	if (!rule->barrier && !monitor->work.busy && !monitor->work.connecting) {
		rule->barrier = true;
		rule->barrier_for = rule->rule_written;
		monitor_open_conn(monitor, &monitor->work, monitor->conf->monitor_timeout_ms,
				  on_barrier_conn);
	}
	return false;
}

/* Names that were '' at any time since waiting was last proven to be on; who knows nothing, says
 * so. */
static void begin_proof(struct pg_rule_proof *rule, const struct pg_look *look)
{
	*rule = (struct pg_rule_proof){
		.rule_written = look->rule_written,
		.was_empty = rule->rule_written == 0 || rule->was_empty,
		.barrier = rule->barrier,
		.barrier_for = rule->barrier_for,
		.begun_ns = clock_boot_ns(),
	};
}

void rule_looked(struct engine_monitor *monitor)
{
	struct pg_rule_proof *rule = &monitor->rule;
	const struct pg_look *look = &monitor->look;

	if (look->recovery) {
		/* Inert, but what it was counts when the server is promoted. */
		rule->in_force = false;
		rule->rule_written = look->rule_written;
		rule->was_empty = look->names[0] == '\0';
		rule->proven_count = 0;
		rule->mark = 0;
		return;
	}
	if (rule->begun_ns == 0 || look->rule_written != rule->rule_written)
		begin_proof(rule, look);
	if (look->names[0] == '\0')
		rule->was_empty = true;
	if (rule->in_force || monitor->spread_at_start != look->written)
		return;
	if (rule->mark == 0)
		rule->mark = look->inserted;
	if (!senders_agree(rule, look) || !checkpointer_agrees(monitor))
		return;
	rule->in_force = true;
	rule->since = look->flushed;
	rule->was_empty = look->names[0] == '\0';
	log_event(LOG_INFO, "dbmon.rule", "names=\"%s\" in force", look->names);
}
