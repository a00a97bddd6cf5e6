/*
 * What this node is allowed to serve now: grants, closes, drops and epochs in; the step to take in
 * the kernel out. Pure: the clock is an argument, nothing is done here.
 *
 * Times are CLOCK_BOOTTIME in ns. Epochs never go back: what is older than the newest epoch seen
 * is refused, except a close of what is closed already (it is so now).
 */
#ifndef MHA_VIP_SERVE_H
#define MHA_VIP_SERVE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"
#include "core/agent.h"

struct serve {
	uint8_t state;         /* enum fence_state */
	uint64_t epoch;        /* the newest seen; 0: none */
	uint64_t until_ns;     /* FENCE_OPEN, FENCE_CLIENTS: when the lease ends */
	uint64_t lease_max_ns; /* no lease can be longer; a grant beyond is refused */
	uint64_t opened;       /* how often the fence was opened under a lease */
	uint64_t renewals;
	uint64_t expiries; /* leases that ran out while open */
};

enum serve_step {
	SERVE_REFUSE = 0, /* older epoch, ended or impossible lease: nothing changes */
	SERVE_KEEP,       /* it is so already */
	SERVE_OPEN,       /* first grant of a lease: admit clients, add the VIP, announce */
	SERVE_RENEW,      /* the same lease, longer */
	SERVE_CLOSE,      /* admit nobody, remove the VIP, end the sessions */
	SERVE_CLIENTS, /* admit nobody but the members, remove the VIP, end the others' sessions */
	SERVE_DROP,    /* admit everybody without a lease, remove the VIP */
	SERVE_EXPIRE,  /* as SERVE_CLOSE, because the lease ran out */
};

/* What the kernel was found to hold when this process started. */
struct serve_found {
	uint8_t state;  /* FENCE_CLOSED unless something else is proven */
	uint64_t epoch; /* FENCE_OPEN and FENCE_CLIENTS only */
	uint64_t until_ns;
};

void serve_init(struct serve *serve, uint64_t lease_max_ns, const struct serve_found *found);

MUST_CHECK enum serve_step serve_grant(struct serve *serve, uint64_t epoch, uint64_t until_ns,
				       uint64_t now_ns);
MUST_CHECK enum serve_step serve_close(struct serve *serve, uint64_t epoch);
/*
 * Shut clients out and let the members' replication go on, until `until_ns`; 0: until the end of
 * the lease that is held. SERVE_RENEW when it is so already and the end is a later one.
 */
MUST_CHECK enum serve_step serve_clients(struct serve *serve, uint64_t epoch, uint64_t until_ns,
					 uint64_t now_ns);
MUST_CHECK enum serve_step serve_drop(struct serve *serve, uint64_t epoch);
/* A lease is held: somebody is admitted, for as long as it lasts. */
bool serve_leased(const struct serve *serve);
/* SERVE_EXPIRE once the lease has ended, otherwise SERVE_KEEP. */
MUST_CHECK enum serve_step serve_tick(struct serve *serve, uint64_t now_ns);

/*
 * The lease remaining as a timeout for the kernel: whole milliseconds, rounded down so that the
 * kernel never admits for longer than the lease; 0: too short to be worth opening.
 */
uint64_t serve_timeout_ms(const struct serve *serve, uint64_t now_ns);
/* The same as an address lifetime: whole seconds, rounded up; 0: no address. */
uint32_t serve_lifetime_s(const struct serve *serve, uint64_t now_ns);

#endif
