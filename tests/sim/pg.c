/*
 * A database as the agent has to fear it: WAL that is inserted, flushed, lost; timelines that
 * are numbered after the history files it can see; configuration that takes effect bit by bit.
 */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "sim.h"

static uint32_t record_new(uint32_t timeline, bool commit, wal_lsn lsn, uint64_t epoch)
{
	if (world.record_count == world.record_room) {
		world.record_room = world.record_room == 0 ? 4096 : world.record_room * 2;
		world.records = realloc(world.records, world.record_room * sizeof(*world.records));
		CHECK(world.records != NULL);
	}
	world.records[world.record_count] =
		(struct record){.timeline = timeline, .commit = commit, .lsn = lsn, .epoch = epoch};
	return world.record_count++;
}

static void wal_room(struct pg *pg, wal_lsn count)
{
	if (count <= pg->room)
		return;
	while (pg->room < count)
		pg->room = pg->room == 0 ? 4096 : pg->room * 2;
	pg->wal = realloc(pg->wal, pg->room * sizeof(*pg->wal));
	CHECK(pg->wal != NULL);
}

static void branches_find(struct pg *pg, wal_lsn from)
{
	for (wal_lsn at = from; at < pg->inserted; at++) {
		const uint32_t timeline = world.records[pg->wal[at]].timeline;

		if (at > 0 && timeline != world.records[pg->wal[at - 1]].timeline) {
			if (pg->branch_count == WAL_HISTORY_MAX) {
				pg->branch_count--;
				memmove(&pg->branches[0], &pg->branches[1],
					pg->branch_count * sizeof(pg->branches[0]));
			}
			pg->branches[pg->branch_count++] = (struct wal_branch){
				.timeline = world.records[pg->wal[at - 1]].timeline, .end = at};
		}
		pg->timeline = timeline;
	}
}

void pg_append(struct pg *pg, const uint32_t records[], wal_lsn count)
{
	const wal_lsn from = pg->inserted;

	wal_room(pg, from + count);
	memcpy(pg->wal + from, records, count * sizeof(*records));
	pg->inserted += count;
	branches_find(pg, from);
}

void pg_cut(struct pg *pg, wal_lsn count)
{
	pg->inserted = count;
	pg->flushed = count;
	pg->written = count;
	while (pg->branch_count > 0 && pg->branches[pg->branch_count - 1].end >= count)
		pg->branch_count--;
	pg->timeline = count > 0 ? world.records[pg->wal[count - 1]].timeline : 1;
}

void pg_copy_wal(struct pg *to, const struct pg *from, wal_lsn count)
{
	pg_cut(to, 0);
	to->branch_count = 0;
	pg_append(to, from->wal, count);
	to->flushed = count;
	to->written = count;
}

bool pg_contains(const struct pg *pg, wal_lsn lsn, uint32_t record)
{
	return lsn != 0 && lsn <= pg->flushed && pg->wal[lsn - 1] == record;
}

wal_lsn pg_common(const struct pg *a, const struct pg *b)
{
	const wal_lsn limit = a->flushed < b->flushed ? a->flushed : b->flushed;
	wal_lsn low = 0;
	wal_lsn high = limit;

	/* Equal records have equal pasts. */
	while (low < high) {
		const wal_lsn middle = (low + high + 1) / 2;

		if (a->wal[middle - 1] == b->wal[middle - 1])
			low = middle;
		else
			high = middle - 1;
	}
	return low;
}

void pg_position(const struct pg *pg, struct wal_position *position)
{
	memset(position, 0, sizeof(*position));
	if (pg->flushed == 0)
		return;
	position->flushed = pg->flushed;
	position->replayed = pg->flushed;
	position->timeline = world.records[pg->wal[pg->flushed - 1]].timeline;
	for (unsigned i = 0; i < pg->branch_count; i++)
		if (pg->branches[i].end < pg->flushed)
			position->branches[position->branch_count++] = pg->branches[i];
}

bool pg_answers(const struct host *host)
{
	const struct pg *pg = &host->pg;

	return host->up && !pg->hung && (pg->state == PG_STANDBY || pg->state == PG_PRIMARY);
}

