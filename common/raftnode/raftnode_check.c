/*
 * What libraft takes for granted about a message, and the way in. Its checks are assertions that
 * Debian's build leaves out, so nonsense must not get that far.
 */
#include <string.h>

#include "raftnode/raftnode_internal.h"
#include "wire/convert.h"

/* No log or term of ours comes near; sums of two such numbers do not overflow. */
#define INDEX_LIMIT   (UINT64_C(1) << 48)
#define ENTRIES_LIMIT 65536u
#define ADDRESS_LIMIT 1024u

static const struct raft_server *server_of(const struct raft *raft, node_id id)
{
	for (unsigned i = 0; i < raft->configuration.n; i++)
		if (raft->configuration.servers[i].id == id)
			return &raft->configuration.servers[i];
	return NULL;
}

static bool read_u64(const uint8_t *bytes, size_t size, size_t *at, uint64_t *value)
{
	if (size - *at < sizeof(*value))
		return false;
	*value = 0;
	for (unsigned i = 0; i < sizeof(*value); i++)
		*value |= (uint64_t)bytes[*at + i] << (8 * i);
	*at += sizeof(*value);
	return true;
}

/* libraft's encoding of a configuration: format 1, count, then id, address, role of each. */
bool raftnode_configuration_sane(const uint8_t *bytes, size_t size)
{
	size_t at = 1;
	uint64_t count;

	if (size < 1 || bytes[0] != 1 || !read_u64(bytes, size, &at, &count) || count < 1 ||
	    count > NODES_MAX)
		return false;
	for (uint64_t i = 0; i < count; i++) {
		const uint8_t *end;
		uint64_t id;

		if (!read_u64(bytes, size, &at, &id) || id < 1 || id > NODES_MAX)
			return false;
		end = memchr(bytes + at, 0, size - at);
		if (end == NULL || end - (bytes + at) >= (ptrdiff_t)ADDRESS_LIMIT)
			return false;
		at = (size_t)(end - bytes) + 1;
		if (at >= size || bytes[at] > RAFT_SPARE)
			return false;
		at++;
	}
	return true;
}

static int check_entry(const struct raft_entry *entry, raft_term before, raft_term leader_term,
		       unsigned position, struct err *why)
{
	if (entry->term < before || entry->term > leader_term || entry->term == 0)
		return err_set(why, ERR_INVALID, "entry %u has term %llu in a message of term %llu",
			       position, entry->term, leader_term);
	if (entry->batch == NULL || entry->buf.base == NULL || entry->buf.len == 0 ||
	    entry->buf.len > LOG_ENTRY_MAX)
		return err_set(why, ERR_INVALID, "entry %u holds %zu bytes, allowed are 1 to %d",
			       position, entry->buf.len, LOG_ENTRY_MAX);
	if (entry->type != RAFT_COMMAND && entry->type != RAFT_BARRIER &&
	    entry->type != RAFT_CHANGE)
		return err_set(why, ERR_INVALID, "entry %u is of the unknown type %u", position,
			       entry->type);
	if (entry->type == RAFT_CHANGE &&
	    !raftnode_configuration_sane(entry->buf.base, entry->buf.len))
		return err_set(why, ERR_INVALID, "entry %u is not a configuration of members",
			       position);
	return 0;
}

static int check_append(const struct raft *raft, const struct raft_append_entries *append,
			struct err *why)
{
	raft_term term = append->prev_log_term;

	if (raft->state == RAFT_LEADER && append->term == raft->current_term)
		return err_set(why, ERR_INVALID,
			       "it claims to lead term %llu, which this node leads", append->term);
	if (append->prev_log_index >= INDEX_LIMIT || append->leader_commit >= INDEX_LIMIT)
		return err_set(why, ERR_INVALID, "previous index %llu or commit index %llu is wild",
			       append->prev_log_index, append->leader_commit);
	if ((append->prev_log_index == 0) != (append->prev_log_term == 0) ||
	    append->prev_log_term > append->term)
		return err_set(why, ERR_INVALID, "previous entry is %llu of term %llu",
			       append->prev_log_index, append->prev_log_term);
	if (append->n_entries > ENTRIES_LIMIT ||
	    (append->n_entries > 0) != (append->entries != NULL))
		return err_set(why, ERR_INVALID, "%u entries, allowed are 0 to %u",
			       append->n_entries, ENTRIES_LIMIT);
	for (unsigned i = 0; i < append->n_entries; i++) {
		int rc = check_entry(&append->entries[i], term, append->term, i, why);

		if (rc < 0)
			return rc;
		term = append->entries[i].term;
	}
	return 0;
}

static int check_snapshot(const struct raft *raft, const struct raft_install_snapshot *install,
			  struct err *why)
{
	struct cluster cluster;

