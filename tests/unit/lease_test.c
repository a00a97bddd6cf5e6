/* The arithmetic of the leader's lease. */
#include <criterion/criterion.h>

#include "core/lease.h"

#define MS     UINT64_C(1000000)
#define LENGTH (900 * MS)

static node_set voters_up_to(unsigned count)
{
	return (node_set)((1U << (count + 1)) - 2);
}

Test(lease, lasts_from_the_newest_time_that_a_majority_has_echoed)
{
	static const struct {
		const char *what;
		unsigned voters;
		uint64_t echo_ms[6]; /* by node id; node 1 leads */
		uint64_t from_ms;    /* 0: no lease */
	} cases[] = {
		{"a single voter is its own majority", 1, {0}, 1000},
		{"two voters need each other", 2, {0, 0, 700}, 700},
		{"two voters, one silent", 2, {0}, 0},
		{"three voters need one other", 3, {0, 0, 500, 0}, 500},
		{"three voters, the newer of two", 3, {0, 0, 500, 800}, 800},
		{"three voters, none", 3, {0}, 0},
		{"four voters need two others", 4, {0, 0, 900, 0, 0}, 0},
		{"four voters, the second newest", 4, {0, 0, 900, 600, 400}, 600},
		{"five voters, the second newest of four", 5, {0, 0, 100, 900, 300, 200}, 300},
		{"five voters, two silent", 5, {0, 0, 0, 900, 300, 0}, 300},
		{"five voters, three silent", 5, {0, 0, 0, 900, 0, 0}, 0},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct lease lease;
		uint64_t until;

		lease_reset(&lease, 7, 50 * MS);
		for (node_id id = 2; id <= 5; id++)
			if (cases[i].echo_ms[id] != 0)
				lease_echo(&lease, id, 7, cases[i].echo_ms[id] * MS);
		until = lease_until(&lease, voters_up_to(cases[i].voters), 1, 1000 * MS, LENGTH);
		cr_expect_eq(until, cases[i].from_ms == 0 ? 0 : cases[i].from_ms * MS + LENGTH,
			     "%s: %lu", cases[i].what, (unsigned long)until);
	}
}

/* The definition, by brute force over all echo times 0..3 of up to five voters. */
Test(lease, agrees_with_its_definition)
{
	for (unsigned voters = 1; voters <= 5; voters++)
		for (unsigned number = 0; number < 256; number++) {
			struct lease lease;
			unsigned echoed[6] = {0, 4};
			unsigned best = 0;

			lease_reset(&lease, 1, 1);
			for (unsigned id = 2; id <= 5; id++) {
				echoed[id] = number >> 2 * (id - 2) & 3;
				lease_echo(&lease, (node_id)id, 1, echoed[id]);
			}
			for (unsigned time = 1; time <= 4; time++) {
				unsigned count = 0;

				for (unsigned id = 1; id <= voters; id++)
					count += echoed[id] >= time ? 1 : 0;
				if (2 * count > voters)
					best = time;
			}
			cr_assert_eq(lease_until(&lease, voters_up_to(voters), 1, 4, 10),
				     best == 0 ? 0 : best + 10, "%u voters, %x", voters, number);
		}
}

Test(lease, echoes_of_other_terms_count_for_nothing)
{
	struct lease lease;

	lease_reset(&lease, 7, 0);
	lease_echo(&lease, 2, 6, 900 * MS);
	lease_echo(&lease, 2, 8, 900 * MS);
	cr_expect_eq(lease_until(&lease, voters_up_to(3), 1, 1000 * MS, LENGTH), 0);
	lease_echo(&lease, 2, 7, 400 * MS);
	cr_expect_eq(lease_until(&lease, voters_up_to(3), 1, 1000 * MS, LENGTH), 400 * MS + LENGTH);
	lease_reset(&lease, 8, 0);
	cr_expect_eq(lease_until(&lease, voters_up_to(3), 1, 1000 * MS, LENGTH), 0,
		     "a new term starts without echoes");
}

Test(lease, nothing_sent_before_it_was_given_up_counts)
{
	struct lease lease;

	lease_reset(&lease, 7, 500 * MS);
	lease_echo(&lease, 2, 7, 499 * MS);
	cr_expect_eq(lease_until(&lease, voters_up_to(3), 1, 1000 * MS, LENGTH), 0);
	lease_echo(&lease, 2, 7, 500 * MS);
	cr_expect_eq(lease_until(&lease, voters_up_to(3), 1, 1000 * MS, LENGTH), 500 * MS + LENGTH);
	lease_reset(&lease, 7, 2000 * MS);
	cr_expect_eq(lease_until(&lease, voters_up_to(1), 1, 1000 * MS, LENGTH), 0,
		     "a single voter waits for `since`, too");
}

Test(lease, never_moves_back_on_late_or_foreign_echoes)
{
	struct lease lease;
	uint64_t before;

	lease_reset(&lease, 7, 0);
	lease_echo(&lease, 2, 7, 800 * MS);
	before = lease_until(&lease, voters_up_to(3), 1, 1000 * MS, LENGTH);
	lease_echo(&lease, 2, 7, 300 * MS);
	lease_echo(&lease, NODE_NONE, 7, 990 * MS);
	lease_echo(&lease, NODES_MAX + 1, 7, 990 * MS);
	lease_echo(&lease, 9, 7, 990 * MS);
	cr_expect_eq(lease_until(&lease, voters_up_to(3), 1, 1000 * MS, LENGTH), before,
		     "node 9 is no voter, 0 and 10 are no nodes");
}

Test(lease, only_a_voter_holds_one)
{
	struct lease lease;

	lease_reset(&lease, 7, 0);
	lease_echo(&lease, 2, 7, 800 * MS);
	lease_echo(&lease, 3, 7, 800 * MS);
	cr_expect_eq(lease_until(&lease, node_bit(2) | node_bit(3), 1, 1000 * MS, LENGTH), 0);
	cr_expect_eq(lease_until(&lease, 0, 1, 1000 * MS, LENGTH), 0);
}

/*
 * While a change of the voters is not committed the next leader may have either list: a lease that
 * holds by both leaves no majority of either to those who have promised nothing.
 */
Test(lease, one_that_holds_by_both_lists_outlives_no_election_by_either)
{
	unsigned held = 0;

	for (unsigned total = 2; total <= 7; total++) {
		const node_set more = (node_set)((1U << (total + 1)) - 2);
		const node_set less = more & ~node_bit((node_id)total);

		for (node_set echoed = 0; echoed <= more; echoed += 2) {
			const node_set promised = (echoed & more) | node_bit(1);
			struct lease lease;
			uint64_t until[2];

			lease_reset(&lease, 3, 1);
			for (node_id id = 2; id <= total; id++)
				if (node_in(echoed, id))
					lease_echo(&lease, id, 3, 100);
			until[0] = lease_until(&lease, less, 1, 200, 50);
			until[1] = lease_until(&lease, more, 1, 200, 50);
			if (until[0] == 0 || until[1] == 0)
				continue;
			held++;
			cr_assert_leq(2 * node_count(less & ~promised), node_count(less));
			cr_assert_leq(2 * node_count(more & ~promised), node_count(more));
		}
	}
	cr_assert_gt(held, 50);
}
