/*
 * sim [--seed N | --seeds A..B] [--topology NAME] [--mode NAME] [--seconds N] [--faults NAME,...]
 *     [--jobs N] [--rows] [--trace] [--bug NAME [--until-caught]]
 * sim --story NAME [--seed N] [--mode NAME] [--cuts 0..63]
 *
 * Runs clusters through faults and checks the invariants at every step. Prints the seeds that
 * fail, each with the command that replays it, how much time was simulated and what happened in
 * it. --rows adds how often each row of the leader's table was taken.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/text.h"
#include "jobs.h"

struct bug {
	const char *name;
	uint32_t bit;
};

static const struct bug bugs[] = {
#ifdef MHA_PLANT_BUGS
	{"names_before_record", BUG_NAMES_BEFORE_RECORD},
	{"no_flush_barrier", BUG_NO_FLUSH_BARRIER},
	{"earlier_forgotten", BUG_EARLIER_FORGOTTEN},
	{"clone_while_in_s", BUG_CLONE_WHILE_IN_S},
	{"choice_by_timeline", BUG_CHOICE_BY_TIMELINE},
	{"survey_with_receiver", BUG_SURVEY_WITH_RECEIVER},
	{"vote_at_once", BUG_VOTE_AT_ONCE},
	{"lease_too_long", BUG_LEASE_TOO_LONG},
	{"degrade_unrecorded", BUG_DEGRADE_UNRECORDED},
	{"promote_in_pause", BUG_PROMOTE_IN_PAUSE},
	{"elect_alone", BUG_ELECT_ALONE},
	{"choice_damaged", BUG_CHOICE_DAMAGED},
	{"barred_unheard", BUG_BARRED_UNHEARD},
#endif
	{NULL, 0},
};

/* Data nodes and witnesses; and those that are no members in the beginning. */
static const struct topology {
	const char *name;
	unsigned data;
	unsigned witness;
	unsigned later; /* data nodes that operators add */
} topologies[] = {
	{"3", 3, 0, 0},   {"2+1", 2, 1, 0},     {"5", 5, 0, 0},
	{"1", 1, 0, 0},   {"2", 2, 0, 0},       {"4", 4, 0, 0},
	{"3+2", 3, 2, 0}, {"3,later", 3, 0, 1}, {"2+1,later", 2, 1, 2},
};

static const struct topology *topology_named(const char *name)
{
	for (unsigned i = 0; i < COUNT_OF(topologies); i++)
		if (strcmp(topologies[i].name, name) == 0)
			return &topologies[i];
	return NULL;
}

/* The ones that people run are most of what is tried. */
static const struct topology *topology_of(uint64_t seed)
{
	static const uint8_t picks[] = {0, 1, 2, 0, 1, 6, 4, 0, 1, 5, 2, 0,
					1, 7, 0, 1, 6, 3, 5, 2, 7, 8, 7, 8};

	return &topologies[picks[seed % COUNT_OF(picks)]];
}

static void usage(void)
{
	fprintf(stderr,
		"usage: sim [--seed N | --seeds A..B] [--topology "
		"1|2|2+1|3|4|5|3+2|3,later|2+1,later]\n"
		"           [--mode max_protection|max_availability|max_performance] "
		"[--seconds N]\n"
		"           [--faults NAME,...] [--jobs N] [--rows] [--trace]\n"
		"           [--bug NAME [--until-caught]]\n"
		"       sim --story arbiter_accept|arbiter_return|cuts [--cuts 0..63] [--trace]\n");
	exit(2);
}

static bool bug_set(struct run *run, const char *name)
{
	for (const struct bug *bug = bugs; bug->name != NULL; bug++)
		if (strcmp(bug->name, name) == 0) {
			run->options.bugs = bug->bit;
			run->bug = name;
			return true;
		}
	return false;
}

static bool mode_set(struct run *run, const char *name)
{
	run->mode = name;
	for (uint8_t mode = MODE_MAX_PROTECTION; mode < MODE_COUNT; mode++)
		if (strcmp(protection_mode_name(mode), name) == 0)
			run->options.mode = mode;
	return run->options.mode != 0;
}

