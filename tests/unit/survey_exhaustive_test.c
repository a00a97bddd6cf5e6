/*
 * The vote rule, tried on everything there is up to VOTERS_MAX voters: every split into data nodes
 * and witnesses, every record (S, k), every set of standbys that may hold the last acknowledged
 * commit, every set of voters that survives. Node 1 is the recorded primary; standbys are all
 * alike, so which node it is makes no difference.
 *
 * WAL only grows at its end, so whoever holds the last acknowledged commit holds them all; one
 * commit is enough to look for. Elections need a majority of the voters: a set of survivors
 * without one assigns nothing, whatever it answers.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/macros.h"
#include "core/candidate.h"
#include "core/syncset.h"

#define PRIMARY   1
#define NODE_BITS 8 /* sets of up to seven nodes, bit 0 unused */

enum { LSN_MISSES = 1000, LSN_HOLDS = 2000, LSN_BEYOND = 3000 };

static node_set first_nodes(unsigned count)
{
	return ((node_set)2 << count) - 2;
}

static bool majority(unsigned voters, unsigned alive)
{
	return alive >= voters / 2 + 1;
}

static bool may_be_acknowledged(struct sync_rule record, node_set holders)
{
	return node_count(record.members & holders) >= record.need;
}

static struct cluster cluster_of(unsigned data, unsigned witnesses, struct sync_rule record)
{
	struct cluster cluster = {
		.version = 9,
		.cluster_id = 77,
		.node_total = (uint8_t)(data + witnesses),
		.system_id = 5,
		.epoch = 2,
		.primary = PRIMARY,
		.opened = true,
		.timeline = 3,
		.timeline_max = 3,
		.open_lsn = 500,
		.record = record,
		.settled = true,
		.lineage_count = 1,
		.lineage = {{2, PRIMARY, 3, 2, 500}},
		.settings = settings_default(data),
	};

	for (unsigned i = 0; i < data + witnesses; i++)
		cluster.nodes[i] = (struct node){
			.id = (node_id)(i + 1),
			.kind = i < data ? NODE_DATA : NODE_WITNESS,
			.priority = 100,
		};
	return cluster;
}

static struct candidate answer_of(node_id node, wal_lsn usable)
{
	return (struct candidate){
		.node = node,
		.db = DB_STANDBY,
		.priority = 100,
		.position = {.timeline = 3, .flushed = usable},
		.match = {.known = true, .usable = usable},
	};
}

struct answers {
	unsigned count;
	struct candidate list[NODES_MAX];
};

/* `alive` answers; `holders` hold the commit, `beyond` of them also what nobody acknowledged. */
static struct answers answers_of(node_set alive, node_set holders, node_set beyond)
{
	struct answers answers = {0};

	for (node_id id = 1; id < NODE_BITS; id++)
		if (node_in(alive, id))
			answers.list[answers.count++] =
				answer_of(id, node_in(beyond, id)    ? LSN_BEYOND
					      : node_in(holders, id) ? LSN_HOLDS
								     : LSN_MISSES);
	return answers;
}

/* The definition, without any arithmetic: no possible acknowledgement escapes the answers. */
static bool nothing_hides(unsigned data, struct sync_rule record, node_set answered)
{
	const node_set standbys = first_nodes(data) & ~node_bit(PRIMARY);

	if (node_in(answered, PRIMARY))
		return true;
	for (node_set holders = 0; holders <= standbys; holders += 4)
		if (may_be_acknowledged(record, holders) && (holders & answered) == 0)
			return false;
	return true;
}

struct figures {
	uint64_t records;
	uint64_t survivors;     /* sets of survivors with a majority, per record */
	uint64_t evaluations;   /* and acknowledgement sets */
	uint64_t safe;          /* of them promote somebody */
	uint64_t one_less;      /* one member of S less answers */
	uint64_t one_less_lost; /* of them miss an acknowledged commit */
	uint64_t majority_only; /* acknowledged commits that a plain majority would lose */
	uint64_t majority_sets; /* survivors for which it would */
	uint64_t formula;       /* comparisons with max(N/2+1, N-syncNum) */
};

