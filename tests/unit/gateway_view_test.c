/* The view: what may be said of the cluster, and what may not. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/macros.h"
#include "gateway_fixture.h"
#include "view/explain.h"
#include "view/format.h"
#include "view/message.h"

#define MS UINT64_C(1000000)

struct world {
	struct sections sections;
	struct view_setup setup;
	struct view view;
};

static struct world *world_new(void)
{
	struct world *world = calloc(1, sizeof(*world));

	cr_assert_not_null(world);
	fixture_sections(&world->sections, FIXTURE_NOW_NS, FIXTURE_WALL_MS);
	fixture_setup(&world->setup);
	view_build(&world->sections, &world->setup, &world->view);
	return world;
}

static void look(struct world *world)
{
	view_build(&world->sections, &world->setup, &world->view);
}

Test(view, primary_serves_with_lease_fence_and_record)
{
	struct world *world = world_new();

	cr_expect(world->view.serves);
	cr_expect_null(world->view.no_primary_why);
	cr_expect_eq(world->view.self, 1);
	cr_expect_str_eq(world->view.server->name, "n1");
	cr_expect_eq(world->view.lease_ms, 800);
	cr_expect_not(world->view.reads);
	free(world);
}

typedef void (*spoil_function)(struct sections *sections);

static void lease_ends(struct sections *sections)
{
	sections->consensus.lease_until_ns = sections->now_ns;
}

static void lease_of_another_term(struct sections *sections)
{
	sections->consensus.lease_term = 11;
}

static void fence_ends(struct sections *sections)
{
	sections->vip.until_ns = sections->now_ns;
}

static void fence_closes(struct sections *sections)
{
	sections->vip.fence = FENCE_CLOSED;
}

static void fence_of_another_epoch(struct sections *sections)
{
	sections->vip.epoch = 3;
}

static void vip_is_missing(struct sections *sections)
{
	sections->has[STATUS_VIP] = false;
}

static void consensus_is_missing(struct sections *sections)
{
	sections->has[STATUS_CONSENSUS] = false;
}

static void another_is_assigned(struct sections *sections)
{
	sections->consensus.cluster.primary = 2;
}

static void not_opened(struct sections *sections)
{
	sections->consensus.cluster.opened = false;
}

static void database_is_down(struct sections *sections)
{
	sections->dbmon.facts.db = DB_DOWN;
}

static void nobody_knows_who_i_am(struct sections *sections)
{
	sections->has[STATUS_MASTER] = false;
}

static void years_pass(struct sections *sections)
{
	sections->now_ns += UINT64_C(100000000000000000);
}

Test(view, any_doubt_ends_the_serving)
{
	static const struct {
		const char *what;
		spoil_function spoil;
	} cases[] = {
		{"the lease has ended", lease_ends},
		{"the lease is of another term", lease_of_another_term},
		{"the fence's time is over", fence_ends},
		{"the fence is closed", fence_closes},
		{"the fence is open for another epoch", fence_of_another_epoch},
		{"vip has no section", vip_is_missing},
		{"consensus has no section", consensus_is_missing},
		{"another node is on record", another_is_assigned},
		{"the epoch is not open", not_opened},
		{"the database is down", database_is_down},
		{"the own name is not known", nobody_knows_who_i_am},
		{"the section is old", years_pass},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct world *world = world_new();

		cases[i].spoil(&world->sections);
		look(world);
		cr_expect_not(world->view.serves, "%s", cases[i].what);
		cr_expect_not_null(world->view.no_primary_why, "%s", cases[i].what);
		cr_expect(world->view.self == NODE_NONE || world->view.server == NULL, "%s",
			  cases[i].what);
		free(world);
	}
}

Test(view, a_restarted_monitor_does_not_end_the_serving)
{
	struct world *world = world_new();

	world->sections.dbmon.facts.db = DB_UNKNOWN;
	look(world);
	cr_expect(world->view.serves);
	free(world);
}

Test(view, standby_reads_only_while_it_streams_behind_no_fence)
{
	struct world *world = world_new();

	fixture_be_standby(&world->sections);
	look(world);
	cr_expect(world->view.reads, "%s", world->view.no_replica_why);
	cr_expect_str_eq(world->view.server->name, "n1");

	world->sections.vip.fence = FENCE_CLOSED;
	look(world);
	cr_expect_not(world->view.reads);
	world->sections.vip.fence = FENCE_NONE;
	world->sections.dbmon.facts.receiving = false;
	look(world);
	cr_expect_not(world->view.reads);
	world->sections.dbmon.facts.receiving = true;
	world->sections.now_ns += 3000 * MS;
	look(world);
	cr_expect_not(world->view.reads, "facts of 3 s ago");
	free(world);
}

Test(view, another_nodes_word_counts_for_one_lease)
{
	struct world *world = world_new();
	struct leader_message message;

	fixture_be_standby(&world->sections);
	look(world);
	leader_to_message(&world->view, &message);
	cr_expect(message.leader.known);
	cr_expect_eq(message.leader.lease_ms, -1);
	cr_expect_eq(message.leader.age_ms, 20);

	world->sections.now_ns += 1001 * MS;
	look(world);
	leader_to_message(&world->view, &message);
	cr_expect_not(message.leader.known);
	cr_expect_str_eq(message.leader.name, "n1");
	cr_expect_str_not_empty(message.leader.why);
	free(world);
}

Test(view, lag_is_against_the_primary_on_record)
{
	struct world *world = world_new();

	cr_expect_eq(view_member(&world->view, 1)->lag_bytes, -1);
	cr_expect_eq(view_member(&world->view, 2)->lag_bytes, 0);
	cr_expect_eq(view_member(&world->view, 3)->lag_bytes, 0x100);
	cr_expect_eq(view_member(&world->view, 3)->replay_lag_bytes, 0x200);
	cr_expect_str_eq(view_sync(&world->view, view_member(&world->view, 3)), "quorum");
	world->sections.consensus.cluster.record.need = 2;
	look(world);
	cr_expect_str_eq(view_sync(&world->view, view_member(&world->view, 3)), "sync");
	cr_expect_str_eq(view_sync(&world->view, view_member(&world->view, 1)), "");
	free(world);
}

Test(view, states_are_words)
{
	static const struct {
		const char *word;
		uint8_t db;
		bool receiving, needs_rebuild;
		uint8_t job;
	} cases[] = {
		{"streaming", DB_STANDBY, true, false, JOB_NONE},
		{"detached", DB_STANDBY, false, false, JOB_NONE},
		{"diverged", DB_STANDBY, false, true, JOB_NONE},
		{"clone", DB_DOWN, false, true, JOB_CLONE},
		{"down", DB_DOWN, false, false, JOB_NONE},
		{"stray", DB_PRIMARY, false, false, JOB_NONE},
		{"hung", DB_HUNG, false, false, JOB_NONE},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct world *world = world_new();
		struct facts *facts = &world->sections.consensus.peers[2].facts;

		facts->db = cases[i].db;
		facts->receiving = cases[i].receiving;
		facts->needs_rebuild = cases[i].needs_rebuild;
		facts->job = cases[i].job;
		look(world);
		cr_expect_str_eq(view_member(&world->view, 2)->state, cases[i].word);
		free(world);
	}
}

Test(view, garbage_in_a_section_is_survived)
{
	struct world *world = world_new();
	struct status_message status;
	struct history_message *history = calloc(1, sizeof(*history));

	/* bool fields must hold a bool for the compiler; everything else may be anything. */
	memset(&world->sections.consensus.why, 'x', sizeof(world->sections.consensus.why));
	memset(&world->sections.master.node, 'n', sizeof(world->sections.master.node));
	memset(&world->sections.consensus.cluster.nodes, 0xff,
	       sizeof(world->sections.consensus.cluster.nodes));
	world->sections.consensus.cluster.node_total = 255;
	world->sections.consensus.cluster.decision_count = 255;
	world->sections.consensus.cluster.lineage_count = 255;
	world->sections.consensus.cluster.primary = 200;
	world->sections.consensus.phase = 200;
	world->sections.consensus.leader = 99;
	world->sections.consensus.peers[2].facts.db = 77;
	world->sections.consensus.peers[2].facts.job = 77;
	for (unsigned i = 0; i < DECISIONS_MAX; i++) {
		world->sections.consensus.cluster.decisions[i].cause = 99;
		world->sections.consensus.cluster.decisions[i].answer_count = 255;
		world->sections.consensus.cluster.decisions[i].answers[0].db = 99;
		world->sections.consensus.cluster.decisions[i].to = 99;
		world->sections.consensus.cluster.decisions[i].hold = (uint8_t)(i * 7);
		world->sections.consensus.cluster.decisions[i].fault = 99;
		world->sections.consensus.cluster.decisions[i].missing = UINT32_MAX;
		world->sections.consensus.cluster.decisions[i].answers[0].node = 99;
		world->sections.consensus.cluster.decisions[i].answers[0].fault = 99;
	}
	world->sections.consensus.cluster.operation_count = 255;
	for (unsigned i = 0; i < OPERATIONS_MAX; i++)
		world->sections.consensus.cluster.operations[i] = (struct operation){
			.kind = 99, .state = 99, .reason = 99, .from = 99, .to = 99};
	world->sections.consensus.cluster.settings.mode = 99;
	world->sections.consensus.cluster.settings.maintenance = UINT32_MAX;
	world->sections.consensus.peers[2].facts.fault = 99;
	world->sections.consensus.hold = 99;
	for (unsigned round = 0; round < 2; round++) {
		view_build(&world->sections, round ? &world->setup : NULL, &world->view);
		cr_expect_not(world->view.serves);
		status_to_message(&world->view, &status);
		history_to_message(&world->view, history);
		cr_expect_eq(history->history.n_decisions, (size_t)DECISIONS_MAX);
	}
	free(history);
	free(world);
}

