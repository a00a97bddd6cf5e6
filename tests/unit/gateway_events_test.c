/* The ring of events: numbers rise, gaps are told, memory is bounded. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/events.h"

struct world {
	struct events events;
	struct events_message reply;
};

static struct world *world_new(void)
{
	struct world *world = calloc(1, sizeof(*world));

	cr_assert_not_null(world);
	events_init(&world->events);
	return world;
}

static void world_free(struct world *world)
{
	events_fini(&world->events);
	free(world);
}

static const struct event_row *add(struct world *world, uint64_t index, uint32_t sub,
				   const char *text)
{
	Mha__Bus__Event event;
	char name[] = "test.event", json[256];
	struct err why = {0};

	mha__bus__event__init(&event);
	snprintf(json, sizeof(json), "{\"text\":\"%s\"}", text);
	event.index = index;
	event.sub = sub;
	event.name = name;
	event.json = json;
	event.wall_ms = 1000 + index;
	return events_add(&world->events, &event, &why);
}

static size_t since(struct world *world, uint64_t index, uint32_t sub)
{
	events_since(&world->events, (struct event_number){index, sub}, &world->reply);
	return world->reply.events.n_events;
}

Test(events, come_back_in_order_after_a_number)
{
	struct world *world = world_new();

	cr_assert_not_null(add(world, 5, 0, "a"));
	cr_assert_not_null(add(world, 5, 1, "b"));
	cr_assert_not_null(add(world, 9, 0, "c"));
	cr_expect_eq(since(world, 5, 0), 2);
	cr_expect_not(world->reply.events.gap);
	cr_expect_eq(world->reply.events.events[0]->sub, 1);
	cr_expect_eq(since(world, 9, 0), 0);
	cr_expect_not(world->reply.events.gap);
	cr_expect_eq(since(world, 4, UINT32_MAX), 3);
	cr_expect_not(world->reply.events.gap);
	world_free(world);
}

Test(events, before_the_first_there_may_have_been_others)
{
	struct world *world = world_new();

	cr_expect_eq(since(world, 0, 0), 0);
	cr_expect(world->reply.events.gap, "nothing was seen: nothing is known");
	add(world, 5, 0, "a");
	cr_expect_eq(since(world, 3, 0), 1);
	cr_expect(world->reply.events.gap);
	world_free(world);
}

Test(events, a_repeat_is_dropped_and_a_reused_number_is_not)
{
	struct world *world = world_new();
	const struct event_row *row;

	add(world, 5, 1, "a");
	cr_expect_null(add(world, 5, 1, "a"));
	row = add(world, 5, 1, "b");
	cr_assert_not_null(row);
	cr_expect_eq(row->number.sub, 2);
	row = add(world, 3, 0, "older");
	cr_assert_not_null(row);
	cr_expect_eq(row->number.index, 5);
	cr_expect_eq(row->number.sub, 3);
	cr_expect_null(add(world, 3, 0, "older"), "told again under its first number");
	world_free(world);
}

Test(events, what_went_does_not_come_back)
{
	struct world *world = world_new();

	for (unsigned i = 1; i <= EVENTS_MAX + 10; i++)
		cr_assert_not_null(add(world, i, 0, "x"));
	for (unsigned i = 1; i <= EVENTS_MAX + 10; i++)
		cr_expect_null(add(world, i, 0, "x"));
	cr_expect_eq(world->events.last.index, EVENTS_MAX + 10);
	cr_expect_eq(world->events.last.sub, 0);
	world_free(world);
}

Test(events, the_oldest_go_and_the_gap_is_told)
{
	struct world *world = world_new();

	for (unsigned i = 1; i <= EVENTS_MAX + 10; i++)
		cr_assert_not_null(add(world, i, 0, "x"));
	cr_expect_eq(world->events.count, EVENTS_MAX);
	cr_expect_eq(since(world, 10, 0), EVENTS_REPLY_MAX);
	cr_expect_not(world->reply.events.gap);
	cr_expect_eq(world->reply.events.events[0]->index, 11);
	since(world, 9, 0);
	cr_expect(world->reply.events.gap);
	world_free(world);
}

Test(events, bytes_are_bounded)
{
	struct world *world = world_new();
	Mha__Bus__Event event;
	char name[] = "big";
	struct err why = {0};
	char *json = malloc(EVENTS_BYTES_MAX + 2);

	mha__bus__event__init(&event);
	memset(json, 'x', EVENTS_BYTES_MAX + 1);
	json[100000] = '\0';
	event.name = name;
	event.json = json;
	for (event.index = 1; event.index < 50; event.index++) {
		cr_assert_not_null(events_add(&world->events, &event, &why));
		cr_assert(world->events.bytes <= EVENTS_BYTES_MAX);
	}
	cr_expect_eq(world->events.count, 5);
	cr_expect_eq(since(world, 0, 0), 1, "one reply stays small");
	json[100000] = 'x';
	json[EVENTS_BYTES_MAX + 1] = '\0';
	cr_expect_null(events_add(&world->events, &event, &why));
	cr_expect_eq(why.code, ERR_TOO_BIG);
	free(json);
	world_free(world);
}

Test(events, names_are_topics)
{
	struct world *world = world_new();
	static const char *const bad[] = {"", "With Space", "UPPER", "a\nb", "\xff"};

	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		Mha__Bus__Event event;
		char name[32];
		struct err why = {0};

		mha__bus__event__init(&event);
		snprintf(name, sizeof(name), "%s", bad[i]);
		event.name = name;
		cr_expect_null(events_add(&world->events, &event, &why));
		cr_expect_eq(why.code, ERR_INVALID);
	}
	world_free(world);
}

Test(events, tell_the_number_of_the_one_before_them)
{
	struct world *world = world_new();

	add(world, 5, 0, "a");
	add(world, 9, 2, "b");
	/* The sender was restarted and counts anew. */
	add(world, 9, 1, "c");
	cr_assert_eq(since(world, 0, 0), 3);
	cr_expect_eq(world->reply.events.events[0]->before_index, 0);
	cr_expect_eq(world->reply.events.events[1]->before_index, 5);
	cr_expect_eq(world->reply.events.events[1]->before_sub, 0);
	cr_expect_eq(world->reply.events.events[2]->before_index, 9);
	cr_expect_eq(world->reply.events.events[2]->before_sub, 2);
	cr_expect_eq(world->reply.events.events[2]->sub, 3);
	world_free(world);
}

