/* Who may become primary, and from how many answers. */
#include <criterion/criterion.h>

#include "core/candidate.h"

#define A 1
#define B 2
#define C 3
#define D 4
#define E 5

static node_set set_of(const char *names)
{
	node_set set = 0;

	for (; *names != '\0'; names++)
		set |= node_bit((node_id)(*names - 'A' + 1));
	return set;
}

static struct sync_rule record_of(unsigned need, const char *names)
{
	return (struct sync_rule){set_of(names), (uint8_t)need};
}

/* `total` data nodes; epoch 2 of A on timeline 3, forked from 2 at 1000, settled. */
static struct cluster serving(unsigned total, struct sync_rule record)
{
	struct cluster cluster = {
		.version = 9,
		.cluster_id = 77,
		.node_total = (uint8_t)total,
		.epoch = 2,
		.primary = A,
		.opened = true,
		.timeline = 3,
		.timeline_max = 3,
		.open_lsn = 1000,
		.record = record,
		.settled = true,
		.lineage_count = 2,
		.lineage = {{1, A, 2, 1, 500}, {2, A, 3, 2, 1000}},
		.settings = settings_default(total),
	};

	for (unsigned i = 0; i < total; i++)
		cluster.nodes[i] =
			(struct node){.id = (node_id)(i + 1), .kind = NODE_DATA, .priority = 100};
	cr_assert(cluster_sane(&cluster));
	return cluster;
}

/* What `node` says when it holds the cluster's WAL up to `usable`. */
static struct candidate standby(node_id node, wal_lsn usable)
{
	return (struct candidate){
		.node = node,
		.db = DB_STANDBY,
		.priority = 100,
		.position = {.timeline = 3, .flushed = usable},
		.match = {.known = true, .usable = usable},
	};
}

static struct candidate primary(node_id node, wal_lsn usable)
{
	struct candidate candidate = standby(node, usable);

	candidate.db = DB_PRIMARY;
	return candidate;
}

static struct candidate on_timeline(struct candidate candidate, uint32_t timeline)
{
	candidate.position.timeline = timeline;
	return candidate;
}

static struct candidate with_priority(struct candidate candidate, uint16_t priority)
{
	candidate.priority = priority;
	return candidate;
}

static struct candidate with_tail(struct candidate candidate)
{
	candidate.position.flushed += 50;
	candidate.match.diverged = true;
	return candidate;
}

static struct candidate silent(node_id node)
{
	return (struct candidate){.node = node, .db = DB_DOWN, .priority = 100};
}

static struct candidate excluded(struct candidate candidate)
{
	candidate.excluded = true;
	return candidate;
}

static struct candidate clashing(struct candidate candidate)
{
	candidate.match.clash = true;
	candidate.match.diverged = true;
	return candidate;
}

static struct survey_result evaluate(const struct cluster *cluster, unsigned count,
				     const struct candidate answers[])
{
	struct survey_result result = survey_evaluate(cluster, answers, count);
	struct candidate turned[NODES_MAX];

	/* The order in which the answers came in decides nothing. */
	for (unsigned i = 0; i < count; i++)
		turned[i] = answers[count - 1 - i];
	struct survey_result other = survey_evaluate(cluster, turned, count);

	cr_assert_eq(result.verdict, other.verdict);
	cr_assert_eq(result.choice, other.choice);
	cr_assert_eq(result.resume, other.resume);
	cr_assert_eq(result.missing, other.missing);
	cr_assert_eq(result.missing_count, other.missing_count);
	return result;
}

#define EVALUATE(cluster, ...)                                                                     \
	evaluate((cluster), sizeof((struct candidate[]){__VA_ARGS__}) / sizeof(struct candidate),  \
		 (struct candidate[]){__VA_ARGS__})

static void expect_choice(const char *what, struct survey_result result, node_id choice,
			  bool resume)
{
	cr_expect_eq(result.verdict, SURVEY_SAFE, "%s: verdict %d", what, (int)result.verdict);
	cr_expect_eq(result.choice, choice, "%s: node %u", what, result.choice);
	cr_expect_eq(result.resume, resume, "%s: resume", what);
}

