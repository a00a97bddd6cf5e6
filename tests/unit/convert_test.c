/* Round trips of every struct and refusal of every field that is out of range. */
#include <criterion/criterion.h>
#include <string.h>

#include "wire/convert.h"

static struct facts full_facts(void)
{
	struct facts facts = {
		.node = 9,
		.seq = UINT64_MAX,
		.db = DB_PRIMARY,
		.job = JOB_CLONE,
		.job_done = 5,
		.job_total = 6,
		.system_id = 0x1122334455667788,
		.receiving = true,
		.upstream = 3,
		.promise = 12,
		.config_epoch = 11,
		.rule = {.members = 0x3fe, .need = 4},
		.rule_since = 0x5000000,
		.serving_epoch = 10,
		.excluded = true,
		.needs_rebuild = true,
	};

	facts.position.timeline = 77;
	facts.position.flushed = UINT64_MAX - 1;
	facts.position.replayed = 4;
	facts.position.branch_count = WAL_HISTORY_MAX;
	for (uint32_t i = 0; i < WAL_HISTORY_MAX; i++)
		facts.position.branches[i] = (struct wal_branch){i + 1, (uint64_t)i << 32};
	facts.standby_count = NODES_MAX;
	for (uint8_t i = 0; i < NODES_MAX; i++) {
		facts.standbys[i].node = (node_id)(i + 1);
		facts.standbys[i].streaming = i % 2 == 0;
		facts.standbys[i].flushed = i;
		facts.standbys[i].replayed = i + 1U;
	}
	return facts;
}

/* Through bytes, as on the wire; the caller frees. */
static Mha__Bus__Facts *facts_trip(const struct facts *facts)
{
	static uint8_t bytes[8192];
	struct facts_message message;

	facts_to_message(facts, "all well", &message);

	size_t size = mha__bus__facts__pack(&message.facts, bytes);

	cr_assert_leq(size, sizeof(bytes));

	Mha__Bus__Facts *back = mha__bus__facts__unpack(NULL, size, bytes);

	cr_assert_not_null(back);
	return back;
}

Test(convert, facts_come_back_as_they_went)
{
	struct facts facts = full_facts(), back;
	struct err why = {0};
	Mha__Bus__Facts *message;

	memset(&back, 0xee, sizeof(back));
	message = facts_trip(&facts);
	cr_assert_str_eq(message->detail, "all well");
	cr_assert_eq(facts_from_message(message, &back, &why), 0, "%s", why.text);
	mha__bus__facts__free_unpacked(message, NULL);
	cr_assert_eq(back.node, 9);
	cr_assert_eq(back.seq, UINT64_MAX);
	cr_assert_eq(back.db, DB_PRIMARY);
	cr_assert_eq(back.job, JOB_CLONE);
	cr_assert_eq(back.job_done, 5);
	cr_assert_eq(back.job_total, 6);
	cr_assert_eq(back.system_id, 0x1122334455667788);
	cr_assert(back.receiving && back.excluded && back.needs_rebuild);
	cr_assert_eq(back.upstream, 3);
	cr_assert_eq(back.promise, 12);
	cr_assert_eq(back.config_epoch, 11);
	cr_assert_eq(back.serving_epoch, 10);
	cr_assert_eq(back.rule.members, 0x3fe);
	cr_assert_eq(back.rule.need, 4);
	cr_assert_eq(back.rule_since, 0x5000000);
	cr_assert_eq(back.position.timeline, 77);
	cr_assert_eq(back.position.flushed, UINT64_MAX - 1);
	cr_assert_eq(back.position.replayed, 4);
	cr_assert_eq(back.position.branch_count, WAL_HISTORY_MAX);
	for (uint32_t i = 0; i < WAL_HISTORY_MAX; i++) {
		cr_assert_eq(back.position.branches[i].timeline, i + 1);
		cr_assert_eq(back.position.branches[i].end, (uint64_t)i << 32);
	}
	cr_assert_eq(back.standby_count, NODES_MAX);
	for (uint8_t i = 0; i < NODES_MAX; i++) {
		cr_assert_eq(back.standbys[i].node, i + 1);
		cr_assert_eq(back.standbys[i].streaming, i % 2 == 0);
		cr_assert_eq(back.standbys[i].flushed, i);
		cr_assert_eq(back.standbys[i].replayed, i + 1U);
	}
}

