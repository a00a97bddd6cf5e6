#include "mhactl/fetch.h"

#include <string.h>

#include "base/macros.h"

static int ask_for(const struct fetch_from *from, Mha__Client__Request *request,
		   unsigned timeout_ms, Mha__Client__Reply **reply, struct err *why)
{
	char found[CLIENT_ENDPOINT_SIZE];
	const bool remote = from->remote.host != NULL;
	const char *endpoint = from->endpoint;
	struct client_keys keys;
	struct client *client;
	int rc = 0;

	*reply = NULL;
	if (remote)
		rc = client_remote_find(&from->remote, found, &keys, why);
	else if (endpoint == NULL)
		rc = client_local_endpoint(from->run_dir, found, why);
	if (rc < 0)
		return rc;
	rc = client_open(&client, remote || endpoint == NULL ? found : endpoint,
			 remote ? &keys : NULL, why);
	if (remote)
		explicit_bzero(&keys, sizeof(keys));
	if (rc < 0)
		return rc;
	rc = client_call(client, request, timeout_ms, reply, why);
	client_close(client);
	return rc;
}

static int ask(const struct fetch_from *from, Mha__Client__Request *request,
	       Mha__Client__Reply **reply, struct err *why)
{
	return ask_for(from, request, from->timeout_ms, reply, why);
}

static int unexpected(struct fetched *fetched, struct err *why)
{
	fetched_free(fetched);
	return err_set(why, ERR_CORRUPT, "the agent answers another question than was asked");
}

/* The segment of the local agent, which outlives its workers. */
static int read_segment(const struct fetch_from *from, struct fetched *fetched, struct err *why)
{
	struct source source;
	int rc;

	if ((rc = source_init(&source, from->run_dir, why)) < 0)
		return rc;
	source_read(&source, &fetched->sections);
	if (sections_empty(&fetched->sections))
		rc = err_set(why, source.why[STATUS_MASTER].code, "%s",
			     source.why[STATUS_MASTER].text);
	source_fini(&source);
	if (rc < 0)
		return rc;
	view_build(&fetched->sections, NULL, &fetched->view);
	fetched->from_segment = true;
	return 0;
}

/* Both ways failed: say so in one sentence, and what to do. */
static int neither(const struct fetch_from *from, const struct fetched *fetched,
		   const struct err *segment, struct err *why)
{
	return err_set(why, ERR_NOT_FOUND,
		       "the agent does not answer (%.150s) and has left no status segment "
		       "(%.150s); is mhad running here, with paths.run_dir %s? "
		       "Try: systemctl status mhad, or --run-dir, --endpoint",
		       fetched->agent_why.text, segment->text, from->run_dir);
}

static int fall_back(const struct fetch_from *from, int rc, struct fetched *fetched,
		     struct err *why)
{
	struct err segment = {0};

	/* Another host's segment is not here, and a refusal is an answer. */
	if (from->endpoint != NULL || from->remote.host != NULL || rc == ERR_INVALID ||
	    rc == ERR_VERSION) {
		*why = fetched->agent_why;
		return rc;
	}
	if (read_segment(from, fetched, &segment) < 0)
		return neither(from, fetched, &segment, why);
	return 0;
}

int fetch_status(const struct fetch_from *from, struct fetched *fetched, struct err *why)
{
	Mha__Client__Request request = MHA__CLIENT__REQUEST__INIT;
	Mha__Client__GetStatus call = MHA__CLIENT__GET_STATUS__INIT;
	int rc;

	memset(fetched, 0, sizeof(*fetched));
	request.call_case = MHA__CLIENT__REQUEST__CALL_GET_STATUS;
	request.get_status = &call;
	rc = ask(from, &request, &fetched->reply, &fetched->agent_why);
	if (rc == 0) {
		if (fetched->reply->body_case != MHA__CLIENT__REPLY__BODY_STATUS)
			return unexpected(fetched, why);
		fetched->status = fetched->reply->status;
		return 0;
	}
	if ((rc = fall_back(from, rc, fetched, why)) < 0)
		return rc;
	status_to_message(&fetched->view, &fetched->status_message);
	fetched->status_message.status.from_segment = true;
	fetched->status = &fetched->status_message.status;
	return 0;
}

int fetch_history(const struct fetch_from *from, struct fetched *fetched, struct err *why)
{
	Mha__Client__Request request = MHA__CLIENT__REQUEST__INIT;
	Mha__Client__GetHistory call = MHA__CLIENT__GET_HISTORY__INIT;
	int rc;

	memset(fetched, 0, sizeof(*fetched));
	request.call_case = MHA__CLIENT__REQUEST__CALL_GET_HISTORY;
	request.get_history = &call;
	rc = ask(from, &request, &fetched->reply, &fetched->agent_why);
	if (rc == 0) {
		if (fetched->reply->body_case != MHA__CLIENT__REPLY__BODY_HISTORY)
			return unexpected(fetched, why);
		fetched->history = fetched->reply->history;
		return 0;
	}
	if ((rc = fall_back(from, rc, fetched, why)) < 0)
		return rc;
	history_to_message(&fetched->view, &fetched->history_message);
	fetched->history = &fetched->history_message.history;
	return 0;
}

int fetch_events(const struct fetch_from *from, uint64_t since_index, uint32_t since_sub,
		 unsigned wait_ms, struct fetched *fetched, struct err *why)
{
	Mha__Client__Request request = MHA__CLIENT__REQUEST__INIT;
	Mha__Client__GetEvents call = MHA__CLIENT__GET_EVENTS__INIT;
	int rc;

	memset(fetched, 0, sizeof(*fetched));
	call.since_index = since_index;
	call.since_sub = since_sub;
	call.wait_ms = wait_ms;
	request.call_case = MHA__CLIENT__REQUEST__CALL_GET_EVENTS;
	request.get_events = &call;
	rc = ask_for(from, &request, from->timeout_ms + wait_ms, &fetched->reply, why);
	if (rc < 0)
		return err_in(why, rc, "events are kept by the running agent only");
	if (fetched->reply->body_case != MHA__CLIENT__REPLY__BODY_EVENTS)
		return unexpected(fetched, why);
	fetched->events = fetched->reply->events;
	return 0;
}

int fetch_call(const struct fetch_from *from, Mha__Client__Request *request,
	       struct fetched *fetched, struct err *why)
{
	int rc;

	memset(fetched, 0, sizeof(*fetched));
	rc = ask_for(from, request, from->call_timeout_ms, &fetched->reply, why);
	if (rc < 0)
		return rc;
	if (fetched->reply->body_case != MHA__CLIENT__REPLY__BODY_CALL_REPLY)
		return unexpected(fetched, why);
	fetched->call = fetched->reply->call_reply;
	return 0;
}

int fetch_reply(const struct fetch_from *from, Mha__Client__Request *request,
		Mha__Client__Reply__BodyCase body, struct fetched *fetched, struct err *why)
{
	int rc;

	memset(fetched, 0, sizeof(*fetched));
	rc = ask(from, request, &fetched->reply, why);
	if (rc < 0)
		return rc;
	return fetched->reply->body_case == body ? 0 : unexpected(fetched, why);
}

void fetched_free(struct fetched *fetched)
{
	client_reply_free(fetched->reply);
	fetched->reply = NULL;
	fetched->status = NULL;
	fetched->history = NULL;
	fetched->events = NULL;
	fetched->call = NULL;
}
