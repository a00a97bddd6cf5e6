/*
 * The rule and the record, checked against their definitions. A commit is an acknowledgement
 * set: the standbys that have flushed it when the client is told. With up to five standbys all
 * sets, rules and records can be tried.
 */
#include <criterion/criterion.h>

#include "core/syncset.h"

#define STANDBYS   5
#define SETS       (1U << STANDBYS)
#define STEPS_MAX  6
#define RULE_SINCE 1000

/* Sets of standbys 1..n, numbered 0..2^n-1. */
static node_set set_of(unsigned number)
{
	return (node_set)number << 1;
}

static bool holds(node_set acknowledged, struct sync_rule rule)
{
	return node_count(acknowledged & rule.members) >= rule.need;
}

/* Bit i: the acknowledgement set number i is possible. */
static uint32_t possible_under(struct sync_rule rule, unsigned standbys)
{
	uint32_t possible = 0;

	for (unsigned i = 0; i < 1U << standbys; i++)
		if (holds(set_of(i), rule))
			possible |= UINT32_C(1) << i;
	return possible;
}

static bool always_true(uint32_t possible, struct sync_rule record, unsigned standbys)
{
	for (unsigned i = 0; i < 1U << standbys; i++)
		if ((possible >> i & 1) != 0 && !holds(set_of(i), record))
			return false;
	return true;
}

/* Every possible commit is on `flushed` as well now. */
static uint32_t flush_to(uint32_t possible, node_set flushed, unsigned standbys)
{
	uint32_t after = 0;

	for (unsigned i = 0; i < 1U << standbys; i++)
		if ((possible >> i & 1) != 0)
			after |= UINT32_C(1) << ((set_of(i) | flushed) >> 1);
	return after;
}

static bool satisfiable(struct sync_rule rule)
{
	return rule.need <= node_count(rule.members);
}

Test(syncset, covers_is_exactly_its_definition)
{
	for (unsigned d = 0; d < SETS; d++)
		for (unsigned need_d = 0; need_d <= STANDBYS; need_d++) {
			struct sync_rule rule = {set_of(d), (uint8_t)need_d};
			uint32_t possible = possible_under(rule, STANDBYS);

			for (unsigned r = 0; r < SETS; r++)
				for (unsigned need_r = 0; need_r <= STANDBYS; need_r++) {
					struct sync_rule record = {set_of(r), (uint8_t)need_r};
					bool truth = always_true(possible, record, STANDBYS);
					bool said = sync_covers(rule, record);

					/* A rule that acknowledges nothing covers more than said.
					 */
					if (satisfiable(rule))
						cr_assert_eq(said, truth, "%u of %x, %u of %x",
							     need_d, rule.members, need_r,
							     record.members);
					else
						cr_assert(!said || truth);
				}
		}
}

Test(syncset, survey_is_enough_exactly_when_no_commit_can_hide)
{
	for (unsigned r = 0; r < SETS; r++)
		for (unsigned need = 0; need <= STANDBYS; need++) {
			struct sync_rule record = {set_of(r), (uint8_t)need};
			uint32_t possible = possible_under(record, STANDBYS);

			for (unsigned a = 0; a < SETS; a++) {
				bool hidden = false;

				for (unsigned i = 0; i < SETS; i++)
					if ((possible >> i & 1) != 0 &&
					    (set_of(i) & record.members & set_of(a)) == 0)
						hidden = true;
				cr_assert_eq(sync_survey_enough(record, set_of(a)), !hidden,
					     "%u of %x, answers %x", need, record.members,
					     set_of(a));
			}
		}
}

