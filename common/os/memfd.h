/* Sealed memory files: bytes handed to another process that nobody can change any more. */
#ifndef MHA_OS_MEMFD_H
#define MHA_OS_MEMFD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* A sealed memory file with `size` bytes. Returns a close-on-exec descriptor or an error. */
MUST_CHECK int memfd_sealed(const char *name, const void *bytes, size_t size, struct err *why);

/* Whether `fd` is a memory file that can neither be written, grown nor shrunk. */
bool memfd_is_sealed(int fd);

#endif
