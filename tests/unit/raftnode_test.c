#include <criterion/criterion.h>
#include <string.h>

#include "raftnode_fixture.h"

static struct bench bench;

static void setup(void)
{
	memset(&bench, 0, sizeof(bench));
}

static void teardown(void)
{
	if (bench.node != NULL)
		bench_close(&bench);
	while (bench.log_count > 0)
		free(bench.log[--bench.log_count].buf.base);
	free(bench.log);
}

TestSuite(raftnode, .init = setup, .fini = teardown);

Test(raftnode, an_empty_log_begins_with_the_configured_members)
{
	bench_start(&bench);
	cr_assert_eq(raftnode_raft(bench.node)->configuration.n, 3);
	cr_assert_eq(bench.log_count, 1);
	cr_assert_eq(bench.log[0].type, RAFT_CHANGE);
}

Test(raftnode, a_voter_that_has_just_started_answers_no_vote_request)
{
	bench_start(&bench);
	bench_pass(&bench, ELECTION - 20 * MS);
	cr_assert_eq(bench_ask_vote(&bench, 2, 2, 1, 1, true, false), 0);
	cr_assert_eq(bench_ask_vote(&bench, 2, 2, 1, 1, false, false), 0);
	cr_assert_eq(bench_sent(&bench, RAFT_IO_REQUEST_VOTE_RESULT), 0);
	bench_pass(&bench, 30 * MS);
	cr_assert_eq(bench_ask_vote(&bench, 2, 2, 1, 1, false, false), 0);
	cr_assert(bench_last(&bench, RAFT_IO_REQUEST_VOTE_RESULT)
			  ->message.request_vote_result.vote_granted);
}

Test(raftnode, a_transfer_may_disrupt_a_voter_that_has_just_started)
{
	bench_start(&bench);
	cr_assert_eq(bench_ask_vote(&bench, 2, 2, 1, 1, false, true), 0);
	cr_assert(bench_last(&bench, RAFT_IO_REQUEST_VOTE_RESULT)
			  ->message.request_vote_result.vote_granted);
}

Test(raftnode, heard_is_said_at_once_and_binds_for_the_election_timeout)
{
	bench_start(&bench);
	bench_pass(&bench, ELECTION);
	cr_assert_eq(bench_append(&bench, 2, 5, 1, 1, 0, 0, 1), 0);
	cr_assert_eq(bench.heard_count, 1);
	cr_assert_eq(bench.heard_ns, bench.now);
	cr_assert_eq(bench.heard_to, 2);
	bench_forget(&bench);
	bench.now += ELECTION - 1; /* no timer has run: libraft itself still has a leader */
	cr_assert_eq(bench_ask_vote(&bench, 3, 6, 1, 1, true, false), 0);
	cr_assert_eq(bench_ask_vote(&bench, 3, 6, 1, 1, false, false), 0);
	cr_assert_eq(bench_sent(&bench, RAFT_IO_REQUEST_VOTE_RESULT), 0);
	cr_assert_eq(raftnode_raft(bench.node)->current_term, 5);
}

Test(raftnode, an_old_leader_is_not_heard)
{
	bench_start(&bench);
	cr_assert_eq(bench_append(&bench, 2, 5, 1, 1, 0, 0, 1), 0);
	bench_forget(&bench);
	cr_assert_eq(bench_append(&bench, 3, 4, 1, 1, 0, 0, 1), 0);
	cr_assert_eq(bench.heard_count, 0);
}

Test(raftnode, it_does_not_stand_for_election_before_the_timeout)
{
	bench_start(&bench);
	bench_pass(&bench, 100 * MS);
	cr_assert_eq(bench_append(&bench, 2, 5, 1, 1, 0, 0, 1), 0);
	bench_pass(&bench, ELECTION);
	cr_assert_eq(bench_sent(&bench, RAFT_IO_REQUEST_VOTE), 0);
	bench_pass(&bench, 100 * MS);
	cr_assert_eq(bench_sent(&bench, RAFT_IO_REQUEST_VOTE), 2);
	cr_assert(bench_last(&bench, RAFT_IO_REQUEST_VOTE)->message.request_vote.pre_vote);
	cr_assert_not(
		bench_last(&bench, RAFT_IO_REQUEST_VOTE)->message.request_vote.disrupt_leader);
}

