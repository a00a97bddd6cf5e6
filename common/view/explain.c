#include "view/explain.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/macros.h"
#include "view/format.h"

const char *explain_nodes(const struct view *view, node_set nodes, char buffer[VIEW_SENTENCE])
{
	unsigned left = node_count(nodes);
	size_t used = 0;

	if (left == 0)
		return "nobody";
	for (node_id id = 1; id <= NODES_MAX && used < VIEW_SENTENCE - 1; id++) {
		if (!node_in(nodes, id))
			continue;
		left--;
		used += (size_t)snprintf(buffer + used, VIEW_SENTENCE - used, "%s%s",
					 view_name(view, id),
					 left > 1    ? ", "
					 : left == 1 ? " and "
						     : "");
	}
	return buffer;
}

static void say(struct explanation *out, const char *format, ...) PRINTF_LIKE(2, 3);

static void say(struct explanation *out, const char *format, ...)
{
	va_list args;

	if (out->count == EXPLAIN_SENTENCES)
		return;
	va_start(args, format);
	vsnprintf(out->sentences[out->count++], VIEW_SENTENCE, format, args);
	va_end(args);
}

/* After "because "; %s is the primary before. */
static void cause_text(uint8_t cause, const char *from, char text[VIEW_SENTENCE])
{
	switch (cause) {
	case CAUSE_BOOTSTRAP:
		snprintf(text, VIEW_SENTENCE,
			 "the cluster was created and needed its first primary");
		break;
	case CAUSE_NODE_LOST:
		snprintf(text, VIEW_SENTENCE, "the agent of %s was not heard any more", from);
		break;
	case CAUSE_DB_DOWN:
		snprintf(text, VIEW_SENTENCE, "the database of %s ended", from);
		break;
	case CAUSE_DB_HUNG:
		snprintf(text, VIEW_SENTENCE, "the database of %s did not answer", from);
		break;
	case CAUSE_COLD_START:
		snprintf(text, VIEW_SENTENCE,
			 "no database was a primary when a leader was elected");
		break;
	case CAUSE_RESUMED:
		snprintf(text, VIEW_SENTENCE,
			 "the same primary could go on after a survey, without a promotion");
		break;
	case CAUSE_LEADER_UNABLE:
		snprintf(text, VIEW_SENTENCE, "%s could not take or keep the leadership", from);
		break;
	case CAUSE_HANDOVER:
		snprintf(text, VIEW_SENTENCE, "the agent of %s was stopped and handed over", from);
		break;
	case CAUSE_SWITCHOVER:
		snprintf(text, VIEW_SENTENCE, "an operator asked for a switchover");
		break;
	case CAUSE_AUTO_SWITCH:
		snprintf(text, VIEW_SENTENCE,
			 "a node of higher priority had been well for long enough");
		break;
	case CAUSE_RESTART:
		snprintf(text, VIEW_SENTENCE, "an operator asked for a restart of %s", from);
		break;
	case CAUSE_OPERATOR:
		snprintf(text, VIEW_SENTENCE, "an operator ordered a failover");
		break;
	case CAUSE_STRAYED:
		snprintf(text, VIEW_SENTENCE, "%s was promoted behind its agent's back", from);
		break;
	default:
		snprintf(text, VIEW_SENTENCE, "of a cause that this program does not know");
		break;
	}
}

/* "24 MB", or that nobody knows. */
static const char *bytes_text(uint64_t bytes, char buffer[FORMAT_SIZE])
{
	if (bytes == LOSS_NOT_BOUNDED)
		return "an unknown amount";
	return format_bytes(bytes > INT64_MAX ? INT64_MAX : (int64_t)bytes, buffer);
}

static void hold_reason_text(const struct view *view, const struct decision *held, uint8_t hold,
			     char reason[VIEW_SENTENCE])
{
	const struct settings *settings = &view->from->consensus.cluster.settings;
	char nodes[VIEW_SENTENCE], some[FORMAT_SIZE], most[FORMAT_SIZE];

	switch (hold) {
	case HOLD_ANSWERS:
		snprintf(reason, VIEW_SENTENCE,
			 "answers are missing that may hold acknowledged commits: at least %u of "
			 "%.150s must answer first",
			 held->missing_count, explain_nodes(view, held->missing, nodes));
		break;
	case HOLD_NO_CANDIDATE:
		snprintf(reason, VIEW_SENTENCE,
			 "who holds all the data may not be primary (excluded, nofailover, in "
			 "maintenance, or something is wrong with its database)");
		break;
	case HOLD_AUTO_FAILOVER:
		snprintf(reason, VIEW_SENTENCE, "automatic failover is switched off");
		break;
	case HOLD_PAUSED:
		snprintf(reason, VIEW_SENTENCE, "the cluster is paused");
		break;
	case HOLD_BUDGET:
		snprintf(reason, VIEW_SENTENCE,
			 "the primary has changed unasked %u times within an hour, and no more is "
			 "allowed",
			 settings->failover_budget);
		break;
	case HOLD_LAG:
		snprintf(reason, VIEW_SENTENCE,
			 "%s would be lost, commits of up to %u ms; max_lag allows %s and %" PRIu32
			 " ms",
			 bytes_text(held->at_risk, some), held->at_risk_ms,
			 bytes_text(settings->max_lag_bytes, most), settings->max_lag_ms);
		break;
	case HOLD_LAG_UNKNOWN:
		snprintf(reason, VIEW_SENTENCE,
			 "the primary before was not heard to its end, so nobody knows what would "
			 "be "
			 "lost");
		break;
	default:
		snprintf(reason, VIEW_SENTENCE, "%s", hold_reason_name(hold));
		break;
	}
}

