#include "wire/log_parts.h"

#include <inttypes.h>

#include "base/check.h"
#include "core/call.h"
#include "wire/ranges.h"

static void answer_to_message(const struct survey_answer *answer, Mha__Log__SurveyAnswer *out)
{
	mha__log__survey_answer__init(out);
	out->node = answer->node;
	out->db = answer->db;
	out->fault = answer->fault;
	out->excluded = answer->excluded;
	out->diverged = answer->diverged;
	out->priority = answer->priority;
	out->timeline = answer->timeline;
	out->flushed = answer->flushed;
	out->usable = answer->usable;
}

static int answer_from_message(const Mha__Log__SurveyAnswer *message, struct survey_answer *answer,
			       struct err *why)
{
	int rc;

	if ((rc = range_node(message->node, false, "answer.node", &answer->node, why)) < 0 ||
	    (rc = range_enum(message->db, 0, DB_STATE_COUNT, "answer.db", &answer->db, why)) < 0 ||
	    (rc = range_enum(message->fault, 0, FAULT_COUNT, "answer.fault", &answer->fault, why)) <
		    0)
		return rc;
	if (message->priority > UINT16_MAX)
		return err_set(why, ERR_INVALID, "answer.priority is %" PRIu32, message->priority);
	answer->priority = (uint16_t)message->priority;
	answer->excluded = message->excluded;
	answer->diverged = message->diverged;
	answer->timeline = message->timeline;
	answer->flushed = message->flushed;
	answer->usable = message->usable;
	return 0;
}

void decision_to_message(const struct decision *decision, struct decision_message *out)
{
	Mha__Log__Decision *to = &out->decision;

	CHECK(decision->answer_count <= NODES_MAX);
	mha__log__decision__init(to);
	to->epoch = decision->epoch;
	to->cause = decision->cause;
	to->fault = decision->fault;
	to->hold = decision->hold;
	to->from = decision->from;
	to->to = decision->to;
	to->missing = decision->missing;
	to->missing_count = decision->missing_count;
	to->loss_accepted = decision->loss_accepted;
	to->operation = decision->operation;
	to->seen = decision->seen;
	to->at_risk = decision->at_risk;
	to->at_risk_ms = decision->at_risk_ms;
	to->usable = decision->usable;
	to->at_ms = decision->at_ms;
	rule_to_message(decision->before, &out->before);
	rule_to_message(decision->after, &out->after);
	to->before = &out->before;
	to->after = &out->after;
	to->detect_us = decision->detect_us;
	to->survey_us = decision->survey_us;
	to->fence_us = decision->fence_us;
	to->promote_us = decision->promote_us;
	to->open_us = decision->open_us;
	to->n_answers = decision->answer_count;
	to->answers = out->answer_list;
	for (unsigned i = 0; i < decision->answer_count; i++) {
		answer_to_message(&decision->answers[i], &out->answers[i]);
		out->answer_list[i] = &out->answers[i];
	}
}

static int decision_ranges(const Mha__Log__Decision *message, struct decision *decision,
			   struct err *why)
{
	int rc;

	if ((rc = range_enum(message->cause, 0, CAUSE_COUNT, "cause", &decision->cause, why)) < 0 ||
	    (rc = range_enum(message->fault, 0, FAULT_COUNT, "fault", &decision->fault, why)) < 0 ||
	    (rc = range_enum(message->hold, 0, HOLD_COUNT, "hold", &decision->hold, why)) < 0 ||
	    (rc = range_node(message->from, true, "from", &decision->from, why)) < 0 ||
	    (rc = range_node(message->to, true, "to", &decision->to, why)) < 0 ||
	    (rc = range_set(message->missing, "missing", &decision->missing, why)) < 0 ||
	    (rc = range_enum(message->missing_count, 0, NODES_MAX + 1, "missing_count",
			     &decision->missing_count, why)) < 0 ||
	    (rc = rule_from_message(message->before, "before", &decision->before, why)) < 0 ||
	    (rc = rule_from_message(message->after, "after", &decision->after, why)) < 0 ||
	    (rc = range_count(message->n_answers, NODES_MAX, "answers", why)) < 0)
		return rc;
	for (size_t i = 0; i < message->n_answers; i++) {
		rc = answer_from_message(message->answers[i], &decision->answers[i], why);
		if (rc < 0)
			return rc;
	}
	decision->answer_count = (uint8_t)message->n_answers;
	return 0;
}

int decision_from_message(const Mha__Log__Decision *message, struct decision *decision,
			  struct err *why)
{
	int rc;

