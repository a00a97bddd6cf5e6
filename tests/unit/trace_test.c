/* mha-trace: spans of a record and of one agent's events, the queue, and what a collector answers.
 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/macros.h"
#include "trace/post.h"
#include "trace/queue.h"
#include "trace/spans.h"

#define AT_MS   UINT64_C(1700000001000)
#define MS_NS   UINT64_C(1000000)
#define SWITCH  UINT64_C(17)
#define UNASKED UINT64_C(9)

/* A record of a switchover n1 -> n2 (epoch 8), a failover n2 -> n3 (epoch 9), and a standby's
 * restart. */
struct record {
	Mha__Client__Decision decisions[3];
	Mha__Client__Decision *decision_list[3];
	Mha__Client__Decision__Answer answer;
	Mha__Client__Decision__Answer *answers[1];
	Mha__Client__Operation operations[2];
	Mha__Client__Operation *operation_list[2];
	Mha__Client__History history;
	Mha__Client__Event events[12];
	const Mha__Client__Event *event_list[12];
	unsigned event_count;
	struct spans_input input;
};

static char *text(const char *from)
{
	static char kept[64][160];
	static unsigned next;
	char *to = kept[next++ % COUNT_OF(kept)];

	snprintf(to, sizeof(kept[0]), "%s", from);
	return to;
}

static void decision(struct record *record, unsigned i, const char *from, const char *to,
		     const char *cause)
{
	Mha__Client__Decision *row = &record->decisions[i];

	mha__client__decision__init(row);
	row->epoch = 8 + i;
	row->from = text(from);
	row->to = text(to);
	row->cause = text(cause);
	row->survey_us = 30000;
	row->promote_us = 40000;
	row->open_us = 65000;
	row->at_ms = AT_MS + i * 10000;
	record->decision_list[i] = row;
}

static void operation(struct record *record, unsigned i, uint64_t id, const char *kind,
		      const char *from, const char *to)
{
	Mha__Client__Operation *row = &record->operations[i];

	mha__client__operation__init(row);
	row->id = id;
	row->kind = text(kind);
	row->state = text("done");
	row->from = text(from);
	row->to = text(to);
	row->asked_ms = AT_MS - 300 + i * 20000;
	row->begun_ms = AT_MS - 200 + i * 20000;
	row->ended_ms = AT_MS + 70 + i * 20000;
	record->operation_list[i] = row;
}

static void event(struct record *record, const char *name, const char *json, uint64_t wall_ms)
{
	Mha__Client__Event *row = &record->events[record->event_count];

	cr_assert_lt(record->event_count, COUNT_OF(record->events));
	mha__client__event__init(row);
	row->index = 100 + record->event_count;
	row->name = text(name);
	row->json = text(json);
	row->wall_ms = wall_ms;
	record->event_list[record->event_count++] = row;
}

static void make(struct record *record, const char *node)
{
	cr_assert_geq(sodium_init(), 0);
	memset(record, 0, sizeof(*record));
	mha__client__history__init(&record->history);
	decision(record, 0, "n1", "n2", "switchover");
	record->decisions[0].operation = SWITCH;
	record->decisions[0].fence_us = 12345;
	mha__client__decision__answer__init(&record->answer);
	record->answer.node = text("n3");
	record->answer.flushed = UINT64_C(0x3000000);
	record->answers[0] = &record->answer;
	record->decisions[0].answers = record->answers;
	record->decisions[0].n_answers = 1;
	decision(record, 1, "n2", "n3", "node_lost");
	record->decisions[1].detect_us = 700000;
	/* Nobody was promoted. */
	decision(record, 2, "n3", "", "node_lost");
	record->decisions[2].hold = text("answers");
	operation(record, 0, SWITCH, "switchover", "n1", "n2");
	operation(record, 1, 18, "restart_standby", "n1", "n1");
	record->history.decisions = record->decision_list;
	record->history.n_decisions = 3;
	record->history.operations = record->operation_list;
	record->history.n_operations = 2;
	record->input = (struct spans_input){.cluster = "demo",
					     .node = node,
					     .version = "1",
					     .host = "host",
					     .system_id = 77,
					     .history = &record->history,
					     .events = record->event_list};
}

