#include "trace/spans.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "top/parts.h"
#include "trace/otlp.h"

#define MS_NS UINT64_C(1000000)
#define US_NS UINT64_C(1000)

/* An act in the making. */
struct build {
	const struct spans_input *input;
	struct act act;
	const Mha__Client__Operation *operation; /* NULL: a failover */
	char trace[TRACE_ID_SIZE];
	char root[SPAN_ID_SIZE];
	uint64_t start_ns, end_ns; /* of the root */
	struct otlp spans;
};

/* -- the record ---------------------------------------------------------------------------------
 */

static const Mha__Client__Operation *operation_of(const Mha__Client__History *history, uint64_t id)
{
	for (size_t i = 0; i < history->n_operations && id != 0; i++) {
		if (history->operations[i]->id == id)
			return history->operations[i];
	}
	return NULL;
}

static bool promoted(const Mha__Client__Decision *decision)
{
	return decision->hold[0] == '\0' && decision->to[0] != '\0';
}

static bool opened(const Mha__Client__Decision *decision)
{
	return promoted(decision) && decision->open_us != 0;
}

static bool belongs(const Mha__Client__Decision *decision, struct act act)
{
	if (!promoted(decision))
		return false;
	if (act.operation != 0)
		return decision->operation == act.operation;
	return decision->operation == 0 && decision->epoch == act.epoch && opened(decision);
}

static const Mha__Client__Decision *last_decision(const Mha__Client__History *history,
						  struct act act)
{
	for (size_t i = history->n_decisions; i > 0; i--) {
		if (belongs(history->decisions[i - 1], act))
			return history->decisions[i - 1];
	}
	return NULL;
}

static bool operation_over(const Mha__Client__Operation *operation)
{
	return strcmp(operation->state, "scheduled") != 0 &&
	       strcmp(operation->state, "running") != 0;
}

bool spans_recorded(const Mha__Client__History *history, struct act act)
{
	const Mha__Client__Operation *operation = operation_of(history, act.operation);

	if (act.operation != 0)
		return operation != NULL && operation_over(operation);
	return last_decision(history, act) != NULL;
}

/* Start and end of a decision's outage: what was measured, laid end to end around the decision. */
static void outage_bounds(const Mha__Client__Decision *decision, uint64_t *start, uint64_t *end)
{
	uint64_t us[TOP_PHASE_COUNT];
	const uint64_t all = phases_of(decision, us) * US_NS;
	const uint64_t before = (us[TOP_DETECT] + us[TOP_FENCE] + us[TOP_SURVEY]) * US_NS;
	const uint64_t at = decision->at_ms * MS_NS;

	*start = at > before ? at - before : 0;
	*end = *start + all;
}

static void act_bounds(const Mha__Client__History *history, struct act act, uint64_t *start,
		       uint64_t *end)
{
	const Mha__Client__Operation *operation = operation_of(history, act.operation);

	*start = UINT64_MAX;
	*end = 0;
	if (operation != NULL) {
		*start = (operation->begun_ms ? operation->begun_ms : operation->asked_ms) * MS_NS;
		*end = operation->ended_ms * MS_NS;
	}
	for (size_t i = 0; i < history->n_decisions; i++) {
		uint64_t from, to;

		if (!belongs(history->decisions[i], act))
			continue;
		outage_bounds(history->decisions[i], &from, &to);
		*start = from < *start ? from : *start;
		*end = to > *end ? to : *end;
	}
	/* The clocks of two nodes need not agree. */
	if (*end < *start)
		*end = *start;
}

uint64_t spans_ended_ms(const Mha__Client__History *history, struct act act)
{
	uint64_t start, end;

	act_bounds(history, act, &start, &end);
	return end / MS_NS;
}

unsigned spans_acts(const Mha__Client__History *history, struct act *acts, unsigned max)
{
	unsigned count = 0;

	for (size_t i = 0; i < history->n_operations && count < max; i++) {
		acts[count] = (struct act){.operation = history->operations[i]->id};
		count += spans_recorded(history, acts[count]);
	}
	for (size_t i = 0; i < history->n_decisions && count < max; i++) {
		acts[count] = (struct act){.epoch = history->decisions[i]->epoch};
		count += spans_recorded(history, acts[count]);
	}
	for (unsigned i = 1; i < count; i++) {
		const struct act moved = acts[i];
		unsigned at = i;

		for (; at > 0 &&
		       spans_ended_ms(history, acts[at - 1]) > spans_ended_ms(history, moved);
		     at--)
			acts[at] = acts[at - 1];
		acts[at] = moved;
	}
	return count;
}

