/* Round trips of every struct and refusal of every field that is out of range. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "wire/convert.h"

static struct decision full_decision(uint64_t epoch)
{
	struct decision decision = {
		.epoch = epoch,
		.cause = CAUSE_DB_HUNG,
		.from = 1,
		.to = 2,
		.usable = 0xabcdef,
		.at_ms = 1700000000000,
		.before = {.members = 0xc, .need = 1},
		.after = {.members = 0xa, .need = 2},
		.detect_us = 1,
		.survey_us = 2,
		.open_us = 3,
		.fence_us = 4,
		.promote_us = 2,
		.fault = FAULT_DISK_FULL,
		.hold = HOLD_LAG,
		.missing = 0x3fe,
		.missing_count = 9,
		.loss_accepted = true,
		.operation = 11,
		.seen = 0xabcdff,
		.at_risk = UINT64_MAX,
		.at_risk_ms = 12,
		.answer_count = NODES_MAX,
	};

	for (uint8_t i = 0; i < NODES_MAX; i++)
		decision.answers[i] = (struct survey_answer){.node = (node_id)(i + 1),
							     .db = DB_STANDBY,
							     .fault = FAULT_STARTUP_STOPPED,
							     .excluded = true,
							     .diverged = true,
							     .priority = UINT16_MAX,
							     .timeline = 4,
							     .flushed = 100U + i,
							     .usable = 50U + i};
	return decision;
}

static struct settings full_settings(void)
{
	return (struct settings){
		.mode = MODE_MAX_PERFORMANCE,
		.pinned = true,
		.quorum_sync = 2,
		.auto_failover = true,
		.auto_primary_switch = true,
		.paused = true,
		.pause_until_ms = UINT64_MAX,
		.maintenance = 0x6,
		.failover_budget = DECISIONS_MAX - 1,
		.max_lag_bytes = UINT64_MAX,
		.max_lag_ms = UINT32_MAX,
		.degrade_ms = 3,
		.switch_back_ms = 4,
	};
}

static struct operation full_operation(void)
{
	return (struct operation){
		.id = UINT64_MAX,
		.kind = OPERATION_SWITCHOVER,
		.state = OPERATION_EXPIRED,
		.automatic = true,
		.reason = BLOCK_WINDOW,
		.from = 1,
		.to = 9,
		.epoch = 5,
		.asked_ms = 1,
		.start_ms = 2,
		.end_ms = 3,
		.begun_ms = 4,
		.ended_ms = 5,
	};
}

static void nodes_fill(struct node *nodes)
{
	for (uint8_t i = 0; i < NODES_MAX; i++) {
		nodes[i].id = (node_id)(i + 1);
		nodes[i].kind = i == 2 ? NODE_WITNESS : NODE_DATA;
		nodes[i].priority = (uint16_t)(1000 - i);
		nodes[i].identity = UINT64_C(0x1234567890) + i;
		memset(nodes[i].name, 'a' + i, NODE_NAME_SIZE - 1);
	}
}

/* One entry of each kind, with every field at a value that is not the default. */
static struct entry full_entry(uint8_t kind)
{
	struct entry entry = {.kind = kind, .base_version = 100U + kind, .epoch = 7};

	switch (kind) {
	case ENTRY_INIT:
		entry.init.cluster_id = 0x123456789;
		entry.init.node_total = NODES_MAX;
		nodes_fill(entry.init.nodes);
		entry.init.settings = full_settings();
		break;
	case ENTRY_ASSIGN:
		entry.assign.node = 2;
		entry.assign.resume = true;
		entry.assign.accept_loss = true;
		entry.assign.record = (struct sync_rule){.members = 0xa, .need = 2};
		entry.assign.decision = full_decision(7);
		break;
	case ENTRY_OPENED:
		entry.opened.timeline = 5;
		entry.opened.parent = 4;
		entry.opened.fork = 0x99;
		entry.opened.system_id = 0x55;
		entry.opened.open_us = 33;
		entry.at_ms = 34;
		entry.opened.promote_us = 22;
		break;
	case ENTRY_RECORD:
		entry.record.record = (struct sync_rule){.members = 0x6, .need = 1};
		entry.record.lsn = 0x77;
		break;
	case ENTRY_REBUILD:
	case ENTRY_REBUILT:
		entry.rebuild.node = 3;
		entry.rebuild.timeline = 8;
		entry.rebuild.fork = 0x88;
		entry.rebuild.end = 0x99;
		break;
	case ENTRY_SETTINGS:
		entry.settings = full_settings();
		break;
	case ENTRY_OPERATION:
		entry.operation = full_operation();
		break;
	case ENTRY_HELD:
		entry.held = full_decision(7);
		break;
	case ENTRY_MEMBER: {
		struct node nodes[NODES_MAX];

		memset(nodes, 0, sizeof(nodes));
		nodes_fill(nodes);
		entry.member.step = MEMBER_JOIN;
		entry.member.rebind = true;
		entry.member.id = 4;
		entry.member.node = nodes[3];
		break;
	}
	default:
		break;
	}
	return entry;
}

