/* The status section: what everybody else sees of this worker, and what it finds again itself. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "consensus.h"

_Static_assert((int)DROP_STRANGER == (int)PEER_DROP_STRANGER &&
		       (int)DROP_CLUSTER == (int)PEER_DROP_CLUSTER &&
		       (int)DROP_VERSION == (int)PEER_DROP_VERSION &&
		       (int)DROP_MALFORMED == (int)PEER_DROP_MALFORMED &&
		       (int)DROP_IDENTITY == (int)PEER_DROP_IDENTITY &&
		       (int)DROP_TOO_BIG == (int)PEER_DROP_TOO_BIG &&
		       (int)DROP_REASON_COUNT == (int)PEER_DROP_COUNT,
	       "the segment's drop reasons are the wire's");

/* A number that differs after each boot of the host; 0: not known, so nothing is recovered. */
static uint64_t boot_number(void)
{
	char text[64] = "";
	uint64_t number = UINT64_C(0xcbf29ce484222325);
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t size;

	if (fd < 0)
		return 0;
	size = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (size < 32)
		return 0;
	for (const char *c = text; *c != '\0'; c++)
		number = (number ^ (uint8_t)*c) * UINT64_C(0x100000001b3);
	return number == 0 ? 1 : number;
}

void report_recover(struct consensus *self)
{
	struct status_consensus *section = &self->section;
	const uint64_t now = consensus_now_ns(), boot = boot_number();
	struct err why = {0};
	uint64_t applied = 0;
	int rc = status_read(&self->worker->status, section, &why);

	if (rc == 0 && boot != 0 && section->boot == boot && section->updated_ns <= now) {
		applied = section->applied_index;
		if (!section->failed && section->lease_until_ns > now &&
		    section->lease_until_ns <= now + self->config.lease_ns) {
			self->config.resume_term = section->lease_term;
			self->config.resume_until_ns = section->lease_until_ns;
			log_event(
				LOG_NOTICE, "lease.resume",
				"term=%llu left_ms=%llu this node held the lease a moment ago",
				(unsigned long long)section->lease_term,
				(unsigned long long)((section->lease_until_ns - now) / NS_PER_MS));
		}
		/* What was known of the cluster stands until the log is read; of others, nothing.
		 */
		memset(section->peers, 0, sizeof(section->peers));
		self->elections = section->elections;
		self->commits = section->commits;
		self->disk.writes = section->writes;
	} else {
		memset(section, 0, sizeof(*section));
	}
	events_init(&self->events, self->worker->bus, applied);
	if (applied != 0) {
		self->events.counts.holds = section->holds;
		memcpy(self->events.counts.phases, section->phases, sizeof(section->phases));
		memcpy(self->events.counts.failovers, section->failovers,
		       sizeof(section->failovers));
		memcpy(self->events.counts.operations, section->operations,
		       sizeof(section->operations));
	}
	section->boot = boot;
	section->started_ns = now;
	section->failed = false;
	section->failure[0] = '\0';
	section->raft_state = 0;
	section->leader = NODE_NONE;
	section->lease_until_ns = 0;
	section->phase = PHASE_FOLLOWING;
	section->hold = HOLD_NONE;
	section->waiting_for = 0;
	section->waiting_count = 0;
	snprintf(section->why, sizeof(section->why), "starting");
	self->section_changed = true;
}

static void fill_peers(const struct consensus *self, struct status_consensus *section,
		       const struct agent *agent)
{
	for (unsigned id = 1; id <= NODES_MAX; id++) {
		const struct peer *peer = &agent->peers[id];

		section->peers[id] = (struct status_peer){
			.known = peer->known,
			.heard_ns = peer->heard_ns,
			.facts = peer->facts,
			.clock_known = self->clocks[id].known,
			.clock_ms = self->clocks[id].ms,
		};
	}
	section->peers[agent->config.self] = (struct status_peer){
		.known = agent->self_known, .heard_ns = agent->self_ns, .facts = agent->own};
}

static void fill_raft(struct consensus *self, const struct raft_view *view)
{
	struct status_consensus *section = &self->section;
	struct raft *raft = raftnode_raft(self->node);

	section->raft_state = (uint8_t)raft_state(raft);
	section->term = view->term;
	section->leader = view->leader_id;
	section->last_index = raft_last_index(raft);
	section->applied_index = raft_last_applied(raft);
	section->lease_until_ns = view->lease_until_ns;
	if (view->lease_until_ns != 0)
		section->lease_term = view->term;
}

/* Counted by events.c as entries are applied. */
static void fill_counts(struct status_consensus *section, const struct events *events)
{
	section->holds = events->counts.holds;
	memcpy(section->phases, events->counts.phases, sizeof(section->phases));
	memcpy(section->failovers, events->counts.failovers, sizeof(section->failovers));
	memcpy(section->operations, events->counts.operations, sizeof(section->operations));
}

static void fill_agent(const struct consensus *self, struct status_consensus *section,
		       const struct agent *agent)
{
	section->phase = agent->phase;
	snprintf(section->why, sizeof(section->why), "%s", agent->why == NULL ? "" : agent->why);
	section->hold = agent->hold;
	section->waiting_for = 0;
	section->waiting_count = 0;
	if (agent->phase == PHASE_BLOCKED) {
		section->waiting_for = agent->verdict.missing;
		section->waiting_count = (uint8_t)agent->verdict.missing_count;
	}
	section->cluster = agent->cluster;
	fill_peers(self, section, agent);
}

static bool view_changed(const struct status_consensus *section, const struct raft_view *view)
{
	return section->term != view->term || section->leader != view->leader_id ||
	       section->lease_until_ns != view->lease_until_ns;
}

void report_publish(struct consensus *self)
{
	struct status_consensus *section = &self->section;
	const uint64_t now = consensus_now_ns();
	const bool alive = self->node != NULL && self->node_started;
	struct raft_view view = {0};

	if (alive && !section->failed)
		view = raftnode_view(self->node);
	if (!self->section_changed && !view_changed(section, &view) &&
	    now - section->updated_ns < self->config.agent.heartbeat_ns / 2)
		return;
	self->section_changed = false;
	section->event_index = self->events.index;
	section->event_sub = self->events.sub;
	if (alive && !section->failed) {
		fill_raft(self, &view);
		fill_agent(self, section, raftnode_agent(self->node));
		fill_counts(section, &self->events);
		events_state(&self->events, &section->cluster);
		if (view.leader && !self->was_leader)
			self->elections++;
		self->was_leader = view.leader;
	} else {
		section->raft_state = 0;
		section->leader = NODE_NONE;
		section->lease_until_ns = 0;
		section->phase = PHASE_FOLLOWING;
		section->hold = HOLD_NONE;
		if (section->failed)
			snprintf(section->why, sizeof(section->why),
				 "this node takes no part in the consensus");
	}
	section->updated_ns = now;
	section->elections = self->elections;
	section->commits = self->commits;
	section->writes = self->disk.writes;
	for (int i = 0; i < DROP_REASON_COUNT; i++)
		section->dropped[i] =
			self->peers == NULL ? 0 : peer_dropped(self->peers, (enum peer_drop)i);
	status_publish(&self->worker->status, section);
}
