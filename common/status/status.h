/*
 * The status segment: a directory of shared-memory files in paths.run_dir/status, one file per
 * section and exactly one writer per file (its owner; everybody else maps it read-only).
 * docs/decisions/0003-status-sections.md says why it is one file per writer.
 *
 * Layout: struct status_header, then two slots, each the section's struct as 64-bit words under a
 * seqlock of its own. The writer fills the slot that is not current and then makes it current, so
 * a writer that is killed half-way leaves the section it published before. Reading costs no system
 * call and never blocks the writer. A reader of a torn, foreign or older section gets an error,
 * not garbage.
 */
#ifndef MHA_STATUS_STATUS_H
#define MHA_STATUS_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "core/agent.h"
#include "status/margins.h"
#include "status/times.h"

#define STATUS_MAGIC   UINT64_C(0x6d68613472646200)
#define STATUS_VERSION 4
#define STATUS_TEXT    256
#define STATUS_WORKERS 8

enum status_section_id {
	STATUS_MASTER = 0,
	STATUS_CONSENSUS,
	STATUS_DBMON,
	STATUS_DBCTL,
	STATUS_VIP,
	STATUS_GATEWAY,
	STATUS_SECTION_COUNT
};

struct status_worker {
	char name[16];
	int32_t pid; /* 0: not running */
	uint32_t restarts;
	uint64_t started_ns; /* CLOCK_BOOTTIME */
	bool ready;
	uint64_t cpu_us; /* processor time that this life has used, and what it has in memory */
	uint64_t memory_bytes;
};

enum watchdog_state {
	WATCHDOG_STATE_OFF = 0,     /* not wanted */
	WATCHDOG_STATE_UNAVAILABLE, /* wanted, but `error` */
	WATCHDOG_STATE_READY,       /* tested; not armed, because this node holds no lease */
	WATCHDOG_STATE_ARMED,       /* fed */
	WATCHDOG_STATE_STARVING,    /* armed and not fed: the host is about to be reset */
	WATCHDOG_STATE_COUNT
};

struct status_watchdog {
	uint8_t state; /* enum watchdog_state */
	uint32_t timeout_s;
	uint64_t feeds;
	uint64_t armings;
	uint64_t starvations;
	char error[STATUS_TEXT];
};

struct status_master {
	int32_t pid;
	uint64_t started_ns;
	char node[NODE_NAME_SIZE];
	char cluster[NODE_NAME_SIZE];
	struct status_watchdog watchdog;
	uint32_t worker_count;
	struct status_worker workers[STATUS_WORKERS];
};

struct status_peer {
	bool known;
	uint64_t heard_ns; /* CLOCK_BOOTTIME of this host */
	struct facts facts;
	bool clock_known;
	int64_t clock_ms; /* its wall clock when it sent them, ahead of this host's on arrival */
};

enum drop_reason {
	DROP_STRANGER = 0, /* key not enrolled, refused by ZAP */
	DROP_CLUSTER,      /* another cluster id */
	DROP_VERSION,      /* another protocol version */
	DROP_MALFORMED,    /* does not decode, or a field out of range */
	DROP_IDENTITY,     /* says it is from another node than its key */
	DROP_TOO_BIG,
	DROP_REASON_COUNT
};

/* Phases of a change of primary, as the decision record has them. */
enum status_phase {
	STATUS_PHASE_DETECT = 0,
	STATUS_PHASE_SURVEY,
	STATUS_PHASE_FENCE,
	STATUS_PHASE_PROMOTE,
	STATUS_PHASE_OPEN, /* the rest, until clients are let in */
	STATUS_PHASE_COUNT
};

