/*
 * The rule and the record (docs/protocol.md): what PostgreSQL enforces and what the log says,
 * and in which order one may change after the other so that the record is never stronger than
 * the truth.
 */
#ifndef MHA_CORE_SYNCSET_H
#define MHA_CORE_SYNCSET_H

#include "core/types.h"

/* No commit that `rule` acknowledges can make `record` false. */
bool sync_covers(struct sync_rule rule, struct sync_rule record);

bool sync_rule_equal(struct sync_rule a, struct sync_rule b);

/*
 * How many members of `record` must answer a survey so that at least one of them holds every
 * acknowledged commit: members - need + 1. 0 when the record is empty of promises that could
 * have been kept (need > members: nothing could be acknowledged).
 */
unsigned sync_answers_needed(struct sync_rule record);

/* The answers of `answered` are enough for `record`. */
bool sync_survey_enough(struct sync_rule record, node_set answered);

enum sync_step_kind {
	SYNC_DONE = 0,      /* rule and record are both the target */
	SYNC_SET_RULE,      /* put `rule` in force in the database and read it back */
	SYNC_WAIT_FLUSH,    /* wait until enough members have flushed past the rule's LSN */
	SYNC_COMMIT_RECORD, /* commit `rule` as the record */
};

struct sync_step {
	enum sync_step_kind kind;
	struct sync_rule rule;
};

/*
 * The next step from (`in_force`, `record`) to `target` for both. `rule_since` is the LSN at
 * which `in_force` was read back; `flushed[id]` is how far each node has flushed (0 = unknown).
 */
struct sync_step sync_next_step(struct sync_rule in_force, struct sync_rule record,
				struct sync_rule target, wal_lsn rule_since,
				const wal_lsn flushed[NODES_MAX + 1]);

#endif