/* As the agent of the new primary tells it. */
static void tell(struct record *record)
{
	event(record, "agent.rule", "{\"rule\":\"any/not_leader\",\"why\":\"before\"}",
	      AT_MS - 900);
	event(record, "operation.running", "{\"id\":17}", AT_MS - 199);
	event(record, "failover.assigned", "{\"epoch\":8,\"to\":\"n2\",\"answers\":[]}", AT_MS + 1);
	event(record, "agent.rule", "{\"rule\":\"following/assigned\",\"why\":\"it is I\"}",
	      AT_MS + 2);
	event(record, "agent.rule", "{\"rule\":\"promote/done\",\"why\":\"a primary\"}",
	      AT_MS + 40);
	event(record, "failover.opened", "{\"epoch\":8}", AT_MS + 71);
	event(record, "operation.done", "{\"id\":17}", AT_MS + 72);
	record->input.event_count = record->event_count;
}

static json_t *spans_in(const json_t *request)
{
	const json_t *of_resource = json_array_get(json_object_get(request, "resourceSpans"), 0);
	const json_t *scope = json_array_get(json_object_get(of_resource, "scopeSpans"), 0);

	return json_object_get(scope, "spans");
}

static json_t *named(const json_t *request, const char *name)
{
	size_t i;
	json_t *span;

	json_array_foreach(spans_in(request), i, span)
	{
		if (strcmp(json_string_value(json_object_get(span, "name")), name) == 0)
			return span;
	}
	return NULL;
}

static uint64_t number(const json_t *span, const char *key)
{
	return strtoull(json_string_value(json_object_get(span, key)), NULL, 10);
}

static const char *attribute(const json_t *of, const char *key, const char *type)
{
	size_t i;
	json_t *row;

	json_array_foreach(json_object_get(of, "attributes"), i, row)
	{
		if (strcmp(json_string_value(json_object_get(row, "key")), key) == 0)
			return json_string_value(
				json_object_get(json_object_get(row, "value"), type));
	}
	return NULL;
}

static void spans_from_to(const json_t *span, uint64_t start_ns, uint64_t end_ns)
{
	cr_assert_not_null(span);
	cr_expect_eq(number(span, "startTimeUnixNano"), start_ns);
	cr_expect_eq(number(span, "endTimeUnixNano"), end_ns);
}

static void child_of(const json_t *span, const json_t *parent)
{
	cr_expect_str_eq(json_string_value(json_object_get(span, "parentSpanId")),
			 json_string_value(json_object_get(parent, "spanId")));
	cr_expect_str_eq(json_string_value(json_object_get(span, "traceId")),
			 json_string_value(json_object_get(parent, "traceId")));
}

Test(trace, switchover_of_the_new_primary)
{
	const uint64_t at = AT_MS * MS_NS, begin = at - 42345000;
	struct record record;
	unsigned count;
	json_t *request, *root, *outage, *member, *promote;

	make(&record, "n2");
	tell(&record);
	request = spans_build(&record.input, (struct act){.operation = SWITCH}, &count);
	cr_assert_not_null(request);
	/* Root, outage, fence, survey, promote, open, member, one phase of the agent. */
	cr_expect_eq(count, 8);
	cr_expect_eq(json_array_size(spans_in(request)), 8);
	root = named(request, "switchover");
	spans_from_to(root, at - 200 * MS_NS, at + 70 * MS_NS);
	cr_expect_null(json_object_get(root, "parentSpanId"));
	cr_expect_str_eq(attribute(root, "mha.operation", "intValue"), "17");
	cr_expect_eq(json_integer_value(json_object_get(json_object_get(root, "status"), "code")),
		     1);
	outage = named(request, "outage");
	child_of(outage, root);
	spans_from_to(outage, begin, at + 65 * MS_NS);
	spans_from_to(named(request, "fence"), begin, at - 30 * MS_NS);
	spans_from_to(named(request, "survey"), at - 30 * MS_NS, at);
	cr_expect_eq(json_array_size(json_object_get(named(request, "survey"), "events")), 1);
	spans_from_to(named(request, "open"), at + 40 * MS_NS, at + 65 * MS_NS);
	cr_expect_null(named(request, "detect"));
	child_of(named(request, "open"), outage);
	member = named(request, "member");
	child_of(member, root);
	/* Its end is cut off at the root's, and that is said. */
	spans_from_to(member, at - 199 * MS_NS, at + 70 * MS_NS);
	cr_expect_str_eq(attribute(member, "mha.late_ms", "intValue"), "2");
	cr_expect_str_eq(attribute(member, "mha.part", "stringValue"), "new primary");
	cr_expect_eq(json_array_size(json_object_get(member, "events")), 6);
	/* Two spans are named so: the record's, and the agent's own with its rule. */
	promote = json_array_get(spans_in(request), 7);
	cr_expect_str_eq(json_string_value(json_object_get(promote, "name")), "promote");
	cr_expect_str_eq(attribute(promote, "mha.rule", "stringValue"), "following/assigned");
	spans_from_to(promote, at + 2 * MS_NS, at + 40 * MS_NS);
	child_of(promote, member);
	json_decref(request);
}

