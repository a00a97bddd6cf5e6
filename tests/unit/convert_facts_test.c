/* Facts and orders as messages and back. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "wire/convert.h"

static struct facts full_facts(void)
{
	struct facts facts = {
		.node = 9,
		.seq = UINT64_MAX,
		.db = DB_PRIMARY,
		.job = JOB_CLONE,
		.fault = FAULT_DISK_FULL,
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
		.damaged = true,
		.needs_rebuild = true,
		.phase = PHASE_PAUSED,
		.wal_oldest = 0x3000000,
		.roster = 0x8877665544332211,
		.restarted = 4000,
		.primary_epoch = 13,
		.primary_seen = 0x6000000,
		.primary_age_ms = 1500,
		.applied = 5000,
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
	cr_assert_eq(back.fault, FAULT_DISK_FULL);
	cr_assert_eq(back.job_done, 5);
	cr_assert_eq(back.job_total, 6);
	cr_assert_eq(back.system_id, 0x1122334455667788);
	cr_assert(back.receiving && back.excluded && back.damaged && back.needs_rebuild);
	cr_assert_eq(back.upstream, 3);
	cr_assert_eq(back.promise, 12);
	cr_assert_eq(back.config_epoch, 11);
	cr_assert_eq(back.phase, PHASE_PAUSED);
	cr_assert_eq(back.wal_oldest, 0x3000000);
	cr_assert_eq(back.roster, 0x8877665544332211);
	cr_assert_eq(back.restarted, 4000);
	cr_assert_eq(back.primary_epoch, 13);
	cr_assert_eq(back.primary_seen, 0x6000000);
	cr_assert_eq(back.primary_age_ms, 1500);
	cr_assert_eq(back.applied, 5000);
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
	DAMAGE_FAULT,
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
		"node", "db",   "job",  "fault",         "upstream",
		"rule", "rule", "rule", "standbys.node", "standbys.node"};

	for (int damage = 0; damage < DAMAGE_COUNT; damage++) {
		struct facts facts = full_facts(), back = {.seq = 42};
		struct err why = {0};
		Mha__Bus__Facts *m = facts_trip(&facts);

		m->node = damage == DAMAGE_NODE ? NODES_MAX + 1 : m->node;
		m->db = damage == DAMAGE_DB ? DB_STATE_COUNT : m->db;
		m->job = damage == DAMAGE_JOB ? UINT32_MAX : m->job;
		m->fault = damage == DAMAGE_FAULT ? FAULT_COUNT : m->fault;
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
		.keep_rule = true,
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
	cr_assert(back.keep_rule);
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
