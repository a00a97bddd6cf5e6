#include "gateway/patroni.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/macros.h"
#include "view/json.h"

const char *patroni_role(const struct view *view)
{
	const struct view_member *self = view_self(view);

	if (!view->db_known)
		return view->serves ? "primary" : "replica";
	return self->db == DB_PRIMARY ? "primary" : "replica";
}

enum patroni_state patroni_state(const struct view_member *member)
{
	if (member == NULL || !member->known || !member->fresh || member->kind != NODE_DATA)
		return PATRONI_UNKNOWN;
	if (member->job == JOB_INITDB)
		return PATRONI_INITDB;
	if (member->job != JOB_NONE)
		return PATRONI_CREATING_REPLICA;
	switch (member->db) {
	case DB_PRIMARY:
	case DB_STANDBY:
		return PATRONI_RUNNING;
	case DB_STARTING:
		return PATRONI_STARTING;
	case DB_ABSENT:
	case DB_DOWN:
		return PATRONI_STOPPED;
	case DB_BROKEN:
		return PATRONI_CRASHED;
	default:
		return PATRONI_UNKNOWN;
	}
}

const char *patroni_state_name(enum patroni_state state)
{
	switch (state) {
	case PATRONI_INITDB:
		return "initializing new cluster";
	case PATRONI_CREATING_REPLICA:
		return "creating replica";
	case PATRONI_RUNNING:
		return "running";
	case PATRONI_STARTING:
		return "starting";
	case PATRONI_STOPPED:
		return "stopped";
	case PATRONI_CRASHED:
		return "crashed";
	default:
		return "unknown";
	}
}

static bool counts_as(const struct view *view, const char *kind)
{
	const struct view_member *self = view_self(view);

	return self != NULL && !self->primary && strcmp(view_sync(view, self), kind) == 0;
}

bool patroni_is_sync(const struct view *view)
{
	return counts_as(view, "sync");
}

bool patroni_is_quorum(const struct view *view)
{
	return counts_as(view, "quorum");
}

bool patroni_unlocked(const struct view *view)
{
	return view->raft_leader == NODE_NONE;
}

uint64_t patroni_dcs_last_seen(const struct view *view)
{
	const struct view_member *leader = view_member(view, view->raft_leader);
	uint64_t now_s = view->from->wall_ms / 1000;
	int64_t age_ms = view->age_ms;

	if (leader == NULL || age_ms < 0)
		return 0;
	if (!leader->self && leader->age_ms > age_ms)
		age_ms = leader->age_ms;
	return now_s - (uint64_t)age_ms / 1000;
}

json_t *patroni_tags(const struct view *view)
{
	const struct view_member *self = view_self(view);

	if (self == NULL)
		return json_object();
	if (self->priority == 0)
		return json_pack("{s:b, s:i}", "nofailover", 1, "failover_priority", 0);
	return json_pack("{s:i}", "failover_priority", (int)self->priority);
}

static json_t *xlog_json(const struct view_member *self)
{
	if (self->db == DB_PRIMARY)
		return json_pack("{s:I}", "location", (json_int_t)self->flushed);
	return json_pack("{s:I, s:I}", "received_location", (json_int_t)self->flushed,
			 "replayed_location", (json_int_t)self->replayed);
}

/* What the local primary sees of its standbys. */
static json_t *replication_json(const struct view *view, const struct facts *facts)
{
	json_t *list = json_array();

	for (unsigned i = 0; list != NULL && i < facts->standby_count && i < NODES_MAX; i++) {
		const struct standby_view *standby = &facts->standbys[i];
		const struct view_member *member = view_member(view, standby->node);
		char name[16];
		const char *sync = member ? view_sync(view, member) : "";

		snprintf(name, sizeof(name), "mha_n%u", (unsigned)standby->node);
		json_array_append_new(
			list,
			json_pack("{s:s, s:o, s:s, s:s, s:i}", "application_name", name,
				  "client_addr", json_text(member ? member->address : ""), "state",
				  standby->streaming ? "streaming" : "catchup", "sync_state",
				  sync[0] ? sync : "async", "sync_priority", sync[0] ? 1 : 0));
	}
	return list;
}

