#include "agent_world.h"

#include <criterion/criterion.h>
#include <string.h>

#include "core/syncset.h"

#define WRITE_BYTES 64

static bool connected(const struct world *world, node_id a, node_id b)
{
	const struct host *from = &world->hosts[a];
	const struct host *to = &world->hosts[b];

	return from->up && to->up &&
	       (a == b || (!from->cut && !to->cut && !from->deaf && !to->deaf));
}

static bool has_majority(const struct world *world, node_id node)
{
	unsigned reached = 0;

	for (node_id id = 1; id <= world->count; id++)
		reached += connected(world, node, id) ? 1 : 0;
	return 2 * reached > world->count;
}

/* --- rows of the table --- */

static void see(struct world *world, unsigned rule)
{
	struct leader_rule_info info = leader_rule(rule);

	world->taken[rule] = true;
	if (world->seen_count > 0 && world->seen[world->seen_count - 1] == info.name)
		return;
	if (world->seen_count == SEEN_MAX) {
		memmove(&world->seen[0], &world->seen[SEEN_MAX / 2],
			(SEEN_MAX / 2) * sizeof(world->seen[0]));
		world->seen_count = SEEN_MAX / 2;
	}
	world->seen[world->seen_count++] = info.name;
}

/* Phase changes are noted; a row that stays in its phase shows as the reason for being there. */
static void see_rules(struct world *world, const struct agent *agent, const struct effects *effects)
{
	for (unsigned i = 0; i < effects->count; i++)
		for (unsigned rule = 0; rule < leader_rule_count(); rule++)
			if (effects->list[i].kind == FX_NOTE &&
			    leader_rule(rule).name == effects->list[i].note.rule)
				see(world, rule);
	for (unsigned rule = 0; rule < leader_rule_count(); rule++) {
		struct leader_rule_info info = leader_rule(rule);

		if (agent->raft.ready && info.phase == info.next && info.phase == agent->phase &&
		    info.why == agent->why)
			see(world, rule);
	}
}

bool world_saw(const struct world *world, unsigned from, const char *name)
{
	for (unsigned i = from; i < world->seen_count; i++)
		if (strcmp(world->seen[i], name) == 0)
			return true;
	return false;
}

/* --- effects --- */

static void post(struct world *world, node_id from, node_id to, const struct effect *effect)
{
	struct mail *mail;

	if (!connected(world, from, to) || world->mail_count == MAIL_MAX ||
	    (world->mute_answers && effect->kind == FX_ANSWER))
		return;
	mail = &world->mail[world->mail_count++];
	memset(mail, 0, sizeof(*mail));
	mail->kind = effect->kind;
	mail->from = from;
	mail->to = to;
	if (effect->kind == FX_SURVEY)
		mail->survey = effect->survey;
	else
		mail->answer = effect->answer;
}

static void propose(struct world *world, node_id node, const struct entry *entry)
{
	if (world->leader == node && has_majority(world, node) && !world->hold_proposals) {
		cr_assert_lt(world->log_length, LOG_MAX, "the log is full");
		world->log[world->log_length++] = *entry;
	}
}

static void give_grant(struct world *world, struct host *host, const struct effect *effect)
{
	cr_assert_leq(effect->grant.until_ns, world->leader_heard_ns + LEASE);
	if (host->stuck >> EXECUTOR_VIP & 1 || effect->grant.epoch < host->fence_epoch ||
	    effect->grant.until_ns <= world->now_ns)
		return;
	host->fence = FENCE_OPEN;
	host->fence_epoch = effect->grant.epoch;
	host->fence_until_ns = effect->grant.until_ns;
}

static void elect(struct world *world, node_id node)
{
	world->term++;
	world->leader = node;
	world->leader_heard_ns = world->now_ns;
	world->hosts[node].led_since_ns = world->now_ns;
}

static void transfer(struct world *world, node_id from, node_id to)
{
	struct host *host = &world->hosts[from];

	world->transfers++;
	host->raft.lease_until_ns = 0;
	cr_assert_neq(to, from);
	if (connected(world, from, to) && !world->hosts[to].refuses_leadership &&
	    world->leader == from)
		elect(world, to);
}

