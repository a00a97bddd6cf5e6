/* The /v1 tree: permissions, bodies, ends and errors of its actions, and the stream of events. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "gateway/requests.h"
#include "gateway/sse.h"
#include "gateway/v1.h"
#include "gateway/v1_calls.h"
#include "gateway_fixture.h"

struct world {
	struct sections sections;
	struct view_setup setup;
	struct view view;
};

static struct world *world_new(void)
{
	struct world *world = calloc(1, sizeof(*world));

	cr_assert_not_null(world);
	fixture_sections(&world->sections, FIXTURE_NOW_NS, FIXTURE_WALL_MS);
	fixture_setup(&world->setup);
	view_build(&world->sections, &world->setup, &world->view);
	return world;
}

/* "code" of the error; "" if the answer is none in the one shape. Frees the body. */
static const char *error_code(struct http_answer *answer, char code[40])
{
	json_t *whole = answer->body ? json_loads(answer->body, 0, NULL) : NULL;
	const char *text, *message, *remedy;
	json_t *blockers;
	int status;

	code[0] = '\0';
	if (json_unpack(whole, "{s:{s:s, s:i, s:s, s:s, s:o !} !}", "error", "code", &text,
			"status", &status, "message", &message, "remedy", &remedy, "blockers",
			&blockers) == 0 &&
	    (unsigned)status == answer->status && message[0] != '\0' && remedy[0] != '\0' &&
	    json_is_array(blockers) && strlen(text) < 40)
		strcpy(code, text);
	json_decref(whole);
	free(answer->body);
	answer->body = NULL;
	return code;
}

Test(v1, table_of_problems)
{
	for (unsigned i = 0; i < PROBLEM_COUNT; i++) {
		cr_expect_not_null(problem_code(i));
		cr_expect_not_null(problem_remedy(i), "%s", problem_code(i));
		cr_expect(problem_status(i) >= 400 && problem_status(i) < 600);
		for (unsigned j = 0; j < i; j++)
			cr_expect_str_neq(problem_code(i), problem_code(j));
	}
}

/* One table says who may what: that of the request socket. */
Test(v1, permissions_are_those_of_the_request_socket)
{
	const struct action *action;
	unsigned count = 0;

	for (size_t i = 0; (action = v1_action_at(i)) != NULL; i++, count++) {
		Mha__Client__Failover failover;
		Mha__Client__Request request;

		mha__client__request__init(&request);
		mha__client__failover__init(&failover);
		request.call_case = action->call;
		request.failover = &failover;
		cr_expect_eq(action->needs, request_needs(&request), "%s", action->path);
		cr_expect_geq(action->needs, ROLE_OPERATE, "%s", action->path);
		cr_expect_eq(action_find("POST", action->path), action);
		cr_expect_null(action_find("GET", action->path));
		cr_expect_null(action_find("PUT", action->path));
	}
	cr_expect_eq(count, 14);
	for (size_t i = 0; v1_question_at(i) != NULL; i++) {
		cr_expect_eq(v1_question_at(i)->needs, ROLE_READ);
		cr_expect_null(action_find("POST", v1_question_at(i)->path));
	}
	cr_expect_null(action_find("POST", "/v1/enroll-token"));
}

static unsigned take(struct world *world, const char *path, const char *body,
		     struct action_call *asked, char code[40])
{
	const struct action *action = action_find("POST", path);
	struct http_answer answer = {.status = 0};
	unsigned status;

	cr_assert_not_null(action, "%s", path);
	status = action_read(action, body, strlen(body), &world->view, FIXTURE_WALL_MS, asked,
			     &answer);
	code[0] = '\0';
	if (status != 0) {
		cr_expect_eq(status, answer.status);
		error_code(&answer, code);
	}
	return status;
}

