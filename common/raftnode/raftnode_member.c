/*
 * Raft's own list of servers. libraft 0.15 handles changes of it in ways that were never used
 * here before and that a late or doubled message, a restart or a snapshot at the wrong moment
 * turns into a list that nobody has committed, or into a crash:
 *   - the list to go back to, when a change is replaced by a new leader's entries, is looked up in
 *     the log, where a snapshot may have taken its place;
 *   - after a restart the newest change of the log is taken for committed and never taken back;
 *   - a snapshot holds the list as it is, committed or not (raftnode_fsm.c takes none then);
 *   - a snapshot that comes in does not end the wait for a change that it replaces.
 * So the last committed list is kept here, and put where libraft would look for it in vain.
 */
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "raftnode/raftnode_internal.h"

static const struct raft_entry *entry_at(const struct raft_log *log, raft_index index)
{
	if (raftnode_log_term(log, index) == 0 || index <= log->offset)
		return NULL;
	return &log->entries[(log->front + (size_t)(index - log->offset - 1)) % log->size];
}

static int conf_copy(struct raft_configuration *to, const struct raft_configuration *from)
{
	struct raft_configuration made;
	int rc = 0;

	raft_configuration_init(&made);
	for (unsigned i = 0; i < from->n && rc == 0; i++)
		rc = raft_configuration_add(&made, from->servers[i].id, from->servers[i].address,
					    from->servers[i].role);
	if (rc != 0) {
		raft_configuration_close(&made);
		return rc;
	}
	raft_configuration_close(to);
	*to = made;
	return 0;
}

static uint64_t read_u64(const uint8_t *bytes)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < sizeof(value); i++)
		value |= (uint64_t)bytes[i] << (8 * i);
	return value;
}

/* Every entry of the log was checked when it came (raftnode_check.c), or libraft made it. */
static int conf_decode(struct raft_configuration *to, const struct raft_buffer *from)
{
	const uint8_t *bytes = from->base;
	struct raft_configuration made;
	size_t at = 1 + sizeof(uint64_t);
	uint64_t count;
	int rc = 0;

	if (!raftnode_configuration_sane(bytes, from->len))
		return RAFT_MALFORMED;
	count = read_u64(bytes + 1);
	raft_configuration_init(&made);
	for (uint64_t i = 0; i < count && rc == 0; i++) {
		const uint64_t id = read_u64(bytes + at);
		const char *address = (const char *)bytes + at + sizeof(id);

		at += sizeof(id) + strlen(address) + 1;
		rc = raft_configuration_add(&made, id, address, bytes[at++]);
	}
	if (rc != 0) {
		raft_configuration_close(&made);
		return rc;
	}
	raft_configuration_close(to);
	*to = made;
	return 0;
}

static node_set with_role(const struct raft_configuration *conf, bool voters)
{
	node_set set = 0;

	for (unsigned i = 0; i < conf->n; i++)
		if (conf->servers[i].id <= NODES_MAX &&
		    (!voters || conf->servers[i].role == RAFT_VOTER))
			set |= node_bit((node_id)conf->servers[i].id);
	return set;
}

node_set raftnode_voters(const struct raftnode *node)
{
	return with_role(&node->raft.configuration, true);
}

node_set raftnode_servers(const struct raftnode *node)
{
	return with_role(&node->raft.configuration, false);
}

uint64_t raftnode_lease_until(const struct raftnode *node, uint64_t now, uint64_t length)
{
	const node_id self = node->config.agent.self;
	uint64_t until = lease_until(&node->lease, raftnode_voters(node), self, now, length);
	uint64_t before;

	/* A change that is not committed may be gone under the next leader: both lists count. */
	if (node->raft.configuration_uncommitted_index == 0)
		return until;
	before = lease_until(&node->lease, with_role(&node->committed, true), self, now, length);
	return before < until ? before : until;
}

bool raftnode_changing(const struct raftnode *node)
{
	return node->change_pending || node->raft.configuration_uncommitted_index != 0;
}

static void out_of_memory(struct raftnode *node)
{
	raftnode_fail(node, "out of memory: the list of Raft's servers cannot be kept");
}

/* The list at `index` is committed. */
static void keep_committed(struct raftnode *node, raft_index index)
{
	const struct raft *raft = &node->raft;
	const struct raft_entry *entry = entry_at(&raft->log, index);
	int rc = 0;

	if (entry != NULL && entry->type == RAFT_CHANGE)
		rc = conf_decode(&node->committed, &entry->buf);
	else if (raft->configuration_uncommitted_index == 0)
		rc = conf_copy(&node->committed, &raft->configuration);
	else
		raftnode_fail(node, "the committed list of Raft's servers is lost");
	if (rc != 0)
		out_of_memory(node);
	node->committed_index = index;
}

/*
 * A snapshot that came in has replaced log and list, but libraft still waits for the change that
 * stood in the log: it would refuse every other one for ever.
 */
static void forget_replaced(struct raft *raft)
{
	const raft_index open = raft->configuration_uncommitted_index;

	if (open != 0 && raft->snapshot.put.data == NULL && entry_at(&raft->log, open) == NULL)
		raft->configuration_uncommitted_index = 0;
}

