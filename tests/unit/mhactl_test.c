/* mhactl's text: what people read when something is wrong. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway_fixture.h"
#include "mhactl/print.h"
#include "mhactl/table.h"
#include "mhactl/when.h"
#include "view/message.h"

struct world {
	struct sections sections;
	struct view_setup setup;
	struct view view;
	struct status_message status;
	struct history_message history;
	char *text;
	size_t size;
};

static struct world *world_new(void)
{
	struct world *world = calloc(1, sizeof(*world));

	cr_assert_not_null(world);
	fixture_sections(&world->sections, FIXTURE_NOW_NS, FIXTURE_WALL_MS);
	fixture_setup(&world->setup);
	return world;
}

static const char *status_text(struct world *world, bool colours)
{
	FILE *to;

	free(world->text);
	to = open_memstream(&world->text, &world->size);
	view_build(&world->sections, &world->setup, &world->view);
	status_to_message(&world->view, &world->status);
	print_status(&world->status.status, colours, to);
	fclose(to);
	return world->text;
}

static void world_free(struct world *world)
{
	free(world->text);
	free(world);
}

Test(mhactl, status_as_a_whole)
{
	static const char expected[] =
		"cluster: demo, node n1\n"
		"epoch:   4, timeline 4, term 12\n"
		"primary: n1 at 10.77.0.11:5432, VIP 10.77.0.100, lease 800 ms\n"
		"phase:   steady: the primary serves clients\n"
		"record:  a commit is on the primary and on 1 of n2 n3\n"
		"mode:    max_protection, 1 standby(s) wanted for each commit; failover: "
		"automatic\n"
		"+ Cluster: demo (7301234567890123456) "
		"----------------------------------------------------+\n"
		"| Member | Host            | Role    | State     | TL | LSN       | Lag   | Sync  "
		" "
		"| Prio |\n"
		"+--------+-----------------+---------+-----------+----+-----------+-------+-------"
		"-"
		"+------+\n"
		"| n1     | 10.77.0.11:5432 | primary | serving   |  4 | 0/5000148 |       |       "
		" "
		"|  100 |\n"
		"| n2     | 10.77.0.12:5432 | standby | streaming |  4 | 0/5000148 |   0 B | "
		"quorum "
		"|   90 |\n"
		"| n3     | 10.77.0.13:5432 | standby | streaming |  4 | 0/5000048 | 256 B | "
		"quorum "
		"|   80 |\n"
		"+--------+-----------------+---------+-----------+----+-----------+-------+-------"
		"-"
		"+------+\n";
	struct world *world = world_new();

	cr_expect_str_eq(status_text(world, false), expected);
	cr_expect_not_null(strstr(status_text(world, true), "\033[32mserving"));
	world_free(world);
}

Test(mhactl, blocked_names_who_is_missed)
{
	struct world *world = world_new();
	const char *text;

	world->sections.consensus.phase = PHASE_BLOCKED;
	world->sections.consensus.waiting_for = node_bit(2) | node_bit(3);
	world->sections.consensus.waiting_count = 1;
	world->sections.consensus.lease_until_ns = 0;
	world->sections.consensus.cluster.settled = false;
	text = status_text(world, false);
	cr_expect_not_null(strstr(text, "missed:  1 of n2 n3"));
	cr_expect_not_null(strstr(text, "nobody serves, as far as n1 may say; on record is n1 "
					"(this node holds no unexpired lease)"));
	cr_expect_not_null(strstr(text, "not settled yet"));
	cr_expect_not_null(strstr(text, "phase:   blocked: "));
	world->sections.consensus.leader = 2;
	cr_expect_not_null(strstr(status_text(world, false), "following n2, which leads"));
	world->sections.consensus.leader = 0;
	cr_expect_not_null(strstr(status_text(world, false), "nobody is known to lead"));
	world_free(world);
}

Test(mhactl, history_shows_inputs)
{
	struct world *world = world_new();
	FILE *to = open_memstream(&world->text, &world->size);

	world->sections.consensus.cluster.decisions[2].open_us = 0;
	world->sections.consensus.cluster.decisions[0].before.members = 0;
	view_build(&world->sections, &world->setup, &world->view);
	history_to_message(&world->view, &world->history);
	print_history(&world->history.history, false, to);
	fclose(to);
	cr_expect_not_null(strstr(world->text,
				  "epoch 2  2026-09-21 14:11:20.000 UTC  database_down  n1 -> n2  "
				  "timeline 3, off 2 at 0/4FFE148\n"
				  "  detect 2.1 ms, survey 18.3 ms, open 61.0 ms, together 81.4 "
				  "ms\n"
				  "  record: 1 of {n2, n3} -> 1 of {n3}\n"));
	cr_expect_not_null(strstr(world->text, "nobody -> n1"));
	cr_expect_not_null(strstr(world->text, "not open yet"));
	cr_expect_not_null(strstr(world->text, "1 of nobody yet -> 1 of {n3}"));
	cr_expect_not_null(strstr(world->text, "  chosen\n"));
	world_free(world);
}

Test(mhactl, a_table_cuts_what_is_too_long)
{
	static const struct table_column columns[] = {{"A", false}, {"B", true}};
	struct table table;
	char *text = NULL;
	size_t size = 0;
	FILE *to = open_memstream(&text, &size);
	unsigned rows = 0;

	table_init(&table, columns, 2);
	while (table_row(&table)) {
		table_cell(&table, 0, STYLE_PLAIN, "%0200d", 7);
		table_cell(&table, 1, STYLE_BAD, "%u", rows++);
	}
	cr_expect_eq(rows, TABLE_ROWS_MAX);
	table_print(&table, "a title that is fine", false, to);
	fclose(to);
	cr_expect_null(strchr(text, '\033'));
	cr_expect_not_null(strstr(text, "| 15 |\n"));
	free(text);
}

Test(mhactl, status_says_what_is_degraded_held_paused_and_under_way)
{
	struct world *world = world_new();
	struct status_consensus *consensus = &world->sections.consensus;
	struct cluster *cluster = &consensus->cluster;
	const char *text;

	cluster->settings.paused = true;
	cluster->settings.pinned = true;
	cluster->settings.maintenance = node_bit(3);
	cluster->record.need = 0;
	cluster->degraded_lsn = 0x5000000;
	consensus->peers[2].facts.fault = FAULT_STARTUP_STOPPED;
	cluster->operation_count = 1;
	cluster->operations[0] = (struct operation){.id = 30,
						    .kind = OPERATION_SWITCHOVER,
						    .state = OPERATION_ROLLED_BACK,
						    .reason = BLOCK_DEADLINE,
						    .from = 1,
						    .to = 2,
						    .asked_ms = FIXTURE_WALL_MS - 2000,
						    .ended_ms = FIXTURE_WALL_MS - 1000};
	text = status_text(world, false);
	cr_expect_not_null(strstr(text, "mode:    max_protection (pinned), 1 standby(s) wanted"));
	cr_expect_not_null(strstr(text, "failover: paused"));
	cr_expect_not_null(strstr(text, "paused:  until `mhactl resume`"));
	cr_expect_not_null(strstr(text, "degraded: each commit is on 0 standby(s), 1 wanted; since "
					"0/5000000"),
			   "%s", text);
	cr_expect_not_null(strstr(text, "switchover 30: n1 -> n2, rolled_back at "));
	cr_expect_not_null(strstr(text, "a phase took too long"));
	cr_expect_not_null(strstr(text, "streaming: startup_stopped"));
	cr_expect_not_null(strstr(text, "streaming, maintenance"));
	consensus->phase = PHASE_BLOCKED;
	consensus->hold = HOLD_AUTO_FAILOVER;
	consensus->lease_until_ns = 0;
	text = status_text(world, false);
	cr_expect_not_null(strstr(text, "held:    automatic failover is switched off\nto do:   "
					"mhactl failover --to NODE"),
			   "%s", text);
	world_free(world);
}

static char *reply_text(const struct call_result *result)
{
	struct world *world = world_new();
	struct call_reply_message *message = calloc(1, sizeof(*message));
	char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	view_build(&world->sections, &world->setup, &world->view);
	call_reply_to_message(&world->view, result, message);
	print_call_reply(&message->reply, "switchover", false, to);
	fclose(to);
	free(message);
	world_free(world);
	return text;
}

Test(mhactl, a_refusal_lists_every_blocker_with_its_remedy)
{
	struct call_result result = {.code = CALL_REFUSED};
	char *text;

	for (uint8_t kind = BLOCK_NONE + 1; kind < BLOCK_KIND_COUNT; kind++) {
		result.blocker_count = 2;
		result.blockers[0] = (struct blocker){kind, 2, 3, 4};
		result.blockers[1] = (struct blocker){BLOCK_PAUSED, NODE_NONE, 0, 0};
		text = reply_text(&result);
		cr_expect_not_null(strstr(text, "refused, nothing was changed:\n  n2: "), "%s",
				   text);
		cr_expect_not_null(strstr(text, blocker_text(kind)), "%s", text);
		cr_expect_not_null(strstr(text, blocker_remedy(kind)), "%s", text);
		cr_expect_not_null(strstr(text, "\n  the cluster is paused\n      -> `mhactl "
						"resume` first\n"));
		free(text);
	}
}

Test(mhactl, replies_say_how_the_call_ended)
{
	static const struct {
		struct call_result result;
		const char *words;
	} cases[] = {
		{{.code = CALL_ACCEPTED, .operation = 12, .node = 2},
		 "switchover: on record as operation 12, n2\n"},
		{{.code = CALL_ACCEPTED, .epoch = 5, .node = 3},
		 "switchover: on record as epoch 5, n3\n"},
		{{.code = CALL_POSSIBLE, .node = 2},
		 "switchover: nothing stands against it; it would be n2\n"},
		{{.code = CALL_UNCERTAIN}, "it may have been carried out"},
		{{.code = CALL_REFUSED,
		  .blocker_count = 1,
		  .blockers = {{BLOCK_LAG, 2, UINT64_C(24) << 20, UINT64_C(16) << 20}}},
		 "(24 MB behind, at most 16 MB)"},
		{{.code = CALL_REFUSED,
		  .blocker_count = 1,
		  .blockers = {{BLOCK_LOSS, 2, LOSS_NOT_BOUNDED, 0}}},
		 "(nobody can say how many)"},
		{{.code = CALL_REFUSED,
		  .blocker_count = 1,
		  .blockers = {{BLOCK_FAULT, 2, FAULT_DISK_FULL, 0}}},
		 "(disk_full: "},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		char *text = reply_text(&cases[i].result);

		cr_expect_not_null(strstr(text, cases[i].words), "%s", text);
		free(text);
	}
}

static const char *why_text(struct world *world)
{
	FILE *to;

	free(world->text);
	to = open_memstream(&world->text, &world->size);
	view_build(&world->sections, &world->setup, &world->view);
	status_to_message(&world->view, &world->status);
	history_to_message(&world->view, &world->history);
	print_why(&world->status.status, &world->history.history, to);
	fclose(to);
	return world->text;
}

Test(mhactl, why_explains_the_last_decision_and_what_is_held)
{
	struct world *world = world_new();
	struct cluster *cluster = &world->sections.consensus.cluster;
	const char *text = why_text(world);

	cr_expect_not_null(strstr(text, "n1 serves as primary, epoch 4.\nThe last decision:\n"));
	cr_expect_not_null(strstr(text, "the agent of n2 was not heard any more"));
	cr_expect_not_null(strstr(text, ": chosen."));
	cluster->decisions[cluster->decision_count++] = (struct decision){
		.epoch = 4,
		.cause = CAUSE_DB_DOWN,
		.fault = FAULT_POSTMASTER_GONE,
		.from = 1,
		.hold = HOLD_ANSWERS,
		.missing = node_bit(1),
		.missing_count = 1,
		.before = cluster->record,
	};
	world->sections.consensus.leader = 3;
	world->sections.consensus.lease_until_ns = 0;
	text = why_text(world);
	cr_expect_not_null(strstr(text, "Nobody serves, as far as n1 may say."));
	cr_expect_not_null(strstr(text, "Nobody is promoted: answers are missing"));
	cr_expect_not_null(strstr(text, "What you may do: bring back node n1"), "%s", text);
	/* It has no time. */
	cr_expect_not_null(strstr(text, "At - nobody was promoted in place of n1, although the "
					"database of n1 ended"));
	cr_expect_not_null(strstr(text, "postmaster_gone"));
	cr_expect_not_null(strstr(text, "The last promotion before it:"));
	world->sections.consensus.leader = 0;
	cluster->decision_count = 0;
	text = why_text(world);
	cr_expect_not_null(strstr(text, "No leader is heard"));
	cr_expect_not_null(strstr(text, "No decision was ever made"));
	world_free(world);
}

