#include "core/cluster.h"

#include <string.h>

#include "core/syncset.h"

const struct node *cluster_node(const struct cluster *cluster, node_id id)
{
	for (unsigned i = 0; i < cluster->node_total; i++)
		if (cluster->nodes[i].id == id)
			return &cluster->nodes[i];
	return NULL;
}

node_set cluster_present(const struct cluster *cluster, enum node_kind kind)
{
	node_set set = 0;

	for (unsigned i = 0; i < cluster->node_total; i++)
		if (cluster->nodes[i].kind == kind)
			set |= node_bit(cluster->nodes[i].id);
	return set;
}

node_set cluster_nodes(const struct cluster *cluster, enum node_kind kind)
{
	return cluster_present(cluster, kind) & ~cluster->joining;
}

node_set cluster_counted(const struct cluster *cluster)
{
	return cluster_nodes(cluster, NODE_DATA) & ~cluster->leaving;
}

const struct operation *cluster_operation(const struct cluster *cluster)
{
	const struct operation *last;

	if (cluster->operation_count == 0)
		return NULL;
	last = &cluster->operations[cluster->operation_count - 1];
	return last->state == OPERATION_SCHEDULED || last->state == OPERATION_RUNNING ? last : NULL;
}

const struct operation *cluster_switching(const struct cluster *cluster)
{
	const struct operation *active = cluster_operation(cluster);

	if (active == NULL || active->state != OPERATION_RUNNING ||
	    active->kind == OPERATION_RESTART_STANDBY)
		return NULL;
	return active;
}

uint8_t cluster_sync_need(const struct cluster *cluster)
{
	return settings_sync_need(&cluster->settings, node_count(cluster_counted(cluster)));
}

bool cluster_degraded(const struct cluster *cluster)
{
	return cluster->epoch > 0 && cluster->record.need < cluster_sync_need(cluster);
}

wal_lsn cluster_record_lsn(const struct cluster *cluster, const struct entry *entry)
{
	if (entry->kind == ENTRY_RECORD)
		return entry->record.lsn;
	if (entry->kind == ENTRY_ASSIGN)
		return entry->assign.decision.usable;
	return cluster->open_lsn;
}

static bool nodes_sane(const struct node nodes[], unsigned total)
{
	node_set seen = 0;

	if (total == 0 || total > NODES_MAX)
		return false;
	for (unsigned i = 0; i < total; i++) {
		const struct node *node = &nodes[i];

		if (node->id == NODE_NONE || node->id > NODES_MAX || node_in(seen, node->id))
			return false;
		if (node->kind != NODE_DATA && node->kind != NODE_WITNESS)
			return false;
		if (memchr(node->name, '\0', sizeof(node->name)) == NULL)
			return false;
		seen |= node_bit(node->id);
	}
	return true;
}

static bool record_sane(const struct cluster *cluster, struct sync_rule record, node_id primary)
{
	node_set data = cluster_nodes(cluster, NODE_DATA);

	return (record.members & ~data) == 0 && record.need <= NODES_MAX &&
	       (primary == NODE_NONE || !node_in(record.members, primary));
}

static node_set all_nodes(const struct cluster *cluster)
{
	return cluster_present(cluster, NODE_DATA) | cluster_present(cluster, NODE_WITNESS);
}

static bool membership_sane(const struct cluster *cluster)
{
	node_set moving = cluster->joining | cluster->leaving;

	return (moving & ~all_nodes(cluster)) == 0 && (cluster->joining & cluster->leaving) == 0 &&
	       node_count(moving) <= 1 && !node_in(moving, cluster->primary);
}