Test(view, nothing_known_says_nothing)
{
	struct world *world = world_new();
	struct status_message status;

	memset(&world->sections, 0, sizeof(world->sections));
	cr_expect(sections_empty(&world->sections));
	view_build(&world->sections, NULL, &world->view);
	cr_expect_not(world->view.serves || world->view.reads);
	cr_expect_eq(world->view.member_count, 0);
	status_to_message(&world->view, &status);
	cr_expect_not(status.leader.leader.known);
	cr_expect_eq(status.status.age_ms, -1);
	free(world);
}

Test(view, a_witness_is_no_database)
{
	struct world *world = world_new();

	world->setup.members[2].kind = NODE_WITNESS;
	look(world);
	cr_expect_str_eq(view_role(view_member(&world->view, 3)), "witness");
	cr_expect_str_eq(view_member(&world->view, 3)->state, "voting");
	cr_expect_eq(view_member(&world->view, 3)->lag_bytes, -1);
	snprintf(world->sections.master.node, sizeof(world->sections.master.node), "n3");
	memset(&world->sections.consensus.peers[3], 0, sizeof(struct status_peer));
	world->sections.has[STATUS_DBMON] = world->sections.has[STATUS_VIP] = false;
	look(world);
	cr_expect_str_eq(view_self(&world->view)->state, "voting");
	cr_expect_not(world->view.is_data || world->view.reads || world->view.serves);
	cr_expect_str_eq(world->view.server->name, "n1");
	free(world);
}

