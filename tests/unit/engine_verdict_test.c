/* What is made of the signs of a server, of the states of its processes and of its disk's answers.
 */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/macros.h"
#include "core/cluster.h"
#include "engine/engine.h"
#include "engine/pg_disk.h"
#include "engine/pg_stopped.h"
#include "engine/pg_verdict.h"

#define RUNS    .directory = DIRECTORY_PRESENT, .process = true, .process_seen = true
#define PRIMARY RUNS, .looked = true
#define STANDBY RUNS, .looked = true, .recovery = true

Test(engine_verdict, every_fault_has_its_own_name_and_policy)
{
	static const struct {
		const char *what;
		struct pg_signs signs;
		uint8_t db, fault;
	} cases[] = {
		{"nothing known", {0}, DB_UNKNOWN, FAULT_NONE},
		{"no directory", {.directory = DIRECTORY_ABSENT}, DB_ABSENT, FAULT_NONE},
		{"a directory", {.directory = DIRECTORY_PRESENT}, DB_DOWN, FAULT_NONE},
		{"half a rewind", {.directory = DIRECTORY_BROKEN}, DB_BROKEN, FAULT_NONE},
		{"died, dbctl silent", {.process_seen = true}, DB_DOWN, FAULT_POSTMASTER_GONE},
		{"died",
		 {.directory = DIRECTORY_PRESENT, .process_seen = true},
		 DB_DOWN,
		 FAULT_POSTMASTER_GONE},
		{"was stopped",
		 {.directory = DIRECTORY_PRESENT, .process_seen = true, .by_order = true},
		 DB_DOWN,
		 FAULT_NONE},
		{"died of a full disk",
		 {.directory = DIRECTORY_PRESENT, .process_seen = true, .told = FAULT_DISK_FULL},
		 DB_DOWN,
		 FAULT_DISK_FULL},
		{"waits for space",
		 {.directory = DIRECTORY_PRESENT, .by_order = true, .told = FAULT_DISK_FULL},
		 DB_DOWN,
		 FAULT_DISK_FULL},
		{"a process not asked yet", {RUNS}, DB_UNKNOWN, FAULT_NONE},
		{"starting", {RUNS, .starting = true}, DB_STARTING, FAULT_NONE},
		{"starting, startup stopped",
		 {RUNS, .starting = true, .stopped = FAULT_STARTUP_STOPPED},
		 DB_STARTING,
		 FAULT_STARTUP_STOPPED},
		{"starting, and no session begins",
		 {RUNS, .starting = true, .closed = true},
		 DB_STARTING,
		 FAULT_NO_NEW_CONNECTIONS},
		{"a role is missing", {RUNS, .denied = true}, DB_UNKNOWN, FAULT_MONITOR_REFUSED},
		{"primary", {PRIMARY}, DB_PRIMARY, FAULT_NONE},
		{"standby", {STANDBY}, DB_STANDBY, FAULT_NONE},
		{"pidfd refused", {.looked = true, .recovery = true}, DB_STANDBY, FAULT_NONE},
		{"runs in a broken directory",
		 {.directory = DIRECTORY_BROKEN, .process = true, .looked = true},
		 DB_PRIMARY,
		 FAULT_NONE},
		{"all connections in use",
		 {PRIMARY, .full = true},
		 DB_PRIMARY,
		 FAULT_CONNECTIONS_FULL},
		{"promoted by hand",
		 {PRIMARY, .by_hand = true},
		 DB_PRIMARY,
		 FAULT_PROMOTED_BY_HAND},
		{"a damaged primary", {PRIMARY, .damaged = true}, DB_PRIMARY, FAULT_DATA_DAMAGED},
		{"a damaged standby", {STANDBY, .damaged = true}, DB_STANDBY, FAULT_DATA_DAMAGED},
		{"damaged, and on a full disk",
		 {STANDBY, .damaged = true, .told = FAULT_DISK_FULL},
		 DB_STANDBY,
		 FAULT_DISK_FULL},
		{"new hangs",
		 {PRIMARY, .new_hung = true, .old_answers = true},
		 DB_HUNG,
		 FAULT_NO_NEW_CONNECTIONS},
		{"new hangs, of a lock that the standbys have as well",
		 {PRIMARY, .new_hung = true, .old_answers = true, .locked = true},
		 DB_PRIMARY,
		 FAULT_NO_NEW_CONNECTIONS},
		{"new hangs on a standby",
		 {STANDBY, .new_hung = true, .old_answers = true},
		 DB_STANDBY,
		 FAULT_NO_NEW_CONNECTIONS},
		{"both hang on a standby", {STANDBY, .new_hung = true}, DB_HUNG, FAULT_NO_ANSWER},
		{"a standby's postmaster is stopped",
		 {STANDBY, .new_hung = true, .old_answers = true,
		  .stopped = FAULT_POSTMASTER_STOPPED, .stopped_long = true},
		 DB_HUNG,
		 FAULT_POSTMASTER_STOPPED},
		{"both hang", {PRIMARY, .new_hung = true}, DB_HUNG, FAULT_NO_ANSWER},
		{"old hangs", {PRIMARY, .old_hung = true}, DB_HUNG, FAULT_NO_ANSWER},
		{"new hangs: the postmaster is stopped",
		 {PRIMARY, .new_hung = true, .old_answers = true,
		  .stopped = FAULT_POSTMASTER_STOPPED},
		 DB_HUNG,
		 FAULT_POSTMASTER_STOPPED},
		{"stopped for a moment",
		 {PRIMARY, .stopped = FAULT_POSTMASTER_STOPPED},
		 DB_PRIMARY,
		 FAULT_POSTMASTER_STOPPED},
		{"stopped for long",
		 {PRIMARY, .stopped = FAULT_POSTMASTER_STOPPED, .stopped_long = true},
		 DB_HUNG,
		 FAULT_POSTMASTER_STOPPED},
		{"frozen",
		 {STANDBY, .stopped = FAULT_FROZEN, .stopped_long = true},
		 DB_HUNG,
		 FAULT_FROZEN},
		{"the checkpointer is stopped",
		 {PRIMARY, .stopped = FAULT_CHECKPOINTER_STOPPED, .stopped_long = true},
		 DB_PRIMARY,
		 FAULT_CHECKPOINTER_STOPPED},
		{"the receiver is stopped",
		 {STANDBY, .stopped = FAULT_RECEIVER_STOPPED},
		 DB_STANDBY,
		 FAULT_RECEIVER_STOPPED},
		{"commits hang", {PRIMARY, .flush_hung = true}, DB_HUNG, FAULT_DISK_STALLED},
		{"commits hang: somebody who holds a lock is stopped",
		 {PRIMARY, .flush_hung = true, .stopped = FAULT_WALWRITER_STOPPED},
		 DB_HUNG,
		 FAULT_WALWRITER_STOPPED},
		{"the disk stalls, commits are flushed",
		 {PRIMARY, .told = FAULT_DISK_STALLED},
		 DB_PRIMARY,
		 FAULT_DISK_STALLED},
		{"and goes on to",
		 {PRIMARY, .told = FAULT_DISK_STALLED, .told_long = true},
		 DB_HUNG,
		 FAULT_DISK_STALLED},
		{"a standby is not failed over",
		 {STANDBY, .told = FAULT_DISK_STALLED, .told_long = true},
		 DB_STANDBY,
		 FAULT_DISK_STALLED},
		{"the disk fails",
		 {PRIMARY, .told = FAULT_DISK_ERROR, .told_long = true},
		 DB_HUNG,
		 FAULT_DISK_ERROR},
		{"nothing answers: the disk stalls",
		 {PRIMARY, .new_hung = true, .told = FAULT_DISK_STALLED},
		 DB_HUNG,
		 FAULT_DISK_STALLED},
		{"a full disk alone fails nothing over",
		 {PRIMARY, .told = FAULT_DISK_FULL, .told_long = true},
		 DB_PRIMARY,
		 FAULT_DISK_FULL},
		{"a crash loop", {STANDBY, .told = FAULT_CRASH_LOOP}, DB_STANDBY, FAULT_CRASH_LOOP},
		{"dead is not hung",
		 {.directory = DIRECTORY_PRESENT, .new_hung = true, .process_seen = true},
		 DB_DOWN,
		 FAULT_POSTMASTER_GONE},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct pg_verdict verdict;

		pg_judge(&cases[i].signs, &verdict);
		cr_expect_eq(verdict.db, cases[i].db, "%s: %s", cases[i].what,
			     db_state_name(verdict.db));
		cr_expect_eq(verdict.fault, cases[i].fault, "%s: %s", cases[i].what,
			     db_fault_name(verdict.fault));
		cr_expect(verdict.detail != NULL && verdict.detail[0] != '\0', "%s", cases[i].what);
	}
}

