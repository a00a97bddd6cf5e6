/* Workers, failovers, events, and every page but the main one. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "top/parts.h"
#include "top/render.h"
#include "view/format.h"

#define WORKER_CELLS      26
#define WORKER_CELLS_WIDE 48
#define WIDE              130
#define WATERFALL_AT      44
#define WATERFALL_MAX     60
#define NOTES_MAX         (TOP_NOTES_MAX + 64)

static void put_worker(const struct top_model *model, const Mha__Client__Worker *worker, size_t i,
		       bool wide, struct lines *lines)
{
	const int permille = i < TOP_WORKERS_MAX ? model->workers[i].permille : -1;
	char text[FORMAT_SIZE];

	lines_put(lines,
		  worker->pid == 0 ? LINE_BAD
		  : worker->ready  ? LINE_GOOD
				   : LINE_WARN,
		  "%-9.9s ", worker->name);
	if (worker->pid == 0) {
		lines_put(lines, LINE_BAD, "down");
	} else {
		if (permille >= 0)
			lines_put(lines, permille > 500 ? LINE_WARN : LINE_PLAIN, "%4.1f%%",
				  permille / 10.0);
		else
			lines_put(lines, LINE_DIM, "    ?");
		lines_put(lines, LINE_PLAIN, " %3" PRIu64 "M", worker->memory_bytes >> 20);
		if (wide)
			lines_put(lines, LINE_DIM, " pid %" PRId32 " up %s", worker->pid,
				  format_duration(worker->up_ms, text));
	}
	if (worker->restarts > 0)
		lines_put(lines, LINE_WARN, " r%" PRIu32, worker->restarts);
}

void render_workers(const struct top_model *model, const Mha__Client__Status *status,
		    struct lines *lines)
{
	const bool wide = lines->width >= WIDE;
	const unsigned cells = wide ? WORKER_CELLS_WIDE : WORKER_CELLS;
	unsigned per_line = lines->width / cells;

	if (per_line == 0)
		per_line = 1;
	if (status->n_workers == 0) {
		lines_add(lines, LINE_BAD, "WORKERS  the master has left no section");
		return;
	}
	lines_add(lines, LINE_HEADER, "WORKERS  processor, memory, restarts");
	for (size_t i = 0; i < status->n_workers; i++) {
		if (i % per_line == 0)
			(void)lines_new(lines);
		lines_to(lines, (unsigned)(i % per_line) * cells);
		put_worker(model, status->workers[i], i, wide, lines);
	}
}

static void render_failover(const struct top_model *model, const Mha__Client__Decision *decision,
			    struct lines *lines)
{
	uint64_t us[TOP_PHASE_COUNT], total = phases_of(decision, us);
	char text[FORMAT_SIZE];
	unsigned width;

	if (!lines_new(lines))
		return;
	lines_put(lines, LINE_PLAIN, "e%-4" PRIu64 " %-13.13s ", decision->epoch, decision->cause);
	lines_put(lines, LINE_PLAIN, "%.8s>%.8s", decision->from[0] ? decision->from : "-",
		  decision->to[0] ? decision->to : "-");
	if (decision->hold[0] != '\0') {
		lines_to(lines, 34);
		lines_put(lines, LINE_BAD, "held: %s", decision->hold);
		return;
	}
	snprintf(text, sizeof(text), "%.0f ms", (double)total / 1e3);
	lines_put_right(lines, decision->open_us == 0 ? LINE_WARN : LINE_PLAIN, WATERFALL_AT - 2,
			text);
	lines_to(lines, WATERFALL_AT);
	width = lines->width > WATERFALL_AT ? lines->width - WATERFALL_AT : 0;
	put_waterfall(us, width < WATERFALL_MAX ? width : WATERFALL_MAX, model->ascii, lines);
	if (decision->open_us == 0)
		lines_put(lines, LINE_WARN, "  not open");
	if (lines->width < WIDE)
		return;
	for (unsigned i = 0; i < TOP_PHASE_COUNT; i++) {
		if (us[i] > 0)
			lines_put(lines, LINE_DIM, "  %s %.0f", phase_name((enum top_phase)i),
				  (double)us[i] / 1e3);
	}
}

void render_failovers(const struct top_model *model, const Mha__Client__Frame *frame,
		      unsigned shown, struct lines *lines)
{
	const size_t count = frame->history != NULL ? frame->history->n_decisions : 0;

	if (count == 0 || !lines_new(lines))
		return;
	lines_put(lines, LINE_HEADER, "FAILOVERS");
	lines_to(lines, WATERFALL_AT);
	put_waterfall_legend(model->ascii, lines);
	for (size_t i = 0; i < count && i < shown; i++)
		render_failover(model, frame->history->decisions[count - 1 - i], lines);
}

/* A decision of the log as one sentence, for the tail of events. */
static void decision_note(const Mha__Client__Decision *decision, struct top_note *out)
{
	out->wall_ms = decision->at_ms;
	if (decision->hold[0] != '\0')
		snprintf(out->text, sizeof(out->text), "nobody promoted: %.60s", decision->hold);
	else
		snprintf(out->text, sizeof(out->text),
			 "epoch %" PRIu64 ": %.40s assigned, because %.40s%s%.40s", decision->epoch,
			 decision->to, decision->cause, decision->from[0] ? " of " : "",
			 decision->from);
}

