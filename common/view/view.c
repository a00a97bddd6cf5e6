#include "view/view.h"

#include <string.h>

#include "base/check.h"
#include "base/macros.h"
#include "view/explain.h"

const char *view_version(void)
{
	return MHA_VERSION;
}

/* Milliseconds since `then`; -1 when it never happened. */
static int64_t age_of(uint64_t now_ns, uint64_t then_ns)
{
	if (then_ns == 0)
		return -1;
	return then_ns >= now_ns ? 0 : (int64_t)((now_ns - then_ns) / 1000000);
}

static bool within(uint64_t now_ns, uint64_t then_ns, uint64_t limit_ns)
{
	return then_ns != 0 && (then_ns >= now_ns || now_ns - then_ns <= limit_ns);
}

/* The names end in a NUL: the section may have been written by a process with a bug. */
static void name_copy(char to[NODE_NAME_SIZE], const char *from)
{
	memcpy(to, from, NODE_NAME_SIZE - 1);
	to[NODE_NAME_SIZE - 1] = '\0';
}

static void members_from_record(const struct cluster *cluster, struct view *view)
{
	for (unsigned i = 0; i < cluster->node_total && i < NODES_MAX; i++) {
		const struct node *node = &cluster->nodes[i];
		struct view_member *member = &view->members[view->member_count];

		if (node->id == NODE_NONE || node->id > NODES_MAX)
			continue;
		*member = (struct view_member){.id = node->id, .kind = node->kind};
		member->priority = node->priority;
		name_copy(member->name, node->name);
		view->member_count++;
	}
}

static void members_from_setup(const struct view_setup *setup, struct view *view)
{
	for (unsigned i = 0; i < setup->member_count && i < NODES_MAX; i++) {
		const struct view_setup_member *from = &setup->members[i];
		struct view_member *member = &view->members[view->member_count++];

		*member = (struct view_member){.id = from->id, .kind = from->kind};
		member->priority = from->priority;
		member->postgres_port = from->postgres_port;
		memcpy(member->name, from->name, sizeof(member->name));
		memcpy(member->address, from->address, sizeof(member->address));
	}
}

/*
 * Of the node's own database its DB monitor knows more than the consensus worker, which repeats
 * what it was told; of the kernel's fence vip does.
 */
static void own_facts(const struct sections *from, struct facts *facts, uint64_t *heard_ns)
{
	uint64_t serving = 0;

	if (from->has[STATUS_DBMON] && from->dbmon.updated_ns != 0) {
		*facts = from->dbmon.facts;
		*heard_ns = from->dbmon.updated_ns;
	}
	if (from->has[STATUS_VIP] && from->vip.fence == FENCE_OPEN &&
	    from->vip.until_ns > from->now_ns)
		serving = from->vip.epoch;
	facts->serving_epoch = serving;
	if (from->has[STATUS_DBCTL]) {
		facts->job = from->dbctl.job;
		facts->job_done = from->dbctl.job_done;
		facts->job_total = from->dbctl.job_total;
	}
}

static const char *member_state(const struct view_member *member, const struct facts *facts)
{
	if (member->kind == NODE_WITNESS)
		return !member->known ? "unknown" : member->fresh ? "voting" : "no contact";
	if (!member->known)
		return "unknown";
	if (!member->fresh)
		return "no contact";
	if (member->job != JOB_NONE && member->job < JOB_COUNT)
		return db_job_name(member->job);
	switch (member->db) {
	case DB_PRIMARY:
		return member->serving ? "serving" : member->primary ? "not serving" : "stray";
	case DB_STANDBY:
		if (facts->needs_rebuild)
			return "diverged";
		return member->streaming ? "streaming" : "detached";
	default:
		return db_state_name(member->db < DB_STATE_COUNT ? member->db : DB_UNKNOWN);
	}
}

static const char *membership(const struct cluster *cluster, node_id id)
{
	bool listed = cluster->cluster_id == 0;

	/* The section may have been written by a process with a bug. */
	for (unsigned i = 0; i < cluster->node_total && i < NODES_MAX; i++)
		listed = listed || cluster->nodes[i].id == id;
	if (!listed)
		return "none";
	if (node_in(cluster->joining, id))
		return "joining";
	return node_in(cluster->leaving, id) ? "leaving" : "member";
}

