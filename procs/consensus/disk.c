#include "disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"

/* Whose log this is; libraft ignores files that it does not know. */
#define OWNER_FILE "mha4rdb.owner"
/*
 * Stands while the log's end is cut off: raft_uv writes the shorter segment beside the longer one
 * and removes what is to go file by file, and does not load what it finds when it is killed
 * between.
 */
#define CUT_FILE "mha4rdb.cut"
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

static int sync_folder(const struct disk *disk, struct err *why)
{
	const int folder = open(disk->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc = 0;

	if (folder < 0 || fsync(folder) != 0)
		rc = err_set_errno(why, ERR_IO, errno, "write %s", disk->path);
	if (folder >= 0)
		close(folder);
	return rc;
}

/* Durable, or not there. `flags`: O_EXCL or O_TRUNC. */
static int write_file(const struct disk *disk, const char *name, int flags, const char *text,
		      size_t size, struct err *why)
{
	char path[300];
	int fd, rc = 0;

	snprintf(path, sizeof(path), "%s/%s", disk->path, name);
	fd = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC | flags, 0600);
	if (fd < 0)
		return err_set_errno(why, ERR_IO, errno, "create %s", path);
	if (write(fd, text, size) != (ssize_t)size || fsync(fd) != 0)
		rc = err_set_errno(why, ERR_IO, errno, "write %s", path);
	close(fd);
	if (rc == 0)
		rc = sync_folder(disk, why);
	/* Half a file would refuse this very node at its next start. */
	if (rc < 0)
		unlink(path);
	return rc;
}

/* The first bytes of a file, as far as there are any; the rest of `bytes` stays as it is. */
static int read_start(const struct disk *disk, const char *name, char *bytes, size_t size,
		      struct err *why)
{
	char path[sizeof(disk->path) + NAME_MAX + 2];
	int fd, rc = 0;

	snprintf(path, sizeof(path), "%s/%s", disk->path, name);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return err_set_errno(why, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, errno, "%s",
				     path);
	if (read(fd, bytes, size) < 0)
		rc = err_set_errno(why, ERR_IO, errno, "read %s", path);
	close(fd);
	return rc;
}

