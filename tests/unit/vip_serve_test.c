/* What a node may serve: grants, closes, drops and epochs (procs/vip/serve.c). */
#include <criterion/criterion.h>

#include "base/macros.h"
#include "serve.h"

#define MS      UINT64_C(1000000)
#define S       UINT64_C(1000000000)
#define NOW     (100 * S)
#define LONGEST S

static struct serve serve_in(uint8_t state, uint64_t epoch, uint64_t until_ns)
{
	return (struct serve){
		.state = state, .epoch = epoch, .until_ns = until_ns, .lease_max_ns = LONGEST};
}

Test(vip_serve, a_grant_opens_renews_or_is_refused)
{
	static const struct {
		const char *what;
		uint8_t state;
		uint64_t epoch, until_ns; /* held */
		uint64_t granted, granted_until_ns;
		enum serve_step step;
	} cases[] = {
		{"first", FENCE_CLOSED, 0, 0, 7, NOW + 900 * MS, SERVE_OPEN},
		{"epoch of the close", FENCE_CLOSED, 7, 0, 7, NOW + 900 * MS, SERVE_OPEN},
		{"above the close", FENCE_CLOSED, 7, 0, 8, NOW + 900 * MS, SERVE_OPEN},
		{"below the close", FENCE_CLOSED, 7, 0, 6, NOW + 900 * MS, SERVE_REFUSE},
		{"epoch 0", FENCE_CLOSED, 0, 0, 0, NOW + 900 * MS, SERVE_REFUSE},
		{"ended", FENCE_CLOSED, 0, 0, 7, NOW, SERVE_REFUSE},
		{"longest", FENCE_CLOSED, 0, 0, 7, NOW + LONGEST, SERVE_OPEN},
		{"too long", FENCE_CLOSED, 0, 0, 7, NOW + LONGEST + 1, SERVE_REFUSE},
		{"for ever", FENCE_CLOSED, 0, 0, 7, UINT64_MAX, SERVE_REFUSE},
		{"longer", FENCE_OPEN, 7, NOW + 5 * MS, 7, NOW + 6 * MS, SERVE_RENEW},
		{"the same", FENCE_OPEN, 7, NOW + 5 * MS, 7, NOW + 5 * MS, SERVE_KEEP},
		{"shorter", FENCE_OPEN, 7, NOW + 5 * MS, 7, NOW + 4 * MS, SERVE_KEEP},
		{"next epoch", FENCE_OPEN, 7, NOW + 5 * MS, 8, NOW + 6 * MS, SERVE_OPEN},
		{"earlier epoch", FENCE_OPEN, 7, NOW + 5 * MS, 6, NOW + 6 * MS, SERVE_REFUSE},
		{"a standby of it", FENCE_NONE, 7, 0, 7, NOW + 6 * MS, SERVE_REFUSE},
		{"once a standby", FENCE_NONE, 7, 0, 8, NOW + 6 * MS, SERVE_OPEN},
		{"a switchover given up", FENCE_CLIENTS, 7, NOW + 5 * MS, 7, NOW + 6 * MS,
		 SERVE_OPEN},
		{"and no renewal", FENCE_CLIENTS, 7, NOW + 5 * MS, 7, NOW + 5 * MS, SERVE_OPEN},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct serve serve = serve_in(cases[i].state, cases[i].epoch, cases[i].until_ns);
		const struct serve before = serve;
		const enum serve_step step =
			serve_grant(&serve, cases[i].granted, cases[i].granted_until_ns, NOW);

		cr_expect_eq(step, cases[i].step, "%s: step %d", cases[i].what, (int)step);
		if (step == SERVE_REFUSE || step == SERVE_KEEP) {
			cr_expect_eq(serve.state, before.state, "%s", cases[i].what);
			cr_expect_eq(serve.epoch, before.epoch, "%s", cases[i].what);
			cr_expect_eq(serve.until_ns, before.until_ns, "%s", cases[i].what);
			continue;
		}
		cr_expect_eq(serve.state, FENCE_OPEN, "%s", cases[i].what);
		cr_expect_eq(serve.epoch, cases[i].granted, "%s", cases[i].what);
		cr_expect_eq(serve.until_ns, cases[i].granted_until_ns, "%s", cases[i].what);
	}
}

