#include "jobs.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"

/* So many seeds are one piece of work; what a piece found is sent in one message. */
#define PIECE 64

struct job {
	pid_t pid;
	int orders;  /* to it: the first seed of the next piece */
	int results; /* from it: totals of a piece */
	uint64_t first;
};

static double seconds_now(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double cpu_of(int who)
{
	struct rusage usage;

	(void)getrusage(who, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void totals_add(const struct totals *more)
{
	/* Counters only, all of one type. */
	const uint64_t *from = (const uint64_t *)(const void *)more;
	uint64_t *to = (uint64_t *)(void *)&totals;

	_Static_assert(sizeof(struct totals) % sizeof(uint64_t) == 0, "counters only");
	for (size_t i = 0; i < sizeof(totals) / sizeof(*to); i++)
		to[i] += from[i];
}

/* A pipe carries it whole or its other end is gone. */
static bool transfer(int fd, void *bytes, size_t size, bool out)
{
	char *at = bytes;

	while (size > 0) {
		const ssize_t done = out ? write(fd, at, size) : read(fd, at, size);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return false;
		at += done;
		size -= (size_t)done;
	}
	return true;
}

static uint64_t piece_end(const struct run *run, uint64_t first)
{
	return run->last - first < PIECE ? run->last : first + PIECE - 1;
}

static void work(struct run *run, int orders, int results)
{
	uint64_t first;

	while (transfer(orders, &first, sizeof(first), false)) {
		memset(&totals, 0, sizeof(totals));
		for (uint64_t seed = first; seed <= piece_end(run, first); seed++)
			(void)run_seed(run, seed);
		if (!transfer(results, &totals, sizeof(totals), true))
			break;
	}
	exit(0);
}

/* `job` is one of `all`, whose pipes are none of the new process's business. */
static void job_start(struct run *run, struct job all[], struct job *job)
{
	int orders[2];
	int results[2];

	CHECK(pipe(orders) == 0 && pipe(results) == 0);
	fflush(stdout);
	job->pid = fork();
	CHECK(job->pid >= 0);
	if (job->pid == 0) {
		close(orders[1]);
		close(results[0]);
		for (unsigned i = 0; i < run->jobs; i++)
			if (all[i].pid != 0) {
				close(all[i].orders);
				close(all[i].results);
			}
		work(run, orders[0], results[1]);
	}
	close(orders[0]);
	close(results[1]);
	job->orders = orders[1];
	job->results = results[0];
	job->first = 0;
}

static void job_end(struct job *job)
{
	int status;

	close(job->orders);
	close(job->results);
	(void)waitpid(job->pid, &status, 0);
	job->pid = 0;
}

static void progress(const struct run *run, uint64_t done, double began)
{
	const uint64_t all = run->last - run->first + 1;
	const double spent = seconds_now() - began;
	const double rate = spent > 0 ? (double)done / spent : 0;

	printf("%5.1f %%  %lu of %lu seeds, %lu failed, %.1f simulated hours, %.0f seeds/s, %.0f s "
	       "to go\n",
	       100.0 * (double)done / (double)all, (unsigned long)done, (unsigned long)all,
	       (unsigned long)totals.failed, (double)totals.milliseconds / 3.6e6, rate,
	       rate > 0 ? (double)(all - done) / rate : 0);
}

/* Gives the job its next piece; none left: ends it. */
static void give(const struct run *run, struct job *job, uint64_t *next)
{
	if (*next > run->last || *next < run->first) {
		job_end(job);
		return;
	}
	job->first = *next;
	*next = piece_end(run, *next) + 1;
	if (!transfer(job->orders, &job->first, sizeof(job->first), true))
		job->first = 0;
}

/* One has died: an assertion of ours, which is a finding; the rest of its piece is not run. */
static void died(struct run *run, struct job all[], struct job *job)
{
	printf("FAIL one of the seeds %lu..%lu ends the process\n", (unsigned long)job->first,
	       (unsigned long)piece_end(run, job->first));
	totals.failed++;
	job_end(job);
	job_start(run, all, job);
}

static void run_jobs(struct run *run)
{
	struct job jobs[JOBS_MAX] = {0};
	const double began = seconds_now();
	double told = began;
	uint64_t next = run->first;
	uint64_t done = 0;
	unsigned alive = run->jobs;

	for (unsigned i = 0; i < run->jobs; i++) {
		job_start(run, jobs, &jobs[i]);
		give(run, &jobs[i], &next);
	}
	while (alive > 0) {
		struct pollfd fds[JOBS_MAX];

		alive = 0;
		for (unsigned i = 0; i < run->jobs; i++) {
			fds[i] = (struct pollfd){.fd = jobs[i].pid == 0 ? -1 : jobs[i].results,
						 .events = POLLIN};
			alive += jobs[i].pid != 0;
		}
		if (alive == 0 || poll(fds, run->jobs, 1000) < 0)
			continue;
		for (unsigned i = 0; i < run->jobs; i++) {
			struct totals piece;

			if (fds[i].fd < 0 || fds[i].revents == 0)
				continue;
			if (transfer(jobs[i].results, &piece, sizeof(piece), false))
				totals_add(&piece);
			else
				died(run, jobs, &jobs[i]);
			if (jobs[i].first != 0)
				done += piece_end(run, jobs[i].first) - jobs[i].first + 1;
			give(run, &jobs[i], &next);
		}
		if (seconds_now() - told >= 10) {
			told = seconds_now();
			progress(run, done, began);
		}
	}
	run->cpu_seconds = cpu_of(RUSAGE_CHILDREN);
}

bool run_all(struct run *run)
{
	if (run->jobs > 1) {
		run_jobs(run);
		return totals.failed == 0;
	}
	for (uint64_t seed = run->first; seed <= run->last; seed++)
		if (!run_seed(run, seed) && run->until_caught) {
			run->cpu_seconds = cpu_of(RUSAGE_SELF);
			return false;
		}
	run->cpu_seconds = cpu_of(RUSAGE_SELF);
	return run->until_caught || totals.failed == 0;
}
