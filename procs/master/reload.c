/* The configuration as the master handles it: load, seal for the workers, reload. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "master.h"
#include "os/control.h"
#include "os/memfd.h"
#include "secrets.h"

/* It names programs and users: whoever may write it is as good as root. */
static int check_trusted(int fd, const char *path, struct err *why)
{
	struct stat stat;

	if (fstat(fd, &stat) < 0)
		return err_set_errno(why, ERR_IO, errno, "%s", path);
	if (!S_ISREG(stat.st_mode))
		return err_set(why, ERR_INVALID, "%s: not a regular file", path);
	if (geteuid() == 0 && (stat.st_uid != 0 || (stat.st_mode & 0022) != 0))
		return err_set(
			why, ERR_PERM,
			"%s: belongs to user %u with mode %04o; it must belong to root and be "
			"writable by nobody else",
			path, (unsigned)stat.st_uid, (unsigned)(stat.st_mode & 07777));
	return 0;
}

int conf_load(struct conf *conf, const char *path, struct err *why)
{
	const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	int rc;

	if (fd < 0)
		return err_set_errno(why, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, errno, "%s",
				     path);
	rc = check_trusted(fd, path, why);
	if (rc == 0)
		rc = conf_read_fd(conf, fd, path, why);
	close(fd);
	return rc;
}

int conf_seal(const struct conf *conf, struct err *why)
{
	char *text = NULL;
	size_t size = 0;
	FILE *stream = open_memstream(&text, &size);
	int rc;

	if (stream == NULL)
		return err_set_errno(why, ERR_NO_MEMORY, errno, "configuration");
	rc = conf_print(conf, stream, why);
	if (fclose(stream) != 0 && rc == 0)
		rc = err_set_errno(why, ERR_NO_MEMORY, errno, "configuration");
	if (rc == 0)
		rc = memfd_sealed("mha4rdb.conf", text, size, why);
	free(text);
	return rc;
}

static int hand_to(const struct master *master, unsigned worker, struct err *why)
{
	const int control = master->children[worker].life->control;
	const enum secret_kind kind = WORKER_ROWS[worker].secret;
	int rc = 0;

	if (kind != SECRET_NONE && master->secrets[kind] >= 0)
		rc = control_send(control, CONTROL_SECRET, 0, master->secrets[kind], why);
	return rc < 0 ? rc : control_send(control, CONTROL_CONF, 0, master->conf_fd, why);
}

static void hand_out(const struct master *master)
{
	struct err why;

	for (unsigned i = 0; i < MASTER_WORKER_COUNT; i++) {
		/* One that is just ending gets it with its next life. */
		if (master->children[i].life != NULL && hand_to(master, i, &why) < 0)
			log_event(LOG_WARNING, "reload.not_delivered", "worker=%s %s",
				  WORKER_ROWS[i].name, why.text);
	}
}

static int take(struct master *master, const struct conf *fresh, struct err *why)
{
	int rc = conf_reload_check(&master->conf, fresh, why);

	if (rc < 0)
		return rc;
	rc = conf_seal(fresh, why);
	if (rc < 0)
		return rc;
	const int sealed = rc;

	if ((rc = secrets_again(master->secrets, fresh, why)) < 0) {
		close(sealed);
		return rc;
	}
	rc = sealed;
	close(master->conf_fd);
	master->conf_fd = rc;
	master->conf = *fresh;
	log_set_threshold((enum log_level)fresh->log_level);
	hand_out(master);
	return 0;
}

int reload(struct master *master)
{
	struct conf *fresh = calloc(1, sizeof(*fresh));
	struct err why;
	int rc;

	if (fresh == NULL) {
		log_event(LOG_ERROR, "reload.refused", "out of memory");
		return ERR_NO_MEMORY;
	}
	rc = conf_load(fresh, master->conf_path, &why);
	if (rc == 0)
		rc = take(master, fresh, &why);
	if (rc < 0)
		log_event(LOG_ERROR, "reload.refused", "%s; the running configuration stays",
			  why.text);
	else
		log_event(LOG_NOTICE, "reload.done", "file=%s", master->conf_path);
	free(fresh);
	return rc;
}