Test(vip_serve, a_close_holds_against_every_earlier_epoch)
{
	struct serve serve = serve_in(FENCE_OPEN, 7, NOW + 5 * MS);

	cr_expect_eq(serve_close(&serve, 6), SERVE_REFUSE);
	cr_expect_eq(serve.state, FENCE_OPEN);
	cr_expect_eq(serve_close(&serve, 9), SERVE_CLOSE);
	cr_expect_eq(serve.state, FENCE_CLOSED);
	cr_expect_eq(serve.until_ns, 0);
	cr_expect_eq(serve_close(&serve, 9), SERVE_CLOSE, "repeating it is a goal, not an error");
	cr_expect_eq(serve_close(&serve, 3), SERVE_KEEP, "closed is closed");
	cr_expect_eq(serve.epoch, 9, "and forgets nothing");
	for (uint64_t epoch = 1; epoch < 9; epoch++)
		cr_expect_eq(serve_grant(&serve, epoch, NOW + MS, NOW), SERVE_REFUSE);
	cr_expect_eq(serve_grant(&serve, 9, NOW + MS, NOW), SERVE_OPEN);
}

Test(vip_serve, a_drop_is_refused_for_an_earlier_epoch)
{
	struct serve serve = serve_in(FENCE_CLOSED, 7, 0);

	cr_expect_eq(serve_drop(&serve, 6), SERVE_REFUSE);
	cr_expect_eq(serve.state, FENCE_CLOSED);
	cr_expect_eq(serve_drop(&serve, 7), SERVE_DROP);
	cr_expect_eq(serve.state, FENCE_NONE);
	cr_expect_eq(serve_close(&serve, 7), SERVE_CLOSE);
}

Test(vip_serve, clients_are_shut_out_under_the_lease_only)
{
	static const struct {
		const char *what;
		uint8_t state;
		uint64_t epoch, until_ns; /* held */
		uint64_t ordered, ordered_until_ns;
		enum serve_step step;
		uint64_t then_until_ns;
	} cases[] = {
		{"with the lease that is held", FENCE_OPEN, 7, NOW + MS, 7, 0, SERVE_CLIENTS,
		 NOW + MS},
		{"with a later end", FENCE_OPEN, 7, NOW + MS, 7, NOW + 2 * MS, SERVE_CLIENTS,
		 NOW + 2 * MS},
		{"never shortened", FENCE_OPEN, 7, NOW + 2 * MS, 7, NOW + MS, SERVE_CLIENTS,
		 NOW + 2 * MS},
		{"a lease that has ended", FENCE_OPEN, 7, NOW, 7, 0, SERVE_REFUSE, 0},
		{"without a lease", FENCE_CLOSED, 7, 0, 7, 0, SERVE_REFUSE, 0},
		{"closed, with a lease", FENCE_CLOSED, 7, 0, 7, NOW + MS, SERVE_CLIENTS, NOW + MS},
		{"a later epoch", FENCE_OPEN, 7, NOW + MS, 8, NOW + MS, SERVE_CLIENTS, NOW + MS},
		{"a later epoch, no lease of it", FENCE_OPEN, 7, NOW + MS, 8, 0, SERVE_REFUSE, 0},
		{"an earlier epoch", FENCE_OPEN, 7, NOW + MS, 6, NOW + MS, SERVE_REFUSE, 0},
		{"longer than a lease", FENCE_OPEN, 7, NOW + MS, 7, NOW + LONGEST + 1, SERVE_REFUSE,
		 0},
		{"a standby", FENCE_NONE, 7, 0, 7, NOW + MS, SERVE_REFUSE, 0},
		{"again", FENCE_CLIENTS, 7, NOW + MS, 7, 0, SERVE_KEEP, 0},
		{"renewed", FENCE_CLIENTS, 7, NOW + MS, 7, NOW + 2 * MS, SERVE_RENEW, NOW + 2 * MS},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct serve serve = serve_in(cases[i].state, cases[i].epoch, cases[i].until_ns);
		const struct serve before = serve;
		const enum serve_step step =
			serve_clients(&serve, cases[i].ordered, cases[i].ordered_until_ns, NOW);

		cr_expect_eq(step, cases[i].step, "%s: step %d", cases[i].what, (int)step);
		if (step == SERVE_REFUSE || step == SERVE_KEEP) {
			cr_expect_eq(serve.state, before.state, "%s", cases[i].what);
			cr_expect_eq(serve.epoch, before.epoch, "%s", cases[i].what);
			cr_expect_eq(serve.until_ns, before.until_ns, "%s", cases[i].what);
			continue;
		}
		cr_expect_eq(serve.state, FENCE_CLIENTS, "%s", cases[i].what);
		cr_expect_eq(serve.epoch, cases[i].ordered, "%s", cases[i].what);
		cr_expect_eq(serve.until_ns, cases[i].then_until_ns, "%s", cases[i].what);
		cr_expect_eq(serve_lifetime_s(&serve, NOW), 0, "%s: no VIP", cases[i].what);
		cr_expect_gt(serve_timeout_ms(&serve, NOW), 0, "%s", cases[i].what);
	}
}

