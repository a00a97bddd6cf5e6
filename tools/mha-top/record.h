/*
 * A stream of frames, in a file (--record, --replay) or in a pipe. After the line RECORD_MAGIC each
 * frame is its size and a checksum of its bytes (32 bits, little endian), then a packed
 * mha.client.Frame.
 */
#ifndef MHA_TOP_RECORD_H
#define MHA_TOP_RECORD_H

#include <stdbool.h>

#include "base/err.h"
#include "client.pb-c.h"

#define RECORD_MAGIC     "mha-top record 1\n"
#define RECORD_FRAME_MAX ((size_t)8 * 1024 * 1024)

/*
 * Where a stream is written to; all zero at first but for fd and name. A history that is the same
 * as in the frame before is left out: a frame without one has that of the frame before.
 */
struct record_writer {
	int fd;
	const char *name; /* borrowed; for errors */
	bool begun;
	uint8_t *history;
	size_t history_size;
};

/* Write one frame, at once. */
MUST_CHECK int record_write(struct record_writer *writer, const Mha__Client__Frame *frame,
			    struct err *why);
/* Closes the descriptor; an error of the disk may be told only then. */
MUST_CHECK int record_finish(struct record_writer *writer, struct err *why);

/* Reads as much as there is. Caller's storage, all zero at first but for fd and name. */
struct record_reader {
	int fd;
	const char *name; /* borrowed; for errors */
	bool begun;       /* the first line was read */
	bool ended;       /* nothing more will come */
	uint64_t offset;  /* in the stream, of the bytes that are held */
	uint64_t frames;
	uint8_t *bytes;
	size_t size, room;
};

/*
 * The next frame into `*frame`, to be released with frame_free(). Returns 1; 0 when there is none
 * (yet, or `ended`); ERR_CORRUPT, with place and reason, for what is no such stream or is cut off.
 */
MUST_CHECK int record_next(struct record_reader *reader, Mha__Client__Frame **frame,
			   struct err *why);
void record_close(struct record_reader *reader);
/* NULL is fine. */
void frame_free(Mha__Client__Frame *frame);

#endif
