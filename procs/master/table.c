#include "table.h"

#include <linux/capability.h>

#include "base/macros.h"
#include "os/caps.h"

/* The words of workers.def. */
enum { REALTIME_NONE = false, REALTIME_MODEST = true };
enum { ON_DATA = false, ON_ALL = true };
#define CAPS_NONE      UINT64_C(0)
#define CAPS_NET_ADMIN CAP_BIT(CAP_NET_ADMIN)

/* What a worker is handed beyond the columns of workers.def. */
#define EXTRAS_consensus .secret = SECRET_NODE_KEY, .section = STATUS_CONSENSUS
#define EXTRAS_vip       .packet_socket = true, .section = STATUS_VIP
/* The server that dbctl starts may read its TLS key through a group. */
#define EXTRAS_dbctl   .secret = SECRET_REPLICATION_PASSWORD, .groups = true, .section = STATUS_DBCTL
#define EXTRAS_dbmon   .section = STATUS_DBMON
#define EXTRAS_gateway .section = STATUS_GATEWAY

const struct worker_row WORKER_ROWS[MASTER_WORKER_COUNT] = {
#define WORKER(name_, user_, caps_, realtime_, nodes_)                                             \
	[MASTER_##name_] = {.name = #name_,                                                        \
			    .user = (user_),                                                       \
			    .caps = (caps_),                                                       \
			    .realtime = (realtime_),                                               \
			    .on_witness = (nodes_),                                                \
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