Test(mhactl, history_shows_operations_and_holds)
{
	struct world *world = world_new();
	struct cluster *cluster = &world->sections.consensus.cluster;
	FILE *to = open_memstream(&world->text, &world->size);

	cluster->decisions[1].hold = HOLD_ANSWERS;
	cluster->decisions[1].missing = node_bit(2) | node_bit(3);
	cluster->decisions[1].missing_count = 1;
	cluster->decisions[2].at_risk = LOSS_NOT_BOUNDED;
	cluster->decisions[2].loss_accepted = true;
	cluster->operation_count = 1;
	cluster->operations[0] = (struct operation){.id = 30,
						    .kind = OPERATION_SWITCHOVER,
						    .state = OPERATION_DONE,
						    .automatic = true,
						    .from = 1,
						    .to = 2,
						    .asked_ms = FIXTURE_WALL_MS - 2000,
						    .ended_ms = FIXTURE_WALL_MS - 1000};
	view_build(&world->sections, &world->setup, &world->view);
	history_to_message(&world->view, &world->history);
	print_history(&world->history.history, false, to);
	fclose(to);
	cr_expect_not_null(strstr(world->text, "held: answers_missing"));
	cr_expect_not_null(strstr(world->text, "  missed: 1 of n2 n3\n"));
	cr_expect_not_null(strstr(world->text, "at risk: not known, accepted by an operator"));
	cr_expect_not_null(
		strstr(world->text, "| 30 | switchover (automatic) | n1   | n2 | done "));
	world_free(world);
}

