#include "layout.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "base/log.h"
#include "os/directory.h"

#define CLIENT_SOCKET "client/client.sock"

static int take_lock(int run_fd, const char *run_dir, struct err *why)
{
	const int fd = openat(run_fd, "mhad.lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return err_set_errno(why, ERR_IO, errno, "%s/mhad.lock", run_dir);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		const int code =
			errno == EWOULDBLOCK
				? err_set(why, ERR_BUSY,
					  "another mhad runs on paths.run_dir (%s); stop it first",
					  run_dir)
				: err_set_errno(why, ERR_IO, errno, "%s/mhad.lock", run_dir);

		close(fd);
		return code;
	}
	return fd;
}

/* A directory that is needed no longer once it is right. */
static int make_and_close(int at, const char *name, const struct os_user *owner,
			  const struct os_user *group, mode_t mode, bool clear, struct err *why)
{
	const int fd = directory_make(at, name, owner != NULL ? owner->uid : 0,
				      group != NULL ? group->gid : 0, mode, why);
	int rc = 0;

	if (fd < 0)
		return fd;
	if (clear)
		rc = directory_clear(fd, name, why);
	close(fd);
	return rc;
}

/*
 * bus/TO/FROM: the receiver binds its socket there, and only the sender's group may pass the
 * directory. The set-group-id bit is not needed: access to the socket is what passing it gives.
 */
static int make_bus_of(int bus_fd, enum master_worker to, const struct os_user *users,
		       struct err *why)
{
	const int fd = directory_make(bus_fd, WORKER_ROWS[to].name, 0, 0, 0755, why);
	int rc = 0;

	if (fd < 0)
		return fd;
	for (unsigned from = 0; rc == 0 && from < MASTER_WORKER_COUNT; from++) {
		if (worker_route_exists((enum master_worker)from, to))
			rc = make_and_close(fd, WORKER_ROWS[from].name, &users[to], &users[from],
					    0710, true, why);
	}
	close(fd);
	return rc;
}

static int make_bus(int run_fd, const struct os_user *users, struct err *why)
{
	const int fd = directory_make(run_fd, "bus", 0, 0, 0755, why);
	int rc = 0;

	if (fd < 0)
		return fd;
	for (unsigned to = 0; rc == 0 && to < MASTER_WORKER_COUNT; to++)
		rc = make_bus_of(fd, (enum master_worker)to, users, why);
	close(fd);
	return rc;
}

/* The gateway cannot create files in root's run_dir; clients find its socket there all the same. */
static int make_client_socket(int run_fd, const struct os_user *gateway, struct err *why)
{
	int rc = make_and_close(run_fd, "client", gateway, gateway, 0755, true, why);

	if (rc < 0)
		return rc;
	if (unlinkat(run_fd, "client.sock", 0) < 0 && errno != ENOENT)
		return err_set_errno(why, ERR_IO, errno, "remove client.sock");
	if (symlinkat(CLIENT_SOCKET, run_fd, "client.sock") < 0)
		return err_set_errno(why, ERR_IO, errno, "link client.sock");
	return 0;
}

static int make_state(const struct conf *conf, const struct os_user *consensus, struct err *why)
{
	int fd, rc;

	if ((rc = directory_make_parents(conf->state_dir, why)) < 0)
		return rc;
	fd = directory_make(AT_FDCWD, conf->state_dir, 0, 0, 0755, why);
	if (fd < 0)
		return fd;
	rc = make_and_close(fd, "raft", consensus, consensus, 0700, false, why);
	close(fd);
	return rc;
}

static int make_run(struct layout *layout, int run_fd, const struct conf *conf,
		    const struct os_user *users, struct err *why)
{
	int rc;

	layout->lock_fd = take_lock(run_fd, conf->run_dir, why);
	if (layout->lock_fd < 0)
		return layout->lock_fd;
	layout->status_fd = directory_make(run_fd, "status", 0, 0, 0755, why);
	if (layout->status_fd < 0)
		return layout->status_fd;
	if ((rc = make_bus(run_fd, users, why)) < 0)
		return rc;
	return make_client_socket(run_fd, &users[MASTER_gateway], why);
}

/* Where a page of the status segment is on a disk, writing it may wait for that disk. */
static void warn_of_disk(int run_fd, const char *run_dir)
{
	struct statfs fs;

	if (fstatfs(run_fd, &fs) == 0 && fs.f_type != TMPFS_MAGIC)
		log_event(LOG_WARNING, "master.run_dir_on_disk",
			  "path=%s is on no tmpfs: a slow disk may delay the renewal of the lease",
			  run_dir);
}

int layout_make(struct layout *layout, const struct conf *conf,
		const struct os_user users[MASTER_WORKER_COUNT], struct err *why)
{
	int fd, rc;

	if ((rc = directory_make_parents(conf->run_dir, why)) < 0)
		return rc;
	fd = directory_make(AT_FDCWD, conf->run_dir, 0, 0, 0755, why);
	if (fd < 0)
		return fd;
	warn_of_disk(fd, conf->run_dir);
	rc = make_run(layout, fd, conf, users, why);
	close(fd);
	if (rc < 0)
		return err_in(why, rc, "%s", conf->run_dir);
	rc = make_state(conf, &users[MASTER_consensus], why);
	return rc < 0 ? err_in(why, rc, "%s", conf->state_dir) : 0;
}

int layout_open_status(const struct layout *layout, enum status_section_id section, struct err *why)
{
	const char *name = status_section_name(section);
	const int fd =
		openat(layout->status_fd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);

	if (fd < 0)
		return err_set_errno(why, ERR_IO, errno, "status section %s", name);
	if (fchmod(fd, 0644) < 0) {
		const int code = err_set_errno(why, ERR_IO, errno, "status section %s", name);

		close(fd);
		return code;
	}
	return fd;
}
