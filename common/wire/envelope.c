#include "wire/envelope.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "wire/convert.h"
#include "wire/ranges.h"

/* Room for the envelope's own fields beside entries or a snapshot. */
#define ENVELOPE_HEAD 4096
/* A decoded envelope may take this much memory; the same bytes as empty rows would take 40 times.
 */
#define DECODE_BUDGET ((size_t)4 * PEER_FRAME_MAX)
/* libraft writes entries to disk in words. */
#define ENTRY_ALIGNMENT 8
#define ADDRESS_MAX     255

static void vote_from_raft(const struct raft_request_vote *from, struct raft_envelope *out)
{
	Mha__Peer__RequestVote *to = &out->request_vote;

	mha__peer__request_vote__init(to);
	to->term = from->term;
	to->candidate_id = from->candidate_id;
	to->last_log_index = from->last_log_index;
	to->last_log_term = from->last_log_term;
	to->disrupt_leader = from->disrupt_leader;
	to->pre_vote = from->pre_vote;
	out->envelope.body_case = MHA__PEER__ENVELOPE__BODY_REQUEST_VOTE;
	out->envelope.request_vote = to;
}

static void vote_result_from_raft(const struct raft_request_vote_result *from,
				  struct raft_envelope *out)
{
	Mha__Peer__RequestVoteResult *to = &out->request_vote_result;

	mha__peer__request_vote_result__init(to);
	to->term = from->term;
	to->vote_granted = from->vote_granted;
	to->pre_vote = (uint32_t)from->pre_vote;
	out->envelope.body_case = MHA__PEER__ENVELOPE__BODY_REQUEST_VOTE_RESULT;
	out->envelope.request_vote_result = to;
}

static int append_from_raft(const struct raft_append_entries *from, uint64_t sent_ns,
			    struct raft_envelope *out, struct err *why)
{
	Mha__Peer__AppendEntries *to = &out->append_entries;
	size_t bytes = ENVELOPE_HEAD;
	unsigned count = 0;

	mha__peer__append_entries__init(to);
	to->term = from->term;
	to->prev_log_index = from->prev_log_index;
	to->prev_log_term = from->prev_log_term;
	to->leader_commit = from->leader_commit;
	to->sent_ns = sent_ns;
	for (; count < from->n_entries && count < PEER_ENTRIES_MAX; count++) {
		const struct raft_entry *entry = &from->entries[count];
		Mha__Peer__RaftEntry *row = &out->entries[count];

		/* 32: tags, lengths, term and type. */
		bytes += entry->buf.len + 32;
		if (bytes > PEER_FRAME_MAX)
			break;
		mha__peer__raft_entry__init(row);
		row->term = entry->term;
		row->type = entry->type;
		row->data.data = entry->buf.base;
		row->data.len = entry->buf.len;
		out->entry_list[count] = row;
	}
	if (count == 0 && from->n_entries > 0)
		return err_set(why, ERR_TOO_BIG, "log entry of %zu bytes does not fit in a frame",
			       from->entries[0].buf.len);
	to->n_entries = count;
	to->entries = out->entry_list;
	out->envelope.body_case = MHA__PEER__ENVELOPE__BODY_APPEND_ENTRIES;
	out->envelope.append_entries = to;
	return 0;
}

static void append_result_from_raft(const struct raft_append_entries_result *from,
				    struct raft_envelope *out)
{
	Mha__Peer__AppendEntriesResult *to = &out->append_entries_result;

	mha__peer__append_entries_result__init(to);
	to->term = from->term;
	to->rejected = from->rejected;
	to->last_log_index = from->last_log_index;
	out->envelope.body_case = MHA__PEER__ENVELOPE__BODY_APPEND_ENTRIES_RESULT;
	out->envelope.append_entries_result = to;
}

static int snapshot_from_raft(const struct raft_install_snapshot *from, uint64_t sent_ns,
			      struct raft_envelope *out, struct err *why)
{
	Mha__Peer__InstallSnapshot *to = &out->install_snapshot;

	if (from->data.len > LOG_SNAPSHOT_MAX)
		return err_set(why, ERR_TOO_BIG, "snapshot of %zu bytes, at most %d",
			       from->data.len, LOG_SNAPSHOT_MAX);
	if (from->conf.n > NODES_MAX)
		return err_set(why, ERR_TOO_BIG, "snapshot with %u members, at most %d",
			       from->conf.n, NODES_MAX);
	mha__peer__install_snapshot__init(to);
	to->term = from->term;
	to->last_index = from->last_index;
	to->last_term = from->last_term;
	to->configuration_index = from->conf_index;
	to->data.data = from->data.base;
	to->data.len = from->data.len;
	to->sent_ns = sent_ns;
	for (unsigned i = 0; i < from->conf.n; i++) {
		mha__peer__raft_server__init(&out->servers[i]);
		out->servers[i].id = from->conf.servers[i].id;
		out->servers[i].address = from->conf.servers[i].address;
		out->servers[i].role = from->conf.servers[i].role;
		out->server_list[i] = &out->servers[i];
	}
	to->n_configuration = from->conf.n;
	to->configuration = out->server_list;
	out->envelope.body_case = MHA__PEER__ENVELOPE__BODY_INSTALL_SNAPSHOT;
	out->envelope.install_snapshot = to;
	return 0;
}