/* -- events -------------------------------------------------------------------------------------
 */

static uint64_t field_number(const Mha__Client__Event *event, const char *key)
{
	json_t *fields = json_loads(event->json, 0, NULL);
	const json_int_t value = json_integer_value(json_object_get(fields, key));

	json_decref(fields);
	return value > 0 ? (uint64_t)value : 0;
}

static bool operation_event(const Mha__Client__Event *event, uint64_t id)
{
	return strncmp(event->name, "operation.", 10) == 0 && field_number(event, "id") == id;
}

bool spans_end(const Mha__Client__Event *event, struct act *act)
{
	memset(act, 0, sizeof(*act));
	if (strcmp(event->name, "failover.opened") == 0) {
		act->epoch = field_number(event, "epoch");
		return act->epoch != 0;
	}
	if (strncmp(event->name, "operation.", 10) != 0 ||
	    strcmp(event->name, "operation.scheduled") == 0 ||
	    strcmp(event->name, "operation.running") == 0)
		return false;
	act->operation = field_number(event, "id");
	return act->operation != 0;
}

/* The act's first and last event of this agent; false: it has not told of the end. */
static bool window(const struct build *build, unsigned *first, unsigned *last)
{
	const struct spans_input *input = build->input;
	bool began = false, ended = false;
	struct act act;

	for (unsigned i = 0; i < input->event_count; i++) {
		const Mha__Client__Event *event = input->events[i];

		if (!began && (build->act.operation != 0
				       ? operation_event(event, build->act.operation) &&
						 strcmp(event->name, "operation.scheduled") != 0
				       : event->wall_ms >= build->start_ns / MS_NS)) {
			*first = i;
			began = true;
		}
		if (spans_end(event, &act) && act.operation == build->act.operation &&
		    act.epoch == build->act.epoch) {
			*last = i;
			ended = true;
		}
	}
	return began && ended && *first <= *last;
}

/* -- ids ----------------------------------------------------------------------------------------
 */

static void hash_hex(const char *text, size_t bytes, char *hex)
{
	unsigned char hash[32];

	/* 16 bytes is the least that the function gives; of those a span's id takes 8. */
	(void)crypto_generichash(hash, sizeof(hash), (const unsigned char *)text, strlen(text),
				 NULL, 0);
	/* All zero means "no id" to OpenTelemetry. */
	if (sodium_is_zero(hash, bytes))
		hash[0] = 1;
	(void)sodium_bin2hex(hex, 2 * bytes + 1, hash, bytes);
}

void spans_trace_id(const struct spans_input *input, struct act act, char id[TRACE_ID_SIZE])
{
	char text[256];

	snprintf(text, sizeof(text), "mha4rdb trace 1|%s|%" PRIu64 "|%s|%" PRIu64, input->cluster,
		 input->system_id, act.operation != 0 ? "operation" : "epoch",
		 act.operation != 0 ? act.operation : act.epoch);
	hash_hex(text, 16, id);
}

void spans_span_id(const char *trace, const char *what, const char *node, uint64_t number,
		   char id[SPAN_ID_SIZE])
{
	char text[256];

	snprintf(text, sizeof(text), "mha4rdb span 1|%s|%s|%s|%" PRIu64, trace, what,
		 node != NULL ? node : "", number);
	hash_hex(text, 8, id);
}

/* -- spans of the record ------------------------------------------------------------------------
 */

static const char *server_at_end(const struct build *build)
{
	const Mha__Client__Decision *decision;

	if (build->operation != NULL && strcmp(build->operation->kind, "restart_standby") == 0)
		return build->operation->to;
	decision = last_decision(build->input->history, build->act);
	return decision != NULL ? decision->to : build->operation->from;
}

static void decision_attributes(json_t *span, const Mha__Client__Decision *decision)
{
	otlp_number(span, "mha.epoch", (int64_t)decision->epoch);
	otlp_text(span, "mha.cause", decision->cause);
	otlp_text(span, "mha.from", decision->from);
	otlp_text(span, "mha.to", decision->to);
}

static void answer_event(json_t *span, const Mha__Client__Decision__Answer *answer, uint64_t at)
{
	char lsn[TEXT_LSN_SIZE];
	json_t *event = otlp_event(span, "answer", at);

	otlp_text(event, "mha.node", answer->node);
	otlp_text(event, "mha.db", answer->db);
	otlp_text(event, "mha.flushed", text_format_lsn(answer->flushed, lsn));
	otlp_text(event, "mha.usable", text_format_lsn(answer->usable, lsn));
	otlp_flag(event, "mha.excluded", answer->excluded);
	otlp_flag(event, "mha.diverged", answer->diverged);
}