Test(convert, every_kind_of_entry_comes_back_as_it_went)
{
	for (uint8_t kind = ENTRY_INIT; kind < ENTRY_KIND_COUNT; kind++) {
		struct entry entry = full_entry(kind), back;
		uint8_t bytes[LOG_ENTRY_MAX], again[LOG_ENTRY_MAX];
		struct err why = {0};
		int size = log_entry_encode(&entry, bytes, &why);

		cr_assert_gt(size, 0, "%u: %s", kind, why.text);
		cr_assert_eq(size % LOG_ENTRY_ALIGNMENT, 0, "%u: %d bytes", kind, size);
		memset(&back, 0xee, sizeof(back));
		cr_assert_eq(log_entry_decode(bytes, (size_t)size, &back, &why), 0, "%u: %s", kind,
			     why.text);
		cr_assert_eq(back.kind, kind);
		cr_assert_eq(back.base_version, 100U + kind);
		cr_assert_eq(back.epoch, 7);
		/* The same bytes once more: nothing was lost on the way. */
		cr_assert_eq(log_entry_encode(&back, again, &why), size);
		cr_assert_arr_eq(bytes, again, (size_t)size);
	}

	struct entry none = {.kind = ENTRY_NONE};
	uint8_t bytes[LOG_ENTRY_MAX];
	struct err why = {0};

	cr_assert_eq(log_entry_encode(&none, bytes, &why), ERR_INVALID);
}

Test(convert, entries_of_every_length_are_padded_to_whole_words)
{
	bool seen[LOG_ENTRY_ALIGNMENT] = {false};

	for (size_t length = 1; length <= 16; length++) {
		struct entry entry = full_entry(ENTRY_INIT), back;
		uint8_t bytes[LOG_ENTRY_MAX];
		struct err why = {0};

		memset(entry.init.nodes[0].name, 0, NODE_NAME_SIZE);
		memset(entry.init.nodes[0].name, 'x', length);
		seen[length % LOG_ENTRY_ALIGNMENT] = true;

		int size = log_entry_encode(&entry, bytes, &why);

		cr_assert_gt(size, 0);
		cr_assert_eq(size % LOG_ENTRY_ALIGNMENT, 0, "%zu", length);
		cr_assert_eq(log_entry_decode(bytes, (size_t)size, &back, &why), 0);
		cr_assert_str_eq(back.init.nodes[0].name, entry.init.nodes[0].name);
	}
	for (size_t i = 0; i < LOG_ENTRY_ALIGNMENT; i++)
		cr_assert(seen[i]);
}

