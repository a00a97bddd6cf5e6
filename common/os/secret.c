#include "os/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/memfd.h"

static int check_file(int fd, const char *path, uid_t owner, enum secret_privacy privacy,
		      struct err *why)
{
	const mode_t forbidden = privacy == SECRET_PRIVATE ? 0077 : 0022;
	struct stat stat;

	if (fstat(fd, &stat) < 0)
		return err_set_errno(why, ERR_IO, errno, "%s", path);
	if (!S_ISREG(stat.st_mode))
		return err_set(why, ERR_INVALID, "%s: not a regular file", path);
	if (stat.st_uid != 0 && stat.st_uid != owner)
		return err_set(why, ERR_PERM, "%s: belongs to user %u; it must belong to %s", path,
			       (unsigned)stat.st_uid, owner == 0 ? "root" : "root or to its user");
	if ((stat.st_mode & forbidden) != 0)
		return err_set(why, ERR_PERM,
			       "%s: has mode %04o, so others than its owner may %s it; set it to "
			       "%s",
			       path, (unsigned)(stat.st_mode & 07777),
			       privacy == SECRET_PRIVATE ? "use" : "change",
			       privacy == SECRET_PRIVATE ? "0600" : "0644");
	return 0;
}

/* Where the file is; `room` holds the path of a credential. */
static int find(const char *name, char room[PATH_MAX], const char **path, struct err *why)
{
	const size_t length = strlen(SECRET_CREDENTIAL);
	const char *folder;

	*path = name;
	if (strncmp(name, SECRET_CREDENTIAL, length) != 0)
		return 0;
	folder = getenv("CREDENTIALS_DIRECTORY");
	if (folder == NULL || folder[0] != '/')
		return err_set(why, ERR_NOT_FOUND,
			       "%s: the service manager has given no credentials; add "
			       "LoadCredential=%s:/path to the unit",
			       name, name + length);
	if (snprintf(room, PATH_MAX, "%s/%s", folder, name + length) >= PATH_MAX)
		return err_set(why, ERR_TOO_BIG, "%s: the path is too long", name);
	*path = room;
	return 0;
}

static int read_all(int fd, const char *path, size_t max, char *bytes, size_t *used,
		    struct err *why)
{
	ssize_t got = 0;

	*used = 0;
	while (*used <= max) {
		got = read(fd, bytes + *used, max + 1 - *used);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		*used += (size_t)got;
	}
	if (got < 0)
		return err_set_errno(why, ERR_IO, errno, "%s: read", path);
	if (*used == 0)
		return err_set(why, ERR_INVALID, "%s: is empty", path);
	if (*used > max)
		return err_set(why, ERR_INVALID, "%s: is larger than %zu bytes", path, max);
	bytes[*used] = '\0';
	return 0;
}

static int open_file(const char *path, struct err *why)
{
	const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);

	if (fd < 0 && errno == ELOOP)
		return err_set(why, ERR_INVALID,
			       "%s: is a symbolic link; name the file that it leads to", path);
	if (fd < 0)
		return err_set_errno(why, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, errno, "%s",
				     path);
	return fd;
}

int secret_load(const char *path, uid_t owner, enum secret_privacy privacy, size_t max, char **text,
		size_t *size, struct err *why)
{
	char room[PATH_MAX];
	int fd, rc;

	*text = NULL;
	if ((rc = find(path, room, &path, why)) < 0)
		return rc;
	fd = open_file(path, why);
	if (fd < 0)
		return fd;
	/* Room for one byte too many, which tells that it is too big, and for the NUL. */
	rc = check_file(fd, path, owner, privacy, why);
	if (rc == 0 && (*text = malloc(max + 2)) == NULL)
		rc = err_set(why, ERR_NO_MEMORY, "%s: out of memory", path);
	if (rc == 0)
		rc = read_all(fd, path, max, *text, size, why);
	close(fd);
	if (rc < 0 && *text != NULL) {
		explicit_bzero(*text, max + 2);
		free(*text);
		*text = NULL;
	}
	return rc;
}

int secret_read(const char *path, const char *name, uid_t owner, struct err *why)
{
	size_t size;
	char *text;
	int rc = secret_load(path, owner, SECRET_PRIVATE, SECRET_SIZE_MAX, &text, &size, why);

	if (rc < 0)
		return rc;
	rc = memfd_sealed(name, text, size, why);
	explicit_bzero(text, size);
	free(text);
	return rc;
}
