/* Scripts for whole agents: the first primary, and what happens when one is lost. */
#include "agent_script.h"

/* --- the first primary --- */

Test(agent, bootstrap_makes_one_database_and_clones_the_others)
{
	struct world *world = started(3, 0);
	const struct cluster *cluster = world_cluster(world);

	EXPECT_ROWS(world, 0, "following/uninitialised", "following/no_epoch", "bootstrap/initdb",
		    "bootstrap/assign", "bootstrap/over", "following/assigned", "promote/done",
		    "opening/record", "opening/done", "steady/tend");
	cr_expect_eq(cluster->epoch, 1);
	cr_expect_eq(cluster->timeline, 1 + TIMELINE_STEP, "promoted, like any primary");
	cr_expect_eq(cluster->record.need, 1);
	cr_expect_eq(cluster->decisions[0].cause, CAUSE_BOOTSTRAP);
	cr_expect_eq(world->hosts[A].done[ORDER_DB_INITDB], 1);
	cr_expect_eq(world->hosts[B].done[ORDER_DB_INITDB], 0);
	cr_expect_eq(world->hosts[B].done[ORDER_DB_CLONE], 1);
	cr_expect_eq(world->hosts[C].done[ORDER_DB_CLONE], 1);
	for (node_id id = A; id <= C; id++)
		cr_expect_eq(world->hosts[id].fence, id == A ? FENCE_OPEN : FENCE_NONE);
}

Test(agent, bootstrap_waits_for_every_data_node)
{
	struct world *world = built(3, 0);

	world_stop_agent(world, C);
	world_run(world, 5000);
	cr_expect(nobody_serves(world), "C may hold the cluster's database");
	cr_expect_eq(world->hosts[A].done[ORDER_DB_INITDB], 0);
	world_start_agent(world, C);
	world_until(world, "a first primary", 3000, serves);
}

Test(agent, bootstrap_takes_the_only_database_there_is)
{
	struct world *world = built(3, 0);

	world->hosts[C].db.state = DB_DOWN;
	world->hosts[C].db.position = (struct wal_position){.timeline = 7, .flushed = 90000};
	world_until(world, "a first primary", 5000, serves);
	cr_expect_eq(world_writer(world), C);
	EXPECT_ROWS(world, 0, "bootstrap/other", "handover/transfer", "bootstrap/assign",
		    "opening/done");
	cr_expect_eq(world_cluster(world)->timeline, 8);
	cr_expect_eq(world->hosts[A].done[ORDER_DB_INITDB], 0);
	world_until(world, "all standbys are on record", 15000, all_stream);
}

Test(agent, bootstrap_does_not_choose_between_databases)
{
	struct world *world = built(3, 0);

	for (node_id id = B; id <= C; id++) {
		world->hosts[id].db.state = DB_DOWN;
		world->hosts[id].db.position = (struct wal_position){.timeline = 1, .flushed = 900};
	}
	world_run(world, 10000);
	cr_expect(blocked(world));
	EXPECT_ROWS(world, 0, "bootstrap/several", "blocked/several");
	cr_expect_eq(world_cluster(world)->epoch, 0);
	world->hosts[B].db.state = DB_ABSENT;
	world_until(world, "a first primary", 5000, serves);
	cr_expect_eq(world_writer(world), C);
	EXPECT_ROWS(world, 0, "blocked/several", "blocked/one_found");
}

Test(agent, bootstrap_goes_on_when_the_founder_does_not_take_the_leadership)
{
	struct world *world = built(3, 1);

	world->next_leader = 4;
	world->hosts[A].refuses_leadership = true;
	world_run(world, 8000);
	EXPECT_ROWS(world, 0, "bootstrap/other", "handover/transfer", "handover/failed_early",
		    "bootstrap/other");
	world->hosts[A].refuses_leadership = false;
	world_until(world, "a first primary", 8000, a_serves);
}

/* --- clients are let in --- */