bool cluster_sane(const struct cluster *cluster)
{
	if (cluster->cluster_id == 0)
		return cluster->version == 0;
	if (!nodes_sane(cluster->nodes, cluster->node_total) || !membership_sane(cluster))
		return false;
	if (cluster->earlier_count > EARLIER_MAX || cluster->lineage_count > LINEAGE_MAX ||
	    cluster->decision_count > DECISIONS_MAX || cluster->operation_count > OPERATIONS_MAX)
		return false;
	if (!settings_sane(&cluster->settings, node_count(cluster_counted(cluster))))
		return false;
	if (cluster->epoch == 0)
		return cluster->primary == NODE_NONE && !cluster->opened;
	if (!node_in(cluster_nodes(cluster, NODE_DATA), cluster->primary) ||
	    node_in(cluster->rebuilding, cluster->primary))
		return false;
	if ((cluster->opened && cluster->lineage_count == 0) ||
	    (cluster->settled && cluster->earlier_count != 0))
		return false;
	if (cluster->timeline > cluster->timeline_max ||
	    (cluster->rebuilding & cluster->record.members & (cluster->opened ? ~0U : 0)) != 0)
		return false;
	return record_sane(cluster, cluster->record, cluster->primary);
}

static enum apply_result apply_init(struct cluster *cluster, const struct entry *entry)
{
	unsigned data = 0;

	if (cluster->cluster_id != 0)
		return APPLY_STALE;
	if (entry->init.cluster_id == 0 || !nodes_sane(entry->init.nodes, entry->init.node_total))
		return APPLY_INVALID;
	for (unsigned i = 0; i < entry->init.node_total; i++)
		data += entry->init.nodes[i].kind == NODE_DATA;
	if (!settings_sane(&entry->init.settings, data))
		return APPLY_INVALID;
	cluster->settings = entry->init.settings;
	cluster->cluster_id = entry->init.cluster_id;
	cluster->node_total = entry->init.node_total;
	memcpy(cluster->nodes, entry->init.nodes, sizeof(cluster->nodes));
	for (unsigned i = 0; i < cluster->node_total; i++)
		cluster->bound[cluster->nodes[i].id] = cluster->nodes[i].identity;
	cluster->settled = true;
	cluster->timeline = 1;
	cluster->timeline_max = 1;
	return APPLIED;
}

static void push_decision(struct cluster *cluster, const struct decision *decision)
{
	if (cluster->decision_count == DECISIONS_MAX) {
		memmove(&cluster->decisions[0], &cluster->decisions[1],
			(DECISIONS_MAX - 1) * sizeof(cluster->decisions[0]));
		cluster->decision_count--;
	}
	cluster->decisions[cluster->decision_count++] = *decision;
}

/* Take row `at` out; the order of the others stays. */
static void drop_earlier(struct cluster *cluster, unsigned at)
{
	memmove(&cluster->earlier[at], &cluster->earlier[at + 1],
		(cluster->earlier_count - at - 1) * sizeof(cluster->earlier[0]));
	cluster->earlier_count--;
}

/*
 * Two promises as one that needs no fewer answers than either: who misses fewer than the smaller
 * need of all members misses fewer than each need of its own. The primaries' word is given up,
 * unless it is the same one.
 */
static bool merge_earlier(struct cluster *cluster, unsigned into, unsigned from)
{
	struct earlier_record *a = &cluster->earlier[into];
	const struct earlier_record *b = &cluster->earlier[from];
	node_id primary = a->primary == b->primary ? a->primary : NODE_NONE;

	if ((a->record.need == 0 || b->record.need == 0) && primary == NODE_NONE)
		return false;
	a->record.members |= b->record.members;
	if (b->record.need < a->record.need)
		a->record.need = b->record.need;
	a->primary = primary;
	a->epoch = b->epoch;
	drop_earlier(cluster, from);
	return true;
}

/* Room for one more: promises alike first, then the oldest that can be merged. */
static bool shrink_earlier(struct cluster *cluster)
{
	for (unsigned i = 0; i < cluster->earlier_count; i++)
		for (unsigned j = i + 1; j < cluster->earlier_count; j++)
			if (sync_rule_equal(cluster->earlier[i].record,
					    cluster->earlier[j].record) &&
			    merge_earlier(cluster, i, j))
				return true;
	for (unsigned i = 0; i + 1 < cluster->earlier_count; i++)
		if (merge_earlier(cluster, i, i + 1))
			return true;
	return false;
}