/* Exporters beside several agents agree without talking, and only one of them makes the root. */
Test(trace, one_trace_of_all_nodes)
{
	static const char *const nodes[] = {"n1", "n2", "n3"};
	static const char *const parts[] = {"old primary", "new primary", "bystander"};
	unsigned roots = 0;
	char trace[TRACE_ID_SIZE] = "", root[SPAN_ID_SIZE];

	for (unsigned i = 0; i < COUNT_OF(nodes); i++) {
		struct record record;
		unsigned count;
		char id[TRACE_ID_SIZE];
		json_t *request, *member;

		make(&record, nodes[i]);
		tell(&record);
		spans_trace_id(&record.input, (struct act){.operation = SWITCH}, id);
		cr_expect(i == 0 || strcmp(id, trace) == 0);
		memcpy(trace, id, sizeof(id));
		spans_span_id(id, "act", NULL, 0, root);
		request = spans_build(&record.input, (struct act){.operation = SWITCH}, &count);
		member = named(request, "member");
		cr_assert_not_null(member);
		cr_expect_str_eq(attribute(member, "mha.node", "stringValue"), nodes[i]);
		cr_expect_str_eq(attribute(member, "mha.part", "stringValue"), parts[i]);
		cr_expect_str_eq(json_string_value(json_object_get(member, "parentSpanId")), root);
		roots += named(request, "switchover") != NULL;
		json_decref(request);
	}
	cr_expect_eq(roots, 1);
}

Test(trace, failover_and_what_is_over)
{
	struct record record;
	struct act acts[8];
	unsigned count;
	json_t *request;

	make(&record, "n3");
	cr_assert_eq(spans_acts(&record.history, acts, COUNT_OF(acts)), 3);
	cr_expect_eq(acts[0].operation, SWITCH);
	cr_expect_eq(acts[1].epoch, UNASKED);
	cr_expect_eq(acts[2].operation, 18);
	cr_expect_eq(spans_acts(&record.history, acts, 2), 2);
	/* Part of an operation, held, not there. */
	cr_expect_not(spans_recorded(&record.history, (struct act){.epoch = 8}));
	cr_expect_not(spans_recorded(&record.history, (struct act){.epoch = 10}));
	cr_expect_not(spans_recorded(&record.history, (struct act){.operation = 99}));
	request = spans_build(&record.input, (struct act){.epoch = UNASKED}, &count);
	cr_assert_not_null(request);
	cr_expect_eq(count, 6, "root, outage, detect, survey, promote, open");
	spans_from_to(named(request, "failover"), (AT_MS + 10000 - 730) * MS_NS,
		      (AT_MS + 10000 + 65) * MS_NS);
	json_decref(request);
	/* Not opened yet, and an operation under way. */
	record.decisions[1].open_us = 0;
	cr_expect_not(spans_recorded(&record.history, (struct act){.epoch = UNASKED}));
	record.operations[0].state = text("running");
	cr_expect_not(spans_recorded(&record.history, (struct act){.operation = SWITCH}));
}

