/* Nodes that join and leave, as entries of the log: what is refused, and what never rests on them.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "core/cluster.h"

#define A 1
#define B 2
#define C 3
#define W 4 /* a witness */

static struct entry entry_on(const struct cluster *cluster, enum entry_kind kind)
{
	return (struct entry){
		.kind = (uint8_t)kind,
		.base_version = cluster->version,
		.epoch = cluster->epoch,
	};
}

/* As it is said in the log; what is refused must change nothing. */
static enum apply_result apply(struct cluster *cluster, struct entry entry)
{
	struct cluster before = *cluster;
	enum apply_result result = cluster_apply(cluster, &entry);

	cr_assert(cluster_sane(cluster), "%s makes a state that is not sane",
		  entry_kind_name(entry.kind));
	if (result != APPLIED)
		cr_assert_arr_eq(cluster, &before, sizeof(before), "%s is refused, but acts",
				 entry_kind_name(entry.kind));
	return result;
}

static void must(struct cluster *cluster, struct entry entry)
{
	cr_assert_eq(apply(cluster, entry), APPLIED, "%s", entry_kind_name(entry.kind));
}

static struct entry assign_entry(const struct cluster *cluster, node_id node, node_set members,
				 uint8_t need)
{
	struct entry entry = entry_on(cluster, ENTRY_ASSIGN);

	entry.epoch++;
	entry.assign.node = node;
	entry.assign.record = (struct sync_rule){members, need};
	return entry;
}

static struct entry opened_entry(const struct cluster *cluster)
{
	struct entry entry = entry_on(cluster, ENTRY_OPENED);

	entry.opened.timeline = cluster->timeline_max;
	entry.opened.parent = cluster->timeline;
	entry.opened.fork = cluster->open_lsn + 1000;
	entry.opened.system_id = 4711;
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

/* Three data nodes and a witness; B serves, settled, and commits are on C too. */
static struct cluster serving_b(void)
{
	struct entry init = {.kind = ENTRY_INIT};
	struct cluster cluster;

	memset(&cluster, 0, sizeof(cluster));
	init.init.cluster_id = 77;
	init.init.node_total = 4;
	init.init.settings = settings_default(3);
	for (unsigned i = 0; i < 4; i++) {
		struct node *node = &init.init.nodes[i];

		node->id = (node_id)(i + 1);
		node->kind = i == 3 ? NODE_WITNESS : NODE_DATA;
		node->priority = 100;
		node->identity = 100 + i;
		node->name[0] = (char)('a' + i);
	}
	must(&cluster, init);
	must(&cluster, assign_entry(&cluster, B, node_bit(C), 1));
	must(&cluster, opened_entry(&cluster));
	cr_assert(cluster.settled);
	return cluster;
}

static struct entry member_step(const struct cluster *cluster, enum member_step step, node_id id)
{
	struct entry entry = entry_on(cluster, ENTRY_MEMBER);

	entry.member.step = (uint8_t)step;
	entry.member.id = id;
	return entry;
}

static struct entry join_entry(const struct cluster *cluster, node_id id, uint64_t identity)
{
	struct entry entry = member_step(cluster, MEMBER_JOIN, id);

