/* The replicated state: which entry does what, which are refused, and what never changes. */
#include <criterion/criterion.h>
#include <string.h>

#include "core/cluster.h"
#include "core/syncset.h"

#define A 1
#define B 2
#define C 3
#define W 4 /* a witness */

#define SYSTEM_ID 4711

static struct entry init_entry(void)
{
	struct entry entry = {.kind = ENTRY_INIT};

	entry.init.cluster_id = 77;
	entry.init.node_total = 4;
	entry.init.settings = settings_default(3);
	for (unsigned i = 0; i < 4; i++) {
		struct node *node = &entry.init.nodes[i];

		node->id = (node_id)(i + 1);
		node->kind = i == 3 ? NODE_WITNESS : NODE_DATA;
		node->priority = 100;
		node->name[0] = (char)('a' + i);
	}
	return entry;
}

static struct entry entry_on(const struct cluster *cluster, enum entry_kind kind)
{
	return (struct entry){
		.kind = (uint8_t)kind,
		.base_version = cluster->version,
		.epoch = cluster->epoch,
	};
}

static struct entry assign_entry(const struct cluster *cluster, node_id node, node_set members,
				 uint8_t need)
{
	struct entry entry = entry_on(cluster, ENTRY_ASSIGN);

	entry.epoch++;
	entry.assign.node = node;
	entry.assign.record = (struct sync_rule){members, need};
	entry.assign.decision.epoch = entry.epoch;
	entry.assign.decision.to = node;
	return entry;
}

static struct entry resume_entry(const struct cluster *cluster, node_id node)
{
	struct entry entry =
		assign_entry(cluster, node, cluster->record.members, cluster->record.need);

	entry.assign.resume = true;
	return entry;
}

static struct entry opened_entry(const struct cluster *cluster)
{
	struct entry entry = entry_on(cluster, ENTRY_OPENED);

	entry.opened.timeline = cluster->timeline_max;
	entry.opened.parent = cluster->timeline;
	entry.opened.fork = cluster->open_lsn + 1000;
	entry.opened.system_id = SYSTEM_ID;
	entry.opened.open_us = 30000;
	entry.opened.promote_us = 20000;
	return entry;
}

static struct entry record_entry(const struct cluster *cluster, node_set members, uint8_t need)
{
	struct entry entry = entry_on(cluster, ENTRY_RECORD);

	entry.record.record = (struct sync_rule){members, need};
	return entry;
}

static struct entry rebuild_entry(const struct cluster *cluster, enum entry_kind kind, node_id node)
{
	struct entry entry = entry_on(cluster, kind);

	entry.rebuild.node = node;
	return entry;
}

/* Apply, and check what holds for every entry. */
static enum apply_result apply(struct cluster *cluster, struct entry entry)
{
	struct cluster before = *cluster;
	enum apply_result result = cluster_apply(cluster, &entry);

	cr_assert(cluster_sane(cluster), "%s makes a state that is not sane",
		  entry_kind_name(entry.kind));
	if (result != APPLIED)
		cr_assert_arr_eq(cluster, &before, sizeof(before), "%s is refused, but acts",
				 entry_kind_name(entry.kind));
	else if (entry.kind == ENTRY_FRESH)
		cr_assert_eq(cluster->version, before.version);
	else
		cr_assert_eq(cluster->version, before.version + 1);
	cr_assert_geq(cluster->epoch, before.epoch);
	cr_assert_geq(cluster->timeline_max, before.timeline_max);
	return result;
}

static void must(struct cluster *cluster, struct entry entry)
{
	cr_assert_eq(apply(cluster, entry), APPLIED, "%s", entry_kind_name(entry.kind));
}

static struct cluster initialised(void)
{
	struct cluster cluster;

	memset(&cluster, 0, sizeof(cluster));
	must(&cluster, init_entry());
	return cluster;
}

/* A was made primary, with nobody else. */
static struct cluster founded(void)
{
	struct cluster cluster = initialised();

	must(&cluster, assign_entry(&cluster, A, 0, 1));
	must(&cluster, opened_entry(&cluster));
	return cluster;
}

/* A serves, B and C are on record. */
static struct cluster serving(void)
{
	struct cluster cluster = founded();

	must(&cluster, record_entry(&cluster, node_bit(B), 1));
	must(&cluster, record_entry(&cluster, node_bit(B) | node_bit(C), 1));
	return cluster;
}

static struct cluster failed_over_to_b(void)
{
	struct cluster cluster = serving();

	must(&cluster, assign_entry(&cluster, B, node_bit(C), 1));
	return cluster;
}

