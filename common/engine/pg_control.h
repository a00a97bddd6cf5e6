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
#include "engine/pg_paths.h"
#include "engine/pg_processes.h"

#define PG_SECRET_SIZE 256

struct pg_job;

/* A step: 0 = done, go on; STEP_WAIT = job_continue() will be called; negative = failed. */
#define STEP_WAIT 1
typedef int (*job_step)(struct pg_job *job, struct err *why);

struct job_plan {
	const char *name;
	uint8_t job;           /* enum db_job that others see; JOB_NONE: none */
	bool interruptible;    /* a STOP or KILL ends it */
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
	struct pg_ending *ending;
	struct err failed;      /* why it failed, until the server that it started has ended */
	bool own_timeline;      /* START: no other timeline is followed; it has diverged */
	struct process_end end; /* START: how the server that gave up ended */
	struct child *server;   /* INITDB: the private server of the new cluster */
	const char *wait_dir;   /* a server of this directory is starting; NULL: nobody waits */
	uint64_t moved_ns;      /* when progress was last seen */
	uint64_t progress;
	char last_line[CHILD_LINE_SIZE];
	bool marked;       /* REWIND: this job wrote the rebuild marker */
	bool touched;      /* REWIND: pg_rewind has begun to change the target */
	bool same_history; /* REWIND: pg_rewind saw nothing to do, for the wrong reason */
	bool done;         /* the goal was reached before the plan's end */
	bool was_running;  /* the server ran when the job began */
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
	uv_timer_t *tick;        /* while a job runs */
	uv_fs_event_t *pidfile;  /* while a start waits */
	unsigned start_failures; /* servers that gave up before they answered, in a row */
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
/* BIN_DIR/name. Returns `path`. */
const char *control_program(const struct engine_control *control, const char *name,
			    char path[FILES_PATH_SIZE]);

/* pg_write.c: may block on the disk. */
MUST_CHECK int write_side_directory(const struct engine_control *control, struct err *why);
MUST_CHECK int write_configuration(const struct engine_control *control, const char *data_dir,
				   const struct order *order, struct err *why);
MUST_CHECK int write_standby_signal(const char *data_dir, struct err *why);
MUST_CHECK int write_include(const char *data_dir, struct err *why);
MUST_CHECK int strip_auto_conf(const char *data_dir, struct err *why);

/* A rewind failed before it changed anything: the marker goes. */
void rewind_failed(struct pg_job *job);

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
