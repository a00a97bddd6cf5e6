/*
 * Everything of this node that the kernel holds for the lease: fence, virtual IP, sessions. Given
 * what is to be served, each function makes the kernel so; calling one again is harmless.
 */
#ifndef MHA_VIP_KERNEL_H
#define MHA_VIP_KERNEL_H

#include "address.h"
#include "conf/conf.h"
#include "destroy.h"
#include "fence.h"
#include "serve.h"

struct kernel {
	bool fence_used; /* nftables holds the fence */
	struct fence fence;
	bool address_used; /* vip.address is configured */
	struct address address;
	uint64_t address_until_ns; /* the lifetime last given; 0: not known */
	struct peers peers;
	struct peer_address vip; /* address_used only */
	bool destroyer_used;
	struct destroyer destroyer;
};

/*
 * Open the sockets that the configuration asks for. Fails when fence.kernel is `required` and
 * nftables is not usable; `automatic` goes on without, and says so in the log.
 */
MUST_CHECK int kernel_open(struct kernel *kernel, const struct conf *conf, struct err *why);
/* The members of `conf` are let in by fences for clients from now on. */
MUST_CHECK int kernel_reload(struct kernel *kernel, const struct conf *conf, struct err *why);
void kernel_close(struct kernel *kernel);

/*
 * Look what an earlier process left, and install the fence around it: a live lease goes on, a
 * standby stays open, anything else is closed. Without a kernel fence `found` is always closed.
 */
MUST_CHECK int kernel_take_over(struct kernel *kernel, uint64_t now_ns, struct serve_found *found,
				struct err *why);

/*
 * Returns 0 when the kernel has confirmed the fence, or when there is none to set. `*ends_ns` is
 * the latest instant at which the kernel ends a lease by itself: never after the lease; 0: it does
 * not. The kernel counts from when it is told: a process that was held up on the way there
 * (stopped, the machine suspended) tells it again, or if the lease has ended meanwhile, shuts it:
 * ERR_STALE.
 */
MUST_CHECK int kernel_set_fence(struct kernel *kernel, const struct serve *serve, uint64_t *ends_ns,
				struct err *why);
/* The fence is as kernel_set_fence() left it; a lease is not compared, its renewals repair it. */
MUST_CHECK bool kernel_fence_stands(struct kernel *kernel, const struct serve *serve);

/* Install the fence anew for what is to be served, after somebody has changed it. */
MUST_CHECK int kernel_restore_fence(struct kernel *kernel, const struct serve *serve,
				    uint64_t now_ns, struct err *why);
/* Go on without a kernel fence. */
void kernel_drop_fence(struct kernel *kernel);

/*
 * Virtual IP present while a lease runs, absent otherwise. `added`: it was not there before, so
 * the neighbours must be told.
 */
MUST_CHECK int kernel_set_address(struct kernel *kernel, const struct serve *serve, uint64_t now_ns,
				  bool *added, struct err *why);

/*
 * End every session on the database's port that is not served any more: all of them, or those that
 * are not a member's. A kernel that cannot do that is no failure.
 */
MUST_CHECK int kernel_end_sessions(struct kernel *kernel, const struct serve *serve,
				   unsigned *ended, struct err *why);

#endif
