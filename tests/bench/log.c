/*
 * log-bench DIR SECONDS MEMBERS PROPOSALS
 *
 * The control log: real raftnodes with libraft's real files in DIR, joined in this process by the
 * wire's own encoding without a network. So many proposals are under way at any time, each of an
 * entry that changes nothing. Beside it, in the same run, the floor: as many bytes as such an entry
 * has, written to one preallocated file of the same directory and flushed, again and again. Prints
 * one line of JSON.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "base/check.h"
#include "base/macros.h"
#include "base/text.h"
#include "consensus/disk.h"
#include "kernel.h"
#include "os/clock.h"
#include "raftnode/raftnode.h"
#include "wire/convert.h"
#include "wire/envelope.h"

#define MEMBERS_MAX   5
#define PROPOSALS_MAX 256
#define CLUSTER_ID    77
#define SEC           UINT64_C(1000000000)
#define MS            UINT64_C(1000000)
#define FLOOR_BYTES   (8 << 20)

struct packet {
	struct packet *next;
	node_id from, to;
	uint64_t term, heard_ns; /* an echo, where there are no bytes */
	size_t size;
	uint8_t bytes[];
};

struct member {
	struct bench *bench;
	node_id id;
	struct disk disk;
	struct raftnode_config config;
	struct raftnode *node;
};

struct proposal {
	struct raft_apply request; /* first: libraft gives it back */
	struct bench *bench;
	uint64_t since_ns;
};

struct bench {
	uv_loop_t loop;
	uv_timer_t tick;
	uv_timer_t deliver;
	struct packet *first, **last;
	struct member members[MEMBERS_MAX + 1];
	unsigned total;
	struct proposal proposals[PROPOSALS_MAX];
	unsigned wanted;
	unsigned open;
	struct member *leader;
	uint64_t began_ns, end_ns;
	unsigned long flushes, flushes_before;
	uint64_t last_ns;
	uint64_t entries;
	uint64_t waited_ns;
	struct raft_envelope envelope;
};

static uint64_t now_ns(void *arg)
{
	UNUSED(arg);
	return clock_boot_ns();
}

static uint64_t wall_ms(void *arg)
{
	UNUSED(arg);
	return 0;
}

static int random_in(void *arg, int min, int max)
{
	UNUSED(arg);
	return min + rand() % (max - min);
}

static void on_deliver(uv_timer_t *timer);

static void post(struct bench *bench, struct packet *packet)
{
	packet->next = NULL;
	*bench->last = packet;
	bench->last = &packet->next;
	uv_timer_start(&bench->deliver, on_deliver, 0, 0);
}

static int send_raft(void *arg, const struct raft_message *message, uint64_t sent_ns)
{
	struct member *member = arg;
	struct raft_envelope *envelope = &member->bench->envelope;
	struct packet *packet;
	struct err why;

	if (envelope_from_raft(message, sent_ns, envelope, &why) < 0)
		return RAFT_NOCONNECTION;
	envelope->envelope.version = PEER_PROTOCOL_VERSION;
	envelope->envelope.from = member->id;
	envelope->envelope.to = (uint32_t)message->server_id;
	packet = calloc(1, sizeof(*packet) +
				   mha__peer__envelope__get_packed_size(&envelope->envelope));
	CHECK(packet != NULL);
	packet->from = member->id;
	packet->to = (node_id)message->server_id;
	packet->size = mha__peer__envelope__pack(&envelope->envelope, packet->bytes);
	post(member->bench, packet);
	return 0;
}

static void send_heard(void *arg, node_id to, uint64_t term, uint64_t sent_ns)
{
	struct member *member = arg;
	struct packet *packet = calloc(1, sizeof(*packet));

	CHECK(packet != NULL);
	packet->from = member->id;
	packet->to = to;
	packet->term = term;
	packet->heard_ns = sent_ns;
	post(member->bench, packet);
}

static void effect(void *arg, const struct effect *effect)
{
	UNUSED(arg);
	UNUSED(effect);
}

static void applied(void *arg, uint64_t index, const struct entry *entry)
{
	UNUSED(arg);
	UNUSED(index);
	UNUSED(entry);
}

static void failed(void *arg, const char *reason)
{
	UNUSED(arg);
	fprintf(stderr, "log-bench: %s\n", reason);
	exit(1);
}

static void die(const char *doing, const struct err *why)
{
	fprintf(stderr, "log-bench: %s: %s\n", doing, why->text);
	exit(1);
}

