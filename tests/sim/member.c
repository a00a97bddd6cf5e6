/* The consensus process of a host: what procs/consensus is in the daemon. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "sim.h"

static uint64_t op_now(void *arg)
{
	return local_ns(arg);
}

static uint64_t op_wall(void *arg)
{
	return wall_ms(arg);
}

static int op_random(void *arg, int min, int max)
{
	UNUSED(arg);
	return min + (int)random_below((uint64_t)(max - min));
}

static int op_send(void *arg, const struct raft_message *message, uint64_t sent_ns)
{
	const struct host *host = arg;
	const node_id to = (node_id)message->server_id;

	if (!link_open(host->id, to))
		return RAFT_NOCONNECTION;
	packet_send(host->id, to, packet_of_raft(host->id, message, sent_ns));
	return 0;
}

static struct packet *packet_new(enum packet_kind kind)
{
	struct packet *packet = malloc(sizeof(*packet));

	CHECK(packet != NULL);
	packet->kind = (uint8_t)kind;
	return packet;
}

static void op_send_heard(void *arg, node_id to, uint64_t term, uint64_t sent_ns)
{
	const struct host *host = arg;
	struct packet *packet = packet_new(PACKET_HEARD);

	packet->term = term;
	packet->sent_ns = sent_ns;
	packet_send(host->id, to, packet);
}

static void give_order(struct host *host, unsigned executor, const struct order *order)
{
	struct order *copy = malloc(sizeof(*copy));
	uint64_t at = world.now + random_between(30, 300) * US;

	CHECK(copy != NULL);
	*copy = *order;
	if (at < host->order_at[executor])
		at = host->order_at[executor];
	host->order_at[executor] = at;
	event_add(at, (struct event){.what = AT_ORDER,
				     .host = host->id,
				     .part = (uint8_t)executor,
				     .generation = host->executors[executor].generation,
				     .lsn = host->consensus_life,
				     .data = copy});
}

/* Late as they are, each one overtakes none that was sent before. */
static void facts_send(const struct host *host, node_id to, const struct facts *facts)
{
	struct packet *packet;

	if (to == host->id || !link_open(host->id, to))
		return;
	packet = packet_new(PACKET_FACTS);
	packet->facts = *facts;
	packet_send_later(host->id, to, packet, host->slow_facts);
}

static void broadcast(const struct host *host, const struct facts *facts)
{
	for (unsigned id = 1; id <= world.total; id++)
		facts_send(host, (node_id)id, facts);
}

static void row_noted(const char *name)
{
	for (unsigned i = 0; i < leader_rule_count(); i++)
		if (leader_rule(i).name == name)
			totals.rows[i]++;
}

/* A standing duty leaves its reason only. */
static void row_standing(struct host *host)
{
	const struct agent *agent = raftnode_agent(host->raftnode);

	if (agent->why == host->why)
		return;
	host->why = agent->why;
	for (unsigned i = 0; i < leader_rule_count(); i++) {
		const struct leader_rule_info row = leader_rule(i);

		if (row.why == agent->why && row.phase == row.next && row.phase == agent->phase)
			totals.rows[i]++;
	}
}

static void op_effect(void *arg, const struct effect *effect)
{
	struct host *host = arg;
	struct packet *packet;
	struct order grant = {.kind = ORDER_NONE};

	switch (effect->kind) {
	case FX_SURVEY:
		packet = packet_new(PACKET_SURVEY);
		packet->survey = effect->survey;
		packet_send(host->id, effect->node, packet);
		break;
	case FX_ANSWER:
		packet = packet_new(PACKET_ANSWER);
		packet->answer = effect->answer;
		packet_send(host->id, effect->node, packet);
		break;
	case FX_FACTS:
		broadcast(host, &effect->answer.facts);
		break;
	case FX_ORDER:
		trace("n%u (db %u) order %s epoch %lu upstream %u promise %lu rule %x/%u", host->id,
		      raftnode_agent(host->raftnode)->self.db, order_kind_name(effect->order.kind),
		      (unsigned long)effect->order.epoch, effect->order.upstream,
		      (unsigned long)effect->order.promise, effect->order.rule.members,
		      effect->order.rule.need);
		give_order(host, order_executor(effect->order.kind), &effect->order);
		break;
	case FX_GRANT:
		check_grant(host, effect->grant.epoch, effect->grant.until_ns);
		grant.epoch = effect->grant.epoch;
		grant.lease_until_ns = effect->grant.until_ns;
		give_order(host, EXECUTOR_VIP, &grant);
		break;
	case FX_NOTE:
		trace("n%u %s: %s", host->id, effect->note.rule, effect->note.why);
		row_noted(effect->note.rule);
		break;
	case FX_CALL_RESULT:
		operator_answered(host, &effect->call_result);
		break;
	default:
		fail("n%u: an effect of kind %u that nobody performs", host->id, effect->kind);
		break;
	}
}