static void expect_waiting(const char *what, struct survey_result result, const char *missing,
			   unsigned count)
{
	cr_expect_eq(result.verdict, SURVEY_WAITING, "%s: verdict %d", what, (int)result.verdict);
	cr_expect_eq(result.choice, NODE_NONE, "%s", what);
	cr_expect_eq(result.missing, set_of(missing), "%s: missing %x", what, result.missing);
	cr_expect_eq(result.missing_count, count, "%s: %u missing", what, result.missing_count);
}

static void expect_nobody(const char *what, struct survey_result result, const char *missing)
{
	cr_expect_eq(result.verdict, SURVEY_NO_CANDIDATE, "%s: verdict %d", what,
		     (int)result.verdict);
	cr_expect_eq(result.choice, NODE_NONE, "%s", what);
	cr_expect_eq(result.missing, set_of(missing), "%s: missing %x", what, result.missing);
}

Test(candidate, order_of_two)
{
	struct cluster cluster = serving(5, record_of(2, "BCDE"));
	const struct {
		const char *what;
		struct candidate better, worse;
	} cases[] = {
		{"usable WAL before everything", with_priority(with_tail(standby(C, 2001)), 1),
		 with_priority(primary(A, 2000), 900)},
		{"then the running primary", primary(A, 2000),
		 with_priority(standby(B, 2000), 900)},
		{"then who has no tail", with_priority(standby(C, 2000), 1),
		 with_priority(with_tail(standby(B, 2000)), 900)},
		{"then priority", with_priority(standby(C, 2000), 101), standby(B, 2000)},
		{"then the lower id", standby(B, 2000), standby(C, 2000)},
		{"a primary that nobody made counts as a standby", standby(B, 2000),
		 primary(C, 2000)},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		cr_expect_lt(candidate_compare(&cluster, &cases[i].better, &cases[i].worse), 0,
			     "%s", cases[i].what);
		cr_expect_gt(candidate_compare(&cluster, &cases[i].worse, &cases[i].better), 0,
			     "%s", cases[i].what);
		cr_expect_eq(candidate_compare(&cluster, &cases[i].worse, &cases[i].worse), 0);
	}
}

Test(candidate, a_promotion_that_is_not_opened_is_no_tail)
{
	struct cluster cluster = serving(3, record_of(1, "BC"));

	cluster.opened = false;
	cr_expect_lt(candidate_compare(&cluster,
				       &(struct candidate){.node = A,
							   .db = DB_PRIMARY,
							   .match = {true, 2000, true, false}},
				       &(struct candidate){.node = B,
							   .db = DB_STANDBY,
							   .match = {true, 2000, false, false}}),
		     0);
}

Test(candidate, enough_of_the_record_must_answer)
{
	struct cluster three = serving(3, record_of(1, "BC"));
	struct cluster five = serving(5, record_of(2, "BCDE"));

	expect_choice("both of one-of-two", EVALUATE(&three, standby(B, 2000), standby(C, 2100)), C,
		      false);
	expect_waiting("one of one-of-two", EVALUATE(&three, standby(C, 2100)), "B", 1);
	expect_waiting("nobody", survey_evaluate(&three, NULL, 0), "BC", 2);
	expect_choice("three of two-of-four",
		      EVALUATE(&five, standby(B, 2000), standby(C, 2100), standby(E, 2100)), C,
		      false);
	expect_waiting("two of two-of-four", EVALUATE(&five, standby(B, 2000), standby(E, 2100)),
		       "CD", 1);
	expect_waiting("an answer without a position is none",
		       EVALUATE(&three, silent(B), standby(C, 2100)), "B", 1);
}

Test(candidate, nodes_outside_the_record_prove_nothing)
{
	struct cluster cluster = serving(5, record_of(1, "BC"));

	expect_waiting("three answers, none on record",
		       EVALUATE(&cluster, standby(D, 2000), standby(E, 2000), standby(B, 2000)),
		       "C", 1);
	/* But they may be chosen when they hold as much as the best one. */
	expect_choice("with a higher priority",
		      EVALUATE(&cluster, standby(B, 2000), standby(C, 1900),
			       with_priority(standby(D, 2000), 200)),
		      D, false);
}

