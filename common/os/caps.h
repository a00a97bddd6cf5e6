/* Capabilities of this process, as sets of bits (1 << CAP_...). */
#ifndef MHA_OS_CAPS_H
#define MHA_OS_CAPS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define CAP_BIT(cap) (UINT64_C(1) << (cap))

/* Take everything outside `keep` out of the bounding set, for good. Needs CAP_SETPCAP. */
MUST_CHECK int caps_bound(uint64_t keep, struct err *why);

/*
 * Permitted, effective and inheritable become `keep`; ambient too if `ambient`, so that they are
 * there after an exec by a user who is not root.
 */
MUST_CHECK int caps_keep(uint64_t keep, bool ambient, struct err *why);

/* What this process has in its permitted set. */
MUST_CHECK int caps_permitted(uint64_t *caps, struct err *why);

#endif
