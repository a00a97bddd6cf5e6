/* A snapshot, as a disk or a peer may have damaged it. */
#include <string.h>

#include "base/check.h"
#include "fuzz.h"
#include "wire/convert.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static uint8_t first[LOG_SNAPSHOT_MAX], second[LOG_SNAPSHOT_MAX];
	static struct cluster cluster, again;
	struct err why = {0};
	int length;

	if (log_snapshot_decode(bytes, size, &cluster, &why) < 0) {
		CHECK(why.text[0] != '\0');
		return 0;
	}
	CHECK(cluster_sane(&cluster));
	length = log_snapshot_encode(&cluster, first, &why);
	CHECK(length >= 0);
	CHECK(log_snapshot_decode(first, (size_t)length, &again, &why) == 0);
	CHECK(log_snapshot_encode(&again, second, &why) == length);
	CHECK(memcmp(first, second, (size_t)length) == 0);
	return 0;
}
