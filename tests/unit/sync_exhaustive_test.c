/*
 * covers() and the planner against their definitions, for every rule and record over
 * STANDBYS_MAX standbys. A set of standbys is a number of as many bits; the commits that are
 * possible under a rule are a set of such sets, so up to six standbys fit into 64 bits.
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "core/syncset.h"

#define RULE_SINCE 1000
#define STEPS_MAX  6

struct space {
	unsigned standbys;
	unsigned sets;
	unsigned rules;
	struct sync_rule rule[64 * 7];
	uint64_t possible[64 * 7]; /* bit i: an acknowledgement by exactly set i */
};

static node_set set_of(unsigned number)
{
	return (node_set)number << 1;
}

static bool satisfiable(struct sync_rule rule)
{
	return rule.need <= node_count(rule.members);
}

static struct space space_of(unsigned standbys)
{
	struct space space = {.standbys = standbys, .sets = 1U << standbys};

	for (unsigned need = 0; need <= standbys; need++)
		for (unsigned set = 0; set < space.sets; set++) {
			const unsigned at = space.rules++;

			space.rule[at] = (struct sync_rule){set_of(set), (uint8_t)need};
			for (unsigned i = 0; i < space.sets; i++)
				if (node_count(set_of(i) & set_of(set)) >= need)
					space.possible[at] |= UINT64_C(1) << i;
		}
	return space;
}

static unsigned index_of(const struct space *space, struct sync_rule rule)
{
	const unsigned at = (unsigned)rule.need * space->sets + (rule.members >> 1);

	cr_assert_lt(at, space->rules);
	cr_assert(sync_rule_equal(space->rule[at], rule));
	return at;
}

/* Brute force: no commit that `rule` acknowledges makes `record` false. */
static bool truly_covers(const struct space *space, unsigned rule, unsigned record)
{
	return (space->possible[rule] & ~space->possible[record]) == 0;
}

Test(sync_exhaustive, covers_is_its_definition)
{
	const struct space space = space_of(STANDBYS_MAX);
	uint64_t pairs = 0;
	uint64_t covering = 0;

	for (unsigned rule = 0; rule < space.rules; rule++)
		for (unsigned record = 0; record < space.rules; record++) {
			const bool said = sync_covers(space.rule[rule], space.rule[record]);

			pairs++;
			covering += said;
			/* A rule that acknowledges nothing may cover more than is said. */
			if (satisfiable(space.rule[rule]))
				cr_assert_eq(said, truly_covers(&space, rule, record));
			else
				cr_assert(!said || truly_covers(&space, rule, record));
		}
	printf("sync: covers() is exact on %lu pairs of rule and record over %u standbys (%lu "
	       "cover)\n",
	       (unsigned long)pairs, space.standbys, (unsigned long)covering);
}

static struct sync_step step_of(const struct space *space, unsigned rule, unsigned record,
				unsigned target, unsigned flushed)
{
	wal_lsn at[NODES_MAX + 1] = {0};

	for (node_id id = 1; id <= space->standbys; id++)
		at[id] = node_in(set_of(flushed), id) ? RULE_SINCE : RULE_SINCE - 1;
	return sync_next_step(space->rule[rule], space->rule[record], space->rule[target],
			      RULE_SINCE, at);
}

/* Every commit that made `record` true is on `flushed` as well by now. */
static bool true_after_flush(const struct space *space, unsigned record, unsigned flushed,
			     unsigned next)
{
	for (unsigned i = 0; i < space->sets; i++)
		if ((space->possible[record] >> i & 1) != 0 &&
		    (space->possible[next] >> (i | flushed) & 1) == 0)
			return false;
	return true;
}

/*
 * One step from any state in which the rule covers the record leads to such a state again: so do
 * all steps after it, whatever the targets are and however often they change on the way.
 */
