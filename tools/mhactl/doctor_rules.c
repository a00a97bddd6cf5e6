/* The rules about host, configuration, secrets, agent, fence, disks and ports. */
#include "mhactl/doctor.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "view/format.h"

#define MS_PER_NS UINT64_C(1000000)
#define GIB       (UINT64_C(1) << 30)
#define MIB       (UINT64_C(1) << 20)
/* Time for people and certificates only, never for a lease: a second is much. */
#define CLOCK_ERROR_US 1000000

struct rule {
	const char *area;
	const char *name;
	void (*judge)(const struct rule *rule, const struct doctor_facts *facts,
		      struct findings *found);
};

void finding_add(struct findings *found, enum finding_level level, const char *area,
		 const char *name, const char *remedy, const char *format, ...)
{
	struct finding *finding;
	va_list args;

	if (found->count == FINDINGS_MAX)
		return;
	finding = &found->list[found->count++];
	finding->level = level;
	finding->area = area;
	finding->name = name;
	snprintf(finding->remedy, sizeof(finding->remedy), "%s", remedy != NULL ? remedy : "");
	va_start(args, format);
	vsnprintf(finding->text, sizeof(finding->text), format, args);
	va_end(args);
}

unsigned findings_count(const struct findings *found, enum finding_level level)
{
	unsigned count = 0;

	for (unsigned i = 0; i < found->count; i++)
		count += found->list[i].level == level;
	return count;
}

const char *finding_level_name(enum finding_level level)
{
	static const char *const names[FINDING_LEVEL_COUNT] = {
		[FINDING_OK] = "ok",
		[FINDING_WARNING] = "warning",
		[FINDING_ERROR] = "error",
	};

	return level < FINDING_LEVEL_COUNT ? names[level] : "unknown";
}

#define SAY(level, remedy, ...)                                                                    \
	finding_add(found, (level), rule->area, rule->name, (remedy), __VA_ARGS__)
#define OK(...)              SAY(FINDING_OK, NULL, __VA_ARGS__)
#define WARNING(remedy, ...) SAY(FINDING_WARNING, (remedy), __VA_ARGS__)
#define ERROR(remedy, ...)   SAY(FINDING_ERROR, (remedy), __VA_ARGS__)

/* host */

static void rights(const struct rule *rule, const struct doctor_facts *facts,
		   struct findings *found)
{
	if (facts->local && !facts->root)
		WARNING("run it as root",
			"not root: keys, password files, the kernel's fence and the database's "
			"settings are not looked at");
}

static void clock_sync(const struct rule *rule, const struct doctor_facts *facts,
		       struct findings *found)
{
	if (facts->clock_synced == SEEN_UNKNOWN)
		return;
	if (facts->clock_synced == SEEN_NO)
		WARNING("run a time service (chrony, systemd-timesyncd); leases do not need it, "
			"schedules, logs and certificates do",
			"nobody keeps the clock: the kernel calls it not synchronised");
	else if (facts->clock_error_us > CLOCK_ERROR_US)
		WARNING("look at the time service (chronyc tracking)",
			"the clock may be wrong by %.1f s", (double)facts->clock_error_us / 1e6);
	else
		OK("the clock is synchronised, to %.1f ms at worst",
		   (double)facts->clock_error_us / 1e3);
}

static void clock_source(const struct rule *rule, const struct doctor_facts *facts,
			 struct findings *found)
{
	static const char *const SLOW[] = {"hpet", "acpi_pm", "jiffies", "refined-jiffies", "pit"};

	if (facts->clock_source[0] == '\0')
		return;
	for (size_t i = 0; i < COUNT_OF(SLOW); i++) {
		if (strcmp(facts->clock_source, SLOW[i]) == 0) {
			WARNING("find out why the kernel gave up tsc (dmesg); every lease is "
				"measured by this clock",
				"the clock source is %s, which is slow or coarse",
				facts->clock_source);
			return;
		}
	}
	OK("the clock source is %s", facts->clock_source);
}

static void pidfd(const struct rule *rule, const struct doctor_facts *facts, struct findings *found)
{
	if (facts->pidfd == SEEN_NO)
		ERROR("a kernel of 5.3 or later is needed",
		      "the kernel has no pidfd: the end of a process cannot be waited for");
	else if (facts->pidfd == SEEN_YES)
		OK("the kernel has pidfd");
}