Test(raftnode, the_lease_counts_from_an_entry_of_the_own_term_on)
{
	raft_term term;
	uint64_t sent;

	bench_start(&bench);
	term = bench_lead(&bench);
	sent = bench_last(&bench, RAFT_IO_APPEND_ENTRIES)->sent_ns;
	raftnode_heard(bench.node, 2, term, sent);
	cr_assert_not(raftnode_view(bench.node).ready);
	cr_assert_eq(raftnode_view(bench.node).lease_until_ns, 0);
	bench_follow(&bench);
	cr_assert(raftnode_view(bench.node).ready);
	cr_assert_eq(raftnode_view(bench.node).lease_until_ns, sent + LEASE);
	/* Echoes of another term and of times to come say nothing. */
	raftnode_heard(bench.node, 3, term - 1, bench.now);
	raftnode_heard(bench.node, 3, term, bench.now + 50 * MS);
	cr_assert_eq(raftnode_view(bench.node).lease_until_ns, sent + LEASE);
	bench_pass(&bench, LEASE);
	cr_assert_eq(raftnode_view(bench.node).lease_until_ns, 0);
}

Test(raftnode, it_helps_nobody_while_its_own_lease_may_run)
{
	raft_term term;

	bench_start(&bench);
	term = bench_lead(&bench);
	bench_follow(&bench);
	raftnode_heard(bench.node, 2, term, bench.now);
	cr_assert_neq(raftnode_view(bench.node).lease_until_ns, 0);
	raftnode_tick(bench.node);
	bench_pass(&bench, 10 * MS);
	/* A higher term deposes it. */
	struct raft_message message = {.type = RAFT_IO_APPEND_ENTRIES_RESULT};
	struct err why = {0};

	message.append_entries_result = (struct raft_append_entries_result){.term = term + 5};
	cr_assert_eq(bench_receive(&bench, 3, message, &why), 0);
	cr_assert_eq(raftnode_raft(bench.node)->state, RAFT_FOLLOWER);
	cr_assert_eq(raftnode_view(bench.node).lease_until_ns, 0);
	bench_forget(&bench);
	cr_assert_eq(bench_ask_vote(&bench, 3, term + 6, 50, term + 5, false, false), 0);
	cr_assert_eq(bench_sent(&bench, RAFT_IO_REQUEST_VOTE_RESULT), 0);
	bench.now += LEASE;
	cr_assert_eq(bench_ask_vote(&bench, 3, term + 6, 50, term + 5, false, false), 0);
	cr_assert_eq(bench_sent(&bench, RAFT_IO_REQUEST_VOTE_RESULT), 1);
}

Test(raftnode, a_transfer_gives_the_lease_up_until_a_later_entry_is_committed)
{
	struct err why = {0};
	raft_term term;

	bench_start(&bench);
	term = bench_lead(&bench);
	bench_follow(&bench);
	raftnode_heard(bench.node, 2, term, bench.now);
	cr_assert_neq(raftnode_view(bench.node).lease_until_ns, 0);
	bench_forget(&bench);
	cr_assert_eq(raftnode_resign(bench.node, &why), 0, "%s", why.text);
	cr_assert_eq(bench_sent(&bench, RAFT_IO_TIMEOUT_NOW), 1);
	cr_assert_eq(raftnode_view(bench.node).lease_until_ns, 0);
	/* The target does not stand; the transfer is given up after T. */
	for (unsigned i = 0; i < 12; i++) {
		bench_pass(&bench, 100 * MS);
		bench_follow(&bench);
		raftnode_heard(bench.node, 2, term, bench.now);
		if (raftnode_raft(bench.node)->transfer != NULL)
			cr_assert_eq(raftnode_view(bench.node).lease_until_ns, 0);
	}
	cr_assert_null(raftnode_raft(bench.node)->transfer);
	bench_follow(&bench);
	raftnode_heard(bench.node, 2, term, bench.now);
	cr_assert_neq(raftnode_view(bench.node).lease_until_ns, 0);
}

