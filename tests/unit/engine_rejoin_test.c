/* What a source answers, how two lineages part, and what a tail of WAL contained. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "engine/pg_archive.h"
#include "engine/pg_control.h"
#include "engine/pg_rejoin.h"
#include "engine/pg_source.h"
#include "engine/pg_tail.h"

static void hear(struct pg_source *source, const char *text)
{
	char line[256];

	pg_source_init(source);
	while (*text != '\0') {
		const size_t length = strcspn(text, "\n");

		cr_assert(length < sizeof(line));
		memcpy(line, text, length);
		line[length] = '\0';
		pg_source_line(source, line);
		text += length + (text[length] == '\n' ? 1 : 0);
	}
}

#define ANSWERS                                                                                    \
	"mha standby 0\nmha system 7710578980884154752\nmha checkpoint 5\nmha checksums 1\n"       \
	"mha hints 1\nmha full_pages 1\nmha segment_size 16777216\nmha flushed 0/7000060\n"        \
	"mha timeline 5\nmha tablespaces 0\nmha database 5\nmha oldest 0000000000000003\n"
#define HISTORY                                                                                    \
	"mha history\n00000005.history|1\t0/3000000\tno recovery target specified\n"               \
	"2\t0/5000028\tno recovery target specified\n"

Test(engine_source, what_it_answers_is_heard)
{
	struct pg_source source;
	struct err why;

	hear(&source, "some noise\n" ANSWERS HISTORY "mha end\nmha timeline 9\n");
	cr_assert_eq(pg_source_end(&source, &why), 0);
	cr_expect_eq(source.position.timeline, 5);
	cr_expect_eq(source.position.flushed, 0x7000060);
	cr_expect_eq(source.position.branch_count, 2);
	cr_expect_eq(source.position.branches[1].end, 0x5000028);
	cr_expect_eq(source.oldest_segment, 0x3000000);
	cr_expect_eq(pg_source_check_rewind(&source, "r", &why), 0);
	cr_expect_eq(pg_source_check_clone(&source, &why), 0);
}

Test(engine_source, half_an_answer_and_nonsense_are_errors)
{
	static const struct {
		const char *what, *text;
		int code;
	} cases[] = {
		{"nothing", "", ERR_IO},
		{"cut off", ANSWERS, ERR_IO},
		{"no identifier", "mha timeline 5\nmha end\n", ERR_CORRUPT},
		{"a segment of nothing", ANSWERS HISTORY "mha end\n", 0},
		{"an odd segment size", ANSWERS "mha segment_size 17\n" HISTORY "mha end\n",
		 ERR_CORRUPT},
		{"history of nonsense", ANSWERS "mha history\nxyz\nmha end\n", ERR_CORRUPT},
		{"history of another timeline", ANSWERS "mha history\n7\t0/3000000\tno\nmha end\n",
		 ERR_CORRUPT},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct pg_source source;
		struct err why;

		hear(&source, cases[i].text);
		cr_expect_eq(pg_source_end(&source, &why), cases[i].code, "%s", cases[i].what);
	}
}

/* A cluster that lives for years: each promotion left a line. */
Test(engine_source, a_history_is_heard_however_long_it_is)
{
	struct pg_source source;
	struct err why;
	char line[80];

	hear(&source, ANSWERS "mha timeline 400001\nmha history\n");
	for (unsigned i = 1; i <= 100000; i++) {
		snprintf(line, sizeof(line), "%s%u\t0/%X\tno recovery target specified",
			 i == 1 ? "00061A81.history|" : "", 4 * i, 16 * i);
		pg_source_line(&source, line);
	}
	pg_source_line(&source, "mha end");
	cr_assert_eq(pg_source_end(&source, &why), 0, "%s", why.text);
	cr_expect_eq(source.position.branch_count, WAL_HISTORY_MAX);
	cr_expect_eq(source.position.branches[0].timeline, 4 * (100000 - WAL_HISTORY_MAX + 1));
	cr_expect_eq(source.position.branches[WAL_HISTORY_MAX - 1].end, 16 * 100000);
}

Test(engine_source, a_history_that_turns_back_is_refused)
{
	struct pg_source source;
	struct err why;

	hear(&source, ANSWERS "mha history\n1\t0/3000000\tno\n1\t0/3000000\tno\n2\t0/1\nmha end\n");
	cr_expect_eq(pg_source_end(&source, &why), ERR_CORRUPT);
	cr_expect_str_eq(why.text, "timeline history, line 2");
}