	if (message == NULL)
		return err_set(why, ERR_INVALID, "the decision is missing");
	rc = decision_ranges(message, decision, why);
	if (rc < 0)
		return err_in(why, rc, "decision");
	decision->epoch = message->epoch;
	decision->loss_accepted = message->loss_accepted;
	decision->operation = message->operation;
	decision->seen = message->seen;
	decision->at_risk = message->at_risk;
	decision->at_risk_ms = message->at_risk_ms;
	decision->usable = message->usable;
	decision->at_ms = message->at_ms;
	decision->detect_us = message->detect_us;
	decision->survey_us = message->survey_us;
	decision->fence_us = message->fence_us;
	decision->promote_us = message->promote_us;
	decision->open_us = message->open_us;
	return 0;
}

void settings_to_message(const struct settings *settings, Mha__Log__Settings *out)
{
	mha__log__settings__init(out);
	out->mode = settings->mode;
	out->pinned = settings->pinned;
	out->quorum_sync = settings->quorum_sync;
	out->auto_failover = settings->auto_failover;
	out->auto_primary_switch = settings->auto_primary_switch;
	out->paused = settings->paused;
	out->pause_until_ms = settings->pause_until_ms;
	out->maintenance = settings->maintenance;
	out->reinit = settings->reinit;
	out->failover_budget = settings->failover_budget;
	out->max_lag_bytes = settings->max_lag_bytes;
	out->max_lag_ms = settings->max_lag_ms;
	out->degrade_ms = settings->degrade_ms;
	out->switch_back_ms = settings->switch_back_ms;
}

int settings_from_message(const Mha__Log__Settings *message, struct settings *settings,
			  struct err *why)
{
	int rc;

	if (message == NULL)
		return err_set(why, ERR_INVALID, "the settings are missing");
	if ((rc = range_enum(message->mode, MODE_MAX_PROTECTION, MODE_COUNT, "mode",
			     &settings->mode, why)) < 0 ||
	    (rc = range_enum(message->quorum_sync, 0, NODES_MAX, "quorum_sync",
			     &settings->quorum_sync, why)) < 0 ||
	    (rc = range_set(message->maintenance, "maintenance", &settings->maintenance, why)) <
		    0 ||
	    (rc = range_set(message->reinit, "reinit", &settings->reinit, why)) < 0 ||
	    (rc = range_enum(message->failover_budget, 0, DECISIONS_MAX, "failover_budget",
			     &settings->failover_budget, why)) < 0)
		return err_in(why, rc, "settings");
	settings->pinned = message->pinned;
	settings->auto_failover = message->auto_failover;
	settings->auto_primary_switch = message->auto_primary_switch;
	settings->paused = message->paused;
	settings->pause_until_ms = message->pause_until_ms;
	settings->max_lag_bytes = message->max_lag_bytes;
	settings->max_lag_ms = message->max_lag_ms;
	settings->degrade_ms = message->degrade_ms;
	settings->switch_back_ms = message->switch_back_ms;
	return 0;
}

void operation_to_message(const struct operation *operation, Mha__Log__Operation *out)
{
	mha__log__operation__init(out);
	out->id = operation->id;
	out->kind = operation->kind;
	out->state = operation->state;
	out->automatic = operation->automatic;
	out->reason = operation->reason;
	out->from = operation->from;
	out->to = operation->to;
	out->epoch = operation->epoch;
	out->asked_ms = operation->asked_ms;
	out->start_ms = operation->start_ms;
	out->end_ms = operation->end_ms;
	out->begun_ms = operation->begun_ms;
	out->ended_ms = operation->ended_ms;
}

int operation_from_message(const Mha__Log__Operation *message, struct operation *operation,
			   struct err *why)
{
	int rc;

	if (message == NULL)
		return err_set(why, ERR_INVALID, "the operation is missing");
	if ((rc = range_enum(message->kind, OPERATION_NONE + 1, OPERATION_KIND_COUNT, "kind",
			     &operation->kind, why)) < 0 ||
	    (rc = range_enum(message->state, OPERATION_SCHEDULED, OPERATION_STATE_COUNT, "state",
			     &operation->state, why)) < 0 ||
	    (rc = range_enum(message->reason, 0, BLOCK_KIND_COUNT, "reason", &operation->reason,
			     why)) < 0 ||
	    (rc = range_node(message->from, true, "from", &operation->from, why)) < 0 ||
	    (rc = range_node(message->to, true, "to", &operation->to, why)) < 0)
		return err_in(why, rc, "operation");
	operation->id = message->id;
	operation->automatic = message->automatic;
	operation->epoch = message->epoch;
	operation->asked_ms = message->asked_ms;
	operation->start_ms = message->start_ms;
	operation->end_ms = message->end_ms;
	operation->begun_ms = message->begun_ms;
	operation->ended_ms = message->ended_ms;
	return 0;
}
