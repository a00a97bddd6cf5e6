#include "serve.h"

#include "base/check.h"

#define MS UINT64_C(1000000)
#define S  UINT64_C(1000000000)

void serve_init(struct serve *serve, uint64_t lease_max_ns, const struct serve_found *found)
{
	CHECK(lease_max_ns > 0);
	*serve = (struct serve){.state = found->state, .lease_max_ns = lease_max_ns};
	if (found->state == FENCE_OPEN) {
		serve->epoch = found->epoch;
		serve->until_ns = found->until_ns;
	}
}

enum serve_step serve_grant(struct serve *serve, uint64_t epoch, uint64_t until_ns, uint64_t now_ns)
{
	if (epoch == 0 || epoch < serve->epoch)
		return SERVE_REFUSE;
	/* A lease that has ended, or one that no election timeout can give, is somebody's bug. */
	if (until_ns <= now_ns || until_ns - now_ns > serve->lease_max_ns)
		return SERVE_REFUSE;
	/* A standby of an epoch becomes its primary only by a new assignment, that is, a close. */
	if (serve->state == FENCE_NONE && epoch == serve->epoch)
		return SERVE_REFUSE;

	const bool renews = serve->state == FENCE_OPEN && epoch == serve->epoch;

	/* What was granted stays granted until a close: a lease is never shortened by a grant. */
	if (renews && until_ns <= serve->until_ns)
		return SERVE_KEEP;
	serve->state = FENCE_OPEN;
	serve->epoch = epoch;
	serve->until_ns = until_ns;
	if (renews)
		serve->renewals++;
	else
		serve->opened++;
	return renews ? SERVE_RENEW : SERVE_OPEN;
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
	if (serve->state != FENCE_OPEN || now_ns < serve->until_ns)
		return SERVE_KEEP;
	serve->state = FENCE_CLOSED;
	serve->until_ns = 0;
	serve->expiries++;
	return SERVE_EXPIRE;
}

uint64_t serve_timeout_ms(const struct serve *serve, uint64_t now_ns)
{
	if (serve->state != FENCE_OPEN || now_ns >= serve->until_ns)
		return 0;
	return (serve->until_ns - now_ns) / MS;
}

uint32_t serve_lifetime_s(const struct serve *serve, uint64_t now_ns)
{
	if (serve->state != FENCE_OPEN || now_ns >= serve->until_ns)
		return 0;
	return (uint32_t)((serve->until_ns - now_ns + S - 1) / S);
}
