/* mha-top: what its screen shows and that it fits, and its recordings. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/macros.h"
#include "gateway_fixture.h"
#include "top/origin.h"
#include "top/parts.h"
#include "top/render.h"
#include "top/svg.h"

#define MS UINT64_C(1000000)

struct world {
	struct sections sections;
	struct view view;
	struct status_message status;
	struct history_message history;
	Mha__Client__Frame frame;
	struct top_model model;
	struct lines lines;
	char text[LINES_MAX * (LINE_SIZE + 1)];
};

static struct world *world_new(void)
{
	struct world *world = calloc(1, sizeof(*world));

	cr_assert_not_null(world);
	fixture_sections(&world->sections, FIXTURE_NOW_NS, FIXTURE_WALL_MS);
	top_model_init(&world->model);
	return world;
}

static void build(struct world *world)
{
	static char none[] = "";

	view_build(&world->sections, NULL, &world->view);
	status_to_message(&world->view, &world->status);
	history_to_message(&world->view, &world->history);
	mha__client__frame__init(&world->frame);
	world->frame.wall_ms = world->sections.wall_ms;
	world->frame.status = &world->status.status;
	world->frame.history = &world->history.history;
	world->frame.trouble = none;
}

static void look(struct world *world)
{
	build(world);
	top_model_look(&world->model, &world->frame);
}

/* Time passes for clocks of every kind. */
static void pass(struct world *world, uint64_t ms)
{
	world->sections.now_ns += ms * MS;
	world->sections.wall_ms += ms;
}

