/*
 * Inside the PostgreSQL control. One job at a time works on files, directories and programs: a
 * list of steps, each of which ends at once, in a background thread, or with a child. Beside it
 * there is one lane for ending the server, which waits for nobody: KILL works while a job hangs
 * on a disk.
 */
#ifndef MHA_ENGINE_PG_CONTROL_H
#define MHA_ENGINE_PG_CONTROL_H

#include "engine/child.h"
#include "engine/engine.h"
#include "engine/pg_check.h"
#include "engine/pg_disk.h"
#include "engine/pg_paths.h"
#include "engine/pg_processes.h"

#define PG_SECRET_SIZE 256

struct pg_job;
struct rejoin;

/* A line of the present child's output. True: it was taken, and is not for the log. */
typedef bool (*job_line)(struct pg_job *job, const char *line);

/* A step: 0 = done, go on; STEP_WAIT = job_continue() will be called; negative = failed. */
#define STEP_WAIT 1
typedef int (*job_step)(struct pg_job *job, struct err *why);

struct job_plan {
	const char *name;
	uint8_t job;           /* enum db_job that others see; JOB_NONE: none */
	bool interruptible;    /* a STOP or KILL ends it */
	bool repeats;          /* rejoin.rewind_tries: begun again while nothing was changed */
	const job_step *steps; /* ends in NULL */
};

struct pg_job {
	struct engine_control *control;
	struct order order;
	const struct job_plan *plan;
	unsigned step;
	bool cancelled;
	/* The background thread: only `background` and what it works on while it runs. */
	bool in_background;
	job_step background;
	int background_rc;
	struct err background_why;
	uv_work_t work;
	/* The child of the present step, and what it said. */
	struct child *child;
	job_line take_line;          /* NULL: lines are for the log */
	bool any_end;                /* how it ends does not matter */
	bool read_part;              /* REJOIN_READ: it read a part of the tail */
	uint64_t patience_ms;        /* without a line from it; 0: the usual */
	struct rejoin *rejoin;       /* REWIND and CLONE; see pg_rejoin.h */
	unsigned tries;              /* that failed before anything was changed */
	uint64_t resume_ns;          /* when it is begun again; 0: it runs */
	char note[ENGINE_TEXT_SIZE]; /* for people, when it is done */
	struct pg_ending *ending;
	struct err failed;      /* why it failed, until the server that it started has ended */
	bool own_timeline;      /* START: no other timeline is followed; it has diverged */
	struct process_end end; /* how the last program, or the server that gave up, ended */
	struct child *server;   /* INITDB: the private server of the new cluster */
	const char *wait_dir;   /* a server of this directory is starting; NULL: nobody waits */
	uint64_t moved_ns;      /* when progress was last seen */
	uint64_t progress;
	char last_line[CHILD_LINE_SIZE];
	bool marked;          /* REWIND: this job wrote the rebuild marker */
	bool touched;         /* REWIND: pg_rewind may have begun to change the target */
	bool recovers;        /* REWIND: the server was not shut down in good order */
	bool same_history;    /* REWIND: pg_rewind saw nothing to do, for the wrong reason */
	const char *hopeless; /* REWIND: why what pg_rewind said will be said again; NULL: no */
	bool measures;        /* CLONE: the size is not known yet */
	bool refused;         /* the child was ended by us, last_line says why */
	bool done;            /* the goal was reached before the plan's end */
	bool was_running;     /* the server ran when the job began */
	bool waits_disk; /* START: for a disk on which a server can run, and a pause after crashes
			  */
};

struct engine_control {
	uv_loop_t *loop;
	const struct conf *conf;
	const struct engine_control_events *events;
	void *arg;
	struct pg_paths paths;
	char secret[PG_SECRET_SIZE];
	struct engine_work work;
	struct pg_job *job;        /* NULL: none */
	struct pg_job *leaving;    /* cancelled, its thread or child not ended yet */
	struct engine_result last; /* given again when its order comes again */
	struct order next;         /* waits for `leaving`; ORDER_NONE: nothing */
	/* the lane that ends the server */
	struct pg_ending *ending;
	struct order ending_order;
	/* the postmaster, by pidfd */
	int postmaster_fd;
	uv_poll_t *postmaster_poll;
	uv_timer_t *tick;               /* while a job runs */
	uv_fs_event_t *pidfile;         /* while a start waits */
	unsigned start_failures;        /* servers that gave up before they answered, in a row */
	char trouble[ENGINE_TEXT_SIZE]; /* why the last rewind or clone failed; "": it did not */
	bool removing;                  /* a thread empties paths.trash */
	struct wal_missing *missing;    /* pg_missing.c */
	struct wal_archive *archive;    /* pg_archive.c */
	struct pg_check *check;         /* pg_check.c */
	/* how servers end that nobody ended; pg_end.c */
	struct pg_disk *disk;
	uint64_t watched_ns;     /* since when the postmaster is watched */
	unsigned crashes;        /* in a row, each soon after its start */
	uint64_t crashed_ns;     /* the last one; 0: none */
	struct end_words *words; /* its last words are being read */
	bool closing;
};