Test(cluster, an_empty_state_knows_only_init)
{
	struct cluster cluster;

	memset(&cluster, 0, sizeof(cluster));
	cr_expect(cluster_sane(&cluster));
	for (unsigned kind = 0; kind < ENTRY_KIND_COUNT + 2; kind++) {
		struct entry entry = {.kind = (uint8_t)kind};

		if (kind == ENTRY_INIT || kind == ENTRY_FRESH)
			continue;
		cr_expect_eq(apply(&cluster, entry), APPLY_INVALID, "%u", kind);
	}
	must(&cluster, (struct entry){.kind = ENTRY_FRESH});
	cr_expect_eq(cluster.version, 0);
}

Test(cluster, init_names_the_members_once)
{
	struct cluster cluster = initialised();

	cr_expect_eq(cluster.cluster_id, 77);
	cr_expect_eq(cluster_nodes(&cluster, NODE_DATA), node_bit(A) | node_bit(B) | node_bit(C));
	cr_expect_eq(cluster_nodes(&cluster, NODE_WITNESS), node_bit(W));
	cr_expect_str_eq(cluster_node(&cluster, C)->name, "c");
	cr_expect_null(cluster_node(&cluster, 9));
	cr_expect_eq(cluster.epoch, 0);
	cr_expect(cluster.settled);
	cr_expect_eq(apply(&cluster, init_entry()), APPLY_STALE);
}

Test(cluster, init_that_makes_no_sense_is_refused)
{
	struct entry wrong[7];

	for (size_t i = 0; i < 7; i++)
		wrong[i] = init_entry();
	wrong[0].init.cluster_id = 0;
	wrong[1].init.node_total = 0;
	wrong[2].init.node_total = NODES_MAX + 1;
	wrong[3].init.nodes[1].id = A;
	wrong[4].init.nodes[2].id = NODES_MAX + 1;
	wrong[5].init.nodes[0].kind = 3;
	memset(wrong[6].init.nodes[3].name, 'x', NODE_NAME_SIZE);
	for (size_t i = 0; i < 7; i++) {
		struct cluster cluster;

		memset(&cluster, 0, sizeof(cluster));
		cr_expect_eq(apply(&cluster, wrong[i]), APPLY_INVALID, "%zu", i);
	}
}

Test(cluster, an_entry_on_an_older_state_is_stale)
{
	static const enum entry_kind kinds[] = {ENTRY_ASSIGN, ENTRY_OPENED,  ENTRY_SETTLE,
						ENTRY_RECORD, ENTRY_REBUILD, ENTRY_REBUILT};
	struct cluster cluster = serving();

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct entry entry = entry_on(&cluster, kinds[i]);

		entry.base_version--;
		cr_expect_eq(apply(&cluster, entry), APPLY_STALE, "%s", entry_kind_name(kinds[i]));
		entry.base_version += 2;
		cr_expect_eq(apply(&cluster, entry), APPLY_STALE, "%s", entry_kind_name(kinds[i]));
	}
	for (size_t i = 1; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct entry entry = entry_on(&cluster, kinds[i]);

		entry.epoch--;
		cr_expect_eq(apply(&cluster, entry), APPLY_STALE, "%s of another epoch",
			     entry_kind_name(kinds[i]));
	}
	cr_expect_eq(apply(&cluster, entry_on(&cluster, ENTRY_NONE)), APPLY_INVALID);
	cr_expect_eq(apply(&cluster, entry_on(&cluster, ENTRY_KIND_COUNT)), APPLY_INVALID);
}

Test(cluster, the_first_epoch)
{
	struct cluster cluster = initialised();

	must(&cluster, assign_entry(&cluster, A, 0, 1));
	cr_expect_eq(cluster.epoch, 1);
	cr_expect_eq(cluster.primary, A);
	cr_expect_not(cluster.opened);
	cr_expect(cluster.settled, "nothing was promised before");
	cr_expect_eq(cluster.timeline_max, 1 + TIMELINE_STEP, "a number is reserved");
	must(&cluster, opened_entry(&cluster));
	cr_expect(cluster.opened);
	cr_expect_eq(cluster.timeline, 1 + TIMELINE_STEP);
	cr_expect_eq(cluster.system_id, SYSTEM_ID);
	cr_expect_eq(cluster.open_lsn, 1000);
	cr_expect_eq(cluster.lineage_count, 1);
	cr_expect_eq(cluster.decision_count, 1);
	cr_expect_eq(cluster.decisions[0].open_us, 30000);
	cr_expect_eq(cluster.decisions[0].promote_us, 20000);
}

