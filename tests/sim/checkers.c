/* The invariants of docs/protocol.md as claims about the whole world, watched at every step. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "core/syncset.h"
#include "sim.h"
#include "wire/convert.h"

/* I1: nobody else has a lease while one runs. */
void check_lease(struct host *host, const struct raft_view *view)
{
	if (view->lease_until_ns <= local_ns(host)) {
		host->lease_true_until = 0;
		return;
	}
	host->lease_true_until = true_ns(host, view->lease_until_ns);
	for (unsigned id = 1; id <= world.total; id++) {
		const struct host *other = &world.hosts[id];

		if (other != host && other->lease_true_until > world.now)
			fail("I1: n%u has a lease of term %lu while n%u has one for %.3f ms more",
			     host->id, (unsigned long)view->term, other->id,
			     (double)(other->lease_true_until - world.now) / 1e6);
	}
}

static bool promoted_by_human(const struct host *host)
{
	return host->pg.human && host->kernel.fence == FENCE_NONE;
}

/*
 * A standby has no fence that a human's promotion would meet; what it accepts is not acknowledged
 * (nobody is named as its synchronous standby), and the agent closes it.
 */
void check_human(struct host *host, const struct event *event)
{
	bool well = host->up && host->consensus_up;

	if (!host->up || host->pg.generation != event->generation || host->pg.hung ||
	    host->pg.state != PG_PRIMARY || !promoted_by_human(host))
		return;
	for (unsigned who = 0; who < PROCESS_COUNT; who++)
		if (host->frozen_until[who] > world.now ||
		    (who < EXECUTOR_COUNT && !host->executors[who].up))
			well = false;
	if (well && event->lsn >= 2)
		fail("I5: n%u was promoted by a human and is still open", host->id);
	/* Seen well three times in a row: the agent has had its chance. */
	event_add(world.now + 2 * SEC, (struct event){.what = AT_HUMAN,
						      .host = host->id,
						      .generation = event->generation,
						      .lsn = well ? event->lsn + 1 : 0});
}

/* I1 and I5: one database accepts writes, and only behind a fence that a lease holds open. */
void check_accepting(struct host *host)
{
	if (!pg_accepts_writes(host) || promoted_by_human(host))
		return;
	if (host->kernel.fence != FENCE_OPEN)
		fail("I5: n%u accepts writes without a lease", host->id);
	for (unsigned id = 1; id <= world.total; id++) {
		const struct host *other = &world.hosts[id];

		if (other != host && pg_accepts_writes(other) && !promoted_by_human(other))
			fail("I1: n%u and n%u accept writes at the same time", host->id, other->id);
	}
}

void check_grant(struct host *host, uint64_t epoch, uint64_t until_ns)
{
	const struct agent *agent = raftnode_agent(host->raftnode);

	if (!agent->raft.ready || until_ns > agent->raft.lease_until_ns)
		fail("I1: n%u grants beyond its lease", host->id);
	if (epoch != agent->cluster.epoch || agent->cluster.primary != host->id ||
	    !agent->cluster.opened)
		fail("I5: n%u grants epoch %lu, on record is epoch %lu of n%u", host->id,
		     (unsigned long)epoch, (unsigned long)agent->cluster.epoch,
		     agent->cluster.primary);
}

/* I2: whoever opens for a new epoch has every acknowledged commit. */
void check_opened(struct host *host, uint64_t epoch)
{
	const uint64_t missing = lost_by(&host->pg);

	if (epoch < world.open_epoch)
		fail("I1: n%u opens for epoch %lu after n%u has for %lu", host->id,
		     (unsigned long)epoch, world.open_node, (unsigned long)world.open_epoch);
	if (epoch == world.open_epoch && host->id != world.open_node)
		fail("I1: n%u and n%u both open for epoch %lu", host->id, world.open_node,
		     (unsigned long)epoch);
	/* A late grant to a database that is gone lets nobody in. */
	if (missing != 0 && !host->lost)
		fail("I2: n%u opens for epoch %lu without %lu acknowledged commits", host->id,
		     (unsigned long)epoch, (unsigned long)missing);
	world.open_epoch = epoch;
	world.open_node = host->id;
}

static unsigned holders(node_set members, wal_lsn lsn, uint32_t record)
{
	unsigned count = 0;

	/* Who has lost its data had them when it was counted on. */
	for (unsigned id = 1; id <= world.total; id++)
		if (node_in(members, (node_id)id) &&
		    (world.hosts[id].lost || pg_contains(&world.hosts[id].pg, lsn, record)))
			count++;
	return count;
}

