/* Scripts for whole agents: what happens after what, and what must not happen before. */
#include <criterion/criterion.h>
#include <string.h>

#include "agent_world.h"
#include "core/agent_internal.h"

#define A 1
#define B 2
#define C 3

static bool serves(const struct world *world)
{
	return world_writer(world) != NODE_NONE;
}

static bool a_serves(const struct world *world)
{
	return world_writer(world) == A;
}

static bool b_serves(const struct world *world)
{
	return world_writer(world) == B;
}

static bool nobody_serves(const struct world *world)
{
	return world_writer(world) == NODE_NONE;
}

static bool all_stream(const struct world *world)
{
	const struct cluster *cluster = world_cluster(world);
	unsigned data = node_count(cluster_nodes(cluster, NODE_DATA));
	unsigned streaming = 0;

	for (node_id id = 1; id <= world->count; id++)
		streaming += world->hosts[id].db.receiving ? 1 : 0;
	return serves(world) && streaming + 1 == data && cluster->settled &&
	       node_count(cluster->record.members) + 1 == data && cluster->rebuilding == 0 &&
	       sync_rule_equal(cluster->record, world->hosts[cluster->primary].db.rule);
}

static bool blocked(const struct world *world)
{
	return world->leader != NODE_NONE &&
	       world->hosts[world->leader].agent.phase == PHASE_BLOCKED;
}

static bool in_phase(const struct world *world, enum leader_phase phase)
{
	return world->leader != NODE_NONE && world->hosts[world->leader].agent.phase == phase;
}

static bool surveying(const struct world *world)
{
	return in_phase(world, PHASE_SURVEY);
}

static bool handing_over(const struct world *world)
{
	return in_phase(world, PHASE_HANDOVER);
}

static bool promoting(const struct world *world)
{
	return in_phase(world, PHASE_PROMOTE);
}

static bool assigned_b(const struct world *world)
{
	return world_cluster(world)->primary == B;
}

/* The script's world; freed with the process of the test. */
static struct world *built(unsigned data, unsigned witnesses)
{
	struct world *world = malloc(sizeof(*world));

	cr_assert_not_null(world);
	world_init(world, data, witnesses);
	world->next_leader = A;
	return world;
}

static struct world *started(unsigned data, unsigned witnesses)
{
	struct world *world = built(data, witnesses);

	world_until(world, "a first primary", 5000, serves);
	cr_assert_eq(world_writer(world), A);
	world_until(world, "all standbys are on record", 15000, all_stream);
	world->clients = true;
	world_run(world, 100);
	cr_assert_gt(world->acknowledged, 0);
	return world;
}

static void fail_starts(struct host *host, bool fail)
{
	uint64_t bit = UINT64_C(1) << ORDER_DB_START;

	host->failing = fail ? host->failing | bit : host->failing & ~bit;
}

/* Rows in this order, others may come between. */
static void expect_rows(const struct world *world, unsigned from, unsigned count,
			const char *const rows[])
{
	unsigned at = from;

	for (unsigned i = 0; i < count; i++) {
		while (at < world->seen_count && strcmp(world->seen[at], rows[i]) != 0)
			at++;
		cr_expect_lt(at, world->seen_count, "row %s is not taken after %s", rows[i],
			     i == 0 ? "the start" : rows[i - 1]);
	}
}

#define EXPECT_ROWS(world, from, ...)                                                              \
	expect_rows((world), (from), sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *),       \
		    (const char *[]){__VA_ARGS__})

/* --- the first primary --- */

