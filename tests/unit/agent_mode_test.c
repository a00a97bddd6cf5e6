/* Protection modes: what commits wait for, what is on record, and who may be elected. */
#include "agent_script.h"
#include "core/syncset.h"

static struct world *with_mode(unsigned data, unsigned witnesses, uint8_t mode)
{
	struct world *world = built(data, witnesses);

	for (node_id id = 1; id <= world->count; id++)
		world->hosts[id].agent.config.settings.mode = mode;
	world->settings.mode = mode;
	world_until(world, "a first primary", 5000, serves);
	cr_assert_eq(world_writer(world), A);
	world->clients = true;
	world_run(world, 15000);
	return world;
}

static bool degraded(const struct world *world)
{
	const struct cluster *cluster = world_cluster(world);

	return cluster->record.need == 0 && world->hosts[cluster->primary].db.rule.need == 0 &&
	       serves(world);
}

static bool acknowledged_more(struct world *world, unsigned ms)
{
	wal_lsn before = world->acknowledged;

	world_run(world, ms);
	return world->acknowledged > before;
}

Test(agent_mode, protection_lets_commits_wait_and_never_weakens_the_record)
{
	struct world *world = with_mode(2, 1, MODE_MAX_PROTECTION);

	cr_expect_eq(world_cluster(world)->record.need, 1);
	world_kill_host(world, B);
	world_run(world, 5000);
	cr_expect_not(acknowledged_more(world, 5000));
	cr_expect_eq(world_cluster(world)->record.need, 1);
	world_start_agent(world, B);
	world_run(world, 5000);
	cr_expect(acknowledged_more(world, 1000));
}

Test(agent_mode, availability_degrades_on_record_and_restores)
{
	struct world *world = with_mode(2, 1, MODE_MAX_AVAILABILITY);

	cr_expect_eq(world_cluster(world)->record.need, 1);
	world_kill_host(world, B);
	world_until(world, "degraded", 10000, degraded);
	cr_expect(acknowledged_more(world, 1000));
	world_start_agent(world, B);
	world_until(world, "restored", 20000, all_stream);
	cr_expect_eq(world_cluster(world)->record.need, 1);
	cr_expect(acknowledged_more(world, 1000));
}

/* B is assigned, and its fence is not shut yet: who promotes it by hand gets no commit through. */
Test(agent_mode, what_lets_commits_pass_is_written_behind_the_fence)
{
	struct world *world = with_mode(2, 1, MODE_MAX_AVAILABILITY);
	struct host *host = &world->hosts[B];

	host->stuck = 1 << EXECUTOR_VIP;
	world_kill_host(world, A);
	world_until(world, "B is assigned", 5000, assigned_b);
	cr_assert_eq(world_cluster(world)->record.need, 0);
	world_run(world, 500);
	cr_expect_eq(host->fence, FENCE_NONE);
	cr_expect(host->db.rule.need > 0 && host->db.rule.members == 0, "nobody is let through");
	host->stuck = 0;
	world_until(world, "B serves", 5000, b_serves);
}

/*
 * The arbiter trap: the standby is lost, the primary degrades and commits alone, the primary dies,
 * the stale standby returns and has a majority with the witness. It must not be promoted.
 */
Test(agent_mode, arbiter_trap)
{
	struct world *world = with_mode(2, 1, MODE_MAX_AVAILABILITY);
	const struct agent *leader;
	const struct decision *held;

	world_kill_host(world, B);
	world_until(world, "degraded", 10000, degraded);
	cr_assert(acknowledged_more(world, 1000));
	world_kill_host(world, A);
	world_run(world, 100);
	world_start_agent(world, B);
	world_until(world, "blocked", 20000, blocked);
	world_run(world, 20000);
	cr_expect(nobody_serves(world));
	leader = &world->hosts[world->leader].agent;
	cr_expect_eq(leader->hold, HOLD_ANSWERS);
	cr_expect_eq(leader->verdict.missing, node_bit(A));
	held = &leader->cluster.decisions[leader->cluster.decision_count - 1];
	cr_expect_eq(held->hold, HOLD_ANSWERS);
	cr_expect_eq(held->missing, node_bit(A));
	world_start_agent(world, A);
	world_until(world, "the old primary is primary again", 20000, a_serves);
}

Test(agent_mode, a_fresh_primary_without_standbys_serves_in_availability_only)
{
	struct world *world = with_mode(2, 1, MODE_MAX_AVAILABILITY);

	world_kill_host(world, A);
	world_until(world, "B serves alone", 20000, b_serves);
	cr_expect(acknowledged_more(world, 1000));
	cr_expect_eq(world_cluster(world)->record.need, 0);

	world = with_mode(2, 1, MODE_MAX_PROTECTION);
	world_kill_host(world, A);
	world_until(world, "B serves", 20000, b_serves);
	cr_expect_not(acknowledged_more(world, 5000));
}

