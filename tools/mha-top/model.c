#include "top/model.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/macros.h"

void top_model_init(struct top_model *model)
{
	memset(model, 0, sizeof(*model));
}

static void note(struct top_model *model, const struct view *view, const char *format, ...)
	PRINTF_LIKE(3, 4);

static void note(struct top_model *model, const struct view *view, const char *format, ...)
{
	struct top_note *row;
	va_list args;

	if (model->note_count == TOP_NOTES_MAX) {
		memmove(model->notes, model->notes + 1,
			sizeof(model->notes[0]) * (TOP_NOTES_MAX - 1));
		model->note_count--;
	}
	row = &model->notes[model->note_count++];
	row->wall_ms = view->from->wall_ms;
	va_start(args, format);
	vsnprintf(row->text, sizeof(row->text), format, args);
	va_end(args);
}

static void track_lag(struct top_track *track, const struct view_member *member)
{
	if (track->trend_count == TOP_TREND_MAX) {
		memmove(track->trend, track->trend + 1,
			sizeof(track->trend[0]) * (TOP_TREND_MAX - 1));
		track->trend_count--;
	}
	track->trend[track->trend_count++] = member->lag_bytes;
}

static void track_job(struct top_track *track, const struct view *view,
		      const struct view_member *member)
{
	if (track->job == member->job && member->job_done >= track->job_since_done)
		return;
	track->job = member->job;
	track->job_since_ns = view->now_ns;
	track->job_since_done = member->job_done;
}

static void look_member(struct top_model *model, const struct view *view,
			const struct view_member *member)
{
	struct top_track *track = &model->tracks[member->id];

	if (model->looked && track->seen && strcmp(track->state, member->state) != 0)
		note(model, view, "%s: %s -> %s", member->name, track->state, member->state);
	track->seen = true;
	track->state = member->state;
	track_lag(track, member);
	track_job(track, view, member);
}

static void look_workers(struct top_model *model, const struct view *view)
{
	const struct status_master *master = &view->from->master;

	for (unsigned i = 0; i < master->worker_count && i < STATUS_WORKERS; i++) {
		const struct status_worker *worker = &master->workers[i];

		if (model->looked && worker->restarts > model->restarts[i])
			note(model, view, "worker %.15s restarted (%" PRIu32 " since the start)",
			     worker->name, worker->restarts);
		model->restarts[i] = worker->restarts;
	}
}

static void select_self(struct top_model *model, const struct view *view)
{
	const struct view_member *rows[NODES_MAX];
	unsigned count = top_order(model, view, rows);

	for (unsigned i = 0; i < count; i++) {
		if (rows[i]->self)
			model->selected = i;
	}
}

void top_model_look(struct top_model *model, const struct view *view)
{
	if (model->looked && view->epoch != model->epoch)
		note(model, view, "epoch %" PRIu64 " -> %" PRIu64 ": primary is %s", model->epoch,
		     view->epoch, view_name(view, view->primary));
	if (model->looked && strcmp(model->phase, view->phase) != 0)
		note(model, view, "phase %s -> %s: %.80s", model->phase, view->phase, view->why);
	if (model->looked && view->serves != model->serves)
		note(model, view, "this node %s", view->serves ? "serves" : "serves no more");
	for (unsigned i = 0; i < view->member_count; i++)
		look_member(model, view, &view->members[i]);
	look_workers(model, view);
	model->epoch = view->epoch;
	model->serves = view->serves;
	snprintf(model->phase, sizeof(model->phase), "%s", view->phase);
	if (view->lease_held && (uint64_t)view->lease_ms > model->lease_full_ms)
		model->lease_full_ms = (uint64_t)view->lease_ms;
	if (!model->looked)
		select_self(model, view);
	model->looked = true;
}

/* Negative when `a` stands above `b`. */
static int compare(const struct top_model *model, const struct view_member *a,
		   const struct view_member *b)
{
	int by_name = strcmp(a->name, b->name);

	switch (model->sort) {
	case TOP_SORT_LAG:
		if (a->lag_bytes != b->lag_bytes)
			return a->lag_bytes > b->lag_bytes ? -1 : 1;
		return by_name;
	case TOP_SORT_STATE:
		if (strcmp(a->state, b->state) != 0)
			return strcmp(a->state, b->state);
		return by_name;
	default:
		return by_name;
	}
}

unsigned top_order(const struct top_model *model, const struct view *view,
		   const struct view_member *rows[NODES_MAX])
{
	for (unsigned i = 0; i < view->member_count; i++) {
		unsigned at = i;

		for (; at > 0 && compare(model, rows[at - 1], &view->members[i]) > 0; at--)
			rows[at] = rows[at - 1];
		rows[at] = &view->members[i];
	}
	return view->member_count;
}

void top_next_sort(struct top_model *model)
{
	model->sort = (enum top_sort)((model->sort + 1) % TOP_SORT_COUNT);
}

void top_select(struct top_model *model, const struct view *view, int step)
{
	unsigned last = view->member_count > 0 ? view->member_count - 1 : 0;

	if (step < 0 && model->selected > 0)
		model->selected--;
	else if (step > 0)
		model->selected++;
	if (model->selected > last)
		model->selected = last;
}

int64_t top_job_eta_ms(const struct top_model *model, const struct view *view,
		       const struct view_member *member)
{
	const struct top_track *track = &model->tracks[member->id];
	uint64_t since_ns = track->job_since_ns, since_done = track->job_since_done;
	double rate;

	if (member->job == JOB_NONE || member->job_total == 0 ||
	    member->job_done > member->job_total)
		return -1;
	/* This node's dbctl knows when the job began; of others only what was watched counts. */
	if (member->self && view->from->has[STATUS_DBCTL] &&
	    view->from->dbctl.job_started_ns != 0) {
		since_ns = view->from->dbctl.job_started_ns;
		since_done = 0;
	}
	if (since_ns == 0 || view->now_ns <= since_ns || member->job_done <= since_done)
		return -1;
	rate = (double)(member->job_done - since_done) / (double)(view->now_ns - since_ns);
	return (int64_t)((double)(member->job_total - member->job_done) / rate / 1e6);
}
