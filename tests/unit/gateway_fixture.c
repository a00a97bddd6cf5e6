#include "gateway_fixture.h"

#include <stdio.h>
#include <string.h>

#include "base/macros.h"

#define MS      UINT64_C(1000000)
#define FLUSHED UINT64_C(0x5000148)

static void fixture_nodes(struct cluster *cluster)
{
	cluster->version = 21;
	cluster->cluster_id = 77;
	cluster->node_total = 3;
	for (unsigned i = 0; i < 3; i++) {
		struct node *node = &cluster->nodes[i];

		node->id = (node_id)(i + 1);
		node->kind = NODE_DATA;
		node->priority = (uint16_t)(100 - 10 * i);
		snprintf(node->name, sizeof(node->name), "n%u", i + 1);
	}
}

static void fixture_decisions(struct cluster *cluster, uint64_t wall_ms)
{
	static const struct {
		uint64_t epoch;
		uint8_t cause;
		node_id from, to;
		uint32_t detect_us, survey_us, open_us;
		uint32_t timeline, parent;
	} rows[] = {
		{1, CAUSE_BOOTSTRAP, 0, 1, 0, 0, 41000, 2, 1},
		{2, CAUSE_DB_DOWN, 1, 2, 2100, 18300, 61000, 3, 2},
		{4, CAUSE_NODE_LOST, 2, 1, 1004000, 12500, 80250, 4, 3},
	};

	for (unsigned i = 0; i < COUNT_OF(rows); i++) {
		struct decision *decision = &cluster->decisions[i];
		struct lineage_row *row = &cluster->lineage[i];

		decision->epoch = rows[i].epoch;
		decision->cause = rows[i].cause;
		decision->from = rows[i].from;
		decision->to = rows[i].to;
		decision->usable = FLUSHED - (uint64_t)(3 - i) * 0x1000;
		decision->at_ms = wall_ms - (uint64_t)(3 - i) * 60000;
		decision->before = (struct sync_rule){node_bit(2) | node_bit(3), 1};
		decision->after = (struct sync_rule){node_bit(3), 1};
		decision->detect_us = rows[i].detect_us;
		decision->survey_us = rows[i].survey_us;
		decision->promote_us = rows[i].open_us / 4 * 3;
		decision->open_us = rows[i].open_us;
		decision->answer_count = 2;
		decision->answers[0] = (struct survey_answer){.node = 1,
							      .db = DB_STANDBY,
							      .priority = 100,
							      .timeline = 3,
							      .flushed = FLUSHED,
							      .usable = FLUSHED};
		decision->answers[1] = (struct survey_answer){.node = 3,
							      .db = DB_STANDBY,
							      .priority = 80,
							      .timeline = 3,
							      .flushed = FLUSHED - 0x100,
							      .usable = FLUSHED - 0x100};
		row->epoch = rows[i].epoch;
		row->node = rows[i].to;
		row->timeline = rows[i].timeline;
		row->parent = rows[i].parent;
		row->fork = decision->usable;
	}
	cluster->decision_count = COUNT_OF(rows);
	cluster->lineage_count = COUNT_OF(rows);
}

static void fixture_facts(struct facts *facts, node_id node, uint64_t lag)
{
	memset(facts, 0, sizeof(*facts));
	facts->node = node;
	facts->seq = 9;
	facts->db = node == 1 ? DB_PRIMARY : DB_STANDBY;
	facts->system_id = UINT64_C(7301234567890123456);
	facts->position.timeline = 4;
	facts->position.flushed = FLUSHED - lag;
	facts->position.replayed = FLUSHED - 2 * lag;
	facts->receiving = node != 1;
	facts->upstream = node == 1 ? NODE_NONE : 1;
	facts->promise = 4;
	facts->config_epoch = 4;
	if (node != 1)
		return;
	facts->serving_epoch = 4;
	facts->rule = (struct sync_rule){node_bit(2) | node_bit(3), 1};
	facts->standby_count = 2;
	facts->standbys[0] = (struct standby_view){2, true, FLUSHED, FLUSHED};
	facts->standbys[1] = (struct standby_view){3, true, FLUSHED - 0x100, FLUSHED - 0x200};
}