Test(agent_mode, a_standby_that_confirms_nothing_is_not_waited_for)
{
	struct world *world = with_mode(2, 1, MODE_MAX_AVAILABILITY);

	world->hosts[B].db.deaf = true;
	world_until(world, "degraded", 10000, degraded);
	cr_expect(acknowledged_more(world, 1000));
	world->hosts[B].db.deaf = false;
	world_until(world, "restored", 20000, all_stream);
}

Test(agent_mode, a_lost_standby_leaves_the_record_when_enough_others_stay)
{
	struct world *world = with_mode(3, 2, MODE_MAX_PROTECTION);

	world_kill_host(world, C);
	world_run(world, 5000);
	cr_expect_eq(world_cluster(world)->record.members, node_bit(B));
	cr_expect_eq(world_cluster(world)->record.need, 1);
	/* So that B alone, with both witnesses, is enough. */
	world_kill_host(world, A);
	world_until(world, "B serves", 20000, b_serves);
}

Test(agent_mode, performance_waits_for_nobody_and_reports_what_is_at_risk)
{
	struct world *world = with_mode(3, 0, MODE_MAX_PERFORMANCE);
	const struct decision *decision;

	cr_expect_eq(world_cluster(world)->record.need, 0);
	world->hosts[B].db.deaf = true;
	world->hosts[C].db.deaf = true;
	cr_expect(acknowledged_more(world, 1000));
	world->acknowledged = 0; /* what is lost within the bound was never promised */
	world_kill_host(world, A);
	world->clients = false;
	world_until(world, "B serves", 20000, b_serves);
	decision = &world_cluster(world)->decisions[world_cluster(world)->decision_count - 1];
	cr_expect_gt(decision->at_risk, 0);
	cr_expect_gt(decision->at_risk_ms, 900);
}

Test(agent_mode, performance_asks_the_witness_how_long_the_primary_served)
{
	struct world *world = with_mode(2, 1, MODE_MAX_PERFORMANCE);

	/* The standby has all that it has heard of, but the primary served on with the witness. */
	world->hosts[B].cut = true;
	world_run(world, 12000);
	cr_assert_eq(world_writer(world), A);
	world_kill_host(world, A);
	world->hosts[B].cut = false;
	world_until(world, "held for the lag", 20000, blocked);
	cr_expect_eq(world->hosts[world->leader].agent.hold, HOLD_LAG);
}

Test(agent_mode, performance_does_not_lose_more_than_the_bound)
{
	struct world *world = with_mode(3, 0, MODE_MAX_PERFORMANCE);

	world->hosts[B].db.deaf = true;
	world->hosts[C].db.deaf = true;
	world_run(world, 12000);
	world_kill_host(world, A);
	world_until(world, "held for the lag", 20000, blocked);
	cr_expect_eq(world->hosts[world->leader].agent.hold, HOLD_LAG);
	world_run(world, 5000);
	cr_expect(nobody_serves(world));
}

static bool a_is_stopped(const struct world *world)
{
	return world->hosts[A].db.state == DB_DOWN;
}

Test(agent_mode, a_planned_switch_in_performance_loses_nothing_with_its_target)
{
	struct world *world = with_mode(3, 0, MODE_MAX_PERFORMANCE);

	world_call(world, (struct call){.kind = CALL_SWITCHOVER, .node = B});
	/* C gets nothing any more; the rest of the WAL is on A and on B alone. */
	world->hosts[C].db.deaf = true;
	world_until(world, "A has been stopped", 10000, a_is_stopped);
	cr_assert_lt(world->hosts[C].db.position.flushed, world->hosts[A].db.position.flushed);
	world_kill_host(world, B);
	world->hosts[A].stuck = 1 << EXECUTOR_DBCTL; /* it takes its time to start again */
	world_run(world, 5000);
	cr_expect(nobody_serves(world));
	world->hosts[A].stuck = 0;
	world_until(world, "somebody serves", 60000, serves);
	cr_expect_eq(world_writer(world), A, "whoever serves has all that was acknowledged");
}

