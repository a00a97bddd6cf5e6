#include "top/model.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"

void top_model_init(struct top_model *model)
{
	memset(model, 0, sizeof(*model));
	for (unsigned i = 0; i < TOP_WORKERS_MAX; i++)
		model->workers[i].permille = -1;
	model->replay_speed = 1;
}

static void note_at(struct top_model *model, uint64_t wall_ms, const char *format, ...)
	PRINTF_LIKE(3, 4);

static void note_at(struct top_model *model, uint64_t wall_ms, const char *format, ...)
{
	struct top_note *row;
	va_list args;

	if (model->note_count == TOP_NOTES_MAX) {
		memmove(model->notes, model->notes + 1,
			sizeof(model->notes[0]) * (TOP_NOTES_MAX - 1));
		model->note_count--;
	}
	row = &model->notes[model->note_count++];
	row->wall_ms = wall_ms;
	va_start(args, format);
	vsnprintf(row->text, sizeof(row->text), format, args);
	va_end(args);
}

static void copy_word(char to[TOP_WORD_SIZE], const char *from)
{
	snprintf(to, TOP_WORD_SIZE, "%s", from);
}

bool top_serves(const Mha__Client__Status *status)
{
	return status->leader != NULL && status->leader->known &&
	       strcmp(status->leader->name, status->node) == 0;
}

static struct top_track *track_of(struct top_model *model, const Mha__Client__Member *member)
{
	struct top_track *track = &model->tracks[member->id % TOP_MEMBERS_MAX];

	if (track->id != member->id)
		*track = (struct top_track){.id = member->id};
	return track;
}

const struct top_track *top_track(const struct top_model *model, const Mha__Client__Member *member)
{
	const struct top_track *track = &model->tracks[member->id % TOP_MEMBERS_MAX];

	return track->id == member->id ? track : NULL;
}

static void track_lag(struct top_track *track, const Mha__Client__Member *member)
{
	if (track->trend_count == TOP_TREND_MAX) {
		memmove(track->trend, track->trend + 1,
			sizeof(track->trend[0]) * (TOP_TREND_MAX - 1));
		track->trend_count--;
	}
	track->trend[track->trend_count++] = member->lag_bytes;
}

static void track_job(struct top_track *track, const Mha__Client__Member *member, uint64_t wall_ms)
{
	if (strcmp(track->job, member->job) == 0 && member->job_done >= track->job_since_done)
		return;
	copy_word(track->job, member->job);
	track->job_since_ms = wall_ms;
	track->job_since_done = member->job_done;
}

static void look_member(struct top_model *model, const Mha__Client__Frame *frame,
			const Mha__Client__Member *member)
{
	struct top_track *track = track_of(model, member);

	if (model->looked && track->state[0] != '\0' && strcmp(track->state, member->state) != 0)
		note_at(model, frame->wall_ms, "%s: %s -> %s", member->name, track->state,
			member->state);
	copy_word(track->state, member->state);
	track_lag(track, member);
	track_job(track, member, frame->wall_ms);
}

/* Processor time is counted by the master once a second: between two such moments. */
static void look_cpu(struct top_worker *seen, const Mha__Client__Worker *worker, uint64_t wall_ms)
{
	if (seen->pid != worker->pid || seen->wall_ms == 0 || worker->cpu_us < seen->cpu_us ||
	    wall_ms < seen->wall_ms) {
		seen->cpu_us = worker->cpu_us;
		seen->wall_ms = wall_ms;
		seen->permille =
			worker->up_ms > 0 ? (int)((int64_t)worker->cpu_us / worker->up_ms) : -1;
		return;
	}
	if (wall_ms - seen->wall_ms < 2000)
		return;
	seen->permille = (int)((worker->cpu_us - seen->cpu_us) / (wall_ms - seen->wall_ms));
	seen->cpu_us = worker->cpu_us;
	seen->wall_ms = wall_ms;
}

static void look_workers(struct top_model *model, const Mha__Client__Frame *frame)
{
	const Mha__Client__Status *status = frame->status;

	for (size_t i = 0; i < status->n_workers && i < TOP_WORKERS_MAX; i++) {
		const Mha__Client__Worker *worker = status->workers[i];
		struct top_worker *seen = &model->workers[i];

		if (model->looked && worker->restarts > seen->restarts)
			note_at(model, frame->wall_ms,
				"worker %.15s restarted (%" PRIu32 " since the start)",
				worker->name, worker->restarts);
		look_cpu(seen, worker, frame->wall_ms);
		seen->restarts = worker->restarts;
		seen->pid = worker->pid;
	}
}

