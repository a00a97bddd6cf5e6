#include "top/origin.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "os/clock.h"

#define ASK_TIMEOUT_MS 2000
#define FRAMES_MAX     1000000
#define PACE_MIN_MS    50
#define PACE_MAX_MS    2000

/* What a frame of the local segment is made of; the frame points into it. */
struct local {
	struct source source;
	struct sections sections;
	struct view view;
	struct status_message status;
	struct history_message history;
	Mha__Client__Frame frame;
};

struct origin {
	struct local *local; /* NULL: not the segment */
	struct record_reader reader;
	struct record_writer writer;
	bool recording;
	pid_t helper; /* 0: none */
	int stop;     /* closed, it ends the helper */
	/* The recording. */
	bool replay;
	Mha__Client__Frame **frames;
	unsigned count, room, next;
	/* What is shown: its history may be that of an earlier frame. */
	Mha__Client__Frame *whole;         /* owned, of a helper */
	Mha__Client__Frame *history_owner; /* the same */
	Mha__Client__Frame shown;
	bool any;
	char trouble[ERR_TEXT_SIZE];
};

static int origin_new(struct origin **opened, struct err *why)
{
	struct origin *origin = calloc(1, sizeof(*origin));

	*opened = origin;
	if (origin == NULL)
		return err_set(why, ERR_NO_MEMORY, "%zu bytes", sizeof(*origin));
	origin->reader.fd = origin->writer.fd = origin->stop = -1;
	mha__client__frame__init(&origin->shown);
	return 0;
}

static bool any_section(const struct source *source)
{
	for (unsigned id = 0; id < STATUS_SECTION_COUNT; id++) {
		if (source->mapped[id])
			return true;
	}
	return false;
}

int origin_open_local(struct origin **opened, const char *run_dir, struct err *why)
{
	struct origin *origin;
	int rc = origin_new(opened, why);

	if (rc < 0)
		return rc;
	origin = *opened;
	origin->local = calloc(1, sizeof(*origin->local));
	if (origin->local == NULL)
		rc = err_set(why, ERR_NO_MEMORY, "%zu bytes", sizeof(*origin->local));
	else if ((rc = source_init(&origin->local->source, run_dir, why)) < 0)
		free(origin->local);
	if (rc < 0) {
		origin->local = NULL;
		origin_close(origin);
		*opened = NULL;
		return rc;
	}
	if (any_section(&origin->local->source))
		return 0;
	err_set(why, ERR_NOT_FOUND,
		"no status segment: %.200s; is mhad running here, with paths.run_dir %.150s? Try "
		"--run-dir, or name a host",
		origin->local->source.why[STATUS_MASTER].text, run_dir);
	origin_close(origin);
	*opened = NULL;
	return ERR_NOT_FOUND;
}

static void no_trouble(Mha__Client__Frame *frame)
{
	static char none[] = "";

	frame->trouble = none;
}

/* One question; the answer keeps what the frame points to. */
static int ask(struct client *client, int which, Mha__Client__Events *since,
	       Mha__Client__Reply **reply, struct err *why)
{
	Mha__Client__Request request = MHA__CLIENT__REQUEST__INIT;
	Mha__Client__GetStatus status = MHA__CLIENT__GET_STATUS__INIT;
	Mha__Client__GetHistory history = MHA__CLIENT__GET_HISTORY__INIT;
	Mha__Client__GetEvents events = MHA__CLIENT__GET_EVENTS__INIT;

	request.call_case = (Mha__Client__Request__CallCase)which;
	if (which == MHA__CLIENT__REQUEST__CALL_GET_STATUS) {
		request.get_status = &status;
	} else if (which == MHA__CLIENT__REQUEST__CALL_GET_HISTORY) {
		request.get_history = &history;
	} else {
		events.since_index = since->last_index;
		events.since_sub = since->last_sub;
		request.get_events = &events;
	}
	return client_call(client, &request, ASK_TIMEOUT_MS, reply, why);
}

/* Everything that a frame holds, asked for one after the other. */
static int ask_all(struct client *client, Mha__Client__Events *since, struct record_writer *writer,
		   struct err *why)
{
	Mha__Client__Reply *status = NULL, *history = NULL, *events = NULL;
	Mha__Client__Frame frame;
	int rc = ask(client, MHA__CLIENT__REQUEST__CALL_GET_STATUS, since, &status, why);

	mha__client__frame__init(&frame);
	if (rc == 0)
		rc = ask(client, MHA__CLIENT__REQUEST__CALL_GET_HISTORY, since, &history, why);
	if (rc == 0)
		rc = ask(client, MHA__CLIENT__REQUEST__CALL_GET_EVENTS, since, &events, why);
	if (rc == 0 && (status->body_case != MHA__CLIENT__REPLY__BODY_STATUS ||
			history->body_case != MHA__CLIENT__REPLY__BODY_HISTORY ||
			events->body_case != MHA__CLIENT__REPLY__BODY_EVENTS))
		rc = err_set(why, ERR_CORRUPT, "the agent answers another question than was asked");
	if (rc == 0) {
		frame.wall_ms = clock_wall_ms();
		frame.status = status->status;
		frame.history = history->history;
		frame.events = events->events;
		no_trouble(&frame);
		since->last_index = events->events->last_index;
		since->last_sub = events->events->last_sub;
		if (record_write(writer, &frame, why) < 0)
			_exit(1);
	}
	client_reply_free(status);
	client_reply_free(history);
	client_reply_free(events);
	return rc;
}