void raftnode_track_servers(struct raftnode *node)
{
	const raft_index committed = node->raft.configuration_index;

	if (node->started)
		forget_replaced(&node->raft);
	if (node->started && !node->failed && committed != node->committed_index)
		keep_committed(node, committed);
}

/* libraft has taken the newest change for committed; it is what was loaded, and may be neither. */
void raftnode_loaded_servers(struct raftnode *node)
{
	struct raft *raft = &node->raft;
	const struct raft_log *log = &raft->log;
	raft_index newest = 0, committed = 0;

	for (raft_index index = log->offset + 1; entry_at(log, index) != NULL; index++) {
		if (entry_at(log, index)->type != RAFT_CHANGE)
			continue;
		newest = index;
		if (index <= raft->commit_index)
			committed = index;
	}
	if (newest == 0 || newest <= raft->commit_index)
		return;
	raft->configuration_uncommitted_index = newest;
	raft->configuration_index = committed != 0 ? committed : node->base_index;
	if (committed != 0)
		return;
	if (conf_copy(&node->committed, &node->base) != 0)
		out_of_memory(node);
	node->committed_index = node->base_index;
}

int raftnode_hook_load(struct raft_io *io, raft_term *term, raft_id *vote,
		       struct raft_snapshot **snapshot, raft_index *start,
		       struct raft_entry *entries[], size_t *count)
{
	struct raft *raft = io->data;
	struct raftnode *node = raft->data;
	int rc = node->inner.load(io, term, vote, snapshot, start, entries, count);

	if (rc != 0 || *snapshot == NULL)
		return rc;
	node->base_index = (*snapshot)->configuration_index;
	if (conf_copy(&node->base, &(*snapshot)->configuration) != 0)
		out_of_memory(node);
	return 0;
}

/* libraft is about to cut its log where a change stands: the committed list is put back first. */
void raftnode_mend_rollback(struct raftnode *node, const struct raft_append_entries *append)
{
	struct raft *raft = &node->raft;
	const raft_term before = raftnode_log_term(&raft->log, append->prev_log_index);

	if (raft->configuration_uncommitted_index == 0 || append->term < raft->current_term ||
	    (append->prev_log_index != 0 && before != append->prev_log_term))
		return;
	for (unsigned i = 0; i < append->n_entries; i++) {
		const raft_index index = append->prev_log_index + 1 + i;
		const raft_term here = raftnode_log_term(&raft->log, index);

		if (here == 0)
			return;
		if (here == append->entries[i].term)
			continue;
		if (index <= raft->commit_index || index > raft->configuration_uncommitted_index)
			return;
		if (conf_copy(&raft->configuration, &node->committed) != 0)
			out_of_memory(node);
		raft->configuration_uncommitted_index = 0;
		return;
	}
}

static void on_change(struct raft_change *request, int status)
{
	struct raftnode *node = request->data;

	/* Whatever became of it, the list shows it; the agent looks there. */
	UNUSED(status);
	node->change_pending = false;
}

static const struct raft_server *server_of(const struct raftnode *node, node_id id)
{
	const struct raft_configuration *conf = &node->raft.configuration;

	for (unsigned i = 0; i < conf->n; i++)
		if (conf->servers[i].id == id)
			return &conf->servers[i];
	return NULL;
}

/* It has all of the log, so that its vote is worth something at once. */
static bool has_all(const struct raftnode *node, node_id id)
{
	const struct raft_log *log = &node->raft.log;
	const size_t count = log->back >= log->front ? log->back - log->front
						     : log->size - log->front + log->back;

	return node->acked_term == node->led_term && node->acked[id] == log->offset + count;
}

static int request_change(struct raftnode *node, node_id id, uint8_t role)
{
	const struct raft_server *server = server_of(node, id);
	struct raft *raft = &node->raft;

	if (role == SERVER_NONE)
		return server == NULL ? RAFT_NOTFOUND
				      : raft_remove(raft, &node->change, id, on_change);
	if (server == NULL) {
		node->acked[id] = node->told[id] = 0;
		return raft_add(raft, &node->change, id, node->config.address[id], on_change);
	}
	if (server->role == RAFT_SPARE)
		return raft_assign(raft, &node->change, id, RAFT_STANDBY, on_change);
	/* The agent asks until its list shows it: what it is already needs no change. */
	if (role != SERVER_VOTER || server->role == RAFT_VOTER || !has_all(node, id))
		return RAFT_BADROLE;
	return raft_assign(raft, &node->change, id, RAFT_VOTER, on_change);
}

void raftnode_change_server(struct raftnode *node, node_id id, uint8_t role)
{
	struct raft *raft = &node->raft;

	if (id == NODE_NONE || id > NODES_MAX || id == node->config.agent.self ||
	    (role != SERVER_NONE && node->config.address[id] == NULL) ||
	    raft->state != RAFT_LEADER || !node->ready || raft->transfer != NULL ||
	    node->transfer_pending || raftnode_changing(node) ||
	    raft->leader_state.promotee_id != 0 || raft->leader_state.change != NULL)
		return;
	node->change_pending = true;
	if (request_change(node, id, role) == 0)
		return;
	node->change_pending = false;
	/* libraft forgets to forget a request that it has refused late. */
	if (raft->state == RAFT_LEADER && raft->leader_state.change == &node->change)
		raft->leader_state.change = NULL;
}