Test(vip_serve, what_only_members_reach_closes_at_the_end_or_by_order)
{
	struct serve serve = serve_in(FENCE_CLIENTS, 7, NOW);

	cr_expect_eq(serve_tick(&serve, NOW - 1), SERVE_KEEP);
	cr_expect_eq(serve_tick(&serve, NOW), SERVE_EXPIRE);
	cr_expect_eq(serve.state, FENCE_CLOSED);
	serve = serve_in(FENCE_CLIENTS, 7, NOW + MS);
	cr_expect_eq(serve_close(&serve, 6), SERVE_REFUSE);
	cr_expect_eq(serve_close(&serve, 7), SERVE_CLOSE);
	cr_expect_eq(serve.state, FENCE_CLOSED);
	/* Given up: everybody again, and not for shorter than what was held. */
	serve = serve_in(FENCE_CLIENTS, 7, NOW + 2 * MS);
	cr_expect_eq(serve_grant(&serve, 7, NOW + MS, NOW), SERVE_OPEN);
	cr_expect_eq(serve.until_ns, NOW + 2 * MS);
}

Test(vip_serve, a_lease_ends_at_its_end_and_only_once)
{
	struct serve serve = serve_in(FENCE_OPEN, 7, NOW);

	cr_expect_eq(serve_tick(&serve, NOW - 1), SERVE_KEEP);
	cr_expect_eq(serve_tick(&serve, NOW), SERVE_EXPIRE);
	cr_expect_eq(serve.state, FENCE_CLOSED);
	cr_expect_eq(serve.epoch, 7);
	cr_expect_eq(serve_tick(&serve, NOW + 1), SERVE_KEEP);
	cr_expect_eq(serve.expiries, 1);
	/* Won again by the same node. */
	cr_expect_eq(serve_grant(&serve, 7, NOW + 2 * MS, NOW + MS), SERVE_OPEN);
}

Test(vip_serve, the_kernel_never_admits_for_longer_than_the_lease)
{
	static const struct {
		uint64_t left_ns;
		uint64_t timeout_ms;
		uint32_t lifetime_s;
	} cases[] = {
		{0, 0, 0},          {1, 0, 1},    {MS - 1, 0, 1},   {MS, 1, 1},
		{2 * MS - 1, 1, 1}, {S, 1000, 1}, {S + 1, 1000, 2},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		const struct serve serve = serve_in(FENCE_OPEN, 7, NOW + cases[i].left_ns);

		cr_expect_eq(serve_timeout_ms(&serve, NOW), cases[i].timeout_ms, "case %zu", i);
		cr_expect_eq(serve_lifetime_s(&serve, NOW), cases[i].lifetime_s, "case %zu", i);
	}

	const struct serve ended = serve_in(FENCE_OPEN, 7, NOW - 1);
	const struct serve closed = serve_in(FENCE_CLOSED, 7, 0);

	cr_expect_eq(serve_timeout_ms(&ended, NOW), 0);
	cr_expect_eq(serve_lifetime_s(&ended, NOW), 0);
	cr_expect_eq(serve_timeout_ms(&closed, NOW), 0);
}

Test(vip_serve, a_restart_goes_on_with_what_is_proven)
{
	const struct serve_found lease = {.state = FENCE_OPEN, .epoch = 7, .until_ns = NOW + MS};
	const struct serve_found standby = {.state = FENCE_NONE, .epoch = 7};
	const struct serve_found nothing = {.state = FENCE_CLOSED};
	struct serve serve;

	serve_init(&serve, LONGEST, &lease);
	cr_expect_eq(serve.state, FENCE_OPEN);
	cr_expect_eq(serve_grant(&serve, 6, NOW + 2 * MS, NOW), SERVE_REFUSE);
	cr_expect_eq(serve_grant(&serve, 7, NOW + 2 * MS, NOW), SERVE_RENEW);
	/* A note without an end may be from a cluster that was made anew: no epoch is taken from
	 * it. */
	serve_init(&serve, LONGEST, &standby);
	cr_expect_eq(serve.state, FENCE_NONE);
	cr_expect_eq(serve.epoch, 0);
	serve_init(&serve, LONGEST, &nothing);
	cr_expect_eq(serve.state, FENCE_CLOSED);
	cr_expect_eq(serve_close(&serve, 0), SERVE_CLOSE);

	const struct serve_found switching = {
		.state = FENCE_CLIENTS, .epoch = 7, .until_ns = NOW + MS};

	serve_init(&serve, LONGEST, &switching);
	cr_expect_eq(serve.state, FENCE_CLIENTS);
	cr_expect_eq(serve.until_ns, NOW + MS);
	cr_expect_eq(serve_clients(&serve, 7, NOW + 2 * MS, NOW), SERVE_RENEW);
}