Test(agent, nothing_is_granted_without_a_lease)
{
	struct world *world = started(3, 0);
	struct agent agent = world->hosts[A].agent;
	struct agent_event event = {.kind = EV_TICK, .now_ns = world->now_ns + 200 * MS};
	struct effects effects;
	struct agent copy;
	unsigned grants[8] = {0};

	for (unsigned i = 0; i < 8; i++) {
		event.raft = agent.raft;
		event.raft.lease_until_ns = world->now_ns + 1500 * MS;
		copy = agent;
		copy.granted_until_ns = 0;
		switch (i) {
		case 1:
			event.raft.lease_until_ns = event.now_ns;
			break;
		case 2:
			event.raft.leader = false;
			break;
		case 3:
			event.raft.ready = false;
			break;
		case 4:
			copy.transferring = true;
			break;
		case 5:
			copy.phase = PHASE_SURVEY;
			copy.survey_epoch = copy.cluster.epoch + 1;
			break;
		case 6:
			copy.promised = copy.cluster.epoch + 1;
			break;
		case 7:
			copy.self.rule.need = 0;
			break;
		default:
			break;
		}
		agent_step(&copy, &event, &effects);
		for (unsigned j = 0; j < effects.count; j++)
			grants[i] += effects.list[j].kind == FX_GRANT ? 1 : 0;
	}
	cr_expect_eq(grants[0], 1, "lease, leadership and readiness: renewed");
	cr_expect_eq(grants[1], 0, "the lease has ended");
	cr_expect_eq(grants[2], 0, "not the leader");
	cr_expect_eq(grants[3], 0, "no entry of the own term yet");
	cr_expect_eq(grants[4], 0, "the lease was given up for a transfer");
	cr_expect_eq(grants[5], 0, "only in the steady phase");
	cr_expect_eq(grants[6], 0, "a later epoch was promised");
	cr_expect_eq(grants[7], 0, "the rule does not cover the record");
}

Test(agent, nothing_is_granted_while_the_rule_does_not_cover_the_record)
{
	struct world *world = started(3, 0);

	/* Somebody has changed the database's configuration. */
	world->hosts[A].db.rule = (struct sync_rule){0, 0};
	world_until(world, "the lease ends unrenewed", 1500, nobody_serves);
}

/* --- the primary's database dies --- */

Test(agent, a_database_that_dies_and_starts_again_leads_a_new_epoch)
{
	struct world *world = started(1, 0);
	unsigned from = world->seen_count;

	world_kill_db(world, A);
	world_tick(world);
	world_until(world, "a primary", 500, serves);
	EXPECT_ROWS(world, from, "steady/down", "survey/safe", "assign/self");
	cr_expect_eq(world_cluster(world)->epoch, 2);
	cr_expect_eq(world_cluster(world)->timeline, 1 + 2 * TIMELINE_STEP);
	cr_expect_eq(world_cluster(world)->decisions[1].cause, CAUSE_DB_DOWN);
}

Test(agent, another_node_takes_over_from_a_dead_database)
{
	struct world *world = started(3, 0);
	unsigned from = world->seen_count;

	fail_starts(&world->hosts[A], true);
	world_kill_db(world, A);
	world_tick(world);
	world_until(world, "another primary", 500, b_serves);
	EXPECT_ROWS(world, from, "steady/down", "survey/safe", "assign/other", "handover/transfer",
		    "following/assigned", "promote/done", "opening/record", "opening/done");
	cr_expect_eq(world_cluster(world)->primary, B);
	cr_expect_eq(world->transfers, 1);
	world_until(world, "C follows, and what was owed is settled", 3000, serves);
	fail_starts(&world->hosts[A], false);
	world_until(world, "all standbys are on record", 20000, all_stream);
}

