/*
 * Who asks over HTTP: a password (Basic), a token (Bearer) or a certificate, by http.users_file.
 * Pure but for the clock that is handed in: sockets are in http.c.
 */
#ifndef MHA_GATEWAY_AUTH_H
#define MHA_GATEWAY_AUTH_H

#include <stdint.h>

#include "access/table.h"

#define AUTH_HEADER_MAX 512 /* bytes of an Authorization header */
/* Passwords that may be hashed: so many at once, and so many in a second. */
#define AUTH_BURST      8
#define AUTH_PER_SECOND 4

enum auth_end {
	AUTH_KNOWN,   /* `role` and `name` say who */
	AUTH_MISSING, /* nothing was proven */
	AUTH_WRONG,   /* what was said is not so */
	AUTH_LATER,   /* too many passwords came in; ask again */
};

struct auth {
	unsigned char salt[32]; /* of this process: for what is remembered */
	unsigned tokens;        /* left of AUTH_BURST */
	uint64_t refilled_ms;
	/* Passwords that were right, by row, under `salt`: they cost no hash again. */
	unsigned char known[ACCESS_ROWS_MAX][32];
	bool is_known[ACCESS_ROWS_MAX];
};

struct auth_result {
	enum auth_end end;
	enum role role;
	char name[ACCESS_NAME_SIZE];
};

/* ERR_IO: libsodium does not start. */
MUST_CHECK int auth_init(struct auth *auth, struct err *why);
/* After every change of the table. */
void auth_forget(struct auth *auth);
/*
 * `header`: the Authorization header, or NULL; `certificate`: the common name of a certificate that
 * was proven, or NULL. A header counts more than a certificate.
 */
void auth_check(struct auth *auth, const struct access_table *users, const char *header,
		const char *certificate, uint64_t now_ms, struct auth_result *result);

/*
 * "Basic <base64>" into name and password (both terminated). False on anything else. Exported for
 * the fuzzer.
 */
bool auth_parse_basic(const char *header, char name[ACCESS_NAME_SIZE],
		      char password[AUTH_HEADER_MAX]);

#endif
