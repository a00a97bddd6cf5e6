/* What mhactl takes from an agent: decoded, judged, and printed in every way that it has. */
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "client/client.h"
#include "fuzz.h"
#include "mhactl/print.h"
#include "view/json.h"

static void drop_json(json_t *value)
{
	char *text;

	CHECK(value != NULL);
	text = json_print(value, 0);
	CHECK(text != NULL);
	free(text);
}

static void print_all(const Mha__Client__Reply *reply, FILE *to)
{
	Mha__Client__Status no_status;
	Mha__Client__History no_history;

	mha__client__status__init(&no_status);
	mha__client__history__init(&no_history);
	switch (reply->body_case) {
	case MHA__CLIENT__REPLY__BODY_LEADER:
		drop_json(leader_to_json(reply->leader));
		break;
	case MHA__CLIENT__REPLY__BODY_STATUS:
		print_list(reply->status, true, to);
		print_status(reply->status, false, to);
		print_why(reply->status, &no_history, to);
		drop_json(status_to_json(reply->status));
		for (size_t i = 0; i < reply->status->n_operations; i++)
			print_operation_end(reply->status->operations[i], to);
		break;
	case MHA__CLIENT__REPLY__BODY_HISTORY:
		print_history(reply->history, true, to);
		print_why(&no_status, reply->history, to);
		drop_json(history_to_json(reply->history));
		break;
	case MHA__CLIENT__REPLY__BODY_EVENTS:
		print_events(reply->events, to);
		for (size_t i = 0; i < reply->events->n_events; i++)
			print_progress(reply->events->events[i], to);
		drop_json(events_to_json(reply->events));
		break;
	case MHA__CLIENT__REPLY__BODY_CALL_REPLY:
		print_call_reply(reply->call_reply, "switchover", false, to);
		drop_json(call_reply_to_json(reply->call_reply));
		break;
	default:
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	Mha__Client__Reply *reply = client_reply_decode(bytes, size, 1);
	struct err why = {0};
	char *text = NULL;
	size_t length = 0;
	FILE *to;

	if (reply == NULL)
		return 0;
	if (client_reply_check(reply, &why) < 0) {
		CHECK(why.text[0] != '\0');
	} else {
		to = open_memstream(&text, &length);
		CHECK(to != NULL);
		print_all(reply, to);
		fclose(to);
		free(text);
	}
	client_reply_free(reply);
	return 0;
}