Test(convert, an_assign_keeps_its_decision)
{
	struct entry entry = full_entry(ENTRY_ASSIGN), back = {0};
	uint8_t bytes[LOG_ENTRY_MAX];
	struct err why = {0};
	int size = log_entry_encode(&entry, bytes, &why);

	cr_assert_gt(size, 0);
	cr_assert_eq(log_entry_decode(bytes, (size_t)size, &back, &why), 0, "%s", why.text);
	cr_assert_eq(back.assign.node, 2);
	cr_assert(back.assign.resume);
	cr_assert_eq(back.assign.record.members, 0xa);

	const struct decision *decision = &back.assign.decision;

	cr_assert_eq(decision->cause, CAUSE_DB_HUNG);
	cr_assert_eq(decision->from, 1);
	cr_assert_eq(decision->to, 2);
	cr_assert_eq(decision->usable, 0xabcdef);
	cr_assert_eq(decision->before.members, 0xc);
	cr_assert_eq(decision->after.need, 2);
	cr_assert_eq(decision->detect_us, 1);
	cr_assert_eq(decision->survey_us, 2);
	cr_assert_eq(decision->open_us, 3);
	cr_assert_eq(decision->fence_us, 4);
	cr_assert_eq(decision->promote_us, 2);
	cr_assert_eq(decision->answer_count, NODES_MAX);
	cr_assert_eq(decision->answers[8].node, 9);
	cr_assert_eq(decision->answers[8].usable, 58);
	cr_assert(back.assign.accept_loss);
	cr_assert_eq(decision->fault, FAULT_DISK_FULL);
	cr_assert_eq(decision->hold, HOLD_LAG);
	cr_assert_eq(decision->missing, 0x3fe);
	cr_assert_eq(decision->missing_count, 9);
	cr_assert(decision->loss_accepted);
	cr_assert_eq(decision->operation, 11);
	cr_assert_eq(decision->seen, 0xabcdff);
	cr_assert_eq(decision->at_risk, UINT64_MAX);
	cr_assert_eq(decision->at_risk_ms, 12);
	cr_assert_eq(decision->answers[8].fault, FAULT_STARTUP_STOPPED);
	cr_assert(decision->answers[8].excluded && decision->answers[8].diverged);
	cr_assert_eq(decision->answers[8].priority, UINT16_MAX);
}

static struct entry through_the_log(uint8_t kind)
{
	struct entry entry = full_entry(kind), back = {0};
	uint8_t bytes[LOG_ENTRY_MAX];
	struct err why = {0};
	int size = log_entry_encode(&entry, bytes, &why);

	cr_assert_gt(size, 0, "%s", why.text);
	cr_assert_eq(log_entry_decode(bytes, (size_t)size, &back, &why), 0, "%s", why.text);
	return back;
}

static void expect_settings(const struct settings *settings)
{
	cr_expect_eq(settings->mode, MODE_MAX_PERFORMANCE);
	cr_expect(settings->pinned && settings->auto_failover && settings->auto_primary_switch);
	cr_expect_eq(settings->quorum_sync, 2);
	cr_expect(settings->paused);
	cr_expect_eq(settings->pause_until_ms, UINT64_MAX);
	cr_expect_eq(settings->maintenance, 0x6);
	cr_expect_eq(settings->failover_budget, DECISIONS_MAX - 1);
	cr_expect_eq(settings->max_lag_bytes, UINT64_MAX);
	cr_expect_eq(settings->max_lag_ms, UINT32_MAX);
	cr_expect_eq(settings->degrade_ms, 3);
	cr_expect_eq(settings->switch_back_ms, 4);
}

static void expect_operation(const struct operation *operation)
{
	cr_expect_eq(operation->id, UINT64_MAX);
	cr_expect_eq(operation->kind, OPERATION_SWITCHOVER);
	cr_expect_eq(operation->state, OPERATION_EXPIRED);
	cr_expect(operation->automatic);
	cr_expect_eq(operation->reason, BLOCK_WINDOW);
	cr_expect_eq(operation->from, 1);
	cr_expect_eq(operation->to, 9);
	cr_expect_eq(operation->epoch, 5);
	cr_expect_eq(operation->asked_ms, 1);
	cr_expect_eq(operation->start_ms, 2);
	cr_expect_eq(operation->end_ms, 3);
	cr_expect_eq(operation->begun_ms, 4);
	cr_expect_eq(operation->ended_ms, 5);
}

Test(convert, what_operators_decided_comes_back_field_by_field)
{
	struct entry back = through_the_log(ENTRY_SETTINGS);

	expect_settings(&back.settings);
	back = through_the_log(ENTRY_INIT);
	expect_settings(&back.init.settings);
	back = through_the_log(ENTRY_OPERATION);
	expect_operation(&back.operation);
	back = through_the_log(ENTRY_HELD);
	cr_expect_eq(back.held.hold, HOLD_LAG);
	cr_expect_eq(back.held.answers[8].node, 9);
	back = through_the_log(ENTRY_RECORD);
	cr_expect_eq(back.record.lsn, 0x77);
	back = through_the_log(ENTRY_REBUILD);
	cr_expect_eq(back.rebuild.timeline, 8);
	cr_expect_eq(back.rebuild.fork, 0x88);
	cr_expect_eq(back.rebuild.end, 0x99);
	back = through_the_log(ENTRY_OPENED);
	cr_expect_eq(back.at_ms, 34);
}

