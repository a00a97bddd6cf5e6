/*
 * What mha-top remembers between two looks: lag over time, the speed of jobs, the processor time of
 * workers, what changed, and what the user chose. Pure: frames in, state out.
 */
#ifndef MHA_TOP_MODEL_H
#define MHA_TOP_MODEL_H

#include <stdbool.h>

#include "base/macros.h"
#include "client.pb-c.h"

#define TOP_MEMBERS_MAX 32 /* shown; a cluster has fewer */
#define TOP_WORKERS_MAX 16
#define TOP_TREND_MAX   40
#define TOP_NOTES_MAX   64
#define TOP_NOTE_SIZE   200
#define TOP_WORD_SIZE   40
#define TOP_TYPED_MAX   63

enum top_sort { TOP_SORT_NAME = 0, TOP_SORT_LAG, TOP_SORT_STATE, TOP_SORT_AGE, TOP_SORT_COUNT };

enum top_page {
	TOP_PAGE_MAIN = 0,
	TOP_PAGE_HELP,
	TOP_PAGE_DECISION, /* one decision record */
	TOP_PAGE_CONFIRM,  /* a name is typed before a switchover */
	TOP_PAGE_ANSWER,   /* how the switchover was taken */
};

/* Per member, by its id modulo the size of the table. */
struct top_track {
	uint32_t id; /* 0: free */
	char state[TOP_WORD_SIZE];
	int64_t trend[TOP_TREND_MAX]; /* lag in bytes, oldest first; -1: not known then */
	unsigned trend_count;
	char job[TOP_WORD_SIZE]; /* that is being timed */
	uint64_t job_since_ms;
	uint64_t job_since_done;
};

struct top_worker {
	int32_t pid;
	uint32_t restarts;
	uint64_t cpu_us, wall_ms; /* when the processor time was seen to rise last */
	int permille;             /* of one processor; -1: not known yet */
};

struct top_note {
	uint64_t wall_ms;
	char text[TOP_NOTE_SIZE];
};

struct top_model {
	struct top_track tracks[TOP_MEMBERS_MAX];
	struct top_worker workers[TOP_WORKERS_MAX];
	bool looked;
	uint64_t epoch;
	char phase[TOP_WORD_SIZE];
	bool serves;
	int64_t lease_full_ms; /* the longest lease seen: the length of the bar */
	uint64_t event_index;  /* the newest event of the agent that was noted */
	uint32_t event_sub;
	bool events_seen;
	unsigned note_count; /* oldest first */
	struct top_note notes[TOP_NOTES_MAX];

	enum top_sort sort;
	unsigned selected; /* row of the members table */
	enum top_page page;
	unsigned decision;              /* 0: the newest */
	char target[TOP_TYPED_MAX + 1]; /* whom the switchover makes primary */
	char typed[TOP_TYPED_MAX + 1];
	char answer[600];
	bool ascii;    /* no block characters */
	bool may_call; /* the agent is reached over its local socket */
	bool replay;
	bool paused;
	unsigned replay_at, replay_count, replay_speed; /* of a recording */
};

void top_model_init(struct top_model *model);
/* Take in what is to be seen now; called once per frame with a status. */
void top_model_look(struct top_model *model, const Mha__Client__Frame *frame);

/* This node serves as the primary. */
bool top_serves(const Mha__Client__Status *status);
const struct top_track *top_track(const struct top_model *model, const Mha__Client__Member *member);
/* Rows of the members table in the chosen order; returns how many. */
unsigned top_order(const struct top_model *model, const Mha__Client__Status *status,
		   const Mha__Client__Member *rows[TOP_MEMBERS_MAX]);
void top_next_sort(struct top_model *model);
/* Move the selection by `step`, within the members. */
void top_select(struct top_model *model, const Mha__Client__Status *status, int step);
/* The chosen member, or NULL. */
const Mha__Client__Member *top_selected(const struct top_model *model,
					const Mha__Client__Status *status);
/* Milliseconds until the member's job is done at its speed so far; -1: not known. */
int64_t top_job_eta_ms(const struct top_model *model, const Mha__Client__Frame *frame,
		       const Mha__Client__Member *member);
/* Show the newest decision that the chosen member took part in, or the newest of all. */
void top_show_decision(struct top_model *model, const Mha__Client__Frame *frame);
/* What the decision page shows, or NULL. */
const Mha__Client__Decision *top_decision(const struct top_model *model,
					  const Mha__Client__Frame *frame);
/* To an older (1) or newer (-1) one. */
void top_step_decision(struct top_model *model, const Mha__Client__Frame *frame, int step);

/* Ask for the name of the chosen standby before it is made primary; says why not. */
void top_begin_switch(struct top_model *model, const Mha__Client__Status *status);
/* A character is typed (or '\b'). */
void top_type(struct top_model *model, int key);
/* What was typed is the target's name: the switchover is wanted. */
bool top_confirmed(const struct top_model *model);

#endif