	entry.member.node = (struct node){.id = id, .kind = NODE_DATA, .identity = identity};
	entry.member.node.name[0] = (char)('a' + id - 1);
	return entry;
}

#define E 5 /* a data node that comes */

Test(member, a_node_joins_without_counting_before_it_is_a_member)
{
	struct cluster cluster = serving_b();
	const uint8_t need = cluster_sync_need(&cluster);

	must(&cluster, join_entry(&cluster, E, 55));
	cr_expect(node_in(cluster.joining, E) && cluster_node(&cluster, E) != NULL);
	cr_expect_not(node_in(cluster_nodes(&cluster, NODE_DATA), E));
	cr_expect(node_in(cluster_present(&cluster, NODE_DATA), E));
	cr_expect_eq(cluster_sync_need(&cluster), need);
	cr_expect_eq(apply(&cluster, assign_entry(&cluster, E, node_bit(C), 1)), APPLY_INVALID);
	cr_expect_eq(apply(&cluster, record_entry(&cluster, node_bit(E), 1)), APPLY_INVALID);
	cr_expect_eq(apply(&cluster, join_entry(&cluster, E, 55)), APPLY_INVALID);
	cr_expect_eq(apply(&cluster, join_entry(&cluster, 6, 66)), APPLY_INVALID, "one at a time");
	cr_expect_eq(apply(&cluster, member_step(&cluster, MEMBER_LEAVE, A)), APPLY_INVALID);
	must(&cluster, rebuild_entry(&cluster, ENTRY_REBUILD, E));
	cr_expect_eq(apply(&cluster, member_step(&cluster, MEMBER_JOINED, E)), APPLY_INVALID);
	must(&cluster, rebuild_entry(&cluster, ENTRY_REBUILT, E));
	must(&cluster, member_step(&cluster, MEMBER_JOINED, E));
	cr_expect_eq(cluster.joining, 0);
	cr_expect_eq(cluster_sync_need(&cluster), 2, "half of four data nodes");
	must(&cluster, record_entry(&cluster, node_bit(E), 1));
}

Test(member, a_node_leaves_only_when_nothing_rests_on_it)
{
	struct cluster cluster = serving_b();

	must(&cluster, record_entry(&cluster, node_bit(C) | node_bit(A), 1));
	cr_expect_eq(apply(&cluster, member_step(&cluster, MEMBER_LEAVE, B)), APPLY_INVALID,
		     "the primary stays");
	cr_expect_eq(apply(&cluster, member_step(&cluster, MEMBER_LEFT, C)), APPLY_INVALID);
	must(&cluster, member_step(&cluster, MEMBER_LEAVE, C));
	cr_expect_eq(apply(&cluster, member_step(&cluster, MEMBER_LEFT, C)), APPLY_INVALID,
		     "it is on record");
	cr_expect_not(node_in(cluster_counted(&cluster), C));
	/* Commits may be on C alone: until the record says otherwise it may be chosen. */
	cr_expect(node_in(cluster_nodes(&cluster, NODE_DATA), C));
	must(&cluster, record_entry(&cluster, node_bit(A), 1));
	must(&cluster, member_step(&cluster, MEMBER_LEFT, C));
	cr_expect_null(cluster_node(&cluster, C));
	cr_expect_eq(cluster.leaving, 0);
	cr_expect_eq(cluster.node_total, 3);
}

Test(member, who_is_chosen_while_it_leaves_stays)
{
	struct cluster cluster = serving_b();

	must(&cluster, record_entry(&cluster, node_bit(C), 1));
	must(&cluster, member_step(&cluster, MEMBER_LEAVE, C));
	must(&cluster, assign_entry(&cluster, C, 0, 0));
	cr_expect_eq(cluster.leaving, 0);
	must(&cluster, opened_entry(&cluster));
	cr_expect_eq(apply(&cluster, member_step(&cluster, MEMBER_LEFT, C)), APPLY_INVALID);
	cr_expect_eq(apply(&cluster, member_step(&cluster, MEMBER_STAY, C)), APPLY_INVALID);
}

Test(member, an_id_belongs_to_one_node)
{
	struct cluster cluster = serving_b();
	struct entry other;

	must(&cluster, join_entry(&cluster, E, 55));
	must(&cluster, member_step(&cluster, MEMBER_LEAVE, E));
	cr_expect_null(cluster_node(&cluster, E), "who only joins is gone at once");
	cr_expect_eq(cluster.bound[E], 55);
	cr_expect_eq(apply(&cluster, join_entry(&cluster, E, 56)), APPLY_INVALID);
	other = join_entry(&cluster, E, 55);
	memcpy(other.member.node.name, cluster.nodes[0].name, NODE_NAME_SIZE);
	cr_expect_eq(apply(&cluster, other), APPLY_INVALID, "the name is a's");
	must(&cluster, join_entry(&cluster, E, 55));
	must(&cluster, member_step(&cluster, MEMBER_LEAVE, E));
	other = join_entry(&cluster, E, 56);
	other.member.rebind = true;
	must(&cluster, other);
	cr_expect_eq(cluster.bound[E], 56);
}

Test(member, a_leave_keeps_what_the_settings_ask_for)
{
	struct cluster cluster = serving_b();
	struct entry entry = entry_on(&cluster, ENTRY_SETTINGS);

	entry.settings = cluster.settings;
	entry.settings.quorum_sync = 2;
	must(&cluster, entry);
	cr_expect_eq(apply(&cluster, member_step(&cluster, MEMBER_LEAVE, C)), APPLY_INVALID,
		     "two standbys are asked for");
	cr_expect_eq(apply(&cluster, member_step(&cluster, MEMBER_LEAVE, W)), APPLIED);
	cr_expect_eq(apply(&cluster, member_step(&cluster, MEMBER_STAY, W)), APPLIED);
}
