/*
 * What a client sends to the request socket. The first byte chooses who asks: somebody who may
 * change things, or not. Whatever it is, there is an answer, and it decodes.
 */
#include <stdlib.h>

#include "base/check.h"
#include "fuzz.h"
#include "gateway/requests.h"
#include "gateway_fixture.h"

static struct world {
	bool ready;
	struct sections sections;
	struct view_setup setup;
	struct view view;
	struct events events;
} world;

static void prepare(void)
{
	Mha__Bus__Event event;
	char name[] = "failover.opened", json[] = "{\"primary\":\"n2\"}";

	if (world.ready)
		return;
	fixture_sections(&world.sections, FIXTURE_NOW_NS, FIXTURE_WALL_MS);
	fixture_setup(&world.setup);
	view_build(&world.sections, &world.setup, &world.view);
	events_init(&world.events);
	mha__bus__event__init(&event);
	event.index = 7;
	event.name = name;
	event.json = json;
	CHECK(events_add(&world.events, &event, NULL) != NULL);
	world.ready = true;
}

static void check_reply(const struct request *request)
{
	Mha__Client__Reply *reply;

	CHECK(request->reply != NULL && request->size > 0);
	reply = mha__client__reply__unpack(NULL, request->size, request->reply);
	CHECK(reply != NULL && reply->id == request->id);
	CHECK((request->step == REQUEST_REFUSE) == (reply->code != 0));
	mha__client__reply__free_unpacked(reply, NULL);
	free(request->reply);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	const struct caller caller = {
		.role = size < 1 ? ROLE_NONE : bytes[0] % (ROLE_ADMIN + 1),
		.name = "fuzzer",
		.local = size >= 1 && (bytes[0] & 128) != 0,
		.token = size >= 1 && (bytes[0] & 64) != 0,
	};
	struct request request;

	if (size < 1)
		return 0;
	prepare();
	request_read(bytes + 1, size - 1, &world.view, &world.events, &caller, &request);
	switch (request.step) {
	case REQUEST_ANSWER:
	case REQUEST_REFUSE:
		check_reply(&request);
		break;
	case REQUEST_CALL:
		CHECK(caller.role >= ROLE_OPERATE && request.reply == NULL);
		CHECK(request.call.kind < CALL_KIND_COUNT);
		break;
	case REQUEST_ENROLL:
		CHECK(request.enroll != NULL && request.reply == NULL);
		CHECK(caller.token ==
		      (request.enroll->call_case == MHA__CLIENT__REQUEST__CALL_ENROLL));
		CHECK(caller.token || caller.role >= ROLE_OPERATE);
		mha__client__request__free_unpacked(request.enroll, NULL);
		break;
	case REQUEST_RELOAD:
		CHECK(caller.role >= ROLE_OPERATE && request.reply == NULL);
		break;
	case REQUEST_WAIT:
		CHECK(request.wait_ms > 0 && request.wait_ms <= EVENTS_WAIT_MS);
		break;
	}
	return 0;
}
