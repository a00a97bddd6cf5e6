#include <criterion/criterion.h>

#include "../../procs/master/feed.h"

#include "base/macros.h"

Test(feed, the_lease_feeds_and_only_a_proof_disarms)
{
	static const struct {
		const char *what;
		bool armed;
		struct feed_view view;
		enum feed_step step;
	} cases[] = {
		{"nothing to guard", false, {false, false, false}, FEED_REST},
		{"no lease, and safe anyway", false, {false, true, true}, FEED_REST},
		{"the lease came", false, {true, false, false}, FEED_ARM},
		{"the lease is renewed", true, {true, false, false}, FEED_ARM},
		{"a closed fence under a lease is still a lease",
		 true,
		 {true, true, true},
		 FEED_ARM},
		{"the lease ended and the kernel keeps them out",
		 true,
		 {false, true, false},
		 FEED_DISARM},
		{"the lease ended and it is a standby", true, {false, false, true}, FEED_DISARM},
		{"the lease ended and nothing is known", true, {false, false, false}, FEED_STARVE},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++)
		cr_expect_eq(feed_decide(cases[i].armed, &cases[i].view), cases[i].step, "%s",
			     cases[i].what);
}

Test(feed, a_witness_arms_nothing)
{
	static struct conf conf;
	static struct status_watchdog status;
	struct feed feed;
	struct err why;
	bool changed;

	conf.watchdog_mode = WATCHDOG_REQUIRED;
	conf.watchdog_ms = 10000;
	conf.member_count = 1;
	conf.members[0].kind = MEMBER_WITNESS;
	snprintf(conf.watchdog_device, sizeof(conf.watchdog_device), "/dev/mha-no-watchdog");
	cr_assert_eq(feed_open(&feed, &conf, &status, &why), 0);
	cr_assert_eq(feed_turn(&feed, &changed, &why), 0);
	cr_expect_not(changed);
	cr_expect_eq(status.state, WATCHDOG_STATE_OFF);
	feed_close(&feed);
	conf.members[0].kind = MEMBER_DATA;
	cr_expect_eq(feed_open(&feed, &conf, &status, &why), ERR_NOT_FOUND, "%s", why.text);
}
