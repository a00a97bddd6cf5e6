/* Entries of the replicated log and snapshots of the replicated state. */
#include <inttypes.h>
#include <string.h>

#include "base/check.h"
#include "base/text.h"
#include "wire/convert.h"
#include "wire/log_parts.h"
#include "wire/ranges.h"

struct nodes_message {
	Mha__Log__Node nodes[NODES_MAX];
	Mha__Log__Node *list[NODES_MAX];
	char names[NODES_MAX][NODE_NAME_SIZE];
};

static void nodes_to_message(const struct node *nodes, unsigned count, struct nodes_message *out)
{
	CHECK(count <= NODES_MAX);
	for (unsigned i = 0; i < count; i++) {
		mha__log__node__init(&out->nodes[i]);
		memcpy(out->names[i], nodes[i].name, NODE_NAME_SIZE);
		out->names[i][NODE_NAME_SIZE - 1] = '\0';
		out->nodes[i].id = nodes[i].id;
		out->nodes[i].kind = nodes[i].kind;
		out->nodes[i].priority = nodes[i].priority;
		out->nodes[i].identity = nodes[i].identity;
		out->nodes[i].name = out->names[i];
		out->list[i] = &out->nodes[i];
	}
}

static int nodes_from_message(Mha__Log__Node *const *list, size_t count, struct node *nodes,
			      uint8_t *total, struct err *why)
{
	int rc = range_count(count, NODES_MAX, "nodes", why);

	for (size_t i = 0; i < count && rc == 0; i++) {
		if ((rc = range_node(list[i]->id, false, "node.id", &nodes[i].id, why)) < 0 ||
		    (rc = range_enum(list[i]->kind, NODE_DATA, NODE_WITNESS + 1, "node.kind",
				     &nodes[i].kind, why)) < 0)
			break;
		if (list[i]->priority > UINT16_MAX)
			return err_set(why, ERR_INVALID, "node.priority is %" PRIu32,
				       list[i]->priority);
		nodes[i].priority = (uint16_t)list[i]->priority;
		nodes[i].identity = list[i]->identity;
		if (!text_copy(nodes[i].name, sizeof(nodes[i].name), list[i]->name))
			return err_set(why, ERR_TOO_BIG, "node.name is longer than %d",
				       NODE_NAME_SIZE - 1);
	}
	*total = (uint8_t)count;
	return rc;
}

/* The body of one entry; only the member of its kind is used. */
struct entry_message {
	Mha__Log__Entry entry;
	Mha__Log__Init init;
	struct nodes_message nodes;
	Mha__Log__Assign assign;
	Mha__Bus__SyncRule rule;
	struct decision_message decision;
	Mha__Log__Opened opened;
	Mha__Log__Record record;
	Mha__Log__Rebuild rebuild;
	Mha__Log__Settings settings;
	Mha__Log__Operation operation;
	Mha__Log__Member member;
};

static void assign_to_message(const struct entry *entry, struct entry_message *out)
{
	mha__log__assign__init(&out->assign);
	out->assign.node = entry->assign.node;
	out->assign.resume = entry->assign.resume;
	out->assign.accept_loss = entry->assign.accept_loss;
	rule_to_message(entry->assign.record, &out->rule);
	out->assign.record = &out->rule;
	decision_to_message(&entry->assign.decision, &out->decision);
	out->assign.decision = &out->decision.decision;
	out->entry.body_case = MHA__LOG__ENTRY__BODY_ASSIGN;
	out->entry.assign = &out->assign;
}

static void opened_to_message(const struct entry *entry, struct entry_message *out)
{
	mha__log__opened__init(&out->opened);
	out->opened.timeline = entry->opened.timeline;
	out->opened.parent = entry->opened.parent;
	out->opened.fork = entry->opened.fork;
	out->opened.system_id = entry->opened.system_id;
	out->opened.promote_us = entry->opened.promote_us;
	out->opened.open_us = entry->opened.open_us;
	out->entry.body_case = MHA__LOG__ENTRY__BODY_OPENED;
	out->entry.opened = &out->opened;
}

static void init_to_message(const struct entry *entry, struct entry_message *out)
{
	mha__log__init__init(&out->init);
	out->init.cluster_id = entry->init.cluster_id;
	nodes_to_message(entry->init.nodes, entry->init.node_total, &out->nodes);
	out->init.n_nodes = entry->init.node_total;
	out->init.nodes = out->nodes.list;
	settings_to_message(&entry->init.settings, &out->settings);
	out->init.settings = &out->settings;
	out->entry.body_case = MHA__LOG__ENTRY__BODY_INIT;
	out->entry.init = &out->init;
}

