/*
 * What mha-top remembers between two looks: lag over time, the speed of jobs, what changed, and
 * what the user chose. Pure: views in, state out.
 */
#ifndef MHA_TOP_MODEL_H
#define MHA_TOP_MODEL_H

#include "view/view.h"

#define TOP_TREND_MAX 16
#define TOP_NOTES_MAX 32
#define TOP_NOTE_SIZE 160

enum top_sort { TOP_SORT_NAME = 0, TOP_SORT_LAG, TOP_SORT_STATE, TOP_SORT_COUNT };

/* Per member, by id. */
struct top_track {
	bool seen;
	const char *state;            /* at the last look */
	int64_t trend[TOP_TREND_MAX]; /* lag in bytes, oldest first; -1: not known then */
	unsigned trend_count;
	uint8_t job; /* enum db_job that is being timed */
	uint64_t job_since_ns;
	uint64_t job_since_done;
};

struct top_note {
	uint64_t wall_ms;
	char text[TOP_NOTE_SIZE];
};

struct top_model {
	struct top_track tracks[NODES_MAX + 1];
	bool looked;
	uint64_t epoch;
	char phase[32];
	uint32_t restarts[STATUS_WORKERS];
	bool serves;
	uint64_t lease_full_ms; /* the longest lease seen: the length of the bar */
	unsigned note_count;    /* oldest first */
	struct top_note notes[TOP_NOTES_MAX];

	enum top_sort sort;
	unsigned selected; /* row of the members table */
	bool help;
	bool ascii; /* no block characters */
};

void top_model_init(struct top_model *model);
/* Take in what is to be seen now; called once per look. */
void top_model_look(struct top_model *model, const struct view *view);

/* Rows of the members table in the chosen order; returns how many. */
unsigned top_order(const struct top_model *model, const struct view *view,
		   const struct view_member *rows[NODES_MAX]);
void top_next_sort(struct top_model *model);
/* Move the selection by `step`, within the members. */
void top_select(struct top_model *model, const struct view *view, int step);
/* Milliseconds until the member's job is done at its speed so far; -1: not known. */
int64_t top_job_eta_ms(const struct top_model *model, const struct view *view,
		       const struct view_member *member);

#endif
