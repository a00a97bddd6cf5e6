/*
 * Raft's log on disk: libraft's raft_uv behind a thin wrap that notices failures. libraft itself
 * goes on voting after a failed write; this project's node does not.
 */
#ifndef MHA_CONSENSUS_DISK_H
#define MHA_CONSENSUS_DISK_H

#include <raft.h>
#include <raft/uv.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "core/types.h"
#include "status/times.h"

struct disk {
	/* Given to raftnode. First member: libraft passes it back and the wrap finds itself. */
	struct raft_io io;
	struct raft_io inner; /* raft_uv's own functions */
	struct raft_uv_transport transport;
	struct status_times writes; /* of entries, until they are on the disk */
	bool open;
	bool failed;
	uint64_t append_count; /* writes of entries so far */
	uint64_t cut_until;    /* the note about a cut stands until that one ends; 0: none does */
	/*
	 * Nobody's directory yet: this node is new, or has lost everything, its votes included. It
	 * cannot tell which, and must not vote like a member that remembers until disk_claim().
	 */
	bool fresh;
	char path[256];
	raft_io_close_cb on_close; /* libraft's, until it was called */
	/* Called once, from within a call of libraft: only take note of it there. */
	void (*on_failure)(void *arg, const char *reason);
	void *arg;
};

/*
 * Prepare `disk->io` on the directory `path`, which must exist and be writable. A file in it says
 * whose log it is: a directory of another cluster or node, or one that lost its log, is refused
 * with ERR_REFUSED or ERR_CORRUPT; ERR_IO when it cannot be used.
 */
MUST_CHECK int disk_open(struct disk *disk, uv_loop_t *loop, const char *path, uint64_t cluster_id,
			 node_id self, void (*on_failure)(void *arg, const char *reason), void *arg,
			 struct err *why);
/* Once the log has caught up with the cluster: from now on it must be there. Ends `fresh`. */
MUST_CHECK int disk_claim(struct disk *disk, uint64_t cluster_id, node_id self, struct err *why);
/* After raft_close() has called back, or if raft_init() was never called. */
void disk_close(struct disk *disk);

#endif
