/*
 * Lines of programs that run as the database's user, and of the server's log: the first byte
 * chooses whose. Progress of pg_basebackup, a rehearsed pg_rewind, mha-diskprobe, logs, errors of
 * a connect, titles and states of processes.
 */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "engine/pg_conn.h"
#include "engine/pg_control.h"
#include "engine/pg_parse.h"
#include "engine/pg_rejoin.h"
#include "engine/pg_stopped.h"
#include "fuzz.h"
#include "text.h"

static void take_tool(void *arg, const char *line)
{
	uint64_t done = 0, total = 0;

	if (pg_parse_progress(line, &done, &total))
		CHECK(done % 1024 == 0 && total % 1024 == 0);
	(void)rewind_line(line, arg);
	(void)rewind_hopeless(line);
}

static void take_probe(void *arg, const char *line)
{
	struct pg_disk_state *states = arg;

	(void)pg_disk_take(states, 2, line);
	for (unsigned i = 0; i < 2; i++)
		CHECK(pg_disk_judge(&states[i]) < FAULT_COUNT);
}

static void take_process(void *arg, const char *line)
{
	(void)arg;
	CHECK(pg_stopped_name(line) < FAULT_COUNT);
	(void)pg_stopped_state(line);
	CHECK(pg_classify_connect(line) <= PG_TIMEOUT);
}

static void take_log(const char *text)
{
	char reason[CHILD_LINE_SIZE] = "", words[200], segment[64] = "";

	if (log_find_failure(text, reason))
		CHECK(strlen(reason) < sizeof(reason));
	log_find_disk(text, words, sizeof(words));
	CHECK(memchr(words, '\0', sizeof(words)) != NULL);
	if (missing_find(text, segment))
		CHECK(segment[0] != '\0' && memchr(segment, '\0', sizeof(segment)) != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct rehearsal_sizes sizes = {0};
	struct pg_disk_state states[2];
	char *text;

	if (size < 1)
		return 0;
	memset(states, 0, sizeof(states));
	switch (bytes[0] % 4) {
	case 0:
		fuzz_lines(bytes + 1, size - 1, take_tool, &sizes);
		break;
	case 1:
		fuzz_lines(bytes + 1, size - 1, take_probe, states);
		break;
	case 2:
		fuzz_lines(bytes + 1, size - 1, take_process, NULL);
		break;
	default:
		text = fuzz_text(bytes + 1, size - 1);
		take_log(text);
		free(text);
		break;
	}
	return 0;
}
