#include "gateway/lag.h"

#include <string.h>

void lag_add(struct lag_track *track, wal_lsn lsn, uint64_t epoch, uint64_t now_ns)
{
	unsigned last = (track->first + track->count + LAG_POINTS - 1) % LAG_POINTS;

	if (track->count > 0 && (track->epoch != epoch || lsn < track->points[last].lsn ||
				 now_ns < track->points[last].ns))
		memset(track, 0, sizeof(*track));
	track->epoch = epoch;
	/* While it rests only the latest time at a position matters. */
	if (track->count > 0 && track->points[last].lsn == lsn) {
		track->points[last].ns = now_ns;
		return;
	}
	if (track->count == LAG_POINTS)
		track->first = (track->first + 1) % LAG_POINTS;
	else
		track->count++;
	last = (track->first + track->count - 1) % LAG_POINTS;
	track->points[last].lsn = lsn;
	track->points[last].ns = now_ns;
}

int64_t lag_ms(const struct lag_track *track, wal_lsn at, uint64_t now_ns)
{
	uint64_t since = now_ns;

	if (track->count == 0)
		return -1;
	for (unsigned i = track->count; i > 0; i--) {
		unsigned index = (track->first + i - 1) % LAG_POINTS;

		if (track->points[index].lsn <= at) {
			/* Beyond it since after this moment; at the newest: not at all. */
			if (i == track->count)
				return 0;
			since = track->points[index].ns;
			break;
		}
		since = track->points[index].ns;
	}
	return now_ns > since ? (int64_t)((now_ns - since) / 1000000) : 0;
}
