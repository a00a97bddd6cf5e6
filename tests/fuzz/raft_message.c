/* Raft messages there and back: what is accepted means the same when it is sent on. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "fuzz.h"
#include "wire/envelope.h"

static void check_same(const struct raft_message *a, const struct raft_message *b)
{
	CHECK(a->type == b->type);
	if (a->type == RAFT_IO_APPEND_ENTRIES) {
		CHECK(a->append_entries.n_entries == b->append_entries.n_entries);
		CHECK(a->append_entries.leader_commit == b->append_entries.leader_commit);
		for (unsigned i = 0; i < a->append_entries.n_entries; i++) {
			const struct raft_entry *x = &a->append_entries.entries[i];
			const struct raft_entry *y = &b->append_entries.entries[i];

			CHECK(x->term == y->term && x->type == y->type && x->buf.len == y->buf.len);
			CHECK(memcmp(x->buf.base, y->buf.base, x->buf.len) == 0);
			/* libraft's disk takes whole words, and frees one batch. */
			CHECK(x->buf.len % 8 == 0 &&
			      x->batch == a->append_entries.entries[0].batch);
		}
	}
	if (a->type == RAFT_IO_INSTALL_SNAPSHOT) {
		CHECK(a->install_snapshot.conf.n == b->install_snapshot.conf.n);
		CHECK(a->install_snapshot.data.len == b->install_snapshot.data.len);
		CHECK(memcmp(a->install_snapshot.data.base, b->install_snapshot.data.base,
			     a->install_snapshot.data.len) == 0);
	}
}

static void send_on(const struct raft_message *message, uint64_t sent_ns, uint32_t from)
{
	static struct raft_envelope storage;
	Mha__Peer__Envelope *envelope = NULL;
	struct raft_message again;
	struct err why = {0};
	uint64_t sent_again = 0;
	uint8_t *bytes;
	size_t size;

	CHECK(envelope_from_raft(message, sent_ns, &storage, &why) == 0);
	storage.envelope.from = from;
	size = mha__peer__envelope__get_packed_size(&storage.envelope);
	CHECK(size <= PEER_FRAME_MAX);
	bytes = malloc(size);
	if (bytes == NULL)
		return;
	mha__peer__envelope__pack(&storage.envelope, bytes);
	CHECK(envelope_decode(bytes, size, &envelope, &why) == 0);
	CHECK(envelope_to_raft(envelope, &again, &sent_again, &why) == 0);
	CHECK(sent_again == sent_ns);
	check_same(message, &again);
	envelope_raft_free(&again);
	envelope_free(envelope);
	free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	Mha__Peer__Envelope *envelope = NULL;
	struct raft_message message;
	uint64_t sent_ns;
	struct err why = {0};

	if (envelope_decode(bytes, size, &envelope, &why) < 0)
		return 0;
	if (envelope_to_raft(envelope, &message, &sent_ns, &why) == 0) {
		CHECK(message.server_id >= 1 && message.server_id <= NODES_MAX);
		send_on(&message, sent_ns, envelope->from);
		envelope_raft_free(&message);
	} else {
		CHECK(why.text[0] != '\0');
	}
	envelope_free(envelope);
	return 0;
}