static void op_applied(void *arg, uint64_t index, const struct entry *entry)
{
	struct host *host = arg;

	if (world.options.trace && entry->kind == ENTRY_ASSIGN)
		trace("n%u applied %lu assign epoch %lu to n%u %s record %x/%u", host->id,
		      (unsigned long)index, (unsigned long)entry->epoch, entry->assign.node,
		      entry->assign.resume ? "resume" : "", entry->assign.record.members,
		      entry->assign.record.need);
	else if (world.options.trace)
		trace("n%u applied %lu %s epoch %lu record %x/%u", host->id, (unsigned long)index,
		      entry_kind_name(entry->kind), (unsigned long)entry->epoch,
		      entry->kind == ENTRY_RECORD ? entry->record.record.members : 0,
		      entry->kind == ENTRY_RECORD ? entry->record.record.need : 0);
	check_applied(host, index, entry);
}

static void op_failed(void *arg, const char *reason)
{
	const struct host *host = arg;

	fail("n%u: %s", host->id, reason);
}

static const struct raftnode_ops ops = {
	.now_ns = op_now,
	.wall_ms = op_wall,
	.random = op_random,
	.send = op_send,
	.send_heard = op_send_heard,
	.effect = op_effect,
	.applied = op_applied,
	.failed = op_failed,
};

/* What the process would publish; and the claim that goes with it. */
void consensus_publish(struct host *host)
{
	const struct raft_view *view = &raftnode_agent(host->raftnode)->raft;

	check_lease(host, view);
	row_standing(host);
	if (view->lease_until_ns != 0) {
		host->segment_term = view->term;
		host->segment_until_ns = view->lease_until_ns;
	}
}

void consensus_start(struct host *host)
{
	static const char *const addresses[HOSTS] = {NULL, "n1", "n2", "n3", "n4",
						     "n5", "n6", "n7", "n8", "n9"};
	struct raftnode_config config = {
		.agent = world.agent,
		.lease_ns = world.lease_ns,
		.snapshot_threshold = 40,
		.snapshot_trailing = 20,
	};
	struct err why;

	config.agent.self = host->id;
	for (unsigned id = 1; id <= world.total; id++)
		config.address[id] = addresses[id];
	if (host->segment_until_ns > local_ns(host)) {
		config.resume_term = host->segment_term;
		config.resume_until_ns = host->segment_until_ns;
	}
	host->consensus_life++;
	host->consensus_up = true;
	trace("n%u consensus starts", host->id);
	disk_open(host);
	if (raftnode_new(&host->raftnode, &config, &host->io, &ops, host, &why) < 0 ||
	    raftnode_start(host->raftnode, &why) < 0) {
		fail("n%u does not start: %s", host->id, why.text);
		return;
	}
	event_add(world.now + random_below(world.agent.heartbeat_ns / 2),
		  (struct event){.what = AT_AGENT_TICK,
				 .host = host->id,
				 .generation = host->consensus_life});
	if (host->executors[EXECUTOR_VIP].up)
		vip_report(host);
	host->probed_once = false;
}

void consensus_stop(struct host *host)
{
	host->consensus_up = false;
	if (host->raftnode != NULL) {
		raftnode_close(host->raftnode, NULL, NULL);
		raftnode_free(host->raftnode);
	}
	host->raftnode = NULL;
}

void consensus_packet(struct host *host, struct packet *packet)
{
	struct agent_event event;
	struct err why;

	if (!link_open(packet->from, host->id)) {
		packet_free(packet);
		return;
	}
	if (packet->kind == PACKET_RAFT) {
		if (raftnode_receive(host->raftnode, packet->from, &packet->raft, packet->sent_ns,
				     &why) == ERR_INVALID)
			fail("n%u refuses what libraft sends: %s", host->id, why.text);
		free(packet);
		return;
	}
	/* As in the daemon: only facts and the log of one that has left. */
	if (packet->kind != PACKET_FACTS && raftnode_has_left(host->raftnode, packet->from)) {
		packet_free(packet);
		return;
	}
	if (packet->kind == PACKET_HEARD) {
		raftnode_heard(host->raftnode, packet->from, packet->term, packet->sent_ns);
	} else {
		memset(&event, 0, sizeof(event));
		if (packet->kind == PACKET_SURVEY) {
			event.kind = EV_SURVEY;
			event.survey = packet->survey;
		} else if (packet->kind == PACKET_ANSWER) {
			event.kind = EV_ANSWER;
			event.answer = packet->answer;
		} else {
			event.kind = EV_PEER_FACTS;
			event.facts = packet->facts;
		}
		raftnode_event(host->raftnode, &event);
	}
	packet_free(packet);
}

void consensus_bus(struct host *host, struct agent_event *event)
{
	raftnode_event(host->raftnode, event);
}

void bus_send(struct host *host, const struct agent_event *event)
{
	struct agent_event *copy;
	uint64_t at = world.now + random_between(30, 300) * US;

	if (!host->consensus_up)
		return;
	copy = malloc(sizeof(*copy));
	CHECK(copy != NULL);
	*copy = *event;
	/* One socket per pair in the daemon; across executors the order is not fixed there. */
	if (at < host->bus_at)
		at = host->bus_at;
	host->bus_at = at;
	event_add(at, (struct event){.what = AT_BUS,
				     .host = host->id,
				     .generation = host->consensus_life,
				     .data = copy});
}