Test(v1, bodies)
{
	struct world *world = world_new();
	struct action_call asked;
	char code[40];

	cr_expect_eq(take(world, "/v1/switchover", "", &asked, code), 0);
	cr_expect_eq(asked.call.kind, CALL_SWITCHOVER);
	cr_expect_eq(asked.call.node, NODE_NONE);
	cr_expect_eq(asked.needs, ROLE_OPERATE);
	cr_expect_eq(take(world, "/v1/switchover",
			  "{\"to\":\"n2\",\"dry_run\":true,\"not_before\":\"2040-01-01T00:00Z\","
			  "\"not_after\":null}",
			  &asked, code),
		     0);
	cr_expect_eq(asked.call.node, 2);
	cr_expect(asked.call.dry_run);
	cr_expect_eq(asked.call.start_ms, UINT64_C(2208988800000));
	cr_expect_eq(asked.call.end_ms, 0);
	cr_expect_eq(
		take(world, "/v1/failover", "{\"to\":\"n3\",\"accept_loss\":true}", &asked, code),
		0);
	cr_expect_eq(asked.call.kind, CALL_FAILOVER);
	cr_expect(asked.call.accept_loss);
	cr_expect_eq(asked.needs, ROLE_ADMIN);
	cr_expect_eq(take(world, "/v1/mode",
			  "{\"mode\":\"max_protection\",\"quorum\":1,\"pin\":true}", &asked, code),
		     0);
	cr_expect_eq(asked.call.kind, CALL_MODE);
	cr_expect_eq(asked.call.mode, MODE_MAX_PROTECTION);
	cr_expect_eq(asked.call.quorum_sync, 1);
	cr_expect(asked.call.pin);
	cr_expect_eq(take(world, "/v1/mode", "{\"quorum\":\"majority\"}", &asked, code), 0);
	cr_expect_eq(asked.call.quorum_sync, 0);
	cr_expect_eq(take(world, "/v1/mode", "{}", &asked, code), 0);
	cr_expect_eq(asked.call.quorum_sync, QUORUM_SYNC_KEEP);
	cr_expect_eq(take(world, "/v1/maintenance", "{\"node\":\"n2\",\"on\":true}", &asked, code),
		     0);
	cr_expect(asked.call.on);
	cr_expect_eq(take(world, "/v1/auto-failover", "{\"on\":false}", &asked, code), 0);
	cr_expect_eq(asked.call.kind, CALL_AUTO_FAILOVER);
	cr_expect_eq(take(world, "/v1/pause", "{\"until\":\"2040-01-01T00:00Z\"}", &asked, code),
		     0);
	cr_expect_eq(asked.call.end_ms, UINT64_C(2208988800000));
	cr_expect_eq(
		take(world, "/v1/member-add", "{\"node\":\"n3\",\"force\":true}", &asked, code), 0);
	cr_expect_eq(asked.call.kind, CALL_MEMBER_ADD);
	free(world);
}

Test(v1, bodies_that_are_wrong)
{
	static const struct {
		const char *path, *body, *code;
	} cases[] = {
		{"/v1/switchover", "[]", "invalid"},
		{"/v1/switchover", "{\"to\":7}", "invalid"},
		{"/v1/switchover", "{\"too\":\"n2\"}", "invalid"},
		{"/v1/switchover", "{\"to\":\"n9\"}", "unknown_member"},
		{"/v1/switchover", "{\"not_before\":\"2040-01-01T00:00\"}", "invalid"},
		{"/v1/switchover", "{\"not_before\":5}", "invalid"},
		{"/v1/failover", "{}", "invalid"},
		{"/v1/failover", "", "invalid"},
		{"/v1/failover", "{\"to\":null}", "invalid"},
		{"/v1/maintenance", "{\"node\":\"n2\"}", "invalid"},
		{"/v1/maintenance", "{\"node\":\"n2\",\"on\":1}", "invalid"},
		{"/v1/maintenance", "{\"node\":\"\",\"on\":true}", "unknown_member"},
		{"/v1/mode", "{\"mode\":\"fast\"}", "invalid"},
		{"/v1/mode", "{\"quorum\":0}", "invalid"},
		{"/v1/mode", "{\"quorum\":-1}", "invalid"},
		{"/v1/mode", "{\"quorum\":1.5}", "invalid"},
		{"/v1/resume", "{\"on\":true}", "invalid"},
		{"/v1/auto-switch", "{}", "invalid"},
	};
	struct world *world = world_new();

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct action_call asked;
		char code[40];

		cr_expect_neq(take(world, cases[i].path, cases[i].body, &asked, code), 0);
		cr_expect_str_eq(code, cases[i].code, "%s %s: %s", cases[i].path, cases[i].body,
				 code);
	}
	free(world);
}

static struct http_answer end_of(struct world *world, struct call_result result)
{
	struct action_call asked = {.action = action_find("POST", "/v1/switchover")};
	struct http_answer answer = {.status = 0};

	cr_assert(action_end(&asked, &world->view, &result, &answer));
	return answer;
}

