/*
 * The one door to a database product. dbmon sees it through a monitor (questions and orders in
 * SQL, nothing is executed), dbctl through a control (files and the product's own programs,
 * nothing is parsed that came over a network).
 *
 * Both are asynchronous on the caller's loop: calls return at once, every wait inside has a
 * deadline, and what came of it is told by events. Orders state goals and may be repeated.
 */
#ifndef MHA_ENGINE_ENGINE_H
#define MHA_ENGINE_ENGINE_H

#include <stdbool.h>
#include <sys/types.h>
#include <uv.h>

#include "base/err.h"
#include "conf/conf.h"
#include "core/order.h"

#define ENGINE_TEXT_SIZE 256

/* What the data directory is; carried by bus.proto Job. */
enum engine_directory {
	DIRECTORY_UNKNOWN = 0, /* not looked at yet */
	DIRECTORY_ABSENT,      /* missing or empty */
	DIRECTORY_PRESENT,     /* a database that may be started */
	DIRECTORY_BROKEN,      /* must not or cannot be started: a rebuild is needed */
	DIRECTORY_COUNT
};

/* Stable lower-case name. Never NULL. */
const char *engine_directory_name(unsigned directory);

/* What became of an order. */
struct engine_result {
	uint64_t order_id;
	uint8_t outcome; /* enum order_outcome */
	bool has_facts;
	struct facts facts;
	char text[ENGINE_TEXT_SIZE];
};

/* What the monitor sees: facts without node, seq, job and serving_epoch, which others fill in. */
struct engine_view {
	struct facts facts;
	char detail[ENGINE_TEXT_SIZE]; /* for people: why `db` is what it is */
	pid_t postmaster;              /* 0: none known */
	uint64_t probes;
	uint64_t probe_failures;
	uint64_t last_probe_us; /* connect and answer of the last probe on a new connection */
	uint64_t last_flush_us;
};

/* What the check knows of the data directory; times are of the wall clock, in ms. */
struct engine_check {
	uint8_t state;               /* enum check_state */
	uint64_t damaged;            /* damaged pages; 0: none is known */
	char text[ENGINE_TEXT_SIZE]; /* the first of them, in words; "" for none */
	uint64_t passes;             /* that came to their end, since this process started */
	uint64_t pages;              /* of the last one */
	uint64_t unread;             /* files that it could not read */
	uint64_t ended_ms;           /* when it ended; 0: there was none */
	uint64_t good_since_ms;      /* when the last one began that found nothing; 0: none */
};

/* What the control, which sees the directory and the disk, tells the monitor. */
struct engine_told {
	uint8_t directory; /* enum engine_directory */
	pid_t postmaster;  /* 0: none known */
	bool ending;       /* it has ended the server, or is about to, by order */
	uint8_t fault;     /* enum db_fault: of the disk, or why the server ended; FAULT_NONE */
	const char *fault_text; /* in words; "" for FAULT_NONE. Borrowed for the call */
	/* Damaged pages that the background check knows of, the first in words, and since when
	 * all that was written before is known to be good (wall clock, ms; 0: it is not). */
	uint64_t damaged;
	const char *damaged_text; /* borrowed for the call */
	uint64_t good_since_ms;
};

/* What the control is doing to the data directory. */
struct engine_work {
	uint8_t job;       /* enum db_job */
	uint8_t directory; /* enum engine_directory */
	uint64_t done;     /* bytes */
	uint64_t total;    /* bytes; 0: not known */
	uint64_t started_ns;
	pid_t postmaster; /* 0: none */
	char text[ENGINE_TEXT_SIZE];
	bool ending;        /* the server was ended by order, or is being ended */
	wal_lsn wal_oldest; /* nothing of the WAL from here on was removed; 0: not known */
	/* The data are whole only with WAL up to here; timeline 0: they are, or it is not known. */
	struct wal_branch whole_from;
	uint8_t fault; /* enum db_fault; FAULT_NONE */
	char fault_text[ENGINE_TEXT_SIZE];
	struct engine_check check;
};

struct engine_monitor;

struct engine_monitor_events {
	/* Something changed, or an interval passed. Borrowed for the call. */
	void (*viewed)(void *arg, const struct engine_view *view);
	void (*finished)(void *arg, const struct engine_result *result);
	/*
	 * This process has no descriptor or memory left, so the database cannot be looked at: what
	 * was seen last still stands. Told once. A new process may have what this one has not.
	 */
	void (*starved)(void *arg, const char *text);
};

struct engine_monitor_ops {
	/* `conf` and `events` are borrowed until close. */
	int (*open)(struct engine_monitor **monitor, uv_loop_t *loop, const struct conf *conf,
		    const struct engine_monitor_events *events, void *arg, struct err *why);
	/* No event comes after this. */
	void (*close)(struct engine_monitor *monitor);
	/* What the control knows; also a sign to look at once. */
	void (*tell)(struct engine_monitor *monitor, const struct engine_told *told);
	/* Look at once, and every `interval_ms` until `until_ns` (CLOCK_BOOTTIME). */
	void (*watch)(struct engine_monitor *monitor, uint64_t until_ns, uint64_t interval_ms);
	/*
	 * POSITION, PROMOTE or CHECKPOINT. Ends in one finished(); a new order takes the place of
	 * an unfinished one, which then has no result.
	 */
	void (*execute)(struct engine_monitor *monitor, const struct order *order);
};

struct engine_control;

struct engine_control_events {
	/* The work, the directory or the postmaster changed, or progress was made. */
	void (*working)(void *arg, const struct engine_work *work);
	void (*finished)(void *arg, const struct engine_result *result);
};

struct engine_control_ops {
	/* `secret`: the replication password, copied. `conf` and `events` are borrowed until close.
	 */
	int (*open)(struct engine_control **control, uv_loop_t *loop, const struct conf *conf,
		    const char *secret, const struct engine_control_events *events, void *arg,
		    struct err *why);
	/* Ends what copies and rewinds; the database itself goes on. No event comes after this. */
	void (*close)(struct engine_control *control);
	/*
	 * One of the dbctl orders. Ends in one finished(), or in none when a later order took its
	 * place. STOP and KILL end an unfinished START or CONFIGURE.
	 */
	void (*execute)(struct engine_control *control, const struct order *order);
	/* Have a running database read its own configuration files again. */
	int (*reread)(struct engine_control *control, struct err *why);
	/* Look at the directory and the postmaster again. */
	void (*look)(struct engine_control *control);
	const struct engine_work *(*work)(const struct engine_control *control);
};

/*
 * The products. Two functions, so that a program is linked with the
 * half that it uses. NULL: there is no such engine.
 */
const struct engine_monitor_ops *engine_monitor_find(const char *name);
const struct engine_control_ops *engine_control_find(const char *name);

#endif
