#include "gateway/routes.h"

#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "base/text.h"
#include "gateway/patroni.h"
#include "gateway/v1.h"
#include "view/json.h"

/* As Patroni's maximum_lag_on_failover by default: what /readiness accepts. */
#define READINESS_LAG_BYTES UINT64_C(1048576)
#define LIVENESS_MIN_NS     UINT64_C(10000000000)

#define TYPE_METRICS "text/plain; version=0.0.4; charset=utf-8"

struct context {
	const struct http_request *request;
	const struct http_world *world;
	const struct view *view;
};

typedef unsigned (*check_function)(const struct context *context);
typedef char *(*body_function)(const struct context *context);

enum route_match {
	WHOLE,  /* the path is exactly this */
	FIRST,  /* its first part is */
	INSIDE, /* it contains this, as Patroni matches */
};

struct route {
	enum route_match match;
	bool tags; /* tag_x=y of the query must hold */
	const char *path;
	check_function check;
	body_function body; /* NULL: none */
	const char *type;
};

const char *http_query_value(const struct http_request *request, const char *name)
{
	for (unsigned i = 0; i < request->query_count; i++) {
		if (strcmp(request->query[i].name, name) == 0)
			return request->query[i].value;
	}
	return NULL;
}

bool http_parse_bytes(const char *text, uint64_t *bytes)
{
	static const struct {
		const char *suffix;
		unsigned shift;
	} units[] = {{"kB", 10}, {"MB", 20}, {"GB", 30}, {"TB", 40}, {"B", 0}, {"", 0}};
	size_t length = strlen(text);
	char digits[24];

	for (size_t i = 0; i < COUNT_OF(units); i++) {
		size_t tail = strlen(units[i].suffix);
		uint64_t number;

		if (length <= tail || length - tail >= sizeof(digits) ||
		    strcmp(text + length - tail, units[i].suffix) != 0)
			continue;
		memcpy(digits, text, length - tail);
		digits[length - tail] = '\0';
		if (!text_parse_u64(digits, &number) || number > UINT64_MAX >> units[i].shift)
			return false;
		*bytes = number << units[i].shift;
		return true;
	}
	return false;
}

/* A limit that cannot be compared with anything known is not kept. */
static bool lag_within(int64_t lag_bytes, uint64_t limit)
{
	return lag_bytes >= 0 && (uint64_t)lag_bytes <= limit;
}

static bool lag_accepted(const struct context *context, int64_t lag_bytes)
{
	const char *text = http_query_value(context->request, "lag");
	const struct view_member *primary = view_member(context->view, context->view->primary);
	uint64_t limit;

	if (text == NULL || !http_parse_bytes(text, &limit))
		return true;
	return primary != NULL && primary->fresh && lag_within(lag_bytes, limit);
}

static unsigned yes(bool holds)
{
	return holds ? 200 : 503;
}

static unsigned check_always(const struct context *context)
{
	UNUSED(context);
	return 200;
}

static unsigned check_never(const struct context *context)
{
	UNUSED(context);
	return 503;
}

static unsigned check_primary(const struct context *context)
{
	return yes(context->view->serves);
}

static unsigned check_replica(const struct context *context)
{
	const struct view *view = context->view;
	const char *state = http_query_value(context->request, "replication_state");

	if (!view->reads || (state != NULL && strcmp(state, "streaming") != 0))
		return 503;
	return yes(lag_accepted(context, view_self(view)->replay_lag_bytes));
}

static unsigned check_read_only(const struct context *context)
{
	return context->view->serves ? 200 : check_replica(context);
}

static unsigned check_sync(const struct context *context)
{
	return patroni_is_sync(context->view) ? check_replica(context) : 503;
}

static unsigned check_quorum(const struct context *context)
{
	return patroni_is_quorum(context->view) ? check_replica(context) : 503;
}

static unsigned check_async(const struct context *context)
{
	if (patroni_is_sync(context->view) || patroni_is_quorum(context->view))
		return 503;
	return check_replica(context);
}

static unsigned check_read_only_sync(const struct context *context)
{
	return context->view->serves ? 200 : check_sync(context);
}

static unsigned check_read_only_quorum(const struct context *context)
{
	return context->view->serves ? 200 : check_quorum(context);
}

static unsigned check_health(const struct context *context)
{
	return yes(patroni_state(view_self(context->view)) == PATRONI_RUNNING);
}

/* The consensus worker takes its steps; one that does not is for a person or a supervisor. */
static unsigned check_liveness(const struct context *context)
{
	uint64_t limit_ns = 2 * context->world->election_ns;

	if (limit_ns < LIVENESS_MIN_NS)
		limit_ns = LIVENESS_MIN_NS;
	return yes(context->view->age_ms >= 0 &&
		   (uint64_t)context->view->age_ms * 1000000 <= limit_ns);
}

static unsigned check_readiness(const struct context *context)
{
	const struct view *view = context->view;
	const struct view_member *primary = view_member(view, view->primary);
	const struct view_member *self = view_self(view);
	const char *text = http_query_value(context->request, "lag");
	const char *mode = http_query_value(context->request, "mode");
	bool received = mode != NULL && strcmp(mode, "write") == 0;
	uint64_t limit = READINESS_LAG_BYTES;

	if (view->serves)
		return 200;
	if (text != NULL && !http_parse_bytes(text, &limit))
		limit = READINESS_LAG_BYTES;
	return yes(view->reads && view->raft_leader != NODE_NONE && primary != NULL &&
		   primary->fresh &&
		   lag_within(received ? self->lag_bytes : self->replay_lag_bytes, limit));
}

static char *body_node(const struct context *context)
{
	return json_print(patroni_node_json(context->view), JSON_COMPACT);
}

