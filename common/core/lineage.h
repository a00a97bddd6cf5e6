/*
 * The recorded lineage: which WAL is the cluster's, timeline by timeline. "Highest timeline
 * wins" is wrong (docs/protocol.md, Lineage); a node's usable position is the end of the common
 * prefix of its own WAL and the lineage.
 */
#ifndef MHA_CORE_LINEAGE_H
#define MHA_CORE_LINEAGE_H

#include "core/cluster.h"

struct lineage_match {
	bool known;     /* the position could be compared */
	wal_lsn usable; /* end of the common prefix */
	bool diverged;  /* the node has WAL beyond `usable` */
	bool clash;     /* it has a recorded timeline number with another history */
};

/* Compare a node's position with the lineage of the opened epochs. */
struct lineage_match lineage_compare(const struct cluster *cluster,
				     const struct wal_position *position);

/*
 * Not all of the WAL of `needed.timeline` up to `needed.end` is in the lineage: nobody has it to
 * give. False for timeline 0, and for one that this lineage does not reach yet.
 */
bool lineage_lost(const struct cluster *cluster, struct wal_branch needed);

/*
 * Where the timeline of `position` left the lineage of the opened epochs: the newest branch on a
 * timeline of it, else the newest branch at all. Timelines after that were never opened and are
 * nobody else's. The timeline is 0 when the position has no branches.
 */
struct wal_branch lineage_fork(const struct cluster *cluster, const struct wal_position *position);

#endif
