/*
 * A struct raft_io in memory. Requests end after a simulated time, in order; a crash drops those
 * under way. Term and vote are durable when the call returns, as libraft demands.
 */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "sim.h"

enum request_kind { REQUEST_APPEND, REQUEST_PUT, REQUEST_GET };

struct disk_request {
	struct disk_request *next;
	enum request_kind kind;
	/* Append: the entries that are durable once it has ended. */
	uint64_t upto;
	/* Put */
	unsigned trailing;
	uint64_t index, term, conf_index;
	struct raft_configuration conf;
	void *bytes;
	size_t size;
	union {
		struct raft_io_append *append;
		struct raft_io_snapshot_put *put;
		struct raft_io_snapshot_get *get;
	};
	union {
		raft_io_append_cb appended;
		raft_io_snapshot_put_cb was_put;
		raft_io_snapshot_get_cb got;
	};
};

static struct host *host_of(const struct raft_io *io)
{
	return io->impl;
}

static void *copy_of(const void *bytes, size_t size)
{
	void *copy = raft_malloc(size > 0 ? size : 1);

	CHECK(copy != NULL);
	memcpy(copy, bytes, size);
	return copy;
}

static void conf_copy(struct raft_configuration *to, const struct raft_configuration *from)
{
	raft_configuration_init(to);
	for (unsigned i = 0; i < from->n; i++)
		CHECK(raft_configuration_add(to, from->servers[i].id, from->servers[i].address,
					     from->servers[i].role) == 0);
}

static void submit(struct host *host, struct disk_request *request)
{
	struct disk *disk = &host->disk;
	struct disk_request **end = &disk->pending;
	uint64_t at = world.now + random_between(world.disk_us / 4, world.disk_us) * US;

	while (*end != NULL)
		end = &(*end)->next;
	*end = request;
	if (at < disk->busy_until)
		at = disk->busy_until;
	disk->busy_until = at;
	event_add(at, (struct event){.what = AT_RAFT_DISK,
				     .host = host->id,
				     .generation = host->consensus_life});
}

static int io_init(struct raft_io *io, raft_id id, const char *address)
{
	UNUSED(io);
	UNUSED(id);
	UNUSED(address);
	return 0;
}

static void io_close(struct raft_io *io, raft_io_close_cb done)
{
	disk_drop(host_of(io));
	if (done != NULL)
		done(io);
}

static void load_snapshot(const struct disk *disk, struct raft_snapshot **result)
{
	struct raft_snapshot *snapshot = raft_malloc(sizeof(*snapshot));

	CHECK(snapshot != NULL);
	snapshot->index = disk->snapshot_index;
	snapshot->term = disk->snapshot_term;
	snapshot->configuration_index = disk->snapshot_conf_index;
	conf_copy(&snapshot->configuration, &disk->snapshot_conf);
	snapshot->n_bufs = 1;
	snapshot->bufs = raft_malloc(sizeof(*snapshot->bufs));
	CHECK(snapshot->bufs != NULL);
	snapshot->bufs[0].len = disk->snapshot_size;
	snapshot->bufs[0].base = copy_of(disk->snapshot_bytes, disk->snapshot_size);
	*result = snapshot;
}

static int io_load(struct raft_io *io, raft_term *term, raft_id *vote,
		   struct raft_snapshot **snapshot, raft_index *start, struct raft_entry *entries[],
		   size_t *count)
{
	struct disk *disk = &host_of(io)->disk;
	uint8_t *batch;
	size_t size = 0;

	*term = disk->term;
	*vote = disk->vote;
	*snapshot = NULL;
	*start = disk->first;
	*entries = NULL;
	*count = disk->count;
	if (disk->has_snapshot)
		load_snapshot(disk, snapshot);
	if (disk->count == 0)
		return 0;
	for (unsigned i = 0; i < disk->count; i++)
		size += disk->entries[i].size;
	batch = raft_malloc(size);
	*entries = raft_malloc(disk->count * sizeof(**entries));
	CHECK(batch != NULL && *entries != NULL);
	size = 0;
	for (unsigned i = 0; i < disk->count; i++) {
		const struct disk_entry *from = &disk->entries[i];

		memcpy(batch + size, from->bytes, from->size);
		(*entries)[i] = (struct raft_entry){
			.term = from->term,
			.type = from->type,
			.buf = {.base = batch + size, .len = from->size},
			.batch = batch,
		};
		size += from->size;
	}
	return 0;
}