Test(cluster, assign_leaves_the_old_promise_owed)
{
	struct cluster cluster = failed_over_to_b();

	cr_expect_eq(cluster.epoch, 2);
	cr_expect_eq(cluster.primary, B);
	cr_expect_not(cluster.opened);
	cr_expect_not(cluster.settled);
	cr_expect_eq(cluster.earlier_count, 1);
	cr_expect_eq(cluster.earlier[0].epoch, 1);
	cr_expect_eq(cluster.earlier[0].primary, A);
	cr_expect_eq(cluster.earlier[0].record.members, node_bit(B) | node_bit(C));
	cr_expect_eq(cluster.timeline, 1 + TIMELINE_STEP, "of the last opened epoch");
	cr_expect_eq(cluster.timeline_max, 1 + 2 * TIMELINE_STEP);
	/* Nothing was acknowledged in an epoch that was not opened: nothing is owed. */
	must(&cluster, assign_entry(&cluster, C, 0, 1));
	cr_expect_eq(cluster.earlier_count, 1);
	cr_expect_eq(cluster.timeline_max, 1 + 3 * TIMELINE_STEP,
		     "its number is not used again, either");
}

Test(cluster, assign_that_makes_no_sense_is_refused)
{
	struct cluster cluster = serving();
	struct entry entry;

	cr_expect_eq(apply(&cluster, assign_entry(&cluster, W, 0, 1)), APPLY_INVALID, "a witness");
	cr_expect_eq(apply(&cluster, assign_entry(&cluster, 9, 0, 1)), APPLY_INVALID, "a stranger");
	cr_expect_eq(apply(&cluster, assign_entry(&cluster, NODE_NONE, 0, 1)), APPLY_INVALID);
	cr_expect_eq(apply(&cluster, assign_entry(&cluster, B, node_bit(B) | node_bit(C), 1)),
		     APPLY_INVALID, "its own standby");
	cr_expect_eq(apply(&cluster, assign_entry(&cluster, B, node_bit(W), 1)), APPLY_INVALID,
		     "a witness as standby");
	cr_expect_eq(apply(&cluster, assign_entry(&cluster, B, node_bit(C), NODES_MAX + 1)),
		     APPLY_INVALID);
	entry = assign_entry(&cluster, B, node_bit(C), 1);
	entry.epoch = cluster.epoch;
	cr_expect_eq(apply(&cluster, entry), APPLY_INVALID, "an epoch that was");
	entry = resume_entry(&cluster, B);
	cr_expect_eq(apply(&cluster, entry), APPLY_INVALID, "only the primary goes on");
	/* Epochs may be skipped: a survey may have asked for more than one. */
	entry = assign_entry(&cluster, B, node_bit(C), 1);
	entry.epoch += 5;
	must(&cluster, entry);
}

Test(cluster, nobody_who_is_rebuilt_is_assigned_or_counted_on)
{
	struct cluster cluster = founded();

	must(&cluster, rebuild_entry(&cluster, ENTRY_REBUILD, B));
	cr_expect_eq(apply(&cluster, assign_entry(&cluster, B, 0, 1)), APPLY_INVALID);
	cr_expect_eq(apply(&cluster, assign_entry(&cluster, C, node_bit(B), 1)), APPLY_INVALID);
	cr_expect_eq(apply(&cluster, record_entry(&cluster, node_bit(B), 1)), APPLY_INVALID);
	must(&cluster, rebuild_entry(&cluster, ENTRY_REBUILT, B));
	must(&cluster, record_entry(&cluster, node_bit(B), 1));
}

Test(cluster, resume_is_a_new_epoch_on_the_same_timeline)
{
	struct cluster cluster = serving();
	struct cluster before = cluster;

	must(&cluster, resume_entry(&cluster, A));
	cr_expect_eq(cluster.epoch, before.epoch + 1);
	cr_expect(cluster.opened);
	cr_expect(cluster.resume);
	cr_expect_eq(cluster.timeline, before.timeline);
	cr_expect_eq(cluster.timeline_max, before.timeline_max, "no promotion, no number");
	cr_expect_eq(cluster.record.members, before.record.members);
	cr_expect_eq(cluster.earlier_count, 0);
	cr_expect_eq(apply(&cluster, opened_entry(&cluster)), APPLY_INVALID, "it is open");
}

Test(cluster, a_resumed_promotion_is_still_to_be_opened)
{
	struct cluster cluster = failed_over_to_b();

	must(&cluster, resume_entry(&cluster, B));
	cr_expect_not(cluster.opened);
	cr_expect_eq(cluster.earlier_count, 1);
	must(&cluster, opened_entry(&cluster));
	cr_expect_eq(cluster.lineage[1].epoch, 3);
	cr_expect_eq(cluster.lineage[1].timeline, 1 + 2 * TIMELINE_STEP);
}

Test(cluster, a_switch_is_done_when_its_target_is_open)
{
	struct cluster cluster = serving();
	struct entry entry = entry_on(&cluster, ENTRY_OPERATION);

	entry.operation = (struct operation){
		.kind = OPERATION_SWITCHOVER, .state = OPERATION_RUNNING, .from = A, .to = B};
	must(&cluster, entry);
	must(&cluster, assign_entry(&cluster, B, node_bit(A) | node_bit(C), 1));
	must(&cluster, resume_entry(&cluster, B));
	cr_expect_neq(cluster_switching(&cluster), NULL, "its promotion goes on");
	must(&cluster, opened_entry(&cluster));
	cr_expect_eq(cluster.operations[0].state, OPERATION_DONE);
}