static void landlock(const struct rule *rule, const struct doctor_facts *facts,
		     struct findings *found)
{
	const bool required =
		facts->conf != NULL && facts->conf->sandbox_landlock == LANDLOCK_REQUIRED;

	if (facts->landlock < 0)
		return;
	if (facts->landlock > 0)
		OK("the kernel has Landlock %d", facts->landlock);
	else if (required)
		ERROR("boot with lsm=landlock,..., or set sandbox.landlock to automatic",
		      "the kernel has no Landlock, and sandbox.landlock is required");
	else
		WARNING("boot with lsm=landlock,... if the kernel was built with it",
			"the kernel has no Landlock: workers can reach more files than they need");
}

static void nftables(const struct rule *rule, const struct doctor_facts *facts,
		     struct findings *found)
{
	if (facts->nftables == SEEN_YES)
		OK("the kernel has nftables");
	else if (facts->nftables == SEEN_NO && facts->conf != NULL &&
		 facts->conf->fence_kernel == FENCE_MODE_OFF)
		OK("the kernel has no nftables, and fence.kernel is off");
	else if (facts->nftables == SEEN_NO)
		ERROR("load nf_tables (modprobe nf_tables)",
		      "the kernel does not answer about nftables: nothing closes the database's "
		      "port when the agent cannot");
}

static void limits(const struct rule *rule, const struct doctor_facts *facts,
		   struct findings *found)
{
	if (!facts->limits_known)
		return;
	if (facts->memlock_bytes < 64 * MIB)
		WARNING("LimitMEMLOCK=infinity in the service's unit",
			"the consensus worker may lock only %" PRIu64
			" kB of memory: a starved host may page out who keeps the lease",
			facts->memlock_bytes / 1024);
	else
		OK("the consensus worker may lock its memory");
	if (facts->rtprio == 0)
		WARNING("LimitRTPRIO=10 in the service's unit",
			"the consensus worker has no limit for a real-time priority: it competes "
			"with the database for the processor");
	else
		OK("the consensus worker may have a real-time priority");
}

static void overcommit(const struct rule *rule, const struct doctor_facts *facts,
		       struct findings *found)
{
	if (facts->overcommits == SEEN_NO)
		OK("memory is not overcommitted (vm.overcommit_memory=2)");
	else if (facts->overcommits == SEEN_YES)
		OK("memory is overcommitted: the kernel may end a database process when it runs "
		   "out (vm.overcommit_memory=2 refuses the allocation instead)");
}

/* configuration and secrets */

static void configuration(const struct rule *rule, const struct doctor_facts *facts,
			  struct findings *found)
{
	if (!facts->local)
		return;
	if (facts->conf != NULL)
		OK("%s is valid", facts->conf_path);
	else if (facts->conf_why.code == ERR_PERM)
		WARNING("run it as root", "%s", facts->conf_why.text);
	else if (facts->conf_why.code == ERR_NOT_FOUND)
		WARNING("name the file with --config", "%s", facts->conf_why.text);
	else
		ERROR("correct the file; `mhactl config check` says the same", "%s",
		      facts->conf_why.text);
	if (facts->conf_trusted == SEEN_NO)
		ERROR("chown root: and chmod go-w; mhad refuses to start with it",
		      "%s belongs to another user than root, or others may write it",
		      facts->conf_path);
}

static void node_key(const struct rule *rule, const struct doctor_facts *facts,
		     struct findings *found)
{
	const struct conf_member *self;

	if (!facts->secrets_known)
		return;
	if (facts->key_why.code != 0) {
		ERROR("chown root: and chmod 600, or make it anew with mha-keygen; without it the "
		      "agent does not start",
		      "the node's key: %s", facts->key_why.text);
		return;
	}
	if (facts->conf == NULL || facts->public_key[0] == '\0')
		return;
	self = conf_self(facts->conf);
	if (strcmp(self->public_key, facts->public_key) == 0)
		OK("the node's key belongs to public_key of %s in members", self->name);
	else if (strcmp(self->next_public_key, facts->public_key) == 0)
		WARNING("finish the change: next_public_key becomes public_key on every node",
			"the node's key is the next one of %s", self->name);
	else
		ERROR("put the key's public part into members of every node (mha-keygen shows it), "
		      "or bring the right key back; the others refuse this node as it is",
		      "the node's key does not belong to public_key of %s in members", self->name);
}

