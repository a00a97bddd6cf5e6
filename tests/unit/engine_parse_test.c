/* What PostgreSQL says and writes, read back: rules, names, histories, pid files, states. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/macros.h"
#include "engine/engine.h"
#include "engine/pg_conn.h"
#include "engine/pg_look.h"
#include "engine/pg_parse.h"

#define SET(a, b) ((node_set)(1u << (a) | 1u << (b)))

Test(engine_rule, what_is_written_is_read_back)
{
	static const struct {
		struct sync_rule rule;
		const char *text;
		struct sync_rule back;
	} cases[] = {
		{{0, 0}, "", {0, 0}},
		{{0, 1}, "ANY 1 (mha4rdb_nobody)", {0, 1}},
		{{0, 2}, "ANY 2 (mha4rdb_nobody)", {0, 2}},
		{{SET(1, 3), 1}, "ANY 1 (mha_n1, mha_n3)", {SET(1, 3), 1}},
		{{SET(2, 2), 1}, "ANY 1 (mha_n2)", {SET(2, 2), 1}},
		{{SET(1, 2), 0}, "", {0, 0}},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		char text[PG_RULE_SIZE];
		struct sync_rule back;

		pg_format_rule(cases[i].rule, text);
		cr_expect_str_eq(text, cases[i].text);
		cr_expect_eq(pg_parse_rule(text, &back, NULL), 0, "%s", text);
		cr_expect_eq(back.members, cases[i].back.members, "%s", text);
		cr_expect_eq(back.need, cases[i].back.need, "%s", text);
	}
}

Test(engine_rule, all_members_fit)
{
	const struct sync_rule rule = {.members = 0x3fe, .need = 4};
	char text[PG_RULE_SIZE];
	struct sync_rule back;

	pg_format_rule(rule, text);
	cr_assert_eq(pg_parse_rule(text, &back, NULL), 0);
	cr_expect_eq(back.members, rule.members);
	cr_expect_eq(back.need, rule.need);
}

Test(engine_rule, what_others_wrote_promises_nothing)
{
	static const char *const texts[] = {
		"*",
		"mha_n1",
		"FIRST 1 (mha_n1)",
		"ANY 1 (mha_n1, mha_n1)",
		"ANY 1 (mha_n1,mha_n2)",
		"ANY 1 (mha_n1, mha4rdb_nobody)",
		"ANY 0 (mha_n1)",
		"ANY 99 (mha_n1)",
		"ANY 1 (mha_n10)",
		"ANY 1 (mha_n01)",
		"ANY 1 (mha_n0)",
		"ANY 1 (\"mha_n1\")",
		"ANY 1 (mha_n1",
		"ANY 1 (mha_n1) ",
		"ANY 1 ()",
		"ANY  1 (mha_n1)",
		"ANY 1(mha_n1)",
		"ANY 1 (a_name_that_is_much_too_long_to_be_ours)",
	};

	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		struct sync_rule rule = {.members = 0xff, .need = 9};
		struct err why;

		cr_expect_eq(pg_parse_rule(texts[i], &rule, &why), ERR_INVALID, "%s", texts[i]);
		cr_expect_eq(rule.members, 0, "%s", texts[i]);
		cr_expect_eq(rule.need, 0, "%s", texts[i]);
	}
}

Test(engine_member, only_a_receiver_s_own_name_counts)
{
	cr_expect_eq(pg_parse_member("mha_n1"), 1);
	cr_expect_eq(pg_parse_member("mha_n9"), 9);
	cr_expect_eq(pg_parse_member("mha_n10"), NODE_NONE);
	cr_expect_eq(pg_parse_member("mha_n2_clone"), NODE_NONE);
	cr_expect_eq(pg_parse_member("mha_n"), NODE_NONE);
	cr_expect_eq(pg_parse_member("mha_n+1"), NODE_NONE);
	cr_expect_eq(pg_parse_member("walreceiver"), NODE_NONE);
}

static int parse_history(const char *text, struct wal_position *position)
{
	return pg_parse_history(text, strlen(text), position, NULL);
}

Test(engine_history, a_file_is_read_line_by_line)
{
	struct wal_position position;

	cr_assert_eq(parse_history("# comment\n\n1\t0/3000060\tno recovery target specified\n"
				   "  3\t1/A0\tbefore 2000-01-01 00:00:00+00",
				   &position),
		     0);
	cr_assert_eq(position.branch_count, 2);
	cr_expect_eq(position.branches[0].timeline, 1);
	cr_expect_eq(position.branches[0].end, 0x3000060);
	cr_expect_eq(position.branches[1].timeline, 3);
	cr_expect_eq(position.branches[1].end, UINT64_C(0x1000000a0));
	cr_expect_eq(parse_history("", &position), 0);
	cr_expect_eq(position.branch_count, 0);
}

Test(engine_history, a_long_reason_does_not_matter)
{
	char text[600] = "7\t0/10\t";
	struct wal_position position;

	memset(text + strlen(text), 'x', 500);
	cr_assert_eq(parse_history(text, &position), 0);
	cr_expect_eq(position.branch_count, 1);
}

Test(engine_history, damage_is_named)
{
	static const char *const texts[] = {"1\n",
					    "x\t0/1\n",
					    "1\t01\n",
					    "0\t0/1\n",
					    "2\t0/1\n2\t0/2\n",
					    "3\t0/1\n2\t0/2\n",
					    "1\t0/123456789\n",
					    "4294967296\t0/1\n"};

	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		struct wal_position position;
		struct err why;

		cr_expect_eq(pg_parse_history(texts[i], strlen(texts[i]), &position, &why),
			     ERR_CORRUPT, "%s", texts[i]);
		cr_expect(strstr(why.text, "line ") != NULL);
	}
}

Test(engine_history, the_newest_forks_are_kept)
{
	char text[4096] = "";
	struct wal_position position;

	for (unsigned i = 1; i <= WAL_HISTORY_MAX + 5; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%u\t0/%X\n", i, i);
	cr_assert_eq(parse_history(text, &position), 0);
	cr_assert_eq(position.branch_count, WAL_HISTORY_MAX);
	cr_expect_eq(position.branches[0].timeline, 6);
	cr_expect_eq(position.branches[WAL_HISTORY_MAX - 1].timeline, WAL_HISTORY_MAX + 5);
}

Test(engine_pidfile, status_and_owner)
{
	static const char rest[] = "/data\n1\n5432\n/run\n*\n  1 2\n";
	static const struct {
		const char *pid, *status;
		bool postmaster;
		enum pg_pidfile_status expected;
	} cases[] = {
		{"42", "ready   \n", true, PIDFILE_READY},
		{"42", "standby \n", true, PIDFILE_STANDBY},
		{"42", "stopping\n", true, PIDFILE_STOPPING},
		{"42", "starting\n", true, PIDFILE_STARTING},
		{"42", "", true, PIDFILE_STARTING},
		{"42", "rea", true, PIDFILE_STARTING},
		{"-42", "", false, PIDFILE_STARTING},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct pg_pidfile pidfile;
		char text[256];

		snprintf(text, sizeof(text), "%s\n%s%s", cases[i].pid, rest, cases[i].status);
		cr_assert_eq(pg_parse_pidfile(text, &pidfile, NULL), 0, "%zu", i);
		cr_expect_eq(pidfile.pid, 42);
		cr_expect_eq(pidfile.postmaster, cases[i].postmaster, "%zu", i);
		cr_expect_eq(pidfile.status, cases[i].expected, "%zu", i);
	}
}

Test(engine_pidfile, damage_is_refused)
{
	static const char *const texts[] = {"",   "42",   "abc\n", "0\n", "99999999999\n",
					    "\n", "--1\n"};

	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		struct pg_pidfile pidfile;

		cr_expect_eq(pg_parse_pidfile(texts[i], &pidfile, NULL), ERR_CORRUPT, "%zu", i);
	}
}

Test(engine_progress, lines_of_both_programs)
{
	uint64_t done, total;

	cr_expect(pg_parse_progress("  1024/4096 kB (25%), 0/1 tablespace", &done, &total));
	cr_expect_eq(done, 1024 * 1024);
	cr_expect_eq(total, 4096 * 1024);
	cr_expect(pg_parse_progress("12/34 kB (35%) copied", &done, &total));
	cr_expect_not(pg_parse_progress("pg_rewind: connected to server", &done, &total));
	cr_expect_not(pg_parse_progress("1/2 MB", &done, &total));
	cr_expect_not(pg_parse_progress("99999999999999999999/1 kB", &done, &total));
	cr_expect_not(pg_parse_progress("", &done, &total));
}

static PGresult *make_result(int columns, const char *const cells[])
{
	PGresult *result = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
	static char name[] = "c";
	PGresAttDesc attributes[16];

	memset(attributes, 0, sizeof(attributes));
	for (int i = 0; i < columns; i++)
		attributes[i].name = name;
	cr_assert(PQsetResultAttrs(result, columns, attributes) != 0);
	for (int i = 0; cells != NULL && i < columns; i++) {
		char value[128];

		snprintf(value, sizeof(value), "%s", cells[i] == NULL ? "" : cells[i]);
		cr_assert(PQsetvalue(result, 0, i, value,
				     cells[i] == NULL ? -1 : (int)strlen(value)) != 0);
	}
	return result;
}

static int parse_look(struct pg_look *look, const char *const main_row[14],
		      const char *const sender_row[7], struct err *why)
{
	const char *const flushed[] = {"0/5000000"};
	PGresult *results[3] = {make_result(14, main_row), make_result(7, sender_row),
				make_result(1, flushed)};
	const int rc = pg_look_parse(look, results, 3, why);

	for (int i = 0; i < 3; i++)
		PQclear(results[i]);
	return rc;
}

static const char *const PRIMARY_ROW[14] = {
	"f", NULL, NULL, "0/5000028",      "0", NULL, NULL, NULL, "7",
	"7", "11", "10", "ANY 1 (mha_n2)", "t"};

Test(engine_look, a_primary_and_its_sender)
{
	static const char *const sender[7] = {"77",        "mha_n2",    "streaming",
					      "0/4FFFFFF", "0/4000000", "WalSenderMain",
					      "0/5000000"};
	struct pg_look look;

	cr_assert_eq(parse_look(&look, PRIMARY_ROW, sender, NULL), 0);
	cr_expect_not(look.recovery);
	cr_expect_not(look.exhausted);
	cr_expect_eq(look.flushed, 0x5000000);
	cr_expect_eq(look.inserted, 0x5000028);
	cr_expect_eq(look.promise, 7);
	cr_expect_eq(look.written, 11);
	cr_expect_eq(look.rule_written, 10);
	cr_assert_eq(look.sender_count, 1);
	cr_expect_eq(look.senders[0].node, 2);
	cr_expect(look.senders[0].streaming && look.senders[0].active && look.senders[0].idle);
	cr_expect_eq(look.senders[0].flushed, 0x4ffffff);
	cr_expect_eq(look.senders[0].sent, 0x5000000);
}

Test(engine_look, a_standby_at_rest)
{
	static const char *const row[14] = {
		"t",  "0/301DD70", NULL, NULL, "0",  "RecoveryRetrieveRetryInterval",
		NULL, NULL,        NULL, NULL, NULL, NULL,
		"",   "t"};
	struct pg_look look;

	cr_assert_eq(parse_look(&look, row, NULL, NULL), 0);
	cr_expect(look.recovery && look.exhausted && look.upstream_empty);
	cr_expect_eq(look.replayed, 0x5000000, "the one read last counts");
	cr_expect_eq(look.received, 0);
	cr_expect_eq(look.sender_count, 0);
	cr_expect_eq(look.written, 0);
}

Test(engine_look, a_sender_that_copies_files_is_not_active)
{
	static const char *const sender[7] = {"77", "mha_n2_clone", "backup", NULL,
					      NULL, NULL,           NULL};
	struct pg_look look;

	cr_assert_eq(parse_look(&look, PRIMARY_ROW, sender, NULL), 0);
	cr_expect_eq(look.senders[0].node, NODE_NONE);
	cr_expect_not(look.senders[0].active || look.senders[0].streaming);
}

Test(engine_look, nonsense_is_an_error_not_a_fact)
{
	static const int columns[] = {1, 3, 4, 8, 9, 10, 11};
	struct pg_look look;
	struct err why;

	for (size_t i = 0; i < COUNT_OF(columns); i++) {
		const char *row[14];

		memcpy(row, PRIMARY_ROW, sizeof(row));
		row[columns[i]] = "nonsense";
		cr_expect_eq(parse_look(&look, row, NULL, &why), ERR_CORRUPT, "column %d",
			     columns[i]);
	}
	cr_expect_eq(pg_look_parse(&look, NULL, 0, &why), ERR_CORRUPT);
}

Test(engine_look, identify_system)
{
	static const char *const good[4] = {"7301", "5", "0/16B3748", NULL};
	static const char *const bad[4] = {"7301", "0", "0/16B3748", NULL};
	PGresult *result = make_result(4, good);
	struct pg_look look = {.timeline = 0};

	cr_expect_eq(pg_look_identify(&look, result, NULL), 0);
	cr_expect_eq(look.system_id, 7301);
	cr_expect_eq(look.timeline, 5);
	cr_expect_eq(look.position, 0x16b3748);
	PQclear(result);
	result = make_result(4, bad);
	cr_expect_eq(pg_look_identify(&look, result, NULL), ERR_CORRUPT);
	PQclear(result);
}

Test(engine_connect, what_libpq_says)
{
	static const struct {
		const char *text;
		enum pg_answer answer;
	} cases[] = {
		{"connection to server on socket \"/s/.s.PGSQL.5432\" failed: Connection refused",
		 PG_REFUSED},
		{"57P03: the database system is starting up", PG_STARTING},
		{"FATAL:  sorry, too many clients already", PG_FULL},
		{"FATAL:  role \"mha_monitor\" does not exist", PG_DENIED},
		{"could not create socket: Too many open files", PG_STARVED},
		{"could not create socket: Too many open files in system", PG_STARVED},
		{"could not create socket: Cannot allocate memory", PG_STARVED},
		{"out of memory", PG_STARVED},
		/* The server's own lack is its answer. */
		{"FATAL:  out of memory", PG_DENIED},
		{"server closed the connection unexpectedly", PG_LOST},
		{"", PG_LOST},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++)
		cr_expect(pg_classify_connect(cases[i].text) == cases[i].answer, "%s",
			  cases[i].text);
}
