#include "top/record.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"

#define HEAD_SIZE  8
#define MAGIC_SIZE (sizeof(RECORD_MAGIC) - 1)
#define READ_SIZE  65536

static uint32_t checksum(const uint8_t *bytes, size_t size)
{
	uint32_t sum = UINT32_C(2166136261);

	for (size_t i = 0; i < size; i++)
		sum = (sum ^ bytes[i]) * UINT32_C(16777619);
	return sum;
}

static void put_u32(uint8_t *to, uint32_t value)
{
	for (unsigned i = 0; i < 4; i++)
		to[i] = (uint8_t)(value >> (8 * i));
}

static uint32_t get_u32(const uint8_t *from)
{
	return from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24;
}

static int write_all(int fd, const uint8_t *bytes, size_t size, const char *name, struct err *why)
{
	while (size > 0) {
		ssize_t done = write(fd, bytes, size);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return err_set_errno(why, ERR_IO, errno, "write %s", name);
		bytes += done;
		size -= (size_t)done;
	}
	return 0;
}

static int write_frame(struct record_writer *writer, const Mha__Client__Frame *frame,
		       struct err *why)
{
	const size_t size = mha__client__frame__get_packed_size(frame);
	uint8_t *bytes;
	int rc;

	if (size > RECORD_FRAME_MAX)
		return err_set(why, ERR_TOO_BIG, "%s: a frame of %zu bytes, at most %zu",
			       writer->name, size, RECORD_FRAME_MAX);
	bytes = malloc(HEAD_SIZE + size);
	if (bytes == NULL)
		return err_set(why, ERR_NO_MEMORY, "frame: %zu bytes", size);
	CHECK(mha__client__frame__pack(frame, bytes + HEAD_SIZE) == size);
	put_u32(bytes, (uint32_t)size);
	put_u32(bytes + 4, checksum(bytes + HEAD_SIZE, size));
	rc = write_all(writer->fd, bytes, HEAD_SIZE + size, writer->name, why);
	free(bytes);
	return rc;
}

/* True when it was written before; otherwise it is kept for the next time. */
static bool history_known(struct record_writer *writer, const Mha__Client__History *history)
{
	const size_t size = mha__client__history__get_packed_size(history);
	uint8_t *bytes = malloc(size > 0 ? size : 1);

	if (bytes == NULL)
		return false;
	CHECK(mha__client__history__pack(history, bytes) == size);
	if (writer->history != NULL && writer->history_size == size &&
	    memcmp(writer->history, bytes, size) == 0) {
		free(bytes);
		return true;
	}
	free(writer->history);
	writer->history = bytes;
	writer->history_size = size;
	return false;
}

int record_write(struct record_writer *writer, const Mha__Client__Frame *frame, struct err *why)
{
	Mha__Client__Frame written = *frame;
	int rc;

	if (!writer->begun) {
		rc = write_all(writer->fd, (const uint8_t *)RECORD_MAGIC, MAGIC_SIZE, writer->name,
			       why);
		if (rc < 0)
			return rc;
		writer->begun = true;
	}
	if (frame->history != NULL && history_known(writer, frame->history))
		written.history = NULL;
	return write_frame(writer, &written, why);
}

int record_finish(struct record_writer *writer, struct err *why)
{
	int rc = 0;

	free(writer->history);
	writer->history = NULL;
	if (writer->fd >= 0 && close(writer->fd) < 0)
		rc = err_set_errno(why, ERR_IO, errno, "close %s", writer->name);
	writer->fd = -1;
	return rc;
}

static void consume(struct record_reader *reader, size_t size)
{
	memmove(reader->bytes, reader->bytes + size, reader->size - size);
	reader->size -= size;
	reader->offset += size;
}

