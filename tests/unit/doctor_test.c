/* The rules of `mhactl doctor`: each with facts that are well and facts that are not. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "gateway_fixture.h"
#include "mhactl/doctor.h"
#include "mhactl/print.h"
#include "view/message.h"

struct world {
	struct sections sections;
	struct view_setup setup;
	struct view view;
	struct status_message status;
	struct conf conf;
	struct doctor_facts facts;
	struct findings found;
};

static void member_row(struct conf *conf, unsigned index, const char *name)
{
	struct conf_member *row = &conf->members[index];

	snprintf(row->name, sizeof(row->name), "%s", name);
	snprintf(row->public_key, sizeof(row->public_key), "key-of-%s", name);
	row->id = index + 1;
	row->kind = MEMBER_DATA;
	conf->member_count = index + 1;
}

/* Everything is well. */
static struct world *world_new(void)
{
	static const struct doctor_pair PAIRS[] = {
		{"fsync", "on"},           {"full_page_writes", "on"}, {"synchronous_commit", "on"},
		{"wal_level", "replica"},  {"hot_standby", "on"},      {"mha4rdb.epoch", "4"},
		{"max_wal_senders", "20"}, {"wal_keep_size", "512"},   {"archive_failing", "off"},
		{"wal_log_hints", "on"},   {"data_checksums", "on"},
	};
	struct world *world = calloc(1, sizeof(*world));
	struct doctor_facts *facts;

	cr_assert_not_null(world);
	fixture_sections(&world->sections, FIXTURE_NOW_NS, FIXTURE_WALL_MS);
	fixture_setup(&world->setup);
	for (unsigned i = 0; i < world->sections.master.worker_count; i++)
		world->sections.master.workers[i].restarts = 0;
	view_build(&world->sections, &world->setup, &world->view);
	status_to_message(&world->view, &world->status);
	member_row(&world->conf, 0, "n1");
	member_row(&world->conf, 1, "n2");
	member_row(&world->conf, 2, "n3");
	facts = &world->facts;
	facts->root = facts->local = true;
	facts->now_ns = FIXTURE_NOW_NS;
	strcpy(facts->clock_source, "tsc");
	facts->clock_synced = facts->pidfd = facts->nftables = SEEN_YES;
	facts->landlock = 4;
	facts->memlock_bytes = UINT64_MAX;
	facts->rtprio = 10;
	facts->limits_known = true;
	facts->conf = &world->conf;
	facts->conf_path = "mha4rdb.conf";
	facts->conf_trusted = SEEN_YES;
	facts->secrets_known = true;
	strcpy(facts->public_key, "key-of-n1");
	facts->version = view_version();
	facts->status = &world->status.status;
	facts->segment = &world->sections;
	facts->fence_table = SEEN_YES;
	facts->disks[0] = (struct doctor_disk){"paths.state_dir", "/var", true, UINT64_C(1) << 40,
					       UINT64_C(1) << 41};
	facts->asked = true;
	facts->pair_count = COUNT_OF(PAIRS);
	memcpy(facts->pairs, PAIRS, sizeof(PAIRS));
	return world;
}

static struct findings *judge(struct world *world)
{
	doctor_judge(&world->facts, &world->found);
	return &world->found;
}

static const struct finding *worst(struct world *world, const char *area, const char *name)
{
	const struct finding *worst = NULL;

	judge(world);
	for (unsigned i = 0; i < world->found.count; i++) {
		const struct finding *finding = &world->found.list[i];

		if (strcmp(finding->area, area) == 0 && strcmp(finding->name, name) == 0 &&
		    (worst == NULL || finding->level > worst->level))
			worst = finding;
	}
	return worst;
}

/* The rule finds that, and says what to do about it. */
static void expect(struct world *world, const char *area, const char *name,
		   enum finding_level level, const char *words)
{
	const struct finding *finding = worst(world, area, name);