Test(agent_mode, the_mode_changes_at_run_time_by_the_covers_rule)
{
	struct world *world = with_mode(3, 0, MODE_MAX_PROTECTION);
	static const uint8_t modes[] = {MODE_MAX_PERFORMANCE, MODE_MAX_AVAILABILITY,
					MODE_MAX_PERFORMANCE, MODE_MAX_PROTECTION};

	for (unsigned i = 0; i < sizeof(modes); i++) {
		world_call(world, (struct call){.kind = CALL_MODE,
						.mode = modes[i],
						.quorum_sync = QUORUM_SYNC_KEEP});
		for (unsigned tick = 0; tick < 500; tick++) {
			const struct cluster *cluster = world_cluster(world);

			world_tick(world);
			cr_assert(sync_covers(world->hosts[A].db.rule, cluster->record),
				  "the record is stronger than the truth");
		}
		cr_expect_eq(world_cluster(world)->settings.mode, modes[i]);
		cr_expect_eq(world_cluster(world)->record.need,
			     modes[i] == MODE_MAX_PERFORMANCE ? 0 : 1);
		cr_expect(acknowledged_more(world, 500));
	}
}

Test(agent_mode, a_mode_that_is_not_named_stays_as_the_log_has_it)
{
	struct world *world = with_mode(3, 0, MODE_MAX_AVAILABILITY);

	world_call(world, (struct call){.kind = CALL_MODE, .mode = MODE_KEEP, .quorum_sync = 2});
	world_run(world, 300);
	cr_expect_eq(world->result.code, CALL_ACCEPTED);
	cr_expect_eq(world_cluster(world)->settings.mode, MODE_MAX_AVAILABILITY);
	cr_expect_eq(world_cluster(world)->settings.quorum_sync, 2);
	world_call(world, (struct call){.kind = CALL_MODE,
					.mode = MODE_KEEP,
					.quorum_sync = QUORUM_SYNC_KEEP,
					.pin = true});
	world_run(world, 300);
	cr_expect_eq(world->result.code, CALL_ACCEPTED);
	cr_expect(world_cluster(world)->settings.pinned);
	/* Pinned: what changes nothing is no change. */
	world_call(world, (struct call){.kind = CALL_MODE,
					.mode = MODE_KEEP,
					.quorum_sync = QUORUM_SYNC_KEEP});
	cr_expect_neq(world->result.code, CALL_REFUSED);
}

Test(agent_mode, a_pinned_mode_is_never_changed)
{
	struct world *world = with_mode(3, 0, MODE_MAX_PROTECTION);

	world_call(world, (struct call){.kind = CALL_MODE,
					.mode = MODE_MAX_PROTECTION,
					.quorum_sync = QUORUM_SYNC_KEEP,
					.pin = true});
	world_run(world, 300);
	cr_expect(world_cluster(world)->settings.pinned);
	world_call(world, (struct call){.kind = CALL_MODE,
					.mode = MODE_MAX_PERFORMANCE,
					.quorum_sync = QUORUM_SYNC_KEEP});
	cr_expect_eq(world->result.code, CALL_REFUSED);
	cr_expect_eq(world->result.blockers[0].kind, BLOCK_PINNED);
}

Test(agent_mode, a_single_node_comes_back_by_itself)
{
	struct world *world = with_mode(1, 0, MODE_MAX_AVAILABILITY);

	cr_expect(acknowledged_more(world, 100));
	world_kill_db(world, A);
	world_until(world, "it serves again", 3000, serves);
	cr_expect(acknowledged_more(world, 100));
}

static bool surveyed(const struct world *world)
{
	return surveying(world) || blocked(world);
}

Test(agent_mode, a_fault_that_is_named_after_the_survey_began_is_on_record)
{
	struct world *world = started(1, 0);
	struct host *host = &world->hosts[A];
	const struct cluster *cluster;

	host->stuck = 1 << EXECUTOR_DBCTL;
	host->db.state = DB_DOWN;
	world_until(world, "a survey", 1000, surveying);
	host->db.fault = FAULT_POSTMASTER_GONE;
	world_tick(world);
	host->db.fault = FAULT_NONE;
	host->stuck = 0;
	world_until(world, "A serves", 20000, a_serves);
	cluster = world_cluster(world);
	cr_expect_eq(cluster->decisions[cluster->decision_count - 1].fault, FAULT_POSTMASTER_GONE);
}

Test(agent_mode, a_slow_database_is_kept_when_nobody_could_take_over)
{
	struct world *world = with_mode(2, 1, MODE_MAX_AVAILABILITY);

	world_kill_host(world, B);
	world_until(world, "degraded", 10000, degraded);
	world->hosts[A].db.state = DB_HUNG;
	world_run(world, 10000);
	cr_expect_eq(world->hosts[A].done[ORDER_DB_KILL], 0);
	world->hosts[A].db.state = DB_PRIMARY;
	world_until(world, "it serves again", 2000, a_serves);
	cr_expect_eq(world_cluster(world)->epoch, 1);

	/* Not for ever; and at once when it is certain that it was stopped. */
	world->hosts[A].db.state = DB_HUNG;
	world_until(world, "it is ended", 40000, surveyed);
	world_until(world, "it serves again", 20000, a_serves);
	world->hosts[A].db.state = DB_HUNG;
	world->hosts[A].db.fault = FAULT_FROZEN;
	world_until(world, "it is ended", 500, surveyed);
}