static void passwords(const struct rule *rule, const struct doctor_facts *facts,
		      struct findings *found)
{
	if (!facts->secrets_known || facts->conf == NULL ||
	    conf_self(facts->conf)->kind != MEMBER_DATA)
		return;
	if (facts->password_why.code != 0)
		ERROR("the file must belong to root or the database's user, with mode 0600",
		      "postgresql.replication_password_file: %s", facts->password_why.text);
	else
		OK("the replication password's file is nobody else's to read");
}

static void access_files(const struct rule *rule, const struct doctor_facts *facts,
			 struct findings *found)
{
	if (!facts->secrets_known || facts->conf == NULL)
		return;
	if (facts->access_why.code != 0)
		ERROR("correct the file; a reload keeps the old one until then", "%s",
		      facts->access_why.text);
	else
		OK("the files of client.* and http.* are readable and safe");
}

/* the agent and what it says */

static void agent(const struct rule *rule, const struct doctor_facts *facts, struct findings *found)
{
	const Mha__Client__Status *status = facts->status;

	if (status == NULL) {
		ERROR("systemctl status mha4rdb, and its log", "%s", facts->status_why.text);
		return;
	}
	if (status->from_segment)
		ERROR("systemctl status mha4rdb, and its log; what follows about the cluster is "
		      "what it last wrote",
		      "the agent does not answer (%s)", facts->status_why.text);
	else if (strcmp(status->version, facts->version) != 0)
		WARNING("restart the agent when it suits: the database goes on meanwhile",
			"the agent runs version %s, this program is %s", status->version,
			facts->version);
	else
		OK("the agent answers, version %s", status->version);
	if (status->failure[0] != '\0')
		ERROR("see its log; it takes part again once that is mended",
		      "this node takes no part in the consensus: %s", status->failure);
	if (status->age_ms > 3000)
		ERROR("see the log of mhad: the consensus worker hangs or ends again and again",
		      "the consensus worker's last word is %.1f s old",
		      (double)status->age_ms / 1e3);
}

static void workers(const struct rule *rule, const struct doctor_facts *facts,
		    struct findings *found)
{
	unsigned good = 0;

	for (size_t i = 0; facts->status != NULL && i < facts->status->n_workers; i++) {
		const Mha__Client__Worker *worker = facts->status->workers[i];

		if (worker->pid == 0)
			ERROR("see the log of mhad for its last words", "worker %s does not run",
			      worker->name);
		else if (worker->restarts > 0 && worker->up_ms >= 0 && worker->up_ms < 3600000)
			WARNING("see the log of mhad for its last words",
				"worker %s was restarted %" PRIu32 " times, last within the hour",
				worker->name, worker->restarts);
		else
			good++;
	}
	if (good > 0 && good == facts->status->n_workers)
		OK("%u workers run", good);
}

static void watchdog(const struct rule *rule, const struct doctor_facts *facts,
		     struct findings *found)
{
	const char *state = facts->status != NULL ? facts->status->watchdog : "";

	if (strcmp(state, "unavailable") == 0)
		WARNING("load a watchdog driver (softdog is better than none), or set "
			"watchdog.mode to off",
			"the watchdog is wanted and cannot be used");
	else if (strcmp(state, "starving") == 0)
		ERROR("the host is about to be reset", "the watchdog is armed and not fed");
	else if (strcmp(state, "ready") == 0 || strcmp(state, "armed") == 0)
		OK("the watchdog is %s", state);
}

static void quorum(const struct rule *rule, const struct doctor_facts *facts,
		   struct findings *found)
{
	const Mha__Client__Status *status = facts->status;

	if (status == NULL || status->voters == 0)
		return;
	if (2 * status->voters_heard <= status->voters)
		ERROR("bring agents back: without a majority nobody is primary for long",
		      "%" PRIu32 " of %" PRIu32 " members are heard, no majority",
		      status->voters_heard, status->voters);
	else if (2 * (status->voters_heard - 1) <= status->voters && status->voters > 1 &&
		 status->voters_heard < status->voters)
		WARNING("bring the missing agents back: one loss more, and there is no majority",
			"%" PRIu32 " of %" PRIu32 " members are heard", status->voters_heard,
			status->voters);
	else if (status->voters_heard < status->voters)
		WARNING("bring the missing agents back",
			"%" PRIu32 " of %" PRIu32 " members are heard", status->voters_heard,
			status->voters);
	else
		OK("all %" PRIu32 " members are heard", status->voters);
}