Test(format, sizes_and_times_read_well)
{
	static const struct {
		int64_t value;
		const char *bytes, *duration;
	} cases[] = {
		{-1, "unknown", "unknown"},
		{0, "0 B", "0 ms"},
		{999, "999 B", "999 ms"},
		{10239, "10239 B", "10.2 s"},
		{10240, "10 kB", "10.2 s"},
		{16 << 20, "16 MB", "4h39m"},
		{INT64_C(200000000), "190 MB", "2d07h"},
		{65000, "63 kB", "1m05s"},
	};
	char text[FORMAT_SIZE];

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		cr_expect_str_eq(format_bytes(cases[i].value, text), cases[i].bytes);
		cr_expect_str_eq(format_duration(cases[i].value, text), cases[i].duration);
	}
	cr_expect_str_eq(format_bytes(INT64_MAX, text), "8191 PB");
	cr_expect_str_eq(format_time(FIXTURE_WALL_MS + 7, text), "2026-09-21 14:13:20.007 UTC");
	cr_expect_str_eq(format_time(0, text), "-");
	cr_expect_str_eq(format_time(UINT64_MAX, text), "-");
	cr_expect_str_eq(format_lsn(UINT64_MAX, text), "FFFFFFFF/FFFFFFFF");
}

Test(source, a_missing_segment_is_an_error_and_comes_later)
{
	char base[] = "/tmp/mha-source-XXXXXX";
	char path[128];
	struct source source;
	struct sections *sections = calloc(1, sizeof(*sections));
	struct status_map map;
	struct status_vip vip = {.updated_ns = 5, .epoch = 9};
	struct err why;
	FILE *file;

	cr_assert_not_null(mkdtemp(base));
	cr_assert_eq(source_init(&source, base, &why), 0);
	source_read(&source, sections);
	cr_expect(sections_empty(sections));
	cr_expect_eq(sections->code[STATUS_VIP], ERR_NOT_FOUND);

	snprintf(path, sizeof(path), "%s/status", base);
	cr_assert_eq(mkdir(path, 0755), 0);
	snprintf(path, sizeof(path), "%s/status/vip", base);
	file = fopen(path, "w+");
	cr_assert_not_null(file);
	cr_assert_eq(status_open_fd(&map, STATUS_VIP, fileno(file), &why), 0);
	source_refresh(&source);
	source_read(&source, sections);
	cr_expect_not(sections->has[STATUS_VIP], "never published");
	status_publish(&map, &vip);
	source_read(&source, sections);
	cr_assert(sections->has[STATUS_VIP]);
	cr_expect_eq(sections->vip.epoch, 9);

	/* Another file in its place is found at the next refresh. */
	cr_assert_eq(unlink(path), 0);
	source_refresh(&source);
	source_read(&source, sections);
	cr_expect_not(sections->has[STATUS_VIP]);
	status_close(&map);
	fclose(file);
	source_fini(&source);
	snprintf(path, sizeof(path), "%s/status", base);
	cr_expect_eq(rmdir(path) + rmdir(base), 0);
	free(sections);
}

