/* Requests: bytes in, bytes out; nothing that comes in can do harm. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/requests.h"
#include "gateway_fixture.h"

struct world {
	struct sections sections;
	struct view_setup setup;
	struct view view;
	struct events events;
};

static struct world *world_new(void)
{
	struct world *world = calloc(1, sizeof(*world));

	cr_assert_not_null(world);
	fixture_sections(&world->sections, FIXTURE_NOW_NS, FIXTURE_WALL_MS);
	fixture_setup(&world->setup);
	view_build(&world->sections, &world->setup, &world->view);
	events_init(&world->events);
	return world;
}

static void world_free(struct world *world)
{
	events_fini(&world->events);
	free(world);
}

/* There is an answer whatever the bytes are, and it decodes. */
static Mha__Client__Reply *answer(struct world *world, const uint8_t *bytes, size_t size,
				  bool *refused)
{
	uint8_t *out;
	size_t length = request_answer(bytes, size, &world->view, &world->events, &out, refused);
	Mha__Client__Reply *reply = mha__client__reply__unpack(NULL, length, out);

	cr_assert_not_null(reply);
	free(out);
	return reply;
}

static Mha__Client__Reply *ask(struct world *world, Mha__Client__Request *request, bool *refused)
{
	uint8_t bytes[256];
	size_t size = mha__client__request__pack(request, bytes);

	return answer(world, bytes, size, refused);
}

Test(requests, each_call_has_its_answer)
{
	struct world *world = world_new();
	Mha__Client__GetLeader leader = MHA__CLIENT__GET_LEADER__INIT;
	Mha__Client__GetStatus status = MHA__CLIENT__GET_STATUS__INIT;
	Mha__Client__GetHistory history = MHA__CLIENT__GET_HISTORY__INIT;
	Mha__Client__GetEvents events = MHA__CLIENT__GET_EVENTS__INIT;
	static const struct {
		Mha__Client__Request__CallCase call;
		Mha__Client__Reply__BodyCase body;
	} cases[] = {
		{MHA__CLIENT__REQUEST__CALL_GET_LEADER, MHA__CLIENT__REPLY__BODY_LEADER},
		{MHA__CLIENT__REQUEST__CALL_GET_STATUS, MHA__CLIENT__REPLY__BODY_STATUS},
		{MHA__CLIENT__REQUEST__CALL_GET_HISTORY, MHA__CLIENT__REPLY__BODY_HISTORY},
		{MHA__CLIENT__REQUEST__CALL_GET_EVENTS, MHA__CLIENT__REPLY__BODY_EVENTS},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		Mha__Client__Request request = MHA__CLIENT__REQUEST__INIT;
		Mha__Client__Reply *reply;
		bool refused;

		request.version = 1;
		request.id = 40 + i;
		request.call_case = cases[i].call;
		switch (i) {
		case 0:
			request.get_leader = &leader;
			break;
		case 1:
			request.get_status = &status;
			break;
		case 2:
			request.get_history = &history;
			break;
		default:
			request.get_events = &events;
			break;
		}
		reply = ask(world, &request, &refused);
		cr_expect_not(refused);
		cr_expect_eq(reply->code, 0);
		cr_expect_eq(reply->id, 40 + i);
		cr_expect_eq(reply->body_case, cases[i].body);
		mha__client__reply__free_unpacked(reply, NULL);
	}
	world_free(world);
}

Test(requests, wrong_ones_are_told_what_is_wrong)
{
	struct world *world = world_new();
	uint8_t *big = calloc(1, REQUEST_BYTES_MAX + 1);
	static const uint8_t truncated[] = {0x08, 0x01, 0x52, 0x7f};
	Mha__Client__Request other = MHA__CLIENT__REQUEST__INIT;
	Mha__Client__Reply *reply;
	bool refused;

	reply = answer(world, big, REQUEST_BYTES_MAX + 1, &refused);
	cr_expect(refused && reply->code == ERR_TOO_BIG);
	mha__client__reply__free_unpacked(reply, NULL);
	reply = answer(world, truncated, sizeof(truncated), &refused);
	cr_expect(refused && reply->code == ERR_CORRUPT);
	mha__client__reply__free_unpacked(reply, NULL);
	other.version = 2;
	other.id = 5;
	reply = ask(world, &other, &refused);
	cr_expect(refused && reply->code == ERR_VERSION && reply->id == 5);
	cr_expect_not_null(strstr(reply->error, "request.version: 2"));
	mha__client__reply__free_unpacked(reply, NULL);
	other.version = 1;
	reply = ask(world, &other, &refused);
	cr_expect(refused && reply->code == ERR_INVALID);
	cr_expect_not_null(strstr(reply->error, "request.call"));
	mha__client__reply__free_unpacked(reply, NULL);
	free(big);
	world_free(world);
}

Test(requests, random_bytes_get_an_answer)
{
	struct world *world = world_new();
	uint64_t random = 88172645463325252u;
	uint8_t bytes[64];

	for (unsigned round = 0; round < 20000; round++) {
		size_t size;
		bool refused;

		for (size_t i = 0; i < sizeof(bytes); i++) {
			random ^= random << 13;
			random ^= random >> 7;
			random ^= random << 17;
			bytes[i] = (uint8_t)random;
		}
		size = bytes[0] % sizeof(bytes);
		/* Half of them begin as a good request does. */
		if (round % 2 == 0) {
			bytes[0] = 0x08;
			bytes[1] = 0x01;
			bytes[2] = (uint8_t)((10 + bytes[2] % 4) << 3 | 2);
		}
		mha__client__reply__free_unpacked(answer(world, bytes, size, &refused), NULL);
	}
	world_free(world);
}
