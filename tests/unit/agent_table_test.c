/*
 * The leader's table as a table: nothing in it is out of reach, leads nowhere or is never taken.
 * The random histories behind it are also checked for what must hold in any.
 */
#include <stdio.h>
#include <string.h>

#include "agent_script.h"

#define SEEDS        40
#define HISTORY_MS   20000
#define HEAL_MS      200000
#define FAULT_KINDS  11
#define FAULT_PERIOD 60 /* ticks */

Test(agent_table, every_phase_is_reached_and_left)
{
	bool reached[PHASE_COUNT] = {[PHASE_FOLLOWING] = true};
	bool left[PHASE_COUNT] = {false};

	for (unsigned round = 0; round < PHASE_COUNT; round++)
		for (unsigned i = 0; i < leader_rule_count(); i++) {
			struct leader_rule_info rule = leader_rule(i);

			if (reached[rule.phase])
				reached[rule.next] = true;
			if (rule.phase != rule.next)
				left[rule.phase] = true;
		}
	for (unsigned phase = 0; phase < PHASE_COUNT; phase++) {
		cr_expect(reached[phase], "%s is never reached", leader_phase_name(phase));
		cr_expect(left[phase], "%s is never left", leader_phase_name(phase));
		cr_expect_str_neq(leader_phase_name(phase), "unknown");
	}
}

Test(agent_table, rows_have_names_of_their_own)
{
	for (unsigned i = 0; i < leader_rule_count(); i++) {
		struct leader_rule_info rule = leader_rule(i);
		const char *phase = leader_phase_name(rule.phase);
		size_t length = strlen(phase);

		cr_expect(strncmp(rule.name, phase, length) == 0 && rule.name[length] == '/',
			  "%s is a row of %s", rule.name, phase);
		cr_expect_gt(strlen(rule.why), 10, "%s does not say why", rule.name);
		for (unsigned j = 0; j < i; j++)
			cr_expect_str_neq(rule.name, leader_rule(j).name);
	}
	cr_expect_leq(leader_rule_count(), RULES_MAX);
}

/* --- histories --- */

static uint32_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return (uint32_t)(*state >> 16);
}

static node_id random_data_node(const struct world *world, uint64_t *seed)
{
	unsigned data = 0;

	while (data < world->count && world->hosts[1].agent.config.nodes[data].kind == NODE_DATA)
		data++;
	return (node_id)(1 + next_random(seed) % data);
}

static void promote_if_standby(struct db *db)
{
	if (db->state == DB_STANDBY && db->position.branch_count < WAL_HISTORY_MAX)
		promote_by_hand(db, db->position.timeline + 20);
}

static void ask_for_a_later_epoch(struct world *world, node_id node, uint64_t *seed)
{
	struct agent_event event = {.kind = EV_SURVEY};

	event.survey.from = (node_id)(1 + next_random(seed) % world->count);
	event.survey.term = world->term;
	event.survey.epoch = world_cluster(world)->epoch + 1 + next_random(seed) % 4;
	if (event.survey.from != node && event.survey.from != world->leader)
		world_event(world, node, event);
}

static void harm(struct world *world, uint64_t *seed)
{
	static const uint8_t failing[] = {ORDER_DB_START, ORDER_DB_PROMOTE, ORDER_DB_REWIND,
					  ORDER_DB_CONFIGURE};
	node_id node = random_data_node(world, seed);
	struct host *host = &world->hosts[node];

	switch (next_random(seed) % FAULT_KINDS) {
	case 0:
		world_kill_db(world, node);
		break;
	case 1:
		if (host->db.state == DB_PRIMARY || host->db.state == DB_STANDBY)
			host->db.state = DB_HUNG;
		break;
	case 2:
		host->cut = !host->cut;
		break;
	case 3:
		host->deaf = !host->deaf;
		break;
	case 4:
		if (host->up)
			world_stop_agent(world, node);
		else
			world_start_agent(world, node);
		break;
	case 5:
		if (host->up)
			world_kill_host(world, node);
		break;
	case 6:
		host->failing ^= UINT64_C(1) << failing[next_random(seed) % sizeof(failing)];
		break;
	case 7:
		host->stuck ^= (uint8_t)(1U << next_random(seed) % EXECUTOR_COUNT);
		break;
	case 8:
		host->refuses_leadership = !host->refuses_leadership;
		break;
	case 9:
		promote_if_standby(&host->db);
		break;
	default:
		ask_for_a_later_epoch(world, node, seed);
		break;
	}
	world->next_leader = (node_id)(1 + next_random(seed) % world->count);
}