static void take(struct bench *bench, const struct packet *packet)
{
	struct raftnode *node = bench->members[packet->to].node;
	Mha__Peer__Envelope *envelope;
	struct raft_message message;
	uint64_t sent_ns = 0;
	struct err why;

	if (packet->size == 0) {
		raftnode_heard(node, packet->from, packet->term, packet->heard_ns);
		return;
	}
	if (envelope_decode(packet->bytes, packet->size, &envelope, &why) < 0 ||
	    envelope_to_raft(envelope, &message, &sent_ns, &why) < 0)
		die("decode", &why);
	envelope_free(envelope);
	/* What it refuses, a late vote say, it refuses in a cluster as well. */
	(void)!raftnode_receive(node, packet->from, &message, sent_ns, &why);
}

static void on_deliver(uv_timer_t *timer)
{
	struct bench *bench = timer->data;
	struct packet *packet = bench->first;

	bench->first = NULL;
	bench->last = &bench->first;
	while (packet != NULL) {
		struct packet *next = packet->next;

		take(bench, packet);
		free(packet);
		packet = next;
	}
}

static int fresh_entry(uint8_t bytes[LOG_ENTRY_MAX])
{
	struct entry entry = {.kind = ENTRY_FRESH, .at_ms = 1};
	struct err why;
	int size = log_entry_encode(&entry, bytes, &why);

	if (size < 0)
		die("encode", &why);
	return size;
}

static void propose(struct proposal *proposal);

static void on_applied(struct raft_apply *request, int status, void *result)
{
	struct proposal *proposal = (struct proposal *)(void *)request;
	struct bench *bench = proposal->bench;
	const uint64_t now = clock_boot_ns();

	UNUSED(result);
	bench->open--;
	/* What was under way at the end still counts, with its time. */
	bench->last_ns = now;
	bench->flushes = kernel_flushes() - bench->flushes_before;
	if (status == 0) {
		bench->entries++;
		bench->waited_ns += now - proposal->since_ns;
	}
	if (now < bench->end_ns && status == 0)
		propose(proposal);
}

static void propose(struct proposal *proposal)
{
	struct bench *bench = proposal->bench;
	uint8_t bytes[LOG_ENTRY_MAX];
	struct raft_buffer buffer = {.len = (size_t)fresh_entry(bytes)};

	buffer.base = raft_malloc(buffer.len);
	CHECK(buffer.base != NULL);
	memcpy(buffer.base, bytes, buffer.len);
	proposal->since_ns = clock_boot_ns();
	if (raft_apply(raftnode_raft(bench->leader->node), &proposal->request, &buffer, 1,
		       on_applied) != 0)
		raft_free(buffer.base);
	else
		bench->open++;
}

static void begin(struct bench *bench, struct member *leader)
{
	const uint64_t seconds_ns = bench->end_ns;

	bench->leader = leader;
	bench->began_ns = clock_boot_ns();
	bench->end_ns = bench->began_ns + seconds_ns;
	bench->flushes_before = kernel_flushes();
	for (unsigned i = 0; i < bench->wanted; i++) {
		bench->proposals[i].bench = bench;
		propose(&bench->proposals[i]);
	}
}

/* Everybody has written and applied everything. */
static bool settled(struct bench *bench)
{
	const raft_index last = raft_last_index(raftnode_raft(bench->leader->node));

	for (unsigned id = 1; id <= bench->total; id++)
		if (raft_last_applied(raftnode_raft(bench->members[id].node)) != last)
			return false;
	return true;
}

static void on_tick(uv_timer_t *timer)
{
	struct bench *bench = timer->data;

	for (unsigned id = 1; id <= bench->total; id++) {
		struct member *member = &bench->members[id];

		raftnode_tick(member->node);
		if (bench->leader == NULL && raftnode_view(member->node).ready)
			begin(bench, member);
	}
	if (bench->leader != NULL && clock_boot_ns() >= bench->end_ns && bench->open == 0 &&
	    settled(bench))
		uv_stop(&bench->loop);
}

static const struct raftnode_ops OPS = {
	.now_ns = now_ns,
	.wall_ms = wall_ms,
	.random = random_in,
	.send = send_raft,
	.send_heard = send_heard,
	.effect = effect,
	.applied = applied,
	.failed = failed,
};

static void on_disk_failure(void *arg, const char *reason)
{
	failed(arg, reason);
}