Test(agent, a_hung_database_is_killed_and_passed_over)
{
	struct world *world = started(3, 0);
	unsigned from = world->seen_count;

	fail_starts(&world->hosts[A], true);
	world->hosts[A].db.state = DB_HUNG;
	world_until(world, "another primary", 1000, b_serves);
	EXPECT_ROWS(world, from, "steady/hung", "survey/safe", "assign/other");
	cr_expect_geq(world->hosts[A].done[ORDER_DB_KILL], 1);
	cr_expect_eq(world_cluster(world)->decisions[1].cause, CAUSE_DB_HUNG);
}

Test(agent, a_hung_standby_is_killed_and_started)
{
	struct world *world = started(3, 0);

	world->hosts[C].db.state = DB_HUNG;
	world_run(world, 300);
	world_until(world, "it is back", 3000, all_stream);
	cr_expect_eq(world_writer(world), A);
	cr_expect_geq(world->hosts[C].done[ORDER_DB_KILL], 1);
}

Test(agent, the_leadership_goes_only_after_the_fence_is_closed)
{
	struct world *world = started(3, 0);
	uint64_t until = world->hosts[A].fence_until_ns;

	/* vip answers nothing any more; the kernel closes when the grant ends. */
	world->hosts[A].stuck = 1 << EXECUTOR_VIP;
	fail_starts(&world->hosts[A], true);
	world_kill_db(world, A);
	world_until(world, "the leadership is to go to B", 1000, handing_over);
	while (world->transfers == 0 && world->now_ns < until + 5000 * MS)
		world_tick(world);
	cr_expect_eq(world->transfers, 1);
	cr_expect_gt(world->now_ns, until, "not before the kernel has closed");
	world_until(world, "B serves", 2000, b_serves);
}

Test(agent, a_close_of_the_granted_epoch_does_not_prove_that_the_fence_is_closed)
{
	struct world *world = started(3, 0);
	struct agent *agent = &world->hosts[A].agent;
	struct agent_event stale = {.kind = EV_FENCE};
	uint64_t until = world->hosts[A].fence_until_ns;

	/* The last report is from before the grant; then vip froze, with the fence open. */
	stale.fence.state = FENCE_CLOSED;
	stale.fence.epoch = agent->granted_epoch;
	stale.fence.kernel = true;
	world->hosts[A].stuck = 1 << EXECUTOR_VIP;
	fail_starts(&world->hosts[A], true);
	world_kill_db(world, A);
	world_event(world, A, stale);
	while (world->transfers == 0 && world->now_ns < until + 5000 * MS)
		world_tick(world);
	cr_expect_gt(world->now_ns, until);
}

Test(agent, a_fence_that_an_agent_before_opened_counts_as_well)
{
	struct world *world = started(3, 0);

	/* Restarted, it has granted nothing; vip, with the fence open, says nothing. */
	world->hosts[A].stuck = 1 << EXECUTOR_VIP;
	world_stop_agent(world, A);
	fail_starts(&world->hosts[A], true);
	world_kill_db(world, A);
	world_start_agent(world, A);
	world_run(world, 12000);
	cr_expect_eq(world->transfers, 0, "the fence may be open");
	world->hosts[A].stuck = 0;
	world_until(world, "B serves", 3000, b_serves);
}

/* --- the primary's node is lost --- */

Test(agent, an_isolated_primary_is_replaced_and_comes_back_as_a_standby)
{
	struct world *world = started(3, 0);
	unsigned from = world->seen_count;
	uint64_t cut_ns = world->now_ns;

	world->hosts[A].cut = true;
	world->next_leader = B;
	world_until(world, "A is closed by its lease", 1000, nobody_serves);
	cr_expect_leq(world->now_ns - cut_ns, LEASE + TICK_NS);
	world_until(world, "B serves", 1500, b_serves);
	EXPECT_ROWS(world, from, "following/primary_lost", "survey/safe", "assign/self",
		    "following/assigned", "opening/done");
	cr_expect_eq(world_cluster(world)->decisions[1].cause, CAUSE_NODE_LOST);
	world_run(world, 4000);
	cr_expect_geq(world->hosts[A].done[ORDER_DB_KILL], 1,
		      "a primary without a lease does not run for ever");
	world->hosts[A].cut = false;
	world_until(world, "A streams from B", 20000, all_stream);
	cr_expect_eq(world_writer(world), B);
}

