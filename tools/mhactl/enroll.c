/* New nodes: tokens, and who used one. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "mhactl/command.h"
#include "view/format.h"
#include "view/json.h"

#define MS_PER_MINUTE UINT64_C(60000)

static int show_json(json_t *value)
{
	char *text = json_print(value, JSON_INDENT(2));

	if (text == NULL)
		return EXIT_ERROR;
	puts(text);
	free(text);
	return EXIT_DONE;
}

int run_enroll_token(const struct command_line *line, struct fetched *fetched)
{
	Mha__Client__Request request = MHA__CLIENT__REQUEST__INIT;
	Mha__Client__EnrollToken call;
	char name[64];
	struct err why = {0};
	int rc;

	mha__client__enroll_token__init(&call);
	snprintf(name, sizeof(name), "%s", line->arguments[0]);
	call.name = name;
	call.minutes = (uint32_t)((line->for_ms + MS_PER_MINUTE - 1) / MS_PER_MINUTE);
	request.call_case = MHA__CLIENT__REQUEST__CALL_ENROLL_TOKEN;
	request.enroll_token = &call;
	rc = fetch_reply(&line->from, &request, MHA__CLIENT__REPLY__BODY_TOKEN_REPLY, fetched,
			 &why);
	if (rc < 0)
		return command_failed(rc, &why);
	if (line->json)
		return show_json(json_pack("{s:s, s:I}", "token",
					   fetched->reply->token_reply->token, "expires_ms",
					   (json_int_t)fetched->reply->token_reply->expires_ms));
	puts(fetched->reply->token_reply->token);
	fprintf(stderr,
		"For %s, once. On its host, as root:\n"
		"  mha-enroll --host THIS-AGENT --address ITS-ADDRESS\n"
		"and give it the token on standard input; then, here: mhactl enrolled\n",
		name);
	return EXIT_DONE;
}

static json_t *row_json(const Mha__Client__MemberRow *row)
{
	return json_pack("{s:s, s:i, s:s, s:s, s:i, s:i, s:s, s:i, s:b}", "name", row->name, "id",
			 (int)row->id, "kind", row->kind, "address", row->address, "peer_port",
			 (int)row->peer_port, "postgres_port", (int)row->postgres_port,
			 "public_key", row->public_key, "priority", (int)row->priority, "founding",
			 !row->later);
}

int run_enrolled(const struct command_line *line, struct fetched *fetched)
{
	Mha__Client__Request request = MHA__CLIENT__REQUEST__INIT;
	Mha__Client__GetEnrolled call = MHA__CLIENT__GET_ENROLLED__INIT;
	const Mha__Client__Enrolled *enrolled;
	json_t *rows = NULL;
	struct err why = {0};
	int rc;

	request.call_case = MHA__CLIENT__REQUEST__CALL_GET_ENROLLED;
	request.get_enrolled = &call;
	rc = fetch_reply(&line->from, &request, MHA__CLIENT__REPLY__BODY_ENROLLED, fetched, &why);
	if (rc < 0)
		return command_failed(rc, &why);
	enrolled = fetched->reply->enrolled;
	if (line->json)
		rows = json_array();
	for (size_t i = 0; i < enrolled->n_members; i++) {
		const Mha__Client__MemberRow *row = enrolled->members[i];

		if (line->json) {
			json_array_append_new(rows, row_json(row));
			continue;
		}
		printf("  - {name: %s, id: %u, kind: %s, address: \"%s\", peer_port: %u, "
		       "postgres_port: %u, priority: %u, founding: %s, public_key: \"%s\"}\n",
		       row->name, row->id, row->kind, row->address, row->peer_port,
		       row->postgres_port, row->priority, row->later ? "off" : "on",
		       row->public_key);
	}
	return line->json ? show_json(rows) : EXIT_DONE;
}
