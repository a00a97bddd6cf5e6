#include "mhactl/print.h"

#include <inttypes.h>
#include <string.h>

#include "base/macros.h"
#include "mhactl/table.h"
#include "view/format.h"

static bool is_primary(const Mha__Client__Member *member)
{
	return strcmp(member->role, "primary") == 0;
}

static enum table_style state_style(const Mha__Client__Member *member)
{
	if (strcmp(member->state, "serving") == 0 || strcmp(member->state, "streaming") == 0 ||
	    strcmp(member->state, "voting") == 0)
		return STYLE_GOOD;
	if (member->job[0] != '\0' || strcmp(member->state, "starting") == 0)
		return STYLE_STRONG;
	return STYLE_BAD;
}

/* Nothing of an ordinary member; a node of the configuration may be none yet, or none any more. */
static const char *membership_note(const Mha__Client__Member *member)
{
	if (strcmp(member->membership, "joining") == 0)
		return ", joining";
	if (strcmp(member->membership, "leaving") == 0)
		return ", leaving";
	return strcmp(member->membership, "none") == 0 ? ", no member" : "";
}

static void state_cell(struct table *table, unsigned column, const Mha__Client__Member *member)
{
	enum table_style style = state_style(member);

	if (member->job[0] != '\0' && member->job_total > 0)
		table_cell(
			table, column, style, "%s %u%%", member->job,
			(unsigned)(100.0 * (double)member->job_done / (double)member->job_total));
	else
		table_cell(table, column, member->fault[0] != '\0' ? STYLE_BAD : style,
			   "%s%s%s%s%s", member->state, member->fault[0] ? ": " : "", member->fault,
			   member->maintenance ? ", maintenance" : "", membership_note(member));
}

enum { MEMBER, HOST, ROLE, STATE, TIMELINE, LSN, LAG, SYNC, PRIORITY, COLUMNS };

static void member_row(struct table *table, const Mha__Client__Member *member)
{
	char text[FORMAT_SIZE], bytes[FORMAT_SIZE];
	bool data = strcmp(member->kind, "data") == 0;

	if (!table_row(table))
		return;
	table_cell(table, MEMBER, STYLE_PLAIN, "%s", member->name);
	if (member->address[0] == '\0')
		table_cell(table, HOST, STYLE_PLAIN, "-");
	else if (data && member->postgres_port != 0)
		table_cell(table, HOST, STYLE_PLAIN, "%s:%u", member->address,
			   member->postgres_port);
	else
		table_cell(table, HOST, STYLE_PLAIN, "%s", member->address);
	table_cell(table, ROLE, is_primary(member) ? STYLE_STRONG : STYLE_PLAIN, "%s",
		   member->role);
	state_cell(table, STATE, member);
	if (!data)
		return;
	if (member->timeline != 0)
		table_cell(table, TIMELINE, STYLE_PLAIN, "%u", member->timeline);
	table_cell(table, LSN, STYLE_PLAIN, "%s", format_lsn(member->flushed, text));
	if (!is_primary(member))
		table_cell(table, LAG, STYLE_PLAIN, "%s", format_bytes(member->lag_bytes, bytes));
	table_cell(table, SYNC, STYLE_PLAIN, "%s", member->sync);
	table_cell(table, PRIORITY, STYLE_PLAIN, "%u", member->priority);
}

void print_list(const Mha__Client__Status *status, bool colours, FILE *to)
{
	static const struct table_column columns[COLUMNS] = {
		[MEMBER] = {"Member", false}, [HOST] = {"Host", false},
		[ROLE] = {"Role", false},     [STATE] = {"State", false},
		[TIMELINE] = {"TL", true},    [LSN] = {"LSN", true},
		[LAG] = {"Lag", true},        [SYNC] = {"Sync", false},
		[PRIORITY] = {"Prio", true},
	};
	struct table table;
	char title[160];

	table_init(&table, columns, COLUMNS);
	for (size_t i = 0; i < status->n_members; i++)
		member_row(&table, status->members[i]);
	snprintf(title, sizeof(title), "Cluster: %s (%" PRIu64 ")", status->cluster,
		 status->system_id);
	table_print(&table, title, colours, to);
}

