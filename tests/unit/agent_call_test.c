/* What operators ask: switchovers, pauses, maintenance, forced failovers, and who is refused. */
#include <string.h>

#include "agent_script.h"

static void expect_refused(struct world *world, struct call call, enum blocker_kind kind)
{
	unsigned before = world->results;

	world_call(world, call);
	cr_assert_eq(world->results, before + 1, "a refusal comes at once");
	cr_expect_eq(world->result.code, CALL_REFUSED, "%s: %s", blocker_name(kind),
		     call_code_name(world->result.code));
	cr_expect(has_blocker(&world->result, kind), "%s is not among the blockers",
		  blocker_name(kind));
}

static const struct operation *newest(const struct world *world)
{
	const struct cluster *cluster = world_cluster(world);

	cr_assert_gt(cluster->operation_count, 0);
	return &cluster->operations[cluster->operation_count - 1];
}

static bool operation_over(const struct world *world)
{
	return cluster_operation(world_cluster(world)) == NULL;
}

static bool paused_now(const struct world *world)
{
	return in_phase(world, PHASE_PAUSED);
}

Test(agent_call, a_switchover_moves_the_primary_and_needs_no_rewind)
{
	struct world *world = started(3, 0);
	const struct operation *operation;
	unsigned rewinds = world->hosts[A].done[ORDER_DB_REWIND];
	unsigned clones = world->hosts[A].done[ORDER_DB_CLONE];

	expect_accepted(world, (struct call){.kind = CALL_SWITCHOVER, .node = B});
	cr_expect_neq(world->result.operation, 0);
	world_until(world, "B serves", 5000, b_serves);
	world_until(world, "all stream again", 5000, all_stream);
	operation = newest(world);
	cr_expect_eq(operation->id, world->result.operation);
	cr_expect_eq(operation->state, OPERATION_DONE, "%s",
		     operation_state_name(operation->state));
	cr_expect_eq(operation->from, A);
	cr_expect_eq(operation->to, B);
	cr_expect_eq(world->hosts[A].done[ORDER_DB_REWIND], rewinds);
	cr_expect_eq(world->hosts[A].done[ORDER_DB_CLONE], clones);
	EXPECT_ROWS(world, 0, "steady/switch", "switch/ready", "halt/done", "survey/safe");
}

Test(agent_call, without_a_name_the_best_standby_is_taken)
{
	struct world *world = started(3, 0);

	expect_accepted(world, (struct call){.kind = CALL_SWITCHOVER});
	cr_expect_eq(world->result.node, B);
	world_until(world, "B serves", 5000, b_serves);
}

Test(agent_call, a_dry_run_lists_everything_and_changes_nothing)
{
	struct world *world = started(3, 0);
	uint64_t version = world_cluster(world)->version;

	world_call(world, (struct call){.kind = CALL_SWITCHOVER, .node = B, .dry_run = true});
	cr_expect_eq(world->result.code, CALL_POSSIBLE);
	world_kill_db(world, B);
	world->hosts[B].failing = ~UINT64_C(0);
	world_run(world, 100);
	world_call(world, (struct call){.kind = CALL_SWITCHOVER, .node = B, .dry_run = true});
	cr_expect_eq(world->result.code, CALL_REFUSED);
	cr_expect(has_blocker(&world->result, BLOCK_NOT_STANDBY));
	cr_expect(has_blocker(&world->result, BLOCK_ANSWERS));
	cr_expect_eq(world_cluster(world)->version, version);
}

