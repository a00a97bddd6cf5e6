#include "times.h"

#include "base/check.h"

static const uint64_t BOUNDS_US[STATUS_TIME_BOUNDS] = {
	100,   250,    500,    1000,   2500,    5000,    10000,   25000,
	50000, 100000, 250000, 500000, 1000000, 2500000, 5000000, 30000000,
};

uint64_t status_time_bound_us(unsigned index)
{
	CHECK(index < STATUS_TIME_BOUNDS);
	return BOUNDS_US[index];
}

void status_time_add(struct status_times *times, uint64_t time_us)
{
	unsigned index = 0;

	while (index < STATUS_TIME_BOUNDS && time_us > BOUNDS_US[index])
		index++;
	times->counts[index]++;
	times->sum_us += time_us;
}

uint64_t status_time_count(const struct status_times *times, unsigned index)
{
	uint64_t sum = 0;

	CHECK(index <= STATUS_TIME_BOUNDS);
	for (unsigned i = 0; i <= index; i++)
		sum += times->counts[i];
	return sum;
}