static void member_open(struct bench *bench, unsigned id, const char *directory)
{
	struct member *member = &bench->members[id];
	struct agent_config *agent = &member->config.agent;
	char path[200];
	struct err why;

	member->bench = bench;
	member->id = (node_id)id;
	agent->self = member->id;
	agent->cluster_id = CLUSTER_ID;
	agent->election_ns = SEC;
	agent->heartbeat_ns = SEC / 10;
	agent->node_total = (uint8_t)bench->total;
	agent->settings = settings_default(bench->total);
	for (unsigned i = 0; i < bench->total; i++) {
		agent->nodes[i] = (struct node){.id = (node_id)(i + 1), .kind = NODE_DATA};
		snprintf(agent->nodes[i].name, sizeof(agent->nodes[i].name), "n%u", i + 1);
		member->config.address[i + 1] = agent->nodes[i].name;
	}
	member->config.lease_ns = SEC / 10 * 9;
	member->config.snapshot_threshold = 1024;
	member->config.snapshot_trailing = 256;
	snprintf(path, sizeof(path), "%s/n%u", directory, id);
	if (mkdir(path, 0700) < 0) {
		fprintf(stderr, "log-bench: %s cannot be made\n", path);
		exit(1);
	}
	if (disk_open(&member->disk, &bench->loop, path, CLUSTER_ID, member->id, on_disk_failure,
		      member, &why) < 0 ||
	    raftnode_new(&member->node, &member->config, &member->disk.io, &OPS, member, &why) <
		    0 ||
	    raftnode_start(member->node, &why) < 0)
		die("start", &why);
}

/* Flushes per second of one writer that does nothing else. */
static double floor_of(const char *directory, size_t size, uint64_t for_ns)
{
	static uint8_t zeros[65536];
	const uint64_t began = clock_boot_ns();
	uint64_t count = 0;
	char path[200];
	int fd;

	snprintf(path, sizeof(path), "%s/floor", directory);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	CHECK(fd >= 0);
	for (off_t at = 0; at < FLOOR_BYTES; at += (off_t)sizeof(zeros))
		CHECK(pwrite(fd, zeros, sizeof(zeros), at) == (ssize_t)sizeof(zeros));
	CHECK(fsync(fd) == 0);
	for (; clock_boot_ns() - began < for_ns; count++) {
		const off_t at = (off_t)(count * size % (FLOOR_BYTES - LOG_ENTRY_MAX));

		CHECK(pwrite(fd, zeros, size, at) == (ssize_t)size && fdatasync(fd) == 0);
	}
	CHECK(close(fd) == 0 && unlink(path) == 0);
	return (double)count * 1e9 / (double)(clock_boot_ns() - began);
}

static void print(const struct bench *bench, size_t size, double floor_before, double floor_after)
{
	const double seconds = (double)(bench->last_ns - bench->began_ns) / 1e9;
	const double entries = (double)bench->entries;

	printf("{\"members\": %u, \"proposals\": %u, \"entry_bytes\": %zu, \"seconds\": %.2f, "
	       "\"entries\": %lu, \"entries_per_s\": %.1f, \"mean_ms\": %.3f, "
	       "\"flushes_per_entry\": %.3f, \"flushes_per_s\": %.1f, "
	       "\"floor_per_s\": [%.1f, %.1f]}\n",
	       bench->total, bench->wanted, size, seconds, (unsigned long)bench->entries,
	       entries / seconds, entries > 0 ? (double)bench->waited_ns / entries / 1e6 : 0,
	       entries > 0 ? (double)bench->flushes / entries : 0, (double)bench->flushes / seconds,
	       floor_before, floor_after);
}

static bool number(const char *text, uint64_t max, uint64_t *value)
{
	return text_parse_u64(text, value) && *value >= 1 && *value <= max;
}

int main(int argc, char **argv)
{
	struct bench *bench = calloc(1, sizeof(*bench));
	uint64_t seconds, members, proposals;
	uint8_t bytes[LOG_ENTRY_MAX];
	double before;

	if (argc != 5 || !number(argv[2], 3600, &seconds) ||
	    !number(argv[3], MEMBERS_MAX, &members) ||
	    !number(argv[4], PROPOSALS_MAX, &proposals)) {
		fprintf(stderr, "usage: log-bench DIR SECONDS 1..%d 1..%d\n", MEMBERS_MAX,
			PROPOSALS_MAX);
		return 2;
	}
	CHECK(bench != NULL);
	bench->total = (unsigned)members;
	bench->wanted = (unsigned)proposals;
	bench->end_ns = seconds * SEC;
	bench->last = &bench->first;
	before = floor_of(argv[1], (size_t)fresh_entry(bytes), seconds * SEC / 4);
	CHECK(uv_loop_init(&bench->loop) == 0 && uv_timer_init(&bench->loop, &bench->tick) == 0 &&
	      uv_timer_init(&bench->loop, &bench->deliver) == 0);
	bench->tick.data = bench->deliver.data = bench;
	for (unsigned id = 1; id <= bench->total; id++)
		member_open(bench, id, argv[1]);
	uv_timer_start(&bench->tick, on_tick, 50, 50);
	uv_run(&bench->loop, UV_RUN_DEFAULT);
	print(bench, (size_t)fresh_entry(bytes), before,
	      floor_of(argv[1], (size_t)fresh_entry(bytes), seconds * SEC / 4));
	/* The members end with the process: there is nobody who would use their logs again. */
	fflush(stdout);
	_exit(0);
}