Test(agent_call, nonsense_is_refused_by_name)
{
	struct world *world = started(2, 1);
	const uint64_t now_ms = world->now_ns / MS;

	expect_refused(world, (struct call){.kind = CALL_SWITCHOVER, .node = A},
		       BLOCK_ALREADY_PRIMARY);
	expect_refused(world, (struct call){.kind = CALL_SWITCHOVER, .node = C}, BLOCK_WITNESS);
	expect_refused(world, (struct call){.kind = CALL_SWITCHOVER, .node = 9},
		       BLOCK_NO_SUCH_NODE);
	expect_refused(world,
		       (struct call){.kind = CALL_SWITCHOVER,
				     .node = B,
				     .start_ms = now_ms + 10,
				     .end_ms = now_ms + 5},
		       BLOCK_WINDOW);
	expect_refused(world, (struct call){.kind = CALL_FAILOVER, .node = B},
		       BLOCK_PRIMARY_SERVES);
	expect_refused(world, (struct call){.kind = CALL_CANCEL}, BLOCK_NO_OPERATION);
	expect_refused(world, (struct call){.kind = CALL_RESUME}, BLOCK_NOT_PAUSED);
	expect_refused(world, (struct call){.kind = CALL_MAINTENANCE, .node = A, .on = true},
		       BLOCK_IS_PRIMARY);
	expect_refused(world, (struct call){.kind = 77}, BLOCK_INVALID);
	expect_refused(world,
		       (struct call){.kind = CALL_MODE,
				     .mode = MODE_MAX_PROTECTION,
				     .quorum_sync = 5,
				     .force = true},
		       BLOCK_QUORUM_RANGE);
	/* The mode that is not named is the leader's, and what it needs is judged by that. */
	expect_refused(world, (struct call){.kind = CALL_MODE, .mode = MODE_KEEP, .quorum_sync = 5},
		       BLOCK_QUORUM_RANGE);
	world->hosts[B].cut = true;
	world_run(world, 1500);
	expect_refused(world, (struct call){.kind = CALL_SWITCHOVER, .node = B}, BLOCK_NOT_HEARD);
	expect_refused(world, (struct call){.kind = CALL_SWITCHOVER}, BLOCK_NO_CANDIDATE);
}

Test(agent_call, a_switchover_that_cannot_fence_leaves_the_primary_writable)
{
	struct world *world = started(3, 0);

	world->hosts[A].failing = UINT64_C(1) << ORDER_FENCE_CLIENTS;
	expect_accepted(world, (struct call){.kind = CALL_SWITCHOVER, .node = B});
	world_until(world, "it is given up", 10000, operation_over);
	cr_expect_eq(newest(world)->state, OPERATION_ROLLED_BACK);
	cr_expect_eq(newest(world)->reason, BLOCK_DEADLINE);
	world_until(world, "A serves", 1000, a_serves);
}

Test(agent_call, a_target_that_dies_in_the_last_moment_leaves_some_primary)
{
	struct world *world = started(3, 0);

	world_call(world, (struct call){.kind = CALL_SWITCHOVER, .node = B});
	world_until(world, "the database stops", 5000, surveying);
	world_kill_host(world, B);
	world_until(world, "somebody serves", 20000, serves);
	world_until(world, "the operation has ended", 20000, operation_over);
	cr_expect_neq(newest(world)->state, OPERATION_DONE);
}

Test(agent_call, a_switchover_that_has_stopped_the_primary_cannot_be_cancelled)
{
	struct world *world = started(3, 0);

	world_call(world, (struct call){.kind = CALL_SWITCHOVER, .node = B});
	world_until(world, "the database has stopped", 5000, surveying);
	expect_refused(world, (struct call){.kind = CALL_CANCEL}, BLOCK_TOO_LATE);
	world_until(world, "B serves", 5000, b_serves);
	world_until(world, "the operation has ended", 5000, operation_over);
	cr_expect_eq(newest(world)->state, OPERATION_DONE);
}

Test(agent_call, a_scheduled_switchover_waits_for_its_window_and_can_be_cancelled)
{
	struct world *world = started(3, 0);
	const uint64_t now_ms = world->now_ns / MS;
	struct call call = {
		.kind = CALL_SWITCHOVER,
		.node = B,
		.start_ms = now_ms + 2000,
		.end_ms = now_ms + 8000,
	};

	expect_accepted(world, call);
	cr_expect_eq(newest(world)->state, OPERATION_SCHEDULED);
	cr_expect(a_serves(world));
	expect_refused(world, (struct call){.kind = CALL_SWITCHOVER, .node = C}, BLOCK_OPERATION);
	expect_accepted(world, (struct call){.kind = CALL_CANCEL});
	cr_expect_eq(newest(world)->state, OPERATION_CANCELLED);
	expect_accepted(world, call);
	world_until(world, "B serves", 6000, b_serves);
	cr_expect_geq(world->now_ns / MS, call.start_ms);
	world_run(world, 2000);
	cr_expect_eq(newest(world)->state, OPERATION_DONE);
}

