/* What each entry of the log may do, and what a promotion may lose. */
#include <string.h>

#include "base/check.h"
#include "sim.h"

/* Acknowledged commits that are not in this WAL. */
uint64_t lost_by(const struct pg *pg)
{
	uint64_t found = 0;

	for (wal_lsn at = 0; at < pg->flushed; at++)
		if (world.records[pg->wal[at]].acknowledged)
			found++;
	return world.acknowledged - found;
}

/* The loss was allowed: nobody looks for these commits any more. Returns how many up to `seen`. */
static uint64_t forgive(const struct pg *pg, wal_lsn seen)
{
	uint64_t known = 0;

	for (uint32_t i = 0; i < world.record_count; i++) {
		struct record *record = &world.records[i];

		if (!record->acknowledged || pg_contains(pg, record->lsn, i))
			continue;
		record->acknowledged = false;
		world.acknowledged--;
		totals.lost++;
		if (record->lsn <= seen)
			known++;
	}
	return known;
}

static bool unprotected(const struct cluster *before)
{
	return before->settings.mode == MODE_MAX_PERFORMANCE && before->record.need == 0;
}

static bool planned(const struct decision *decision)
{
	return decision->cause == CAUSE_SWITCHOVER || decision->cause == CAUSE_AUTO_SWITCH;
}

/*
 * Unasked, nothing may be lost that is older than max_lag at the moment when the old primary last
 * told a client of a commit. What its peers hear of it is late by the period of the facts and by
 * whatever holds them back, and it goes on for as long as its lease lasts.
 */
static void check_age(const struct cluster *before, const struct entry *entry)
{
	const struct pg *pg = &world.hosts[entry->assign.node].pg;
	const uint64_t limit = before->settings.max_lag_ms * MS;
	const uint64_t slack = 2 * world.agent.election_ns + 2 * world.facts_late + limit / 20;
	uint64_t oldest = world.last_ack;

	for (uint32_t i = 0; i < world.record_count; i++) {
		const struct record *record = &world.records[i];

		if (record->acknowledged && record->told_at < oldest &&
		    !pg_contains(pg, record->lsn, i))
			oldest = record->told_at;
	}
	if (world.last_ack - oldest > limit + slack)
		fail("I2: n%u is assigned epoch %lu unasked and loses commits of the last %lu ms, "
		     "max_lag is %u ms",
		     entry->assign.node, (unsigned long)entry->epoch,
		     (unsigned long)((world.last_ack - oldest) / MS), before->settings.max_lag_ms);
}

/* I2, when a new primary is named: its WAL cannot grow any more until it is promoted. */
static void check_loss(const struct cluster *before, const struct entry *entry)
{
	const struct decision *decision = &entry->assign.decision;
	const struct pg *pg = &world.hosts[entry->assign.node].pg;
	const uint64_t missing = lost_by(pg);
	uint64_t known;

	if (decision->loss_accepted != entry->assign.accept_loss)
		fail("the decision of epoch %lu does not tell that a loss was accepted",
		     (unsigned long)entry->epoch);
	if (entry->assign.accept_loss && !node_in(world.accepted_loss, entry->assign.node))
		fail("I2: nobody has accepted a loss for n%u", entry->assign.node);
	/* It had everything when it answered; without data it will never be opened. */
	if (missing == 0 || world.hosts[entry->assign.node].lost)
		return;
	if (!entry->assign.accept_loss && (!unprotected(before) || planned(decision))) {
		fail("I2: n%u is assigned epoch %lu (%s) without %lu acknowledged commits",
		     entry->assign.node, (unsigned long)entry->epoch,
		     assign_cause_name(decision->cause), (unsigned long)missing);
		return;
	}
	if (!entry->assign.accept_loss && decision->cause != CAUSE_OPERATOR &&
	    decision->at_risk > before->settings.max_lag_bytes)
		fail("I2: n%u is assigned epoch %lu unasked with %lu at risk, the limit is %lu",
		     entry->assign.node, (unsigned long)entry->epoch,
		     (unsigned long)decision->at_risk,
		     (unsigned long)before->settings.max_lag_bytes);
	if (!entry->assign.accept_loss && decision->cause != CAUSE_OPERATOR)
		check_age(before, entry);
	known = forgive(pg, decision->seen);
	if (known > decision->at_risk)
		fail("I2: n%u lacks %lu commits below %lu, the decision of epoch %lu says %lu",
		     entry->assign.node, (unsigned long)known, (unsigned long)decision->seen,
		     (unsigned long)entry->epoch, (unsigned long)decision->at_risk);
}

