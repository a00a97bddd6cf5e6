/* The members table. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/macros.h"
#include "top/parts.h"
#include "top/render.h"
#include "view/format.h"

#define TREND_CELLS 8
#define RACE_MIN    8
#define RACE_MAX    60

/* Left edges of the members table; LSN and LAG end one before the next column. */
enum {
	AT_MEMBER = 0,
	AT_ROLE = 11,
	AT_STATE = 19,
	AT_TIMELINE = 35,
	AT_LSN = 38,
	AT_LAG = 52,
	AT_TREND = 60,
	AT_SYNC = 69,
	AT_AGE = 80,
	AT_RACE = 82, /* where the screen is wide enough */
};

struct table {
	const struct top_model *model;
	const Mha__Client__Frame *frame;
	struct lines *lines;
	unsigned race_cells; /* 0: no room */
	int64_t lag_most;
};

static enum line_style state_style(const Mha__Client__Member *member)
{
	static const char *const good[] = {"voting", "serving", "streaming"};

	if (!member->heard)
		return LINE_BAD;
	for (unsigned i = 0; i < COUNT_OF(good); i++) {
		if (strcmp(member->state, good[i]) == 0)
			return LINE_GOOD;
	}
	return member->job[0] != '\0' || strcmp(member->state, "starting") == 0 ? LINE_WARN
										: LINE_BAD;
}

/* The column that the rows are sorted by is marked. */
static const char *column(const struct top_model *model, const char *name, enum top_sort sort,
			  char text[FORMAT_SIZE])
{
	snprintf(text, FORMAT_SIZE, "%s%s", name,
		 model->sort != sort ? ""
		 : model->ascii      ? "v"
				     : "▾");
	return text;
}

static void render_columns(const struct table *table)
{
	const struct top_model *model = table->model;
	struct lines *lines = table->lines;
	char text[FORMAT_SIZE];

	if (!lines_new(lines))
		return;
	lines_put(lines, LINE_HEADER, "%s", column(model, "MEMBER", TOP_SORT_NAME, text));
	lines_to(lines, AT_ROLE);
	lines_put(lines, LINE_HEADER, "ROLE");
	lines_to(lines, AT_STATE);
	lines_put(lines, LINE_HEADER, "%s", column(model, "STATE", TOP_SORT_STATE, text));
	lines_put_right(lines, LINE_HEADER, AT_LSN - 1, "TL");
	lines_put_right(lines, LINE_HEADER, AT_LAG - 1, "LSN");
	lines_put_right(lines, LINE_HEADER, AT_TREND - 1, column(model, "LAG", TOP_SORT_LAG, text));
	lines_to(lines, AT_TREND);
	lines_put(lines, LINE_HEADER, "TREND");
	lines_to(lines, AT_SYNC);
	lines_put(lines, LINE_HEADER, "SYNC");
	lines_put_right(lines, LINE_HEADER, AT_AGE, column(model, "AGE", TOP_SORT_AGE, text));
	if (table->race_cells > 0) {
		lines_to(lines, AT_RACE);
		lines_put(lines, LINE_HEADER, "LSN RACE");
	}
}

static void put_state(const struct table *table, const Mha__Client__Member *member)
{
	int64_t eta_ms = top_job_eta_ms(table->model, table->frame, member);
	struct lines *lines = table->lines;
	char text[FORMAT_SIZE];

	lines_to(lines, AT_STATE);
	if (member->fault[0] != '\0')
		lines_put(lines, LINE_BAD, "%.15s", member->fault);
	else
		lines_put(lines, state_style(member), "%.15s",
			  member->maintenance ? "maintenance" : member->state);
	if (!member->heard || member->job[0] == '\0')
		return;
	if (member->job_total > 0)
		lines_put(lines, LINE_WARN, " %u%%",
			  (unsigned)(100.0 * (double)member->job_done / (double)member->job_total));
	if (eta_ms >= 0)
		lines_put(lines, LINE_WARN, " %s", format_duration(eta_ms, text));
}

static void put_age(const struct table *table, const Mha__Client__Member *member)
{
	char text[FORMAT_SIZE], cut[12];

	if (member->age_ms < 0)
		snprintf(cut, sizeof(cut), "never");
	else if (member->age_ms < 60000)
		snprintf(cut, sizeof(cut), "%.1fs", (double)member->age_ms / 1e3);
	else
		snprintf(cut, sizeof(cut), "%.11s", format_duration(member->age_ms, text));
	lines_put_right(table->lines, member->heard ? LINE_PLAIN : LINE_BAD, AT_AGE, cut);
}

