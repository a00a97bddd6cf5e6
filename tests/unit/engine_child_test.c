/* Programs that dbctl runs: what they inherit, what is heard of them, and how they end. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "engine/child.h"

struct heard {
	char lines[4096];
	bool ended;
	struct process_end end;
};

static void on_line(void *arg, const char *line)
{
	struct heard *heard = arg;
	const size_t used = strlen(heard->lines);

	snprintf(heard->lines + used, sizeof(heard->lines) - used, "%s\n", line);
}

static void on_ended(void *arg, const struct process_end *end)
{
	struct heard *heard = arg;

	heard->ended = true;
	heard->end = *end;
}

static const struct child_events EVENTS = {.line = on_line, .ended = on_ended};

static struct heard run(const char *const *argv, const char *input, bool killed)
{
	const struct child_spec spec = {.argv = argv, .input = input};
	struct heard heard = {.lines = ""};
	struct child *child;
	struct err why;
	uv_loop_t loop;

	cr_assert_eq(uv_loop_init(&loop), 0);
	cr_assert_eq(child_start(&child, &loop, &spec, &EVENTS, &heard, &why), 0, "%s", why.text);
	if (killed)
		child_kill(child);
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_expect_eq(uv_loop_close(&loop), 0);
	cr_assert(heard.ended);
	return heard;
}

Test(engine_child, output_and_status_are_heard)
{
	static const char *const argv[] = {"/bin/sh", "-c", "cat; echo err >&2; exit 3", NULL};
	const struct heard heard = run(argv, "from us\n", false);

	cr_expect_str_eq(heard.lines, "from us\nerr\n");
	cr_expect(!heard.end.by_signal && heard.end.code == 3);
}

Test(engine_child, nothing_is_inherited)
{
	static const char *const argv[] = {
		"/bin/sh", "-c", "ls /proc/self/fd | wc -l; env | sort | head -3; pwd", NULL};
	/* Not close-on-exec, as if somebody had forgotten it. */
	const int stray = open("/dev/null", O_RDONLY);
	struct heard heard;

	cr_assert(stray >= 0);
	cr_assert_eq(setenv("PGPASSWORD", "secret", 1), 0);
	heard = run(argv, NULL, false);
	/* 0, 1, 2 and the directory that ls reads. */
	cr_expect_eq(strncmp(heard.lines, "4\n", 2), 0, "%s", heard.lines);
	cr_expect(strstr(heard.lines, "PGPASSWORD") == NULL);
	cr_expect(strstr(heard.lines, "LC_ALL=C\n") != NULL);
	cr_expect(strstr(heard.lines, "\n/\n") != NULL);
	close(stray);
}

Test(engine_child, a_killed_one_takes_its_own_children_along)
{
	static const char *const argv[] = {"/bin/sh", "-c", "sleep 100 & sleep 100", NULL};
	const struct heard heard = run(argv, NULL, true);

	cr_expect(heard.end.by_signal && heard.end.code == 9);
}

Test(engine_child, long_lines_are_cut_and_many_are_all_heard)
{
	static const char *const argv[] = {
		"/bin/sh", "-c", "head -c 100000 /dev/zero | tr '\\0' x; echo; echo end", NULL};
	const struct heard heard = run(argv, NULL, false);

	cr_expect_eq(strlen(heard.lines), CHILD_LINE_SIZE - 1 + 1 + 4);
	cr_expect(strstr(heard.lines, "x\nend\n") != NULL);
}

Test(engine_child, a_program_that_is_not_there_is_an_error)
{
	static const char *const argv[] = {"/nonexistent/postgres", NULL};
	const struct child_spec spec = {.argv = argv};
	struct heard heard = {.lines = ""};
	struct child *child = NULL;
	struct err why;
	uv_loop_t loop;

	cr_assert_eq(uv_loop_init(&loop), 0);
	cr_expect_eq(child_start(&child, &loop, &spec, &EVENTS, &heard, &why), ERR_NOT_FOUND);
	cr_expect(strstr(why.text, "/nonexistent/postgres") != NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_expect_eq(uv_loop_close(&loop), 0);
}