/* The screen as one text; every line within the width. */
static const char *draw(struct world *world, unsigned width, unsigned height)
{
	char *at = world->text;

	lines_init(&world->lines, width, height);
	top_render(&world->model, &world->frame, "", &world->lines);
	cr_assert(world->lines.count <= height, "%u of %u lines", world->lines.count, height);
	*at = '\0';
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

static const Mha__Client__Member *member_of(const struct world *world, unsigned id)
{
	return world->frame.status->members[id - 1];
}

Test(top, eighty_by_twenty_four_holds_everything)
{
	static const char *const wanted[] = {
		"mha4rdb demo  node n1 (primary)",
		"epoch 4  term 12  timeline 4  steady: the primary serves clients",
		"800 ms  fence open  n1 serves, VIP on n1",
		"record a commit is on 1 of n2 n3  settled  votes 3/3",
		"n1*        primary serving          4     0/5000148",
		"n3         standby streaming        4     0/5000048   256 B",
		"dbmon      1.0%  12M r1",
		"e4    node_lost     n2>n1",
		"1097 ms",
		"detect",
		"promote",
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

Test(top, two_hundred_by_fifty_shows_the_race_and_the_numbers)
{
	static const char *const wanted[] = {"LSN RACE",  "▶",          "pid 4001", "detect 1004",
					     "survey 12", "promote 60", "open 20"};
	struct world *world = world_new();
	const char *text;

	look(world);
	text = draw(world, 200, 50);
	for (size_t i = 0; i < COUNT_OF(wanted); i++)
		cr_expect_not_null(strstr(text, wanted[i]), "missing: %s\n%s", wanted[i], text);
	free(world);
}

Test(top, any_size_is_kept)
{
	struct world *world = world_new();

	look(world);
	for (unsigned page = TOP_PAGE_MAIN; page <= TOP_PAGE_ANSWER; page++) {
		world->model.page = (enum top_page)page;
		for (unsigned width = 1; width <= LINE_CELLS_MAX; width += 13) {
			for (unsigned height = 1; height <= LINES_MAX; height += 5)
				draw(world, width, height);
		}
	}
	free(world);
}

Test(top, ascii_is_ascii)
{
	struct world *world = world_new();

	world->model.ascii = true;
	look(world);
	for (unsigned page = TOP_PAGE_MAIN; page <= TOP_PAGE_ANSWER; page++) {
		world->model.page = (enum top_page)page;
		for (const char *text = draw(world, 180, 50); *text != '\0'; text++)
			cr_assert((*text & 0x80) == 0);
	}
	free(world);
}

Test(top, the_lease_shrinks)
{
	struct world *world = world_new();

	world->model.ascii = true;
	look(world);
	cr_expect_not_null(strstr(draw(world, 80, 24), "lease [########################]"));
	pass(world, 600);
	look(world);
	cr_expect_not_null(strstr(draw(world, 80, 24), "lease [######..................]"));
	pass(world, 600);
	look(world);
	cr_expect_not_null(strstr(draw(world, 80, 24), "none here  fence closed"));
	free(world);
}

Test(top, a_dead_agent_is_seen)
{
	struct world *world = world_new();

	pass(world, 8000);
	look(world);
	cr_expect_not_null(strstr(draw(world, 80, 24), "agent silent for 8.0 s!"));
	world->sections.consensus.leader = NODE_NONE;
	look(world);
	cr_expect_not_null(strstr(draw(world, 120, 24), "nobody leads the consensus"));
	lines_init(&world->lines, 80, 24);
	top_render(&world->model, &world->frame, "no answer within 2000 ms", &world->lines);
	cr_expect_str_eq(world->lines.list[1].text, "no newer word: no answer within 2000 ms");
	lines_init(&world->lines, 80, 24);
	top_render(&world->model, NULL, "nobody is there", &world->lines);
	cr_expect_str_eq(world->lines.list[1].text, "nobody is there");
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

Test(top, events_of_the_agent_come_once)
{
	Mha__Client__Event one, *list[] = {&one};
	Mha__Client__Events events = MHA__CLIENT__EVENTS__INIT;
	char name[] = "failover.opened", json[] = "{\"primary\":\"n1\"}";
	struct world *world = world_new();

	mha__client__event__init(&one);
	one.index = 9;
	one.name = name;
	one.json = json;
	one.wall_ms = FIXTURE_WALL_MS;
	events.events = list;
	events.n_events = 1;
	build(world);
	world->frame.events = &events;
	top_model_look(&world->model, &world->frame);
	top_model_look(&world->model, &world->frame);
	cr_expect_eq(world->model.note_count, 1);
	one.sub = 1;
	top_model_look(&world->model, &world->frame);
	cr_expect_eq(world->model.note_count, 2);
	cr_expect_not_null(
		strstr(draw(world, 100, 40), "9.1 failover.opened {\"primary\":\"n1\"}"));
	free(world);
}

Test(top, processor_time_is_of_the_time_between)
{
	struct world *world = world_new();

	look(world);
	cr_expect_eq(world->model.workers[0].permille, 10, "0.9 s of 90");
	pass(world, 2000);
	world->sections.master.workers[0].cpu_us += 500000;
	look(world);
	cr_expect_eq(world->model.workers[0].permille, 250);
	free(world);
}

Test(top, jobs_have_progress_and_an_end)
{
	struct world *world = world_new();
	struct facts *facts = &world->sections.consensus.peers[3].facts;

	facts->job = JOB_CLONE;
	facts->job_total = 1000;
	look(world);
	cr_expect_eq(top_job_eta_ms(&world->model, &world->frame, member_of(world, 3)), -1,
		     "no speed is known yet");
	pass(world, 1000);
	facts->job_done = 250;
	look(world);
	cr_expect_eq(top_job_eta_ms(&world->model, &world->frame, member_of(world, 3)), 3000);
	cr_expect_not_null(strstr(draw(world, 80, 24), "clone 25% 3.0 s"));
	/* Of its own job this node knows the start. */
	world->sections.dbctl.job = JOB_REWIND;
	world->sections.dbctl.job_done = 500;
	world->sections.dbctl.job_total = 1000;
	world->sections.dbctl.job_started_ns = world->sections.now_ns - 7000 * MS;
	look(world);
	cr_expect_eq(top_job_eta_ms(&world->model, &world->frame, member_of(world, 1)), 7000);
	free(world);
}

Test(top, sorting_and_choosing)
{
	struct world *world = world_new();
	const Mha__Client__Member *rows[TOP_MEMBERS_MAX];

	look(world);
	cr_expect_eq(top_order(&world->model, world->frame.status, rows), 3);
	cr_expect_str_eq(rows[0]->name, "n1");
	top_next_sort(&world->model);
	top_order(&world->model, world->frame.status, rows);
	cr_expect_str_eq(rows[0]->name, "n3", "the most lag first");
	for (unsigned i = 0; i < 5; i++)
		top_select(&world->model, world->frame.status, 1);
	cr_expect_eq(world->model.selected, 2);
	for (unsigned i = 0; i < 5; i++)
		top_select(&world->model, world->frame.status, -1);
	cr_expect_eq(world->model.selected, 0);
	top_next_sort(&world->model);
	top_next_sort(&world->model);
	cr_expect_eq(world->model.sort, TOP_SORT_AGE);
	top_order(&world->model, world->frame.status, rows);
	cr_expect_str_eq(rows[0]->name, "n3", "the oldest word first");
	top_next_sort(&world->model);
	cr_expect_eq(world->model.sort, TOP_SORT_NAME);
	free(world);
}

Test(top, the_decision_of_the_chosen_member)
{
	struct world *world = world_new();
	const char *text;

	look(world);
	world->model.selected = 1;
	top_show_decision(&world->model, &world->frame);
	text = draw(world, 80, 24);
	cr_expect_not_null(strstr(text, "DECISION 1 of 3  epoch 4  node_lost"), "%s", text);
	cr_expect_not_null(strstr(text, "became primary in place of n2"));
	cr_expect_not_null(strstr(text, "detect 1004.0 ms"));
	cr_expect_not_null(strstr(text, "  in all 1"));
	top_step_decision(&world->model, &world->frame, 1);
	cr_expect_not_null(strstr(draw(world, 80, 24), "epoch 2"));
	for (unsigned i = 0; i < 5; i++)
		top_step_decision(&world->model, &world->frame, 1);
	cr_expect_not_null(strstr(draw(world, 80, 24), "DECISION 3 of 3"));
	for (unsigned i = 0; i < 5; i++)
		top_step_decision(&world->model, &world->frame, -1);
	cr_expect_eq(world->model.decision, 0);
	free(world);
}

Test(top, a_switchover_wants_the_name)
{
	struct world *world = world_new();

	look(world);
	world->model.selected = 1;
	top_begin_switch(&world->model, world->frame.status);
	cr_expect_eq(world->model.page, TOP_PAGE_ANSWER, "not over the network");
	cr_expect_not_null(strstr(draw(world, 80, 24), "asked for on a member"));
	world->model.may_call = true;
	world->model.selected = 0;
	top_begin_switch(&world->model, world->frame.status);
	cr_expect_eq(world->model.page, TOP_PAGE_ANSWER, "it is the primary already");
	world->model.selected = 1;
	top_begin_switch(&world->model, world->frame.status);
	cr_expect_eq(world->model.page, TOP_PAGE_CONFIRM);
	cr_expect_not(top_confirmed(&world->model));
	top_type(&world->model, 'n');
	top_type(&world->model, '3');
	cr_expect_not(top_confirmed(&world->model));
	top_type(&world->model, '\b');
	top_type(&world->model, '2');
	cr_expect(top_confirmed(&world->model));
	cr_expect_not_null(strstr(draw(world, 80, 24), "(n2): n2_"));
	for (unsigned i = 0; i < 100; i++)
		top_type(&world->model, 'x');
	cr_expect_eq(strlen(world->model.typed), TOP_TYPED_MAX);
	free(world);
}

Test(top, an_operation_has_its_phase_and_progress)
{
	struct world *world = world_new();
	struct cluster *cluster = &world->sections.consensus.cluster;

	cluster->operation_count = 1;
	cluster->operations[0] = (struct operation){.id = 30,
						    .kind = OPERATION_SWITCHOVER,
						    .state = OPERATION_RUNNING,
						    .from = 1,
						    .to = 2,
						    .epoch = 4,
						    .asked_ms = FIXTURE_WALL_MS - 1200};
	world->sections.consensus.phase = PHASE_HALT;
	world->model.ascii = true;
	look(world);
	cr_expect_not_null(strstr(draw(world, 80, 24),
				  "switchover #30 n1>n2 running 1.2 s [####........] halt"),
			   "%s", world->text);
	free(world);
}

Test(top, an_empty_segment_is_said)
{
	struct world *world = world_new();

	memset(&world->sections, 0, sizeof(world->sections));
	look(world);
	cr_expect_not_null(strstr(draw(world, 80, 24), "has not reported"));
	cr_expect_not_null(strstr(draw(world, 80, 24), "no member is known yet"));
	cr_expect_not_null(strstr(draw(world, 80, 24), "the master has left no section"));
	free(world);
}

Test(parts, a_waterfall_fills_its_width_to_scale)
{
	static const uint64_t rows[][TOP_PHASE_COUNT] = {
		{1000, 0, 10, 60, 20}, {1, 1, 1, 1, 1},          {0, 0, 0, 0, 7},
		{5, 500, 20, 80, 10},  {UINT32_MAX, 1, 1, 0, 0},
	};
	unsigned cells[TOP_PHASE_COUNT];

	for (size_t row = 0; row < COUNT_OF(rows); row++) {
		for (unsigned width = 1; width <= 60; width++) {
			unsigned sum = 0;

			waterfall_cells(rows[row], width, cells);
			for (unsigned i = 0; i < TOP_PHASE_COUNT; i++) {
				sum += cells[i];
				cr_expect(rows[row][i] > 0 || cells[i] == 0);
				cr_expect(width < TOP_PHASE_COUNT || rows[row][i] == 0 ||
					  cells[i] > 0);
			}
			cr_expect_eq(sum, width, "row %zu, width %u: %u", row, width, sum);
		}
	}
	waterfall_cells((const uint64_t[TOP_PHASE_COUNT]){0}, 30, cells);
	for (unsigned i = 0; i < TOP_PHASE_COUNT; i++)
		cr_expect_eq(cells[i], 0);
	waterfall_cells(rows[0], 44, cells);
	cr_expect_gt(cells[TOP_DETECT], 30);
}

Test(parts, sparks_and_races)
{
	cr_expect_eq(spark_level(-1, 10), -1);
	cr_expect_eq(spark_level(0, 0), 0);
	cr_expect_eq(spark_level(10, 10), 7);
	cr_expect_eq(spark_level(5, 10), 3);
	cr_expect_eq(race_cell(0, 100, 20), 19);
	cr_expect_eq(race_cell(100, 100, 20), 0);
	cr_expect_eq(race_cell(200, 100, 20), 0);
	cr_expect_eq(race_cell(50, 100, 21), 10);
	cr_expect_eq(race_cell(0, 0, 1), 0);
	cr_expect_eq(race_cell(5, 5, 0), 0);
}

/* A file with `count` frames; its name. */
static void record(struct world *world, char path[64], unsigned count)
{
	struct record_writer writer = {.name = path};
	struct err why = {0};

	snprintf(path, 64, "/tmp/mha-top-test-XXXXXX");
	writer.fd = mkstemp(path);
	cr_assert_geq(writer.fd, 0);
	for (unsigned i = 0; i < count; i++) {
		pass(world, 500);
		world->sections.consensus.term = 100 + i;
		build(world);
		cr_assert_eq(record_write(&writer, &world->frame, &why), 0, "%s", why.text);
	}
	cr_assert_eq(record_finish(&writer, &why), 0);
}

Test(record, what_was_recorded_is_replayed)
{
	struct world *world = world_new();
	struct origin *origin;
	struct err why = {0};
	char path[64];

	record(world, path, 5);
	cr_assert_eq(origin_open_replay(&origin, path, &why), 0, "%s", why.text);
	cr_expect_eq(origin_count(origin), 5);
	cr_expect_eq(origin_pace_ms(origin), 500);
	cr_expect_null(origin_frame(origin));
	for (unsigned i = 0; i < 5; i++) {
		cr_assert_eq(origin_next(origin, true, &why), 1);
		cr_expect_eq(origin_frame(origin)->status->term, 100 + i);
		cr_assert_not_null(origin_frame(origin)->history,
				   "recorded once, and there always");
		cr_expect_eq(origin_frame(origin)->history->n_decisions, 3);
	}
	cr_expect_eq(origin_next(origin, true, &why), 0);
	origin_seek(origin, 2);
	cr_assert_eq(origin_next(origin, true, &why), 1);
	cr_expect_eq(origin_frame(origin)->status->term, 101);
	origin_close(origin);
	unlink(path);
	free(world);
}

static void refused(const char *path, int code, const char *words)
{
	struct origin *origin;
	struct err why = {0};

	cr_expect_eq(origin_open_replay(&origin, path, &why), code, "%s: %s", words, why.text);
	cr_expect_null(origin);
	cr_expect_not_null(strstr(why.text, words), "%s", why.text);
}

static void write_file(const char *path, const void *bytes, size_t size)
{
	int fd = open(path, O_WRONLY | O_TRUNC);

	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, bytes, size), (ssize_t)size);
	close(fd);
}

Test(record, a_cut_or_foreign_file_is_refused_with_its_place)
{
	struct world *world = world_new();
	static char bytes[1 << 20];
	char path[64];
	ssize_t size;
	int fd;

	record(world, path, 3);
	fd = open(path, O_RDONLY);
	size = read(fd, bytes, sizeof(bytes));
	close(fd);
	cr_assert(size > 1000 && (size_t)size < sizeof(bytes));
	cr_assert_eq(truncate(path, size - 7), 0);
	refused(path, ERR_CORRUPT, "is cut off: frame 3 at byte");
	cr_assert_eq(truncate(path, 19), 0);
	refused(path, ERR_CORRUPT, "is cut off: frame 1 at byte 17");
	cr_assert_eq(truncate(path, 17), 0);
	refused(path, ERR_CORRUPT, "holds no frame");
	cr_assert_eq(truncate(path, 5), 0);
	refused(path, ERR_CORRUPT, "is no recording of mha-top");
	bytes[200] ^= 1;
	write_file(path, bytes, (size_t)size);
	refused(path, ERR_CORRUPT, "frame 1 at byte 17 is damaged");
	bytes[20] = 0x7f;
	write_file(path, bytes, (size_t)size);
	refused(path, ERR_CORRUPT, "is damaged (its size)");
	write_file(path, "mha-top record 9\n....", 21);
	refused(path, ERR_VERSION, "another format");
	write_file(path, "\177ELF, and what else may come", 29);
	refused(path, ERR_CORRUPT, "is no recording of mha-top");
	unlink(path);
	refused(path, ERR_NOT_FOUND, path);
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

/* One line in a colour as a picture, for free(). */
static char *pictured(bool colours)
{
	struct world *world = world_new();
	char *text = NULL;
	size_t size = 0;
	FILE *to = open_memstream(&text, &size);

	cr_assert_not_null(to);
	lines_init(&world->lines, 20, 2);
	lines_add(&world->lines, LINE_BAD, "<&>");
	cr_expect(svg_print(&world->lines, colours, to));
	fclose(to);
	free(world);
	return text;
}

Test(svg, is_escaped)
{
	char *text = pictured(true);

	cr_expect_not_null(strstr(text, "&lt;&amp;&gt;</text>"));
	free(text);
}

Test(svg, has_no_colours_where_none_are_wanted)
{
	char *colours = pictured(true);
	char *mono = pictured(false);

	cr_expect_not_null(strstr(colours, "#f07178"));
	cr_expect_null(strstr(mono, "#f07178"));
	cr_expect_not_null(strstr(mono, "&lt;&amp;&gt;</text>"));
	free(colours);
	free(mono);
}