static void timeout_from_raft(const struct raft_timeout_now *from, struct raft_envelope *out)
{
	Mha__Peer__TimeoutNow *to = &out->timeout_now;

	mha__peer__timeout_now__init(to);
	to->term = from->term;
	to->last_log_index = from->last_log_index;
	to->last_log_term = from->last_log_term;
	out->envelope.body_case = MHA__PEER__ENVELOPE__BODY_TIMEOUT_NOW;
	out->envelope.timeout_now = to;
}

int envelope_from_raft(const struct raft_message *message, uint64_t sent_ns,
		       struct raft_envelope *out, struct err *why)
{
	mha__peer__envelope__init(&out->envelope);
	switch (message->type) {
	case RAFT_IO_APPEND_ENTRIES:
		return append_from_raft(&message->append_entries, sent_ns, out, why);
	case RAFT_IO_APPEND_ENTRIES_RESULT:
		append_result_from_raft(&message->append_entries_result, out);
		return 0;
	case RAFT_IO_REQUEST_VOTE:
		vote_from_raft(&message->request_vote, out);
		return 0;
	case RAFT_IO_REQUEST_VOTE_RESULT:
		vote_result_from_raft(&message->request_vote_result, out);
		return 0;
	case RAFT_IO_INSTALL_SNAPSHOT:
		return snapshot_from_raft(&message->install_snapshot, sent_ns, out, why);
	case RAFT_IO_TIMEOUT_NOW:
		timeout_from_raft(&message->timeout_now, out);
		return 0;
	default:
		return err_set(why, ERR_INVALID, "Raft message of the unknown type %d",
			       message->type);
	}
}

static int vote_to_raft(const Mha__Peer__RequestVote *from, uint32_t sender,
			struct raft_message *message, struct err *why)
{
	if (from->candidate_id != sender)
		return err_set(why, ERR_INVALID, "asks for a vote for %" PRIu64,
			       from->candidate_id);
	if (from->term == 0)
		return err_set(why, ERR_INVALID, "asks for a vote in term 0");
	message->type = RAFT_IO_REQUEST_VOTE;
	message->request_vote = (struct raft_request_vote){
		.term = from->term,
		.candidate_id = from->candidate_id,
		.last_log_index = from->last_log_index,
		.last_log_term = from->last_log_term,
		.disrupt_leader = from->disrupt_leader,
		.pre_vote = from->pre_vote,
	};
	return 0;
}

static int vote_result_to_raft(const Mha__Peer__RequestVoteResult *from,
			       struct raft_message *message, struct err *why)
{
	if (from->pre_vote > (uint32_t)raft_tribool_false)
		return err_set(why, ERR_INVALID, "pre_vote is %" PRIu32, from->pre_vote);
	message->type = RAFT_IO_REQUEST_VOTE_RESULT;
	message->request_vote_result = (struct raft_request_vote_result){
		.term = from->term,
		.vote_granted = from->vote_granted,
		.pre_vote = (raft_tribool)from->pre_vote,
	};
	return 0;
}

static int entry_check(const Mha__Peer__AppendEntries *from, size_t i, struct err *why)
{
	const Mha__Peer__RaftEntry *entry = from->entries[i];

	if (entry->type < RAFT_COMMAND || entry->type > RAFT_CHANGE)
		return err_set(why, ERR_INVALID, "entry %zu has the unknown type %" PRIu32, i,
			       entry->type);
	if (entry->term == 0 || entry->term > from->term)
		return err_set(why, ERR_INVALID,
			       "entry %zu is of term %" PRIu64 ", the leader of %" PRIu64, i,
			       entry->term, from->term);
	if (entry->data.len == 0 || entry->data.len % ENTRY_ALIGNMENT != 0)
		return err_set(why, ERR_INVALID, "entry %zu has %zu bytes, not a multiple of %d", i,
			       entry->data.len, ENTRY_ALIGNMENT);
	return 0;
}

/* Entries in one array, their data in one batch: libraft frees the two. */
static int entries_to_raft(const Mha__Peer__AppendEntries *from, struct raft_append_entries *to,
			   struct err *why)
{
	size_t bytes = 0;
	uint8_t *batch;

