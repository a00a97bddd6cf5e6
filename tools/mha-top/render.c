#include "top/render.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/macros.h"
#include "top/parts.h"
#include "view/format.h"

#define AGENT_SILENT_MS 5000 /* its consensus worker writes far more often */
#define LEASE_CELLS     24
#define STEP_CELLS      12
#define FAILOVERS_MAX   4

static void render_title(const struct top_model *model, const Mha__Client__Frame *frame,
			 struct lines *lines)
{
	const Mha__Client__Status *status = frame->status;
	char when[FORMAT_SIZE], text[FORMAT_SIZE];

	if (!lines_new(lines))
		return;
	lines_put(lines, LINE_TITLE, "mha4rdb %s", status->cluster[0] ? status->cluster : "?");
	lines_put(lines, LINE_PLAIN, "  node ");
	lines_put(lines, LINE_TITLE, "%s", status->node[0] ? status->node : "?");
	for (size_t i = 0; i < status->n_members; i++) {
		if (strcmp(status->members[i]->name, status->node) == 0)
			lines_put(lines, LINE_PLAIN, " (%s)", status->members[i]->role);
	}
	if (status->mode[0] != '\0')
		lines_put(lines, LINE_PLAIN, "  %s", status->mode);
	if (model->replay)
		lines_put(lines, LINE_WARN, "  replay %u/%u%s", model->replay_at,
			  model->replay_count, model->paused ? " paused" : "");
	if (model->replay && model->replay_speed != 1)
		lines_put(lines, LINE_WARN, " x%u", model->replay_speed);
	snprintf(text, sizeof(text), "%.19s UTC", format_time(frame->wall_ms, when));
	lines_put_right(lines, LINE_DIM, lines->width, text);
}

static void render_phase(const Mha__Client__Status *status, struct lines *lines)
{
	bool blocked = status->waiting_count > 0;
	char text[FORMAT_SIZE];

	if (!lines_new(lines))
		return;
	if (status->age_ms < 0) {
		lines_put(lines, LINE_BAD, "the consensus worker of this node has not reported");
		return;
	}
	if (status->age_ms > AGENT_SILENT_MS)
		lines_put(lines, LINE_BAD, "agent silent for %s!  ",
			  format_duration(status->age_ms, text));
	lines_put(lines, LINE_PLAIN, "epoch %" PRIu64 "  term %" PRIu64 "  timeline %" PRIu32 "  ",
		  status->epoch, status->term, status->timeline);
	if (status->failure[0] != '\0')
		lines_put(lines, LINE_BAD, "consensus failed: %.120s", status->failure);
	else
		lines_put(lines, blocked ? LINE_BAD : LINE_PLAIN, "%s%s%s", status->phase,
			  status->why[0] ? ": " : "", status->why);
	if (!blocked)
		return;
	lines_put(lines, LINE_BAD, "; %u missed of", status->waiting_count);
	for (size_t i = 0; i < status->n_waiting_for; i++)
		lines_put(lines, LINE_BAD, " %s", status->waiting_for[i]);
}

static void render_lease(const struct top_model *model, const Mha__Client__Status *status,
			 struct lines *lines)
{
	const bool held = status->lease_ms >= 0;

	if (!lines_new(lines))
		return;
	lines_put(lines, LINE_PLAIN, "lease [");
	put_bar(held ? (uint64_t)status->lease_ms : 0, (uint64_t)model->lease_full_ms, LEASE_CELLS,
		model->ascii, lines);
	lines_put(lines, LINE_PLAIN, "] ");
	if (held)
		lines_put(lines, LINE_GOOD, "%4" PRId64 " ms", status->lease_ms);
	else
		lines_put(lines, LINE_DIM, "none here");
	lines_put(lines, LINE_PLAIN, "  fence ");
	lines_put(lines, strcmp(status->fence, "unknown") == 0 ? LINE_BAD : LINE_PLAIN, "%s",
		  status->fence);
	if (status->leader != NULL && status->leader->known)
		lines_put(lines, LINE_GOOD, "  %s serves", status->leader->name);
	else
		lines_put(lines, LINE_BAD, "  nobody serves");
	if (status->vip_holder[0] != '\0')
		lines_put(lines, LINE_GOOD, ", VIP on %s", status->vip_holder);
	else
		lines_put(lines, LINE_DIM, ", no VIP");
	if (strcmp(status->watchdog, "starving") == 0)
		lines_put(lines, LINE_BAD, "  watchdog starving: this host is about to be reset");
	else if (status->watchdog[0] != '\0' && strcmp(status->watchdog, "off") != 0)
		lines_put(lines, LINE_DIM, "  watchdog %s", status->watchdog);
}

static void render_record(const Mha__Client__Status *status, struct lines *lines)
{
	bool any = false;

	if (status->age_ms < 0 || !lines_new(lines))
		return;
	lines_put(lines, LINE_PLAIN, "record ");
	if (status->sync_need == 0) {
		lines_put(lines, LINE_DIM, "promises nothing");
	} else {
		lines_put(lines, LINE_PLAIN, "a commit is on %u of", status->sync_need);
		for (size_t i = 0; i < status->n_members; i++) {
			if (!status->members[i]->in_record)
				continue;
			lines_put(lines, LINE_PLAIN, " %s", status->members[i]->name);
			any = true;
		}
		if (!any)
			lines_put(lines, LINE_WARN, " nobody yet: commits wait");
	}
	lines_put(lines, status->settled ? LINE_PLAIN : LINE_WARN, "  %s",
		  status->settled ? "settled" : "not settled");
	lines_put(lines, 2 * status->voters_heard > status->voters ? LINE_PLAIN : LINE_BAD,
		  "  votes %u/%u", status->voters_heard, status->voters);
	if (status->raft_leader[0] == '\0')
		lines_put(lines, LINE_BAD, "  nobody leads the consensus");
	else
		lines_put(lines, LINE_DIM, "  consensus led by %s", status->raft_leader);
}