Test(agent, a_diverged_primary_is_rebuilt_off_the_record)
{
	struct world *world = started(3, 0);
	struct wal_position *position = &world->hosts[A].db.position;
	unsigned rebuilds = 0;

	world_kill_host(world, A);
	position->flushed += 4096; /* nobody else has it */
	world->next_leader = B;
	world_until(world, "B serves", 3000, b_serves);
	world_run(world, 1000);
	world_start_agent(world, A);
	world_until(world, "A is rewound and streams", 20000, all_stream);
	cr_expect_eq(world->hosts[A].done[ORDER_DB_REWIND], 1);
	cr_expect_eq(world->hosts[A].done[ORDER_DB_CLONE], 0);
	for (unsigned i = 0; i < world->log_length; i++)
		if (world->log[i].kind == ENTRY_REBUILD && world->log[i].rebuild.node == A)
			rebuilds++;
	cr_expect_eq(rebuilds, 1);
	cr_expect_geq(world->hosts[B].done[ORDER_DB_CHECKPOINT], 1);
}

static bool a_streams_marked(const struct world *world)
{
	return node_in(world_cluster(world)->rebuilding, A) && world->hosts[A].db.receiving;
}

static bool none_marked(const struct world *world)
{
	return world_cluster(world)->rebuilding == 0;
}

static bool a_rewound_again(const struct world *world)
{
	return world->hosts[A].done[ORDER_DB_REWIND] == 2;
}

/* Its log still says that it may be rebuilt: by hand it is promoted, and it is. */
Test(agent, a_rebuilt_node_counts_once_it_knows_that_it_does)
{
	struct world *world = started(3, 0);
	struct db *db = &world->hosts[A].db;

	world_kill_host(world, A);
	db->position.flushed += 4096; /* nobody else has it */
	world->next_leader = B;
	world_until(world, "B serves", 3000, b_serves);
	world_start_agent(world, A);
	world_until(world, "A is rewound and streams", 20000, a_streams_marked);
	world->hosts[A].late = true;
	world_until(world, "its mark is taken back", 5000, none_marked);
	world_run(world, 5000);
	cr_expect(db->receiving);
	cr_expect(node_in(world->hosts[A].agent.cluster.rebuilding, A));
	cr_expect_not(node_in(world_cluster(world)->record.members, A), "it has not heard so");

	promote_by_hand(db, db->position.timeline + 1);
	world_until(world, "A is rewound under the old mark", 20000, a_rewound_again);
	world->hosts[A].late = false;
	world_until(world, "A counts", 20000, all_stream);
	cr_expect_eq(world_writer(world), B);
}

static bool c_left(const struct world *world)
{
	return !node_in(world_cluster(world)->record.members, C);
}

/* A snapshot may have skipped the end of a rebuild. */
Test(agent, what_a_snapshot_skipped_is_waited_for)
{
	struct world *world = started(3, 0);
	struct agent_event event = {.kind = EV_RESTORED};
	struct cluster restored;

	world->hosts[C].late = true;
	world->hosts[C].db.deaf = true;
	world_until(world, "C leaves the record", 20000, c_left);
	world->hosts[C].db.deaf = false;
	restored = world->hosts[A].agent.cluster;
	event.restored = &restored;
	world_event(world, A, event);
	world_run(world, 5000);
	cr_expect(world->hosts[C].db.receiving);
	cr_expect_not(node_in(world_cluster(world)->record.members, C), "it lags behind that");
	world->hosts[C].late = false;
	world_until(world, "C counts", 5000, all_stream);
}

