/* A change of a node's key in steps that can each be taken back (docs/security.md). */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "files.h"

/* FILE, FILE.next and FILE.old. */
struct names {
	const char *now;
	char next[PATH_MAX];
	char old[PATH_MAX];
};

static int names_make(struct names *names, const char *path, struct err *why)
{
	names->now = path;
	if (snprintf(names->next, PATH_MAX, "%s.next", path) >= PATH_MAX ||
	    snprintf(names->old, PATH_MAX, "%s.old", path) >= PATH_MAX)
		return err_set(why, ERR_TOO_BIG, "%s: the path is too long", path);
	return 0;
}

static int read_public(const char *path, char public[KEY_SIZE], struct err *why)
{
	struct key key;
	const int rc = key_file_read(path, &key, why);

	if (rc == 0)
		memcpy(public, key.public, KEY_SIZE);
	explicit_bzero(&key, sizeof(key));
	return rc;
}

static int begin(const struct names *names, struct err *why)
{
	char now[KEY_SIZE];
	struct key key;
	int rc = read_public(names->now, now, why);

	if (rc < 0)
		return rc;
	rc = key_file_make(names->next, &key, why);
	if (rc == 0)
		printf("On every node: add to this node's row of members\n"
		       "  next_public_key: \"%s\"\n"
		       "and reload (systemctl reload mha4rdb). Then, here:\n"
		       "  mha-keygen --rotate switch %s\n",
		       key.public, names->now);
	explicit_bzero(&key, sizeof(key));
	return rc;
}

/* `from` takes the place of FILE, and FILE that of `to`; at no moment is there no FILE. */
static int exchange(const struct names *names, const char *from, const char *to,
		    char public[KEY_SIZE], struct err *why)
{
	int rc = read_public(from, public, why);

	if (rc < 0)
		return rc;
	if (link(names->now, to) < 0)
		return err_set_errno(why, errno == EEXIST ? ERR_EXISTS : ERR_IO, errno, "%s", to);
	if (rename(from, names->now) < 0) {
		rc = err_set_errno(why, ERR_IO, errno, "rename %s to %s", from, names->now);
		(void)unlink(to);
	}
	return rc;
}

static int change(const struct names *names, struct err *why)
{
	char public[KEY_SIZE];
	const int rc = exchange(names, names->next, names->old, public, why);

	if (rc < 0)
		return rc;
	printf("Reload this node's agent (systemctl reload mha4rdb); when it is connected again, "
	       "on "
	       "every node:\n"
	       "make\n"
	       "  public_key: \"%s\"\n"
	       "of this node's row, remove its next_public_key, and reload. Then, here:\n"
	       "  mha-keygen --rotate finish %s\n"
	       "To go back to the old key instead: mha-keygen --rotate back %s, and reload.\n",
	       public, names->now, names->now);
	return 0;
}

static int back(const struct names *names, struct err *why)
{
	char public[KEY_SIZE];
	const int rc = exchange(names, names->old, names->next, public, why);

	if (rc < 0)
		return rc;
	printf("The key is %s again; reload this node's agent.\n", public);
	return 0;
}

static int finish(const struct names *names, struct err *why)
{
	char public[KEY_SIZE];
	const int rc = read_public(names->now, public, why);

	if (rc < 0)
		return rc;
	if (unlink(names->old) < 0)
		return err_set_errno(why, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, errno,
				     "remove %s", names->old);
	printf("The old key is gone; this node's key is %s\n", public);
	return 0;
}

int rotate(const char *step, const char *path, struct err *why)
{
	struct names names;
	const int rc = names_make(&names, path, why);

	if (rc < 0)
		return rc;
	if (strcmp(step, "begin") == 0)
		return begin(&names, why);
	if (strcmp(step, "switch") == 0)
		return change(&names, why);
	if (strcmp(step, "back") == 0)
		return back(&names, why);
	if (strcmp(step, "finish") == 0)
		return finish(&names, why);
	return err_set(why, ERR_INVALID, "--rotate %s: none of begin, switch, back, finish", step);
}