	if (raft->state == RAFT_LEADER && install->term == raft->current_term)
		return err_set(why, ERR_INVALID,
			       "it claims to lead term %llu, which this node leads", install->term);
	if (install->last_index == 0 || install->last_index >= INDEX_LIMIT ||
	    install->last_term == 0 || install->last_term > install->term ||
	    install->conf_index == 0 || install->conf_index > install->last_index)
		return err_set(why, ERR_INVALID,
			       "snapshot of entry %llu, term %llu, configuration %llu",
			       install->last_index, install->last_term, install->conf_index);
	if (install->conf.n < 1 || install->conf.n > NODES_MAX || install->conf.servers == NULL)
		return err_set(why, ERR_INVALID, "snapshot with %u members", install->conf.n);
	for (unsigned i = 0; i < install->conf.n; i++) {
		const struct raft_server *server = &install->conf.servers[i];

		if (server->id < 1 || server->id > NODES_MAX || server->address == NULL ||
		    server->role < RAFT_STANDBY || server->role > RAFT_SPARE)
			return err_set(why, ERR_INVALID, "snapshot with a damaged member %u", i);
	}
	if (install->data.base == NULL || install->data.len == 0 ||
	    install->data.len > LOG_SNAPSHOT_MAX)
		return err_set(why, ERR_INVALID, "snapshot of %zu bytes, allowed are 1 to %d",
			       install->data.len, LOG_SNAPSHOT_MAX);
	return log_snapshot_decode(install->data.base, install->data.len, &cluster, why);
}

static int check_vote(const struct raft *raft, node_id from, const struct raft_request_vote *vote,
		      struct err *why)
{
	if (vote->candidate_id != from)
		return err_set(why, ERR_INVALID, "it asks for votes for member %llu",
			       vote->candidate_id);
	if (vote->last_log_index >= INDEX_LIMIT || vote->last_log_term >= vote->term ||
	    (vote->last_log_index == 0) != (vote->last_log_term == 0))
		return err_set(why, ERR_INVALID, "its log ends at entry %llu of term %llu",
			       vote->last_log_index, vote->last_log_term);
	/*
	 * libraft lets the target of a transfer have a second vote in the same term; with another
	 * candidate at the same time that would make two leaders.
	 */
	if (!vote->pre_vote && vote->term == raft->current_term && raft->voted_for != 0 &&
	    raft->voted_for != from)
		return err_set(why, ERR_REFUSED, "term %llu: the vote went to member %llu",
			       vote->term, raft->voted_for);
	return 0;
}

static int check_vote_result(const struct raft *raft, const struct raft_request_vote_result *result,
			     struct err *why)
{
	if (result->pre_vote != raft_tribool_unknown && result->pre_vote != raft_tribool_true &&
	    result->pre_vote != raft_tribool_false)
		return err_set(why, ERR_INVALID, "neither a vote nor a pre-vote");
	if (result->vote_granted && result->term > raft->current_term + 1)
		return err_set(why, ERR_INVALID, "a vote for term %llu, which nobody asked for",
			       result->term);
	return 0;
}

static raft_term message_term(const struct raft_message *message)
{
	switch (message->type) {
	case RAFT_IO_APPEND_ENTRIES:
		return message->append_entries.term;
	case RAFT_IO_APPEND_ENTRIES_RESULT:
		return message->append_entries_result.term;
	case RAFT_IO_REQUEST_VOTE:
		return message->request_vote.term;
	case RAFT_IO_REQUEST_VOTE_RESULT:
		return message->request_vote_result.term;
	case RAFT_IO_INSTALL_SNAPSHOT:
		return message->install_snapshot.term;
	case RAFT_IO_TIMEOUT_NOW:
		return message->timeout_now.term;
	default:
		return 0;
	}
}

int raftnode_check_message(const struct raft *raft, node_id from,
			   const struct raft_message *message, struct err *why)
{
	const raft_term term = message_term(message);

	if (from == raft->id)
		return err_set(why, ERR_INVALID, "member %u is this node", from);
	/* Who leads or asks for votes may be on a list that this log does not have yet. */
	if (server_of(raft, from) == NULL && (message->type == RAFT_IO_APPEND_ENTRIES_RESULT ||
					      message->type == RAFT_IO_REQUEST_VOTE_RESULT))
		return err_set(why, ERR_REFUSED, "member %u is no server of this log", from);
	if (message->type < RAFT_IO_APPEND_ENTRIES || message->type > RAFT_IO_TIMEOUT_NOW)
		return err_set(why, ERR_INVALID, "unknown type %u", message->type);
	/* A server that has just started may answer a pre-vote out of term 0. */
	if (term >= INDEX_LIMIT || (term == 0 && message->type != RAFT_IO_REQUEST_VOTE_RESULT &&
				    message->type != RAFT_IO_APPEND_ENTRIES_RESULT))
		return err_set(why, ERR_INVALID, "term %llu", term);
	switch (message->type) {
	case RAFT_IO_APPEND_ENTRIES:
		return check_append(raft, &message->append_entries, why);
	case RAFT_IO_INSTALL_SNAPSHOT:
		return check_snapshot(raft, &message->install_snapshot, why);
	case RAFT_IO_REQUEST_VOTE:
		return check_vote(raft, from, &message->request_vote, why);
	case RAFT_IO_REQUEST_VOTE_RESULT:
		return check_vote_result(raft, &message->request_vote_result, why);
	case RAFT_IO_APPEND_ENTRIES_RESULT:
		if (message->append_entries_result.rejected >= INDEX_LIMIT ||
		    message->append_entries_result.last_log_index >= INDEX_LIMIT)
			return err_set(why, ERR_INVALID, "a result with a wild index");
		return 0;
	default:
		if (message->timeout_now.last_log_index >= INDEX_LIMIT)
			return err_set(why, ERR_INVALID, "a wild last index");
		return 0;
	}
}