static int by_time(const void *a, const void *b)
{
	const struct top_note *one = a, *other = b;

	return one->wall_ms < other->wall_ms ? -1 : one->wall_ms > other->wall_ms;
}

/* Decisions, events and what was seen since the start of mha-top; the newest come last. */
void render_notes(const struct top_model *model, const Mha__Client__Frame *frame,
		  struct lines *lines)
{
	const size_t decisions = frame->history != NULL ? frame->history->n_decisions : 0;
	struct top_note all[NOTES_MAX];
	unsigned count = 0, room;
	char when[FORMAT_SIZE];

	for (size_t i = 0; i < decisions && count < NOTES_MAX - TOP_NOTES_MAX; i++)
		decision_note(frame->history->decisions[i], &all[count++]);
	for (unsigned i = 0; i < model->note_count; i++)
		all[count++] = model->notes[i];
	if (count == 0 || lines->count + 2 > lines->height)
		return;
	qsort(all, count, sizeof(all[0]), by_time);
	lines_add(lines, LINE_HEADER, "EVENTS");
	room = lines->height - lines->count;
	for (unsigned i = count > room ? count - room : 0; i < count; i++) {
		if (!lines_new(lines))
			return;
		lines_put(lines, LINE_DIM, "%.19s  ", format_time(all[i].wall_ms, when));
		lines_put(lines, LINE_PLAIN, "%s", all[i].text);
	}
}

static void render_help(struct lines *lines)
{
	static const char *const text[] = {
		"  q          quit",
		"  s          sort members by name, lag, state, age",
		"  up/down    choose a member; what the table does not show stands below it",
		"  d, Enter   the decision record of that member; left/right: older, newer",
		"  S          switch over to that member; its name is asked for",
		"  space + -  replay: pause, faster, slower; left/right: one frame",
		"  h, ?       this text; any key goes back",
		"",
		"lease    what is left of this node's right to serve; it shrinks until renewed",
		"fence    closed: nobody reaches the database port; open: this node serves",
		"votes    members heard lately, of all; a majority of them elects and commits",
		"SYNC     sync: every commit waits for it; quorum: for enough of these",
		"AGE      of what the member said last; red: too old to be believed",
		"detect   from the fault to the survey; survey: until enough had answered;",
		"fence    planned: clients are kept out and the old primary stops;",
		"promote  until the database was a primary; open: until clients were let in",
		"EVENTS   decisions of the log, the agent's events, and changes that were seen",
	};

	for (size_t i = 0; i < COUNT_OF(text); i++)
		lines_add(lines, LINE_PLAIN, text[i]);
}

