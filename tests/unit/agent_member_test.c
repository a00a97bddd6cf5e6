/* What stands against a node that is to join or to leave, and the steps that the primary takes. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "core/agent_internal.h"

#define SEC      UINT64_C(1000000000)
#define NOW      (100 * SEC)
#define ROSTER   77
#define SYSTEM   4711
#define TIMELINE 5

static struct agent agent;

static void node_fill(struct node *node, node_id id)
{
	*node = (struct node){.id = id, .kind = NODE_DATA, .priority = 100, .identity = 100U + id};
	snprintf(node->name, sizeof(node->name), "n%u", id);
}

static void heard(node_id id, uint8_t db)
{
	struct peer *peer = &agent.peers[id];

	peer->known = true;
	peer->heard_ns = NOW;
	peer->facts = (struct facts){.node = id, .db = db, .system_id = SYSTEM, .roster = ROSTER};
	peer->facts.position.timeline = TIMELINE;
	peer->facts.position.flushed = 1000;
}

static void streams(node_id id)
{
	agent.self.standbys[agent.self.standby_count++] =
		(struct standby_view){.node = id, .streaming = true, .flushed = 1000};
	agent.standings[id].good_ns = NOW - SEC;
}

/* n1 serves with n2 and n3; n4 is configured, and its agent is heard. */
static void setup(void)
{
	struct cluster *cluster = &agent.cluster;

	memset(&agent, 0, sizeof(agent));
	agent.config.self = 1;
	agent.config.election_ns = SEC;
	agent.config.heartbeat_ns = SEC / 10;
	agent.config.roster = ROSTER;
	agent.config.node_total = 4;
	agent.config.later = node_bit(4);
	for (unsigned i = 0; i < 4; i++)
		node_fill(&agent.config.nodes[i], (node_id)(i + 1));
	memcpy(cluster->nodes, agent.config.nodes, 3 * sizeof(cluster->nodes[0]));
	cluster->node_total = 3;
	cluster->version = 9;
	cluster->cluster_id = 1;
	cluster->system_id = SYSTEM;
	cluster->epoch = 2;
	cluster->primary = 1;
	cluster->opened = cluster->settled = true;
	cluster->timeline = cluster->timeline_max = TIMELINE;
	cluster->record = (struct sync_rule){node_bit(2) | node_bit(3), 1};
	cluster->settings = settings_default(3);
	agent.now_ns = NOW;
	agent.phase = PHASE_STEADY;
	agent.raft = (struct raft_view){.leader = true, .ready = true, .current = true, .term = 3};
	agent.raft.lease_until_ns = NOW + SEC;
	agent.raft.voters = agent.raft.servers = 0x0e;
	agent.self_known = true;
	agent.self.db = DB_PRIMARY;
	agent.self.position.flushed = 1000;
	agent.self.position.timeline = TIMELINE;
	agent.self.rule = cluster->record;
	agent.own = agent.self;
	agent.own.roster = ROSTER;
	for (node_id id = 2; id <= 3; id++) {
		heard(id, DB_STANDBY);
		streams(id);
	}
	heard(4, DB_ABSENT);
}

TestSuite(agent_member, .init = setup);

static struct entry entry;
static struct blocker list[BLOCKERS_MAX];

static unsigned join(bool force)
{
	const struct call call = {.kind = CALL_MEMBER_ADD, .node = 4, .force = force};

	return agent_join_blockers(&agent, &call, &entry, list);
}

static unsigned leave(node_id id, bool force)
{
	const struct call call = {.kind = CALL_MEMBER_REMOVE, .node = id, .force = force};

	return agent_leave_blockers(&agent, &call, &entry, list);
}

static bool named(unsigned count, uint8_t kind, node_id node)
{
	for (unsigned i = 0; i < count; i++)
		if (list[i].kind == kind && list[i].node == node)
			return true;
	return false;
}

Test(agent_member, a_node_that_is_ready_may_join)
{
	cr_assert_eq(join(false), 0, "%s", blocker_name(list[0].kind));
	cr_expect_eq(entry.member.step, MEMBER_JOIN);
	cr_expect_eq(entry.member.node.identity, 104);
	cr_expect_eq(cluster_apply(&agent.cluster, &entry), APPLIED);
	cr_expect(named(join(false), BLOCK_ALREADY_MEMBER, 4));
	cr_expect(named(leave(2, false), BLOCK_MEMBER_CHANGE, 4), "one change at a time");
	cr_expect_eq(leave(4, false), 0, "a join is taken back");
}