void explain_hold(const struct view *view, const struct decision *held, uint8_t hold,
		  char reason[VIEW_SENTENCE], char advice[VIEW_SENTENCE])
{
	const char *best = held->to != NODE_NONE ? view_name(view, held->to) : "NODE";
	char nodes[VIEW_SENTENCE];

	hold_reason_text(view, held, hold, reason);
	switch (hold) {
	case HOLD_ANSWERS:
		snprintf(advice, VIEW_SENTENCE,
			 "bring back %s %.100s (agent and database); or accept that commits are "
			 "lost: mhactl failover --to %s --accept-loss",
			 node_count(held->missing) == 1 ? "node" : "one of",
			 explain_nodes(view, held->missing, nodes), best);
		break;
	case HOLD_NO_CANDIDATE:
		snprintf(advice, VIEW_SENTENCE,
			 "see in `mhactl history` what excludes each node and end that "
			 "(`mhactl maintenance off NODE`, priority); or accept that commits are "
			 "lost: mhactl failover --to NODE --accept-loss");
		break;
	case HOLD_AUTO_FAILOVER:
		snprintf(advice, VIEW_SENTENCE,
			 "mhactl failover --to %s, or mhactl auto-failover on", best);
		break;
	case HOLD_PAUSED:
		snprintf(advice, VIEW_SENTENCE, "mhactl resume");
		break;
	case HOLD_BUDGET:
		snprintf(advice, VIEW_SENTENCE,
			 "see in `mhactl history` why primaries fail, mend that, then: "
			 "mhactl failover --to %s",
			 best);
		break;
	default:
		snprintf(advice, VIEW_SENTENCE,
			 "bring the primary before back; or accept that commits are lost: "
			 "mhactl failover --to %s --accept-loss",
			 best);
		break;
	}
}

static void say_outcome(const struct view *view, const struct decision *decision,
			struct explanation *out)
{
	const char *from = decision->from ? view_name(view, decision->from) : "nobody";
	char time[FORMAT_SIZE], why[VIEW_SENTENCE];
	const char *when = format_time(decision->at_ms, time);

	cause_text(decision->cause, from, why);
	if (decision->hold != HOLD_NONE)
		say(out, "At %s nobody was promoted in place of %s, although %.160s.", when, from,
		    why);
	else if (decision->from == decision->to)
		say(out, "At %s, epoch %" PRIu64 ": %s went on as primary because %.160s.", when,
		    decision->epoch, from, why);
	else if (decision->from == NODE_NONE)
		say(out, "At %s, epoch %" PRIu64 ": %s became primary because %.160s.", when,
		    decision->epoch, view_name(view, decision->to), why);
	else
		say(out,
		    "At %s, epoch %" PRIu64 ": %s became primary in place of %s because %.160s.",
		    when, decision->epoch, view_name(view, decision->to), from, why);
	if (decision->fault != FAULT_NONE && decision->from != NODE_NONE)
		say(out, "What was seen wrong with the database of %s: %s.", from,
		    db_fault_name(decision->fault));
	if (decision->operation != 0)
		say(out, "This carried out operation %" PRIu64 ".", decision->operation);
}

static void say_rule(const struct view *view, const struct decision *decision,
		     struct explanation *out)
{
	struct sync_rule before = decision->before;
	unsigned members = node_count(before.members);
	char nodes[VIEW_SENTENCE];

	if (decision->cause == CAUSE_BOOTSTRAP)
		return;
	if (before.need == 0)
		say(out,
		    "Nothing was promised on record, so only %s itself was sure to have every "
		    "acknowledged commit.",
		    decision->from ? view_name(view, decision->from) : "the primary");
	else
		say(out,
		    "Every acknowledged commit was on the primary and on %u of %.140s, so %u of "
		    "these had to answer, and a majority of all members.",
		    before.need, explain_nodes(view, before.members, nodes),
		    members >= before.need ? members - before.need + 1 : members);
}

