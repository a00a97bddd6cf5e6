#include "worker/confine.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "os/landlock.h"
#include "os/sandbox.h"
#include "os/sanitizer.h"
#include "os/seccomp.h"

#define PATHS_MAX 24

static const struct confinement {
	unsigned calls; /* enum call_group */
	unsigned files; /* enum sandbox_files */
	unsigned ports; /* enum sandbox_ports */
} CONFINEMENTS[WORKER_COUNT] = {
#define WORKER(name, user, capabilities, realtime, nodes, calls, files, ports, ...)                \
	[WORKER_##name] = {(calls), (files), (ports)},
#include "workers.def"
#undef WORKER
};

/* What the C library reads for anybody. */
static const struct landlock_path FOR_ALL[] = {
	{"/dev/null", LANDLOCK_READ},
	{"/dev/urandom", LANDLOCK_READ},
	{"/etc/localtime", LANDLOCK_READ},
	{"/usr/share/zoneinfo", LANDLOCK_READ},
	{"/sys/devices/system/cpu", LANDLOCK_READ},
	{"/etc/nsswitch.conf", LANDLOCK_READ},
	{"/etc/protocols", LANDLOCK_READ},
};
static const struct landlock_path NAMES[] = {
	{"/etc/passwd", LANDLOCK_READ},    {"/etc/hosts", LANDLOCK_READ},
	{"/etc/krb5.conf", LANDLOCK_READ}, {"/etc/ssl/openssl.cnf", LANDLOCK_READ},
	{"/usr/lib/ssl", LANDLOCK_READ},   {"/etc/pki/tls/openssl.cnf", LANDLOCK_READ},
};

struct reach {
	struct landlock_rules rules;
	struct landlock_path paths[PATHS_MAX];
	char own[4][256]; /* paths made of the configuration */
	unsigned own_count;
};

static void may(struct reach *reach, const char *path, unsigned access)
{
	CHECK(reach->rules.path_count < PATHS_MAX);
	reach->paths[reach->rules.path_count++] = (struct landlock_path){path, access};
}

static void may_below(struct reach *reach, const char *folder, const char *name, unsigned access)
{
	char *path;

	CHECK(reach->own_count < COUNT_OF(reach->own));
	path = reach->own[reach->own_count++];
	CHECK(snprintf(path, sizeof(reach->own[0]), "%s/%s", folder, name) <
	      (int)sizeof(reach->own[0]));
	may(reach, path, access);
}

static void add_files(struct reach *reach, enum worker_id id, const struct conf *conf)
{
	const unsigned files = CONFINEMENTS[id].files;
	char bus[32];

	for (size_t i = 0; i < COUNT_OF(FOR_ALL); i++)
		may(reach, FOR_ALL[i].path, FOR_ALL[i].access);
	for (size_t i = 0; (files & FILES_NAMES) != 0 && i < COUNT_OF(NAMES); i++)
		may(reach, NAMES[i].path, NAMES[i].access);
	snprintf(bus, sizeof(bus), "bus/%s", worker_id_name(id));
	may_below(reach, conf->run_dir, bus, LANDLOCK_SOCKETS);
	if ((files & FILES_RAFT) != 0)
		may_below(reach, conf->state_dir, "raft", LANDLOCK_READ | LANDLOCK_WRITE);
	if ((files & FILES_STATUS) != 0)
		may_below(reach, conf->run_dir, "status", LANDLOCK_READ);
	if ((files & FILES_CLIENT) != 0)
		may_below(reach, conf->run_dir, "client", LANDLOCK_SOCKETS);
	/* A sanitizer looks at its own threads. */
	if ((files & FILES_PROC) != 0 || OS_SANITIZED)
		may(reach, "/proc", LANDLOCK_READ);
	/* Whether the database's control group is frozen. */
	/* A sanitizer looks at its own threads. */
	if ((files & FILES_PROC) != 0 || OS_SANITIZED)
		may(reach, "/sys/fs/cgroup", LANDLOCK_READ);
}

/* The port at the end of "address:port"; an empty endpoint has none. */
static void add_listener(struct landlock_rules *rules, const char *endpoint)
{
	const char *colon = strrchr(endpoint, ':');

	CHECK(rules->listen_count < LANDLOCK_PORTS_MAX);
	if (colon != NULL)
		rules->listen[rules->listen_count++] = (uint16_t)strtoul(colon + 1, NULL, 10);
}

static void add_ports(struct landlock_rules *rules, unsigned ports, const struct conf *conf)
{
	rules->network = (ports & PORTS_ANY) == 0;
	if ((ports & PORTS_PEERS) != 0) {
		rules->listen[rules->listen_count++] = (uint16_t)conf_self(conf)->peer_port;
		/* Connections come from this node's own address, whatever the port. */
		rules->listen[rules->listen_count++] = 0;
		for (unsigned i = 0; i < conf->member_count; i++)
			rules->connect[rules->connect_count++] =
				(uint16_t)conf->members[i].peer_port;
	}
	if ((ports & PORTS_CLIENTS) != 0) {
		add_listener(rules, conf->http_listen);
		add_listener(rules, conf->client_listen);
		add_listener(rules, conf->client_publish);
	}
}

static int enter_landlock(enum worker_id id, const struct conf *conf, struct err *why)
{
	struct reach reach = {.own_count = 0};
	int ruleset, rc;

	reach.rules.paths = reach.paths;
	reach.rules.alone = true;
	add_files(&reach, id, conf);
	add_ports(&reach.rules, CONFINEMENTS[id].ports, conf);
	ruleset = landlock_make(&reach.rules, why);
	if (ruleset == ERR_NOT_FOUND && conf->sandbox_landlock == LANDLOCK_AUTOMATIC) {
		log_event(LOG_INFO, "sandbox.no_landlock",
			  "this kernel has no Landlock; files are left to owners and modes");
		return 0;
	}
	if (ruleset < 0)
		return ruleset;
	rc = landlock_enter(ruleset, why);
	close(ruleset);
	return rc;
}

#if OS_SANITIZED
/*
 * The leak sanitizer asks this at the end of the process. Its check stops the process with a tracer
 * that the system call filter ends, and would wait for it for ever; leaks are looked for in the
 * unit tests, which nothing confines.
 */
int __lsan_is_turned_off(void);

int __lsan_is_turned_off(void)
{
	return 1;
}
#endif

int worker_confine(enum worker_id id, const struct conf *conf, int control, struct err *why)
{
	const struct confinement *row = &CONFINEMENTS[id];
	int rc = 0;

	/* A sanitizer's leak check at the end attaches to its own process. */
	if (!OS_SANITIZED && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return err_set(why, ERR_IO, "the process cannot be made undumpable");
	if ((row->files & FILES_ENGINE) == 0 && conf->sandbox_landlock != LANDLOCK_OFF)
		rc = enter_landlock(id, conf, why);
	if (rc == 0 && row->calls != CALLS_NONE && conf->sandbox_seccomp != SANDBOX_OFF)
		rc = seccomp_allow(row->calls, conf->sandbox_seccomp == SANDBOX_LOG, control, why);
	return rc;
}
