#include "view/message.h"

#include "base/macros.h"

/*
 * protobuf-c's structs have char * without const and never write through it when packing. The
 * strings all are static or live in the view.
 */
static char *borrow(const char *text)
{
	union {
		const char *from;
		char *to;
	} either = {.from = text != NULL ? text : ""};

	return either.to;
}

void leader_to_message(const struct view *view, struct leader_message *out)
{
	Mha__Client__Leader *leader = &out->leader;
	const struct view_member *record = view_member(view, view->primary);

	mha__client__leader__init(leader);
	leader->epoch = view->epoch;
	leader->lease_ms = view->serves ? view->lease_ms : -1;
	leader->age_ms = -1;
	leader->vip = borrow(view->setup ? view->setup->vip : "");
	leader->name = borrow(record ? record->name : "");
	leader->address = borrow(record ? record->address : "");
	leader->postgres_port = record ? record->postgres_port : 0;
	leader->why = borrow("");
	if (view->server != NULL && view->server == record) {
		leader->known = true;
		leader->age_ms = view->serves ? 0 : record->age_ms;
		return;
	}
	if (record == NULL)
		leader->why = borrow(view->agent_known ? "no primary was assigned yet"
						       : "the consensus worker has not reported");
	else if (record->self)
		leader->why = borrow(view->no_primary_why);
	else if (!record->known)
		leader->why = borrow("the primary on record was not heard yet");
	else if (!record->fresh)
		leader->why = borrow("the primary on record was not heard lately");
	else
		leader->why = borrow("the primary on record does not serve");
	if (record != NULL)
		leader->age_ms = record->age_ms;
}

/* Its own dbctl knows when a job began; of others only what is watched counts. */
static int64_t job_age_ms(const struct view *view, const struct view_member *member)
{
	const struct status_dbctl *dbctl = &view->from->dbctl;

	if (!member->self || member->job == JOB_NONE || !view->from->has[STATUS_DBCTL] ||
	    dbctl->job_started_ns == 0 || dbctl->job_started_ns > view->now_ns)
		return -1;
	return (int64_t)((view->now_ns - dbctl->job_started_ns) / 1000000);
}

static void member_to_message(const struct view *view, const struct view_member *from,
			      Mha__Client__Member *to)
{
	mha__client__member__init(to);
	to->id = from->id;
	to->name = borrow(from->name);
	to->kind = borrow(from->kind == NODE_WITNESS ? "witness" : "data");
	to->address = borrow(from->address);
	to->postgres_port = from->postgres_port;
	to->role = borrow(view_role(from));
	to->upstream = borrow(
		from->fresh && from->upstream != NODE_NONE ? view_name(view, from->upstream) : "");
	to->state = borrow(from->state);
	to->timeline = from->timeline;
	to->flushed = from->flushed;
	to->replayed = from->replayed;
	to->lag_bytes = from->lag_bytes;
	to->replay_lag_bytes = from->replay_lag_bytes;
	to->age_ms = from->age_ms;
	to->heard = from->fresh;
	to->in_record = from->in_record;
	to->streaming = from->streaming;
	to->rebuilding = from->rebuilding;
	to->sync = borrow(view_sync(view, from));
	to->job = borrow(from->job != JOB_NONE && from->job < JOB_COUNT ? db_job_name(from->job)
									: "");
	to->job_done = from->job_done;
	to->job_total = from->job_total;
	to->job_ms = job_age_ms(view, from);
	to->priority = from->priority;
	to->maintenance = from->maintenance;
	to->reinit = from->reinit;
	to->clock_known = from->clock_known;
	to->clock_ms = from->clock_ms;
	to->membership = borrow(from->membership);
	to->fault = borrow(from->fault != FAULT_NONE ? db_fault_name(from->fault) : "");
	to->fault_advice = borrow(db_fault_advice(from->fault));
}

static void settings_to_message(const struct view *view, Mha__Client__Settings *out)
{
	const struct settings *settings = view->settings;

	mha__client__settings__init(out);
	out->mode = borrow(view->mode);
	out->pinned = settings->pinned;
	out->quorum_sync = settings->quorum_sync;
	out->auto_failover = settings->auto_failover;
	out->auto_primary_switch = settings->auto_primary_switch;
	out->paused = settings->paused;
	out->pause_until_ms = settings->pause_until_ms;
	out->failover_budget = settings->failover_budget;
	out->max_lag_bytes = settings->max_lag_bytes;
	out->max_lag_ms = settings->max_lag_ms;
	out->degrade_ms = settings->degrade_ms;
	out->switch_back_ms = settings->switch_back_ms;
	out->sync_need = view_sync_need(view);
}

