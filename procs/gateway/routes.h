/* HTTP: which path answers what. Pure: the server is in http.c. */
#ifndef MHA_GATEWAY_ROUTES_H
#define MHA_GATEWAY_ROUTES_H

#include "gateway/events.h"
#include "gateway/lag.h"
#include "view/view.h"

#define HTTP_QUERY_MAX 16
#define TYPE_JSON      "application/json"

struct http_request {
	const char *method;
	const char *path;       /* starts with '/', without the query */
	const char *accept;     /* headers; NULL: there is none */
	const char *last_event; /* Last-Event-ID */
	unsigned query_count;
	struct http_query {
		const char *name;
		const char *value; /* NULL: none was given */
	} query[HTTP_QUERY_MAX];
};

/* Everything that an answer may be made of; borrowed for the call. */
struct http_world {
	const struct view *view;
	const struct events *events;
	const struct status_gateway *counters;
	const struct lag_track *lag; /* NULL: lag is told in bytes only */
	const char *http_listen;     /* as configured */
	uint64_t election_ns;        /* T */
};

struct http_answer {
	unsigned status;
	const char *type;      /* content type; static, NULL without a body */
	const char *challenge; /* value of a WWW-Authenticate header; static or NULL */
	const char *allow;     /* value of an Allow header; static or NULL */
	char location[48];     /* value of a Location header; empty: none */
	char *body;            /* caller frees; NULL: none */
	/* The body is the stream of events after `since`, without an end; `body` is NULL. */
	bool stream;
	bool since_given; /* by the client; otherwise it begins with what is kept */
	struct event_number since;
};

/*
 * Always gives an answer; status 500 without a body when memory ran out. Checks answer 200 or
 * 503 in Patroni's meaning (docs/man/mha-gateway.8 has the table); what is unknown outside /v1
 * answers 503 as there.
 */
void http_answer(const struct http_request *request, const struct http_world *world,
		 struct http_answer *answer);

/* The value of that name in the query; NULL: none. */
const char *http_query_value(const struct http_request *request, const char *name);

/*
 * The paths outside /v1 that are questions, for whoever describes them; NULL: behind the last one.
 * Where Patroni matches loosely, the word that it looks for.
 */
const char *http_path_at(size_t at);

/* "16MB", "1kB", "512": bytes. False on anything else. */
bool http_parse_bytes(const char *text, uint64_t *bytes);

/* The whole /metrics page (heap), or NULL when memory ran out. */
char *metrics_print(const struct http_world *world);

#endif
