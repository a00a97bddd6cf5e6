/*
 * Lag as a time: where the primary was, second by second, so that a position tells when the primary
 * was there. Needs no clock of another host and nothing of the database. Pure.
 */
#ifndef MHA_GATEWAY_LAG_H
#define MHA_GATEWAY_LAG_H

#include <stdint.h>

#include "core/types.h"

#define LAG_POINTS 600

struct lag_track {
	uint64_t epoch; /* positions of another primary say nothing about this one's */
	unsigned first;
	unsigned count;
	struct {
		uint64_t ns;
		wal_lsn lsn;
	} points[LAG_POINTS]; /* ring, oldest first, both rising */
};

/* The primary of `epoch` has flushed up to `lsn`. Call it about once a second. */
void lag_add(struct lag_track *track, wal_lsn lsn, uint64_t epoch, uint64_t now_ns);
/*
 * Since when the primary has been beyond `at`, in milliseconds; 0: it is not. -1: not known. What
 * is behind by more than all that is kept is behind for at least so long.
 */
int64_t lag_ms(const struct lag_track *track, wal_lsn at, uint64_t now_ns);

#endif
