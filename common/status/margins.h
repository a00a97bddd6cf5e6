/*
 * Histograms with fixed buckets, as many as fit a status section and a metric. Margins: how long
 * before the end of its lease a fence was shut, one observation per lease that ended; negative:
 * after it. Periods: from one renewal of an open fence to the next.
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
/* The same for periods, which have bounds of their own. */
int64_t status_period_bound_us(unsigned index);
void status_period_add(struct status_margins *periods, int64_t period_us);
/* Observations at or below bound `index`; with STATUS_MARGIN_BOUNDS: all of them. */
uint64_t status_margin_count(const struct status_margins *margins, unsigned index);

#endif
