/* mhactl's text: what people read when something is wrong. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway_fixture.h"
#include "mhactl/print.h"
#include "mhactl/table.h"
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
		"cluster: demo, node n1, mode max_protection\n"
		"epoch:   4, timeline 4, term 12\n"
		"primary: n1 at 10.77.0.11:5432, VIP 10.77.0.100, lease 800 ms\n"
		"phase:   steady: the primary serves clients\n"
		"record:  a commit is on the primary and on 1 of n2 n3\n"
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