static bool is_named(const struct cluster *truth, node_id id)
{
	bool named = truth->primary == id || node_in(truth->record.members, id);

	for (unsigned i = 0; i < truth->earlier_count; i++)
		named = named || node_in(truth->earlier[i].record.members, id);
	return named;
}

/* As far as its agent's log reaches, or reached when it gave the order. */
static bool believes_marked(const struct host *host)
{
	return host->raftnode == NULL ||
	       node_in(raftnode_agent(host->raftnode)->cluster.rebuilding, host->id);
}

/*
 * Who loses or replaces its data is on record as counting for nothing. A join may have been taken
 * back while the node stood still and had the order to clone: it is on no list and in no record. Or
 * it has not heard yet that it may be counted on again, and nobody does so far.
 */
void check_rebuild(const struct host *host)
{
	const struct cluster *truth = &world.truth;

	if (!is_named(truth, host->id) &&
	    (cluster_node(truth, host->id) == NULL || believes_marked(host)))
		return;
	/* Where nothing is left, nothing is destroyed. */
	if (!node_in(truth->rebuilding, host->id) && !host->lost)
		fail("I3: n%u is rebuilt while the record of epoch %lu counts on it (%u of %x)",
		     host->id, (unsigned long)truth->epoch, truth->record.need,
		     truth->record.members);
}

/* I2 and I3 in the instant of an acknowledgement. */
void check_acknowledged(struct host *host, wal_lsn lsn, uint32_t record)
{
	const struct cluster *truth = &world.truth;

	if (world.open_node != host->id &&
	    !pg_contains(&world.hosts[world.open_node].pg, lsn, record))
		fail("I2: n%u acknowledges a commit at %lu that n%u, open for epoch %lu, has not",
		     host->id, (unsigned long)lsn, world.open_node,
		     (unsigned long)world.open_epoch);
	if (truth->primary == host->id && truth->opened &&
	    holders(truth->record.members, lsn, record) < truth->record.need)
		fail("I3: n%u acknowledges a commit at %lu that %u of %x have, on record are %u",
		     host->id, (unsigned long)lsn, holders(truth->record.members, lsn, record),
		     truth->record.members, truth->record.need);
}

/*
 * I3, without waiting for a commit: what is in force in the database covers the record. A sender
 * without names releases nobody; without any names nobody waits.
 */
void check_rule(const struct host *host)
{
	const struct cluster *truth = &world.truth;
	const struct pg *pg = &host->pg;

	if (truth->primary != host->id || !truth->opened || pg->state != PG_PRIMARY ||
	    pg->timeline != truth->timeline || truth->record.need == 0)
		return;
	if (!pg->sync_defined)
		fail("I3: n%u lets commits pass, on record is %u of %x", host->id,
		     truth->record.need, truth->record.members);
	for (unsigned id = 1; id <= world.total; id++) {
		const struct wal_sender *sender = &pg->senders[id];

		if (sender->on && sender->rule.need != 0 &&
		    !sync_covers(sender->rule, truth->record))
			fail("I3: n%u enforces %u of %x, on record is %u of %x", host->id,
			     sender->rule.need, sender->rule.members, truth->record.need,
			     truth->record.members);
	}
}

/* I3: what a new record says is true of every commit that it speaks of. */
static void check_record(void)
{
	const struct cluster *truth = &world.truth;
	const struct pg *pg = &world.hosts[truth->primary].pg;
	wal_lsn at = truth->settled ? 0 : truth->open_lsn;

	for (; at < pg->flushed; at++) {
		const uint32_t record = pg->wal[at];

		if (!world.records[record].acknowledged ||
		    holders(truth->record.members, at + 1, record) >= truth->record.need)
			continue;
		fail("I3: epoch %lu, record %u of %x, but the commit at %lu is on %u of them",
		     (unsigned long)truth->epoch, truth->record.need, truth->record.members,
		     (unsigned long)at + 1, holders(truth->record.members, at + 1, record));
		return;
	}
}

static uint64_t hash_of(const struct cluster *cluster)
{
	static uint8_t bytes[LOG_SNAPSHOT_MAX];
	struct err why;
	const int size = log_snapshot_encode(cluster, bytes, &why);
	uint64_t hash = UINT64_C(14695981039346656037);

	if (size < 0) {
		fail("the state does not encode: %s", why.text);
		return 0;
	}
	for (int i = 0; i < size; i++)
		hash = (hash ^ bytes[i]) * UINT64_C(1099511628211);
	return hash | 1;
}

