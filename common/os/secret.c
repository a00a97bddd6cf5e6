#include "os/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/memfd.h"

static int check_file(int fd, const char *path, uid_t owner, struct err *why)
{
	struct stat stat;

	if (fstat(fd, &stat) < 0)
		return err_set_errno(why, ERR_IO, errno, "%s", path);
	if (!S_ISREG(stat.st_mode))
		return err_set(why, ERR_INVALID, "%s: not a regular file", path);
	if (stat.st_uid != 0 && stat.st_uid != owner)
		return err_set(why, ERR_PERM, "%s: belongs to user %u; it must belong to %s", path,
			       (unsigned)stat.st_uid, owner == 0 ? "root" : "root or to its user");
	if ((stat.st_mode & 0077) != 0)
		return err_set(why, ERR_PERM,
			       "%s: has mode %04o, so others than its owner may use it; set it to "
			       "0600",
			       path, (unsigned)(stat.st_mode & 07777));
	return 0;
}

static int read_into_memfd(int fd, const char *path, const char *name, struct err *why)
{
	char bytes[SECRET_SIZE_MAX + 1];
	size_t used = 0;
	ssize_t got = 0;
	int rc;

	while (used < sizeof(bytes)) {
		got = read(fd, bytes + used, sizeof(bytes) - used);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		used += (size_t)got;
	}
	if (got < 0)
		rc = err_set_errno(why, ERR_IO, errno, "%s: read", path);
	else if (used == 0)
		rc = err_set(why, ERR_INVALID, "%s: is empty", path);
	else if (used > SECRET_SIZE_MAX)
		rc = err_set(why, ERR_INVALID, "%s: is larger than %d bytes", path,
			     SECRET_SIZE_MAX);
	else
		rc = memfd_sealed(name, bytes, used, why);
	explicit_bzero(bytes, sizeof(bytes));
	return rc;
}

int secret_read(const char *path, const char *name, uid_t owner, struct err *why)
{
	const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	int rc;

	if (fd < 0)
		return err_set_errno(why, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, errno, "%s",
				     path);
	rc = check_file(fd, path, owner, why);
	if (rc == 0)
		rc = read_into_memfd(fd, path, name, why);
	close(fd);
	return rc;
}
