/*
 * --wait: the agent holds the request back until an event comes, so nothing is polled for. Where
 * events may have been missed, and now and then, the status decides.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "mhactl/command.h"
#include "mhactl/print.h"
#include "view/json.h"

#define EVENT_WAIT_MS 5000u

static uint64_t now_ms(void)
{
	struct timespec now;

	CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

int wait_begin(const struct command_line *line, struct fetched *fetched, struct wait_for *wait,
	       struct err *why)
{
	/* Later than any event: the answer only tells the number of the last one. */
	int rc = fetch_events(&line->from, UINT64_MAX, UINT32_MAX, 0, fetched, why);

	if (rc < 0)
		return rc;
	wait->since_index = fetched->events->last_index;
	wait->since_sub = fetched->events->last_sub;
	fetched_free(fetched);
	return 0;
}

static int state_status(const char *state)
{
	if (strcmp(state, "done") == 0)
		return EXIT_DONE;
	if (strcmp(state, "scheduled") == 0 || strcmp(state, "running") == 0)
		return -1;
	return EXIT_ROLLED_BACK;
}

static int show_operation(const struct command_line *line, const Mha__Client__Operation *operation,
			  int status)
{
	char *text;

	if (!line->json) {
		print_operation_end(operation, status == EXIT_DONE ? stdout : stderr);
		return status;
	}
	text = json_print(operation_to_json(operation), JSON_INDENT(2));
	if (text == NULL)
		return EXIT_ERROR;
	puts(text);
	free(text);
	return status;
}

static const Mha__Client__Member *member_of(const Mha__Client__Status *status, const char *name)
{
	for (size_t i = 0; i < status->n_members; i++) {
		if (strcmp(status->members[i]->name, name) == 0)
			return status->members[i];
	}
	return NULL;
}

/* New data, and they are good; or the node was needed as it is. */
static int reinit_end(const Mha__Client__Status *status, const char *name)
{
	const Mha__Client__Member *member = member_of(status, name);

	if (member == NULL || strcmp(member->role, "primary") == 0)
		return EXIT_ROLLED_BACK;
	return member->reinit || member->rebuilding || !member->streaming ? -1 : EXIT_DONE;
}

static void show_member(const struct command_line *line, const Mha__Client__Status *status,
			const char *name)
{
	const Mha__Client__Member *member = member_of(status, name);
	const char *state = member != NULL ? member->state : "no member";

	if (line->json)
		printf("{\"node\": \"%s\", \"state\": \"%s\"}\n", name, state);
	else
		printf("%s: %s\n", name, state);
}

/* The status decides; -1: it is not over. `show`: print the end. */
static int look(const struct command_line *line, struct fetched *fetched,
		const struct wait_for *wait, bool show)
{
	const Mha__Client__Status *status;
	struct err why = {0};
	int end = -1;

	if (fetch_status(&line->from, fetched, &why) < 0)
		return -1;
	status = fetched->status;
	for (size_t i = 0; i < status->n_operations && wait->operation != 0; i++) {
		const Mha__Client__Operation *operation = status->operations[i];

		if (operation->id != wait->operation)
			continue;
		end = state_status(operation->state);
		if (end >= 0 && show)
			end = show_operation(line, operation, end);
	}
	if (wait->reinit != NULL) {
		end = reinit_end(status, wait->reinit);
		if (end >= 0 && show)
			show_member(line, status, wait->reinit);
	} else if (wait->operation == 0 && status->leader != NULL && status->leader->known &&
		   status->leader->epoch >= wait->epoch) {
		end = EXIT_DONE;
		if (show && line->json)
			printf("{\"epoch\": %" PRIu64 ", \"primary\": \"%s\"}\n",
			       status->leader->epoch, status->leader->name);
		else if (show)
			printf("%s serves as primary, epoch %" PRIu64 "\n", status->leader->name,
			       status->leader->epoch);
	}
	fetched_free(fetched);
	return end;
}

/* Print what passed; true when it may have been the end. */
static bool take_events(const struct command_line *line, const struct fetched *fetched,
			struct wait_for *wait)
{
	bool look_now = fetched->events->n_events == 0 || fetched->events->gap;

	for (size_t i = 0; i < fetched->events->n_events; i++) {
		const Mha__Client__Event *event = fetched->events->events[i];

		wait->since_index = event->index;
		wait->since_sub = event->sub;
		if (!line->json)
			print_progress(event, stdout);
		look_now = look_now || strncmp(event->name, "operation.", 10) == 0 ||
			   strcmp(event->name, "failover.opened") == 0 || wait->reinit != NULL ||
			   strcmp(event->name, "agent.rule") == 0;
	}
	return look_now;
}

/* It is over: what passed until then first, then how it ended. */
static int finish(const struct command_line *line, struct fetched *fetched, struct wait_for *wait)
{
	struct err why = {0};
	int end;

	if (fetch_events(&line->from, wait->since_index, wait->since_sub, 0, fetched, &why) == 0)
		(void)take_events(line, fetched, wait);
	fetched_free(fetched);
	end = look(line, fetched, wait, true);
	return end >= 0 ? end : EXIT_UNCERTAIN;
}

int wait_end(const struct command_line *line, struct fetched *fetched, struct wait_for *wait)
{
	const uint64_t deadline = now_ms() + line->wait_ms;
	struct err why = {0};
	bool look_now = false;

	fetched_free(fetched);
	for (;;) {
		uint64_t now = now_ms();
		uint64_t left = now < deadline ? deadline - now : 0;
		int rc;

		if (look_now && look(line, fetched, wait, false) >= 0)
			return finish(line, fetched, wait);
		if (left == 0)
			break;
		rc = fetch_events(&line->from, wait->since_index, wait->since_sub,
				  left < EVENT_WAIT_MS ? (unsigned)left : EVENT_WAIT_MS, fetched,
				  &why);
		if (rc < 0)
			return command_lost(rc, &why);
		fflush(stdout);
		look_now = take_events(line, fetched, wait);
		fetched_free(fetched);
	}
	fprintf(stderr,
		"mhactl: not over after %u ms; it goes on all the same. `mhactl status` shows how "
		"it stands\n",
		line->wait_ms);
	return EXIT_UNCERTAIN;
}