/* What the operators decided, as far as it differs from what one would expect. */
static void print_settings(const Mha__Client__Status *status, FILE *to)
{
	const Mha__Client__Settings *settings = status->settings;
	char when[FORMAT_SIZE];

	if (settings == NULL)
		return;
	fprintf(to, "mode:    %s%s", settings->mode, settings->pinned ? " (pinned)" : "");
	if (settings->sync_need > 0)
		fprintf(to, ", %u standby(s) wanted for each commit", settings->sync_need);
	fprintf(to, "; failover: %s%s\n", status->ha,
		settings->auto_primary_switch ? ", back to a better node by itself" : "");
	if (settings->paused && settings->pause_until_ms != 0)
		fprintf(to, "paused:  until %s\n", format_time(settings->pause_until_ms, when));
	else if (settings->paused)
		fputs("paused:  until `mhactl resume`\n", to);
}

static void print_degraded(const Mha__Client__Status *status, bool colours, FILE *to)
{
	char lsn[FORMAT_SIZE], when[FORMAT_SIZE];

	if (!status->degraded)
		return;
	fprintf(to, "%sdegraded:%s each commit is on %u standby(s)", style_on(STYLE_BAD, colours),
		style_off(STYLE_BAD, colours), status->sync_need);
	if (status->settings != NULL)
		fprintf(to, ", %u wanted", status->settings->sync_need);
	if (status->degraded_lsn != 0)
		fprintf(to, "; since %s", format_lsn(status->degraded_lsn, lsn));
	if (status->degraded_ms != 0)
		fprintf(to, ", %s", format_time(status->degraded_ms, when));
	fputc('\n', to);
}

/* The one that goes on, or else the one that ended last. */
static void print_operation(const Mha__Client__Status *status, FILE *to)
{
	const Mha__Client__Operation *last;
	char span[FORMAT_SIZE], when[FORMAT_SIZE];

	if (status->n_operations == 0)
		return;
	last = status->operations[status->n_operations - 1];
	fprintf(to, "%s %" PRIu64 ": %s -> %s, %s", last->kind, last->id,
		last->from[0] ? last->from : "nobody", last->to[0] ? last->to : "nobody",
		last->state);
	if (last->phase[0] != '\0')
		fprintf(to, " (%s)", last->phase);
	if (last->ended_ms != 0)
		fprintf(to, " at %s", format_time(last->ended_ms, when));
	else if (strcmp(last->state, "scheduled") == 0)
		fprintf(to, " for %s", format_time(last->start_ms, when));
	else
		fprintf(to, " for %s", format_duration(last->age_ms, span));
	if (last->reason_text[0] != '\0')
		fprintf(to, ": %s", last->reason_text);
	fputc('\n', to);
}

static void print_leader(const Mha__Client__Status *status, bool colours, FILE *to)
{
	const Mha__Client__Leader *leader = status->leader;

	if (leader == NULL)
		return;
	if (!leader->known) {
		fprintf(to, "primary: %snobody serves, as far as %s may say%s",
			style_on(STYLE_BAD, colours), status->node, style_off(STYLE_BAD, colours));
		if (leader->name[0] != '\0')
			fprintf(to, "; on record is %s", leader->name);
		fprintf(to, " (%s)\n", leader->why);
		return;
	}
	fprintf(to, "primary: %s%s%s", style_on(STYLE_STRONG, colours), leader->name,
		style_off(STYLE_STRONG, colours));
	if (leader->address[0] != '\0')
		fprintf(to, " at %s:%u", leader->address, leader->postgres_port);
	if (leader->vip[0] != '\0')
		fprintf(to, ", VIP %s", leader->vip);
	if (leader->lease_ms >= 0)
		fprintf(to, ", lease %" PRId64 " ms", leader->lease_ms);
	else
		fprintf(to, ", as it said %" PRId64 " ms ago", leader->age_ms);
	fputc('\n', to);
}

static void print_names(char *const *names, size_t count, FILE *to)
{
	for (size_t i = 0; i < count; i++)
		fprintf(to, " %s", names[i]);
}

