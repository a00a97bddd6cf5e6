/* mha-top's screen as lines: what it shows, and that it fits. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway_fixture.h"
#include "top/render.h"
#include "top/svg.h"

#define MS UINT64_C(1000000)

struct world {
	struct sections sections;
	struct view view;
	struct top_model model;
	struct lines lines;
	char text[LINES_MAX * LINE_SIZE];
};

static struct world *world_new(void)
{
	struct world *world = calloc(1, sizeof(*world));

	cr_assert_not_null(world);
	fixture_sections(&world->sections, FIXTURE_NOW_NS, FIXTURE_WALL_MS);
	top_model_init(&world->model);
	return world;
}

static void look(struct world *world)
{
	view_build(&world->sections, NULL, &world->view);
	top_model_look(&world->model, &world->view);
}

/* The screen as one text; every line within the width. */
static const char *draw(struct world *world, unsigned width, unsigned height)
{
	char *at = world->text;

	lines_init(&world->lines, width, height);
	top_render(&world->model, &world->view, &world->lines);
	cr_assert(world->lines.count <= height, "%u of %u lines", world->lines.count, height);
	for (unsigned i = 0; i < world->lines.count; i++) {
		const struct line *line = &world->lines.list[i];
		unsigned bytes = 0;

		cr_assert(line->cells <= width, "line %u: %s", i, line->text);
		for (unsigned part = 0; part < line->segment_count; part++)
			bytes += line->segments[part].length;
		cr_assert_eq(bytes, line->bytes);
		cr_assert_eq(strlen(line->text), line->bytes);
		at += sprintf(at, "%s\n", line->text);
	}
	return world->text;
}

Test(top, eighty_by_twenty_four_holds_everything)
{
	static const char *const wanted[] = {
		"mha4rdb demo  node n1 (primary)",
		"epoch 4  term 12  timeline 4  steady: the primary serves clients",
		"800 ms  fence open  VIP here  n1 serves",
		"record a commit is on 1 of n2 n3  settled",
		"n1*        primary serving          4     0/5000148",
		"n3         standby streaming        4     0/5000048   256 B",
		"dbmon 4004 1m30s r1",
		"e4   node_lost     n2>n1      1004 + 12 + 80 = 1097 ms",
		"epoch 4: n1 assigned, because node_lost of n2",
	};
	struct world *world = world_new();
	const char *text;

	look(world);
	text = draw(world, 80, 24);
	for (size_t i = 0; i < COUNT_OF(wanted); i++)
		cr_expect_not_null(strstr(text, wanted[i]), "missing: %s\n%s", wanted[i], text);
	free(world);
}

Test(top, any_size_is_kept)
{
	struct world *world = world_new();

	look(world);
	for (unsigned width = 1; width <= 300; width += 7) {
		for (unsigned height = 1; height <= 140; height += 3)
			draw(world, width < LINE_CELLS_MAX ? width : LINE_CELLS_MAX,
			     height < LINES_MAX ? height : LINES_MAX);
	}
	free(world);
}

Test(top, ascii_is_ascii)
{
	struct world *world = world_new();
	const char *text;

	world->model.ascii = true;
	look(world);
	for (text = draw(world, 100, 40); *text != '\0'; text++)
		cr_assert((*text & 0x80) == 0);
	free(world);
}

Test(top, the_lease_shrinks)
{
	struct world *world = world_new();

	world->model.ascii = true;
	look(world);
	cr_expect_not_null(strstr(draw(world, 80, 24), "lease [########################]"));
	world->sections.now_ns += 600 * MS;
	look(world);
	cr_expect_not_null(strstr(draw(world, 80, 24), "lease [######..................]"));
	world->sections.now_ns += 600 * MS;
	look(world);
	cr_expect_not_null(strstr(draw(world, 80, 24), "none here  fence closed"));
	free(world);
}

Test(top, a_dead_agent_is_seen)
{
	struct world *world = world_new();

	world->sections.now_ns += 8000 * MS;
	look(world);
	cr_expect_not_null(strstr(draw(world, 80, 24), "agent silent for 8.0 s!"));
	world->sections.consensus.leader = NODE_NONE;
	look(world);
	cr_expect_not_null(strstr(draw(world, 80, 24), "nobody leads the consensus"));
	free(world);
}