/* All members hold the same state after the same entry, and epochs never go back. */
void check_applied(struct host *host, uint64_t index, const struct entry *entry)
{
	const struct cluster *cluster = &raftnode_agent(host->raftnode)->cluster;
	const uint64_t hash = hash_of(cluster);

	if (index >= world.state_hash_room) {
		const unsigned room = (unsigned)index * 2;

		world.state_hash = realloc(world.state_hash, room * sizeof(*world.state_hash));
		CHECK(world.state_hash != NULL);
		memset(world.state_hash + world.state_hash_room, 0,
		       (room - world.state_hash_room) * sizeof(*world.state_hash));
		world.state_hash_room = room;
	}
	if (world.state_hash[index] != 0 && world.state_hash[index] != hash)
		fail("n%u has another state than its peers after entry %lu", host->id,
		     (unsigned long)index);
	world.state_hash[index] = hash;
	if (!cluster_sane(cluster))
		fail("n%u: the state after entry %lu is not sane", host->id, (unsigned long)index);
	if (cluster->version <= world.truth.version)
		return;
	if (cluster->epoch < world.truth.epoch)
		fail("epoch %lu after %lu", (unsigned long)cluster->epoch,
		     (unsigned long)world.truth.epoch);
	/* After a snapshot the entries between are not known one by one. */
	if (cluster->version == world.truth.version + 1) {
		const struct cluster before = world.truth;

		world.truth = *cluster;
		check_entry(&before, cluster, entry);
	}
	world.truth = *cluster;
	if (world.truth.opened)
		check_record();
	if (world.truth.primary != NODE_NONE)
		check_rule(&world.hosts[world.truth.primary]);
}

static bool standby_follows(const struct host *host, const struct host *primary)
{
	return host->pg.state == PG_STANDBY && host->pg.receiving &&
	       host->pg.receiving_from == primary->id &&
	       host->pg.flushed + 100 >= primary->pg.flushed;
}

/* I4: the healed cluster serves, and everybody stands by again. */
bool check_healthy(char *what, size_t size)
{
	const struct cluster *truth = &world.truth;
	const struct host *primary = &world.hosts[truth->primary];
	unsigned standbys = 0;

	if (truth->primary == NODE_NONE || !truth->opened || !pg_accepts_writes(primary) ||
	    world.open_epoch != truth->epoch) {
		snprintf(what, size, "no primary serves (epoch %lu, assigned to n%u, %s)",
			 (unsigned long)truth->epoch, truth->primary,
			 truth->opened ? "opened" : "not opened");
		return false;
	}
	for (unsigned id = 1; id <= world.total; id++) {
		const struct host *host = &world.hosts[id];

		if (!host->data || host == primary || cluster_node(truth, (node_id)id) == NULL)
			continue;
		standbys++;
		if (!standby_follows(host, primary)) {
			snprintf(what, size, "n%u does not follow n%u (database %u at %lu of %lu)",
				 id, primary->id, host->pg.state, (unsigned long)host->pg.flushed,
				 (unsigned long)primary->pg.flushed);
			return false;
		}
	}
	if (truth->joining != 0 || truth->leaving != 0) {
		snprintf(what, size, "joining %x, leaving %x", truth->joining, truth->leaving);
		return false;
	}
	if (!truth->settled || truth->rebuilding != 0 ||
	    truth->record.need != cluster_sync_need(truth) ||
	    node_count(truth->record.members) != (truth->record.need == 0 ? 0 : standbys)) {
		snprintf(what, size, "record %u of %x, %s, rebuilding %x", truth->record.need,
			 truth->record.members, truth->settled ? "settled" : "unsettled",
			 truth->rebuilding);
		return false;
	}
	if (cluster_operation(truth) != NULL &&
	    (cluster_operation(truth)->state == OPERATION_RUNNING ||
	     cluster_operation(truth)->start_ms < wall_ms(primary))) {
		snprintf(what, size, "operation %lu is %s still",
			 (unsigned long)cluster_operation(truth)->id,
			 operation_state_name(cluster_operation(truth)->state));
		return false;
	}
	if (world.now - world.last_ack > SEC) {
		snprintf(what, size, "no commit was acknowledged for %.3f s",
			 (double)(world.now - world.last_ack) / 1e9);
		return false;
	}
	if (lost_by(&primary->pg) != 0)
		fail("I2: in the end n%u lacks %lu acknowledged commits", primary->id,
		     (unsigned long)lost_by(&primary->pg));
	return true;
}