static bool has_answered(const struct decision *decision, node_id node)
{
	for (unsigned i = 0; i < decision->answer_count; i++)
		if (decision->answers[i].node == node && decision->answers[i].usable != 0)
			return true;
	return false;
}

static bool answered_damaged(const struct decision *decision, node_id node)
{
	for (unsigned i = 0; i < decision->answer_count; i++)
		if (decision->answers[i].node == node &&
		    decision->answers[i].fault == FAULT_DATA_DAMAGED)
			return true;
	return false;
}

/* Who may become primary, whoever has the data. */
static void check_assign(const struct cluster *before, const struct entry *entry)
{
	const struct decision *decision = &entry->assign.decision;
	const struct node *node = cluster_node(before, entry->assign.node);
	const bool asked = decision->cause == CAUSE_OPERATOR || planned(decision);

	if (before->settings.paused)
		fail("n%u is assigned epoch %lu while the cluster is paused", entry->assign.node,
		     (unsigned long)entry->epoch);
	if (entry->assign.resume)
		return;
	if (node_in(before->settings.maintenance, node->id) && node->id != before->primary)
		fail("n%u is assigned epoch %lu in maintenance", node->id,
		     (unsigned long)entry->epoch);
	/* A database that was found is where it is. */
	if (node->priority == 0 && before->epoch != 0)
		fail("n%u is assigned epoch %lu with priority 0", node->id,
		     (unsigned long)entry->epoch);
	if (before->epoch == 0)
		return;
	if (!before->settings.auto_failover && node->id != before->primary && !asked &&
	    decision->operation == 0)
		fail("n%u is assigned epoch %lu unasked (%s)", node->id,
		     (unsigned long)entry->epoch, assign_cause_name(decision->cause));
	if (before->opened && before->record.need == 0 && !unprotected(before) &&
	    node->id != before->primary && !entry->assign.accept_loss &&
	    !has_answered(decision, before->primary))
		fail("n%u is assigned epoch %lu without an answer of n%u, which commits alone",
		     node->id, (unsigned long)entry->epoch, before->primary);
	if (node->id != before->primary && decision->cause != CAUSE_OPERATOR &&
	    answered_damaged(decision, node->id))
		fail("n%u is assigned epoch %lu, and its data are damaged", node->id,
		     (unsigned long)entry->epoch);
	check_loss(before, entry);
	if (decision->cause == CAUSE_OPERATOR)
		totals.forced++;
	else if (!planned(decision) && node->id != before->primary)
		totals.failovers++;
}

static void check_settings(const struct cluster *before, const struct cluster *after)
{
	const struct settings *old = &before->settings;

	if (old->pinned &&
	    (after->settings.mode != old->mode || after->settings.quorum_sync != old->quorum_sync))
		fail("a pinned mode was changed");
}

static const struct operation *last_operation(const struct cluster *cluster)
{
	return cluster->operation_count == 0 ? NULL
					     : &cluster->operations[cluster->operation_count - 1];
}

/* A planned switch that says that it is done has lost nothing, and the target is primary. */
static void check_operation(const struct cluster *before, const struct cluster *after)
{
	const struct operation *was = cluster_operation(before);
	const struct operation *now = last_operation(after);

	if (was == NULL || now == NULL || now->id != was->id || now->state == was->state ||
	    now->state == OPERATION_RUNNING)
		return;
	if (now->state != OPERATION_DONE) {
		totals.rolled_back++;
		return;
	}
	if (now->kind == OPERATION_RESTART_STANDBY) {
		totals.restarts++;
		return;
	}
	totals.switchovers++;
	if (after->primary != now->to || !after->opened)
		fail("operation %lu is done, but n%u is primary instead of n%u",
		     (unsigned long)now->id, after->primary, now->to);
	if (lost_by(&world.hosts[now->to].pg) != 0)
		fail("I2: operation %lu is done, and n%u lacks %lu acknowledged commits",
		     (unsigned long)now->id, now->to,
		     (unsigned long)lost_by(&world.hosts[now->to].pg));
}