static int decode_message(const Mha__Log__Entry *message, struct err *why)
{
	uint8_t bytes[8192];
	struct entry entry;
	size_t size = mha__log__entry__get_packed_size(message);

	cr_assert_leq(size, sizeof(bytes));
	mha__log__entry__pack(message, bytes);
	return log_entry_decode(bytes, size, &entry, why);
}

Test(convert, damaged_entries_are_refused)
{
	struct err why = {0};
	struct entry entry;
	Mha__Log__Entry m = MHA__LOG__ENTRY__INIT;
	Mha__Log__Rebuild rebuild = MHA__LOG__REBUILD__INIT;
	Mha__Log__Assign assign = MHA__LOG__ASSIGN__INIT;
	static const uint8_t big[LOG_ENTRY_MAX + 1];

	cr_expect_eq(log_entry_decode((const uint8_t *)"\xff\xff\xff", 3, &entry, &why),
		     ERR_CORRUPT);
	cr_expect_eq(log_entry_decode(big, sizeof(big), &entry, &why), ERR_TOO_BIG);
	cr_expect_eq(log_entry_decode(NULL, 0, &entry, &why), ERR_VERSION);

	char format[16];

	snprintf(format, sizeof(format), "format %d", LOG_FORMAT_VERSION + 1);
	m.format = LOG_FORMAT_VERSION + 1;
	m.kind = ENTRY_FRESH;
	cr_expect_eq(decode_message(&m, &why), ERR_VERSION);
	cr_expect_not_null(strstr(why.text, format), "%s", why.text);
	cr_expect_not_null(strstr(why.text, "a newer version of mha4rdb"), "%s", why.text);
	m.format = LOG_FORMAT_VERSION - 1;
	cr_expect_eq(decode_message(&m, &why), ERR_VERSION);
	cr_expect_not_null(strstr(why.text, "an older version of mha4rdb"), "%s", why.text);
	m.format = LOG_FORMAT_VERSION;
	cr_expect_eq(decode_message(&m, &why), 0, "%s", why.text);
	m.kind = ENTRY_KIND_COUNT;
	cr_expect_eq(decode_message(&m, &why), ERR_INVALID);
	m.kind = 0;
	cr_expect_eq(decode_message(&m, &why), ERR_INVALID);
	/* The body of another kind, or none. */
	m.kind = ENTRY_ASSIGN;
	cr_expect_eq(decode_message(&m, &why), ERR_INVALID);
	m.body_case = MHA__LOG__ENTRY__BODY_REBUILD;
	m.rebuild = &rebuild;
	rebuild.node = 2;
	cr_expect_eq(decode_message(&m, &why), ERR_INVALID);
	m.kind = ENTRY_FRESH;
	cr_expect_eq(decode_message(&m, &why), ERR_INVALID);
	m.kind = ENTRY_REBUILT;
	cr_expect_eq(decode_message(&m, &why), 0, "%s", why.text);
	rebuild.node = 0;
	cr_expect_eq(decode_message(&m, &why), ERR_INVALID);
	rebuild.node = NODES_MAX + 1;
	cr_expect_eq(decode_message(&m, &why), ERR_INVALID);
	/* An Assign without its decision. */
	m.kind = ENTRY_ASSIGN;
	m.body_case = MHA__LOG__ENTRY__BODY_ASSIGN;
	m.assign = &assign;
	assign.node = 1;
	cr_expect_eq(decode_message(&m, &why), ERR_INVALID);
	cr_expect_not_null(strstr(why.text, "decision"), "%s", why.text);
}

/* Settings with one field out of range, as bytes of another program could have them. */
static int decode_settings(void (*damage)(Mha__Log__Settings *), struct err *why)
{
	Mha__Log__Entry m = MHA__LOG__ENTRY__INIT;
	Mha__Log__Settings settings = MHA__LOG__SETTINGS__INIT;

	settings.mode = MODE_MAX_PROTECTION;
	damage(&settings);
	m.format = LOG_FORMAT_VERSION;
	m.kind = ENTRY_SETTINGS;
	m.body_case = MHA__LOG__ENTRY__BODY_SETTINGS;
	m.settings = &settings;
	return decode_message(&m, why);
}

static void damage_nothing(Mha__Log__Settings *settings)
{
	settings->quorum_sync = NODES_MAX - 1;
}

static void damage_mode(Mha__Log__Settings *settings)
{
	settings->mode = MODE_COUNT;
}

