#include "trace/follow.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "trace/otlp.h"
#include "view/json.h"

#define ACTS_MAX 64

void follow_init(struct follow *follow, const struct fetch_from *from, const char *host,
		 follow_give give, void *arg)
{
	memset(follow, 0, sizeof(*follow));
	follow->from = *from;
	follow->host = host;
	follow->give = give;
	follow->arg = arg;
}

static void event_free(Mha__Client__Event *event)
{
	if (event != NULL)
		mha__client__event__free_unpacked(event, NULL);
}

static void forget_events(struct follow *follow)
{
	for (unsigned i = 0; i < follow->event_count; i++)
		event_free(follow->events[i]);
	follow->event_count = 0;
}

void follow_fini(struct follow *follow)
{
	fetched_free(&follow->fetched);
	forget_events(follow);
}

static bool same_act(struct act a, struct act b)
{
	return a.operation == b.operation && a.epoch == b.epoch;
}

static bool is_done(const struct follow *follow, struct act act)
{
	for (unsigned i = 0; i < FOLLOW_DONE_MAX && i < follow->done_count; i++) {
		if (same_act(follow->done[i], act))
			return true;
	}
	return false;
}

static void set_done(struct follow *follow, struct act act)
{
	follow->done[follow->done_count++ % FOLLOW_DONE_MAX] = act;
}

/* -- spans --------------------------------------------------------------------------------------
 */

static void export(struct follow *follow, const Mha__Client__History *history, struct act act)
{
	const struct spans_input input = {
		.cluster = follow->cluster,
		.node = follow->node,
		.version = follow->version,
		.host = follow->host,
		.system_id = follow->system_id,
		.history = history,
		.events = (const Mha__Client__Event *const *)follow->events,
		.event_count = follow->event_count,
	};
	char trace[TRACE_ID_SIZE];
	unsigned spans;
	json_t *request = spans_build(&input, act, &spans);
	char *body = request == NULL ? NULL : json_print(request, JSON_COMPACT);

	set_done(follow, act);
	log_set_operation(act.operation);
	spans_trace_id(&input, act, trace);
	if (body != NULL)
		follow->give(follow->arg, body, spans, trace, act);
	else if (spans > 0)
		log_event(LOG_ERROR, "trace.lost", "trace=%s spans=%u out of memory", trace, spans);
	log_set_operation(0);
}

static void export_recorded(struct follow *follow, const Mha__Client__History *history,
			    uint64_t since_ms)
{
	struct act acts[ACTS_MAX];
	const unsigned count = spans_acts(history, acts, ACTS_MAX);

	for (unsigned i = 0; i < count; i++) {
		if (spans_ended_ms(history, acts[i]) >= since_ms && !is_done(follow, acts[i]))
			export(follow, history, acts[i]);
	}
}

static void add_pending(struct follow *follow, struct act act)
{
	for (unsigned i = 0; i < follow->pending_count; i++) {
		if (same_act(follow->pending[i].act, act))
			return;
	}
	if (is_done(follow, act))
		return;
	if (follow->pending_count == FOLLOW_PENDING_MAX) {
		follow->lost++;
		log_event(LOG_WARNING, "trace.lost", "lost=%" PRIu64 " too many acts end at once",
			  follow->lost);
		return;
	}
	follow->pending[follow->pending_count].act = act;
	follow->pending[follow->pending_count++].looks = 0;
}

static bool part_of_operation(const Mha__Client__History *history, struct act act)
{
	for (size_t i = 0; i < history->n_decisions && act.operation == 0; i++) {
		if (history->decisions[i]->epoch == act.epoch &&
		    history->decisions[i]->operation != 0)
			return true;
	}
	return false;
}

/* True: nothing more is to be done about it. */
static bool settle(struct follow *follow, const Mha__Client__History *history, unsigned i)
{
	const struct act act = follow->pending[i].act;

	/* The operation's own end tells of it. */
	if (part_of_operation(history, act))
		return true;
	if (spans_recorded(history, act)) {
		export(follow, history, act);
		return true;
	}
	if (++follow->pending[i].looks < FOLLOW_LOOKS_MAX)
		return false;
	follow->lost++;
	log_event(LOG_WARNING, "trace.lost",
		  "operation=%" PRIu64 " epoch=%" PRIu64 " lost=%" PRIu64
		  " the agent's record does not show how it ended",
		  act.operation, act.epoch, follow->lost);
	return true;
}

bool follow_busy(const struct follow *follow)
{
	return follow->pending_count > 0;
}

/* The event of an end comes a moment before the record that has it. */
static int look(struct follow *follow, struct err *why)
{
	unsigned kept = 0;
	int rc;

	if (follow->pending_count == 0)
		return 0;
	if ((rc = fetch_history(&follow->from, &follow->fetched, why)) < 0)
		return rc;
	for (unsigned i = 0; i < follow->pending_count; i++) {
		if (!settle(follow, follow->fetched.history, i))
			follow->pending[kept++] = follow->pending[i];
	}
	follow->pending_count = kept;
	fetched_free(&follow->fetched);
	return 0;
}

/* -- events -------------------------------------------------------------------------------------
 */

static Mha__Client__Event *copy_of(const Mha__Client__Event *event)
{
	const size_t size = mha__client__event__get_packed_size(event);
	uint8_t *bytes = malloc(size);
	Mha__Client__Event *copy = NULL;

	if (bytes != NULL)
		copy = mha__client__event__unpack(NULL, mha__client__event__pack(event, bytes),
						  bytes);
	free(bytes);
	return copy;
}

