/* Virtual time, the event queue and the road from an event to whom it is for. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "sim.h"

struct world world;
struct totals totals;

uint64_t random_u64(void)
{
	uint64_t z = world.random += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

uint64_t random_below(uint64_t limit)
{
	return limit == 0 ? 0 : random_u64() % limit;
}

uint64_t random_between(uint64_t low, uint64_t high)
{
	return low + random_below(high - low + 1);
}

bool random_permille(unsigned permille)
{
	return permille != 0 && random_below(1000) < permille;
}

uint64_t local_ns(const struct host *host)
{
	const int64_t now = (int64_t)world.now;

	return (uint64_t)(now + now / 1000 * host->clock_ppm / 1000 + host->clock_offset);
}

uint64_t wall_ms(const struct host *host)
{
	return (uint64_t)((int64_t)(UINT64_C(1700000000000) + world.now / MS) + host->wall_ms);
}

uint64_t true_ns(const struct host *host, uint64_t local)
{
	const int64_t target = (int64_t)local - host->clock_offset;
	int64_t at = target - target / 1000 * host->clock_ppm / (1000 + host->clock_ppm / 1000);

	/* The division above is rough; walk to the first instant that is not early. */
	for (int i = 0; i < 64; i++) {
		const int64_t shown = at + at / 1000 * host->clock_ppm / 1000;

		if (shown >= target)
			break;
		at += target - shown;
	}
	if (at < (int64_t)world.now)
		at = (int64_t)world.now;
	return (uint64_t)at;
}

void trace(const char *format, ...)
{
	va_list arguments;

	if (!world.options.trace)
		return;
	printf("%12.6f ", (double)world.now / 1e9);
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
}

void fail(const char *format, ...)
{
	va_list arguments;

	if (world.failed)
		return;
	world.failed = true;
	va_start(arguments, format);
	vsnprintf(world.failure, sizeof(world.failure), format, arguments);
	va_end(arguments);
	trace("FAILED: %s", world.failure);
}