static int64_t operation_age_ms(const struct view *view, const struct operation *operation)
{
	uint64_t end = operation->ended_ms ? operation->ended_ms : view->from->wall_ms;

	return end > operation->asked_ms ? (int64_t)(end - operation->asked_ms) : 0;
}

static void operation_to_message(const struct view *view, const struct operation *from,
				 Mha__Client__Operation *to)
{
	mha__client__operation__init(to);
	to->id = from->id;
	to->kind = borrow(operation_kind_name(from->kind));
	to->state = borrow(operation_state_name(from->state));
	to->phase = borrow(from == view->operation ? view->operation_phase : "");
	to->automatic = from->automatic;
	to->reason = borrow(from->reason != BLOCK_NONE ? blocker_name(from->reason) : "");
	to->reason_text = borrow(from->reason != BLOCK_NONE ? blocker_text(from->reason) : "");
	to->from = borrow(from->from ? view_name(view, from->from) : "");
	to->to = borrow(from->to ? view_name(view, from->to) : "");
	to->epoch = from->epoch;
	to->asked_ms = from->asked_ms;
	to->start_ms = from->start_ms;
	to->end_ms = from->end_ms;
	to->begun_ms = from->begun_ms;
	to->ended_ms = from->ended_ms;
	to->age_ms = operation_age_ms(view, from);
}

static size_t operations_to_message(const struct view *view, Mha__Client__Operation *rows,
				    Mha__Client__Operation **list)
{
	const struct cluster *cluster = &view->from->consensus.cluster;
	size_t count = 0;

	for (; count < cluster->operation_count && count < OPERATIONS_MAX; count++) {
		operation_to_message(view, &cluster->operations[count], &rows[count]);
		list[count] = &rows[count];
	}
	return count;
}

/* Names of the members of `set`; returns how many. */
static size_t names_of(const struct view *view, node_set set, char *names[NODES_MAX])
{
	size_t count = 0;

	for (node_id id = 1; id <= NODES_MAX; id++) {
		const struct view_member *member = view_member(view, id);

		if (node_in(set, id) && member != NULL)
			names[count++] = borrow(member->name);
	}
	return count;
}

static size_t workers_to_message(const struct view *view, struct status_message *out)
{
	const struct status_master *master = &view->from->master;
	size_t count = 0;

	if (!view->from->has[STATUS_MASTER])
		return 0;
	for (; count < master->worker_count && count < STATUS_WORKERS; count++) {
		const struct status_worker *from = &master->workers[count];
		Mha__Client__Worker *to = &out->workers[count];

		mha__client__worker__init(to);
		to->name = borrow(from->name);
		to->pid = from->pid;
		to->restarts = from->restarts;
		to->ready = from->ready;
		to->up_ms = from->pid != 0 && from->started_ns < view->now_ns
				    ? (int64_t)((view->now_ns - from->started_ns) / 1000000)
				    : 0;
		to->cpu_us = from->cpu_us;
		to->memory_bytes = from->memory_bytes;
		out->worker_list[count] = to;
	}
	return count;
}

/* Who serves carries it; of itself a node knows what its kernel has. */
static const char *vip_holder(const struct view *view)
{
	const struct view_member *self = view_self(view);

	if (view->fence_known && view->from->vip.vip_held)
		return self != NULL ? self->name : view->node;
	if (view->server == NULL || view->server == self || view->from->vip.vip[0] == '\0')
		return "";
	return view->server->name;
}

