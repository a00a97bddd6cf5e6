/* Every Raft message goes over the wire and back; nonsense never reaches libraft. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "wire/convert.h"
#include "wire/envelope.h"

static struct raft_envelope storage;

/* Through bytes, as on the wire; the caller frees. */
static Mha__Peer__Envelope *trip(const struct raft_message *message, uint64_t sent_ns)
{
	struct err why = {0};
	Mha__Peer__Envelope *back = NULL;

	cr_assert_eq(envelope_from_raft(message, sent_ns, &storage, &why), 0, "%s", why.text);
	storage.envelope.version = PEER_PROTOCOL_VERSION;
	storage.envelope.from = 3;

	size_t size = mha__peer__envelope__get_packed_size(&storage.envelope);
	uint8_t *bytes = malloc(size);

	cr_assert_not_null(bytes);
	mha__peer__envelope__pack(&storage.envelope, bytes);
	cr_assert_eq(envelope_decode(bytes, size, &back, &why), 0, "%s", why.text);
	free(bytes);
	return back;
}

static struct raft_message there_and_back(const struct raft_message *message, uint64_t sent_ns,
					  uint64_t *sent_back)
{
	struct err why = {0};
	struct raft_message back;
	Mha__Peer__Envelope *envelope = trip(message, sent_ns);

	cr_assert_eq(envelope_to_raft(envelope, &back, sent_back, &why), 0, "%s", why.text);
	envelope_free(envelope);
	cr_assert_eq(back.type, message->type);
	cr_assert_eq(back.server_id, 3);
	cr_assert_null(back.server_address);
	return back;
}

Test(envelope, votes_and_their_results)
{
	uint64_t sent;
	struct raft_message ask = {.type = RAFT_IO_REQUEST_VOTE,
				   .request_vote = {9, 3, 8, 7, true, false}};
	struct raft_message back = there_and_back(&ask, 55, &sent);

	cr_assert_eq(sent, 0);
	cr_assert_eq(back.request_vote.term, 9);
	cr_assert_eq(back.request_vote.candidate_id, 3);
	cr_assert_eq(back.request_vote.last_log_index, 8);
	cr_assert_eq(back.request_vote.last_log_term, 7);
	cr_assert(back.request_vote.disrupt_leader);
	cr_assert_not(back.request_vote.pre_vote);

	static const raft_tribool pre[] = {raft_tribool_unknown, raft_tribool_true,
					   raft_tribool_false};

	for (size_t i = 0; i < COUNT_OF(pre); i++) {
		struct raft_message result = {.type = RAFT_IO_REQUEST_VOTE_RESULT,
					      .request_vote_result = {9, true, pre[i]}};

		back = there_and_back(&result, 0, &sent);
		cr_assert_eq(back.request_vote_result.term, 9);
		cr_assert(back.request_vote_result.vote_granted);
		cr_assert_eq(back.request_vote_result.pre_vote, pre[i]);
	}
}

Test(envelope, append_entries_with_their_data_in_one_batch)
{
	uint64_t sent;
	char one[8] = "1234567", two[16] = "abcdefghijklmno";
	struct raft_entry entries[2] = {
		{.term = 4, .type = RAFT_COMMAND, .buf = {one, sizeof(one)}},
		{.term = 5, .type = RAFT_BARRIER, .buf = {two, sizeof(two)}},
	};
	struct raft_message append = {.type = RAFT_IO_APPEND_ENTRIES,
				      .append_entries = {6, 10, 4, 9, entries, 2}};
	struct raft_message back = there_and_back(&append, 123456789, &sent);

	cr_assert_eq(sent, 123456789);
	cr_assert_eq(back.append_entries.term, 6);
	cr_assert_eq(back.append_entries.prev_log_index, 10);
	cr_assert_eq(back.append_entries.prev_log_term, 4);
	cr_assert_eq(back.append_entries.leader_commit, 9);
	cr_assert_eq(back.append_entries.n_entries, 2);
	cr_assert_eq(back.append_entries.entries[0].term, 4);
	cr_assert_eq(back.append_entries.entries[1].type, RAFT_BARRIER);
	cr_assert_eq(back.append_entries.entries[0].buf.base, back.append_entries.entries[0].batch);
	cr_assert_eq(back.append_entries.entries[1].batch, back.append_entries.entries[0].batch);
	cr_assert_str_eq((char *)back.append_entries.entries[1].buf.base, two);
	cr_assert_eq(back.append_entries.entries[1].buf.len, sizeof(two));
	envelope_raft_free(&back);

	append.append_entries.entries = NULL;
	append.append_entries.n_entries = 0;
	back = there_and_back(&append, 1, &sent);
	cr_assert_null(back.append_entries.entries);
	cr_assert_eq(back.append_entries.n_entries, 0);
	envelope_raft_free(&back);
}