Test(agent, a_rewind_that_fails_is_followed_by_a_clone)
{
	struct world *world = started(3, 0);

	world_kill_host(world, A);
	world->hosts[A].db.position.flushed += 4096;
	world->hosts[A].failing = UINT64_C(1) << ORDER_DB_REWIND;
	world->next_leader = B;
	world_until(world, "B serves", 3000, b_serves);
	world_start_agent(world, A);
	world_until(world, "A is cloned and streams", 20000, all_stream);
	cr_expect_eq(world->hosts[A].done[ORDER_DB_CLONE], 1);
}

Test(agent, a_witness_leads_only_until_it_has_found_a_primary)
{
	struct world *world = started(2, 1);
	unsigned from = world->seen_count;

	world_kill_host(world, A);
	world->next_leader = C;
	world_until(world, "B serves", 3000, b_serves);
	EXPECT_ROWS(world, from, "following/primary_lost", "survey/safe", "assign/other",
		    "handover/transfer", "following/assigned");
	cr_expect_eq(world->leader, B);
	cr_expect_eq(world_cluster(world)->record.members, 0, "commits wait for a standby");
	world_start_agent(world, A);
	world_until(world, "A is back", 20000, all_stream);
}

Test(agent, a_leadership_that_strayed_goes_back_without_a_survey)
{
	struct world *world = started(3, 0);
	unsigned from = world->seen_count;
	uint64_t epoch = world_cluster(world)->epoch;

	world->leader = B;
	world->term++;
	world->hosts[B].led_since_ns = world->now_ns;
	world_run(world, 200);
	world_until(world, "A serves again", 500, a_serves);
	EXPECT_ROWS(world, from, "following/other_able", "handover/transfer",
		    "following/primary_runs");
	cr_expect_eq(world_cluster(world)->epoch, epoch);
	cr_expect_not(world_saw(world, from, "survey/safe"));
}

Test(agent, an_agent_that_is_restarted_within_the_lease_costs_nothing)
{
	struct world *world = started(3, 0);
	unsigned from = world->seen_count;
	uint64_t epoch = world_cluster(world)->epoch;

	world_stop_agent(world, A);
	world_run(world, 50);
	cr_expect(a_serves(world));
	world_start_agent(world, A);
	for (unsigned i = 0; i < 100; i++) {
		world_tick(world);
		cr_assert(a_serves(world));
	}
	cr_expect_eq(world_cluster(world)->epoch, epoch);
	cr_expect_not(world_saw(world, from, "survey/safe"));
}

Test(agent, an_unseen_database_is_waited_for)
{
	struct world *world = started(3, 0);
	unsigned from = world->seen_count;

	world_stop_agent(world, A);
	world->hosts[A].stuck = 1 << EXECUTOR_DBMON;
	world_start_agent(world, A);
	world_run(world, 500);
	EXPECT_ROWS(world, from, "following/unseen");
	world->hosts[A].stuck = 0;
	world_until(world, "A serves", 500, a_serves);
}

/* A standby whose server does not start is cloned, but not when nobody could try to start it. */
Test(agent, a_start_that_was_not_tried_says_nothing_of_the_data)
{
	for (unsigned lacking = 0; lacking < 2; lacking++) {
		struct world *world = started(3, 0);
		struct host *host = &world->hosts[C];
		const unsigned clones = host->done[ORDER_DB_CLONE];

		host->failing = UINT64_C(1) << ORDER_DB_START;
		host->lacking = lacking != 0;
		world_kill_db(world, C);
		world_run(world, 60000);
		cr_expect_eq(host->done[ORDER_DB_CLONE] > clones, lacking == 0, "lacking %u",
			     lacking);
		host->failing = 0;
		world_run(world, 60000);
		cr_expect_eq(host->db.state, DB_STANDBY);
		cr_expect_eq(host->done[ORDER_DB_CLONE] > clones, lacking == 0);
	}
}
