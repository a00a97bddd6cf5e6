/* Scripts for whole agents: surveys, assignments that fail, people, standbys. */
#include <string.h>

#include "agent_script.h"

#include "core/agent_internal.h"

/* --- the survey --- */

Test(agent_survey, a_position_is_told_only_when_it_cannot_grow_any_more)
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

	/* The receiver still runs; the promise is not in force; then both are as they must be. */
	for (unsigned round = 0; round < 3; round++) {
		event.now_ns += 300 * MS;
		event.result.order_id = measure.id;
		event.result.has_facts = true;
		event.result.facts = agent.self;
		event.result.facts.promise = round == 1 ? 4 : 5;
		event.result.facts.receiving = round == 0;
		agent_step(&agent, &event, &effects);
		for (unsigned i = 0; i < effects.count; i++) {
			if (effects.list[i].kind == FX_ORDER &&
			    effects.list[i].order.kind == ORDER_DB_POSITION)
				measure = effects.list[i].order;
			if (effects.list[i].kind != FX_ANSWER)
				continue;
			told = effects.list[i].answer.facts.position.timeline != 0;
			cr_expect_eq(round, 2, "while WAL still arrived, or could");
			cr_expect_eq(effects.list[i].node, A);
			cr_expect_eq(effects.list[i].answer.epoch, 5);
		}
		if (round < 2) {
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

Test(agent_survey, a_database_that_is_down_answers_without_a_position)
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

Test(agent_survey, surveys_of_older_terms_and_epochs_are_ignored)
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

Test(agent_survey, answers_to_another_survey_count_for_nothing)
{
	struct world *world = started(3, 0);
	struct agent_event event = {.kind = EV_ANSWER};
	struct agent *agent = &world->hosts[A].agent;
	struct agent before;

	world->mute_answers = true;
	fail_starts(&world->hosts[A], true);
	world_kill_db(world, A);
	world_until(world, "a survey", 500, surveying);
	world_run(world, 100);
	before = *agent;
	cr_assert(surveying(world));
	for (unsigned i = 0; i < 4; i++) {
		*agent = before;
		event.answer.term = agent->raft.term - (i == 1 ? 1 : 0);
		event.answer.epoch = agent->survey_epoch - (i == 2 ? 1 : 0);
		event.answer.facts = world->hosts[B].agent.own;
		event.answer.facts.node = i == 3 ? 7 : B;
		world_event(world, A, event);
		cr_expect_eq(node_in(agent->answered, event.answer.facts.node), i == 0, "%u", i);
	}
}

Test(agent_survey, an_answer_without_a_position_does_not_replace_one_with_it)
{
	struct world *world = started(3, 0);
	struct agent_event event = {.kind = EV_ANSWER};
	struct agent *agent = &world->hosts[A].agent;

	world->mute_answers = true;
	fail_starts(&world->hosts[A], true);
	world_kill_db(world, A);
	world_until(world, "a survey", 500, surveying);
	event.answer.term = agent->raft.term;
	event.answer.epoch = agent->survey_epoch;
	event.answer.facts = world->hosts[B].agent.own;
	world_event(world, A, event);
	cr_assert_neq(agent->answers[B].facts.position.timeline, 0);
	memset(&event.answer.facts.position, 0, sizeof(event.answer.facts.position));
	world_event(world, A, event);
	cr_expect_neq(agent->answers[B].facts.position.timeline, 0);
}

Test(agent_survey, nothing_is_settled_before_enough_have_flushed_past_the_promotion)
{
	struct world *world = started(3, 0);
	struct agent agent = world->hosts[A].agent;
	struct agent_event event = {.kind = EV_TICK, .now_ns = world->now_ns + 200 * MS};
	unsigned settles[3] = {0};

	event.raft = world->hosts[A].raft;
	event.raft.lease_until_ns = event.now_ns + 500 * MS;
	agent.cluster.settled = false;
	agent.cluster.earlier_count = 1;
	agent.cluster.earlier[0].record = agent.cluster.record;
	for (unsigned i = 0; i < 3; i++) {
		struct agent copy = agent;
		struct effects effects;

		cr_assert_eq(copy.self.standby_count, 2);
		copy.cluster.open_lsn = copy.self.standbys[0].flushed + (i == 0 ? 1 : 0);
		copy.self.standbys[1].flushed = 1;
		copy.self.standbys[0].streaming = i != 1;
		agent_step(&copy, &event, &effects);
		for (unsigned j = 0; j < effects.count; j++)
			settles[i] += effects.list[j].kind == FX_PROPOSE &&
				      effects.list[j].entry.kind == ENTRY_SETTLE;
	}
	cr_expect_eq(settles[0], 0, "nobody has");
	cr_expect_eq(settles[1], 0, "who has does not stream any more");
	cr_expect_eq(settles[2], 1);
}

Test(agent_survey, a_promise_beyond_the_record_makes_the_same_primary_go_on_in_a_new_epoch)
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

Test(agent_survey, a_survey_is_outbid_by_a_later_promise)
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

Test(agent_survey, too_few_answers_block_and_name_who_is_missed)
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

Test(agent_survey, a_lost_proposal_is_followed_by_another_survey)
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

Test(agent_survey, who_does_not_take_the_leadership_is_passed_over)
{
	struct world *world = started(3, 0);
	unsigned from = world->seen_count;

	fail_starts(&world->hosts[A], true);
	world->hosts[B].refuses_leadership = true;
	world_kill_db(world, A);
	world_until(world, "B is assigned", 1000, assigned_b);
	world_until(world, "somebody else serves", 10000, serves);
	EXPECT_ROWS(world, from, "assign/other", "handover/transfer", "handover/failed");
	cr_expect_eq(world_writer(world), C);
}

Test(agent_survey, a_running_primary_that_cannot_lead_is_passed_over)
{
	struct world *world = started(3, 0);

	/* Its consensus follows, answers and forwards, but wins no election any more. */
	world->hosts[A].refuses_leadership = true;
	world->leader = B;
	world->term++;
	world->hosts[B].led_since_ns = world->now_ns;
	world_run(world, 200);
	world_until(world, "another serves", 20000, serves);
	cr_expect_neq(world_writer(world), A);
	world->hosts[A].refuses_leadership = false;
	world_until(world, "A streams", 20000, all_stream);
}

Test(agent_survey, a_promotion_that_does_not_begin_is_given_up)
{
	struct world *world = started(3, 0);
	unsigned from = world->seen_count;

	fail_starts(&world->hosts[A], true);
	world->hosts[B].stuck = 1 << EXECUTOR_VIP;
	world_kill_db(world, A);
	world_until(world, "B is to be promoted", 2000, promoting);
	world_until(world, "somebody else serves", 30000, serves);
	EXPECT_ROWS(world, from, "promote/overdue", "assign/other");
	cr_expect_eq(world_writer(world), C);
}

Test(agent_survey, a_rule_that_does_not_come_into_force_is_given_up)
{
	struct world *world = started(3, 0);
	unsigned from = world->seen_count;

	fail_starts(&world->hosts[A], true);
	world_kill_db(world, A);
	world_until(world, "B is assigned", 1000, assigned_b);
	world->hold_proposals = true;
	world_until(world, "B is promoted", 1000, opening);
	/* Somebody has overruled the configuration. */
	world->hosts[B].db.rule = (struct sync_rule){0, 0};
	world->hosts[B].db.overruled = true;
	world_tick(world);
	world->hold_proposals = false;
	world_until(world, "somebody else serves", 30000, serves);
	EXPECT_ROWS(world, from, "opening/overdue");
	cr_expect_eq(world_writer(world), C);
}

Test(agent_survey, a_promotion_that_fails_again_and_again_is_passed_over)
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

Test(agent_survey, the_only_data_node_tries_again_after_failed_promotions)
{
	struct world *world = started(1, 0);
	unsigned from = world->seen_count;

	world->hosts[A].failing = UINT64_C(1) << ORDER_DB_PROMOTE;
	world_kill_db(world, A);
	world_run(world, 8000);
	EXPECT_ROWS(world, from, "promote/unable", "survey/no_candidate");
	world->hosts[A].failing = 0;
	world_until(world, "it is not passed over for ever", 30000, a_serves);
}

Test(agent_survey, a_database_that_stops_before_its_promotion)
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

Test(agent_survey, a_database_that_stops_before_it_is_opened)
{
	struct world *world = started(3, 0);
	unsigned from = world->seen_count;

	fail_starts(&world->hosts[A], true);
	world_kill_db(world, A);
	world_until(world, "B is assigned", 1000, assigned_b);
	world->hold_proposals = true;
	world_until(world, "B is promoted", 1000, opening);
	world_kill_db(world, B);
	world_run(world, 50);
	world->hold_proposals = false;
	EXPECT_ROWS(world, from, "promote/done", "opening/lost");
	world_until(world, "a primary", 5000, serves);
	cr_expect_eq(world_cluster(world)->earlier_count, 1);
}

Test(agent_survey, a_timeline_number_that_was_used_is_not_opened)
{
	struct world *world = started(3, 0);
	unsigned from = world->seen_count;

	/* B fails to take its number; C is to take a later one, but the reservation is lost. */
	fail_starts(&world->hosts[A], true);
	world->hosts[B].failing = UINT64_C(1) << ORDER_DB_PROMOTE;
	world->hosts[C].db.promote_to = 3;
	world_kill_db(world, A);
	world_run(world, 5000);
	EXPECT_ROWS(world, from, "promote/unable", "promote/done", "opening/used_timeline");
	cr_expect(nobody_serves(world));
	world->hosts[B].failing = 0;
	world_until(world, "somebody else serves", 20000, serves);
	cr_expect_neq(world_writer(world), C);
	fail_starts(&world->hosts[A], false);
	world_until(world, "all standbys are on record", 30000, all_stream);
}

/* B's promotion is not opened before its database stops; then only B has what it had. */
Test(agent_survey, a_promotion_that_was_not_opened_leaves_the_others_clean)
{
	struct world *world = started(3, 0);
	unsigned rebuilds;

	world->clients = false;
	fail_starts(&world->hosts[A], true);
	world->hosts[C].db.upstream = NODE_NONE;
	world_run(world, 20);
	world->hosts[B].db.position.flushed += 640; /* C and B are not equal */
	world->hosts[A].db.position.flushed += 640;
	world_kill_db(world, A);
	world_until(world, "B is assigned", 1000, assigned_b);
	world->hold_proposals = true;
	world_until(world, "B is promoted", 1000, opening);
	world_kill_db(world, B);
	world_run(world, 100);
	world->hold_proposals = false;
	world_until(world, "B is promoted once more", 5000, b_serves);
	cr_expect_eq(world_cluster(world)->timeline, 1 + 3 * TIMELINE_STEP);
	cr_expect_eq(world->hosts[B].db.position.branch_count, 3,
		     "of the bootstrap, of B, of B again");
	rebuilds = world->hosts[C].done[ORDER_DB_REWIND] + world->hosts[C].done[ORDER_DB_CLONE];
	world_run(world, 2000);
	cr_expect(world->hosts[C].db.receiving);
	cr_expect_eq(world->hosts[C].done[ORDER_DB_REWIND] + world->hosts[C].done[ORDER_DB_CLONE],
		     rebuilds, "C's WAL is a prefix of B's");
}

/* --- people --- */

Test(agent_survey, a_promotion_behind_the_agents_back_is_fenced_and_undone)
{
	struct world *world = started(3, 0);
	struct db *db = &world->hosts[C].db;

	promote_by_hand(db, 9);
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

Test(agent_survey, an_agent_that_leaves_stops_its_database_and_hands_over)
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

Test(agent_survey, so_is_one_on_the_recorded_primarys_own_node)
{
	struct world *world = started(3, 0);
	struct db *db = &world->hosts[A].db;

	/* Its database was restarted, and is promoted before its agent has it promoted. */
	world_kill_db(world, A);
	while (db->state != DB_STANDBY)
		world_tick(world);
	promote_by_hand(db, 9);
	world_run(world, 30);
	cr_expect_neq(world_writer(world), A);
	cr_expect_geq(world->hosts[A].done[ORDER_DB_KILL], 1);
	world_until(world, "a primary", 5000, serves);
	world_until(world, "all standbys are on record", 30000, all_stream);
}

Test(agent_survey, it_is_fenced_also_by_an_agent_that_has_not_heard_of_the_others_yet)
{
	struct world *world = started(3, 0);
	struct agent agent;
	struct agent_event event = {.kind = EV_FENCE, .now_ns = world->now_ns};
	struct effects effects;
	unsigned closes = 0;

	agent_init(&agent, &world->hosts[C].agent.config, world->now_ns);
	event.fence.state = FENCE_NONE;
	event.fence.kernel = true;
	agent_step(&agent, &event, &effects);
	event.kind = EV_LOCAL_FACTS;
	event.facts = world->hosts[C].agent.self;
	event.facts.db = DB_PRIMARY;
	agent_step(&agent, &event, &effects);
	for (unsigned i = 0; i < effects.count; i++)
		closes += effects.list[i].kind == FX_ORDER &&
			  effects.list[i].order.kind == ORDER_FENCE_CLOSE;
	cr_expect_eq(closes, 1);
}

/* --- standbys --- */

Test(agent_survey, a_clone_is_not_disturbed_by_a_survey)
{
	struct world *world = started(3, 0);
	struct host *host = &world->hosts[C];
	struct agent_event job = {.kind = EV_JOB};
	uint64_t id;

	host->stuck = 1 << EXECUTOR_DBCTL;
	host->db.state = DB_ABSENT;
	world_run(world, 3000);
	cr_assert_eq(host->orders[EXECUTOR_DBCTL].kind, ORDER_DB_CLONE);
	id = host->orders[EXECUTOR_DBCTL].id;
	host->db.state = DB_DOWN;
	job.job.job = JOB_CLONE;
	world_event(world, C, job);
	world_event(world, C,
		    (struct agent_event){.kind = EV_SURVEY,
					 .survey = {.from = B, .term = world->term, .epoch = 9}});
	world->hosts[C].deaf = true;
	world_run(world, 8000);
	cr_expect_eq(host->orders[EXECUTOR_DBCTL].id, id);
	cr_expect_eq(host->orders[EXECUTOR_DBCTL].kind, ORDER_DB_CLONE);
	host->deaf = false;
	host->stuck = 0;
	job.job.job = JOB_NONE;
	world_event(world, C, job);
	world_until(world, "C streams", 20000, all_stream);
}

Test(agent_survey, a_start_that_never_ends_is_ended_by_a_clone)
{
	struct world *world = started(3, 0);
	struct host *host = &world->hosts[C];

	host->db.state = DB_STARTING;
	world_run(world, 5000);
	cr_expect_eq(host->db.state, DB_STARTING, "recovery may take its time");
	cr_assert_neq(host->agent.starting_ns, 0);
	host->agent.starting_ns = 1;
	host->agent.now_ns += 3600 * 1000 * MS;
	world->now_ns += 3600 * 1000 * MS;
	world_until(world, "C is cloned", 20000, all_stream);
	cr_expect_eq(host->done[ORDER_DB_CLONE], 2);
}

/* What was rewound against the primary, and would be whole with its WAL up to `end`. */
static void needs_up_to(struct world *world, uint32_t timeline, wal_lsn end)
{
	struct agent_event job = {.kind = EV_JOB};

	job.job.whole_from = (struct wal_branch){timeline, end};
	world->hosts[C].db.state = DB_STARTING;
	world_event(world, C, job);
	world_run(world, 10000);
}

Test(agent_survey, a_copy_whose_wal_was_lost_is_cloned_at_once)
{
	struct world *world = started(3, 0);
	const struct lineage_row *newest;

	world->hosts[A].cut = true;
	world->next_leader = B;
	world_until(world, "a failover", 30000, b_serves);
	world->hosts[A].cut = false;
	world_until(world, "all stream", 60000, all_stream);
	newest = &world_cluster(world)->lineage[world_cluster(world)->lineage_count - 1];
	needs_up_to(world, newest->timeline, UINT64_MAX);
	cr_assert_eq(world->hosts[C].db.state, DB_STARTING, "the primary will have it");
	needs_up_to(world, newest->parent, newest->fork);
	cr_assert_eq(world->hosts[C].db.state, DB_STARTING, "the primary has it");
	cr_assert_eq(world->hosts[C].done[ORDER_DB_CLONE], 1);
	needs_up_to(world, newest->parent, newest->fork + 1);
	cr_expect_eq(world->hosts[C].done[ORDER_DB_CLONE], 2, "nobody has it any more");
	cr_expect_eq(world->hosts[C].done[ORDER_DB_REWIND], 0);
	world_until(world, "C streams", 20000, all_stream);
}

Test(agent_survey, a_lost_disk_leaves_the_record_before_it_is_cloned)
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

Test(agent_survey, a_lost_disk_among_enough_others_leaves_by_the_flush_barrier)
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

Test(agent_survey, a_standby_that_missed_a_survey_is_not_rebuilt_for_nothing)
{
	struct world *world = started(3, 0);

	/* C's agent hears nothing while A fails, starts again and is promoted again. */
	world->hosts[C].deaf = true;
	world_kill_db(world, A);
	world_tick(world);
	world_until(world, "A serves again", 2000, a_serves);
	cr_assert_eq(world_cluster(world)->timeline, 1 + 2 * TIMELINE_STEP);
	world_run(world, 500);
	cr_assert(world->hosts[C].db.receiving, "its database follows all by itself");
	world->hosts[C].deaf = false;
	world_until(world, "C is on record", 20000, all_stream);
	world_run(world, 5000);
	cr_expect(all_stream(world));
	cr_expect_eq(world->hosts[C].done[ORDER_DB_STOP], 0);
	cr_expect_eq(world->hosts[C].done[ORDER_DB_REWIND] + world->hosts[C].done[ORDER_DB_CLONE],
		     1, "at the bootstrap only");
}

/* C was away while A and B went on; A has removed the WAL from then, and B has it from `kept` on.
 */
static struct world *without_wal(wal_lsn told, wal_lsn kept)
{
	struct world *world = started(3, 0);
	struct agent_event job = {.kind = EV_JOB};
	struct host *host = &world->hosts[C];

	host->stuck = 1 << EXECUTOR_DBCTL;
	world_kill_db(world, C);
	world_run(world, 3000);
	world->hosts[A].db.oldest = world->hosts[A].db.position.flushed;
	world->hosts[B].db.oldest = kept;
	cr_assert_lt(host->db.position.flushed, world->hosts[A].db.oldest);
	job.job.wal_oldest = world->hosts[A].db.oldest;
	world_event(world, A, job);
	job.job.wal_oldest = told;
	world_event(world, B, job);
	host->stuck = 0;
	return world;
}

static bool c_streams_from_b(const struct world *world)
{
	return world->hosts[C].db.receiving && world->hosts[C].db.upstream == B;
}

static bool c_streams_from_a(const struct world *world)
{
	return world->hosts[C].db.receiving && world->hosts[C].db.upstream == A;
}

Test(agent_survey, wal_that_another_standby_has_makes_no_clone)
{
	struct world *world = without_wal(1, 1);

	world_until(world, "C streams from B", 20000, c_streams_from_b);
	cr_expect(!node_in(world_cluster(world)->record.members, C), "it counts for nothing");
	world_until(world, "C is back", 20000, all_stream);
	cr_expect_eq(world->hosts[C].db.upstream, A);
	cr_expect_eq(world->hosts[C].done[ORDER_DB_CLONE], 1, "at the bootstrap only");
}

Test(agent_survey, wal_that_nobody_has_makes_a_clone)
{
	struct world *world = without_wal(UINT64_MAX, UINT64_MAX);

	world_until(world, "C is back", 20000, all_stream);
	cr_expect_eq(world->hosts[C].done[ORDER_DB_CLONE], 2);
}

Test(agent_survey, wal_that_is_gone_when_it_is_asked_for_makes_a_clone)
{
	struct world *world = without_wal(1, UINT64_MAX);

	world_until(world, "C is back", 30000, all_stream);
	cr_expect_eq(world->hosts[C].done[ORDER_DB_CLONE], 2);
}

Test(agent_survey, wal_that_nobody_has_makes_a_clone_of_one_that_still_starts)
{
	struct world *world = started(3, 0);
	struct host *host = &world->hosts[C];
	unsigned clones = host->done[ORDER_DB_CLONE];

	/* Its new data are not consistent before they have WAL that has gone since. */
	world_kill_db(world, C);
	host->db.state = DB_ABSENT;
	host->stuck = 1 << EXECUTOR_DBMON;
	for (unsigned i = 0; i < 600 && host->done[ORDER_DB_CLONE] < clones + 2; i++) {
		struct agent_event seen = {.kind = EV_LOCAL_FACTS,
					   .facts = {.node = C, .db = host->db.state}};

		if (host->db.state == DB_STANDBY) {
			seen.facts.db = DB_STARTING;
			seen.facts.fault = FAULT_WAL_MISSING;
		}
		world_event(world, C, seen);
		world_run(world, 100);
	}
	cr_expect_eq(host->done[ORDER_DB_CLONE], clones + 2);
	host->stuck = 0;
	world_until(world, "C is back", 20000, all_stream);
}

Test(agent_survey, a_detour_ends_with_the_promise_of_a_survey)
{
	struct world *world = without_wal(1, 1);
	struct agent_event job = {.kind = EV_JOB, .job = {.wal_oldest = UINT64_MAX}};

	world_event(world, A, job); /* C does not come back by itself */
	world_until(world, "C streams from B", 20000, c_streams_from_b);
	world_event(world, C,
		    (struct agent_event){.kind = EV_SURVEY,
					 .survey = {.from = A, .term = world->term, .epoch = 9}});
	world->hosts[C].deaf = true;
	world_run(world, 1000);
	cr_expect_eq(world->hosts[C].db.upstream, NODE_NONE);
	cr_expect_eq(world->hosts[C].db.promise, 9);
}

Test(agent_survey, a_detour_ends_with_its_sender)
{
	struct world *world = without_wal(1, 1);
	struct agent_event job = {.kind = EV_JOB, .job = {.wal_oldest = UINT64_MAX}};

	world_event(world, A, job);
	world_until(world, "C streams from B", 20000, c_streams_from_b);
	world->hosts[A].db.oldest = 0;
	world->hosts[B].cut = true;
	world_until(world, "C streams from A", 60000, c_streams_from_a);
}

/* --- odds and ends --- */

Test(agent_survey, a_snapshot_is_as_good_as_the_log)
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

Test(agent_survey, the_best_standby_waits_a_little_longer_than_the_others)
{
	struct world *world = started(3, 1);
	uint64_t delay[5];

	world->clients = false;
	world->hosts[B].db.position.flushed += 10;
	world->hosts[B].db.upstream = NODE_NONE;
	world_run(world, 500);
	for (node_id id = 1; id <= 4; id++)
		delay[id] = agent_election_delay_ns(&world->hosts[id].agent);
	cr_expect_eq(delay[A], ELECTION, "the primary's own node");
	cr_expect_gt(delay[B], ELECTION, "the last to time out wins");
	cr_expect_eq(delay[C], ELECTION);
	cr_expect_eq(delay[4], ELECTION, "the witness");
	cr_expect_lt(delay[B], ELECTION + ELECTION / 10);
}

Test(agent_survey, an_executor_that_was_restarted_gets_its_order_again)
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

Test(agent_survey, a_start_that_ended_unseen_is_tried_again)
{
	struct world *world = started(3, 0);
	struct host *host = &world->hosts[C];
	unsigned starts = host->done[ORDER_DB_START];

	world_kill_db(world, C);
	world_tick(world);
	cr_assert_eq(host->orders[EXECUTOR_DBCTL].kind, ORDER_DB_START);
	/* The server starts and ends between two looks of the monitor, which has no news then. */
	host->stuck = 1 << EXECUTOR_DBMON;
	world_tick(world);
	cr_assert_eq(host->done[ORDER_DB_START], starts + 1);
	cr_assert_eq(host->agent.self.db, DB_STARTING, "it is believed for now");
	host->db.state = DB_DOWN;
	world_run(world, 10000);
	cr_expect_gt(host->done[ORDER_DB_START], starts + 1);
}

Test(agent_survey, an_order_that_is_overtaken_leaves_the_file_unknown)
{
	struct world *world = started(3, 0);
	struct host *host = &world->hosts[C];

	cr_assert(host->agent.configured.known);
	host->stuck = 1 << EXECUTOR_DBCTL;
	world_event(world, C,
		    (struct agent_event){.kind = EV_SURVEY,
					 .survey = {.from = B, .term = world->term, .epoch = 9}});
	world_run(world, 100);
	cr_assert_eq(host->orders[EXECUTOR_DBCTL].kind, ORDER_DB_CONFIGURE);
	cr_assert(host->agent.configured.known);
	host->db.state = DB_PRIMARY;
	world_run(world, 50);
	cr_assert_eq(host->orders[EXECUTOR_DBCTL].kind, ORDER_DB_KILL);
	cr_expect_not(host->agent.configured.known, "it may have been written, or not");
}

Test(agent_survey, urgent_orders_do_not_wait_for_the_pause_after_a_failure)
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
