/* Faults: each seed has its own mix, its own pace, and a time at which everything is healed. */
#include <string.h>

#include "base/check.h"
#include "sim.h"

static const char *const names[FAULT_KIND_COUNT] = {
	[FAULT_HOST_CRASH] = "host_crash",
	[FAULT_DB_CRASH] = "db_crash",
	[FAULT_DB_HANG] = "db_hang",
	[FAULT_FREEZE_AGENT] = "freeze_agent",
	[FAULT_FREEZE_CONSENSUS] = "freeze_consensus",
	[FAULT_KILL_CONSENSUS] = "kill_consensus",
	[FAULT_KILL_EXECUTOR] = "kill_executor",
	[FAULT_KILL_AGENT] = "kill_agent",
	[FAULT_SPLIT] = "split",
	[FAULT_ISOLATE] = "isolate",
	[FAULT_ONE_WAY] = "one_way",
	[FAULT_PAIR] = "pair",
	[FAULT_BAD_NET] = "bad_net",
	[FAULT_SLOW_DISK] = "slow_disk",
	[FAULT_LEAVE] = "leave",
	[FAULT_HUMAN_PROMOTE] = "human_promote",
	[FAULT_OPERATOR] = "operator",
	[FAULT_CLOCK] = "clock",
	[FAULT_DATA_LOST] = "data_lost",
	[FAULT_STUCK] = "stuck",
	[FAULT_SLOW_FACTS] = "slow_facts",
	[FAULT_ALARM] = "alarm",
};

enum fault_kind fault_named(const char *name, size_t size)
{
	for (unsigned kind = 0; kind < FAULT_KIND_COUNT; kind++)
		if (strlen(names[kind]) == size && memcmp(names[kind], name, size) == 0)
			return (enum fault_kind)kind;
	return FAULT_KIND_COUNT;
}

/* The first fault; short runs have less time to come up first. */
static uint64_t beginning(void)
{
	const uint64_t last = world.options.seconds < 20 ? world.options.seconds / 2 : 12;

	if (random_permille(250))
		return 0;
	return last <= 4 ? last * SEC : random_between(4, last) * SEC;
}

void faults_plan(void)
{
	if (world.options.story != STORY_NONE)
		return;
	world.forcing = random_permille(150);
	world.stay_paused = random_permille(20);
	if (world.options.faults != 0) {
		for (unsigned kind = 0; kind < FAULT_KIND_COUNT; kind++)
			world.fault_weight[kind] = world.options.faults >> kind & 1;
		world.fault_every = random_between(200, 6000) * MS;
		event_add(5 * SEC, (struct event){.what = AT_FAULT});
		return;
	}
	if (random_permille(60)) {
		/* A quiet run, but for operators. */
		world.fault_weight[FAULT_OPERATOR] = random_permille(700);
		world.fault_every = random_between(500, 6000) * MS;
		event_add(beginning(), (struct event){.what = AT_FAULT});
		return;
	}
	for (unsigned kind = 0; kind < FAULT_KIND_COUNT; kind++)
		if (random_permille(400))
			world.fault_weight[kind] = (uint32_t)random_between(1, 10);
	world.fault_every = random_between(200, 6000) * MS;
	event_add(beginning(), (struct event){.what = AT_FAULT});
}

static void processes_up(struct host *host)
{
	for (unsigned who = 0; who < EXECUTOR_COUNT; who++)
		if (!host->executors[who].up && (host->data || who == EXECUTOR_VIP))
			executor_start(host, (enum executor)who);
	if (!host->consensus_up)
		consensus_start(host);
}

void host_boot(struct host *host)
{
	if (host->up)
		return;
	trace("n%u boots", host->id);
	host->up = true;
	host->boot++;
	/* CLOCK_BOOTTIME begins anew. */
	host->clock_offset = 0;
	host->clock_offset = (int64_t)SEC - (int64_t)local_ns(host);
	host->segment_term = 0;
	host->segment_until_ns = 0;
	host->kernel = (struct kernel){.fence = FENCE_CLOSED};
	memset(host->frozen_until, 0, sizeof(host->frozen_until));
	memset(host->order_at, 0, sizeof(host->order_at));
	processes_up(host);
}

void host_down(struct host *host)
{
	trace("n%u loses power", host->id);
	pg_kill(host, true);
	for (unsigned who = 0; who < EXECUTOR_COUNT; who++)
		executor_stop(host, (enum executor)who);
	if (host->consensus_up)
		consensus_stop(host);
	host->up = false;
	host->lease_true_until = 0;
	for (unsigned id = 1; id <= world.total; id++)
		host->pg.senders[id].on = false;
}

static void host_crash(struct host *host)
{
	host_down(host);
	event_add(world.now + random_between(200, 8000) * MS,
		  (struct event){.what = AT_HOST_UP, .host = host->id});
}

