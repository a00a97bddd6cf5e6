/* Restarts and rebuilds that an operator wants: who is restarted, who is refused, how it ends. */
#include "agent_script.h"
#include "core/syncset.h"

static const struct operation *newest(const struct world *world)
{
	const struct cluster *cluster = world_cluster(world);

	return cluster->operation_count == 0 ? NULL
					     : &cluster->operations[cluster->operation_count - 1];
}

static void call(struct world *world, uint8_t kind, node_id node, bool force)
{
	unsigned before = world->results;

	world_call(world, (struct call){.kind = kind, .node = node, .force = force});
	world_run(world, 500);
	cr_assert_eq(world->results, before + 1);
}

static void accepted(struct world *world, uint8_t kind, node_id node)
{
	call(world, kind, node, false);
	cr_assert_eq(world->result.code, CALL_ACCEPTED, "%s: %s", call_kind_name(kind),
		     blocker_name(world->result.blockers[0].kind));
}

static void refused(struct world *world, uint8_t kind, node_id node, uint8_t blocker)
{
	uint64_t version = world_cluster(world)->version;

	call(world, kind, node, false);
	cr_assert_eq(world->result.code, CALL_REFUSED, "%s of node %u", call_kind_name(kind), node);
	cr_expect(has_blocker(&world->result, blocker), "%s of node %u: %s is not said, but %s",
		  call_kind_name(kind), node, blocker_name(blocker),
		  blocker_name(world->result.blockers[0].kind));
	cr_expect_eq(world_cluster(world)->version, version, "a refusal changes nothing");
}

static bool over(const struct world *world)
{
	const struct operation *operation = newest(world);

	return operation != NULL && operation->state != OPERATION_RUNNING;
}

static bool b_is_cloned(const struct world *world)
{
	return world_cluster(world)->settings.reinit == 0 && all_stream(world);
}

Test(agent_restart, a_standby_is_stopped_and_comes_back)
{
	struct world *world = started(3, 0);
	unsigned stops = world->hosts[B].done[ORDER_DB_STOP];
	uint64_t epoch = world_cluster(world)->epoch;

	accepted(world, CALL_RESTART, B);
	cr_expect_eq(newest(world)->kind, OPERATION_RESTART_STANDBY);
	cr_expect_eq(newest(world)->id, world->result.operation);
	world_until(world, "the restart is over", 20000, over);
	cr_expect_eq(newest(world)->state, OPERATION_DONE);
	cr_expect_eq(world->hosts[B].done[ORDER_DB_STOP], stops + 1, "once, and not again");
	cr_expect_eq(world_cluster(world)->epoch, epoch);
	cr_expect(serves(world));
	world_until(world, "all stream", 20000, all_stream);
	world_run(world, 5000);
	cr_expect_eq(world->hosts[B].done[ORDER_DB_STOP], stops + 1);
	/* The same again is another restart. */
	accepted(world, CALL_RESTART, B);
	world_until(world, "the second restart is over", 20000, over);
	cr_expect_eq(newest(world)->state, OPERATION_DONE);
	cr_expect_eq(world->hosts[B].done[ORDER_DB_STOP], stops + 2);
}

Test(agent_restart, a_primary_is_restarted_and_stays_the_primary)
{
	struct world *world = started(3, 0);
	unsigned stops = world->hosts[A].done[ORDER_DB_STOP];
	unsigned starts = world->hosts[A].done[ORDER_DB_START];

	accepted(world, CALL_RESTART, A);
	cr_expect_eq(newest(world)->kind, OPERATION_RESTART);
	world_until(world, "the restart is over", 20000, over);
	cr_expect_eq(newest(world)->state, OPERATION_DONE);
	cr_expect_eq(world_cluster(world)->primary, A);
	cr_expect_eq(world->hosts[A].done[ORDER_DB_STOP], stops + 1);
	cr_expect_eq(world->hosts[A].done[ORDER_DB_START], starts + 1);
	world_until(world, "A serves", 5000, a_serves);
	world_until(world, "all stream", 20000, all_stream);
	cr_expect_eq(world->hosts[A].done[ORDER_DB_REWIND] + world->hosts[A].done[ORDER_DB_CLONE],
		     0);
	cr_expect_eq(
		world_cluster(world)->decisions[world_cluster(world)->decision_count - 1].cause,
		CAUSE_RESTART);
}

/* It stays down: a standby takes over, and the operation says that it is another one. */
Test(agent_restart, a_primary_that_does_not_come_back_is_failed_over)
{
	struct world *world = started(3, 0);

	fail_starts(&world->hosts[A], true);
	accepted(world, CALL_RESTART, A);
	world_until(world, "the restart is over", 60000, over);
	cr_expect_eq(newest(world)->state, OPERATION_FAILED);
	cr_expect_neq(world_cluster(world)->primary, A);
	world_until(world, "somebody serves", 5000, serves);
}

Test(agent_restart, of_a_single_node)
{
	struct world *world = started(1, 0);

	accepted(world, CALL_RESTART, A);
	world_until(world, "the restart is over", 20000, over);
	cr_expect_eq(newest(world)->state, OPERATION_DONE);
	world_until(world, "A serves", 5000, a_serves);
}

