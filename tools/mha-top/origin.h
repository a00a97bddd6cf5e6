/* Where the frames come from: the local segment, an agent's request socket, or a recording. */
#ifndef MHA_TOP_ORIGIN_H
#define MHA_TOP_ORIGIN_H

#include "client/client.h"
#include "top/record.h"
#include "view/message.h"

struct origin;

/* Reads the local agent's status segment and asks nobody. ERR_NOT_FOUND: there is none. */
MUST_CHECK int origin_open_local(struct origin **origin, const char *run_dir, struct err *why);
/*
 * Asks the agent at `endpoint` (with `keys`; NULL: without encryption) every `interval_ms`, from a
 * process of its own: nothing here waits for a network.
 */
MUST_CHECK int origin_open_remote(struct origin **origin, const char *endpoint,
				  const struct client_keys *keys, unsigned interval_ms,
				  struct err *why);
/* Reads the whole recording; an error names what is wrong with it and where. */
MUST_CHECK int origin_open_replay(struct origin **origin, const char *path, struct err *why);
/* NULL is fine. */
void origin_close(struct origin *origin);

/* From now on what is seen is recorded; the file must not exist. `path` is borrowed. */
MUST_CHECK int origin_record(struct origin *origin, const char *path, struct err *why);

/* Readable when a frame may have come; -1: frames come with ticks. */
int origin_fd(const struct origin *origin);
/*
 * The next frame. `tick`: the interval has passed. Returns 1 with a new origin_frame(); 0: none
 * now; or an error that ends it (a recording that cannot be written, a helper that is gone).
 */
MUST_CHECK int origin_next(struct origin *origin, bool tick, struct err *why);
/* The last frame with a status, or NULL; lives until the next call of origin_next(). */
const Mha__Client__Frame *origin_frame(const struct origin *origin);
/* Why there is no newer one; "" when there is. */
const char *origin_trouble(const struct origin *origin);

/* Of a recording: how many frames, which one is shown (from 1), and their usual distance. */
unsigned origin_count(const struct origin *origin);
unsigned origin_at(const struct origin *origin);
unsigned origin_pace_ms(const struct origin *origin);
/* Show frame `at` next; the next call of origin_next() with a tick gives it. */
void origin_seek(struct origin *origin, unsigned at);

#endif
