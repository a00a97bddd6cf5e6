/* Core structs <-> protobuf messages: one pair of functions per struct. Every range is checked. */
#ifndef MHA_WIRE_CONVERT_H
#define MHA_WIRE_CONVERT_H

#include "base/err.h"
#include "bus.pb-c.h"
#include "core/agent.h"
#include "log.pb-c.h"

/*
 * Encoders fill caller's storage that must outlive the message: a *_message struct holds the
 * protobuf struct and everything it points to.
 */
struct facts_message {
	Mha__Bus__Facts facts;
	Mha__Bus__WalPosition position;
	Mha__Bus__WalBranch branches[WAL_HISTORY_MAX];
	Mha__Bus__WalBranch *branch_list[WAL_HISTORY_MAX];
	Mha__Bus__SyncRule rule;
	Mha__Bus__StandbyView standbys[NODES_MAX];
	Mha__Bus__StandbyView *standby_list[NODES_MAX];
};

struct order_message {
	Mha__Bus__Order order;
	Mha__Bus__SyncRule rule;
};

/* `detail` may be NULL; borrowed. */
void facts_to_message(const struct facts *facts, const char *detail, struct facts_message *out);
MUST_CHECK int facts_from_message(const Mha__Bus__Facts *message, struct facts *facts,
				  struct err *why);

void order_to_message(const struct order *order, struct order_message *out);
MUST_CHECK int order_from_message(const Mha__Bus__Order *message, struct order *order,
				  struct err *why);

struct call_result_message {
	Mha__Bus__CallResult result;
	Mha__Bus__Blocker blockers[BLOCKERS_MAX];
	Mha__Bus__Blocker *blocker_list[BLOCKERS_MAX];
};

void call_to_message(const struct call *call, Mha__Bus__Call *out);
MUST_CHECK int call_from_message(const Mha__Bus__Call *message, struct call *call, struct err *why);
void call_result_to_message(const struct call_result *result, struct call_result_message *out);
MUST_CHECK int call_result_from_message(const Mha__Bus__CallResult *message,
					struct call_result *result, struct err *why);

#define LOG_FORMAT_VERSION 4
/* Serialised size bound of one entry and of a snapshot. */
#define LOG_ENTRY_MAX    4096
#define LOG_SNAPSHOT_MAX 65536

/* libraft's disk format takes entries of whole words only; log_entry_encode() pads to it. */
#define LOG_ENTRY_ALIGNMENT 8

/* Returns the number of bytes written into `bytes`, or a negative err code. */
MUST_CHECK int log_entry_encode(const struct entry *entry, uint8_t bytes[LOG_ENTRY_MAX],
				struct err *why);
MUST_CHECK int log_entry_decode(const uint8_t *bytes, size_t size, struct entry *entry,
				struct err *why);
MUST_CHECK int log_snapshot_encode(const struct cluster *cluster, uint8_t bytes[LOG_SNAPSHOT_MAX],
				   struct err *why);
MUST_CHECK int log_snapshot_decode(const uint8_t *bytes, size_t size, struct cluster *cluster,
				   struct err *why);

#endif
