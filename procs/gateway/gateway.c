#include "gateway/gateway.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "base/text.h"
#include "gateway/access.h"
#include "gateway/clients.h"
#include "gateway/http.h"
#include "gateway/limit.h"
#include "os/clock.h"
#include "wire/convert.h"

#define HOUSEKEEPING_MS 1000
/* After the consensus worker should have told the end of a call. */
#define CALL_SPARE_MS 2000
#define GROWTH_MAX    ((size_t)256 * 1024 * 1024)

void gateway_setup(const struct conf *conf, struct view_setup *setup)
{
	char *slash;

	memset(setup, 0, sizeof(*setup));
	for (unsigned i = 0; i < conf->member_count && i < NODES_MAX; i++) {
		const struct conf_member *from = &conf->members[i];
		struct view_setup_member *to = &setup->members[setup->member_count++];

		to->id = (node_id)from->id;
		to->kind = (uint8_t)(from->kind == MEMBER_WITNESS ? NODE_WITNESS : NODE_DATA);
		to->priority = (uint16_t)from->priority;
		to->postgres_port = (uint16_t)from->postgres_port;
		CHECK(text_copy(to->name, sizeof(to->name), from->name));
		CHECK(text_copy(to->address, sizeof(to->address), from->address));
	}
	CHECK(text_copy(setup->vip, sizeof(setup->vip), conf->vip_address));
	slash = strchr(setup->vip, '/');
	if (slash != NULL)
		*slash = '\0';
	/* A lease is shorter than T, so what was said longer ago than T may have ended. */
	setup->fresh_ns = conf->election_ms * 1000000;
	setup->db_fresh_ns = (conf->monitor_timeout_ms + 4 * conf->monitor_interval_ms) * 1000000;
}

const struct view *gateway_look(struct gateway *gateway)
{
	source_read(&gateway->source, &gateway->sections);
	view_build(&gateway->sections, &gateway->setup, &gateway->view);
	return &gateway->view;
}

static void watch_lag(struct gateway *gateway)
{
	const struct view *view = &gateway->view;
	const struct view_member *primary = view_member(view, view->primary);

	if (primary != NULL && primary->fresh && primary->db == DB_PRIMARY)
		lag_add(&gateway->lag, primary->flushed, view->epoch, view->now_ns);
}

static void housekeeping(uv_timer_t *timer)
{
	struct gateway *gateway = timer->data;

	source_refresh(&gateway->source);
	if (gateway->http != NULL)
		http_drop_idle(gateway->http);
	http_look(gateway->http);
	gateway->counters.updated_ns = gateway_look(gateway)->now_ns;
	watch_lag(gateway);
	clients_tip(gateway->clients, gateway->events.last);
	status_publish(&gateway->worker->status, &gateway->counters);
}

static int gateway_start(struct worker *worker, struct err *why)
{
	struct gateway *gateway = calloc(1, sizeof(*gateway));
	struct err unlimited;
	int rc;

	if (gateway == NULL)
		return err_set(why, ERR_NO_MEMORY, "gateway: %zu bytes", sizeof(*gateway));
	worker->self = gateway;
	gateway->worker = worker;
	/* Later than any that an earlier process gave. */
	gateway->last_call = clock_boot_ns();
	events_init(&gateway->events);
	gateway_setup(&worker->conf, &gateway->setup);
	CHECK(uv_timer_init(worker->loop, &gateway->housekeeping) == 0);
	gateway->housekeeping.data = gateway;
	if ((rc = access_take(&gateway->access, worker, why)) < 0)
		return rc;
	if ((rc = source_init(&gateway->source, worker->conf.run_dir, why)) < 0)
		return rc;
	if (worker->conf.http_listen[0] != '\0' &&
	    (rc = http_open(&gateway->http, gateway, why)) < 0)
		return err_in(why, rc, "http.listen");
	if ((rc = clients_open(&gateway->clients, gateway, why)) < 0)
		return rc;
	if (limit_growth(GROWTH_MAX, &unlimited) < 0)
		log_event(LOG_WARNING, "gateway.unlimited", "%s", unlimited.text);
	CHECK(uv_timer_start(&gateway->housekeeping, housekeeping, 0, HOUSEKEEPING_MS) == 0);
	return 0;
}

uint64_t gateway_call_ms(const struct gateway *gateway)
{
	return 5 * gateway->worker->conf.election_ms + 1000 + CALL_SPARE_MS;
}

