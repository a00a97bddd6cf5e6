/* What the master hands to the gateway. */
#include <stdlib.h>
#include <string.h>

#include "access/bundle.h"
#include "base/check.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct bundle bundle;
	struct err why = {0};
	uint8_t *again;
	size_t length;

	if (bundle_read(&bundle, bytes, size, &why) < 0) {
		CHECK(why.text[0] != '\0');
		return 0;
	}
	CHECK(bundle_write(&bundle, &again, &length, &why) == 0);
	CHECK(length == size && memcmp(again, bytes, size) == 0);
	free(again);
	bundle_clear(&bundle);
	return 0;
}