static int io_start(struct raft_io *io, unsigned msecs, raft_io_tick_cb tick,
		    raft_io_recv_cb receive)
{
	struct host *host = host_of(io);

	UNUSED(receive);
	host->raft_tick = tick;
	host->raft_tick_ms = msecs;
	event_add(true_ns(host, local_ns(host) + msecs * MS),
		  (struct event){.what = AT_RAFT_TICK,
				 .host = host->id,
				 .generation = host->consensus_life});
	return 0;
}

static void entry_add(struct disk *disk, uint64_t term, unsigned short type, const void *bytes,
		      size_t size)
{
	if (disk->count == disk->room) {
		disk->room = disk->room == 0 ? 64 : disk->room * 2;
		disk->entries = realloc(disk->entries, disk->room * sizeof(*disk->entries));
		CHECK(disk->entries != NULL);
	}
	disk->entries[disk->count++] = (struct disk_entry){
		.term = term, .type = type, .bytes = copy_of(bytes, size), .size = size};
}

static int io_bootstrap(struct raft_io *io, const struct raft_configuration *conf)
{
	struct disk *disk = &host_of(io)->disk;
	struct raft_buffer buffer;

	if (disk->term != 0)
		return RAFT_CANTBOOTSTRAP;
	CHECK(raft_configuration_encode(conf, &buffer) == 0);
	entry_add(disk, 1, RAFT_CHANGE, buffer.base, buffer.len);
	raft_free(buffer.base);
	disk->term = 1;
	disk->durable = 1;
	return 0;
}

static int io_recover(struct raft_io *io, const struct raft_configuration *conf)
{
	UNUSED(io);
	UNUSED(conf);
	return RAFT_IOERR;
}

static int io_set_term(struct raft_io *io, raft_term term)
{
	struct disk *disk = &host_of(io)->disk;

	disk->term = term;
	disk->vote = 0;
	return 0;
}

static int io_set_vote(struct raft_io *io, raft_id id)
{
	host_of(io)->disk.vote = id;
	return 0;
}

/* raftnode replaces it. */
static int io_send(struct raft_io *io, struct raft_io_send *request,
		   const struct raft_message *message, raft_io_send_cb done)
{
	UNUSED(io);
	UNUSED(request);
	UNUSED(message);
	UNUSED(done);
	return RAFT_NOCONNECTION;
}

static struct disk_request *request_new(enum request_kind kind)
{
	struct disk_request *request = calloc(1, sizeof(*request));

	CHECK(request != NULL);
	request->kind = kind;
	return request;
}

static int io_append(struct raft_io *io, struct raft_io_append *append,
		     const struct raft_entry entries[], unsigned count, raft_io_append_cb done)
{
	struct host *host = host_of(io);
	struct disk *disk = &host->disk;
	struct disk_request *request = request_new(REQUEST_APPEND);

	for (unsigned i = 0; i < count; i++)
		entry_add(disk, entries[i].term, entries[i].type, entries[i].buf.base,
			  entries[i].buf.len);
	request->upto = disk->first + disk->count;
	request->append = append;
	request->appended = done;
	submit(host, request);
	return 0;
}

static void entries_cut_tail(struct disk *disk, unsigned count)
{
	while (disk->count > count)
		raft_free(disk->entries[--disk->count].bytes);
	if (disk->durable > count)
		disk->durable = count;
}

static int io_truncate(struct raft_io *io, raft_index index)
{
	struct disk *disk = &host_of(io)->disk;

	CHECK(index >= disk->first);
	entries_cut_tail(disk, (unsigned)(index - disk->first));
	/* What is under way before the cut can make durable only what is left. */
	for (struct disk_request *each = disk->pending; each != NULL; each = each->next)
		if (each->kind == REQUEST_APPEND && each->upto > index)
			each->upto = index;
	return 0;
}

static void entries_cut_head(struct disk *disk, uint64_t first)
{
	unsigned drop;

	if (first <= disk->first)
		return;
	drop = first - disk->first < disk->count ? (unsigned)(first - disk->first) : disk->count;
	for (unsigned i = 0; i < drop; i++)
		raft_free(disk->entries[i].bytes);
	memmove(disk->entries, disk->entries + drop, (disk->count - drop) * sizeof(*disk->entries));
	disk->count -= drop;
	disk->durable = disk->durable > drop ? disk->durable - drop : 0;
	disk->first = first;
}