void raftnode_message_free(struct raft_message *message)
{
	if (message->type == RAFT_IO_APPEND_ENTRIES) {
		struct raft_append_entries *append = &message->append_entries;
		void *batch = NULL;

		for (unsigned i = 0; append->entries != NULL && i < append->n_entries; i++) {
			if (append->entries[i].batch != batch)
				raft_free(append->entries[i].batch);
			batch = append->entries[i].batch;
		}
		raft_free(append->entries);
		append->entries = NULL;
		append->n_entries = 0;
	} else if (message->type == RAFT_IO_INSTALL_SNAPSHOT) {
		raft_configuration_close(&message->install_snapshot.conf);
		raft_configuration_init(&message->install_snapshot.conf);
		raft_free(message->install_snapshot.data.base);
		message->install_snapshot.data.base = NULL;
	}
}

/* This voter now follows the sender: it says so, and is bound to it for T. */
static void acknowledge(struct raftnode *node, node_id from, raft_term term, uint64_t sent_ns)
{
	const struct raft *raft = &node->raft;

	if (raft->state != RAFT_FOLLOWER || raft->current_term != term ||
	    raft->follower_state.current_leader.id != from)
		return;
	node->heard_until_ns = node->ops->now_ns(node->arg) + node->config.agent.election_ns;
	if (sent_ns != 0)
		node->ops->send_heard(node->arg, from, term, sent_ns);
}

/*
 * A leader knows what is committed once an entry of its own term is; a follower that has applied
 * as much is current.
 */
static void catch_up(struct raftnode *node, node_id from, raft_term term, raft_index commit)
{
	const struct raft *raft = &node->raft;

	if (!node->caught_up && commit != 0 && raft->state == RAFT_FOLLOWER &&
	    raft->current_term == term && raft->follower_state.current_leader.id == from &&
	    raft->last_applied >= commit && raftnode_log_term(&raft->log, commit) == term)
		node->caught_up = true;
}

/* Bound by a promise: no answer at all. */
static bool is_unwelcome(const struct raftnode *node, const struct raft_message *message)
{
	return message->type == RAFT_IO_REQUEST_VOTE && !message->request_vote.disrupt_leader &&
	       !raftnode_may_vote(node, node->ops->now_ns(node->arg));
}

int raftnode_receive(struct raftnode *node, node_id from, struct raft_message *message,
		     uint64_t sent_ns, struct err *why)
{
	const unsigned short type = message->type;
	const raft_term term = message_term(message);
	raft_index commit = 0;
	int rc;

	if (node->failed || node->closing || !node->started ||
	    node->raft.state == RAFT_UNAVAILABLE || is_unwelcome(node, message)) {
		raftnode_message_free(message);
		return 0;
	}
	if (from < 1 || from > NODES_MAX || node->config.address[from] == NULL)
		rc = err_set(why, ERR_INVALID, "it is not configured");
	else
		rc = raftnode_check_message(&node->raft, from, message, why);
	if (rc == 0 && type == RAFT_IO_REQUEST_VOTE && raftnode_has_left(node, from))
		rc = err_set(why, ERR_REFUSED,
			     "it is not a member any more and asks for votes: stop its agent, or "
			     "add it again (mhactl member add)");
	if (rc < 0) {
		raftnode_message_free(message);
		return err_in(why, rc, "Raft message from member %u", from);
	}
	message->server_id = from;
	message->server_address = node->config.address[from];
	raftnode_enter(node);
	if (type == RAFT_IO_APPEND_ENTRIES)
		commit = message->append_entries.leader_commit;
	if (type == RAFT_IO_APPEND_ENTRIES)
		raftnode_mend_append(node, &message->append_entries);
	if (type == RAFT_IO_APPEND_ENTRIES)
		raftnode_mend_rollback(node, &message->append_entries);
	raftnode_answering(node, message);
	if (type == RAFT_IO_APPEND_ENTRIES_RESULT)
		raftnode_acknowledged(node, from, &message->append_entries_result);
	node->receive(node->io, message);
	if (type == RAFT_IO_APPEND_ENTRIES || type == RAFT_IO_INSTALL_SNAPSHOT) {
		raftnode_answered(node, term);
		acknowledge(node, from, term, sent_ns);
		catch_up(node, from, term, commit);
	}
	raftnode_leave(node);
	return 0;
}