bool pg_accepts_writes(const struct host *host)
{
	return host->up && host->pg.state == PG_PRIMARY && fence_admits(host);
}

void pg_found(struct host *host)
{
	struct pg *pg = &host->pg;

	pg->inserted = 0;
	pg->branch_count = 0;
	for (unsigned i = 0; i < 10; i++) {
		const uint32_t record = record_new(1, false, i + 1, 0);

		pg_append(pg, &record, 1);
	}
	pg->flushed = pg->inserted;
	pg->written = pg->inserted;
	pg->consistent_at = 0;
	pg->system_id = random_u64() | 1;
	memset(pg->history, 0, sizeof(pg->history));
	pg->checkpointed = 1;
	pg->broken = false;
	pg->state = PG_STOPPED;
}

static void chore_later(struct host *host)
{
	event_add(world.now + random_between(50, 100) * MS,
		  (struct event){.what = AT_PG_CHORE,
				 .host = host->id,
				 .generation = host->pg.generation});
}

/* Always as a standby: dbctl has written standby.signal. */
void pg_start(struct host *host)
{
	struct pg *pg = &host->pg;

	pg->generation++;
	pg->state = PG_RECOVERING;
	pg->human = false;
	pg->promoting = false;
	pg->loaded = pg->disk;
	pg->reload_pending = false;
	pg->receiving = false;
	pg->sync_defined = false;
	pg->proven_at = 0;
	pg->released = 0;
	pg->silent_since = 0;
	memset(pg->senders, 0, sizeof(pg->senders));
	event_add(world.now + random_between(30, 200) * MS,
		  (struct event){
			  .what = AT_PG_READY, .host = host->id, .generation = pg->generation});
	chore_later(host);
}

void pg_ready(struct host *host)
{
	struct pg *pg = &host->pg;

	if (pg->state != PG_RECOVERING || pg->flushed < pg->consistent_at)
		return;
	pg->state = PG_STANDBY;
	trace("n%u database is a standby at %lu on timeline %u", host->id,
	      (unsigned long)pg->flushed, pg->timeline);
}

static void processes_end(struct host *host)
{
	struct pg *pg = &host->pg;

	stream_drop_senders(host);
	stream_disconnect(host);
	client_abandon(host);
	pg->generation++;
	pg->state = PG_STOPPED;
	pg->hung = false;
	pg->reload_pending = false;
	pg->sync_defined = false;
	/* dbmon holds the postmaster's pidfd. */
	event_add(world.now + random_between(300, 2000) * US,
		  (struct event){.what = AT_PROBE,
				 .host = host->id,
				 .part = EXECUTOR_DBMON,
				 .generation = host->executors[EXECUTOR_DBMON].generation});
}

void pg_kill(struct host *host, bool power)
{
	struct pg *pg = &host->pg;
	const bool primary = pg->state == PG_PRIMARY;
	wal_lsn keep = pg->flushed;

	if (pg->state < PG_RECOVERING)
		return;
	/* Standbys' WAL that was written reaches the disk in the end, unless the host dies. */
	if (!power && !primary)
		keep = pg->inserted;
	else if (pg->inserted > pg->flushed)
		keep += random_below(pg->inserted - pg->flushed + 1);
	trace("n%u database killed, WAL kept up to %lu of %lu", host->id, (unsigned long)keep,
	      (unsigned long)pg->inserted);
	if (power)
		pg->receiving = false;
	processes_end(host);
	pg_cut(pg, keep);
}

void pg_stop(struct host *host)
{
	struct pg *pg = &host->pg;

	if (pg->state < PG_RECOVERING)
		return;
	if (pg->hung) {
		pg_kill(host, false);
		return;
	}
	if (pg->state == PG_PRIMARY) {
		(void)pg_insert(host, false); /* the shutdown checkpoint */
		pg_flush(host, pg->inserted);
		pg->checkpointed = pg->timeline;
		stream_drain(host);
	}
	trace("n%u database stopped at %lu", host->id, (unsigned long)pg->inserted);
	processes_end(host);
	pg_cut(pg, pg->inserted);
}