/* What is ours and not Patroni's, for people who look with curl. */
static json_t *own_json(const struct view *view)
{
	return json_pack("{s:o, s:o, s:b, s:I, s:I, s:s, s:o, s:o, s:s, s:o, s:o}", "mode",
			 json_text(view->mode), "ha", json_text(view->ha), "degraded",
			 view->degraded, "epoch", (json_int_t)view->epoch, "term",
			 (json_int_t)view->term, "phase", view->phase, "why", json_text(view->why),
			 "lease_ms", json_known(view->lease_ms), "fence", view_fence_name(view),
			 "not_primary_because", json_text(view->no_primary_why),
			 "not_replica_because", json_text(view->no_replica_why));
}

json_t *patroni_node_json(const struct view *view)
{
	const struct view_member *self = view_self(view);
	json_t *body =
		json_pack("{s:s, s:s, s:I, s:o, s:{s:s, s:s, s:s}, s:o}", "state",
			  patroni_state_name(patroni_state(self)), "role", patroni_role(view),
			  "dcs_last_seen", (json_int_t)patroni_dcs_last_seen(view), "tags",
			  patroni_tags(view), "patroni", "version", view_version(), "scope",
			  view->cluster, "name", view->node, "mha4rdb", own_json(view));
	uint64_t system_id = view->from->consensus.cluster.system_id;
	char text[24];

	if (body == NULL)
		return NULL;
	if (view->db_known && self->timeline != 0) {
		json_object_set_new(body, "timeline", json_integer(self->timeline));
		json_object_set_new(body, "xlog", xlog_json(self));
	}
	if (self != NULL && self->streaming)
		json_object_set_new(body, "replication_state", json_string("streaming"));
	if (view->db_known && self->db == DB_PRIMARY && view->from->has[STATUS_DBMON] &&
	    view->from->dbmon.facts.standby_count > 0)
		json_object_set_new(body, "replication",
				    replication_json(view, &view->from->dbmon.facts));
	if (patroni_is_sync(view))
		json_object_set_new(body, "sync_standby", json_true());
	if (patroni_is_quorum(view))
		json_object_set_new(body, "quorum_standby", json_true());
	if (patroni_unlocked(view))
		json_object_set_new(body, "cluster_unlocked", json_true());
	if (view->settings != NULL && view->settings->paused)
		json_object_set_new(body, "pause", json_true());
	if (system_id != 0) {
		snprintf(text, sizeof(text), "%" PRIu64, system_id);
		json_object_set_new(body, "database_system_identifier", json_string(text));
	}
	return body;
}

static json_t *lsn_or_unknown(wal_lsn lsn)
{
	json_t *text = json_lsn(lsn);

	return json_is_null(text) ? json_string("unknown") : text;
}

static json_t *lag_or_unknown(int64_t lag)
{
	return lag < 0 ? json_string("unknown") : json_integer(lag);
}

static const char *member_role(const struct view *view, const struct view_member *member)
{
	const char *sync = view_sync(view, member);

	if (member->serving)
		return "leader";
	if (strcmp(sync, "sync") == 0)
		return "sync_standby";
	return strcmp(sync, "quorum") == 0 ? "quorum_standby" : "replica";
}

