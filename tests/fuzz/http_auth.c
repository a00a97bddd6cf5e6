/* An Authorization header. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "fuzz.h"
#include "gateway/auth.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	char *header = malloc(size + 1), name[ACCESS_NAME_SIZE], password[AUTH_HEADER_MAX];
	static struct access_table users;
	static struct auth auth;
	struct auth_result result;

	if (header == NULL)
		return 0;
	memcpy(header, bytes, size);
	header[size] = '\0';
	if (auth_parse_basic(header, name, password))
		CHECK(access_is_name(name) && strlen(password) < AUTH_HEADER_MAX);
	/* Without a row nobody is known, whatever is said; hashing is bounded away by the time. */
	auth_check(&auth, &users, header, NULL, 0, &result);
	CHECK(result.end != AUTH_KNOWN && result.role == ROLE_NONE);
	free(header);
	return 0;
}
