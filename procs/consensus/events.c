#include "events.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "bus.pb-c.h"

/*
 * Stable names: clients subscribe to them. NULL: told by what it changed (settings, operations), or
 * not worth telling.
 */
static const char *const ENTRY_EVENTS[ENTRY_KIND_COUNT] = {
	[ENTRY_INIT] = "cluster.created",     [ENTRY_ASSIGN] = "failover.assigned",
	[ENTRY_OPENED] = "failover.opened",   [ENTRY_SETTLE] = "failover.settled",
	[ENTRY_RECORD] = "record.changed",    [ENTRY_REBUILD] = "rebuild.started",
	[ENTRY_REBUILT] = "rebuild.finished", [ENTRY_HELD] = "failover.held",
	[ENTRY_MEMBER] = "member.changed",
};

void events_init(struct events *events, struct bus *bus, uint64_t told_index)
{
	memset(events, 0, sizeof(*events));
	events->bus = bus;
	events->told_index = told_index;
}

static void event_drop(struct event *event)
{
	free(event->json);
	event->json = NULL;
}

void events_fini(struct events *events)
{
	for (unsigned i = 0; i < EVENTS_KEPT; i++)
		event_drop(&events->kept[i]);
	events->count = 0;
}

static void event_send(struct events *events, const struct event *event)
{
	Mha__Bus__Event message;
	char name[sizeof(event->name)];
	struct err why = {0};
	int rc;

	mha__bus__event__init(&message);
	memcpy(name, event->name, sizeof(name));
	message.index = event->index;
	message.sub = event->sub;
	message.name = name;
	message.json = event->json;
	message.wall_ms = event->wall_ms;
	rc = bus_send(events->bus, ROUTE_EVENT, &message.base, &why);
	/* A gateway that is not there gets it when it comes up. */
	if (rc < 0 && rc != ERR_BUSY)
		log_event(LOG_WARNING, "event.lost", "name=%s %s", event->name, why.text);
}

/* Takes over `fields`. */
static void event_add(struct events *events, uint64_t index, uint32_t sub, const char *name,
		      json_t *fields, uint64_t wall_ms)
{
	char *json = fields == NULL ? NULL : json_dumps(fields, JSON_COMPACT);
	struct event *event;

	json_decref(fields);
	if (json == NULL) {
		log_event(LOG_WARNING, "event.lost", "name=%s out of memory", name);
		return;
	}
	if (events->count == EVENTS_KEPT) {
		event_drop(&events->kept[events->first]);
		events->first = (events->first + 1) % EVENTS_KEPT;
		events->count--;
	}
	event = &events->kept[(events->first + events->count++) % EVENTS_KEPT];
	*event = (struct event){.index = index, .sub = sub, .wall_ms = wall_ms, .json = json};
	snprintf(event->name, sizeof(event->name), "%s", name);
	event_send(events, event);
}

void events_repeat(struct events *events)
{
	for (unsigned i = 0; i < events->count; i++)
		event_send(events, &events->kept[(events->first + i) % EVENTS_KEPT]);
}

static json_t *node_name(const struct cluster *cluster, node_id id)
{
	const struct node *node = id == NODE_NONE ? NULL : cluster_node(cluster, id);

	return node == NULL ? json_null() : json_string(node->name);
}

static json_t *lsn(uint64_t value)
{
	char text[TEXT_LSN_SIZE];

	return json_string(text_format_lsn(value, text));
}

static json_t *node_names(const struct cluster *cluster, node_set set)
{
	json_t *names = json_array();

	for (node_id id = 1; id <= NODES_MAX; id++) {
		if (node_in(set, id))
			json_array_append_new(names, node_name(cluster, id));
	}
	return names;
}

static json_t *rule(const struct cluster *cluster, struct sync_rule value)
{
	return json_pack("{s:o, s:i}", "standbys", node_names(cluster, value.members), "need",
			 (int)value.need);
}

static json_t *answer_fields(const struct cluster *cluster, const struct survey_answer *answer)
{
	return json_pack("{s:o, s:s, s:s, s:b, s:b, s:i, s:I, s:o, s:o}", "node",
			 node_name(cluster, answer->node), "db", db_state_name(answer->db), "fault",
			 db_fault_name(answer->fault), "excluded", answer->excluded, "diverged",
			 answer->diverged, "priority", (int)answer->priority, "timeline",
			 (json_int_t)answer->timeline, "flushed", lsn(answer->flushed), "usable",
			 lsn(answer->usable));
}