Test(agent_restart, is_refused_where_it_would_do_harm)
{
	struct world *world = started(3, 0);

	refused(world, CALL_RESTART, NODE_NONE, BLOCK_NO_SUCH_NODE);
	refused(world, CALL_RESTART, 7, BLOCK_NO_SUCH_NODE);
	/* k is 1: with C gone, B's restart lets commits wait. */
	world_kill_host(world, C);
	world_run(world, 5000);
	refused(world, CALL_RESTART, C, BLOCK_NOT_HEARD);
	refused(world, CALL_RESTART, B, BLOCK_COMMITS_WOULD_WAIT);
	call(world, CALL_RESTART, B, true);
	cr_expect_eq(world->result.code, CALL_ACCEPTED);
	world_until(world, "the restart is over", 20000, over);
	cr_expect_eq(newest(world)->state, OPERATION_DONE);
	/* Nobody could answer the survey that brings the primary back. */
	world_kill_db(world, B);
	world->hosts[B].failing = UINT64_C(1) << ORDER_DB_START;
	world_run(world, 3000);
	refused(world, CALL_RESTART, A, BLOCK_ANSWERS);
	world_call(world, (struct call){.kind = CALL_PAUSE});
	world_run(world, 500);
	refused(world, CALL_RESTART, A, BLOCK_PAUSED);
	refused(world, CALL_REINIT, B, BLOCK_PAUSED);
}

/* Nothing is elected by the restart of a standby, and a failover meanwhile is one like any other.
 */
Test(agent_restart, a_failover_in_the_middle)
{
	struct world *world = started(3, 0);

	world->hosts[B].stuck = 1 << EXECUTOR_DBCTL;
	accepted(world, CALL_RESTART, B);
	world_kill_host(world, A);
	world_run(world, 3000);
	world->hosts[B].stuck = 0;
	world_until(world, "somebody serves", 30000, serves);
	world_until(world, "the restart is over", 60000, over);
	world_start_agent(world, A);
	world_until(world, "all stream", 60000, all_stream);
	cr_expect_null(cluster_operation(world_cluster(world)));
}

Test(agent_restart, is_cancelled)
{
	struct world *world = started(3, 0);

	world->hosts[B].cut = true;
	world_run(world, 300);
	world_call(world, (struct call){.kind = CALL_RESTART, .node = B});
	world_run(world, 100);
	world_call(world, (struct call){.kind = CALL_CANCEL});
	world_run(world, 500);
	cr_expect_null(cluster_operation(world_cluster(world)));
	world->hosts[B].cut = false;
	world_until(world, "all stream", 60000, all_stream);
	cr_expect_null(cluster_operation(world_cluster(world)));
}

Test(agent_restart, reinit_replaces_the_data_by_a_clone)
{
	struct world *world = started(3, 0);
	unsigned clones = world->hosts[B].done[ORDER_DB_CLONE];
	unsigned rewinds = world->hosts[B].done[ORDER_DB_REWIND];

	accepted(world, CALL_REINIT, B);
	world_until(world, "B is cloned", 60000, b_is_cloned);
	cr_expect_eq(world->hosts[B].done[ORDER_DB_CLONE], clones + 1);
	cr_expect_eq(world->hosts[B].done[ORDER_DB_REWIND], rewinds);
	cr_expect_eq(world_cluster(world)->rebuilding, 0);
	cr_expect(serves(world));
	world_run(world, 10000);
	cr_expect_eq(world->hosts[B].done[ORDER_DB_CLONE], clones + 1, "once, and not again");
}

Test(agent_restart, reinit_is_refused_for_the_primary_and_for_who_is_rebuilt)
{
	struct world *world = started(3, 0);

	refused(world, CALL_REINIT, A, BLOCK_IS_PRIMARY);
	refused(world, CALL_REINIT, NODE_NONE, BLOCK_NO_SUCH_NODE);
	world->hosts[B].failing = UINT64_C(1) << ORDER_DB_CLONE;
	accepted(world, CALL_REINIT, B);
	world_run(world, 3000);
	refused(world, CALL_REINIT, B, BLOCK_REBUILDING);
	refused(world, CALL_RESTART, B, BLOCK_REBUILDING);
	refused(world, CALL_SWITCHOVER, B, BLOCK_REBUILDING);
	refused(world, CALL_REINIT, C, BLOCK_COMMITS_WOULD_WAIT);
	world->hosts[B].failing = 0;
	world_until(world, "B is cloned", 60000, b_is_cloned);
}

/* Its agent forgets that it has cloned, and its leader is another one: the wish is on the log. */
Test(agent_restart, reinit_outlives_agents_and_leaders)
{
	struct world *world = started(3, 0);

	world->hosts[B].failing = UINT64_C(1) << ORDER_DB_CLONE;
	accepted(world, CALL_REINIT, B);
	world_run(world, 3000);
	world_stop_agent(world, B);
	world_run(world, 500);
	world_start_agent(world, B);
	world->hosts[B].failing = 0;
	world_until(world, "B is cloned", 60000, b_is_cloned);
	cr_expect_gt(world->hosts[B].done[ORDER_DB_CLONE], 0);
}

/* Whoever is needed as the primary keeps its data. */
Test(agent_restart, reinit_ends_when_the_node_becomes_the_primary)
{
	struct world *world = started(3, 0);

	world->hosts[A].stuck = 1 << EXECUTOR_DBCTL; /* the record cannot do without B yet */
	accepted(world, CALL_REINIT, B);
	world_kill_host(world, C);
	world_kill_host(world, A);
	world_run(world, 500);
	world_start_agent(world, C);
	world->hosts[A].stuck = 0;
	world_until(world, "somebody serves", 60000, serves);
	world_start_agent(world, A);
	world_until(world, "all stream", 120000, b_is_cloned);
}
