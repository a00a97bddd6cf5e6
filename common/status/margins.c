#include "margins.h"

#include "base/check.h"

static const int64_t BOUNDS_US[STATUS_MARGIN_BOUNDS] = {
	0, 100, 500, 1000, 2000, 5000, 10000, 50000, 100000, 500000, 1000000,
};

int64_t status_margin_bound_us(unsigned index)
{
	CHECK(index < STATUS_MARGIN_BOUNDS);
	return BOUNDS_US[index];
}

void status_margin_add(struct status_margins *margins, int64_t margin_us)
{
	unsigned index = 0;

	while (index < STATUS_MARGIN_BOUNDS && margin_us > BOUNDS_US[index])
		index++;
	margins->counts[index]++;
	margins->sum_us += margin_us;
}

uint64_t status_margin_count(const struct status_margins *margins, unsigned index)
{
	uint64_t sum = 0;

	CHECK(index <= STATUS_MARGIN_BOUNDS);
	for (unsigned i = 0; i <= index; i++)
		sum += margins->counts[i];
	return sum;
}