Test(cluster, opened_that_makes_no_sense_is_refused)
{
	struct cluster cluster = failed_over_to_b();
	struct entry entry = opened_entry(&cluster);

	entry.opened.timeline = cluster.timeline_max - 1;
	cr_expect_eq(apply(&cluster, entry), APPLY_INVALID, "a number that was used");
	entry = opened_entry(&cluster);
	entry.opened.parent = entry.opened.timeline;
	cr_expect_eq(apply(&cluster, entry), APPLY_INVALID, "its own parent");
	entry.opened.parent = 0;
	cr_expect_eq(apply(&cluster, entry), APPLY_INVALID, "no parent");
	entry = opened_entry(&cluster);
	entry.opened.system_id++;
	cr_expect_eq(apply(&cluster, entry), APPLY_INVALID, "another database");
	entry = opened_entry(&cluster);
	entry.opened.timeline += 7; /* history files that nobody recorded */
	must(&cluster, entry);
	cr_expect_eq(cluster.timeline_max, entry.opened.timeline);
	cr_expect_eq(apply(&cluster, opened_entry(&cluster)), APPLY_INVALID, "twice");
}

Test(cluster, settle_forgives_what_is_owed)
{
	struct cluster cluster = failed_over_to_b();

	cr_expect_eq(apply(&cluster, entry_on(&cluster, ENTRY_SETTLE)), APPLY_INVALID,
		     "before it is open");
	must(&cluster, opened_entry(&cluster));
	must(&cluster, entry_on(&cluster, ENTRY_SETTLE));
	cr_expect(cluster.settled);
	cr_expect_eq(cluster.earlier_count, 0);
	cr_expect_eq(apply(&cluster, entry_on(&cluster, ENTRY_SETTLE)), APPLY_INVALID, "twice");
}

Test(cluster, record_that_makes_no_sense_is_refused)
{
	struct cluster cluster = serving();

	cr_expect_eq(apply(&cluster, record_entry(&cluster, node_bit(A), 1)), APPLY_INVALID,
		     "the primary");
	cr_expect_eq(apply(&cluster, record_entry(&cluster, node_bit(W), 1)), APPLY_INVALID,
		     "a witness");
	cr_expect_eq(apply(&cluster, record_entry(&cluster, node_bit(9), 1)), APPLY_INVALID,
		     "a stranger");
	cr_expect_eq(apply(&cluster, record_entry(&cluster, 1, 1)), APPLY_INVALID, "bit 0");
	must(&cluster, assign_entry(&cluster, B, node_bit(C), 1));
	cr_expect_eq(apply(&cluster, record_entry(&cluster, node_bit(C), 1)), APPLY_INVALID,
		     "before it is open");
}

Test(cluster, since_when_it_is_degraded_is_kept)
{
	struct cluster cluster = serving();
	struct entry entry = record_entry(&cluster, 0, 0);

	cr_expect_not(cluster_degraded(&cluster));
	cluster.degraded_lsn = 0;
	entry.record.lsn = 0x5000060;
	entry.at_ms = 77;
	must(&cluster, entry);
	cr_expect(cluster_degraded(&cluster));
	cr_expect_eq(cluster.degraded_lsn, 0x5000060);
	cr_expect_eq(cluster.degraded_ms, 77);
	entry = record_entry(&cluster, 0, 0);
	entry.record.lsn = 0x6000000;
	entry.at_ms = 78;
	must(&cluster, entry);
	cr_expect_eq(cluster.degraded_lsn, 0x5000060, "since when stays");
	must(&cluster, record_entry(&cluster, node_bit(B), 1));
	cr_expect_not(cluster_degraded(&cluster));
	cr_expect_eq(cluster.degraded_ms, 77, "the last one stays known");
	/* The mode may begin to want more than the record gives. */
	entry = entry_on(&cluster, ENTRY_SETTINGS);
	entry.settings = cluster.settings;
	entry.settings.quorum_sync = 2;
	entry.at_ms = 79;
	must(&cluster, entry);
	cr_expect(cluster_degraded(&cluster));
	cr_expect_eq(cluster.degraded_lsn, cluster.open_lsn);
	cr_expect_eq(cluster.degraded_ms, 79);
}

