/* A histogram of durations: fixed buckets, as many as fit a status section and a metric. */
#ifndef MHA_STATUS_TIMES_H
#define MHA_STATUS_TIMES_H

#include <stdint.h>

#define STATUS_TIME_BOUNDS 16

struct status_times {
	/* Observations at or below each bound and above the one before; the last: above all. */
	uint64_t counts[STATUS_TIME_BOUNDS + 1];
	uint64_t sum_us;
};

/* In microseconds, rising; `index` is below STATUS_TIME_BOUNDS. */
uint64_t status_time_bound_us(unsigned index);
void status_time_add(struct status_times *times, uint64_t time_us);
/* Observations at or below bound `index`; with STATUS_TIME_BOUNDS: all of them. */
uint64_t status_time_count(const struct status_times *times, unsigned index);

#endif
