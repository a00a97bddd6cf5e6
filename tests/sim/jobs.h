/* Many seeds, in several processes: worlds share nothing, so neither do the processes. */
#ifndef MHA_SIM_JOBS_H
#define MHA_SIM_JOBS_H

#include "sim.h"

#define JOBS_MAX 64

struct run {
	const char *program;
	uint64_t first;
	uint64_t last;
	const char *topology; /* NULL: by seed */
	const char *mode;     /* NULL: by seed */
	const char *bug;
	const char *faults;
	const char *story;
	bool cuts_chosen;  /* options.cuts, not each of them */
	bool until_caught; /* by a checker of what must never happen, not by I4 */
	bool rows;
	unsigned jobs;
	double cpu_seconds; /* result */
	struct options options;
};

/* One world; prints what fails. Returns whether everything held (main.c). */
bool run_seed(struct run *run, uint64_t seed);

/* All of them into `totals`. Returns whether everything held. */
bool run_all(struct run *run);

#endif