static void count_record(const struct cluster *before, const struct cluster *after)
{
	const uint8_t need = cluster_sync_need(after);

	if (after->settings.mode != MODE_MAX_AVAILABILITY || before->epoch != after->epoch)
		return;
	if (after->record.need < before->record.need && after->record.need < need)
		totals.degrades++;
	if (after->record.need > before->record.need && after->record.need == need)
		totals.restores++;
}

/* Whose vote counts is a member, and whose vote is counted on no more is none. */
static void check_member(const struct entry *entry)
{
	totals.joined += entry->member.step == MEMBER_JOINED;
	totals.left += entry->member.step == MEMBER_LEFT;
}

/* `entry` has led from one state to the other; called once for each version. */
void check_entry(const struct cluster *before, const struct cluster *after,
		 const struct entry *entry)
{
	if (entry == NULL)
		return;
	if (entry->kind == ENTRY_ASSIGN)
		check_assign(before, entry);
	else if (entry->kind == ENTRY_RECORD)
		count_record(before, after);
	else if (entry->kind == ENTRY_REBUILD)
		totals.rebuilds++;
	else if (entry->kind == ENTRY_HELD)
		totals.held++;
	else if (entry->kind == ENTRY_SETTINGS)
		check_settings(before, after);
	else if (entry->kind == ENTRY_MEMBER)
		check_member(entry);
	check_operation(before, after);
}

/* --- a block is the right end for a world only if what it says is so --- */

static node_set lost_nodes(void)
{
	node_set lost = 0;

	for (unsigned id = 1; id <= world.total; id++)
		if (world.hosts[id].lost)
			lost |= node_bit((node_id)id);
	return lost;
}

static bool barred_node_exists(const struct cluster *cluster)
{
	for (unsigned i = 0; i < cluster->node_total; i++)
		if (cluster->nodes[i].kind == NODE_DATA && cluster->nodes[i].priority == 0)
			return true;
	return false;
}

/* Adopted as it was found, it may not be made primary again, and others lack what it has. */
static bool barred_primary(const struct cluster *cluster)
{
	const struct node *node = cluster_node(cluster, cluster->primary);

	return node != NULL && node->priority == 0;
}

/* Operators who accept losses have somebody to choose. */
static bool may_be_forced(const struct cluster *cluster)
{
	for (unsigned i = 0; world.forcing && i < cluster->node_total; i++)
		if (cluster->nodes[i].kind == NODE_DATA && cluster->nodes[i].priority != 0 &&
		    !world.hosts[cluster->nodes[i].id].lost)
			return true;
	return false;
}

static bool on_record(const struct cluster *cluster, uint8_t hold)
{
	return cluster->decision_count > 0 &&
	       cluster->decisions[cluster->decision_count - 1].hold == hold;
}

bool check_blocked(void)
{
	const struct host *host = leading_host();
	const struct agent *agent;
	const struct cluster *cluster;

	if (world.now < world.healed_at + 30 * SEC || host == NULL)
		return false;
	agent = raftnode_agent(host->raftnode);
	cluster = &agent->cluster;
	if (cluster->settings.paused)
		return world.stay_paused;
	if (agent->phase != PHASE_BLOCKED || !on_record(cluster, agent->hold))
		return false;
	switch (agent->hold) {
	case HOLD_ANSWERS:
		return !may_be_forced(cluster) && (agent->verdict.missing & lost_nodes()) != 0;
	case HOLD_NO_CANDIDATE:
		return barred_primary(cluster) ||
		       (lost_nodes() != 0 && barred_node_exists(cluster));
	case HOLD_LAG:
	case HOLD_LAG_UNKNOWN:
		return !may_be_forced(cluster) && lost_nodes() != 0;
	case HOLD_BUDGET:
		return cluster->settings.failover_budget > 0;
	default:
		return false;
	}
}
