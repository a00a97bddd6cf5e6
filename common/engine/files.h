/* Files that must be there after a power cut, and directory trees. All of it may block on a disk.
 */
#ifndef MHA_ENGINE_FILES_H
#define MHA_ENGINE_FILES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

#define FILES_PATH_SIZE 320

/* Write DIR/NAME.new, fsync, rename over DIR/NAME, fsync DIR. */
MUST_CHECK int file_write(const char *dir, const char *name, const char *text, mode_t mode,
			  struct err *why);
/* The same, but nothing at all when DIR/NAME holds `text` already. */
MUST_CHECK int file_write_changed(const char *dir, const char *name, const char *text, mode_t mode,
				  struct err *why);
/* The whole file, at most `size_max` bytes, NUL-terminated; *text is the caller's to free. */
MUST_CHECK int file_read(const char *dir, const char *name, size_t size_max, char **text,
			 struct err *why);
/* Remove DIR/NAME and fsync DIR. A file that is not there is fine. */
MUST_CHECK int file_remove(const char *dir, const char *name, struct err *why);
bool file_exists(const char *dir, const char *name);

/* Copy a file's content durably; the directory is not synced. */
MUST_CHECK int file_copy(const char *from, const char *to, struct err *why);

MUST_CHECK int directory_sync(const char *path, struct err *why);
/* fsync the directory that `path` stands in. */
MUST_CHECK int directory_sync_parent(const char *path, struct err *why);
/* Create `path` (0700) when it is not there. */
MUST_CHECK int directory_ensure(const char *path, struct err *why);
/* False: it is there, but its disk or a right keeps it from being read. */
bool directory_is_readable(const char *path);
/* Missing, or without entries. */
bool directory_is_empty(const char *path);
/* Remove the whole tree; links are not followed. A path that is not there is fine. */
MUST_CHECK int tree_remove(const char *path, struct err *why);

/* Bytes on disk of the files below `path`; 0 when it cannot be read. */
uint64_t tree_size(const char *path);
/* Bytes that this user may still write into the file system of `path`. UINT64_MAX: not known. */
uint64_t disk_free(const char *path);

#endif
