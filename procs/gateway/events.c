#include "gateway/events.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/macros.h"
#include "base/text.h"

void events_init(struct events *events)
{
	memset(events, 0, sizeof(*events));
}

static void drop_oldest(struct events *events)
{
	struct event_row *row = &events->rows[events->first];

	CHECK(events->count > 0);
	events->complete_after = row->number;
	if (event_number_compare(row->told, events->dropped_told) > 0)
		events->dropped_told = row->told;
	if (row->wall_ms > events->dropped_wall_ms)
		events->dropped_wall_ms = row->wall_ms;
	events->bytes -= row->size;
	free(row->json);
	row->json = NULL;
	events->first = (events->first + 1) % EVENTS_MAX;
	events->count--;
}

const char *event_number_format(struct event_number number, char buffer[EVENT_NUMBER_SIZE])
{
	snprintf(buffer, EVENT_NUMBER_SIZE, "%llu.%u", (unsigned long long)number.index,
		 number.sub);
	return buffer;
}

bool event_number_parse(const char *text, struct event_number *number)
{
	const char *point = strchr(text, '.');
	char index[EVENT_NUMBER_SIZE];
	uint64_t sub = 0;

	*number = (struct event_number){0, 0};
	if (point != NULL && ((size_t)(point - text) >= sizeof(index) ||
			      !text_parse_u64(point + 1, &sub) || sub > UINT32_MAX))
		return false;
	if (point != NULL) {
		memcpy(index, text, (size_t)(point - text));
		index[point - text] = '\0';
		text = index;
	}
	number->sub = (uint32_t)sub;
	return text_parse_u64(text, &number->index);
}

void events_fini(struct events *events)
{
	while (events->count > 0)
		drop_oldest(events);
}

int event_number_compare(struct event_number a, struct event_number b)
{
	if (a.index != b.index)
		return a.index < b.index ? -1 : 1;
	if (a.sub != b.sub)
		return a.sub < b.sub ? -1 : 1;
	return 0;
}

/*
 * Topics and labels are made of names: lower case, digits, '.', '_' and '-'. One topic says where
 * the stream is.
 */
static bool event_name_valid(const char *name)
{
	size_t length = strlen(name);

	return length > 0 && length < EVENT_NAME_SIZE && strcmp(name, EVENTS_TIP) != 0 &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._-") == length;
}

static const struct event_row *row_at(const struct events *events, unsigned at)
{
	return &events->rows[(events->first + at) % EVENTS_MAX];
}

/*
 * The consensus worker tells again what it remembers when this worker was restarted, and counts
 * `sub` anew when it was itself: the same number with other contents is another event.
 */
static bool is_repeat(const struct events *events, const Mha__Bus__Event *event)
{
	struct event_number told = {event->index, event->sub};

	if (event->wall_ms <= events->dropped_wall_ms &&
	    event_number_compare(told, events->dropped_told) <= 0)
		return true;
	for (unsigned i = 0; i < events->count; i++) {
		const struct event_row *row = row_at(events, i);

		if (event_number_compare(row->told, told) == 0 && row->wall_ms == event->wall_ms &&
		    strcmp(row->name, event->name) == 0 && strcmp(row->json, event->json) == 0)
			return true;
	}
	return false;
}

/* Events before the first one seen were given to an earlier run of this worker. */
static struct event_number before(struct event_number number)
{
	if (number.sub > 0)
		return (struct event_number){number.index, number.sub - 1};
	if (number.index > 0)
		return (struct event_number){number.index - 1, UINT32_MAX};
	return number;
}

const struct event_row *events_add(struct events *events, const Mha__Bus__Event *event,
				   struct err *why)
{
	const struct event_number told = {event->index, event->sub};
	struct event_number number = told;
	size_t size = strlen(event->json) + 1;
	struct event_row *row;
	char *json;

	if (!event_name_valid(event->name)) {
		err_set(why, ERR_INVALID, "event name: 1 to %d of a-z 0-9 . _ -",
			EVENT_NAME_SIZE - 1);
		return NULL;
	}
	if (size > EVENTS_BYTES_MAX) {
		err_set(why, ERR_TOO_BIG, "event fields: %zu bytes, at most %zu", size,
			EVENTS_BYTES_MAX);
		return NULL;
	}
	if (is_repeat(events, event))
		return NULL;
	if (events->any && event_number_compare(number, events->last) <= 0)
		number = (struct event_number){events->last.index, events->last.sub + 1};
	json = malloc(size);
	if (json == NULL) {
		err_set(why, ERR_NO_MEMORY, "event fields: %zu bytes", size);
		return NULL;
	}
	memcpy(json, event->json, size);

	if (!events->any)
		events->complete_after = before(number);
	while (events->count == EVENTS_MAX ||
	       (events->count > 0 && events->bytes + size > EVENTS_BYTES_MAX))
		drop_oldest(events);
	row = &events->rows[(events->first + events->count) % EVENTS_MAX];
	*row = (struct event_row){.number = number, .told = told, .json = json};
	row->before = events->last;
	row->wall_ms = event->wall_ms;
	row->size = size;
	CHECK(text_copy(row->name, sizeof(row->name), event->name));
	events->count++;
	events->bytes += size;
	events->any = true;
	events->last = number;
	return row;
}

const struct event_row *events_next(const struct events *events, struct event_number since)
{
	for (unsigned i = 0; i < events->count; i++) {
		const struct event_row *row = row_at(events, i);

		if (event_number_compare(row->number, since) > 0)
			return row;
	}
	return NULL;
}

void event_row_to_message(const struct event_row *row, Mha__Client__Event *out)
{
	union {
		const char *from;
		char *to;
	} name = {.from = row->name};

	mha__client__event__init(out);
	out->index = row->number.index;
	out->sub = row->number.sub;
	out->before_index = row->before.index;
	out->before_sub = row->before.sub;
	out->wall_ms = row->wall_ms;
	out->name = name.to;
	out->json = row->json;
}

void events_place_status(const struct events *events, Mha__Client__Status *status)
{
	const struct event_number contained = {status->event_index, status->event_sub};

	/* Numbers are the sender's or later ones, and what is still to come is after `last`. */
	if (event_number_compare(contained, events->last) <= 0)
		return;
	status->event_index = events->last.index;
	status->event_sub = events->last.sub;
}

void events_since(const struct events *events, struct event_number since,
		  struct events_message *out)
{
	size_t bytes = 0;

	mha__client__events__init(&out->events);
	out->events.events = out->list;
	out->events.gap = !events->any || event_number_compare(since, events->complete_after) < 0;
	out->events.last_index = events->last.index;
	out->events.last_sub = events->last.sub;
	for (unsigned i = 0; i < events->count; i++) {
		const struct event_row *row = row_at(events, i);
		size_t at = out->events.n_events;

		if (event_number_compare(row->number, since) <= 0)
			continue;
		bytes += row->size;
		if (at == EVENTS_REPLY_MAX || (at > 0 && bytes > EVENTS_REPLY_BYTES))
			break;
		event_row_to_message(row, &out->rows[at]);
		out->list[at] = &out->rows[at];
		out->events.n_events++;
	}
}