Test(candidate, the_primary_itself_knows_what_it_acknowledged)
{
	struct cluster cluster = serving(3, record_of(1, "BC"));
	struct cluster nothing = serving(3, record_of(0, ""));

	expect_choice("it runs", EVALUATE(&cluster, primary(A, 2000)), A, true);
	expect_choice("it was restarted", EVALUATE(&cluster, standby(A, 2000)), A, false);
	expect_choice("it runs, others have as much",
		      EVALUATE(&cluster, primary(A, 2000), with_priority(standby(B, 2000), 900)), A,
		      true);
	expect_choice("it was restarted, another has as much and a higher priority",
		      EVALUATE(&cluster, standby(A, 2000), with_priority(standby(B, 2000), 900)), B,
		      false);
	expect_choice("nothing is promised, the primary is there",
		      EVALUATE(&nothing, primary(A, 2000)), A, true);
	expect_waiting("nothing is promised, everybody else is there",
		       EVALUATE(&nothing, standby(B, 2000), standby(C, 2000)), "A", 1);
	expect_waiting("it answers without a position",
		       EVALUATE(&cluster, silent(A), standby(B, 2000)), "C", 1);
}

Test(candidate, a_rule_that_nobody_could_satisfy_needs_no_answers)
{
	struct cluster cluster = serving(3, record_of(1, ""));

	expect_choice("commits waited all the time", EVALUATE(&cluster, standby(B, 2000)), B,
		      false);
}

Test(candidate, who_may_be_chosen_need_only_have_what_is_owed)
{
	struct cluster cluster = serving(4, record_of(1, "C"));

	expect_choice("it alone was counted on, a barred one has more",
		      EVALUATE(&cluster, excluded(standby(B, 2000)), standby(C, 1900)), C, false);
	expect_choice("but who may be and has more is better",
		      EVALUATE(&cluster, standby(B, 2000), standby(C, 1900)), B, false);
	expect_nobody("who was counted on has more",
		      EVALUATE(&cluster, standby(B, 1900), excluded(standby(C, 2000))), "C");

	cluster = serving(4, record_of(2, "BCD"));
	expect_choice(
		"two of three answers have it",
		EVALUATE(&cluster, excluded(standby(B, 2000)), standby(C, 1900), standby(D, 1800)),
		C, false);
	expect_nobody("and who has less may lack it",
		      EVALUATE(&cluster, excluded(standby(B, 2000)), excluded(standby(C, 1900)),
			       standby(D, 1800)),
		      "BC");
	expect_nobody("one of the two may be away",
		      EVALUATE(&cluster, excluded(standby(B, 2000)), standby(C, 1900)), "B");
	expect_choice("the primary has not got more",
		      EVALUATE(&cluster, excluded(primary(A, 1900)), excluded(standby(B, 1950)),
			       standby(C, 1900)),
		      C, false);

	cluster = serving(4, record_of(1, "C"));
	cluster.settled = false;
	cluster.earlier_count = 1;
	cluster.earlier[0] = (struct earlier_record){1, record_of(1, "BD"), A};
	expect_nobody(
		"an earlier promise may be on the barred one alone",
		EVALUATE(&cluster, excluded(standby(B, 2000)), standby(C, 1900), standby(D, 1900)),
		"B");
	cluster.opened = false;
	expect_nobody(
		"also before the epoch is opened",
		EVALUATE(&cluster, excluded(standby(B, 2000)), standby(C, 1900), standby(D, 1900)),
		"B");
	cluster.earlier[0].record = record_of(1, "C");
	expect_choice("which owes what was promised before it, no more",
		      EVALUATE(&cluster, excluded(standby(B, 2000)), standby(C, 1900)), C, false);
	cluster.earlier_count = 0;
	expect_nobody("where nothing is known of promises, all that there is counts",
		      EVALUATE(&cluster, excluded(standby(B, 2000)), standby(C, 1900)), "B");
}