struct status_consensus {
	uint64_t boot; /* a number of the host's boot: times of another boot mean nothing */
	uint64_t started_ns;
	uint64_t updated_ns;
	bool failed; /* Raft is unavailable on this node; `failure` says why */
	char failure[STATUS_TEXT];
	uint8_t raft_state; /* libraft: 0 unavailable 1 follower 2 candidate 3 leader */
	uint64_t term;
	node_id leader;
	uint64_t last_index;
	uint64_t applied_index;
	uint64_t lease_until_ns; /* 0: none */
	uint64_t lease_term;     /* term under which it was earned */
	uint8_t phase;           /* enum leader_phase */
	char why[STATUS_TEXT];
	uint8_t hold;         /* enum hold_reason: why this leader promotes nobody */
	node_set waiting_for; /* PHASE_BLOCKED: whose answers are missed */
	uint8_t waiting_count;
	/* What this agent saw committed since the host was started. */
	uint64_t failovers[CAUSE_COUNT];
	uint64_t holds;
	uint64_t operations[OPERATION_STATE_COUNT]; /* by the state that they came to */
	uint64_t elections;                         /* leaderships won by this node */
	struct status_times commits;                /* of entries that this node proposed */
	struct status_times writes;                 /* of its log, to the disk and synced */
	struct status_times phases[STATUS_PHASE_COUNT];
	uint64_t dropped[DROP_REASON_COUNT];
	uint64_t event_index; /* number of the last event that was told: all that it says is here */
	uint32_t event_sub;
	struct cluster cluster;
	struct status_peer peers[NODES_MAX + 1]; /* own facts included */
};

struct status_dbmon {
	uint64_t updated_ns;
	struct facts facts;
	char detail[STATUS_TEXT];
	uint64_t probes;
	uint64_t probe_failures;
	uint64_t last_probe_us;
	uint64_t last_flush_us;
	int32_t postmaster_pid; /* 0: none */
};

struct status_dbctl {
	uint64_t updated_ns;
	uint64_t epoch_seen;
	uint8_t job;
	uint64_t job_done;
	uint64_t job_total;
	uint64_t job_started_ns;
	int32_t postmaster_pid;
	char last_error[STATUS_TEXT];
	uint64_t orders_done;
	uint64_t orders_failed;
	/* The background check of the data; see struct engine_check of engine/engine.h. */
	uint8_t check; /* enum check_state */
	uint64_t check_damaged;
	uint64_t check_passes;
	uint64_t check_pages;
	uint64_t check_unread;
	uint64_t check_ended_ms; /* wall clock */
	char check_text[STATUS_TEXT];
};

struct status_vip {
	uint64_t updated_ns;
	uint8_t fence; /* enum fence_state */
	uint64_t epoch;
	uint64_t until_ns;
	bool vip_held;
	bool kernel_fence; /* nftables is in use */
	uint64_t renewals;
	uint64_t expiries; /* leases that ran out while open */
	uint64_t last_renew_us;
	char last_error[STATUS_TEXT];
	struct status_margins margins; /* since this process started */
	struct status_margins periods; /* the same; of the open fence's renewals */
	uint64_t longest_period_us;    /* since this process started */
	struct status_margins leases;  /* what was left of the lease when it was renewed */
	uint64_t opened_ns;            /* open for clients since then; 0: it is not */
	uint64_t open_us_total;        /* and so long before, since this process started */
	char vip[64];                  /* as configured; empty: none is */
};

struct status_gateway {
	uint64_t updated_ns;
	uint64_t http_requests;
	uint64_t client_requests;
	uint64_t events_published;
	uint64_t streams;      /* HTTP clients that hear events now */
	uint64_t streams_slow; /* and those that were dropped */
	uint64_t refused;
	struct status_times http; /* from the request to its answer */
	struct status_times requests;
};

/* One mapped section. Caller's storage. */
struct status_map {
	void *base;
	size_t size;
	enum status_section_id id;
	bool writable;
};

/* Size of the section's struct. */
size_t status_section_size(enum status_section_id id);
/* "consensus", ...: also the file's name. */
const char *status_section_name(enum status_section_id id);

/*
 * Open the section's file for its one writer. What an earlier writer of the same version published
 * stays readable; an empty, foreign or older file is made new. `fd` is borrowed for the call.
 */
MUST_CHECK int status_open_fd(struct status_map *map, enum status_section_id id, int fd,
			      struct err *why);
/*
 * Map RUN_DIR/status/<name> read-only. ERR_NOT_FOUND: no file, or nobody has opened it for writing
 * yet; ERR_VERSION: another version or size; ERR_CORRUPT: no such section; ERR_IO.
 */
MUST_CHECK int status_open_read(struct status_map *map, enum status_section_id id,
				const char *run_dir, struct err *why);
void status_close(struct status_map *map);

/* Publish `section` (status_section_size() bytes). Wait-free. */
void status_publish(struct status_map *map, const void *section);
/*
 * Copy a consistent section; the writer may use it on its own map too. ERR_NOT_FOUND: never
 * published; ERR_BUSY: it changed faster than it could be copied.
 */
MUST_CHECK int status_read(const struct status_map *map, void *section, struct err *why);

#endif
