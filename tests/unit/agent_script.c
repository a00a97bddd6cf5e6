#include "agent_script.h"

#include <string.h>

#include "core/syncset.h"

bool serves(const struct world *world)
{
	return world_writer(world) != NODE_NONE;
}

bool a_serves(const struct world *world)
{
	return world_writer(world) == A;
}

bool b_serves(const struct world *world)
{
	return world_writer(world) == B;
}

bool nobody_serves(const struct world *world)
{
	return world_writer(world) == NODE_NONE;
}

bool all_stream(const struct world *world)
{
	const struct cluster *cluster = world_cluster(world);
	unsigned data = node_count(cluster_nodes(cluster, NODE_DATA));
	unsigned streaming = 0;

	for (node_id id = 1; id <= world->count; id++)
		streaming += world->hosts[id].db.receiving ? 1 : 0;
	return serves(world) && streaming + 1 == data && cluster->settled &&
	       node_count(cluster->record.members) + 1 == data && cluster->rebuilding == 0 &&
	       sync_rule_equal(cluster->record, world->hosts[cluster->primary].db.rule);
}

bool blocked(const struct world *world)
{
	return world->leader != NODE_NONE &&
	       world->hosts[world->leader].agent.phase == PHASE_BLOCKED;
}

bool in_phase(const struct world *world, enum leader_phase phase)
{
	return world->leader != NODE_NONE && world->hosts[world->leader].agent.phase == phase;
}

bool surveying(const struct world *world)
{
	return in_phase(world, PHASE_SURVEY);
}

bool handing_over(const struct world *world)
{
	return in_phase(world, PHASE_HANDOVER);
}

bool promoting(const struct world *world)
{
	return in_phase(world, PHASE_PROMOTE);
}

bool opening(const struct world *world)
{
	return in_phase(world, PHASE_OPENING);
}

bool assigned_b(const struct world *world)
{
	return world_cluster(world)->primary == B;
}

void promote_by_hand(struct db *db, uint32_t timeline)
{
	struct wal_position *position = &db->position;

	position->branches[position->branch_count++] =
		(struct wal_branch){position->timeline, position->flushed};
	position->timeline = timeline;
	position->flushed += 100;
	db->receiving = false;
	db->state = DB_PRIMARY;
}

/* Every test is a process of its own. */
struct world *built(unsigned data, unsigned witnesses)
{
	static struct world only;
	struct world *world = &only;

	world_init(world, data, witnesses);
	world->next_leader = A;
	return world;
}

struct world *started(unsigned data, unsigned witnesses)
{
	struct world *world = built(data, witnesses);

	world_until(world, "a first primary", 5000, serves);
	cr_assert_eq(world_writer(world), A);
	world_until(world, "all standbys are on record", 15000, all_stream);
	world->clients = true;
	world_run(world, 100);
	cr_assert_gt(world->acknowledged, 0);
	return world;
}

void expect_accepted(struct world *world, struct call call)
{
	unsigned before = world->results;

	world_call(world, call);
	world_run(world, 300);
	cr_assert_eq(world->results, before + 1);
	cr_assert_eq(world->result.code, CALL_ACCEPTED, "%s (%s)",
		     call_code_name(world->result.code),
		     blocker_name(world->result.blockers[0].kind));
}

bool has_blocker(const struct call_result *result, enum blocker_kind kind)
{
	for (unsigned i = 0; i < result->blocker_count; i++)
		if (result->blockers[i].kind == kind)
			return true;
	return false;
}

void fail_starts(struct host *host, bool fail)
{
	uint64_t bit = UINT64_C(1) << ORDER_DB_START;

	host->failing = fail ? host->failing | bit : host->failing & ~bit;
}

/* Rows in this order, others may come between. */
void expect_rows(const struct world *world, unsigned from, unsigned count, const char *const rows[])
{
	unsigned at = from;

	for (unsigned i = 0; i < count; i++) {
		while (at < world->seen_count && strcmp(world->seen[at], rows[i]) != 0)
			at++;
		cr_expect_lt(at, world->seen_count, "row %s is not taken after %s", rows[i],
			     i == 0 ? "the start" : rows[i - 1]);
	}
}