/* What the epoch that ends promised stays owed until the next one is settled. */
static bool push_earlier(struct cluster *cluster)
{
	struct earlier_record *row;

	/* More than there are must flush: nothing was acknowledged, so nothing is owed. */
	if (!cluster->opened || cluster->record.need > node_count(cluster->record.members))
		return true;
	/* Commits that nobody waited for were never promised to anybody. */
	if (cluster->settings.mode == MODE_MAX_PERFORMANCE && cluster->record.need == 0)
		return true;
	if (cluster->earlier_count == EARLIER_MAX && !shrink_earlier(cluster))
		return false;
	row = &cluster->earlier[cluster->earlier_count++];
	row->epoch = cluster->epoch;
	row->record = cluster->record;
	row->primary = cluster->primary;
	return true;
}

/*
 * Nothing is owed of earlier epochs, because nobody waited for their commits or a loss was
 * accepted: what is left of them is on the new primary, and on nobody else for certain.
 */
static void owe_to_primary(struct cluster *cluster, const struct entry *entry)
{
	bool free = cluster->record.need == 0 || entry->assign.accept_loss;

	if (cluster->earlier_count != 0 || cluster->lineage_count == 0 || !free ||
	    cluster->settings.mode == MODE_MAX_PERFORMANCE)
		return;
	cluster->earlier[cluster->earlier_count++] = (struct earlier_record){
		.epoch = cluster->epoch,
		.primary = entry->assign.node,
	};
}

/* The operation that is under way, as the result of a promotion. */
static void end_operation(struct cluster *cluster, uint64_t at_ms, bool resumed)
{
	struct operation *row;

	if (cluster_switching(cluster) == NULL)
		return;
	row = &cluster->operations[cluster->operation_count - 1];
	row->state = OPERATION_FAILED;
	/* A primary that goes on has not been restarted. */
	if (cluster->primary == row->to && !(resumed && row->kind == OPERATION_RESTART))
		row->state = OPERATION_DONE;
	else if (cluster->primary == row->from)
		row->state = OPERATION_ROLLED_BACK;
	row->ended_ms = at_ms;
}

static enum apply_result apply_assign(struct cluster *cluster, const struct entry *entry)
{
	node_id node = entry->assign.node;

	if (entry->epoch <= cluster->epoch || !node_in(cluster_nodes(cluster, NODE_DATA), node) ||
	    node_in(cluster->rebuilding, node))
		return APPLY_INVALID;
	if (entry->assign.resume) {
		if (node != cluster->primary)
			return APPLY_INVALID;
		/* One that goes on with its promotion has not let anybody in yet. */
		if (cluster->opened)
			end_operation(cluster, entry->at_ms, true);
	} else {
		if (!record_sane(cluster, entry->assign.record, node) ||
		    (entry->assign.record.members & cluster->rebuilding) != 0 ||
		    (!entry->assign.accept_loss && !push_earlier(cluster)))
			return APPLY_INVALID;
		if (entry->assign.accept_loss)
			cluster->earlier_count = 0;
		owe_to_primary(cluster, entry);
		cluster->record = entry->assign.record;
		cluster->primary = node;
		cluster->leaving &= ~node_bit(node); /* it is needed */
		cluster->settings.reinit &= ~node_bit(node);
		cluster->opened = false;
		cluster->settled = cluster->earlier_count == 0;
		cluster->timeline_max += TIMELINE_STEP;
	}
	cluster->epoch = entry->epoch;
	cluster->resume = entry->assign.resume;
	push_decision(cluster, &entry->assign.decision);
	return APPLIED;
}

static enum apply_result apply_opened(struct cluster *cluster, const struct entry *entry)
{
	struct lineage_row row = {
		.epoch = entry->epoch,
		.node = cluster->primary,
		.timeline = entry->opened.timeline,
		.parent = entry->opened.parent,
		.fork = entry->opened.fork,
	};