static json_t *decision_fields(const struct cluster *cluster, const struct decision *decision)
{
	const bool bounded = decision->at_risk != LOSS_NOT_BOUNDED;
	json_t *answers = json_array();
	json_t *fields;

	for (unsigned i = 0; i < decision->answer_count && i < NODES_MAX; i++)
		json_array_append_new(answers, answer_fields(cluster, &decision->answers[i]));
	fields = json_pack(
		"{s:I, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:o}", "epoch",
		(json_int_t)decision->epoch, "cause", assign_cause_name(decision->cause), "fault",
		db_fault_name(decision->fault), "from", node_name(cluster, decision->from), "to",
		node_name(cluster, decision->to), "usable", lsn(decision->usable), "record_before",
		rule(cluster, decision->before), "record_after", rule(cluster, decision->after),
		"at_ms", (json_int_t)decision->at_ms, "detect_us", (json_int_t)decision->detect_us,
		"survey_us", (json_int_t)decision->survey_us, "answers", answers);
	if (fields == NULL)
		return NULL;
	json_object_set_new(fields, "at_risk_bytes",
			    bounded ? json_integer((json_int_t)decision->at_risk) : json_null());
	json_object_set_new(fields, "at_risk_ms", json_integer((json_int_t)decision->at_risk_ms));
	json_object_set_new(fields, "loss_accepted", json_boolean(decision->loss_accepted));
	json_object_set_new(fields, "operation", json_integer((json_int_t)decision->operation));
	if (decision->hold == HOLD_NONE)
		return fields;
	json_object_set_new(fields, "reason", json_string(hold_reason_name(decision->hold)));
	json_object_set_new(fields, "missing", node_names(cluster, decision->missing));
	json_object_set_new(fields, "missing_count", json_integer(decision->missing_count));
	return fields;
}

static json_t *opened_fields(const struct cluster *cluster, const struct entry *entry)
{
	return json_pack("{s:I, s:o, s:I, s:I, s:o, s:I, s:I}", "epoch", (json_int_t)entry->epoch,
			 "primary", node_name(cluster, cluster->primary), "timeline",
			 (json_int_t)entry->opened.timeline, "parent",
			 (json_int_t)entry->opened.parent, "fork", lsn(entry->opened.fork),
			 "promote_us", (json_int_t)entry->opened.promote_us, "open_us",
			 (json_int_t)entry->opened.open_us);
}

static json_t *members_fields(const struct entry *entry)
{
	json_t *names = json_array();

	for (unsigned i = 0; i < entry->init.node_total && i < NODES_MAX; i++)
		json_array_append_new(names, json_string(entry->init.nodes[i].name));
	return json_pack("{s:o}", "members", names);
}

static json_t *entry_fields(const struct cluster *cluster, const struct entry *entry)
{
	const json_int_t epoch = (json_int_t)entry->epoch;

	switch (entry->kind) {
	case ENTRY_INIT:
		return members_fields(entry);
	case ENTRY_ASSIGN:
		return decision_fields(cluster, &entry->assign.decision);
	case ENTRY_OPENED:
		return opened_fields(cluster, entry);
	case ENTRY_RECORD:
		return json_pack("{s:I, s:o, s:o}", "epoch", epoch, "record",
				 rule(cluster, entry->record.record), "lsn",
				 lsn(entry->record.lsn));
	case ENTRY_HELD:
		return decision_fields(cluster, &entry->held);
	case ENTRY_REBUILD:
	case ENTRY_REBUILT:
		return json_pack("{s:I, s:o}", "epoch", epoch, "node",
				 node_name(cluster, entry->rebuild.node));
	case ENTRY_MEMBER:
		return json_pack("{s:s, s:i, s:o}", "step", member_step_name(entry->member.step),
				 "id", entry->member.id, "node",
				 node_name(cluster, entry->member.id));
	default:
		return json_pack("{s:I}", "epoch", epoch);
	}
}

static void add_sub(struct events *events, const char *name, json_t *fields, uint64_t wall_ms)
{
	event_add(events, events->index, ++events->sub, name, fields, wall_ms);
}

static void change(json_t *changes, const char *field, json_t *from, json_t *to)
{
	if (json_equal(from, to)) {
		json_decref(from);
		json_decref(to);
		return;
	}
	json_array_append_new(changes,
			      json_pack("{s:s, s:o, s:o}", "field", field, "old", from, "new", to));
}

static json_t *number(uint64_t value)
{
	return json_integer((json_int_t)value);
}

