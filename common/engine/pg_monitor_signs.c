/* What is seen of a server without asking it: its processes, and what dbctl tells of its disk. */
#include <stdio.h>
#include <string.h>

#include "engine/pg_monitor.h"
#include "os/clock.h"

/* A look at the processes reads a file per connection; on a busy server it is worth a pause. */
#define STOPPED_LOOK_NS (200 * NS_PER_MS)
/*
 * A disk that stalls while commits are still flushed may be busy with a checkpoint, or be that of
 * the data alone: a primary is left with it for so many timeouts of a probe.
 */
#define TOLD_PATIENCE 9

static void look_at_processes(struct engine_monitor *monitor, uint64_t now)
{
	struct pg_signs *signs = &monitor->signs;
	struct pg_stopped found;

	if (now - monitor->stopped_look_ns < STOPPED_LOOK_NS && !signs->new_hung)
		return;
	monitor->stopped_look_ns = now;
	pg_stopped_look(monitor->view.postmaster, &found);
	/* Seen twice: a debugger stops a process for a moment, too. */
	signs->stopped = found.pid == monitor->stopped.pid ? found.fault : FAULT_NONE;
	monitor->stopped = found;
	if (found.fault != FAULT_POSTMASTER_STOPPED && found.fault != FAULT_FROZEN)
		monitor->stopped_ns = 0;
	else if (monitor->stopped_ns == 0)
		monitor->stopped_ns = now;
}

void signs_refresh(struct engine_monitor *monitor)
{
	struct pg_signs *signs = &monitor->signs;
	const uint64_t now = clock_boot_ns();
	const uint64_t timeout = monitor->conf->monitor_timeout_ms * NS_PER_MS;

	if (signs->process)
		look_at_processes(monitor, now);
	signs->stopped_long = monitor->stopped_ns != 0 && now - monitor->stopped_ns >= timeout;
	/* An error does not go away by waiting for it. */
	signs->told_long =
		signs->told == FAULT_DISK_ERROR ||
		(signs->told != FAULT_NONE && now - monitor->told_ns >= TOLD_PATIENCE * timeout);
}

/*
 * Either a page was found damaged by the check, or the server itself came upon one after all pages
 * were last known to be good.
 */
static void judge_damage(struct engine_monitor *monitor)
{
	monitor->signs.damaged = monitor->told_damaged > 0 ||
				 (monitor->checksum_failures > 0 &&
				  monitor->checksum_failed_ms >= monitor->good_since_ms);
	if (!monitor->signs.damaged)
		monitor->damaged_text[0] = '\0';
	else if (monitor->told_damaged == 0)
		snprintf(monitor->damaged_text, sizeof(monitor->damaged_text),
			 "the server came upon a damaged page in %s%.63s",
			 monitor->checksum_database[0] != '\0' ? "database " : "a shared relation",
			 monitor->checksum_database);
}

void signs_checksums(struct engine_monitor *monitor)
{
	const struct pg_look *look = &monitor->look;

	if (!look->checksums_asked)
		return;
	monitor->checksum_failures = look->checksum_failures;
	monitor->checksum_failed_ms = look->checksum_failed_ms;
	memcpy(monitor->checksum_database, look->checksum_database,
	       sizeof(monitor->checksum_database));
	judge_damage(monitor);
}

bool signs_told(struct engine_monitor *monitor, const struct engine_told *told)
{
	struct pg_signs *signs = &monitor->signs;
	const bool news = signs->told != told->fault || (told->ending && !signs->by_order) ||
			  (told->damaged > 0) != (monitor->told_damaged > 0);

	if (signs->told != told->fault)
		monitor->told_ns = clock_boot_ns();
	signs->told = told->fault;
	/* Until another server is seen: a dbctl that was restarted has forgotten it. */
	signs->by_order = signs->by_order || told->ending;
	snprintf(monitor->told_text, sizeof(monitor->told_text), "%s", told->fault_text);
	monitor->told_damaged = told->damaged;
	monitor->good_since_ms = told->good_since_ms;
	snprintf(monitor->damaged_text, sizeof(monitor->damaged_text), "%s", told->damaged_text);
	judge_damage(monitor);
	signs_refresh(monitor);
	return news;
}

void signs_forget(struct engine_monitor *monitor)
{
	struct pg_signs *signs = &monitor->signs;

	signs->looked = signs->recovery = signs->starting = signs->denied = false;
	signs->new_hung = signs->old_hung = signs->old_answers = signs->flush_hung = false;
	signs->locked = signs->closed = signs->full = signs->by_hand = signs->stopped_long = false;
	signs->stopped = FAULT_NONE;
	monitor->stopped = (struct pg_stopped){.fault = FAULT_NONE};
	monitor->stopped_ns = monitor->stopped_look_ns = 0;
	/* It is asked anew; until then what it had counted stands. */
	monitor->checksum_look_ns = 0;
	monitor->promote_called = false;
	monitor->knocked_ns = monitor->fresh_late_ns = 0;
}