static void expect_place(struct world *world, uint64_t index, uint32_t sub, uint64_t to_index,
			 uint32_t to_sub)
{
	Mha__Client__Status status;

	mha__client__status__init(&status);
	status.event_index = index;
	status.event_sub = sub;
	events_place_status(&world->events, &status);
	cr_expect_eq(status.event_index, to_index);
	cr_expect_eq(status.event_sub, to_sub);
}

Test(events, a_snapshot_is_placed_before_all_that_it_may_lack)
{
	struct world *world = world_new();

	/* It contains what has not arrived here: that comes once more. */
	expect_place(world, 7, 1, 0, 0);
	add(world, 5, 0, "a");
	expect_place(world, 7, 1, 5, 0);
	add(world, 7, 1, "b");
	add(world, 8, 0, "c");
	/* It lacks what has arrived already. */
	expect_place(world, 7, 1, 7, 1);
	expect_place(world, 8, 0, 8, 0);
	world_free(world);
}

Test(events, the_name_of_the_tip_is_taken)
{
	struct world *world = world_new();
	Mha__Bus__Event event;
	char name[] = EVENTS_TIP, json[] = "{}";
	struct err why = {0};

	mha__bus__event__init(&event);
	event.index = 1;
	event.name = name;
	event.json = json;
	cr_expect_null(events_add(&world->events, &event, &why));
	cr_expect_lt(why.code, 0);
	world_free(world);
}
