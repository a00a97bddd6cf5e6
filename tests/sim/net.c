/* The network between the hosts: cuts, loss, duplicates, delays. Messages are deep copies. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "sim.h"

bool link_open(node_id from, node_id to)
{
	return world.hosts[from].up && world.hosts[to].up && !world.cut[from][to];
}

uint64_t link_delay(void)
{
	uint64_t delay = random_between(50, 300) * US;

	if (world.delay_us != 0)
		delay += random_below(world.delay_us) * US;
	return delay;
}

static void *bytes_of(const void *bytes, size_t size)
{
	void *copy = raft_malloc(size > 0 ? size : 1);

	CHECK(copy != NULL);
	memcpy(copy, bytes, size);
	return copy;
}

/* Entries in one array, their bytes in one batch, as libraft frees them. */
static void copy_entries(struct raft_append_entries *to, const struct raft_append_entries *from)
{
	uint8_t *batch;
	size_t size = 0;

	to->entries = NULL;
	if (from->n_entries == 0)
		return;
	for (unsigned i = 0; i < from->n_entries; i++)
		size += from->entries[i].buf.len;
	batch = raft_malloc(size);
	to->entries = raft_malloc(from->n_entries * sizeof(*to->entries));
	CHECK(batch != NULL && to->entries != NULL);
	size = 0;
	for (unsigned i = 0; i < from->n_entries; i++) {
		to->entries[i] = from->entries[i];
		to->entries[i].buf.base = batch + size;
		to->entries[i].batch = batch;
		memcpy(batch + size, from->entries[i].buf.base, from->entries[i].buf.len);
		size += from->entries[i].buf.len;
	}
}

static void copy_message(struct raft_message *to, const struct raft_message *from)
{
	*to = *from;
	if (from->type == RAFT_IO_APPEND_ENTRIES) {
		copy_entries(&to->append_entries, &from->append_entries);
	} else if (from->type == RAFT_IO_INSTALL_SNAPSHOT) {
		const struct raft_install_snapshot *install = &from->install_snapshot;

		to->install_snapshot.data.base = bytes_of(install->data.base, install->data.len);
		raft_configuration_init(&to->install_snapshot.conf);
		for (unsigned i = 0; i < install->conf.n; i++)
			CHECK(raft_configuration_add(&to->install_snapshot.conf,
						     install->conf.servers[i].id,
						     install->conf.servers[i].address,
						     install->conf.servers[i].role) == 0);
	}
}

struct packet *packet_of_raft(node_id from, const struct raft_message *message, uint64_t sent_ns)
{
	struct packet *packet = malloc(sizeof(*packet));

	CHECK(packet != NULL);
	packet->kind = PACKET_RAFT;
	packet->from = from;
	packet->sent_ns = sent_ns;
	packet->term = 0;
	copy_message(&packet->raft, message);
	return packet;
}

static struct packet *packet_copy(const struct packet *from)
{
	struct packet *packet = malloc(sizeof(*packet));

	CHECK(packet != NULL);
	*packet = *from;
	if (from->kind == PACKET_RAFT)
		copy_message(&packet->raft, &from->raft);
	return packet;
}

void packet_free(struct packet *packet)
{
	if (packet->kind == PACKET_RAFT)
		raftnode_message_free(&packet->raft);
	free(packet);
}

void packet_send(node_id from, node_id to, struct packet *packet)
{
	packet_send_later(from, to, packet, 0);
}

void packet_send_later(node_id from, node_id to, struct packet *packet, uint64_t delay)
{
	struct event event = {
		.what = AT_MESSAGE,
		.host = to,
		.generation = world.hosts[to].consensus_life,
	};

	packet->from = from;
	if (!link_open(from, to) || random_permille(world.loss_permille)) {
		packet_free(packet);
		return;
	}
	if (random_permille(world.duplicate_permille)) {
		event.data = packet_copy(packet);
		event_add(world.now + delay + link_delay() + random_below(200) * MS, event);
	}
	event.data = packet;
	event_add(world.now + delay + link_delay(), event);
}