static void node_to_message(const struct view *view, struct status_message *out)
{
	static const char *const watchdogs[WATCHDOG_STATE_COUNT] = {
		[WATCHDOG_STATE_OFF] = "off",
		[WATCHDOG_STATE_UNAVAILABLE] = "unavailable",
		[WATCHDOG_STATE_READY] = "ready",
		[WATCHDOG_STATE_ARMED] = "armed",
		[WATCHDOG_STATE_STARVING] = "starving",
	};
	const uint8_t watchdog = view->from->master.watchdog.state;
	Mha__Client__Status *status = &out->status;

	status->wall_ms = view->from->wall_ms;
	status->workers = out->worker_list;
	status->n_workers = workers_to_message(view, out);
	status->lease_ms = view->lease_ms;
	status->vip_holder = borrow(vip_holder(view));
	for (unsigned i = 0; i < view->member_count; i++) {
		status->voters += view->members[i].listed;
		status->voters_heard += view->members[i].listed && view->members[i].fresh;
	}
	status->watchdog = borrow(view->from->has[STATUS_MASTER] && watchdog < WATCHDOG_STATE_COUNT
					  ? watchdogs[watchdog]
					  : "unknown");
}

void status_to_message(const struct view *view, struct status_message *out)
{
	const struct status_consensus *consensus = &view->from->consensus;
	Mha__Client__Status *status = &out->status;

	mha__client__status__init(status);
	leader_to_message(view, &out->leader);
	status->leader = &out->leader.leader;
	status->cluster = borrow(view->cluster);
	status->node = borrow(view->node);
	status->epoch = view->epoch;
	status->term = view->term;
	status->phase = borrow(view->phase);
	status->why = borrow(view->why);
	status->mode = borrow(view->mode);
	status->sync_need = consensus->cluster.record.need;
	status->settled = consensus->cluster.settled;
	status->timeline = consensus->cluster.timeline;
	status->system_id = consensus->cluster.system_id;
	status->raft_leader = borrow(view->raft_leader ? view_name(view, view->raft_leader) : "");
	status->version = borrow(view_version());
	status->fence = borrow(view_fence_name(view));
	status->age_ms = view->age_ms;
	status->failure = borrow(consensus->failed ? consensus->failure : "");
	if (consensus->phase == PHASE_BLOCKED) {
		status->waiting_for = out->waiting_for;
		status->n_waiting_for = names_of(view, consensus->waiting_for, out->waiting_for);
		status->waiting_count = consensus->waiting_count;
	}
	if (view->settings != NULL) {
		settings_to_message(view, &out->settings);
		status->settings = &out->settings;
	}
	status->event_index = consensus->event_index;
	status->event_sub = consensus->event_sub;
	status->ha = borrow(view->ha);
	status->degraded = view->degraded;
	status->degraded_lsn = view->degraded_lsn;
	status->degraded_ms = view->degraded_ms;
	status->hold = borrow(view->hold != HOLD_NONE ? hold_reason_name(view->hold) : "");
	status->hold_text = borrow(view->hold_text);
	status->advice = borrow(view->advice);
	status->operations = out->operation_list;
	status->n_operations = operations_to_message(view, out->operations, out->operation_list);
	status->members = out->member_list;
	status->n_members = view->member_count;
	node_to_message(view, out);
	for (unsigned i = 0; i < view->member_count; i++) {
		member_to_message(view, &view->members[i], &out->members[i]);
		out->member_list[i] = &out->members[i];
	}
}

static const struct lineage_row *lineage_of(const struct cluster *cluster, uint64_t epoch)
{
	for (unsigned i = 0; i < cluster->lineage_count && i < LINEAGE_MAX; i++) {
		if (cluster->lineage[i].epoch == epoch)
			return &cluster->lineage[i];
	}
	return NULL;
}

static void decision_why(const struct view *view, const struct decision *from,
			 struct decision_message *out)
{
	Mha__Client__Decision *to = &out->decision;

	to->fault = borrow(from->fault != FAULT_NONE ? db_fault_name(from->fault) : "");
	to->hold = borrow(from->hold != HOLD_NONE ? hold_reason_name(from->hold) : "");
	to->missing = out->missing;
	to->n_missing = names_of(view, from->missing, out->missing);
	to->missing_count = from->missing_count;
	to->loss_accepted = from->loss_accepted;
	to->operation = from->operation;
	to->seen = from->seen;
	to->at_risk_known = from->at_risk != LOSS_NOT_BOUNDED;
	to->at_risk = to->at_risk_known ? from->at_risk : 0;
	to->at_risk_ms = from->at_risk_ms;
	explain_decision(view, from, &out->explanation);
	to->sentences = out->sentences;
	to->n_sentences = out->explanation.count;
	for (unsigned i = 0; i < out->explanation.count; i++)
		out->sentences[i] = out->explanation.sentences[i];
}

