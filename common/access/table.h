/*
 * Who may what: a text file of rows, three words each. Empty lines and lines that begin with '#'
 * are skipped.
 *
 *   client.authorized_file   NAME ROLE PUBLIC-KEY      a CURVE key (Z85, 40 characters)
 *   http.users_file          NAME ROLE $argon2id$...   a password (mha-keygen --password)
 *                            NAME ROLE token:HEX       a bearer token (mha-keygen --bearer)
 *                            NAME ROLE certificate     whoever proves a certificate with that CN
 *
 * NAME: letters, digits, '.', '_', '-'; 1 to 63 of them, once in a file. ROLE: read, operate or
 * admin.
 */
#ifndef MHA_ACCESS_TABLE_H
#define MHA_ACCESS_TABLE_H

#include <stddef.h>

#include "access/role.h"
#include "base/err.h"

#define ACCESS_ROWS_MAX   64
#define ACCESS_NAME_SIZE  64
#define ACCESS_PROOF_SIZE 192
#define ACCESS_KEY_SIZE   41 /* Z85 with the final NUL */
#define ACCESS_TOKEN_HEX  64 /* BLAKE2b-256 of a bearer token */
/* What checking one password may cost: memory in KiB, and passes over it. */
#define ACCESS_ARGON_KIB_MAX    65536
#define ACCESS_ARGON_PASSES_MAX 8

enum access_kind { ACCESS_KEY = 1, ACCESS_PASSWORD, ACCESS_TOKEN, ACCESS_CERTIFICATE };
enum access_file { ACCESS_CLIENTS, ACCESS_USERS };

struct access_row {
	char name[ACCESS_NAME_SIZE];
	enum role role;
	enum access_kind kind;
	char proof[ACCESS_PROOF_SIZE]; /* key, password hash, or the hex digits of the token */
};

struct access_table {
	unsigned count;
	struct access_row rows[ACCESS_ROWS_MAX];
};

/*
 * Read the file's text (`size` bytes, none of them 0). ERR_INVALID names the line and the reason,
 * never a proof; `table` is empty then.
 */
MUST_CHECK int access_parse(struct access_table *table, enum access_file file, const char *text,
			    size_t size, struct err *why);

/* NULL: there is no such row. */
const struct access_row *access_by_key(const struct access_table *table, const char *key);
const struct access_row *access_by_name(const struct access_table *table, enum access_kind kind,
					const char *name);
/* Every key of `before` is in `after`, with the same name and no smaller role. */
bool access_keys_kept(const struct access_table *before, const struct access_table *after);

/* The rule for NAME. */
bool access_is_name(const char *text);

#endif