Test(syncset, answers_needed)
{
	static const struct {
		const char *what;
		struct sync_rule record;
		unsigned needed;
	} cases[] = {
		{"one of two: both", {0x06, 1}, 2},
		{"two of two: either", {0x06, 2}, 1},
		{"one of one", {0x02, 1}, 1},
		{"two of four", {0x1e, 2}, 3},
		{"nothing could be acknowledged", {0x02, 2}, 0},
		{"nothing could be acknowledged, nobody", {0, 1}, 0},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		cr_expect_eq(sync_answers_needed(cases[i].record), cases[i].needed, "%s",
			     cases[i].what);
	/* Nothing is promised: no number of standbys proves anything. */
	cr_expect_not(sync_survey_enough((struct sync_rule){0x1e, 0}, 0x1e));
}

struct walk {
	unsigned standbys;
	struct sync_rule in_force;
	struct sync_rule record;
	struct sync_rule target;
	uint32_t possible; /* commits that may have been acknowledged so far */
	wal_lsn flushed[NODES_MAX + 1];
};

/* As few members as allowed have flushed, the first or the last ones. */
static bool let_flush(struct walk *walk, bool last_first)
{
	node_set flushed = 0;

	if (!satisfiable(walk->target))
		return false;
	for (unsigned i = 1; i <= walk->standbys && node_count(flushed) < walk->target.need; i++) {
		node_id node = (node_id)(last_first ? walk->standbys + 1 - i : i);

		if (node_in(walk->target.members, node)) {
			flushed |= node_bit(node);
			walk->flushed[node] = RULE_SINCE;
		}
	}
	walk->possible = flush_to(walk->possible, flushed, walk->standbys);
	return true;
}

/* Returns false when the walk ends before the target because nobody is there to flush. */
static bool walk_to_target(struct walk *walk, bool last_first)
{
	for (unsigned i = 0; i < STEPS_MAX; i++) {
		struct sync_step step = sync_next_step(walk->in_force, walk->record, walk->target,
						       RULE_SINCE, walk->flushed);

		switch (step.kind) {
		case SYNC_DONE:
			cr_assert(sync_rule_equal(walk->in_force, walk->target));
			cr_assert(sync_rule_equal(walk->record, walk->target));
			return true;
		case SYNC_SET_RULE:
			/* While the reload spreads, both rules acknowledge. */
			cr_assert(sync_covers(step.rule, walk->record));
			walk->possible |= possible_under(step.rule, walk->standbys);
			walk->in_force = step.rule;
			for (unsigned id = 0; id <= NODES_MAX; id++)
				walk->flushed[id] = RULE_SINCE - 1;
			break;
		case SYNC_WAIT_FLUSH:
			cr_assert(sync_rule_equal(walk->in_force, walk->target));
			if (!let_flush(walk, last_first))
				return false;
			break;
		case SYNC_COMMIT_RECORD:
			walk->possible |= possible_under(walk->in_force, walk->standbys);
			cr_assert(always_true(walk->possible, step.rule, walk->standbys),
				  "record %u of %x is not true (rule %u of %x, target %u of %x)",
				  step.rule.need, step.rule.members, walk->in_force.need,
				  walk->in_force.members, walk->target.need, walk->target.members);
			cr_assert(sync_covers(walk->in_force, step.rule));
			walk->record = step.rule;
			break;
		}
	}
	cr_assert_fail("the target is not reached in %u steps", STEPS_MAX);
	return false;
}

static struct sync_rule rule_number(unsigned number, unsigned standbys)
{
	return (struct sync_rule){set_of(number % (1U << standbys)), (uint8_t)(number >> standbys)};
}

static void walk_all(unsigned standbys, unsigned stride)
{
	unsigned rules = (1U << standbys) * (standbys + 1);
	unsigned walks = 0;

	for (unsigned number = 0; number < rules * rules * rules; number += stride) {
		struct walk walk = {
			.standbys = standbys,
			.in_force = rule_number(number % rules, standbys),
			.record = rule_number(number / rules % rules, standbys),
			.target = rule_number(number / rules / rules, standbys),
		};

		if (!sync_covers(walk.in_force, walk.record))
			continue;
		walk.possible = possible_under(walk.record, standbys);
		walks++;
		/* Only a target that nobody can satisfy is not reached. */
		if (!walk_to_target(&walk, number % 2 != 0))
			cr_assert(!satisfiable(walk.target));
	}
	cr_assert_gt(walks, 100);
}

Test(syncset, every_step_towards_every_target_keeps_the_record_true_with_three)
{
	walk_all(3, 1);
}

Test(syncset, every_step_towards_every_target_keeps_the_record_true_with_four)
{
	walk_all(4, 1);
}

Test(syncset, every_step_towards_every_target_keeps_the_record_true_with_five)
{
	walk_all(5, 61);
}

Test(syncset, the_barrier_waits_for_the_members_that_the_new_record_counts_on)
{
	struct sync_rule all = {0x0e, 1};  /* 1, 2, 3 */
	struct sync_rule less = {0x0c, 1}; /* 2, 3 */
	wal_lsn flushed[NODES_MAX + 1] = {0};
	struct sync_step step;

	step = sync_next_step(all, all, less, 0, flushed);
	cr_expect_eq(step.kind, SYNC_SET_RULE, "who leaves, leaves the database's rule first");
	flushed[1] = RULE_SINCE + 1; /* The one that leaves proves nothing. */
	flushed[2] = RULE_SINCE - 1;
	step = sync_next_step(less, all, less, RULE_SINCE, flushed);
	cr_expect_eq(step.kind, SYNC_WAIT_FLUSH);
	flushed[3] = RULE_SINCE;
	step = sync_next_step(less, all, less, RULE_SINCE, flushed);
	cr_expect_eq(step.kind, SYNC_COMMIT_RECORD);
	cr_expect(sync_rule_equal(step.rule, less));
}

Test(syncset, a_member_that_joins_is_on_record_before_its_flush_counts)
{
	struct sync_rule one = {0x02, 1};
	struct sync_rule two = {0x06, 1};
	wal_lsn flushed[NODES_MAX + 1] = {0, RULE_SINCE, RULE_SINCE};
	struct sync_step step = sync_next_step(one, one, two, RULE_SINCE, flushed);

	cr_expect_eq(step.kind, SYNC_COMMIT_RECORD);
	cr_expect(sync_rule_equal(step.rule, two));
	step = sync_next_step(one, two, two, RULE_SINCE, flushed);
	cr_expect_eq(step.kind, SYNC_SET_RULE);
	step = sync_next_step(two, two, two, RULE_SINCE, flushed);
	cr_expect_eq(step.kind, SYNC_DONE);
}
