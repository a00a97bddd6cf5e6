/*
 * /metrics in Prometheus' text format. Names that Patroni's dashboards and alerts know keep
 * their names, labels and meaning; everything else starts with mha4rdb_. What is not known has
 * no sample, rather than a value that looks like one.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "gateway/patroni.h"
#include "gateway/routes.h"

struct page {
	FILE *to;
	const struct view *view;
	const struct lag_track *lag; /* NULL: nobody watches */
	const char *family;          /* of the samples that follow */
	char part[96];               /* storage for that of a part of a histogram */
};

static void family(struct page *page, const char *name, const char *type, const char *help)
{
	page->family = name;
	fprintf(page->to, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* `labels` come after scope and name: "" or ",key=\"value\"". Their values are safe names. */
static void sample(struct page *page, const char *labels, double value)
{
	fprintf(page->to, "%s{scope=\"%s\",name=\"%s\"%s} %.13g\n", page->family,
		page->view->cluster, page->view->node, labels, value);
}

static void count(struct page *page, const char *labels, uint64_t value)
{
	fprintf(page->to, "%s{scope=\"%s\",name=\"%s\"%s} %" PRIu64 "\n", page->family,
		page->view->cluster, page->view->node, labels, value);
}

static void one(struct page *page, const char *name, const char *type, const char *help,
		uint64_t value)
{
	family(page, name, type, help);
	count(page, "", value);
}

static void label(char *to, size_t size, const char *key, const char *value)
{
	snprintf(to, size, ",%s=\"%s\"", key, value);
}

/* A histogram's samples have names of their own below that of the family. */
static void histogram_part(struct page *page, const char *name, const char *part)
{
	snprintf(page->part, sizeof(page->part), "%s_%s", name, part);
	page->family = page->part;
}

static void bucket(struct page *page, const char *labels, double bound, uint64_t value)
{
	char text[128];

	(void)snprintf(text, sizeof(text), "%s,le=\"%.9g\"", labels, bound);
	count(page, text, value);
}

/* The family was begun; `labels` tell this histogram of it from the others. */
static void times_samples(struct page *page, const char *name, const char *labels,
			  const struct status_times *times)
{
	const uint64_t all = status_time_count(times, STATUS_TIME_BOUNDS);
	char text[128];

	histogram_part(page, name, "bucket");
	for (unsigned i = 0; i < STATUS_TIME_BOUNDS; i++)
		bucket(page, labels, (double)status_time_bound_us(i) / 1e6,
		       status_time_count(times, i));
	(void)snprintf(text, sizeof(text), "%s,le=\"+Inf\"", labels);
	count(page, text, all);
	histogram_part(page, name, "sum");
	sample(page, labels, (double)times->sum_us / 1e6);
	histogram_part(page, name, "count");
	count(page, labels, all);
}

static void times_family(struct page *page, const char *name, const char *help,
			 const struct status_times *times)
{
	family(page, name, "histogram", help);
	times_samples(page, name, "", times);
}

static void patroni_wal(struct page *page, const struct view_member *self)
{
	bool primary = self->db == DB_PRIMARY;

	one(page, "patroni_xlog_location", "counter",
	    "Flushed location of the WAL of the primary, 0 if this node is not the primary.",
	    primary ? self->flushed : 0);
	one(page, "patroni_xlog_received_location", "counter",
	    "Received location of the WAL of a replica, 0 if this node is not a replica.",
	    primary ? 0 : self->flushed);
	one(page, "patroni_xlog_replayed_location", "counter",
	    "Replayed location of the WAL of a replica, 0 if this node is not a replica.",
	    primary ? 0 : self->replayed);
	one(page, "patroni_postgres_timeline", "counter", "Timeline of the local database.",
	    self->timeline);
}

static void patroni_database(struct page *page)
{
	const struct view *view = page->view;
	const struct view_member *self = view_self(view);
	enum patroni_state state = patroni_state(self);

	one(page, "patroni_postgres_running", "gauge", "1 if the local database is running.",
	    state == PATRONI_RUNNING);
	if (state != PATRONI_UNKNOWN)
		one(page, "patroni_postgres_state", "gauge",
		    "State of the local database: 0 initdb, 4 creating replica, 5 running, "
		    "6 starting, 12 stopped, 14 crashed.",
		    (uint64_t)state);
	one(page, "patroni_primary", "gauge", "1 if this node is the leader and serves clients.",
	    view->serves);
	one(page, "patroni_replica", "gauge", "1 if this node runs a standby.",
	    view->db_known && self->db == DB_STANDBY);
	one(page, "patroni_sync_standby", "gauge", "1 if this node is a sync standby.",
	    patroni_is_sync(view));
	one(page, "patroni_quorum_standby", "gauge", "1 if this node is a quorum standby.",
	    patroni_is_quorum(view));
	one(page, "patroni_postgres_streaming", "gauge", "1 if the local standby is streaming.",
	    self->streaming);
	if (view->db_known && self->timeline != 0)
		patroni_wal(page, self);
	one(page, "patroni_failover_priority", "gauge", "Failover priority of this node.",
	    self->priority);
}

static void patroni_families(struct page *page)
{
	if (page->view->is_data)
		patroni_database(page);
	one(page, "patroni_cluster_unlocked", "gauge", "1 if no leader is known.",
	    patroni_unlocked(page->view));
	one(page, "patroni_dcs_last_seen", "gauge",
	    "Seconds since 1970 of the last contact with the leader; 0: never.",
	    patroni_dcs_last_seen(page->view));
}

static void agent_families(struct page *page)
{
	const struct view *view = page->view;
	char text[96];

	label(text, sizeof(text), "version", view_version());
	family(page, "mha4rdb_info", "gauge", "Version of the agent; always 1.");
	count(page, text, 1);
	family(page, "mha4rdb_section_available", "gauge",
	       "1 if the section of the status segment could be read.");
	for (unsigned id = 0; id < STATUS_SECTION_COUNT; id++) {
		label(text, sizeof(text), "section",
		      status_section_name((enum status_section_id)id));
		count(page, text, view->from->has[id]);
	}
}

static void watchdog_families(struct page *page, const struct status_watchdog *watchdog)
{
	one(page, "mha4rdb_watchdog_state", "gauge",
	    "State of the watchdog: 0 off, 1 unavailable, 2 ready, 3 armed and fed, 4 starving: "
	    "this "
	    "host is about to be reset.",
	    watchdog->state);
	one(page, "mha4rdb_watchdog_feeds_total", "counter", "How often the watchdog was fed.",
	    watchdog->feeds);
	one(page, "mha4rdb_watchdog_starvations_total", "counter",
	    "How often the watchdog was left to count because the fence was not proven.",
	    watchdog->starvations);
}

static void worker_families(struct page *page)
{
	const struct status_master *master = &page->view->from->master;
	char text[96];

	if (!page->view->from->has[STATUS_MASTER])
		return;
	watchdog_families(page, &master->watchdog);
	family(page, "mha4rdb_worker_up", "gauge", "1 if the worker runs and is ready.");
	for (unsigned i = 0; i < master->worker_count && i < STATUS_WORKERS; i++) {
		label(text, sizeof(text), "worker", master->workers[i].name);
		count(page, text, master->workers[i].pid != 0 && master->workers[i].ready);
	}
	family(page, "mha4rdb_worker_restarts_total", "counter",
	       "Restarts of the worker since the agent started.");
	for (unsigned i = 0; i < master->worker_count && i < STATUS_WORKERS; i++) {
		label(text, sizeof(text), "worker", master->workers[i].name);
		count(page, text, master->workers[i].restarts);
	}
	family(page, "mha4rdb_worker_cpu_seconds_total", "counter",
	       "Processor time of the worker's present life.");
	for (unsigned i = 0; i < master->worker_count && i < STATUS_WORKERS; i++) {
		label(text, sizeof(text), "worker", master->workers[i].name);
		sample(page, text, (double)master->workers[i].cpu_us / 1e6);
	}
	family(page, "mha4rdb_worker_memory_bytes", "gauge", "Resident memory of the worker.");
	for (unsigned i = 0; i < master->worker_count && i < STATUS_WORKERS; i++) {
		label(text, sizeof(text), "worker", master->workers[i].name);
		count(page, text, master->workers[i].memory_bytes);
	}
}

static void raft_families(struct page *page)
{
	const struct view *view = page->view;
	const struct status_consensus *consensus = &view->from->consensus;

	one(page, "mha4rdb_term", "gauge", "Raft term.", view->term);
	one(page, "mha4rdb_raft_leader", "gauge", "1 if this node leads the consensus.",
	    view->self != NODE_NONE && view->raft_leader == view->self);
	one(page, "mha4rdb_raft_failed", "gauge",
	    "1 if this node takes no part in the consensus (its log failed).", consensus->failed);
	one(page, "mha4rdb_raft_last_index", "gauge", "Last index of the local Raft log.",
	    consensus->last_index);
	one(page, "mha4rdb_raft_applied_index", "gauge", "Last Raft index that was applied.",
	    consensus->applied_index);
	one(page, "mha4rdb_elections_total", "counter", "Leaderships won by this node.",
	    consensus->elections);
	times_family(page, "mha4rdb_raft_commit_seconds",
		     "From proposing an entry on this node to its commitment.",
		     &consensus->commits);
	times_family(page, "mha4rdb_raft_write_seconds",
		     "Writing entries to the local Raft log, until they are synced to the disk.",
		     &consensus->writes);
}

static void drop_families(struct page *page)
{
	static const char *const reasons[DROP_REASON_COUNT] = {
		[DROP_STRANGER] = "stranger", [DROP_CLUSTER] = "cluster",
		[DROP_VERSION] = "version",   [DROP_MALFORMED] = "malformed",
		[DROP_IDENTITY] = "identity", [DROP_TOO_BIG] = "too_big",
	};
	char text[64];

	family(page, "mha4rdb_messages_dropped_total", "counter",
	       "Messages of other agents that were refused, by reason.");
	for (unsigned i = 0; i < DROP_REASON_COUNT; i++) {
		label(text, sizeof(text), "reason", reasons[i]);
		count(page, text, page->view->from->consensus.dropped[i]);
	}
}

static void decision_families(struct page *page)
{
	const struct view *view = page->view;
	const struct status_consensus *consensus = &view->from->consensus;
	char text[64];

	one(page, "mha4rdb_epoch", "gauge", "Epoch: one per primary, strictly rising.",
	    view->epoch);
	family(page, "mha4rdb_phase", "gauge", "What the leader does: 1 for the current phase.");
	for (unsigned phase = 0; phase < PHASE_COUNT; phase++) {
		label(text, sizeof(text), "phase", leader_phase_name(phase));
		count(page, text, consensus->phase == phase);
	}
	one(page, "mha4rdb_waiting_for", "gauge",
	    "Answers that are missed before a primary may be chosen (phase blocked).",
	    consensus->waiting_count);
	family(page, "mha4rdb_lease_seconds", "gauge",
	       "What is left of the lease that this node holds; 0: none.");
	sample(page, "", view->lease_held ? (double)view->lease_ms / 1e3 : 0);
	one(page, "mha4rdb_sync_need", "gauge",
	    "Standbys that must flush a commit before it is acknowledged, on record.",
	    consensus->cluster.record.need);
	one(page, "mha4rdb_sync_members", "gauge", "Standbys that count for this, on record.",
	    node_count(consensus->cluster.record.members));
	one(page, "mha4rdb_settled", "gauge",
	    "1 if every earlier commit is held as the record says.", consensus->cluster.settled);
}

static void settings_families(struct page *page)
{
	const struct view *view = page->view;
	const struct status_consensus *consensus = &view->from->consensus;
	char text[96];

	if (view->settings == NULL)
		return;
	family(page, "mha4rdb_mode", "gauge", "Protection mode: 1 for the current one.");
	for (unsigned mode = MODE_MAX_PROTECTION; mode < MODE_COUNT; mode++) {
		label(text, sizeof(text), "mode", protection_mode_name(mode));
		count(page, text, view->settings->mode == mode);
	}
	one(page, "mha4rdb_degraded", "gauge",
	    "1 if commits are held by fewer standbys than the mode wants.", view->degraded);
	one(page, "mha4rdb_sync_wanted", "gauge",
	    "Standbys that the mode wants to flush a commit before it is acknowledged.",
	    view_sync_need(view));
	one(page, "mha4rdb_paused", "gauge", "1 if the cluster is paused.", view->settings->paused);
	one(page, "patroni_is_paused", "gauge", "1 if the cluster is paused.",
	    view->settings->paused);
	one(page, "mha4rdb_auto_failover", "gauge", "1 if a failover needs no operator.",
	    view->settings->auto_failover);
	one(page, "mha4rdb_operation_running", "gauge",
	    "1 while an operation is scheduled or under way.", view->operation != NULL);
	family(page, "mha4rdb_hold", "gauge",
	       "1 for the reason why nobody is promoted, as far as this node knows.");
	for (unsigned hold = HOLD_NONE + 1; hold < HOLD_COUNT; hold++) {
		label(text, sizeof(text), "reason", hold_reason_name(hold));
		count(page, text, view->hold == hold);
	}
	family(page, "mha4rdb_failovers_total", "counter",
	       "Assignments of a primary that this agent saw committed, by cause.");
	for (unsigned cause = CAUSE_NONE + 1; cause < CAUSE_COUNT; cause++) {
		label(text, sizeof(text), "cause", assign_cause_name(cause));
		count(page, text, consensus->failovers[cause]);
	}
	one(page, "mha4rdb_holds_total", "counter",
	    "Decisions not to promote that this agent saw committed.", consensus->holds);
	family(page, "mha4rdb_operations_total", "counter",
	       "Operations that this agent saw come to a state, by that state.");
	for (unsigned state = OPERATION_SCHEDULED; state < OPERATION_STATE_COUNT; state++) {
		label(text, sizeof(text), "result", operation_state_name(state));
		count(page, text, consensus->operations[state]);
	}
}

static void phase_families(struct page *page, const struct decision *last)
{
	static const char *const names[STATUS_PHASE_COUNT] = {
		[STATUS_PHASE_DETECT] = "detect", [STATUS_PHASE_SURVEY] = "survey",
		[STATUS_PHASE_FENCE] = "fence",   [STATUS_PHASE_PROMOTE] = "promote",
		[STATUS_PHASE_OPEN] = "open",
	};
	const struct status_times *phases = page->view->from->consensus.phases;
	char text[64];

	family(page, "mha4rdb_failover_phase_seconds", "histogram",
	       "Changes of primary that this agent saw opened, by phase.");
	for (unsigned phase = 0; phase < STATUS_PHASE_COUNT; phase++) {
		label(text, sizeof(text), "phase", names[phase]);
		times_samples(page, "mha4rdb_failover_phase_seconds", text, &phases[phase]);
	}
	if (last == NULL)
		return;
	family(page, "mha4rdb_last_failover_seconds", "gauge",
	       "Duration of each phase of the last failover.");
	sample(page, ",phase=\"detect\"", (double)last->detect_us / 1e6);
	sample(page, ",phase=\"survey\"", (double)last->survey_us / 1e6);
	if (last->fence_us != 0)
		sample(page, ",phase=\"fence\"", (double)last->fence_us / 1e6);
	if (last->promote_us != 0)
		sample(page, ",phase=\"promote\"", (double)last->promote_us / 1e6);
	if (last->open_us != 0 && last->open_us >= last->promote_us)
		sample(page, ",phase=\"open\"", (double)(last->open_us - last->promote_us) / 1e6);
}

static void failover_families(struct page *page)
{
	const struct cluster *cluster = &page->view->from->consensus.cluster;
	unsigned causes[CAUSE_COUNT] = {0};
	const struct decision *last = NULL;
	char text[64];

	for (unsigned i = 0; i < cluster->decision_count && i < DECISIONS_MAX; i++) {
		last = &cluster->decisions[i];
		if (last->cause < CAUSE_COUNT)
			causes[last->cause]++;
	}
	family(page, "mha4rdb_decisions", "gauge",
	       "Decision records that are kept (at most 32), by cause.");
	for (unsigned cause = CAUSE_NONE + 1; cause < CAUSE_COUNT; cause++) {
		label(text, sizeof(text), "cause", assign_cause_name(cause));
		count(page, text, causes[cause]);
	}
	phase_families(page, last);
	if (last == NULL)
		return;
	one(page, "mha4rdb_last_failover_epoch", "gauge", "Epoch of the last decision.",
	    last->epoch);
	family(page, "mha4rdb_last_failover_timestamp_seconds", "gauge",
	       "Wall clock of the last decision.");
	sample(page, "", (double)last->at_ms / 1e3);
}

enum member_value {
	LAG,
	REPLAY_LAG,
	LAG_TIME,
	REPLAY_LAG_TIME,
	AGE,
	STREAMING,
	IN_RECORD,
	TIMELINE,
	FAULT,
	DAMAGED,
	MAINTENANCE,
	UP
};

static bool lag_time(const struct page *page, wal_lsn at, double *value)
{
	int64_t ms = page->lag != NULL ? lag_ms(page->lag, at, page->view->now_ns) : -1;

	*value = (double)ms / 1e3;
	return ms >= 0;
}

static bool member_value(const struct page *page, const struct view_member *member,
			 enum member_value which, double *value)
{
	bool data = member->kind == NODE_DATA;

	switch (which) {
	case LAG:
		*value = (double)member->lag_bytes;
		return member->lag_bytes >= 0;
	case REPLAY_LAG:
		*value = (double)member->replay_lag_bytes;
		return member->replay_lag_bytes >= 0;
	case LAG_TIME:
		return member->lag_bytes >= 0 && lag_time(page, member->flushed, value);
	case REPLAY_LAG_TIME:
		return member->replay_lag_bytes >= 0 && lag_time(page, member->replayed, value);
	case AGE:
		*value = (double)member->age_ms / 1e3;
		return member->age_ms >= 0;
	case STREAMING:
		*value = member->streaming;
		return data;
	case IN_RECORD:
		*value = member->in_record;
		return data;
	case TIMELINE:
		*value = (double)member->timeline;
		return data && member->timeline != 0;
	case FAULT:
		*value = member->fault != FAULT_NONE;
		return data && member->fresh;
	case DAMAGED:
		*value = member->damaged;
		return data && member->known;
	case MAINTENANCE:
		*value = member->maintenance;
		return true;
	default:
		/* Of a node that has left there is nothing to hear, and nothing wrong with that. */
		*value = member->fresh;
		return member->listed;
	}
}

static void member_families(struct page *page)
{
	static const struct {
		const char *name, *type, *help;
	} families[] = {
		[LAG] = {"mha4rdb_member_lag_bytes", "gauge",
			 "Flushed WAL of the member behind the primary's."},
		[REPLAY_LAG] = {"mha4rdb_member_replay_lag_bytes", "gauge",
				"Replayed WAL of the member behind the primary's."},
		[LAG_TIME] =
			{"mha4rdb_member_lag_seconds", "gauge",
			 "How long ago the primary had flushed no more than the member has now."},
		[REPLAY_LAG_TIME] = {"mha4rdb_member_replay_lag_seconds", "gauge",
				     "How long ago the primary had flushed no more than the member "
				     "has replayed now."},
		[AGE] = {"mha4rdb_member_facts_age_seconds", "gauge",
			 "Time since the member was heard."},
		[STREAMING] = {"mha4rdb_member_streaming", "gauge",
			       "1 if the member is a standby that receives WAL."},
		[IN_RECORD] = {"mha4rdb_member_in_record", "gauge",
			       "1 if commits count on the member, on record."},
		[TIMELINE] = {"mha4rdb_member_timeline", "gauge", "Timeline of the member."},
		[FAULT] = {"mha4rdb_member_fault", "gauge",
			   "1 if something is wrong with the member's database."},
		[DAMAGED] = {"mha4rdb_member_damaged", "gauge",
			     "1 if pages of the member's data are damaged."},
		[MAINTENANCE] = {"mha4rdb_member_maintenance", "gauge",
				 "1 if the member is in maintenance."},
		[UP] = {"mha4rdb_member_heard", "gauge", "1 if the member was heard lately."},
	};
	char text[96];
	double value;

	for (unsigned which = 0; which < COUNT_OF(families); which++) {
		family(page, families[which].name, families[which].type, families[which].help);
		for (unsigned i = 0; i < page->view->member_count; i++) {
			const struct view_member *member = &page->view->members[i];

			if (!member_value(page, member, (enum member_value)which, &value))
				continue;
			label(text, sizeof(text), "member", member->name);
			sample(page, text, value);
		}
	}
}

static void margin_family(struct page *page, const char *name, const char *help,
			  const struct status_margins *margins, int64_t (*bound_us)(unsigned index))
{
	const uint64_t all = status_margin_count(margins, STATUS_MARGIN_BOUNDS);

	family(page, name, "histogram", help);
	histogram_part(page, name, "bucket");
	for (unsigned i = 0; i < STATUS_MARGIN_BOUNDS; i++)
		bucket(page, "", (double)bound_us(i) / 1e6, status_margin_count(margins, i));
	count(page, ",le=\"+Inf\"", all);
	histogram_part(page, name, "sum");
	sample(page, "", (double)margins->sum_us / 1e6);
	histogram_part(page, name, "count");
	count(page, "", all);
}

/* What is open now counts up to now, or to the end of its lease if that came first. */
static double writable_seconds(const struct view *view)
{
	const struct status_vip *vip = &view->from->vip;
	const uint64_t end_ns = vip->until_ns < view->now_ns ? vip->until_ns : view->now_ns;
	double us = (double)vip->open_us_total;

	if (vip->opened_ns != 0 && end_ns > vip->opened_ns)
		us += (double)(end_ns - vip->opened_ns) / 1e3;
	return us / 1e6;
}

static void vip_families(struct page *page)
{
	const struct view *view = page->view;
	const struct status_vip *vip = &view->from->vip;
	char text[64];

	if (!view->fence_known)
		return;
	family(page, "mha4rdb_fence", "gauge",
	       "The fence of this node's database port: 1 for the current state.");
	for (unsigned state = FENCE_NONE; state < FENCE_STATE_COUNT; state++) {
		label(text, sizeof(text), "state", fence_state_name(state));
		count(page, text, view->fence == state);
	}
	one(page, "mha4rdb_fence_kernel", "gauge", "1 if the kernel closes the fence by itself.",
	    vip->kernel_fence);
	one(page, "mha4rdb_vip_held", "gauge", "1 if this node carries the VIP.", vip->vip_held);
	one(page, "mha4rdb_vip_renewals_total", "counter", "Renewals of the open fence.",
	    vip->renewals);
	one(page, "mha4rdb_vip_expiries_total", "counter", "Leases that ran out while open.",
	    vip->expiries);
	family(page, "mha4rdb_vip_renew_seconds", "gauge", "Duration of the last renewal.");
	sample(page, "", (double)vip->last_renew_us / 1e6);
	margin_family(page, "mha4rdb_fence_margin_seconds",
		      "From the fall of the fence to the end of the lease, for leases that ended.",
		      &vip->margins, status_margin_bound_us);
	margin_family(page, "mha4rdb_vip_renewal_period_seconds",
		      "From one renewal of the open fence to the next.", &vip->periods,
		      status_period_bound_us);
	family(page, "mha4rdb_vip_renewal_period_longest_seconds", "gauge",
	       "The longest of these since mha-vip started.");
	sample(page, "", (double)vip->longest_period_us / 1e6);
	margin_family(page, "mha4rdb_lease_margin_seconds",
		      "What was left of the lease when it was renewed.", &vip->leases,
		      status_margin_bound_us);
	family(page, "mha4rdb_writable_seconds_total", "counter",
	       "How long this node has let clients write, since its vip worker started.");
	sample(page, "", writable_seconds(view));
}

/* The background check of this node's data. */
static void check_families(struct page *page, const struct status_dbctl *dbctl)
{
	one(page, "mha4rdb_check_running", "gauge",
	    "1 while a pass reads the pages of the local database.", dbctl->check == CHECK_RUNNING);
	one(page, "mha4rdb_check_available", "gauge",
	    "0 if no pass is wanted (check.interval) or the data have no checksums.",
	    dbctl->check >= CHECK_WAITING);
	one(page, "mha4rdb_check_passes_total", "counter", "Passes that came to their end.",
	    dbctl->check_passes);
	one(page, "mha4rdb_check_pages", "gauge", "Pages that the last pass read.",
	    dbctl->check_pages);
	one(page, "mha4rdb_check_unread_files", "gauge", "Files that it could not read.",
	    dbctl->check_unread);
	one(page, "mha4rdb_check_damaged_pages", "gauge",
	    "Damaged pages of the local database that are known.", dbctl->check_damaged);
	family(page, "mha4rdb_check_timestamp_seconds", "gauge",
	       "Wall clock at the end of the last pass; 0: there was none.");
	sample(page, "", (double)dbctl->check_ended_ms / 1e3);
}

static void database_families(struct page *page)
{
	const struct sections *from = page->view->from;

	if (from->has[STATUS_DBMON]) {
		one(page, "mha4rdb_probes_total", "counter", "Looks at the local database.",
		    from->dbmon.probes);
		one(page, "mha4rdb_probe_failures_total", "counter", "Those that failed.",
		    from->dbmon.probe_failures);
		family(page, "mha4rdb_probe_seconds", "gauge", "Duration of the last look.");
		sample(page, "", (double)from->dbmon.last_probe_us / 1e6);
		family(page, "mha4rdb_flush_probe_seconds", "gauge",
		       "Duration of the last WAL flush probe.");
		sample(page, "", (double)from->dbmon.last_flush_us / 1e6);
	}
	if (from->has[STATUS_DBCTL]) {
		one(page, "mha4rdb_orders_done_total", "counter", "Orders that dbctl carried out.",
		    from->dbctl.orders_done);
		one(page, "mha4rdb_orders_failed_total", "counter", "Orders that failed there.",
		    from->dbctl.orders_failed);
		one(page, "mha4rdb_job_done_bytes", "gauge",
		    "Progress of the running rewind or clone; 0: none.", from->dbctl.job_done);
		one(page, "mha4rdb_job_total_bytes", "gauge", "Its size; 0: none or not known.",
		    from->dbctl.job_total);
		check_families(page, &from->dbctl);
	}
}

static void gateway_families(struct page *page, const struct status_gateway *counters)
{
	one(page, "mha4rdb_http_requests_total", "counter", "HTTP requests answered.",
	    counters->http_requests);
	one(page, "mha4rdb_client_requests_total", "counter", "ZeroMQ requests answered.",
	    counters->client_requests);
	one(page, "mha4rdb_client_refused_total", "counter",
	    "HTTP and ZeroMQ requests, and events, that were refused.", counters->refused);
	one(page, "mha4rdb_events_total", "counter", "Events published.",
	    counters->events_published);
	one(page, "mha4rdb_http_streams", "gauge", "HTTP clients that hear events now.",
	    counters->streams);
	one(page, "mha4rdb_http_streams_slow_total", "counter",
	    "HTTP clients that were dropped because they did not keep up with the events.",
	    counters->streams_slow);
	times_family(page, "mha4rdb_http_request_seconds", "Time to answer an HTTP request.",
		     &counters->http);
	times_family(page, "mha4rdb_client_request_seconds",
		     "Time to answer a ZeroMQ request that waits for nobody.", &counters->requests);
}

char *metrics_print(const struct http_world *world)
{
	char *text = NULL;
	size_t size = 0;
	struct page page = {
		.to = open_memstream(&text, &size), .view = world->view, .lag = world->lag};
	bool failed;

	if (page.to == NULL)
		return NULL;
	patroni_families(&page);
	agent_families(&page);
	worker_families(&page);
	if (world->view->agent_known) {
		raft_families(&page);
		drop_families(&page);
		decision_families(&page);
		settings_families(&page);
		failover_families(&page);
	}
	member_families(&page);
	vip_families(&page);
	database_families(&page);
	gateway_families(&page, world->counters);
	failed = ferror(page.to) != 0;
	if (fclose(page.to) != 0 || failed) {
		free(text);
		return NULL;
	}
	return text;
}
