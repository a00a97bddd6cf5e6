/* What a crash in the middle of a cut leaves in the directory of the Raft log, and what becomes of
 * it. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/macros.h"
#include "disk.h"
#include "engine/files.h"

#define FILES_MAX 6
#define NOTE      "mha4rdb.cut"

static void on_failure(void *arg, const char *reason)
{
	UNUSED(arg);
	cr_assert_fail("%s", reason);
}

/* The directory as disk_open() leaves it. */
static void open_once(const char *path)
{
	static struct disk disk;
	uv_loop_t loop;
	struct err why = {0};

	cr_assert_eq(uv_loop_init(&loop), 0);
	cr_assert_eq(disk_open(&disk, &loop, path, 7, 1, on_failure, NULL, &why), 0, "%s",
		     why.text);
	disk_close(&disk);
	(void)uv_run(&loop, UV_RUN_DEFAULT);
	(void)uv_loop_close(&loop);
}

#define SEGMENT(first, last) "0000000000000" #first "-0000000000000" #last

static const struct {
	const char *what, *note;
	const char *before[FILES_MAX], *after[FILES_MAX];
} ROWS[] = {
	{"no cut",
	 NULL,
	 {SEGMENT(200, 294), SEGMENT(295, 371)},
	 {SEGMENT(200, 294), SEGMENT(295, 371)}},
	{"it had not begun",
	 "cut 370\n",
	 {SEGMENT(295, 371), SEGMENT(372, 380)},
	 {SEGMENT(295, 371), SEGMENT(372, 380)}},
	{"both are there",
	 "cut 370\n",
	 {SEGMENT(200, 294), SEGMENT(295, 369), SEGMENT(295, 371), SEGMENT(372, 380)},
	 {SEGMENT(200, 294), SEGMENT(295, 369)}},
	{"the longer one is gone",
	 "cut 370\n",
	 {SEGMENT(295, 369), SEGMENT(372, 380), SEGMENT(381, 400)},
	 {SEGMENT(295, 369)}},
	{"it was done, and new entries are on their way",
	 "cut 370\n",
	 {SEGMENT(295, 369), "open-7", "snapshot-15-233-3220720", "metadata1"},
	 {SEGMENT(295, 369), "open-7", "snapshot-15-233-3220720", "metadata1"}},
	{"it begins with a segment",
	 "cut 295\n",
	 {SEGMENT(200, 294), SEGMENT(295, 371), SEGMENT(372, 380)},
	 {SEGMENT(200, 294)}},
	{"the note is not whole",
	 "cut 37",
	 {SEGMENT(295, 369), SEGMENT(295, 371)},
	 {SEGMENT(295, 369), SEGMENT(295, 371)}},
	{"an empty note", "", {SEGMENT(295, 371)}, {SEGMENT(295, 371)}},
	{"an impossible note", "cut 0\n", {SEGMENT(295, 371)}, {SEGMENT(295, 371)}},
	{"a snapshot that was installed, and the log before it",
	 NULL,
	 {SEGMENT(295, 369), SEGMENT(200, 294), "snapshot-15-400-1", "snapshot-15-400-1.meta",
	  "open-3"},
	 {"snapshot-15-400-1", "snapshot-15-400-1.meta", "open-3"}},
	{"half a snapshot",
	 NULL,
	 {SEGMENT(200, 294), "snapshot-15-400-1.meta", "snapshot-15-200-1",
	  "snapshot-15-200-1.meta"},
	 {SEGMENT(200, 294), "snapshot-15-400-1.meta", "snapshot-15-200-1",
	  "snapshot-15-200-1.meta"}},
	{"a snapshot of its own",
	 NULL,
	 {SEGMENT(200, 400), "snapshot-15-400-1", "snapshot-15-400-1.meta"},
	 {SEGMENT(200, 400), "snapshot-15-400-1", "snapshot-15-400-1.meta"}},
	{"entries that are not closed yet",
	 NULL,
	 {SEGMENT(200, 294), "snapshot-15-400-1", "snapshot-15-400-1.meta", "open-written"},
	 {SEGMENT(200, 294), "snapshot-15-400-1", "snapshot-15-400-1.meta", "open-written"}},
	{"names that are none",
	 "cut 370\n",
	 {SEGMENT(295, 369), "0000000000000372-00000000000003800",
	  "x000000000000372-0000000000000380"},
	 {SEGMENT(295, 369), "0000000000000372-00000000000003800",
	  "x000000000000372-0000000000000380"}},
};

static bool listed(const char *const names[FILES_MAX], const char *name)
{
	for (unsigned i = 0; i < FILES_MAX && names[i] != NULL; i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

Test(disk, what_was_interrupted_is_carried_out)
{
	for (size_t row = 0; row < COUNT_OF(ROWS); row++) {
		char path[] = "/tmp/mha-disk-XXXXXX";

		cr_assert(mkdtemp(path) != NULL);
		for (unsigned i = 0; i < FILES_MAX && ROWS[row].before[i] != NULL; i++)
			cr_assert_eq(file_write(path, ROWS[row].before[i],
						strstr(ROWS[row].before[i], "written") != NULL
							? "12345678"
							: "",
						0600, NULL),
				     0);
		if (ROWS[row].note != NULL)
			cr_assert_eq(file_write(path, NOTE, ROWS[row].note, 0600, NULL), 0);
		open_once(path);
		open_once(path); /* once more changes nothing */
		cr_expect(!file_exists(path, NOTE), "%s", ROWS[row].what);
		for (unsigned i = 0; i < FILES_MAX && ROWS[row].before[i] != NULL; i++)
			cr_expect_eq(file_exists(path, ROWS[row].before[i]),
				     listed(ROWS[row].after, ROWS[row].before[i]), "%s: %s",
				     ROWS[row].what, ROWS[row].before[i]);
		cr_assert_eq(tree_remove(path, NULL), 0);
	}
}
