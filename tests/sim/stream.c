/* Walsenders and walreceivers: WAL goes one way in order, what is flushed comes back. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "sim.h"

/* A stream that carries nothing for so long is given up by both sides. */
#define STREAM_PATIENCE (2 * SEC)

struct wal_data {
	wal_lsn begin;
	wal_lsn count;
	uint32_t records[];
};

static bool upstream_reachable(const struct host *host, const struct host *upstream)
{
	return link_open(host->id, upstream->id) && link_open(upstream->id, host->id) &&
	       fence_admits_members(upstream) && pg_answers(upstream);
}

/* What PostgreSQL compares before it streams: timelines, their ends, the history files. */
static bool timelines_fit(const struct pg *pg, const struct pg *from)
{
	const uint32_t mine = pg->timeline;

	if (from->system_id != pg->system_id || from->timeline < mine ||
	    pg->flushed > from->flushed)
		return false;
	if (from->timeline == mine)
		return true;
	/* It asks for every file between, and an absent one is an error. */
	for (uint32_t i = mine + 1; i <= from->timeline && i < TIMELINES; i++)
		if (!from->history[i])
			return false;
	for (unsigned i = 0; i < from->branch_count; i++)
		if (from->branches[i].timeline == mine)
			return pg->flushed <= from->branches[i].end;
	/* Timeline 1 that was left at once has no record of its own only in an empty WAL. */
	return false;
}

static void reply_later(struct host *host)
{
	struct pg *pg = &host->pg;
	struct event event = {.what = AT_PG_REPLY,
			      .host = pg->receiving_from,
			      .part = host->id,
			      .generation = pg->connection,
			      .lsn = pg->flushed};

	if (pg->receiving)
		event_add(world.now + link_delay(), event);
}

bool stream_connect(struct host *host)
{
	struct pg *pg = &host->pg;
	const node_id upstream = pg->loaded.upstream;
	struct host *other = &world.hosts[upstream];
	struct pg *from = &other->pg;

	if (pg->receiving || pg->promoting || pg->state == PG_PRIMARY ||
	    pg->state < PG_RECOVERING || upstream == NODE_NONE || upstream == host->id ||
	    !upstream_reachable(host, other) || !timelines_fit(pg, from))
		return false;
	if (pg->flushed > 0 && pg->wal[pg->flushed - 1] != from->wal[pg->flushed - 1]) {
		fail("n%u streams from n%u although their WAL differs before %lu (timelines %u, "
		     "%u)",
		     host->id, other->id, (unsigned long)pg->flushed, pg->timeline, from->timeline);
		return false;
	}
	for (uint32_t i = 2; i <= from->timeline && i < TIMELINES; i++)
		pg->history[i] = true;
	pg_cut(pg, pg->flushed);
	pg->receiving = true;
	pg->receiving_from = upstream;
	pg->connection = ++world.connections;
	pg->silent_since = 0;
	from->senders[host->id] = (struct wal_sender){
		.on = true,
		.connection = pg->connection,
		.sent = pg->flushed,
		.rule = from->loaded.rule,
	};
	reply_later(host);
	stream_push(other);
	return true;
}

/* The receiver ends: what it has written it flushes. */
void stream_disconnect(struct host *host)
{
	struct pg *pg = &host->pg;

	if (pg->receiving) {
		struct wal_sender *sender = &world.hosts[pg->receiving_from].pg.senders[host->id];

		if (sender->connection == pg->connection && link_open(host->id, pg->receiving_from))
			sender->on = false;
		pg->receiving = false;
		if (pg->flushed < pg->inserted)
			pg->flushed = pg->inserted;
		if (pg->state == PG_RECOVERING && pg->consistent_at != 0)
			pg_ready(host);
	}
	pg->connection = 0;
}

void stream_drop_senders(struct host *host)
{
	for (unsigned id = 1; id <= world.total; id++) {
		struct wal_sender *sender = &host->pg.senders[id];
		struct host *peer = &world.hosts[id];

		if (sender->on && peer->pg.receiving && peer->pg.connection == sender->connection &&
		    link_open(host->id, (node_id)id) && !peer->pg.hung)
			stream_disconnect(peer);
		sender->on = false;
	}
}

void stream_push(struct host *host)
{
	struct pg *pg = &host->pg;

	for (unsigned id = 1; id <= world.total; id++) {
		struct wal_sender *sender = &pg->senders[id];
		const wal_lsn count = pg->flushed - sender->sent;
		struct wal_data *data;
		uint64_t at;

		if (!sender->on || sender->sent >= pg->flushed || !link_open(host->id, (node_id)id))
			continue;
		data = malloc(sizeof(*data) + count * sizeof(data->records[0]));
		CHECK(data != NULL);
		data->begin = sender->sent;
		data->count = count;
		memcpy(data->records, pg->wal + sender->sent, count * sizeof(data->records[0]));
		at = world.now + link_delay();
		if (random_permille(world.loss_permille))
			at += 200 * MS; /* sent again by TCP */
		if (at < sender->last_at)
			at = sender->last_at;
		sender->last_at = at;
		sender->sent = pg->flushed;
		event_add(at, (struct event){.what = AT_PG_WAL,
					     .host = (uint8_t)id,
					     .part = host->id,
					     .generation = sender->connection,
					     .data = data});
	}
}

