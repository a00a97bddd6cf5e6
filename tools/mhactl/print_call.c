/* What became of a call, the phases of an operation, and why there is no primary. */
#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#include "mhactl/print.h"
#include "mhactl/table.h"
#include "view/format.h"

static void print_blocker(const Mha__Client__Blocker *blocker, FILE *to)
{
	fprintf(to, "  %s%s%s", blocker->node, blocker->node[0] ? ": " : "", blocker->text);
	if (blocker->detail[0] != '\0')
		fprintf(to, " (%s)", blocker->detail);
	fputc('\n', to);
	if (blocker->remedy[0] != '\0')
		fprintf(to, "      -> %s\n", blocker->remedy);
}

static void print_accepted(const Mha__Client__CallReply *reply, const char *verb, FILE *to)
{
	fprintf(to, "%s: on record", verb);
	if (reply->operation != 0)
		fprintf(to, " as operation %" PRIu64, reply->operation);
	if (reply->epoch != 0)
		fprintf(to, " as epoch %" PRIu64, reply->epoch);
	if (reply->node[0] != '\0')
		fprintf(to, ", %s", reply->node);
	fputc('\n', to);
}

void print_call_reply(const Mha__Client__CallReply *reply, const char *verb, bool colours, FILE *to)
{
	if (strcmp(reply->code, "accepted") == 0) {
		print_accepted(reply, verb, to);
	} else if (strcmp(reply->code, "possible") == 0) {
		fprintf(to, "%s: nothing stands against it%s%s\n", verb,
			reply->node[0] ? "; it would be " : "", reply->node);
	} else if (strcmp(reply->code, "refused") == 0) {
		fprintf(to, "%s: %srefused%s, nothing was changed:\n", verb,
			style_on(STYLE_BAD, colours), style_off(STYLE_BAD, colours));
	} else {
		fprintf(to,
			"%s: its end is not known, it may have been carried out; look with "
			"`mhactl status`, then ask again:\n",
			verb);
	}
	for (size_t i = 0; i < reply->n_blockers; i++)
		print_blocker(reply->blockers[i], to);
}

void print_operation_end(const Mha__Client__Operation *operation, FILE *to)
{
	char took[FORMAT_SIZE];

	fprintf(to, "%s %" PRIu64 " %s -> %s: %s after %s", operation->kind, operation->id,
		operation->from[0] ? operation->from : "nobody",
		operation->to[0] ? operation->to : "nobody", operation->state,
		format_duration(operation->age_ms, took));
	if (operation->reason_text[0] != '\0')
		fprintf(to, ": %s", operation->reason_text);
	fputc('\n', to);
}

static const char *field(json_t *fields, const char *name)
{
	const char *text = json_string_value(json_object_get(fields, name));

	return text != NULL ? text : "";
}

void print_progress(const Mha__Client__Event *event, FILE *to)
{
	json_t *fields = json_loads(event->json, 0, NULL);
	char when[FORMAT_SIZE];

	fprintf(to, "%s  %-20s", format_time(event->wall_ms, when), event->name);
	if (strcmp(event->name, "agent.rule") == 0)
		fprintf(to, " %s: %s", field(fields, "rule"), field(fields, "why"));
	else if (strncmp(event->name, "operation.", 10) == 0)
		fprintf(to, " %s -> %s %s", field(fields, "from"), field(fields, "to"),
			field(fields, "reason_text"));
	else if (strcmp(event->name, "failover.assigned") == 0)
		fprintf(to, " %s -> %s (%s)", field(fields, "from"), field(fields, "to"),
			field(fields, "cause"));
	else if (strcmp(event->name, "failover.opened") == 0)
		fprintf(to, " %s", field(fields, "primary"));
	fputc('\n', to);
	json_decref(fields);
}

/* The newest decision; those that a primary came of and those that were held. */
static const Mha__Client__Decision *last_decision(const Mha__Client__History *history)
{
	return history->n_decisions > 0 ? history->decisions[history->n_decisions - 1] : NULL;
}

static void print_sentences(const Mha__Client__Decision *decision, FILE *to)
{
	for (size_t i = 0; i < decision->n_sentences; i++)
		fprintf(to, "  %s\n", decision->sentences[i]);
}

static void print_nobody(const Mha__Client__Status *status, FILE *to)
{
	const Mha__Client__Leader *leader = status->leader;

	fprintf(to, "Nobody serves, as far as %s may say.\n", status->node);
	if (status->hold[0] != '\0')
		fprintf(to, "Nobody is promoted: %s.\nWhat you may do: %s.\n", status->hold_text,
			status->advice);
	else if (status->raft_leader[0] == '\0')
		fputs("No leader is heard: a majority of the members must be up and connected.\n"
		      "What you may do: start the agents that are down, or mend the network "
		      "between them.\n",
		      to);
	else
		fprintf(to, "%s leads the consensus; its phase is not blocked: %s%s%s.\n",
			status->raft_leader, status->phase, status->why[0] ? ", " : "",
			status->why);
	if (leader != NULL && leader->name[0] != '\0' && leader->why[0] != '\0')
		fprintf(to, "%s is on record as primary, but: %s.\n", leader->name, leader->why);
	for (size_t i = 0; i < status->n_members; i++) {
		const Mha__Client__Member *member = status->members[i];

		if (member->fault[0] != '\0')
			fprintf(to, "%s: %s: %s\n", member->name, member->fault,
				member->fault_advice);
	}
}

void print_why(const Mha__Client__Status *status, const Mha__Client__History *history, FILE *to)
{
	const Mha__Client__Decision *last = last_decision(history);

	if (status->leader != NULL && status->leader->known)
		fprintf(to, "%s serves as primary, epoch %" PRIu64 ".\n", status->leader->name,
			status->leader->epoch);
	else
		print_nobody(status, to);
	if (last == NULL) {
		fputs("No decision was ever made: no primary was assigned yet.\n", to);
		return;
	}
	fputs("The last decision:\n", to);
	print_sentences(last, to);
	/* A held decision explains why nobody serves; the one before, who served last. */
	for (size_t i = history->n_decisions; last->hold[0] != '\0' && i > 0; i--) {
		if (history->decisions[i - 1]->hold[0] != '\0')
			continue;
		fputs("The last promotion before it:\n", to);
		print_sentences(history->decisions[i - 1], to);
		break;
	}
}
