/* The shapes of OTLP's JSON: spans, their attributes, their events, a request. Pure. */
#ifndef MHA_TRACE_OTLP_H
#define MHA_TRACE_OTLP_H

#include "trace/spans.h"

struct otlp {
	json_t *spans; /* NULL: memory ran out */
	unsigned count;
};

void otlp_init(struct otlp *otlp);

/* A new span, borrowed from `otlp`; `parent` NULL: a root. Times in ns since 1970. */
json_t *otlp_span(struct otlp *otlp, const char *trace, const char *id, const char *parent,
		  const char *name, uint64_t start_ns, uint64_t end_ns);
/* A point in time of a span, borrowed from it; it takes attributes like a span. */
json_t *otlp_event(json_t *span, const char *name, uint64_t at_ns);

/* `of` NULL is passed over, and so is an empty text; what is not UTF-8 has its bytes replaced. */
void otlp_text(json_t *of, const char *key, const char *text);
void otlp_number(json_t *of, const char *key, int64_t number);
void otlp_flag(json_t *of, const char *key, bool flag);
/* `message` NULL: none. */
void otlp_status(json_t *span, bool good, const char *message);

/* One request of all the spans, under the resource that is this agent. Takes the spans over. */
json_t *otlp_request(struct otlp *otlp, const struct spans_input *input);

#endif
