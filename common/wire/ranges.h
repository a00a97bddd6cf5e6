/* Range checks shared by the converters; each names the field that is out of range. */
#ifndef MHA_WIRE_RANGES_H
#define MHA_WIRE_RANGES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "bus.pb-c.h"
#include "core/types.h"

/* 1..NODES_MAX, and 0 where `none_allowed`. */
MUST_CHECK int range_node(uint32_t value, bool none_allowed, const char *field, node_id *node,
			  struct err *why);
/* Bits 1..NODES_MAX only. */
MUST_CHECK int range_set(uint32_t value, const char *field, node_set *set, struct err *why);
/* min..count-1; count at most 256. */
MUST_CHECK int range_enum(uint32_t value, uint32_t min, uint32_t count, const char *field,
			  uint8_t *to, struct err *why);
/* 0..max rows. */
MUST_CHECK int range_count(size_t value, size_t max, const char *field, struct err *why);

void rule_to_message(struct sync_rule rule, Mha__Bus__SyncRule *out);
/* `message` NULL: the empty rule. */
MUST_CHECK int rule_from_message(const Mha__Bus__SyncRule *message, const char *field,
				 struct sync_rule *rule, struct err *why);

#endif