enum facts_damage {
	DAMAGE_NODE,
	DAMAGE_DB,
	DAMAGE_JOB,
	DAMAGE_UPSTREAM,
	DAMAGE_MEMBERS_HIGH,
	DAMAGE_MEMBERS_ZERO_BIT,
	DAMAGE_NEED,
	DAMAGE_STANDBY_NONE,
	DAMAGE_STANDBY_HIGH,
	DAMAGE_COUNT
};

Test(convert, facts_out_of_range_are_refused_by_name_and_leave_the_target_alone)
{
	static const char *const fields[DAMAGE_COUNT] = {
		"node", "db",   "job",           "upstream",     "rule",
		"rule", "rule", "standbys.node", "standbys.node"};

	for (int damage = 0; damage < DAMAGE_COUNT; damage++) {
		struct facts facts = full_facts(), back = {.seq = 42};
		struct err why = {0};
		Mha__Bus__Facts *m = facts_trip(&facts);

		m->node = damage == DAMAGE_NODE ? NODES_MAX + 1 : m->node;
		m->db = damage == DAMAGE_DB ? DB_STATE_COUNT : m->db;
		m->job = damage == DAMAGE_JOB ? UINT32_MAX : m->job;
		m->upstream = damage == DAMAGE_UPSTREAM ? 256 : m->upstream;
		if (damage == DAMAGE_MEMBERS_HIGH)
			m->rule->members = UINT32_C(1) << (NODES_MAX + 1);
		if (damage == DAMAGE_MEMBERS_ZERO_BIT)
			m->rule->members = 1;
		if (damage == DAMAGE_NEED)
			m->rule->need = NODES_MAX + 1;
		if (damage == DAMAGE_STANDBY_NONE)
			m->standbys[4]->node = 0;
		if (damage == DAMAGE_STANDBY_HIGH)
			m->standbys[4]->node = 257;
		cr_expect_eq(facts_from_message(m, &back, &why), ERR_INVALID, "damage %d", damage);
		cr_expect_not_null(strstr(why.text, fields[damage]), "%d: %s", damage, why.text);
		cr_expect_eq(back.seq, 42, "damage %d", damage);
		mha__bus__facts__free_unpacked(m, NULL);
	}
}

Test(convert, more_rows_than_there_is_room_for_are_refused)
{
	struct facts facts = full_facts(), back;
	struct err why = {0};
	struct facts_message m;
	Mha__Bus__WalBranch *branches[WAL_HISTORY_MAX + 1];
	Mha__Bus__StandbyView *standbys[NODES_MAX + 1];

	facts_to_message(&facts, NULL, &m);
	for (size_t i = 0; i < COUNT_OF(branches); i++)
		branches[i] = &m.branches[0];
	m.position.branches = branches;
	m.position.n_branches = COUNT_OF(branches);
	cr_assert_eq(facts_from_message(&m.facts, &back, &why), ERR_TOO_BIG);

	facts_to_message(&facts, NULL, &m);
	for (size_t i = 0; i < COUNT_OF(standbys); i++)
		standbys[i] = &m.standbys[0];
	m.facts.standbys = standbys;
	m.facts.n_standbys = COUNT_OF(standbys);
	cr_assert_eq(facts_from_message(&m.facts, &back, &why), ERR_TOO_BIG);
}

Test(convert, an_order_comes_back_as_it_went)
{
	const struct order order = {
		.id = 5,
		.epoch = 6,
		.kind = ORDER_DB_CONFIGURE,
		.promise = 7,
		.upstream = 9,
		.rule = {.members = 0x6, .need = 1},
		.reserve_until = 8,
		.lease_until_ns = UINT64_MAX,
	};
	struct order back = {0};
	struct order_message message;
	struct err why = {0};

	order_to_message(&order, &message);
	cr_assert_leq(mha__bus__order__get_packed_size(&message.order), 512);
	cr_assert_eq(order_from_message(&message.order, &back, &why), 0, "%s", why.text);
	cr_assert_eq(back.id, 5);
	cr_assert_eq(back.epoch, 6);
	cr_assert_eq(back.kind, ORDER_DB_CONFIGURE);
	cr_assert_eq(back.promise, 7);
	cr_assert_eq(back.upstream, 9);
	cr_assert_eq(back.rule.members, 0x6);
	cr_assert_eq(back.rule.need, 1);
	cr_assert_eq(back.reserve_until, 8);
	cr_assert_eq(back.lease_until_ns, UINT64_MAX);
}

