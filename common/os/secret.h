/* Files with secrets: refused when others than their owner may use them. */
#ifndef MHA_OS_SECRET_H
#define MHA_OS_SECRET_H

#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

#define SECRET_SIZE_MAX 4096

/* "credential:NAME" instead of a path is the file NAME in $CREDENTIALS_DIRECTORY (systemd.exec). */
#define SECRET_CREDENTIAL "credential:"

/* Who else than the owner may do what with a file. */
enum secret_privacy {
	SECRET_PRIVATE, /* nothing at all */
	SECRET_PUBLIC,  /* read it, but not change it: public keys, certificates */
};

/*
 * Read the file at `path`, no link, into a sealed memory file called `name`. It must belong to
 * root or to `owner` and have no right for group and others. Returns a close-on-exec descriptor,
 * or ERR_NOT_FOUND, ERR_PERM (owner or mode), ERR_INVALID (empty, too big, no file), ERR_IO.
 */
MUST_CHECK int secret_read(const char *path, const char *name, uid_t owner, struct err *why);

/*
 * The same into memory: at most `max` bytes and a NUL behind them (heap; who has used it
 * overwrites and frees it).
 */
MUST_CHECK int secret_load(const char *path, uid_t owner, enum secret_privacy privacy, size_t max,
			   char **text, size_t *size, struct err *why);

#endif
