#include "engine/pg_archive.h"

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
#include "engine/child.h"
#include "engine/pg_bound.h"
#include "engine/pg_rejoin.h"
#include "os/clock.h"

#define FETCHED "mha4rdb.restored" /* in pg_wal, until it is known to be good */
/* A command that works on one segment for so long will not end. */
#define PATIENCE_NS UINT64_C(300000000000)
/* What the standby says about a segment within this time after it came is of before. */
#define SETTLE_NS UINT64_C(10000000000)

struct wal_archive {
	struct engine_control *control; /* NULL: it was closed meanwhile */
	struct child *child;            /* the command runs */
	uint64_t since_ns;              /* when it began */
	char segment[64];               /* that is fetched, or was the last one */
	char last_line[CHILD_LINE_SIZE];
	uint64_t done_ns; /* when `segment` was put into place; 0: it was not */
	/* In a thread while `installing`. */
	bool installing;
	uv_work_t work;
	char data[FILES_PATH_SIZE];
	char wal[FILES_PATH_SIZE];
	int rc;
	struct err why;
};

bool archive_command(const char *command, const char *segment, const char *path, char *text,
		     size_t size)
{
	size_t used = 0;

	for (; *command != '\0'; command++) {
		const char one[2] = {*command, '\0'};
		const char *put = one;
		const char next = command[0] == '%' ? command[1] : '\0';
		size_t length;

		if (next == 'f')
			put = segment;
		else if (next == 'p')
			put = path;
		if (next == 'f' || next == 'p' || next == '%')
			command++;
		length = strlen(put);
		if (used + length >= size)
			return false;
		memcpy(text + used, put, length);
		used += length;
	}
	text[used] = '\0';
	return true;
}

int archive_check(const unsigned char head[ARCHIVE_HEAD_SIZE], uint64_t size, const char *segment,
		  uint64_t system_id, struct err *why)
{
	/* struct XLogLongPageHeaderData, the same since version 9.3. */
	enum { INFO_AT = 2, TIMELINE_AT = 4, PLACE_AT = 8, SYSTEM_AT = 24, SIZE_AT = 32 };
	enum { LONG_HEADER = 2 };
	uint16_t info;
	uint32_t timeline, segment_size, number, high, low;
	uint64_t place, system;

	memcpy(&info, head + INFO_AT, sizeof(info));
	memcpy(&timeline, head + TIMELINE_AT, sizeof(timeline));
	memcpy(&place, head + PLACE_AT, sizeof(place));
	memcpy(&system, head + SYSTEM_AT, sizeof(system));
	memcpy(&segment_size, head + SIZE_AT, sizeof(segment_size));
	if (!wal_segment_name(segment, &number, &high, &low))
		return err_set(why, ERR_INVALID, "%s is no name of a segment", segment);
	if ((info & LONG_HEADER) == 0 || segment_size == 0 || size != segment_size)
		return err_set(why, ERR_CORRUPT, "it is no whole segment (%" PRIu64 " bytes)",
			       size);
	if (system != system_id)
		return err_set(why, ERR_CORRUPT,
			       "it is of another database (system identifier %" PRIu64 ")", system);
	if (place != ((uint64_t)high << 32) + (uint64_t)low * segment_size || timeline > number)
		return err_set(why, ERR_CORRUPT, "it holds other WAL than its name says");
	return 0;
}

