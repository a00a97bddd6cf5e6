#include "trace/otlp.h"

#include <inttypes.h>
#include <stdio.h>

#include "view/json.h"
#include "view/view.h"

#define KIND_INTERNAL 1
#define STATUS_OK     1
#define STATUS_ERROR  2

void otlp_init(struct otlp *otlp)
{
	otlp->spans = json_array();
	otlp->count = 0;
}

/* 64 bits are more than JavaScript's numbers hold: OTLP writes them as strings. */
static json_t *number_text(uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, value);
	return json_string(text);
}

json_t *otlp_span(struct otlp *otlp, const char *trace, const char *id, const char *parent,
		  const char *name, uint64_t start_ns, uint64_t end_ns)
{
	json_t *span =
		json_pack("{s:s, s:s, s:o, s:i, s:o, s:o, s:[], s:[], s:{}}", "traceId", trace,
			  "spanId", id, "name", json_text(name), "kind", KIND_INTERNAL,
			  "startTimeUnixNano", number_text(start_ns), "endTimeUnixNano",
			  number_text(end_ns), "attributes", "events", "status");

	otlp->count++;
	if (span != NULL && parent != NULL)
		json_object_set_new(span, "parentSpanId", json_string(parent));
	if (json_array_append_new(otlp->spans, span) < 0)
		return NULL;
	return span;
}

json_t *otlp_event(json_t *span, const char *name, uint64_t at_ns)
{
	json_t *event = span == NULL
				? NULL
				: json_pack("{s:o, s:o, s:[]}", "timeUnixNano", number_text(at_ns),
					    "name", json_text(name), "attributes");

	if (json_array_append_new(json_object_get(span, "events"), event) < 0)
		return NULL;
	return event;
}

/* Takes over `value`. */
static void attribute(json_t *of, const char *key, const char *type, json_t *value)
{
	json_t *row = json_pack("{s:s, s:{s:o}}", "key", key, "value", type, value);

	(void)json_array_append_new(json_object_get(of, "attributes"), row);
}

void otlp_text(json_t *of, const char *key, const char *text)
{
	if (of != NULL && text != NULL && text[0] != '\0')
		attribute(of, key, "stringValue", json_text(text));
}

void otlp_number(json_t *of, const char *key, int64_t number)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRId64, number);
	if (of != NULL)
		attribute(of, key, "intValue", json_string(text));
}

void otlp_flag(json_t *of, const char *key, bool flag)
{
	if (of != NULL)
		attribute(of, key, "boolValue", json_boolean(flag));
}

void otlp_status(json_t *span, bool good, const char *message)
{
	json_t *status = json_object_get(span, "status");

	json_object_set_new(status, "code", json_integer(good ? STATUS_OK : STATUS_ERROR));
	if (message != NULL)
		json_object_set_new(status, "message", json_text(message));
}

json_t *otlp_request(struct otlp *otlp, const struct spans_input *input)
{
	json_t *resource = json_pack("{s:[]}", "attributes");
	char instance[160];

	if (otlp->count == 0) {
		json_decref(resource);
		json_decref(otlp->spans);
		return NULL;
	}
	snprintf(instance, sizeof(instance), "%s/%s", input->cluster, input->node);
	otlp_text(resource, "service.name", "mha4rdb");
	otlp_text(resource, "service.namespace", input->cluster);
	otlp_text(resource, "service.instance.id", instance);
	otlp_text(resource, "service.version", input->version);
	otlp_text(resource, "host.name", input->host);
	otlp_text(resource, "mha.cluster", input->cluster);
	otlp_text(resource, "mha.node", input->node);
	return json_pack("{s:[{s:o, s:[{s:{s:s, s:s}, s:o}]}]}", "resourceSpans", "resource",
			 resource, "scopeSpans", "scope", "name", "mha-trace", "version",
			 view_version(), "spans", otlp->spans);
}