/* Once more of the stream, until `wanted` bytes are held. False: there is no more now. */
static bool fill(struct record_reader *reader, size_t wanted, int *rc, struct err *why)
{
	*rc = 0;
	while (reader->size < wanted && !reader->ended) {
		ssize_t got;

		if (reader->room < reader->size + READ_SIZE) {
			uint8_t *more = realloc(reader->bytes, reader->size + READ_SIZE);

			if (more == NULL) {
				*rc = err_set(why, ERR_NO_MEMORY, "%s: out of memory",
					      reader->name);
				return false;
			}
			reader->bytes = more;
			reader->room = reader->size + READ_SIZE;
		}
		got = read(reader->fd, reader->bytes + reader->size, READ_SIZE);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && (errno == EAGAIN))
			return false;
		if (got < 0) {
			*rc = err_set_errno(why, ERR_IO, errno, "read %s", reader->name);
			return false;
		}
		reader->ended = got == 0;
		reader->size += (size_t)got;
	}
	return reader->size >= wanted;
}

static int cut_off(const struct record_reader *reader, size_t wanted, struct err *why)
{
	return err_set(why, ERR_CORRUPT,
		       "%s is cut off: frame %" PRIu64 " at byte %" PRIu64
		       " has %zu of %zu bytes; was the recording interrupted?",
		       reader->name, reader->frames + 1, reader->offset, reader->size, wanted);
}

static int read_magic(struct record_reader *reader, struct err *why)
{
	const size_t prefix = sizeof("mha-top record ") - 1;
	int rc;

	if (!fill(reader, MAGIC_SIZE, &rc, why) && (rc < 0 || !reader->ended))
		return rc;
	if (reader->size >= MAGIC_SIZE && memcmp(reader->bytes, RECORD_MAGIC, MAGIC_SIZE) == 0) {
		consume(reader, MAGIC_SIZE);
		reader->begun = true;
		return 0;
	}
	if (reader->size >= MAGIC_SIZE && memcmp(reader->bytes, RECORD_MAGIC, prefix) == 0)
		return err_set(why, ERR_VERSION,
			       "%s was recorded in another format than this mha-top reads ('%.*s')",
			       reader->name, (int)MAGIC_SIZE - 1, RECORD_MAGIC);
	return err_set(why, ERR_CORRUPT, "%s is no recording of mha-top (--record makes one)",
		       reader->name);
}

int record_next(struct record_reader *reader, Mha__Client__Frame **frame, struct err *why)
{
	uint32_t size, sum;
	int rc;

	*frame = NULL;
	if (!reader->begun && ((rc = read_magic(reader, why)) < 0 || !reader->begun))
		return rc;
	if (!fill(reader, HEAD_SIZE, &rc, why)) {
		if (rc == 0 && reader->ended && reader->size > 0)
			rc = cut_off(reader, HEAD_SIZE, why);
		return rc;
	}
	size = get_u32(reader->bytes);
	sum = get_u32(reader->bytes + 4);
	if (size > RECORD_FRAME_MAX)
		return err_set(why, ERR_CORRUPT,
			       "%s: frame %" PRIu64 " at byte %" PRIu64 " is damaged (its size)",
			       reader->name, reader->frames + 1, reader->offset);
	if (!fill(reader, HEAD_SIZE + size, &rc, why)) {
		if (rc == 0 && reader->ended)
			rc = cut_off(reader, HEAD_SIZE + size, why);
		return rc;
	}
	if (checksum(reader->bytes + HEAD_SIZE, size) == sum)
		*frame = mha__client__frame__unpack(NULL, size, reader->bytes + HEAD_SIZE);
	if (*frame == NULL)
		return err_set(why, ERR_CORRUPT,
			       "%s: frame %" PRIu64 " at byte %" PRIu64 " is damaged", reader->name,
			       reader->frames + 1, reader->offset);
	reader->frames++;
	consume(reader, HEAD_SIZE + size);
	return 1;
}

void record_close(struct record_reader *reader)
{
	free(reader->bytes);
	reader->bytes = NULL;
	if (reader->fd >= 0)
		close(reader->fd);
	reader->fd = -1;
}

void frame_free(Mha__Client__Frame *frame)
{
	if (frame != NULL)
		mha__client__frame__free_unpacked(frame, NULL);
}
