/*
 * WAL from the user's archive (postgresql.restore_command), for a standby whose upstream has
 * removed it. PostgreSQL is not given the command: it would look there for newer timelines and for
 * segments of old ones beyond their end, and an archive may hold what a primary wrote that was
 * lost. What is fetched here is exactly the segment that the upstream was asked for, which it names
 * by its own history, and it is looked at before it counts.
 */
#ifndef MHA_ENGINE_PG_ARCHIVE_H
#define MHA_ENGINE_PG_ARCHIVE_H

#include "engine/pg_control.h"

/* What of a segment's beginning is looked at, bytes. */
#define ARCHIVE_HEAD_SIZE 40

MUST_CHECK int archive_open(struct engine_control *control, struct err *why);
void archive_close(struct engine_control *control);
/*
 * The upstream has not `segment`. True: it is being fetched, or has just been; false: there is no
 * archive, or the archive has not got it either.
 */
bool archive_fetch(struct engine_control *control, const char *segment);
/* Now and then: a command that does not end is ended. */
void archive_look(struct engine_control *control);

/* `command` with %f, %p and %% replaced. Pure. False: it does not fit. */
bool archive_command(const char *command, const char *segment, const char *path, char *text,
		     size_t size);
/*
 * A file of `size` bytes that begins with `head` is the segment of that name, of this database.
 * Pure. ERR_CORRUPT says why not.
 */
MUST_CHECK int archive_check(const unsigned char head[ARCHIVE_HEAD_SIZE], uint64_t size,
			     const char *segment, uint64_t system_id, struct err *why);

#endif