static int io_snapshot_put(struct raft_io *io, unsigned trailing, struct raft_io_snapshot_put *put,
			   const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb done)
{
	struct disk_request *request = request_new(REQUEST_PUT);
	size_t at = 0;

	request->trailing = trailing;
	request->index = snapshot->index;
	request->term = snapshot->term;
	request->conf_index = snapshot->configuration_index;
	conf_copy(&request->conf, &snapshot->configuration);
	for (unsigned i = 0; i < snapshot->n_bufs; i++)
		request->size += snapshot->bufs[i].len;
	request->bytes = raft_malloc(request->size);
	CHECK(request->bytes != NULL);
	for (unsigned i = 0; i < snapshot->n_bufs; i++) {
		memcpy((uint8_t *)request->bytes + at, snapshot->bufs[i].base,
		       snapshot->bufs[i].len);
		at += snapshot->bufs[i].len;
	}
	request->put = put;
	request->was_put = done;
	submit(host_of(io), request);
	return 0;
}

static int io_snapshot_get(struct raft_io *io, struct raft_io_snapshot_get *get,
			   raft_io_snapshot_get_cb done)
{
	struct disk_request *request = request_new(REQUEST_GET);

	request->get = get;
	request->got = done;
	submit(host_of(io), request);
	return 0;
}

static raft_time io_time(struct raft_io *io)
{
	return local_ns(host_of(io)) / MS;
}

static int io_random(struct raft_io *io, int min, int max)
{
	UNUSED(io);
	UNUSED(max);
	return min;
}

static void request_free(struct disk_request *request)
{
	if (request->kind == REQUEST_PUT) {
		raft_configuration_close(&request->conf);
		raft_free(request->bytes);
	}
	free(request);
}

static void snapshot_keep(struct disk *disk, struct disk_request *request)
{
	if (disk->has_snapshot) {
		raft_configuration_close(&disk->snapshot_conf);
		raft_free(disk->snapshot_bytes);
	}
	disk->has_snapshot = true;
	disk->snapshot_index = request->index;
	disk->snapshot_term = request->term;
	disk->snapshot_conf_index = request->conf_index;
	conf_copy(&disk->snapshot_conf, &request->conf);
	disk->snapshot_bytes = copy_of(request->bytes, request->size);
	disk->snapshot_size = request->size;
	if (request->trailing == 0) {
		/* Installed from the leader: the log begins anew after it. */
		entries_cut_tail(disk, 0);
		disk->first = request->index + 1;
	} else if (request->index > request->trailing) {
		entries_cut_head(disk, request->index - request->trailing + 1);
	}
}

void disk_done(struct host *host)
{
	struct disk *disk = &host->disk;
	struct disk_request *request = disk->pending;
	struct raft_snapshot *snapshot;

	if (request == NULL)
		return;
	disk->pending = request->next;
	switch (request->kind) {
	case REQUEST_APPEND:
		if (request->upto > disk->first + disk->durable)
			disk->durable = (unsigned)(request->upto - disk->first);
		request->appended(request->append, 0);
		break;
	case REQUEST_PUT:
		snapshot_keep(disk, request);
		request->was_put(request->put, 0);
		break;
	case REQUEST_GET:
		CHECK(disk->has_snapshot);
		load_snapshot(disk, &snapshot);
		request->got(request->get, snapshot, 0);
		break;
	}
	request_free(request);
}

void disk_drop(struct host *host)
{
	struct disk *disk = &host->disk;

	while (disk->pending != NULL) {
		struct disk_request *request = disk->pending;

		disk->pending = request->next;
		if (request->kind == REQUEST_APPEND)
			request->appended(request->append, RAFT_CANCELED);
		else if (request->kind == REQUEST_PUT)
			request->was_put(request->put, RAFT_CANCELED);
		else
			request->got(request->get, NULL, RAFT_CANCELED);
		request_free(request);
	}
	/* Nobody was told that it is on disk; it may be all the same. */
	if (disk->count > disk->durable)
		entries_cut_tail(disk, disk->durable + (unsigned)random_below(disk->count -
									      disk->durable + 1));
	disk->durable = disk->count;
	disk->busy_until = 0;
}

void disk_free(struct disk *disk)
{
	entries_cut_tail(disk, 0);
	free(disk->entries);
	if (disk->has_snapshot) {
		raft_configuration_close(&disk->snapshot_conf);
		raft_free(disk->snapshot_bytes);
	}
}

void disk_open(struct host *host)
{
	if (host->disk.first == 0)
		host->disk.first = 1;
	host->io = (struct raft_io){
		.version = 1,
		.impl = host,
		.init = io_init,
		.close = io_close,
		.load = io_load,
		.start = io_start,
		.bootstrap = io_bootstrap,
		.recover = io_recover,
		.set_term = io_set_term,
		.set_vote = io_set_vote,
		.send = io_send,
		.append = io_append,
		.truncate = io_truncate,
		.snapshot_put = io_snapshot_put,
		.snapshot_get = io_snapshot_get,
		.time = io_time,
		.random = io_random,
	};
}
