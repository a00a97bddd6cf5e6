/* Operators: they ask for all sorts of things, sensible or not, and every call gets an answer. */
#include <string.h>

#include "base/check.h"
#include "sim.h"

struct host *leading_host(void)
{
	for (unsigned id = 1; id <= world.total; id++) {
		struct host *host = &world.hosts[id];

		if (host->up && host->consensus_up && raftnode_view(host->raftnode).ready &&
		    host->frozen_until[PROCESS_CONSENSUS] <= world.now)
			return host;
	}
	return NULL;
}

static struct host *any_agent(void)
{
	struct host *host = &world.hosts[random_between(1, world.total)];

	return host->up && host->consensus_up && host->frozen_until[PROCESS_CONSENSUS] <= world.now
		       ? host
		       : NULL;
}

uint64_t operator_ask(struct host *host, struct call call)
{
	struct agent_event event;
	struct asked *asked;

	call.id = ++world.calls;
	call.via = host->id;
	totals.calls++;
	asked = &world.asked[call.id % ASKED_MAX];
	*asked = (struct asked){.open = true,
				.call = call,
				.host = host->id,
				.life = host->consensus_life,
				.at = world.now};
	if (call.kind == CALL_FAILOVER && call.accept_loss && !call.dry_run)
		world.accepted_loss |= node_bit(call.node);
	trace("n%u is asked for %s (call %lu) node %u%s%s%s", host->id, call_kind_name(call.kind),
	      (unsigned long)call.id, call.node, call.on ? " on" : "",
	      call.dry_run ? " dry run" : "", call.accept_loss ? " accepting a loss" : "");
	memset(&event, 0, sizeof(event));
	event.kind = EV_CALL;
	event.call = call;
	raftnode_event(host->raftnode, &event);
	consensus_publish(host);
	event_add(world.now + 10 * SEC, (struct event){.what = AT_OPERATOR, .lsn = call.id});
	return call.id;
}

/* what the leader accepted is so in the state of its own */
static bool done(const struct cluster *cluster, const struct call *call,
		 const struct call_result *result)
{
	const struct settings *settings = &cluster->settings;

	switch (call->kind) {
	case CALL_SWITCHOVER:
	case CALL_RESTART:
		return result->operation != 0 && cluster->operation_count > 0 &&
		       cluster->operations[cluster->operation_count - 1].id == result->operation;
	case CALL_FAILOVER:
		return result->epoch == cluster->epoch && cluster->primary == call->node;
	case CALL_CANCEL:
		return cluster_operation(cluster) == NULL;
	case CALL_MODE:
		return (call->mode == MODE_KEEP || settings->mode == call->mode) &&
		       (call->quorum_sync == QUORUM_SYNC_KEEP ||
			settings->quorum_sync == call->quorum_sync) &&
		       (settings->pinned || !call->pin);
	case CALL_AUTO_FAILOVER:
		return settings->auto_failover == call->on;
	case CALL_AUTO_SWITCH:
		return settings->auto_primary_switch == call->on;
	case CALL_PAUSE:
		return settings->paused && settings->pause_until_ms == call->end_ms;
	case CALL_RESUME:
		return !settings->paused;
	case CALL_MAINTENANCE:
		return node_in(settings->maintenance, call->node) == call->on;
	case CALL_REINIT:
		return node_in(settings->reinit, call->node);
	case CALL_MEMBER_ADD:
		return cluster_node(cluster, call->node) != NULL &&
		       !node_in(cluster->leaving, call->node);
	case CALL_MEMBER_REMOVE:
		return cluster_node(cluster, call->node) == NULL ||
		       node_in(cluster->leaving, call->node);
	default:
		return false;
	}
}

