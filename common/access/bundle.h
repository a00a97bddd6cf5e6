/*
 * What the gateway needs of root's files, as one block of bytes: the master reads the files, the
 * gateway finds the block in its sealed memory file. Both are of one build.
 */
#ifndef MHA_ACCESS_BUNDLE_H
#define MHA_ACCESS_BUNDLE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define BUNDLE_PART_MAX 32768 /* bytes of one file */

enum bundle_part {
	BUNDLE_CLIENT_KEY,      /* client.secret_file */
	BUNDLE_CLIENTS,         /* client.authorized_file */
	BUNDLE_USERS,           /* http.users_file */
	BUNDLE_TLS_CERTIFICATE, /* http.tls_certificate_file */
	BUNDLE_TLS_KEY,         /* http.tls_key_file */
	BUNDLE_TLS_CLIENT_CA,   /* http.tls_client_ca_file */
	BUNDLE_PART_COUNT
};

/* A file that is not configured has text NULL. Each text ends with a NUL behind its `size`. */
struct bundle {
	char *text[BUNDLE_PART_COUNT];
	size_t size[BUNDLE_PART_COUNT];
};

/* Add a part; takes `text` (heap, NUL behind `size` bytes). */
void bundle_put(struct bundle *bundle, enum bundle_part part, char *text, size_t size);
/* The block (heap, to be overwritten and freed by the caller). */
MUST_CHECK int bundle_write(const struct bundle *bundle, uint8_t **bytes, size_t *size,
			    struct err *why);
/* ERR_CORRUPT: `bytes` are no such block. */
MUST_CHECK int bundle_read(struct bundle *bundle, const uint8_t *bytes, size_t size,
			   struct err *why);
/* Overwrites and frees what it holds. */
void bundle_clear(struct bundle *bundle);

#endif