Test(engine_source, each_check_of_a_rewind_has_its_sentence)
{
	static const struct {
		const char *line, *sentence;
		int code;
	} cases[] = {
		{"mha denied pg_stat_file(text, boolean)", "may not execute pg_stat_file",
		 ERR_REFUSED},
		{"mha full_pages 0", "full_page_writes", ERR_REFUSED},
		{"mha checkpoint 4", "has not written a checkpoint on its timeline 5", ERR_BUSY},
		{"mha standby 1", "in recovery", ERR_BUSY},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct pg_source source;
		struct err why;

		char text[1024];

		snprintf(text, sizeof(text), "%s%s\n%s", ANSWERS, cases[i].line,
			 HISTORY "mha end\n");
		hear(&source, text);
		cr_assert_eq(pg_source_end(&source, &why), 0);
		cr_expect_eq(pg_source_check_rewind(&source, "r", &why), cases[i].code);
		cr_expect(strstr(why.text, cases[i].sentence) != NULL, "%s", why.text);
	}
}

Test(engine_source, no_hint_bits_in_the_wal_no_rewind)
{
	struct pg_source source;
	struct err why;

	hear(&source, ANSWERS "mha checksums 0\nmha hints 0\n" HISTORY "mha end\n");
	cr_assert_eq(pg_source_end(&source, &why), 0);
	cr_expect_eq(pg_source_check_rewind(&source, "r", &why), ERR_REFUSED);
	hear(&source, ANSWERS "mha tablespaces 2\n" HISTORY "mha end\n");
	cr_assert_eq(pg_source_end(&source, &why), 0);
	cr_expect_eq(pg_source_check_clone(&source, &why), ERR_REFUSED);
	cr_expect(strstr(why.text, "2 tablespaces") != NULL);
}

Test(engine_fork, lineages_part_where_the_common_prefix_ends)
{
	static const struct {
		const char *what;
		struct wal_position ours, theirs;
		struct pg_fork fork;
	} cases[] = {
		{"the same", {.timeline = 1}, {.timeline = 1}, {1, UINT64_MAX}},
		{"they were promoted",
		 {.timeline = 1},
		 {.timeline = 2, .branch_count = 1, .branches = {{1, 100}}},
		 {1, 100}},
		{"we were promoted by hand",
		 {.timeline = 2, .branch_count = 1, .branches = {{1, 100}}},
		 {.timeline = 1},
		 {1, 100}},
		{"both left the same timeline, they later",
		 {.timeline = 2, .branch_count = 1, .branches = {{1, 100}}},
		 {.timeline = 3, .branch_count = 1, .branches = {{1, 200}}},
		 {1, 100}},
		{"both left it at the same place",
		 {.timeline = 2, .branch_count = 1, .branches = {{1, 100}}},
		 {.timeline = 3, .branch_count = 1, .branches = {{1, 100}}},
		 {1, 100}},
		{"equal numbers for different timelines",
		 {.timeline = 2, .branch_count = 1, .branches = {{1, 100}}},
		 {.timeline = 2, .branch_count = 1, .branches = {{1, 200}}},
		 {1, 100}},
		{"a higher number is not the longer lineage",
		 {.timeline = 3, .branch_count = 2, .branches = {{1, 100}, {2, 150}}},
		 {.timeline = 4, .branch_count = 2, .branches = {{1, 100}, {2, 120}}},
		 {2, 120}},
		{"nothing in common", {.timeline = 3}, {.timeline = 4}, {0, 0}},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		const struct pg_fork fork = pg_fork_find(&cases[i].ours, &cases[i].theirs);

		cr_expect_eq(fork.timeline, cases[i].fork.timeline, "%s", cases[i].what);
		cr_expect_eq(fork.lsn, cases[i].fork.lsn, "%s", cases[i].what);
	}
}