static char *body_cluster(const struct context *context)
{
	return json_print(patroni_cluster_json(context->view, context->world->http_listen),
			  JSON_COMPACT);
}

static char *body_history(const struct context *context)
{
	return json_print(patroni_history_json(context->view), JSON_COMPACT);
}

static char *body_metrics(const struct context *context)
{
	return metrics_print(context->world);
}

static char *not_allowed(void)
{
	return json_print(json_pack("{s:{s:s, s:s}}", "error", "code", "not_allowed", "text",
				    "questions are GET, HEAD and OPTIONS; what HTTP can change is "
				    "POST and DELETE of /switchover and /restart, POST of "
				    "/failover, /reinitialize and /reload, and what /v1 offers"),
			  JSON_COMPACT);
}

/* First match wins. The order and the loose matches are Patroni's; v1.c has what is below /v1. */
static const struct route ROUTES[] = {
	{FIRST, false, "/patroni", check_always, body_node, TYPE_JSON},
	{FIRST, false, "/cluster", check_always, body_cluster, TYPE_JSON},
	{FIRST, false, "/history", check_always, body_history, TYPE_JSON},
	{FIRST, false, "/metrics", check_always, body_metrics, TYPE_METRICS},
	{FIRST, false, "/liveness", check_liveness, NULL, NULL},
	{FIRST, false, "/readiness", check_readiness, NULL, NULL},

	{WHOLE, false, "/", check_primary, body_node, TYPE_JSON},
	{WHOLE, true, "/sync", check_sync, body_node, TYPE_JSON},
	{WHOLE, true, "/synchronous", check_sync, body_node, TYPE_JSON},
	{WHOLE, true, "/quorum", check_quorum, body_node, TYPE_JSON},
	{WHOLE, true, "/async", check_async, body_node, TYPE_JSON},
	{WHOLE, true, "/asynchronous", check_async, body_node, TYPE_JSON},
	{WHOLE, true, "/read-only-sync", check_read_only_sync, body_node, TYPE_JSON},
	{WHOLE, true, "/read-only-synchronous", check_read_only_sync, body_node, TYPE_JSON},
	{WHOLE, true, "/read-only-quorum", check_read_only_quorum, body_node, TYPE_JSON},
	/* There are no standby clusters here, so nobody leads one. */
	{INSIDE, false, "standby_leader", check_never, body_node, TYPE_JSON},
	{INSIDE, false, "standby-leader", check_never, body_node, TYPE_JSON},
	{INSIDE, false, "leader", check_primary, body_node, TYPE_JSON},
	{INSIDE, false, "master", check_primary, body_node, TYPE_JSON},
	{INSIDE, false, "primary", check_primary, body_node, TYPE_JSON},
	{INSIDE, false, "read-write", check_primary, body_node, TYPE_JSON},
	{INSIDE, true, "replica", check_replica, body_node, TYPE_JSON},
	{INSIDE, true, "read-only", check_read_only, body_node, TYPE_JSON},
	{INSIDE, true, "health", check_health, body_node, TYPE_JSON},
	{INSIDE, false, "", check_never, body_node, TYPE_JSON},
};

static bool route_matches(const struct route *route, const char *path)
{
	size_t length = strlen(route->path);

	switch (route->match) {
	case WHOLE:
		return strcmp(path, route->path) == 0;
	case FIRST:
		return strncmp(path, route->path, length) == 0 &&
		       (path[length] == '\0' || path[length] == '/');
	default:
		return strstr(path, route->path) != NULL;
	}
}

/* Every tag_<name>=<value> of the query must be a tag of this node, with that value. */
static bool tags_hold(const struct context *context)
{
	json_t *tags = patroni_tags(context->view);
	bool hold = tags != NULL;

	for (unsigned i = 0; hold && i < context->request->query_count; i++) {
		const struct http_query *query = &context->request->query[i];
		json_t *tag;
		char *text;

		if (strncmp(query->name, "tag_", 4) != 0)
			continue;
		tag = json_object_get(tags, query->name + 4);
		text = tag != NULL ? json_dumps(tag, JSON_ENCODE_ANY) : NULL;
		hold = text != NULL && query->value != NULL && strcmp(text, query->value) == 0;
		free(text);
	}
	json_decref(tags);
	return hold;
}

const char *http_path_at(size_t at)
{
	/* The last row is for paths that are not known. */
	return at < COUNT_OF(ROUTES) - 1 ? ROUTES[at].path : NULL;
}

static const struct route *route_find(const char *path)
{
	for (size_t i = 0; i < COUNT_OF(ROUTES) - 1; i++) {
		if (route_matches(&ROUTES[i], path))
			return &ROUTES[i];
	}
	return &ROUTES[COUNT_OF(ROUTES) - 1];
}

void http_answer(const struct http_request *request, const struct http_world *world,
		 struct http_answer *answer)
{
	struct context context = {.request = request, .world = world, .view = world->view};
	const struct route *route = route_find(request->path);
	bool get = strcmp(request->method, "GET") == 0;

	if (v1_has(request->path)) {
		v1_answer(request, world, answer);
		return;
	}
	*answer = (struct http_answer){.status = 405, .type = TYPE_JSON};
	if (!get && strcmp(request->method, "HEAD") != 0 &&
	    strcmp(request->method, "OPTIONS") != 0) {
		answer->allow = "GET, HEAD, OPTIONS";
		answer->body = not_allowed();
		return;
	}
	answer->status = route->check(&context);
	if (answer->status == 200 && route->tags && !tags_hold(&context))
		answer->status = 503;
	if (!get || route->body == NULL) {
		answer->type = NULL;
		return;
	}
	answer->type = route->type;
	answer->body = route->body(&context);
	if (answer->body == NULL)
		*answer = (struct http_answer){.status = 500};
}