Test(candidate, the_lag_bound_and_not_a_barred_node_decides_in_max_performance)
{
	struct cluster cluster = serving(3, record_of(0, ""));

	cluster.settings.mode = MODE_MAX_PERFORMANCE;
	expect_choice("a barred standby has more",
		      EVALUATE(&cluster, excluded(standby(B, 2000)), standby(C, 1900)), C, false);
	expect_nobody("the primary itself has more",
		      EVALUATE(&cluster, excluded(primary(A, 2000)), standby(C, 1900)), "A");
	cluster.operation_count = 1;
	cluster.operations[0] = (struct operation){.id = 1,
						   .kind = OPERATION_SWITCHOVER,
						   .state = OPERATION_RUNNING,
						   .from = A,
						   .to = C};
	expect_nobody("a planned switch leaves nothing behind",
		      EVALUATE(&cluster, excluded(standby(B, 2000)), standby(C, 1900)), "B");
	cluster.settled = false;
	cluster.earlier_count = 1;
	cluster.earlier[0] = (struct earlier_record){1, record_of(1, "C"), A};
	expect_nobody("also when an earlier promise is kept",
		      EVALUATE(&cluster, excluded(standby(B, 2000)), standby(C, 1900)), "B");
}

Test(candidate, who_holds_all_may_be_forbidden)
{
	struct cluster cluster = serving(3, record_of(1, "BC"));

	expect_nobody("priority 0",
		      EVALUATE(&cluster, with_priority(standby(B, 2000), 0), standby(C, 1900)),
		      "B");
	expect_choice("priority 0, but another has as much",
		      EVALUATE(&cluster, with_priority(standby(B, 2000), 0), standby(C, 2000)), C,
		      false);
	expect_nobody("excluded", EVALUATE(&cluster, excluded(standby(B, 2000)), standby(C, 1900)),
		      "B");
	expect_nobody("a human's promotion", EVALUATE(&cluster, primary(B, 2000), standby(C, 1900)),
		      "B");
	expect_nobody("a human's promotion of the recorded primary, restarted before",
		      EVALUATE(&cluster, on_timeline(primary(A, 2000), 4), standby(C, 1900)), "A");
	expect_nobody("a clash", EVALUATE(&cluster, clashing(standby(B, 2000)), standby(C, 1900)),
		      "B");
	expect_nobody("nobody has anything of ours",
		      EVALUATE(&cluster, standby(B, 0), standby(C, 0)), "BC");
}

static struct candidate damaged(struct candidate candidate)
{
	candidate.damaged = true;
	return candidate;
}

Test(candidate, damaged_pages_are_chosen_only_where_clients_have_them_already)
{
	struct cluster cluster = serving(3, record_of(1, "BC"));

	expect_choice(
		"another has as much",
		EVALUATE(&cluster, damaged(with_priority(standby(B, 2000), 200)), standby(C, 2000)),
		C, false);
	expect_nobody("its WAL counts, and nobody else holds all of it",
		      EVALUATE(&cluster, damaged(standby(B, 2000)), standby(C, 1900)), "B");
	expect_nobody("all of them",
		      EVALUATE(&cluster, damaged(standby(B, 2000)), damaged(standby(C, 2000))),
		      "BC");
	expect_choice("its answer counts for the record",
		      EVALUATE(&cluster, damaged(standby(B, 1900)), standby(C, 2000)), C, false);
	expect_choice("the primary on record stays, when it runs",
		      EVALUATE(&cluster, damaged(primary(A, 2000)), standby(B, 2000)), A, true);
	expect_choice(
		"it comes back where nobody else holds all",
		EVALUATE(&cluster, damaged(standby(A, 2000)), standby(B, 1900), standby(C, 1900)),
		A, false);
	expect_choice(
		"but another one that does is better",
		EVALUATE(&cluster, damaged(with_priority(standby(A, 2000), 200)), standby(B, 2000)),
		B, false);
}

Test(candidate, a_tail_is_no_obstacle_to_the_only_one_that_holds_all)
{
	struct cluster cluster = serving(3, record_of(1, "BC"));

	expect_choice("longest usable WAL",
		      EVALUATE(&cluster, with_tail(standby(B, 2000)), standby(C, 1900)), B, false);
	expect_choice("among equals who has none",
		      EVALUATE(&cluster, with_tail(standby(B, 2000)), standby(C, 2000)), C, false);
}

Test(candidate, nodes_that_are_being_rebuilt_count_for_nothing)
{
	struct cluster cluster = serving(3, record_of(1, "B"));

	cluster.rebuilding = set_of("C");
	expect_waiting("only the one being rebuilt", EVALUATE(&cluster, standby(C, 9000)), "B", 1);
	expect_choice("it neither counts nor holds the choice back",
		      EVALUATE(&cluster, standby(B, 2000), standby(C, 9000)), B, false);
}