static void perform(struct world *world, node_id node, const struct effects *effects)
{
	struct host *host = &world->hosts[node];

	for (unsigned i = 0; i < effects->count; i++) {
		const struct effect *effect = &effects->list[i];

		switch (effect->kind) {
		case FX_PROPOSE:
			propose(world, node, &effect->entry);
			break;
		case FX_TRANSFER:
			transfer(world, node, effect->node);
			break;
		case FX_SURVEY:
		case FX_ANSWER:
			cr_assert_neq(effect->node, node);
			post(world, node, effect->node, effect);
			break;
		case FX_FACTS:
			for (node_id id = 1; id <= world->count; id++)
				if (id != node)
					post(world, node, id, effect);
			break;
		case FX_ORDER:
			cr_assert_neq(effect->order.id, 0);
			host->orders[order_executor(effect->order.kind)] = effect->order;
			break;
		case FX_GRANT:
			give_grant(world, host, effect);
			break;
		case FX_CALL_RESULT:
			world->result = effect->call_result;
			world->results++;
			break;
		default:
			break;
		}
	}
}

void world_event(struct world *world, node_id node, struct agent_event event)
{
	struct host *host = &world->hosts[node];
	struct effects effects;

	if (!host->up)
		return;
	event.now_ns = world->now_ns;
	event.wall_ms = world->now_ns / MS;
	event.raft = host->raft;
	agent_step(&host->agent, &event, &effects);
	see_rules(world, &host->agent, &effects);
	perform(world, node, &effects);
}

void world_call(struct world *world, struct call call)
{
	static uint64_t id;
	struct agent_event event = {.kind = EV_CALL, .call = call};

	cr_assert_neq(world->leader, NODE_NONE);
	event.call.id = ++id;
	event.call.via = world->leader;
	world_event(world, world->leader, event);
}

/* --- the log --- */

static void replicate(struct world *world)
{
	for (node_id id = 1; id <= world->count; id++) {
		struct host *host = &world->hosts[id];

		while (world->leader != NODE_NONE && connected(world, id, world->leader) &&
		       !host->late && host->applied < world->log_length) {
			struct agent_event event = {.kind = EV_APPLIED};

			event.applied = world->log[host->applied++];
			world_event(world, id, event);
			cr_assert(cluster_sane(&host->agent.cluster));
		}
	}
}

static void election(struct world *world)
{
	if (world->leader != NODE_NONE && has_majority(world, world->leader)) {
		world->leader_heard_ns = world->now_ns;
		return;
	}
	if (world->leader != NODE_NONE && world->now_ns - world->leader_heard_ns < ELECTION)
		return;
	for (unsigned i = 0; i < world->count; i++) {
		node_id id = (node_id)(i + (world->next_leader == 0 ? 1 : world->next_leader));

		id = id > world->count ? (node_id)(id - world->count) : id;
		if (!has_majority(world, id) || world->hosts[id].refuses_leadership)
			continue;
		elect(world, id);
		return;
	}
}

static void tell_raft(struct world *world, node_id id)
{
	struct host *host = &world->hosts[id];
	struct raft_view view = host->raft;

	if (world->leader == id) {
		view.leader = true;
		view.ready =
			world->now_ns > host->led_since_ns && host->applied == world->log_length;
		view.term = world->term;
		view.leader_id = id;
		view.lease_until_ns = view.ready ? world->leader_heard_ns + LEASE : 0;
	} else if (world->leader != NODE_NONE && connected(world, id, world->leader)) {
		view = (struct raft_view){.term = world->term, .leader_id = world->leader};
	} else if (view.leader && world->now_ns > view.lease_until_ns + 2 * ELECTION) {
		view = (struct raft_view){.term = view.term};
	}
	view.current = host->raft.current || host->applied == world->log_length;
	if (memcmp(&view, &host->raft, sizeof(view)) != 0) {
		host->raft = view;
		world_event(world, id, (struct agent_event){.kind = EV_RAFT});
	}
	if (host->agent.transferring && world->leader == id &&
	    world->now_ns - host->agent.phase_ns > 2 * TICK_NS)
		world_event(world, id, (struct agent_event){.kind = EV_TRANSFER_OVER});
	if (host->agent.proposing && host->applied == world->log_length && !world->hold_proposals)
		world_event(world, id, (struct agent_event){.kind = EV_PROPOSAL_LOST});
}