/* The agent's own events, each once. Those before the first look are history too. */
static void look_events(struct top_model *model, const Mha__Client__Events *events)
{
	for (size_t i = 0; events != NULL && i < events->n_events; i++) {
		const Mha__Client__Event *event = events->events[i];

		if (model->events_seen &&
		    (event->index < model->event_index ||
		     (event->index == model->event_index && event->sub <= model->event_sub)))
			continue;
		model->events_seen = true;
		model->event_index = event->index;
		model->event_sub = event->sub;
		note_at(model, event->wall_ms, "%" PRIu64 ".%" PRIu32 " %.40s %.120s", event->index,
			event->sub, event->name, strcmp(event->json, "{}") == 0 ? "" : event->json);
	}
}

static void look_changes(struct top_model *model, const Mha__Client__Frame *frame)
{
	const Mha__Client__Status *status = frame->status;
	const bool serves = top_serves(status);

	if (model->looked && status->epoch != model->epoch)
		note_at(model, frame->wall_ms, "epoch %" PRIu64 " -> %" PRIu64 ": primary is %s",
			model->epoch, status->epoch,
			status->leader != NULL && status->leader->name[0] ? status->leader->name
									  : "-");
	if (model->looked && strcmp(model->phase, status->phase) != 0)
		note_at(model, frame->wall_ms, "phase %s -> %s: %.80s", model->phase, status->phase,
			status->why);
	if (model->looked && serves != model->serves)
		note_at(model, frame->wall_ms, "this node %s",
			serves ? "serves" : "serves no more");
	model->epoch = status->epoch;
	model->serves = serves;
	copy_word(model->phase, status->phase);
}

static void select_self(struct top_model *model, const Mha__Client__Status *status)
{
	const Mha__Client__Member *rows[TOP_MEMBERS_MAX];
	unsigned count = top_order(model, status, rows);

	for (unsigned i = 0; i < count; i++) {
		if (strcmp(rows[i]->name, status->node) == 0)
			model->selected = i;
	}
}

void top_model_look(struct top_model *model, const Mha__Client__Frame *frame)
{
	const Mha__Client__Status *status = frame->status;

	look_events(model, frame->events);
	look_changes(model, frame);
	for (size_t i = 0; i < status->n_members; i++)
		look_member(model, frame, status->members[i]);
	look_workers(model, frame);
	if (status->lease_ms > model->lease_full_ms)
		model->lease_full_ms = status->lease_ms;
	if (!model->looked)
		select_self(model, status);
	top_select(model, status, 0);
	model->looked = true;
}

/* Negative when `a` stands above `b`. */
static int compare(const struct top_model *model, const Mha__Client__Member *a,
		   const Mha__Client__Member *b)
{
	int by_name = strcmp(a->name, b->name);

	switch (model->sort) {
	case TOP_SORT_LAG:
		if (a->lag_bytes != b->lag_bytes)
			return a->lag_bytes > b->lag_bytes ? -1 : 1;
		return by_name;
	case TOP_SORT_AGE:
		/* Who was never heard is the oldest. */
		if (a->age_ms != b->age_ms)
			return (uint64_t)a->age_ms > (uint64_t)b->age_ms ? -1 : 1;
		return by_name;
	case TOP_SORT_STATE:
		if (strcmp(a->state, b->state) != 0)
			return strcmp(a->state, b->state);
		return by_name;
	default:
		return by_name;
	}
}

unsigned top_order(const struct top_model *model, const Mha__Client__Status *status,
		   const Mha__Client__Member *rows[TOP_MEMBERS_MAX])
{
	unsigned count = 0;

	for (; count < status->n_members && count < TOP_MEMBERS_MAX; count++) {
		unsigned at = count;

		for (; at > 0 && compare(model, rows[at - 1], status->members[count]) > 0; at--)
			rows[at] = rows[at - 1];
		rows[at] = status->members[count];
	}
	return count;
}

void top_next_sort(struct top_model *model)
{
	model->sort = (enum top_sort)((model->sort + 1) % TOP_SORT_COUNT);
}