static json_t *cluster_member(const struct view *view, const struct view_member *member,
			      const char *http_listen)
{
	const char *port = strrchr(http_listen, ':');
	char url[128] = "";
	json_t *row;

	/* Only this node's own HTTP address is known to it. */
	if (member->self && port != NULL && strchr(member->address, ':') != NULL)
		snprintf(url, sizeof(url), "http://[%s]%s/patroni", member->address, port);
	else if (member->self && port != NULL)
		snprintf(url, sizeof(url), "http://%s%s/patroni", member->address, port);
	row = json_pack("{s:s, s:s, s:s, s:o, s:i}", "name", member->name, "role",
			member_role(view, member), "state",
			member->streaming ? "streaming" : patroni_state_name(patroni_state(member)),
			"host", json_text(member->address), "port", (int)member->postgres_port);
	if (row == NULL)
		return NULL;
	if (url[0] != '\0')
		json_object_set_new(row, "api_url", json_string(url));
	if (member->timeline != 0)
		json_object_set_new(row, "timeline", json_integer(member->timeline));
	if (member->serving)
		return row;
	json_object_set_new(row, "lsn", lsn_or_unknown(member->flushed));
	json_object_set_new(row, "lag", lag_or_unknown(member->lag_bytes));
	json_object_set_new(row, "receive_lsn", lsn_or_unknown(member->flushed));
	json_object_set_new(row, "receive_lag", lag_or_unknown(member->lag_bytes));
	json_object_set_new(row, "replay_lsn", lsn_or_unknown(member->replayed));
	json_object_set_new(row, "replay_lag", lag_or_unknown(member->replay_lag_bytes));
	return row;
}

static json_t *scheduled_json(const struct view *view)
{
	const struct operation *operation = view->operation;

	return json_pack("{s:o, s:s, s:s}", "at", json_time(operation->start_ms), "from",
			 view_name(view, operation->from), "to", view_name(view, operation->to));
}

json_t *patroni_cluster_json(const struct view *view, const char *http_listen)
{
	json_t *members = json_array();
	const struct view_member *sorted[NODES_MAX];
	unsigned count = 0;
	json_t *body;

	for (unsigned i = 0; i < view->member_count; i++) {
		unsigned at = count++;

		for (; at > 0 && strcmp(sorted[at - 1]->name, view->members[i].name) > 0; at--)
			sorted[at] = sorted[at - 1];
		sorted[at] = &view->members[i];
	}
	for (unsigned i = 0; members != NULL && i < count; i++) {
		/* Patroni knows no witnesses, and none that have left: its clients expect
		 * databases. */
		if (sorted[i]->kind == NODE_DATA && strcmp(sorted[i]->membership, "none") != 0)
			json_array_append_new(members,
					      cluster_member(view, sorted[i], http_listen));
	}
	body = json_pack("{s:o, s:s}", "members", members, "scope", view->cluster);
	if (body == NULL)
		return NULL;
	if (view->settings != NULL && view->settings->paused)
		json_object_set_new(body, "pause", json_true());
	if (view->operation != NULL && view->operation->state == OPERATION_SCHEDULED)
		json_object_set_new(body, "scheduled_switchover", scheduled_json(view));
	return body;
}

static const struct decision *decision_of(const struct cluster *cluster, uint64_t epoch)
{
	for (unsigned i = 0; i < cluster->decision_count && i < DECISIONS_MAX; i++) {
		if (cluster->decisions[i].epoch == epoch)
			return &cluster->decisions[i];
	}
	return NULL;
}

json_t *patroni_history_json(const struct view *view)
{
	const struct cluster *cluster = &view->from->consensus.cluster;
	json_t *list = json_array();

	for (unsigned i = 0; list != NULL && i < cluster->lineage_count && i < LINEAGE_MAX; i++) {
		const struct lineage_row *row = &cluster->lineage[i];
		const struct decision *decision = decision_of(cluster, row->epoch);

		if (row->timeline == row->parent)
			continue;
		json_array_append_new(
			list, json_pack("[i, I, s, o, o]", (int)row->parent, (json_int_t)row->fork,
					decision ? assign_cause_name(decision->cause) : "unknown",
					json_time(decision ? decision->at_ms : 0),
					json_text(view_member(view, row->node)
							  ? view_name(view, row->node)
							  : "")));
	}
	return list;
}
