/* client.authorized_file and http.users_file: the first byte tells which. */
#include <string.h>

#include "access/table.h"
#include "base/check.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static struct access_table table;
	struct err why = {0};

	if (size == 0)
		return 0;
	if (access_parse(&table, bytes[0] & 1 ? ACCESS_USERS : ACCESS_CLIENTS,
			 (const char *)bytes + 1, size - 1, &why) < 0) {
		CHECK(why.text[0] != '\0' && table.count == 0);
		return 0;
	}
	CHECK(table.count <= ACCESS_ROWS_MAX);
	for (unsigned i = 0; i < table.count; i++) {
		const struct access_row *row = &table.rows[i];

		CHECK(access_is_name(row->name));
		CHECK(row->role >= ROLE_READ && row->role <= ROLE_ADMIN);
		CHECK((row->kind == ACCESS_KEY) == ((bytes[0] & 1) == 0));
	}
	CHECK(access_keys_kept(&table, &table));
	return 0;
}
