#include "serve.h"

#include "base/check.h"

#define MS UINT64_C(1000000)
#define S  UINT64_C(1000000000)

bool serve_leased(const struct serve *serve)
{
	return serve->state == FENCE_OPEN || serve->state == FENCE_CLIENTS;
}

void serve_init(struct serve *serve, uint64_t lease_max_ns, const struct serve_found *found)
{
	CHECK(lease_max_ns > 0);
	*serve = (struct serve){.state = found->state, .lease_max_ns = lease_max_ns};
	if (serve_leased(serve)) {
		serve->epoch = found->epoch;
		serve->until_ns = found->until_ns;
	}
}

static bool lease_is_possible(const struct serve *serve, uint64_t epoch, uint64_t until_ns,
			      uint64_t now_ns)
{
	if (epoch == 0 || epoch < serve->epoch)
		return false;
	/* A lease that has ended, or one that no election timeout can give, is somebody's bug. */
	if (until_ns <= now_ns || until_ns - now_ns > serve->lease_max_ns)
		return false;
	/* A standby of an epoch becomes its primary only by a new assignment, that is, a close. */
	return serve->state != FENCE_NONE || epoch != serve->epoch;
}

/* What was granted stays granted until a close: a lease is never shortened. */
static uint64_t later_end(const struct serve *serve, uint64_t epoch, uint64_t until_ns)
{
	const bool held = serve_leased(serve) && epoch == serve->epoch;

	return held && until_ns < serve->until_ns ? serve->until_ns : until_ns;
}

/* Returns whether it is the same state and epoch, only longer. */
static bool hold(struct serve *serve, uint8_t state, uint64_t epoch, uint64_t until_ns)
{
	const bool renews = serve->state == state && epoch == serve->epoch;

	serve->until_ns = later_end(serve, epoch, until_ns);
	serve->state = state;
	serve->epoch = epoch;
	if (renews)
		serve->renewals++;
	return renews;
}

enum serve_step serve_grant(struct serve *serve, uint64_t epoch, uint64_t until_ns, uint64_t now_ns)
{
	if (!lease_is_possible(serve, epoch, until_ns, now_ns))
		return SERVE_REFUSE;
	if (serve->state == FENCE_OPEN && epoch == serve->epoch && until_ns <= serve->until_ns)
		return SERVE_KEEP;
	if (hold(serve, FENCE_OPEN, epoch, until_ns))
		return SERVE_RENEW;
	serve->opened++;
	return SERVE_OPEN;
}

enum serve_step serve_clients(struct serve *serve, uint64_t epoch, uint64_t until_ns,
			      uint64_t now_ns)
{
	/* Without a lease of this epoch nobody is to be let in, and so it stays. */
	if (until_ns == 0 && (!serve_leased(serve) || epoch != serve->epoch))
		return SERVE_REFUSE;
	if (until_ns == 0)
		until_ns = serve->until_ns;
	if (!lease_is_possible(serve, epoch, until_ns, now_ns))
		return SERVE_REFUSE;
	if (serve->state == FENCE_CLIENTS && epoch == serve->epoch && until_ns <= serve->until_ns)
		return SERVE_KEEP;
	return hold(serve, FENCE_CLIENTS, epoch, until_ns) ? SERVE_RENEW : SERVE_CLIENTS;
}

enum serve_step serve_close(struct serve *serve, uint64_t epoch)
{
	if (epoch < serve->epoch)
		return serve->state == FENCE_CLOSED ? SERVE_KEEP : SERVE_REFUSE;
	serve->state = FENCE_CLOSED;
	serve->epoch = epoch;
	serve->until_ns = 0;
	return SERVE_CLOSE;
}

enum serve_step serve_drop(struct serve *serve, uint64_t epoch)
{
	if (epoch < serve->epoch)
		return SERVE_REFUSE;
	serve->state = FENCE_NONE;
	serve->epoch = epoch;
	serve->until_ns = 0;
	return SERVE_DROP;
}

enum serve_step serve_tick(struct serve *serve, uint64_t now_ns)
{
	if (!serve_leased(serve) || now_ns < serve->until_ns)
		return SERVE_KEEP;
	serve->state = FENCE_CLOSED;
	serve->until_ns = 0;
	serve->expiries++;
	return SERVE_EXPIRE;
}

uint64_t serve_timeout_ms(const struct serve *serve, uint64_t now_ns)
{
	if (!serve_leased(serve) || now_ns >= serve->until_ns)
		return 0;
	return (serve->until_ns - now_ns) / MS;
}

uint32_t serve_lifetime_s(const struct serve *serve, uint64_t now_ns)
{
	if (serve->state != FENCE_OPEN || now_ns >= serve->until_ns)
		return 0;
	return (uint32_t)((serve->until_ns - now_ns + S - 1) / S);
}
