/* Raft's list of servers while it changes: what libraft 0.15 makes of it, and what is made of that.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "raftnode_fixture.h"
#include "wire/convert.h"

static struct bench bench;

static void setup(void)
{
	memset(&bench, 0, sizeof(bench));
}

static void forget_disk(void)
{
	while (bench.log_count > 0)
		free(bench.log[--bench.log_count].buf.base);
	free(bench.log);
	bench.log = NULL;
}

static void teardown(void)
{
	if (bench.node != NULL)
		bench_close(&bench);
	forget_disk();
}

TestSuite(raftnode_member, .init = setup, .fini = teardown);

static const char *const addresses[] = {NULL, "a", "b", "c", "d"};

static void make_list(struct raft_configuration *list, unsigned count)
{
	raft_configuration_init(list);
	for (unsigned id = 1; id <= count; id++)
		cr_assert_eq(raft_configuration_add(list, id, addresses[id],
						    id == 4 ? RAFT_STANDBY : RAFT_VOTER),
			     0);
}

/* A list of members 1 to `count`, the last of them a learner, as the entry after (prev, term). */
static int append_change(node_id leader, raft_term term, raft_index prev, raft_term prev_term,
			 unsigned count, raft_index commit)
{
	struct raft_message message = {.type = RAFT_IO_APPEND_ENTRIES};
	struct raft_append_entries *append = &message.append_entries;
	struct raft_configuration list;
	struct raft_buffer buffer;
	struct err why = {0};

	make_list(&list, count);
	cr_assert_eq(raft_configuration_encode(&list, &buffer), 0);
	raft_configuration_close(&list);
	append->term = term;
	append->prev_log_index = prev;
	append->prev_log_term = prev_term;
	append->leader_commit = commit;
	append->n_entries = 1;
	append->entries = raft_calloc(1, sizeof(*append->entries));
	append->entries[0] = (struct raft_entry){
		.term = term, .type = RAFT_CHANGE, .buf = buffer, .batch = buffer.base};
	return bench_receive(&bench, leader, message, &why);
}

static void expect_list(unsigned count, raft_index committed, raft_index open)
{
	const struct raft *raft = raftnode_raft(bench.node);

	cr_assert_eq(raft->configuration.n, count, "%u servers", raft->configuration.n);
	cr_assert_eq(raft->configuration_index, committed, "committed at %llu",
		     raft->configuration_index);
	cr_assert_eq(raft->configuration_uncommitted_index, open, "open at %llu",
		     raft->configuration_uncommitted_index);
	cr_assert_eq(raftnode_view(bench.node).changing, open != 0);
}

Test(raftnode_member, a_change_counts_when_it_is_stored_and_is_over_when_it_commits)
{
	bench_start(&bench);
	cr_assert_eq(append_change(2, 2, 1, 1, 4, 1), 0);
	bench_flush(&bench);
	expect_list(4, 1, 2);
	cr_assert_eq(bench_append(&bench, 2, 2, 2, 2, 0, 0, 2), 0);
	expect_list(4, 2, 0);
	cr_assert_eq(raftnode_view(bench.node).servers, 0x1e);
	cr_assert_eq(raftnode_view(bench.node).voters, 0x0e, "a learner has no vote");
}

/* libraft alone looks for the list before in a log that does not have it any more. */
Test(raftnode_member, a_change_that_is_cut_off_behind_a_snapshot_is_taken_back)
{
	bench.config.snapshot_threshold = 8;
	bench.config.snapshot_trailing = 2;
	bench_start(&bench);
	cr_assert_eq(bench_append(&bench, 2, 2, 1, 1, 12, 2, 1), 0);
	bench_flush(&bench);
	cr_assert_eq(bench_append(&bench, 2, 2, 13, 2, 0, 0, 13), 0);
	bench_flush(&bench);
	cr_assert_gt(raftnode_raft(bench.node)->log.offset, 5, "no snapshot was taken");
	cr_assert_eq(append_change(2, 2, 13, 2, 4, 13), 0);
	bench_flush(&bench);
	expect_list(4, 1, 14);
	/* The next leader never had it. */
	cr_assert_eq(bench_append(&bench, 3, 3, 13, 2, 1, 3, 13), 0);
	bench_flush(&bench);
	expect_list(3, 1, 0);
	cr_assert_eq(raft_last_index(raftnode_raft(bench.node)), 14);
}

