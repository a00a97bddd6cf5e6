#include "disk.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"

/* Whose log this is; libraft ignores files that it does not know. */
#define OWNER_FILE "mha4rdb.owner"
/* libraft preallocates a few of these. */
#define SEGMENT_BYTES 1048576

static struct disk *disk_of(struct raft_io *io)
{
	return (struct disk *)(void *)io;
}

static void report(struct disk *disk, const char *doing, int rc)
{
	struct err why = {0};

	if (rc == 0 || rc == RAFT_CANCELED || disk->failed)
		return;
	disk->failed = true;
	/* raft_uv says more than the code does, as long as it says anything. */
	err_set(&why, ERR_IO, "%s in %s: %s", doing, disk->path,
		disk->io.errmsg[0] == '\0' ? raft_strerror(rc) : disk->io.errmsg);
	disk->on_failure(disk->arg, why.text);
}

static int wrap_set_term(struct raft_io *io, raft_term term)
{
	int rc = disk_of(io)->inner.set_term(io, term);

	report(disk_of(io), "write the term", rc);
	return rc;
}

static int wrap_set_vote(struct raft_io *io, raft_id server)
{
	int rc = disk_of(io)->inner.set_vote(io, server);

	report(disk_of(io), "write the vote", rc);
	return rc;
}

static int wrap_truncate(struct raft_io *io, raft_index index)
{
	int rc = disk_of(io)->inner.truncate(io, index);

	report(disk_of(io), "truncate the log", rc);
	return rc;
}

struct append {
	struct raft_io_append inner;
	struct raft_io_append *outer;
	raft_io_append_cb done;
	struct disk *disk;
	uint64_t began_ns;
};

static void on_append(struct raft_io_append *request, int status)
{
	struct append append = *(struct append *)request->data;

	free(request->data);
	report(append.disk, "write the log", status);
	if (status == 0)
		status_time_add(&append.disk->writes, (uv_hrtime() - append.began_ns) / 1000);
	append.done(append.outer, status);
}

static int wrap_append(struct raft_io *io, struct raft_io_append *request,
		       const struct raft_entry entries[], unsigned count, raft_io_append_cb done)
{
	struct append *append = malloc(sizeof(*append));
	int rc;

	if (append == NULL)
		return RAFT_NOMEM;
	*append = (struct append){.inner = {.data = append},
				  .outer = request,
				  .done = done,
				  .disk = disk_of(io),
				  .began_ns = uv_hrtime()};
	rc = disk_of(io)->inner.append(io, &append->inner, entries, count, on_append);
	if (rc != 0) {
		free(append);
		report(disk_of(io), "write the log", rc);
	}
	return rc;
}

struct put {
	struct raft_io_snapshot_put inner;
	struct raft_io_snapshot_put *outer;
	raft_io_snapshot_put_cb done;
	struct disk *disk;
};

static void on_put(struct raft_io_snapshot_put *request, int status)
{
	struct put put = *(struct put *)request->data;

	free(request->data);
	report(put.disk, "write a snapshot", status);
	put.done(put.outer, status);
}

static int wrap_snapshot_put(struct raft_io *io, unsigned trailing,
			     struct raft_io_snapshot_put *request,
			     const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb done)
{
	struct put *put = malloc(sizeof(*put));
	int rc;

	if (put == NULL)
		return RAFT_NOMEM;
	*put = (struct put){
		.inner = {.data = put}, .outer = request, .done = done, .disk = disk_of(io)};
	rc = disk_of(io)->inner.snapshot_put(io, trailing, &put->inner, snapshot, on_put);
	if (rc != 0)
		free(put);
	return rc;
}

/*
 * After a failed write libraft may look for entries that it has taken back, and asks for a snapshot
 * instead; raft_uv then answers with one that was never read, if there is none.
 */
static int wrap_snapshot_get(struct raft_io *io, struct raft_io_snapshot_get *request,
			     raft_io_snapshot_get_cb done)
{
	if (disk_of(io)->failed)
		return RAFT_IOERR;
	return disk_of(io)->inner.snapshot_get(io, request, done);
}

/* The wire is ours (peers.c): raft_uv neither listens nor connects. */
static int transport_init(struct raft_uv_transport *transport, raft_id id, const char *address)
{
	UNUSED(transport);
	UNUSED(id);
	UNUSED(address);
	return 0;
}

static int transport_listen(struct raft_uv_transport *transport, raft_uv_accept_cb accept)
{
	UNUSED(transport);
	UNUSED(accept);
	return 0;
}

static int transport_connect(struct raft_uv_transport *transport, struct raft_uv_connect *request,
			     raft_id id, const char *address, raft_uv_connect_cb done)
{
	UNUSED(transport);
	UNUSED(request);
	UNUSED(id);
	UNUSED(address);
	UNUSED(done);
	return RAFT_NOCONNECTION;
}

static void transport_close(struct raft_uv_transport *transport, raft_uv_transport_close_cb done)
{
	done(transport);
}

static int owner_text(char *text, size_t size, uint64_t cluster_id, node_id self)
{
	return snprintf(text, size, "cluster %016" PRIx64 " node %u\n", cluster_id, self);
}

