/* The recorded lineage, and how much of a node's WAL is the cluster's. */
#include <criterion/criterion.h>

#include "core/lineage.h"

static void opened(struct cluster *cluster, uint32_t timeline, uint32_t parent, wal_lsn fork)
{
	struct lineage_row *row = &cluster->lineage[cluster->lineage_count++];

	*row = (struct lineage_row){
		.epoch = cluster->lineage_count,
		.node = 1,
		.timeline = timeline,
		.parent = parent,
		.fork = fork,
	};
	cluster->timeline = timeline;
	cluster->timeline_max = timeline;
	cluster->opened = true;
}

static struct wal_position at(uint32_t timeline, wal_lsn flushed)
{
	return (struct wal_position){.timeline = timeline, .flushed = flushed};
}

static struct wal_position after(struct wal_position position, uint32_t timeline, wal_lsn end)
{
	position.branches[position.branch_count++] = (struct wal_branch){timeline, end};
	return position;
}

static void expect(const char *what, const struct cluster *cluster, struct wal_position position,
		   struct lineage_match want)
{
	struct lineage_match match = lineage_compare(cluster, &position);

	cr_expect_eq(match.known, want.known, "%s: known", what);
	cr_expect_eq(match.usable, want.usable, "%s: usable %lu, not %lu", what,
		     (unsigned long)match.usable, (unsigned long)want.usable);
	cr_expect_eq(match.diverged, want.diverged, "%s: diverged", what);
	cr_expect_eq(match.clash, want.clash, "%s: clash", what);
}

#define CLEAN(lsn)    ((struct lineage_match){true, (lsn), false, false})
#define DIVERGED(lsn) ((struct lineage_match){true, (lsn), true, false})
#define CLASH(lsn)    ((struct lineage_match){true, (lsn), true, true})

Test(lineage, a_position_without_a_timeline_is_not_known)
{
	struct cluster cluster = {0};

	opened(&cluster, 2, 1, 100);
	expect("unknown", &cluster, at(0, 500), (struct lineage_match){0});
}

Test(lineage, before_the_first_promotion_everything_is_usable)
{
	struct cluster cluster = {.timeline = 1, .timeline_max = 1};

	expect("first database", &cluster, at(1, 500), CLEAN(500));
	expect("a database with a past", &cluster, after(at(4, 900), 3, 700), CLEAN(900));
}

/* Timelines 2 (from 1 at 100), 3 (from 2 at 200), 4 (from 3 at 300). */
static struct cluster straight(void)
{
	struct cluster cluster = {0};

	opened(&cluster, 2, 1, 100);
	opened(&cluster, 3, 2, 200);
	opened(&cluster, 4, 3, 300);
	return cluster;
}

static struct wal_position on_4(wal_lsn flushed)
{
	return after(after(after(at(4, flushed), 1, 100), 2, 200), 3, 300);
}

Test(lineage, prefixes_and_tails_of_a_straight_line)
{
	struct cluster cluster = straight();

	expect("on the newest", &cluster, on_4(350), CLEAN(350));
	expect("on the newest, at its fork", &cluster, on_4(300), CLEAN(300));
	expect("behind on the timeline before", &cluster, after(after(at(3, 250), 1, 100), 2, 200),
	       CLEAN(250));
	expect("exactly at the fork", &cluster, after(after(at(3, 300), 1, 100), 2, 200),
	       CLEAN(300));
	expect("past the fork", &cluster, after(after(at(3, 301), 1, 100), 2, 200), DIVERGED(300));
	expect("two behind", &cluster, after(at(2, 150), 1, 100), CLEAN(150));
	expect("two behind, with a tail", &cluster, after(at(2, 999), 1, 100), DIVERGED(200));
	expect("never followed", &cluster, at(1, 70), CLEAN(70));
	expect("never followed, with a tail", &cluster, at(1, 110), DIVERGED(100));
}

Test(lineage, a_higher_timeline_number_is_worth_nothing)
{
	struct cluster cluster = {0};

	/*
	 * A leads timeline 2; B is promoted to 3 at 200 and fails; A is elected again, from its
	 * own tail at 240, as timeline 4.
	 */
	opened(&cluster, 2, 1, 100);
	opened(&cluster, 3, 2, 200);
	opened(&cluster, 4, 2, 240);
	expect("B, on the abandoned branch", &cluster, after(after(at(3, 900), 1, 100), 2, 200),
	       DIVERGED(200));
	expect("A", &cluster, after(after(at(4, 260), 1, 100), 2, 240), CLEAN(260));
	expect("C, that saw A's tail", &cluster, after(at(2, 240), 1, 100), CLEAN(240));
	expect("C, that saw a part of it", &cluster, after(at(2, 230), 1, 100), CLEAN(230));
	expect("B, had it stopped at its fork", &cluster, after(after(at(3, 200), 1, 100), 2, 200),
	       DIVERGED(200));
}

Test(lineage, the_same_number_with_another_history_is_a_clash)
{
	struct cluster cluster = straight();

	expect("3 from 2, elsewhere", &cluster, after(after(at(3, 290), 1, 100), 2, 190),
	       CLASH(190));
	expect("3 from 1", &cluster, after(at(3, 290), 1, 100), CLASH(100));
	expect("4 from 2", &cluster, after(after(at(4, 290), 1, 100), 2, 150), CLASH(150));
	expect("2 from 1, too late", &cluster, after(at(2, 290), 1, 120), CLASH(100));
}

static struct wal_position promoted(wal_lsn fork, wal_lsn flushed)
{
	struct wal_position position = after(on_4(flushed), 4, fork);

	position.timeline = 5;
	return position;
}

