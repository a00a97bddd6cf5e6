/*
 * A standby that asks for WAL which its upstream has removed asks for ever. PostgreSQL says so in
 * the standby's own log and nowhere else: what is appended to it is looked through, at most once
 * per look() and only when something was appended. The other half is what this node's own WAL
 * must and can give: how far back it reaches, so that others know whom they may ask, and how far a
 * copy needs it that is not whole yet, so that nobody waits for WAL that is gone for good.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "base/text.h"
#include "engine/pg_archive.h"
#include "engine/pg_control.h"
#include "engine/pg_rejoin.h"

/* More than that between two looks is skipped: the message comes again. */
#define READ_MAX 65536

struct wal_missing {
	struct engine_control *control; /* NULL: it was closed meanwhile */
	uv_fs_event_t *event;           /* NULL: there is no log directory yet */
	bool appended;
	bool reading;
	uint64_t generation; /* rises when what was read before does not count any more */
	/* Where the reader is: in a thread while `reading`. */
	uv_work_t work;
	ino_t file;
	off_t offset;
	uint64_t read_generation;
	bool read_log;
	struct pg_paths paths;
	wal_lsn oldest;
	struct wal_branch whole_from;
	char found[64]; /* the segment's name; "": nothing was found */
	char segment[64];
};

bool missing_find(const char *log, char segment[64])
{
	static const char receiver[] = "could not receive data from WAL stream";
	static const char head[] = "requested WAL segment ";
	bool found = false;

	for (; *log != '\0'; log += strspn(log, "\n")) {
		const size_t length = strcspn(log, "\n");
		const char *at = memmem(log, length, head, strlen(head));
		size_t name;

		if (at != NULL && memmem(log, length, receiver, strlen(receiver)) != NULL) {
			at += strlen(head);
			name = strspn(at, "0123456789ABCDEF");
			if (name > 0 && name < 64 &&
			    strncmp(at + name, " has already been removed", 25) == 0) {
				memcpy(segment, at, name);
				segment[name] = '\0';
				found = true;
			}
		}
		log += length;
	}
	return found;
}

void missing_set(struct engine_control *control, const char *segment)
{
	struct wal_missing *missing = control->missing;

	snprintf(missing->segment, sizeof(missing->segment), "%.63s", segment);
	log_event(LOG_WARNING, "database.wal_missing", "segment=%s: the upstream has removed it",
		  missing->segment);
	control_changed(control);
}

static void read_log(struct wal_missing *missing)
{
	char path[2 * FILES_PATH_SIZE], text[READ_MAX];
	struct stat file;
	ssize_t got = 0;
	int fd;

	if (!log_newest(missing->paths.log_dir, path))
		return;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	if (fstat(fd, &file) == 0) {
		if (file.st_ino != missing->file || file.st_size < missing->offset)
			missing->offset = 0;
		missing->file = file.st_ino;
		if (file.st_size - missing->offset >= READ_MAX)
			missing->offset = file.st_size - (READ_MAX - 1);
		got = pread(fd, text, READ_MAX - 1, missing->offset);
	}
	close(fd);
	if (got <= 0)
		return;
	missing->offset += got;
	text[got] = '\0';
	(void)missing_find(text, missing->found);
}

/* In a thread. */
static void on_read(uv_work_t *work)
{
	struct wal_missing *missing = work->data;

	missing->found[0] = '\0';
	missing->oldest = wal_oldest(missing->paths.wal);
	missing->whole_from = whole_from(&missing->paths);
	if (missing->read_log)
		read_log(missing);
}

static void take_oldest(struct engine_control *control, wal_lsn oldest)
{
	if (control->work.wal_oldest == oldest)
		return;
	control->work.wal_oldest = oldest;
	control_changed(control);
}

