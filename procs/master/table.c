#include "table.h"

#include <linux/capability.h>

#include "base/macros.h"
#include "os/caps.h"
#include "os/seccomp.h"

/* The words of workers.def. */
enum { REALTIME_NONE = false, REALTIME_MODEST = true };
enum { ON_DATA = false, ON_ALL = true };
#define CAPS_NONE      UINT64_C(0)
#define CAPS_NET_ADMIN CAP_BIT(CAP_NET_ADMIN)
#define LIMITS(files_, threads_, memory_, file_)                                                   \
	{                                                                                          \
		.files = (files_), .threads = (threads_), .memory_mib = (memory_),                 \
		.file_mib = (file_)                                                                \
	}

/* What a worker is handed beyond the columns of workers.def. */
#define EXTRAS_consensus .secret = SECRET_NODE_KEY, .section = STATUS_CONSENSUS
#define EXTRAS_vip       .packet_socket = true, .section = STATUS_VIP
/* The server that dbctl starts may read its TLS key through a group. */
#define EXTRAS_dbctl   .secret = SECRET_REPLICATION_PASSWORD, .groups = true, .section = STATUS_DBCTL
#define EXTRAS_dbmon   .section = STATUS_DBMON
#define EXTRAS_gateway .secret = SECRET_GATEWAY, .section = STATUS_GATEWAY

const struct worker_row WORKER_ROWS[MASTER_WORKER_COUNT] = {
#define WORKER(name_, user_, caps_, realtime_, nodes_, calls_, files_, ports_, ...)                \
	[MASTER_##name_] = {.name = #name_,                                                        \
			    .user = (user_),                                                       \
			    .caps = (caps_),                                                       \
			    .realtime = (realtime_),                                               \
			    .on_witness = (nodes_),                                                \
			    .calls = (calls_),                                                     \
			    .files = (files_),                                                     \
			    .ports = (ports_),                                                     \
			    .limits = __VA_ARGS__,                                                 \
			    EXTRAS_##name_},
#include "workers.def"
#undef WORKER
};

static const struct {
	enum master_worker from;
	enum master_worker to;
} ROUTES[] = {
#define ROUTE(name, message, from, to, size) {MASTER_##from, MASTER_##to},
#include "routes.def"
#undef ROUTE
};

bool worker_runs_here(enum master_worker worker, const struct conf *conf)
{
	return WORKER_ROWS[worker].on_witness || conf_self(conf)->kind == MEMBER_DATA;
}

const char *worker_user(enum master_worker worker, const struct conf *conf)
{
	const char *user = WORKER_ROWS[worker].user;

	return user != NULL ? user : conf->pg_os_user;
}

bool worker_route_exists(enum master_worker from, enum master_worker to)
{
	for (size_t i = 0; i < COUNT_OF(ROUTES); i++) {
		if (ROUTES[i].from == from && ROUTES[i].to == to)
			return true;
	}
	return false;
}

void table_print_sysusers(FILE *to)
{
	fputs("# sysusers.d file of mha4rdb: one user per worker (mhad --print-sysusers)\n", to);
	for (unsigned i = 0; i < MASTER_WORKER_COUNT; i++) {
		if (WORKER_ROWS[i].user != NULL)
			fprintf(to, "u %s - \"mha4rdb %s worker\" - -\n", WORKER_ROWS[i].user,
				WORKER_ROWS[i].name);
	}
}

static const struct {
	unsigned group;
	const char *name;
} CALL_NAMES[] = {{CALLS_BASE, "base"},         {CALLS_TCP, "tcp"},
		  {CALLS_DISK, "disk"},         {CALLS_NETWORK, "network"},
		  {CALLS_DATABASE, "database"}, {CALLS_CLIENTS, "clients"}};

static void print_calls(FILE *to, unsigned calls)
{
	const char *between = "";

	fputs(" calls=", to);
	if (calls == CALLS_NONE)
		fputs("all", to);
	for (size_t i = 0; i < COUNT_OF(CALL_NAMES); i++) {
		if ((calls & CALL_NAMES[i].group) == 0)
			continue;
		fprintf(to, "%s%s", between, CALL_NAMES[i].name);
		between = ",";
	}
}

void table_print_rights(FILE *to)
{
	for (unsigned i = 0; i < MASTER_WORKER_COUNT; i++) {
		const struct worker_row *row = &WORKER_ROWS[i];

		fprintf(to, "%s user=%s caps=%llx realtime=%d groups=%d packet=%d secret=%d",
			row->name, row->user != NULL ? row->user : "database",
			(unsigned long long)row->caps, row->realtime, row->groups,
			row->packet_socket, row->secret != SECRET_NONE);
		print_calls(to, row->calls);
		fprintf(to, " landlock=%d files=%u threads=%u memory_mib=%u file_mib=%u\n",
			(row->files & FILES_ENGINE) == 0, row->limits.files, row->limits.threads,
			row->limits.memory_mib, row->limits.file_mib);
	}
}