/* `text` over as many lines as it needs, broken at blanks. */
static void put_wrapped(const char *text, struct lines *lines)
{
	const size_t width = lines->width > 4 ? lines->width - 2 : lines->width;

	while (*text != '\0') {
		size_t length = strlen(text);

		if (length > width) {
			length = width;
			while (length > 0 && text[length] != ' ')
				length--;
			if (length == 0)
				length = width;
		}
		if (!lines_new(lines))
			return;
		lines_put(lines, LINE_PLAIN, "  %.*s", (int)length, text);
		text += length;
		while (*text == ' ')
			text++;
	}
}

static void render_decision(const struct top_model *model, const Mha__Client__Frame *frame,
			    struct lines *lines)
{
	const Mha__Client__Decision *decision = top_decision(model, frame);
	uint64_t us[TOP_PHASE_COUNT], total;
	char when[FORMAT_SIZE];

	if (decision == NULL) {
		lines_add(lines, LINE_DIM, "no decision is on record yet");
		return;
	}
	total = phases_of(decision, us);
	if (lines_new(lines)) {
		lines_put(lines, LINE_HEADER, "DECISION %u of %zu", model->decision + 1,
			  frame->history->n_decisions);
		lines_put(lines, LINE_PLAIN, "  epoch %" PRIu64 "  %s  %s", decision->epoch,
			  decision->cause, format_time(decision->at_ms, when));
	}
	if (decision->hold[0] == '\0' && lines_new(lines))
		put_waterfall(us,
			      lines->width < 2 * WATERFALL_MAX ? lines->width : 2 * WATERFALL_MAX,
			      model->ascii, lines);
	if (decision->hold[0] == '\0' && lines_new(lines)) {
		/* All five with their times are wider than 80 columns; seldom are there so many. */
		for (unsigned i = 0; i < TOP_PHASE_COUNT; i++)
			if (us[i] > 0)
				lines_put(lines, LINE_PLAIN, "%s %.1f ms  ",
					  phase_name((enum top_phase)i), (double)us[i] / 1e3);
		lines_put(lines, LINE_TITLE, "in all %.1f ms", (double)total / 1e3);
	}
	lines_add(lines, LINE_PLAIN, "");
	for (size_t i = 0; i < decision->n_sentences; i++)
		put_wrapped(decision->sentences[i], lines);
	lines_add(lines, LINE_DIM, "left: older  right: newer  any other key: back");
}

static void render_confirm(const struct top_model *model, const Mha__Client__Status *status,
			   struct lines *lines)
{
	const char *from =
		status->leader != NULL && status->leader->name[0] ? status->leader->name : "nobody";

	lines_add(lines, LINE_PLAIN, "");
	if (lines_new(lines))
		lines_put(lines, LINE_TITLE, "Switch over from %s to %s", from, model->target);
	lines_add(lines, LINE_PLAIN,
		  "Clients are cut off for some tenths of a second; nothing is lost.");
	lines_add(lines, LINE_PLAIN, "");
	if (lines_new(lines)) {
		lines_put(lines, LINE_PLAIN,
			  "Type the name of the new primary (%s): ", model->target);
		lines_put(lines, LINE_SELECTED, "%s_", model->typed);
	}
	lines_add(lines, LINE_DIM, "Enter: do it   Escape: back");
}

void render_page(const struct top_model *model, const Mha__Client__Frame *frame,
		 struct lines *lines)
{
	switch (model->page) {
	case TOP_PAGE_HELP:
		render_help(lines);
		break;
	case TOP_PAGE_DECISION:
		render_decision(model, frame, lines);
		break;
	case TOP_PAGE_CONFIRM:
		render_confirm(model, frame->status, lines);
		break;
	default:
		lines_add(lines, LINE_PLAIN, "");
		put_wrapped(model->answer, lines);
		lines_add(lines, LINE_DIM, "any key: back");
	}
}