static int remove_file(const struct disk *disk, const char *name, struct err *why)
{
	char path[300];

	snprintf(path, sizeof(path), "%s/%s", disk->path, name);
	if (unlink(path) != 0 && errno != ENOENT)
		return err_set_errno(why, ERR_IO, errno, "remove %s", path);
	return sync_folder(disk, why);
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

/* As libraft has it: the reason beside a code. */
static int raft_code(struct disk *disk, int rc, const struct err *why)
{
	if (rc == 0)
		return 0;
	snprintf(disk->io.errmsg, sizeof(disk->io.errmsg), "%.255s", why->text);
	return RAFT_IOERR;
}

static int cut_begins(struct disk *disk, raft_index index)
{
	char text[32];
	const int size = snprintf(text, sizeof(text), "cut %llu\n", index);
	struct err why;

	return raft_code(disk, write_file(disk, CUT_FILE, O_TRUNC, text, (size_t)size, &why), &why);
}

static int cut_ends(struct disk *disk)
{
	struct err why;

	disk->cut_until = 0;
	return raft_code(disk, remove_file(disk, CUT_FILE, &why), &why);
}

static int wrap_truncate(struct raft_io *io, raft_index index)
{
	struct disk *disk = disk_of(io);
	int rc = cut_begins(disk, index);

	if (rc == 0)
		rc = disk->inner.truncate(io, index);
	/* What replaces the entries is written when they are gone. */
	if (rc == 0)
		disk->cut_until = disk->append_count + 1;
	report(disk, "truncate the log", rc);
	return rc;
}

struct append {
	struct raft_io_append inner;
	uint64_t number; /* disk.append_count */
	struct raft_io_append *outer;
	raft_io_append_cb done;
	struct disk *disk;
	uint64_t began_ns;
};

static void on_append(struct raft_io_append *request, int status)
{
	struct append append = *(struct append *)request->data;

	free(request->data);
	/* Before anybody is told of these entries: who finds the note later removes them. */
	if (status == 0 && append.disk->cut_until != 0 && append.number >= append.disk->cut_until)
		status = cut_ends(append.disk);
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
				  .number = ++disk_of(io)->append_count,
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

/* raft_uv may say it once for each of its parts that ends last; libraft frees what it has. */
static void on_inner_closed(struct raft_io *io)
{
	const raft_io_close_cb on_close = disk_of(io)->on_close;

	disk_of(io)->on_close = NULL;
	if (on_close != NULL)
		on_close(io);
}

static void wrap_close(struct raft_io *io, raft_io_close_cb done)
{
	disk_of(io)->on_close = done;
	disk_of(io)->inner.close(io, on_inner_closed);
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
	char found[80] = "", wanted[80];
	int rc;

	rc = read_start(disk, OWNER_FILE, found, sizeof(found) - 1, why);
	if (rc < 0)
		return rc;
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

/* A closed segment's name: sixteen digits each for its first and last entry. */
static bool segment_name(const char *name, unsigned long long *first, unsigned long long *last)
{
	return strlen(name) == 33 && name[16] == '-' && strspn(name, "0123456789") == 16 &&
	       strspn(name + 17, "0123456789") == 16 && sscanf(name, "%llu-%llu", first, last) == 2;
}

typedef int (*visit_file)(const struct disk *disk, const char *name, void *arg, struct err *why);

static int for_files(const struct disk *disk, visit_file visit, void *arg, struct err *why)
{
	DIR *folder = opendir(disk->path);
	const struct dirent *entry;
	int rc = 0;

	if (folder == NULL)
		return err_set_errno(why, ERR_IO, errno, "%s", disk->path);
	while (rc == 0 && (entry = readdir(folder)) != NULL)
		rc = visit(disk, entry->d_name, arg, why);
	closedir(folder);
	return rc;
}

static int drop_file(const struct disk *disk, const char *name, struct err *why)
{
	log_event(LOG_NOTICE, "consensus.log_mended", "%s/%s was to be removed before the end",
		  disk->path, name);
	return remove_file(disk, name, why);
}

struct cut {
	unsigned long long index; /* the first entry that goes */
	unsigned long long first; /* of the segment that was shortened; 0: none was */
};

/* What is left of the segment in which the cut begins. */
static int find_shortened(const struct disk *disk, const char *name, void *arg, struct err *why)
{
	struct cut *cut = arg;
	unsigned long long first, last;

	UNUSED(disk);
	UNUSED(why);
	if (segment_name(name, &first, &last) && last + 1 == cut->index)
		cut->first = first;
	return 0;
}

static int drop_cut(const struct disk *disk, const char *name, void *arg, struct err *why)
{
	const struct cut *cut = arg;
	unsigned long long first, last;

	if (!segment_name(name, &first, &last) ||
	    !(first >= cut->index || (first == cut->first && last >= cut->index)))
		return 0;
	return drop_file(disk, name, why);
}

/*
 * A cut that a crash has interrupted is carried out: a later leader's entries were about to take
 * the place of these, and nobody was told of those yet. If the segment in which it begins was not
 * shortened, nothing was done and nothing is: what follows that segment has to stay, too.
 */
static int finish_cut(struct disk *disk, struct err *why)
{
	char text[32] = "", end;
	struct cut cut = {0};
	int rc;

	rc = read_start(disk, CUT_FILE, text, sizeof(text) - 1, why);
	if (rc == ERR_NOT_FOUND)
		return 0;
	/* A note that is not whole: the cut had not begun. */
	if (rc == 0 && sscanf(text, "cut %llu%c", &cut.index, &end) == 2 && end == '\n' &&
	    cut.index > 0)
		rc = for_files(disk, find_shortened, &cut, why);
	if (rc == 0 && cut.first != 0)
		rc = for_files(disk, drop_cut, &cut, why);
	return rc < 0 ? rc : remove_file(disk, CUT_FILE, why);
}

struct contents {
	unsigned long long snapshot_term, snapshot_index; /* of the newest; 0: none is whole */
	unsigned long long last;                          /* entry in a closed segment */
	bool written;                                     /* an open segment is not empty */
};

/* raft_uv prepares segments full of zeros. */
static int is_written(const struct disk *disk, const char *name, bool *written, struct err *why)
{
	char bytes[8] = {0};
	static const char zeros[8];
	const int rc = read_start(disk, name, bytes, sizeof(bytes), why);

	*written = memcmp(bytes, zeros, sizeof(zeros)) != 0;
	return rc;
}

static int take_stock(const struct disk *disk, const char *name, void *arg, struct err *why)
{
	struct contents *contents = arg;
	unsigned long long term, index, first, last, time;
	char meta[80];
	int end = 0;

	if (segment_name(name, &first, &last)) {
		if (last > contents->last)
			contents->last = last;
	} else if (strncmp(name, "open-", 5) == 0 && !contents->written) {
		return is_written(disk, name, &contents->written, why);
	} else if (sscanf(name, "snapshot-%llu-%llu-%llu%n", &term, &index, &time, &end) == 3 &&
		   name[end] == '\0' && strlen(name) < sizeof(meta) - 5) {
		snprintf(meta, sizeof(meta), "%.70s.meta", name);
		if (file_exists(disk, meta) &&
		    (term > contents->snapshot_term ||
		     (term == contents->snapshot_term && index > contents->snapshot_index))) {
			contents->snapshot_term = term;
			contents->snapshot_index = index;
		}
	}
	return 0;
}

static int drop_segment(const struct disk *disk, const char *name, void *arg, struct err *why)
{
	unsigned long long first, last;

	UNUSED(arg);
	return segment_name(name, &first, &last) ? drop_file(disk, name, why) : 0;
}

/*
 * A snapshot that a leader sent takes the place of a log that ends before it. raft_uv writes it,
 * then removes the segments, and loads neither when it is killed between. What it took of itself
 * never goes beyond its closed segments, and nothing is appended before the old ones are gone.
 */
static int finish_install(const struct disk *disk, struct err *why)
{
	struct contents contents = {0};
	int rc = for_files(disk, take_stock, &contents, why);

	if (rc < 0 || contents.last == 0 || contents.last >= contents.snapshot_index ||
	    contents.written)
		return rc;
	return for_files(disk, drop_segment, NULL, why);
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
	if (rc == 0)
		rc = finish_cut(disk, why);
	if (rc == 0)
		rc = finish_install(disk, why);
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
	disk->io.close = wrap_close;
	disk->io.set_term = wrap_set_term;
	disk->io.set_vote = wrap_set_vote;
	disk->io.truncate = wrap_truncate;
	disk->io.append = wrap_append;
	disk->io.snapshot_put = wrap_snapshot_put;
	disk->io.snapshot_get = wrap_snapshot_get;
	return 0;
}

int disk_claim(struct disk *disk, uint64_t cluster_id, node_id self, struct err *why)
{
	char text[80];
	int size = owner_text(text, sizeof(text), cluster_id, self);
	int rc = owner_check(disk, cluster_id, self, why);

	if (rc != ERR_NOT_FOUND)
		return rc;
	rc = write_file(disk, OWNER_FILE, O_EXCL, text, (size_t)size, why);
	if (rc == 0)
		disk->fresh = false;
	return rc;
}

void disk_close(struct disk *disk)
{
	if (disk->open)
		raft_uv_close(&disk->io);
	disk->open = false;
}