static void heal(struct world *world)
{
	for (node_id id = 1; id <= world->count; id++) {
		struct host *host = &world->hosts[id];

		host->cut = false;
		host->deaf = false;
		host->failing = 0;
		host->stuck = 0;
		host->refuses_leadership = false;
		if (!host->up)
			world_start_agent(world, id);
	}
}

static void add_taken(bool taken[RULES_MAX], const struct world *world)
{
	for (unsigned i = 0; i < RULES_MAX; i++)
		taken[i] = taken[i] || world->taken[i];
}

/* Invariants are checked in every tick; at the end everything is as it was. */
static void random_history(uint64_t number, bool taken[RULES_MAX])
{
	static const struct {
		unsigned data, witnesses;
	} shapes[] = {{3, 0}, {2, 1}, {5, 0}, {1, 0}, {3, 2}};
	uint64_t seed = number * UINT64_C(0x9e3779b97f4a7c15);
	unsigned shape = (unsigned)(number % (sizeof(shapes) / sizeof(shapes[0])));
	struct world *world = started(shapes[shape].data, shapes[shape].witnesses);
	char what[64];

	for (unsigned i = 0; i < HISTORY_MS * MS / TICK_NS; i++) {
		if (next_random(&seed) % FAULT_PERIOD == 0)
			harm(world, &seed);
		world_tick(world);
	}
	heal(world);
	(void)snprintf(what, sizeof(what), "all is well again after history %lu",
		       (unsigned long)number);
	world_until(world, what, HEAL_MS, all_stream);
	cr_assert_geq(world->hosts[world_writer(world)].db.position.flushed, world->acknowledged);
	add_taken(taken, world);
}

/* --- rows for what a leader meets only when the log surprises it --- */

/* An entry of a leader that was gone before it was committed. */
static void assign_behind(struct world *world, node_id node)
{
	const struct cluster *cluster = world_cluster(world);
	struct entry entry = {
		.kind = ENTRY_ASSIGN,
		.base_version = cluster->version,
		.epoch = cluster->epoch + 50,
	};

	entry.assign.node = node;
	entry.assign.record.need = 1;
	world->log[world->log_length++] = entry;
	world_run(world, 50);
}

static void ask_behind(struct world *world, node_id node)
{
	struct agent_event event = {.kind = EV_SURVEY};

	event.survey.from = A;
	event.survey.term = world->term;
	event.survey.epoch = world_cluster(world)->epoch + 70;
	world_event(world, node, event);
	world_run(world, 50);
}

static struct world *b_promotes(void)
{
	struct world *world = started(3, 0);

	fail_starts(&world->hosts[A], true);
	world->hosts[B].stuck = 1 << EXECUTOR_VIP;
	world_kill_db(world, A);
	world_until(world, "B is to be promoted", 2000, promoting);
	return world;
}

static struct world *b_opens(void)
{
	struct world *world = started(3, 0);

	fail_starts(&world->hosts[A], true);
	world_kill_db(world, A);
	world_until(world, "B is assigned", 1000, assigned_b);
	world->hold_proposals = true;
	world_until(world, "B is promoted", 1000, opening);
	return world;
}