Test(cluster, rebuild_weakens_what_is_owed)
{
	struct cluster cluster = failed_over_to_b();

	cr_expect_eq(apply(&cluster, rebuild_entry(&cluster, ENTRY_REBUILD, A)), APPLY_INVALID,
		     "nobody serves whom it could be rebuilt from");
	must(&cluster, opened_entry(&cluster));
	cr_expect_eq(apply(&cluster, rebuild_entry(&cluster, ENTRY_REBUILD, B)), APPLY_INVALID,
		     "the primary");
	cr_expect_eq(apply(&cluster, rebuild_entry(&cluster, ENTRY_REBUILD, C)), APPLY_INVALID,
		     "it is on record");
	cr_expect_eq(apply(&cluster, rebuild_entry(&cluster, ENTRY_REBUILD, W)), APPLY_INVALID,
		     "a witness");
	cr_expect_eq(apply(&cluster, rebuild_entry(&cluster, ENTRY_REBUILD, NODE_NONE)),
		     APPLY_INVALID);
	must(&cluster, rebuild_entry(&cluster, ENTRY_REBUILD, A));
	cr_expect_eq(cluster.earlier[0].primary, NODE_NONE, "its answer proves nothing any more");
	cr_expect_eq(cluster.earlier[0].record.need, 1);
	cr_expect_eq(apply(&cluster, rebuild_entry(&cluster, ENTRY_REBUILD, A)), APPLY_INVALID,
		     "twice");
	must(&cluster, record_entry(&cluster, 0, 0));
	must(&cluster, rebuild_entry(&cluster, ENTRY_REBUILD, C));
	cr_expect_eq(cluster.earlier[0].record.members, node_bit(B));
	cr_expect_eq(cluster.earlier[0].record.need, 0, "one holder less");
	cr_expect_eq(apply(&cluster, rebuild_entry(&cluster, ENTRY_REBUILT, B)), APPLY_INVALID);
	must(&cluster, rebuild_entry(&cluster, ENTRY_REBUILT, A));
	must(&cluster, rebuild_entry(&cluster, ENTRY_REBUILT, C));
	cr_expect_eq(cluster.rebuilding, 0);
}

Test(cluster, the_oldest_rows_go_when_the_tables_are_full)
{
	struct cluster cluster = founded();

	must(&cluster, record_entry(&cluster, node_bit(C), 1));
	for (unsigned i = 0; i < LINEAGE_MAX + 5; i++) {
		must(&cluster, assign_entry(&cluster, i % 2 == 0 ? B : A, node_bit(C), 1));
		must(&cluster, opened_entry(&cluster));
		must(&cluster, entry_on(&cluster, ENTRY_SETTLE));
	}
	cr_expect_eq(cluster.lineage_count, LINEAGE_MAX);
	cr_expect_eq(cluster.lineage[LINEAGE_MAX - 1].epoch, cluster.epoch);
	cr_expect_eq(cluster.lineage[0].epoch, cluster.epoch - LINEAGE_MAX + 1);
	cr_expect_eq(cluster.decision_count, DECISIONS_MAX);
	cr_expect_eq(cluster.decisions[DECISIONS_MAX - 1].epoch, cluster.epoch);
	cr_expect_eq(cluster.decisions[0].epoch, cluster.epoch - DECISIONS_MAX + 1);
}

Test(cluster, an_epoch_that_could_acknowledge_nothing_owes_nothing)
{
	struct cluster cluster = founded();

	must(&cluster, assign_entry(&cluster, B, 0, 1));
	cr_expect_eq(cluster.earlier_count, 0);
	cr_expect(cluster.settled);
	must(&cluster, opened_entry(&cluster));
	must(&cluster, record_entry(&cluster, 0, 0));
	must(&cluster, assign_entry(&cluster, A, 0, 1));
	cr_expect_eq(cluster.earlier_count, 1, "without a rule everything was acknowledged");
}

/* Small, fast and the same everywhere. */
static uint32_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return (uint32_t)(*state >> 16);
}

static void random_settings(struct entry *entry, const struct cluster *cluster, uint64_t *seed)
{
	entry->settings = cluster->settings;
	entry->settings.mode = (uint8_t)(next_random(seed) % (MODE_COUNT + 1));
	entry->settings.quorum_sync = (uint8_t)(next_random(seed) % 4);
	entry->settings.paused = next_random(seed) % 2 == 0;
	entry->settings.pinned |= next_random(seed) % 256 == 0;
}

/* Of the one that is under way, mostly; else a new one. */
static void random_operation(struct entry *entry, const struct cluster *cluster, uint64_t *seed)
{
	const struct operation *active = cluster_operation(cluster);
	struct operation *operation = &entry->operation;

	if (active != NULL && next_random(seed) % 4 != 0) {
		*operation = *active;
	} else {
		operation->kind = OPERATION_SWITCHOVER;
		operation->from = (node_id)(next_random(seed) % 5);
		operation->to = (node_id)(next_random(seed) % 5);
	}
	operation->state = (uint8_t)(next_random(seed) % OPERATION_STATE_COUNT);
}