/* --- databases --- */

static bool db_answers(const struct db *db)
{
	return db->state == DB_STANDBY || db->state == DB_PRIMARY;
}

/* `db` holds nothing that `from` does not. */
static bool can_follow(const struct db *db, const struct db *from)
{
	if (db->position.timeline == from->position.timeline)
		return db->position.flushed <= from->position.flushed;
	for (unsigned i = 0; i < from->position.branch_count; i++)
		if (from->position.branches[i].timeline == db->position.timeline)
			return db->position.flushed <= from->position.branches[i].end;
	return false;
}

/* It lets standbys in: a primary, or a standby that is fed itself. */
static bool sends(const struct host *host)
{
	if (host->db.state == DB_PRIMARY)
		return host->fence == FENCE_OPEN || host->fence == FENCE_CLIENTS;
	return host->db.state == DB_STANDBY && host->db.receiving && host->fence == FENCE_NONE;
}

static void stream(struct world *world, node_id id)
{
	struct db *db = &world->hosts[id].db;
	const struct host *from = &world->hosts[db->upstream];
	const bool asks = db->state == DB_STANDBY && db->upstream != NODE_NONE &&
			  !world->hosts[id].cut && !from->cut && sends(from) &&
			  can_follow(db, &from->db);

	db->receiving = asks && from->db.oldest <= db->position.flushed;
	if (asks && !db->receiving)
		db->fault = FAULT_WAL_MISSING;
	else if (db->fault == FAULT_WAL_MISSING)
		db->fault = FAULT_NONE;
	if (db->receiving && !db->deaf)
		db->position = from->db.position;
	db->position.replayed = db->position.flushed;
}

static void write_commit(struct world *world, node_id id)
{
	struct host *host = &world->hosts[id];
	unsigned flushed = 0;

	if (host->db.state != DB_PRIMARY || host->fence != FENCE_OPEN || host->cut ||
	    !world->clients)
		return;
	host->db.position.flushed += WRITE_BYTES;
	for (node_id other = 1; other <= world->count; other++) {
		struct db *db = &world->hosts[other].db;

		stream(world, other);
		if (db->receiving && !db->deaf && db->upstream == id &&
		    node_in(host->db.rule.members, other))
			flushed++;
	}
	if (flushed >= host->db.rule.need)
		world->acknowledged = host->db.position.flushed;
}

static struct facts look(const struct world *world, node_id id)
{
	const struct db *db = &world->hosts[id].db;
	struct facts facts = {.node = id, .db = db->state, .fault = db->fault};

	if (!db_answers(db))
		return facts;
	facts.system_id = 4711;
	facts.position = db->position;
	facts.receiving = db->receiving;
	facts.upstream = db->receiving ? db->upstream : NODE_NONE;
	facts.promise = db->promise;
	facts.config_epoch = db->config_epoch;
	facts.rule = db->rule;
	facts.rule_since = db->rule_since;
	facts.excluded = db->excluded;
	facts.damaged = db->damaged;
	if (db->damaged)
		facts.fault = FAULT_DATA_DAMAGED;
	for (node_id other = 1; db->state == DB_PRIMARY && other <= world->count; other++) {
		const struct db *standby = &world->hosts[other].db;

		if (standby->receiving && standby->upstream == id)
			facts.standbys[facts.standby_count++] = (struct standby_view){
				other, true, standby->position.flushed, standby->position.flushed};
	}
	return facts;
}

static void configure(struct db *db, const struct order *order)
{
	cr_assert_geq(order->promise, db->promise, "a promise is taken back");
	if (!(db->rule.members == order->rule.members && db->rule.need == order->rule.need))
		db->rule_since = db->position.flushed;
	db->promise = order->promise;
	db->config_epoch = order->epoch;
	db->upstream = order->upstream;
	if (!db->overruled && !order->keep_rule)
		db->rule = order->rule;
	if (order->reserve_until > db->reserved)
		db->reserved = order->reserve_until;
}