/* How far a running switchover has come, by the leader's phase; 0: not known here. */
static unsigned step_of(const char *phase)
{
	static const char *const steps[] = {"steady", "switch",   "halt",    "survey",
					    "assign", "handover", "promote", "opening"};

	for (unsigned i = 0; i < COUNT_OF(steps); i++) {
		if (strcmp(phase, steps[i]) == 0)
			return i + 1;
	}
	return 0;
}

static void put_operation(const struct top_model *model, const Mha__Client__Operation *operation,
			  struct lines *lines)
{
	const unsigned step = step_of(operation->phase);
	char text[FORMAT_SIZE];

	lines_put(lines, LINE_WARN, "%s #%" PRIu64 " %s>%s %s ", operation->kind, operation->id,
		  operation->from[0] ? operation->from : "?",
		  operation->to[0] ? operation->to : "?", operation->state);
	if (strcmp(operation->state, "scheduled") == 0) {
		lines_put(lines, LINE_WARN, "for %.19s  ", format_time(operation->start_ms, text));
		return;
	}
	lines_put(lines, LINE_WARN, "%s ", format_duration(operation->age_ms, text));
	if (step > 0) {
		lines_put(lines, LINE_PLAIN, "[");
		put_bar(step, 9, STEP_CELLS, model->ascii, lines);
		lines_put(lines, LINE_PLAIN, "] ");
	}
	lines_put(lines, LINE_WARN, "%s  ", operation->phase);
}

static const Mha__Client__Operation *running(const Mha__Client__Status *status)
{
	const Mha__Client__Operation *last =
		status->n_operations > 0 ? status->operations[status->n_operations - 1] : NULL;

	if (last == NULL ||
	    (strcmp(last->state, "scheduled") != 0 && strcmp(last->state, "running") != 0))
		return NULL;
	return last;
}

/* What operators decided or have to decide; nothing where all is as usual. */
static void render_operators(const struct top_model *model, const Mha__Client__Status *status,
			     struct lines *lines)
{
	const Mha__Client__Operation *operation = running(status);
	const bool paused = status->settings != NULL && status->settings->paused;
	const bool manual = status->settings != NULL && !status->settings->auto_failover;

	if (!paused && !manual && !status->degraded && operation == NULL && status->hold[0] == '\0')
		return;
	if (!lines_new(lines))
		return;
	if (operation != NULL)
		put_operation(model, operation, lines);
	if (paused)
		lines_put(lines, LINE_WARN, "paused  ");
	if (manual)
		lines_put(lines, LINE_WARN, "auto_failover off  ");
	if (status->degraded)
		lines_put(lines, LINE_BAD, "degraded: %u of %u standbys  ", status->sync_need,
			  status->settings != NULL ? status->settings->sync_need : 0);
	if (status->hold[0] != '\0')
		lines_put(lines, LINE_BAD, "held: %.160s",
			  status->hold_text[0] ? status->hold_text : status->hold);
}

static void render_main(const struct top_model *model, const Mha__Client__Frame *frame,
			struct lines *lines)
{
	const bool roomy = lines->height >= 24;
	unsigned used, left;

	render_phase(frame->status, lines);
	render_lease(model, frame->status, lines);
	render_record(frame->status, lines);
	render_operators(model, frame->status, lines);
	if (roomy)
		lines_add(lines, LINE_PLAIN, "");
	render_members(model, frame, lines);
	if (roomy)
		lines_add(lines, LINE_PLAIN, "");
	render_workers(model, frame->status, lines);
	used = lines->count < lines->height ? lines->count : lines->height;
	left = lines->height - used;
	/* Two of the rest at least are for events; a big screen shows more of both. */
	if (left > 4)
		render_failovers(model, frame,
				 left - 4 < FAILOVERS_MAX ? left - 4
				 : left > 24              ? 2 * FAILOVERS_MAX
							  : FAILOVERS_MAX,
				 lines);
	render_notes(model, frame, lines);
}

void top_render(const struct top_model *model, const Mha__Client__Frame *frame, const char *trouble,
		struct lines *lines)
{
	if (frame == NULL || frame->status == NULL) {
		lines_add(lines, LINE_TITLE, "mha4rdb");
		lines_add(lines, trouble[0] ? LINE_BAD : LINE_DIM,
			  trouble[0] ? trouble : "waiting for the first answer");
	} else {
		render_title(model, frame, lines);
		if (trouble[0] != '\0' && lines_new(lines))
			lines_put(lines, LINE_BAD, "no newer word: %.300s", trouble);
		if (model->page == TOP_PAGE_MAIN)
			render_main(model, frame, lines);
		else
			render_page(model, frame, lines);
	}
	if (lines->count > lines->height)
		lines->count = lines->height;
}