Test(envelope, results_and_timeout_now)
{
	uint64_t sent;
	struct raft_message result = {.type = RAFT_IO_APPEND_ENTRIES_RESULT,
				      .append_entries_result = {3, 2, 1}};
	struct raft_message back = there_and_back(&result, 0, &sent);

	cr_assert_eq(back.append_entries_result.term, 3);
	cr_assert_eq(back.append_entries_result.rejected, 2);
	cr_assert_eq(back.append_entries_result.last_log_index, 1);

	struct raft_message timeout = {.type = RAFT_IO_TIMEOUT_NOW, .timeout_now = {6, 5, 4}};

	back = there_and_back(&timeout, 0, &sent);
	cr_assert_eq(back.timeout_now.term, 6);
	cr_assert_eq(back.timeout_now.last_log_index, 5);
	cr_assert_eq(back.timeout_now.last_log_term, 4);
}

Test(envelope, a_snapshot_with_its_members)
{
	uint64_t sent;
	char data[100] = "state", a1[] = "10.0.0.1:7400", a2[] = "10.0.0.2:7400";
	struct raft_server servers[2] = {{1, a1, RAFT_VOTER}, {2, a2, RAFT_STANDBY}};
	struct raft_message install = {
		.type = RAFT_IO_INSTALL_SNAPSHOT,
		.install_snapshot = {9, 50, 8, {servers, 2}, 40, {data, sizeof(data)}}};
	struct raft_message back = there_and_back(&install, 99, &sent);
	const struct raft_install_snapshot *got = &back.install_snapshot;

	cr_assert_eq(sent, 99);
	cr_assert_eq(got->term, 9);
	cr_assert_eq(got->last_index, 50);
	cr_assert_eq(got->last_term, 8);
	cr_assert_eq(got->conf_index, 40);
	cr_assert_eq(got->conf.n, 2);
	cr_assert_eq(got->conf.servers[1].id, 2);
	cr_assert_str_eq(got->conf.servers[0].address, a1);
	cr_assert_eq(got->conf.servers[1].role, RAFT_STANDBY);
	cr_assert_eq(got->data.len, sizeof(data));
	cr_assert_str_eq((char *)got->data.base, "state");
	envelope_raft_free(&back);
}

Test(envelope, what_does_not_fit_in_a_frame_is_left_for_the_next)
{
	enum { MANY = PEER_ENTRIES_MAX + 10 };
	static struct raft_entry entries[MANY];
	static uint8_t data[512 * 1024];
	struct err why = {0};
	struct raft_message append = {.type = RAFT_IO_APPEND_ENTRIES};

	for (size_t i = 0; i < MANY; i++)
		entries[i] = (struct raft_entry){.term = 1, .type = RAFT_COMMAND, .buf = {data, 8}};
	append.append_entries =
		(struct raft_append_entries){.term = 1, .entries = entries, .n_entries = MANY};
	cr_assert_eq(envelope_from_raft(&append, 0, &storage, &why), 0, "%s", why.text);
	cr_assert_eq(storage.append_entries.n_entries, PEER_ENTRIES_MAX);

	for (size_t i = 0; i < MANY; i++)
		entries[i].buf.len = sizeof(data) - 4096;
	cr_assert_eq(envelope_from_raft(&append, 0, &storage, &why), 0, "%s", why.text);
	cr_assert_eq(storage.append_entries.n_entries, 2);
	cr_assert_leq(mha__peer__envelope__get_packed_size(&storage.envelope), PEER_FRAME_MAX);

	entries[0].buf.len = PEER_FRAME_MAX;
	cr_assert_eq(envelope_from_raft(&append, 0, &storage, &why), ERR_TOO_BIG);
}

Test(envelope, what_raft_never_says_is_not_sent)
{
	struct err why = {0};
	struct raft_message unknown = {.type = 77};
	struct raft_message install = {.type = RAFT_IO_INSTALL_SNAPSHOT};

	cr_assert_eq(envelope_from_raft(&unknown, 0, &storage, &why), ERR_INVALID);
	install.install_snapshot.data.len = LOG_SNAPSHOT_MAX + 1;
	cr_assert_eq(envelope_from_raft(&install, 0, &storage, &why), ERR_TOO_BIG);
}

static int refused(const Mha__Peer__Envelope *envelope, struct err *why)
{
	struct raft_message message;
	uint64_t sent;
	int rc = envelope_to_raft(envelope, &message, &sent, why);

	if (rc == 0)
		envelope_raft_free(&message);
	return rc;
}

