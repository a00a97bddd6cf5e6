/*
 * Life without Raft's log (disk full, unwritable, damaged): this node is no voter any more and
 * holds no lease. It says so, closes its fence and goes on listening to its executors, so that the
 * state can be seen; it takes part again only after somebody has repaired the cause and restarted
 * it. Going away instead would only end in a loop of restarts.
 *
 * A full disk is repaired without anybody looking at the agent: once there is space again this
 * process ends, and the one that the master starts in its place reads the log anew.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/check.h"
#include "base/log.h"
#include "consensus.h"

#define REPEAT_NS (1000 * NS_PER_MS)
/* libraft makes its next segments ahead, of 1 MB each, and a snapshot needs its own size. */
#define SPACE_BYTES (UINT64_C(16) << 20)
/* Nobody comes back sooner: were there another cause than space, it would be a slow loop at worst.
 */
#define COME_BACK_NS (5000 * NS_PER_MS)

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

/* What the log's disk has left; UINT64_MAX when that cannot be told. */
static uint64_t space_left(const struct consensus *self)
{
	struct statvfs disk;

	if (self->disk.path[0] == '\0' || statvfs(self->disk.path, &disk) != 0)
		return UINT64_MAX;
	return (uint64_t)disk.f_bavail * disk.f_frsize;
}

/* libraft hands on the system's words, or has its own. */
static bool tells_of_space(const char *reason)
{
	return strstr(reason, "No space left") != NULL || strstr(reason, "ENOSPC") != NULL ||
	       strstr(reason, "no space left") != NULL ||
	       strstr(reason, "not enough space") != NULL;
}

static bool tells_of_error(const char *reason)
{
	return strstr(reason, "Input/output error") != NULL || strstr(reason, "EIO") != NULL ||
	       strstr(reason, "I/O error") != NULL;
}

void failure_enter(struct consensus *self, const char *reason)
{
	if (self->section.failed)
		return;
	self->section.failed = true;
	self->failed_ns = consensus_now_ns();
	self->log_full = tells_of_space(reason) || space_left(self) < SPACE_BYTES / 256;
	snprintf(self->section.failure, sizeof(self->section.failure), "raft log: %s%.200s%s",
		 self->log_full           ? "disk full ("
		 : tells_of_error(reason) ? "disk error ("
					  : "",
		 reason, self->log_full || tells_of_error(reason) ? ")" : "");
	reason = self->section.failure;
	self->section_changed = true;
	if (self->state != CONSENSUS_STOPPING)
		self->state = CONSENSUS_FAILED;
	log_event(LOG_ERROR, "consensus.failed",
		  "%s: this node takes part in no vote and its database is fenced; %s", reason,
		  self->log_full ? "it comes back by itself when there is space"
				 : "repair the cause, then restart the agent");
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
	if (self->log_full && self->state == CONSENSUS_FAILED &&
	    (self->node == NULL || self->node_closed) && now - self->failed_ns >= COME_BACK_NS &&
	    space_left(self) >= SPACE_BYTES) {
		log_event(LOG_NOTICE, "consensus.space",
			  "the disk of the raft log has space again: this worker is started anew");
		self->state = CONSENSUS_STOPPING;
		worker_stopped(self->worker);
		return;
	}
	if (self->fence != FENCE_CLOSED && now - self->failure_ns >= REPEAT_NS)
		fence_close(self);
}