Test(agent_call, a_window_that_passes_unused_expires)
{
	struct world *world = started(3, 0);
	const uint64_t now_ms = world->now_ns / MS;

	expect_accepted(world, (struct call){.kind = CALL_SWITCHOVER,
					     .node = B,
					     .start_ms = now_ms + 500,
					     .end_ms = now_ms + 2000});
	world_kill_host(world, B);
	world_run(world, 4000);
	cr_expect_eq(newest(world)->state, OPERATION_EXPIRED);
	cr_expect(a_serves(world));
}

Test(agent_call, in_a_pause_nobody_is_started_or_promoted)
{
	struct world *world = started(3, 0);
	const struct decision *held;

	expect_accepted(world, (struct call){.kind = CALL_PAUSE});
	cr_expect(a_serves(world));
	world_kill_db(world, A);
	world_until(world, "it stands still", 5000, paused_now);
	world_run(world, 10000);
	cr_expect(nobody_serves(world));
	cr_expect_eq(world->hosts[A].db.state, DB_DOWN);
	held = &world_cluster(world)->decisions[world_cluster(world)->decision_count - 1];
	cr_expect_eq(held->hold, HOLD_PAUSED);
	expect_accepted(world, (struct call){.kind = CALL_RESUME});
	world_until(world, "somebody serves", 10000, serves);
}

Test(agent_call, a_pause_ends_by_itself_when_told_so)
{
	struct world *world = started(3, 0);

	expect_accepted(world,
			(struct call){.kind = CALL_PAUSE, .end_ms = world->now_ns / MS + 3000});
	world_kill_host(world, A);
	world_run(world, 2000);
	cr_expect(nobody_serves(world));
	world_until(world, "the pause is over", 10000, serves);
	cr_expect_not(world_cluster(world)->settings.paused);
}

Test(agent_call, automatic_failover_switched_off_waits_for_the_primary_or_an_operator)
{
	struct world *world = started(3, 0);
	const struct cluster *cluster;

	expect_accepted(world, (struct call){.kind = CALL_AUTO_FAILOVER, .on = false});
	world_kill_host(world, A);
	world_until(world, "it is held", 10000, blocked);
	world_run(world, 5000);
	cr_expect(nobody_serves(world));
	cluster = world_cluster(world);
	cr_expect_eq(cluster->decisions[cluster->decision_count - 1].hold, HOLD_AUTO_FAILOVER);
	expect_accepted(world, (struct call){.kind = CALL_FAILOVER, .node = B});
	cr_expect_eq(world->result.loss_bytes, 0);
	world_until(world, "B serves", 5000, b_serves);
	cluster = world_cluster(world);
	cr_expect_eq(cluster->decisions[cluster->decision_count - 1].cause, CAUSE_OPERATOR);
}

Test(agent_call, switched_off_the_same_primary_still_comes_back)
{
	struct world *world = started(3, 0);

	expect_accepted(world, (struct call){.kind = CALL_AUTO_FAILOVER, .on = false});
	world_kill_db(world, A);
	world_until(world, "it is over", 1000, nobody_serves);
	world_until(world, "A serves", 10000, a_serves);
}

