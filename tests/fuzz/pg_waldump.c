/*
 * Lines of pg_waldump about WAL that may be damaged, lines of names for what was found in it, and
 * the report. A line that begins with '=' is one of the names.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "engine/pg_tail.h"
#include "fuzz.h"
#include "text.h"

static void take(void *arg, const char *line)
{
	struct pg_tail *tail = arg;

	if (line[0] == '=')
		tail_name(tail, line + 1);
	else
		tail_line(tail, &tail->parts[0], line);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static struct pg_tail tail;
	const struct tail_facts facts = {.node = "n1",
					 .source = "n2",
					 .operation = "rewind",
					 .written = "2026-01-31 12:00:00",
					 .named_in = "postgres",
					 .epoch = 4,
					 .served_epoch = 3,
					 .rule = TAIL_RULE_SYNC};
	char summary[256], *text = NULL;
	size_t length = 0;
	FILE *to;

	memset(&tail, 0, sizeof(tail));
	tail.fork.timeline = tail.parts[0].timeline = 1;
	tail.fork.lsn = tail.parts[0].begin = 0x3000000;
	tail.part_count = 1;
	fuzz_lines(bytes, size, take, &tail);
	CHECK(tail.end_count <= TAIL_ENDS_MAX && tail.relation_count <= TAIL_RELATIONS_MAX);
	CHECK(tail.manager_count <= TAIL_MANAGERS_MAX && tail_open_count(&tail) <= TAIL_OPEN_MAX);
	(void)tail_has_data(&tail);
	tail_summary(&tail, &facts, summary, sizeof(summary));
	/* The report takes longest, and reads what was checked above: every fourth time. */
	if (size % 4 != 0)
		return 0;
	to = open_memstream(&text, &length);
	CHECK(to != NULL);
	tail_report(to, &tail, &facts);
	fclose(to);
	free(text);
	return 0;
}
