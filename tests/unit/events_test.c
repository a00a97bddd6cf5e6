/* Events of the consensus worker: what an entry changed is told once, with its values. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "bus.pb-c.h"
#include "events.h"

#define SENT_MAX 32

/* Stands in for the bus: keeps what was sent. */
static struct {
	unsigned count;
	char names[SENT_MAX][48];
	json_t *fields[SENT_MAX];
} sent;

int bus_send(struct bus *bus, enum route_id route, const ProtobufCMessage *message, struct err *why)
{
	const Mha__Bus__Event *event = (const Mha__Bus__Event *)message;

	(void)bus;
	(void)why;
	cr_assert_eq(route, ROUTE_EVENT);
	cr_assert_lt(sent.count, SENT_MAX);
	snprintf(sent.names[sent.count], sizeof(sent.names[0]), "%s", event->name);
	sent.fields[sent.count] = json_loads(event->json, 0, NULL);
	cr_assert_not_null(sent.fields[sent.count], "%s", event->json);
	sent.count++;
	return 0;
}

static void forget(void)
{
	for (unsigned i = 0; i < sent.count; i++)
		json_decref(sent.fields[i]);
	sent.count = 0;
}

static const json_t *fields_of(const char *name)
{
	for (unsigned i = 0; i < sent.count; i++) {
		if (strcmp(sent.names[i], name) == 0)
			return sent.fields[i];
	}
	return NULL;
}

static const char *text_of(const char *event, const char *key)
{
	const char *text = json_string_value(json_object_get(fields_of(event), key));

	return text != NULL ? text : "";
}

static json_int_t number_of(const char *event, const char *key)
{
	return json_integer_value(json_object_get(fields_of(event), key));
}

struct world {
	struct events events;
	struct cluster cluster;
	uint64_t index;
};

/* Three data nodes, one of them a primary in sync, known to the events. */
static struct world *world_new(void)
{
	struct world *world = calloc(1, sizeof(*world));
	struct cluster *cluster = &world->cluster;

	cr_assert_not_null(world);
	cluster->version = 5;
	cluster->cluster_id = 1;
	cluster->node_total = 3;
	for (unsigned i = 0; i < 3; i++) {
		cluster->nodes[i] = (struct node){(node_id)(i + 1), NODE_DATA, 100, "", 0};
		snprintf(cluster->nodes[i].name, NODE_NAME_SIZE, "n%u", i + 1);
	}
	cluster->epoch = 2;
	cluster->primary = 1;
	cluster->opened = true;
	cluster->record = (struct sync_rule){node_bit(2) | node_bit(3), 1};
	cluster->settings = settings_default(3);
	world->index = 10;
	events_init(&world->events, NULL, 0);
	events_state(&world->events, cluster);
	return world;
}

static void world_free(struct world *world)
{
	events_fini(&world->events);
	free(world);
	forget();
}

/* The entry has changed the cluster to what it is now. */
static void applied(struct world *world, struct entry entry)
{
	forget();
	entry.base_version = world->cluster.version++;
	entry.epoch = world->cluster.epoch;
	events_applied(&world->events, ++world->index, &entry, &world->cluster, 77);
}

Test(events, settings_tell_what_changed_and_from_what)
{
	struct world *world = world_new();
	const json_t *changes, *first;

	world->cluster.settings.mode = MODE_MAX_AVAILABILITY;
	world->cluster.settings.maintenance = node_bit(3);
	applied(world, (struct entry){.kind = ENTRY_SETTINGS, .settings = world->cluster.settings});
	changes = json_object_get(fields_of("settings.changed"), "changes");
	cr_assert_eq(json_array_size(changes), 2);
	first = json_array_get(changes, 0);
	cr_expect_str_eq(json_string_value(json_object_get(first, "field")), "mode");
	cr_expect_str_eq(json_string_value(json_object_get(first, "old")), "max_protection");
	cr_expect_str_eq(json_string_value(json_object_get(first, "new")), "max_availability");
	cr_expect_eq(json_array_size(json_object_get(json_array_get(changes, 1), "new")), 1);
	/* Nothing changed: nothing is told. */
	applied(world, (struct entry){.kind = ENTRY_SETTINGS, .settings = world->cluster.settings});
	cr_expect_null(fields_of("settings.changed"));
	world_free(world);
}

Test(events, degraded_and_restored_once_each_with_their_lsn)
{
	struct world *world = world_new();
	struct entry entry = {.kind = ENTRY_RECORD};

	entry.record.lsn = 0x5000060;
	world->cluster.record = entry.record.record = (struct sync_rule){0};
	applied(world, entry);
	cr_expect_not_null(fields_of("record.changed"));
	cr_expect_str_eq(text_of("record.degraded", "lsn"), "0/5000060");
	cr_expect_eq(number_of("record.degraded", "wanted"), 1);
	cr_expect(world->events.state.degraded);
	entry.record.lsn = 0x5000070;
	applied(world, entry);
	cr_expect_null(fields_of("record.degraded"), "it has been told");
	entry.record.lsn = 0x6000000;
	world->cluster.record = entry.record.record = (struct sync_rule){node_bit(2), 1};
	applied(world, entry);
	cr_expect_str_eq(text_of("record.restored", "lsn"), "0/6000000");
	cr_expect_not(world->events.state.degraded);
	world_free(world);
}

