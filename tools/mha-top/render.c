#include "top/render.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/macros.h"
#include "view/format.h"

#define AGENT_SILENT_MS 5000 /* its consensus worker writes far more often */
#define LEASE_CELLS     24
#define TREND_CELLS     8
#define WATERFALL_CELLS 20
#define FAILOVERS_MAX   4
#define WORKER_CELLS    26

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
};

static enum line_style state_style(const struct view_member *member)
{
	if (!member->known || !member->fresh)
		return LINE_BAD;
	if (member->kind == NODE_WITNESS || member->serving || member->streaming)
		return LINE_GOOD;
	if (member->job != JOB_NONE || member->db == DB_STARTING)
		return LINE_WARN;
	return LINE_BAD;
}

static void render_title(const struct view *view, struct lines *lines)
{
	const struct view_member *self = view_self(view);
	char when[FORMAT_SIZE], text[FORMAT_SIZE];

	if (!lines_new(lines))
		return;
	lines_put(lines, LINE_TITLE, "mha4rdb %s", view->cluster[0] ? view->cluster : "?");
	lines_put(lines, LINE_PLAIN, "  node ");
	lines_put(lines, LINE_TITLE, "%s", view->node[0] ? view->node : "?");
	if (self != NULL)
		lines_put(lines, LINE_PLAIN, " (%s)", view_role(self));
	if (view->mode[0] != '\0')
		lines_put(lines, LINE_PLAIN, "  %s", view->mode);
	snprintf(text, sizeof(text), "%.19s UTC", format_time(view->from->wall_ms, when));
	lines_put_right(lines, LINE_DIM, lines->width, text);
}

static void render_phase(const struct view *view, struct lines *lines)
{
	const struct cluster *cluster = &view->from->consensus.cluster;
	bool blocked = view->from->consensus.phase == PHASE_BLOCKED;
	char text[FORMAT_SIZE];

	if (!lines_new(lines))
		return;
	if (!view->agent_known) {
		lines_put(lines, LINE_BAD, "the consensus worker of this node has not reported");
		return;
	}
	if (view->age_ms > AGENT_SILENT_MS)
		lines_put(lines, LINE_BAD, "agent silent for %s!  ",
			  format_duration(view->age_ms, text));
	lines_put(lines, LINE_PLAIN, "epoch %" PRIu64 "  term %" PRIu64 "  timeline %" PRIu32 "  ",
		  view->epoch, view->term, cluster->timeline);
	if (view->from->consensus.failed)
		lines_put(lines, LINE_BAD, "consensus failed: %.120s",
			  view->from->consensus.failure);
	else
		lines_put(lines, blocked ? LINE_BAD : LINE_PLAIN, "%s%s%s", view->phase,
			  view->why[0] ? ": " : "", view->why);
	if (!blocked)
		return;
	lines_put(lines, LINE_BAD, "; %u missed of", view->from->consensus.waiting_count);
	for (node_id id = 1; id <= NODES_MAX; id++) {
		if (node_in(view->from->consensus.waiting_for, id))
			lines_put(lines, LINE_BAD, " %s", view_name(view, id));
	}
}

static void render_lease(const struct top_model *model, const struct view *view,
			 struct lines *lines)
{
	unsigned full = 0;

	if (!lines_new(lines))
		return;
	if (model->lease_full_ms > 0 && view->lease_held)
		full = (unsigned)((uint64_t)view->lease_ms * LEASE_CELLS / model->lease_full_ms);
	lines_put(lines, LINE_PLAIN, "lease [");
	for (unsigned i = 0; i < LEASE_CELLS; i++)
		lines_put(lines, i < full ? LINE_GOOD : LINE_DIM, "%s",
			  i >= full      ? "."
			  : model->ascii ? "#"
					 : "█");
	lines_put(lines, LINE_PLAIN, "] ");
	if (view->lease_held)
		lines_put(lines, LINE_GOOD, "%4" PRId64 " ms", view->lease_ms);
	else
		lines_put(lines, LINE_DIM, "none here");
	lines_put(lines, LINE_PLAIN, "  fence %s", view_fence_name(view));
	if (view->fence_known)
		lines_put(lines, LINE_PLAIN, "  VIP %s",
			  view->from->vip.vip_held ? "here" : "not here");
	if (view->server != NULL)
		lines_put(lines, LINE_GOOD, "  %s serves", view->server->name);
	else
		lines_put(lines, LINE_BAD, "  nobody serves");
}

