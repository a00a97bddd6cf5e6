/*
 * A clone's swap, killed before every one of its system calls and at random moments: afterwards
 * the old directory is in place or the new one is, whole, and a marker speaks only of the former.
 */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/macros.h"
#include "engine/files.h"
#include "engine/pg_control.h"
#include "engine/pg_rejoin.h"

static void make_tree(const char *dir, const char *content)
{
	cr_assert_eq(directory_ensure(dir, NULL), 0);
	cr_assert_eq(file_write(dir, "PG_VERSION", content, 0600, NULL), 0);
}

static void make_world(struct pg_paths *paths, char base[64], bool marked)
{
	char data[96];

	snprintf(base, 64, "/tmp/mha-swap-XXXXXX");
	cr_assert(mkdtemp(base) != NULL);
	snprintf(data, sizeof(data), "%s/data", base);
	cr_assert_eq(pg_paths_make(paths, data, NULL), 0);
	cr_assert_eq(directory_ensure(paths->side, NULL), 0);
	make_tree(paths->data, "old");
	make_tree(paths->clone, "new");
	if (!marked)
		return;
	cr_assert_eq(file_write(paths->side, PG_REBUILD_MARKER, "rewind\n", 0600, NULL), 0);
	cr_assert_eq(file_write(paths->side, PG_REWOUND_NOTE, "2 0/5000340\n", 0600, NULL), 0);
}

static char *content_of(const char *dir)
{
	char *text = NULL;

	return file_read(dir, "PG_VERSION", 64, &text, NULL) == 0 ? text : NULL;
}

/* What the end of a clone does, in its order. */
static void prove_and_swap(const struct pg_paths *paths)
{
	struct err why;

	if (file_write(paths->clone, PG_PROVEN, "token", 0600, &why) < 0 ||
	    file_write(paths->side, PG_PROVEN, "token", 0600, &why) < 0 ||
	    clone_swap(paths, &why) < 0)
		_exit(1);
	_exit(0);
}

static void check_world(const struct pg_paths *paths, bool marked, unsigned calls)
{
	char *content;
	bool fresh;

	clone_repair(paths);
	clone_repair(paths); /* once more changes nothing */
	content = content_of(paths->data);
	cr_assert(content != NULL, "no directory after %u calls", calls);
	fresh = strcmp(content, "new") == 0;
	cr_expect(fresh || strcmp(content, "old") == 0, "%s", content);
	cr_expect_eq(file_exists(paths->side, PG_REBUILD_MARKER), marked && !fresh,
		     "after %u calls: %s", calls, content);
	cr_expect_eq(file_exists(paths->side, PG_REWOUND_NOTE), marked && !fresh,
		     "after %u calls: %s", calls, content);
	cr_expect(!file_exists(paths->side, PG_PROVEN), "after %u calls", calls);
	free(content);
	/* Nothing is lost: the other one is still somewhere beside it. */
	content = content_of(fresh ? paths->old : paths->clone);
	cr_expect(content != NULL && strcmp(content, fresh ? "old" : "new") == 0, "after %u calls",
		  calls);
	free(content);
}

/* Let the child make `calls` system calls, then SIGKILL. False: it ended before. */
static bool run_until(const struct pg_paths *paths, unsigned calls)
{
	const pid_t pid = fork();
	int status;

	cr_assert(pid >= 0);
	if (pid == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
			_exit(77);
		(void)raise(SIGSTOP);
		prove_and_swap(paths);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status)) {
		cr_assert_eq(WEXITSTATUS(status), 77);
		cr_skip_test("ptrace is not allowed here");
	}
	/* A stop at each entry and each exit. */
	for (unsigned stops = 0; stops < 2 * calls + 1; stops++) {
		cr_assert_eq(ptrace(PTRACE_SYSCALL, pid, NULL, NULL), 0);
		cr_assert_eq(waitpid(pid, &status, 0), pid);
		if (WIFEXITED(status)) {
			cr_assert_eq(WEXITSTATUS(status), 0);
			return false;
		}
	}
	(void)kill(pid, SIGKILL);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	return true;
}