Test(source, a_long_path_is_refused)
{
	char path[300];
	struct source source;
	struct err why;

	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	cr_expect_eq(source_init(&source, path, &why), ERR_TOO_BIG);
}

/* The fixture's cluster, held for `hold`, as a node that does not lead sees it. */
static void held(struct world *world, uint8_t hold)
{
	struct cluster *cluster = &world->sections.consensus.cluster;
	struct decision *decision = &cluster->decisions[cluster->decision_count++];

	*decision = (struct decision){.epoch = cluster->epoch,
				      .cause = CAUSE_NODE_LOST,
				      .from = 1,
				      .to = 3,
				      .hold = hold,
				      .missing = node_bit(2),
				      .missing_count = 1,
				      .at_ms = FIXTURE_WALL_MS,
				      .before = cluster->record,
				      .at_risk = UINT64_C(3) << 20,
				      .at_risk_ms = 1500};
	world->sections.consensus.leader = 3;
	world->sections.consensus.lease_until_ns = 0;
	world->sections.consensus.phase = PHASE_FOLLOWING;
	view_build(&world->sections, &world->setup, &world->view);
}

Test(view, every_hold_says_why_and_what_to_do)
{
	static const char *const words[HOLD_COUNT] = {
		[HOLD_ANSWERS] = "at least 1 of n2 must answer",
		[HOLD_NO_CANDIDATE] = "may not be primary",
		[HOLD_AUTO_FAILOVER] = "automatic failover is switched off",
		[HOLD_PAUSED] = "paused",
		[HOLD_BUDGET] = "within an hour",
		[HOLD_LAG] = "3072 kB would be lost",
		[HOLD_LAG_UNKNOWN] = "not heard to its end",
	};

	for (uint8_t hold = HOLD_NONE + 1; hold < HOLD_COUNT; hold++) {
		struct world *world = world_new();

		held(world, hold);
		cr_expect_null(world->view.server);
		cr_expect_eq(world->view.hold, hold);
		cr_expect_not_null(strstr(world->view.hold_text, words[hold]), "%u: %s", hold,
				   world->view.hold_text);
		cr_expect_not_null(strstr(world->view.advice, "mhactl "), "%s", world->view.advice);
		free(world);
	}
}