/* ERR_NOT_FOUND: nobody's yet. */
static int owner_check(const struct disk *disk, uint64_t cluster_id, node_id self, struct err *why)
{
	char path[300], found[80] = "", wanted[80];
	int fd;
	ssize_t got;

	snprintf(path, sizeof(path), "%s/" OWNER_FILE, disk->path);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 && errno == ENOENT)
		return ERR_NOT_FOUND;
	if (fd < 0)
		return err_set_errno(why, ERR_IO, errno, "%s", path);
	got = read(fd, found, sizeof(found) - 1);
	close(fd);
	if (got < 0)
		return err_set_errno(why, ERR_IO, errno, "read %s", path);
	owner_text(wanted, sizeof(wanted), cluster_id, self);
	if (strcmp(found, wanted) != 0) {
		found[strcspn(found, "\n")] = '\0';
		wanted[strcspn(wanted, "\n")] = '\0';
		return err_set(why, ERR_REFUSED,
			       "%s holds the log of '%s', this node is '%s': give this node the "
			       "directory that belongs to it",
			       disk->path, found, wanted);
	}
	return 0;
}

static bool file_exists(const struct disk *disk, const char *name)
{
	char path[300];

	snprintf(path, sizeof(path), "%s/%s", disk->path, name);
	return access(path, F_OK) == 0;
}

static int directory_check(struct disk *disk, uint64_t cluster_id, node_id self, struct err *why)
{
	struct stat folder;
	int rc;

	if (stat(disk->path, &folder) != 0)
		return err_set_errno(why, ERR_IO, errno, "the log directory %s", disk->path);
	if (!S_ISDIR(folder.st_mode))
		return err_set(why, ERR_IO, "%s is no directory", disk->path);
	if (access(disk->path, R_OK | W_OK | X_OK) != 0)
		return err_set_errno(why, ERR_IO, errno, "the log directory %s cannot be written",
				     disk->path);
	rc = owner_check(disk, cluster_id, self, why);
	if (rc == ERR_NOT_FOUND) {
		disk->fresh = true;
		return 0;
	}
	if (rc < 0)
		return rc;
	if (!file_exists(disk, "metadata1") && !file_exists(disk, "metadata2"))
		return err_set(why, ERR_CORRUPT,
			       "%s has lost its log: a voter that forgot its votes must not vote; "
			       "restore the directory, or let this node join under a new id",
			       disk->path);
	return 0;
}

int disk_open(struct disk *disk, uv_loop_t *loop, const char *path, uint64_t cluster_id,
	      node_id self, void (*on_failure)(void *arg, const char *reason), void *arg,
	      struct err *why)
{
	int rc;

	*disk = (struct disk){.writes = disk->writes};
	disk->on_failure = on_failure;
	disk->arg = arg;
	if (snprintf(disk->path, sizeof(disk->path), "%s", path) >= (int)sizeof(disk->path))
		return err_set(why, ERR_TOO_BIG, "paths.state_dir is too long: %s", path);
	rc = directory_check(disk, cluster_id, self, why);
	if (rc < 0)
		return rc;
	disk->transport.init = transport_init;
	disk->transport.listen = transport_listen;
	disk->transport.connect = transport_connect;
	disk->transport.close = transport_close;
	rc = raft_uv_init(&disk->io, loop, disk->path, &disk->transport);
	if (rc != 0)
		return err_set(why, ERR_IO, "the log directory %s: %s: %s", disk->path,
			       raft_strerror(rc), disk->io.errmsg);
	/* Dropping what cannot be read would be forgetting what was promised. */
	raft_uv_set_auto_recovery(&disk->io, false);
	raft_uv_set_segment_size(&disk->io, SEGMENT_BYTES);
	disk->open = true;
	disk->inner = disk->io;
	disk->io.set_term = wrap_set_term;
	disk->io.set_vote = wrap_set_vote;
	disk->io.truncate = wrap_truncate;
	disk->io.append = wrap_append;
	disk->io.snapshot_put = wrap_snapshot_put;
	disk->io.snapshot_get = wrap_snapshot_get;
	return 0;
}

static int write_durably(int fd, const char *text, size_t size, const char *path, struct err *why)
{
	if (write(fd, text, size) != (ssize_t)size || fsync(fd) != 0)
		return err_set_errno(why, ERR_IO, errno, "write %s", path);
	return 0;
}

int disk_claim(struct disk *disk, uint64_t cluster_id, node_id self, struct err *why)
{
	char path[300], text[80];
	int size = owner_text(text, sizeof(text), cluster_id, self);
	int rc = owner_check(disk, cluster_id, self, why);
	int folder, fd;

	if (rc != ERR_NOT_FOUND)
		return rc;
	folder = open(disk->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (folder < 0)
		return err_set_errno(why, ERR_IO, errno, "%s", disk->path);
	snprintf(path, sizeof(path), "%s/" OWNER_FILE, disk->path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0) {
		rc = err_set_errno(why, ERR_IO, errno, "create %s", path);
		close(folder);
		return rc;
	}
	rc = write_durably(fd, text, (size_t)size, path, why);
	close(fd);
	if (rc == 0 && fsync(folder) != 0)
		rc = err_set_errno(why, ERR_IO, errno, "write %s", disk->path);
	/* Half a file would refuse this very node at its next start. */
	if (rc < 0)
		unlink(path);
	else
		disk->fresh = false;
	close(folder);
	return rc;
}

void disk_close(struct disk *disk)
{
	if (disk->open)
		raft_uv_close(&disk->io);
	disk->open = false;
}