Test(engine_swap, killed_before_any_system_call_leaves_one_whole_directory, .timeout = 600)
{
	for (int marked = 0; marked < 2; marked++) {
		bool killed = true;

		for (unsigned calls = 0; killed && calls < 400; calls++) {
			struct pg_paths paths;
			char base[64];

			make_world(&paths, base, marked != 0);
			killed = run_until(&paths, calls);
			check_world(&paths, marked != 0, calls);
			cr_assert_eq(tree_remove(base, NULL), 0);
		}
		cr_expect(!killed, "it never came to its end");
	}
}

Test(engine_swap, an_absent_directory_is_simply_filled)
{
	struct pg_paths paths;
	char base[64], *content;

	make_world(&paths, base, false);
	cr_assert_eq(tree_remove(paths.data, NULL), 0);
	cr_expect_eq(clone_swap(&paths, NULL), 0);
	content = content_of(paths.data);
	cr_expect(content != NULL && strcmp(content, "new") == 0);
	free(content);
	cr_expect(access(paths.old, F_OK) < 0);
	cr_assert_eq(tree_remove(base, NULL), 0);
}

static void make_set(const struct pg_paths *paths, const char *name)
{
	char path[2 * FILES_PATH_SIZE];

	snprintf(path, sizeof(path), "%s/%s", paths->side, name);
	make_tree(path, "x");
}

static bool has_set(const struct pg_paths *paths, const char *name)
{
	return file_exists(paths->side, name);
}

Test(engine_saved, the_newest_stays_and_what_it_contains_goes)
{
	static const char fresh[] = "diverged-20260105T000000Z-e9-t3-0_100-0_300";
	static const struct {
		const char *name;
		bool stays;
	} sets[] = {
		{"diverged-20260104T000000Z-e8-t3-0_100-0_200", false}, /* the same, shorter */
		{"diverged-20260104T000000Z-e8-t3-0_100-0_400", true},  /* longer: another tail */
		{"diverged-20260104T000000Z-e8-t3-0_100-0_200-report", false},
		{"diverged-20260103T000000Z-e7-t2-0_90-0_95", true},
		{"diverged-20260102T000000Z", false}, /* the fourth of three */
		{"diverged-20260101T000000Z-e3-t2-0_50-0_60", false},
		{"diverging-is-no-set", true},
		{"log", true},
	};
	struct pg_paths paths;
	char base[64];

	make_world(&paths, base, false);
	make_set(&paths, fresh);
	for (size_t i = 0; i < COUNT_OF(sets); i++)
		make_set(&paths, sets[i].name);
	cr_assert_eq(tail_prune(&paths, fresh, 3, NULL), 0);
	cr_expect(has_set(&paths, fresh));
	for (size_t i = 0; i < COUNT_OF(sets); i++)
		cr_expect_eq(has_set(&paths, sets[i].name), sets[i].stays, "%s", sets[i].name);
	cr_assert_eq(tree_remove(base, NULL), 0);
}

Test(engine_saved, a_report_alone_never_takes_the_place_of_wal)
{
	static const char fresh[] = "diverged-20260105T000000Z-e9-t3-0_100-0_300-report";
	struct pg_paths paths;
	char base[64];

	make_world(&paths, base, false);
	make_set(&paths, fresh);
	make_set(&paths, "diverged-20260101T000000Z-e3-t3-0_100-0_200");
	make_set(&paths, "diverged-20260102T000000Z-e4-t3-0_100-0_200-report");
	cr_assert_eq(tail_prune(&paths, fresh, 9, NULL), 0);
	cr_expect(has_set(&paths, fresh));
	cr_expect(has_set(&paths, "diverged-20260101T000000Z-e3-t3-0_100-0_200"));
	cr_expect(!has_set(&paths, "diverged-20260102T000000Z-e4-t3-0_100-0_200-report"));
	cr_assert_eq(tree_remove(base, NULL), 0);
}

