#include "margins.h"

#include "base/check.h"

static const int64_t BOUNDS_US[STATUS_MARGIN_BOUNDS] = {
	0, 100, 500, 1000, 2000, 5000, 10000, 50000, 100000, 500000, 1000000,
};

/* A lease is renewed some times per election timeout, which is between 0.3 and 60 s. */
static const int64_t PERIODS_US[STATUS_MARGIN_BOUNDS] = {
	25000, 50000, 100000, 150000, 200000, 300000, 400000, 600000, 1000000, 3000000, 10000000,
};

static void add(struct status_margins *histogram, const int64_t bounds[STATUS_MARGIN_BOUNDS],
		int64_t value_us)
{
	unsigned index = 0;

	while (index < STATUS_MARGIN_BOUNDS && value_us > bounds[index])
		index++;
	histogram->counts[index]++;
	histogram->sum_us += value_us;
}

int64_t status_margin_bound_us(unsigned index)
{
	CHECK(index < STATUS_MARGIN_BOUNDS);
	return BOUNDS_US[index];
}

void status_margin_add(struct status_margins *margins, int64_t margin_us)
{
	add(margins, BOUNDS_US, margin_us);
}

int64_t status_period_bound_us(unsigned index)
{
	CHECK(index < STATUS_MARGIN_BOUNDS);
	return PERIODS_US[index];
}

void status_period_add(struct status_margins *periods, int64_t period_us)
{
	add(periods, PERIODS_US, period_us);
}

uint64_t status_margin_count(const struct status_margins *margins, unsigned index)
{
	uint64_t sum = 0;

	CHECK(index <= STATUS_MARGIN_BOUNDS);
	for (unsigned i = 0; i <= index; i++)
		sum += margins->counts[i];
	return sum;
}
