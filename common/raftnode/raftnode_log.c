/*
 * Three places where libraft 0.15 trusts a log more than Raft allows. All of them need a message
 * that is late, doubled, or meets a log with leftovers of an earlier leader; each of them loses
 * committed entries or corrupts memory. tests/unit/raftnode_test.c shows each one.
 */
#include "raftnode/raftnode_internal.h"

raft_term raftnode_log_term(const struct raft_log *log, raft_index index)
{
	const size_t count = log->back >= log->front ? log->back - log->front
						     : log->size - log->front + log->back;

	if (index > log->offset && index <= log->offset + count)
		return log->entries[(log->front + (size_t)(index - log->offset - 1)) % log->size]
			.term;
	if (index != 0 && index == log->snapshot.last_index)
		return log->snapshot.last_term;
	return 0;
}

static void drop_entries(struct raft_append_entries *append)
{
	struct raft_message message = {.type = RAFT_IO_APPEND_ENTRIES};

	message.append_entries = *append;
	raftnode_message_free(&message);
	append->entries = NULL;
	append->n_entries = 0;
}

/* Some of the message's entries are to take the place of others here. */
static bool cuts(const struct raftnode *node, const struct raft_append_entries *append)
{
	for (unsigned i = 0; i < append->n_entries; i++) {
		const raft_term here =
			raftnode_log_term(&node->raft.log, append->prev_log_index + 1 + i);

		if (here != 0 && here != append->entries[i].term)
			return true;
	}
	return false;
}

/*
 * A message about entries that a snapshot has replaced here: libraft finds no term for them, takes
 * them for new and appends them at the wrong place. They are committed, so the leader has them
 * too: the message becomes a heartbeat at the commit index, which brings the leader forward.
 *
 * libraft commits up to its last entry, although only entries up to the message's end are known to
 * be the leader's.
 *
 * And raft_uv 0.15 never carries out a cut that comes while it writes a snapshot (or while another
 * cut is under way): the old entries stay on the disk, and at the next start they are in the way of
 * the new ones, or taken for them (https://github.com/canonical/raft/issues/372). So entries that
 * would need a cut are not taken now; the leader sends them again. A snapshot waits for a cut.
 */
void raftnode_mend_append(struct raftnode *node, struct raft_append_entries *append)
{
	const struct raft *raft = &node->raft;
	const raft_term committed_term = raftnode_log_term(&raft->log, raft->commit_index);
	raft_index end;

	if (append->term >= raft->current_term && append->prev_log_index < raft->commit_index &&
	    committed_term != 0 && raft->log.offset > 0 &&
	    append->prev_log_index <= raft->log.offset &&
	    raftnode_log_term(&raft->log, append->prev_log_index) == 0) {
		drop_entries(append);
		append->prev_log_index = raft->commit_index;
		append->prev_log_term = committed_term;
	}
	if ((node->putting || node->cut_until != 0) && cuts(node, append))
		drop_entries(append);
	end = append->prev_log_index + append->n_entries;
	if (append->leader_commit > end)
		append->leader_commit = end;
}

/* Remember where the message ends, before libraft takes it. */
void raftnode_answering(struct raftnode *node, const struct raft_message *message)
{
	node->answering_index = 0;
	if (message->type == RAFT_IO_APPEND_ENTRIES) {
		const struct raft_append_entries *append = &message->append_entries;

		node->answering_index = append->prev_log_index + append->n_entries;
		node->answering_term = append->n_entries > 0
					       ? append->entries[append->n_entries - 1].term
					       : append->prev_log_term;
	} else if (message->type == RAFT_IO_INSTALL_SNAPSHOT) {
		node->answering_index = message->install_snapshot.last_index;
		node->answering_term = message->install_snapshot.last_term;
	}
}

static bool holds_answered(const struct raftnode *node)
{
	return node->answering_index != 0 &&
	       raftnode_log_term(&node->raft.log, node->answering_index) == node->answering_term;
}

/* The message of this term's leader has been dealt with; what it proved stays proven. */
void raftnode_answered(struct raftnode *node, raft_term term)
{
	if (term != node->raft.current_term) {
		node->answering_index = 0;
		return;
	}
	if (node->matched_term != term) {
		node->matched_term = term;
		node->matched_index = 0;
	}
	if (holds_answered(node) && node->answering_index > node->matched_index)
		node->matched_index = node->answering_index;
	node->answering_index = 0;
}

/*
 * The most that a successful result may claim. libraft claims everything that is stored, also
 * leftovers of an earlier leader; the leader would count them as copies of its own entries.
 */
raft_index raftnode_proven_index(const struct raftnode *node)
{
	/* What is committed stands in the log of every later leader. */
	raft_index proven = node->raft.commit_index;

	if (node->matched_term == node->raft.current_term && node->matched_index > proven)
		proven = node->matched_index;
	if (holds_answered(node) && node->answering_index > proven)
		proven = node->answering_index;
	return proven;
}