	if (cluster->opened || entry->epoch != cluster->epoch || cluster->primary == NODE_NONE)
		return APPLY_INVALID;
	if (row.timeline < cluster->timeline_max || row.parent >= row.timeline || row.parent == 0)
		return APPLY_INVALID;
	if (cluster->system_id != 0 && entry->opened.system_id != cluster->system_id)
		return APPLY_INVALID;
	if (cluster->lineage_count == LINEAGE_MAX) {
		memmove(&cluster->lineage[0], &cluster->lineage[1],
			(LINEAGE_MAX - 1) * sizeof(cluster->lineage[0]));
		cluster->lineage_count--;
	}
	cluster->lineage[cluster->lineage_count++] = row;
	cluster->system_id = entry->opened.system_id;
	cluster->timeline = row.timeline;
	cluster->timeline_max = row.timeline;
	cluster->open_lsn = row.fork;
	cluster->opened = true;
	for (unsigned i = cluster->decision_count; i > 0; i--) {
		struct decision *decision = &cluster->decisions[i - 1];

		if (decision->epoch == cluster->epoch && decision->hold == HOLD_NONE) {
			decision->promote_us = entry->opened.promote_us;
			decision->open_us = entry->opened.open_us;
			break;
		}
	}
	end_operation(cluster, entry->at_ms, false);
	return APPLIED;
}

static enum apply_result apply_settle(struct cluster *cluster)
{
	if (!cluster->opened || cluster->settled)
		return APPLY_INVALID;
	cluster->settled = true;
	cluster->earlier_count = 0;
	return APPLIED;
}

static enum apply_result apply_record(struct cluster *cluster, const struct entry *entry)
{
	if (!cluster->opened || !record_sane(cluster, entry->record.record, cluster->primary) ||
	    (entry->record.record.members & cluster->rebuilding) != 0)
		return APPLY_INVALID;
	cluster->record = entry->record.record;
	return APPLIED;
}

static enum apply_result apply_rebuild(struct cluster *cluster, const struct entry *entry)
{
	node_id node = entry->rebuild.node;

	if (!cluster->opened || node == cluster->primary || node_in(cluster->rebuilding, node) ||
	    !node_in(cluster_present(cluster, NODE_DATA), node) ||
	    node_in(cluster->record.members, node))
		return APPLY_INVALID;
	/* What only this node held of earlier epochs is gone: at least one holder less. */
	for (unsigned i = 0; i < cluster->earlier_count; i++) {
		struct earlier_record *row = &cluster->earlier[i];

		if (row->primary == node)
			row->primary = NODE_NONE;
		if (!node_in(row->record.members, node))
			continue;
		row->record.members &= ~node_bit(node);
		if (row->record.need > 0)
			row->record.need--;
	}
	cluster->rebuilding |= node_bit(node);
	return APPLIED;
}

static enum apply_result apply_rebuilt(struct cluster *cluster, const struct entry *entry)
{
	node_id node = entry->rebuild.node;

	if (node == NODE_NONE || node > NODES_MAX || !node_in(cluster->rebuilding, node))
		return APPLY_INVALID;
	cluster->rebuilding &= ~node_bit(node);
	cluster->settings.reinit &= ~node_bit(node);
	return APPLIED;
}

static enum apply_result apply_settings(struct cluster *cluster, const struct entry *entry)
{
	const struct settings *now = &cluster->settings;
	const struct settings *next = &entry->settings;

	if (!settings_sane(next, node_count(cluster_counted(cluster))))
		return APPLY_INVALID;
	/* A node that is being rebuilt is cloned only if that was wanted before it began. */
	if (node_in(next->reinit, cluster->primary) ||
	    (next->reinit &
	     ~(now->reinit | (cluster_nodes(cluster, NODE_DATA) & ~cluster->rebuilding))) != 0)
		return APPLY_INVALID;
	if (now->pinned &&
	    (next->mode != now->mode || next->quorum_sync != now->quorum_sync || !next->pinned))
		return APPLY_INVALID;
	cluster->settings = *next;
	return APPLIED;
}

static bool operation_follows(uint8_t kind, uint8_t state, uint8_t next)
{
	/* A switch is done by a promotion, this one by what its node says. */
	if (kind == OPERATION_RESTART_STANDBY && state == OPERATION_RUNNING &&
	    next == OPERATION_DONE)
		return true;
	if (state == OPERATION_SCHEDULED)
		return next == OPERATION_RUNNING || next == OPERATION_CANCELLED ||
		       next == OPERATION_EXPIRED || next == OPERATION_FAILED;
	return state == OPERATION_RUNNING &&
	       (next == OPERATION_ROLLED_BACK || next == OPERATION_CANCELLED ||
		next == OPERATION_FAILED);
}