Test(view, the_leader_s_own_reason_is_newer_than_the_log)
{
	struct world *world = world_new();

	held(world, HOLD_ANSWERS);
	world->sections.consensus.leader = 1;
	world->sections.consensus.phase = PHASE_BLOCKED;
	world->sections.consensus.hold = HOLD_ANSWERS;
	world->sections.consensus.waiting_for = node_bit(3);
	world->sections.consensus.waiting_count = 1;
	view_build(&world->sections, &world->setup, &world->view);
	cr_expect_not_null(strstr(world->view.hold_text, "1 of n3"), "%s", world->view.hold_text);
	world->sections.consensus.phase = PHASE_SURVEY;
	view_build(&world->sections, &world->setup, &world->view);
	cr_expect_eq(world->view.hold, HOLD_NONE);
	world->sections.consensus.phase = PHASE_PAUSED;
	view_build(&world->sections, &world->setup, &world->view);
	cr_expect_eq(world->view.hold, HOLD_PAUSED);
	free(world);
}

Test(view, a_hold_is_over_when_somebody_serves)
{
	struct world *world = world_new();

	held(world, HOLD_ANSWERS);
	world->sections.consensus.leader = 1;
	world->sections.consensus.phase = PHASE_STEADY;
	world->sections.consensus.lease_until_ns = FIXTURE_NOW_NS + 1000000000;
	view_build(&world->sections, &world->setup, &world->view);
	cr_expect_not_null(world->view.server);
	cr_expect_eq(world->view.hold, HOLD_NONE);
	cr_expect_str_eq(world->view.advice, "");
	free(world);
}

Test(view, settings_degradation_and_ha)
{
	struct world *world = world_new();
	struct cluster *cluster = &world->sections.consensus.cluster;

	view_build(&world->sections, &world->setup, &world->view);
	cr_expect_str_eq(world->view.mode, "max_protection");
	cr_expect_str_eq(world->view.ha, "automatic");
	cr_expect_not(world->view.degraded);
	cluster->record.need = 0;
	cluster->degraded_lsn = 0x5000000;
	view_build(&world->sections, &world->setup, &world->view);
	cr_expect(world->view.degraded && world->view.degraded_lsn == 0x5000000);
	cluster->settings.auto_failover = false;
	view_build(&world->sections, &world->setup, &world->view);
	cr_expect_str_eq(world->view.ha, "manual");
	cluster->settings.paused = true;
	view_build(&world->sections, &world->setup, &world->view);
	cr_expect_str_eq(world->view.ha, "paused");
	world->setup.members[1].kind = NODE_WITNESS;
	world->setup.members[2].kind = NODE_WITNESS;
	view_build(&world->sections, &world->setup, &world->view);
	cr_expect_str_eq(world->view.ha, "none");
	cr_expect_not(world->view.degraded);
	memset(&cluster->settings, 0, sizeof(cluster->settings));
	view_build(&world->sections, &world->setup, &world->view);
	cr_expect_str_eq(world->view.ha, "");
	cr_expect_null(world->view.settings);
	free(world);
}

