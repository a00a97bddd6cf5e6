/* What is drawn cell by cell: sparklines, bars, waterfalls. Pure. */
#ifndef MHA_TOP_PARTS_H
#define MHA_TOP_PARTS_H

#include "client.pb-c.h"
#include "top/lines.h"

enum top_phase {
	TOP_DETECT = 0, /* fault seen -> survey */
	TOP_FENCE,      /* planned only: clients fenced off, the old primary stops */
	TOP_SURVEY,
	TOP_PROMOTE,
	TOP_OPEN, /* the rest, until clients are let in */
	TOP_PHASE_COUNT
};

/* The phases of a decision in the order in which they pass; microseconds. Returns their sum. */
uint64_t phases_of(const Mha__Client__Decision *decision, uint64_t us[TOP_PHASE_COUNT]);
const char *phase_name(enum top_phase phase);

/*
 * How many of `width` cells each phase gets: to scale, in order, together exactly `width` unless
 * all are 0; whatever took time has a cell where there are enough of them.
 */
void waterfall_cells(const uint64_t us[TOP_PHASE_COUNT], unsigned width,
		     unsigned cells[TOP_PHASE_COUNT]);
void put_waterfall(const uint64_t us[TOP_PHASE_COUNT], unsigned width, bool ascii,
		   struct lines *lines);
/* The signs of put_waterfall() with their names. */
void put_waterfall_legend(bool ascii, struct lines *lines);

/* Level 0..7 of `value` where `most` is the highest; what is not known (negative) is -1. */
int spark_level(int64_t value, int64_t most);
/* The last `width` of `values`, oldest first. */
void put_spark(const int64_t *values, unsigned count, unsigned width, bool ascii,
	       struct lines *lines);

/* `part` of `whole` as full cells of `width`; the rest are dots. */
void put_bar(uint64_t part, uint64_t whole, unsigned width, bool ascii, struct lines *lines);

/* Where in a race of `width` cells a runner `lag` bytes behind stands, the last being `most`. */
unsigned race_cell(int64_t lag, int64_t most, unsigned width);
void put_race(int64_t lag, int64_t most, unsigned width, bool ascii, struct lines *lines);

#endif