static void fixture_consensus(struct status_consensus *consensus, uint64_t now_ns, uint64_t wall_ms)
{
	struct cluster *cluster = &consensus->cluster;

	consensus->started_ns = now_ns - 90000 * MS;
	consensus->updated_ns = now_ns - 10 * MS;
	consensus->raft_state = 3;
	consensus->term = 12;
	consensus->leader = 1;
	consensus->last_index = 43;
	consensus->applied_index = 42;
	consensus->lease_until_ns = now_ns + 800 * MS;
	consensus->lease_term = 12;
	consensus->phase = PHASE_STEADY;
	snprintf(consensus->why, sizeof(consensus->why), "the primary serves clients");
	consensus->elections = 2;
	for (unsigned i = 0; i < 17; i++) {
		status_time_add(&consensus->commits, 2000);
		status_time_add(&consensus->writes, 700);
	}
	for (unsigned phase = 0; phase < STATUS_PHASE_COUNT; phase++)
		status_time_add(&consensus->phases[phase], 12000);
	consensus->dropped[DROP_STRANGER] = 5;
	fixture_nodes(cluster);
	cluster->system_id = UINT64_C(7301234567890123456);
	cluster->epoch = 4;
	cluster->primary = 1;
	cluster->opened = true;
	cluster->timeline = 4;
	cluster->timeline_max = 4;
	cluster->open_lsn = FLUSHED - 0x1000;
	cluster->record = (struct sync_rule){node_bit(2) | node_bit(3), 1};
	cluster->settled = true;
	cluster->settings = settings_default(3);
	fixture_decisions(cluster, wall_ms);
	for (node_id node = 1; node <= 3; node++) {
		consensus->peers[node].known = true;
		consensus->peers[node].heard_ns = now_ns - (uint64_t)node * 20 * MS;
		fixture_facts(&consensus->peers[node].facts, node, node == 3 ? 0x100 : 0);
	}
}

static void fixture_master(struct status_master *master, uint64_t now_ns)
{
	static const char *const names[] = {"consensus", "vip", "dbctl", "dbmon", "gateway"};

	master->pid = 4000;
	master->started_ns = now_ns - 100000 * MS;
	snprintf(master->node, sizeof(master->node), "n1");
	snprintf(master->cluster, sizeof(master->cluster), "demo");
	master->worker_count = COUNT_OF(names);
	for (unsigned i = 0; i < COUNT_OF(names); i++) {
		struct status_worker *worker = &master->workers[i];

		snprintf(worker->name, sizeof(worker->name), "%s", names[i]);
		worker->pid = 4001 + (int)i;
		worker->started_ns = now_ns - 90000 * MS;
		worker->ready = true;
		worker->cpu_us = 900000;
		worker->memory_bytes = UINT64_C(12) << 20;
	}
	master->workers[3].restarts = 1;
}

void fixture_sections(struct sections *sections, uint64_t now_ns, uint64_t wall_ms)
{
	memset(sections, 0, sizeof(*sections));
	sections->now_ns = now_ns;
	sections->wall_ms = wall_ms;
	for (unsigned id = 0; id < STATUS_SECTION_COUNT; id++)
		sections->has[id] = true;
	fixture_master(&sections->master, now_ns);
	fixture_consensus(&sections->consensus, now_ns, wall_ms);
	sections->dbmon.updated_ns = now_ns - 30 * MS;
	sections->dbmon.facts = sections->consensus.peers[1].facts;
	sections->dbmon.probes = 400;
	sections->dbmon.probe_failures = 1;
	sections->dbmon.last_probe_us = 850;
	sections->dbmon.postmaster_pid = 5000;
	sections->dbctl.updated_ns = now_ns - 30 * MS;
	sections->dbctl.epoch_seen = 4;
	sections->dbctl.orders_done = 6;
	sections->vip.updated_ns = now_ns - 10 * MS;
	sections->vip.fence = FENCE_OPEN;
	sections->vip.epoch = 4;
	sections->vip.until_ns = now_ns + 800 * MS;
	sections->vip.vip_held = true;
	sections->vip.kernel_fence = true;
	sections->vip.renewals = 900;
	snprintf(sections->vip.vip, sizeof(sections->vip.vip), "10.77.0.100/24");
	sections->vip.opened_ns = now_ns - 60000 * MS;
	sections->vip.open_us_total = 5000000;
	status_margin_add(&sections->vip.leases, 600000);
	status_margin_add(&sections->vip.margins, 700);
	status_margin_add(&sections->vip.margins, 12000);
	sections->gateway.updated_ns = now_ns - 500 * MS;
}

void fixture_be_standby(struct sections *sections)
{
	snprintf(sections->master.node, sizeof(sections->master.node), "n2");
	sections->consensus.raft_state = 1;
	sections->consensus.lease_until_ns = 0;
	sections->consensus.phase = PHASE_FOLLOWING;
	sections->dbmon.facts = sections->consensus.peers[2].facts;
	sections->vip.fence = FENCE_NONE;
	sections->vip.epoch = 4;
	sections->vip.until_ns = 0;
	sections->vip.vip_held = false;
}

void fixture_setup(struct view_setup *setup)
{
	memset(setup, 0, sizeof(*setup));
	setup->member_count = 3;
	for (unsigned i = 0; i < 3; i++) {
		struct view_setup_member *member = &setup->members[i];

		member->id = (node_id)(i + 1);
		member->kind = NODE_DATA;
		member->priority = (uint16_t)(100 - 10 * i);
		member->postgres_port = 5432;
		snprintf(member->name, sizeof(member->name), "n%u", i + 1);
		snprintf(member->address, sizeof(member->address), "10.77.0.1%u", i + 1);
	}
	snprintf(setup->vip, sizeof(setup->vip), "10.77.0.100");
	setup->fresh_ns = 1000 * MS;
	setup->db_fresh_ns = 2000 * MS;
}