Test(engine_saved, a_clock_that_was_set_back_does_not_cost_the_fresh_one)
{
	static const char fresh[] = "diverged-20200101T000000Z-e9-t3-0_100-0_300";
	struct pg_paths paths;
	char base[64];

	make_world(&paths, base, false);
	make_set(&paths, fresh);
	make_set(&paths, "diverged-20260101T000000Z-e3-t2-0_50-0_60");
	make_set(&paths, "diverged-20260102T000000Z-e4-t2-0_70-0_80");
	cr_assert_eq(tail_prune(&paths, fresh, 2, NULL), 0);
	cr_expect(has_set(&paths, fresh));
	cr_expect(has_set(&paths, "diverged-20260102T000000Z-e4-t2-0_70-0_80"));
	cr_expect(!has_set(&paths, "diverged-20260101T000000Z-e3-t2-0_50-0_60"));
	cr_assert_eq(tail_prune(&paths, fresh, 1, NULL), 0);
	cr_expect(has_set(&paths, fresh));
	cr_assert_eq(tree_remove(base, NULL), 0);
}

Test(engine_saved, segments_are_found_by_what_they_cover)
{
	const uint64_t size = UINT64_C(16) << 20;
	struct pg_paths paths;
	char base[64];

	make_world(&paths, base, false);
	cr_assert_eq(directory_ensure(paths.wal, NULL), 0);
	for (int i = 0; i < 4; i++) {
		char name[40];

		snprintf(name, sizeof(name), "0000000200000001%08X%s", 0xFD + i,
			 i == 3 ? ".partial" : "");
		if (i == 3)
			snprintf(name, sizeof(name), "000000020000000200000000.partial");
		cr_assert_eq(file_write(paths.wal, name, "", 0600, NULL), 0);
	}
	cr_assert_eq(file_write(paths.wal, "00000002.history", "", 0600, NULL), 0);
	cr_assert_eq(file_write(paths.wal, "000000030000000200000000", "", 0600, NULL), 0);
	/* 1/FD, 1/FE, 1/FF, 2/0: the last byte of one and the first of the next. */
	cr_expect_eq(wal_segments(paths.wal, 2, size, 0, UINT64_MAX, NULL, NULL, NULL), 4);
	cr_expect_eq(wal_segments(paths.wal, 2, size, 0x1FFFFFFFF, 0x200000001, NULL, NULL, NULL),
		     2);
	cr_expect_eq(wal_segments(paths.wal, 2, size, 0x200000000, 0x200000001, NULL, NULL, NULL),
		     1);
	cr_expect_eq(wal_segments(paths.wal, 9, size, 0, UINT64_MAX, NULL, NULL, NULL), 0);
	cr_expect_eq(wal_segments("/nonexistent", 9, size, 0, UINT64_MAX, NULL, NULL, NULL), 0);
	cr_expect_eq(wal_oldest(paths.wal), 0, "segments without a size");
	cr_expect_eq(wal_oldest("/nonexistent"), 0);
	for (int i = 0; i < 3; i++) {
		char path[sizeof(paths.wal) + 40];

		snprintf(path, sizeof(path), "%s/0000000200000001%08X", paths.wal, 0xFD + i);
		cr_assert_eq(truncate(path, (off_t)size), 0);
	}
	cr_assert_eq(file_remove(paths.wal, "000000030000000200000000", NULL), 0);
	cr_expect_eq(wal_oldest(paths.wal), 0x1FD000000);
	cr_assert_eq(tree_remove(base, NULL), 0);
}

/* As much of pg_control as is read. */
static void write_control(const struct pg_paths *paths, struct wal_branch end)
{
	char path[FILES_PATH_SIZE + 32], image[148] = {0};
	FILE *file;

	snprintf(path, sizeof(path), "%s/global", paths->data);
	cr_assert_eq(directory_ensure(path, NULL), 0);
	snprintf(path, sizeof(path), "%s/global/pg_control", paths->data);
	memcpy(image + 136, &end.end, sizeof(end.end));
	memcpy(image + 144, &end.timeline, sizeof(end.timeline));
	file = fopen(path, "w");
	cr_assert(file != NULL);
	cr_assert_eq(fwrite(image, sizeof(image), 1, file), 1);
	cr_assert_eq(fclose(file), 0);
}

#define NEEDED ((struct wal_branch){2, 0x5000340})