Test(view, faults_maintenance_and_operations_are_shown)
{
	struct world *world = world_new();
	struct cluster *cluster = &world->sections.consensus.cluster;
	struct status_message *status = calloc(1, sizeof(*status));

	world->sections.consensus.peers[3].facts.fault = FAULT_STARTUP_STOPPED;
	cluster->settings.maintenance = node_bit(2);
	cluster->operation_count = 1;
	cluster->operations[0] = (struct operation){.id = 30,
						    .kind = OPERATION_SWITCHOVER,
						    .state = OPERATION_RUNNING,
						    .from = 1,
						    .to = 2,
						    .asked_ms = FIXTURE_WALL_MS - 1500};
	view_build(&world->sections, &world->setup, &world->view);
	status_to_message(&world->view, status);
	cr_expect_str_eq(status->status.members[2]->fault, "startup_stopped");
	cr_expect_neq(status->status.members[2]->fault_advice[0], '\0');
	cr_expect(status->status.members[1]->maintenance);
	cr_assert_eq(status->status.n_operations, 1);
	cr_expect_str_eq(status->status.operations[0]->state, "running");
	cr_expect_str_eq(status->status.operations[0]->phase, "steady");
	cr_expect_str_eq(status->status.operations[0]->to, "n2");
	/* A follower knows the phase from the leader's facts, as long as it hears them. */
	world->sections.consensus.leader = 2;
	world->sections.consensus.raft_state = 1;
	world->sections.consensus.peers[2].facts.phase = PHASE_HALT;
	view_build(&world->sections, &world->setup, &world->view);
	status_to_message(&world->view, status);
	cr_expect_str_eq(status->status.operations[0]->phase, "halt");
	world->sections.consensus.peers[2].heard_ns = 1;
	view_build(&world->sections, &world->setup, &world->view);
	status_to_message(&world->view, status);
	cr_expect_str_eq(status->status.operations[0]->phase, "");
	cr_expect_eq(status->status.operations[0]->age_ms, 1500);
	cluster->operations[0].state = OPERATION_ROLLED_BACK;
	cluster->operations[0].reason = BLOCK_DEADLINE;
	cluster->operations[0].ended_ms = FIXTURE_WALL_MS - 1000;
	view_build(&world->sections, &world->setup, &world->view);
	status_to_message(&world->view, status);
	cr_expect_str_eq(status->status.operations[0]->reason, "deadline");
	cr_expect_str_eq(status->status.operations[0]->phase, "");
	cr_expect_eq(status->status.operations[0]->age_ms, 500);
	cr_expect_null(world->view.operation);
	free(status);
	free(world);
}

Test(view, a_decision_is_explained_with_every_node_s_inputs)
{
	struct world *world = world_new();
	struct explanation *why = calloc(1, sizeof(*why));
	struct decision *decision = &world->sections.consensus.cluster.decisions[2];
	char all[8192] = "";

	decision->fault = FAULT_DISK_STALLED;
	decision->at_risk = UINT64_C(5) << 20;
	decision->at_risk_ms = 2500;
	decision->loss_accepted = true;
	decision->operation = 12;
	decision->answers[1].fault = FAULT_DISK_FULL;
	decision->answers[1].excluded = decision->answers[1].diverged = true;
	view_build(&world->sections, &world->setup, &world->view);
	explain_decision(&world->view, decision, why);
	for (unsigned i = 0; i < why->count; i++)
		strncat(all, why->sentences[i], sizeof(all) - strlen(all) - 1);
	cr_expect_not_null(strstr(all, "epoch 4: n1 became primary in place of n2 because the "
				       "agent of n2 was not heard any more."),
			   "%s", all);
	cr_expect_not_null(strstr(all, "disk_stalled"));
	cr_expect_not_null(strstr(all, "operation 12"));
	cr_expect_not_null(strstr(all, "on 1 of n2 and n3, so 2 of these had to answer"), "%s",
			   all);
	cr_expect_not_null(strstr(all, "n1: database standby, timeline 3, flushed 0/5000148"));
	cr_expect_not_null(strstr(all, "priority 100: chosen."));
	cr_expect_not_null(strstr(all, "fault disk_full, excluded, with WAL of its own"));
	cr_expect_not_null(strstr(all, "No position was heard of n2."));
	cr_expect_not_null(strstr(all, "5120 kB of WAL and the commits of 2.5 s are lost, which "
				       "an operator accepted."),
			   "%s", all);
	decision->at_risk = LOSS_NOT_BOUNDED;
	explain_decision(&world->view, decision, why);
	cr_expect_not_null(strstr(why->sentences[why->count - 1], "nobody can say how many"));
	free(why);
	free(world);
}