void process_up(struct host *host, const struct event *event)
{
	if (!host->up)
		return;
	if (event->part == PROCESS_COUNT) {
		processes_up(host);
	} else if (event->part == PROCESS_CONSENSUS) {
		if (!host->consensus_up)
			consensus_start(host);
	} else if (!host->executors[event->part].up) {
		executor_start(host, (enum executor)event->part);
	}
}

static void kill_process(struct host *host, unsigned process)
{
	host->frozen_until[process] = 0;
	if (process != PROCESS_CONSENSUS)
		executor_stop(host, (enum executor)process);
	else if (host->consensus_up)
		consensus_stop(host);
}

static void up_later(struct host *host, unsigned process, uint64_t delay)
{
	event_add(
		world.now + delay,
		(struct event){.what = AT_PROCESS_UP, .host = host->id, .part = (uint8_t)process});
}

static void mend_later(const struct host *host, enum fault_kind kind, uint64_t mask, uint64_t delay)
{
	event_add(world.now + delay, (struct event){.what = AT_MEND,
						    .host = host->id,
						    .part = (uint8_t)kind,
						    .generation = host->pg.generation,
						    .lsn = mask});
}

static uint64_t a_while(void)
{
	return random_permille(600) ? random_between(50, 1500) * MS : random_between(1, 8) * SEC;
}

/* Cut, or mend, everything between the members of `mask` and the others. */
static void cut_sides(uint64_t mask, int change)
{
	for (unsigned a = 1; a <= world.total; a++)
		for (unsigned b = 1; b <= world.total; b++)
			if ((mask >> a & 1) != (mask >> b & 1))
				world.cut[a][b] = (uint8_t)(world.cut[a][b] + change);
}

/* Never shortened: what waits for the end of a stop would be overtaken by what comes later. */
static void freeze(struct host *host, bool whole)
{
	const uint64_t until = world.now + a_while();

	trace("n%u %s stands still", host->id, whole ? "agent" : "consensus");
	if (until - world.now > world.facts_late)
		world.facts_late = until - world.now;
	for (unsigned process = 0; process < PROCESS_COUNT; process++)
		if ((whole || process == PROCESS_CONSENSUS) && host->frozen_until[process] < until)
			host->frozen_until[process] = until;
}

static void fault_network(struct host *host, enum fault_kind kind)
{
	uint64_t mask = UINT64_C(1) << host->id;
	unsigned other;

	if (world.total == 1 && kind != FAULT_BAD_NET && kind != FAULT_SLOW_DISK)
		return;
	switch (kind) {
	case FAULT_SPLIT:
		mask |= random_u64() & ((UINT64_C(2) << world.total) - 2);
		/* fallthrough */
	case FAULT_ISOLATE:
		trace("network cut around %lx", (unsigned long)mask);
		cut_sides(mask, 1);
		mend_later(host, kind, mask, a_while());
		break;
	case FAULT_ONE_WAY:
		other = 1 + (host->id + (unsigned)random_below(world.total - 1)) % world.total;
		trace("network cut from n%u to n%u", host->id, other);
		world.cut[host->id][other]++;
		mend_later(host, kind, other, a_while());
		break;
	case FAULT_PAIR:
		other = 1 + (host->id + (unsigned)random_below(world.total - 1)) % world.total;
		trace("network cut between n%u and n%u", host->id, other);
		world.cut[host->id][other]++;
		world.cut[other][host->id]++;
		mend_later(host, kind, other, random_between(3, 20) * SEC);
		break;
	case FAULT_BAD_NET:
		trace("network turns bad");
		world.loss_permille = (unsigned)random_below(200);
		world.duplicate_permille = (unsigned)random_below(50);
		world.delay_us = (unsigned)random_below(60000);
		mend_later(host, kind, 0, a_while());
		break;
	default:
		world.disk_us = (unsigned)random_between(10000, 200000);
		mend_later(host, kind, 0, a_while());
		break;
	}
}

static void leaving_later(struct host *host)
{
	event_add(world.now + 50 * MS, (struct event){.what = AT_LEAVING,
						      .host = host->id,
						      .generation = host->consensus_life});
}

/* What procs/consensus does on an orderly stop: database and leadership first, then the agent. */
void leaving(struct host *host)
{
	const struct raft_view view = raftnode_view(host->raftnode);
	const uint64_t waited = world.now - host->leaving_since;
	struct err why;

	if (host->frozen_until[PROCESS_CONSENSUS] > world.now) {
		leaving_later(host);
		return;
	}
	if (waited < 15 * SEC && (host->pg.state >= PG_RECOVERING || view.leader)) {
		if (view.leader && (!host->data || waited > 3 * world.agent.election_ns + SEC))
			(void)!raftnode_resign(host->raftnode, &why);
		consensus_publish(host);
		leaving_later(host);
		return;
	}
	trace("n%u has left", host->id);
	for (unsigned process = 0; process < PROCESS_COUNT; process++)
		kill_process(host, process);
	up_later(host, PROCESS_COUNT, a_while());
}