static void keep_event(struct follow *follow, const Mha__Client__Event *event)
{
	Mha__Client__Event *copy = copy_of(event);
	struct act act;

	follow->index = event->index;
	follow->sub = event->sub;
	if (copy == NULL) {
		log_event(LOG_ERROR, "event.lost", "name=%s out of memory", event->name);
		return;
	}
	if (follow->event_count == FOLLOW_EVENTS_MAX) {
		event_free(follow->events[0]);
		memmove(&follow->events[0], &follow->events[1],
			(FOLLOW_EVENTS_MAX - 1) * sizeof(follow->events[0]));
		follow->event_count--;
	}
	follow->events[follow->event_count++] = copy;
	if (spans_end(copy, &act) &&
	    (copy->index > follow->new_index ||
	     (copy->index == follow->new_index && copy->sub > follow->new_sub)))
		add_pending(follow, act);
}

/* Events were missed: what ended meanwhile is in the record, without what this agent saw of it. */
static int fill_gap(struct follow *follow, struct err *why)
{
	const uint64_t since = follow->event_count > 0
				       ? follow->events[follow->event_count - 1]->wall_ms
				       : follow->now_ms;
	int rc;

	log_event(LOG_WARNING, "event.gap",
		  "after=%" PRIu64 ".%u events of the agent were missed: spans of this node may be "
		  "missing",
		  follow->index, (unsigned)follow->sub);
	forget_events(follow);
	if ((rc = fetch_history(&follow->from, &follow->fetched, why)) < 0)
		return rc;
	export_recorded(follow, follow->fetched.history, since);
	fetched_free(&follow->fetched);
	return 0;
}

/* One answer; `*more`: there was something in it. */
static int read_events(struct follow *follow, unsigned wait_ms, bool *more, struct err *why)
{
	struct fetched *fetched = &follow->fetched;
	bool gap;
	int rc = fetch_events(&follow->from, follow->index, follow->sub, wait_ms, fetched, why);

	if (rc < 0)
		return rc;
	gap = fetched->events->gap && follow->primed;
	*more = fetched->events->n_events > 0;
	if (gap) {
		Mha__Client__Reply *reply = fetched->reply;
		const Mha__Client__Events *events = fetched->events;

		/* The record is asked for first, so that nothing is handed over twice. */
		rc = fill_gap(follow, why);
		for (size_t i = 0; i < events->n_events; i++)
			keep_event(follow, events->events[i]);
		client_reply_free(reply);
		return rc;
	}
	for (size_t i = 0; i < fetched->events->n_events; i++)
		keep_event(follow, fetched->events->events[i]);
	fetched_free(fetched);
	return 0;
}

/* -- the agent ----------------------------------------------------------------------------------
 */

static int who(struct follow *follow, bool live, struct err *why)
{
	struct fetched *fetched = &follow->fetched;
	int rc = fetch_status(&follow->from, fetched, why);

	if (rc < 0)
		return rc;
	if (live && fetched->from_segment) {
		*why = fetched->agent_why;
		rc = why->code;
	} else if (!text_copy(follow->cluster, sizeof(follow->cluster), fetched->status->cluster) ||
		   !text_copy(follow->node, sizeof(follow->node), fetched->status->node) ||
		   !text_copy(follow->version, sizeof(follow->version), fetched->status->version)) {
		rc = err_set(why, ERR_CORRUPT, "the agent's names are too long");
	} else if (follow->cluster[0] == '\0' || follow->node[0] == '\0') {
		rc = err_set(why, ERR_BUSY, "the agent does not know its cluster yet");
	}
	follow->system_id = fetched->status->system_id;
	if (!follow->primed) {
		follow->new_index = fetched->status->event_index;
		follow->new_sub = fetched->status->event_sub;
	}
	fetched_free(fetched);
	return rc;
}

static int read_remembered(struct follow *follow, struct err *why)
{
	bool more = true;
	int rc = 0;

	while (rc == 0 && more)
		rc = read_events(follow, 0, &more, why);
	follow->primed = rc == 0;
	return rc;
}

int follow_begin(struct follow *follow, uint64_t since_ms, bool live, struct err *why)
{
	struct err gone = {0};
	int rc = who(follow, live, why);

	if (rc < 0)
		return rc;
	/* Only a running agent has them; the record tells of the rest. */
	if ((rc = read_remembered(follow, &gone)) < 0 && live) {
		*why = gone;
		return rc;
	}
	if (since_ms == UINT64_MAX)
		return 0;
	if ((rc = fetch_history(&follow->from, &follow->fetched, why)) < 0)
		return rc;
	export_recorded(follow, follow->fetched.history, since_ms);
	fetched_free(&follow->fetched);
	return 0;
}

int follow_step(struct follow *follow, unsigned wait_ms, uint64_t now_ms, struct err *why)
{
	bool more = true;
	int rc = 0;

	follow->now_ms = now_ms;
	/* Before the first database there is no system id, and no trace. */
	if (follow->away || follow->system_id == 0 || follow->pending_count > 0)
		rc = who(follow, true, why);
	if (rc == 0)
		rc = look(follow, why);
	if (follow->pending_count > 0 && wait_ms > FOLLOW_LOOK_MS)
		wait_ms = FOLLOW_LOOK_MS;
	while (rc == 0 && more) {
		rc = read_events(follow, wait_ms, &more, why);
		wait_ms = 0;
	}
	follow->away = rc < 0;
	return rc;
}
