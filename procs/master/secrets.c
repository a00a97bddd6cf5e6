#include "secrets.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/memfd.h"

#define SECRET_SIZE_MAX 4096

static int check_file(int fd, const char *path, uid_t other, struct err *why)
{
	struct stat stat;

	if (fstat(fd, &stat) < 0)
		return err_set_errno(why, ERR_IO, errno, "%s", path);
	if (!S_ISREG(stat.st_mode))
		return err_set(why, ERR_INVALID, "%s: not a regular file", path);
	if (stat.st_uid != 0 && stat.st_uid != other)
		return err_set(why, ERR_PERM, "%s: belongs to user %u; it must belong to %s", path,
			       (unsigned)stat.st_uid,
			       other == 0 ? "root" : "root or to postgresql.os_user");
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

static int read_secret(const char *path, const char *name, uid_t other, struct err *why)
{
	const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	int rc;

	if (fd < 0)
		return err_set_errno(why, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, errno, "%s",
				     path);
	rc = check_file(fd, path, other, why);
	if (rc == 0)
		rc = read_into_memfd(fd, path, name, why);
	close(fd);
	return rc;
}

int secrets_read(int fds[SECRET_COUNT], const struct conf *conf, const struct os_user *database,
		 struct err *why)
{
	int fd;

	for (unsigned i = 0; i < SECRET_COUNT; i++)
		fds[i] = -1;
	fd = read_secret(conf->secret_key_file, "node-key", 0, why);
	if (fd < 0)
		return err_in(why, fd, "keys.secret_file");
	fds[SECRET_NODE_KEY] = fd;
	if (conf_self(conf)->kind != MEMBER_DATA)
		return 0;
	fd = read_secret(conf->pg_replication_password_file, "replication-password", database->uid,
			 why);
	if (fd < 0)
		return err_in(why, fd, "postgresql.replication_password_file");
	fds[SECRET_REPLICATION_PASSWORD] = fd;
	return 0;
}