	for (size_t i = 0; i < from->n_entries; i++)
		bytes += from->entries[i]->data.len;
	batch = raft_malloc(bytes);
	to->entries = raft_calloc(from->n_entries, sizeof(*to->entries));
	if (batch == NULL || to->entries == NULL) {
		raft_free(batch);
		raft_free(to->entries);
		return err_set(why, ERR_NO_MEMORY, "out of memory");
	}
	bytes = 0;
	for (size_t i = 0; i < from->n_entries; i++) {
		const Mha__Peer__RaftEntry *entry = from->entries[i];

		to->entries[i] = (struct raft_entry){
			.term = entry->term,
			.type = (unsigned short)entry->type,
			.buf = {.base = batch + bytes, .len = entry->data.len},
			.batch = batch,
		};
		memcpy(batch + bytes, entry->data.data, entry->data.len);
		bytes += entry->data.len;
	}
	to->n_entries = (unsigned)from->n_entries;
	return 0;
}

static int append_to_raft(const Mha__Peer__AppendEntries *from, struct raft_message *message,
			  struct err *why)
{
	int rc;

	if (from->term == 0)
		return err_set(why, ERR_INVALID, "AppendEntries in term 0");
	if (from->prev_log_term > from->term)
		return err_set(why, ERR_INVALID, "prev_log_term is later than the term");
	/* An index counts entries from 1; sums of them must not wrap. */
	if (from->prev_log_index > INT64_MAX || from->leader_commit > INT64_MAX)
		return err_set(why, ERR_INVALID, "an index beyond any log");
	rc = range_count(from->n_entries, PEER_ENTRIES_MAX, "entries", why);
	for (size_t i = 0; i < from->n_entries && rc == 0; i++)
		rc = entry_check(from, i, why);
	if (rc < 0)
		return rc;
	message->type = RAFT_IO_APPEND_ENTRIES;
	message->append_entries = (struct raft_append_entries){
		.term = from->term,
		.prev_log_index = from->prev_log_index,
		.prev_log_term = from->prev_log_term,
		.leader_commit = from->leader_commit,
	};
	return from->n_entries == 0 ? 0 : entries_to_raft(from, &message->append_entries, why);
}

static int append_result_to_raft(const Mha__Peer__AppendEntriesResult *from,
				 struct raft_message *message, struct err *why)
{
	if (from->rejected > INT64_MAX || from->last_log_index > INT64_MAX)
		return err_set(why, ERR_INVALID, "an index beyond any log");
	message->type = RAFT_IO_APPEND_ENTRIES_RESULT;
	message->append_entries_result = (struct raft_append_entries_result){
		.term = from->term,
		.rejected = from->rejected,
		.last_log_index = from->last_log_index,
	};
	return 0;
}

static int servers_to_raft(const Mha__Peer__InstallSnapshot *from, struct raft_configuration *conf,
			   struct err *why)
{
	int rc = range_count(from->n_configuration, NODES_MAX, "configuration", why);

	for (size_t i = 0; i < from->n_configuration && rc == 0; i++) {
		const Mha__Peer__RaftServer *server = from->configuration[i];

		if (server->id == 0 || server->id > NODES_MAX)
			return err_set(why, ERR_INVALID, "a member with id %" PRIu64, server->id);
		if (server->role < RAFT_STANDBY || server->role > RAFT_SPARE)
			return err_set(why, ERR_INVALID, "a member with role %" PRId32,
				       server->role);
		if (server->address[0] == '\0' || strlen(server->address) > ADDRESS_MAX)
			return err_set(why, ERR_INVALID, "a member without a usable address");
		/* Duplicates are refused here. */
		rc = raft_configuration_add(conf, server->id, server->address, server->role);
		if (rc != 0)
			return err_set(why, rc == RAFT_NOMEM ? ERR_NO_MEMORY : ERR_INVALID,
				       "member %" PRIu64 ": %s", server->id, raft_strerror(rc));
	}
	return rc;
}

static int snapshot_to_raft(const Mha__Peer__InstallSnapshot *from, struct raft_message *message,
			    struct err *why)
{
	struct raft_install_snapshot *to = &message->install_snapshot;
	int rc;

