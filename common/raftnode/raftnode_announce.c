/*
 * libraft 0.15 tells followers about a commit with the next message to them, that is, up to a
 * heartbeat later. A standby that learns so late that its new primary is open keeps commits
 * waiting. So the leader says at once how far the log is committed, by a heartbeat of our own, to
 * each follower that is known to hold the entry.
 */
#include <string.h>

#include "raftnode/raftnode_internal.h"

void raftnode_acknowledged(struct raftnode *node, node_id from,
			   const struct raft_append_entries_result *result)
{
	if (node->led_term == 0 || result->term != node->led_term || result->rejected != 0)
		return;
	if (node->acked_term != node->led_term) {
		node->acked_term = node->led_term;
		memset(node->acked, 0, sizeof(node->acked));
		memset(node->told, 0, sizeof(node->told));
	}
	if (result->last_log_index > node->acked[from])
		node->acked[from] = result->last_log_index;
}

void raftnode_announce(struct raftnode *node)
{
	const struct raft *raft = &node->raft;
	const raft_index commit = raft->commit_index;
	struct raft_message message = {.type = RAFT_IO_APPEND_ENTRIES};

	if (node->led_term == 0 || !node->ready || node->closing || node->failed ||
	    node->acked_term != node->led_term || node->announced == commit ||
	    raftnode_log_term(&raft->log, commit) != raft->current_term)
		return;
	message.append_entries.term = raft->current_term;
	message.append_entries.prev_log_index = commit;
	message.append_entries.prev_log_term = raft->current_term;
	message.append_entries.leader_commit = commit;
	bool all = true;

	for (unsigned i = 0; i < raft->configuration.n; i++) {
		const struct raft_server *server = &raft->configuration.servers[i];

		if (server->id == raft->id || server->id > NODES_MAX)
			continue;
		if (node->acked[server->id] < commit)
			all = false;
		if (node->told[server->id] >= commit || node->acked[server->id] < commit)
			continue;
		node->told[server->id] = commit;
		message.server_id = server->id;
		message.server_address = server->address;
		/* Best effort: the next heartbeat says the same. */
		(void)node->ops->send(node->arg, &message, node->ops->now_ns(node->arg));
	}
	if (all)
		node->announced = commit;
}