Test(v1, ends)
{
	struct world *world = world_new();
	struct http_answer answer;
	char code[40];

	answer = end_of(world, (struct call_result){.code = CALL_ACCEPTED, .operation = 17});
	cr_expect_eq(answer.status, 202);
	cr_expect_str_eq(answer.location, "/v1/operations/17");
	cr_expect_not_null(strstr(answer.body, "\"operation\":17"));
	free(answer.body);
	answer = end_of(world, (struct call_result){.code = CALL_ACCEPTED, .epoch = 5});
	cr_expect_eq(answer.status, 202);
	cr_expect_str_eq(answer.location, "");
	free(answer.body);
	answer = end_of(world, (struct call_result){.code = CALL_POSSIBLE, .epoch = 5});
	cr_expect_eq(answer.status, 200);
	free(answer.body);
	answer = end_of(world, (struct call_result){.code = CALL_ACCEPTED});
	cr_expect_eq(answer.status, 200);
	free(answer.body);
	answer = end_of(world, (struct call_result){.code = CALL_REFUSED,
						    .blocker_count = 1,
						    .blockers = {{.kind = BLOCK_LAG, .node = 2}}});
	cr_expect_not_null(strstr(answer.body, "\"node\":\"n2\""));
	cr_expect_str_eq(error_code(&answer, code), "refused");
	cr_expect_eq(answer.status, 409);
	answer = end_of(world, (struct call_result){.code = CALL_REFUSED,
						    .blocker_count = 1,
						    .blockers = {{.kind = BLOCK_NO_QUORUM}}});
	cr_expect_str_eq(error_code(&answer, code), "no_quorum");
	answer = end_of(world, (struct call_result){.code = CALL_UNCERTAIN});
	cr_expect_str_eq(error_code(&answer, code), "uncertain");
	cr_expect_eq(answer.status, 504);
	free(world);
}

Test(v1, numbers_of_events)
{
	static const char *const bad[] = {"",
					  ".",
					  "1.",
					  ".1",
					  "a",
					  "1.2.3",
					  "-1",
					  "1.4294967296",
					  "18446744073709551616",
					  "0000000000000000000000000000000000000001.1"};
	struct event_number number;
	char text[EVENT_NUMBER_SIZE];

	cr_assert(event_number_parse("7", &number));
	cr_expect_str_eq(event_number_format(number, text), "7.0");
	cr_assert(event_number_parse("18446744073709551615.4294967295", &number));
	cr_expect_str_eq(event_number_format(number, text), "18446744073709551615.4294967295");
	for (size_t i = 0; i < COUNT_OF(bad); i++)
		cr_expect_not(event_number_parse(bad[i], &number), "%s", bad[i]);
}

static void add(struct events *events, uint64_t index)
{
	char name[] = "member.changed", fields[] = "{\"text\":\"two\\nlines\"}";
	struct err why = {0};
	Mha__Bus__Event event;

	mha__bus__event__init(&event);
	event.index = index;
	event.name = name;
	event.json = fields;
	cr_assert_not_null(events_add(events, &event, &why), "%s", why.text);
}

static void expect_next(struct sse *sse, struct events *events, const char *begins)
{
	char *text;

	cr_assert(sse_ready(sse, events));
	cr_assert_eq(sse_next(sse, events, &text), SSE_TEXT);
	cr_expect_eq(strncmp(text, begins, strlen(begins)), 0, "%s", text);
	cr_expect_str_eq(text + strlen(text) - 2, "\n\n");
	free(text);
}

static void expect_nothing(struct sse *sse, struct events *events)
{
	char *text;

	cr_expect_not(sse_ready(sse, events));
	cr_expect_eq(sse_next(sse, events, &text), SSE_NOTHING);
	cr_expect_null(text);
}

Test(v1, streams_resume_and_tell_gaps)
{
	struct events *events = calloc(1, sizeof(*events));
	struct sse fresh = {0}, back = {.wanted = true, .at = {5, 0}};
	struct sse late = {.wanted = true, .at = {2, 0}};

	cr_assert_not_null(events);
	events_init(events);
	expect_nothing(&fresh, events);
	expect_nothing(&late, events);
	add(events, 5);
	add(events, 6);
	expect_next(&fresh, events, "id: 5.0\ndata: {\"index\":5,");
	expect_next(&fresh, events, "id: 6.0\ndata: ");
	expect_nothing(&fresh, events);
	expect_next(&back, events, "id: 6.0\n");
	expect_nothing(&back, events);
	/* 3 and 4 may have been there before this agent was. */
	expect_next(&late, events, "event: gap\nid: 4.4294967295\ndata: {\"wanted\":\"2.0\",");
	expect_next(&late, events, "id: 5.0\n");
	expect_next(&late, events, "id: 6.0\n");
	expect_nothing(&late, events);
	events_fini(events);
	free(events);
}

Test(v1, who_falls_behind_is_lost)
{
	struct events *events = calloc(1, sizeof(*events));
	struct sse slow = {0}, quick = {0};
	char *text;

	cr_assert_not_null(events);
	events_init(events);
	add(events, 1);
	expect_next(&slow, events, "id: 1.0\n");
	expect_next(&quick, events, "id: 1.0\n");
	for (unsigned i = 2; i < 2 + EVENTS_MAX; i++) {
		add(events, i);
		expect_next(&quick, events, "id: ");
	}
	cr_expect_not(sse_lost(&slow, events));
	add(events, 1000);
	cr_expect(sse_lost(&slow, events));
	cr_expect_eq(sse_next(&slow, events, &text), SSE_LOST);
	expect_next(&quick, events, "id: 1000.0\n");
	events_fini(events);
	free(events);
}
