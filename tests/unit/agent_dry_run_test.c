/*
 * A dry run of a switchover names whatever stands against it, one cluster for each obstacle, and
 * changes nothing: neither the record nor who serves.
 */
#include "agent_script.h"

#include "base/macros.h"
#include "core/limits.h"

static void nothing(struct world *world)
{
	(void)world;
}

static void cut_b(struct world *world)
{
	world->hosts[B].cut = true;
	world_run(world, 1500);
}

static void stop_b(struct world *world)
{
	fail_starts(&world->hosts[B], true);
	world_kill_db(world, B);
	world_run(world, 300);
}

static void exclude_b(struct world *world)
{
	world->hosts[B].db.excluded = true;
	world_run(world, 300);
}

static void fill_disk_of_b(struct world *world)
{
	world->hosts[B].db.fault = FAULT_DISK_FULL;
	world_run(world, 300);
}

static void damage_b(struct world *world)
{
	world->hosts[B].db.damaged = true;
	world_run(world, 300);
}

static void lead_b_astray(struct world *world)
{
	world->hosts[B].stuck = 1 << EXECUTOR_DBCTL;
	world->hosts[B].db.upstream = NODE_NONE;
	world_run(world, 300);
}

static void leave_b_behind(struct world *world)
{
	world->hosts[B].db.deaf = true;
	world->hosts[A].db.position.flushed += 2 * JOIN_LAG_MAX;
	world_run(world, 300);
}

static void maintain_b(struct world *world)
{
	expect_accepted(world, (struct call){.kind = CALL_MAINTENANCE, .node = B, .on = true});
}

static void rebuild_b(struct world *world)
{
	world->hosts[B].stuck = 1 << EXECUTOR_DBCTL;
	expect_accepted(world, (struct call){.kind = CALL_REINIT, .node = B});
}

static void pause_all(struct world *world)
{
	expect_accepted(world, (struct call){.kind = CALL_PAUSE});
}

static void schedule_another(struct world *world)
{
	expect_accepted(world, (struct call){.kind = CALL_SWITCHOVER,
					     .node = C,
					     .start_ms = world->now_ns / MS + 60000,
					     .end_ms = world->now_ns / MS + 90000});
}

static void stop_all_standbys(struct world *world)
{
	stop_b(world);
	fail_starts(&world->hosts[C], true);
	world_kill_db(world, C);
	world_run(world, 300);
}

static void lose_primary(struct world *world)
{
	for (node_id id = A; id <= C; id++)
		fail_starts(&world->hosts[id], true);
	for (node_id id = A; id <= C; id++)
		world_kill_db(world, id);
	world_run(world, 3000);
}

static const struct obstacle {
	enum blocker_kind named;
	node_id target;
	void (*put)(struct world *world);
	unsigned witnesses; /* of three nodes */
} obstacles[] = {
	{BLOCK_NONE, B, nothing, 0},
	{BLOCK_NO_SUCH_NODE, 9, nothing, 0},
	{BLOCK_ALREADY_PRIMARY, A, nothing, 0},
	{BLOCK_WITNESS, C, nothing, 1},
	{BLOCK_NOT_HEARD, B, cut_b, 0},
	{BLOCK_NOT_STANDBY, B, stop_b, 0},
	{BLOCK_EXCLUDED, B, exclude_b, 0},
	{BLOCK_FAULT, B, fill_disk_of_b, 0},
	{BLOCK_FAULT, B, damage_b, 0},
	{BLOCK_NOT_STREAMING, B, lead_b_astray, 0},
	{BLOCK_LAG, B, leave_b_behind, 0},
	{BLOCK_MAINTENANCE, B, maintain_b, 0},
	{BLOCK_REBUILDING, B, rebuild_b, 0},
	{BLOCK_PAUSED, B, pause_all, 0},
	{BLOCK_OPERATION, B, schedule_another, 0},
	{BLOCK_ANSWERS, B, stop_all_standbys, 0},
	{BLOCK_NO_CANDIDATE, NODE_NONE, cut_b, 1},
	{BLOCK_NOT_SERVING, B, lose_primary, 0},
};

static void dry_run(struct world *world, node_id target, enum blocker_kind named)
{
	const struct cluster *cluster = world_cluster(world);
	const uint64_t version = cluster->version;
	const node_id writer = world_writer(world);
	const unsigned results = world->results;

	world_call(world, (struct call){.kind = CALL_SWITCHOVER, .node = target, .dry_run = true});
	cr_assert_eq(world->results, results + 1, "%s: an answer comes at once",
		     blocker_name(named));
	cr_expect_eq(world->result.code, named == BLOCK_NONE ? CALL_POSSIBLE : CALL_REFUSED,
		     "%s: %s", blocker_name(named), call_code_name(world->result.code));
	cr_expect(named == BLOCK_NONE || has_blocker(&world->result, named),
		  "%s is not named, but %s", blocker_name(named),
		  blocker_name(world->result.blockers[0].kind));
	cr_expect_eq(world_cluster(world)->version, version, "%s: something was recorded",
		     blocker_name(named));
	cr_expect_eq(world_writer(world), writer, "%s: something moved", blocker_name(named));
}

Test(agent_dry_run, every_obstacle_is_named_and_nothing_changes)
{
	for (unsigned i = 0; i < COUNT_OF(obstacles); i++) {
		const struct obstacle *obstacle = &obstacles[i];
		struct world *world = started(3 - obstacle->witnesses, obstacle->witnesses);

		obstacle->put(world);
		dry_run(world, obstacle->target, obstacle->named);
	}
}

Test(agent_dry_run, a_node_that_may_never_be_primary_is_named)
{
	struct world *world = built(3, 0);

	for (node_id id = A; id <= C; id++)
		world->hosts[id].agent.config.nodes[B - 1].priority = 0;
	world_until(world, "a first primary", 15000, all_stream);
	dry_run(world, B, BLOCK_NOFAILOVER);
}

Test(agent_dry_run, a_promotion_that_is_not_settled_is_named)
{
	struct world *world = started(3, 0);

	/* Neither of the others confirms what B begins with. */
	world->hosts[C].db.deaf = true;
	world_kill_host(world, A);
	world_until(world, "B serves", 10000, b_serves);
	dry_run(world, C, BLOCK_UNSETTLED);
}