static void print_record(const Mha__Client__Status *status, FILE *to)
{
	bool any = false;

	fprintf(to, "record:  ");
	for (size_t i = 0; i < status->n_members; i++)
		any = any || status->members[i]->in_record;
	if (status->sync_need == 0) {
		fprintf(to, "nothing is promised");
	} else if (!any) {
		fprintf(to, "commits wait for %u standby(s); none counts yet", status->sync_need);
	} else {
		fprintf(to, "a commit is on the primary and on %u of", status->sync_need);
		for (size_t i = 0; i < status->n_members; i++) {
			if (status->members[i]->in_record)
				fprintf(to, " %s", status->members[i]->name);
		}
	}
	fprintf(to, "%s\n", status->settled ? "" : " (not settled yet)");
}

/* What a node that leads is doing; of another one, whom it follows. */
static void print_phase(const Mha__Client__Status *status, FILE *to)
{
	if (status->raft_leader[0] != '\0' && strcmp(status->raft_leader, status->node) != 0)
		fprintf(to, "phase:   following %s, which leads the consensus\n",
			status->raft_leader);
	else if (status->raft_leader[0] == '\0')
		fprintf(to, "phase:   nobody is known to lead the consensus\n");
	else
		fprintf(to, "phase:   %s%s%s\n", status->phase, status->why[0] ? ": " : "",
			status->why);
}

void print_status(const Mha__Client__Status *status, bool colours, FILE *to)
{
	fprintf(to, "cluster: %s, node %s", status->cluster[0] ? status->cluster : "unknown",
		status->node[0] ? status->node : "unknown");
	fprintf(to, "\nepoch:   %" PRIu64 ", timeline %u, term %" PRIu64 "\n", status->epoch,
		status->timeline, status->term);
	print_leader(status, colours, to);
	print_phase(status, to);
	if (status->hold[0] != '\0')
		fprintf(to, "%sheld:%s    %s\nto do:   %s\n", style_on(STYLE_BAD, colours),
			style_off(STYLE_BAD, colours), status->hold_text, status->advice);
	else if (status->n_waiting_for > 0) {
		fprintf(to, "missed:  %u of", status->waiting_count);
		print_names(status->waiting_for, status->n_waiting_for, to);
		fputs(": start their agents and databases\n", to);
	}
	print_record(status, to);
	print_degraded(status, colours, to);
	print_settings(status, to);
	print_operation(status, to);
	if (status->failure[0] != '\0')
		fprintf(to, "%sfailure:%s %s\n", style_on(STYLE_BAD, colours),
			style_off(STYLE_BAD, colours), status->failure);
	print_list(status, colours, to);
}

static void print_rule(const char *label, char *const *names, size_t count, unsigned need, FILE *to)
{
	if (need == 0) {
		fprintf(to, "%s nothing promised", label);
		return;
	}
	if (count == 0) {
		fprintf(to, "%s %u of nobody yet", label, need);
		return;
	}
	fprintf(to, "%s %u of {", label, need);
	for (size_t i = 0; i < count; i++)
		fprintf(to, "%s%s", i > 0 ? ", " : "", names[i]);
	fputc('}', to);
}

static void print_phases(const Mha__Client__Decision *decision, FILE *to)
{
	uint64_t total_us = (uint64_t)decision->detect_us + decision->survey_us + decision->open_us;

	fprintf(to, "  detect %.1f ms, survey %.1f ms, ", decision->detect_us / 1e3,
		decision->survey_us / 1e3);
	if (decision->open_us == 0)
		fprintf(to, "not open yet\n");
	else
		fprintf(to, "open %.1f ms, together %.1f ms\n", decision->open_us / 1e3,
			(double)total_us / 1e3);
}