Test(trace, rolled_back_and_standby)
{
	struct record record;
	unsigned count;
	json_t *request, *status;

	make(&record, "n1");
	record.operations[0].state = text("rolled_back");
	record.operations[0].reason_text = text("too slow");
	record.history.n_decisions = 0;
	request = spans_build(&record.input, (struct act){.operation = SWITCH}, &count);
	cr_expect_eq(count, 1, "the primary that stayed makes the root");
	status = json_object_get(named(request, "switchover"), "status");
	cr_expect_eq(json_integer_value(json_object_get(status, "code")), 2);
	cr_expect_str_eq(json_string_value(json_object_get(status, "message")), "too slow");
	json_decref(request);
	request = spans_build(&record.input, (struct act){.operation = 18}, &count);
	cr_expect_not_null(named(request, "restart_standby"));
	json_decref(request);
	/* Whoever has seen nothing and did nothing makes nothing. */
	record.input.node = "n3";
	cr_expect_null(spans_build(&record.input, (struct act){.operation = SWITCH}, &count));
	cr_expect_eq(count, 0);
}

Test(trace, ends_of_acts)
{
	struct record record;
	struct act act;

	make(&record, "n1");
	event(&record, "operation.cancelled", "{\"id\":5}", AT_MS);
	event(&record, "operation.running", "{\"id\":5}", AT_MS);
	event(&record, "failover.opened", "{\"epoch\":8}", AT_MS);
	event(&record, "failover.opened", "not JSON", AT_MS);
	event(&record, "operation.done", "{\"id\":\"5\"}", AT_MS);
	cr_expect(spans_end(record.event_list[0], &act) && act.operation == 5 && act.epoch == 0);
	cr_expect_not(spans_end(record.event_list[1], &act));
	cr_expect(spans_end(record.event_list[2], &act) && act.operation == 0 && act.epoch == 8);
	cr_expect_not(spans_end(record.event_list[3], &act));
	cr_expect_not(spans_end(record.event_list[4], &act));
}

Test(trace, ids_differ)
{
	struct record record;
	char a[TRACE_ID_SIZE], b[TRACE_ID_SIZE], c[TRACE_ID_SIZE], one[SPAN_ID_SIZE],
		two[SPAN_ID_SIZE];

	make(&record, "n1");
	spans_trace_id(&record.input, (struct act){.operation = 8}, a);
	spans_trace_id(&record.input, (struct act){.epoch = 8}, b);
	record.input.system_id++;
	spans_trace_id(&record.input, (struct act){.operation = 8}, c);
	cr_expect(strcmp(a, b) != 0 && strcmp(a, c) != 0);
	cr_expect_eq(strspn(a, "0123456789abcdef"), 32);
	spans_span_id(a, "member", "n1", 0, one);
	spans_span_id(a, "member", "n2", 0, two);
	cr_expect_str_neq(one, two);
	cr_expect_eq(strlen(one), 16);
}

static unsigned push(struct queue *queue, size_t size, char mark)
{
	char *body = malloc(size + 1);
	char trace[33] = "t";

	cr_assert_not_null(body);
	memset(body, mark, size);
	body[size] = '\0';
	return queue_push(queue, body, size, 3, trace);
}

Test(trace, queue_keeps_order_and_waits)
{
	struct queue queue;

	queue_init(&queue);
	cr_expect_null(queue_due(&queue, 0));
	cr_expect_eq(queue_wait(&queue, 0, 70), 70);
	push(&queue, 10, 'a');
	push(&queue, 10, 'b');
	cr_expect_eq(queue_due(&queue, 5)->body[0], 'a');
	/* Twice as long each time, up to a fifth shorter, never more than the bound. */
	queue_again(&queue, 1000, 0, 0);
	cr_expect_eq(queue.next_ms, 1000 + QUEUE_BACKOFF_MS);
	cr_expect_null(queue_due(&queue, 1000 + QUEUE_BACKOFF_MS - 1));
	cr_expect_eq(queue_wait(&queue, 1400, 5000), 100);
	/* What comes meanwhile does not make it any earlier. */
	push(&queue, 10, 'c');
	cr_expect_null(queue_due(&queue, 1400));
	cr_expect_eq(queue_due(&queue, 1500)->body[0], 'a');
	queue_again(&queue, 2000, 0, 199);
	cr_expect_eq(queue.next_ms, 2000 + 2 * QUEUE_BACKOFF_MS - 199);
	queue_again(&queue, 2000, 7000, 0);
	cr_expect_eq(queue.next_ms, 9000, "the collector asks for more");
	for (unsigned i = 0; i < 20; i++)
		queue_again(&queue, 2000, UINT64_C(99999999), 0);
	cr_expect_eq(queue.next_ms, 2000 + QUEUE_WAIT_MAX);
	queue_done(&queue);
	cr_expect_eq(queue_due(&queue, 2001)->body[0], 'b');
	queue_again(&queue, 3000, 0, 0);
	cr_expect_eq(queue.next_ms, 3000 + QUEUE_BACKOFF_MS, "counted anew");
	queue_refused(&queue);
	cr_expect_eq(queue_due(&queue, 3000)->body[0], 'c');
	cr_expect_eq(queue.sent, 1);
	cr_expect_eq(queue.dropped, 1);
	cr_expect_eq(queue.dropped_spans, 3);
	queue_fini(&queue);
	cr_expect_eq(queue.bytes, 0);
}