static void record_to_message(const struct entry *entry, struct entry_message *out)
{
	mha__log__record__init(&out->record);
	rule_to_message(entry->record.record, &out->rule);
	out->record.record = &out->rule;
	out->record.lsn = entry->record.lsn;
	out->entry.body_case = MHA__LOG__ENTRY__BODY_RECORD;
	out->entry.record = &out->record;
}

static void rebuild_to_message(const struct entry *entry, struct entry_message *out)
{
	mha__log__rebuild__init(&out->rebuild);
	out->rebuild.node = entry->rebuild.node;
	out->rebuild.timeline = entry->rebuild.timeline;
	out->rebuild.fork = entry->rebuild.fork;
	out->rebuild.end = entry->rebuild.end;
	out->entry.body_case = MHA__LOG__ENTRY__BODY_REBUILD;
	out->entry.rebuild = &out->rebuild;
}

static void member_to_message(const struct entry *entry, struct entry_message *out)
{
	mha__log__member__init(&out->member);
	out->member.step = entry->member.step;
	out->member.id = entry->member.id;
	out->member.rebind = entry->member.rebind;
	if (entry->member.step == MEMBER_JOIN) {
		nodes_to_message(&entry->member.node, 1, &out->nodes);
		out->member.node = out->nodes.list[0];
	}
	out->entry.body_case = MHA__LOG__ENTRY__BODY_MEMBER;
	out->entry.member = &out->member;
}

static void decided_to_message(const struct entry *entry, struct entry_message *out)
{
	switch (entry->kind) {
	case ENTRY_SETTINGS:
		settings_to_message(&entry->settings, &out->settings);
		out->entry.body_case = MHA__LOG__ENTRY__BODY_SETTINGS;
		out->entry.settings = &out->settings;
		break;
	case ENTRY_OPERATION:
		operation_to_message(&entry->operation, &out->operation);
		out->entry.body_case = MHA__LOG__ENTRY__BODY_OPERATION;
		out->entry.operation = &out->operation;
		break;
	default:
		decision_to_message(&entry->held, &out->decision);
		out->entry.body_case = MHA__LOG__ENTRY__BODY_HELD;
		out->entry.held = &out->decision.decision;
		break;
	}
}

static int entry_to_message(const struct entry *entry, struct entry_message *out, struct err *why)
{
	mha__log__entry__init(&out->entry);
	out->entry.format = LOG_FORMAT_VERSION;
	out->entry.kind = entry->kind;
	out->entry.base_version = entry->base_version;
	out->entry.epoch = entry->epoch;
	out->entry.at_ms = entry->at_ms;
	switch (entry->kind) {
	case ENTRY_INIT:
		init_to_message(entry, out);
		return 0;
	case ENTRY_ASSIGN:
		assign_to_message(entry, out);
		return 0;
	case ENTRY_OPENED:
		opened_to_message(entry, out);
		return 0;
	case ENTRY_RECORD:
		record_to_message(entry, out);
		return 0;
	case ENTRY_REBUILD:
	case ENTRY_REBUILT:
		rebuild_to_message(entry, out);
		return 0;
	case ENTRY_SETTINGS:
	case ENTRY_OPERATION:
	case ENTRY_HELD:
		decided_to_message(entry, out);
		return 0;
	case ENTRY_MEMBER:
		member_to_message(entry, out);
		return 0;
	case ENTRY_SETTLE:
	case ENTRY_FRESH:
		return 0;
	default:
		return err_set(why, ERR_INVALID, "log entry: kind %u does not exist", entry->kind);
	}
}

/* Make the packed size a multiple of LOG_ENTRY_ALIGNMENT. */
static void entry_pad(Mha__Log__Entry *entry)
{
	static uint8_t zeros[LOG_ENTRY_ALIGNMENT];
	size_t missing = (0 - mha__log__entry__get_packed_size(entry)) % LOG_ENTRY_ALIGNMENT;

	if (missing == 0)
		return;
	/* Tag and length take two bytes, and an empty field is not written at all. */
	entry->padding.len = missing > 2 ? missing - 2 : missing + LOG_ENTRY_ALIGNMENT - 2;
	entry->padding.data = zeros;
}