static void tell_trouble(struct record_writer *writer, struct err *why)
{
	Mha__Client__Frame frame;
	struct err failed;

	mha__client__frame__init(&frame);
	frame.wall_ms = clock_wall_ms();
	frame.trouble = why->text;
	if (record_write(writer, &frame, &failed) < 0)
		_exit(1);
}

/* The helper: frames into the pipe until nobody wants them. */
static void helper_run(const char *endpoint, const struct client_keys *keys, unsigned interval_ms,
		       int stop, int to)
{
	struct record_writer writer = {.fd = to, .name = "pipe"};
	Mha__Client__Events since = MHA__CLIENT__EVENTS__INIT;
	struct pollfd wait = {.fd = stop, .events = POLLIN};
	struct client *client = NULL;
	struct err why = {0};

	/* The first question asks for what came before, too. */
	for (;;) {
		int rc = client == NULL ? client_open(&client, endpoint, keys, &why) : 0;

		if (rc == 0)
			rc = ask_all(client, &since, &writer, &why);
		if (rc < 0) {
			tell_trouble(&writer, &why);
			client_close(client);
			client = NULL;
		}
		if (poll(&wait, 1, (int)interval_ms) > 0)
			_exit(0);
	}
}

int origin_open_remote(struct origin **opened, const char *endpoint, const struct client_keys *keys,
		       unsigned interval_ms, struct err *why)
{
	int frames[2] = {-1, -1}, stop[2] = {-1, -1};
	struct origin *origin;
	int rc = origin_new(opened, why);

	if (rc < 0)
		return rc;
	origin = *opened;
	if (pipe2(frames, O_CLOEXEC) < 0 || pipe2(stop, O_CLOEXEC) < 0) {
		rc = err_set_errno(why, ERR_IO, errno, "pipe");
	} else if ((origin->helper = fork()) < 0) {
		origin->helper = 0;
		rc = err_set_errno(why, ERR_IO, errno, "fork");
	}
	if (rc == 0 && origin->helper == 0) {
		close(frames[0]);
		close(stop[1]);
		helper_run(endpoint, keys, interval_ms, stop[0], frames[1]);
	}
	if (frames[1] >= 0)
		close(frames[1]);
	if (stop[0] >= 0)
		close(stop[0]);
	origin->reader.fd = frames[0];
	origin->reader.name = "the helper";
	origin->stop = stop[1];
	if (rc == 0 && fcntl(frames[0], F_SETFL, O_NONBLOCK) < 0)
		rc = err_set_errno(why, ERR_IO, errno, "pipe");
	if (rc < 0) {
		origin_close(origin);
		*opened = NULL;
	}
	return rc;
}

static int keep_frame(struct origin *origin, Mha__Client__Frame *frame, struct err *why)
{
	if (origin->count == origin->room) {
		const unsigned room = origin->room ? 2 * origin->room : 256;
		Mha__Client__Frame **more = NULL;

		if (room <= FRAMES_MAX)
			more = realloc(origin->frames, room * sizeof(*more));
		if (more == NULL)
			return err_set(why, ERR_TOO_BIG, "%s: more than %u frames",
				       origin->reader.name, origin->count);
		origin->frames = more;
		origin->room = room;
	}
	origin->frames[origin->count++] = frame;
	return 0;
}

static int read_recording(struct origin *origin, const char *path, struct err *why)
{
	Mha__Client__Frame *frame;
	int rc;

	origin->reader.name = path;
	origin->reader.fd = open(path, O_RDONLY | O_CLOEXEC);
	if (origin->reader.fd < 0)
		return err_set_errno(why, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, errno, "%s",
				     path);
	while ((rc = record_next(&origin->reader, &frame, why)) > 0) {
		if ((rc = keep_frame(origin, frame, why)) < 0) {
			frame_free(frame);
			break;
		}
	}
	if (rc == 0 && origin->count == 0)
		rc = err_set(why, ERR_CORRUPT, "%s holds no frame: the recording is empty", path);
	return rc;
}

int origin_open_replay(struct origin **opened, const char *path, struct err *why)
{
	int rc = origin_new(opened, why);

	if (rc < 0)
		return rc;
	(*opened)->replay = true;
	if ((rc = read_recording(*opened, path, why)) < 0) {
		origin_close(*opened);
		*opened = NULL;
	}
	return rc;
}