static void check_step(const struct space *space, unsigned rule, unsigned record, unsigned target,
		       unsigned flushed)
{
	const struct sync_step step = step_of(space, rule, record, target, flushed);
	unsigned next;

	if (step.kind == SYNC_DONE || step.kind == SYNC_WAIT_FLUSH)
		return;
	next = index_of(space, step.rule);
	if (step.kind == SYNC_SET_RULE) {
		/* While it spreads both are in force. */
		cr_assert(sync_covers(step.rule, space->rule[record]));
		cr_assert(truly_covers(space, next, record));
		return;
	}
	cr_assert(sync_covers(space->rule[rule], step.rule));
	cr_assert(truly_covers(space, rule, next), "record %u of %x under rule %u of %x",
		  step.rule.need, step.rule.members, space->rule[rule].need,
		  space->rule[rule].members);
	/* The barrier has put older commits where the new record says. */
	cr_assert(true_after_flush(space, record, rule == target ? flushed : 0, next),
		  "record %u of %x after %u of %x, flushed %x", step.rule.need, step.rule.members,
		  space->rule[record].need, space->rule[record].members, set_of(flushed));
}

Test(sync_exhaustive, no_step_of_the_planner_makes_a_record_false)
{
	uint64_t states = 0;

	for (unsigned standbys = 1; standbys <= STANDBYS_MAX; standbys++) {
		const struct space space = space_of(standbys);

		for (unsigned rule = 0; rule < space.rules; rule++)
			for (unsigned record = 0; record < space.rules; record++) {
				if (!sync_covers(space.rule[rule], space.rule[record]))
					continue;
				for (unsigned target = 0; target < space.rules; target++) {
					/* Who has flushed matters once the rule is the target. */
					const unsigned flushes = rule == target ? space.sets : 1;

					for (unsigned flushed = 0; flushed < flushes; flushed++)
						check_step(&space, rule, record, target, flushed);
					states += flushes;
				}
			}
	}
	printf("sync: %lu steps from every covering pair to every target over 1..%u standbys, the "
	       "record stays true\n",
	       (unsigned long)states, STANDBYS_MAX);
}

/* Steps until both are the target, with everybody who is named flushing. */
static unsigned walk(const struct space *space, unsigned rule, unsigned record, unsigned target)
{
	unsigned flushed = 0;
	unsigned steps = 0;

	for (; steps <= STEPS_MAX; steps++) {
		const struct sync_step step = step_of(space, rule, record, target, flushed);

		if (step.kind == SYNC_DONE) {
			cr_assert_eq(rule, target);
			cr_assert_eq(record, target);
			return steps;
		}
		if (step.kind == SYNC_WAIT_FLUSH)
			flushed = space->rule[target].members >> 1;
		else if (step.kind == SYNC_SET_RULE)
			rule = index_of(space, step.rule);
		else
			record = index_of(space, step.rule);
	}
	cr_assert_fail("%u of %x with record %u of %x never comes to %u of %x",
		       space->rule[rule].need, space->rule[rule].members, space->rule[record].need,
		       space->rule[record].members, space->rule[target].need,
		       space->rule[target].members);
	return steps;
}

Test(sync_exhaustive, every_target_is_reached_from_everywhere)
{
	const struct space space = space_of(4);
	uint64_t walks = 0;
	unsigned longest = 0;

	for (unsigned rule = 0; rule < space.rules; rule++)
		for (unsigned record = 0; record < space.rules; record++)
			for (unsigned target = 0; target < space.rules; target++) {
				unsigned steps;

				if (!sync_covers(space.rule[rule], space.rule[record]) ||
				    !satisfiable(space.rule[target]))
					continue;
				steps = walk(&space, rule, record, target);
				longest = steps > longest ? steps : longest;
				walks++;
			}
	printf("sync: %lu walks with four standbys end at their target, the longest after %u "
	       "steps\n",
	       (unsigned long)walks, longest);
	cr_assert_gt(walks, 1000);
}