static void surprises(bool taken[RULES_MAX])
{
	struct world *world = started(3, 0);

	assign_behind(world, B);
	add_taken(taken, world); /* steady/replaced */

	world = started(3, 0);
	world->mute_answers = true;
	world->hosts[A].db.state = DB_HUNG;
	world->hosts[A].stuck = 1 << EXECUTOR_DBCTL;
	world_until(world, "a survey", 500, surveying);
	assign_behind(world, B);
	add_taken(taken, world); /* survey/overtaken */

	world = started(3, 0);
	world->mute_answers = true;
	world->hosts[A].db.state = DB_HUNG;
	world->hosts[A].stuck = 1 << EXECUTOR_DBCTL;
	world_until(world, "too few answers", 5000, blocked);
	assign_behind(world, B);
	add_taken(taken, world); /* blocked/overtaken */

	world = started(3, 0);
	fail_starts(&world->hosts[A], true);
	world->hosts[A].stuck = 1 << EXECUTOR_VIP;
	world_kill_db(world, A);
	world_until(world, "a handover", 1000, handing_over);
	assign_behind(world, A);
	add_taken(taken, world); /* handover/moot */

	world = b_promotes();
	assign_behind(world, C);
	add_taken(taken, world); /* promote/replaced */

	world = b_promotes();
	ask_behind(world, C);
	add_taken(taken, world); /* promote/outdone */

	world = b_promotes();
	world_run(world, 12000);
	add_taken(taken, world); /* promote/overdue */

	world = b_opens();
	world->hosts[B].db.rule.need = 0;
	world->hosts[B].db.overruled = true;
	world_tick(world);
	world->hold_proposals = false;
	world_run(world, 12000);
	add_taken(taken, world); /* opening/overdue */

	world = b_opens();
	world->hold_proposals = false;
	assign_behind(world, C);
	add_taken(taken, world); /* opening/replaced */

	world = b_opens();
	ask_behind(world, C);
	add_taken(taken, world); /* opening/outdone */

	world = b_opens();
	world_kill_db(world, B);
	world_run(world, 50);
	add_taken(taken, world); /* opening/lost */

	world = b_promotes();
	world_kill_db(world, B);
	world_run(world, 50);
	add_taken(taken, world); /* promote/lost */
}

static void rare_cases(bool taken[RULES_MAX])
{
	struct world *world = built(3, 0);

	for (node_id id = B; id <= C; id++) {
		world->hosts[id].db.state = DB_DOWN;
		world->hosts[id].db.position = (struct wal_position){.timeline = 1, .flushed = 900};
	}
	world_run(world, 10000);
	world->hosts[B].db.state = DB_ABSENT;
	world_run(world, 1000);
	add_taken(taken, world); /* bootstrap/several, blocked/several, blocked/one_found */

	world = built(3, 1);
	world->next_leader = 4;
	world->hosts[A].refuses_leadership = true;
	world_run(world, 8000);
	add_taken(taken, world); /* bootstrap/other, handover/failed_early */

	world = started(3, 0);
	fail_starts(&world->hosts[A], true);
	world->hosts[B].db.promote_to = 2;
	world_kill_db(world, A);
	world_run(world, 300);
	add_taken(taken, world); /* opening/used_timeline */

	world = started(3, 0);
	world_event(world, A, (struct agent_event){.kind = EV_LEAVE});
	world_run(world, 500);
	add_taken(taken, world); /* steady/leaving */

	world = started(3, 0);
	fail_starts(&world->hosts[A], true);
	world->leader = NODE_NONE;
	world->hosts[B].cut = true;
	world->hosts[C].cut = true;
	world_run(world, 3500);
	world_kill_db(world, A);
	world_run(world, 100);
	world->next_leader = A;
	heal(world);
	fail_starts(&world->hosts[A], true);
	world_run(world, 500);
	add_taken(taken, world); /* following/own_lost */

	world = started(3, 0);
	world->mute_answers = true;
	world_kill_db(world, A);
	fail_starts(&world->hosts[A], true);
	world_until(world, "too few answers", 5000, blocked);
	ask_behind(world, C);
	add_taken(taken, world); /* blocked/outdone */
}

/* --- what operators ask --- */

static void ask_for(struct world *world, struct call call)
{
	unsigned before = world->results;

	world_call(world, call);
	for (unsigned i = 0; i < 50 && world->results == before; i++)
		world_tick(world);
	cr_assert_gt(world->results, before);
	cr_assert_eq(world->result.code, CALL_ACCEPTED, "%s",
		     blocker_name(world->result.blockers[0].kind));
}

static bool in_switch(const struct world *world)
{
	return in_phase(world, PHASE_SWITCH);
}

static bool in_halt(const struct world *world)
{
	return in_phase(world, PHASE_HALT);
}

static bool in_pause(const struct world *world)
{
	return in_phase(world, PHASE_PAUSED);
}

/* A switchover to B that stays in PHASE_SWITCH, for A's monitor does nothing. */
static struct world *switching(void)
{
	struct world *world = started(3, 0);

	world->hosts[A].failing = UINT64_C(1) << ORDER_DB_CHECKPOINT;
	ask_for(world, (struct call){.kind = CALL_SWITCHOVER, .node = B});
	world_until(world, "a switchover is prepared", 1000, in_switch);
	return world;
}

static struct world *halting(void)
{
	struct world *world = started(3, 0);

	world->hosts[A].stuck = 1 << EXECUTOR_DBCTL;
	ask_for(world, (struct call){.kind = CALL_SWITCHOVER, .node = B});
	world_until(world, "the database is to stop", 1000, in_halt);
	return world;
}