Test(trace, queue_is_bounded)
{
	struct queue queue;
	unsigned dropped = 0;

	queue_init(&queue);
	for (unsigned i = 0; i < QUEUE_ITEMS_MAX + 5; i++)
		dropped += push(&queue, 10, (char)('0' + i % 10));
	cr_expect_eq(queue.count, QUEUE_ITEMS_MAX);
	cr_expect_eq(dropped, 5);
	cr_expect_eq(queue_due(&queue, 0)->body[0], '5', "the oldest have gone");
	queue_again(&queue, 100, 0, 0);
	cr_expect_eq(push(&queue, QUEUE_BYTES_MAX - 20, 'x'), QUEUE_ITEMS_MAX - 2);
	cr_expect_leq(queue.bytes, QUEUE_BYTES_MAX);
	cr_expect_null(queue_due(&queue, 100), "the collector is as far away as before");
	cr_expect_eq(push(&queue, QUEUE_BYTES_MAX + 1, 'y'), 1);
	cr_expect_eq(queue.dropped, 5 + QUEUE_ITEMS_MAX - 2 + 1);
	queue_fini(&queue);
}

Test(trace, answers_of_a_collector)
{
	cr_expect_eq(post_judge(200), POST_DONE);
	cr_expect_eq(post_judge(202), POST_DONE);
	cr_expect_eq(post_judge(429), POST_AGAIN);
	cr_expect_eq(post_judge(503), POST_AGAIN);
	cr_expect_eq(post_judge(400), POST_REFUSED);
	cr_expect_eq(post_judge(301), POST_REFUSED);
	cr_expect_eq(post_judge(500), POST_REFUSED);
}

Test(trace, endpoints_and_headers)
{
	static const char *const bad[] = {"",        "collector",  "ftp://h/v1/traces",
					  "http://", "http:///v1", "http://host:4318"};
	struct post_options options = {.endpoint = "http://127.0.0.1:9/v1/traces"};
	char path[] = "/tmp/mha-trace-headers-XXXXXX";
	struct err why = {0};
	struct post *post;
	uint64_t again;
	int fd = mkstemp(path);
	FILE *file = fdopen(fd, "w");

	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		const struct post_options wrong = {.endpoint = bad[i]};

		cr_expect_eq(post_open(&post, &wrong, &why), ERR_INVALID, "%s", bad[i]);
	}
	cr_assert_not_null(file);
	fputs("# comment\n\nAuthorization: Bearer x\n", file);
	fflush(file);
	options.header_file = path;
	cr_assert_eq(post_open(&post, &options, &why), 0, "%s", why.text);
	/* Nobody listens on the port 9. */
	cr_expect_eq(post_send(post, "{}", 2, &again, &why), POST_AGAIN);
	cr_expect_neq(why.text[0], '\0');
	post_close(post);
	fputs("no colon\n", file);
	fclose(file);
	cr_expect_eq(post_open(&post, &options, &why), ERR_INVALID);
	unlink(path);
	cr_expect_eq(post_open(&post, &options, &why), ERR_IO);
	post_close(NULL);
}
