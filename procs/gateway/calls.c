#include "gateway/calls.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/log.h"
#include "gateway/access.h"
#include "gateway/requests.h"
#include "gateway/tls.h"
#include "os/clock.h"

#define MS_PER_NS UINT64_C(1000000)
/* As Patroni waits: a client asks again after that. */
#define WAIT_MS UINT64_C(30000)

static uint64_t now_ms(void)
{
	return clock_boot_ns() / MS_PER_NS;
}

int calls_init(struct http_calls *calls, struct gateway *gateway, struct err *why)
{
	memset(calls, 0, sizeof(*calls));
	calls->gateway = gateway;
	return auth_init(&calls->auth, why);
}

struct http_call *calls_add(struct http_calls *calls, const struct action *action,
			    struct MHD_Connection *connection, const struct auth_result *who)
{
	for (unsigned i = 0; i < HTTP_CALLS_MAX; i++) {
		if (calls->list[i] != NULL)
			continue;
		calls->list[i] = calloc(1, sizeof(struct http_call));
		if (calls->list[i] != NULL) {
			calls->list[i]->action = action;
			calls->list[i]->connection = connection;
			calls->list[i]->who = *who;
		}
		return calls->list[i];
	}
	return NULL;
}

void calls_remove(struct http_calls *calls, struct http_call *call)
{
	for (unsigned i = 0; i < HTTP_CALLS_MAX; i++) {
		if (calls->list[i] == call)
			calls->list[i] = NULL;
	}
	free(call->answer.body);
	free(call);
}

void call_take(struct http_call *call, const char *data, size_t size)
{
	if (call->too_big || size > sizeof(call->body) - call->size) {
		call->too_big = true;
		return;
	}
	memcpy(call->body + call->size, data, size);
	call->size += size;
}

static void refuse_auth(const struct action *action, const struct auth_result *who, bool anybody,
			struct http_answer *answer)
{
	if (!anybody) {
		action_refuse(action, answer, PROBLEM_FORBIDDEN,
			      "nobody may change anything over HTTP: http.users_file is empty");
		return;
	}
	if (who->end == AUTH_LATER) {
		action_refuse(action, answer, PROBLEM_PASSWORDS,
			      "too many passwords came in; ask again in a second");
		return;
	}
	action_refuse(action, answer, PROBLEM_UNAUTHENTICATED, "%s",
		      who->end == AUTH_MISSING ? "no auth header received" : "not authenticated");
	answer->challenge = "Basic realm=\"mha4rdb\"";
}

static bool has_role(const struct action *action, const struct auth_result *who, enum role needs,
		     struct http_answer *answer)
{
	if (needs != ROLE_NONE && who->role >= needs)
		return true;
	action_refuse(action, answer, PROBLEM_FORBIDDEN,
		      "this needs the role %s, but %s has the role %s", role_name(needs), who->name,
		      role_name(who->role));
	return false;
}

/*
 * A page of another origin can make a browser send what it likes, with the password that the
 * browser remembers, as long as it does not say that it is JSON.
 */
static bool is_json(const struct action *action, struct MHD_Connection *connection,
		    struct http_answer *answer)
{
	const char *type = MHD_lookup_connection_value(connection, MHD_HEADER_KIND,
						       MHD_HTTP_HEADER_CONTENT_TYPE);
	const size_t length = strlen(TYPE_JSON);

	if (action->call == MHA__CLIENT__REQUEST__CALL__NOT_SET ||
	    (type != NULL && strncasecmp(type, TYPE_JSON, length) == 0 &&
	     (type[length] == '\0' || strchr("; \t", type[length]) != NULL)))
		return true;
	action_refuse(action, answer, PROBLEM_TYPE, "the body must be " TYPE_JSON ", not %.40s",
		      type != NULL ? type : "of an unknown type");
	return false;
}

bool calls_admit(struct http_calls *calls, const struct action *action,
		 struct MHD_Connection *connection, struct auth_result *who,
		 struct http_answer *answer)
{
	const struct access *access = calls->gateway->access;
	const char *header = MHD_lookup_connection_value(connection, MHD_HEADER_KIND,
							 MHD_HTTP_HEADER_AUTHORIZATION);
	char name[ACCESS_NAME_SIZE];
	const bool proven = tls_client_name(connection, name, sizeof(name));