static void damage_no_mode(Mha__Log__Settings *settings)
{
	settings->mode = 0;
}

static void damage_quorum(Mha__Log__Settings *settings)
{
	settings->quorum_sync = NODES_MAX;
}

static void damage_maintenance(Mha__Log__Settings *settings)
{
	settings->maintenance = 1;
}

static void damage_budget(Mha__Log__Settings *settings)
{
	settings->failover_budget = DECISIONS_MAX;
}

Test(convert, settings_out_of_range_are_refused_by_name)
{
	static const struct {
		void (*damage)(Mha__Log__Settings *);
		const char *field;
	} cases[] = {
		{damage_mode, "mode"},
		{damage_no_mode, "mode"},
		{damage_quorum, "quorum_sync"},
		{damage_maintenance, "maintenance"},
		{damage_budget, "failover_budget"},
	};
	struct err why = {0};

	cr_expect_eq(decode_settings(damage_nothing, &why), 0, "%s", why.text);
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		cr_expect_eq(decode_settings(cases[i].damage, &why), ERR_INVALID);
		cr_expect_not_null(strstr(why.text, cases[i].field), "%s", why.text);
	}
}

Test(convert, operations_and_decisions_out_of_range_are_refused)
{
	struct entry entry = full_entry(ENTRY_OPERATION), back;
	uint8_t bytes[LOG_ENTRY_MAX];
	struct err why = {0};
	uint8_t *const fields[] = {&entry.operation.kind, &entry.operation.state,
				   &entry.operation.reason, &entry.operation.from};

	for (size_t i = 0; i < COUNT_OF(fields); i++) {
		int size;

		entry = full_entry(ENTRY_OPERATION);
		*fields[i] = 200;
		size = log_entry_encode(&entry, bytes, &why);
		cr_expect_eq(log_entry_decode(bytes, (size_t)size, &back, &why), ERR_INVALID, "%zu",
			     i);
		cr_expect_not_null(strstr(why.text, "operation"), "%s", why.text);
	}
	for (unsigned i = 0; i < 5; i++) {
		int size;

		entry = full_entry(ENTRY_HELD);
		entry.held.hold = i == 0 ? HOLD_COUNT : entry.held.hold;
		entry.held.fault = i == 1 ? FAULT_COUNT : entry.held.fault;
		entry.held.missing = i == 2 ? 1 : entry.held.missing;
		entry.held.missing_count = i == 3 ? NODES_MAX + 1 : entry.held.missing_count;
		entry.held.answers[3].fault = i == 4 ? FAULT_COUNT : FAULT_NONE;
		size = log_entry_encode(&entry, bytes, &why);
		cr_expect_eq(log_entry_decode(bytes, (size_t)size, &back, &why), ERR_INVALID, "%u",
			     i);
		cr_expect_not_null(strstr(why.text, "decision"), "%s", why.text);
	}
}

/* A state as a cluster of three would have it after its first failover. */
static struct cluster small_cluster(void)
{
	struct cluster cluster = {
		.version = 9,
		.cluster_id = 0x77,
		.node_total = 3,
		.nodes = {{1, NODE_DATA, 100, "n1", 0x11},
			  {2, NODE_DATA, 90, "n2", 0x22},
			  {3, NODE_WITNESS, 0, "n3", 0x33}},
		.system_id = 0x1234,
		.epoch = 2,
		.primary = 2,
		.opened = true,
		.timeline = 3,
		.timeline_max = 3,
		.open_lsn = 0x3000,
		.record = {.members = 0x2, .need = 1},
		.settled = false,
		.earlier_count = 1,
		.earlier = {{1, {.members = 0x4, .need = 1}, 1}},
		.rebuilding = 0,
		.degraded_lsn = 0x3100,
		.degraded_ms = 1700000000001,
		.lineage_count = 2,
		.lineage = {{1, 1, 2, 1, 0x2000}, {2, 2, 3, 2, 0x3000}},
		.decision_count = 1,
	};

	cluster.decisions[0] = full_decision(2);
	cluster.settings = full_settings();
	cluster.settings.quorum_sync = 1;
	cluster.settings.maintenance = 0x8;
	cluster.operation_count = 1;
	cluster.operations[0] = full_operation();
	return cluster;
}