int log_entry_encode(const struct entry *entry, uint8_t bytes[LOG_ENTRY_MAX], struct err *why)
{
	struct entry_message message;
	int rc = entry_to_message(entry, &message, why);

	if (rc < 0)
		return rc;
	entry_pad(&message.entry);

	size_t size = mha__log__entry__get_packed_size(&message.entry);

	if (size > LOG_ENTRY_MAX)
		return err_set(why, ERR_TOO_BIG, "log entry: %zu bytes, at most %d", size,
			       LOG_ENTRY_MAX);
	return (int)mha__log__entry__pack(&message.entry, bytes);
}

/* Which body an entry of each kind must have. */
static const Mha__Log__Entry__BodyCase BODIES[ENTRY_KIND_COUNT] = {
	[ENTRY_INIT] = MHA__LOG__ENTRY__BODY_INIT,
	[ENTRY_ASSIGN] = MHA__LOG__ENTRY__BODY_ASSIGN,
	[ENTRY_OPENED] = MHA__LOG__ENTRY__BODY_OPENED,
	[ENTRY_SETTLE] = MHA__LOG__ENTRY__BODY__NOT_SET,
	[ENTRY_RECORD] = MHA__LOG__ENTRY__BODY_RECORD,
	[ENTRY_REBUILD] = MHA__LOG__ENTRY__BODY_REBUILD,
	[ENTRY_REBUILT] = MHA__LOG__ENTRY__BODY_REBUILD,
	[ENTRY_FRESH] = MHA__LOG__ENTRY__BODY__NOT_SET,
	[ENTRY_SETTINGS] = MHA__LOG__ENTRY__BODY_SETTINGS,
	[ENTRY_OPERATION] = MHA__LOG__ENTRY__BODY_OPERATION,
	[ENTRY_HELD] = MHA__LOG__ENTRY__BODY_HELD,
	[ENTRY_MEMBER] = MHA__LOG__ENTRY__BODY_MEMBER,
};

static int assign_from_message(const Mha__Log__Assign *message, struct entry *entry,
			       struct err *why)
{
	int rc;

	entry->assign.resume = message->resume;
	entry->assign.accept_loss = message->accept_loss;
	if ((rc = range_node(message->node, false, "node", &entry->assign.node, why)) < 0 ||
	    (rc = rule_from_message(message->record, "record", &entry->assign.record, why)) < 0)
		return rc;
	return decision_from_message(message->decision, &entry->assign.decision, why);
}

static int init_from_message(const Mha__Log__Init *message, struct entry *entry, struct err *why)
{
	int rc = nodes_from_message(message->nodes, message->n_nodes, entry->init.nodes,
				    &entry->init.node_total, why);

	entry->init.cluster_id = message->cluster_id;
	if (rc < 0)
		return rc;
	return settings_from_message(message->settings, &entry->init.settings, why);
}

static void opened_from_message(const Mha__Log__Opened *message, struct entry *entry)
{
	entry->opened.timeline = message->timeline;
	entry->opened.parent = message->parent;
	entry->opened.fork = message->fork;
	entry->opened.system_id = message->system_id;
	entry->opened.promote_us = message->promote_us;
	entry->opened.open_us = message->open_us;
}

static int member_from_message(const Mha__Log__Member *message, struct entry *entry,
			       struct err *why)
{
	uint8_t total;
	int rc;

	entry->member.rebind = message->rebind;
	if ((rc = range_enum(message->step, MEMBER_JOIN, MEMBER_STEP_COUNT, "member.step",
			     &entry->member.step, why)) < 0 ||
	    (rc = range_node(message->id, false, "member.id", &entry->member.id, why)) < 0)
		return rc;
	if ((entry->member.step == MEMBER_JOIN) != (message->node != NULL))
		return err_set(why, ERR_INVALID, "member.node comes with a join, and only then");
	if (message->node == NULL)
		return 0;
	return nodes_from_message(&message->node, 1, &entry->member.node, &total, why);
}

