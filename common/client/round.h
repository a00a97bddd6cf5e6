/*
 * Asking all members for their status at once, within one call of the library: every socket is
 * this call's own, so no lock is held while it waits.
 */
#ifndef MHA_CLIENT_ROUND_H
#define MHA_CLIENT_ROUND_H

#include "client/handle.h"

/* Between two questions to a member that has answered. */
#define ROUND_AGAIN_MS 50

struct ask {
	struct link link;
	struct client *client; /* NULL: no connection; answer.why says why */
	uint64_t id;
	bool waiting;
	int64_t sent_ms;
	Mha__Client__Reply *reply; /* the newest that makes sense, or NULL */
	int64_t reply_sent_ms;     /* when that one was asked for */
	struct answer answer;
};

struct round {
	struct mha *mha;
	int64_t began_ms;
	int64_t deadline_ms;
	unsigned count;
	struct ask asks[LINKS_MAX];
};

/*
 * Looks at what has come so far, with the handle's lock held. True: enough, the round is over.
 * `all`: nobody is waited for any more.
 */
typedef bool (*round_look)(void *arg, struct round *round, bool all);

/*
 * Ask everybody, members that the answers name included, until `look` has enough or the time is
 * over; `again`: those who have answered are asked again and again. False: the time is over, or,
 * without `again`, everybody has answered, and `look` was never content. `*round` is to be freed
 * with round_free() in any case but an error.
 */
MUST_CHECK int round_run(struct mha *mha, unsigned timeout_ms, bool again, round_look look,
			 void *arg, struct round **round, bool *enough, struct err *why);
void round_free(struct round *round);

/* leader_judge() over what has come so far; the lock is held. */
MUST_CHECK int round_leader(struct round *round, const struct ask **leader, struct err *why);

#endif
