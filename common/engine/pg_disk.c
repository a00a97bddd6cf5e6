#include "engine/pg_disk.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "core/cluster.h"
#include "engine/child.h"
#include "engine/pg_paths.h"

/* A disk under a checkpoint is slow without being dead: timeouts of a probe. */
#define DISK_PATIENCE 3
/* What came while this process did not run is read before silence counts. */
#define LATE_GRACE_MS 50
/* How long after its end, or a failed start, the probe is started again. */
#define AGAIN_MS 2000
/* An error is believed when it comes twice. */
#define ERRORS_MIN 2
/*
 * The server's word of a full disk is read when it has ended, perhaps after room was made. So many
 * probes in a row that find room outweigh it; where it was meant of now, the server says it again.
 */
#define ROOM_MIN 5

enum { DIR_DATA = 0, DIR_WAL, DIR_COUNT };

struct pg_disk {
	uv_loop_t *loop;
	struct pg_disk_spec spec;
	char dirs[DIR_COUNT][FILES_PATH_SIZE + 16];
	char program[FILES_PATH_SIZE];
	struct child *probe; /* NULL: it does not run */
	uint64_t interval_ms;
	uv_timer_t *silence; /* while a probe is under way */
	uv_timer_t *again;
	bool grace;
	bool unknowable; /* the program does not run: nobody waits for its answer */
	struct pg_disk_state states[DIR_COUNT];
	uint8_t fault;
	char text[PG_DISK_TEXT];
	bool was_known;
};

/* The pure part */

/* What a disk that is broken or gone answers; the rest is about names and rights. */
static bool is_disk_error(int number)
{
	switch (number) {
	case EIO:
	case EROFS:
	case ENXIO:
	case ENODEV:
	case ESTALE:
	case ENOTCONN:
	case EUCLEAN:
	case EBADMSG:
	case ETIMEDOUT:
	case EREMOTEIO:
		return true;
	default:
		return false;
	}
}

static void take_end(struct pg_disk_state *state, int number, uint64_t free_bytes)
{
	const bool no_space = number == ENOSPC || number == EDQUOT;

	state->begun = state->late = false;
	state->known = true;
	state->free_bytes = free_bytes;
	if (is_disk_error(number)) {
		state->errors++;
		state->good = 0;
		state->number = number;
	} else {
		state->errors = 0;
		state->good++;
		if (state->good >= ERRORS_MIN)
			state->said_error = false;
	}
	if (no_space || free_bytes < PG_DISK_FULL_BYTES) {
		state->full = true;
		state->room = 0;
		if (state->wanted < 2 * PG_DISK_FULL_BYTES)
			state->wanted = 2 * PG_DISK_FULL_BYTES;
	} else if (free_bytes >= 2 * PG_DISK_FULL_BYTES) {
		state->room++;
	}
	if (state->full && !no_space && (free_bytes >= state->wanted || state->room >= ROOM_MIN)) {
		state->full = false;
		state->wanted = 0;
	}
}

bool pg_disk_take(struct pg_disk_state *states, unsigned count, const char *line)
{
	unsigned index;
	int number;
	uint64_t us, free_bytes;

	if (sscanf(line, "begin %u", &index) == 1 && index < count) {
		states[index].begun = true;
		return true;
	}
	if (sscanf(line, "end %u %d %" SCNu64 " %" SCNu64, &index, &number, &us, &free_bytes) ==
		    4 &&
	    index < count && number >= 0) {
		take_end(&states[index], number, free_bytes);
		return true;
	}
	return false;
}

uint8_t pg_disk_judge(const struct pg_disk_state *state)
{
	if (state->late)
		return FAULT_DISK_STALLED;
	if (state->errors >= ERRORS_MIN || state->said_error)
		return FAULT_DISK_ERROR;
	return state->full ? FAULT_DISK_FULL : FAULT_NONE;
}

/* The verdict */

