#include "gateway/sse.h"

#include <stdio.h>
#include <stdlib.h>

#include "view/json.h"

static bool is_missing(const struct sse *sse, const struct events *events)
{
	return events->any && event_number_compare(sse->at, events->complete_after) < 0;
}

bool sse_lost(const struct sse *sse, const struct events *events)
{
	return sse->begun && is_missing(sse, events);
}

bool sse_ready(const struct sse *sse, const struct events *events)
{
	/* Before the first event nobody knows what is missing. */
	return events->any && (is_missing(sse, events) || events_next(events, sse->at) != NULL);
}

static enum sse_end tell(char **text, const char *type, struct event_number number, json_t *data)
{
	char id[EVENT_NUMBER_SIZE];
	char *json = json_print(data, JSON_COMPACT);
	int size = -1;

	if (json != NULL)
		size = asprintf(text, "%sid: %s\ndata: %s\n\n", type,
				event_number_format(number, id), json);
	free(json);
	return size < 0 ? SSE_FAILED : SSE_TEXT;
}

static enum sse_end tell_gap(struct sse *sse, const struct events *events, char **text)
{
	char wanted[EVENT_NUMBER_SIZE], after[EVENT_NUMBER_SIZE];
	json_t *data =
		json_pack("{s:s, s:s}", "wanted", event_number_format(sse->at, wanted),
			  "complete_after", event_number_format(events->complete_after, after));

	sse->at = events->complete_after;
	return tell(text, "event: gap\n", sse->at, data);
}

enum sse_end sse_next(struct sse *sse, const struct events *events, char **text)
{
	const struct event_row *row;
	Mha__Client__Event event;

	*text = NULL;
	if (!events->any)
		return SSE_NOTHING;
	if (sse_lost(sse, events))
		return SSE_LOST;
	sse->begun = true;
	if (is_missing(sse, events)) {
		if (sse->wanted)
			return tell_gap(sse, events, text);
		sse->at = events->complete_after;
	}
	row = events_next(events, sse->at);
	if (row == NULL)
		return SSE_NOTHING;
	sse->at = row->number;
	event_row_to_message(row, &event);
	return tell(text, "", row->number, event_to_json(&event));
}