/* pg_control.c */
void control_changed(struct engine_control *control);
void control_directory(struct engine_control *control);
/* Watch `pid` as the postmaster (0: look for one). */
void control_watch(struct engine_control *control, pid_t pid);
void job_continue(struct pg_job *job, int rc, const struct err *why);
/* Run `background` in a thread; returns STEP_WAIT, or an error. */
MUST_CHECK int job_in_background(struct pg_job *job, job_step background, struct err *why);
/* Run a program as this step. `line` may be NULL. */
MUST_CHECK int job_run(struct pg_job *job, const char *const *argv, const char *directory,
		       const char *input, struct err *why);
/* End the server of `data_dir` as this step. */
MUST_CHECK int job_end_server(struct pg_job *job, const char *data_dir, struct err *why);
/* The same for the data directory, and the last step of what made it anew. */
MUST_CHECK int job_end_data(struct pg_job *job, struct err *why);
MUST_CHECK int job_fresh(struct pg_job *job, struct err *why);
/*
 * A server for this job alone in `data_dir`: no TCP, and its socket inside the directory that only
 * this user may enter. It stays on its own timeline. Waits until it answers.
 */
MUST_CHECK int job_serve(struct pg_job *job, const char *data_dir, struct err *why);
/* BIN_DIR/name. Returns `path`. */
const char *control_program(const struct engine_control *control, const char *name,
			    char path[FILES_PATH_SIZE]);

/* pg_end.c */
MUST_CHECK int end_open(struct engine_control *control, struct err *why);
void end_close(struct engine_control *control);
/* The postmaster ended by itself, while no job and no order was at it. */
void end_seen(struct engine_control *control);
/* Time has passed: what waits for the end of a pause goes on. */
void end_look(struct engine_control *control);
/* As a step of START: wait until the disk and the pause after crashes let a server run. */
MUST_CHECK int end_wait(struct pg_job *job, struct err *why);
/* What is told of the disk and of crashes, into control->work. */
void end_tell(struct engine_control *control);

/* pg_start.c */
/* The end of a text file: what does not fit into `size` is left out at its front. */
void log_read_tail(const char *path, char *text, size_t size);
/* The newest file in the log directory. False: there is none. */
bool log_newest(const char *dir_path, char path[2 * FILES_PATH_SIZE]);

/*
 * Why the last run in a server's log did not start: the last line with a reason, and its DETAIL.
 * Pure. False: there is none.
 */
bool log_find_failure(const char *log, char reason[CHILD_LINE_SIZE]);
/* The last line in which an ending server says that its disk is full or broken. Pure; "": none. */
void log_find_disk(const char *log, char *reason, size_t size);

/* pg_write.c: may block on the disk. */
MUST_CHECK int write_side_directory(const struct engine_control *control, struct err *why);
MUST_CHECK int write_configuration(const struct engine_control *control, const char *data_dir,
				   const struct order *order, struct err *why);
MUST_CHECK int write_standby_signal(const char *data_dir, struct err *why);
MUST_CHECK int write_include(const char *data_dir, struct err *why);
MUST_CHECK int strip_auto_conf(const char *data_dir, struct err *why);

/* A rewind failed before it changed anything: the marker goes. */
void rewind_failed(struct pg_job *job);
/* pg_missing.c: a standby that needs WAL which its upstream has removed. */
MUST_CHECK int missing_open(struct engine_control *control, struct err *why);
void missing_close(struct engine_control *control);
/* No archive has it: it is told. */
void missing_set(struct engine_control *control, const char *segment);
/* The standby has another upstream, or other data: what was read before does not count. */
void missing_forget(struct engine_control *control);
void missing_look(struct engine_control *control);
/* Into control->work, if nothing else is wrong. */
void missing_tell(struct engine_control *control);
/* The last segment that a standby's log says is missing. Pure. False: none. */
bool missing_find(const char *log, char segment[64]);

/* What a line of pg_rewind means that no repetition changes; NULL: it may be another next time. */
const char *rewind_hopeless(const char *line);
/* The size of the clone is known: ends it when there is no room. */
void clone_measure(struct pg_job *job, uint64_t total);
/* Put the proven clone in the place of the data directory, durably; the old one becomes D.old. */
MUST_CHECK int clone_swap(const struct pg_paths *paths, struct err *why);
/* After a crash: bring a swap that was cut off to its end, or back. */
void clone_repair(const struct pg_paths *paths);

/* What each order runs. */
extern const struct job_plan PLAN_START, PLAN_CONFIGURE, PLAN_INITDB, PLAN_REWIND, PLAN_CLONE;
/* As this step, wait until the server of `data_dir`, which was started before, answers. */
MUST_CHECK int job_wait_ready(struct pg_job *job, const char *data_dir, struct err *why);
/* The started server wrote postmaster.pid, or the tick came: a waiting start looks. */
void start_look(struct pg_job *job);
/* The postmaster ended while a start waited for it. */
void start_failed(struct pg_job *job, const struct process_end *end);
/* All its processes have ended: say why in job->failed. */
void start_explain(struct pg_job *job);

#endif