static void members_listed(struct view *view)
{
	const struct cluster *cluster = &view->from->consensus.cluster;

	for (unsigned i = 0; i < view->member_count; i++) {
		struct view_member *member = &view->members[i];

		member->membership = membership(cluster, member->id);
		member->listed = strcmp(member->membership, "none") != 0 &&
				 strcmp(member->membership, "joining") != 0;
	}
}

static void member_fill(const struct view *view, struct view_member *member)
{
	const struct sections *from = view->from;
	const struct cluster *cluster = &from->consensus.cluster;
	const struct status_peer *peer = &from->consensus.peers[member->id];
	uint64_t fresh_ns = view->setup ? view->setup->fresh_ns : VIEW_FRESH_DEFAULT_NS;
	struct facts facts = peer->facts;
	uint64_t heard_ns = peer->known ? peer->heard_ns : 0;

	member->self = member->id == view->self;
	if (member->self && member->kind == NODE_WITNESS) {
		/* It has no database to tell of; that its agent steps is all there is to hear. */
		heard_ns = from->consensus.updated_ns;
	} else if (member->self) {
		own_facts(from, &facts, &heard_ns);
		if (view->setup)
			fresh_ns = view->setup->db_fresh_ns;
	}
	member->known = heard_ns != 0;
	member->fresh = within(view->now_ns, heard_ns, fresh_ns);
	member->age_ms = age_of(view->now_ns, heard_ns);
	member->primary = view->epoch > 0 && view->primary == member->id;
	member->in_record = node_in(cluster->record.members, member->id);
	member->rebuilding = node_in(cluster->rebuilding, member->id);
	member->lag_bytes = -1;
	member->replay_lag_bytes = -1;
	member->db = facts.db;
	member->fault = facts.fault < FAULT_COUNT ? facts.fault : FAULT_NONE;
	member->damaged = facts.damaged;
	if (facts.damaged && member->fault == FAULT_NONE)
		member->fault = FAULT_DATA_DAMAGED;
	member->maintenance = node_in(cluster->settings.maintenance, member->id);
	member->reinit = node_in(cluster->settings.reinit, member->id);
	member->job = facts.job;
	member->job_done = facts.job_done;
	member->job_total = facts.job_total;
	member->upstream = facts.upstream;
	member->clock_known = peer->clock_known && member->fresh;
	member->clock_ms = peer->clock_ms;
	member->timeline = facts.position.timeline;
	member->flushed = facts.position.flushed;
	member->replayed = facts.position.replayed;
	member->streaming = member->fresh && facts.db == DB_STANDBY && facts.receiving;
	member->serving = member->fresh && member->primary && facts.db == DB_PRIMARY &&
			  facts.serving_epoch == view->epoch;
	member->state = member_state(member, &facts);
}

static int64_t behind(wal_lsn ahead, wal_lsn at)
{
	if (ahead == 0 || at == 0)
		return -1;
	return ahead > at ? (int64_t)(ahead - at) : 0;
}

/* Lag is measured against the newest WAL that the primary is known to have flushed. */
static void members_lag(struct view *view)
{
	const struct view_member *primary = view_member(view, view->primary);
	wal_lsn ahead = primary != NULL && primary->db == DB_PRIMARY ? primary->flushed : 0;

	for (unsigned i = 0; i < view->member_count; i++) {
		struct view_member *member = &view->members[i];

		if (member->primary || member->kind != NODE_DATA || !member->known)
			continue;
		member->lag_bytes = behind(ahead, member->flushed);
		member->replay_lag_bytes = behind(ahead, member->replayed);
	}
}

static const char *primary_refusal(const struct view *view)
{
	const struct status_vip *vip = &view->from->vip;
	const struct view_member *self = view_self(view);

	if (!view->agent_known)
		return "the consensus worker has not reported yet";
	if (self == NULL || !view->is_data)
		return "this node runs no database";
	if (view->epoch == 0 || view->primary != view->self)
		return "another node is on record as primary";
	if (!view->from->consensus.cluster.opened)
		return "the new primary is not open yet";
	if (!view->lease_held)
		return "this node holds no unexpired lease";
	if (!view->fence_known)
		return "the state of the fence is not known";
	if (view->fence != FENCE_OPEN)
		return view->fence == FENCE_CLIENTS
			       ? "the fence is closed for clients: a switchover"
			       : "the fence is closed";
	if (vip->epoch != view->epoch)
		return "the fence is open for another epoch";
	/* A DB monitor that just restarted has not looked yet; the open fence stands. */
	if (view->db_known && self->db != DB_PRIMARY && self->db != DB_UNKNOWN)
		return "the local database is not a running primary";
	return NULL;
}

