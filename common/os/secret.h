/* Files with secrets: refused when others than their owner may use them. */
#ifndef MHA_OS_SECRET_H
#define MHA_OS_SECRET_H

#include <sys/types.h>

#include "base/err.h"

#define SECRET_SIZE_MAX 4096

/*
 * Read the file at `path`, no link, into a sealed memory file called `name`. It must belong to
 * root or to `owner` and have no right for group and others. Returns a close-on-exec descriptor,
 * or ERR_NOT_FOUND, ERR_PERM (owner or mode), ERR_INVALID (empty, too big, no file), ERR_IO.
 */
MUST_CHECK int secret_read(const char *path, const char *name, uid_t owner, struct err *why);

#endif