static int body_from_message(const Mha__Log__Entry *message, struct entry *entry, struct err *why)
{
	switch (entry->kind) {
	case ENTRY_INIT:
		return init_from_message(message->init, entry, why);
	case ENTRY_ASSIGN:
		return assign_from_message(message->assign, entry, why);
	case ENTRY_OPENED:
		opened_from_message(message->opened, entry);
		return 0;
	case ENTRY_RECORD:
		entry->record.lsn = message->record->lsn;
		return rule_from_message(message->record->record, "record", &entry->record.record,
					 why);
	case ENTRY_REBUILD:
	case ENTRY_REBUILT:
		entry->rebuild.timeline = message->rebuild->timeline;
		entry->rebuild.fork = message->rebuild->fork;
		entry->rebuild.end = message->rebuild->end;
		return range_node(message->rebuild->node, false, "node", &entry->rebuild.node, why);
	case ENTRY_SETTINGS:
		return settings_from_message(message->settings, &entry->settings, why);
	case ENTRY_OPERATION:
		return operation_from_message(message->operation, &entry->operation, why);
	case ENTRY_HELD:
		return decision_from_message(message->held, &entry->held, why);
	case ENTRY_MEMBER:
		return member_from_message(message->member, entry, why);
	default:
		return 0;
	}
}

/* Nothing of another format is guessed at: its entries may mean something else. */
static int format_check(uint32_t format, struct err *why)
{
	if (format == LOG_FORMAT_VERSION)
		return 0;
	return err_set(
		why, ERR_VERSION,
		"format %" PRIu32 ", this program reads format %d only: the log was written "
		"by %s version of mha4rdb; run that version here, or give this node an empty "
		"paths.state_dir/raft so that it learns the log from the others",
		format, LOG_FORMAT_VERSION, format < LOG_FORMAT_VERSION ? "an older" : "a newer");
}

static int entry_from_message(const Mha__Log__Entry *message, struct entry *entry, struct err *why)
{
	struct entry made = {0};
	int rc;

	if ((rc = format_check(message->format, why)) < 0 ||
	    (rc = range_enum(message->kind, 1, ENTRY_KIND_COUNT, "kind", &made.kind, why)) < 0)
		return rc;
	if (message->body_case != BODIES[made.kind])
		return err_set(why, ERR_INVALID, "kind %u has the body of another kind", made.kind);
	made.base_version = message->base_version;
	made.epoch = message->epoch;
	made.at_ms = message->at_ms;
	rc = body_from_message(message, &made, why);
	if (rc == 0)
		*entry = made;
	return rc;
}

int log_entry_decode(const uint8_t *bytes, size_t size, struct entry *entry, struct err *why)
{
	if (size > LOG_ENTRY_MAX)
		return err_set(why, ERR_TOO_BIG, "log entry: %zu bytes, at most %d", size,
			       LOG_ENTRY_MAX);

	Mha__Log__Entry *message = mha__log__entry__unpack(NULL, size, bytes);

	if (message == NULL)
		return err_set(why, ERR_CORRUPT, "log entry: %zu bytes do not decode", size);

	int rc = entry_from_message(message, entry, why);

	mha__log__entry__free_unpacked(message, NULL);
	return rc < 0 ? err_in(why, rc, "log entry") : 0;
}

struct snapshot_message {
	Mha__Log__Snapshot snapshot;
	struct nodes_message nodes;
	Mha__Bus__SyncRule record;
	Mha__Log__EarlierRecord earlier[EARLIER_MAX];
	Mha__Log__EarlierRecord *earlier_list[EARLIER_MAX];
	Mha__Bus__SyncRule earlier_rules[EARLIER_MAX];
	Mha__Log__LineageRow lineage[LINEAGE_MAX];
	Mha__Log__LineageRow *lineage_list[LINEAGE_MAX];
	struct decision_message decisions[DECISIONS_MAX];
	Mha__Log__Decision *decision_list[DECISIONS_MAX];
	Mha__Log__Settings settings;
	Mha__Log__Operation operations[OPERATIONS_MAX];
	Mha__Log__Operation *operation_list[OPERATIONS_MAX];
	uint64_t bound[NODES_MAX];
};