Test(lineage, a_promotion_that_was_never_opened_is_a_tail)
{
	struct cluster cluster = straight();

	cluster.opened = false;
	cluster.timeline_max = 5;
	expect("its own WAL begins at the fork", &cluster, promoted(350, 900), DIVERGED(350));
	expect("even without any", &cluster, promoted(350, 350), DIVERGED(350));
	/* The next promotion gets another number, so nothing is confused with it later. */
	cluster.timeline_max = 6;
	opened(&cluster, 6, 4, 340);
	expect("passed over", &cluster, promoted(350, 900), DIVERGED(340));
	expect("who stayed on 4", &cluster, on_4(340), CLEAN(340));
	expect("who stayed on 4, but saw more", &cluster, on_4(345), DIVERGED(340));
}

/* A promotion is never opened, its node restarted, and chosen again: 4 at 350, 5 at 400, then 6. */
Test(lineage, timelines_that_were_never_opened_may_lie_between)
{
	struct cluster cluster = straight();
	struct wal_position position = after(promoted(350, 450), 5, 400);
	struct wal_branch fork;

	position.timeline = 6;
	fork = lineage_fork(&cluster, &position);
	cr_expect_eq(fork.timeline, 4);
	cr_expect_eq(fork.end, 350);
	opened(&cluster, 6, fork.timeline, fork.end);
	expect("the node itself", &cluster, position, CLEAN(450));
	expect("who never left 4", &cluster, on_4(340), CLEAN(340));
	expect("who saw more of 4 than it did", &cluster, on_4(360), DIVERGED(350));
	expect("a timeline 5 of somebody else", &cluster, promoted(340, 900), DIVERGED(340));
	expect("6 from elsewhere on 4", &cluster,
	       after((struct wal_position){.timeline = 6, .flushed = 380}, 4, 340), CLASH(340));
}

Test(lineage, the_fork_is_where_the_recorded_timelines_were_left)
{
	struct cluster none = {.timeline = 1, .timeline_max = 1};
	struct cluster cluster = straight();
	struct wal_position unknown = at(7, 100);
	struct wal_position foreign = after(after(at(9, 100), 7, 50), 8, 60);
	struct wal_position straight_on = after(on_4(400), 4, 390);

	straight_on.timeline = 5;
	cr_expect_eq(lineage_fork(&cluster, &unknown).timeline, 0);
	cr_expect_eq(lineage_fork(&cluster, &foreign).timeline, 8);
	cr_expect_eq(lineage_fork(&none, &foreign).timeline, 8, "the first primary's past");
	cr_expect_eq(lineage_fork(&cluster, &straight_on).timeline, 4);
	cr_expect_eq(lineage_fork(&cluster, &straight_on).end, 390);
}

Test(lineage, truncated_histories_are_compared_as_far_as_they_go)
{
	struct cluster cluster = straight();

	expect("only the newest branch is known", &cluster, after(at(4, 350), 3, 300), CLEAN(350));
	expect("another fork is still seen", &cluster, after(at(4, 350), 3, 290), CLASH(290));
	expect("nothing of the past is known", &cluster, at(4, 350), CLEAN(350));
	expect("nothing in common is known", &cluster, after(at(9, 350), 8, 300),
	       (struct lineage_match){true, 0, true, false});
}

Test(lineage, what_is_needed_of_a_branch_that_nobody_built_on_is_lost)
{
	struct cluster cluster = straight();
	static const struct {
		struct wal_branch needed;
		bool lost;
	} rows[] = {
		{{0, 0}, false},                      /* nothing */
		{{0, 900}, false}, {{4, 900}, false}, /* the primary has it, or will have */
		{{3, 300}, false},                    /* up to the fork, and one byte more */
		{{3, 301}, true},  {{1, 100}, false},
		{{1, 101}, true},  {{5, 350}, false}, /* this log does not reach so far yet */
	};

	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		cr_expect_eq(lineage_lost(&cluster, rows[i].needed), rows[i].lost, "row %u", i);
	opened(&cluster, 6, 4, 340);
	cr_expect(lineage_lost(&cluster, (struct wal_branch){5, 350}), "passed over");
	cr_expect(lineage_lost(&cluster, (struct wal_branch){4, 341}));
	cr_expect_not(lineage_lost(&cluster, (struct wal_branch){4, 340}));
}

Test(lineage, what_the_log_has_forgotten_is_taken_up_to_the_oldest_fork)
{
	struct cluster cluster = {0};
	struct wal_position position = {.timeline = 100, .flushed = 5000};

	opened(&cluster, 101, 100, 6000);
	opened(&cluster, 102, 101, 7000);
	expect("on the parent of the oldest row", &cluster, position, CLEAN(5000));
	position.flushed = 6500;
	expect("beyond its fork", &cluster, position, DIVERGED(6000));
	expect("a descendant", &cluster, after(after(at(102, 7100), 100, 6000), 101, 7000),
	       CLEAN(7100));
	expect("far older", &cluster, at(99, 5000), (struct lineage_match){true, 0, true, false});
}

Test(lineage, a_full_history_is_read_to_its_end)
{
	struct cluster cluster = {0};
	struct wal_position position = at(WAL_HISTORY_MAX + 1, 10000);

	for (uint32_t timeline = 2; timeline <= LINEAGE_MAX; timeline++)
		opened(&cluster, timeline, timeline - 1, 100 * timeline);
	for (uint32_t timeline = 1; timeline <= WAL_HISTORY_MAX; timeline++)
		position = after(position, timeline, 100 * (timeline + 1));
	expect("half-way through the lineage", &cluster, position,
	       DIVERGED(100 * (WAL_HISTORY_MAX + 2)));
	position.flushed = 100 * (WAL_HISTORY_MAX + 2);
	expect("up to the fork", &cluster, position, CLEAN(position.flushed));
}