/* Epoch 3 of B, forked from 3 at 2000; A's record of epoch 2 is still owed. */
static struct cluster unsettled(unsigned total, struct sync_rule record, struct sync_rule earlier)
{
	struct cluster cluster = serving(total, record_of(0, ""));

	cluster.epoch = 3;
	cluster.primary = B;
	cluster.timeline = 4;
	cluster.timeline_max = 4;
	cluster.open_lsn = 2000;
	cluster.record = record;
	cluster.settled = false;
	cluster.earlier_count = 1;
	cluster.earlier[0] = (struct earlier_record){2, earlier, A};
	cluster.lineage[cluster.lineage_count++] = (struct lineage_row){3, B, 4, 3, 2000};
	cr_assert(cluster_sane(&cluster));
	return cluster;
}

/*
 * Five nodes, two must flush. A commit is on A, B and C; A dies, C wins with D and E while B is
 * away; A is cloned afresh; C dies. A, D and E satisfy the new record, not the one before.
 */
Test(candidate, the_record_before_an_unsettled_promotion_is_still_owed)
{
	struct cluster cluster = unsettled(5, record_of(2, "DE"), record_of(2, "BCDE"));

	cluster.primary = C;
	/* What is left of the promise after A was cloned: its own answer is worth nothing. */
	cluster.earlier[0].primary = NODE_NONE;
	expect_waiting("the new record alone",
		       EVALUATE(&cluster, standby(A, 1900), standby(D, 2000), standby(E, 2000)),
		       "BC", 1);
	expect_choice("with one more of the old",
		      EVALUATE(&cluster, standby(A, 1900), standby(B, 2100), standby(D, 2000),
			       standby(E, 2000)),
		      B, false);
	cluster.settled = true;
	cluster.earlier_count = 0;
	expect_choice("once it is settled",
		      EVALUATE(&cluster, standby(A, 1900), standby(D, 2000), standby(E, 2000)), D,
		      false);
}

Test(candidate, the_earlier_primary_pays_its_own_debt)
{
	struct cluster cluster = unsettled(3, record_of(1, "C"), record_of(1, "BC"));

	expect_waiting("C alone", EVALUATE(&cluster, standby(C, 2000)), "B", 1);
	expect_choice("C and the earlier primary",
		      EVALUATE(&cluster, standby(C, 2000), with_tail(standby(A, 2000))), C, false);
	expect_waiting("the earlier primary alone says nothing of the present epoch",
		       EVALUATE(&cluster, with_tail(standby(A, 2000))), "C", 1);
}

/* It was chosen because it held every acknowledged commit, and its data were not touched since. */
Test(candidate, the_recorded_primary_pays_every_debt)
{
	struct cluster cluster = unsettled(3, record_of(1, "C"), record_of(1, "BC"));

	expect_choice("it still runs", EVALUATE(&cluster, on_timeline(primary(B, 2100), 4)), B,
		      true);
	expect_choice("it was restarted", EVALUATE(&cluster, standby(B, 2100)), B, false);
	cluster.opened = false;
	expect_choice("it has not opened", EVALUATE(&cluster, on_timeline(primary(B, 2100), 5)), B,
		      true);
	cluster.opened = true;
	cluster.earlier[0].record = record_of(0, "B");
	cluster.earlier[0].primary = NODE_NONE;
	expect_choice("even when nobody else could pay",
		      EVALUATE(&cluster, on_timeline(primary(B, 2100), 4)), B, true);
	expect_waiting("otherwise it is missed, and nobody else",
		       EVALUATE(&cluster, standby(C, 2100)), "B", 1);
}

Test(candidate, nothing_is_owed_by_an_epoch_that_was_never_opened)
{
	struct cluster cluster = unsettled(3, record_of(1, "C"), record_of(1, "BC"));

	cluster.opened = false;
	cluster.timeline = 3;
	cluster.lineage_count--;
	expect_choice("the earlier record decides alone",
		      EVALUATE(&cluster, with_tail(standby(A, 2000)), standby(B, 1900)), A, false);
	expect_waiting("of it, B or its primary is missed", EVALUATE(&cluster, standby(C, 2000)),
		       "B", 1);
}