static void random_member(struct entry *entry, uint64_t *seed)
{
	node_id id = (node_id)(next_random(seed) % 7);

	entry->member.step = (uint8_t)(next_random(seed) % (MEMBER_STEP_COUNT + 1));
	entry->member.id = id;
	entry->member.rebind = next_random(seed) % 16 == 0;
	entry->member.node = (struct node){.id = id, .kind = NODE_DATA, .priority = 100};
	entry->member.node.kind = next_random(seed) % 4 == 0 ? NODE_WITNESS : NODE_DATA;
	entry->member.node.name[0] = (char)('a' + id - 1 + next_random(seed) % 8 / 7);
	entry->member.node.identity = id + 10U * (next_random(seed) % 4 == 0);
}

static struct entry random_entry(const struct cluster *cluster, uint64_t *seed)
{
	struct entry entry =
		entry_on(cluster, (enum entry_kind)(next_random(seed) % (ENTRY_KIND_COUNT + 1)));
	node_set members = (node_set)next_random(seed) & 0x1f;
	uint8_t need = (uint8_t)(next_random(seed) % 3);
	node_id node = (node_id)(next_random(seed) % 5);

	/* Mostly sensible, so that the sequences get somewhere. */
	if (next_random(seed) % 4 != 0)
		members &= (node_set) ~(1U | node_bit(W) | node_bit(node) |
					node_bit(cluster->primary) | cluster->rebuilding);
	switch (entry.kind) {
	case ENTRY_INIT:
		return init_entry();
	case ENTRY_ASSIGN:
		entry = assign_entry(cluster, node, members, need);
		entry.assign.resume = next_random(seed) % 4 == 0;
		entry.assign.accept_loss = next_random(seed) % 16 == 0;
		break;
	case ENTRY_OPENED:
		entry = opened_entry(cluster);
		entry.opened.timeline += next_random(seed) % 3;
		entry.opened.timeline -= next_random(seed) % 2;
		break;
	case ENTRY_RECORD:
		entry = record_entry(cluster, members, need);
		break;
	case ENTRY_REBUILD:
	case ENTRY_REBUILT:
		entry.rebuild.node = node;
		break;
	case ENTRY_SETTINGS:
		random_settings(&entry, cluster, seed);
		break;
	case ENTRY_OPERATION:
		random_operation(&entry, cluster, seed);
		break;
	case ENTRY_MEMBER:
		random_member(&entry, seed);
		break;
	case ENTRY_HELD:
		entry.held.hold = (uint8_t)(next_random(seed) % (HOLD_COUNT + 1));
		break;
	default:
		break;
	}
	if (next_random(seed) % 16 == 0)
		entry.base_version += next_random(seed) % 3;
	if (next_random(seed) % 16 == 0)
		entry.epoch += next_random(seed) % 3;
	return entry;
}

/* What one entry may do to a state; `cluster_sane` and the rest is checked in apply(). */
static void check_step(const struct cluster *before, const struct cluster *after,
		       const struct entry *entry)
{
	cr_assert((after->rebuilding & after->record.members) == 0 || !after->opened);
	cr_assert(!node_in(after->rebuilding, after->primary));
	if (before->epoch != after->epoch)
		cr_assert_eq(entry->kind, ENTRY_ASSIGN);
	if (before->opened && after->opened && before->epoch == after->epoch)
		cr_assert_eq(before->timeline, after->timeline);
	if (after->opened && !before->opened)
		cr_assert_gt(after->timeline, before->timeline);
	if (before->settings.pinned) {
		cr_assert(after->settings.pinned);
		cr_assert_eq(after->settings.mode, before->settings.mode);
		cr_assert_eq(after->settings.quorum_sync, before->settings.quorum_sync);
	}
	/* Nobody goes on whom a promise counts, and nobody counts who only comes. */
	for (unsigned i = 0; i < before->node_total; i++)
		if (cluster_node(after, before->nodes[i].id) == NULL)
			cr_assert(!node_in(before->record.members, before->nodes[i].id) &&
				  before->nodes[i].id != before->primary &&
				  entry->kind == ENTRY_MEMBER);
	cr_assert((after->record.members & after->joining) == 0);
	for (node_id id = 1; id <= NODES_MAX; id++)
		if (before->bound[id] != after->bound[id])
			cr_assert(entry->kind == ENTRY_MEMBER &&
				  (before->bound[id] == 0 || entry->member.rebind));
	/* Operations end by an entry of their own, or by a promotion that is done. */
	if (cluster_operation(before) != NULL && cluster_operation(after) == NULL)
		cr_assert(entry->kind == ENTRY_OPERATION || entry->kind == ENTRY_OPENED ||
			  entry->kind == ENTRY_ASSIGN);
	/*
	 * A promise of an opened epoch is kept as the record or as an earlier one, unless nobody
	 * was promised anything or an operator has given it up.
	 */
	if (before->opened && !after->opened && !entry->assign.accept_loss &&
	    before->record.need <= node_count(before->record.members) &&
	    !(before->settings.mode == MODE_MAX_PERFORMANCE && before->record.need == 0)) {
		const struct earlier_record *row = &after->earlier[after->earlier_count - 1];

		cr_assert_eq(row->epoch, before->epoch);
		cr_assert_eq(row->primary, before->primary);
		cr_assert_eq(row->record.members, before->record.members);
		cr_assert_eq(row->record.need, before->record.need);
	}
	if (after->earlier_count == 0 && before->earlier_count > 0)
		cr_assert(entry->kind == ENTRY_SETTLE ||
			  (entry->kind == ENTRY_ASSIGN && entry->assign.accept_loss));
}