static void render_record(const struct view *view, struct lines *lines)
{
	const struct cluster *cluster = &view->from->consensus.cluster;

	if (!view->agent_known || !lines_new(lines))
		return;
	lines_put(lines, LINE_PLAIN, "record ");
	if (cluster->record.need == 0) {
		lines_put(lines, LINE_DIM, "promises nothing");
	} else {
		lines_put(lines, LINE_PLAIN, "a commit is on %u of", cluster->record.need);
		for (node_id id = 1; id <= NODES_MAX; id++) {
			if (node_in(cluster->record.members, id))
				lines_put(lines, LINE_PLAIN, " %s", view_name(view, id));
		}
		if (cluster->record.members == 0)
			lines_put(lines, LINE_WARN, " nobody yet: commits wait");
	}
	lines_put(lines, cluster->settled ? LINE_PLAIN : LINE_WARN, "  %s",
		  cluster->settled ? "settled" : "not settled");
	if (view->raft_leader == NODE_NONE)
		lines_put(lines, LINE_BAD, "  nobody leads the consensus");
	else
		lines_put(lines, LINE_DIM, "  consensus led by %s",
			  view_name(view, view->raft_leader));
}

/* What operators decided or have to decide; nothing where all is as usual. */
static void render_operators(const struct view *view, struct lines *lines)
{
	const struct operation *operation = view->operation;
	bool paused = view->settings != NULL && view->settings->paused;
	bool manual = view->settings != NULL && !view->settings->auto_failover;

	if (!paused && !manual && !view->degraded && operation == NULL && view->hold == HOLD_NONE)
		return;
	if (!lines_new(lines))
		return;
	if (paused)
		lines_put(lines, LINE_WARN, "paused  ");
	if (manual)
		lines_put(lines, LINE_WARN, "auto_failover off  ");
	if (view->degraded)
		lines_put(lines, LINE_BAD, "degraded: %u of %u standbys  ",
			  view->from->consensus.cluster.record.need, view_sync_need(view));
	if (operation != NULL)
		lines_put(lines, LINE_WARN, "%s %s>%s %s  ", operation_kind_name(operation->kind),
			  view_name(view, operation->from), view_name(view, operation->to),
			  operation_state_name(operation->state));
	if (view->hold != HOLD_NONE)
		lines_put(lines, LINE_BAD, "held: %.120s", view->hold_text);
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

static void render_columns(const struct top_model *model, struct lines *lines)
{
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
	lines_put_right(lines, LINE_HEADER, AT_AGE, "AGE");
}

static void put_trend(const struct top_model *model, const struct view_member *member,
		      struct lines *lines)
{
	static const char *const blocks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
	static const char *const letters[] = {"_", ".", "-", "=", "+", "*", "%", "#"};
	const struct top_track *track = &model->tracks[member->id];
	unsigned first = track->trend_count > TREND_CELLS ? track->trend_count - TREND_CELLS : 0;
	int64_t most = 0;

	for (unsigned i = first; i < track->trend_count; i++) {
		if (track->trend[i] > most)
			most = track->trend[i];
	}
	for (unsigned i = first; i < track->trend_count; i++) {
		int64_t lag = track->trend[i];
		unsigned level =
			most > 0 && lag > 0 ? (unsigned)((double)lag * 7 / (double)most) : 0;

		lines_put(lines, LINE_PLAIN, "%s",
			  lag < 0        ? " "
			  : model->ascii ? letters[level]
					 : blocks[level]);
	}
}

static void put_state(const struct top_model *model, const struct view *view,
		      const struct view_member *member, struct lines *lines)
{
	int64_t eta_ms = top_job_eta_ms(model, view, member);
	char text[FORMAT_SIZE];

	lines_to(lines, AT_STATE);
	if (member->fault != FAULT_NONE)
		lines_put(lines, LINE_BAD, "%.15s", db_fault_name(member->fault));
	else
		lines_put(lines, state_style(member), "%s",
			  member->maintenance ? "maintenance" : member->state);
	if (!member->fresh || member->job == JOB_NONE)
		return;
	if (member->job_total > 0)
		lines_put(lines, LINE_WARN, " %u%%",
			  (unsigned)(100.0 * (double)member->job_done / (double)member->job_total));
	if (eta_ms >= 0)
		lines_put(lines, LINE_WARN, " %s", format_duration(eta_ms, text));
}

static void put_age(const struct view_member *member, struct lines *lines)
{
	char text[FORMAT_SIZE], cut[12];

	if (member->age_ms < 0)
		snprintf(cut, sizeof(cut), "never");
	else if (member->age_ms < 60000)
		snprintf(cut, sizeof(cut), "%.1fs", (double)member->age_ms / 1e3);
	else
		snprintf(cut, sizeof(cut), "%.11s", format_duration(member->age_ms, text));
	lines_put_right(lines, member->fresh ? LINE_PLAIN : LINE_BAD, AT_AGE, cut);
}

static void render_member(const struct top_model *model, const struct view *view,
			  const struct view_member *member, bool selected, struct lines *lines)
{
	char text[FORMAT_SIZE];

	if (!lines_new(lines))
		return;
	lines_put(lines, selected ? LINE_SELECTED : LINE_PLAIN, "%.9s%s", member->name,
		  member->self ? "*" : "");
	lines_to(lines, AT_ROLE);
	lines_put(lines, member->primary ? LINE_TITLE : LINE_PLAIN, "%s", view_role(member));
	put_state(model, view, member, lines);
	if (member->kind == NODE_DATA && member->known) {
		snprintf(text, sizeof(text), "%" PRIu32, member->timeline);
		lines_put_right(lines, LINE_PLAIN, AT_LSN - 1, member->timeline ? text : "-");
		lines_put_right(lines, LINE_PLAIN, AT_LAG - 1, format_lsn(member->flushed, text));
		if (!member->primary)
			lines_put_right(lines, LINE_PLAIN, AT_TREND - 1,
					member->lag_bytes < 0
						? "?"
						: format_bytes(member->lag_bytes, text));
		lines_to(lines, AT_TREND);
		if (!member->primary)
			put_trend(model, member, lines);
	}
	lines_to(lines, AT_SYNC);
	lines_put(lines, LINE_PLAIN, "%s",
		  member->rebuilding ? "rebuild" : view_sync(view, member));
	put_age(member, lines);
}

/* What the table has no column for, about the chosen member. */
static void render_selected(const struct view *view, const struct view_member *member,
			    struct lines *lines)
{
	char text[FORMAT_SIZE];

	if (!lines_new(lines))
		return;
	lines_put(lines, LINE_DIM, "  %s: priority %u", member->name, (unsigned)member->priority);
	if (member->address[0] != '\0')
		lines_put(lines, LINE_DIM, ", %s:%u", member->address,
			  (unsigned)member->postgres_port);
	if (member->upstream != NODE_NONE)
		lines_put(lines, LINE_DIM, ", streams from %s", view_name(view, member->upstream));
	if (member->replayed != 0 && !member->primary)
		lines_put(lines, LINE_DIM, ", replayed %s", format_lsn(member->replayed, text));
	if (member->replay_lag_bytes >= 0)
		lines_put(lines, LINE_DIM, " (%s behind)",
			  format_bytes(member->replay_lag_bytes, text));
	if (member->job_total > 0 && member->job != JOB_NONE)
		lines_put(lines, LINE_DIM, ", %s of",
			  format_bytes((int64_t)member->job_done, text));
	if (member->job_total > 0 && member->job != JOB_NONE)
		lines_put(lines, LINE_DIM, " %s", format_bytes((int64_t)member->job_total, text));
}

static void render_members(const struct top_model *model, const struct view *view,
			   struct lines *lines)
{
	const struct view_member *rows[NODES_MAX];
	unsigned count = top_order(model, view, rows);

	render_columns(model, lines);
	if (count == 0)
		lines_add(lines, LINE_DIM, "no member is known yet");
	for (unsigned i = 0; i < count; i++)
		render_member(model, view, rows[i], i == model->selected, lines);
	if (model->selected < count)
		render_selected(view, rows[model->selected], lines);
}

static void render_workers(const struct view *view, struct lines *lines)
{
	const struct status_master *master = &view->from->master;
	unsigned per_line = lines->width / WORKER_CELLS;
	char text[FORMAT_SIZE];

	if (per_line == 0)
		per_line = 1;
	if (!view->from->has[STATUS_MASTER]) {
		lines_add(lines, LINE_BAD, "WORKERS  the master has left no section");
		return;
	}
	lines_add(lines, LINE_HEADER, "WORKERS  pid, uptime, restarts");
	for (unsigned i = 0; i < master->worker_count && i < STATUS_WORKERS; i++) {
		const struct status_worker *worker = &master->workers[i];
		int64_t up_ms = worker->started_ns < view->now_ns
					? (int64_t)((view->now_ns - worker->started_ns) / 1000000)
					: 0;

		if (i % per_line == 0)
			(void)lines_new(lines);
		lines_to(lines, i % per_line * WORKER_CELLS);
		lines_put(lines,
			  worker->pid == 0 ? LINE_BAD
			  : worker->ready  ? LINE_GOOD
					   : LINE_WARN,
			  "%.9s ", worker->name);
		if (worker->pid == 0)
			lines_put(lines, LINE_BAD, "down");
		else
			lines_put(lines, LINE_PLAIN, "%" PRId32 " %s", worker->pid,
				  format_duration(up_ms, text));
		if (worker->restarts > 0)
			lines_put(lines, LINE_WARN, " r%" PRIu32, worker->restarts);
	}
}

/* detect, survey and open, drawn to one scale. */
static void put_waterfall(const struct top_model *model, const struct decision *decision,
			  struct lines *lines)
{
	static const struct {
		const char *block, *letter;
		enum line_style style;
	} parts[] = {{"█", "d", LINE_BAD}, {"▓", "s", LINE_WARN}, {"▒", "o", LINE_GOOD}};
	const uint64_t us[] = {decision->detect_us, decision->survey_us, decision->open_us};
	uint64_t total = us[0] + us[1] + us[2], before = 0;
	unsigned drawn = 0;

	for (unsigned part = 0; part < COUNT_OF(parts) && total > 0; part++) {
		unsigned end;

		before += us[part];
		end = (unsigned)(before * WATERFALL_CELLS / total);
		for (; drawn < end; drawn++)
			lines_put(lines, parts[part].style, "%s",
				  model->ascii ? parts[part].letter : parts[part].block);
	}
}

static void render_failover(const struct top_model *model, const struct view *view,
			    const struct decision *decision, struct lines *lines)
{
	double detect = decision->detect_us / 1e3, survey = decision->survey_us / 1e3;
	double open = decision->open_us / 1e3;

	if (!lines_new(lines))
		return;
	lines_put(lines, LINE_PLAIN, "e%-4" PRIu64 "%-14s%s>%s", decision->epoch,
		  assign_cause_name(decision->cause < CAUSE_COUNT ? decision->cause : CAUSE_NONE),
		  view_name(view, decision->from), view_name(view, decision->to));
	lines_to(lines, 30);
	if (decision->hold != HOLD_NONE) {
		lines_put(lines, LINE_BAD, "held: %s", hold_reason_name(decision->hold));
		return;
	}
	if (decision->open_us == 0)
		lines_put(lines, LINE_WARN, "%.0f + %.0f ms, not open  ", detect, survey);
	else
		lines_put(lines, LINE_PLAIN, "%.0f + %.0f + %.0f = %.0f ms", detect, survey, open,
			  detect + survey + open);
	lines_to(lines, 58);
	put_waterfall(model, decision, lines);
}

static unsigned decisions_of(const struct view *view)
{
	unsigned count = view->from->consensus.cluster.decision_count;

	return count < DECISIONS_MAX ? count : DECISIONS_MAX;
}

static void render_failovers(const struct top_model *model, const struct view *view, unsigned shown,
			     struct lines *lines)
{
	const struct cluster *cluster = &view->from->consensus.cluster;
	unsigned count = decisions_of(view);

	if (count == 0 || !lines_new(lines))
		return;
	lines_put(lines, LINE_HEADER, "FAILOVERS");
	lines_to(lines, 30);
	lines_put(lines, LINE_HEADER, "detect + survey + open");
	for (unsigned i = 0; i < count && i < shown; i++)
		render_failover(model, view, &cluster->decisions[count - 1 - i], lines);
}

/* A decision of the log as one sentence, for the tail of events. */
static void decision_note(const struct view *view, const struct decision *decision,
			  struct top_note *out)
{
	out->wall_ms = decision->at_ms;
	if (decision->hold != HOLD_NONE) {
		snprintf(out->text, sizeof(out->text), "nobody promoted: %s",
			 hold_reason_name(decision->hold));
		return;
	}
	snprintf(out->text, sizeof(out->text), "epoch %" PRIu64 ": %s assigned, because %s%s%s",
		 decision->epoch, view_name(view, decision->to),
		 assign_cause_name(decision->cause < CAUSE_COUNT ? decision->cause : CAUSE_NONE),
		 decision->from != NODE_NONE ? " of " : "",
		 decision->from != NODE_NONE ? view_name(view, decision->from) : "");
}

/* Decisions and what was seen since the start of mha-top, by time; the newest come last. */
static void render_notes(const struct top_model *model, const struct view *view,
			 struct lines *lines)
{
	const struct cluster *cluster = &view->from->consensus.cluster;
	struct top_note all[DECISIONS_MAX + TOP_NOTES_MAX];
	unsigned count = 0, room;
	char when[FORMAT_SIZE];

	for (unsigned i = 0; i < decisions_of(view); i++)
		decision_note(view, &cluster->decisions[i], &all[count++]);
	for (unsigned i = 0; i < model->note_count; i++) {
		unsigned at = count++;

		for (; at > 0 && all[at - 1].wall_ms > model->notes[i].wall_ms; at--)
			all[at] = all[at - 1];
		all[at] = model->notes[i];
	}
	if (count == 0 || lines->count + 2 > lines->height)
		return;
	lines_add(lines, LINE_HEADER, "EVENTS");
	room = lines->height - lines->count;
	for (unsigned i = count > room ? count - room : 0; i < count; i++) {
		if (!lines_new(lines))
			return;
		lines_put(lines, LINE_DIM, "%.19s  ", format_time(all[i].wall_ms, when));
		lines_put(lines, LINE_PLAIN, "%s", all[i].text);
	}
}

void top_render_help(struct lines *lines)
{
	static const char *const text[] = {
		"mha-top reads the status segment of the local agent; it asks nobody.",
		"",
		"  q        quit",
		"  s        sort members by name, lag, state",
		"  up/down  choose a member; what the table does not show stands below it",
		"  h, ?     this text; any key goes back",
		"",
		"lease   what is left of this node's right to serve; it shrinks until renewed",
		"fence   closed: nobody reaches the database port; open: this node serves",
		"SYNC    sync: every commit waits for it; quorum: for enough of these",
		"AGE     of what the member said last; red: too old to be believed",
		"detect  from the fault to the survey; survey: until enough had answered;",
		"        open: until the new primary was opened",
		"EVENTS  decisions of the log, and changes since mha-top was started",
	};

	for (size_t i = 0; i < COUNT_OF(text); i++)
		lines_add(lines, i == 0 ? LINE_TITLE : LINE_PLAIN, text[i]);
}

void top_render(const struct top_model *model, const struct view *view, struct lines *lines)
{
	bool roomy = lines->height >= 24;
	unsigned used;

	render_title(view, lines);
	render_phase(view, lines);
	render_lease(model, view, lines);
	render_record(view, lines);
	render_operators(view, lines);
	if (roomy)
		lines_add(lines, LINE_PLAIN, "");
	render_members(model, view, lines);
	if (roomy)
		lines_add(lines, LINE_PLAIN, "");
	render_workers(view, lines);
	used = lines->count < lines->height ? lines->count : lines->height;
	/* Two of the rest at least are for events. */
	if (lines->height - used > 4)
		render_failovers(model, view,
				 lines->height - used - 4 < FAILOVERS_MAX ? lines->height - used - 4
									  : FAILOVERS_MAX,
				 lines);
	render_notes(model, view, lines);
	if (lines->count > lines->height)
		lines->count = lines->height;
}