void top_select(struct top_model *model, const Mha__Client__Status *status, int step)
{
	unsigned count =
		status->n_members < TOP_MEMBERS_MAX ? (unsigned)status->n_members : TOP_MEMBERS_MAX;
	unsigned last = count > 0 ? count - 1 : 0;

	if (step < 0 && model->selected > 0)
		model->selected--;
	else if (step > 0)
		model->selected++;
	if (model->selected > last)
		model->selected = last;
}

const Mha__Client__Member *top_selected(const struct top_model *model,
					const Mha__Client__Status *status)
{
	const Mha__Client__Member *rows[TOP_MEMBERS_MAX];
	unsigned count = top_order(model, status, rows);

	return model->selected < count ? rows[model->selected] : NULL;
}

int64_t top_job_eta_ms(const struct top_model *model, const Mha__Client__Frame *frame,
		       const Mha__Client__Member *member)
{
	const struct top_track *track = top_track(model, member);
	uint64_t since_ms, since_done;
	double rate;

	if (track == NULL || member->job[0] == '\0' || member->job_total == 0 ||
	    member->job_done > member->job_total)
		return -1;
	since_ms = track->job_since_ms;
	since_done = track->job_since_done;
	/* The node itself knows when the job began; of others only what was watched counts. */
	if (member->job_ms >= 0) {
		since_ms = frame->wall_ms - (uint64_t)member->job_ms;
		since_done = 0;
	}
	if (frame->wall_ms <= since_ms || member->job_done <= since_done)
		return -1;
	rate = (double)(member->job_done - since_done) / (double)(frame->wall_ms - since_ms);
	return (int64_t)((double)(member->job_total - member->job_done) / rate);
}

static unsigned decision_count(const Mha__Client__Frame *frame)
{
	return frame->history != NULL ? (unsigned)frame->history->n_decisions : 0;
}

const Mha__Client__Decision *top_decision(const struct top_model *model,
					  const Mha__Client__Frame *frame)
{
	const unsigned count = decision_count(frame);

	return model->decision < count ? frame->history->decisions[count - 1 - model->decision]
				       : NULL;
}

static bool took_part(const Mha__Client__Decision *decision, const char *node)
{
	return strcmp(decision->to, node) == 0 || strcmp(decision->from, node) == 0;
}

void top_show_decision(struct top_model *model, const Mha__Client__Frame *frame)
{
	const Mha__Client__Member *member = top_selected(model, frame->status);
	const unsigned count = decision_count(frame);

	model->page = TOP_PAGE_DECISION;
	model->decision = 0;
	for (unsigned i = 0; member != NULL && i < count; i++) {
		if (!took_part(frame->history->decisions[count - 1 - i], member->name))
			continue;
		model->decision = i;
		return;
	}
}

void top_step_decision(struct top_model *model, const Mha__Client__Frame *frame, int step)
{
	if (step < 0 && model->decision > 0)
		model->decision--;
	else if (step > 0 && model->decision + 1 < decision_count(frame))
		model->decision++;
}

static void refuse(struct top_model *model, const char *why)
{
	snprintf(model->answer, sizeof(model->answer), "%s", why);
	model->page = TOP_PAGE_ANSWER;
}

void top_begin_switch(struct top_model *model, const Mha__Client__Status *status)
{
	const Mha__Client__Member *member = top_selected(model, status);

	model->typed[0] = '\0';
	if (!model->may_call) {
		refuse(model, "A switchover is asked for on a member itself, as root: only the "
			      "agent's local socket takes it.");
	} else if (member == NULL || strcmp(member->kind, "data") != 0) {
		refuse(model, "Choose a standby first: a member without a database cannot be "
			      "primary.");
	} else if (strcmp(member->role, "primary") == 0) {
		refuse(model, "Choose a standby first: this member is the primary.");
	} else {
		snprintf(model->target, sizeof(model->target), "%s", member->name);
		model->page = TOP_PAGE_CONFIRM;
	}
}

void top_type(struct top_model *model, int key)
{
	const size_t length = strlen(model->typed);

	if (key == '\b' && length > 0)
		model->typed[length - 1] = '\0';
	if (key > ' ' && key < 0x7f && length < TOP_TYPED_MAX) {
		model->typed[length] = (char)key;
		model->typed[length + 1] = '\0';
	}
}

bool top_confirmed(const struct top_model *model)
{
	return model->target[0] != '\0' && strcmp(model->typed, model->target) == 0;
}