static void put_positions(const struct table *table, const Mha__Client__Member *member)
{
	const struct top_track *track = top_track(table->model, member);
	const bool primary = strcmp(member->role, "primary") == 0;
	struct lines *lines = table->lines;
	char text[FORMAT_SIZE];

	snprintf(text, sizeof(text), "%" PRIu32, member->timeline);
	lines_put_right(lines, LINE_PLAIN, AT_LSN - 1, member->timeline ? text : "-");
	lines_put_right(lines, LINE_PLAIN, AT_LAG - 1, format_lsn(member->flushed, text));
	if (primary)
		return;
	lines_put_right(lines, LINE_PLAIN, AT_TREND - 1,
			member->lag_bytes < 0 ? "?" : format_bytes(member->lag_bytes, text));
	lines_to(lines, AT_TREND);
	if (track != NULL)
		put_spark(track->trend, track->trend_count, TREND_CELLS, table->model->ascii,
			  lines);
}

static void render_member(const struct table *table, const Mha__Client__Member *member,
			  bool selected)
{
	const bool self = strcmp(member->name, table->frame->status->node) == 0;
	const bool primary = strcmp(member->role, "primary") == 0;
	struct lines *lines = table->lines;

	if (!lines_new(lines))
		return;
	lines_put(lines, selected ? LINE_SELECTED : LINE_PLAIN, "%.9s%s", member->name,
		  self ? "*" : "");
	lines_to(lines, AT_ROLE);
	lines_put(lines, primary ? LINE_TITLE : LINE_PLAIN, "%.7s", member->role);
	put_state(table, member);
	if (strcmp(member->kind, "data") == 0 && member->age_ms >= 0)
		put_positions(table, member);
	lines_to(lines, AT_SYNC);
	lines_put(lines, LINE_PLAIN, "%.7s", member->rebuilding ? "rebuild" : member->sync);
	put_age(table, member);
	if (table->race_cells == 0 || member->flushed == 0 || (!primary && member->lag_bytes < 0))
		return;
	lines_to(lines, AT_RACE);
	put_race(primary ? 0 : member->lag_bytes, table->lag_most, table->race_cells,
		 table->model->ascii, lines);
}

/* What the table has no column for, about the chosen member. */
static void render_selected(const Mha__Client__Member *member, struct lines *lines)
{
	char text[FORMAT_SIZE];

	if (!lines_new(lines))
		return;
	lines_put(lines, LINE_DIM, "  %s: priority %u", member->name, member->priority);
	if (member->address[0] != '\0')
		lines_put(lines, LINE_DIM, ", %s:%u", member->address, member->postgres_port);
	if (member->replayed != 0 && strcmp(member->role, "primary") != 0)
		lines_put(lines, LINE_DIM, ", replayed %s", format_lsn(member->replayed, text));
	if (member->replay_lag_bytes >= 0)
		lines_put(lines, LINE_DIM, " (%s behind)",
			  format_bytes(member->replay_lag_bytes, text));
	if (member->job_total > 0 && member->job[0] != '\0')
		lines_put(lines, LINE_DIM, ", %s of",
			  format_bytes((int64_t)member->job_done, text));
	if (member->job_total > 0 && member->job[0] != '\0')
		lines_put(lines, LINE_DIM, " %s", format_bytes((int64_t)member->job_total, text));
	if (member->fault[0] != '\0')
		lines_put(lines, LINE_BAD, "; %s", member->fault_advice);
}

void render_members(const struct top_model *model, const Mha__Client__Frame *frame,
		    struct lines *lines)
{
	const Mha__Client__Member *rows[TOP_MEMBERS_MAX];
	unsigned count = top_order(model, frame->status, rows);
	struct table table = {.model = model, .frame = frame, .lines = lines};

	if (lines->width >= AT_RACE + RACE_MIN)
		table.race_cells =
			lines->width - AT_RACE < RACE_MAX ? lines->width - AT_RACE : RACE_MAX;
	for (unsigned i = 0; i < count; i++) {
		if (rows[i]->lag_bytes > table.lag_most)
			table.lag_most = rows[i]->lag_bytes;
	}
	render_columns(&table);
	if (count == 0)
		lines_add(lines, LINE_DIM, "no member is known yet");
	for (unsigned i = 0; i < count; i++)
		render_member(&table, rows[i], i == model->selected);
	if (model->selected < count)
		render_selected(rows[model->selected], lines);
}
