/*
 * A watchdog of the kernel's interface (/dev/watchdog): once armed, it resets the machine unless it
 * is fed. Closing it without disarming, as a killed process does, leaves it counting.
 */
#ifndef MHA_OS_WATCHDOG_H
#define MHA_OS_WATCHDOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct watchdog {
	int fd;             /* -1: not armed */
	char identity[33];  /* what the driver calls itself */
	uint32_t timeout_s; /* what the driver took, >= what was wished, whole seconds */
};

/*
 * Open `device`, so that it counts, and ask for `timeout_s` (1..300). ERR_NOT_FOUND: it is not
 * there; ERR_BUSY: somebody else has it; ERR_INVALID: it is no watchdog, cannot be disarmed ("magic
 * close") or has no such timeout; ERR_PERM, ERR_IO.
 */
MUST_CHECK int watchdog_arm(struct watchdog *watchdog, const char *device, uint32_t timeout_s,
			    struct err *why);

/* Another `timeout_s` from now. */
MUST_CHECK int watchdog_feed(const struct watchdog *watchdog, struct err *why);

/* It no longer counts. On failure it is closed all the same and may still count. */
MUST_CHECK int watchdog_disarm(struct watchdog *watchdog, struct err *why);

#endif