Test(agent_call, a_failover_with_loss_needs_consent_and_names_the_bound)
{
	struct world *world = started(3, 0);

	/* B misses what A and C acknowledge; then both are gone but their agents' votes. */
	world->hosts[B].db.deaf = true;
	world_run(world, 500);
	world_kill_db(world, A);
	world_kill_db(world, C);
	fail_starts(&world->hosts[A], true);
	fail_starts(&world->hosts[C], true);
	world_until(world, "answers are missing", 10000, blocked);
	expect_refused(world, (struct call){.kind = CALL_FAILOVER, .node = C}, BLOCK_NO_POSITION);
	expect_refused(world, (struct call){.kind = CALL_FAILOVER, .node = B}, BLOCK_LOSS);
	cr_expect_gt(world->result.loss_bytes, 0);
	cr_expect_lt(world->result.loss_bytes, 1 << 20);
	world->acknowledged = 0; /* the operator accepts it */
	expect_accepted(world,
			(struct call){.kind = CALL_FAILOVER, .node = B, .accept_loss = true});
	world_until(world, "B serves or waits for standbys", 10000, b_serves);
	/* What was accepted is owed by nobody; what B has is B's alone until others have it. */
	cr_expect_eq(world_cluster(world)->earlier_count, 1);
	cr_expect_eq(world_cluster(world)->earlier[0].primary, B);
}

Test(agent_call, nobody_in_maintenance_is_started_counted_on_or_promoted)
{
	struct world *world = started(3, 0);

	expect_accepted(world, (struct call){.kind = CALL_MAINTENANCE, .node = B, .on = true});
	world_run(world, 3000);
	cr_expect_not(node_in(world_cluster(world)->record.members, B));
	expect_refused(world, (struct call){.kind = CALL_SWITCHOVER, .node = B}, BLOCK_MAINTENANCE);
	world_kill_db(world, B);
	world_run(world, 3000);
	cr_expect_eq(world->hosts[B].db.state, DB_DOWN);
	world_kill_host(world, A);
	world_until(world, "C serves", 10000, serves);
	cr_expect_eq(world_writer(world), C);
	expect_accepted(world, (struct call){.kind = CALL_MAINTENANCE, .node = B, .on = false});
	world_run(world, 1000);
	cr_expect_eq(world->hosts[B].db.state, DB_STANDBY);
}

Test(agent_call, a_better_node_gets_the_primary_back_after_it_has_been_well)
{
	struct world *world = built(3, 0);
	uint64_t since;

	for (node_id id = A; id <= C; id++) {
		world->hosts[id].agent.config.nodes[A - 1].priority = 200;
		world->hosts[id].agent.config.settings.auto_primary_switch = true;
		world->hosts[id].agent.config.settings.switch_back_ms = 5000;
	}
	world_until(world, "a first primary", 15000, all_stream);
	world->clients = true;
	cr_assert_eq(world_writer(world), A);
	world_kill_db(world, A);
	fail_starts(&world->hosts[A], true);
	world_until(world, "B serves", 10000, b_serves);
	fail_starts(&world->hosts[A], false);
	world_until(world, "all stream", 20000, all_stream);
	since = world->now_ns;
	world_until(world, "A serves again", 15000, a_serves);
	cr_expect_geq(world->now_ns - since, 4000 * MS);
	world_run(world, 2000);
	cr_expect(newest(world)->automatic);
	cr_expect_eq(newest(world)->state, OPERATION_DONE);
	world_run(world, 20000);
	cr_expect_eq(world_cluster(world)->operation_count, 1, "and stays there");
}

Test(agent_call, the_budget_ends_a_series_of_failovers)
{
	struct world *world = built(3, 0);

	for (node_id id = A; id <= C; id++)
		world->hosts[id].agent.config.settings.failover_budget = 1;
	world_until(world, "a first primary", 15000, all_stream);
	world_kill_db(world, A);
	fail_starts(&world->hosts[A], true);
	world_until(world, "another serves", 10000, serves);
	cr_assert_neq(world_writer(world), A);
	fail_starts(&world->hosts[A], false);
	world_until(world, "all stream", 20000, all_stream);
	fail_starts(&world->hosts[world_writer(world)], true);
	world_kill_db(world, world_writer(world));
	world_until(world, "it is held", 10000, blocked);
	world_run(world, 3000);
	cr_expect(nobody_serves(world));
	world->now_ns += 3600 * 1000 * MS;
	world_until(world, "an hour later it goes on", 20000, serves);
}