static bool earlier(const struct event *a, const struct event *b)
{
	return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void heap_push(const struct event *event)
{
	unsigned at = world.heap_count;

	if (world.heap_count == world.heap_room) {
		world.heap_room = world.heap_room == 0 ? 1024 : world.heap_room * 2;
		world.heap = realloc(world.heap, world.heap_room * sizeof(*world.heap));
		CHECK(world.heap != NULL);
	}
	world.heap_count++;
	while (at > 0 && earlier(event, &world.heap[(at - 1) / 2])) {
		world.heap[at] = world.heap[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	world.heap[at] = *event;
}

static struct event heap_pop(void)
{
	const struct event first = world.heap[0];
	const struct event last = world.heap[--world.heap_count];
	unsigned at = 0;

	for (;;) {
		unsigned child = 2 * at + 1;

		if (child >= world.heap_count)
			break;
		if (child + 1 < world.heap_count &&
		    earlier(&world.heap[child + 1], &world.heap[child]))
			child++;
		if (!earlier(&world.heap[child], &last))
			break;
		world.heap[at] = world.heap[child];
		at = child;
	}
	if (world.heap_count > 0)
		world.heap[at] = last;
	return first;
}

void event_add(uint64_t at, struct event event)
{
	event.at = at < world.now ? world.now : at;
	event.order = world.event_order++;
	heap_push(&event);
}

/* The process that handles the event, or PROCESS_COUNT: the kernel, the database, the world. */
static unsigned process_of(const struct event *event)
{
	switch (event->what) {
	case AT_RAFT_TICK:
	case AT_AGENT_TICK:
	case AT_RAFT_DISK:
	case AT_MESSAGE:
	case AT_BUS:
		return PROCESS_CONSENSUS;
	case AT_ORDER:
	case AT_WORK:
		return event->part;
	case AT_PROBE:
		return EXECUTOR_DBMON;
	case AT_VIP_CHECK:
		return EXECUTOR_VIP;
	default:
		return PROCESS_COUNT;
	}
}

static void event_free(const struct event *event)
{
	if (event->what == AT_MESSAGE)
		packet_free(event->data);
	else
		free(event->data);
}

/* A stopped process, or a stopped database, does it later. */
static bool put_off(struct event *event)
{
	const struct host *host = &world.hosts[event->host];
	const unsigned process = process_of(event);

	if (process < PROCESS_COUNT && host->frozen_until[process] > world.now) {
		event->at = host->frozen_until[process];
		heap_push(event);
		return true;
	}
	if (event->what >= AT_PG_FLUSH && event->what <= AT_PG_CHORE && host->pg.hung) {
		event->at = world.now + 10 * MS;
		heap_push(event);
		return true;
	}
	return false;
}

static void raft_tick(struct host *host)
{
	event_add(true_ns(host, local_ns(host) + host->raft_tick_ms * MS),
		  (struct event){.what = AT_RAFT_TICK,
				 .host = host->id,
				 .generation = host->consensus_life});
	host->raft_tick(&host->io);
}

static void agent_tick(struct host *host)
{
	event_add(true_ns(host, local_ns(host) + world.agent.heartbeat_ns / 2),
		  (struct event){.what = AT_AGENT_TICK,
				 .host = host->id,
				 .generation = host->consensus_life});
	raftnode_tick(host->raftnode);
}

static void dispatch_consensus(struct host *host, struct event *event)
{
	if (!host->up || !host->consensus_up ||
	    (event->generation != 0 && event->generation != host->consensus_life)) {
		event_free(event);
		return;
	}
	switch (event->what) {
	case AT_RAFT_TICK:
		raft_tick(host);
		break;
	case AT_AGENT_TICK:
		agent_tick(host);
		break;
	case AT_RAFT_DISK:
		disk_done(host);
		break;
	case AT_MESSAGE:
		consensus_packet(host, event->data);
		break;
	default:
		consensus_bus(host, event->data);
		free(event->data);
		break;
	}
	consensus_publish(host);
}

static void dispatch_executor(struct host *host, struct event *event)
{
	const unsigned process = process_of(event);
	const struct executor_state *executor = &host->executors[process];

	if (host->up && executor->up &&
	    (event->generation == 0 || event->generation == executor->generation)) {
		switch (event->what) {
		case AT_ORDER:
			executor_order(host, event);
			break;
		case AT_WORK:
			executor_work(host, event);
			break;
		case AT_PROBE:
			dbmon_probe(host, event->lsn != 0);
			break;
		default:
			vip_check(host);
			break;
		}
	}
	free(event->data);
}

static void dispatch_pg(struct host *host, struct event *event)
{
	const bool mine = host->up && event->generation == host->pg.generation;

	switch (event->what) {
	case AT_PG_FLUSH:
		if (mine)
			pg_flush(host, event->lsn);
		break;
	case AT_PG_READY:
		if (mine)
			pg_ready(host);
		break;
	case AT_PG_PROMOTE:
		if (mine)
			pg_promote(host);
		break;
	case AT_PG_RELOAD:
		if (mine)
			pg_reload(host);
		break;
	case AT_PG_RULE:
		if (mine)
			pg_rule(host, event);
		break;
	case AT_PG_CONNECT:
		if (mine)
			(void)stream_connect(host);
		break;
	case AT_PG_WAL:
		stream_wal(host, event);
		break;
	case AT_PG_STORED:
		if (mine)
			stream_stored(host, event);
		break;
	case AT_PG_REPLY:
		stream_reply(host, event);
		break;
	default:
		if (mine)
			pg_chore(host);
		break;
	}
	free(event->data);
}

static void dispatch(struct event *event)
{
	struct host *host = &world.hosts[event->host];

	if (put_off(event))
		return;
	if (event->what <= AT_BUS) {
		dispatch_consensus(host, event);
		return;
	}
	if (event->what <= AT_VIP_CHECK) {
		dispatch_executor(host, event);
		return;
	}
	if (event->what <= AT_PG_CHORE) {
		dispatch_pg(host, event);
		return;
	}
	switch (event->what) {
	case AT_CLIENT:
		if (event->lsn != 0)
			client_watch(event->part);
		else
			client_turn(event->part, event->generation);
		break;
	case AT_ARRIVAL:
		client_arrival(host, event);
		break;
	case AT_PROCESS_UP:
		process_up(host, event);
		break;
	case AT_HOST_UP:
		host_boot(host);
		break;
	case AT_FAULT:
		fault_next();
		break;
	case AT_MEND:
		fault_mend(event);
		break;
	case AT_LEAVING:
		if (host->up && host->consensus_up && event->generation == host->consensus_life)
			leaving(host);
		break;
	case AT_HUMAN:
		check_human(host, event);
		break;
	case AT_OPERATOR:
		operator_turn(event);
		break;
	case AT_STORY:
		story_turn();
		break;
	case AT_HEAL:
		faults_heal();
		break;
	default:
		break;
	}
}

/* As an administrator might have them in the configuration files. */
static struct settings some_settings(void)
{
	const struct options *options = &world.options;
	struct settings settings = settings_default(options->data);

	if (options->mode != 0)
		settings.mode = options->mode;
	if (options->story != STORY_NONE)
		return settings;
	settings.mode = (uint8_t)(random_permille(400)   ? MODE_MAX_PROTECTION
				  : random_permille(700) ? MODE_MAX_AVAILABILITY
							 : MODE_MAX_PERFORMANCE);
	if (options->mode != 0)
		settings.mode = options->mode;
	if (random_permille(300))
		settings.quorum_sync = (uint8_t)random_below(options->data);
	settings.auto_failover = !random_permille(30);
	settings.auto_primary_switch = random_permille(200);
	if (random_permille(50))
		settings.failover_budget = (uint8_t)random_between(1, 4);
	settings.degrade_ms = (uint32_t)random_between(300, 2000);
	settings.switch_back_ms = (uint32_t)random_between(1000, 10000);
	settings.max_lag_bytes = random_between(5, 500);
	settings.max_lag_ms = (uint32_t)random_between(500, 20000);
	return settings;
}

/* Not the first one: somebody has to be able to be primary. */
static uint16_t some_priority(unsigned i)
{
	if (world.options.story != STORY_NONE)
		return 100;
	if (i > 0 && random_permille(50))
		return 0;
	return (uint16_t)(random_permille(200) ? 1 + random_below(3) : 100);
}

static void members_set_up(void)
{
	const struct options *options = &world.options;
	struct agent_config *agent = &world.agent;
	const bool fast = random_permille(200);
	const bool drift = random_permille(500);
	const bool hurried = random_permille(300);

	world.total = options->data + options->witness + options->later;
	agent->cluster_id = 4711;
	agent->node_total = (uint8_t)world.total;
	agent->election_ns = fast ? 300 * MS : 1000 * MS;
	agent->heartbeat_ns = agent->election_ns / 10;
	agent->settings = some_settings();
	agent->bugs = options->bugs;
	world.lease_ns = agent->election_ns / 10 * 9;
	world.disk_base_us = hurried ? 500 : 3000;
	world.disk_us = world.disk_base_us;
	for (unsigned i = 0; i < world.total; i++) {
		struct node *node = &agent->nodes[i];
		struct host *host = &world.hosts[i + 1];

		node->id = (node_id)(i + 1);
		node->kind = NODE_DATA;
		if (i >= options->data && i < options->data + options->witness)
			node->kind = NODE_WITNESS;
		if (i >= options->data + options->witness)
			agent->later |= node_bit((node_id)(i + 1));
		node->identity = 1000 + i;
		node->priority = some_priority(i);
		snprintf(node->name, sizeof(node->name), "n%u", i + 1);
		host->id = node->id;
		host->data = node->kind == NODE_DATA;
		host->clock_ppm = drift ? (int64_t)random_below(40001) - 20000 : 0;
	}
}

/* A database that was there before the cluster is adopted; of several nobody can know which. */
static void databases_found(void)
{
	unsigned count = random_permille(960) ? 0 : 1 + random_permille(300);

	if (world.options.story != STORY_NONE)
		return;
	for (; count > 0; count--)
		pg_found(&world.hosts[random_between(1, world.options.data)]);
}

static void world_reset(const struct options *options)
{
	struct event *heap = world.heap;
	const unsigned room = world.heap_room;
	struct record *records = world.records;
	const uint32_t record_room = world.record_room;
	uint64_t *hashes = world.state_hash;
	const unsigned hash_room = world.state_hash_room;

	memset(&world, 0, sizeof(world));
	world.heap = heap;
	world.heap_room = room;
	world.records = records;
	world.record_room = record_room;
	world.state_hash = hashes;
	world.state_hash_room = hash_room;
	if (hashes != NULL)
		memset(hashes, 0, hash_room * sizeof(*hashes));
	world.options = *options;
	world.random = options->seed * UINT64_C(0x2545f4914f6cdd1d) + 1;
	(void)random_u64();
}

static void world_end(void)
{
	for (unsigned id = 1; id <= world.total; id++) {
		struct host *host = &world.hosts[id];

		if (host->consensus_up)
			consensus_stop(host);
		disk_free(&host->disk);
		free(host->pg.wal);
	}
	while (world.heap_count > 0) {
		const struct event event = heap_pop();

		event_free(&event);
	}
}

static void count_world(void)
{
	totals.seeds++;
	totals.failed += world.failed;
	totals.milliseconds += world.now / MS;
	totals.events += world.events_done;
	totals.acknowledged += world.acknowledged;
	totals.epochs += world.truth.epoch;
}

/* Returns whether the run is over. */
static bool verdict(void)
{
	/* Healed, a cluster may need this long: rewinds, clones, and the patience between them. */
	const uint64_t grace = 90 * SEC;
	char what[256];

	if (check_healthy(what, sizeof(what))) {
		world.came_back_at = world.now;
		return true;
	}
	if (check_blocked()) {
		totals.blocked++;
		return true;
	}
	if (world.now > world.healed_at + grace)
		fail("I4: %u s after everything was healed: %s", (unsigned)(grace / SEC), what);
	event_add(world.now + 250 * MS, (struct event){.what = AT_VERDICT});
	return false;
}

/* What every agent believes in the end, for whoever reads the trace. */
static void trace_agents(void)
{
	for (unsigned id = 1; id <= world.total; id++) {
		const struct host *host = &world.hosts[id];
		const struct agent *agent;

		if (!host->consensus_up)
			continue;
		agent = raftnode_agent(host->raftnode);
		trace("n%u %s%s hold %s: %s", id, leader_phase_name(agent->phase),
		      agent->raft.leader ? " leader" : "", hold_reason_name(agent->hold),
		      agent->why);
		trace("   database %s job %u fault %s promise %lu at %lu/%u upstream %u%s%s rule "
		      "%u of %x since %lu",
		      db_state_name(agent->self.db), agent->self.job,
		      db_fault_name(agent->self.fault), (unsigned long)agent->self.promise,
		      (unsigned long)agent->self.position.flushed, agent->self.position.timeline,
		      agent->self.upstream, agent->self.receiving ? " receiving" : "",
		      agent->own.needs_rebuild ? " needs rebuild" : "", agent->self.rule.need,
		      agent->self.rule.members, (unsigned long)agent->self.rule_since);
		trace("   fence %s epoch %lu; settings mode %s k %u%s%s maintenance %x",
		      fence_state_name(agent->fence), (unsigned long)agent->fence_epoch,
		      protection_mode_name(agent->cluster.settings.mode),
		      agent->cluster.settings.quorum_sync,
		      agent->cluster.settings.paused ? " paused" : "",
		      agent->cluster.settings.auto_failover ? "" : " auto_failover off",
		      agent->cluster.settings.maintenance);
	}
}

void world_run(const struct options *options)
{
	world_reset(options);
	members_set_up();
	databases_found();
	for (unsigned id = 1; id <= world.total; id++)
		event_add(random_below(200) * MS,
			  (struct event){.what = AT_HOST_UP, .host = (uint8_t)id});
	for (unsigned i = 0; i < CLIENTS; i++)
		event_add(SEC, (struct event){.what = AT_CLIENT, .part = (uint8_t)i});
	faults_plan();
	if (options->story != STORY_NONE)
		story_begin();
	else
		event_add((uint64_t)options->seconds * SEC, (struct event){.what = AT_HEAL});
	while (world.heap_count > 0 && !world.failed && !world.over) {
		struct event event = heap_pop();

		world.now = event.at;
		world.events_done++;
		if (event.what == AT_VERDICT && verdict())
			break;
		dispatch(&event);
	}
	if (options->trace)
		trace_agents();
	count_world();
	world_end();
}
