#include "engine/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <ftw.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static int join(char path[FILES_PATH_SIZE], const char *dir, const char *name, const char *suffix,
		struct err *why)
{
	const int used = snprintf(path, FILES_PATH_SIZE, "%s/%s%s", dir, name, suffix);

	if (used < 0 || used >= FILES_PATH_SIZE)
		return err_set(why, ERR_TOO_BIG, "path %s/%s is too long", dir, name);
	return 0;
}

int directory_sync(const char *path, struct err *why)
{
	const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc = 0;

	if (fd < 0)
		return err_set_errno(why, ERR_IO, errno, "open directory %s", path);
	if (fsync(fd) < 0)
		rc = err_set_errno(why, ERR_IO, errno, "fsync directory %s", path);
	close(fd);
	return rc;
}

int directory_sync_parent(const char *path, struct err *why)
{
	char copy[FILES_PATH_SIZE];

	if (snprintf(copy, sizeof(copy), "%s", path) >= (int)sizeof(copy))
		return err_set(why, ERR_TOO_BIG, "path %s is too long", path);
	return directory_sync(dirname(copy), why);
}

int directory_ensure(const char *path, struct err *why)
{
	struct stat stat;

	if (mkdir(path, 0700) == 0)
		return directory_sync_parent(path, why);
	if (errno != EEXIST)
		return err_set_errno(why, ERR_IO, errno, "create directory %s", path);
	if (lstat(path, &stat) < 0)
		return err_set_errno(why, ERR_IO, errno, "look at %s", path);
	if (!S_ISDIR(stat.st_mode) || stat.st_uid != geteuid())
		return err_set(why, ERR_EXISTS, "%s is no directory of this user", path);
	return 0;
}

bool directory_is_readable(const char *path)
{
	DIR *dir = opendir(path);
	bool readable;

	if (dir == NULL)
		return errno == ENOENT || errno == ENOTDIR;
	errno = 0;
	readable = readdir(dir) != NULL || errno == 0;
	closedir(dir);
	return readable;
}

bool directory_is_empty(const char *path)
{
	DIR *dir = opendir(path);
	const struct dirent *entry;
	bool empty = true;

	if (dir == NULL)
		return errno == ENOENT;
	errno = 0;
	while (empty && (entry = readdir(dir)) != NULL)
		empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
	/* A disk that cannot be read is not empty. */
	if (errno != 0)
		empty = false;
	closedir(dir);
	return empty;
}

static int write_all(int fd, const char *text, size_t size)
{
	while (size > 0) {
		const ssize_t written = write(fd, text, size);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return -1;
		text += written;
		size -= (size_t)written;
	}
	return 0;
}

/* Create, fill and sync `path`. */
static int write_new(const char *path, const char *text, mode_t mode, struct err *why)
{
	const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
	int rc = 0;

	if (fd < 0)
		return err_set_errno(why, ERR_IO, errno, "create %s", path);
	if (fchmod(fd, mode) < 0 || write_all(fd, text, strlen(text)) < 0 || fsync(fd) < 0)
		rc = err_set_errno(why, ERR_IO, errno, "write %s", path);
	if (close(fd) < 0 && rc == 0)
		rc = err_set_errno(why, ERR_IO, errno, "close %s", path);
	return rc;
}

int file_write(const char *dir, const char *name, const char *text, mode_t mode, struct err *why)
{
	char fresh[FILES_PATH_SIZE], path[FILES_PATH_SIZE];
	int rc;

	if ((rc = join(path, dir, name, "", why)) < 0 ||
	    (rc = join(fresh, dir, name, ".new", why)) < 0)
		return rc;
	if ((rc = write_new(fresh, text, mode, why)) < 0)
		return rc;
	if (rename(fresh, path) < 0)
		return err_set_errno(why, ERR_IO, errno, "rename %s to %s", fresh, path);
	return directory_sync(dir, why);
}

int file_write_changed(const char *dir, const char *name, const char *text, mode_t mode,
		       struct err *why)
{
	char *present = NULL;
	bool same = false;

	if (file_read(dir, name, strlen(text), &present, NULL) == 0 && present != NULL)
		same = strcmp(present, text) == 0;
	free(present);
	return same ? 0 : file_write(dir, name, text, mode, why);
}