void stream_wal(struct host *host, const struct event *event)
{
	struct pg *pg = &host->pg;
	const struct wal_data *data = event->data;
	struct wal_sender *sender = &world.hosts[event->part].pg.senders[host->id];

	if (!pg->receiving || pg->connection != event->generation || pg->state < PG_RECOVERING)
		return;
	if (!link_open(event->part, host->id) || data->begin != pg->inserted) {
		/* TCP keeps it and sends it again. */
		if (sender->connection == event->generation && sender->sent > pg->inserted)
			sender->sent = pg->inserted;
		return;
	}
	pg_append(pg, data->records, data->count);
	pg->written = pg->inserted;
	event_add(world.now + random_between(200, 500 + world.disk_us) * US,
		  (struct event){.what = AT_PG_STORED,
				 .host = host->id,
				 .generation = pg->generation,
				 .lsn = pg->inserted});
}

void stream_stored(struct host *host, const struct event *event)
{
	struct pg *pg = &host->pg;

	if (event->lsn > pg->inserted || event->lsn <= pg->flushed)
		return;
	if (pg->stuck) {
		event_add(world.now + 20 * MS, (struct event){.what = AT_PG_STORED,
							      .host = host->id,
							      .generation = pg->generation,
							      .lsn = event->lsn});
		return;
	}
	pg->flushed = event->lsn;
	reply_later(host);
	stream_push(host);
	if (pg->state == PG_RECOVERING && pg->consistent_at != 0)
		pg_ready(host);
}

static int descending(const void *a, const void *b)
{
	const wal_lsn x = *(const wal_lsn *)a;
	const wal_lsn y = *(const wal_lsn *)b;

	return x > y ? -1 : x < y;
}

/* What the walsender of `peer` may release by the rule that it knows. */
static wal_lsn releasable(const struct pg *pg, unsigned peer)
{
	const struct sync_rule rule = pg->senders[peer].rule;
	wal_lsn flushed[HOSTS];
	unsigned count = 0;

	if (rule.need == 0 || !node_in(rule.members, (node_id)peer))
		return 0;
	for (unsigned id = 1; id <= world.total; id++)
		if (pg->senders[id].on && node_in(rule.members, (node_id)id))
			flushed[count++] = pg->senders[id].acknowledged;
	if (count < rule.need)
		return 0;
	qsort(flushed, count, sizeof(flushed[0]), descending);
	return flushed[rule.need - 1];
}

void stream_reply(struct host *host, const struct event *event)
{
	struct pg *pg = &host->pg;
	struct wal_sender *sender = &pg->senders[event->part];
	wal_lsn lsn;

	/* The fence stops what comes in, on streams too. */
	if (!sender->on || sender->connection != event->generation ||
	    !link_open(event->part, host->id) || !fence_admits_members(host))
		return;
	if (event->lsn > sender->acknowledged)
		sender->acknowledged = event->lsn;
	if (pg->state != PG_PRIMARY)
		return;
	lsn = releasable(pg, event->part);
	if (lsn <= pg->released)
		return;
	pg->released = lsn;
	if (pg->sync_defined)
		client_release(host, lsn);
}

/* An orderly shutdown ships the rest before the walsenders end. */
void stream_drain(struct host *host)
{
	struct pg *pg = &host->pg;

	for (unsigned id = 1; id <= world.total; id++) {
		const struct wal_sender *sender = &pg->senders[id];
		struct host *peer = &world.hosts[id];

		if (!sender->on || !peer->pg.receiving || peer->pg.hung ||
		    peer->pg.connection != sender->connection || peer->pg.state < PG_RECOVERING ||
		    !upstream_reachable(peer, host) || peer->pg.inserted >= pg->flushed)
			continue;
		pg_append(&peer->pg, pg->wal + peer->pg.inserted, pg->flushed - peer->pg.inserted);
		peer->pg.written = peer->pg.inserted;
		peer->pg.flushed = peer->pg.inserted;
	}
}

void stream_retry(struct host *host)
{
	struct pg *pg = &host->pg;

	if (pg->receiving) {
		const struct host *upstream = &world.hosts[pg->receiving_from];
		const struct wal_sender *sender = &upstream->pg.senders[host->id];

		if (!upstream_reachable(host, upstream)) {
			if (pg->silent_since == 0)
				pg->silent_since = world.now;
			else if (world.now - pg->silent_since > STREAM_PATIENCE)
				stream_disconnect(host);
		} else if (!sender->on || sender->connection != pg->connection) {
			/* The other side knows nothing of this connection: a reset. */
			stream_disconnect(host);
		} else {
			pg->silent_since = 0;
			reply_later(host);
		}
	} else {
		(void)stream_connect(host);
	}
	for (unsigned id = 1; id <= world.total; id++) {
		struct wal_sender *sender = &pg->senders[id];
		const struct pg *peer = &world.hosts[id].pg;

		if (sender->on && (!peer->receiving || peer->connection != sender->connection) &&
		    random_permille(100))
			sender->on = false;
	}
	stream_push(host);
}