uint32_t pg_insert(struct host *host, bool commit)
{
	struct pg *pg = &host->pg;
	const uint32_t record =
		record_new(pg->timeline, commit, pg->inserted + 1, pg->loaded.epoch);

	pg_append(pg, &record, 1);
	return record;
}

void pg_flush(struct host *host, wal_lsn lsn)
{
	struct pg *pg = &host->pg;

	if (pg->state != PG_PRIMARY || lsn <= pg->flushed)
		return;
	pg->flushed = lsn;
	pg->written = lsn;
	stream_push(host);
	client_release(host, pg->sync_defined ? pg->released : lsn);
}

/* A SIGHUP: the postmaster reads the file soon, each of its children a little later. */
void pg_configure(struct host *host, const struct pg_config *config, uint32_t reserve_until)
{
	struct pg *pg = &host->pg;

	pg->disk = *config;
	for (uint32_t i = 2; i <= reserve_until && i < TIMELINES; i++)
		pg->history[i] = true;
	if (pg->state < PG_RECOVERING || pg->reload_pending)
		return;
	pg->reload_pending = true;
	event_add(world.now + random_between(300, 5000) * US,
		  (struct event){
			  .what = AT_PG_RELOAD, .host = host->id, .generation = pg->generation});
}

void pg_reload(struct host *host)
{
	struct pg *pg = &host->pg;
	const node_id upstream = pg->loaded.upstream;

	pg->reload_pending = false;
	pg->loaded = pg->disk;
	for (unsigned part = 0; part <= world.total; part++) {
		uint64_t at = world.now + random_between(20, 1500) * US;

		/* The checkpointer may be busy with something else. */
		if (part == 0 && random_permille(50))
			at = world.now + random_between(10, 1000) * MS;
		event_add(at, (struct event){.what = AT_PG_RULE,
					     .host = host->id,
					     .part = (uint8_t)part,
					     .generation = pg->generation});
	}
	if (pg->state == PG_PRIMARY && !pg->sync_defined && pg->loaded.rule.need > 0)
		pg->proven_at = world.now + random_between(5, 200) * MS;
	if (pg->loaded.upstream != upstream && pg->state != PG_PRIMARY) {
		stream_disconnect(host);
		if (pg->loaded.upstream != NODE_NONE)
			event_add(world.now + random_between(4, 15) * MS,
				  (struct event){.what = AT_PG_CONNECT,
						 .host = host->id,
						 .generation = pg->generation});
	}
}

/* Part 0 is the checkpointer, which releases everybody when no names are left. */
void pg_rule(struct host *host, const struct event *event)
{
	struct pg *pg = &host->pg;

	if (event->part != 0) {
		pg->senders[event->part].rule = pg->loaded.rule;
		check_rule(host);
		return;
	}
	pg->sync_defined = pg->loaded.rule.need > 0;
	check_rule(host);
	if (!pg->sync_defined && pg->state == PG_PRIMARY)
		client_release(host, pg->flushed);
}

void pg_promote(struct host *host)
{
	struct pg *pg = &host->pg;
	uint32_t next = pg->timeline + 1;
	uint32_t record;

	if (pg->state != PG_STANDBY)
		return;
	stream_disconnect(host);
	stream_drop_senders(host);
	while (next < TIMELINES && pg->history[next])
		next++;
	CHECK(next < TIMELINES);
	pg->history[next] = true;
	trace("n%u promoted at %lu: timeline %u -> %u", host->id, (unsigned long)pg->flushed,
	      pg->timeline, next);
	pg->timeline = next;
	record = record_new(next, false, pg->inserted + 1, pg->loaded.epoch);
	pg_append(pg, &record, 1);
	pg->flushed = pg->inserted;
	pg->written = pg->inserted;
	pg->state = PG_PRIMARY;
	pg->sync_defined = pg->loaded.rule.need > 0;
	pg->released = 0;
	check_accepting(host);
}

void pg_chore(struct host *host)
{
	struct pg *pg = &host->pg;

	chore_later(host);
	if (pg->state == PG_PRIMARY && random_permille(30)) {
		(void)pg_insert(host, false);
		pg_flush(host, pg->inserted);
	}
	stream_retry(host);
}