Test(raftnode, the_holder_of_a_lease_stands_again_at_once_and_may_disrupt)
{
	bench.config.resume_term = 1;
	bench.config.resume_until_ns = 5000 * MS + 300 * MS;
	bench_start(&bench);
	cr_assert_eq(bench_sent(&bench, RAFT_IO_REQUEST_VOTE), 2);
	cr_assert(bench_last(&bench, RAFT_IO_REQUEST_VOTE)->message.request_vote.disrupt_leader);
	cr_assert_eq(bench_lead(&bench), 2);
	cr_assert(bench_last(&bench, RAFT_IO_REQUEST_VOTE)->message.request_vote.disrupt_leader);
}

Test(raftnode, a_lease_of_another_term_is_not_resumed)
{
	bench.config.resume_term = 9;
	bench.config.resume_until_ns = 5000 * MS + 300 * MS;
	bench_start(&bench);
	cr_assert_eq(bench_sent(&bench, RAFT_IO_REQUEST_VOTE), 0);
}

Test(raftnode, a_lease_that_is_over_is_not_resumed)
{
	bench.config.resume_term = 1;
	bench.config.resume_until_ns = 5000 * MS - 1;
	bench_start(&bench);
	cr_assert_eq(bench_sent(&bench, RAFT_IO_REQUEST_VOTE), 0);
}

/* libraft alone says 4, which the leader would take for a copy of its own entry. */
Test(raftnode, a_result_does_not_claim_leftovers_of_an_earlier_leader)
{
	const struct sent *result;

	bench_start(&bench);
	cr_assert_eq(bench_append(&bench, 2, 2, 1, 1, 3, 2, 1), 0);
	bench_flush(&bench);
	cr_assert_eq(bench.log_count, 4);
	bench_forget(&bench);
	/* The leader of term 3 has but the first two of them. */
	cr_assert_eq(bench_append(&bench, 3, 3, 2, 2, 0, 0, 1), 0);
	result = bench_last(&bench, RAFT_IO_APPEND_ENTRIES_RESULT);
	cr_assert_eq(result->message.append_entries_result.rejected, 0);
	cr_assert_eq(result->message.append_entries_result.last_log_index, 2);
}

/* libraft alone commits 4, which the leader has not. */
Test(raftnode, it_commits_no_further_than_the_message_proves)
{
	bench_start(&bench);
	cr_assert_eq(bench_append(&bench, 2, 2, 1, 1, 3, 2, 1), 0);
	bench_flush(&bench);
	cr_assert_eq(bench_append(&bench, 3, 3, 2, 2, 0, 0, 7), 0);
	cr_assert_eq(raftnode_raft(bench.node)->commit_index, 2);
}

/* libraft alone appends them once more, at the end of a log that begins after them. */
Test(raftnode, a_late_message_from_before_the_snapshot_is_a_heartbeat)
{
	const struct sent *result;

	bench.config.snapshot_threshold = 8;
	bench.config.snapshot_trailing = 2;
	bench_start(&bench);
	cr_assert_eq(bench_append(&bench, 2, 2, 1, 1, 12, 2, 1), 0);
	bench_flush(&bench);
	cr_assert_eq(bench_append(&bench, 2, 2, 13, 2, 0, 0, 13), 0);
	bench_flush(&bench);
	cr_assert_gt(raftnode_raft(bench.node)->log.offset, 5, "no snapshot was taken");
	bench_forget(&bench);
	cr_assert_eq(bench_append(&bench, 2, 2, 0, 0, 3, 2, 13), 0);
	cr_assert_eq(raft_last_index(raftnode_raft(bench.node)), 13);
	cr_assert_eq(bench.write_count, 0);
	result = bench_last(&bench, RAFT_IO_APPEND_ENTRIES_RESULT);
	cr_assert_eq(result->message.append_entries_result.rejected, 0);
	cr_assert_eq(result->message.append_entries_result.last_log_index, 13);
}