static void promote(struct db *db)
{
	struct wal_position *position = &db->position;

	cr_assert_eq(db->upstream, NODE_NONE, "promoted while it streams");
	position->branches[position->branch_count++] =
		(struct wal_branch){position->timeline, position->flushed};
	position->timeline =
		1 + (position->timeline > db->reserved ? position->timeline : db->reserved);
	if (db->promote_to != 0)
		position->timeline = db->promote_to;
	position->flushed += WRITE_BYTES;
	db->rule_since = position->flushed;
	db->state = DB_PRIMARY;
}

/* Nobody is named: no commit passes. */
static bool waits_for_ever(struct sync_rule rule)
{
	return rule.members == 0 && rule.need > 0;
}

/* Does the order; false when it cannot be done. */
static bool execute_db(struct world *world, struct host *host, const struct order *order)
{
	struct db *db = &host->db;
	const struct host *upstream = &world->hosts[order->upstream];

	switch (order->kind) {
	case ORDER_DB_INITDB:
		db->position = (struct wal_position){.timeline = 1, .flushed = 1000};
		db->state = DB_DOWN;
		return true;
	case ORDER_DB_START: {
		struct order kept = *order;

		/* The agent cannot ask a database that is down what it has promised. */
		if (kept.promise < db->promise)
			kept.promise = db->promise;
		configure(db, &kept);
		if (db->state == DB_DOWN)
			db->state = DB_STANDBY;
		return db->state == DB_STANDBY;
	}
	case ORDER_DB_STOP:
		/* The shutdown checkpoint goes to those who stream; then the server ends. */
		if (db->state == DB_PRIMARY) {
			db->position.flushed += WRITE_BYTES;
			for (node_id id = 1; id <= world->count; id++)
				stream(world, id);
		}
		/* fall through */
	case ORDER_DB_KILL:
		if (db->state != DB_ABSENT)
			db->state = DB_DOWN;
		return true;
	case ORDER_DB_CONFIGURE:
		cr_assert(db->state != DB_STANDBY || host->fence != FENCE_NONE ||
				  order->keep_rule || waits_for_ever(order->rule),
			  "whoever promoted it by hand would open it");
		configure(db, order);
		return true;
	case ORDER_DB_REWIND:
	case ORDER_DB_CLONE:
		cr_assert(!db_answers(db), "data are replaced under a running server");
		cr_assert(node_in(host->agent.cluster.rebuilding, host->agent.config.self),
			  "data are replaced that count for something");
		cr_assert(!node_in(world_cluster(world)->record.members, host->agent.config.self),
			  "data are replaced that the record counts on");
		if (upstream->db.state != DB_PRIMARY || upstream->fence != FENCE_OPEN || host->cut)
			return false;
		db->position = upstream->db.position;
		db->state = DB_DOWN;
		return true;
	default:
		return false;
	}
}

static bool execute(struct world *world, struct host *host, const struct order *order)
{
	switch (order->kind) {
	case ORDER_DB_POSITION:
		cr_assert(host->db.state != DB_PRIMARY || host->fence == FENCE_CLOSED,
			  "a primary is measured while clients may write");
		return db_answers(&host->db) && !host->db.receiving &&
		       host->db.promise >= order->promise;
	case ORDER_DB_PROMOTE:
		if (order->lease_until_ns < world->now_ns || host->db.state != DB_STANDBY)
			return false;
		cr_assert_eq(host->fence, FENCE_CLOSED, "promoted before it is fenced");
		cr_assert(sync_rule_equal(host->db.rule, host->agent.cluster.record));
		cr_assert_geq(host->db.reserved + 1, host->agent.cluster.timeline_max);
		promote(&host->db);
		return true;
	case ORDER_DB_CHECKPOINT:
		return host->db.state == DB_PRIMARY;
	case ORDER_FENCE_CLOSE:
		host->fence = FENCE_CLOSED;
		if (order->epoch > host->fence_epoch)
			host->fence_epoch = order->epoch;
		return true;
	case ORDER_FENCE_CLIENTS:
		host->fence = FENCE_CLIENTS;
		host->fence_until_ns = order->lease_until_ns;
		if (order->epoch > host->fence_epoch)
			host->fence_epoch = order->epoch;
		return true;
	case ORDER_FENCE_DROP:
		cr_assert_neq(host->db.state, DB_PRIMARY, "no fence before a primary");
		host->fence = FENCE_NONE;
		return true;
	default:
		return execute_db(world, host, order);
	}
}

