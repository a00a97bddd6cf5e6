/*
 * What agents say to each other: struct raft_message <-> protobuf, and the envelope around it.
 * Everything that arrives is checked here before libraft, which asserts on nonsense, sees it.
 */
#ifndef MHA_WIRE_ENVELOPE_H
#define MHA_WIRE_ENVELOPE_H

#include <raft.h>

#include "base/err.h"
#include "core/limits.h"
#include "core/types.h"
#include "peer.pb-c.h"

#define PEER_PROTOCOL_VERSION 4
/* Largest envelope, in bytes. */
#define PEER_FRAME_MAX 1048576
/* Entries of one AppendEntries; libraft sends the rest with the next one. */
#define PEER_ENTRIES_MAX 256

/* Storage behind an envelope that carries a Raft message. Large: not for the stack. */
struct raft_envelope {
	Mha__Peer__Envelope envelope;
	union {
		Mha__Peer__RequestVote request_vote;
		Mha__Peer__RequestVoteResult request_vote_result;
		Mha__Peer__AppendEntries append_entries;
		Mha__Peer__AppendEntriesResult append_entries_result;
		Mha__Peer__InstallSnapshot install_snapshot;
		Mha__Peer__TimeoutNow timeout_now;
	};
	Mha__Peer__RaftEntry entries[PEER_ENTRIES_MAX];
	Mha__Peer__RaftEntry *entry_list[PEER_ENTRIES_MAX];
	Mha__Peer__RaftServer servers[NODES_MAX];
	Mha__Peer__RaftServer *server_list[NODES_MAX];
};

/*
 * Borrows everything `message` points to. Entries over PEER_ENTRIES_MAX or over the frame's size
 * are left out: the receiver's answer makes libraft send them again. ERR_TOO_BIG: one entry or a
 * snapshot over its bound. ERR_INVALID: a message type that is not known.
 */
MUST_CHECK int envelope_from_raft(const struct raft_message *message, uint64_t sent_ns,
				  struct raft_envelope *out, struct err *why);

/*
 * The Raft message in `envelope`, as raftnode_receive() wants it: what libraft frees is
 * raft_malloc()ed. server_id is envelope->from, server_address is NULL. `sent_ns` is 0 for
 * messages without it. ERR_NOT_FOUND: the body is no Raft message. ERR_INVALID, ERR_TOO_BIG,
 * ERR_NO_MEMORY: nothing is left to free.
 */
MUST_CHECK int envelope_to_raft(const Mha__Peer__Envelope *envelope, struct raft_message *message,
				uint64_t *sent_ns, struct err *why);
/* Free what envelope_to_raft() made when nobody took it over. */
void envelope_raft_free(struct raft_message *message);

/*
 * Decode within a bound of memory. Free with envelope_free(). ERR_TOO_BIG, ERR_CORRUPT.
 */
MUST_CHECK int envelope_decode(const uint8_t *bytes, size_t size, Mha__Peer__Envelope **envelope,
			       struct err *why);
void envelope_free(Mha__Peer__Envelope *envelope);

#endif
