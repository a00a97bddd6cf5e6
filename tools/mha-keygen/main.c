/* mha-keygen: make a node's CURVE key, or show the public key of one. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "wire/key.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

static void usage(FILE *to)
{
	fprintf(to,
		"usage: mha-keygen FILE            make a new key in FILE, print its public key\n"
		"       mha-keygen --public FILE   print the public key of the key in FILE\n"
		"       mha-keygen --help\n");
}

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
static int create(const char *path, const char *text, size_t size, struct err *why)
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

static int make(const char *path, struct key *key, struct err *why)
{
	char text[KEY_FILE_MAX];
	int rc = key_make(key, why);

	if (rc < 0)
		return rc;
	rc = create(path, text, (size_t)key_format(key, text), why);
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

static int show(const char *path, struct key *key, struct err *why)
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

int main(int argc, char **argv)
{
	struct key key = {0};
	struct err why = {0};
	int rc;

	if (argc == 2 && strcmp(argv[1], "--help") == 0) {
		usage(stdout);
		return EXIT_DONE;
	}
	if (argc == 3 && strcmp(argv[1], "--public") == 0) {
		rc = show(argv[2], &key, &why);
	} else if (argc == 2 && argv[1][0] != '-') {
		rc = make(argv[1], &key, &why);
	} else {
		usage(stderr);
		return EXIT_USAGE;
	}
	explicit_bzero(key.secret, sizeof(key.secret));
	if (rc < 0) {
		fprintf(stderr, "mha-keygen: %s\n", why.text);
		return EXIT_FAILED;
	}
	if (puts(key.public) == EOF || fflush(stdout) != 0) {
		fprintf(stderr, "mha-keygen: the public key cannot be printed: %s\n",
			strerror(errno));
		return EXIT_FAILED;
	}
	return EXIT_DONE;
}