static void members(const struct rule *rule, const struct doctor_facts *facts,
		    struct findings *found)
{
	unsigned good = 0;

	for (size_t i = 0; facts->status != NULL && i < facts->status->n_members; i++) {
		const Mha__Client__Member *member = facts->status->members[i];

		if (member->maintenance)
			WARNING("`mhactl maintenance off NODE` when the work is done",
				"%s is in maintenance", member->name);
		else if (!member->heard)
			ERROR("start its agent, or mend the network to it; see ports below",
			      "%s is not heard", member->name);
		else if (member->fault[0] != '\0')
			ERROR(member->fault_advice, "%s: %s", member->name, member->fault);
		else if (member->rebuilding)
			WARNING("wait until `mhactl list` shows that it streams",
				"%s is being rebuilt", member->name);
		else if (strcmp(member->role, "standby") == 0 && !member->streaming)
			ERROR("see `mhactl list` and the log of its database",
			      "%s is a standby that receives no WAL (%s)", member->name,
			      member->state);
		else
			good++;
	}
	if (facts->status != NULL && good > 0 && good == facts->status->n_members)
		OK("every member is well");
}

static void service(const struct rule *rule, const struct doctor_facts *facts,
		    struct findings *found)
{
	const Mha__Client__Status *status = facts->status;

	if (status == NULL)
		return;
	if (status->leader == NULL || !status->leader->known)
		ERROR("`mhactl why`", "nobody is known to be primary: %s",
		      status->leader != NULL && status->leader->why[0] != '\0'
			      ? status->leader->why
			      : "no primary is on record");
	else
		OK("%s is primary", status->leader->name);
	if (status->settings != NULL && status->settings->paused)
		WARNING("`mhactl resume`", "the cluster is paused: nobody is promoted");
	if (status->settings != NULL && !status->settings->auto_failover)
		WARNING("`mhactl auto-failover on` if that is not meant so",
			"a failover waits for an operator");
	if (status->degraded)
		WARNING("bring the missing standbys back",
			"commits are held by fewer standbys than the mode wants");
}

/* fence */

static void fence_table(const struct rule *rule, const struct doctor_facts *facts,
			struct findings *found)
{
	const struct conf *conf = facts->conf;
	const struct status_vip *vip;

	if (facts->fence_table == SEEN_UNKNOWN || facts->segment == NULL ||
	    !facts->segment->has[STATUS_VIP])
		return;
	vip = &facts->segment->vip;
	if (conf != NULL && conf->fence_kernel == FENCE_MODE_OFF) {
		if (facts->fence_table == SEEN_YES)
			WARNING("restart the agent with the setting that is meant",
				"fence.kernel is off, and the table inet mha4rdb is there");
		return;
	}
	if (vip->kernel_fence && facts->fence_table == SEEN_NO)
		ERROR("restart the agent if it does not come back within a second; find out who "
		      "flushes all tables (a firewall's reload)",
		      "the agent relies on the table inet mha4rdb, and it is not there");
	else if (!vip->kernel_fence)
		WARNING("load nf_tables and restart the agent; until then the database is stopped "
			"before its lease ends",
			"the agent does without the kernel's fence%s%s",
			vip->last_error[0] != '\0' ? ": " : "", vip->last_error);
	else
		OK("the table inet mha4rdb is there");
}

static void fence_state(const struct rule *rule, const struct doctor_facts *facts,
			struct findings *found)
{
	const Mha__Client__Status *status = facts->status;
	const struct status_vip *vip;
	const char *self;
	bool primary;

	if (status == NULL || status->from_segment || facts->segment == NULL ||
	    !facts->segment->has[STATUS_VIP])
		return;
	vip = &facts->segment->vip;
	self = status->node;
	primary = status->leader != NULL && status->leader->known &&
		  strcmp(status->leader->name, self) == 0;
	if (vip->fence == FENCE_OPEN && vip->until_ns > facts->now_ns && !primary)
		ERROR("see `mhactl status` and the log; two primaries must never be reachable",
		      "the fence here is open, and this node is not the serving primary");
	else if (primary && strcmp(status->fence, "open") != 0)
		ERROR("see the log of mhad; clients are shut out",
		      "this node is the primary, and its fence is %s", status->fence);
	else
		OK("the fence is %s, as it should be", status->fence);
	if (vip->last_error[0] != '\0' && vip->kernel_fence)
		WARNING("see the log of mhad", "the vip worker's last error: %s", vip->last_error);
}

