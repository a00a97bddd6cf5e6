/* A frame between two workers: the first two bytes choose the pair, the rest is the frame. */
#include "base/check.h"
#include "bus.pb-c.h"
#include "fuzz.h"
#include "gateway/events.h"
#include "wire/bus.h"
#include "wire/convert.h"

static void take_call(const Mha__Bus__Call *message)
{
	struct call call;
	Mha__Bus__Call again;
	struct err why = {0};

	if (call_from_message(message, &call, &why) < 0) {
		CHECK(why.text[0] != '\0');
		return;
	}
	CHECK(call.kind < CALL_KIND_COUNT);
	call_to_message(&call, &again);
	CHECK(call_from_message(&again, &call, &why) == 0);
}

static void take_call_result(const Mha__Bus__CallResult *message)
{
	struct call_result result;
	struct call_result_message again;
	struct err why = {0};

	if (call_result_from_message(message, &result, &why) < 0) {
		CHECK(why.text[0] != '\0');
		return;
	}
	CHECK(result.blocker_count <= BLOCKERS_MAX);
	call_result_to_message(&result, &again);
	CHECK(call_result_from_message(&again.result, &result, &why) == 0);
}

/* As the gateway keeps it: twice, because the second one may be a repetition. */
static void take_event(const Mha__Bus__Event *message)
{
	static struct events events;
	struct events_message list;
	struct err why = {0};

	events_init(&events);
	for (unsigned i = 0; i < 2; i++) {
		const struct event_row *row = events_add(&events, message, &why);

		CHECK(i == 0 || row == NULL || events.count == 2);
	}
	events_since(&events, (struct event_number){0, 0}, &list);
	CHECK(list.events.n_events <= 2);
	events_fini(&events);
}

static void convert(enum route_id route, const ProtobufCMessage *message)
{
	const Mha__Bus__Facts *facts = NULL;
	struct facts some_facts;
	struct order order;
	struct err why = {0};

	switch (route) {
	case ROUTE_ORDER_DBCTL:
	case ROUTE_ORDER_DBMON:
	case ROUTE_ORDER_VIP:
		if (order_from_message((const Mha__Bus__Order *)message, &order, &why) == 0)
			CHECK(order.kind > ORDER_NONE && order.kind < ORDER_KIND_COUNT);
		return;
	case ROUTE_FACTS:
		facts = ((const Mha__Bus__FactsReport *)message)->facts;
		break;
	case ROUTE_RESULT_DBCTL:
	case ROUTE_RESULT_DBMON:
	case ROUTE_RESULT_VIP:
		facts = ((const Mha__Bus__OrderResult *)message)->facts;
		break;
	case ROUTE_CALL:
		take_call((const Mha__Bus__Call *)message);
		return;
	case ROUTE_CALL_RESULT:
		take_call_result((const Mha__Bus__CallResult *)message);
		return;
	case ROUTE_EVENT:
		take_event((const Mha__Bus__Event *)message);
		return;
	default:
		return;
	}
	if (facts == NULL || facts_from_message(facts, &some_facts, &why) < 0)
		return;
	CHECK(some_facts.db < DB_STATE_COUNT && some_facts.standby_count <= NODES_MAX);
	CHECK(some_facts.position.branch_count <= WAL_HISTORY_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	ProtobufCMessage *message = NULL;
	enum route_id route = ROUTE_COUNT;
	struct err why = {0};

	if (size < 2)
		return 0;
	if (bus_frame_decode((enum worker_id)(bytes[0] % WORKER_COUNT),
			     (enum worker_id)(bytes[1] % WORKER_COUNT), bytes + 2, size - 2, &route,
			     &message, &why) < 0) {
		CHECK(message == NULL && why.text[0] != '\0');
		return 0;
	}
	CHECK((unsigned)route < ROUTE_COUNT);
	convert(route, message);
	protobuf_c_message_free_unpacked(message, NULL);
	return 0;
}