/* An answer of these nodes pays the promise. */
static bool paid(const struct earlier_record *row, node_set answered)
{
	return sync_survey_enough(row->record, answered) ||
	       (row->primary != NODE_NONE && node_in(answered, row->primary));
}

#define DEBTS_MAX 40

/* Promises are merged when there are too many; whatever pays what is left pays all there were. */
Test(cluster, no_debt_is_forgotten_when_there_are_too_many)
{
	unsigned merged = 0;

	for (uint64_t number = 1; number <= 200; number++) {
		uint64_t seed = number * UINT64_C(0x9e3779b97f4a7c15);
		struct earlier_record debts[DEBTS_MAX];
		struct entry init = init_entry();
		struct cluster cluster;
		unsigned count = 0;

		memset(&cluster, 0, sizeof(cluster));
		for (unsigned i = 3; i < 5; i++)
			init.init.nodes[i] =
				(struct node){.id = (node_id)(i + 1), .kind = NODE_DATA};
		init.init.node_total = 5;
		must(&cluster, init);
		while (count < DEBTS_MAX) {
			node_id node = (node_id)(1 + next_random(&seed) % 5);
			node_set members = (node_set)next_random(&seed) & 0x3e & ~node_bit(node);
			uint8_t need = (uint8_t)(next_random(&seed) % 3);

			if (apply(&cluster, assign_entry(&cluster, node, members, need)) != APPLIED)
				break;
			must(&cluster, opened_entry(&cluster));
			debts[count++] = (struct earlier_record){cluster.epoch, cluster.record,
								 cluster.primary};
			merged += count > cluster.earlier_count + 1U ? 1 : 0;
			for (node_set answered = 0; answered <= 0x3e; answered += 2) {
				bool enough = paid(&debts[count - 1], answered);

				for (unsigned i = 0; i < cluster.earlier_count; i++)
					enough = enough && paid(&cluster.earlier[i], answered);
				for (unsigned i = 0; enough && i < count; i++)
					cr_assert(paid(&debts[i], answered),
						  "seed %lu, answers %x, debt %u",
						  (unsigned long)number, answered, i);
			}
		}
	}
	cr_assert_gt(merged, 200);
}

static bool same_rule(struct sync_rule a, struct sync_rule b)
{
	return a.members == b.members && a.need == b.need;
}

static bool same_tables(const struct cluster *a, const struct cluster *b)
{
	for (unsigned i = 0; i < a->earlier_count; i++)
		if (a->earlier[i].epoch != b->earlier[i].epoch ||
		    a->earlier[i].primary != b->earlier[i].primary ||
		    !same_rule(a->earlier[i].record, b->earlier[i].record))
			return false;
	for (unsigned i = 0; i < a->lineage_count; i++)
		if (a->lineage[i].epoch != b->lineage[i].epoch ||
		    a->lineage[i].node != b->lineage[i].node ||
		    a->lineage[i].timeline != b->lineage[i].timeline ||
		    a->lineage[i].parent != b->lineage[i].parent ||
		    a->lineage[i].fork != b->lineage[i].fork)
			return false;
	for (unsigned i = 0; i < a->decision_count; i++)
		if (a->decisions[i].epoch != b->decisions[i].epoch ||
		    a->decisions[i].to != b->decisions[i].to ||
		    a->decisions[i].hold != b->decisions[i].hold ||
		    a->decisions[i].open_us != b->decisions[i].open_us)
			return false;
	for (unsigned i = 0; i < a->operation_count; i++)
		if (a->operations[i].id != b->operations[i].id ||
		    a->operations[i].state != b->operations[i].state)
			return false;
	return true;
}