static void snapshot_lists(const struct cluster *cluster, struct snapshot_message *out)
{
	CHECK(cluster->earlier_count <= EARLIER_MAX);
	CHECK(cluster->lineage_count <= LINEAGE_MAX);
	CHECK(cluster->decision_count <= DECISIONS_MAX);
	CHECK(cluster->operation_count <= OPERATIONS_MAX);
	for (unsigned i = 0; i < cluster->earlier_count; i++) {
		Mha__Log__EarlierRecord *row = &out->earlier[i];

		mha__log__earlier_record__init(row);
		row->epoch = cluster->earlier[i].epoch;
		row->primary = cluster->earlier[i].primary;
		rule_to_message(cluster->earlier[i].record, &out->earlier_rules[i]);
		row->record = &out->earlier_rules[i];
		out->earlier_list[i] = row;
	}
	for (unsigned i = 0; i < cluster->lineage_count; i++) {
		Mha__Log__LineageRow *row = &out->lineage[i];

		mha__log__lineage_row__init(row);
		row->epoch = cluster->lineage[i].epoch;
		row->node = cluster->lineage[i].node;
		row->timeline = cluster->lineage[i].timeline;
		row->parent = cluster->lineage[i].parent;
		row->fork = cluster->lineage[i].fork;
		out->lineage_list[i] = row;
	}
	for (unsigned i = 0; i < cluster->decision_count; i++) {
		decision_to_message(&cluster->decisions[i], &out->decisions[i]);
		out->decision_list[i] = &out->decisions[i].decision;
	}
	for (unsigned i = 0; i < cluster->operation_count; i++) {
		operation_to_message(&cluster->operations[i], &out->operations[i]);
		out->operation_list[i] = &out->operations[i];
	}
	out->snapshot.n_earlier = cluster->earlier_count;
	out->snapshot.earlier = out->earlier_list;
	out->snapshot.n_lineage = cluster->lineage_count;
	out->snapshot.lineage = out->lineage_list;
	out->snapshot.n_decisions = cluster->decision_count;
	out->snapshot.decisions = out->decision_list;
	out->snapshot.n_operations = cluster->operation_count;
	out->snapshot.operations = out->operation_list;
}

static void snapshot_to_message(const struct cluster *cluster, struct snapshot_message *out)
{
	Mha__Log__Snapshot *snapshot = &out->snapshot;

	mha__log__snapshot__init(snapshot);
	snapshot->format = LOG_FORMAT_VERSION;
	snapshot->version = cluster->version;
	snapshot->cluster_id = cluster->cluster_id;
	nodes_to_message(cluster->nodes, cluster->node_total, &out->nodes);
	snapshot->n_nodes = cluster->node_total;
	snapshot->nodes = out->nodes.list;
	snapshot->system_id = cluster->system_id;
	snapshot->epoch = cluster->epoch;
	snapshot->primary = cluster->primary;
	snapshot->opened = cluster->opened;
	snapshot->resume = cluster->resume;
	snapshot->timeline = cluster->timeline;
	snapshot->timeline_max = cluster->timeline_max;
	snapshot->open_lsn = cluster->open_lsn;
	rule_to_message(cluster->record, &out->record);
	snapshot->record = &out->record;
	snapshot->settled = cluster->settled;
	snapshot->rebuilding = cluster->rebuilding;
	snapshot->degraded_lsn = cluster->degraded_lsn;
	snapshot->degraded_ms = cluster->degraded_ms;
	snapshot->joining = cluster->joining;
	snapshot->leaving = cluster->leaving;
	memcpy(out->bound, &cluster->bound[1], sizeof(out->bound));
	snapshot->n_bound = NODES_MAX;
	snapshot->bound = out->bound;
	settings_to_message(&cluster->settings, &out->settings);
	snapshot->settings = &out->settings;
	snapshot_lists(cluster, out);
}

int log_snapshot_encode(const struct cluster *cluster, uint8_t bytes[LOG_SNAPSHOT_MAX],
			struct err *why)
{
	struct snapshot_message message;

	snapshot_to_message(cluster, &message);

	size_t size = mha__log__snapshot__get_packed_size(&message.snapshot);

	if (size > LOG_SNAPSHOT_MAX)
		return err_set(why, ERR_TOO_BIG, "snapshot: %zu bytes, at most %d", size,
			       LOG_SNAPSHOT_MAX);
	return (int)mha__log__snapshot__pack(&message.snapshot, bytes);
}

static int earlier_from_message(const Mha__Log__EarlierRecord *from, struct earlier_record *to,
				struct err *why)
{
	int rc = range_node(from->primary, true, "earlier.primary", &to->primary, why);

	to->epoch = from->epoch;
	if (rc < 0)
		return rc;
	return rule_from_message(from->record, "earlier.record", &to->record, why);
}

static int lineage_from_message(const Mha__Log__LineageRow *from, struct lineage_row *to,
				struct err *why)
{
	to->epoch = from->epoch;
	to->timeline = from->timeline;
	to->parent = from->parent;
	to->fork = from->fork;
	return range_node(from->node, true, "lineage.node", &to->node, why);
}

static int lists_from_message(const Mha__Log__Snapshot *message, struct cluster *cluster,
			      struct err *why)
{
	int rc;