/* clocks of the members, disks, ports */

static void member_clocks(const struct rule *rule, const struct doctor_facts *facts,
			  struct findings *found)
{
	unsigned known = 0;
	bool good = true;

	for (size_t i = 0; facts->status != NULL && i < facts->status->n_members; i++) {
		const Mha__Client__Member *member = facts->status->members[i];

		if (!member->clock_known)
			continue;
		known++;
		if (llabs(member->clock_ms) < 1000)
			continue;
		good = false;
		WARNING("run a time service on both hosts; leases do not need it, schedules and "
			"the order of log lines do",
			"the clock of %s is %.1f s %s this node's", member->name,
			(double)llabs(member->clock_ms) / 1e3,
			member->clock_ms > 0 ? "ahead of" : "behind");
	}
	if (known > 0 && good)
		OK("the clocks of %u other members differ by less than a second", known);
}

static void disk_space(const struct rule *rule, const struct doctor_facts *facts,
		       struct findings *found)
{
	for (size_t i = 0; i < COUNT_OF(facts->disks); i++) {
		const struct doctor_disk *disk = &facts->disks[i];
		char text[FORMAT_SIZE];
		const char *size = format_bytes((int64_t)disk->free_bytes, text);

		if (disk->what == NULL || !disk->known || disk->total_bytes == 0)
			continue;
		if (disk->free_bytes < 256 * MIB || disk->free_bytes < disk->total_bytes / 100)
			ERROR("make room: a full disk ends the database, or the log of the "
			      "consensus",
			      "%s (%s) has %s left", disk->what, disk->path, size);
		else if (disk->free_bytes < 2 * GIB && disk->free_bytes < disk->total_bytes / 10)
			WARNING("make room before it is full", "%s (%s) has %s left", disk->what,
				disk->path, size);
		else
			OK("%s has %s left", disk->what, size);
	}
}

static void ports(const struct rule *rule, const struct doctor_facts *facts, struct findings *found)
{
	unsigned good = 0;

	for (unsigned i = 0; i < facts->port_count; i++) {
		const struct doctor_port *port = &facts->ports[i];

		if (port->open)
			good++;
		else
			ERROR("start what should listen there, or open the way (firewall, route)",
			      "%s's %s at %s:%u cannot be reached: %s", port->member, port->what,
			      port->address, port->port, port->why);
	}
	if (good > 0 && good == facts->port_count)
		OK("%u ports of other members can be reached", good);
}

/* clang-format off */
static const struct rule RULES[] = {
	{"host",          "rights",        rights},
	{"host",          "clock_source",  clock_source},
	{"host",          "clock_sync",    clock_sync},
	{"host",          "pidfd",         pidfd},
	{"host",          "landlock",      landlock},
	{"host",          "nftables",      nftables},
	{"host",          "limits",        limits},
	{"host",          "overcommit",    overcommit},
	{"configuration", "file",          configuration},
	{"keys",          "node_key",      node_key},
	{"keys",          "password_file", passwords},
	{"keys",          "access_files",  access_files},
	{"agent",         "answer",        agent},
	{"agent",         "workers",       workers},
	{"agent",         "watchdog",      watchdog},
	{"cluster",       "quorum",        quorum},
	{"cluster",       "members",       members},
	{"cluster",       "service",       service},
	{"cluster",       "clocks",        member_clocks},
	{"fence",         "table",         fence_table},
	{"fence",         "state",         fence_state},
	{"disk",          "space",         disk_space},
	{"ports",         "reachable",     ports},
};
/* clang-format on */

void doctor_judge(const struct doctor_facts *facts, struct findings *found)
{
	memset(found, 0, sizeof(*found));
	for (size_t i = 0; i < COUNT_OF(RULES); i++)
		RULES[i].judge(&RULES[i], facts, found);
	doctor_judge_database(facts, found);
}
