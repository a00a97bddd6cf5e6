#include "view/json.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/macros.h"
#include "base/text.h"

json_t *json_lsn(uint64_t lsn)
{
	char text[TEXT_LSN_SIZE];

	return lsn == 0 ? json_null() : json_string(text_format_lsn(lsn, text));
}

json_t *json_known(int64_t value)
{
	return value < 0 ? json_null() : json_integer(value);
}

json_t *json_text(const char *text)
{
	char safe[512];
	size_t at = 0;
	json_t *value;

	if (text == NULL || text[0] == '\0')
		return json_null();
	value = json_string(text);
	if (value != NULL)
		return value;
	for (; text[at] != '\0' && at < sizeof(safe) - 1; at++)
		safe[at] = (char)((text[at] & 0x80) == 0 ? text[at] : '?');
	safe[at] = '\0';
	return json_string(safe);
}

json_t *json_time(uint64_t wall_ms)
{
	time_t seconds = (time_t)(wall_ms / 1000);
	struct tm parts;
	char day[32];
	char text[64];

	if (wall_ms == 0 || gmtime_r(&seconds, &parts) == NULL ||
	    strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &parts) == 0)
		return json_null();
	snprintf(text, sizeof(text), "%s.%03uZ", day, (unsigned)(wall_ms % 1000));
	return json_string(text);
}

char *json_print(json_t *value, size_t flags)
{
	char *text = value != NULL ? json_dumps(value, flags) : NULL;

	json_decref(value);
	return text;
}

json_t *leader_to_json(const Mha__Client__Leader *leader)
{
	return json_pack("{s:b, s:o, s:o, s:o, s:I, s:o, s:o, s:o, s:o}", "known", leader->known,
			 "name", json_text(leader->name), "address", json_text(leader->address),
			 "port",
			 leader->postgres_port ? json_integer(leader->postgres_port) : json_null(),
			 "epoch", (json_int_t)leader->epoch, "lease_ms",
			 json_known(leader->lease_ms), "age_ms", json_known(leader->age_ms), "vip",
			 json_text(leader->vip), "why", json_text(leader->why));
}

json_t *member_to_json(const Mha__Client__Member *member)
{
	json_t *job = json_null();

	if (member->job[0] != '\0')
		job = json_pack("{s:o, s:I, s:o}", "name", json_text(member->job), "done_bytes",
				(json_int_t)member->job_done, "total_bytes",
				member->job_total ? json_integer((json_int_t)member->job_total)
						  : json_null());
	return json_pack(
		"{s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:b, s:o, "
		"s:b, s:b, s:o, s:i, s:o, s:o, s:b, s:o, s:o, s:o, s:b}",
		"id", (int)member->id, "name", json_text(member->name), "kind",
		json_text(member->kind), "address", json_text(member->address), "port",
		member->postgres_port ? json_integer(member->postgres_port) : json_null(), "role",
		json_text(member->role), "state", json_text(member->state), "timeline",
		member->timeline ? json_integer(member->timeline) : json_null(), "flushed",
		json_lsn(member->flushed), "replayed", json_lsn(member->replayed), "lag_bytes",
		json_known(member->lag_bytes), "replay_lag_bytes",
		json_known(member->replay_lag_bytes), "age_ms", json_known(member->age_ms), "heard",
		member->heard, "in_record", member->in_record, "sync", json_text(member->sync),
		"streaming", member->streaming, "rebuilding", member->rebuilding, "job", job,
		"priority", (int)member->priority, "fault", json_text(member->fault),
		"fault_advice", json_text(member->fault_advice), "maintenance", member->maintenance,
		"membership", json_text(member->membership), "upstream",
		json_text(member->upstream), "clock_ms",
		member->clock_known ? json_integer((json_int_t)member->clock_ms) : json_null(),
		"reinit", member->reinit);
}

static json_t *names_to_json(char *const *names, size_t count)
{
	json_t *list = json_array();

	for (size_t i = 0; list != NULL && i < count; i++)
		json_array_append_new(list, json_text(names[i]));
	return list;
}

static json_t *settings_to_json(const Mha__Client__Settings *settings)
{
	if (settings == NULL)
		return json_null();
	return json_pack(
		"{s:o, s:b, s:o, s:i, s:b, s:b, s:b, s:o, s:i, s:I, s:I, s:I, s:I}", "mode",
		json_text(settings->mode), "pinned", settings->pinned, "quorum_sync",
		settings->quorum_sync ? json_integer(settings->quorum_sync)
				      : json_string("majority"),
		"sync_need", (int)settings->sync_need, "auto_failover", settings->auto_failover,
		"auto_primary_switch", settings->auto_primary_switch, "paused", settings->paused,
		"pause_until", json_time(settings->pause_until_ms), "failover_budget",
		(int)settings->failover_budget, "max_lag_bytes",
		(json_int_t)settings->max_lag_bytes, "max_lag_ms", (json_int_t)settings->max_lag_ms,
		"degrade_after_ms", (json_int_t)settings->degrade_ms, "switch_back_after_ms",
		(json_int_t)settings->switch_back_ms);
}