static void leave(struct host *host)
{
	struct agent_event event = {.kind = EV_LEAVE};

	if (!host->consensus_up || host->frozen_until[PROCESS_CONSENSUS] > world.now)
		return;
	trace("n%u is stopped in order", host->id);
	host->leaving_since = world.now;
	raftnode_event(host->raftnode, &event);
	consensus_publish(host);
	leaving_later(host);
}

static void human_promote(struct host *host)
{
	struct pg *pg = &host->pg;

	/*
	 * Once in a run: two such promotions may take the same timeline number at the same LSN, and
	 * nothing that PostgreSQL keeps tells them apart.
	 */
	if (pg->state != PG_STANDBY || pg->hung || pg->promoting || world.human_was_here)
		return;
	world.human_was_here = true;
	trace("n%u is promoted by a human", host->id);
	pg->human = true;
	pg_promote(host);
	event_add(world.now + 3 * SEC,
		  (struct event){.what = AT_HUMAN, .host = host->id, .generation = pg->generation});
}

/* Another member has what was acknowledged, or may go on without it. */
static bool data_elsewhere(const struct host *host)
{
	const bool free = world.truth.settings.mode == MODE_MAX_PERFORMANCE;

	for (unsigned id = 1; id <= world.total; id++) {
		const struct host *other = &world.hosts[id];

		if (other != host && cluster_node(&world.truth, other->id) != NULL &&
		    other->pg.system_id == host->pg.system_id && !other->pg.broken &&
		    (free || lost_by(&other->pg) == 0))
			return true;
	}
	return false;
}

/*
 * One in a run, and not of a primary that commits alone: then acknowledged commits are nowhere any
 * more, and no rule can bring them back.
 */
static void data_lost(struct host *host)
{
	struct pg *pg = &host->pg;
	const struct cluster *truth = &world.truth;

	if (world.data_was_lost || pg->state < PG_RECOVERING || world.options.data == 1 ||
	    truth->epoch == 0 || truth->rebuilding != 0 || !truth->settled || !truth->opened ||
	    !data_elsewhere(host))
		return;
	if (host->id == truth->primary && truth->record.need == 0 &&
	    truth->settings.mode != MODE_MAX_PERFORMANCE)
		return;
	trace("n%u loses its data directory", host->id);
	world.data_was_lost = true;
	pg_kill(host, true);
	pg_cut(pg, 0);
	memset(pg->history, 0, sizeof(pg->history));
	memset(&pg->disk, 0, sizeof(pg->disk));
	pg->system_id = 0;
	pg->broken = false;
	pg->state = PG_ABSENT;
	host->lost = true;
}

static void clock_jump(struct host *host)
{
	host->wall_ms = (int64_t)random_below(10000) - 5000;
	if (random_permille(400))
		host->wall_ms *= 700;
	trace("n%u wall clock is off by %ld ms", host->id, (long)host->wall_ms);
}

static void fault_subtle(struct host *host, enum fault_kind kind)
{
	static const uint8_t alarms[] = {FAULT_CHECKPOINTER_STOPPED, FAULT_WALWRITER_STOPPED,
					 FAULT_CONNECTIONS_FULL, FAULT_NO_NEW_CONNECTIONS,
					 FAULT_DATA_DAMAGED};

	switch (kind) {
	case FAULT_CLOCK:
		clock_jump(host);
		return;
	case FAULT_DATA_LOST:
		data_lost(host);
		return;
	case FAULT_STUCK:
		trace("n%u flushes nothing", host->id);
		host->pg.stuck = true;
		break;
	case FAULT_SLOW_FACTS:
		host->slow_facts = random_between(50, 3000) * MS;
		if (host->slow_facts > world.facts_late)
			world.facts_late = host->slow_facts;
		trace("n%u facts are late by %lu ms", host->id,
		      (unsigned long)(host->slow_facts / MS));
		break;
	default:
		host->alarm = alarms[random_below(COUNT_OF(alarms))];
		trace("n%u raises %s", host->id, db_fault_name(host->alarm));
		break;
	}
	mend_later(host, kind, 0, a_while());
}