static void report_fence(struct world *world, node_id id)
{
	struct host *host = &world->hosts[id];
	struct agent_event event = {.kind = EV_FENCE};

	if ((host->fence == FENCE_OPEN || host->fence == FENCE_CLIENTS) &&
	    world->now_ns >= host->fence_until_ns)
		host->fence = FENCE_CLOSED;
	event.fence.state = host->fence;
	event.fence.epoch = host->fence_epoch;
	event.fence.kernel = true;
	if (!(host->stuck >> EXECUTOR_VIP & 1))
		world_event(world, id, event);
}

static void work(struct world *world, node_id id)
{
	struct host *host = &world->hosts[id];

	for (unsigned i = 0; i < EXECUTOR_COUNT; i++) {
		struct agent_event event = {.kind = EV_ORDER_RESULT};
		struct order order = host->orders[i];
		bool done;

		if (order.id == 0 || (host->stuck >> i & 1) != 0)
			continue;
		host->orders[i].id = 0;
		done = !(host->failing >> order.kind & 1) && execute(world, host, &order);
		host->done[order.kind] += done ? 1 : 0;
		event.result.order_id = order.id;
		event.result.outcome = done            ? OUTCOME_DONE
				       : host->lacking ? OUTCOME_REFUSED
						       : OUTCOME_FAILED;
		if (order.kind == ORDER_DB_POSITION || order.kind == ORDER_DB_PROMOTE) {
			event.result.has_facts = true;
			event.result.facts = look(world, id);
		}
		world_event(world, id, event);
	}
}

/* --- time --- */

static void deliver(struct world *world)
{
	unsigned count = world->mail_count;
	struct mail arrived[MAIL_MAX];

	memcpy(arrived, world->mail, count * sizeof(arrived[0]));
	world->mail_count = 0;
	for (unsigned i = 0; i < count; i++) {
		const struct mail *mail = &arrived[i];
		struct agent_event event = {.kind = EV_PEER_FACTS};

		if (mail->kind == FX_SURVEY) {
			event.kind = EV_SURVEY;
			event.survey = mail->survey;
		} else if (mail->kind == FX_ANSWER) {
			event.kind = EV_ANSWER;
			event.answer = mail->answer;
		} else {
			event.facts = mail->answer.facts;
		}
		if (connected(world, mail->from, mail->to))
			world_event(world, mail->to, event);
	}
}

node_id world_writer(const struct world *world)
{
	node_id writer = NODE_NONE;

	for (node_id id = 1; id <= world->count; id++) {
		const struct host *host = &world->hosts[id];

		if (host->db.state != DB_PRIMARY || host->fence == FENCE_CLOSED ||
		    host->fence == FENCE_CLIENTS ||
		    (host->fence == FENCE_OPEN && world->now_ns >= host->fence_until_ns))
			continue;
		/* A promotion behind the agent's back is unfenced until the agent sees it. */
		if (host->fence == FENCE_NONE)
			continue;
		cr_assert_eq(writer, NODE_NONE, "nodes %u and %u both let clients write", writer,
			     id);
		writer = id;
	}
	return writer;
}

static void check(const struct world *world)
{
	node_id writer = world_writer(world);

	if (writer == NODE_NONE)
		return;
	cr_assert_geq(world->hosts[writer].db.position.flushed, world->acknowledged,
		      "node %u lacks what was acknowledged", writer);
	cr_assert_eq(world->hosts[writer].db.position.timeline,
		     world->hosts[writer].agent.cluster.timeline,
		     "node %u writes on a timeline of its own", writer);
}