	cr_assert_not_null(finding, "%s/%s says nothing", area, name);
	cr_expect_eq(finding->level, level, "%s/%s: %s", area, name, finding->text);
	cr_expect_not_null(strstr(finding->text, words), "%s/%s: %s", area, name, finding->text);
	if (level != FINDING_OK)
		cr_expect_neq(finding->remedy[0], '\0', "%s/%s has no remedy", area, name);
}

Test(doctor, finds_nothing_where_all_is_well)
{
	struct world *world = world_new();
	const struct findings *found = judge(world);

	for (unsigned i = 0; i < found->count; i++)
		cr_expect_eq(found->list[i].level, FINDING_OK, "%s/%s: %s", found->list[i].area,
			     found->list[i].name, found->list[i].text);
	cr_expect_gt(found->count, 25);
	free(world);
}

Test(doctor, knows_nothing_and_blames_nobody)
{
	struct world *world = calloc(1, sizeof(*world));
	const struct findings *found;

	cr_assert_not_null(world);
	world->facts.landlock = -1;
	world->facts.conf_path = "x";
	err_set(&world->facts.status_why, ERR_GONE, "nobody listens");
	found = judge(world);
	cr_expect_eq(findings_count(found, FINDING_ERROR), 1);
	cr_expect_eq(found->count, 1);
	cr_expect_str_eq(found->list[0].name, "answer");
	free(world);
}

Test(doctor, host)
{
	struct world *world = world_new();
	struct doctor_facts *facts = &world->facts;

	strcpy(facts->clock_source, "hpet");
	expect(world, "host", "clock_source", FINDING_WARNING, "hpet");
	facts->clock_synced = SEEN_NO;
	expect(world, "host", "clock_sync", FINDING_WARNING, "not synchronised");
	facts->clock_synced = SEEN_YES;
	facts->clock_error_us = 5000000;
	expect(world, "host", "clock_sync", FINDING_WARNING, "5.0 s");
	facts->pidfd = SEEN_NO;
	expect(world, "host", "pidfd", FINDING_ERROR, "no pidfd");
	facts->landlock = 0;
	expect(world, "host", "landlock", FINDING_WARNING, "no Landlock");
	world->conf.sandbox_landlock = LANDLOCK_REQUIRED;
	expect(world, "host", "landlock", FINDING_ERROR, "required");
	facts->nftables = SEEN_NO;
	expect(world, "host", "nftables", FINDING_ERROR, "nftables");
	world->conf.fence_kernel = FENCE_MODE_OFF;
	expect(world, "host", "nftables", FINDING_OK, "off");
	facts->memlock_bytes = 65536;
	expect(world, "host", "limits", FINDING_WARNING, "64 kB");
	facts->memlock_bytes = UINT64_MAX;
	facts->rtprio = 0;
	expect(world, "host", "limits", FINDING_WARNING, "real-time");
	facts->root = false;
	expect(world, "host", "rights", FINDING_WARNING, "not root");
	free(world);
}

Test(doctor, keys)
{
	struct world *world = world_new();
	struct doctor_facts *facts = &world->facts;

	expect(world, "keys", "node_key", FINDING_OK, "n1");
	strcpy(facts->public_key, "another");
	expect(world, "keys", "node_key", FINDING_ERROR, "does not belong");
	strcpy(world->conf.members[0].next_public_key, "another");
	expect(world, "keys", "node_key", FINDING_WARNING, "next one");
	err_set(&facts->key_why, ERR_PERM, "mode 0644");
	expect(world, "keys", "node_key", FINDING_ERROR, "0644");
	err_set(&facts->password_why, ERR_PERM, "mode 0604");
	expect(world, "keys", "password_file", FINDING_ERROR, "0604");
	err_set(&facts->access_why, ERR_INVALID, "line 3");
	expect(world, "keys", "access_files", FINDING_ERROR, "line 3");
	facts->conf_trusted = SEEN_NO;
	expect(world, "configuration", "file", FINDING_ERROR, "others may write");
	facts->conf = NULL;
	facts->conf_trusted = SEEN_YES;
	err_set(&facts->conf_why, ERR_INVALID, "line 7");
	expect(world, "configuration", "file", FINDING_ERROR, "line 7");
	free(world);
}