static bool seeds_set(struct run *run, char *text)
{
	char *dots = strstr(text, "..");

	if (dots == NULL)
		return false;
	*dots = 0;
	return text_parse_u64(text, &run->first) && text_parse_u64(dots + 2, &run->last) &&
	       run->first <= run->last;
}

static bool faults_set(struct run *run, const char *list)
{
	run->faults = list;
	for (const char *at = list; *at != 0;) {
		const size_t size = strcspn(at, ",");
		const enum fault_kind kind = fault_named(at, size);

		if (kind == FAULT_KIND_COUNT)
			return false;
		run->options.faults |= UINT32_C(1) << kind;
		at += size + (at[size] == ',');
	}
	return run->options.faults != 0;
}

static bool option_set(struct run *run, const char *name, char *value)
{
	uint64_t number;

	if (strcmp(name, "--seed") == 0) {
		if (!text_parse_u64(value, &run->first))
			return false;
		run->last = run->first;
		return true;
	}
	if (strcmp(name, "--seeds") == 0)
		return seeds_set(run, value);
	if (strcmp(name, "--topology") == 0) {
		run->topology = value;
		return topology_named(value) != NULL;
	}
	if (strcmp(name, "--mode") == 0)
		return mode_set(run, value);
	if (strcmp(name, "--bug") == 0)
		return bug_set(run, value);
	if (strcmp(name, "--faults") == 0)
		return faults_set(run, value);
	if (strcmp(name, "--story") == 0) {
		run->options.story = (uint8_t)story_named(value);
		run->story = value;
		return run->options.story != STORY_NONE;
	}
	if (!text_parse_u64(value, &number))
		return false;
	if (strcmp(name, "--cuts") == 0 && number < CUT_SETS) {
		run->options.cuts = (uint8_t)number;
		run->cuts_chosen = true;
		return true;
	}
	if (strcmp(name, "--seconds") == 0 && number <= 3600)
		run->options.seconds = (unsigned)number;
	else if (strcmp(name, "--jobs") == 0 && number >= 1 && number <= JOBS_MAX)
		run->jobs = (unsigned)number;
	else
		return false;
	return true;
}

static void report(const struct run *run)
{
	printf("FAIL seed %lu topology %s at %.6f s: %s\n"
	       "  replay: %s --seed %lu --seconds %u",
	       (unsigned long)run->options.seed,
	       run->topology != NULL ? run->topology : topology_of(run->options.seed)->name,
	       (double)world.now / 1e9, world.failure, run->program,
	       (unsigned long)run->options.seed, run->options.seconds);
	if (run->options.story != STORY_NONE)
		printf(" --story %s", run->story);
	else if (run->topology != NULL)
		printf(" --topology %s", run->topology);
	if (run->mode != NULL)
		printf(" --mode %s", run->mode);
	if (run->faults != NULL)
		printf(" --faults %s", run->faults);
	if (run->bug != NULL)
		printf(" --bug %s", run->bug);
	printf(" --trace\n");
}

bool run_seed(struct run *run, uint64_t seed)
{
	const struct topology *topology =
		run->topology != NULL ? topology_named(run->topology) : topology_of(seed);

	run->options.seed = seed;
	run->options.data = topology->data;
	run->options.witness = topology->witness;
	run->options.later = topology->later;
	world_run(&run->options);
	/* Caught is a bug by what must never happen, not by a cluster that does not come back. */
	if (!world.failed || (run->until_caught && strncmp(world.failure, "I4", 2) == 0))
		return true;
	report(run);
	return false;
}

static void parse(struct run *run, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--trace") == 0)
			run->options.trace = true;
		else if (strcmp(argv[i], "--until-caught") == 0)
			run->until_caught = true;
		else if (strcmp(argv[i], "--rows") == 0)
			run->rows = true;
		else if (i + 1 >= argc || !option_set(run, argv[i], argv[i + 1]))
			usage();
		else
			i++;
	}
}

