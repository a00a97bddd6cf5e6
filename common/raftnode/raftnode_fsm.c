/* The replicated state behind libraft's state machine: entries and snapshots become events. */
#include <stdlib.h>
#include <string.h>

#include "raftnode/raftnode_internal.h"
#include "wire/convert.h"

static int fsm_apply(struct raft_fsm *fsm, const struct raft_buffer *buffer, void **result)
{
	struct raftnode *node = fsm->data;
	const uint64_t index = node->raft.last_applied + 1;
	struct agent_event event;
	struct err why;

	*result = NULL;
	memset(&event, 0, sizeof(event));
	event.kind = EV_APPLIED;
	if (log_entry_decode(buffer->base, buffer->len, &event.applied, &why) < 0) {
		raftnode_fail(node, "entry %llu of the Raft log does not decode: %s",
			      (unsigned long long)index, why.text);
		return RAFT_CORRUPT;
	}
	raftnode_queue(node, &event, NULL, index);
	return 0;
}

/*
 * libraft takes a snapshot of everything it has applied, but the agent may still have some of it
 * in the queue: those entries are applied to a copy.
 */
static int fsm_snapshot(struct raft_fsm *fsm, struct raft_buffer *buffers[], unsigned *count)
{
	struct raftnode *node = fsm->data;
	struct cluster cluster = node->agent.cluster;
	uint8_t *bytes;
	struct err why;
	int size;

	/* libraft would put its list of servers into it as it is: later, when that is committed. */
	if (node->raft.configuration_uncommitted_index > node->raft.last_applied)
		return RAFT_BUSY;
	bytes = raft_malloc(LOG_SNAPSHOT_MAX);
	*buffers = raft_malloc(sizeof(**buffers));
	if (bytes == NULL || *buffers == NULL)
		goto out_of_memory;
	for (unsigned i = 0; i < node->event_count; i++) {
		const struct queued_event *queued =
			&node->events[(node->event_first + i) % node->event_size];

		if (queued->event.kind == EV_RESTORED)
			cluster = *queued->restored;
		else if (queued->event.kind == EV_APPLIED)
			cluster_apply(&cluster, &queued->event.applied);
	}
	size = log_snapshot_encode(&cluster, bytes, &why);
	if (size <= 0) {
		raft_free(bytes);
		raft_free(*buffers);
		raftnode_fail(node, "a snapshot of the state does not encode: %s",
			      size < 0 ? why.text : "empty");
		return RAFT_TOOBIG;
	}
	(*buffers)[0].base = bytes;
	(*buffers)[0].len = (size_t)size;
	*count = 1;
	return 0;
out_of_memory:
	raft_free(bytes);
	raft_free(*buffers);
	return RAFT_NOMEM;
}

/* Owns `buffer` when it succeeds. */
static int fsm_restore(struct raft_fsm *fsm, struct raft_buffer *buffer)
{
	struct raftnode *node = fsm->data;
	struct cluster *cluster = malloc(sizeof(*cluster));
	struct agent_event event;
	struct err why;

	if (cluster == NULL)
		return RAFT_NOMEM;
	if (log_snapshot_decode(buffer->base, buffer->len, cluster, &why) < 0) {
		free(cluster);
		raftnode_fail(node, "the snapshot of the Raft log does not decode: %s", why.text);
		return RAFT_CORRUPT;
	}
	memset(&event, 0, sizeof(event));
	event.kind = EV_RESTORED;
	event.restored = cluster;
	raftnode_queue(node, &event, cluster, 0);
	raft_free(buffer->base);
	return 0;
}

void raftnode_fsm_init(struct raftnode *node)
{
	node->fsm.version = 1;
	node->fsm.data = node;
	node->fsm.apply = fsm_apply;
	node->fsm.snapshot = fsm_snapshot;
	node->fsm.restore = fsm_restore;
}
