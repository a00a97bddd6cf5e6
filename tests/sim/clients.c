/*
 * Clients that write all the time: through the address mostly, and straight to any node. A write
 * is acknowledged in the instant in which the database lets its session go on.
 */
#include "base/check.h"
#include "sim.h"

#define PATIENCE (3 * SEC)

static void turn_later(unsigned index, uint64_t delay)
{
	struct client *client = &world.clients[index];

	client->generation++;
	client->at = NODE_NONE;
	event_add(world.now + delay, (struct event){.what = AT_CLIENT,
						    .part = (uint8_t)index,
						    .generation = client->generation});
}

static node_id some_data_host(void)
{
	const struct options *options = &world.options;
	const unsigned pick = (unsigned)random_between(1, options->data + options->later);

	return (node_id)(pick > options->data ? pick + options->witness : pick);
}

static node_id pick(void)
{
	if (!random_permille(250))
		for (unsigned id = 1; id <= world.total; id++)
			if (vip_here(&world.hosts[id]))
				return (node_id)id;
	return some_data_host();
}

/* One event for each client, not for each write: most of them are answered soon. */
static void watch_later(unsigned index, uint64_t at)
{
	world.clients[index].watched = true;
	event_add(at, (struct event){.what = AT_CLIENT, .part = (uint8_t)index, .lsn = 1});
}

/* The deadline of a write that still waits. */
void client_watch(unsigned index)
{
	struct client *client = &world.clients[index];

	client->watched = false;
	if (client->at == NODE_NONE)
		return;
	if (world.now - client->since >= PATIENCE)
		client_turn(index, client->generation);
	else
		watch_later(index, client->since + PATIENCE);
}

void client_turn(unsigned index, uint32_t generation)
{
	struct client *client = &world.clients[index];

	if (generation != client->generation)
		return;
	client->generation++;
	client->at = NODE_NONE;
	event_add(world.now + random_between(50, 300) * US,
		  (struct event){.what = AT_ARRIVAL,
				 .host = pick(),
				 .part = (uint8_t)index,
				 .generation = client->generation});
}

void client_arrival(struct host *host, const struct event *event)
{
	struct client *client = &world.clients[event->part];
	struct pg *pg = &host->pg;

	if (event->generation != client->generation)
		return;
	if (!pg_accepts_writes(host) || pg->hung) {
		turn_later(event->part, random_between(5, 40) * MS);
		return;
	}
	check_accepting(host);
	client->at = host->id;
	client->pg_generation = pg->generation;
	client->record = pg_insert(host, true);
	client->lsn = pg->inserted;
	client->since = world.now;
	event_add(world.now + random_between(100, 200 + world.disk_us) * US,
		  (struct event){.what = AT_PG_FLUSH,
				 .host = host->id,
				 .generation = pg->generation,
				 .lsn = pg->inserted});
	if (!client->watched)
		watch_later(event->part, world.now + PATIENCE);
}

void client_release(struct host *host, wal_lsn upto)
{
	for (unsigned i = 0; i < CLIENTS; i++) {
		struct client *client = &world.clients[i];

		if (client->at != host->id || client->lsn > upto ||
		    client->lsn > host->pg.flushed || client->pg_generation != host->pg.generation)
			continue;
		/*
		 * Without standbys the commit is done at once, but the fence keeps the answer from
		 * the client; with standbys even that is counted.
		 */
		if (host->pg.loaded.rule.need == 0 && !fence_admits(host)) {
			turn_later(i, random_between(5, 40) * MS);
			continue;
		}
		world.acknowledged++;
		world.last_ack = world.now;
		world.records[client->record].acknowledged = true;
		world.records[client->record].told_at = world.now;
		check_acknowledged(host, client->lsn, client->record);
		turn_later(i, random_between(5, 40) * MS);
	}
}

void client_abandon(struct host *host)
{
	for (unsigned i = 0; i < CLIENTS; i++)
		if (world.clients[i].at == host->id)
			turn_later(i, random_between(5, 40) * MS);
}
