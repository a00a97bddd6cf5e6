/*
 * A histogram of how long before the end of its lease a fence was shut: one observation per lease
 * that ended. Negative: after it. Fixed buckets, as many as fit a status section and a metric.
 */
#ifndef MHA_STATUS_MARGINS_H
#define MHA_STATUS_MARGINS_H

#include <stdint.h>

#define STATUS_MARGIN_BOUNDS 11

struct status_margins {
	/* Observations at or below each bound and above the one before; the last: above all. */
	uint64_t counts[STATUS_MARGIN_BOUNDS + 1];
	int64_t sum_us;
};

/* In microseconds, rising; `index` is below STATUS_MARGIN_BOUNDS. */
int64_t status_margin_bound_us(unsigned index);
void status_margin_add(struct status_margins *margins, int64_t margin_us);
/* Observations at or below bound `index`; with STATUS_MARGIN_BOUNDS: all of them. */
uint64_t status_margin_count(const struct status_margins *margins, unsigned index);

#endif