static void check_choice(const struct cluster *cluster, node_set alive, node_set holders,
			 node_set beyond, bool enough, struct figures *figures)
{
	const struct answers answers = answers_of(alive, holders, beyond);
	const struct survey_result result = survey_evaluate(cluster, answers.list, answers.count);

	figures->evaluations++;
	cr_assert_eq(result.verdict == SURVEY_SAFE, enough && answers.count > 0,
		     "%u of %x, answers %x, holders %x: verdict %u", cluster->record.need,
		     cluster->record.members, alive, holders, result.verdict);
	if (result.verdict != SURVEY_SAFE)
		return;
	figures->safe++;
	cr_assert(node_in(alive, result.choice));
	cr_assert(result.choice == PRIMARY || node_in(holders, result.choice),
		  "%u of %x, answers %x, holders %x: %u is chosen and has not got it",
		  cluster->record.need, cluster->record.members, alive, holders, result.choice);
	cr_assert((alive & beyond) == 0 || node_in(beyond, result.choice));
}

/*
 * One answer of S less than asked for. When |S| - k of them answer, the other k may be the only
 * ones that have the commit; it is shown, not computed.
 */
static void check_one_less(unsigned data, const struct cluster *cluster, node_set alive,
			   struct figures *figures)
{
	const struct sync_rule record = cluster->record;
	const node_set holders = first_nodes(data) & ~alive & ~node_bit(PRIMARY);
	const unsigned members = node_count(record.members);

	if (record.need == 0 || record.need > members || node_in(alive, PRIMARY) ||
	    node_count(record.members & alive) + record.need != members)
		return;
	figures->one_less++;
	cr_assert(may_be_acknowledged(record, holders));
	cr_assert_eq(holders & alive, 0);
	figures->one_less_lost++;
}

static void check_majority_only(unsigned data, struct sync_rule record, node_set alive,
				struct figures *figures)
{
	const node_set standbys = first_nodes(data) & ~node_bit(PRIMARY);
	uint64_t lost = 0;

	if (node_in(alive, PRIMARY) || (alive & standbys) == 0)
		return;
	for (node_set holders = 0; holders <= standbys; holders += 4)
		if (may_be_acknowledged(record, holders) && (holders & alive) == 0)
			lost++;
	figures->majority_only += lost;
	figures->majority_sets += lost != 0;
}

/* All of N voters have data, all standbys are in S: the formula speaks of this case. */
static void check_formula(unsigned voters, struct sync_rule record, node_set alive, bool enough,
			  struct figures *figures)
{
	const unsigned quorum = voters / 2 + 1;
	const unsigned rest = voters - record.need;
	const unsigned needed = quorum > rest ? quorum : rest;

	if (record.need == 0 || record.need > node_count(record.members) ||
	    record.members != (first_nodes(voters) & ~node_bit(PRIMARY)) || node_in(alive, PRIMARY))
		return;
	figures->formula++;
	cr_assert_eq(majority(voters, node_count(alive)) && enough, node_count(alive) >= needed);
}

static void check_survivors(unsigned data, const struct cluster *cluster, node_set survivors,
			    struct figures *figures)
{
	const unsigned voters = cluster->node_total;
	const node_set standbys = first_nodes(data) & ~node_bit(PRIMARY);
	const node_set alive = survivors & first_nodes(data);
	const bool enough = nothing_hides(data, cluster->record, alive);

	if (data == voters)
		check_formula(voters, cluster->record, alive, enough, figures);
	if (!majority(voters, node_count(survivors)))
		return;
	figures->survivors++;
	/* The arithmetic of the rule is the definition. */
	cr_assert_eq(enough, node_in(alive, PRIMARY) || sync_survey_enough(cluster->record, alive));
	check_one_less(data, cluster, alive, figures);
	check_majority_only(data, cluster->record, alive, figures);
	for (node_set holders = 0; holders <= standbys; holders += 4) {
		const node_set has = holders | node_bit(PRIMARY);

		if (!may_be_acknowledged(cluster->record, holders))
			continue;
		check_choice(cluster, alive, has, node_bit(PRIMARY), enough, figures);
		/* One of those that have it has more, the last one, so that ids decide nothing. */
		for (node_id id = NODE_BITS - 1; id > PRIMARY; id--)
			if (node_in(holders, id)) {
				check_choice(cluster, alive, has, node_bit(PRIMARY) | node_bit(id),
					     enough, figures);
				break;
			}
	}
}

static void check_layout(unsigned data, unsigned witnesses, struct figures *figures)
{
	const unsigned voters = data + witnesses;
	const node_set standbys = first_nodes(data) & ~node_bit(PRIMARY);

	for (node_set members = 0; members <= standbys; members += 4)
		for (unsigned need = 0; need < voters; need++) {
			const struct cluster cluster = cluster_of(
				data, witnesses, (struct sync_rule){members, (uint8_t)need});

			figures->records++;
			for (node_set set = 0; set <= first_nodes(voters); set += 2)
				check_survivors(data, &cluster, set, figures);
		}
}