static void tell_settings(struct events *events, const struct cluster *cluster, uint64_t wall_ms)
{
	const struct settings *old = &events->state.settings, *now = &cluster->settings;
	json_t *changes = json_array();

	change(changes, "mode", json_string(protection_mode_name(old->mode)),
	       json_string(protection_mode_name(now->mode)));
	change(changes, "pinned", json_boolean(old->pinned), json_boolean(now->pinned));
	change(changes, "quorum_sync", number(old->quorum_sync), number(now->quorum_sync));
	change(changes, "auto_failover", json_boolean(old->auto_failover),
	       json_boolean(now->auto_failover));
	change(changes, "auto_primary_switch", json_boolean(old->auto_primary_switch),
	       json_boolean(now->auto_primary_switch));
	change(changes, "paused", json_boolean(old->paused), json_boolean(now->paused));
	change(changes, "pause_until_ms", number(old->pause_until_ms), number(now->pause_until_ms));
	change(changes, "maintenance", node_names(cluster, old->maintenance),
	       node_names(cluster, now->maintenance));
	change(changes, "reinit", node_names(cluster, old->reinit),
	       node_names(cluster, now->reinit));
	change(changes, "failover_budget", number(old->failover_budget),
	       number(now->failover_budget));
	change(changes, "max_lag_bytes", number(old->max_lag_bytes), number(now->max_lag_bytes));
	change(changes, "max_lag_ms", number(old->max_lag_ms), number(now->max_lag_ms));
	change(changes, "degrade_ms", number(old->degrade_ms), number(now->degrade_ms));
	change(changes, "switch_back_ms", number(old->switch_back_ms), number(now->switch_back_ms));
	if (json_array_size(changes) == 0) {
		json_decref(changes);
		return;
	}
	add_sub(events, "settings.changed", json_pack("{s:o}", "changes", changes), wall_ms);
}

static const struct operation *newest(const struct cluster *cluster)
{
	return cluster->operation_count == 0 ? NULL
					     : &cluster->operations[cluster->operation_count - 1];
}

static void tell_operation(struct events *events, const struct cluster *cluster,
			   const struct operation *operation, uint64_t wall_ms)
{
	const bool failed = operation->reason != BLOCK_NONE;
	char name[sizeof(events->kept[0].name)];

	snprintf(name, sizeof(name), "operation.%s", operation_state_name(operation->state));
	add_sub(events, name,
		json_pack("{s:I, s:s, s:s, s:b, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:I}", "id",
			  (json_int_t)operation->id, "kind", operation_kind_name(operation->kind),
			  "state", operation_state_name(operation->state), "automatic",
			  operation->automatic, "reason",
			  failed ? json_string(blocker_name(operation->reason)) : json_null(),
			  "reason_text",
			  failed ? json_string(blocker_text(operation->reason)) : json_null(),
			  "from", node_name(cluster, operation->from), "to",
			  node_name(cluster, operation->to), "epoch", (json_int_t)operation->epoch,
			  "start_ms", (json_int_t)operation->start_ms, "end_ms",
			  (json_int_t)operation->end_ms, "ended_ms",
			  (json_int_t)operation->ended_ms),
		wall_ms);
}

static void tell_record(struct events *events, const struct cluster *cluster,
			const struct entry *entry, uint64_t wall_ms)
{
	add_sub(events, cluster_degraded(cluster) ? "record.degraded" : "record.restored",
		json_pack("{s:I, s:o, s:o, s:i}", "epoch", (json_int_t)cluster->epoch, "lsn",
			  lsn(cluster_record_lsn(cluster, entry)), "record",
			  rule(cluster, cluster->record), "wanted",
			  (int)cluster_sync_need(cluster)),
		wall_ms);
}

static void tell_diverged(struct events *events, const struct cluster *cluster,
			  const struct entry *entry, uint64_t wall_ms)
{
	const wal_lsn fork = entry->rebuild.fork, end = entry->rebuild.end;

	add_sub(events, "rejoin.diverged",
		json_pack("{s:o, s:I, s:o, s:o, s:I}", "node",
			  node_name(cluster, entry->rebuild.node), "timeline",
			  (json_int_t)entry->rebuild.timeline, "fork", lsn(fork), "end", lsn(end),
			  "bytes", (json_int_t)(end > fork ? end - fork : 0)),
		wall_ms);
}

/* Each decision counts once: when its primary is open, with all its times. */
static void count_phases(struct events *events, const struct cluster *cluster)
{
	struct status_times *phases = events->counts.phases;

	for (unsigned i = cluster->decision_count; i > 0 && i <= DECISIONS_MAX; i--) {
		const struct decision *decision = &cluster->decisions[i - 1];

		if (decision->epoch != cluster->epoch || decision->hold != HOLD_NONE)
			continue;
		status_time_add(&phases[STATUS_PHASE_DETECT], decision->detect_us);
		status_time_add(&phases[STATUS_PHASE_SURVEY], decision->survey_us);
		if (decision->fence_us != 0)
			status_time_add(&phases[STATUS_PHASE_FENCE], decision->fence_us);
		if (decision->promote_us != 0)
			status_time_add(&phases[STATUS_PHASE_PROMOTE], decision->promote_us);
		if (decision->open_us >= decision->promote_us)
			status_time_add(&phases[STATUS_PHASE_OPEN],
					decision->open_us - decision->promote_us);
		return;
	}
}