static void add_phases(struct build *build, const Mha__Client__Decision *decision, uint64_t start,
		       const char *parent)
{
	uint64_t us[TOP_PHASE_COUNT];

	(void)phases_of(decision, us);
	for (unsigned i = 0; i < TOP_PHASE_COUNT; i++) {
		char id[SPAN_ID_SIZE];
		const uint64_t end = start + us[i] * US_NS;
		json_t *span;

		if (us[i] == 0)
			continue;
		spans_span_id(build->trace, phase_name(i), NULL, decision->epoch, id);
		span = otlp_span(&build->spans, build->trace, id, parent, phase_name(i), start,
				 end);
		otlp_number(span, "mha.epoch", (int64_t)decision->epoch);
		if (i == TOP_FENCE)
			otlp_text(span, "mha.node", decision->from);
		if (i == TOP_PROMOTE || i == TOP_OPEN)
			otlp_text(span, "mha.node", decision->to);
		for (size_t k = 0; i == TOP_SURVEY && k < decision->n_answers; k++)
			answer_event(span, decision->answers[k], end);
		otlp_status(span, true, NULL);
		start = end;
	}
}

static void add_outage(struct build *build, const Mha__Client__Decision *decision)
{
	char id[SPAN_ID_SIZE];
	uint64_t start, end;
	json_t *span;

	outage_bounds(decision, &start, &end);
	spans_span_id(build->trace, "outage", NULL, decision->epoch, id);
	span = otlp_span(&build->spans, build->trace, id, build->root, "outage", start, end);
	decision_attributes(span, decision);
	otlp_flag(span, "mha.opened", opened(decision));
	if (!opened(decision))
		otlp_status(span, false, "the node that was chosen did not open");
	else
		otlp_status(span, true, NULL);
	add_phases(build, decision, start, id);
}

static void add_root(struct build *build)
{
	const Mha__Client__Operation *operation = build->operation;
	const Mha__Client__Decision *decision = last_decision(build->input->history, build->act);
	const char *name = operation != NULL                           ? operation->kind
			   : strcmp(decision->cause, "bootstrap") == 0 ? "bootstrap"
								       : "failover";
	json_t *span = otlp_span(&build->spans, build->trace, build->root, NULL, name,
				 build->start_ns, build->end_ns);
	bool good = true;

	otlp_text(span, "mha.cluster", build->input->cluster);
	if (decision != NULL) {
		otlp_number(span, "mha.epoch", (int64_t)decision->epoch);
		otlp_text(span, "mha.cause", decision->cause);
	}
	if (operation != NULL) {
		otlp_number(span, "mha.operation", (int64_t)operation->id);
		otlp_text(span, "mha.state", operation->state);
		otlp_flag(span, "mha.automatic", operation->automatic);
		otlp_text(span, "mha.from", operation->from);
		otlp_text(span, "mha.to", operation->to);
		otlp_text(span, "mha.reason", operation->reason);
		good = strcmp(operation->state, "done") == 0;
	} else {
		otlp_text(span, "mha.from", decision->from);
		otlp_text(span, "mha.to", decision->to);
	}
	if (!good)
		otlp_status(span, false,
			    operation->reason_text[0] != '\0' ? operation->reason_text
							      : operation->state);
	else
		otlp_status(span, true, NULL);
}

static void add_record(struct build *build)
{
	const Mha__Client__History *history = build->input->history;

	add_root(build);
	for (size_t i = 0; i < history->n_decisions; i++) {
		if (belongs(history->decisions[i], build->act))
			add_outage(build, history->decisions[i]);
	}
}

/* -- spans of this agent ------------------------------------------------------------------------
 */

/* By this node's clock, and within the act: what was heard later is cut off at its end. */
static uint64_t within(const struct build *build, uint64_t wall_ms)
{
	const uint64_t at = wall_ms * MS_NS;

	if (at < build->start_ns)
		return build->start_ns;
	return at > build->end_ns ? build->end_ns : at;
}

/* Whatever a field says in one word or number. */
static void event_attributes(json_t *event, const char *json)
{
	json_t *fields = json_loads(json, 0, NULL);
	const char *key;
	json_t *value;

	json_object_foreach(fields, key, value)
	{
		char name[80];

		if (snprintf(name, sizeof(name), "mha.%s", key) >= (int)sizeof(name))
			continue;
		if (json_is_string(value))
			otlp_text(event, name, json_string_value(value));
		else if (json_is_integer(value))
			otlp_number(event, name, json_integer_value(value));
		else if (json_is_boolean(value))
			otlp_flag(event, name, json_boolean_value(value));
	}
	json_decref(fields);
}