static enum apply_result apply_operation(struct cluster *cluster, const struct entry *entry)
{
	const struct operation *active = cluster_operation(cluster);
	const struct operation *next = &entry->operation;
	node_set data = cluster_nodes(cluster, NODE_DATA);

	if (next->kind == OPERATION_NONE || next->kind >= OPERATION_KIND_COUNT ||
	    next->from > NODES_MAX || next->to > NODES_MAX || !node_in(data, next->from) ||
	    !node_in(data, next->to))
		return APPLY_INVALID;
	if (next->id != 0) {
		if (active == NULL || active->id != next->id || active->kind != next->kind ||
		    !operation_follows(active->kind, active->state, next->state))
			return APPLY_STALE;
		cluster->operations[cluster->operation_count - 1] = *next;
		return APPLIED;
	}
	if (active != NULL ||
	    (next->state != OPERATION_SCHEDULED && next->state != OPERATION_RUNNING))
		return APPLY_INVALID;
	if (next->kind != OPERATION_SWITCHOVER &&
	    (next->state != OPERATION_RUNNING || next->from != next->to ||
	     (next->kind == OPERATION_RESTART) != (next->to == cluster->primary)))
		return APPLY_INVALID;
	if (cluster->operation_count == OPERATIONS_MAX) {
		memmove(&cluster->operations[0], &cluster->operations[1],
			(OPERATIONS_MAX - 1) * sizeof(cluster->operations[0]));
		cluster->operation_count--;
	}
	cluster->operations[cluster->operation_count] = *next;
	cluster->operations[cluster->operation_count++].id = cluster->version + 1;
	return APPLIED;
}

static enum apply_result apply_held(struct cluster *cluster, const struct entry *entry)
{
	if (entry->held.hold == HOLD_NONE || entry->held.hold >= HOLD_COUNT)
		return APPLY_INVALID;
	push_decision(cluster, &entry->held);
	return APPLIED;
}

static bool name_taken(const struct cluster *cluster, const struct node *node)
{
	const size_t size = strlen(node->name) + 1;

	for (unsigned i = 0; i < cluster->node_total; i++)
		if (memcmp(cluster->nodes[i].name, node->name, size) == 0)
			return true;
	return false;
}

static enum apply_result member_join(struct cluster *cluster, const struct entry *entry)
{
	const struct node *node = &entry->member.node;

	if (!nodes_sane(node, 1) || node->id != entry->member.id || cluster->epoch == 0 ||
	    cluster->joining != 0 || cluster->leaving != 0 || cluster->node_total >= NODES_MAX ||
	    cluster_node(cluster, node->id) != NULL || name_taken(cluster, node))
		return APPLY_INVALID;
	if (cluster->bound[node->id] != 0 && cluster->bound[node->id] != node->identity &&
	    !entry->member.rebind)
		return APPLY_INVALID;
	cluster->bound[node->id] = node->identity;
	cluster->nodes[cluster->node_total++] = *node;
	cluster->joining = node_bit(node->id);
	return APPLIED;
}

/* The id stays bound to whom it was given. */
static void drop_node(struct cluster *cluster, node_id id)
{
	unsigned at = 0;

	while (cluster->nodes[at].id != id)
		at++;
	cluster->node_total--;
	memmove(&cluster->nodes[at], &cluster->nodes[at + 1],
		(cluster->node_total - at) * sizeof(cluster->nodes[0]));
	memset(&cluster->nodes[cluster->node_total], 0, sizeof(cluster->nodes[0]));
	cluster->joining &= ~node_bit(id);
	cluster->leaving &= ~node_bit(id);
	cluster->rebuilding &= ~node_bit(id);
	cluster->settings.maintenance &= ~node_bit(id);
	cluster->settings.reinit &= ~node_bit(id);
}

