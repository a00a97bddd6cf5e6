/* Where the answers come from: the agent's request socket, or the status segment itself. */
#ifndef MHA_MHACTL_FETCH_H
#define MHA_MHACTL_FETCH_H

#include "client/remote.h"
#include "view/message.h"

struct fetch_from {
	const char *run_dir;
	const char *endpoint;        /* NULL: the local socket in run_dir */
	struct client_remote remote; /* host NULL: endpoint or run_dir */
	unsigned timeout_ms;
	unsigned call_timeout_ms; /* for what the whole cluster has to agree on */
};

/* An answer and what keeps it alive. */
struct fetched {
	Mha__Client__Reply *reply; /* from the agent, else NULL */
	const Mha__Client__Status *status;
	const Mha__Client__History *history;
	const Mha__Client__Events *events;
	const Mha__Client__CallReply *call;
	bool from_segment;
	struct err agent_why; /* from_segment: why the agent was not asked */
	struct sections sections;
	struct view view;
	struct status_message status_message;
	struct history_message history_message;
};

/*
 * Ask the agent; the local one's segment is read where the agent does not answer (not for
 * events, which only the agent keeps). `fetched` is big: not for the stack of a deep call.
 */
MUST_CHECK int fetch_status(const struct fetch_from *from, struct fetched *fetched,
			    struct err *why);
MUST_CHECK int fetch_history(const struct fetch_from *from, struct fetched *fetched,
			     struct err *why);
/* Where there is nothing newer, the agent answers with the next event, or after `wait_ms`. */
MUST_CHECK int fetch_events(const struct fetch_from *from, uint64_t since_index, uint32_t since_sub,
			    unsigned wait_ms, struct fetched *fetched, struct err *why);
/*
 * Have something changed. ERR_TIMEOUT: it may have been; any other error: it was not. Any other end
 * is told by fetched->call.
 */
MUST_CHECK int fetch_call(const struct fetch_from *from, Mha__Client__Request *request,
			  struct fetched *fetched, struct err *why);
/* Ask anything; the answer must have this body. */
MUST_CHECK int fetch_reply(const struct fetch_from *from, Mha__Client__Request *request,
			   Mha__Client__Reply__BodyCase body, struct fetched *fetched,
			   struct err *why);
void fetched_free(struct fetched *fetched);

#endif
