#include "rig_state.h"

#include <stdio.h>
#include <string.h>

#include "base/macros.h"
#include "base/text.h"
#include "gateway_fixture.h"

#define MS UINT64_C(1000000)

void rig_state_init(struct rig_state *state, uint64_t now_ns, uint64_t wall_ms)
{
	fixture_sections(&state->sections, now_ns, wall_ms);
	/* Longer than a stall of the machine between two publications. */
	state->lease_ms = 20000;
	state->fence_ms = 20000;
}

void rig_state_stamp(struct rig_state *state, uint64_t now_ns)
{
	struct sections *sections = &state->sections;

	sections->consensus.updated_ns = now_ns;
	sections->consensus.lease_until_ns = state->lease_ms ? now_ns + state->lease_ms * MS : 0;
	for (unsigned id = 1; id <= NODES_MAX; id++) {
		if (sections->consensus.peers[id].known)
			sections->consensus.peers[id].heard_ns = now_ns;
	}
	sections->dbmon.updated_ns = now_ns;
	sections->dbctl.updated_ns = now_ns;
	sections->vip.updated_ns = now_ns;
	sections->vip.until_ns = state->fence_ms ? now_ns + state->fence_ms * MS : 0;
}

static bool set_facts(struct facts *facts, const char *name, uint64_t value)
{
	if (strcmp(name, "db") == 0)
		facts->db = (uint8_t)value;
	else if (strcmp(name, "receiving") == 0)
		facts->receiving = value != 0;
	else if (strcmp(name, "flushed") == 0)
		facts->position.flushed = value;
	else if (strcmp(name, "replayed") == 0)
		facts->position.replayed = value;
	else if (strcmp(name, "timeline") == 0)
		facts->position.timeline = (uint32_t)value;
	else if (strcmp(name, "serving_epoch") == 0)
		facts->serving_epoch = value;
	else if (strcmp(name, "job") == 0)
		facts->job = (uint8_t)value;
	else if (strcmp(name, "job_done") == 0)
		facts->job_done = value;
	else if (strcmp(name, "job_total") == 0)
		facts->job_total = value;
	else
		return false;
	return true;
}

/* Operation 30, a switchover of n1 to n2, is in this state. */
static void set_operation(struct cluster *cluster, uint8_t state)
{
	const bool over = state > OPERATION_RUNNING;

	cluster->operation_count = 1;
	cluster->operations[0] = (struct operation){
		.id = 30,
		.kind = OPERATION_SWITCHOVER,
		.state = state,
		.reason = state == OPERATION_ROLLED_BACK ? BLOCK_DEADLINE : BLOCK_NONE,
		.from = 1,
		.to = 2,
		.epoch = cluster->epoch,
		.asked_ms = 1790000000000,
		.start_ms = state == OPERATION_SCHEDULED ? 1790000600000 : 0,
		.ended_ms = over ? 1790000001000 : 0,
	};
}

static bool set_number(struct rig_state *state, const char *name, uint64_t value)
{
	struct status_consensus *consensus = &state->sections.consensus;
	struct status_vip *vip = &state->sections.vip;

	if (strcmp(name, "lease_ms") == 0)
		state->lease_ms = value;
	else if (strcmp(name, "fence_ms") == 0)
		state->fence_ms = value;
	else if (strcmp(name, "fence") == 0)
		vip->fence = (uint8_t)value;
	else if (strcmp(name, "fence_epoch") == 0)
		vip->epoch = value;
	else if (strcmp(name, "vip_held") == 0)
		vip->vip_held = value != 0;
	else if (strcmp(name, "epoch") == 0)
		consensus->cluster.epoch = value;
	else if (strcmp(name, "primary") == 0)
		consensus->cluster.primary = (node_id)value;
	else if (strcmp(name, "term") == 0)
		consensus->term = value;
	else if (strcmp(name, "leader") == 0)
		consensus->leader = (node_id)value;
	else if (strcmp(name, "phase") == 0)
		consensus->phase = (uint8_t)value;
	else if (strcmp(name, "waiting_for") == 0)
		consensus->waiting_for = (node_set)value;
	else if (strcmp(name, "waiting_count") == 0)
		consensus->waiting_count = (uint8_t)value;
	else if (strcmp(name, "hold") == 0)
		consensus->hold = (uint8_t)value;
	else if (strcmp(name, "event_index") == 0)
		consensus->event_index = value;
	else if (strcmp(name, "event_sub") == 0)
		consensus->event_sub = (uint32_t)value;
	else if (strcmp(name, "paused") == 0)
		consensus->cluster.settings.paused = value != 0;
	else if (strcmp(name, "operation") == 0)
		set_operation(&consensus->cluster, (uint8_t)value);
	else
		return false;
	return true;
}

bool rig_state_set(struct rig_state *state, const char *name, const char *value)
{
	struct sections *sections = &state->sections;
	uint64_t number;

	if (strcmp(name, "node") == 0)
		return text_copy(sections->master.node, sizeof(sections->master.node), value);
	if (strcmp(name, "why") == 0)
		return text_copy(sections->consensus.why, sizeof(sections->consensus.why), value);
	if (strcmp(name, "as") == 0 && strcmp(value, "standby") == 0) {
		fixture_be_standby(sections);
		state->lease_ms = state->fence_ms = 0;
		return true;
	}
	if (!text_parse_u64(value, &number))
		return false;
	if (strncmp(name, "self.", 5) == 0)
		return set_facts(&sections->dbmon.facts, name + 5, number);
	if (strncmp(name, "peer", 4) == 0 && name[4] >= '1' && name[4] <= '9' && name[5] == '.')
		return set_facts(&sections->consensus.peers[name[4] - '0'].facts, name + 6, number);
	return set_number(state, name, number);
}

const void *rig_state_section(const struct rig_state *state, enum status_section_id id)
{
	const struct sections *sections = &state->sections;
	const void *const places[STATUS_SECTION_COUNT] = {
		[STATUS_MASTER] = &sections->master, [STATUS_CONSENSUS] = &sections->consensus,
		[STATUS_DBMON] = &sections->dbmon,   [STATUS_DBCTL] = &sections->dbctl,
		[STATUS_VIP] = &sections->vip,       [STATUS_GATEWAY] = &sections->gateway,
	};

	return places[id];
}
