/*
 * Life without Raft's log (disk full, unwritable, damaged): this node is no voter any more and
 * holds no lease. It says so, closes its fence and goes on listening to its executors, so that the
 * state can be seen; it takes part again only after somebody has repaired the cause and restarted
 * it. Going away instead would only end in a loop of restarts.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "consensus.h"

#define REPEAT_NS (1000 * NS_PER_MS)

/* The kernel closes the fence when the lease ends; this removes the VIP too, and survives it. */
static void fence_close(struct consensus *self)
{
	const struct order order = {
		.id = ++self->fence_order,
		.epoch = self->fence_epoch > self->section.cluster.epoch
				 ? self->fence_epoch
				 : self->section.cluster.epoch,
		.kind = ORDER_FENCE_CLOSE,
	};

	self->failure_ns = consensus_now_ns();
	executors_order(self, &order);
}

static void on_node_closed(void *arg)
{
	struct consensus *self = arg;

	self->node_closed = true;
}

void failure_enter(struct consensus *self, const char *reason)
{
	if (self->section.failed)
		return;
	self->section.failed = true;
	snprintf(self->section.failure, sizeof(self->section.failure), "%s", reason);
	self->section_changed = true;
	if (self->state != CONSENSUS_STOPPING)
		self->state = CONSENSUS_FAILED;
	log_event(LOG_ERROR, "consensus.failed",
		  "%s: this node takes part in no vote and its database is fenced; repair the "
		  "cause, then restart the agent",
		  reason);
	events_failed(&self->events, reason, consensus_wall_ms());
	/* failure_tick() as soon as libraft has returned. */
	if (self->timer_every_ms != 0)
		uv_timer_start(&self->timer, self->timer.timer_cb, 0, self->timer_every_ms);
}

void failure_tick(struct consensus *self)
{
	const uint64_t now = consensus_now_ns();

	if (!self->section.failed)
		return;
	/* Not from within libraft, where the failure was seen. */
	if (self->node != NULL && !self->node_closing) {
		self->node_closing = true;
		raftnode_close(self->node, on_node_closed, self);
	}
	if (self->fence != FENCE_CLOSED && now - self->failure_ns >= REPEAT_NS)
		fence_close(self);
}