static void decision_to_message(const struct view *view, const struct decision *from,
				struct decision_message *out)
{
	Mha__Client__Decision *to = &out->decision;
	const struct lineage_row *row =
		from->hold == HOLD_NONE ? lineage_of(&view->from->consensus.cluster, from->epoch)
					: NULL;

	mha__client__decision__init(to);
	to->epoch = from->epoch;
	to->cause = borrow(assign_cause_name(from->cause < CAUSE_COUNT ? from->cause : CAUSE_NONE));
	to->from = borrow(from->from ? view_name(view, from->from) : "");
	to->to = borrow(from->to ? view_name(view, from->to) : "");
	to->at_ms = from->at_ms;
	to->usable = from->usable;
	to->detect_us = from->detect_us;
	to->survey_us = from->survey_us;
	to->fence_us = from->fence_us;
	to->promote_us = from->promote_us;
	to->open_us = from->open_us;
	to->timeline = row ? row->timeline : 0;
	to->parent = row ? row->parent : 0;
	to->fork = row ? row->fork : 0;
	to->before = out->before;
	to->n_before = names_of(view, from->before.members, out->before);
	to->before_need = from->before.need;
	to->after = out->after;
	to->n_after = names_of(view, from->after.members, out->after);
	to->after_need = from->after.need;
	decision_why(view, from, out);
	to->answers = out->answer_list;
	for (unsigned i = 0; i < from->answer_count && i < NODES_MAX; i++) {
		const struct survey_answer *answer = &from->answers[i];
		Mha__Client__Decision__Answer *put = &out->answers[i];

		mha__client__decision__answer__init(put);
		put->node = borrow(view_name(view, answer->node));
		put->db = borrow(
			db_state_name(answer->db < DB_STATE_COUNT ? answer->db : DB_UNKNOWN));
		put->timeline = answer->timeline;
		put->flushed = answer->flushed;
		put->usable = answer->usable;
		put->fault =
			borrow(answer->fault != FAULT_NONE ? db_fault_name(answer->fault) : "");
		put->excluded = answer->excluded;
		put->diverged = answer->diverged;
		put->priority = answer->priority;
		out->answer_list[i] = put;
		to->n_answers++;
	}
}

void history_to_message(const struct view *view, struct history_message *out)
{
	const struct cluster *cluster = &view->from->consensus.cluster;

	mha__client__history__init(&out->history);
	out->history.decisions = out->decision_list;
	for (unsigned i = 0; i < cluster->decision_count && i < DECISIONS_MAX; i++) {
		decision_to_message(view, &cluster->decisions[i], &out->decisions[i]);
		out->decision_list[i] = &out->decisions[i].decision;
		out->history.n_decisions++;
	}
	out->history.operations = out->operation_list;
	out->history.n_operations =
		operations_to_message(view, out->operations, out->operation_list);
}

void call_reply_to_message(const struct view *view, const struct call_result *result,
			   struct call_reply_message *out)
{
	Mha__Client__CallReply *to = &out->reply;

	mha__client__call_reply__init(to);
	to->code = borrow(call_code_name(result->code));
	to->operation = result->operation;
	to->node = borrow(result->node ? view_name(view, result->node) : "");
	to->epoch = result->epoch;
	to->loss_known = result->loss_bytes != LOSS_NOT_BOUNDED;
	to->loss_bytes = to->loss_known ? result->loss_bytes : 0;
	to->leader = borrow(result->leader ? view_name(view, result->leader) : "");
	to->blockers = out->blocker_list;
	for (unsigned i = 0; i < result->blocker_count && i < BLOCKERS_MAX; i++) {
		const struct blocker *from = &result->blockers[i];
		Mha__Client__Blocker *put = &out->blockers[i];

		mha__client__blocker__init(put);
		put->name = borrow(blocker_name(from->kind));
		put->text = borrow(blocker_text(from->kind));
		put->remedy = borrow(blocker_remedy(from->kind));
		put->node = borrow(from->node ? view_name(view, from->node) : "");
		put->value = from->value;
		put->limit = from->limit;
		put->detail = borrow(explain_blocker(from, out->details[i]));
		out->blocker_list[i] = put;
		to->n_blockers++;
	}
}