Test(envelope, a_body_that_is_no_raft_message_is_not_found)
{
	Mha__Peer__Envelope envelope = MHA__PEER__ENVELOPE__INIT;
	Mha__Peer__Survey survey = MHA__PEER__SURVEY__INIT;
	struct err why = {0};

	envelope.from = 3;
	cr_assert_eq(refused(&envelope, &why), ERR_NOT_FOUND);
	envelope.body_case = MHA__PEER__ENVELOPE__BODY_SURVEY;
	envelope.survey = &survey;
	cr_assert_eq(refused(&envelope, &why), ERR_NOT_FOUND);
	envelope.from = 0;
	cr_assert_eq(refused(&envelope, &why), ERR_INVALID);
	envelope.from = NODES_MAX + 1;
	cr_assert_eq(refused(&envelope, &why), ERR_INVALID);
}

Test(envelope, votes_out_of_range_are_refused)
{
	Mha__Peer__Envelope envelope = MHA__PEER__ENVELOPE__INIT;
	Mha__Peer__RequestVote vote = MHA__PEER__REQUEST_VOTE__INIT;
	Mha__Peer__RequestVoteResult result = MHA__PEER__REQUEST_VOTE_RESULT__INIT;
	struct err why = {0};

	envelope.from = 3;
	envelope.body_case = MHA__PEER__ENVELOPE__BODY_REQUEST_VOTE;
	envelope.request_vote = &vote;
	vote.term = 1;
	vote.candidate_id = 2;
	cr_expect_eq(refused(&envelope, &why), ERR_INVALID, "for somebody else");
	vote.candidate_id = 3;
	cr_expect_eq(refused(&envelope, &why), 0);
	vote.term = 0;
	cr_expect_eq(refused(&envelope, &why), ERR_INVALID, "term 0");
	envelope.body_case = MHA__PEER__ENVELOPE__BODY_REQUEST_VOTE_RESULT;
	envelope.request_vote_result = &result;
	result.pre_vote = 3;
	cr_expect_eq(refused(&envelope, &why), ERR_INVALID, "pre_vote");
}

Test(envelope, append_entries_out_of_range_are_refused)
{
	Mha__Peer__Envelope envelope = MHA__PEER__ENVELOPE__INIT;
	Mha__Peer__AppendEntries append = MHA__PEER__APPEND_ENTRIES__INIT;
	Mha__Peer__RaftEntry entry = MHA__PEER__RAFT_ENTRY__INIT;
	Mha__Peer__RaftEntry *list[PEER_ENTRIES_MAX + 1];
	uint8_t data[16] = {0};
	struct err why = {0};

	for (size_t i = 0; i < COUNT_OF(list); i++)
		list[i] = &entry;
	envelope.from = 3;
	envelope.body_case = MHA__PEER__ENVELOPE__BODY_APPEND_ENTRIES;
	envelope.append_entries = &append;
	append.entries = list;
	append.n_entries = 1;
	append.term = 5;
	entry.term = 5;
	entry.type = RAFT_COMMAND;
	entry.data.data = data;
	entry.data.len = 8;
	cr_expect_eq(refused(&envelope, &why), 0, "%s", why.text);
	append.n_entries = COUNT_OF(list);
	cr_expect_eq(refused(&envelope, &why), ERR_TOO_BIG, "too many");
	append.n_entries = 1;
	entry.data.len = 7;
	cr_expect_eq(refused(&envelope, &why), ERR_INVALID, "not whole words");
	entry.data.len = 0;
	cr_expect_eq(refused(&envelope, &why), ERR_INVALID, "empty");
	entry.data.len = 8;
	entry.type = 0;
	cr_expect_eq(refused(&envelope, &why), ERR_INVALID, "type 0");
	entry.type = RAFT_CHANGE + 1;
	cr_expect_eq(refused(&envelope, &why), ERR_INVALID, "type 4");
	entry.type = 65536 + RAFT_COMMAND;
	cr_expect_eq(refused(&envelope, &why), ERR_INVALID, "type that wraps");
	entry.type = RAFT_COMMAND;
	entry.term = 6;
	cr_expect_eq(refused(&envelope, &why), ERR_INVALID, "entry of a later term");
	entry.term = 0;
	cr_expect_eq(refused(&envelope, &why), ERR_INVALID, "entry of term 0");
	entry.term = 5;
	append.prev_log_term = 6;
	cr_expect_eq(refused(&envelope, &why), ERR_INVALID, "previous of a later term");
	append.prev_log_term = 5;
	append.prev_log_index = UINT64_MAX;
	cr_expect_eq(refused(&envelope, &why), ERR_INVALID, "index that wraps");
	append.prev_log_index = 1;
	append.leader_commit = UINT64_MAX;
	cr_expect_eq(refused(&envelope, &why), ERR_INVALID, "commit that wraps");
	append.leader_commit = 1;
	append.term = 0;
	append.prev_log_term = 0;
	append.n_entries = 0;
	cr_expect_eq(refused(&envelope, &why), ERR_INVALID, "term 0");
}