int file_read(const char *dir, const char *name, size_t size_max, char **text, struct err *why)
{
	char path[FILES_PATH_SIZE];
	size_t used = 0;
	ssize_t got;
	int fd, rc;

	*text = NULL;
	if ((rc = join(path, dir, name, "", why)) < 0)
		return rc;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_set_errno(why, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, errno,
				     "open %s", path);
	*text = malloc(size_max + 1);
	if (*text == NULL) {
		close(fd);
		return err_set(why, ERR_NO_MEMORY, "read %s: out of memory", path);
	}
	while (used <= size_max && (got = read(fd, *text + used, size_max + 1 - used)) != 0) {
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			rc = err_set_errno(why, ERR_IO, errno, "read %s", path);
			break;
		}
		used += (size_t)got;
	}
	close(fd);
	if (rc == 0 && used > size_max)
		rc = err_set(why, ERR_TOO_BIG, "%s has more than %zu bytes", path, size_max);
	if (rc < 0) {
		free(*text);
		*text = NULL;
		return rc;
	}
	(*text)[used] = '\0';
	return 0;
}

int file_remove(const char *dir, const char *name, struct err *why)
{
	char path[FILES_PATH_SIZE];
	int rc;

	if ((rc = join(path, dir, name, "", why)) < 0)
		return rc;
	if (unlink(path) < 0)
		return errno == ENOENT ? 0 : err_set_errno(why, ERR_IO, errno, "remove %s", path);
	return directory_sync(dir, why);
}

bool file_exists(const char *dir, const char *name)
{
	char path[FILES_PATH_SIZE];

	return join(path, dir, name, "", NULL) == 0 && access(path, F_OK) == 0;
}

/* Copy by the kernel where it can (a reflink costs nothing), by hand where it cannot. */
static int copy_content(int from, int to)
{
	char block[65536];
	ssize_t got;

	while ((got = copy_file_range(from, NULL, to, NULL, 1 << 24, 0)) > 0)
		;
	if (got == 0)
		return 0;
	if (errno != EXDEV && errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP)
		return -1;
	while ((got = read(from, block, sizeof(block))) != 0) {
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 || write_all(to, block, (size_t)got) < 0)
			return -1;
	}
	return 0;
}

int file_copy(const char *from, const char *to, struct err *why)
{
	const int in = open(from, O_RDONLY | O_CLOEXEC);
	int out, rc = 0;

	if (in < 0)
		return err_set_errno(why, ERR_IO, errno, "open %s", from);
	out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (out < 0) {
		rc = err_set_errno(why, ERR_IO, errno, "create %s", to);
		close(in);
		return rc;
	}
	if (copy_content(in, out) < 0 || fsync(out) < 0)
		rc = err_set_errno(why, ERR_IO, errno, "copy %s to %s", from, to);
	close(in);
	if (close(out) < 0 && rc == 0)
		rc = err_set_errno(why, ERR_IO, errno, "close %s", to);
	return rc;
}

static int remove_entry(const char *path, const struct stat *stat, int type, struct FTW *walk)
{
	UNUSED(stat);
	UNUSED(type);
	UNUSED(walk);
	return remove(path) < 0 && errno != ENOENT ? -1 : 0;
}

int tree_remove(const char *path, struct err *why)
{
	if (nftw(path, remove_entry, 32, FTW_DEPTH | FTW_PHYS) < 0 && errno != ENOENT)
		return err_set_errno(why, ERR_IO, errno, "remove %s", path);
	return 0;
}

uint64_t tree_size(const char *path)
{
	char copy[FILES_PATH_SIZE];
	char *roots[] = {copy, NULL};
	uint64_t size = 0;
	FTSENT *entry;
	FTS *walk;

	if (snprintf(copy, sizeof(copy), "%s", path) >= (int)sizeof(copy) ||
	    (walk = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL)) == NULL)
		return 0;
	while ((entry = fts_read(walk)) != NULL) {
		if (entry->fts_info == FTS_F)
			size += (uint64_t)entry->fts_statp->st_blocks * 512;
	}
	fts_close(walk);
	return size;
}

uint64_t disk_free(const char *path)
{
	struct statvfs disk;

	if (statvfs(path, &disk) < 0)
		return UINT64_MAX;
	return (uint64_t)disk.f_bavail * disk.f_frsize;
}