Test(doctor, agent_and_cluster)
{
	struct world *world = world_new();
	Mha__Client__Status *status = &world->status.status;
	char gone[] = "n2's database is gone", advice[] = "mend it", starving[] = "starving";

	status->workers[0]->restarts = 2;
	expect(world, "agent", "workers", FINDING_WARNING, "2 times");
	status->workers[0]->pid = 0;
	expect(world, "agent", "workers", FINDING_ERROR, "does not run");
	world->facts.version = "0.0.0";
	expect(world, "agent", "answer", FINDING_WARNING, "0.0.0");
	status->from_segment = true;
	expect(world, "agent", "answer", FINDING_ERROR, "does not answer");
	status->from_segment = false;
	status->voters_heard = 2;
	expect(world, "cluster", "quorum", FINDING_WARNING, "2 of 3");
	status->voters_heard = 1;
	expect(world, "cluster", "quorum", FINDING_ERROR, "no majority");
	status->members[1]->fault = gone;
	status->members[1]->fault_advice = advice;
	expect(world, "cluster", "members", FINDING_ERROR, "gone");
	status->members[1]->heard = false;
	expect(world, "cluster", "members", FINDING_ERROR, "not heard");
	status->members[1]->maintenance = true;
	expect(world, "cluster", "members", FINDING_WARNING, "maintenance");
	status->degraded = true;
	expect(world, "cluster", "service", FINDING_WARNING, "fewer standbys");
	status->leader->known = false;
	expect(world, "cluster", "service", FINDING_ERROR, "nobody is known");
	status->members[2]->clock_known = true;
	status->members[2]->clock_ms = -90000;
	expect(world, "cluster", "clocks", FINDING_WARNING, "90.0 s behind");
	status->members[2]->clock_ms = 12;
	expect(world, "cluster", "clocks", FINDING_OK, "1 other");
	status->watchdog = starving;
	expect(world, "agent", "watchdog", FINDING_ERROR, "not fed");
	free(world);
}

Test(doctor, fence_disk_and_ports)
{
	struct world *world = world_new();
	struct doctor_facts *facts = &world->facts;
	char n2[] = "n2";

	expect(world, "fence", "state", FINDING_OK, "open");
	facts->fence_table = SEEN_NO;
	expect(world, "fence", "table", FINDING_ERROR, "not there");
	world->sections.vip.kernel_fence = false;
	expect(world, "fence", "table", FINDING_WARNING, "without");
	world->status.status.leader->name = n2;
	expect(world, "fence", "state", FINDING_ERROR, "not the serving primary");
	facts->disks[0].free_bytes = UINT64_C(1) << 30;
	facts->disks[0].total_bytes = UINT64_C(1) << 35;
	expect(world, "disk", "space", FINDING_WARNING, "1024 MB");
	facts->disks[0].free_bytes = UINT64_C(1) << 20;
	expect(world, "disk", "space", FINDING_ERROR, "paths.state_dir");
	facts->port_count = 1;
	facts->ports[0] = (struct doctor_port){.member = "n3",
					       .what = "agent",
					       .address = "10.0.0.3",
					       .port = 7400,
					       .why = "Connection refused"};
	expect(world, "ports", "reachable", FINDING_ERROR, "n3's agent at 10.0.0.3:7400");
	free(world);
}