Test(events, operations_are_told_by_their_state_and_counted)
{
	struct world *world = world_new();
	struct operation *operation = &world->cluster.operations[0];

	world->cluster.operation_count = 1;
	*operation = (struct operation){.id = 6,
					.kind = OPERATION_SWITCHOVER,
					.state = OPERATION_RUNNING,
					.from = 1,
					.to = 2};
	applied(world, (struct entry){.kind = ENTRY_OPERATION, .operation = *operation});
	cr_expect_str_eq(text_of("operation.running", "to"), "n2");
	/* It ends by another kind of entry. */
	operation->state = OPERATION_ROLLED_BACK;
	operation->reason = BLOCK_DEADLINE;
	applied(world, (struct entry){.kind = ENTRY_SETTLE});
	cr_expect_str_eq(text_of("operation.rolled_back", "reason"), "deadline");
	cr_expect_eq(number_of("operation.rolled_back", "id"), 6);
	applied(world, (struct entry){.kind = ENTRY_SETTLE});
	cr_expect_null(fields_of("operation.rolled_back"));
	cr_expect_eq(world->events.counts.operations[OPERATION_RUNNING], 1);
	cr_expect_eq(world->events.counts.operations[OPERATION_ROLLED_BACK], 1);
	world_free(world);
}

Test(events, a_hold_names_its_reason_and_whom_it_misses)
{
	struct world *world = world_new();
	struct entry entry = {.kind = ENTRY_HELD,
			      .held = {.epoch = 2,
				       .cause = CAUSE_NODE_LOST,
				       .fault = FAULT_DISK_ERROR,
				       .hold = HOLD_ANSWERS,
				       .from = 1,
				       .missing = node_bit(1),
				       .missing_count = 1,
				       .at_risk = LOSS_NOT_BOUNDED}};

	applied(world, entry);
	cr_expect_str_eq(text_of("failover.held", "reason"), "answers_missing");
	cr_expect_str_eq(text_of("failover.held", "fault"), "disk_error");
	cr_expect_eq(json_array_size(json_object_get(fields_of("failover.held"), "missing")), 1);
	cr_expect(json_is_null(json_object_get(fields_of("failover.held"), "at_risk_bytes")));
	cr_expect_eq(world->events.counts.holds, 1);
	world_free(world);
}

Test(events, a_divergence_is_told_with_its_bytes)
{
	struct world *world = world_new();
	struct entry entry = {.kind = ENTRY_REBUILD};

	entry.rebuild.node = 3;
	entry.rebuild.timeline = 4;
	entry.rebuild.fork = 0x3000000;
	entry.rebuild.end = 0x3000100;
	applied(world, entry);
	cr_expect_not_null(fields_of("rebuild.started"));
	cr_expect_str_eq(text_of("rejoin.diverged", "node"), "n3");
	cr_expect_str_eq(text_of("rejoin.diverged", "fork"), "0/3000000");
	cr_expect_eq(number_of("rejoin.diverged", "bytes"), 0x100);
	entry.rebuild.end = 0;
	applied(world, entry);
	cr_expect_null(fields_of("rejoin.diverged"));
	world_free(world);
}

Test(events, a_fault_is_told_when_it_changes)
{
	struct world *world = world_new();

	events_fault(&world->events, "n1", FAULT_NONE, NULL, 1);
	cr_expect_eq(sent.count, 0);
	events_fault(&world->events, "n1", FAULT_DISK_FULL, "no space left", 1);
	events_fault(&world->events, "n1", FAULT_DISK_FULL, "no space left, still", 1);
	cr_expect_eq(sent.count, 1);
	cr_expect_str_eq(text_of("database.fault", "fault"), "disk_full");
	cr_expect_str_eq(text_of("database.fault", "detail"), "no space left");
	cr_expect_str_neq(text_of("database.fault", "advice"), "");
	events_fault(&world->events, "n1", FAULT_NONE, NULL, 1);
	cr_expect_eq(sent.count, 2);
	world_free(world);
}

Test(events, what_an_earlier_process_told_is_not_told_again)
{
	struct world *world = world_new();

	world->events.told_index = world->index + 1;
	world->cluster.settings.paused = true;
	applied(world, (struct entry){.kind = ENTRY_SETTINGS, .settings = world->cluster.settings});
	cr_expect_eq(sent.count, 0);
	world->cluster.settings.paused = false;
	applied(world, (struct entry){.kind = ENTRY_SETTINGS, .settings = world->cluster.settings});
	cr_expect_not_null(fields_of("settings.changed"));
	/* Behind a snapshot the state before is not known: nothing is made up. */
	world->cluster.version += 5;
	world->cluster.settings.paused = true;
	applied(world, (struct entry){.kind = ENTRY_SETTINGS, .settings = world->cluster.settings});
	cr_expect_null(fields_of("settings.changed"));
	world_free(world);
}