static enum apply_result member_leave(struct cluster *cluster, node_id id)
{
	const struct operation *active = cluster_operation(cluster);
	node_set counted = cluster_counted(cluster) & ~node_bit(id);

	if (cluster_node(cluster, id) == NULL || id == cluster->primary || cluster->epoch == 0 ||
	    (active != NULL && (active->from == id || active->to == id)))
		return APPLY_INVALID;
	if (node_in(cluster->joining, id)) {
		drop_node(cluster, id);
		return APPLIED;
	}
	if (cluster->joining != 0 || cluster->leaving != 0 ||
	    !settings_sane(&cluster->settings, node_count(counted)))
		return APPLY_INVALID;
	cluster->leaving = node_bit(id);
	return APPLIED;
}

/* Nothing that was promised to anybody may rest on a node that is taken off the list. */
static bool counted_on(const struct cluster *cluster, node_id id)
{
	if (!cluster->opened || !cluster->settled || id == cluster->primary ||
	    node_in(cluster->record.members, id))
		return true;
	for (unsigned i = 0; i < cluster->earlier_count; i++)
		if (node_in(cluster->earlier[i].record.members, id) ||
		    cluster->earlier[i].primary == id)
			return true;
	return false;
}

static enum apply_result apply_member(struct cluster *cluster, const struct entry *entry)
{
	node_id id = entry->member.id;

	if (id == NODE_NONE || id > NODES_MAX)
		return APPLY_INVALID;
	switch (entry->member.step) {
	case MEMBER_JOIN:
		return member_join(cluster, entry);
	case MEMBER_JOINED:
		if (!node_in(cluster->joining, id) || node_in(cluster->rebuilding, id))
			return APPLY_INVALID;
		cluster->joining = 0;
		return APPLIED;
	case MEMBER_LEAVE:
		return member_leave(cluster, id);
	case MEMBER_STAY:
		if (!node_in(cluster->leaving, id))
			return APPLY_INVALID;
		cluster->leaving = 0;
		return APPLIED;
	case MEMBER_LEFT:
		if (!node_in(cluster->leaving, id) || counted_on(cluster, id))
			return APPLY_INVALID;
		drop_node(cluster, id);
		return APPLIED;
	default:
		return APPLY_INVALID;
	}
}

static enum apply_result apply(struct cluster *cluster, const struct entry *entry)
{
	if (entry->kind == ENTRY_INIT)
		return apply_init(cluster, entry);
	if (cluster->cluster_id == 0)
		return APPLY_INVALID;
	if (entry->base_version != cluster->version)
		return APPLY_STALE;
	if (entry->kind == ENTRY_ASSIGN)
		return apply_assign(cluster, entry);
	if (entry->epoch != cluster->epoch)
		return APPLY_STALE;
	switch (entry->kind) {
	case ENTRY_OPENED:
		return apply_opened(cluster, entry);
	case ENTRY_SETTLE:
		return apply_settle(cluster);
	case ENTRY_RECORD:
		return apply_record(cluster, entry);
	case ENTRY_REBUILD:
		return apply_rebuild(cluster, entry);
	case ENTRY_REBUILT:
		return apply_rebuilt(cluster, entry);
	case ENTRY_SETTINGS:
		return apply_settings(cluster, entry);
	case ENTRY_OPERATION:
		return apply_operation(cluster, entry);
	case ENTRY_HELD:
		return apply_held(cluster, entry);
	case ENTRY_MEMBER:
		return apply_member(cluster, entry);
	default:
		return APPLY_INVALID;
	}
}

enum apply_result cluster_apply(struct cluster *cluster, const struct entry *entry)
{
	const bool degraded = cluster_degraded(cluster);
	enum apply_result result;

	if (entry->kind == ENTRY_FRESH)
		return APPLIED;
	result = apply(cluster, entry);
	if (result != APPLIED)
		return result;
	cluster->version++;
	if (!degraded && cluster_degraded(cluster)) {
		cluster->degraded_lsn = cluster_record_lsn(cluster, entry);
		cluster->degraded_ms = entry->at_ms;
	}
	return result;
}
