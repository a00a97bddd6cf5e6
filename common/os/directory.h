/* Directories with an exact owner and mode, on paths that others may have touched before. */
#ifndef MHA_OS_DIRECTORY_H
#define MHA_OS_DIRECTORY_H

#include <sys/types.h>

#include "base/err.h"

/*
 * Make sure that `name` under the open directory `at` (AT_FDCWD: a path) is a directory, no link,
 * with exactly that owner, group and mode. Returns its descriptor (close-on-exec) or an error;
 * ERR_EXISTS: something else has the name.
 */
MUST_CHECK int directory_make(int at, const char *name, uid_t uid, gid_t gid, mode_t mode,
			      struct err *why);

/* Create the missing parents of `path`, root's and 0755. */
MUST_CHECK int directory_make_parents(const char *path, struct err *why);

/* Remove all files, sockets and links in the open directory `fd`; not its subdirectories. */
MUST_CHECK int directory_clear(int fd, const char *name, struct err *why);

#endif
