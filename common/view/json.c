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

static json_t *member_to_json(const Mha__Client__Member *member)
{
	json_t *job = json_null();

	if (member->job[0] != '\0')
		job = json_pack("{s:o, s:I, s:o}", "name", json_text(member->job), "done_bytes",
				(json_int_t)member->job_done, "total_bytes",
				member->job_total ? json_integer((json_int_t)member->job_total)
						  : json_null());
	return json_pack(
		"{s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:b, s:o, "
		"s:b, s:b, s:o, s:i}",
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
		"priority", (int)member->priority);
}

static json_t *names_to_json(char *const *names, size_t count)
{
	json_t *list = json_array();

	for (size_t i = 0; list != NULL && i < count; i++)
		json_array_append_new(list, json_text(names[i]));
	return list;
}

json_t *status_to_json(const Mha__Client__Status *status)
{
	json_t *members = json_array();
	char system_id[24];

	for (size_t i = 0; members != NULL && i < status->n_members; i++)
		json_array_append_new(members, member_to_json(status->members[i]));
	snprintf(system_id, sizeof(system_id), "%llu", (unsigned long long)status->system_id);
	return json_pack(
		"{s:o, s:o, s:o, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:i, s:b, s:o, s:o, s:o, "
		"s:i, s:o, s:o, s:o, s:o}",
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
		json_text(status->from_segment ? "segment" : "agent"), "members", members);
}

static json_t *decision_to_json(const Mha__Client__Decision *decision)
{
	json_t *answers = json_array();

	for (size_t i = 0; answers != NULL && i < decision->n_answers; i++) {
		const Mha__Client__Decision__Answer *answer = decision->answers[i];

		json_array_append_new(
			answers,
			json_pack("{s:o, s:o, s:o, s:o, s:o}", "node", json_text(answer->node),
				  "db", json_text(answer->db), "timeline",
				  answer->timeline ? json_integer(answer->timeline) : json_null(),
				  "flushed", json_lsn(answer->flushed), "usable",
				  json_lsn(answer->usable)));
	}
	return json_pack(
		"{s:I, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:o, s:o, s:o, s:{s:o, s:i}, "
		"s:{s:o, s:i}, s:o}",
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
		(int)decision->after_need, "answers", answers);
}

json_t *history_to_json(const Mha__Client__History *history)
{
	json_t *list = json_array();

	for (size_t i = 0; list != NULL && i < history->n_decisions; i++)
		json_array_append_new(list, decision_to_json(history->decisions[i]));
	return json_pack("{s:o}", "decisions", list);
}

static json_t *event_to_json(const Mha__Client__Event *event)
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
