#include "core/candidate.h"

#include <stddef.h>

#include "core/syncset.h"

static bool counts(const struct cluster *cluster, const struct candidate *answer)
{
	return answer->match.known && (answer->db == DB_STANDBY || answer->db == DB_PRIMARY) &&
	       !node_in(cluster->rebuilding, answer->node);
}

/* It is the recorded primary and never stopped being one, nor was promoted by somebody else. */
static bool still_primary(const struct cluster *cluster, const struct candidate *candidate)
{
	return candidate->node == cluster->primary && candidate->db == DB_PRIMARY &&
	       (!cluster->opened || candidate->position.timeline == cluster->timeline);
}

static bool diverged(const struct cluster *cluster, const struct candidate *candidate)
{
	/* The timeline of a promotion that is not opened yet is in no lineage. */
	if (!cluster->opened && still_primary(cluster, candidate))
		return false;
	return candidate->match.diverged;
}

int candidate_compare(const struct cluster *cluster, const struct candidate *a,
		      const struct candidate *b)
{
	bool a_running = still_primary(cluster, a);
	bool b_running = still_primary(cluster, b);
	bool a_diverged = diverged(cluster, a);
	bool b_diverged = diverged(cluster, b);

	if (a->match.usable != b->match.usable)
		return a->match.usable > b->match.usable ? -1 : 1;
	if (a_running != b_running)
		return a_running ? -1 : 1;
	if (a_diverged != b_diverged)
		return b_diverged ? -1 : 1;
	if (a->damaged != b->damaged)
		return b->damaged ? -1 : 1;
	if (a->priority != b->priority)
		return a->priority > b->priority ? -1 : 1;
	return a->node < b->node ? -1 : a->node > b->node ? 1 : 0;
}

/* A human's promotion, or WAL that shares nothing with ours, disqualifies; so does priority 0. */
static bool eligible(const struct cluster *cluster, const struct candidate *candidate)
{
	if (candidate->excluded || candidate->priority == 0 || candidate->match.clash)
		return false;
	if (candidate->db == DB_PRIMARY && !still_primary(cluster, candidate))
		return false;
	/*
	 * Clients are not moved onto a damaged copy. The primary on record is the copy that they
	 * have: without it nobody would serve where nobody else can.
	 */
	if (candidate->damaged && candidate->node != cluster->primary)
		return false;
	return cluster->lineage_count == 0 || candidate->match.usable != 0;
}

static bool satisfied(struct sync_rule record, node_set primaries, node_set answered,
		      struct survey_result *result)
{
	unsigned have = node_count(record.members & answered);

	if (sync_survey_enough(record, answered) || (primaries & answered) != 0)
		return true;
	result->verdict = SURVEY_WAITING;
	if (record.need == 0) {
		result->missing = primaries;
		result->missing_count = 1;
	} else {
		result->missing = record.members & ~answered;
		result->missing_count = sync_answers_needed(record) - have;
	}
	return false;
}

/* The answers that count. */
struct survey {
	const struct candidate *counted[NODES_MAX];
	unsigned count;
	node_set answered;
	wal_lsn longest; /* the most usable WAL among them */
	wal_lsn owed;    /* who has so much has every commit that was promised to last */
};

/* How many of `nodes` answered with so much WAL or more. */
static unsigned having(const struct survey *survey, node_set nodes, wal_lsn end)
{
	unsigned count = 0;

	for (unsigned i = 0; i < survey->count; i++)
		count += node_in(nodes, survey->counted[i]->node) &&
			 survey->counted[i]->match.usable >= end;
	return count;
}

/* The furthest end that `number` of `nodes` have; 0: fewer answered. */
static wal_lsn held_by(const struct survey *survey, node_set nodes, unsigned number)
{
	wal_lsn furthest = 0;

	for (unsigned i = 0; i < survey->count; i++) {
		wal_lsn end = survey->counted[i]->match.usable;

		if (end > furthest && having(survey, nodes, end) >= number)
			furthest = end;
	}
	return furthest;
}

/*
 * No commit of the record lies beyond. `need` of its members have each one, so at least as many
 * of those that answered as remain when all others are taken to have it; and what a primary has
 * not got it never acknowledged.
 */
static wal_lsn owed(const struct survey *survey, struct sync_rule record, node_set primaries)
{
	unsigned away = node_count(record.members & ~survey->answered);
	wal_lsn end = survey->longest;

	if (record.need > away && record.need <= node_count(record.members))
		end = held_by(survey, record.members, record.need - away);
	for (unsigned i = 0; i < survey->count; i++)
		if (node_in(primaries, survey->counted[i]->node) &&
		    survey->counted[i]->match.usable < end)
			end = survey->counted[i]->match.usable;
	return end;
}

/* Every acknowledged commit is in at least one of the answers; how far they reach is `owed`. */
static bool enough(const struct cluster *cluster, struct survey *survey,
		   struct survey_result *result)
{
	node_set primary = cluster->primary == NODE_NONE ? 0 : node_bit(cluster->primary);
	bool unheard = (primary & survey->answered) == 0;
	bool free = cluster->settings.mode == MODE_MAX_PERFORMANCE && cluster->record.need == 0;
	unsigned earlier_count = cluster->settled ? 0 : cluster->earlier_count;

	if (!cluster->opened) {
		/*
		 * Nothing is acknowledged in an epoch before it is opened. Where no record says
		 * what was promised before, it may be all that anybody has.
		 */
		survey->owed = earlier_count > 0 ? 0 : survey->longest;
	} else if (free && unheard) {
		/*
		 * In max_performance nobody was promised more than the lag bound, which is not
		 * judged here, unless all that was shipped is promised: in a planned switch.
		 */
		survey->owed = cluster_switching(cluster) == NULL ? 0 : survey->longest;
	} else {
		if (!satisfied(cluster->record, primary, survey->answered, result))
			return false;
		survey->owed = owed(survey, cluster->record, primary);
	}
	/* The primary of a later epoch was chosen because it held all that is owed of this one. */
	for (unsigned i = 0; i < earlier_count; i++) {
		const struct earlier_record *row = &cluster->earlier[i];
		node_set either = primary;
		wal_lsn end;

		if (row->primary != NODE_NONE)
			either |= node_bit(row->primary);
		if (!satisfied(row->record, either, survey->answered, result))
			return false;
		end = owed(survey, row->record, either);
		if (end > survey->owed)
			survey->owed = end;
	}
	return true;
}

struct survey_result survey_evaluate(const struct cluster *cluster,
				     const struct candidate answers[], unsigned count)
{
	struct survey_result result = {.verdict = SURVEY_NO_CANDIDATE};
	const struct candidate *best = NULL;
	struct survey survey = {0};

	for (unsigned i = 0; i < count; i++) {
		const struct candidate *answer = &answers[i];

		if (!counts(cluster, answer))
			continue;
		survey.counted[survey.count++] = answer;
		survey.answered |= node_bit(answer->node);
		if (answer->match.usable > survey.longest)
			survey.longest = answer->match.usable;
		if (eligible(cluster, answer) &&
		    (best == NULL || candidate_compare(cluster, answer, best) < 0))
			best = answer;
	}
	if (!enough(cluster, &survey, &result))
		return result;
	if (best == NULL || best->match.usable < survey.owed) {
		for (unsigned i = 0; i < survey.count; i++)
			if (survey.counted[i]->match.usable >= survey.owed)
				result.missing |= node_bit(survey.counted[i]->node);
		return result;
	}
	result.verdict = SURVEY_SAFE;
	result.choice = best->node;
	result.resume = still_primary(cluster, best);
	return result;
}
