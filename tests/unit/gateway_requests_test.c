/* Requests: bytes in, bytes out; nothing that comes in can do harm. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/requests.h"
#include "gateway_fixture.h"

static const struct caller ROOT = {.role = ROLE_ADMIN, .name = "", .local = true};
static const struct caller STRANGER = {.role = ROLE_READ, .name = "", .local = true};

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
	struct request request;
	Mha__Client__Reply *reply;

	request_read(bytes, size, &world->view, &world->events, &STRANGER, &request);
	*refused = request.step == REQUEST_REFUSE;
	cr_assert(*refused || request.step == REQUEST_ANSWER);
	reply = mha__client__reply__unpack(NULL, request.size, request.reply);
	cr_assert_not_null(reply);
	free(request.reply);
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

/* What the request of root over the local socket asks for. */
static struct request trusted(struct world *world, Mha__Client__Request *request)
{
	uint8_t bytes[512];
	struct request out;
	size_t size;

	request->version = CLIENT_PROTOCOL_VERSION;
	request->id = 9;
	size = mha__client__request__pack(request, bytes);
	request_read(bytes, size, &world->view, &world->events, &ROOT, &out);
	cr_expect_eq(out.id, 9);
	return out;
}

Test(requests, operations_become_calls)
{
	struct world *world = world_new();
	char n2[] = "n2", performance[] = "max_performance", two[] = "2", majority[] = "majority",
	     nothing[] = "";
	Mha__Client__Request request = MHA__CLIENT__REQUEST__INIT;
	Mha__Client__Switchover switchover;
	Mha__Client__Failover failover;
	Mha__Client__SetMode mode;
	Mha__Client__Maintenance maintenance;
	Mha__Client__Pause pause = MHA__CLIENT__PAUSE__INIT;
	struct request out;

	mha__client__maintenance__init(&maintenance);
	mha__client__set_mode__init(&mode);
	mha__client__failover__init(&failover);
	mha__client__switchover__init(&switchover);
	switchover.to = n2;
	switchover.start_ms = 5;
	switchover.end_ms = 6;
	switchover.dry_run = true;
	request.call_case = MHA__CLIENT__REQUEST__CALL_SWITCHOVER;
	request.switchover = &switchover;
	out = trusted(world, &request);
	cr_expect(out.step == REQUEST_CALL && out.call.kind == CALL_SWITCHOVER &&
		  out.call.node == 2 && out.call.start_ms == 5 && out.call.end_ms == 6 &&
		  out.call.dry_run);
	request.call_case = MHA__CLIENT__REQUEST__CALL_FAILOVER;
	request.failover = &failover;
	failover.to = n2;
	failover.accept_loss = true;
	out = trusted(world, &request);
	cr_expect(out.step == REQUEST_CALL && out.call.kind == CALL_FAILOVER &&
		  out.call.accept_loss && out.call.node == 2);
	request.call_case = MHA__CLIENT__REQUEST__CALL_SET_MODE;
	request.set_mode = &mode;
	mode.mode = performance;
	out = trusted(world, &request);
	cr_expect(out.call.mode == MODE_MAX_PERFORMANCE &&
		  out.call.quorum_sync == QUORUM_SYNC_KEEP);
	mode.quorum = two;
	mode.pin = mode.force = true;
	out = trusted(world, &request);
	cr_expect(out.call.quorum_sync == 2 && out.call.pin && out.call.force);
	mode.quorum = majority;
	out = trusted(world, &request);
	cr_expect_eq(out.call.quorum_sync, 0);
	/* Without a name, the mode stays as it is. */
	mode.mode = nothing;
	out = trusted(world, &request);
	cr_expect(out.step == REQUEST_CALL && out.call.mode == MODE_KEEP);
	request.call_case = MHA__CLIENT__REQUEST__CALL_MAINTENANCE;
	request.maintenance = &maintenance;
	maintenance.node = n2;
	maintenance.on = true;
	out = trusted(world, &request);
	cr_expect(out.call.kind == CALL_MAINTENANCE && out.call.node == 2 && out.call.on);
	request.call_case = MHA__CLIENT__REQUEST__CALL_PAUSE;
	request.pause = &pause;
	pause.until_ms = 77;
	out = trusted(world, &request);
	cr_expect(out.call.kind == CALL_PAUSE && out.call.end_ms == 77);
	world_free(world);
}