static void take_whole_from(struct engine_control *control, struct wal_branch from)
{
	struct wal_branch *told = &control->work.whole_from;
	char lsn[TEXT_LSN_SIZE];

	if (told->timeline == from.timeline && told->end == from.end)
		return;
	*told = from;
	if (from.timeline != 0)
		log_event(LOG_INFO, "database.not_whole",
			  "needs=%s timeline=%" PRIu32
			  ": until WAL up to there is replayed it answers nobody",
			  text_format_lsn(from.end, lsn), from.timeline);
	control_changed(control);
}

static void on_done(uv_work_t *work, int status)
{
	struct wal_missing *missing = work->data;

	UNUSED(status);
	missing->reading = false;
	if (missing->control == NULL) {
		free(missing);
		return;
	}
	take_oldest(missing->control, missing->oldest);
	if (missing->read_generation != missing->generation)
		return;
	if (missing->control->work.postmaster != 0)
		take_whole_from(missing->control, missing->whole_from);
	if (missing->found[0] == '\0' || missing->segment[0] != '\0')
		return;
	if (!archive_fetch(missing->control, missing->found))
		missing_set(missing->control, missing->found);
}

static void on_appended(uv_fs_event_t *event, const char *name, int events, int status)
{
	struct wal_missing *missing = event->data;

	UNUSED(name);
	UNUSED(events);
	UNUSED(status);
	if (missing != NULL)
		missing->appended = true;
}

static void on_closed(uv_handle_t *handle)
{
	free(handle);
}

static void watch_log(struct wal_missing *missing)
{
	uv_fs_event_t *event;

	if (missing->event != NULL || access(missing->paths.log_dir, F_OK) < 0)
		return;
	event = calloc(1, sizeof(*event));
	if (event == NULL || uv_fs_event_init(missing->control->loop, event) < 0) {
		free(event);
		return; /* tried again at the next look */
	}
	event->data = missing;
	if (uv_fs_event_start(event, on_appended, missing->paths.log_dir, 0) < 0) {
		uv_close((uv_handle_t *)event, on_closed);
		return;
	}
	missing->event = event;
	missing->appended = true;
}

int missing_open(struct engine_control *control, struct err *why)
{
	struct wal_missing *missing = calloc(1, sizeof(*missing));

	if (missing == NULL)
		return err_set(why, ERR_NO_MEMORY, "out of memory");
	missing->control = control;
	missing->paths = control->paths;
	control->missing = missing;
	return 0;
}

void missing_close(struct engine_control *control)
{
	struct wal_missing *missing = control->missing;

	if (missing == NULL)
		return;
	control->missing = NULL;
	missing->control = NULL;
	if (missing->event != NULL) {
		missing->event->data = NULL;
		uv_close((uv_handle_t *)missing->event, on_closed);
		missing->event = NULL;
	}
	if (!missing->reading)
		free(missing);
}

void missing_forget(struct engine_control *control)
{
	control->missing->generation++;
	control->missing->segment[0] = '\0';
	control->work.whole_from = (struct wal_branch){0};
}

void missing_look(struct engine_control *control)
{
	struct wal_missing *missing = control->missing;

	watch_log(missing);
	archive_look(control);
	if (missing->segment[0] != '\0' &&
	    (control->work.postmaster == 0 || pg_is_in_use(control->paths.data)))
		missing_forget(control);
	if (missing->reading || control->work.postmaster == 0)
		return;
	missing->read_log = missing->appended;
	missing->appended = false;
	missing->read_generation = missing->generation;
	missing->work.data = missing;
	missing->reading = uv_queue_work(control->loop, &missing->work, on_read, on_done) == 0;
}

void missing_tell(struct engine_control *control)
{
	struct engine_work *work = &control->work;

	if (work->fault != FAULT_NONE || control->missing == NULL ||
	    control->missing->segment[0] == '\0')
		return;
	work->fault = FAULT_WAL_MISSING;
	snprintf(work->fault_text, sizeof(work->fault_text),
		 "the upstream has removed WAL segment %s, which this standby needs; it comes from "
		 "another standby that has it, else a clone is needed",
		 control->missing->segment);
}