static const char *part_of(const struct build *build)
{
	const Mha__Client__Decision *decision = last_decision(build->input->history, build->act);
	const char *node = build->input->node;
	const char *from = decision != NULL ? decision->from : build->operation->from;
	const char *to = decision != NULL ? decision->to : build->operation->to;

	if (strcmp(node, from) == 0)
		return strcmp(from, to) == 0 ? "restarted" : "old primary";
	return strcmp(node, to) == 0 ? "new primary" : "bystander";
}

/* "survey" of "survey/safe", the rule that ends that phase; false: the rule ends any phase. */
static bool phase_ended(const char *rule, char phase[32])
{
	const size_t length = strcspn(rule, "/");

	if (length == 0 || length >= 32 || (length == 3 && memcmp(rule, "any", 3) == 0))
		return false;
	memcpy(phase, rule, length);
	phase[length] = '\0';
	return true;
}

struct rule {
	const Mha__Client__Event *event;
	char name[64];
	char why[256];
};

static bool rule_of(const Mha__Client__Event *event, struct rule *rule)
{
	json_t *fields =
		strcmp(event->name, "agent.rule") == 0 ? json_loads(event->json, 0, NULL) : NULL;
	const char *name = json_string_value(json_object_get(fields, "rule"));
	const char *why = json_string_value(json_object_get(fields, "why"));

	rule->event = event;
	snprintf(rule->name, sizeof(rule->name), "%s", name != NULL ? name : "");
	snprintf(rule->why, sizeof(rule->why), "%s", why != NULL ? why : "");
	json_decref(fields);
	return name != NULL;
}

/* Each rule of the agent's table enters a phase, and the next one ends it. */
static void add_agent_phase(struct build *build, const char *parent, const struct rule *rule,
			    const struct rule *next, unsigned number)
{
	char phase[32], id[SPAN_ID_SIZE];
	const char *name = phase_ended(next->name, phase) ? phase : rule->name;
	json_t *span;

	spans_span_id(build->trace, "agent", build->input->node, number, id);
	span = otlp_span(&build->spans, build->trace, id, parent, name,
			 within(build, rule->event->wall_ms), within(build, next->event->wall_ms));
	otlp_text(span, "mha.node", build->input->node);
	otlp_text(span, "mha.rule", rule->name);
	otlp_text(span, "mha.why", rule->why);
	otlp_text(span, "mha.ended_by", next->name);
	otlp_status(span, true, NULL);
}

static void add_member(struct build *build)
{
	const struct spans_input *input = build->input;
	unsigned first = 0, last = 0, rules = 0;
	struct rule rule = {0}, next;
	char id[SPAN_ID_SIZE];
	uint64_t end_ms;
	json_t *span;

	if (!window(build, &first, &last))
		return;
	end_ms = input->events[last]->wall_ms;
	spans_span_id(build->trace, "member", input->node, 0, id);
	span = otlp_span(&build->spans, build->trace, id, build->root, "member",
			 within(build, input->events[first]->wall_ms), within(build, end_ms));
	otlp_text(span, "mha.node", input->node);
	otlp_text(span, "mha.part", part_of(build));
	/* The end of an act reaches a node after it was reached; more than a moment is news. */
	if (end_ms > build->end_ns / MS_NS)
		otlp_number(span, "mha.late_ms", (int64_t)(end_ms - build->end_ns / MS_NS));
	for (unsigned i = first; i <= last; i++) {
		const Mha__Client__Event *seen = input->events[i];
		json_t *event = otlp_event(span, seen->name, seen->wall_ms * MS_NS);

		event_attributes(event, seen->json);
		if (!rule_of(seen, &next))
			continue;
		if (rules++ > 0)
			add_agent_phase(build, id, &rule, &next, rules);
		rule = next;
	}
	otlp_status(span, true, NULL);
}

json_t *spans_build(const struct spans_input *input, struct act act, unsigned *count)
{
	struct build build = {.input = input, .act = act};

	*count = 0;
	build.operation = operation_of(input->history, act.operation);
	act_bounds(input->history, act, &build.start_ns, &build.end_ns);
	spans_trace_id(input, act, build.trace);
	spans_span_id(build.trace, "act", NULL, 0, build.root);
	otlp_init(&build.spans);
	if (strcmp(server_at_end(&build), input->node) == 0)
		add_record(&build);
	add_member(&build);
	*count = build.spans.count;
	return otlp_request(&build.spans, input);
}