void origin_close(struct origin *origin)
{
	struct err why;

	if (origin == NULL)
		return;
	if (origin->stop >= 0)
		close(origin->stop);
	if (origin->helper > 0) {
		(void)kill(origin->helper, SIGTERM);
		(void)waitpid(origin->helper, NULL, 0);
	}
	record_close(&origin->reader);
	/* What could not be written was told when it was. */
	(void)!record_finish(&origin->writer, &why);
	for (unsigned i = 0; i < origin->count; i++)
		frame_free(origin->frames[i]);
	free(origin->frames);
	if (origin->history_owner != origin->whole)
		frame_free(origin->history_owner);
	frame_free(origin->whole);
	if (origin->local != NULL)
		source_fini(&origin->local->source);
	free(origin->local);
	free(origin);
}

int origin_record(struct origin *origin, const char *path, struct err *why)
{
	origin->writer.fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
	if (origin->writer.fd < 0)
		return err_set_errno(why, errno == EEXIST ? ERR_EXISTS : ERR_IO, errno,
				     "--record %s", path);
	origin->writer.name = path;
	origin->recording = true;
	return 0;
}

int origin_fd(const struct origin *origin)
{
	return origin->replay ? -1 : origin->reader.fd;
}

static int keep_record(struct origin *origin, const Mha__Client__Frame *frame, struct err *why)
{
	return origin->recording ? record_write(&origin->writer, frame, why) : 0;
}

static int next_local(struct origin *origin, struct err *why)
{
	struct local *local = origin->local;
	int rc;

	source_refresh(&local->source);
	source_read(&local->source, &local->sections);
	view_build(&local->sections, NULL, &local->view);
	status_to_message(&local->view, &local->status);
	history_to_message(&local->view, &local->history);
	local->status.status.from_segment = true;
	mha__client__frame__init(&origin->shown);
	origin->shown.wall_ms = local->sections.wall_ms;
	origin->shown.status = &local->status.status;
	origin->shown.history = &local->history.history;
	no_trouble(&origin->shown);
	origin->any = true;
	rc = keep_record(origin, &origin->shown, why);
	return rc < 0 ? rc : 1;
}

/* A frame of the helper takes the place of the one before. */
static void show_owned(struct origin *origin, Mha__Client__Frame *frame)
{
	Mha__Client__Frame *whole = origin->whole;

	if (frame->history != NULL) {
		if (origin->history_owner != whole)
			frame_free(origin->history_owner);
		origin->history_owner = frame;
		frame_free(whole);
	} else if (whole != origin->history_owner) {
		frame_free(whole);
	}
	origin->whole = frame;
	origin->shown = *frame;
	if (frame->history == NULL && origin->history_owner != NULL)
		origin->shown.history = origin->history_owner->history;
	origin->any = true;
}

static int next_remote(struct origin *origin, struct err *why)
{
	Mha__Client__Frame *frame;
	int rc = record_next(&origin->reader, &frame, why);

	if (rc == 0 && origin->reader.ended)
		return err_set(why, ERR_GONE, "the process that asks the agent has ended");
	if (rc <= 0)
		return rc;
	if ((rc = keep_record(origin, frame, why)) < 0) {
		frame_free(frame);
		return rc;
	}
	snprintf(origin->trouble, sizeof(origin->trouble), "%s", frame->trouble);
	if (frame->status == NULL) {
		frame_free(frame);
		return 0;
	}
	show_owned(origin, frame);
	return 1;
}

static int next_replay(struct origin *origin)
{
	const Mha__Client__Frame *frame;

	if (origin->next >= origin->count)
		return 0;
	frame = origin->frames[origin->next++];
	snprintf(origin->trouble, sizeof(origin->trouble), "%s", frame->trouble);
	if (frame->status == NULL)
		return 0;
	origin->shown = *frame;
	for (unsigned i = origin->next; i > 0 && origin->shown.history == NULL; i--)
		origin->shown.history = origin->frames[i - 1]->history;
	origin->any = true;
	return 1;
}

int origin_next(struct origin *origin, bool tick, struct err *why)
{
	if (origin->local != NULL)
		return tick ? next_local(origin, why) : 0;
	if (origin->replay)
		return tick ? next_replay(origin) : 0;
	return next_remote(origin, why);
}

const Mha__Client__Frame *origin_frame(const struct origin *origin)
{
	return origin->any ? &origin->shown : NULL;
}

const char *origin_trouble(const struct origin *origin)
{
	return origin->trouble;
}

unsigned origin_count(const struct origin *origin)
{
	return origin->count;
}

unsigned origin_at(const struct origin *origin)
{
	return origin->next;
}

unsigned origin_pace_ms(const struct origin *origin)
{
	uint64_t first, last, pace;

	if (origin->count < 2)
		return PACE_MAX_MS;
	first = origin->frames[0]->wall_ms;
	last = origin->frames[origin->count - 1]->wall_ms;
	pace = last > first ? (last - first) / (origin->count - 1) : 0;
	return pace < PACE_MIN_MS ? PACE_MIN_MS : pace > PACE_MAX_MS ? PACE_MAX_MS : (unsigned)pace;
}

void origin_seek(struct origin *origin, unsigned at)
{
	origin->next = at > 0 ? at - 1 : 0;
	if (origin->next >= origin->count)
		origin->next = origin->count - 1;
}
