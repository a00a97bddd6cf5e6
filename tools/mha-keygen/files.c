#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int write_all(int fd, const char *text, size_t size)
{
	while (size > 0) {
		ssize_t done = write(fd, text, size);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return -1;
		text += done;
		size -= (size_t)done;
	}
	return fsync(fd);
}

/* Never over an existing file: the key that other nodes know would be lost. */
int file_create(const char *path, const char *text, size_t size, struct err *why)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	int rc = 0;

	if (fd < 0 && errno == EEXIST)
		return err_set(why, ERR_EXISTS,
			       "%s exists; move it away first if this node shall get a new key",
			       path);
	if (fd < 0)
		return err_set_errno(why, ERR_IO, errno, "create %s", path);
	if (fchmod(fd, 0600) != 0 || write_all(fd, text, size) != 0)
		rc = err_set_errno(why, ERR_IO, errno, "write %s", path);
	if (close(fd) != 0 && rc == 0)
		rc = err_set_errno(why, ERR_IO, errno, "write %s", path);
	if (rc < 0)
		unlink(path);
	return rc;
}

int key_file_make(const char *path, struct key *key, struct err *why)
{
	char text[KEY_FILE_MAX];
	int rc = key_make(key, why);

	if (rc < 0)
		return rc;
	rc = file_create(path, text, (size_t)key_format(key, text), why);
	explicit_bzero(text, sizeof(text));
	return rc;
}

static int read_text(const char *path, char text[KEY_FILE_MAX], struct err *why)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	size_t used = 0;
	ssize_t got = 0;

	if (fd < 0)
		return err_set_errno(why, ERR_IO, errno, "open %s", path);
	while (used < KEY_FILE_MAX) {
		got = read(fd, text + used, KEY_FILE_MAX - used);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		used += (size_t)got;
	}
	close(fd);
	if (got < 0)
		return err_set_errno(why, ERR_IO, errno, "read %s", path);
	if (used == KEY_FILE_MAX || memchr(text, '\0', used) != NULL)
		return err_set(why, ERR_INVALID, "%s: is no key file", path);
	text[used] = '\0';
	return 0;
}

int key_file_read(const char *path, struct key *key, struct err *why)
{
	char text[KEY_FILE_MAX];
	int rc = read_text(path, text, why);

	if (rc == 0) {
		rc = key_parse(text, key, why);
		if (rc < 0)
			err_in(why, rc, "%s", path);
	}
	explicit_bzero(text, sizeof(text));
	return rc;
}