Test(agent, bootstrap_makes_one_database_and_clones_the_others)
{
	struct world *world = started(3, 0);
	const struct cluster *cluster = world_cluster(world);

	EXPECT_ROWS(world, 0, "following/uninitialised", "following/no_epoch", "bootstrap/initdb",
		    "bootstrap/assign", "bootstrap/over", "following/assigned", "promote/done",
		    "opening/record", "opening/done", "steady/tend");
	cr_expect_eq(cluster->epoch, 1);
	cr_expect_eq(cluster->timeline, 2, "promoted, like any primary");
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
	unsigned grants[5] = {0};

	for (unsigned i = 0; i < 5; i++) {
		event.raft = agent.raft;
		event.raft.lease_until_ns = world->now_ns + 900 * MS;
		copy = agent;
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
	struct world *world = started(3, 0);
	unsigned from = world->seen_count;

	world_kill_db(world, A);
	world_tick(world);
	world_until(world, "a primary", 500, serves);
	EXPECT_ROWS(world, from, "steady/down", "survey/safe", "assign/self");
	cr_expect_eq(world_cluster(world)->epoch, 2);
	cr_expect_eq(world_cluster(world)->decisions[1].cause, CAUSE_DB_DOWN);
	world_until(world, "all standbys are on record", 10000, all_stream);
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
	cr_expect_eq(rebuilds, 2, "once at the bootstrap, once now");
	cr_expect_geq(world->hosts[B].done[ORDER_DB_CHECKPOINT], 1);
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

/* --- the survey --- */

Test(agent, a_position_is_told_only_when_it_cannot_grow_any_more)
{
	struct world *world = started(3, 0);
	struct host *host = &world->hosts[B];
	struct agent agent = host->agent;
	struct agent_event event = {.kind = EV_SURVEY, .now_ns = world->now_ns + MS};
	struct effects effects;
	struct order configure = {0};
	struct order measure = {0};
	bool told = false;

	event.raft = host->raft;
	event.survey = (struct survey_request){.from = A, .term = event.raft.term, .epoch = 5};
	agent_step(&agent, &event, &effects);
	for (unsigned i = 0; i < effects.count; i++) {
		cr_assert_neq(effects.list[i].kind, FX_ANSWER, "before the promise is on disk");
		if (effects.list[i].kind == FX_ORDER)
			configure = effects.list[i].order;
	}
	cr_assert_eq(configure.kind, ORDER_DB_CONFIGURE);
	cr_expect_eq(configure.promise, 5);
	cr_expect_eq(configure.upstream, NODE_NONE);

	event.kind = EV_ORDER_RESULT;
	event.now_ns += MS;
	event.result.order_id = configure.id;
	event.result.outcome = OUTCOME_DONE;
	event.result.has_facts = false;
	agent_step(&agent, &event, &effects);
	for (unsigned i = 0; i < effects.count; i++) {
		cr_assert_neq(effects.list[i].kind, FX_ANSWER, "before it is measured");
		if (effects.list[i].kind == FX_ORDER)
			measure = effects.list[i].order;
	}
	cr_assert_eq(measure.kind, ORDER_DB_POSITION);
	cr_expect_eq(measure.promise, 5);

	/* The receiver still runs, then it is gone. */
	for (unsigned round = 0; round < 2; round++) {
		event.now_ns += 300 * MS;
		event.result.order_id = measure.id;
		event.result.has_facts = true;
		event.result.facts = agent.self;
		event.result.facts.promise = 5;
		event.result.facts.receiving = round == 0;
		agent_step(&agent, &event, &effects);
		for (unsigned i = 0; i < effects.count; i++) {
			if (effects.list[i].kind == FX_ORDER &&
			    effects.list[i].order.kind == ORDER_DB_POSITION)
				measure = effects.list[i].order;
			if (effects.list[i].kind != FX_ANSWER)
				continue;
			told = effects.list[i].answer.facts.position.timeline != 0;
			cr_expect_eq(round, 1, "while WAL still arrived");
			cr_expect_eq(effects.list[i].node, A);
			cr_expect_eq(effects.list[i].answer.epoch, 5);
		}
		if (round == 0) {
			struct agent_event tick = event;

			tick.kind = EV_TICK;
			tick.now_ns += 300 * MS;
			agent_step(&agent, &tick, &effects);
			for (unsigned i = 0; i < effects.count; i++)
				if (effects.list[i].kind == FX_ORDER &&
				    effects.list[i].order.kind == ORDER_DB_POSITION)
					measure = effects.list[i].order;
			event.now_ns = tick.now_ns;
		}
	}
	cr_expect(told);
}

Test(agent, a_database_that_is_down_answers_without_a_position)
{
	struct world *world = started(3, 0);
	struct agent agent = world->hosts[B].agent;
	struct agent_event event = {.kind = EV_SURVEY, .now_ns = world->now_ns + MS};
	struct effects effects;
	unsigned answers = 0;

	agent.self.db = DB_DOWN;
	event.raft = world->hosts[B].raft;
	event.survey = (struct survey_request){.from = A, .term = event.raft.term, .epoch = 5};
	agent_step(&agent, &event, &effects);
	for (unsigned i = 0; i < effects.count; i++)
		if (effects.list[i].kind == FX_ANSWER) {
			answers++;
			cr_expect_eq(effects.list[i].answer.facts.position.timeline, 0);
		}
	cr_expect_eq(answers, 1);
}

Test(agent, surveys_of_older_terms_and_epochs_are_ignored)
{
	struct world *world = started(3, 0);
	struct agent agent = world->hosts[B].agent;
	struct agent_event event = {.kind = EV_SURVEY, .now_ns = world->now_ns + MS};
	struct effects effects;

	event.raft = world->hosts[B].raft;
	event.survey = (struct survey_request){.from = C, .term = event.raft.term - 1, .epoch = 5};
	agent_step(&agent, &event, &effects);
	cr_expect_eq(agent.promised, 0);
	event.survey = (struct survey_request){.from = C, .term = event.raft.term, .epoch = 1};
	agent_step(&agent, &event, &effects);
	cr_expect_eq(agent.promised, 0);
}

Test(agent, a_promise_beyond_the_record_makes_the_same_primary_go_on_in_a_new_epoch)
{
	struct world *world = started(3, 0);
	unsigned from = world->seen_count;
	uint32_t timeline = world_cluster(world)->timeline;

	/* A leader that was gone again has asked C. */
	world_event(world, C,
		    (struct agent_event){.kind = EV_SURVEY,
					 .survey = {.from = B, .term = world->term, .epoch = 9}});
	world_run(world, 100);
	world_until(world, "a primary", 1000, serves);
	world_until(world, "all standbys", 3000, all_stream);
	EXPECT_ROWS(world, from, "steady/outdone", "survey/safe", "assign/self",
		    "following/primary_runs");
	cr_expect_eq(world_writer(world), A);
	cr_expect_gt(world_cluster(world)->epoch, 9);
	cr_expect_eq(world_cluster(world)->timeline, timeline);
	cr_expect(world_cluster(world)->resume);
	cr_expect_eq(world->hosts[A].done[ORDER_DB_PROMOTE], 1, "only at the bootstrap");
}

Test(agent, a_survey_is_outbid_by_a_later_promise)
{
	struct world *world = started(3, 0);
	unsigned from;

	world->mute_answers = true;
	fail_starts(&world->hosts[A], true);
	world_kill_db(world, A);
	world_until(world, "a survey", 500, surveying);
	from = world->seen_count;
	world_event(world, C,
		    (struct agent_event){.kind = EV_SURVEY,
					 .survey = {.from = B, .term = world->term, .epoch = 9}});
	world_run(world, 100);
	EXPECT_ROWS(world, from, "survey/outdone");
	cr_expect_gt(world->hosts[A].agent.survey_epoch, 9);
	/* The same while it is blocked. */
	world_until(world, "too few answers", 4000, blocked);
	from = world->seen_count;
	world_event(world, C,
		    (struct agent_event){.kind = EV_SURVEY,
					 .survey = {.from = B, .term = world->term, .epoch = 30}});
	world_run(world, 100);
	EXPECT_ROWS(world, from, "blocked/outdone");
	world->mute_answers = false;
	world_until(world, "B serves", 3000, b_serves);
}

Test(agent, too_few_answers_block_and_name_who_is_missed)
{
	struct world *world = started(3, 0);
	unsigned from = world->seen_count;
	const struct survey_result *verdict;

	world_kill_host(world, A);
	fail_starts(&world->hosts[C], true);
	world_kill_db(world, C);
	world->next_leader = B;
	world_until(world, "blocked", 5000, blocked);
	verdict = &world->hosts[world->leader].agent.verdict;
	cr_expect_eq(verdict->verdict, SURVEY_WAITING);
	cr_expect_eq(verdict->missing, node_bit(C));
	cr_expect_eq(verdict->missing_count, 1);
	world_run(world, 3000);
	cr_expect(nobody_serves(world));
	EXPECT_ROWS(world, from, "survey/repeat", "survey/stuck", "blocked/repeat");
	from = world->seen_count;
	fail_starts(&world->hosts[C], false);
	world_until(world, "a primary", 40000, serves);
	EXPECT_ROWS(world, from, "blocked/safe");
	cr_expect_geq(world->hosts[world_writer(world)].db.position.flushed, world->acknowledged);
}

Test(agent, a_lost_proposal_is_followed_by_another_survey)
{
	struct world *world = started(3, 0);
	unsigned from = world->seen_count;

	fail_starts(&world->hosts[A], true);
	world->hold_proposals = true;
	world_kill_db(world, A);
	world_run(world, 300);
	cr_assert(in_phase(world, PHASE_ASSIGN));
	world_event(world, A, (struct agent_event){.kind = EV_PROPOSAL_LOST});
	EXPECT_ROWS(world, from, "survey/safe", "assign/refused");
	world->hold_proposals = false;
	world_until(world, "B serves", 1000, b_serves);
}

/* --- the assigned node fails --- */

Test(agent, who_does_not_take_the_leadership_is_passed_over)
{
	struct world *world = started(3, 0);
	unsigned from = world->seen_count;

	fail_starts(&world->hosts[A], true);
	world->hosts[B].refuses_leadership = true;
	world_kill_db(world, A);
	world_until(world, "the handover is given up", 8000, assigned_b);
	world_run(world, 3000);
	EXPECT_ROWS(world, from, "assign/other", "handover/transfer", "handover/failed");
	world->hosts[B].refuses_leadership = false;
	world_until(world, "a primary", 5000, serves);
}

Test(agent, a_promotion_that_fails_again_and_again_is_passed_over)
{
	struct world *world = started(3, 0);
	unsigned from = world->seen_count;

	fail_starts(&world->hosts[A], true);
	world->hosts[B].failing = UINT64_C(1) << ORDER_DB_PROMOTE;
	world_kill_db(world, A);
	world_until(world, "a primary", 10000, serves);
	EXPECT_ROWS(world, from, "promote/unable", "assign/other");
	cr_expect_eq(world_writer(world), C);
}

Test(agent, the_only_data_node_tries_again_after_failed_promotions)
{
	struct world *world = started(1, 0);
	unsigned from = world->seen_count;

	world->hosts[A].failing = UINT64_C(1) << ORDER_DB_PROMOTE;
	world_kill_db(world, A);
	world_run(world, 8000);
	EXPECT_ROWS(world, from, "promote/unable", "survey/stuck");
	world->hosts[A].failing = 0;
	world_until(world, "it is not passed over for ever", 30000, a_serves);
}

Test(agent, a_database_that_stops_before_its_promotion)
{
	struct world *world = started(3, 0);
	unsigned from = world->seen_count;

	fail_starts(&world->hosts[A], true);
	world->hosts[B].stuck = 1 << EXECUTOR_VIP;
	world_kill_db(world, A);
	world_until(world, "B is to be promoted", 2000, promoting);
	world_kill_db(world, B);
	world_run(world, 50);
	EXPECT_ROWS(world, from, "promote/lost");
	world->hosts[B].stuck = 0;
	world_until(world, "a primary", 5000, serves);
}

Test(agent, a_database_that_stops_before_it_is_opened)
{
	struct world *world = started(3, 0);
	unsigned from = world->seen_count;
	bool stopped = false;

	fail_starts(&world->hosts[A], true);
	world_kill_db(world, A);
	for (unsigned i = 0; i < 500 && !stopped; i++) {
		world_tick(world);
		world->hold_proposals = world->hosts[B].db.state == DB_PRIMARY;
		stopped = in_phase(world, PHASE_OPENING);
	}
	cr_assert(stopped);
	world_kill_db(world, B);
	world_run(world, 50);
	world->hold_proposals = false;
	EXPECT_ROWS(world, from, "promote/done", "opening/lost");
	world_until(world, "a primary", 5000, serves);
	cr_expect_eq(world_cluster(world)->earlier_count, 1);
}

Test(agent, a_timeline_number_that_was_used_is_not_opened)
{
	struct world *world = started(3, 0);
	unsigned from = world->seen_count;

	fail_starts(&world->hosts[A], true);
	/* The history files are gone again before B is promoted. */
	world_kill_db(world, A);
	while (!world_saw(world, from, "opening/used_timeline") &&
	       world->seen_count < SEEN_MAX - 8 && !serves(world)) {
		world->hosts[B].db.reserved = 0;
		world->hosts[C].db.reserved = 0;
		world_tick(world);
		if (world->hosts[B].db.state == DB_PRIMARY)
			world->hosts[B].db.position.timeline = 2;
	}
	EXPECT_ROWS(world, from, "promote/done", "opening/used_timeline");
	world_until(world, "somebody else serves", 20000, serves);
	cr_expect_neq(world_writer(world), B);
}

/* --- people --- */

Test(agent, a_promotion_behind_the_agents_back_is_fenced_and_undone)
{
	struct world *world = started(3, 0);
	struct db *db = &world->hosts[C].db;

	db->state = DB_PRIMARY;
	db->receiving = false;
	db->position.branches[db->position.branch_count++] =
		(struct wal_branch){db->position.timeline, db->position.flushed};
	db->position.timeline = 9;
	db->position.flushed += 100;
	world_tick(world);
	world_tick(world);
	cr_expect_eq(world->hosts[C].fence, FENCE_CLOSED);
	world_run(world, 100);
	cr_expect_geq(world->hosts[C].done[ORDER_DB_KILL], 1);
	cr_expect(a_serves(world));
	world_until(world, "C is rebuilt", 20000, all_stream);
	cr_expect_geq(world->hosts[C].done[ORDER_DB_REWIND] + world->hosts[C].done[ORDER_DB_CLONE],
		      2);
}

Test(agent, an_agent_that_leaves_stops_its_database_and_hands_over)
{
	struct world *world = started(3, 0);
	unsigned from = world->seen_count;

	world_event(world, A, (struct agent_event){.kind = EV_LEAVE});
	world_until(world, "A serves nobody", 100, nobody_serves);
	world_until(world, "B serves", 1000, b_serves);
	EXPECT_ROWS(world, from, "steady/leaving", "survey/safe", "assign/other");
	cr_expect_geq(world->hosts[A].done[ORDER_DB_STOP], 1);
	cr_expect_eq(world->hosts[A].done[ORDER_DB_KILL], 0);
	cr_expect_eq(world->hosts[A].db.state, DB_DOWN);
	cr_expect_eq(world_cluster(world)->decisions[1].cause, CAUSE_HANDOVER);
}

/* --- standbys --- */

Test(agent, a_lost_disk_leaves_the_record_before_it_is_cloned)
{
	struct world *world = started(2, 1);
	bool weakened = false;

	world->hosts[B].db.state = DB_ABSENT;
	for (unsigned i = 0; i < 2000 && world->hosts[B].done[ORDER_DB_CLONE] < 2; i++) {
		world_tick(world);
		weakened = weakened || world_cluster(world)->record.need == 0;
		if (world->hosts[B].done[ORDER_DB_CLONE] < 2)
			cr_assert(world->hosts[B].db.state == DB_ABSENT);
	}
	cr_expect(weakened, "one holder less, because there are no others");
	cr_expect(a_serves(world));
	world_until(world, "B is on record again", 20000, all_stream);
	cr_expect_eq(world_cluster(world)->record.need, 1);
	cr_expect_eq(world_cluster(world)->record.members, node_bit(B));
}

Test(agent, a_lost_disk_among_enough_others_leaves_by_the_flush_barrier)
{
	struct world *world = started(3, 0);
	wal_lsn before = world->acknowledged;

	world->hosts[C].db.state = DB_ABSENT;
	world_run(world, 200);
	world_until(world, "C is on record again", 20000, all_stream);
	cr_expect_gt(world->acknowledged, before);
	for (unsigned i = 6; i < world->log_length; i++)
		if (world->log[i].kind == ENTRY_RECORD)
			cr_expect_eq(world->log[i].record.record.need, 1, "never weakened");
}

Test(agent, a_standby_that_missed_a_survey_is_not_rebuilt_for_nothing)
{
	struct world *world = started(3, 0);

	/* C's agent hears nothing while A fails, starts again and is promoted again. */
	world_stop_agent(world, C);
	world_kill_db(world, A);
	world_tick(world);
	world_until(world, "A serves again", 2000, a_serves);
	cr_assert_eq(world_cluster(world)->timeline, 3);
	world_run(world, 200);
	cr_assert(world->hosts[C].db.receiving, "its database follows all by itself");
	world->hosts[C].cut = false;
	world_start_agent(world, C);
	world_until(world, "C is on record", 20000, all_stream);
	cr_expect_eq(world->hosts[C].done[ORDER_DB_REWIND] + world->hosts[C].done[ORDER_DB_CLONE],
		     1, "at the bootstrap only");
}

/* --- odds and ends --- */

Test(agent, a_snapshot_is_as_good_as_the_log)
{
	struct world *world = started(3, 0);
	struct cluster snapshot = *world_cluster(world);

	world_stop_agent(world, C);
	world_start_agent(world, C);
	world->hosts[C].applied = world->log_length;
	world_event(world, C, (struct agent_event){.kind = EV_RESTORED, .restored = &snapshot});
	cr_expect_eq(world->hosts[C].agent.cluster.version, snapshot.version);
	world_run(world, 500);
	cr_expect(all_stream(world));
}

Test(agent, the_best_standby_waits_a_little_longer_than_the_others)
{
	struct world *world = started(3, 1);
	uint64_t delay[5];

	world->hosts[B].agent.self.position.flushed += 10;
	for (node_id id = 1; id <= 4; id++)
		delay[id] = agent_election_delay_ns(&world->hosts[id].agent);
	cr_expect_eq(delay[A], ELECTION, "the primary's own node");
	cr_expect_gt(delay[B], ELECTION, "the last to time out wins");
	cr_expect_eq(delay[C], ELECTION);
	cr_expect_eq(delay[4], ELECTION, "the witness");
	cr_expect_lt(delay[B], ELECTION + ELECTION / 10);
}

Test(agent, an_executor_that_was_restarted_gets_its_order_again)
{
	struct world *world = started(3, 0);
	struct host *host = &world->hosts[B];

	host->stuck = 1 << EXECUTOR_DBCTL;
	world_kill_db(world, B);
	world_run(world, 50);
	cr_assert_eq(host->orders[EXECUTOR_DBCTL].kind, ORDER_DB_START);
	host->orders[EXECUTOR_DBCTL].id = 0;
	host->stuck = 0;
	world_event(world, B,
		    (struct agent_event){.kind = EV_EXECUTOR_RESET,
					 .reset = {.executor = EXECUTOR_DBCTL}});
	world_run(world, 500);
	world_until(world, "it streams", 2000, all_stream);
}

Test(agent, urgent_orders_do_not_wait_for_the_pause_after_a_failure)
{
	struct world *world = started(3, 0);
	struct host *host = &world->hosts[C];

	/* Configuring fails; then somebody promotes: it must be stopped at once. */
	host->failing = UINT64_C(1) << ORDER_DB_CONFIGURE;
	world_event(world, C,
		    (struct agent_event){.kind = EV_SURVEY,
					 .survey = {.from = B, .term = world->term, .epoch = 9}});
	world_run(world, 4000);
	host->db.state = DB_PRIMARY;
	world_run(world, 50);
	cr_expect_geq(host->done[ORDER_DB_KILL], 1);
}