json_t *operation_to_json(const Mha__Client__Operation *operation)
{
	return json_pack(
		"{s:I, s:o, s:o, s:o, s:b, s:o, s:o, s:o, s:o, s:I, s:o, s:o, s:o, s:o, s:o, s:o}",
		"id", (json_int_t)operation->id, "kind", json_text(operation->kind), "state",
		json_text(operation->state), "phase", json_text(operation->phase), "automatic",
		operation->automatic, "reason", json_text(operation->reason), "reason_text",
		json_text(operation->reason_text), "from", json_text(operation->from), "to",
		json_text(operation->to), "epoch", (json_int_t)operation->epoch, "asked_at",
		json_time(operation->asked_ms), "not_before", json_time(operation->start_ms),
		"not_after", json_time(operation->end_ms), "begun_at",
		json_time(operation->begun_ms), "ended_at", json_time(operation->ended_ms),
		"age_ms", json_known(operation->age_ms));
}

json_t *operations_to_json(Mha__Client__Operation *const *operations, size_t count)
{
	json_t *list = json_array();

	for (size_t i = 0; list != NULL && i < count; i++)
		json_array_append_new(list, operation_to_json(operations[i]));
	return list;
}

static json_t *workers_to_json(const Mha__Client__Status *status)
{
	json_t *list = json_array();

	for (size_t i = 0; list != NULL && i < status->n_workers; i++) {
		const Mha__Client__Worker *worker = status->workers[i];

		json_array_append_new(
			list,
			json_pack("{s:o, s:o, s:i, s:b, s:I, s:I, s:I}", "name",
				  json_text(worker->name), "pid",
				  worker->pid ? json_integer(worker->pid) : json_null(), "restarts",
				  (int)worker->restarts, "ready", worker->ready, "up_ms",
				  (json_int_t)worker->up_ms, "cpu_us", (json_int_t)worker->cpu_us,
				  "memory_bytes", (json_int_t)worker->memory_bytes));
	}
	return list;
}

static json_t *cluster_to_json(const Mha__Client__Status *status)
{
	json_t *members = json_array();
	char system_id[24];

	for (size_t i = 0; members != NULL && i < status->n_members; i++)
		json_array_append_new(members, member_to_json(status->members[i]));
	snprintf(system_id, sizeof(system_id), "%llu", (unsigned long long)status->system_id);
	return json_pack(
		"{s:o, s:o, s:o, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:i, s:b, s:o, s:o, s:o, "
		"s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:o, s:o, s:o, s:o, s:o}",
		"cluster", json_text(status->cluster), "node", json_text(status->node), "version",
		json_text(status->version), "epoch", (json_int_t)status->epoch, "term",
		(json_int_t)status->term, "timeline",
		status->timeline ? json_integer(status->timeline) : json_null(), "phase",
		json_text(status->phase), "why", json_text(status->why), "mode",
		json_text(status->mode), "leader",
		status->leader ? leader_to_json(status->leader) : json_null(), "raft_leader",
		json_text(status->raft_leader), "sync_need", (int)status->sync_need, "settled",
		status->settled, "fence", json_text(status->fence), "failure",
		json_text(status->failure), "waiting_for",
		names_to_json(status->waiting_for, status->n_waiting_for), "waiting_count",
		(int)status->waiting_count, "system_id",
		status->system_id ? json_string(system_id) : json_null(), "age_ms",
		json_known(status->age_ms), "source",
		json_text(status->from_segment ? "segment" : "agent"), "members", members, "ha",
		json_text(status->ha), "settings", settings_to_json(status->settings), "operations",
		operations_to_json(status->operations, status->n_operations), "degraded",
		status->degraded, "degraded_since_lsn", json_lsn(status->degraded_lsn),
		"degraded_since", json_time(status->degraded_ms), "hold", json_text(status->hold),
		"hold_text", json_text(status->hold_text), "advice", json_text(status->advice));
}

json_t *status_to_json(const Mha__Client__Status *status)
{
	json_t *whole = cluster_to_json(status);
	json_t *node = json_pack(
		"{s:o, s:o, s:o, s:i, s:i, s:o, s:I, s:i, s:o}", "at", json_time(status->wall_ms),
		"lease_ms", json_known(status->lease_ms), "vip_holder",
		json_text(status->vip_holder), "voters", (int)status->voters, "voters_heard",
		(int)status->voters_heard, "watchdog", json_text(status->watchdog), "event_index",
		(json_int_t)status->event_index, "event_sub", (int)status->event_sub, "workers",
		workers_to_json(status));

	if (whole == NULL || node == NULL || json_object_update(whole, node) < 0) {
		json_decref(whole);
		whole = NULL;
	}
	json_decref(node);
	return whole;
}

