#include "core/syncset.h"

bool sync_rule_equal(struct sync_rule a, struct sync_rule b)
{
	return a.members == b.members && a.need == b.need;
}

bool sync_covers(struct sync_rule rule, struct sync_rule record)
{
	unsigned outside = node_count(rule.members & ~record.members);

	return record.need == 0 || rule.need >= outside + record.need;
}

unsigned sync_answers_needed(struct sync_rule record)
{
	unsigned members = node_count(record.members);

	return record.need > members ? 0 : members - record.need + 1;
}

bool sync_survey_enough(struct sync_rule record, node_set answered)
{
	/* Nothing was promised: only the primary itself knows what it acknowledged. */
	if (record.need == 0)
		return false;
	return node_count(record.members & answered) >= sync_answers_needed(record);
}

/* At least target.need of its members have flushed past `since`. */
static bool flushed_past(struct sync_rule target, wal_lsn since,
			 const wal_lsn flushed[NODES_MAX + 1])
{
	unsigned count = 0;

	for (node_id id = 1; id <= NODES_MAX; id++)
		if (node_in(target.members, id) && flushed[id] != 0 && flushed[id] >= since)
			count++;
	return count >= target.need;
}

struct sync_step sync_next_step(struct sync_rule in_force, struct sync_rule record,
				struct sync_rule target, wal_lsn rule_since,
				const wal_lsn flushed[NODES_MAX + 1])
{
	struct sync_step step = {.kind = SYNC_DONE, .rule = target};

	if (sync_rule_equal(in_force, target)) {
		if (sync_rule_equal(record, target))
			return step;
		/* Whatever satisfied the record satisfies the target: nothing to wait for. */
		if (sync_covers(record, target) || flushed_past(target, rule_since, flushed))
			step.kind = SYNC_COMMIT_RECORD;
		else
			step.kind = SYNC_WAIT_FLUSH;
		return step;
	}
	if (sync_covers(target, record)) {
		step.kind = SYNC_SET_RULE;
		return step;
	}
	/* A record that both rules cover, weaker than the present one. */
	step.kind = SYNC_COMMIT_RECORD;
	step.rule.members = record.members | in_force.members | target.members;
	step.rule.need = record.need < in_force.need ? record.need : in_force.need;
	if (target.need < step.rule.need)
		step.rule.need = target.need;
	return step;
}