Test(requests, an_unknown_member_is_a_refusal_like_any_other)
{
	struct world *world = world_new();
	Mha__Client__Request request = MHA__CLIENT__REQUEST__INIT;
	Mha__Client__Switchover switchover;
	Mha__Client__Reply *reply;
	struct request out;
	char n9[] = "n9";

	mha__client__switchover__init(&switchover);
	switchover.to = n9;
	request.call_case = MHA__CLIENT__REQUEST__CALL_SWITCHOVER;
	request.switchover = &switchover;
	out = trusted(world, &request);
	cr_assert_eq(out.step, REQUEST_ANSWER);
	reply = mha__client__reply__unpack(NULL, out.size, out.reply);
	cr_assert(reply != NULL && reply->body_case == MHA__CLIENT__REPLY__BODY_CALL_REPLY);
	cr_expect_str_eq(reply->call_reply->code, "refused");
	cr_assert_eq(reply->call_reply->n_blockers, 1);
	cr_expect_str_eq(reply->call_reply->blockers[0]->name, "no_such_node");
	cr_expect_str_eq(reply->call_reply->blockers[0]->node, "n9");
	cr_expect_neq(reply->call_reply->blockers[0]->remedy[0], '\0');
	mha__client__reply__free_unpacked(reply, NULL);
	free(out.reply);
	world_free(world);
}

Test(requests, who_is_not_trusted_changes_nothing)
{
	struct world *world = world_new();
	Mha__Client__Request request = MHA__CLIENT__REQUEST__INIT;
	Mha__Client__Resume resume = MHA__CLIENT__RESUME__INIT;
	Mha__Client__Maintenance unknown;
	Mha__Client__Reply *reply;
	bool refused;

	mha__client__maintenance__init(&unknown);
	request.version = 1;
	request.call_case = MHA__CLIENT__REQUEST__CALL_RESUME;
	request.resume = &resume;
	reply = ask(world, &request, &refused);
	cr_expect(refused && reply->code == ERR_PERM);
	cr_expect_not_null(strstr(reply->error, "resume needs the role operate"));
	mha__client__reply__free_unpacked(reply, NULL);
	/* Nor does it learn what would have been wrong with the call. */
	request.call_case = MHA__CLIENT__REQUEST__CALL_MAINTENANCE;
	request.maintenance = &unknown;
	reply = ask(world, &request, &refused);
	cr_expect(refused && reply->code == ERR_PERM);
	mha__client__reply__free_unpacked(reply, NULL);
	world_free(world);
}

Test(requests, senseless_modes_are_refused)
{
	static const struct {
		const char *mode, *quorum;
	} cases[] = {{"fast", ""}, {"max_protection", "0"}, {"", "9"}, {"", "-1"}, {"", "many"}};
	struct world *world = world_new();

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		Mha__Client__Request request = MHA__CLIENT__REQUEST__INIT;
		Mha__Client__SetMode mode;
		char name[32], quorum[32];
		struct request out;

		mha__client__set_mode__init(&mode);
		snprintf(name, sizeof(name), "%s", cases[i].mode);
		snprintf(quorum, sizeof(quorum), "%s", cases[i].quorum);
		mode.mode = name;
		mode.quorum = quorum;
		request.call_case = MHA__CLIENT__REQUEST__CALL_SET_MODE;
		request.set_mode = &mode;
		out = trusted(world, &request);
		cr_expect_eq(out.step, REQUEST_REFUSE, "%s %s", name, quorum);
		free(out.reply);
	}
	world_free(world);
}

Test(requests, get_events_waits_when_told_and_nothing_is_new)
{
	struct world *world = world_new();
	Mha__Client__Request request = MHA__CLIENT__REQUEST__INIT;
	Mha__Client__GetEvents get = MHA__CLIENT__GET_EVENTS__INIT;
	struct request out;

	request.call_case = MHA__CLIENT__REQUEST__CALL_GET_EVENTS;
	request.get_events = &get;
	get.since_index = 5;
	get.since_sub = 6;
	get.wait_ms = UINT32_MAX;
	out = trusted(world, &request);
	cr_expect(out.step == REQUEST_WAIT && out.wait_ms == EVENTS_WAIT_MS);
	cr_expect(out.since.index == 5 && out.since.sub == 6);
	get.wait_ms = 0;
	out = trusted(world, &request);
	cr_expect_eq(out.step, REQUEST_ANSWER);
	free(out.reply);
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
			/* Field numbers over 15 take two bytes. */
			if (round % 4 == 0) {
				unsigned tag = (20u + bytes[3] % 9) << 3 | 2;

				bytes[2] = (uint8_t)(tag | 0x80);
				bytes[3] = (uint8_t)(tag >> 7);
			}
		}
		mha__client__reply__free_unpacked(answer(world, bytes, size, &refused), NULL);
	}
	world_free(world);
}

