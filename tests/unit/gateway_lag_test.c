/* Lag as a time, and the histogram of durations. */
#include <criterion/criterion.h>

#include "gateway/lag.h"
#include "status/times.h"

#define S UINT64_C(1000000000)

Test(lag, is_since_the_primary_was_there)
{
	struct lag_track track = {0};

	cr_expect_eq(lag_ms(&track, 100, S), -1, "nothing is known of the primary");
	for (unsigned second = 1; second <= 10; second++)
		lag_add(&track, second * 100, 1, second * S);
	cr_expect_eq(lag_ms(&track, 1000, 10 * S), 0);
	cr_expect_eq(lag_ms(&track, 1100, 10 * S), 0, "it has told more than the primary");
	cr_expect_eq(lag_ms(&track, 900, 10 * S), 1000);
	cr_expect_eq(lag_ms(&track, 950, 10 * S), 1000);
	cr_expect_eq(lag_ms(&track, 300, 12 * S), 9000);
	cr_expect_eq(lag_ms(&track, 1, 10 * S), 9000, "at least since the first");
}

Test(lag, of_a_resting_primary_begins_with_its_next_record)
{
	struct lag_track track = {0};

	for (unsigned second = 1; second <= 100; second++)
		lag_add(&track, 500, 1, second * S);
	cr_expect_eq(track.count, 1);
	lag_add(&track, 600, 1, 101 * S);
	cr_expect_eq(lag_ms(&track, 500, 101 * S), 1000);
}

Test(lag, of_another_primary_is_forgotten)
{
	struct lag_track track = {0};

	for (unsigned second = 1; second <= 2 * LAG_POINTS; second++)
		lag_add(&track, second, 1, second * S);
	cr_expect_eq(track.count, LAG_POINTS);
	cr_expect_eq(lag_ms(&track, 2 * LAG_POINTS - 5, 2 * LAG_POINTS * S), 5000);
	lag_add(&track, 5000, 2, 2 * LAG_POINTS * S);
	cr_expect_eq(track.count, 1);
	lag_add(&track, 4000, 2, 2 * LAG_POINTS * S);
	cr_expect_eq(track.count, 1, "positions rise");
}

Test(times, are_counted_in_their_buckets)
{
	struct status_times times = {0};

	for (unsigned i = 1; i < STATUS_TIME_BOUNDS; i++)
		cr_assert_gt(status_time_bound_us(i), status_time_bound_us(i - 1));
	status_time_add(&times, 0);
	status_time_add(&times, 100);
	status_time_add(&times, 101);
	status_time_add(&times, UINT64_C(60000000));
	cr_expect_eq(status_time_count(&times, 0), 2);
	cr_expect_eq(status_time_count(&times, 1), 3);
	cr_expect_eq(status_time_count(&times, STATUS_TIME_BOUNDS - 1), 3);
	cr_expect_eq(status_time_count(&times, STATUS_TIME_BOUNDS), 4);
	cr_expect_eq(times.sum_us, 60000201);
}
