/*
 * Where things are. Beside the data directory D (so that a rename swaps it on one file system):
 *   D.mha4rdb/       passfile, the server's log, the record of a running child, the rebuild marker,
 *                    diverged-*: WAL that only this node had, and a report about it
 *   D.initdb         a new cluster being made
 *   D.clone          a clone being made
 *   D.old            what a clone took the place of, until the clone streams
 *   D.trash          what is being removed
 * The rebuild marker is not in D: pg_rewind removes from D what its source does not have.
 */
#ifndef MHA_ENGINE_PG_PATHS_H
#define MHA_ENGINE_PG_PATHS_H

#include "base/err.h"
#include "engine/files.h"

#define PG_SETTINGS_FILE  "mha4rdb.conf"
#define PG_STANDBY_SIGNAL "standby.signal"
#define PG_REBUILD_MARKER "rebuilding"
#define PG_REWOUND_NOTE   "rewound"
#define PG_PROVEN         "mha4rdb.proven" /* in D and beside it: the same token, while swapping */
#define PG_PASSFILE       "passfile"
#define PG_CHILD_FILE     "child"
#define PG_START_LOG      "start.log"

struct pg_paths {
	char data[FILES_PATH_SIZE];
	char wal[FILES_PATH_SIZE];
	char side[FILES_PATH_SIZE];
	char passfile[FILES_PATH_SIZE];
	char log_dir[FILES_PATH_SIZE];
	char initdb[FILES_PATH_SIZE];
	char clone[FILES_PATH_SIZE];
	char old[FILES_PATH_SIZE];
	char trash[FILES_PATH_SIZE];
};

/* ERR_TOO_BIG: the data directory's path is too long. */
MUST_CHECK int pg_paths_make(struct pg_paths *paths, const char *data_dir, struct err *why);

#endif