Test(convert, an_order_out_of_range_is_refused)
{
	const struct order order = {.id = 5, .kind = ORDER_DB_STOP};
	struct order back = {0};
	struct order_message message;
	struct err why = {0};

	order_to_message(&order, &message);
	message.order.kind = 0;
	cr_assert_eq(order_from_message(&message.order, &back, &why), ERR_INVALID);
	message.order.kind = ORDER_KIND_COUNT;
	cr_assert_eq(order_from_message(&message.order, &back, &why), ERR_INVALID);
	message.order.kind = 256 + ORDER_DB_STOP;
	cr_assert_eq(order_from_message(&message.order, &back, &why), ERR_INVALID);
	message.order.kind = ORDER_DB_STOP;
	message.order.upstream = NODES_MAX + 1;
	cr_assert_eq(order_from_message(&message.order, &back, &why), ERR_INVALID);
	message.order.upstream = 0;
	message.order.id = 0;
	cr_assert_eq(order_from_message(&message.order, &back, &why), ERR_INVALID);
	cr_assert_eq(back.kind, 0);
}

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
		.answer_count = NODES_MAX,
	};

	for (uint8_t i = 0; i < NODES_MAX; i++)
		decision.answers[i] = (struct survey_answer){.node = (node_id)(i + 1),
							     .db = DB_STANDBY,
							     .timeline = 4,
							     .flushed = 100U + i,
							     .usable = 50U + i};
	return decision;
}

static void nodes_fill(struct node *nodes)
{
	for (uint8_t i = 0; i < NODES_MAX; i++) {
		nodes[i].id = (node_id)(i + 1);
		nodes[i].kind = i == 2 ? NODE_WITNESS : NODE_DATA;
		nodes[i].priority = (uint16_t)(1000 - i);
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
		break;
	case ENTRY_ASSIGN:
		entry.assign.node = 2;
		entry.assign.resume = true;
		entry.assign.record = (struct sync_rule){.members = 0xa, .need = 2};
		entry.assign.decision = full_decision(7);
		break;
	case ENTRY_OPENED:
		entry.opened.timeline = 5;
		entry.opened.parent = 4;
		entry.opened.fork = 0x99;
		entry.opened.system_id = 0x55;
		entry.opened.open_us = 33;
		break;
	case ENTRY_RECORD:
		entry.record.record = (struct sync_rule){.members = 0x6, .need = 1};
		break;
	case ENTRY_REBUILD:
	case ENTRY_REBUILT:
		entry.rebuild.node = 3;
		break;
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
	cr_assert_eq(decision->answer_count, NODES_MAX);
	cr_assert_eq(decision->answers[8].node, 9);
	cr_assert_eq(decision->answers[8].usable, 58);
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

	m.format = LOG_FORMAT_VERSION + 1;
	m.kind = ENTRY_FRESH;
	cr_expect_eq(decode_message(&m, &why), ERR_VERSION);
	cr_expect_not_null(strstr(why.text, "format 2"), "%s", why.text);
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

/* A state as a cluster of three would have it after its first failover. */
static struct cluster small_cluster(void)
{
	struct cluster cluster = {
		.version = 9,
		.cluster_id = 0x77,
		.node_total = 3,
		.nodes = {{1, NODE_DATA, 100, "n1"},
			  {2, NODE_DATA, 90, "n2"},
			  {3, NODE_WITNESS, 0, "n3"}},
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
		.lineage_count = 2,
		.lineage = {{1, 1, 2, 1, 0x2000}, {2, 2, 3, 2, 0x3000}},
		.decision_count = 1,
	};

	cluster.decisions[0] = full_decision(2);
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
	cr_assert_eq(back.record.members, 0x2);
	cr_assert_eq(back.earlier[0].record.members, 0x4);
	cr_assert_eq(back.earlier[0].primary, 1);
	cr_assert_eq(back.lineage[1].fork, 0x3000);
	cr_assert_eq(back.decisions[0].answers[8].flushed, 108);
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