Test(survey_exhaustive, never_loses_a_commit_and_no_weaker_rule_would_do)
{
	struct figures figures = {0};
	unsigned layouts = 0;

	for (unsigned voters = 1; voters <= VOTERS_MAX; voters++)
		for (unsigned data = 1; data <= voters; data++, layouts++)
			check_layout(data, voters - data, &figures);
	printf("survey: %u layouts of 1..%u voters, %lu records, %lu survivor sets with a "
	       "majority, %lu evaluations, %lu promoted, 0 lost\n"
	       "survey: one answer of S less: %lu sets, %lu of them miss an acknowledged commit\n"
	       "survey: a plain majority would lose a commit with %lu survivor sets (%lu "
	       "acknowledgement sets)\n"
	       "survey: max(N/2+1, N-syncNum) compared on %lu survivor sets\n",
	       layouts, VOTERS_MAX, (unsigned long)figures.records,
	       (unsigned long)figures.survivors, (unsigned long)figures.evaluations,
	       (unsigned long)figures.safe, (unsigned long)figures.one_less,
	       (unsigned long)figures.one_less_lost, (unsigned long)figures.majority_sets,
	       (unsigned long)figures.majority_only, (unsigned long)figures.formula);
	cr_assert_gt(figures.safe, 1000);
	cr_assert_gt(figures.one_less, 0);
	cr_assert_eq(figures.one_less, figures.one_less_lost);
	cr_assert_gt(figures.majority_sets, 0);
	cr_assert_gt(figures.formula, 0);
}

/*
 * For each record a survivor set with a majority and one answer too few, so that the answers, not
 * the majority, are what forbids the promotion; the records for which there is none are exactly
 * those where a majority always brings enough answers with it.
 */
Test(survey_exhaustive, where_the_answers_and_not_the_majority_decide)
{
	unsigned decided = 0;
	unsigned records = 0;

	for (unsigned voters = 1; voters <= VOTERS_MAX; voters++)
		for (unsigned data = 1; data <= voters; data++)
			for (unsigned members = 1; members < data; members++)
				for (unsigned need = 1; need <= members; need++) {
					const struct sync_rule record = {first_nodes(members) << 1,
									 (uint8_t)need};
					/* All but the primary and `need` members survive. */
					const unsigned most = voters - 1 - need;
					bool found = false;

					records++;
					for (node_set set = 0; !found && set <= first_nodes(voters);
					     set += 2)
						found = majority(voters, node_count(set)) &&
							!node_in(set, PRIMARY) &&
							!sync_survey_enough(
								record, set & first_nodes(data));
					cr_assert_eq(found, majority(voters, most));
					decided += found;
				}
	printf("survey: %u shapes of records, for %u of them a majority may lack an answer\n",
	       records, decided);
	cr_assert_gt(decided, 0);
}

/*
 * Who may not be primary is counted, but never chosen. Another one is, when it has all that may
 * have been acknowledged, also when a barred one has more; and there is no other reason for nobody
 * to be chosen. Each node's WAL ends at one of a few places, all of which are tried.
 */

struct barred_figures {
	uint64_t safe;
	uint64_t behind; /* of them though a barred node has more */
	uint64_t none;
};

static void bar(struct answers *answers, node_set barred)
{
	for (unsigned i = 0; i < answers->count; i++) {
		struct candidate *each = &answers->list[i];

		if (!node_in(barred, each->node))
			continue;
		if (each->node % 3 == 0)
			each->priority = 0;
		else if (each->node % 3 == 1)
			each->excluded = true;
		else
			each->damaged = true;
	}
}

/*
 * The furthest end of a commit that may have been acknowledged: its holders are those that answered
 * and have so much, and any of those that did not. The primary has each of its own commits.
 */
static wal_lsn acknowledged_end(unsigned data, struct sync_rule record,
				const struct answers *answers)
{
	wal_lsn furthest = 0;

	for (unsigned i = 0; i < answers->count; i++) {
		const wal_lsn end = answers->list[i].match.usable;
		node_set holders = first_nodes(data);

		for (unsigned k = 0; k < answers->count; k++)
			if (answers->list[k].match.usable < end)
				holders &= ~node_bit(answers->list[k].node);
		if (end > furthest && node_in(holders, PRIMARY) &&
		    may_be_acknowledged(record, holders))
			furthest = end;
	}
	return furthest;
}

