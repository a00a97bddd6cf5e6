/* JSON of the client messages: stable names, null for what is not known. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "gateway_fixture.h"
#include "view/json.h"
#include "view/message.h"

struct world {
	struct sections sections;
	struct view_setup setup;
	struct view view;
	struct status_message status;
	struct history_message history;
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

static const char *text_at(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

Test(json, status_has_every_member)
{
	struct world *world = world_new();
	json_t *status, *member;

	status_to_message(&world->view, &world->status);
	status = status_to_json(&world->status.status);
	cr_assert_not_null(status);
	cr_expect_str_eq(text_at(status, "cluster"), "demo");
	cr_expect_str_eq(text_at(status, "system_id"), "7301234567890123456");
	cr_expect_eq(json_array_size(json_object_get(status, "members")), 3);
	member = json_array_get(json_object_get(status, "members"), 2);
	cr_expect_str_eq(text_at(member, "flushed"), "0/5000048");
	cr_expect_eq(json_integer_value(json_object_get(member, "lag_bytes")), 256);
	cr_expect(json_is_null(json_object_get(member, "job")));
	cr_expect_str_eq(text_at(json_object_get(status, "leader"), "name"), "n1");
	json_decref(status);
	free(world);
}

Test(json, unknown_is_null)
{
	struct world *world = world_new();
	json_t *status, *member;

	memset(&world->sections.consensus.peers[3], 0, sizeof(struct status_peer));
	view_build(&world->sections, &world->setup, &world->view);
	status_to_message(&world->view, &world->status);
	status = status_to_json(&world->status.status);
	member = json_array_get(json_object_get(status, "members"), 2);
	for (const char *const *key =
		     (const char *const[]){"flushed", "lag_bytes", "age_ms", "timeline", NULL};
	     *key != NULL; key++)
		cr_expect(json_is_null(json_object_get(member, *key)), "%s", *key);
	cr_expect_str_eq(text_at(member, "state"), "unknown");
	json_decref(status);
	free(world);
}

Test(json, history_names_inputs_and_phases)
{
	struct world *world = world_new();
	json_t *history, *decision;

	history_to_message(&world->view, &world->history);
	history = history_to_json(&world->history.history);
	cr_assert_not_null(history);
	decision = json_array_get(json_object_get(history, "decisions"), 2);
	cr_expect_str_eq(text_at(decision, "cause"), "node_lost");
	cr_expect_str_eq(text_at(decision, "from"), "n2");
	cr_expect_str_eq(text_at(decision, "at"), "2026-09-21T14:12:20.000Z");
	cr_expect_eq(json_integer_value(json_object_get(decision, "detect_us")), 1004000);
	cr_expect_eq(json_integer_value(json_object_get(decision, "parent")), 3);
	cr_expect_eq(json_array_size(json_object_get(decision, "answers")), 2);
	cr_expect_eq(json_array_size(json_object_get(json_object_get(decision, "record_before"),
						     "members")),
		     2);
	json_decref(history);
	free(world);
}

Test(json, event_fields_are_json_or_stay_text)
{
	Mha__Client__Event good, bad;
	Mha__Client__Event *list[] = {&good, &bad};
	Mha__Client__Events events = MHA__CLIENT__EVENTS__INIT;
	char name[] = "x", object[] = "{\"a\":1}", broken[] = "{\"a\":", latin[] = "\xe9t\xe9";
	json_t *json;

	mha__client__event__init(&good);
	mha__client__event__init(&bad);
	good.name = bad.name = name;
	good.json = object;
	bad.json = broken;
	events.n_events = 2;
	events.events = list;
	json = events_to_json(&events);
	cr_assert_not_null(json);
	cr_expect_eq(json_integer_value(json_object_get(
			     json_object_get(json_array_get(json_object_get(json, "events"), 0),
					     "fields"),
			     "a")),
		     1);
	cr_expect_str_eq(text_at(json_array_get(json_object_get(json, "events"), 1), "fields"),
			 broken);
	json_decref(json);

	json = json_text(latin);
	cr_expect_str_eq(json_string_value(json), "?t?");
	json_decref(json);
}