void operator_answered(const struct host *host, const struct call_result *result)
{
	const struct cluster *cluster = &raftnode_agent(host->raftnode)->cluster;
	struct asked *asked = &world.asked[result->id % ASKED_MAX];
	bool fits = true;

	trace("n%u answers call %lu: %s%s%s (node %u, operation %lu, loss %ld)", host->id,
	      (unsigned long)result->id, call_code_name(result->code),
	      result->blocker_count > 0 ? " for " : "",
	      result->blocker_count > 0 ? blocker_name(result->blockers[0].kind) : "", result->node,
	      (unsigned long)result->operation, (long)result->loss_bytes);
	if (!asked->open || asked->call.id != result->id || asked->host != host->id ||
	    asked->call.via != result->via) {
		fail("n%u answers call %lu, which nobody waits for", host->id,
		     (unsigned long)result->id);
		return;
	}
	asked->open = false;
	if (result->code < CALL_CODE_COUNT)
		totals.answers[result->code]++;
	switch (result->code) {
	case CALL_ACCEPTED:
		fits = !asked->call.dry_run && done(cluster, &asked->call, result);
		break;
	case CALL_POSSIBLE:
		fits = asked->call.dry_run && result->blocker_count == 0;
		break;
	case CALL_REFUSED:
		fits = result->blocker_count > 0 && result->blocker_count <= BLOCKERS_MAX;
		for (unsigned i = 0; fits && i < result->blocker_count; i++)
			fits = result->blockers[i].kind != BLOCK_NONE &&
			       result->blockers[i].kind < BLOCK_KIND_COUNT;
		break;
	case CALL_UNCERTAIN:
	case CALL_NOT_LEADER:
		break;
	default:
		fits = false;
		break;
	}
	if (!fits)
		fail("n%u answers call %lu (%s) with %s, and it is not so", host->id,
		     (unsigned long)result->id, call_kind_name(asked->call.kind),
		     call_code_name(result->code));
}

static node_id some_node(void)
{
	if (random_permille(30))
		return (node_id)random_between(0, NODES_MAX);
	return (node_id)random_between(1, world.total);
}

static struct call some_switchover(const struct host *host)
{
	struct call call = {.kind = CALL_SWITCHOVER, .dry_run = random_permille(150)};

	if (random_permille(500))
		call.node = some_node();
	if (random_permille(200)) {
		call.start_ms = wall_ms(host) + random_between(0, 6000);
		if (random_permille(700))
			call.end_ms = call.start_ms + random_between(0, 10000);
	}
	return call;
}

static struct call some_mode(void)
{
	struct call call = {
		.kind = CALL_MODE,
		.mode = (uint8_t)random_between(MODE_MAX_PROTECTION, MODE_MAX_PERFORMANCE),
		.quorum_sync = QUORUM_SYNC_KEEP,
		.force = random_permille(600),
		.pin = random_permille(20),
	};

	if (random_permille(30))
		call.mode = (uint8_t)random_below(6);
	if (random_permille(400))
		call.quorum_sync = (uint8_t)random_below(world.options.data + 1);
	return call;
}

static struct call some_member_call(void)
{
	struct call call = {
		.kind = random_permille(500) ? CALL_MEMBER_ADD : CALL_MEMBER_REMOVE,
		.node = some_node(),
		.force = random_permille(300),
		.dry_run = random_permille(50),
	};

	/* Whoever is none yet, mostly. */
	for (node_id id = 1; id <= world.total && random_permille(800); id++)
		if (world.truth.cluster_id != 0 && cluster_node(&world.truth, id) == NULL) {
			call.kind = CALL_MEMBER_ADD;
			call.node = id;
		}
	return call;
}

static struct call some_call(const struct host *host)
{
	struct call call = {.on = random_permille(400)};
	const uint64_t pick = random_below(100);

	if (world.options.later > 0 && random_permille(500))
		return some_member_call();
	if (pick < 32)
		return some_switchover(host);
	if (pick < 40) {
		call.kind = pick < 37 ? CALL_RESTART : CALL_REINIT;
		call.node = some_node();
		call.force = random_permille(500);
		call.dry_run = random_permille(50);
		return call;
	}
	if (pick < 56)
		return some_mode();
	if (pick < 60) {
		call.kind = CALL_CANCEL;
	} else if (pick < 65) {
		call.kind = CALL_AUTO_FAILOVER;
		call.on = random_permille(600);
	} else if (pick < 69) {
		call.kind = CALL_AUTO_SWITCH;
	} else if (pick < 74) {
		call.kind = CALL_PAUSE;
		if (random_permille(800))
			call.end_ms = wall_ms(host) + random_between(200, 5000);
	} else if (pick < 82) {
		call.kind = CALL_RESUME;
	} else if (pick < 90) {
		call.kind = CALL_MAINTENANCE;
		call.node = some_node();
	} else {
		call.kind = CALL_FAILOVER;
		call.node = some_node();
		call.accept_loss = world.forcing && random_permille(500);
	}
	call.dry_run = random_permille(50);
	return call;
}

