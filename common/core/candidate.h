/* Which of the nodes that answered a survey becomes primary, and whether anyone may. */
#ifndef MHA_CORE_CANDIDATE_H
#define MHA_CORE_CANDIDATE_H

#include "core/cluster.h"
#include "core/lineage.h"

struct candidate {
	node_id node;
	uint8_t db; /* enum db_state */
	uint16_t priority;
	bool excluded; /* holds data and may be counted on, but must not be primary */
	bool damaged;  /* the same for its data pages' sake, unless it is the primary on record */
	struct wal_position position;
	struct lineage_match match;
};

enum survey_verdict {
	SURVEY_SAFE = 0,     /* `choice` holds every acknowledged commit */
	SURVEY_WAITING,      /* answers are missing; see `missing` and `missing_count` */
	SURVEY_NO_CANDIDATE, /* enough answers, but who has all that is owed may not be primary */
};

struct survey_result {
	enum survey_verdict verdict;
	node_id choice;
	bool resume; /* the choice is the recorded primary, still running: no promotion */
	/* Nodes of which at least `missing_count` more must answer; or who has what is owed. */
	node_set missing;
	unsigned missing_count;
};

/*
 * Negative when `a` is the better primary: more usable WAL, then still running as the recorded
 * primary, then no diverged tail, then no damaged page, then priority, then the lower id. Distinct
 * nodes never compare equal.
 */
int candidate_compare(const struct cluster *cluster, const struct candidate *a,
		      const struct candidate *b);

/*
 * The vote rule: do the `count` answers allow a promotion, and of whom? Answers without a known
 * position, and those of nodes that are being rebuilt, count for nothing. The choice has the
 * longest usable WAL of those that may be primary, and at least what is owed: nodes that may not
 * be may have more, of which nothing was acknowledged.
 */
struct survey_result survey_evaluate(const struct cluster *cluster,
				     const struct candidate answers[], unsigned count);

#endif