static const char *replica_refusal(const struct view *view)
{
	const struct view_member *self = view_self(view);

	if (self == NULL || !view->is_data)
		return "this node runs no database";
	if (!view->db_known)
		return "the local database was not looked at lately";
	if (self->db != DB_STANDBY)
		return "the local database is not a running standby";
	if (!self->streaming)
		return "the local standby receives no WAL";
	if (!view->fence_known)
		return "the state of the fence is not known";
	if (view->fence != FENCE_NONE)
		return "the fence keeps clients from the local standby";
	return NULL;
}

static void view_identity(const struct sections *from, struct view *view)
{
	if (from->has[STATUS_MASTER]) {
		name_copy(view->cluster, from->master.cluster);
		name_copy(view->node, from->master.node);
	}
	for (unsigned i = 0; i < view->member_count; i++) {
		if (view->node[0] != '\0' && strcmp(view->members[i].name, view->node) == 0)
			view->self = view->members[i].id;
	}
}

static void view_consensus(const struct sections *from, struct view *view)
{
	const struct status_consensus *consensus = &from->consensus;

	view->age_ms = -1;
	view->lease_ms = -1;
	view->phase = "unknown";
	view->why = "";
	view->agent_known = from->has[STATUS_CONSENSUS];
	if (!view->agent_known)
		return;
	view->age_ms = age_of(view->now_ns, consensus->updated_ns);
	view->epoch = consensus->cluster.epoch;
	view->term = consensus->term;
	view->primary = consensus->cluster.primary;
	view->raft_leader = consensus->leader;
	view->phase = leader_phase_name(consensus->phase < PHASE_COUNT ? consensus->phase
								       : PHASE_FOLLOWING);
	view->why = memchr(consensus->why, '\0', sizeof(consensus->why)) ? consensus->why : "";
	if (consensus->lease_until_ns > view->now_ns && consensus->lease_term == consensus->term) {
		view->lease_held = true;
		view->lease_ms = (int64_t)((consensus->lease_until_ns - view->now_ns) / 1000000);
	}
}

static void view_fence(const struct sections *from, struct view *view)
{
	const struct status_vip *vip = &from->vip;

	view->fence_known = from->has[STATUS_VIP] && vip->updated_ns != 0;
	if (!view->fence_known)
		return;
	view->fence = vip->fence;
	/* The kernel closes by itself; a section that was not updated since must not say open. */
	if ((vip->fence == FENCE_OPEN || vip->fence == FENCE_CLIENTS) &&
	    vip->until_ns <= view->now_ns)
		view->fence = FENCE_CLOSED;
}

unsigned view_sync_need(const struct view *view)
{
	const node_set leaving = view->from->consensus.cluster.leaving;
	unsigned data = 0;

	for (unsigned i = 0; i < view->member_count; i++)
		data += view->members[i].kind == NODE_DATA && view->members[i].listed &&
			!node_in(leaving, view->members[i].id);
	return view->settings == NULL ? 0 : settings_sync_need(view->settings, data);
}

static void view_settings(const struct sections *from, struct view *view)
{
	const struct status_consensus *consensus = &from->consensus;
	const struct cluster *cluster = &consensus->cluster;
	const struct settings *settings = &cluster->settings;
	unsigned data = 0;

	view->mode = "";
	view->ha = "";
	if (!view->agent_known || settings->mode == 0)
		return;
	view->settings = settings;
	view->mode = protection_mode_name(settings->mode);
	for (unsigned i = 0; i < view->member_count; i++)
		data += view->members[i].kind == NODE_DATA && view->members[i].listed;
	if (data < 2)
		view->ha = "none";
	else if (settings->paused)
		view->ha = "paused";
	else
		view->ha = settings->auto_failover ? "automatic" : "manual";
	view->degraded = cluster->epoch > 0 && cluster->record.need < view_sync_need(view);
	if (!view->degraded)
		return;
	view->degraded_lsn = cluster->degraded_lsn;
	view->degraded_ms = cluster->degraded_ms;
}