static int install_segment(const struct wal_archive *archive, struct err *why)
{
	unsigned char head[ARCHIVE_HEAD_SIZE];
	char from[2 * FILES_PATH_SIZE], to[2 * FILES_PATH_SIZE];
	struct pg_control_file control;
	struct stat file;
	int fd, rc;

	snprintf(from, sizeof(from), "%s/" FETCHED, archive->wal);
	snprintf(to, sizeof(to), "%s/%s", archive->wal, archive->segment);
	if ((rc = pg_control_file_read(archive->data, &control, why)) < 0)
		return rc;
	fd = open(from, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return err_set_errno(why, ERR_IO, errno, "open what it put into %s", from);
	if (fstat(fd, &file) < 0 || pread(fd, head, sizeof(head), 0) != (ssize_t)sizeof(head))
		rc = err_set(why, ERR_CORRUPT, "it is too short");
	else
		rc = archive_check(head, (uint64_t)file.st_size, archive->segment,
				   control.system_id, why);
	if (rc == 0 && (fchmod(fd, 0600) < 0 || fsync(fd) < 0))
		rc = err_set_errno(why, ERR_IO, errno, "sync %s", from);
	close(fd);
	if (rc == 0 && rename(from, to) < 0)
		rc = err_set_errno(why, ERR_IO, errno, "rename %s to %s", from, to);
	return rc < 0 ? rc : directory_sync(archive->wal, why);
}

/* In a thread. */
static void on_install(uv_work_t *work)
{
	struct wal_archive *archive = work->data;

	archive->rc = install_segment(archive, &archive->why);
}

static void failed(struct wal_archive *archive, const char *reason)
{
	archive->done_ns = 0;
	log_event(LOG_WARNING, "archive.failed", "segment=%s %.300s", archive->segment, reason);
	missing_set(archive->control, archive->segment);
}

static void on_installed(uv_work_t *work, int status)
{
	struct wal_archive *archive = work->data;

	UNUSED(status);
	archive->installing = false;
	if (archive->control == NULL) {
		free(archive);
		return;
	}
	if (archive->rc < 0) {
		failed(archive, archive->why.text);
		return;
	}
	archive->done_ns = clock_boot_ns();
	log_event(LOG_NOTICE, "archive.restored", "segment=%s", archive->segment);
}

static void on_line(void *arg, const char *line)
{
	struct wal_archive *archive = arg;

	snprintf(archive->last_line, sizeof(archive->last_line), "%s", line);
}

static void on_ended(void *arg, const struct process_end *end)
{
	struct wal_archive *archive = arg;
	struct engine_control *control = archive->control;
	char reason[CHILD_LINE_SIZE + 64];

	archive->child = NULL;
	/* A directory that is being rebuilt is not written to. */
	if (control->job != NULL || control->work.postmaster == 0)
		return;
	if (end->by_signal || end->code != 0) {
		snprintf(reason, sizeof(reason), "the command ended by %s %d: %s",
			 end->by_signal ? "signal" : "status", end->code, archive->last_line);
		failed(archive, reason);
		return;
	}
	archive->work.data = archive;
	archive->installing =
		uv_queue_work(control->loop, &archive->work, on_install, on_installed) == 0;
	if (!archive->installing)
		failed(archive, "no background thread");
}

static const struct child_events EVENTS = {.line = on_line, .ended = on_ended};

bool archive_fetch(struct engine_control *control, const char *segment)
{
	struct wal_archive *archive = control->archive;
	char path[2 * FILES_PATH_SIZE], text[4 * FILES_PATH_SIZE];
	const char *argv[] = {"/bin/sh", "-c", text, NULL};
	const struct child_spec spec = {.argv = argv, .directory = archive->data};
	const bool again = strcmp(archive->segment, segment) == 0;
	struct err why;

	if (control->conf->pg_restore_command[0] == '\0' || strlen(segment) != 24)
		return false;
	if (archive->child != NULL || archive->installing)
		return true;
	/* It is there, and the standby asks for it all the same: it cannot use it. */
	if (again && archive->done_ns != 0)
		return clock_boot_ns() - archive->done_ns < SETTLE_NS;
	snprintf(path, sizeof(path), "%s/" FETCHED, archive->wal);
	(void)unlink(path);
	if (!archive_command(control->conf->pg_restore_command, segment, path, text, sizeof(text)))
		return false;
	snprintf(archive->segment, sizeof(archive->segment), "%.63s", segment);
	archive->last_line[0] = '\0';
	archive->done_ns = 0;
	archive->since_ns = clock_boot_ns();
	if (pg_bound_start(control->conf, &archive->child, control->loop, &spec, &EVENTS, archive,
			   &why) < 0) {
		log_event(LOG_WARNING, "archive.failed", "segment=%s %s", segment, why.text);
		return false;
	}
	return true;
}

void archive_look(struct engine_control *control)
{
	struct wal_archive *archive = control->archive;

	if (archive->child != NULL && clock_boot_ns() - archive->since_ns > PATIENCE_NS)
		child_kill(archive->child);
}

int archive_open(struct engine_control *control, struct err *why)
{
	struct wal_archive *archive = calloc(1, sizeof(*archive));

	if (archive == NULL)
		return err_set(why, ERR_NO_MEMORY, "out of memory");
	archive->control = control;
	snprintf(archive->data, sizeof(archive->data), "%s", control->paths.data);
	snprintf(archive->wal, sizeof(archive->wal), "%s", control->paths.wal);
	control->archive = archive;
	return 0;
}

void archive_close(struct engine_control *control)
{
	struct wal_archive *archive = control->archive;

	if (archive == NULL)
		return;
	control->archive = NULL;
	archive->control = NULL;
	child_forget(archive->child);
	archive->child = NULL;
	if (!archive->installing)
		free(archive);
}