static const char *const RECORDS[] = {
	"rmgr: Heap        len (rec/tot):     54/   150, tx:        735, lsn: 0/05000028, prev "
	"0/05000000, desc: INSERT off 3 flags 0x00, blkref #0: rel 1663/5/16384 blk 0 FPW",
	"rmgr: Btree       len (rec/tot):     64/    64, tx:        735, lsn: 0/050000C0, prev "
	"0/05000028, desc: INSERT_LEAF off 3, blkref #0: rel 1663/5/16390 blk 1, blkref #1: rel "
	"1663/5/16390 blk 2",
	"rmgr: Heap        len (rec/tot):     59/    59, tx:        737, lsn: 0/05000100, prev "
	"0/050000C0, desc: INSERT off 4 flags 0x00, blkref #0: rel 1663/5/16384 blk 0",
	"rmgr: Heap        len (rec/tot):     59/    59, tx:        736, lsn: 0/05000140, prev "
	"0/05000100, desc: INSERT off 5 flags 0x00, blkref #0: rel 1663/5/16384 blk 0",
	"rmgr: Transaction len (rec/tot):     66/    66, tx:        735, lsn: 0/05000180, prev "
	"0/05000140, desc: COMMIT 2026-11-21 11:04:28.034249 UTC; subxacts: 737; inval msgs: "
	"catcache 21; sync",
	"rmgr: Transaction len (rec/tot):     34/    34, tx:        738, lsn: 0/050001C8, prev "
	"0/05000180, desc: ABORT 2026-11-21 11:04:29.034249 UTC",
	"rmgr: Transaction len (rec/tot):     38/    38, tx:          0, lsn: 0/050001F0, prev "
	"0/050001C8, desc: COMMIT_PREPARED 712: 2026-11-21 11:04:30.034249 UTC",
	"pg_waldump: error: error in WAL record at 0/50001F0: invalid record length at 0/5000218: "
	"wanted 24, got 0",
};

static struct pg_tail *read_tail(void)
{
	struct pg_tail *tail = calloc(1, sizeof(*tail));

	cr_assert(tail != NULL);
	tail->fork = (struct pg_fork){.timeline = 2, .lsn = 0x5000028};
	tail->part_count = 1;
	tail->parts[0] = (struct tail_part){.timeline = 2, .begin = 0x5000028};
	for (size_t i = 0; i < COUNT_OF(RECORDS); i++)
		tail_line(tail, &tail->parts[0], RECORDS[i]);
	return tail;
}

Test(engine_tail, records_transactions_and_relations_are_counted)
{
	struct pg_tail *tail = read_tail();

	cr_expect_eq(tail->records, 7);
	cr_expect_eq(tail->commits, 2);
	cr_expect_eq(tail->aborts, 1);
	cr_expect_eq(tail->ends[0].xid, 735);
	cr_expect_str_eq(tail->ends[0].when, "2026-11-21 11:04:28.034249 UTC");
	cr_expect_eq(tail->ends[2].xid, 712);
	cr_expect_eq(tail->relation_count, 2);
	cr_expect_eq(tail->relations[0].records, 3);
	cr_expect_eq(tail->relations[1].records, 1, "two blocks of one record");
	cr_expect_eq(tail_open_count(tail), 1, "736; 737 was a part of 735");
	cr_expect_eq(tail->parts[0].end, 0x5000218);
	cr_expect_eq(tail->manager_count, 3);
	tail_name(tail, "1663/5/16384 public.t");
	tail_name(tail, "1663/5/99999 nobody");
	tail_name(tail, "nonsense");
	cr_expect_str_eq(tail->relations[0].name, "public.t");
	free(tail);
}

Test(engine_tail, only_what_is_beyond_the_fork_counts)
{
	struct pg_tail *tail = calloc(1, sizeof(*tail));

	cr_assert(tail != NULL);
	tail->parts[0] = (struct tail_part){.timeline = 2, .begin = 0x5000100, .limit = 0x5000180};
	for (size_t i = 0; i < COUNT_OF(RECORDS); i++)
		tail_line(tail, &tail->parts[0], RECORDS[i]);
	cr_expect_eq(tail->records, 2);
	cr_expect_eq(tail->commits, 0);
	cr_expect(tail_has_data(tail));
	free(tail);
}

static char *report_of(const struct pg_tail *tail, enum tail_rule rule)
{
	const struct tail_facts facts = {.node = "n1",
					 .source = "n2",
					 .operation = "rewind",
					 .written = "now",
					 .epoch = 7,
					 .served_epoch = 6,
					 .rule = rule,
					 .saved = true};
	char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	cr_assert(to != NULL);
	tail_report(to, tail, &facts);
	fclose(to);
	return text;
}

