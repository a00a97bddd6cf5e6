/*
 * The watchdog: armed while this node holds the lease, fed while it does, and disarmed when it is
 * known that nobody can reach a stale primary here. In between it counts, and resets the host.
 */
#ifndef MHA_MASTER_FEED_H
#define MHA_MASTER_FEED_H

#include <stdbool.h>
#include <stdint.h>

#include "conf/conf.h"
#include "os/watchdog.h"
#include "status/status.h"

/* What the sections of the workers say, at one moment. */
struct feed_view {
	bool leased;   /* consensus holds a lease that has not ended */
	bool fenced;   /* the kernel keeps everybody out, or has done so by itself when the lease
			  ended */
	bool harmless; /* the database was seen lately, and is no primary */
};

enum feed_step {
	FEED_REST,   /* not armed, and need not be */
	FEED_ARM,    /* arm, or feed what is armed */
	FEED_STARVE, /* armed: let it count */
	FEED_DISARM,
};

/* The whole decision. */
enum feed_step feed_decide(bool armed, const struct feed_view *view);

struct feed {
	int mode; /* enum watchdog_mode; WATCHDOG_OFF on a node without a database */
	const char *device;
	const char *run_dir;
	uint32_t timeout_s;
	struct watchdog watchdog;
	struct status_map consensus, vip, dbmon; /* base NULL: not mapped yet */
	struct status_watchdog *status;          /* published by the master */
};

/* Time between two calls of feed_turn(): several fit into the shortest timeout. */
#define FEED_MS 250

/*
 * The self-test: what the mode asks for can be armed and disarmed. `conf` and `status` must outlive
 * the feed. An error, of a required watchdog only: what is wrong with it.
 */
MUST_CHECK int feed_open(struct feed *feed, const struct conf *conf, struct status_watchdog *status,
			 struct err *why);
/* Look and act. True when `status` has changed; an error only if the agent must not go on. */
MUST_CHECK int feed_turn(struct feed *feed, bool *changed, struct err *why);
/* The agent ends in good order: nothing counts any more. */
void feed_close(struct feed *feed);

#endif
