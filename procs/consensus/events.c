#include "events.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "bus.pb-c.h"

/* Stable names: clients subscribe to them. NULL: not worth telling. */
static const char *const ENTRY_EVENTS[ENTRY_KIND_COUNT] = {
	[ENTRY_INIT] = "cluster.created",     [ENTRY_ASSIGN] = "failover.assigned",
	[ENTRY_OPENED] = "failover.opened",   [ENTRY_SETTLE] = "failover.settled",
	[ENTRY_RECORD] = "record.changed",    [ENTRY_REBUILD] = "rebuild.started",
	[ENTRY_REBUILT] = "rebuild.finished",
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

static json_t *rule(const struct cluster *cluster, struct sync_rule value)
{
	json_t *names = json_array();

	for (node_id id = 1; id <= NODES_MAX; id++) {
		if (node_in(value.members, id))
			json_array_append_new(names, node_name(cluster, id));
	}
	return json_pack("{s:o, s:i}", "standbys", names, "need", (int)value.need);
}

static json_t *decision_fields(const struct cluster *cluster, const struct decision *decision)
{
	json_t *answers = json_array();

	for (unsigned i = 0; i < decision->answer_count && i < NODES_MAX; i++) {
		const struct survey_answer *answer = &decision->answers[i];

		json_array_append_new(answers, json_pack("{s:o, s:s, s:I, s:o, s:o}", "node",
							 node_name(cluster, answer->node), "db",
							 db_state_name(answer->db), "timeline",
							 (json_int_t)answer->timeline, "flushed",
							 lsn(answer->flushed), "usable",
							 lsn(answer->usable)));
	}
	return json_pack("{s:I, s:s, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:o}", "epoch",
			 (json_int_t)decision->epoch, "cause", assign_cause_name(decision->cause),
			 "from", node_name(cluster, decision->from), "to",
			 node_name(cluster, decision->to), "usable", lsn(decision->usable),
			 "record_before", rule(cluster, decision->before), "record_after",
			 rule(cluster, decision->after), "at_ms", (json_int_t)decision->at_ms,
			 "detect_us", (json_int_t)decision->detect_us, "survey_us",
			 (json_int_t)decision->survey_us, "answers", answers);
}

static json_t *opened_fields(const struct cluster *cluster, const struct entry *entry)
{
	return json_pack("{s:I, s:o, s:I, s:I, s:o, s:I}", "epoch", (json_int_t)entry->epoch,
			 "primary", node_name(cluster, cluster->primary), "timeline",
			 (json_int_t)entry->opened.timeline, "parent",
			 (json_int_t)entry->opened.parent, "fork", lsn(entry->opened.fork),
			 "open_us", (json_int_t)entry->opened.open_us);
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
		return json_pack("{s:I, s:o}", "epoch", epoch, "record",
				 rule(cluster, entry->record.record));
	case ENTRY_REBUILD:
	case ENTRY_REBUILT:
		return json_pack("{s:I, s:o}", "epoch", epoch, "node",
				 node_name(cluster, entry->rebuild.node));
	default:
		return json_pack("{s:I}", "epoch", epoch);
	}
}

void events_applied(struct events *events, uint64_t index, const struct entry *entry,
		    const struct cluster *cluster, uint64_t wall_ms)
{
	const char *name = entry->kind < ENTRY_KIND_COUNT ? ENTRY_EVENTS[entry->kind] : NULL;

	events->index = index;
	events->sub = 0;
	if (name == NULL || index <= events->told_index)
		return;
	event_add(events, index, 0, name, entry_fields(cluster, entry), wall_ms);
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
