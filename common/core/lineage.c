#include "core/lineage.h"

#include <stddef.h>

/* One timeline of the lineage, from where it forked to where the next one did. */
struct segment {
	uint32_t timeline;
	uint32_t parent;
	wal_lsn begin;
	wal_lsn end;
};

static const struct lineage_row *row_of(const struct cluster *cluster, uint32_t timeline)
{
	for (unsigned i = cluster->lineage_count; i-- > 0;)
		if (cluster->lineage[i].timeline == timeline)
			return &cluster->lineage[i];
	return NULL;
}

/*
 * The lineage, newest timeline first. Parents lead back from the newest row, so a timeline that
 * a later primary did not build on drops out. Returns the number of segments.
 */
static unsigned lineage_path(const struct cluster *cluster, struct segment path[LINEAGE_MAX + 1])
{
	const struct lineage_row *row = row_of(cluster, cluster->timeline);
	wal_lsn end = UINT64_MAX;
	unsigned count = 0;

	while (row != NULL && count < LINEAGE_MAX) {
		path[count++] = (struct segment){row->timeline, row->parent, row->fork, end};
		end = row->fork;
		if (row->parent >= row->timeline)
			return count;
		const struct lineage_row *parent = row_of(cluster, row->parent);

		if (parent == NULL)
			path[count++] = (struct segment){row->parent, 0, 0, end};
		row = parent;
	}
	return count;
}

/*
 * The node came to `path`'s timeline another way than the lineage did. Timelines that were never
 * opened may lie between; a history that does not reach back to the parent proves nothing.
 */
static bool came_elsewhere(const struct segment *segment, const struct wal_branch branches[],
			   unsigned count)
{
	if (segment->parent == 0 || count == 0)
		return false;
	for (unsigned i = count; i-- > 0;)
		if (branches[i].timeline == segment->parent)
			return branches[i].end != segment->begin;
	return branches[0].timeline < segment->parent;
}

struct wal_branch lineage_fork(const struct cluster *cluster, const struct wal_position *position)
{
	struct segment path[LINEAGE_MAX + 1];
	unsigned path_count = lineage_path(cluster, path);

	if (position->branch_count == 0)
		return (struct wal_branch){0};
	for (unsigned i = position->branch_count; i-- > 0;)
		for (unsigned j = 0; j < path_count; j++)
			if (path[j].timeline == position->branches[i].timeline)
				return position->branches[i];
	return position->branches[position->branch_count - 1];
}

struct lineage_match lineage_compare(const struct cluster *cluster,
				     const struct wal_position *position)
{
	struct lineage_match match = {0};
	struct segment path[LINEAGE_MAX + 1];
	unsigned path_count = lineage_path(cluster, path);
	uint32_t timeline = position->timeline;
	wal_lsn end = position->flushed;

	if (timeline == 0)
		return match;
	match.known = true;
	if (path_count == 0) {
		match.usable = end;
		return match;
	}
	/* From the node's newest branch back to the newest one that is also in the lineage. */
	for (unsigned i = position->branch_count + 1; i-- > 0;) {
		const struct wal_branch *before = i > 0 ? &position->branches[i - 1] : NULL;

		for (unsigned j = 0; j < path_count; j++) {
			if (path[j].timeline != timeline)
				continue;
			if (came_elsewhere(&path[j], position->branches, i)) {
				match.clash = true;
				continue;
			}
			match.usable = end < path[j].end ? end : path[j].end;
			match.diverged = position->flushed > match.usable ||
					 (timeline != position->timeline);
			return match;
		}
		if (before != NULL) {
			timeline = before->timeline;
			end = before->end;
		}
	}
	match.diverged = true;
	return match;
}

bool lineage_lost(const struct cluster *cluster, struct wal_branch needed)
{
	const struct wal_position position = {.timeline = needed.timeline, .flushed = needed.end};

	return needed.timeline <= cluster->timeline && lineage_compare(cluster, &position).diverged;
}