/* Field by field: padding is nobody's state. */
static bool same_state(const struct cluster *a, const struct cluster *b)
{
	return a->version == b->version && a->cluster_id == b->cluster_id &&
	       a->node_total == b->node_total && a->system_id == b->system_id &&
	       a->epoch == b->epoch && a->primary == b->primary && a->opened == b->opened &&
	       a->resume == b->resume && a->timeline == b->timeline &&
	       a->timeline_max == b->timeline_max && a->open_lsn == b->open_lsn &&
	       same_rule(a->record, b->record) && a->settled == b->settled &&
	       a->earlier_count == b->earlier_count && a->rebuilding == b->rebuilding &&
	       a->joining == b->joining && a->leaving == b->leaving &&
	       a->lineage_count == b->lineage_count && a->decision_count == b->decision_count &&
	       a->operation_count == b->operation_count && a->settings.mode == b->settings.mode &&
	       a->settings.paused == b->settings.paused && same_tables(a, b);
}

#define LOG_LENGTH 600

Test(cluster, random_logs_keep_it_sane_and_replay_to_the_same_state)
{
	unsigned applied[ENTRY_KIND_COUNT] = {0};

	for (uint64_t seed_number = 1; seed_number <= 60; seed_number++) {
		uint64_t seed = seed_number * UINT64_C(0x9e3779b97f4a7c15);
		struct entry log[LOG_LENGTH];
		struct cluster cluster = initialised();
		struct cluster middle = cluster;
		struct cluster replayed = cluster;

		for (unsigned i = 0; i < LOG_LENGTH; i++) {
			struct cluster before = cluster;

			log[i] = random_entry(&cluster, &seed);
			if (apply(&cluster, log[i]) == APPLIED) {
				applied[log[i].kind]++;
				check_step(&before, &cluster, &log[i]);
			}
			if (i == LOG_LENGTH / 2)
				middle = cluster;
		}
		for (unsigned i = 0; i < LOG_LENGTH; i++)
			(void)cluster_apply(&replayed, &log[i]);
		cr_assert(same_state(&replayed, &cluster), "seed %lu", (unsigned long)seed_number);
		/* A snapshot is a copy: the rest of the log leads from it to the same end. */
		for (unsigned i = LOG_LENGTH / 2 + 1; i < LOG_LENGTH; i++)
			(void)cluster_apply(&middle, &log[i]);
		cr_assert(same_state(&middle, &cluster), "seed %lu", (unsigned long)seed_number);
	}
	for (unsigned kind = ENTRY_ASSIGN; kind < ENTRY_KIND_COUNT; kind++)
		cr_assert_gt(applied[kind], 50, "%s was applied %u times only",
			     entry_kind_name(kind), applied[kind]);
}

Test(cluster, damage_is_seen)
{
	struct cluster good = failed_over_to_b();
	struct cluster bad[12];

	for (size_t i = 0; i < 12; i++)
		bad[i] = good;
	bad[0].cluster_id = 0;
	bad[1].node_total = NODES_MAX + 1;
	bad[2].primary = W;
	bad[3].rebuilding = node_bit(B);
	bad[4].earlier_count = EARLIER_MAX + 1;
	bad[5].settled = true;
	bad[6].timeline = bad[6].timeline_max + 1;
	bad[7].record.members = node_bit(B);
	bad[8].epoch = 0;
	bad[9].joining = bad[9].leaving = node_bit(C);
	bad[10].leaving = node_bit(B);
	bad[11].joining = node_bit(7);
	cr_expect(cluster_sane(&good));
	for (size_t i = 0; i < 12; i++)
		cr_expect_not(cluster_sane(&bad[i]), "%zu", i);
}

Test(cluster, every_kind_has_a_name)
{
	for (unsigned kind = 0; kind < ENTRY_KIND_COUNT; kind++)
		cr_expect_str_neq(entry_kind_name(kind), "unknown");
	for (unsigned cause = 0; cause < CAUSE_COUNT; cause++)
		cr_expect_str_neq(assign_cause_name(cause), "unknown");
	for (unsigned step = MEMBER_JOIN; step < MEMBER_STEP_COUNT; step++)
		cr_expect_str_neq(member_step_name(step), "unknown");
	for (unsigned db = 1; db < DB_STATE_COUNT; db++)
		cr_expect_str_neq(db_state_name(db), "unknown");
	for (unsigned job = 0; job < JOB_COUNT; job++)
		cr_expect_str_neq(db_job_name(job), "unknown");
	for (unsigned fault = 0; fault < FAULT_COUNT; fault++) {
		cr_expect_str_neq(db_fault_name(fault), "unknown");
		cr_expect_eq(db_fault_advice(fault)[0] == '\0', fault == FAULT_NONE);
	}
	cr_expect_str_eq(db_fault_name(FAULT_COUNT), "unknown");
	cr_expect_str_eq(db_fault_advice(FAULT_COUNT), "");
	cr_expect_str_eq(entry_kind_name(ENTRY_KIND_COUNT), "unknown");
	cr_expect_str_eq(db_job_name(99), "unknown");
}