/* Whatever the signs are: a hung database has a fault, and a living one is never DOWN. */
Test(engine_verdict, it_is_total)
{
	for (unsigned bits = 0; bits < 1U << 13; bits++) {
		for (unsigned stopped = 0; stopped < FAULT_COUNT; stopped++) {
			const struct pg_signs signs = {
				.directory = (uint8_t)(bits & 3),
				.process = bits >> 2 & 1,
				.process_seen = bits >> 2 & 1 || bits >> 3 & 1,
				.looked = bits >> 4 & 1,
				.starting = bits >> 5 & 1,
				.recovery = bits >> 6 & 1,
				.new_hung = bits >> 7 & 1,
				.old_hung = bits >> 8 & 1,
				.flush_hung = bits >> 9 & 1,
				.denied = bits >> 10 & 1,
				.stopped_long = bits >> 11 & 1,
				.told_long = bits >> 12 & 1,
				.stopped = (uint8_t)stopped,
				.told = (uint8_t)(FAULT_COUNT - 1 - stopped),
			};
			struct pg_verdict verdict = {.db = 99, .fault = 99};

			pg_judge(&signs, &verdict);
			cr_assert(verdict.db < DB_STATE_COUNT && verdict.fault < FAULT_COUNT);
			cr_assert(verdict.db != DB_HUNG || verdict.fault != FAULT_NONE);
			cr_assert(!signs.process ||
				  (verdict.db != DB_DOWN && verdict.db != DB_ABSENT));
		}
	}
}