/* One call of each kind, empty. */
static void fill_call(Mha__Client__Request *request, unsigned number)
{
	const ProtobufCFieldDescriptor *field =
		protobuf_c_message_descriptor_get_field(&mha__client__request__descriptor, number);
	const ProtobufCMessageDescriptor *type = field->descriptor;
	static uint64_t storage[64];

	cr_assert_leq(type->sizeof_message, sizeof(storage));
	memset(storage, 0, sizeof(storage));
	type->message_init((ProtobufCMessage *)storage);
	request->call_case = (Mha__Client__Request__CallCase)number;
	request->switchover = (Mha__Client__Switchover *)storage;
}

static struct request read_as(struct world *world, Mha__Client__Request *request,
			      const struct caller *caller)
{
	uint8_t bytes[256];
	struct request out;
	size_t size;

	request->version = CLIENT_PROTOCOL_VERSION;
	size = mha__client__request__pack(request, bytes);
	request_read(bytes, size, &world->view, &world->events, caller, &out);
	free(out.reply);
	if (out.step == REQUEST_ENROLL)
		mha__client__request__free_unpacked(out.enroll, NULL);
	return out;
}

/* No role is enough to enrol, and a token is enough for nothing else. */
static void expect_for_tokens_only(struct world *world, Mha__Client__Request *enroll)
{
	const struct caller token = {.role = ROLE_NONE, .name = "n4", .token = true};
	Mha__Client__Request other = MHA__CLIENT__REQUEST__INIT;
	Mha__Client__GetLeader leader = MHA__CLIENT__GET_LEADER__INIT;

	cr_expect_eq(read_as(world, enroll, &ROOT).step, REQUEST_REFUSE);
	cr_expect_eq(read_as(world, enroll, &token).step, REQUEST_ENROLL);
	other.call_case = MHA__CLIENT__REQUEST__CALL_GET_LEADER;
	other.get_leader = &leader;
	cr_expect_eq(read_as(world, &other, &token).step, REQUEST_REFUSE);
	cr_expect_eq(read_as(world, &other, &STRANGER).step, REQUEST_ANSWER);
}

Test(requests, every_call_has_a_role_and_every_role_is_enforced)
{
	struct world *world = world_new();
	unsigned calls = 0;

	for (unsigned i = 0; i < mha__client__request__descriptor.n_fields; i++) {
		const unsigned number = mha__client__request__descriptor.fields[i].id;
		Mha__Client__Request request = MHA__CLIENT__REQUEST__INIT;
		enum role needs;

		if (number < 10)
			continue;
		fill_call(&request, number);
		if (number == MHA__CLIENT__REQUEST__CALL_ENROLL) {
			expect_for_tokens_only(world, &request);
			continue;
		}
		needs = request_needs(&request);
		cr_expect_neq(needs, ROLE_NONE, "call %u is not in the table", number);
		calls++;
		for (enum role role = ROLE_NONE; role <= ROLE_ADMIN; role++) {
			const struct caller caller = {.role = role, .name = "bob"};
			uint8_t bytes[256];
			struct request out;
			size_t size;

			request.version = CLIENT_PROTOCOL_VERSION;
			size = mha__client__request__pack(&request, bytes);
			request_read(bytes, size, &world->view, &world->events, &caller, &out);
			if (role < needs) {
				Mha__Client__Reply *reply =
					mha__client__reply__unpack(NULL, out.size, out.reply);

				cr_expect_eq(out.step, REQUEST_REFUSE);
				cr_expect_eq(reply->code, ERR_PERM, "call %u role %u", number,
					     role);
				cr_expect_not_null(strstr(reply->error, role_name(needs)), "%s",
						   reply->error);
				mha__client__reply__free_unpacked(reply, NULL);
			} else {
				cr_expect_neq(out.step, REQUEST_WAIT);
				cr_expect(out.step != REQUEST_REFUSE || needs > ROLE_READ);
			}
			free(out.reply);
			if (out.step == REQUEST_ENROLL)
				mha__client__request__free_unpacked(out.enroll, NULL);
		}
	}
	cr_expect_geq(calls, 15);
	world_free(world);
}

Test(requests, what_can_lose_data_needs_more_than_what_cannot)
{
	Mha__Client__Request request = MHA__CLIENT__REQUEST__INIT;
	Mha__Client__Failover failover;

	mha__client__failover__init(&failover);
	request.call_case = MHA__CLIENT__REQUEST__CALL_FAILOVER;
	request.failover = &failover;
	cr_expect_eq(request_needs(&request), ROLE_OPERATE);
	failover.accept_loss = true;
	cr_expect_eq(request_needs(&request), ROLE_ADMIN);
	request.call_case = MHA__CLIENT__REQUEST__CALL__NOT_SET;
	cr_expect_eq(request_needs(&request), ROLE_NONE);
}
