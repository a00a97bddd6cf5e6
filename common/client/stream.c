/* The event stream: one long poll at one member, taken up at another one when that is lost. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/text.h"
#include "client/listen.h"

#define WAIT_MS  10000 /* of a long poll */
#define SPARE_MS 2000  /* beyond it the member is lost */

static struct stream *stream_of(struct mha *mha)
{
	return &mha->listen->stream;
}

/* The confirmed leader where it can be had, else whoever answers. */
static struct watch *choose_source(struct listen *listen)
{
	struct watch *found = NULL;

	for (unsigned i = 0; i < LINKS_MAX; i++) {
		struct watch *watch = &listen->watches[i];

		if (!watch->used || watch->client == NULL || !watch->told)
			continue;
		if (found == NULL || (listen->any && !listen->lost &&
				      strcmp(watch->answer.node, listen->leader.name) == 0))
			found = watch;
	}
	return found;
}

static int stream_ask(struct mha *mha, int64_t now, struct err *why)
{
	struct stream *stream = stream_of(mha);
	Mha__Client__Request request = MHA__CLIENT__REQUEST__INIT;
	Mha__Client__GetEvents call = MHA__CLIENT__GET_EVENTS__INIT;
	int rc;

	/* Without a place, the number of the newest event is all that is asked for. */
	call.since_index = stream->placed ? stream->since_index : UINT64_MAX;
	call.since_sub = stream->placed ? stream->since_sub : UINT32_MAX;
	call.wait_ms = stream->placed && !stream->crowded ? WAIT_MS : 0;
	request.call_case = MHA__CLIENT__REQUEST__CALL_GET_EVENTS;
	request.get_events = &call;
	if ((rc = client_send(stream->source->client, &request, why)) < 0)
		return rc;
	stream->id = request.id;
	stream->due_ms = now + call.wait_ms + SPARE_MS;
	return 0;
}

int stream_step(struct mha *mha, int64_t now, struct err *why)
{
	struct stream *stream = stream_of(mha);

	if (mha->listen->how.event == NULL)
		return 0;
	if (stream->id != 0 && now >= stream->due_ms) {
		stream->source->told = false;
		stream_leave(mha, stream->source);
	}
	if (stream->source == NULL)
		stream->source = choose_source(mha->listen);
	if (stream->source == NULL || stream->id != 0 || now < stream->next_ms)
		return 0;
	return stream_ask(mha, now, why);
}

void stream_leave(struct mha *mha, const struct watch *watch)
{
	struct stream *stream = stream_of(mha);

	if (stream->source != watch)
		return;
	stream->source = NULL;
	stream->id = 0;
	stream->gap_told = false;
}

int64_t stream_due(const struct listen *listen)
{
	const struct stream *stream = &listen->stream;

	if (stream->source == NULL)
		return INT64_MAX;
	return stream->id != 0 ? stream->due_ms : stream->next_ms;
}

static bool after(uint64_t index, uint32_t sub, const struct stream *stream)
{
	return index > stream->since_index ||
	       (index == stream->since_index && sub > stream->since_sub);
}

/* A restarted agent may remember nothing, or count anew. */
static bool stream_gap(struct stream *stream, const Mha__Client__Events *events)
{
	const bool behind = (events->last_index != 0 || events->last_sub != 0) &&
			    (events->last_index < stream->since_index ||
			     (events->last_index == stream->since_index &&
			      events->last_sub < stream->since_sub));
	const bool gap = events->gap || behind;
	const bool tell = gap && !stream->gap_told;

	if (behind) {
		stream->since_index = events->last_index;
		stream->since_sub = events->last_sub;
	}
	stream->gap_told = gap && events->n_events == 0;
	return tell;
}

/* False: no memory; the same events are asked for again. */
static bool stream_events(struct mha *mha, struct watch *watch, Mha__Client__Reply *reply)
{
	struct stream *stream = stream_of(mha);
	const Mha__Client__Events *events = reply->events;
	const Mha__Client__Event *newest;
	struct note *note;
	bool gap;

	if (!stream->placed) {
		stream->placed = true;
		stream->since_index = events->last_index;
		stream->since_sub = events->last_sub;
		client_reply_free(reply);
		return true;
	}
	gap = stream_gap(stream, events);
	if (events->n_events == 0 && !gap) {
		client_reply_free(reply);
		return true;
	}
	note = note_add(mha->listen);
	if (note == NULL) {
		client_reply_free(reply);
		return false;
	}
	note->gap = gap;
	note->events = reply;
	CHECK(text_copy(note->source, sizeof(note->source), watch->answer.node));
	if (events->n_events > 0) {
		newest = events->events[events->n_events - 1];
		if (after(newest->index, newest->sub, stream)) {
			stream->since_index = newest->index;
			stream->since_sub = newest->sub;
		}
	}
	return true;
}

bool stream_take(struct mha *mha, struct watch *watch, Mha__Client__Reply *reply, int64_t now)
{
	struct stream *stream = stream_of(mha);
	struct err why = {0};

	if (stream->id == 0 || watch != stream->source || reply->id != stream->id)
		return false;
	stream->id = 0;
	stream->next_ms = now;
	if (client_reply_check(reply, &why) < 0) {
		/* Too many wait at this agent: its events are looked at now and then instead. */
		stream->crowded = why.code == ERR_BUSY;
		stream->next_ms = now + mha->poll_ms;
		client_reply_free(reply);
		return true;
	}
	if (reply->body_case != MHA__CLIENT__REPLY__BODY_EVENTS || reply->events == NULL) {
		client_reply_free(reply);
		stream_leave(mha, watch);
		stream->next_ms = now + mha->poll_ms;
		return true;
	}
	if (stream->crowded)
		stream->next_ms = now + mha->poll_ms;
	if (reply->events->n_events > 0)
		listen_hurry(mha->listen, now);
	/* An agent that answers a long poll with nothing, and at once, is not to be flooded. */
	if (reply->events->n_events == 0 && stream->placed &&
	    now < stream->due_ms - SPARE_MS - WAIT_MS / 2)
		stream->next_ms = now + mha->poll_ms;
	if (!stream_events(mha, watch, reply))
		stream->next_ms = now + mha->poll_ms;
	return true;
}