Test(engine_stopped, a_title_names_the_process)
{
	static const struct {
		const char *title;
		uint8_t fault;
	} cases[] = {
		{"postgres: checkpointer ", FAULT_CHECKPOINTER_STOPPED},
		{"postgres: checkpointer", FAULT_CHECKPOINTER_STOPPED},
		{"postgres: walwriter ", FAULT_WALWRITER_STOPPED},
		{"postgres: startup recovering 000000010000000000000003", FAULT_STARTUP_STOPPED},
		{"postgres: main: walreceiver streaming 0/3000148", FAULT_RECEIVER_STOPPED},
		{"postgres: walsender replicator 10.0.0.2(4000) streaming 0/30",
		 FAULT_SENDER_STOPPED},
		{"postgres: main: checkpointer ", FAULT_CHECKPOINTER_STOPPED},
		{"postgres: background writer ", FAULT_PROCESS_STOPPED},
		{"postgres: checkpointers app [local] idle", FAULT_PROCESS_STOPPED},
		{"postgres: app app [local] idle", FAULT_PROCESS_STOPPED},
		{"checkpointer", FAULT_PROCESS_STOPPED},
		{"", FAULT_PROCESS_STOPPED},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++)
		cr_expect_eq(pg_stopped_name(cases[i].title), cases[i].fault, "%s", cases[i].title);
	cr_expect_eq(pg_stopped_state("77 (a) b) T 1 77 77 0"), 'T');
	cr_expect_eq(pg_stopped_state("77 (postgres) S 1"), 'S');
	cr_expect_eq(pg_stopped_state("77 (postgres)"), '\0');
	cr_expect_eq(pg_stopped_state(""), '\0');
}