Test(envelope, snapshots_out_of_range_are_refused)
{
	Mha__Peer__Envelope envelope = MHA__PEER__ENVELOPE__INIT;
	Mha__Peer__InstallSnapshot good = MHA__PEER__INSTALL_SNAPSHOT__INIT, bad;
	Mha__Peer__RaftServer one;
	Mha__Peer__RaftServer *list[NODES_MAX + 1];
	char address[] = "10.0.0.1:7400", nothing[] = "";
	static uint8_t data[LOG_SNAPSHOT_MAX + 1];
	struct err why = {0};

	mha__peer__raft_server__init(&one);
	for (size_t i = 0; i < COUNT_OF(list); i++)
		list[i] = &one;
	one.id = 1;
	one.address = address;
	one.role = RAFT_VOTER;
	good.term = 9;
	good.last_index = 5;
	good.last_term = 4;
	good.configuration_index = 1;
	good.configuration = list;
	good.n_configuration = 1;
	good.data.data = data;
	good.data.len = 100;
	envelope.from = 3;
	envelope.body_case = MHA__PEER__ENVELOPE__BODY_INSTALL_SNAPSHOT;
	envelope.install_snapshot = &bad;
	bad = good;
	cr_expect_eq(refused(&envelope, &why), 0, "%s", why.text);

	bad.term = 0;
	cr_expect_eq(refused(&envelope, &why), ERR_INVALID, "term 0");
	bad = good;
	bad.last_term = 10;
	cr_expect_eq(refused(&envelope, &why), ERR_INVALID, "later than the leader");
	bad = good;
	bad.last_index = 0;
	cr_expect_eq(refused(&envelope, &why), ERR_INVALID, "of nothing");
	bad = good;
	bad.configuration_index = 6;
	cr_expect_eq(refused(&envelope, &why), ERR_INVALID, "members from later");
	bad = good;
	bad.n_configuration = 0;
	cr_expect_eq(refused(&envelope, &why), ERR_INVALID, "no members");
	bad.n_configuration = COUNT_OF(list);
	cr_expect_eq(refused(&envelope, &why), ERR_TOO_BIG, "too many members");
	bad.n_configuration = 2;
	cr_expect_eq(refused(&envelope, &why), ERR_INVALID, "the same member twice");
	bad = good;
	bad.data.len = sizeof(data);
	cr_expect_eq(refused(&envelope, &why), ERR_TOO_BIG, "too much data");
	bad.data.len = 0;
	cr_expect_eq(refused(&envelope, &why), ERR_TOO_BIG, "no data");
	bad = good;
	one.id = 0;
	cr_expect_eq(refused(&envelope, &why), ERR_INVALID, "member 0");
	one.id = UINT64_MAX;
	cr_expect_eq(refused(&envelope, &why), ERR_INVALID, "member beyond all");
	one.id = 1;
	one.role = 3;
	cr_expect_eq(refused(&envelope, &why), ERR_INVALID, "role 3");
	one.role = -1;
	cr_expect_eq(refused(&envelope, &why), ERR_INVALID, "role -1");
	one.role = RAFT_VOTER;
	one.address = nothing;
	cr_expect_eq(refused(&envelope, &why), ERR_INVALID, "no address");
}

Test(envelope, a_small_frame_cannot_take_much_memory)
{
	static uint8_t bytes[PEER_FRAME_MAX + 1];
	Mha__Peer__Envelope *envelope = NULL;
	struct err why = {0};
	const size_t body = PEER_FRAME_MAX - 16;
	size_t at = 0;

	/* Field 12 (AppendEntries) with as many empty entries (field 5) as fit: 2 bytes each. */
	bytes[at++] = 12 << 3 | 2;
	for (size_t rest = body; rest > 0; rest >>= 7)
		bytes[at++] = (uint8_t)((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0));
	for (size_t i = 0; i < body; i += 2) {
		bytes[at + i] = 5 << 3 | 2;
		bytes[at + i + 1] = 0;
	}
	cr_assert_eq(envelope_decode(bytes, at + body, &envelope, &why), ERR_CORRUPT);
	cr_assert_null(envelope);
	cr_assert_eq(envelope_decode(bytes, sizeof(bytes), &envelope, &why), ERR_TOO_BIG);
	/* A hundredth of it is a legal message. */
	cr_assert_eq(envelope_decode((const uint8_t *)"\x62\x02\x2a\x00", 4, &envelope, &why), 0);
	cr_assert_eq(envelope->append_entries->n_entries, 1);
	envelope_free(envelope);
}