Test(engine_tail, the_report_says_whether_a_client_may_have_been_told)
{
	static const struct {
		enum tail_rule rule;
		const char *sentence;
	} cases[] = {
		{TAIL_RULE_SYNC, "\n  No: since"},
		{TAIL_RULE_ALONE, "\n  YES, it may"},
		{TAIL_RULE_UNKNOWN, "\n  Not known"},
	};
	struct pg_tail *tail = read_tail();

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		char *text = report_of(tail, cases[i].rule);

		cr_expect(strstr(text, cases[i].sentence) != NULL, "%s", text);
		cr_expect(strstr(text, "Fork: 0/5000028 on timeline 2\nEnd:  0/5000218\n") != NULL);
		cr_expect(strstr(text, "commit         735  at 0/5000180 ") != NULL, "%s", text);
		cr_expect(strstr(text, "2 committed, 1 aborted, 0 prepared; 1 wrote") != NULL);
		free(text);
	}
	tail->commits = 0;
	char *text = report_of(tail, TAIL_RULE_ALONE);

	cr_expect(strstr(text, "No: no commit was found") != NULL);
	free(text);
	free(tail);
}

/* Damaged WAL: any bytes, and true lines with bytes changed. Bounds hold (and the sanitizers). */
Test(engine_tail, damaged_lines_do_no_harm)
{
	struct pg_tail *tail = calloc(1, sizeof(*tail));
	unsigned seed = 4711;

	cr_assert(tail != NULL);
	tail->part_count = 1;
	for (int i = 0; i < 60000; i++) {
		char line[512];
		size_t length;

		snprintf(line, sizeof(line), "%s", RECORDS[i % (int)COUNT_OF(RECORDS)]);
		length = strlen(line);
		for (int changes = 0; changes < i % 5; changes++) {
			seed = seed * 1103515245 + 12345;
			line[(seed >> 8) % length] = (char)(seed >> 20);
		}
		line[length - (seed >> 4) % 40] = '\0';
		tail_line(tail, &tail->parts[0], line);
		tail_name(tail, line);
	}
	cr_expect(tail->relation_count <= TAIL_RELATIONS_MAX);
	cr_expect(tail->manager_count <= TAIL_MANAGERS_MAX);
	cr_expect_eq(tail->end_count, TAIL_ENDS_MAX);
	free(report_of(tail, TAIL_RULE_UNKNOWN));
	free(tail);
}

Test(engine_tail, tables_that_are_full_are_admitted)
{
	struct pg_tail *tail = calloc(1, sizeof(*tail));
	char *text;

	cr_assert(tail != NULL);
	tail->part_count = 1;
	for (unsigned i = 1; i < 20000; i++) {
		char line[300];

		snprintf(line, sizeof(line),
			 "rmgr: Heap        len (rec/tot):     54/   150, tx: %10u, lsn: 0/%08X, "
			 "prev 0/0, desc: INSERT off 3, blkref #0: rel 1663/5/%u blk 0",
			 i, i * 8, i);
		tail_line(tail, &tail->parts[0], line);
	}
	cr_expect_eq(tail->records, 19999);
	cr_expect(tail->relations_cut && tail->open_cut);
	text = report_of(tail, TAIL_RULE_UNKNOWN);
	cr_expect(strstr(text, "at least ") != NULL);
	cr_expect(strstr(text, "and more that are not listed") != NULL);
	free(text);
	free(tail);
}

Test(engine_missing, only_the_receivers_own_words_count)
{
	char segment[64] = "";

	cr_expect(!missing_find("", segment));
	cr_expect(!missing_find("2026 [7] mha_replication@ ERROR:  requested WAL segment "
				"000000010000000000000003 has already been removed\n",
				segment),
		  "said to somebody else");
	cr_expect(missing_find("noise\n2026 [7] FATAL:  could not receive data from WAL stream: "
			       "ERROR:  requested WAL segment 000000010000000000000003 has already "
			       "been removed\nmore",
			       segment));
	cr_expect_str_eq(segment, "000000010000000000000003");
}

Test(engine_rewind, hopeless_words_have_a_meaning)
{
	cr_expect(rewind_hopeless("pg_rewind: error: could not find previous WAL record at 0/1: "
				  "x") != NULL);
	cr_expect(rewind_hopeless("pg_rewind: error: connection to server at \"x\" failed") ==
		  NULL);
}

