/* The process table and the routes, as the master needs them. */
#ifndef MHA_MASTER_TABLE_H
#define MHA_MASTER_TABLE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "conf/conf.h"
#include "os/sandbox.h"
#include "status/status.h"

enum master_worker {
#define WORKER(name, ...) MASTER_##name,
#include "workers.def"
#undef WORKER
	MASTER_WORKER_COUNT
};

/* What a worker finds on descriptor 7. */
enum secret_kind {
	SECRET_NONE,
	SECRET_NODE_KEY,
	SECRET_REPLICATION_PASSWORD,
	SECRET_GATEWAY,
	SECRET_COUNT
};

struct worker_row {
	const char *name;
	const char *user; /* NULL: postgresql.os_user */
	uint64_t caps;
	bool realtime;
	bool on_witness;    /* runs where there is no database, too */
	bool packet_socket; /* gets descriptor 6 */
	bool groups;        /* keeps its user's supplementary groups */
	unsigned calls;     /* enum call_group; 0: no list */
	unsigned files;     /* enum sandbox_files */
	unsigned ports;     /* enum sandbox_ports */
	struct sandbox_limits limits;
	enum secret_kind secret;
	enum status_section_id section;
};

extern const struct worker_row WORKER_ROWS[MASTER_WORKER_COUNT];

bool worker_runs_here(enum master_worker worker, const struct conf *conf);
const char *worker_user(enum master_worker worker, const struct conf *conf);
/* Whether `from` may send `to` anything. */
bool worker_route_exists(enum master_worker from, enum master_worker to);

/* The sysusers.d file: every user of the table but the database's. */
void table_print_sysusers(FILE *to);
/* One line per worker: what it may, as key=value words. */
void table_print_rights(FILE *to);

#endif