Test(doctor, database)
{
	static const struct {
		const char *name;
		const char *value;
		const char *rule;
		enum finding_level level;
		const char *words;
	} cases[] = {
		{"fsync", "off", "fsync", FINDING_ERROR, "fsync is off"},
		{"full_page_writes", "off", "full_page_writes", FINDING_ERROR, "torn"},
		{"synchronous_commit", "off", "synchronous_commit", FINDING_ERROR, "lose"},
		{"synchronous_commit", "local", "synchronous_commit", FINDING_ERROR, "lose"},
		{"synchronous_commit", "remote_apply", "synchronous_commit", FINDING_OK, "apply"},
		{"wal_level", "minimal", "wal_level", FINDING_ERROR, "minimal"},
		{"hot_standby", "off", "hot_standby", FINDING_ERROR, "never promoted"},
		{"mha4rdb.epoch", "", "mha4rdb.epoch", FINDING_ERROR, "not the one"},
		{"max_wal_senders", "2", "max_wal_senders", FINDING_ERROR, "too few"},
		{"wal_keep_size", "0", "wal_keep_size", FINDING_WARNING, "cloned"},
		{"archive_failing", "on", "archive_failing", FINDING_WARNING, "pg_wal"},
		{"data_checksums", "off", "checksums", FINDING_WARNING, "checksums"},
		{"slot", "old inactive 5368709120", "slot", FINDING_ERROR, "keeps 5120 MB"},
		{"slot", "old inactive 4096", "slot", FINDING_WARNING, "no consumer"},
		{"slot", "cdc active 4096", "slot", FINDING_WARNING, "in use"},
		{"override", "role app has synchronous_commit=off", "override", FINDING_ERROR,
		 "role app"},
		{"foreign_standby", "pg2 from 10.0.0.9", "foreign_standby", FINDING_WARNING, "pg2"},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct world *world = world_new();
		struct doctor_facts *facts = &world->facts;
		unsigned row = 0;

		while (row < facts->pair_count &&
		       strcmp(facts->pairs[row].name, cases[i].name) != 0)
			row++;
		if (row == facts->pair_count)
			facts->pair_count++;
		snprintf(facts->pairs[row].name, sizeof(facts->pairs[row].name), "%s",
			 cases[i].name);
		snprintf(facts->pairs[row].value, sizeof(facts->pairs[row].value), "%s",
			 cases[i].value);
		expect(world, "database", cases[i].rule, cases[i].level, cases[i].words);
		free(world);
	}
}

Test(doctor, rewind_needs_checksums_or_hints)
{
	struct world *world = world_new();
	struct doctor_facts *facts = &world->facts;

	strcpy(facts->pairs[9].value, "off");
	expect(world, "database", "rewind", FINDING_OK, "checksums are on");
	strcpy(facts->pairs[10].value, "off");
	expect(world, "database", "rewind", FINDING_ERROR, "neither");
	facts->asked = false;
	err_set(&facts->database_why, ERR_TIMEOUT, "no answer for 10 s");
	expect(world, "database", "answer", FINDING_ERROR, "10 s");
	cr_expect_null(worst(world, "database", "fsync"));
	world->conf.members[0].kind = MEMBER_WITNESS;
	cr_expect_null(worst(world, "database", "answer"), "a witness has no database");
	free(world);
}

Test(doctor, topology_is_a_tree)
{
	struct world *world = world_new();
	Mha__Client__Status *status = &world->status.status;
	char n1[] = "n1", n2[] = "n2", none[] = "", *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	status->members[0]->upstream = none;
	status->members[1]->upstream = n1;
	status->members[2]->upstream = n2;
	print_topology(status, false, to);
	/* A ring is shown once, and ends. */
	status->members[1]->upstream = n2;
	print_topology(status, false, to);
	fclose(to);
	cr_expect_not_null(strstr(text, "n1  primary, serving, timeline 4\n  + n2  standby, "
					"streaming, timeline 4, 0 B behind\n    + n3  "),
			   "%s", text);
	cr_expect_not_null(strstr(text, "\nn2  standby, streaming, timeline 4\n  + n3  "), "%s",
			   text);
	free(text);
	free(world);
}