Test(convert, a_snapshot_comes_back_as_it_went)
{
	struct cluster cluster = small_cluster(), back;
	static uint8_t bytes[LOG_SNAPSHOT_MAX], again[LOG_SNAPSHOT_MAX];
	struct err why = {0};
	int size = log_snapshot_encode(&cluster, bytes, &why);

	cr_assert_gt(size, 0, "%s", why.text);
	memset(&back, 0xee, sizeof(back));
	cr_assert_eq(log_snapshot_decode(bytes, (size_t)size, &back, &why), 0, "%s", why.text);
	cr_assert_eq(log_snapshot_encode(&back, again, &why), size);
	cr_assert_arr_eq(bytes, again, (size_t)size);
	cr_assert_eq(back.version, 9);
	cr_assert_eq(back.cluster_id, 0x77);
	cr_assert_eq(back.node_total, 3);
	cr_assert_str_eq(back.nodes[2].name, "n3");
	cr_assert_eq(back.nodes[2].kind, NODE_WITNESS);
	cr_assert_eq(back.primary, 2);
	cr_assert(back.opened && !back.settled && !back.resume);
	cr_assert_eq(back.timeline_max, 3);
	cr_assert_eq(back.open_lsn, 0x3000);
	cr_assert_eq(back.degraded_lsn, 0x3100);
	cr_assert_eq(back.degraded_ms, 1700000000001);
	cr_assert_eq(back.record.members, 0x2);
	cr_assert_eq(back.earlier[0].record.members, 0x4);
	cr_assert_eq(back.earlier[0].primary, 1);
	cr_assert_eq(back.lineage[1].fork, 0x3000);
	cr_assert_eq(back.decisions[0].answers[8].flushed, 108);
	cr_assert_eq(back.settings.max_lag_bytes, UINT64_MAX);
	cr_assert_eq(back.settings.maintenance, 0x8);
	cr_assert_eq(back.operation_count, 1);
	expect_operation(&back.operations[0]);
}

Test(convert, the_largest_snapshot_fits)
{
	struct cluster cluster = small_cluster();
	static uint8_t bytes[LOG_SNAPSHOT_MAX];
	struct err why = {0};

	cluster.node_total = NODES_MAX;
	nodes_fill(cluster.nodes);
	cluster.earlier_count = EARLIER_MAX;
	for (unsigned i = 0; i < EARLIER_MAX; i++)
		cluster.earlier[i] = (struct earlier_record){UINT64_MAX, {0x3fe, 9}, 9};
	cluster.lineage_count = LINEAGE_MAX;
	for (unsigned i = 0; i < LINEAGE_MAX; i++)
		cluster.lineage[i] =
			(struct lineage_row){UINT64_MAX, 9, UINT32_MAX, UINT32_MAX, UINT64_MAX};
	cluster.decision_count = DECISIONS_MAX;
	for (unsigned i = 0; i < DECISIONS_MAX; i++)
		cluster.decisions[i] = full_decision(UINT64_MAX);
	cluster.operation_count = OPERATIONS_MAX;
	for (unsigned i = 0; i < OPERATIONS_MAX; i++)
		cluster.operations[i] = full_operation();
	cr_assert_gt(log_snapshot_encode(&cluster, bytes, &why), 0, "%s", why.text);
}

Test(convert, damaged_snapshots_are_refused)
{
	struct cluster cluster = small_cluster(), back = {.version = 42};
	static uint8_t bytes[LOG_SNAPSHOT_MAX];
	struct err why = {0};
	int size = log_snapshot_encode(&cluster, bytes, &why);
	static const uint8_t big[LOG_SNAPSHOT_MAX + 1];

	cr_assert_gt(size, 0);
	cr_expect_eq(log_snapshot_decode(bytes, (size_t)size - 1, &back, &why), ERR_CORRUPT);
	cr_expect_eq(log_snapshot_decode(big, sizeof(big), &back, &why), ERR_TOO_BIG);
	cr_expect_eq(log_snapshot_decode(NULL, 0, &back, &why), ERR_VERSION);

	cluster.primary = 200;
	size = log_snapshot_encode(&cluster, bytes, &why);
	cr_expect_eq(log_snapshot_decode(bytes, (size_t)size, &back, &why), ERR_INVALID);
	cluster = small_cluster();
	cluster.rebuilding = 1;
	size = log_snapshot_encode(&cluster, bytes, &why);
	cr_expect_eq(log_snapshot_decode(bytes, (size_t)size, &back, &why), ERR_INVALID);
	cr_expect_eq(back.version, 42);
}