/* Entries up to 15 of term 2 are stored, and committed up to `commit`: a snapshot is due. */
static void store_15(raft_index commit)
{
	bench.config.snapshot_threshold = 8;
	bench.config.snapshot_trailing = 2;
	bench_start(&bench);
	cr_assert_eq(bench_append(&bench, 2, 2, 1, 1, 14, 2, 1), 0);
	bench_flush(&bench);
	cr_assert_eq(bench_append(&bench, 2, 2, 15, 2, 0, 0, commit), 0);
}

/* raft_uv alone never carries it out, and the next start finds entries of both leaders. */
Test(raftnode, a_cut_waits_for_a_snapshot_that_is_being_written)
{
	const struct sent *result;

	store_15(11);
	cr_assert(bench.put.done != NULL, "no snapshot is being written");
	bench_forget(&bench);
	cr_assert_eq(bench_append(&bench, 3, 3, 12, 2, 2, 3, 11), 0);
	cr_expect_eq(bench.log_count, 15, "it was cut");
	cr_expect_eq(bench.write_count, 0);
	result = bench_last(&bench, RAFT_IO_APPEND_ENTRIES_RESULT);
	cr_expect_eq(result->message.append_entries_result.rejected, 0);
	cr_expect_eq(result->message.append_entries_result.last_log_index, 12);
	bench_flush(&bench);
	cr_assert(bench.put.done == NULL);
	cr_assert_eq(bench_append(&bench, 3, 3, 12, 2, 2, 3, 11), 0);
	cr_expect_eq(bench.log_count, 14);
	bench_flush(&bench);
	cr_expect_eq(raft_last_index(raftnode_raft(bench.node)), 14);
}

Test(raftnode, entries_that_need_no_cut_do_not_wait)
{
	store_15(11);
	cr_assert(bench.put.done != NULL);
	cr_assert_eq(bench_append(&bench, 2, 2, 15, 2, 2, 2, 11), 0);
	cr_expect_eq(bench.log_count, 17);
	cr_assert_eq(bench_append(&bench, 2, 2, 13, 2, 3, 2, 11), 0, "what it has already");
	cr_expect_eq(bench.log_count, 17);
}

Test(raftnode, a_snapshot_waits_for_a_cut)
{
	store_15(1);
	cr_assert_eq(bench_append(&bench, 3, 3, 14, 2, 1, 3, 1), 0);
	cr_assert_eq(bench.write_count, 1);
	cr_assert_eq(bench_append(&bench, 3, 3, 14, 2, 0, 0, 12), 0);
	cr_assert_eq(raftnode_raft(bench.node)->last_applied, 12);
	cr_expect(bench.put.done == NULL, "a snapshot is written while the log is cut");
	/* Nor is another cut begun meanwhile. */
	cr_assert_eq(bench_append(&bench, 2, 4, 13, 2, 1, 4, 12), 0);
	cr_expect_eq(bench.write_count, 1);
	bench_flush(&bench);
	cr_expect_gt(raftnode_raft(bench.node)->log.offset, 5, "no snapshot was taken");
	cr_assert_eq(bench_append(&bench, 2, 4, 13, 2, 1, 4, 12), 0);
	cr_expect_eq(bench.write_count, 1);
	cr_expect_eq(bench.log_count, 14);
}

Test(raftnode, a_snapshot_that_waits_is_given_up_at_the_end)
{
	store_15(1);
	cr_assert_eq(bench_append(&bench, 3, 3, 14, 2, 1, 3, 1), 0);
	cr_assert_eq(bench_append(&bench, 3, 3, 14, 2, 0, 0, 12), 0);
	cr_expect(bench.put.done == NULL);
}