static void print_decision(const Mha__Client__Decision *decision, bool colours, FILE *to)
{
	char when[FORMAT_SIZE], lsn[FORMAT_SIZE], usable[FORMAT_SIZE];

	fprintf(to, "%sepoch %" PRIu64 "%s  %s  %s  %s -> %s", style_on(STYLE_STRONG, colours),
		decision->epoch, style_off(STYLE_STRONG, colours),
		format_time(decision->at_ms, when), decision->cause,
		decision->from[0] ? decision->from : "nobody",
		decision->to[0] ? decision->to : "nobody");
	if (decision->timeline != 0 && decision->timeline == decision->parent)
		fprintf(to, "  timeline %u goes on", decision->timeline);
	else if (decision->timeline != 0)
		fprintf(to, "  timeline %u, off %u at %s", decision->timeline, decision->parent,
			format_lsn(decision->fork, lsn));
	if (decision->hold[0] != '\0')
		fprintf(to, "  held: %s", decision->hold);
	if (decision->fault[0] != '\0')
		fprintf(to, "  fault %s", decision->fault);
	fputc('\n', to);
	if (decision->hold[0] == '\0')
		print_phases(decision, to);
	if (decision->n_missing > 0) {
		fprintf(to, "  missed: %u of", decision->missing_count);
		print_names(decision->missing, decision->n_missing, to);
		fputc('\n', to);
	}
	if (!decision->at_risk_known || decision->at_risk > 0)
		fprintf(to, "  at risk: %s%s\n",
			decision->at_risk_known ? format_bytes((int64_t)decision->at_risk, usable)
						: "not known",
			decision->loss_accepted ? ", accepted by an operator" : "");
	print_rule("  record:", decision->before, decision->n_before, decision->before_need, to);
	print_rule(" ->", decision->after, decision->n_after, decision->after_need, to);
	fputc('\n', to);
	for (size_t i = 0; i < decision->n_answers; i++) {
		const Mha__Client__Decision__Answer *answer = decision->answers[i];

		fprintf(to, "  %-12s %-9s TL %-4u flushed %-12s usable %s%s%s%s%s%s\n",
			answer->node, answer->db, answer->timeline,
			format_lsn(answer->flushed, lsn), format_lsn(answer->usable, usable),
			answer->fault[0] ? "  fault " : "", answer->fault,
			answer->excluded ? "  excluded" : "", answer->diverged ? "  diverged" : "",
			strcmp(answer->node, decision->to) == 0 && decision->hold[0] == '\0'
				? "  chosen"
				: "");
	}
}

static void print_operations(const Mha__Client__History *history, bool colours, FILE *to)
{
	static const struct table_column columns[] = {
		{"Id", true},     {"Kind", false},  {"From", false}, {"To", false},
		{"State", false}, {"Asked", false}, {"Took", true},  {"Reason", false},
	};
	char when[FORMAT_SIZE], span[FORMAT_SIZE];
	struct table table;

	table_init(&table, columns, COUNT_OF(columns));
	for (size_t i = 0; i < history->n_operations; i++) {
		const Mha__Client__Operation *row = history->operations[i];
		const bool done = strcmp(row->state, "done") == 0;

		if (!table_row(&table))
			break;
		table_cell(&table, 0, STYLE_PLAIN, "%" PRIu64, row->id);
		table_cell(&table, 1, STYLE_PLAIN, "%s%s", row->kind,
			   row->automatic ? " (automatic)" : "");
		table_cell(&table, 2, STYLE_PLAIN, "%s", row->from);
		table_cell(&table, 3, STYLE_PLAIN, "%s", row->to);
		table_cell(&table, 4, done ? STYLE_GOOD : STYLE_STRONG, "%s", row->state);
		table_cell(&table, 5, STYLE_PLAIN, "%s", format_time(row->asked_ms, when));
		table_cell(&table, 6, STYLE_PLAIN, "%s", format_duration(row->age_ms, span));
		table_cell(&table, 7, STYLE_PLAIN, "%s", row->reason);
	}
	table_print(&table, "Operations", colours, to);
}

void print_history(const Mha__Client__History *history, bool colours, FILE *to)
{
	if (history->n_decisions == 0)
		fputs("no primary was ever assigned\n", to);
	for (size_t i = 0; i < history->n_decisions; i++)
		print_decision(history->decisions[i], colours, to);
	if (history->n_operations > 0)
		print_operations(history, colours, to);
}

void print_events(const Mha__Client__Events *events, FILE *to)
{
	char when[FORMAT_SIZE];

	if (events->gap)
		fputs("(earlier events are not kept here any more)\n", to);
	for (size_t i = 0; i < events->n_events; i++) {
		const Mha__Client__Event *event = events->events[i];

		fprintf(to, "%" PRIu64 ".%u  %s  %s  %s\n", event->index, event->sub,
			format_time(event->wall_ms, when), event->name, event->json);
	}
}
