/* The histogram of fence margins (common/status/margins.c). */
#include <criterion/criterion.h>

#include "base/macros.h"
#include "status/margins.h"

Test(vip_margins, every_margin_is_counted_once_at_its_bound)
{
	static const struct {
		int64_t margin_us;
		unsigned first; /* bound that it is at or below */
	} cases[] = {
		{-5000, 0}, {0, 0},   {1, 1},       {100, 1},
		{101, 2},   {900, 3}, {999999, 10}, {1000001, STATUS_MARGIN_BOUNDS},
	};
	int64_t sum_us = 0;

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct status_margins margins = {.sum_us = 0};

		status_margin_add(&margins, cases[i].margin_us);
		cr_expect_eq(margins.sum_us, cases[i].margin_us);
		sum_us += cases[i].margin_us;
		for (unsigned bound = 0; bound <= STATUS_MARGIN_BOUNDS; bound++)
			cr_expect_eq(status_margin_count(&margins, bound), bound >= cases[i].first,
				     "%lld at bound %u", (long long)cases[i].margin_us, bound);
	}
	cr_expect_eq(sum_us, -5000 + 1 + 100 + 101 + 900 + 999999 + 1000001);
}

Test(vip_margins, bounds_rise)
{
	for (unsigned i = 1; i < STATUS_MARGIN_BOUNDS; i++) {
		cr_expect_gt(status_margin_bound_us(i), status_margin_bound_us(i - 1));
		cr_expect_gt(status_period_bound_us(i), status_period_bound_us(i - 1));
	}
}

Test(vip_margins, periods_have_bounds_of_their_own)
{
	struct status_margins periods = {.sum_us = 0};

	status_period_add(&periods, 100000);
	status_period_add(&periods, 100001);
	status_period_add(&periods, 10000001);
	cr_expect_eq(status_margin_count(&periods, 1), 0);
	cr_expect_eq(status_margin_count(&periods, 2), 1);
	cr_expect_eq(status_margin_count(&periods, 3), 2);
	cr_expect_eq(status_margin_count(&periods, STATUS_MARGIN_BOUNDS - 1), 2);
	cr_expect_eq(status_margin_count(&periods, STATUS_MARGIN_BOUNDS), 3);
	cr_expect_eq(periods.sum_us, 10200002);
}
