/*
 * sim [--seed N | --seeds A..B] [--topology 3|2+1|5] [--seconds N] [--faults NAME,...] [--trace]
 *     [--bug NAME [--until-caught]]
 *
 * Runs clusters through faults and checks the invariants at every step. Prints the seeds that
 * fail, each with the command that replays it, and how much time was simulated.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/text.h"
#include "sim.h"

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
#endif
	{NULL, 0},
};

struct run {
	uint64_t first;
	uint64_t last;
	const char *topology; /* NULL: by seed */
	const char *bug;
	const char *faults;
	bool until_caught; /* by a checker of what must never happen, not by I4 */
	struct options options;
};

static const char *const topologies[] = {"3", "2+1", "5"};

static void usage(void)
{
	fprintf(stderr, "usage: sim [--seed N | --seeds A..B] [--topology 3|2+1|5] [--seconds N] "
			"[--faults NAME,...] [--trace] [--bug NAME [--until-caught]]\n");
	exit(2);
}

static bool topology_set(struct options *options, const char *name)
{
	if (strcmp(name, "3") == 0 || strcmp(name, "5") == 0) {
		options->data = (unsigned)(name[0] - '0');
		options->witness = 0;
		return true;
	}
	options->data = 2;
	options->witness = 1;
	return strcmp(name, "2+1") == 0;
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
		return topology_set(&run->options, value);
	}
	if (strcmp(name, "--bug") == 0)
		return bug_set(run, value);
	if (strcmp(name, "--faults") == 0)
		return faults_set(run, value);
	if (strcmp(name, "--seconds") == 0 && text_parse_u64(value, &number) && number <= 3600) {
		run->options.seconds = (unsigned)number;
		return true;
	}
	return false;
}

static void report(const struct run *run, const char *program, const char *topology)
{
	printf("FAIL seed %lu topology %s at %.6f s: %s\n", (unsigned long)run->options.seed,
	       topology, (double)world.now / 1e9, world.failure);
	printf("  replay: %s --seed %lu --topology %s --seconds %u", program,
	       (unsigned long)run->options.seed, topology, run->options.seconds);
	if (run->faults != NULL)
		printf(" --faults %s", run->faults);
	if (run->bug != NULL)
		printf(" --bug %s", run->bug);
	printf(" --trace\n");
}

static void parse(struct run *run, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--trace") == 0)
			run->options.trace = true;
		else if (strcmp(argv[i], "--until-caught") == 0)
			run->until_caught = true;
		else if (i + 1 >= argc || !option_set(run, argv[i], argv[i + 1]))
			usage();
		else
			i++;
	}
}

int main(int argc, char **argv)
{
	struct run run = {.first = 1, .last = 100, .options = {.seconds = 60}};
	uint64_t failures = 0;
	double simulated = 0;
	uint64_t acknowledged = 0;
	uint64_t epochs = 0;
	uint64_t seeds = 0;
	double cpu;

	parse(&run, argc, argv);
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (uint64_t seed = run.first; seed <= run.last; seed++) {
		const char *topology = run.topology != NULL
					       ? run.topology
					       : topologies[seed % COUNT_OF(topologies)];

		run.options.seed = seed;
		(void)topology_set(&run.options, topology);
		world_run(&run.options);
		seeds++;
		simulated += (double)world.now / 1e9;
		acknowledged += world.acknowledged;
		epochs += world.truth.epoch;
		if (!world.failed || (run.until_caught && strncmp(world.failure, "I4", 2) == 0))
			continue;
		failures++;
		report(&run, argv[0], topology);
		if (run.until_caught)
			break;
	}
	cpu = (double)clock() / CLOCKS_PER_SEC;
	printf("%lu seeds, %lu failed; %lu commits acknowledged, %lu epochs; %.2f simulated hours "
	       "in %.4f CPU-hours: %.0f simulated hours per CPU-hour\n",
	       (unsigned long)seeds, (unsigned long)failures, (unsigned long)acknowledged,
	       (unsigned long)epochs, simulated / 3600, cpu / 3600, cpu > 0 ? simulated / cpu : 0);
	if (run.until_caught)
		return failures != 0 ? 0 : 1;
	return failures != 0 ? 1 : 0;
}
