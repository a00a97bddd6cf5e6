/* The view as the messages that clients get (proto/client.proto). */
#ifndef MHA_VIEW_MESSAGE_H
#define MHA_VIEW_MESSAGE_H

#include "client.pb-c.h"
#include "view/explain.h"

#define CLIENT_PROTOCOL_VERSION 1

/*
 * Each holds its message and what that points to; strings are borrowed from the view, which must
 * live as long.
 */
struct leader_message {
	Mha__Client__Leader leader;
};

struct status_message {
	Mha__Client__Status status;
	struct leader_message leader;
	Mha__Client__Member members[NODES_MAX];
	Mha__Client__Member *member_list[NODES_MAX];
	char *waiting_for[NODES_MAX];
	Mha__Client__Settings settings;
	Mha__Client__Operation operations[OPERATIONS_MAX];
	Mha__Client__Operation *operation_list[OPERATIONS_MAX];
	Mha__Client__Worker workers[STATUS_WORKERS];
	Mha__Client__Worker *worker_list[STATUS_WORKERS];
};

struct decision_message {
	Mha__Client__Decision decision;
	Mha__Client__Decision__Answer answers[NODES_MAX];
	Mha__Client__Decision__Answer *answer_list[NODES_MAX];
	char *before[NODES_MAX];
	char *after[NODES_MAX];
	char *missing[NODES_MAX];
	struct explanation explanation;
	char *sentences[EXPLAIN_SENTENCES];
};

struct history_message {
	Mha__Client__History history;
	struct decision_message decisions[DECISIONS_MAX];
	Mha__Client__Decision *decision_list[DECISIONS_MAX];
	Mha__Client__Operation operations[OPERATIONS_MAX];
	Mha__Client__Operation *operation_list[OPERATIONS_MAX];
};

struct call_reply_message {
	Mha__Client__CallReply reply;
	Mha__Client__Blocker blockers[BLOCKERS_MAX];
	Mha__Client__Blocker *blocker_list[BLOCKERS_MAX];
	char details[BLOCKERS_MAX][VIEW_SENTENCE];
};

/* Known only by this node's unexpired lease, or by the recent word of the node that serves. */
void leader_to_message(const struct view *view, struct leader_message *out);
void status_to_message(const struct view *view, struct status_message *out);
/* The names of nodes are those of the view. */
void call_reply_to_message(const struct view *view, const struct call_result *result,
			   struct call_reply_message *out);
/* Oldest first, as the replicated state keeps them. */
void history_to_message(const struct view *view, struct history_message *out);

#endif