	if ((rc = range_count(message->n_earlier, EARLIER_MAX, "earlier", why)) < 0 ||
	    (rc = range_count(message->n_lineage, LINEAGE_MAX, "lineage", why)) < 0 ||
	    (rc = range_count(message->n_decisions, DECISIONS_MAX, "decisions", why)) < 0 ||
	    (rc = range_count(message->n_operations, OPERATIONS_MAX, "operations", why)) < 0)
		return rc;
	for (size_t i = 0; i < message->n_earlier && rc == 0; i++)
		rc = earlier_from_message(message->earlier[i], &cluster->earlier[i], why);
	for (size_t i = 0; i < message->n_lineage && rc == 0; i++)
		rc = lineage_from_message(message->lineage[i], &cluster->lineage[i], why);
	for (size_t i = 0; i < message->n_decisions && rc == 0; i++)
		rc = decision_from_message(message->decisions[i], &cluster->decisions[i], why);
	for (size_t i = 0; i < message->n_operations && rc == 0; i++)
		rc = operation_from_message(message->operations[i], &cluster->operations[i], why);
	cluster->earlier_count = (uint8_t)message->n_earlier;
	cluster->lineage_count = (uint8_t)message->n_lineage;
	cluster->decision_count = (uint8_t)message->n_decisions;
	cluster->operation_count = (uint8_t)message->n_operations;
	return rc;
}

/* The state before the first entry has no settings yet. */
static int settings_of_snapshot(const Mha__Log__Snapshot *message, struct settings *settings,
				struct err *why)
{
	const Mha__Log__Settings *from = message->settings;

	if (message->cluster_id == 0 && (from == NULL || from->mode == 0))
		return 0;
	return settings_from_message(from, settings, why);
}

static int snapshot_from_message(const Mha__Log__Snapshot *message, struct cluster *cluster,
				 struct err *why)
{
	int rc;

	if ((rc = format_check(message->format, why)) < 0)
		return rc;
	cluster->version = message->version;
	cluster->cluster_id = message->cluster_id;
	cluster->system_id = message->system_id;
	cluster->epoch = message->epoch;
	cluster->opened = message->opened;
	cluster->resume = message->resume;
	cluster->timeline = message->timeline;
	cluster->timeline_max = message->timeline_max;
	cluster->open_lsn = message->open_lsn;
	cluster->degraded_lsn = message->degraded_lsn;
	cluster->degraded_ms = message->degraded_ms;
	cluster->settled = message->settled;
	if ((rc = range_node(message->primary, true, "primary", &cluster->primary, why)) < 0 ||
	    (rc = range_set(message->rebuilding, "rebuilding", &cluster->rebuilding, why)) < 0 ||
	    (rc = range_set(message->joining, "joining", &cluster->joining, why)) < 0 ||
	    (rc = range_set(message->leaving, "leaving", &cluster->leaving, why)) < 0 ||
	    (rc = range_count(message->n_bound, NODES_MAX, "bound", why)) < 0 ||
	    (rc = rule_from_message(message->record, "record", &cluster->record, why)) < 0 ||
	    (rc = nodes_from_message(message->nodes, message->n_nodes, cluster->nodes,
				     &cluster->node_total, why)) < 0 ||
	    (rc = settings_of_snapshot(message, &cluster->settings, why)) < 0 ||
	    (rc = lists_from_message(message, cluster, why)) < 0)
		return rc;
	for (size_t i = 0; i < message->n_bound; i++)
		cluster->bound[i + 1] = message->bound[i];
	if (!cluster_sane(cluster))
		return err_set(why, ERR_CORRUPT, "its parts contradict each other");
	return 0;
}

int log_snapshot_decode(const uint8_t *bytes, size_t size, struct cluster *cluster, struct err *why)
{
	struct cluster made = {0};

	if (size > LOG_SNAPSHOT_MAX)
		return err_set(why, ERR_TOO_BIG, "snapshot: %zu bytes, at most %d", size,
			       LOG_SNAPSHOT_MAX);

	Mha__Log__Snapshot *message = mha__log__snapshot__unpack(NULL, size, bytes);

	if (message == NULL)
		return err_set(why, ERR_CORRUPT, "snapshot: %zu bytes do not decode", size);

	int rc = snapshot_from_message(message, &made, why);

	mha__log__snapshot__free_unpacked(message, NULL);
	if (rc < 0)
		return err_in(why, rc, "snapshot");
	*cluster = made;
	return 0;
}