/* Mostly at the leader, where the daemon would carry it. */
void operator_act(void)
{
	struct host *host = random_permille(900) ? leading_host() : any_agent();

	if (host != NULL)
		(void)operator_ask(host, some_call(host));
}

static bool waiting_for(uint8_t kind)
{
	for (unsigned i = 0; i < ASKED_MAX; i++) {
		const struct asked *asked = &world.asked[i];

		if (asked->open && asked->call.kind == kind &&
		    world.hosts[asked->host].consensus_life == asked->life)
			return true;
	}
	return false;
}

/* Somebody who has answered and may be primary, and has most of all. */
static node_id least_loss(const struct agent *agent)
{
	node_id best = NODE_NONE;

	for (node_id id = 1; id <= world.total; id++) {
		const struct facts *facts = &agent->answers[id].facts;
		const struct node *node = cluster_node(&agent->cluster, id);

		if (!node_in(agent->answered, id) || facts->position.timeline == 0 ||
		    node == NULL || node->priority == 0 || node_in(agent->cluster.rebuilding, id))
			continue;
		if (best == NODE_NONE ||
		    facts->position.flushed > agent->answers[best].facts.position.flushed)
			best = id;
	}
	return best;
}

/* Everything works again: what was switched off is switched on. */
static void tidy(void)
{
	struct host *host = leading_host();
	const struct agent *agent;
	const struct settings *settings;
	struct call call = {.kind = CALL_NONE};

	event_add(world.now + 500 * MS, (struct event){.what = AT_OPERATOR});
	if (host == NULL)
		return;
	agent = raftnode_agent(host->raftnode);
	settings = &agent->cluster.settings;
	if (world.stay_paused) {
		if (!settings->paused || settings->pause_until_ms != 0)
			call.kind = CALL_PAUSE;
	} else if (settings->paused) {
		call.kind = CALL_RESUME;
	} else if (!settings->auto_failover) {
		call.kind = CALL_AUTO_FAILOVER;
		call.on = true;
	} else if (settings->maintenance != 0) {
		call.kind = CALL_MAINTENANCE;
		while (!node_in(settings->maintenance, call.node))
			call.node++;
	} else if (world.forcing && agent->phase == PHASE_BLOCKED &&
		   world.now - world.healed_at > 10 * SEC) {
		call.node = least_loss(agent);
		call.kind = call.node == NODE_NONE ? CALL_NONE : CALL_FAILOVER;
		call.accept_loss = true;
	}
	if (call.kind != CALL_NONE && !waiting_for(call.kind))
		(void)operator_ask(host, call);
}

/* With a number: has that call been answered? Without: what is to be tidied up? */
void operator_turn(const struct event *event)
{
	const struct asked *asked = &world.asked[event->lsn % ASKED_MAX];
	const struct host *host = &world.hosts[asked->host];

	if (event->lsn == 0) {
		tidy();
		return;
	}
	if (!asked->open || asked->call.id != event->lsn || !host->consensus_up ||
	    host->consensus_life != asked->life)
		return;
	/* Who stood still has had no time. */
	if (host->frozen_until[PROCESS_CONSENSUS] + 10 * SEC > world.now) {
		event_add(host->frozen_until[PROCESS_CONSENSUS] + 10 * SEC,
			  (struct event){.what = AT_OPERATOR, .lsn = event->lsn});
		return;
	}
	fail("n%u has not answered call %lu (%s) for 10 s", host->id, (unsigned long)event->lsn,
	     call_kind_name(asked->call.kind));
}