static void describe(struct pg_disk *disk, unsigned index)
{
	const struct pg_disk_state *state = &disk->states[index];
	const char *directory = disk->dirs[index];

	switch (disk->fault) {
	case FAULT_DISK_STALLED:
		snprintf(disk->text, sizeof(disk->text), "a flush in %.120s does not end",
			 directory);
		break;
	case FAULT_DISK_ERROR:
		snprintf(disk->text, sizeof(disk->text), "writing in %.120s: %s", directory,
			 state->number != 0 ? strerror(state->number) : "the server's log says so");
		break;
	case FAULT_DISK_FULL:
		snprintf(disk->text, sizeof(disk->text),
			 "%" PRIu64 " MB are free in %.120s, %" PRIu64 " are wanted",
			 state->free_bytes >> 20, directory, state->wanted >> 20);
		break;
	default:
		disk->text[0] = '\0';
		break;
	}
}

static void judge(struct pg_disk *disk)
{
	uint8_t worst = FAULT_NONE;
	unsigned at = 0;
	bool known = disk->unknowable;

	for (unsigned i = 0; i < DIR_COUNT; i++) {
		const uint8_t fault = pg_disk_judge(&disk->states[i]);

		/* Stalled before failing before full, as enum db_fault has them. */
		if (fault != FAULT_NONE && (worst == FAULT_NONE || fault < worst)) {
			worst = fault;
			at = i;
		}
	}
	known = known || worst != FAULT_NONE || disk->states[DIR_WAL].known;
	if (worst == disk->fault && known == disk->was_known) {
		describe(disk, at);
		return;
	}
	if (worst != disk->fault) {
		const uint8_t before = disk->fault;

		disk->fault = worst;
		describe(disk, at);
		log_event(worst != FAULT_NONE ? LOG_ERROR : LOG_NOTICE, "database.disk",
			  "fault=%s was=%s %s", db_fault_name(worst), db_fault_name(before),
			  worst != FAULT_NONE ? disk->text : "the disk works again");
	}
	disk->was_known = known;
	disk->spec.changed(disk->spec.arg);
}

uint8_t pg_disk_fault(const struct pg_disk *disk)
{
	return disk->fault;
}

const char *pg_disk_text(const struct pg_disk *disk)
{
	return disk->text;
}

bool pg_disk_usable(const struct pg_disk *disk)
{
	return disk->was_known && disk->fault == FAULT_NONE;
}

void pg_disk_said(struct pg_disk *disk, const char *words)
{
	const bool no_space = strstr(words, "No space left on device") != NULL ||
			      strstr(words, "Disk quota exceeded") != NULL;
	const bool error = strstr(words, "Input/output error") != NULL ||
			   strstr(words, "Read-only file system") != NULL;

	if (disk == NULL || disk->interval_ms == 0 || disk->unknowable)
		return;
	for (unsigned i = 0; i < DIR_COUNT; i++) {
		struct pg_disk_state *state = &disk->states[i];

		if (no_space)
			state->room = 0;
		if (no_space && !state->full) {
			state->full = true;
			state->wanted = state->known && state->free_bytes < UINT64_MAX / 2
						? state->free_bytes + PG_DISK_FULL_BYTES
						: 2 * PG_DISK_FULL_BYTES;
		}
		if (error) {
			state->said_error = true;
			state->good = 0;
		}
	}
	judge(disk);
}

void pg_disk_hurry(struct pg_disk *disk)
{
	/* Not reaped yet, so the number is its own; one that has not said a word may not be ready.
	 */
	if (disk->probe != NULL && disk->was_known)
		(void)kill(child_pid(disk->probe), SIGUSR1);
}

/* The probe's life */

static void on_closed(uv_handle_t *handle)
{
	free(handle);
}

static void on_silence(uv_timer_t *timer)
{
	struct pg_disk *disk = timer->data;

	if (!disk->grace) {
		disk->grace = true;
		CHECK(uv_timer_start(timer, on_silence, LATE_GRACE_MS, 0) == 0);
		return;
	}
	for (unsigned i = 0; i < DIR_COUNT; i++)
		disk->states[i].late = disk->states[i].begun;
	judge(disk);
}

