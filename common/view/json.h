/*
 * Client messages as JSON: the same names and shapes from mhactl --json and from the gateway's
 * /v1 tree. Positions in the WAL are strings as PostgreSQL writes them; what is not known is null.
 */
#ifndef MHA_VIEW_JSON_H
#define MHA_VIEW_JSON_H

#include <jansson.h>

#include "client.pb-c.h"

/* New references, or NULL when memory ran out. */
json_t *leader_to_json(const Mha__Client__Leader *leader);
json_t *status_to_json(const Mha__Client__Status *status);
json_t *history_to_json(const Mha__Client__History *history);
json_t *events_to_json(const Mha__Client__Events *events);

/* An LSN string, or null for 0. */
json_t *json_lsn(uint64_t lsn);
/* An integer, or null when negative. */
json_t *json_known(int64_t value);
/* A string, or null when empty; what is not UTF-8 has its bytes replaced. */
json_t *json_text(const char *text);
/* "2026-01-31T12:00:00.123Z"; null for 0. */
json_t *json_time(uint64_t wall_ms);

/* The text of `value`, which is released; NULL when memory ran out. free() it. */
char *json_print(json_t *value, size_t flags);

json_t *member_to_json(const Mha__Client__Member *member);
json_t *operation_to_json(const Mha__Client__Operation *operation);
json_t *operations_to_json(Mha__Client__Operation *const *operations, size_t count);
json_t *decision_to_json(const Mha__Client__Decision *decision);
json_t *event_to_json(const Mha__Client__Event *event);
json_t *call_reply_to_json(const Mha__Client__CallReply *reply);

#endif