static void fault_do(struct host *host, enum fault_kind kind)
{
	const uint64_t gap = random_permille(800) ? random_between(5, 80) * MS : a_while();
	unsigned process;

	if (kind == FAULT_OPERATOR) {
		operator_act();
		return;
	}
	if (!host->up && (kind < FAULT_SPLIT || kind > FAULT_SLOW_DISK))
		return;
	if (kind > FAULT_OPERATOR) {
		fault_subtle(host, kind);
		return;
	}
	switch (kind) {
	case FAULT_HOST_CRASH:
		host_crash(host);
		break;
	case FAULT_DB_CRASH:
		pg_kill(host, false);
		break;
	case FAULT_DB_HANG:
		if (host->pg.state < PG_RECOVERING || host->pg.hung)
			return;
		trace("n%u database stands still", host->id);
		host->pg.hung = true;
		mend_later(host, kind, 0, a_while());
		break;
	case FAULT_FREEZE_AGENT:
		freeze(host, true);
		break;
	case FAULT_FREEZE_CONSENSUS:
		freeze(host, false);
		break;
	case FAULT_KILL_CONSENSUS:
		trace("n%u consensus killed", host->id);
		kill_process(host, PROCESS_CONSENSUS);
		up_later(host, PROCESS_CONSENSUS, gap);
		break;
	case FAULT_KILL_EXECUTOR:
		process = (unsigned)random_below(EXECUTOR_COUNT);
		trace("n%u executor %u killed", host->id, process);
		kill_process(host, process);
		up_later(host, process, gap);
		break;
	case FAULT_KILL_AGENT:
		trace("n%u agent killed", host->id);
		for (process = 0; process < PROCESS_COUNT; process++)
			kill_process(host, process);
		up_later(host, PROCESS_COUNT, gap);
		break;
	case FAULT_LEAVE:
		leave(host);
		break;
	case FAULT_HUMAN_PROMOTE:
		human_promote(host);
		break;
	default:
		fault_network(host, kind);
		break;
	}
}

void fault_next(void)
{
	uint64_t total = 0;
	uint64_t pick;
	unsigned kind = 0;

	if (world.healed)
		return;
	for (unsigned i = 0; i < FAULT_KIND_COUNT; i++)
		total += world.fault_weight[i];
	if (total == 0)
		return;
	pick = random_below(total);
	while (pick >= world.fault_weight[kind])
		pick -= world.fault_weight[kind++];
	fault_do(&world.hosts[random_between(1, world.total)], (enum fault_kind)kind);
	event_add(world.now + random_between(world.fault_every / 10, 2 * world.fault_every),
		  (struct event){.what = AT_FAULT});
}

void fault_mend(const struct event *event)
{
	struct host *host = &world.hosts[event->host];

	if (world.healed)
		return;
	switch (event->part) {
	case FAULT_DB_HANG:
		if (host->pg.generation == event->generation)
			host->pg.hung = false;
		break;
	case FAULT_SPLIT:
	case FAULT_ISOLATE:
		trace("network around %lx mended", (unsigned long)event->lsn);
		cut_sides(event->lsn, -1);
		break;
	case FAULT_ONE_WAY:
		trace("network from n%u to n%lu mended", host->id, (unsigned long)event->lsn);
		world.cut[host->id][event->lsn]--;
		break;
	case FAULT_PAIR:
		trace("network between n%u and n%lu mended", host->id, (unsigned long)event->lsn);
		world.cut[host->id][event->lsn]--;
		world.cut[event->lsn][host->id]--;
		break;
	case FAULT_STUCK:
		host->pg.stuck = false;
		break;
	case FAULT_SLOW_FACTS:
		host->slow_facts = 0;
		break;
	case FAULT_ALARM:
		host->alarm = FAULT_NONE;
		break;
	case FAULT_BAD_NET:
		world.loss_permille = 0;
		world.duplicate_permille = 0;
		world.delay_us = 0;
		break;
	default:
		world.disk_us = world.disk_base_us;
		break;
	}
}

/* What the message asks for: of several databases all but one are moved away. */
static void move_away(void)
{
	bool kept = false;

	for (unsigned id = 1; id <= world.total; id++) {
		struct host *host = &world.hosts[id];

		if (world.truth.epoch != 0 || host->pg.state == PG_ABSENT)
			continue;
		if (kept) {
			trace("n%u data are moved away", id);
			pg_kill(host, false);
			pg_cut(&host->pg, 0);
			host->pg.state = PG_ABSENT;
		}
		kept = true;
	}
}

void faults_heal(void)
{
	trace("everything is healed");
	world.healed = true;
	world.healed_at = world.now;
	memset(world.cut, 0, sizeof(world.cut));
	world.loss_permille = 0;
	world.duplicate_permille = 0;
	world.delay_us = 0;
	world.disk_us = world.disk_base_us;
	for (unsigned id = 1; id <= world.total; id++) {
		struct host *host = &world.hosts[id];

		host->pg.hung = false;
		host->pg.stuck = false;
		host->slow_facts = 0;
		host->alarm = FAULT_NONE;
		host->wall_ms = 0;
		host_boot(host);
		processes_up(host);
	}
	move_away();
	event_add(world.now + SEC, (struct event){.what = AT_OPERATOR});
	event_add(world.now + 2 * SEC, (struct event){.what = AT_VERDICT});
}