static void switch_cases(bool taken[RULES_MAX])
{
	struct world *world = switching();

	world->hosts[A].db.state = DB_HUNG;
	world_run(world, 50);
	add_taken(taken, world); /* switch/hung */

	world = switching();
	world_kill_db(world, A);
	world_run(world, 50);
	add_taken(taken, world); /* switch/down */

	world = switching();
	ask_behind(world, C);
	world_run(world, 50);
	add_taken(taken, world); /* switch/outdone */

	world = switching();
	world_kill_host(world, B);
	world_run(world, 8000);
	add_taken(taken, world); /* switch/hindered, switch/over */

	world = started(2, 1);
	world_kill_host(world, B);
	world_run(world, 2000);
	world->hosts[A].db.state = DB_HUNG;
	world->hosts[A].failing = UINT64_C(1) << ORDER_DB_KILL;
	world_run(world, 500);
	add_taken(taken, world); /* steady/hanging */

	world = halting();
	ask_behind(world, C);
	world_run(world, 50);
	add_taken(taken, world); /* halt/outdone */

	world = started(3, 0);
	world->hosts[A].failing = UINT64_C(1) << ORDER_FENCE_CLIENTS;
	ask_for(world, (struct call){.kind = CALL_SWITCHOVER, .node = B});
	world_run(world, 3000);
	add_taken(taken, world); /* halt/overdue */

	world = halting();
	world->hosts[A].cut = true;
	world_run(world, 2000);
	heal(world);
	world_run(world, 500);
	add_taken(taken, world); /* halt/replaced */

	world = started(3, 0);
	ask_for(world, (struct call){.kind = CALL_RESTART, .node = B});
	world_run(world, 5000);
	add_taken(taken, world); /* steady/restarted */

	world = started(3, 0);
	ask_for(world, (struct call){.kind = CALL_SWITCHOVER,
				     .node = B,
				     .start_ms = world->now_ns / MS + 300});
	world_run(world, 3000);
	add_taken(taken, world); /* steady/scheduled, halt/done */

	world = built(3, 0);
	for (node_id id = A; id <= C; id++) {
		world->hosts[id].agent.config.nodes[B - 1].priority = 200;
		world->hosts[id].agent.config.settings.switch_back_ms = 1000;
	}
	world_until(world, "somebody serves", 30000, serves);
	world_until(world, "all stream", 30000, all_stream);
	if (world_writer(world) == B) {
		ask_for(world, (struct call){.kind = CALL_SWITCHOVER, .node = A});
		world_until(world, "A serves", 10000, a_serves);
		world_until(world, "all stream", 30000, all_stream);
	}
	ask_for(world, (struct call){.kind = CALL_AUTO_SWITCH, .on = true});
	world_until(world, "B serves", 10000, b_serves);
	add_taken(taken, world); /* steady/better */
}

static void pause_cases(bool taken[RULES_MAX])
{
	struct world *world = started(3, 0);

	ask_for(world, (struct call){.kind = CALL_PAUSE, .end_ms = world->now_ns / MS + 500});
	world_run(world, 1000);
	add_taken(taken, world); /* steady/pause_over */

	world = started(3, 0);
	ask_for(world, (struct call){.kind = CALL_PAUSE, .end_ms = world->now_ns / MS + 5000});
	world_kill_db(world, A);
	world_until(world, "it stands still", 1000, in_pause);
	world_run(world, 8000);
	add_taken(taken, world); /* steady/paused, paused/record, paused/over, paused/resumed */

	world = started(3, 0);
	ask_for(world, (struct call){.kind = CALL_PAUSE});
	world->next_leader = B;
	world->hosts[A].cut = true;
	world_until(world, "it stands still", 3000, in_pause);
	heal(world);
	world_run(world, 3000);
	add_taken(taken, world); /* following/paused, paused/other_able */

	world = started(3, 0);
	ask_for(world, (struct call){.kind = CALL_PAUSE});
	world->hosts[A].db.state = DB_HUNG;
	world->hosts[A].failing = UINT64_C(1) << ORDER_DB_KILL;
	world_until(world, "it stands still", 3000, in_pause);
	world->hosts[A].db.state = DB_PRIMARY;
	world_run(world, 500);
	add_taken(taken, world); /* paused/primary_runs */

	world = started(3, 0);
	world->mute_answers = true;
	fail_starts(&world->hosts[A], true);
	world_kill_db(world, A);
	world_until(world, "a survey", 1000, surveying);
	ask_for(world, (struct call){.kind = CALL_PAUSE});
	world_run(world, 100);
	ask_for(world, (struct call){.kind = CALL_RESUME});
	world_until(world, "answers are missed", 5000, blocked);
	ask_for(world, (struct call){.kind = CALL_PAUSE});
	world_run(world, 100);
	add_taken(taken, world); /* survey/paused, blocked/paused */

	world = started(3, 0);
	ask_for(world, (struct call){.kind = CALL_PAUSE});
	world->leader = NODE_NONE;
	world->next_leader = B;
	world->hosts[A].refuses_leadership = true;
	world_until(world, "A does not take it", 8000, in_pause);
	add_taken(taken, world); /* handover/paused */

	world = b_promotes();
	ask_for(world, (struct call){.kind = CALL_PAUSE});
	world_run(world, 100);
	add_taken(taken, world); /* promote/paused */
}