Test(top, changes_become_events)
{
	struct world *world = world_new();
	const char *text;

	look(world);
	cr_expect_eq(world->model.note_count, 0);
	world->sections.wall_ms += 1000;
	world->sections.consensus.cluster.epoch = 5;
	world->sections.consensus.cluster.primary = 2;
	world->sections.consensus.phase = PHASE_FOLLOWING;
	world->sections.consensus.peers[3].facts.receiving = false;
	world->sections.master.workers[0].restarts = 3;
	look(world);
	text = draw(world, 100, 40);
	cr_expect_not_null(strstr(text, "epoch 4 -> 5: primary is n2"));
	cr_expect_not_null(strstr(text, "n3: streaming -> detached"));
	cr_expect_not_null(strstr(text, "worker consensus restarted (3 since the start)"));
	cr_expect_not_null(strstr(text, "this node serves no more"));
	for (unsigned i = 0; i < 100; i++) {
		world->sections.master.workers[0].restarts++;
		look(world);
	}
	cr_expect_eq(world->model.note_count, TOP_NOTES_MAX);
	free(world);
}

Test(top, jobs_have_progress_and_an_end)
{
	struct world *world = world_new();
	struct facts *facts = &world->sections.consensus.peers[3].facts;

	facts->job = JOB_CLONE;
	facts->job_total = 1000;
	look(world);
	cr_expect_eq(top_job_eta_ms(&world->model, &world->view, view_member(&world->view, 3)), -1,
		     "no speed is known yet");
	world->sections.now_ns += 1000 * MS;
	facts->job_done = 250;
	look(world);
	cr_expect_eq(top_job_eta_ms(&world->model, &world->view, view_member(&world->view, 3)),
		     3000);
	cr_expect_not_null(strstr(draw(world, 80, 24), "clone 25% 3.0 s"));
	/* Of its own job this node knows the start. */
	world->sections.dbctl.job = JOB_REWIND;
	world->sections.dbctl.job_done = 500;
	world->sections.dbctl.job_total = 1000;
	world->sections.dbctl.job_started_ns = world->sections.now_ns - 7000 * MS;
	look(world);
	cr_expect_eq(top_job_eta_ms(&world->model, &world->view, view_member(&world->view, 1)),
		     7000);
	free(world);
}

Test(top, sorting_and_choosing)
{
	struct world *world = world_new();
	const struct view_member *rows[NODES_MAX];

	look(world);
	cr_expect_eq(top_order(&world->model, &world->view, rows), 3);
	cr_expect_str_eq(rows[0]->name, "n1");
	top_next_sort(&world->model);
	top_order(&world->model, &world->view, rows);
	cr_expect_str_eq(rows[0]->name, "n3", "the most lag first");
	for (unsigned i = 0; i < 5; i++)
		top_select(&world->model, &world->view, 1);
	cr_expect_eq(world->model.selected, 2);
	for (unsigned i = 0; i < 5; i++)
		top_select(&world->model, &world->view, -1);
	cr_expect_eq(world->model.selected, 0);
	top_next_sort(&world->model);
	top_next_sort(&world->model);
	cr_expect_eq(world->model.sort, TOP_SORT_NAME);
	free(world);
}

Test(top, an_empty_segment_is_said)
{
	struct world *world = world_new();

	memset(&world->sections, 0, sizeof(world->sections));
	look(world);
	cr_expect_not_null(strstr(draw(world, 80, 24), "has not reported"));
	cr_expect_not_null(strstr(draw(world, 80, 24), "no member is known yet"));
	free(world);
}

Test(lines, foreign_bytes_do_no_harm)
{
	struct world *world = world_new();

	lines_init(&world->lines, 10, 2);
	cr_assert(lines_new(&world->lines));
	lines_put(&world->lines, LINE_PLAIN, "a\033[31m\xff\xc3é");
	cr_expect_str_eq(world->lines.list[0].text, "a?[31m??é");
	cr_expect_eq(world->lines.list[0].cells, 9);
	lines_put(&world->lines, LINE_PLAIN, "█████");
	cr_expect_eq(world->lines.list[0].cells, 10);
	cr_expect(lines_new(&world->lines));
	cr_expect_not(lines_new(&world->lines));
	lines_put(&world->lines, LINE_PLAIN, "thrown away");
	cr_expect_not(lines_new(&world->lines));
	free(world);
}

Test(svg, is_escaped)
{
	struct world *world = world_new();
	char *text = NULL;
	size_t size = 0;
	FILE *to = open_memstream(&text, &size);

	lines_init(&world->lines, 20, 2);
	lines_add(&world->lines, LINE_BAD, "<&>");
	cr_expect(svg_print(&world->lines, to));
	fclose(to);
	cr_expect_not_null(strstr(text, "&lt;&amp;&gt;</text>"));
	free(text);
	free(world);
}