	auth_check(&calls->auth, &access->users, header, proven ? name : NULL, now_ms(), who);
	if (access->has_users && who->end == AUTH_KNOWN)
		return has_role(action, who, action->needs, answer) &&
		       is_json(action, connection, answer);
	if (who->end == AUTH_WRONG)
		log_event(LOG_NOTICE, "gateway.http_refused",
			  "a wrong password, token or certificate");
	refuse_auth(action, who, access->has_users, answer);
	return false;
}

/* The master reads the file; until it has said how that ended, the client waits. */
static bool begin_reload(struct http_call *call)
{
	struct err why = {0};

	log_event(LOG_NOTICE, "gateway.reload", "by=%s", call->who.name);
	if (worker_ask_reload(&why) < 0) {
		action_refuse(call->action, &call->answer, PROBLEM_UNAVAILABLE, "%s", why.text);
		return true;
	}
	call->answered = false;
	call->asked_ms = now_ms();
	call->until_ms = call->asked_ms + RELOAD_WAIT_MS;
	return false;
}

bool call_begin(struct http_calls *calls, struct http_call *call)
{
	struct gateway *gateway = calls->gateway;
	struct err why = {0};

	call->answered = true;
	if (call->too_big) {
		action_refuse(call->action, &call->answer, PROBLEM_TOO_BIG,
			      "the body has more than %d bytes", ACTION_BODY_MAX);
		return true;
	}
	if (action_read(call->action, call->body, call->size, gateway_look(gateway),
			clock_wall_ms(), &call->asked, &call->answer) != 0 ||
	    !has_role(call->action, &call->who, call->asked.needs, &call->answer))
		return true;
	if (call->asked.reload)
		return begin_reload(call);
	if (gateway_call(gateway, &call->asked.call, call->who.name, &why) < 0) {
		action_refuse(call->action, &call->answer, PROBLEM_UNAVAILABLE, "%s", why.text);
		return true;
	}
	call->answered = false;
	call->asked_ms = now_ms();
	call->until_ms = call->asked_ms + gateway_call_ms(gateway);
	return false;
}

/* libmicrohttpd asks for the answer in its next step. */
static void finish(struct http_call *call)
{
	call->answered = true;
	if (call->waiting)
		MHD_resume_connection(call->connection);
	call->waiting = false;
}

bool calls_end(struct http_calls *calls, const struct call_result *result)
{
	for (unsigned i = 0; i < HTTP_CALLS_MAX; i++) {
		struct http_call *call = calls->list[i];

		if (call == NULL || call->answered || call->asked.reload ||
		    call->asked.call.id != result->id)
			continue;
		if (action_end(&call->asked, gateway_look(calls->gateway), result, &call->answer)) {
			finish(call);
		} else {
			call->accepted = true;
			call->until_ms = now_ms() + WAIT_MS;
			if (call->asked.wait_ms != 0)
				call->until_ms = call->asked_ms + call->asked.wait_ms;
		}
		return true;
	}
	return false;
}

void calls_reloaded(struct http_calls *calls, int code)
{
	for (unsigned i = 0; i < HTTP_CALLS_MAX; i++) {
		struct http_call *call = calls->list[i];

		if (call == NULL || !call->waiting || call->answered || !call->asked.reload)
			continue;
		action_reloaded(&call->asked, gateway_look(calls->gateway), code, &call->answer);
		finish(call);
	}
}

void calls_look(struct http_calls *calls)
{
	const uint64_t now = now_ms();

	for (unsigned i = 0; i < HTTP_CALLS_MAX; i++) {
		struct http_call *call = calls->list[i];

		if (call == NULL || !call->waiting || call->answered)
			continue;
		if (call->accepted &&
		    action_look(&call->asked, gateway_look(calls->gateway), &call->answer)) {
			finish(call);
		} else if (now >= call->until_ms && call->asked.reload) {
			action_reloaded(&call->asked, gateway_look(calls->gateway), ERR_TIMEOUT,
					&call->answer);
			finish(call);
		} else if (now >= call->until_ms) {
			action_lost(&call->asked, (unsigned)((now - call->asked_ms) / 1000),
				    &call->answer);
			finish(call);
		}
	}
}