/* Were it committed first, libraft would open it again for ever once its write has ended. */
Test(raftnode_member, a_change_does_not_commit_before_it_is_stored)
{
	bench_start(&bench);
	cr_assert_eq(append_change(2, 2, 1, 1, 4, 1), 0);
	cr_assert_eq(bench_append(&bench, 2, 2, 2, 2, 0, 0, 2), 0);
	expect_list(3, 1, 0);
	bench_flush(&bench);
	expect_list(4, 1, 2);
	cr_assert_eq(bench_append(&bench, 2, 2, 2, 2, 0, 0, 2), 0);
	expect_list(4, 2, 0);
}

/* libraft alone takes it for committed, and keeps it for ever. */
Test(raftnode_member, a_restart_does_not_commit_a_change)
{
	bench_start(&bench);
	cr_assert_eq(append_change(2, 2, 1, 1, 4, 1), 0);
	bench_flush(&bench);
	bench_close(&bench);
	bench_start(&bench);
	expect_list(4, 1, 2);
	cr_assert_eq(bench_append(&bench, 3, 3, 1, 1, 1, 3, 1), 0);
	bench_flush(&bench);
	expect_list(3, 1, 0);
}

/* libraft alone would put the open change into it. */
Test(raftnode_member, no_snapshot_is_taken_while_a_change_is_open)
{
	bench.config.snapshot_threshold = 8;
	bench.config.snapshot_trailing = 2;
	bench_start(&bench);
	cr_assert_eq(bench_append(&bench, 2, 2, 1, 1, 12, 2, 1), 0);
	cr_assert_eq(append_change(2, 2, 13, 2, 4, 1), 0);
	bench_flush(&bench);
	expect_list(4, 1, 14);
	cr_assert_eq(bench_append(&bench, 2, 2, 13, 2, 0, 0, 13), 0);
	bench_flush(&bench);
	cr_assert_eq(raftnode_raft(bench.node)->log.offset, 0, "a snapshot was taken");
	cr_assert_eq(bench_append(&bench, 2, 2, 14, 2, 0, 0, 14), 0);
	bench_flush(&bench);
	cr_assert_gt(raftnode_raft(bench.node)->log.offset, 5, "no snapshot was taken");
	expect_list(4, 14, 0);
}

Test(raftnode_member, a_node_that_joins_begins_with_nothing_and_takes_what_it_gets)
{
	bench.config.agent.later = node_bit(1);
	bench_start(&bench);
	cr_assert_eq(bench.log_count, 0, "it has begun a log");
	cr_assert(raftnode_view(bench.node).outside);
	bench_pass(&bench, 5 * ELECTION);
	cr_assert_eq(bench_sent(&bench, RAFT_IO_REQUEST_VOTE), 0);
	cr_assert_eq(append_change(2, 2, 0, 0, 4, 1), 0);
	bench_flush(&bench);
	cr_assert_not(raftnode_view(bench.node).outside);
}

/* A snapshot up to entry 9, with a list of members 1 to `count` that was committed at `at`. */
static void install(unsigned count, raft_index at)
{
	struct raft_message message = {.type = RAFT_IO_INSTALL_SNAPSHOT};
	struct raft_install_snapshot *snapshot = &message.install_snapshot;
	static const struct cluster nothing;
	struct err why = {0};
	int size;

	snapshot->term = snapshot->last_term = 3;
	snapshot->last_index = 9;
	snapshot->conf_index = at;
	make_list(&snapshot->conf, count);
	snapshot->data.base = raft_malloc(LOG_SNAPSHOT_MAX);
	cr_assert_not_null(snapshot->data.base);
	size = log_snapshot_encode(&nothing, snapshot->data.base, &why);
	cr_assert_geq(size, 0, "%s", why.text);
	snapshot->data.len = (size_t)size;
	cr_assert_eq(bench_receive(&bench, 3, message, &why), 0, "%s", why.text);
	bench_flush(&bench);
	cr_assert_str_empty(bench.failure);
	cr_assert_eq(raftnode_raft(bench.node)->log.offset, 9, "it was not taken");
}

/* libraft alone waits for it for ever, and changes nothing else. */
Test(raftnode_member, a_change_that_a_snapshot_brings_is_open_no_more)
{
	bench_start(&bench);
	cr_assert_eq(append_change(2, 2, 1, 1, 4, 1), 0);
	bench_flush(&bench);
	expect_list(4, 1, 2);
	install(4, 2);
	expect_list(4, 2, 0);
}

Test(raftnode_member, a_change_that_a_snapshot_drops_is_taken_back)
{
	bench_start(&bench);
	cr_assert_eq(append_change(2, 2, 1, 1, 4, 1), 0);
	bench_flush(&bench);
	install(3, 1);
	expect_list(3, 1, 0);
}