int gateway_call(struct gateway *gateway, struct call *call, const char *by, struct err *why)
{
	Mha__Bus__Call message;
	int rc;

	call->id = ++gateway->last_call;
	call_to_message(call, &message);
	rc = bus_send(gateway->worker->bus, ROUTE_CALL, &message.base, why);
	if (rc < 0)
		return err_in(why, rc, "the consensus worker of this agent takes no calls now");
	log_event(LOG_NOTICE, "gateway.call", "call=%s id=%llu node=%u by=%s",
		  call_kind_name(call->kind), (unsigned long long)call->id, call->node, by);
	return 0;
}

static void gateway_event(struct gateway *gateway, const Mha__Bus__Event *event)
{
	struct err why = {0};
	const struct event_row *row = events_add(&gateway->events, event, &why);

	if (row != NULL) {
		clients_publish(gateway->clients, row);
		clients_events(gateway->clients);
		http_look(gateway->http);
		return;
	}
	if (why.code != 0) {
		gateway->counters.refused++;
		log_event(LOG_WARNING, "gateway.event_refused", "index=%llu %s",
			  (unsigned long long)event->index, why.text);
	}
}

static void call_ended(struct gateway *gateway, const struct call_result *result)
{
	log_set_operation(result->operation);
	log_event(LOG_NOTICE, "gateway.call_end", "id=%llu code=%s", (unsigned long long)result->id,
		  call_code_name(result->code));
	log_set_operation(0);
	if (!http_call_end(gateway->http, result))
		clients_call_end(gateway->clients, result);
}

static void gateway_call_end(struct gateway *gateway, const Mha__Bus__CallResult *message)
{
	struct call_result result;
	struct err why = {0};

	if (call_result_from_message(message, &result, &why) < 0)
		log_event(LOG_WARNING, "gateway.call_refused", "%s", why.text);
	else
		call_ended(gateway, &result);
}

static void gateway_message(struct worker *worker, enum route_id route,
			    const ProtobufCMessage *message)
{
	if (route == ROUTE_EVENT)
		gateway_event(worker->self, (const Mha__Bus__Event *)message);
	else if (route == ROUTE_CALL_RESULT)
		gateway_call_end(worker->self, (const Mha__Bus__CallResult *)message);
}

static void reload_access(struct gateway *gateway)
{
	const struct access *before = gateway->access;
	const struct access_table clients = before->clients;
	struct key key = before->key;
	struct err why = {0};
	bool lost;

	if (access_take(&gateway->access, gateway->worker, &why) < 0) {
		explicit_bzero(&key, sizeof(key));
		log_event(LOG_ERROR, "gateway.keys", "%s; the old ones stay", why.text);
		return;
	}
	lost = strcmp(key.secret, gateway->access->key.secret) != 0 ||
	       !access_keys_kept(&clients, &gateway->access->clients);
	explicit_bzero(&key, sizeof(key));
	log_event(LOG_INFO, "gateway.keys", "clients=%u users=%u revoked=%d",
		  gateway->access->clients.count, gateway->access->users.count, lost);
	if (lost)
		clients_revoke(gateway->clients);
	if (gateway->http != NULL && http_reload(gateway->http, &why) < 0) {
		log_event(LOG_ERROR, "gateway.http", "%s; this worker begins anew", why.text);
		worker_stopped(gateway->worker);
	}
}

static void gateway_reload(struct worker *worker)
{
	struct gateway *gateway = worker->self;

	gateway_setup(&worker->conf, &gateway->setup);
	reload_access(gateway);
}

static void gateway_reloaded(struct worker *worker, int code)
{
	struct gateway *gateway = worker->self;

	clients_reloaded(gateway->clients, code);
	http_reloaded(gateway->http, code);
}

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void gateway_finish(struct worker *worker)
{
	struct gateway *gateway = worker->self;

	clients_close(gateway->clients);
	http_close(gateway->http);
	source_fini(&gateway->source);
	access_free(gateway->access);
	events_fini(&gateway->events);
	worker->self = NULL;
	/* The loop still knows the timer, and frees all with it if it runs again. */
	uv_close((uv_handle_t *)&gateway->housekeeping, on_closed);
}

const struct worker_ops gateway_ops = {
	.start = gateway_start,
	.message = gateway_message,
	.reload = gateway_reload,
	.reloaded = gateway_reloaded,
	.finish = gateway_finish,
};
