/* The master's state: what it supervises and what it hands out. */
#ifndef MHA_MASTER_MASTER_H
#define MHA_MASTER_MASTER_H

#include <uv.h>

#include "conf/conf.h"
#include "feed.h"
#include "layout.h"
#include "os/notify.h"
#include "os/user.h"
#include "spawn.h"
#include "status/status.h"
#include "table.h"

/* One process of a worker, from fork to reaping. Two lives of one worker never overlap. */
struct life {
	struct child *child;
	pid_t pid;
	int pidfd;
	int control;
	uint64_t started_ns;
	uint64_t heard_ns; /* the last heartbeat */
	uint64_t cpu_us;   /* what it used, as the kernel said last */
	uint64_t memory_bytes;
	bool ready;
	bool refused;          /* the sandbox ends it, ... */
	uint32_t refused_call; /* ... because of this system call, as it says itself */
	uv_poll_t exit_poll;
	uv_poll_t control_poll;
	unsigned open_polls; /* the last one to close frees the life */
};

/* A row of the process table on this node. */
struct child {
	struct master *master;
	enum master_worker id;
	bool enabled;
	struct os_user user;
	struct life *life; /* NULL: not running */
	uv_timer_t retry;
	unsigned failures; /* ends in a row, each soon after its start */
	uint32_t restarts;
	uint64_t busy_ns; /* since when an earlier life keeps the section; 0: it does not */
	bool busy_told;
	bool told_to_stop;
};

struct master {
	uv_loop_t loop;
	struct conf conf;
	const char *conf_path;
	char libexec_dir[256];
	struct layout layout;
	struct notify notify;
	struct status_map status;
	struct status_master section;
	int secrets[SECRET_COUNT];
	int packet_fd; /* -1: none */
	int conf_fd;   /* the effective configuration, sealed */
	struct feed feed;
	struct rlimit locked;
	struct child children[MASTER_WORKER_COUNT];
	int signal_fd;
	uv_poll_t signals;
	uv_timer_t pulse;
	uv_timer_t deadline;
	uv_timer_t feeding;
	uint64_t pulse_ns;
	bool ready_told;
	uint64_t reloaded_ns; /* when the gateway last had it read again; 0: never */
	bool stopping;
	bool handover; /* how it stops */
	bool failed;   /* it stops because it must not go on */
};

/* supervise.c: start everything and run until everything has stopped. */
MUST_CHECK int supervise(struct master *master, struct err *why);
void master_publish(struct master *master);
unsigned master_lives(const struct master *master);

/* stop.c */
void stop_begin(struct master *master);
/* A worker has ended during the stop. */
void stop_continue(struct master *master);

/* reload.c */
/* Open `path` and read it; as root also insist that nobody else can write it. */
MUST_CHECK int conf_load(struct conf *conf, const char *path, struct err *why);
/* The effective configuration as a sealed memory file; a descriptor or an error. */
MUST_CHECK int conf_seal(const struct conf *conf, struct err *why);
/* SIGHUP: take the file's new values, or say why not and go on with the old ones. */
int reload(struct master *master);

#endif