static bool a_is_closed(const struct world *world)
{
	return world->hosts[A].fence == FENCE_CLOSED;
}

static bool a_is_open(const struct world *world)
{
	return world->hosts[A].fence == FENCE_OPEN;
}

/* Sessions are not ended for a pause of a database that nobody is about to replace. */
Test(agent_mode, the_fence_stays_open_while_a_database_is_given_time)
{
	struct world *world = with_mode(2, 1, MODE_MAX_AVAILABILITY);

	world_kill_host(world, B);
	world_until(world, "degraded", 10000, degraded);
	world->hosts[A].db.state = DB_HUNG;
	for (unsigned i = 0; i < 500; i++) {
		world_run(world, 20);
		cr_assert(a_is_open(world), "after %u ms", i * 20);
	}
	world->hosts[A].db.state = DB_PRIMARY;
	world_run(world, 2000);
	cr_expect(a_serves(world));
	cr_expect_eq(world_cluster(world)->epoch, 1);

	/* The lease ends all the same. */
	world->hosts[A].db.state = DB_HUNG;
	world_run(world, 500);
	cr_assert(a_is_open(world));
	world->hosts[A].cut = true;
	world_until(world, "the lease has ended", 5000, a_is_closed);
	/* And nothing is opened in front of a database that does not answer. */
	world->hosts[A].cut = false;
	for (unsigned i = 0; i < 500; i++) {
		world_run(world, 20);
		cr_assert(a_is_closed(world), "after %u ms", i * 20);
	}
}

Test(agent_mode, the_fence_closes_when_a_hung_database_is_replaced)
{
	struct world *world = with_mode(3, 0, MODE_MAX_PROTECTION);

	world->hosts[A].db.state = DB_HUNG;
	world_until(world, "a survey", 2000, surveying);
	world_until(world, "closed", 1000, a_is_closed);
}

static node_set members(const struct world *world)
{
	return world_cluster(world)->record.members;
}

static bool only_c_counts(const struct world *world)
{
	return members(world) == node_bit(C) && world->hosts[A].db.rule.members == node_bit(C) &&
	       serves(world);
}

static bool c_serves(const struct world *world)
{
	return serves(world) && world_writer(world) == C;
}

static bool all_count(const struct world *world)
{
	return members(world) == (node_bit(B) | node_bit(C)) && serves(world);
}

Test(agent_mode, commits_wait_for_sound_nodes_where_there_are_enough)
{
	struct world *world = with_mode(3, 0, MODE_MAX_PROTECTION);

	cr_expect_eq(members(world), node_bit(B) | node_bit(C));
	world->hosts[B].db.damaged = true;
	world_until(world, "B is in no rule and on no record", 10000, only_c_counts);
	cr_expect_eq(world_cluster(world)->record.need, 1);
	cr_expect(acknowledged_more(world, 1000));

	/* B has all WAL too, and a higher place by its id; it is not chosen. */
	world_kill_host(world, A);
	world_until(world, "C serves", 10000, c_serves);
	world_until(world, "writes go on", 30000, serves);
}

Test(agent_mode, a_damaged_node_that_is_mended_counts_again)
{
	struct world *world = with_mode(3, 0, MODE_MAX_PROTECTION);

	world->hosts[B].db.damaged = true;
	world_until(world, "B is in no rule and on no record", 10000, only_c_counts);
	world->hosts[B].db.damaged = false;
	world_until(world, "both count", 20000, all_count);
}

Test(agent_mode, a_damaged_standby_counts_where_there_is_no_other)
{
	struct world *world = with_mode(2, 1, MODE_MAX_AVAILABILITY);

	world->hosts[B].db.damaged = true;
	world_run(world, 10000);
	cr_expect_eq(members(world), node_bit(B));
	cr_expect_eq(world_cluster(world)->record.need, 1);
	cr_expect(acknowledged_more(world, 1000));
	/* It holds every commit, and is not promoted: an operator may. */
	world_kill_host(world, A);
	world_until(world, "held", 20000, blocked);
	world_run(world, 5000);
	cr_expect(nobody_serves(world));
	cr_expect_eq(world->hosts[world->leader].agent.hold, HOLD_NO_CANDIDATE);
}

Test(agent_mode, a_damaged_primary_goes_on)
{
	struct world *world = with_mode(3, 0, MODE_MAX_PROTECTION);

	world->hosts[A].db.damaged = true;
	world_run(world, 10000);
	cr_expect_eq(world_writer(world), A);
	cr_expect_eq(world_cluster(world)->epoch, 1);
	cr_expect(acknowledged_more(world, 1000));
}