/* This process, with a child, plays the postmaster of the parent. */
Test(engine_stopped, stopped_processes_are_seen)
{
	struct pg_stopped found;
	int ready[2], status;
	pid_t postmaster;
	char byte;

	cr_assert_eq(pipe(ready), 0);
	postmaster = fork();
	if (postmaster == 0) {
		if (fork() == 0 &&
		    (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || write(ready[1], "r", 1) != 1))
			_exit(1);
		for (;;)
			pause();
	}
	cr_assert_gt(postmaster, 0);
	cr_assert_eq(read(ready[0], &byte, 1), 1);
	pg_stopped_look(postmaster, &found);
	cr_expect_eq(found.fault, FAULT_NONE);
	cr_assert_eq(kill(postmaster, SIGSTOP), 0);
	cr_assert_eq(waitpid(postmaster, &status, WUNTRACED), postmaster);
	pg_stopped_look(postmaster, &found);
	cr_expect_eq(found.fault, FAULT_POSTMASTER_STOPPED);
	cr_expect_eq(found.pid, postmaster);
	cr_assert_eq(kill(postmaster, SIGCONT), 0);
	cr_assert_eq(waitpid(postmaster, &status, WCONTINUED), postmaster);
	pg_stopped_look(postmaster, &found);
	cr_expect_eq(found.fault, FAULT_NONE);
	cr_assert_eq(kill(postmaster, SIGKILL), 0);
	cr_assert_eq(waitpid(postmaster, &status, 0), postmaster);
	pg_stopped_look(postmaster, &found);
	cr_expect_eq(found.fault, FAULT_NONE, "nobody is there any more");
}

Test(engine_disk, answers_make_the_verdict)
{
	struct pg_disk_state states[2] = {{0}};

	cr_expect_eq(pg_disk_judge(&states[0]), FAULT_NONE);
	cr_expect(pg_disk_take(states, 2, "begin 0"));
	cr_expect(states[0].begun);
	cr_expect(pg_disk_take(states, 2, "end 0 0 120 1000000000"));
	cr_expect(states[0].known && !states[0].begun);
	cr_expect_eq(pg_disk_judge(&states[0]), FAULT_NONE);
	cr_expect(!states[1].known);

	/* One error may be a mistake, two are none. */
	cr_expect(pg_disk_take(states, 2, "end 1 5 120 1000000000"));
	cr_expect_eq(pg_disk_judge(&states[1]), FAULT_NONE);
	cr_expect(pg_disk_take(states, 2, "end 1 5 120 1000000000"));
	cr_expect_eq(pg_disk_judge(&states[1]), FAULT_DISK_ERROR);
	cr_expect(pg_disk_take(states, 2, "end 1 0 120 1000000000"));
	cr_expect_eq(pg_disk_judge(&states[1]), FAULT_NONE);

	/* A right that is missing is no broken disk. */
	for (int i = 0; i < 3; i++)
		cr_expect(pg_disk_take(states, 2, "end 1 13 120 1000000000"));
	cr_expect_eq(pg_disk_judge(&states[1]), FAULT_NONE);
}

Test(engine_disk, a_full_disk_is_full_until_there_is_enough)
{
	static const struct {
		const char *line;
		uint8_t fault;
	} cases[] = {
		{"end 0 0 9 1000000000", FAULT_NONE},
		{"end 0 0 9 33000000", FAULT_NONE},
		{"end 0 0 9 16000000", FAULT_DISK_FULL},
		{"end 0 0 9 20000000", FAULT_DISK_FULL},
		{"end 0 28 9 50000000", FAULT_DISK_FULL},
		{"end 0 0 9 33500000", FAULT_DISK_FULL},
		{"end 0 0 9 33600000", FAULT_NONE},
		{"end 0 0 9 18446744073709551615", FAULT_NONE},
	};
	struct pg_disk_state state = {0};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		cr_expect(pg_disk_take(&state, 1, cases[i].line));
		cr_expect_eq(pg_disk_judge(&state), cases[i].fault, "%s", cases[i].line);
	}
	state.late = state.full = true;
	cr_expect_eq(pg_disk_judge(&state), FAULT_DISK_STALLED, "silence outweighs the rest");
}

Test(engine_disk, other_lines_are_refused)
{
	static const char *const lines[] = {
		"",          "begin",       "begin 2",      "begin -1", "end 0",
		"end 0 0 0", "end 2 0 0 0", "end 0 -1 0 0", "started",  "end x 0 0 0",
	};
	struct pg_disk_state states[2] = {{0}};

	for (size_t i = 0; i < COUNT_OF(lines); i++)
		cr_expect(!pg_disk_take(states, 2, lines[i]), "%s", lines[i]);
	cr_expect(!states[0].begun && !states[0].known && !states[1].begun);
}