void world_tick(struct world *world)
{
	world->now_ns += TICK_NS;
	election(world);
	deliver(world);
	replicate(world);
	for (node_id id = 1; id <= world->count; id++)
		tell_raft(world, id);
	for (node_id id = 1; id <= world->count; id++)
		stream(world, id);
	for (node_id id = 1; id <= world->count; id++)
		write_commit(world, id);
	for (node_id id = 1; id <= world->count; id++) {
		struct agent_event event = {.kind = EV_LOCAL_FACTS};

		work(world, id);
		report_fence(world, id);
		event.facts = look(world, id);
		if (world->hosts[id].agent.config.nodes[id - 1].kind == NODE_DATA &&
		    !(world->hosts[id].stuck >> EXECUTOR_DBMON & 1))
			world_event(world, id, event);
		world_event(world, id, (struct agent_event){.kind = EV_TICK});
	}
	check(world);
}

void world_run(struct world *world, unsigned ms)
{
	for (unsigned i = 0; i < ms * MS / TICK_NS; i++)
		world_tick(world);
}

void world_until(struct world *world, const char *what, unsigned limit_ms,
		 bool (*done)(const struct world *))
{
	for (unsigned i = 0; i < limit_ms * MS / TICK_NS; i++) {
		if (done(world))
			return;
		world_tick(world);
	}
	for (unsigned i = world->seen_count > 12 ? world->seen_count - 12 : 0;
	     i < world->seen_count; i++)
		cr_log_info("%s", world->seen[i]);
	cr_assert_fail("not within %u ms: %s", limit_ms, what);
}

void world_start_agent(struct world *world, node_id node)
{
	struct host *host = &world->hosts[node];
	struct agent_config config = {
		.self = node,
		.cluster_id = 77,
		.election_ns = ELECTION,
		.heartbeat_ns = HEARTBEAT,
	};

	config.node_total = (uint8_t)world->count;
	config.settings = world->settings;
	for (unsigned i = 0; i < world->count; i++)
		config.nodes[i] = world->hosts[1].agent.config.nodes[i];
	agent_init(&host->agent, &config, world->now_ns);
	host->up = true;
	host->applied = 0;
	memset(&host->raft, 0, sizeof(host->raft));
	memset(host->orders, 0, sizeof(host->orders));
	if (world->leader == node)
		host->led_since_ns = world->now_ns;
}

void world_stop_agent(struct world *world, node_id node)
{
	world->hosts[node].up = false;
	memset(&world->hosts[node].raft, 0, sizeof(world->hosts[node].raft));
	memset(world->hosts[node].orders, 0, sizeof(world->hosts[node].orders));
}

void world_kill_db(struct world *world, node_id node)
{
	if (world->hosts[node].db.state != DB_ABSENT)
		world->hosts[node].db.state = DB_DOWN;
}

void world_kill_host(struct world *world, node_id node)
{
	world_stop_agent(world, node);
	world_kill_db(world, node);
	world->hosts[node].fence = FENCE_CLOSED;
}

void world_init(struct world *world, unsigned data, unsigned witnesses)
{
	memset(world, 0, sizeof(*world));
	world->now_ns = 5000 * MS;
	world->count = data + witnesses;
	world->settings = settings_default(data);
	world->settings.mode = MODE_MAX_PROTECTION;
	for (unsigned i = 0; i < world->count; i++) {
		struct node *node = &world->hosts[1].agent.config.nodes[i];

		node->id = (node_id)(i + 1);
		node->kind = i < data ? NODE_DATA : NODE_WITNESS;
		node->priority = 100;
		node->name[0] = (char)('a' + i);
	}
	for (node_id id = 1; id <= world->count; id++) {
		world->hosts[id].db.state = DB_ABSENT;
		world->hosts[id].fence = FENCE_CLOSED;
		world_start_agent(world, id);
	}
}

const struct cluster *world_cluster(const struct world *world)
{
	const struct host *newest = &world->hosts[1];

	for (node_id id = 2; id <= world->count; id++)
		if (world->hosts[id].agent.cluster.version > newest->agent.cluster.version)
			newest = &world->hosts[id];
	return &newest->agent.cluster;
}