static void on_line(void *arg, const char *line)
{
	struct pg_disk *disk = arg;
	bool under_way = false;

	if (!pg_disk_take(disk->states, DIR_COUNT, line)) {
		log_event(LOG_WARNING, "database.diskprobe", "%.200s", line);
		return;
	}
	for (unsigned i = 0; i < DIR_COUNT; i++)
		under_way = under_way || disk->states[i].begun;
	disk->grace = false;
	if (under_way)
		CHECK(uv_timer_start(disk->silence, on_silence,
				     DISK_PATIENCE * disk->spec.conf->monitor_timeout_ms, 0) == 0);
	else
		uv_timer_stop(disk->silence);
	judge(disk);
	/* A new interval is that of a new probe. */
	if (!under_way && disk->interval_ms != disk->spec.conf->monitor_flush_ms)
		child_kill(disk->probe);
}

static void start_probe(struct pg_disk *disk);

static void on_again(uv_timer_t *timer)
{
	start_probe(timer->data);
}

static void on_ended(void *arg, const struct process_end *end)
{
	struct pg_disk *disk = arg;

	UNUSED(end);
	disk->probe = NULL;
	for (unsigned i = 0; i < DIR_COUNT; i++)
		disk->states[i].begun = disk->states[i].late = false;
	uv_timer_stop(disk->silence);
	judge(disk);
	CHECK(uv_timer_start(disk->again, on_again, AGAIN_MS, 0) == 0);
}

static void start_probe(struct pg_disk *disk)
{
	static const struct child_events events = {.line = on_line, .ended = on_ended};
	char interval[24];
	const char *argv[] = {disk->program, interval, disk->dirs[DIR_DATA], disk->dirs[DIR_WAL],
			      NULL};
	const struct child_spec spec = {.argv = argv};
	const bool was_unknowable = disk->unknowable;
	struct err why = {.text = ""};

	disk->interval_ms = disk->spec.conf->monitor_flush_ms;
	snprintf(interval, sizeof(interval), "%" PRIu64, disk->interval_ms);
	disk->unknowable = disk->interval_ms == 0 ||
			   child_start(&disk->probe, disk->loop, &spec, &events, disk, &why) < 0;
	if (!disk->unknowable)
		return;
	disk->probe = NULL;
	if (!was_unknowable && disk->interval_ms != 0)
		log_event(LOG_WARNING, "database.diskprobe",
			  "%s: the disk is judged by commits only", why.text);
	memset(disk->states, 0, sizeof(disk->states));
	judge(disk);
	CHECK(uv_timer_start(disk->again, on_again, AGAIN_MS, 0) == 0);
}

static uv_timer_t *new_timer(struct pg_disk *disk)
{
	uv_timer_t *timer = calloc(1, sizeof(*timer));

	if (timer == NULL)
		return NULL;
	CHECK(uv_timer_init(disk->loop, timer) == 0);
	timer->data = disk;
	return timer;
}

int pg_disk_open(struct pg_disk **opened, uv_loop_t *loop, const struct pg_disk_spec *spec,
		 struct err *why)
{
	struct pg_disk *disk = calloc(1, sizeof(*disk));

	if (disk == NULL)
		return err_set(why, ERR_NO_MEMORY, "out of memory");
	disk->loop = loop;
	disk->spec = *spec;
	snprintf(disk->dirs[DIR_DATA], sizeof(disk->dirs[0]), "%s", spec->data_dir);
	snprintf(disk->dirs[DIR_WAL], sizeof(disk->dirs[0]), "%s/pg_wal", spec->data_dir);
	child_beside(disk->program, "mha-diskprobe");
	disk->silence = new_timer(disk);
	disk->again = new_timer(disk);
	if (disk->silence == NULL || disk->again == NULL) {
		pg_disk_close(disk);
		return err_set(why, ERR_NO_MEMORY, "out of memory");
	}
	/* From the loop: whoever is told of a change is open by then. */
	CHECK(uv_timer_start(disk->again, on_again, 0, 0) == 0);
	*opened = disk;
	return 0;
}

void pg_disk_close(struct pg_disk *disk)
{
	if (disk == NULL)
		return;
	if (disk->probe != NULL) {
		child_kill(disk->probe);
		child_forget(disk->probe);
	}
	if (disk->silence != NULL)
		uv_close((uv_handle_t *)disk->silence, on_closed);
	if (disk->again != NULL)
		uv_close((uv_handle_t *)disk->again, on_closed);
	free(disk);
}
