/* HTTP routes: Patroni's meaning of each path, on a primary, on a standby, in doubt. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/patroni.h"
#include "gateway/routes.h"
#include "gateway_fixture.h"

#define MS UINT64_C(1000000)

struct world {
	struct sections sections;
	struct view_setup setup;
	struct view view;
	struct events events;
	struct status_gateway counters;
};

static struct world *world_new(bool standby)
{
	struct world *world = calloc(1, sizeof(*world));

	cr_assert_not_null(world);
	fixture_sections(&world->sections, FIXTURE_NOW_NS, FIXTURE_WALL_MS);
	if (standby)
		fixture_be_standby(&world->sections);
	fixture_setup(&world->setup);
	view_build(&world->sections, &world->setup, &world->view);
	events_init(&world->events);
	return world;
}

static struct http_answer answer(struct world *world, const char *method, const char *url)
{
	struct http_world http = {.view = &world->view,
				  .events = &world->events,
				  .counters = &world->counters,
				  .http_listen = "127.0.0.1:8008",
				  .election_ns = 1000 * MS};
	struct http_request request = {.method = method};
	struct http_answer out;
	char copy[256], *rest = copy, *pair;

	snprintf(copy, sizeof(copy), "%s", url);
	request.path = strsep(&rest, "?");
	while ((pair = strsep(&rest, "&")) != NULL) {
		request.query[request.query_count].name = strsep(&pair, "=");
		request.query[request.query_count++].value = pair;
	}
	view_build(&world->sections, &world->setup, &world->view);
	http_answer(&request, &http, &out);
	return out;
}

static unsigned get(struct world *world, const char *url)
{
	struct http_answer out = answer(world, "GET", url);

	free(out.body);
	return out.status;
}

struct expectation {
	const char *url;
	unsigned primary, standby;
};

Test(routes, patronis_meaning)
{
	static const struct expectation cases[] = {
		{"/", 200, 503},
		{"/primary", 200, 503},
		{"/master", 200, 503},
		{"/leader", 200, 503},
		{"/read-write", 200, 503},
		{"/standby-leader", 503, 503},
		{"/standby_leader", 503, 503},
		{"/replica", 503, 200},
		{"/replica?lag=0", 503, 200},
		{"/replica?lag=nonsense", 503, 200},
		{"/replica?replication_state=streaming", 503, 200},
		{"/replica?replication_state=catchup", 503, 503},
		{"/replica?tag_failover_priority=90", 503, 200},
		{"/replica?tag_failover_priority=91", 503, 503},
		{"/replica?tag_clonefrom=true", 503, 503},
		{"/primary?tag_clonefrom=true", 200, 503},
		{"/read-only", 200, 200},
		{"/read-only?tag_clonefrom=true", 503, 503},
		{"/read-only-quorum", 200, 200},
		{"/read-only-sync", 200, 503},
		{"/quorum", 503, 200},
		{"/sync", 503, 503},
		{"/synchronous", 503, 503},
		{"/async", 503, 503},
		{"/asynchronous", 503, 503},
		{"/health", 200, 200},
		{"/liveness", 200, 200},
		{"/readiness", 200, 200},
		{"/patroni", 200, 200},
		{"/patroni/more", 200, 200},
		{"/cluster", 200, 200},
		{"/history", 200, 200},
		{"/metrics", 200, 200},
		{"/config", 503, 503},
		{"/no/such/thing", 503, 503},
		{"/v1/cluster", 200, 200},
		{"/v1/members", 200, 200},
		{"/v1/members/n3", 200, 200},
		{"/v1/members/n4", 404, 404},
		{"/v1/members/", 404, 404},
		{"/v1/members/n1/more", 404, 404},
		{"/v1/operations", 200, 200},
		{"/v1/operations/x", 400, 400},
		{"/v1/operations/999", 404, 404},
		{"/v1/why", 200, 200},
		{"/v1/why?epoch=4", 200, 200},
		{"/v1/why?epoch=77", 404, 404},
		{"/v1/why?epoch=-1", 400, 400},
		{"/v1/leader", 200, 200},
		{"/v1/history", 200, 200},
		{"/v1/events", 200, 200},
		{"/v1/events?since=5", 200, 200},
		{"/v1/events?since=5.1", 200, 200},
		{"/v1/events?since=5.4294967296", 400, 400},
		{"/v1/events?since=.1", 400, 400},
		{"/v1", 404, 404},
		{"/v1/primary", 404, 404},
	};
	struct world *primary = world_new(false), *standby = world_new(true);

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		cr_expect_eq(get(primary, cases[i].url), cases[i].primary, "%s", cases[i].url);
		cr_expect_eq(get(standby, cases[i].url), cases[i].standby, "%s", cases[i].url);
	}
	free(primary);
	free(standby);
}

Test(routes, synchronous_means_each_of_them)
{
	struct world *world = world_new(true);

	world->sections.consensus.cluster.record.need = 2;
	cr_expect_eq(get(world, "/sync"), 200);
	cr_expect_eq(get(world, "/quorum"), 503);
	world->sections.consensus.cluster.record.need = 0;
	cr_expect_eq(get(world, "/sync"), 503);
	cr_expect_eq(get(world, "/async"), 200);
	free(world);
}

Test(routes, lag_is_of_replayed_wal_and_must_be_known)
{
	struct world *world = world_new(true);

	world->sections.consensus.peers[1].facts.position.flushed += 3 << 20;
	cr_expect_eq(get(world, "/replica"), 200);
	cr_expect_eq(get(world, "/replica?lag=4MB"), 200);
	cr_expect_eq(get(world, "/replica?lag=3072kB"), 200);
	cr_expect_eq(get(world, "/replica?lag=2MB"), 503);
	cr_expect_eq(get(world, "/readiness"), 503);
	cr_expect_eq(get(world, "/readiness?lag=4MB"), 200);
	world->sections.consensus.peers[1].heard_ns = FIXTURE_NOW_NS - 5000 * MS;
	cr_expect_eq(get(world, "/replica"), 200);
	cr_expect_eq(get(world, "/replica?lag=4MB"), 503);
	free(world);
}

Test(routes, liveness_is_the_consensus_workers)
{
	struct world *world = world_new(false);

	world->sections.consensus.updated_ns = FIXTURE_NOW_NS - 9000 * MS;
	cr_expect_eq(get(world, "/liveness"), 200);
	world->sections.consensus.updated_ns = FIXTURE_NOW_NS - 11000 * MS;
	cr_expect_eq(get(world, "/liveness"), 503);
	world->sections.has[STATUS_CONSENSUS] = false;
	cr_expect_eq(get(world, "/liveness"), 503);
	cr_expect_eq(get(world, "/metrics"), 200);
	free(world);
}

Test(routes, nothing_known_is_503_and_never_a_crash)
{
	struct world *world = world_new(false);

	memset(&world->sections, 0, sizeof(world->sections));
	for (unsigned round = 0; round < 2; round++) {
		cr_expect_eq(get(world, "/primary"), 503);
		cr_expect_eq(get(world, "/replica"), 503);
		cr_expect_eq(get(world, "/health"), 503);
		cr_expect_eq(get(world, "/patroni"), 200);
		cr_expect_eq(get(world, "/cluster"), 200);
		cr_expect_eq(get(world, "/history"), 200);
		cr_expect_eq(get(world, "/metrics"), 200);
		cr_expect_eq(get(world, "/v1/cluster"), 200);
		memset(&world->setup, 0, sizeof(world->setup));
	}
	free(world);
}

Test(routes, methods)
{
	static const char *const others[] = {"POST", "PUT", "PATCH", "DELETE", "TRACE", "", "get"};
	struct world *world = world_new(false);
	struct http_answer out = answer(world, "HEAD", "/primary");

	cr_expect(out.status == 200 && out.body == NULL);
	out = answer(world, "OPTIONS", "/replica");
	cr_expect(out.status == 503 && out.body == NULL);
	for (size_t i = 0; i < COUNT_OF(others); i++) {
		out = answer(world, others[i], "/primary");
		cr_expect_eq(out.status, 405);
		cr_expect_not_null(out.allow);
		free(out.body);
	}
	free(world);
}

Test(routes, sizes)
{
	static const struct {
		const char *text;
		bool good;
		uint64_t bytes;
	} cases[] = {
		{"0", true, 0},
		{"512", true, 512},
		{"16kB", true, 16384},
		{"1MB", true, 1 << 20},
		{"2GB", true, UINT64_C(2) << 30},
		{"7B", true, 7},
		{"", false, 0},
		{"MB", false, 0},
		{"-1", false, 0},
		{"1 MB", false, 0},
		{"1.5MB", false, 0},
		{"16777216TB", false, 0},
		{"99999999999999999999999", false, 0},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		uint64_t bytes = 0;

		cr_expect_eq(http_parse_bytes(cases[i].text, &bytes), cases[i].good, "'%s'",
			     cases[i].text);
		if (cases[i].good)
			cr_expect_eq(bytes, cases[i].bytes, "'%s'", cases[i].text);
	}
}

Test(patroni, states_have_patronis_numbers)
{
	static const struct {
		uint8_t db, job;
		enum patroni_state state;
		const char *name;
	} cases[] = {
		{DB_PRIMARY, JOB_NONE, PATRONI_RUNNING, "running"},
		{DB_STANDBY, JOB_NONE, PATRONI_RUNNING, "running"},
		{DB_STARTING, JOB_NONE, PATRONI_STARTING, "starting"},
		{DB_DOWN, JOB_NONE, PATRONI_STOPPED, "stopped"},
		{DB_BROKEN, JOB_NONE, PATRONI_CRASHED, "crashed"},
		{DB_HUNG, JOB_NONE, PATRONI_UNKNOWN, "unknown"},
		{DB_DOWN, JOB_CLONE, PATRONI_CREATING_REPLICA, "creating replica"},
		{DB_DOWN, JOB_REWIND, PATRONI_CREATING_REPLICA, "creating replica"},
		{DB_ABSENT, JOB_INITDB, PATRONI_INITDB, "initializing new cluster"},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct view_member member = {.known = true, .fresh = true, .kind = NODE_DATA};

		member.db = cases[i].db;
		member.job = cases[i].job;
		cr_expect_eq(patroni_state(&member), cases[i].state);
		cr_expect_str_eq(patroni_state_name(cases[i].state), cases[i].name);
	}
	cr_expect_eq(patroni_state(NULL), PATRONI_UNKNOWN);
	cr_expect_eq(PATRONI_RUNNING, 5);
	cr_expect_eq(PATRONI_CRASHED, 14);
}

Test(metrics, unknown_values_have_no_sample)
{
	struct world *world = world_new(false);
	struct http_answer out;

	memset(&world->sections.consensus.peers[3], 0, sizeof(struct status_peer));
	world->sections.has[STATUS_VIP] = false;
	out = answer(world, "GET", "/metrics");
	cr_assert_not_null(out.body);
	cr_expect_not_null(strstr(out.body, "member_lag_bytes{scope=\"demo\",name=\"n1\","
					    "member=\"n2\"} 0\n"));
	cr_expect_null(strstr(out.body, "member_lag_bytes{scope=\"demo\",name=\"n1\","
					"member=\"n3\"}"));
	cr_expect_null(strstr(out.body, "mha4rdb_fence{"));
	cr_expect_not_null(strstr(out.body, "patroni_primary{scope=\"demo\",name=\"n1\"} 0\n"));
	cr_expect_not_null(strstr(out.body, "mha4rdb_lease_seconds{scope=\"demo\",name=\"n1\"} "
					    "0.8\n"));
	free(out.body);
	world->setup.members[0].kind = NODE_WITNESS;
	out = answer(world, "GET", "/metrics");
	cr_assert_not_null(out.body);
	cr_expect_null(strstr(out.body, "patroni_primary"), "a witness has no database");
	cr_expect_not_null(strstr(out.body, "patroni_cluster_unlocked"));
	free(out.body);
	free(world);
}