static void check_barred(unsigned data, const struct cluster *cluster,
			 const struct answers *answers, node_set barred,
			 struct barred_figures *figures)
{
	const struct survey_result result = survey_evaluate(cluster, answers->list, answers->count);
	const wal_lsn owed = acknowledged_end(data, cluster->record, answers);
	node_set answered = 0;
	node_set able = 0; /* may be primary, and lack nothing acknowledged */
	wal_lsn longest = 0;
	wal_lsn chosen = 0;

	for (unsigned i = 0; i < answers->count; i++) {
		const struct candidate *each = &answers->list[i];

		answered |= node_bit(each->node);
		if (each->match.usable >= owed && !node_in(barred, each->node))
			able |= node_bit(each->node);
		if (each->match.usable > longest)
			longest = each->match.usable;
		if (each->node == result.choice)
			chosen = each->match.usable;
	}
	switch (result.verdict) {
	case SURVEY_SAFE:
		figures->safe++;
		figures->behind += chosen < longest;
		cr_assert(node_in(able, result.choice), "%u of %x, answers %x, barred %x: %u",
			  cluster->record.need, cluster->record.members, answered, barred,
			  result.choice);
		/* More is better, acknowledged or not. */
		for (unsigned i = 0; i < answers->count; i++)
			cr_assert(node_in(barred, answers->list[i].node) ||
				  answers->list[i].match.usable <= chosen);
		break;
	case SURVEY_NO_CANDIDATE:
		figures->none++;
		/* Without a record that could be kept, all that anybody has may be owed. */
		if (cluster->record.need <= node_count(cluster->record.members))
			cr_assert_eq(able, 0, "%u of %x, answers %x, barred %x: %x could",
				     cluster->record.need, cluster->record.members, answered,
				     barred, able);
		for (unsigned i = 0; i < answers->count; i++)
			cr_assert(node_in(barred, answers->list[i].node) ||
				  !node_in(result.missing, answers->list[i].node));
		break;
	default:
		cr_assert(!nothing_hides(data, cluster->record, answered));
		cr_assert_gt(result.missing_count, 0);
		cr_assert_eq(result.missing & answered, 0);
	}
}

static struct answers ends_of(node_set alive, unsigned ends, unsigned code)
{
	struct answers answers = {0};

	for (node_id id = 1; id < NODE_BITS; id++, code /= ends)
		if (node_in(alive, id))
			answers.list[answers.count++] =
				answer_of(id, (wal_lsn)1000 + 100 * (code % ends));
	return answers;
}

/* Each of `data` nodes' WAL ends at one of `ends` places. */
static void check_ends(unsigned data, unsigned ends, struct sync_rule record,
		       struct barred_figures *figures)
{
	const struct cluster cluster = cluster_of(data, 0, record);
	const node_set all = first_nodes(data);
	unsigned codes = 1;

	for (unsigned i = 0; i < data; i++)
		codes *= ends;
	for (unsigned code = 0; code < codes; code++)
		for (node_set alive = 2; alive <= all; alive += 2)
			for (node_set barred = 0; barred <= all; barred += 2) {
				struct answers answers = ends_of(alive, ends, code);

				bar(&answers, barred);
				check_barred(data, &cluster, &answers, barred, figures);
			}
}

Test(survey_exhaustive, barred_nodes_are_counted_but_never_chosen)
{
	static const struct {
		unsigned data, ends;
	} sizes[] = {{4, 3}, {5, 2}};
	struct barred_figures figures = {0};

	for (size_t i = 0; i < COUNT_OF(sizes); i++) {
		const node_set standbys = first_nodes(sizes[i].data) & ~node_bit(PRIMARY);

		for (node_set members = 0; members <= standbys; members += 4)
			for (unsigned need = 0; need < sizes[i].data; need++)
				check_ends(sizes[i].data, sizes[i].ends,
					   (struct sync_rule){members, (uint8_t)need}, &figures);
	}
	printf("survey: nodes that may not be primary: %lu promoted another, %lu of them behind, "
	       "%lu nobody\n",
	       (unsigned long)figures.safe, (unsigned long)figures.behind,
	       (unsigned long)figures.none);
	cr_assert_gt(figures.safe, 0);
	cr_assert_gt(figures.behind, 0);
	cr_assert_gt(figures.none, 0);
}

/* --- unsettled promotions: the record before still counts --- */

#define FORMER 1 /* primary of the earlier epoch, here with its data untouched */
#define LATER  2

struct unsettled {
	unsigned data;
	struct sync_rule earlier;
	struct sync_rule record;
	node_set first;  /* standbys that hold the commit of the earlier epoch */
	node_set second; /* and the one of the later epoch */
};

