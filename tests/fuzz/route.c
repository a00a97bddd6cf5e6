/*
 * An HTTP request as libmicrohttpd gives it to the gateway: "METHOD PATH?NAME=VALUE&NAME". The
 * first byte chooses what the node is. Every answer has a status and a body that its type says.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "fuzz.h"
#include "gateway/routes.h"
#include "gateway_fixture.h"
#include "text.h"

/* In the first byte: the client sends Accept: text/event-stream. */
#define WANTS_STREAM 64

static struct world {
	bool ready;
	struct sections sections[3];
	struct view_setup setup;
	struct view views[3];
	struct events events;
	struct status_gateway counters;
} world;

/* A primary, a standby, and a node that knows nothing. */
static void prepare(void)
{
	if (world.ready)
		return;
	fixture_setup(&world.setup);
	for (unsigned i = 0; i < 2; i++)
		fixture_sections(&world.sections[i], FIXTURE_NOW_NS, FIXTURE_WALL_MS);
	fixture_be_standby(&world.sections[1]);
	for (unsigned i = 0; i < 3; i++)
		view_build(&world.sections[i], i < 2 ? &world.setup : NULL, &world.views[i]);
	events_init(&world.events);
	world.ready = true;
}

/* Cut `text` at the first `at`; what follows, or NULL. */
static char *cut(char *text, char at)
{
	char *found = strchr(text, at);

	if (found != NULL)
		*found++ = '\0';
	return found;
}

static void split_query(char *text, struct http_request *request)
{
	while (text != NULL && request->query_count < HTTP_QUERY_MAX) {
		char *next = cut(text, '&');
		struct http_query *row = &request->query[request->query_count++];

		row->value = cut(text, '=');
		row->name = text;
		text = next;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct http_request request = {.method = "GET"};
	struct http_answer answer;
	char *text, *path;

	if (size < 1)
		return 0;
	prepare();
	text = fuzz_text(bytes + 1, size - 1);
	path = cut(text, ' ');
	if (path != NULL && path[0] == '/') {
		request.method = text;
		request.path = path;
		if ((bytes[0] & WANTS_STREAM) != 0)
			request.accept = "text/event-stream";
		split_query(cut(path, '?'), &request);
		http_answer(&request,
			    &(struct http_world){.view = &world.views[bytes[0] % 3],
						 .events = &world.events,
						 .counters = &world.counters,
						 .http_listen = "127.0.0.1:8008",
						 .election_ns = 1000000000},
			    &answer);
		CHECK(answer.status >= 200 && answer.status < 600);
		CHECK((answer.body == NULL) == (answer.type == NULL || answer.stream));
		if (answer.type != NULL && strstr(answer.type, "json") != NULL) {
			json_t *again = json_loads(answer.body, JSON_DECODE_ANY, NULL);

			CHECK(again != NULL);
			json_decref(again);
		}
		free(answer.body);
	}
	free(text);
	return 0;
}
