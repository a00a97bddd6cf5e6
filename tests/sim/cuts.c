/*
 * Three nodes and all 2^6 sets of directed links between them: from a steady state, with the
 * primary on a given node, the links of one set are cut, stay so, and are healed. What must never
 * happen is watched at every step as always. Beside it: as long as two nodes can talk to each other
 * both ways, a primary serves on one of them, whatever the third one hears or says; and healed, the
 * cluster is whole again.
 */
#include "sim.h"

enum step { STEP_UP, STEP_MOVE, STEP_CUT, STEP_HEALED };

/* Elections, a promise that is asked for twice, a promotion: by then somebody serves. */
#define HOLD   (15 * SEC)
#define SERVES (10 * SEC)

static const struct {
	node_id from;
	node_id to;
} links[] = {{1, 2}, {1, 3}, {2, 1}, {2, 3}, {3, 1}, {3, 2}};

static void change(int by)
{
	for (unsigned i = 0; i < COUNT_OF(links); i++)
		if (world.options.cuts >> i & 1)
			world.cut[links[i].from][links[i].to] =
				(uint8_t)(world.cut[links[i].from][links[i].to] + by);
}

static bool both_ways(node_id a, node_id b)
{
	return world.cut[a][b] == 0 && world.cut[b][a] == 0;
}

/* Nodes that can talk to at least one other one. */
static node_set pairs(void)
{
	node_set set = 0;

	for (node_id a = 1; a <= 3; a++)
		for (node_id b = 1; b <= 3; b++)
			if (a != b && both_ways(a, b))
				set |= node_bit(a);
	return set;
}

static void turn_page(enum step step)
{
	world.story_step = step;
	world.story_at = world.now;
}

static bool healthy(void)
{
	char what[256];

	return check_healthy(what, sizeof(what));
}

static void move(void)
{
	struct host *leader = leading_host();

	if (leader == NULL)
		return;
	(void)operator_ask(leader,
			   (struct call){.kind = CALL_SWITCHOVER, .node = world.options.primary});
	turn_page(STEP_MOVE);
}

/* Cut at an arbitrary instant of the heartbeats' round, other in each world. */
static void cut(void)
{
	if (!healthy() || world.truth.primary != world.options.primary ||
	    world.now < world.story_at + SEC + random_below(200) * MS)
		return;
	trace("links of set %u are cut", world.options.cuts);
	change(1);
	turn_page(STEP_CUT);
}

static void check_served(void)
{
	const node_set able = pairs();

	if (able == 0)
		return;
	if (world.now - world.last_ack > SEC)
		fail("I4: links of set %u are cut for %u s, %x can talk to another, and no commit "
		     "was acknowledged for %.3f s",
		     world.options.cuts, (unsigned)((world.now - world.story_at) / SEC), able,
		     (double)(world.now - world.last_ack) / 1e9);
	else if (!node_in(able, world.open_node))
		fail("I1: n%u serves, and can talk to nobody", world.open_node);
}

void cuts_turn(void)
{
	if (world.now > world.story_at + 120 * SEC) {
		fail("I4: with links of set %u, step %u does not end", world.options.cuts,
		     world.story_step);
		return;
	}
	switch (world.story_step) {
	case STEP_UP:
		if (!healthy() || world.now < 5 * SEC)
			return;
		if (world.truth.primary == world.options.primary)
			turn_page(STEP_MOVE);
		else
			move();
		return;
	case STEP_MOVE:
		cut();
		return;
	case STEP_CUT:
		if (world.now > world.story_at + SERVES)
			check_served();
		if (world.now < world.story_at + HOLD)
			return;
		trace("links of set %u are healed", world.options.cuts);
		change(-1);
		turn_page(STEP_HEALED);
		return;
	default:
		world.over = healthy() && world.now > world.story_at + 3 * SEC;
		return;
	}
}