/* One node's inputs, and what they meant. */
static void say_answer(const struct view *view, const struct decision *decision,
		       const struct survey_answer *answer, struct explanation *out)
{
	char flushed[FORMAT_SIZE], usable[FORMAT_SIZE];
	const bool chosen = answer->node == decision->to;

	say(out,
	    "%s: database %s, timeline %" PRIu32 ", flushed %s, usable %s, priority %u%s%s%s%s%s",
	    view_name(view, answer->node), db_state_name(answer->db), answer->timeline,
	    format_lsn(answer->flushed, flushed), format_lsn(answer->usable, usable),
	    answer->priority, answer->fault != FAULT_NONE ? ", fault " : "",
	    answer->fault != FAULT_NONE ? db_fault_name(answer->fault) : "",
	    answer->excluded ? ", excluded" : "",
	    answer->diverged ? ", with WAL of its own beyond that" : "",
	    !chosen                       ? "."
	    : decision->hold == HOLD_NONE ? ": chosen."
					  : ": it would have been chosen.");
}

static void say_silent(const struct view *view, const struct decision *decision,
		       struct explanation *out)
{
	node_set silent = 0;
	char nodes[VIEW_SENTENCE];

	for (unsigned i = 0; i < view->member_count; i++) {
		if (view->members[i].kind == NODE_DATA && view->members[i].listed)
			silent |= node_bit(view->members[i].id);
	}
	for (unsigned i = 0; i < decision->answer_count && i < NODES_MAX; i++) {
		if (decision->answers[i].node <= NODES_MAX)
			silent &= ~node_bit(decision->answers[i].node);
	}
	if (silent != 0 && decision->cause != CAUSE_BOOTSTRAP)
		say(out, "No position was heard of %.200s.", explain_nodes(view, silent, nodes));
}

static void say_loss(const struct decision *decision, struct explanation *out)
{
	const char *accepted = decision->loss_accepted ? ", which an operator accepted" : "";
	char bytes[FORMAT_SIZE], time[FORMAT_SIZE];

	if (decision->hold != HOLD_NONE || decision->cause == CAUSE_BOOTSTRAP)
		return;
	if (decision->at_risk == 0)
		say(out, "No acknowledged commit was lost.");
	else if (decision->at_risk == LOSS_NOT_BOUNDED)
		say(out, "Acknowledged commits may be lost, and nobody can say how many%s.",
		    accepted);
	else if (decision->at_risk_ms > 0)
		say(out, "At most %s of WAL and the commits of %s are lost%s.",
		    bytes_text(decision->at_risk, bytes),
		    format_duration(decision->at_risk_ms, time), accepted);
	else
		say(out, "At most %s of WAL are lost%s.", bytes_text(decision->at_risk, bytes),
		    accepted);
}

void explain_decision(const struct view *view, const struct decision *decision,
		      struct explanation *out)
{
	char reason[VIEW_SENTENCE], advice[VIEW_SENTENCE];

	out->count = 0;
	say_outcome(view, decision, out);
	if (decision->hold != HOLD_NONE) {
		explain_hold(view, decision, decision->hold, reason, advice);
		say(out, "The reason: %.300s.", reason);
	}
	say_rule(view, decision, out);
	for (unsigned i = 0; i < decision->answer_count && i < NODES_MAX; i++)
		say_answer(view, decision, &decision->answers[i], out);
	say_silent(view, decision, out);
	say_loss(decision, out);
	if (decision->hold != HOLD_NONE)
		say(out, "What could be done: %.300s.", advice);
}

const char *explain_blocker(const struct blocker *blocker, char buffer[VIEW_SENTENCE])
{
	char value[FORMAT_SIZE], limit[FORMAT_SIZE];

	switch (blocker->kind) {
	case BLOCK_LAG:
		snprintf(buffer, VIEW_SENTENCE, "%s behind, at most %s",
			 bytes_text(blocker->value, value), bytes_text(blocker->limit, limit));
		return buffer;
	case BLOCK_LOSS:
		snprintf(buffer, VIEW_SENTENCE, "at most %s", bytes_text(blocker->value, value));
		return blocker->value == LOSS_NOT_BOUNDED ? "nobody can say how many" : buffer;
	case BLOCK_NOT_STANDBY:
		snprintf(buffer, VIEW_SENTENCE, "it is %s",
			 db_state_name((unsigned)blocker->value));
		return buffer;
	case BLOCK_FAULT:
		snprintf(buffer, VIEW_SENTENCE, "%s: %s", db_fault_name((unsigned)blocker->value),
			 db_fault_advice((unsigned)blocker->value));
		return buffer;
	case BLOCK_OPERATION:
	case BLOCK_TOO_LATE:
		snprintf(buffer, VIEW_SENTENCE, "operation %" PRIu64, blocker->value);
		return buffer;
	case BLOCK_ANSWERS:
		snprintf(buffer, VIEW_SENTENCE, "%" PRIu64 " could, %" PRIu64 " are needed",
			 blocker->value, blocker->limit);
		return buffer;
	case BLOCK_QUORUM_RANGE:
		snprintf(buffer, VIEW_SENTENCE, "%" PRIu64 " asked for, at most %" PRIu64,
			 blocker->value, blocker->limit);
		return buffer;
	case BLOCK_COMMITS_WOULD_WAIT:
		snprintf(buffer, VIEW_SENTENCE, "%" PRIu64 " connected, %" PRIu64 " needed",
			 blocker->value, blocker->limit);
		return buffer;
	default:
		return "";
	}
}