static void count(struct events *events, const struct entry *entry, const struct cluster *cluster)
{
	if (entry->kind == ENTRY_OPENED)
		count_phases(events, cluster);
	if (entry->kind == ENTRY_HELD)
		events->counts.holds++;
	if (entry->kind == ENTRY_ASSIGN && entry->assign.decision.cause < CAUSE_COUNT)
		events->counts.failovers[entry->assign.decision.cause]++;
}

static void remember(struct events *events, const struct cluster *cluster)
{
	struct events_state *state = &events->state;
	const struct operation *operation = newest(cluster);

	state->known = true;
	state->version = cluster->version;
	state->settings = cluster->settings;
	state->operation = operation == NULL ? 0 : operation->id;
	state->operation_state = operation == NULL ? 0 : operation->state;
	state->degraded = cluster_degraded(cluster);
}

/* What the entry changed, beside what it says itself. */
static void tell_changes(struct events *events, const struct entry *entry,
			 const struct cluster *cluster, bool told, uint64_t wall_ms)
{
	struct events_state *state = &events->state;
	const struct operation *operation = newest(cluster);
	const bool degraded = cluster_degraded(cluster);

	if (told)
		return;
	if (entry->kind == ENTRY_REBUILD && entry->rebuild.end != 0)
		tell_diverged(events, cluster, entry, wall_ms);
	if (degraded != state->degraded)
		tell_record(events, cluster, entry, wall_ms);
	if (state->known && entry->kind != ENTRY_INIT)
		tell_settings(events, cluster, wall_ms);
	if (operation != NULL &&
	    (operation->id != state->operation || operation->state != state->operation_state)) {
		if (operation->state < OPERATION_STATE_COUNT)
			events->counts.operations[operation->state]++;
		tell_operation(events, cluster, operation, wall_ms);
	}
}

void events_applied(struct events *events, uint64_t index, const struct entry *entry,
		    const struct cluster *cluster, uint64_t wall_ms)
{
	const char *name = entry->kind < ENTRY_KIND_COUNT ? ENTRY_EVENTS[entry->kind] : NULL;
	const bool told = index <= events->told_index;

	events->index = index;
	events->sub = 0;
	/* A snapshot came between: what changed in it is not told. */
	if (events->state.known && events->state.version + 1 != cluster->version)
		events->state.known = false;
	if (!told) {
		count(events, entry, cluster);
		if (name != NULL)
			event_add(events, index, 0, name, entry_fields(cluster, entry), wall_ms);
	}
	if (events->state.known || entry->kind == ENTRY_INIT)
		tell_changes(events, entry, cluster, told, wall_ms);
	remember(events, cluster);
}

void events_state(struct events *events, const struct cluster *cluster)
{
	if (!events->state.known || events->state.version != cluster->version)
		remember(events, cluster);
}

void events_fault(struct events *events, const char *node, uint8_t fault, const char *detail,
		  uint64_t wall_ms)
{
	json_t *text;

	if (fault == events->fault)
		return;
	events->fault = fault;
	text = detail == NULL || detail[0] == '\0' ? NULL : json_string(detail);
	log_event(fault == FAULT_NONE ? LOG_NOTICE : LOG_WARNING, "database.fault", "fault=%s %s",
		  db_fault_name(fault),
		  fault == FAULT_NONE ? "it is well again" : db_fault_advice(fault));
	event_add(events, events->index, ++events->sub, "database.fault",
		  json_pack("{s:s, s:s, s:s, s:o}", "member", node, "fault", db_fault_name(fault),
			    "advice", db_fault_advice(fault), "detail",
			    text == NULL ? json_null() : text),
		  wall_ms);
}

void events_rejoined(struct events *events, const char *node, const char *order, const char *text,
		     uint64_t wall_ms)
{
	json_t *told = json_string(text);

	event_add(events, events->index, ++events->sub, "rejoin.done",
		  json_pack("{s:s, s:s, s:o}", "member", node, "by", order, "text",
			    told == NULL ? json_null() : told),
		  wall_ms);
}

void events_note(struct events *events, const char *rule_name, const char *why, uint64_t epoch,
		 uint64_t term, uint64_t wall_ms)
{
	event_add(events, events->index, ++events->sub, "agent.rule",
		  json_pack("{s:s, s:s, s:I, s:I}", "rule", rule_name, "why", why, "epoch",
			    (json_int_t)epoch, "term", (json_int_t)term),
		  wall_ms);
}

void events_failed(struct events *events, const char *reason, uint64_t wall_ms)
{
	event_add(events, events->index, ++events->sub, "consensus.failed",
		  json_pack("{s:s%}", "reason", reason, strlen(reason)), wall_ms);
}