Test(mhactl, progress_is_one_line_an_event)
{
	static const struct {
		const char *name, *json, *words;
	} cases[] = {
		{"operation.rolled_back",
		 "{\"from\":\"n1\",\"to\":\"n2\",\"reason_text\":\"too long\"}",
		 "n1 -> n2 too long\n"},
		{"agent.rule", "{\"rule\":\"STEADY/x\",\"why\":\"because\"}",
		 "STEADY/x: because\n"},
		{"failover.assigned", "{\"from\":null,\"to\":\"n2\",\"cause\":\"switchover\"}",
		 " -> n2 (switchover)\n"},
		{"failover.opened", "{\"primary\":\"n2\"}", " n2\n"},
		{"operation.done", "no JSON", "operation.done"},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		Mha__Client__Event event;
		char name[64], json[128], *text = NULL;
		size_t size;
		FILE *to = open_memstream(&text, &size);

		mha__client__event__init(&event);
		snprintf(name, sizeof(name), "%s", cases[i].name);
		snprintf(json, sizeof(json), "%s", cases[i].json);
		event.name = name;
		event.json = json;
		print_progress(&event, to);
		fclose(to);
		cr_expect_not_null(strstr(text, cases[i].words), "%s", text);
		free(text);
	}
}

Test(mhactl, times_and_spans_are_read_as_people_write_them)
{
	static const struct {
		const char *text;
		uint64_t ms;
	} good[] = {{"500ms", 500},  {"30s", 30000},   {"10min", 600000},
		    {"2h", 7200000}, {"1d", 86400000}, {"0s", 0}},
	  times[] = {{"+10min", FIXTURE_WALL_MS + 600000},
		     {"2026-01-31T12:00:30Z", 1769860830000},
		     {"2026-01-31 12:00Z", 1769860800000}};
	static const char *const bad[] = {
		"", "5", "min", "-5s", "5 s", "99999999999999999999s", "213503982335d"};
	static const char *const bad_times[] = {"",         "+",          "+5",
						"tomorrow", "2026-01-31", "2026-13-31T12:00Z",
						"25:00",    "12:00x",     "2026-01-31T12:00Q"};
	uint64_t ms;

	for (size_t i = 0; i < COUNT_OF(good); i++)
		cr_expect(when_parse_span(good[i].text, &ms) && ms == good[i].ms, "%s",
			  good[i].text);
	for (size_t i = 0; i < COUNT_OF(bad); i++)
		cr_expect_not(when_parse_span(bad[i], &ms), "%s", bad[i]);
	for (size_t i = 0; i < COUNT_OF(times); i++)
		cr_expect(when_parse_time(times[i].text, FIXTURE_WALL_MS, &ms) && ms == times[i].ms,
			  "%s", times[i].text);
	for (size_t i = 0; i < COUNT_OF(bad_times); i++)
		cr_expect_not(when_parse_time(bad_times[i], FIXTURE_WALL_MS, &ms), "%s",
			      bad_times[i]);
	/* The next time that it is so: within a day. */
	cr_expect(when_parse_time("12:00", FIXTURE_WALL_MS, &ms));
	cr_expect(ms > FIXTURE_WALL_MS && ms <= FIXTURE_WALL_MS + 90000000);
}