/* What the leader does for it: the others hear it with the leader's facts. */
static void view_operation(const struct sections *from, struct view *view)
{
	const struct status_consensus *consensus = &from->consensus;
	const struct view_member *leader = view_member(view, view->raft_leader);

	view->operation_phase = "";
	if (!view->agent_known || consensus->cluster.operation_count > OPERATIONS_MAX)
		return;
	view->operation = cluster_operation(&consensus->cluster);
	if (view->operation == NULL || view->operation->state != OPERATION_RUNNING)
		return;
	if (view->raft_leader == view->self && view->self != NODE_NONE)
		view->operation_phase = view->phase;
	else if (leader != NULL && leader->known && leader->fresh &&
		 consensus->peers[leader->id].facts.phase < PHASE_COUNT)
		view->operation_phase = leader_phase_name(consensus->peers[leader->id].facts.phase);
}

/* The leader knows its reason; the others read the last decision of the log. */
static void view_hold(const struct sections *from, struct view *view)
{
	const struct status_consensus *consensus = &from->consensus;
	const struct cluster *cluster = &consensus->cluster;
	const struct decision *last = NULL;
	struct decision held = {0};

	if (!view->agent_known || view->server != NULL)
		return;
	if (cluster->decision_count > 0 && cluster->decision_count <= DECISIONS_MAX)
		last = &cluster->decisions[cluster->decision_count - 1];
	if (last != NULL && last->hold != HOLD_NONE && last->epoch == cluster->epoch)
		held = *last;
	if (view->self != NODE_NONE && view->raft_leader == view->self) {
		view->hold = consensus->phase == PHASE_BLOCKED  ? consensus->hold
			     : consensus->phase == PHASE_PAUSED ? (uint8_t)HOLD_PAUSED
								: (uint8_t)HOLD_NONE;
		if (consensus->phase == PHASE_BLOCKED) {
			held.missing = consensus->waiting_for;
			held.missing_count = consensus->waiting_count;
		}
	} else {
		view->hold = held.hold;
	}
	if (view->hold != HOLD_NONE && view->hold < HOLD_COUNT)
		explain_hold(view, &held, view->hold, view->hold_text, view->advice);
}

void view_build(const struct sections *sections, const struct view_setup *setup, struct view *view)
{
	const struct view_member *self;

	memset(view, 0, sizeof(*view));
	view->from = sections;
	view->setup = setup;
	view->now_ns = sections->now_ns;
	view_consensus(sections, view);
	view_fence(sections, view);
	if (setup != NULL && setup->member_count > 0)
		members_from_setup(setup, view);
	else
		members_from_record(&sections->consensus.cluster, view);
	members_listed(view);
	view_settings(sections, view);
	view_identity(sections, view);
	for (unsigned i = 0; i < view->member_count; i++)
		member_fill(view, &view->members[i]);
	members_lag(view);

	self = view_self(view);
	view->is_data = self != NULL && self->kind == NODE_DATA;
	view->db_known = view->is_data && self->fresh;
	view->no_primary_why = primary_refusal(view);
	view->serves = view->no_primary_why == NULL;
	view->no_replica_why = replica_refusal(view);
	view->reads = view->no_replica_why == NULL;
	for (unsigned i = 0; i < view->member_count; i++) {
		struct view_member *member = &view->members[i];

		/* Of itself a node knows more than its own facts: lease and kernel fence. */
		if (member->self)
			member->serving = view->serves;
		if (member->serving)
			view->server = member;
	}
	view_operation(sections, view);
	view_hold(sections, view);
}

const struct view_member *view_member(const struct view *view, node_id id)
{
	for (unsigned i = 0; id != NODE_NONE && i < view->member_count; i++) {
		if (view->members[i].id == id)
			return &view->members[i];
	}
	return NULL;
}

const struct view_member *view_self(const struct view *view)
{
	return view_member(view, view->self);
}

const char *view_name(const struct view *view, node_id id)
{
	const struct view_member *member = view_member(view, id);

	return member != NULL ? member->name : "-";
}

const char *view_role(const struct view_member *member)
{
	if (member->kind == NODE_WITNESS)
		return "witness";
	return member->primary ? "primary" : "standby";
}

const char *view_sync(const struct view *view, const struct view_member *member)
{
	struct sync_rule record = view->from->consensus.cluster.record;

	if (!member->in_record || record.need == 0)
		return "";
	return node_count(record.members) <= record.need ? "sync" : "quorum";
}

const char *view_fence_name(const struct view *view)
{
	return view->fence_known ? fence_state_name(view->fence) : "unknown";
}