	if (from->term == 0 || from->last_term == 0 || from->last_term > from->term ||
	    from->last_index == 0 || from->last_index > INT64_MAX ||
	    from->configuration_index == 0 || from->configuration_index > from->last_index)
		return err_set(why, ERR_INVALID, "a snapshot with impossible term or index");
	if (from->data.len == 0 || from->data.len > LOG_SNAPSHOT_MAX)
		return err_set(why, ERR_TOO_BIG, "a snapshot of %zu bytes, 1..%d", from->data.len,
			       LOG_SNAPSHOT_MAX);
	if (from->n_configuration == 0)
		return err_set(why, ERR_INVALID, "a snapshot without members");
	*to = (struct raft_install_snapshot){
		.term = from->term,
		.last_index = from->last_index,
		.last_term = from->last_term,
		.conf_index = from->configuration_index,
	};
	raft_configuration_init(&to->conf);
	rc = servers_to_raft(from, &to->conf, why);
	if (rc == 0)
		to->data.base = raft_malloc(from->data.len);
	if (to->data.base == NULL) {
		raft_configuration_close(&to->conf);
		return rc < 0 ? rc : err_set(why, ERR_NO_MEMORY, "out of memory");
	}
	memcpy(to->data.base, from->data.data, from->data.len);
	to->data.len = from->data.len;
	message->type = RAFT_IO_INSTALL_SNAPSHOT;
	return 0;
}

static int timeout_to_raft(const Mha__Peer__TimeoutNow *from, struct raft_message *message,
			   struct err *why)
{
	if (from->term == 0)
		return err_set(why, ERR_INVALID, "TimeoutNow in term 0");
	message->type = RAFT_IO_TIMEOUT_NOW;
	message->timeout_now = (struct raft_timeout_now){
		.term = from->term,
		.last_log_index = from->last_log_index,
		.last_log_term = from->last_log_term,
	};
	return 0;
}

static int body_to_raft(const Mha__Peer__Envelope *envelope, struct raft_message *message,
			uint64_t *sent_ns, struct err *why)
{
	switch (envelope->body_case) {
	case MHA__PEER__ENVELOPE__BODY_REQUEST_VOTE:
		return vote_to_raft(envelope->request_vote, envelope->from, message, why);
	case MHA__PEER__ENVELOPE__BODY_REQUEST_VOTE_RESULT:
		return vote_result_to_raft(envelope->request_vote_result, message, why);
	case MHA__PEER__ENVELOPE__BODY_APPEND_ENTRIES:
		*sent_ns = envelope->append_entries->sent_ns;
		return append_to_raft(envelope->append_entries, message, why);
	case MHA__PEER__ENVELOPE__BODY_APPEND_ENTRIES_RESULT:
		return append_result_to_raft(envelope->append_entries_result, message, why);
	case MHA__PEER__ENVELOPE__BODY_INSTALL_SNAPSHOT:
		*sent_ns = envelope->install_snapshot->sent_ns;
		return snapshot_to_raft(envelope->install_snapshot, message, why);
	case MHA__PEER__ENVELOPE__BODY_TIMEOUT_NOW:
		return timeout_to_raft(envelope->timeout_now, message, why);
	default:
		return err_set(why, ERR_NOT_FOUND, "not a Raft message");
	}
}

int envelope_to_raft(const Mha__Peer__Envelope *envelope, struct raft_message *message,
		     uint64_t *sent_ns, struct err *why)
{
	node_id from;
	int rc = range_node(envelope->from, false, "from", &from, why);

	memset(message, 0, sizeof(*message));
	*sent_ns = 0;
	if (rc < 0)
		return rc;
	message->server_id = from;
	return body_to_raft(envelope, message, sent_ns, why);
}

void envelope_raft_free(struct raft_message *message)
{
	if (message->type == RAFT_IO_APPEND_ENTRIES && message->append_entries.n_entries > 0) {
		raft_free(message->append_entries.entries[0].batch);
		raft_free(message->append_entries.entries);
	}
	if (message->type == RAFT_IO_INSTALL_SNAPSHOT) {
		raft_configuration_close(&message->install_snapshot.conf);
		raft_free(message->install_snapshot.data.base);
	}
	message->type = 0;
}

struct budget {
	size_t left;
};

static void *budget_alloc(void *data, size_t size)
{
	struct budget *budget = data;

	/* What malloc itself adds counts too. */
	if (size + 16 > budget->left)
		return NULL;
	budget->left -= size + 16;
	return malloc(size);
}

static void budget_free(void *data, void *pointer)
{
	UNUSED(data);
	free(pointer);
}

int envelope_decode(const uint8_t *bytes, size_t size, Mha__Peer__Envelope **envelope,
		    struct err *why)
{
	struct budget budget = {DECODE_BUDGET};
	ProtobufCAllocator allocator = {budget_alloc, budget_free, &budget};

	*envelope = NULL;
	if (size > PEER_FRAME_MAX)
		return err_set(why, ERR_TOO_BIG, "an envelope of %zu bytes, at most %d", size,
			       PEER_FRAME_MAX);
	*envelope = mha__peer__envelope__unpack(&allocator, size, bytes);
	if (*envelope == NULL)
		return err_set(why, ERR_CORRUPT, "an envelope of %zu bytes does not decode", size);
	return 0;
}

void envelope_free(Mha__Peer__Envelope *envelope)
{
	if (envelope != NULL)
		mha__peer__envelope__free_unpacked(envelope, NULL);
}
