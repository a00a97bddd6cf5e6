#include "os/directory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"

int directory_make(int at, const char *name, uid_t uid, gid_t gid, mode_t mode, struct err *why)
{
	struct stat stat;
	int fd, rc;

	if (mkdirat(at, name, 0700) < 0 && errno != EEXIST)
		return err_set_errno(why, ERR_IO, errno, "create directory %s", name);
	fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_set_errno(why, errno == ENOTDIR || errno == ELOOP ? ERR_EXISTS : ERR_IO,
				     errno, "open directory %s", name);
	/* fchown() clears the set-group-id bit, so the mode comes after it. */
	rc = fstat(fd, &stat);
	if (rc == 0 && (stat.st_uid != uid || stat.st_gid != gid)) {
		rc = fchown(fd, uid, gid);
		stat.st_mode = 0;
	}
	if (rc == 0 && (stat.st_mode & 07777) != mode)
		rc = fchmod(fd, mode);
	if (rc < 0) {
		rc = err_set_errno(why, errno == EPERM ? ERR_PERM : ERR_IO, errno,
				   "set owner and mode of directory %s", name);
		close(fd);
		return rc;
	}
	return fd;
}

int directory_make_parents(const char *path, struct err *why)
{
	char parent[512];

	if (!text_copy(parent, sizeof(parent), path))
		return err_set(why, ERR_TOO_BIG, "the path %.64s... is too long", path);
	for (char *slash = strchr(parent + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(parent, 0755) < 0 && errno != EEXIST)
			return err_set_errno(why, ERR_IO, errno, "create directory %s", parent);
		*slash = '/';
	}
	return 0;
}

int directory_clear(int fd, const char *name, struct err *why)
{
	const int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *directory = copy < 0 ? NULL : fdopendir(copy);
	const struct dirent *entry;
	int rc = 0;

	if (directory == NULL) {
		rc = err_set_errno(why, ERR_IO, errno, "read directory %s", name);
		if (copy >= 0)
			close(copy);
		return rc;
	}
	while (rc == 0 && (entry = readdir(directory)) != NULL) {
		if (entry->d_type == DT_DIR)
			continue;
		if (unlinkat(fd, entry->d_name, 0) < 0 && errno != ENOENT && errno != EISDIR)
			rc = err_set_errno(why, ERR_IO, errno, "remove %s/%s", name, entry->d_name);
	}
	closedir(directory);
	return rc;
}