Test(raftnode, an_entry_that_does_not_decode_is_a_named_failure)
{
	struct raft_message message = {.type = RAFT_IO_APPEND_ENTRIES};
	struct raft_append_entries *append = &message.append_entries;
	struct err why = {0};
	char *batch;

	bench_start(&bench);
	batch = raft_malloc(16);
	memset(batch, 0xff, 16);
	append->term = 2;
	append->prev_log_index = 1;
	append->prev_log_term = 1;
	append->leader_commit = 1;
	append->n_entries = 1;
	append->entries = raft_calloc(1, sizeof(*append->entries));
	append->entries[0] = (struct raft_entry){
		.term = 2, .type = RAFT_COMMAND, .buf = {.base = batch, .len = 16}, .batch = batch};
	cr_assert_eq(bench_receive(&bench, 2, message, &why), 0);
	bench_flush(&bench);
	cr_assert_eq(bench_append(&bench, 2, 2, 2, 2, 0, 0, 2), 0);
	cr_assert_neq(strstr(bench.failure, "entry 2 of the Raft log does not decode"), NULL, "%s",
		      bench.failure);
	cr_assert_not(raftnode_view(bench.node).leader);
}

Test(raftnode, a_failed_write_ends_the_membership_and_nothing_is_claimed)
{
	bench_start(&bench);
	cr_assert_eq(bench_append(&bench, 2, 2, 1, 1, 3, 2, 1), 0);
	bench_forget(&bench);
	bench_fail_writes(&bench);
	cr_assert_neq(strstr(bench.failure, "writing the Raft log failed"), NULL, "%s",
		      bench.failure);
	cr_assert_eq(bench.sent_count, 0);
	cr_assert_eq(bench_ask_vote(&bench, 3, 9, 9, 8, false, true), 0);
	cr_assert_eq(bench_append(&bench, 2, 2, 4, 2, 0, 0, 4), 0);
	cr_assert_eq(bench.sent_count, 0);
	cr_assert_eq(bench.heard_count, 0);
}

static struct raft_message vote(raft_term term, raft_id candidate)
{
	struct raft_message message = {.type = RAFT_IO_REQUEST_VOTE};

	message.request_vote.term = term;
	message.request_vote.candidate_id = candidate;
	message.request_vote.last_log_index = 1;
	message.request_vote.last_log_term = 1;
	return message;
}

static struct raft_message heartbeat(raft_term term, raft_index prev, raft_term prev_term,
				     raft_index commit)
{
	struct raft_message message = {.type = RAFT_IO_APPEND_ENTRIES};

	message.append_entries.term = term;
	message.append_entries.prev_log_index = prev;
	message.append_entries.prev_log_term = prev_term;
	message.append_entries.leader_commit = commit;
	return message;
}

static struct raft_message result(raft_term term, raft_index rejected, raft_index last)
{
	struct raft_message message = {.type = RAFT_IO_APPEND_ENTRIES_RESULT};

	message.append_entries_result.term = term;
	message.append_entries_result.rejected = rejected;
	message.append_entries_result.last_log_index = last;
	return message;
}

static struct raft_message with_entry(raft_term entry_term, unsigned short type, const char *bytes,
				      size_t size)
{
	struct raft_message message = heartbeat(5, 1, 1, 1);
	struct raft_append_entries *append = &message.append_entries;
	char *batch = raft_calloc(1, size + 1);

	memcpy(batch, bytes, size);
	append->n_entries = 1;
	append->entries = raft_calloc(1, sizeof(*append->entries));
	append->entries[0] = (struct raft_entry){.term = entry_term,
						 .type = type,
						 .buf = {.base = batch, .len = size},
						 .batch = batch};
	return message;
}

