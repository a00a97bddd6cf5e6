#include "gateway/requests.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/macros.h"

static size_t reply_pack(const Mha__Client__Reply *reply, uint8_t **out)
{
	size_t size = mha__client__reply__get_packed_size(reply);

	*out = malloc(size);
	if (*out == NULL)
		return 0;
	CHECK(mha__client__reply__pack(reply, *out) == size);
	return size;
}

size_t request_refuse(uint64_t id, const struct err *why, uint8_t **reply)
{
	Mha__Client__Reply message;
	struct err copy = *why;

	mha__client__reply__init(&message);
	message.version = CLIENT_PROTOCOL_VERSION;
	message.id = id;
	message.code = why->code;
	message.error = copy.text;
	return reply_pack(&message, reply);
}

static void reply_init(Mha__Client__Reply *reply, uint64_t id, Mha__Client__Reply__BodyCase body)
{
	mha__client__reply__init(reply);
	reply->version = CLIENT_PROTOCOL_VERSION;
	reply->id = id;
	reply->body_case = body;
}

static size_t answer_leader(uint64_t id, const struct view *view, uint8_t **out)
{
	Mha__Client__Reply reply;
	struct leader_message message;

	leader_to_message(view, &message);
	reply_init(&reply, id, MHA__CLIENT__REPLY__BODY_LEADER);
	reply.leader = &message.leader;
	return reply_pack(&reply, out);
}

static size_t answer_status(uint64_t id, const struct view *view, uint8_t **out)
{
	Mha__Client__Reply reply;
	struct status_message message;

	status_to_message(view, &message);
	reply_init(&reply, id, MHA__CLIENT__REPLY__BODY_STATUS);
	reply.status = &message.status;
	return reply_pack(&reply, out);
}

static size_t answer_history(uint64_t id, const struct view *view, uint8_t **out)
{
	Mha__Client__Reply reply;
	struct history_message message;

	history_to_message(view, &message);
	reply_init(&reply, id, MHA__CLIENT__REPLY__BODY_HISTORY);
	reply.history = &message.history;
	return reply_pack(&reply, out);
}

static size_t answer_events(uint64_t id, const struct events *events,
			    const Mha__Client__GetEvents *call, uint8_t **out)
{
	struct event_number since = {call->since_index, call->since_sub};
	Mha__Client__Reply reply;
	struct events_message message;

	events_since(events, since, &message);
	reply_init(&reply, id, MHA__CLIENT__REPLY__BODY_EVENTS);
	reply.events = &message.events;
	return reply_pack(&reply, out);
}

static size_t answer_call(const Mha__Client__Request *request, const struct view *view,
			  const struct events *events, uint8_t **out, struct err *why)
{
	switch (request->call_case) {
	case MHA__CLIENT__REQUEST__CALL_GET_LEADER:
		return answer_leader(request->id, view, out);
	case MHA__CLIENT__REQUEST__CALL_GET_STATUS:
		return answer_status(request->id, view, out);
	case MHA__CLIENT__REQUEST__CALL_GET_HISTORY:
		return answer_history(request->id, view, out);
	case MHA__CLIENT__REQUEST__CALL_GET_EVENTS:
		return answer_events(request->id, events, request->get_events, out);
	default:
		err_set(why, ERR_INVALID,
			"request.call: none that this agent knows (get_leader, get_status, "
			"get_history, get_events)");
		return 0;
	}
}

size_t request_answer(const uint8_t *bytes, size_t size, const struct view *view,
		      const struct events *events, uint8_t **reply, bool *refused)
{
	struct err why = {0};
	Mha__Client__Request *request;
	uint64_t id = 0;
	size_t answered = 0;

	*reply = NULL;
	*refused = false;
	request =
		size <= REQUEST_BYTES_MAX ? mha__client__request__unpack(NULL, size, bytes) : NULL;
	if (size > REQUEST_BYTES_MAX) {
		err_set(&why, ERR_TOO_BIG, "request: %zu bytes, at most %d", size,
			REQUEST_BYTES_MAX);
	} else if (request == NULL) {
		err_set(&why, ERR_CORRUPT, "request: %zu bytes that are no mha.client.Request",
			size);
	} else {
		id = request->id;
		if (request->version != CLIENT_PROTOCOL_VERSION)
			err_set(&why, ERR_VERSION,
				"request.version: %u, but this agent speaks version %d",
				request->version, CLIENT_PROTOCOL_VERSION);
		else
			answered = answer_call(request, view, events, reply, &why);
	}
	if (request != NULL)
		mha__client__request__free_unpacked(request, NULL);
	if (why.code == 0)
		return answered;
	*refused = true;
	return request_refuse(id, &why, reply);
}