/* The later primary was chosen because it had the first commit; who has the second has both. */
static wal_lsn usable_of(const struct unsettled *world, node_id node)
{
	if (node == LATER || node_in(world->second, node))
		return LSN_BEYOND;
	if (node == FORMER || node_in(world->first, node))
		return LSN_HOLDS;
	return LSN_MISSES;
}

static bool earlier_hides(unsigned data, struct sync_rule earlier, node_set alive)
{
	const node_set others = first_nodes(data) & ~node_bit(FORMER);

	if ((alive & (node_bit(FORMER) | node_bit(LATER))) != 0)
		return false;
	for (node_set first = 0; first <= others; first += 4)
		if (may_be_acknowledged(earlier, first | node_bit(LATER)) && (first & alive) == 0)
			return true;
	return false;
}

static bool later_hides(unsigned data, struct sync_rule record, node_set alive)
{
	const node_set others = first_nodes(data) & ~node_bit(LATER);

	if (node_in(alive, LATER))
		return false;
	for (node_set second = 0; second <= others; second += 2)
		if (!node_in(second, LATER) && may_be_acknowledged(record, second) &&
		    (second & alive) == 0)
			return true;
	return false;
}

static void check_unsettled(const struct unsettled *world, const struct cluster *cluster,
			    node_set alive, node_set barred)
{
	struct answers answers = {0};
	struct survey_result result;
	const bool enough = !earlier_hides(world->data, world->earlier, alive) &&
			    !later_hides(world->data, world->record, alive);

	for (node_id id = 1; id < NODE_BITS; id++)
		if (node_in(alive, id)) {
			answers.list[answers.count] = answer_of(id, usable_of(world, id));
			answers.list[answers.count++].excluded = node_in(barred, id);
		}
	result = survey_evaluate(cluster, answers.list, answers.count);
	if (result.verdict == SURVEY_SAFE)
		cr_assert(!node_in(barred, result.choice) &&
				  (usable_of(world, result.choice) == LSN_BEYOND ||
				   (world->second == 0 && world->record.need != 0 &&
				    world->record.need > node_count(world->record.members))),
			  "%u of %x before %u of %x, answers %x, barred %x: %u lacks a commit",
			  world->earlier.need, world->earlier.members, world->record.need,
			  world->record.members, alive, barred, result.choice);
	/* Not stronger than needed: the earlier promise may be weaker where it is certain. */
	if (enough)
		cr_assert(result.verdict == SURVEY_SAFE ||
				  (barred != 0 && result.verdict == SURVEY_NO_CANDIDATE),
			  "%u of %x before %u of %x, answers %x, barred %x: verdict %u",
			  world->earlier.need, world->earlier.members, world->record.need,
			  world->record.members, alive, barred, result.verdict);
}

static uint64_t unsettled_answers(const struct unsettled *world, const struct cluster *cluster)
{
	const node_set all = first_nodes(world->data);
	uint64_t evaluations = 0;

	for (node_set alive = 2; alive <= all; alive += 2)
		for (node_set barred = 0; barred <= all; barred += 2, evaluations++)
			check_unsettled(world, cluster, alive, barred);
	return evaluations;
}

Test(survey_exhaustive, an_unsettled_promotion_owes_what_was_promised_before)
{
	const unsigned data = 4;
	const node_set all = first_nodes(data);
	uint64_t evaluations = 0;

	for (node_set members = 0; members <= all; members += 4)
		for (unsigned code = 0; code < 4 * 16 * 4; code++) {
			struct unsettled world = {
				.data = data,
				.earlier = {members, (uint8_t)(code % 4)},
				.record = {(node_set)(code / 4 % 16) << 1, (uint8_t)(code / 64)},
			};
			struct cluster cluster = cluster_of(data, 0, world.record);

			/* An earlier epoch that could acknowledge nothing is not kept. */
			if (node_in(world.record.members, LATER) ||
			    world.earlier.need > node_count(members))
				continue;
			cluster.epoch = 3;
			cluster.primary = LATER;
			cluster.settled = false;
			cluster.earlier_count = 1;
			cluster.earlier[0] = (struct earlier_record){2, world.earlier, FORMER};
			for (world.first = 0; world.first <= all; world.first += 4)
				for (world.second = 0; world.second <= all; world.second += 2)
					if (!node_in(world.second, LATER) &&
					    may_be_acknowledged(world.earlier, world.first) &&
					    may_be_acknowledged(world.record, world.second))
						evaluations += unsettled_answers(&world, &cluster);
		}
	printf("survey: %lu evaluations of unsettled promotions, 0 lost\n",
	       (unsigned long)evaluations);
	cr_assert_gt(evaluations, 1000);
}