Test(raftnode, nonsense_is_refused_before_libraft_sees_it)
{
	const raft_index wild = UINT64_MAX - 3;
	struct raft_message install = {.type = RAFT_IO_INSTALL_SNAPSHOT};
	struct {
		const char *what;
		node_id from;
		struct raft_message message;
	} cases[] = {
		{"from itself", 1, heartbeat(5, 1, 1, 1)},
		{"from a stranger", 7, heartbeat(5, 1, 1, 1)},
		{"from nobody", 0, heartbeat(5, 1, 1, 1)},
		{"from outside the table", 200, heartbeat(5, 1, 1, 1)},
		{"unknown type", 2, {.type = 77}},
		{"type 0", 2, {.type = 0}},
		{"term 0", 2, heartbeat(0, 0, 0, 0)},
		{"wild term", 2, heartbeat(wild, 1, 1, 1)},
		{"wild previous index", 2, heartbeat(5, wild, 1, 1)},
		{"wild commit index", 2, heartbeat(5, 1, 1, wild)},
		{"no previous entry, but a term", 2, heartbeat(5, 0, 4, 1)},
		{"previous entry without a term", 2, heartbeat(5, 4, 0, 1)},
		{"previous entry of a later term", 2, heartbeat(5, 4, 9, 1)},
		{"vote for another", 2, vote(5, 3)},
		{"vote of term 0", 2, vote(0, 2)},
		{"result with a wild index", 2, result(1, 0, wild)},
		{"result that rejects a wild index", 2, result(1, wild, 0)},
		{"entry of term 0", 2, with_entry(0, RAFT_BARRIER, "12345678", 8)},
		{"entry of a later term", 2, with_entry(6, RAFT_BARRIER, "12345678", 8)},
		{"entry of no type", 2, with_entry(5, 0, "12345678", 8)},
		{"entry of an unknown type", 2, with_entry(5, 9, "12345678", 8)},
		{"entry without bytes", 2, with_entry(5, RAFT_COMMAND, "", 0)},
		{"configuration of nothing", 2, with_entry(5, RAFT_CHANGE, "\1", 1)},
		{"configuration of format 2", 2,
		 with_entry(5, RAFT_CHANGE, "\2\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0a\0\1", 20)},
		{"configuration with more members than bytes", 2,
		 with_entry(5, RAFT_CHANGE, "\1\3\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0a\0\1", 20)},
		{"configuration with an endless address", 2,
		 with_entry(5, RAFT_CHANGE, "\1\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0abc", 20)},
		{"configuration with a member 0", 2,
		 with_entry(5, RAFT_CHANGE, "\1\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0a\0\1", 20)},
		{"snapshot of nothing", 2, install},
	};

	bench_start(&bench);
	bench_pass(&bench, ELECTION);
	bench_forget(&bench);
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct err why = {0};

		cr_expect_eq(bench_receive(&bench, cases[i].from, cases[i].message, &why),
			     ERR_INVALID, "%s", cases[i].what);
		cr_expect_neq(why.text[0], 0, "%s", cases[i].what);
	}
	cr_assert_eq(bench.sent_count, 0);
	cr_assert_eq(bench.heard_count, 0);
	cr_assert_eq(raftnode_raft(bench.node)->current_term, 1);
}

Test(raftnode, a_second_leader_of_the_own_term_is_refused)
{
	raft_term term;

	bench_start(&bench);
	term = bench_lead(&bench);
	cr_assert_eq(bench_append(&bench, 3, term, 1, 1, 0, 0, 1), ERR_INVALID);
	cr_assert_eq(raftnode_raft(bench.node)->state, RAFT_LEADER);
}

/* The target of a transfer too: two votes in a term make two leaders. */
Test(raftnode, a_vote_is_given_once_in_a_term)
{
	bench_start(&bench);
	bench_pass(&bench, ELECTION + 10 * MS);
	cr_assert_eq(bench_ask_vote(&bench, 2, 4, 1, 1, false, false), 0);
	cr_assert_eq(bench_ask_vote(&bench, 3, 4, 9, 3, false, true), ERR_REFUSED);
	cr_assert_eq(bench.vote, 2);
}

Test(raftnode, a_configuration_without_a_sane_lease_is_refused)
{
	struct err why = {0};
	struct raftnode *node;

	bench_start(&bench);
	bench.config.lease_ns = ELECTION;
	cr_assert_eq(raftnode_new(&node, &bench.config, &bench.io, NULL, NULL, &why), ERR_INVALID);
	cr_assert_neq(strstr(why.text, "lease"), NULL);
}
