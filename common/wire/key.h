/*
 * The file of a node's CURVE key: text, the secret key (Z85, 40 characters) in its first line, the
 * public key that belongs to it in the second.
 */
#ifndef MHA_WIRE_KEY_H
#define MHA_WIRE_KEY_H

#include <stddef.h>

#include "base/err.h"

#define KEY_SIZE     41 /* Z85 with the final NUL */
#define KEY_FILE_MAX 256

/* Overwrite it with explicit_bzero() when it is of no more use. */
struct key {
	char secret[KEY_SIZE];
	char public[KEY_SIZE];
};

/* A new random pair. ERR_IO: libzmq was built without CURVE. */
MUST_CHECK int key_make(struct key *key, struct err *why);

/* The file's text. Returns its length. */
int key_format(const struct key *key, char text[KEY_FILE_MAX]);

/*
 * Read the file's text. The second line may be missing; if it is there it must belong to the
 * first. Errors never quote the text. `key` is zeroed on failure.
 */
MUST_CHECK int key_parse(const char *text, struct key *key, struct err *why);

#endif
