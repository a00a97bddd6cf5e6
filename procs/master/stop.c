/*
 * The orderly stop. "leave": everybody at once; the database goes on. "handover": one after the
 * other in the order of the process table, because consensus first has to give the leadership away
 * and dbctl then stops the database.
 */
#include <signal.h>

#include "base/check.h"
#include "base/log.h"
#include "master.h"
#include "os/control.h"
#include "os/process.h"

/* A little more than the 10 s that a worker may take (common/worker/worker.h). */
#define STEP_DEADLINE_MS 12000

static void kill_all(struct master *master, bool only_told)
{
	struct err why;

	for (unsigned i = 0; i < MASTER_WORKER_COUNT; i++) {
		struct child *child = &master->children[i];

		if (child->life == NULL || (only_told && !child->told_to_stop))
			continue;
		log_event(LOG_WARNING, "worker.kill", "worker=%s pid=%d does not stop",
			  WORKER_ROWS[i].name, child->life->pid);
		if (process_signal(child->life->pidfd, SIGKILL, &why) == ERR_PERM)
			log_event(LOG_ERROR, "worker.kill", "%s", why.text);
	}
}

static void on_deadline(uv_timer_t *timer)
{
	kill_all(timer->data, true);
}

static void tell(struct master *master, struct child *child)
{
	struct err why;

	child->told_to_stop = true;
	if (control_send(child->life->control, CONTROL_STOP, master->handover, -1, &why) == 0)
		return;
	/* It cannot be asked any more; being killed is its stop. */
	log_event(LOG_WARNING, "worker.stop", "worker=%s %s", WORKER_ROWS[child->id].name,
		  why.text);
	if (process_signal(child->life->pidfd, SIGKILL, &why) == ERR_PERM)
		log_event(LOG_ERROR, "worker.kill", "%s", why.text);
}

void stop_continue(struct master *master)
{
	if (master_lives(master) == 0) {
		uv_stop(&master->loop);
		return;
	}
	for (unsigned i = 0; i < MASTER_WORKER_COUNT; i++) {
		struct child *child = &master->children[i];

		if (child->life == NULL)
			continue;
		if (!child->told_to_stop) {
			tell(master, child);
			CHECK(uv_timer_start(&master->deadline, on_deadline, STEP_DEADLINE_MS, 0) ==
			      0);
		}
		if (master->handover) /* the next one when this one is gone */
			return;
	}
}

void stop_begin(struct master *master)
{
	if (master->stopping) {
		log_event(LOG_WARNING, "master.stop_again", "asked a second time: no more waiting");
		kill_all(master, false);
		return;
	}
	master->stopping = true;
	master->handover = master->conf.on_stop == STOP_HANDOVER;
	log_event(LOG_NOTICE, "master.stop", "handover=%d workers=%u", master->handover,
		  master_lives(master));
	notify_send(&master->notify, "STOPPING=1");
	for (unsigned i = 0; i < MASTER_WORKER_COUNT; i++)
		uv_timer_stop(&master->children[i].retry);
	stop_continue(master);
}