Test(engine_saved, a_rewound_copy_is_not_whole_until_it_has_answered)
{
	static const struct {
		const char *what, *note, *pidfile;
		struct wal_branch control;
		bool needs;
	} rows[] = {
		{"not started", "2 0/5000340\n", NULL, {2, 0x5000340}, true},
		{"starting", "2 0/5000340\n", "starting", {2, 0x5000340}, true},
		{"answers", "2 0/5000340\n", "ready   ", {2, 0x5000340}, false},
		{"has gone on", "2 0/5000340\n", NULL, {2, 0x5000341}, false},
		{"has followed another timeline", "2 0/5000340\n", NULL, {3, 0x5000340}, false},
		{"was never rewound", NULL, NULL, {2, 0x5000340}, false},
		{"a note that was cut off", "2 0/50003", NULL, {2, 0x5000340}, false},
		{"no number", "2\n", NULL, {2, 0x5000340}, false},
		{"no timeline", "0 0/5000340\n", NULL, {2, 0x5000340}, false},
		{"more than that", "2 0/5000340\nx", NULL, {2, 0x5000340}, false},
	};
	struct pg_control_file control = {.whole_from = NEEDED};
	struct wal_branch from;
	struct pg_paths paths;
	char base[64], pidfile[512], *text;

	make_world(&paths, base, false);
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		write_control(&paths, rows[i].control);
		if (rows[i].note != NULL)
			cr_assert_eq(
				file_write(paths.side, PG_REWOUND_NOTE, rows[i].note, 0600, NULL),
				0);
		snprintf(pidfile, sizeof(pidfile), "%d\n%s\n1\n5432\n/tmp\n*\n1 1\n%s\n", getpid(),
			 paths.data, rows[i].pidfile == NULL ? "" : rows[i].pidfile);
		if (rows[i].pidfile != NULL)
			cr_assert_eq(file_write(paths.data, "postmaster.pid", pidfile, 0600, NULL),
				     0);
		from = whole_from(&paths);
		cr_expect_eq(from.timeline, rows[i].needs ? 2 : 0, "%s", rows[i].what);
		cr_expect_eq(from.end, rows[i].needs ? 0x5000340 : 0, "%s", rows[i].what);
		cr_expect_eq(file_exists(paths.side, PG_REWOUND_NOTE), rows[i].needs, "%s",
			     rows[i].what);
		cr_assert_eq(file_remove(paths.data, "postmaster.pid", NULL), 0);
	}
	/* What cannot be read is not known, and not forgotten. */
	cr_assert_eq(whole_note(&paths, &control, NULL), 0);
	cr_assert_eq(file_remove(paths.data, "global/pg_control", NULL), 0);
	cr_expect_eq(whole_from(&paths).end, 0x5000340);
	cr_assert_eq(file_read(paths.side, PG_REWOUND_NOTE, 64, &text, NULL), 0);
	cr_expect_str_eq(text, "2 0/5000340\n");
	free(text);
	cr_assert_eq(tree_remove(base, NULL), 0);
}

/* The last segment of the timeline that forked ends where the tail begins: both names are true. */
Test(engine_saved, a_tail_that_begins_with_a_segment_is_not_gone)
{
	const uint64_t size = UINT64_C(16) << 20;
	struct pg_tail *tail = calloc(1, sizeof(*tail));
	struct pg_paths paths;
	char base[64];

	cr_assert(tail != NULL);
	make_world(&paths, base, false);
	cr_assert_eq(directory_ensure(paths.wal, NULL), 0);
	tail->fork = (struct pg_fork){.timeline = 2, .lsn = 0x4000000};
	tail->part_count = 1;
	tail->parts[0] = (struct tail_part){.timeline = 3, .begin = 0x4000000};
	cr_assert_eq(file_write(paths.wal, "000000020000000000000003", "", 0600, NULL), 0);
	cr_expect(rejoin_fork_gone(paths.wal, tail, size));
	cr_assert_eq(file_write(paths.wal, "000000030000000000000004", "", 0600, NULL), 0);
	cr_expect(!rejoin_fork_gone(paths.wal, tail, size));
	free(tail);
	cr_assert_eq(tree_remove(base, NULL), 0);
}
