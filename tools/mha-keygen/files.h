/* The key files that mha-keygen makes and reads. */
#ifndef MHA_KEYGEN_FILES_H
#define MHA_KEYGEN_FILES_H

#include <stddef.h>

#include "base/err.h"
#include "wire/key.h"

/* A new file of mode 0600, on disk when this returns. ERR_EXISTS: never over an old one. */
MUST_CHECK int file_create(const char *path, const char *text, size_t size, struct err *why);
/* A new key in a new file. `key` is to be overwritten after use. */
MUST_CHECK int key_file_make(const char *path, struct key *key, struct err *why);
MUST_CHECK int key_file_read(const char *path, struct key *key, struct err *why);

/*
 * rotate.c: the steps of a change of keys (docs/security.md): begin, switch, back, finish. Prints
 * what is to be done next.
 */
MUST_CHECK int rotate(const char *step, const char *path, struct err *why);

/* rows.c: a row for client.authorized_file or http.users_file, printed on standard output. */
MUST_CHECK int row_client(const char *name, const char *role, const char *path, struct err *why);
/* The password comes from standard input. */
MUST_CHECK int row_password(const char *name, const char *role, struct err *why);
MUST_CHECK int row_bearer(const char *name, const char *role, const char *path, struct err *why);

#endif