Test(engine_tail, what_pg_waldump_did_not_read_is_not_nothing)
{
	static const struct {
		const char *what, *last;
		struct process_end end;
		bool ended;
	} cases[] = {
		{"the last record",
		 "pg_waldump: error: error in WAL record at 0/3003440: invalid record length at "
		 "0/3003478: wanted 24, got 0",
		 {.code = 1},
		 true},
		{"nothing there",
		 "pg_waldump: error: could not find a valid record after 0/3000000",
		 {.code = 1},
		 true},
		{"up to the end of a segment",
		 "pg_waldump: error: could not find file \"000000020000000000000004\": No such "
		 "file or directory",
		 {.code = 1},
		 true},
		{"never written to",
		 "pg_waldump: error: WAL segment size must be a power of two between 1 MB and 1 "
		 "GB, but the WAL file \"000000020000000000000004\" header specifies 0 bytes",
		 {.code = 1},
		 true},
		{"all segments",
		 "pg_waldump: first record is after 0/3000000, at 0/3000028, skipping over 40 "
		 "bytes",
		 {.code = 0},
		 true},
		{"killed at once", "", {.by_signal = true, .code = 9}, false},
		{"killed in the middle",
		 "pg_waldump: first record is after 0/3000000, at 0/3000028, skipping over 40 "
		 "bytes",
		 {.by_signal = true, .code = 9},
		 false},
		{"a bad disk",
		 "pg_waldump: error: could not read from file 000000020000000000000003, offset 0: "
		 "Input/output error",
		 {.code = 1},
		 false},
		{"no memory", "pg_waldump: error: out of memory", {.code = 1}, false},
		{"no program", "", {.code = 127}, false},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct tail_part part = {.timeline = 2, .begin = 0x3000000};

		snprintf(part.last, sizeof(part.last), "%s", cases[i].last);
		cr_expect_eq(tail_read_ended(&part, &cases[i].end), cases[i].ended, "%s",
			     cases[i].what);
	}
}

Test(engine_tail, a_tail_that_could_not_be_read_is_saved_and_its_report_says_so)
{
	struct pg_tail *tail = read_tail();
	char *text;

	tail_begin_again(tail);
	cr_expect_eq(tail->records + tail->commits + tail->relation_count + tail->parts[0].end, 0);
	cr_expect_eq(tail_open_count(tail), 0);
	cr_expect_eq(tail->fork.lsn, 0x5000028);
	cr_expect_eq(tail->parts[0].begin, 0x5000028);
	cr_expect(!tail_has_data(tail));
	tail->parts[0].unread = true;
	cr_expect(tail_has_data(tail), "what is not known is saved");
	text = report_of(tail, TAIL_RULE_UNKNOWN);
	cr_expect(strstr(text, "MORE FOLLOWS that was not read") != NULL, "%s", text);
	cr_expect(strstr(text, "no commit was found") == NULL, "%s", text);
	free(text);
	free(tail);
}

Test(engine_archive, the_command_is_given_name_and_place)
{
	char text[64];

	cr_assert(archive_command("cp \"/a/%f\" %p %% %x 5%", "SEG", "/w/new", text, sizeof(text)));
	cr_expect_str_eq(text, "cp \"/a/SEG\" /w/new % %x 5%");
	cr_expect(
		!archive_command("cp %p%p%p%p%p%p%p%p%p%p%p", "SEG", "/w/new", text, sizeof(text)));
}

Test(engine_archive, only_the_segment_that_was_asked_for_counts)
{
	static const struct {
		const char *what, *segment;
		uint64_t size, system;
		uint16_t info;
		uint32_t timeline;
		int code;
	} cases[] = {
		{"the one", "000000020000000100000003", 1 << 24, 4711, 2, 2, 0},
		{"it began on an earlier timeline", "000000020000000100000003", 1 << 24, 4711, 2, 1,
		 0},
		{"cut off", "000000020000000100000003", 1 << 20, 4711, 2, 2, ERR_CORRUPT},
		{"no first page", "000000020000000100000003", 1 << 24, 4711, 0, 2, ERR_CORRUPT},
		{"another database's", "000000020000000100000003", 1 << 24, 4712, 2, 2,
		 ERR_CORRUPT},
		{"another segment", "000000020000000100000004", 1 << 24, 4711, 2, 2, ERR_CORRUPT},
		{"a later timeline's", "000000020000000100000003", 1 << 24, 4711, 2, 3,
		 ERR_CORRUPT},
		{"no segment", "00000002.history", 1 << 24, 4711, 2, 2, ERR_INVALID},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		const uint64_t place = 0x103000000;
		const uint32_t size = 1 << 24;
		unsigned char head[ARCHIVE_HEAD_SIZE] = {0};
		struct err why;

		memcpy(head + 2, &cases[i].info, 2);
		memcpy(head + 4, &cases[i].timeline, 4);
		memcpy(head + 8, &place, 8);
		memcpy(head + 24, &cases[i].system, 8);
		memcpy(head + 32, &size, 4);
		cr_expect_eq(archive_check(head, cases[i].size, cases[i].segment, 4711, &why),
			     cases[i].code, "%s", cases[i].what);
	}
}
