/* An entry of the log, as a disk or a peer may have damaged it. */
#include <string.h>

#include "base/check.h"
#include "fuzz.h"
#include "wire/convert.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct entry entry = {.kind = 0}, again;
	uint8_t first[LOG_ENTRY_MAX], second[LOG_ENTRY_MAX];
	struct err why = {0};
	int length;

	if (log_entry_decode(bytes, size, &entry, &why) < 0) {
		CHECK(entry.kind == 0 && why.text[0] != '\0');
		return 0;
	}
	/* Unknown fields are dropped, so the second time nothing changes any more. */
	length = log_entry_encode(&entry, first, &why);
	CHECK(length > 0 && length % LOG_ENTRY_ALIGNMENT == 0);
	CHECK(log_entry_decode(first, (size_t)length, &again, &why) == 0);
	CHECK(log_entry_encode(&again, second, &why) == length);
	CHECK(memcmp(first, second, (size_t)length) == 0);

	/* Whatever it says, applying it to a new state is harmless. */
	struct cluster cluster = {0};

	(void)cluster_apply(&cluster, &entry);
	CHECK(cluster_sane(&cluster));
	return 0;
}