static json_t *answers_to_json(const Mha__Client__Decision *decision)
{
	json_t *answers = json_array();

	for (size_t i = 0; answers != NULL && i < decision->n_answers; i++) {
		const Mha__Client__Decision__Answer *answer = decision->answers[i];

		json_array_append_new(
			answers,
			json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:b, s:i}", "node",
				  json_text(answer->node), "db", json_text(answer->db), "timeline",
				  answer->timeline ? json_integer(answer->timeline) : json_null(),
				  "flushed", json_lsn(answer->flushed), "usable",
				  json_lsn(answer->usable), "fault", json_text(answer->fault),
				  "excluded", answer->excluded, "diverged", answer->diverged,
				  "priority", (int)answer->priority));
	}
	return answers;
}

json_t *decision_to_json(const Mha__Client__Decision *decision)
{
	return json_pack(
		"{s:I, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:o, s:o, s:o, s:{s:o, s:i}, "
		"s:{s:o, s:i}, s:o, s:o, s:o, s:o, s:i, s:b, s:o, s:o, s:o, s:I, s:o, s:I, s:I}",
		"epoch", (json_int_t)decision->epoch, "cause", json_text(decision->cause), "from",
		json_text(decision->from), "to", json_text(decision->to), "at",
		json_time(decision->at_ms), "usable", json_lsn(decision->usable), "detect_us",
		(json_int_t)decision->detect_us, "survey_us", (json_int_t)decision->survey_us,
		"open_us", (json_int_t)decision->open_us, "timeline",
		decision->timeline ? json_integer(decision->timeline) : json_null(), "parent",
		decision->parent ? json_integer(decision->parent) : json_null(), "fork",
		json_lsn(decision->fork), "record_before", "members",
		names_to_json(decision->before, decision->n_before), "need",
		(int)decision->before_need, "record_after", "members",
		names_to_json(decision->after, decision->n_after), "need",
		(int)decision->after_need, "answers", answers_to_json(decision), "fault",
		json_text(decision->fault), "hold", json_text(decision->hold), "missing",
		names_to_json(decision->missing, decision->n_missing), "missing_count",
		(int)decision->missing_count, "loss_accepted", decision->loss_accepted, "operation",
		decision->operation ? json_integer((json_int_t)decision->operation) : json_null(),
		"seen", json_lsn(decision->seen), "at_risk_bytes",
		decision->at_risk_known ? json_integer((json_int_t)decision->at_risk) : json_null(),
		"at_risk_ms", (json_int_t)decision->at_risk_ms, "sentences",
		names_to_json(decision->sentences, decision->n_sentences), "fence_us",
		(json_int_t)decision->fence_us, "promote_us", (json_int_t)decision->promote_us);
}

json_t *history_to_json(const Mha__Client__History *history)
{
	json_t *list = json_array();

	for (size_t i = 0; list != NULL && i < history->n_decisions; i++)
		json_array_append_new(list, decision_to_json(history->decisions[i]));
	return json_pack("{s:o, s:o}", "decisions", list, "operations",
			 operations_to_json(history->operations, history->n_operations));
}

json_t *event_to_json(const Mha__Client__Event *event)
{
	/* The fields are JSON already; what is not stays visible as text. */
	json_t *fields = json_loads(event->json, JSON_DECODE_ANY, NULL);

	if (fields == NULL)
		fields = json_text(event->json);
	return json_pack("{s:I, s:i, s:o, s:o, s:o}", "index", (json_int_t)event->index, "sub",
			 (int)event->sub, "name", json_text(event->name), "at",
			 json_time(event->wall_ms), "fields", fields);
}

json_t *events_to_json(const Mha__Client__Events *events)
{
	json_t *list = json_array();

	for (size_t i = 0; list != NULL && i < events->n_events; i++)
		json_array_append_new(list, event_to_json(events->events[i]));
	return json_pack("{s:b, s:o}", "gap", events->gap, "events", list);
}

static json_t *blocker_to_json(const Mha__Client__Blocker *blocker)
{
	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:I, s:I}", "name", json_text(blocker->name),
			 "node", json_text(blocker->node), "text", json_text(blocker->text),
			 "detail", json_text(blocker->detail), "remedy", json_text(blocker->remedy),
			 "value", (json_int_t)blocker->value, "limit", (json_int_t)blocker->limit);
}

json_t *call_reply_to_json(const Mha__Client__CallReply *reply)
{
	json_t *blockers = json_array();

	for (size_t i = 0; blockers != NULL && i < reply->n_blockers; i++)
		json_array_append_new(blockers, blocker_to_json(reply->blockers[i]));
	return json_pack(
		"{s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "code", json_text(reply->code), "operation",
		reply->operation ? json_integer((json_int_t)reply->operation) : json_null(), "node",
		json_text(reply->node), "epoch",
		reply->epoch ? json_integer((json_int_t)reply->epoch) : json_null(), "loss_bytes",
		reply->loss_known ? json_integer((json_int_t)reply->loss_bytes) : json_null(),
		"leader", json_text(reply->leader), "blockers", blockers);
}
