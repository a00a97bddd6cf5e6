/*
 * Answers to the monitor's questions, as libpq hands them over: cells of text, cut out of the
 * input at each byte 0x1f, with the shapes that its first bytes say.
 */
#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "engine/pg_look.h"
#include "engine/pg_parse.h"
#include "fuzz.h"

#define RESULTS 4
#define SHAPE   (2 * RESULTS + 1)

/* The wanted numbers of columns come about often, others too. */
static const int COLUMNS[RESULTS] = {14, 7, 1, 1};

static PGresult *make(const uint8_t **bytes, size_t *size, int rows, int columns)
{
	PGresult *result = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
	PGresAttDesc attributes[16];
	static char name[] = "c";

	CHECK(result != NULL);
	memset(attributes, 0, sizeof(attributes));
	for (int i = 0; i < columns; i++)
		attributes[i].name = name;
	CHECK(PQsetResultAttrs(result, columns, attributes) != 0);
	for (int row = 0; row < rows; row++) {
		for (int column = 0; column < columns; column++) {
			const uint8_t *end = *size > 0 ? memchr(*bytes, 0x1f, *size) : NULL;
			const size_t length = end != NULL ? (size_t)(end - *bytes) : *size;
			char *cell = malloc(length + 1);

			CHECK(cell != NULL);
			if (length > 0)
				memcpy(cell, *bytes, length);
			cell[length] = '\0';
			/* "" stands for NULL too. */
			CHECK(PQsetvalue(result, row, column, cell,
					 length == 0 ? -1 : (int)strlen(cell)) != 0);
			free(cell);
			*bytes += end != NULL ? length + 1 : length;
			*size -= end != NULL ? length + 1 : length;
		}
	}
	return result;
}

static void check_look(const struct pg_look *look)
{
	struct sync_rule rule;
	struct err why = {0};

	CHECK(look->sender_count <= PG_SENDERS_MAX && look->receivers <= 100);
	CHECK(memchr(look->host, '\0', sizeof(look->host)) != NULL);
	CHECK(memchr(look->names, '\0', sizeof(look->names)) != NULL);
	for (unsigned i = 0; i < look->sender_count; i++)
		CHECK(look->senders[i].node <= NODES_MAX);
	if (pg_parse_rule(look->names, &rule, &why) == 0) {
		char text[PG_RULE_SIZE];
		struct sync_rule again;

		pg_format_rule(rule, text);
		CHECK(pg_parse_rule(text, &again, &why) == 0);
		CHECK(again.members == rule.members && again.need == rule.need);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static struct conf conf;
	PGresult *results[RESULTS];
	const uint8_t *rest = bytes + SHAPE;
	size_t left = size - SHAPE;
	struct pg_look look;
	struct err why = {0};

	if (size < SHAPE)
		return 0;
	for (unsigned i = 0; i < RESULTS; i++) {
		const int rows = i == 1 ? bytes[i] % 72 : bytes[i] % 8 == 7 ? 0 : 1;
		const int columns = bytes[RESULTS + i] % 16;

		results[i] = make(&rest, &left, rows, columns < 13 ? COLUMNS[i] : columns);
	}
	if (pg_look_parse(&look, results, bytes[SHAPE - 1] % 8 == 7 ? 2 : 3 + bytes[SHAPE - 1] % 2,
			  &why) == 0) {
		check_look(&look);
		CHECK(pg_find_member(&conf, look.host, look.port) == NODE_NONE);
	} else {
		CHECK(why.text[0] != '\0');
	}
	if (pg_look_identify(&look, results[0], &why) == 0)
		CHECK(look.timeline != 0);
	for (unsigned i = 0; i < RESULTS; i++)
		PQclear(results[i]);
	return 0;
}