static void print_rows(const struct run *run)
{
	unsigned never = 0;

	for (unsigned i = 0; i < leader_rule_count(); i++) {
		if (run->rows)
			printf("%12lu  %s\n", (unsigned long)totals.rows[i], leader_rule(i).name);
		never += totals.rows[i] == 0;
	}
	if (never == 0 || (!run->rows && totals.seeds < 1000))
		return;
	printf("rows of the leader's table that were never taken:");
	for (unsigned i = 0; i < leader_rule_count(); i++)
		if (totals.rows[i] == 0)
			printf(" %s", leader_rule(i).name);
	printf("\n");
}

static void summary(const struct run *run)
{
	const struct totals *t = &totals;
	const double hours = (double)t->milliseconds / 3.6e6;
	const double cpu = run->cpu_seconds / 3600;

	print_rows(run);
	printf("%lu failovers, %lu switchovers, %lu operations that ended otherwise, %lu forced "
	       "promotions, %lu degrades, %lu restores, %lu rebuilds, %lu decisions not to "
	       "promote, %lu worlds left blocked for a true reason\n"
	       "%lu calls: %lu accepted, %lu refused, %lu possible, %lu uncertain, %lu not at the "
	       "leader; %lu commits lost where a loss was allowed\n%lu nodes joined, %lu left\n",
	       (unsigned long)t->failovers, (unsigned long)t->switchovers,
	       (unsigned long)t->rolled_back, (unsigned long)t->forced, (unsigned long)t->degrades,
	       (unsigned long)t->restores, (unsigned long)t->rebuilds, (unsigned long)t->held,
	       (unsigned long)t->blocked, (unsigned long)t->calls,
	       (unsigned long)t->answers[CALL_ACCEPTED], (unsigned long)t->answers[CALL_REFUSED],
	       (unsigned long)t->answers[CALL_POSSIBLE], (unsigned long)t->answers[CALL_UNCERTAIN],
	       (unsigned long)t->answers[CALL_NOT_LEADER], (unsigned long)t->lost,
	       (unsigned long)t->joined, (unsigned long)t->left);
	printf("%lu seeds, %lu failed; %lu commits acknowledged, %lu epochs; %.2f simulated hours "
	       "in %.4f CPU-hours: %.0f simulated hours per CPU-hour\n",
	       (unsigned long)t->seeds, (unsigned long)t->failed, (unsigned long)t->acknowledged,
	       (unsigned long)t->epochs, hours, cpu, cpu > 0 ? hours / cpu : 0);
}

/* Every set of links that is cut, or the one that was chosen, with the primary on each node. */
static int tell_cuts(struct run *run)
{
	unsigned told = 0, failed = 0;
	const unsigned chosen = run->options.cuts;

	run->topology = "3";
	for (unsigned cuts = 0; cuts < CUT_SETS; cuts++) {
		if (run->cuts_chosen && cuts != chosen)
			continue;
		for (uint8_t primary = 1; primary <= 3; primary++, told++) {
			run->options.cuts = (uint8_t)cuts;
			run->options.primary = primary;
			if (run_seed(run, run->first))
				continue;
			printf("  with the links of set %u cut (--cuts %u) and n%u as primary\n",
			       cuts, cuts, primary);
			failed++;
		}
	}
	run->cpu_seconds = (double)clock() / CLOCKS_PER_SEC;
	summary(run);
	printf("%u sets of cut links and primaries, %u failed\n", told, failed);
	return failed == 0 ? 0 : 1;
}

static int tell_story(struct run *run)
{
	if (run->options.story == STORY_CUTS)
		return tell_cuts(run);
	run->topology = "2+1";
	if (run_seed(run, run->first)) {
		printf("story told: as it should be\n");
		return 0;
	}
	return 1;
}

int main(int argc, char **argv)
{
	struct run run = {
		.program = argv[0], .first = 1, .last = 100, .jobs = 1, .options = {.seconds = 60}};
	bool caught;

	parse(&run, argc, argv);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (run.options.story != STORY_NONE)
		return tell_story(&run);
	caught = !run_all(&run);
	summary(&run);
	if (run.until_caught)
		return caught ? 0 : 1;
	return caught ? 1 : 0;
}