Test(agent_member, all_that_stands_against_a_join_is_named)
{
	unsigned count;

	agent.peers[3].facts.roster = 1;
	agent.peers[2].heard_ns = NOW - 10 * SEC;
	agent.peers[4].facts.db = DB_STANDBY;
	agent.peers[4].facts.system_id = 1;
	agent.cluster.bound[4] = 5;
	count = join(false);
	cr_expect(named(count, BLOCK_ROSTER, 3));
	cr_expect(named(count, BLOCK_FOREIGN_DATA, 4));
	cr_expect(named(count, BLOCK_IDENTITY, 4));
	cr_expect_not(named(count, BLOCK_QUORUM, NODE_NONE), "three of four are heard");
	cr_expect_not(named(join(true), BLOCK_IDENTITY, 4));
	agent.peers[3].heard_ns = NOW - 10 * SEC;
	cr_expect(named(join(true), BLOCK_QUORUM, NODE_NONE), "two of four are none");
	agent.peers[4].known = false;
	cr_expect(named(join(true), BLOCK_NOT_HEARD, 4));
	agent.config.node_total = 3;
	cr_expect(named(join(true), BLOCK_NOT_CONFIGURED, 4));
	agent.raft.lease_until_ns = 0;
	cr_expect(named(join(true), BLOCK_NOT_SERVING, NODE_NONE));
}

Test(agent_member, all_that_stands_against_a_leave_is_named)
{
	unsigned count;

	cr_expect_eq(leave(2, false), 0);
	cr_expect_eq(entry.member.step, MEMBER_LEAVE);
	cr_expect(named(leave(1, false), BLOCK_IS_PRIMARY, 1));
	cr_expect(named(leave(4, false), BLOCK_NO_SUCH_NODE, 4));
	agent.cluster.settled = false;
	agent.cluster.settings.quorum_sync = 2;
	agent.standings[3].good_ns = 0;
	agent.peers[3].heard_ns = NOW - 10 * SEC;
	count = leave(2, false);
	cr_expect(named(count, BLOCK_UNSETTLED, NODE_NONE));
	cr_expect(named(count, BLOCK_QUORUM_RANGE, NODE_NONE));
	cr_expect(named(count, BLOCK_COMMITS_WOULD_WAIT, NODE_NONE));
	cr_expect(named(count, BLOCK_QUORUM, NODE_NONE), "n1 alone would be one of two");
	agent.cluster.node_total = 2;
	cr_expect(named(leave(2, false), BLOCK_LAST_STANDBY, NODE_NONE));
	cr_expect_not(named(leave(2, true), BLOCK_LAST_STANDBY, NODE_NONE));
}

/* One step of the primary; what it asks Raft for, or proposes. */
static struct effects tend(void)
{
	static struct effects effects;

	effects.count = 0;
	agent.server_ns = 0;
	agent.proposing = false;
	agent.proposed_base = 0;
	(void)agent_tend_members(&agent, &effects);
	return effects;
}

static bool asks(const struct effects *effects, uint8_t role)
{
	return effects->count == 1 && effects->list[0].kind == FX_SERVER &&
	       effects->list[0].node == 4 && effects->list[0].role == role;
}

Test(agent_member, a_vote_comes_last_and_goes_last)
{
	struct effects effects;

	cr_assert_eq(join(false), 0);
	cr_assert_eq(cluster_apply(&agent.cluster, &entry), APPLIED);
	effects = tend();
	cr_expect(asks(&effects, SERVER_LEARNER));
	agent.raft.changing = true;
	cr_expect_eq(tend().count, 0, "one change of Raft at a time");
	agent.raft.changing = false;
	agent.raft.servers |= node_bit(4);
	heard(4, DB_STANDBY);
	effects = tend();
	cr_expect(asks(&effects, SERVER_LEARNER), "it does not stream yet");
	streams(4);
	effects = tend();
	cr_expect(asks(&effects, SERVER_VOTER));
	agent.raft.voters |= node_bit(4);
	effects = tend();
	cr_assert(effects.count == 1 && effects.list[0].kind == FX_PROPOSE);
	cr_expect_eq(effects.list[0].entry.member.step, MEMBER_JOINED);
	cr_assert_eq(cluster_apply(&agent.cluster, &effects.list[0].entry), APPLIED);
	cr_expect_eq(tend().count, 0);

	agent.cluster.leaving = node_bit(4);
	agent.cluster.record.members |= node_bit(4);
	cr_expect_eq(tend().count, 0, "on record");
	agent.cluster.record.members &= ~node_bit(4);
	agent.self.rule.members |= node_bit(4);
	cr_expect_eq(tend().count, 0, "waited for");
	agent.self.rule.members &= ~node_bit(4);
	effects = tend();
	cr_assert(effects.count == 1 && effects.list[0].kind == FX_PROPOSE);
	cr_expect_eq(effects.list[0].entry.member.step, MEMBER_LEFT);
	cr_assert_eq(cluster_apply(&agent.cluster, &effects.list[0].entry), APPLIED);
	agent_track_servers(&agent);
	cr_expect_eq(tend().count, 0, "it learns of it first");
	agent.now_ns += 2 * SEC;
	effects = tend();
	cr_expect(asks(&effects, SERVER_NONE));
	cr_expect(named(join(false), BLOCK_MEMBER_CHANGE, 4), "its vote is not taken yet");
}
