#include "mhactl/print.h"

#include <inttypes.h>
#include <string.h>

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

static void state_cell(struct table *table, unsigned column, const Mha__Client__Member *member)
{
	enum table_style style = state_style(member);

	if (member->job[0] != '\0' && member->job_total > 0)
		table_cell(
			table, column, style, "%s %u%%", member->job,
			(unsigned)(100.0 * (double)member->job_done / (double)member->job_total));
	else
		table_cell(table, column, style, "%s", member->state);
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
	if (status->mode[0] != '\0')
		fprintf(to, ", mode %s", status->mode);
	fprintf(to, "\nepoch:   %" PRIu64 ", timeline %u, term %" PRIu64 "\n", status->epoch,
		status->timeline, status->term);
	print_leader(status, colours, to);
	print_phase(status, to);
	if (status->n_waiting_for > 0) {
		fprintf(to, "missed:  %u of", status->waiting_count);
		print_names(status->waiting_for, status->n_waiting_for, to);
		fputs(": start their agents and databases\n", to);
	}
	print_record(status, to);
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
	fputc('\n', to);
	print_phases(decision, to);
	print_rule("  record:", decision->before, decision->n_before, decision->before_need, to);
	print_rule(" ->", decision->after, decision->n_after, decision->after_need, to);
	fputc('\n', to);
	for (size_t i = 0; i < decision->n_answers; i++) {
		const Mha__Client__Decision__Answer *answer = decision->answers[i];

		fprintf(to, "  %-12s %-9s TL %-4u flushed %-12s usable %s%s\n", answer->node,
			answer->db, answer->timeline, format_lsn(answer->flushed, lsn),
			format_lsn(answer->usable, usable),
			strcmp(answer->node, decision->to) == 0 ? "  chosen" : "");
	}
}

void print_history(const Mha__Client__History *history, bool colours, FILE *to)
{
	if (history->n_decisions == 0)
		fputs("no primary was ever assigned\n", to);
	for (size_t i = 0; i < history->n_decisions; i++)
		print_decision(history->decisions[i], colours, to);
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