static void hold_cases(bool taken[RULES_MAX])
{
	struct world *world = started(3, 0);

	world->mute_answers = true;
	fail_starts(&world->hosts[A], true);
	world_kill_db(world, A);
	world_until(world, "held", 5000, blocked);
	world->mute_answers = false;
	world->next_leader = B;
	world->hosts[A].cut = true;
	world_until(world, "B serves", 5000, b_serves);
	heal(world);
	world_run(world, 100);
	add_taken(taken, world); /* blocked/overtaken */

	world = started(3, 0);

	ask_for(world, (struct call){.kind = CALL_AUTO_FAILOVER});
	world_kill_host(world, A);
	world_until(world, "held", 5000, blocked);
	world_run(world, 500);
	ask_for(world, (struct call){.kind = CALL_FAILOVER, .node = B});
	world_until(world, "B serves", 5000, b_serves);
	add_taken(taken, world); /* survey/switched_off, blocked/switched_off, blocked/forced */

	world = started(3, 0);
	ask_for(world, (struct call){.kind = CALL_AUTO_FAILOVER});
	world_kill_host(world, A);
	world_until(world, "a survey", 5000, surveying);
	world_run(world, 100);
	ask_for(world, (struct call){.kind = CALL_FAILOVER, .node = B});
	add_taken(taken, world); /* survey/forced */

	world = started(3, 0);
	world->hosts[B].db.excluded = true;
	world->hosts[C].db.excluded = true;
	world_kill_host(world, A);
	world_until(world, "held", 8000, blocked);
	world_run(world, 500);
	add_taken(taken, world); /* survey/no_candidate, blocked/no_candidate */

	world = built(3, 0);
	for (node_id id = A; id <= C; id++)
		world->hosts[id].agent.config.settings.failover_budget = 1;
	world_until(world, "all stream", 30000, all_stream);
	world_kill_host(world, A);
	world_until(world, "B serves", 5000, b_serves);
	world_start_agent(world, A);
	world_until(world, "all stream", 30000, all_stream);
	world_kill_host(world, B);
	world_until(world, "held", 8000, blocked);
	world_run(world, 500);
	add_taken(taken, world); /* survey/budget, blocked/budget */

	world = built(3, 0);
	for (node_id id = A; id <= C; id++) {
		world->hosts[id].agent.config.settings.mode = MODE_MAX_PERFORMANCE;
		world->hosts[id].agent.config.settings.max_lag_bytes = 0;
	}
	world_until(world, "serves", 5000, serves);
	world_run(world, 15000);
	world->clients = true;
	world->hosts[B].db.deaf = true;
	world->hosts[C].db.deaf = true;
	world_run(world, 1000);
	world_kill_host(world, A);
	world_until(world, "held", 8000, blocked);
	world_run(world, 500);
	add_taken(taken, world); /* survey/lag, blocked/lag */
}

Test(agent_table, every_row_is_taken_and_no_history_breaks_an_invariant, .timeout = 600)
{
	static bool taken[RULES_MAX];

	surprises(taken);
	rare_cases(taken);
	switch_cases(taken);
	pause_cases(taken);
	hold_cases(taken);
	for (uint64_t number = 1; number <= SEEDS; number++)
		random_history(number, taken);
	for (unsigned i = 0; i < leader_rule_count(); i++)
		cr_expect(taken[i], "%s is never taken", leader_rule(i).name);
}
