/* A frame between two workers: the first two bytes choose the pair, the rest is the frame. */
#include "base/check.h"
#include "bus.pb-c.h"
#include "fuzz.h"
#include "wire/bus.h"
#include "wire/convert.h"

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
