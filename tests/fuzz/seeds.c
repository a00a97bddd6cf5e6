/* Writes the seeds of the corpus: fuzz_seeds FOLDER. Configurations are written by hand. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "gateway_fixture.h"
#include "status/status.h"
#include "view/message.h"
#include "wire/bus.h"
#include "wire/convert.h"
#include "wire/envelope.h"
#include "wire/key.h"

static void write_seed(const char *base, const char *target, const char *name, const void *bytes,
		       size_t size)
{
	char path[512];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", base, target);
	CHECK(mkdir(path, 0755) == 0 || errno == EEXIST);
	snprintf(path, sizeof(path), "%s/%s/%s", base, target, name);
	file = fopen(path, "wb");
	CHECK(file != NULL);
	CHECK(fwrite(bytes, 1, size, file) == size && fclose(file) == 0);
}

static struct facts some_facts(void)
{
	struct facts facts = {
		.node = 2,
		.seq = 77,
		.db = DB_PRIMARY,
		.fault = FAULT_CHECKPOINTER_STOPPED,
		.system_id = 0x1122334455667788,
		.promise = 3,
		.config_epoch = 3,
		.rule = {.members = 0xc, .need = 1},
		.rule_since = 0x3000060,
		.standby_count = 2,
		.standbys = {{1, true, 0x3000100, 0x3000100}, {3, true, 0x3000100, 0x30000f0}},
		.serving_epoch = 3,
		.phase = PHASE_STEADY,
	};

	facts.position = (struct wal_position){.timeline = 4,
					       .flushed = 0x3000100,
					       .replayed = 0x3000100,
					       .branch_count = 2,
					       .branches = {{1, 0x2000000}, {2, 0x3000000}}};
	return facts;
}

static struct decision some_decision(void)
{
	struct decision decision = {
		.epoch = 3,
		.cause = CAUSE_NODE_LOST,
		.from = 1,
		.to = 2,
		.usable = 0x3000000,
		.at_ms = 1700000000000,
		.before = {.members = 0xc, .need = 1},
		.after = {.members = 0x8, .need = 1},
		.detect_us = 900000,
		.survey_us = 15000,
		.fault = FAULT_POSTMASTER_GONE,
		.missing = 0x2,
		.missing_count = 1,
		.loss_accepted = true,
		.operation = 4,
		.seen = 0x3000060,
		.at_risk = 0x60,
		.at_risk_ms = 12,
		.answer_count = 2,
		.answers = {{.node = 2,
			     .db = DB_STANDBY,
			     .priority = 90,
			     .timeline = 2,
			     .flushed = 0x3000000,
			     .usable = 0x3000000},
			    {.node = 3,
			     .db = DB_STANDBY,
			     .fault = FAULT_STARTUP_STOPPED,
			     .excluded = true,
			     .diverged = true,
			     .timeline = 2,
			     .flushed = 0x2fffff0,
			     .usable = 0x2fffff0}},
	};

	return decision;
}

static struct settings some_settings(void)
{
	struct settings settings = settings_default(2);

	settings.pinned = true;
	settings.quorum_sync = 1;
	settings.paused = true;
	settings.pause_until_ms = 1700000000000;
	settings.maintenance = 0x8;
	settings.failover_budget = 3;
	return settings;
}

static struct operation some_operation(void)
{
	return (struct operation){
		.id = 9,
		.kind = OPERATION_SWITCHOVER,
		.state = OPERATION_RUNNING,
		.reason = BLOCK_DEADLINE,
		.from = 1,
		.to = 2,
		.epoch = 3,
		.asked_ms = 1700000000000,
		.start_ms = 1700000001000,
		.end_ms = 1700000009000,
		.begun_ms = 1700000002000,
	};
}

static struct entry some_entry(uint8_t kind)
{
	struct entry entry = {.kind = kind, .base_version = 5, .epoch = 3};

	if (kind == ENTRY_INIT) {
		entry.base_version = 0;
		entry.epoch = 0;
		entry.init.cluster_id = 0x42;
		entry.init.node_total = 3;
		entry.init.nodes[0] = (struct node){1, NODE_DATA, 100, "n1", 0};
		entry.init.nodes[1] = (struct node){2, NODE_DATA, 90, "n2", 0};
		entry.init.nodes[2] = (struct node){3, NODE_WITNESS, 0, "n3", 0};
		entry.init.settings = settings_default(2);
	} else if (kind == ENTRY_ASSIGN) {
		entry.assign.node = 2;
		entry.assign.record = (struct sync_rule){.members = 0x8, .need = 1};
		entry.assign.decision = some_decision();
	} else if (kind == ENTRY_OPENED) {
		entry.opened.timeline = 4;
		entry.opened.parent = 2;
		entry.opened.fork = 0x3000000;
		entry.opened.system_id = 0x1122334455667788;
		entry.opened.open_us = 40000;
	} else if (kind == ENTRY_RECORD) {
		entry.record.record = (struct sync_rule){.members = 0xa, .need = 1};
		entry.record.lsn = 0x3000060;
	} else if (kind == ENTRY_REBUILD || kind == ENTRY_REBUILT) {
		entry.rebuild.node = 1;
		entry.rebuild.timeline = 3;
		entry.rebuild.fork = 0x3000000;
		entry.rebuild.end = 0x3000100;
	} else if (kind == ENTRY_SETTINGS) {
		entry.settings = some_settings();
	} else if (kind == ENTRY_OPERATION) {
		entry.operation = some_operation();
	} else if (kind == ENTRY_HELD) {
		entry.held = some_decision();
		entry.held.hold = HOLD_ANSWERS;
	} else if (kind == ENTRY_MEMBER) {
		entry.member.step = MEMBER_JOIN;
		entry.member.id = 4;
		entry.member.node = (struct node){4, NODE_DATA, 80, "n4", 0x4444};
	}
	return entry;
}

static void seed_log(const char *base)
{
	uint8_t bytes[LOG_ENTRY_MAX];
	static uint8_t snapshot[LOG_SNAPSHOT_MAX];
	struct err why = {0};
	struct cluster cluster = {0};
	struct entry init = some_entry(ENTRY_INIT);
	const struct entry member = some_entry(ENTRY_MEMBER);
	int size;

	for (uint8_t kind = ENTRY_INIT; kind < ENTRY_KIND_COUNT; kind++) {
		struct entry entry = some_entry(kind);

		size = log_entry_encode(&entry, bytes, &why);
		CHECK(size > 0);
		write_seed(base, "log_entry", entry_kind_name(kind), bytes, (size_t)size);
	}
	size = log_snapshot_encode(&cluster, snapshot, &why);
	CHECK(size >= 0);
	write_seed(base, "snapshot", "empty", snapshot, (size_t)size);
	CHECK(cluster_apply(&cluster, &init) == APPLIED);
	size = log_snapshot_encode(&cluster, snapshot, &why);
	write_seed(base, "snapshot", "begun", snapshot, (size_t)size);

	cluster.operation_count = 1;
	cluster.operations[0] = some_operation();
	cluster.settings = some_settings();
	size = log_snapshot_encode(&cluster, snapshot, &why);
	write_seed(base, "snapshot", "operating", snapshot, (size_t)size);
	cluster.operation_count = 0;

	struct entry assign = some_entry(ENTRY_ASSIGN);

	assign.base_version = cluster.version;
	assign.epoch = assign.assign.decision.epoch = cluster.epoch + 1;
	assign.assign.decision.from = NODE_NONE;
	/* Refused or not: the state after it is one to encode. */
	(void)cluster_apply(&cluster, &assign);
	size = log_snapshot_encode(&cluster, snapshot, &why);
	write_seed(base, "snapshot", "assigned", snapshot, (size_t)size);
	cluster.nodes[cluster.node_total++] = member.member.node;
	cluster.bound[member.member.id] = member.member.node.identity;
	cluster.joining = node_bit(member.member.id);
	size = log_snapshot_encode(&cluster, snapshot, &why);
	write_seed(base, "snapshot", "joining", snapshot, (size_t)size);
}

static void seed_envelope(const char *base, const char *name, Mha__Peer__Envelope *envelope)
{
	static uint8_t bytes[65536];
	size_t size;

	envelope->version = PEER_PROTOCOL_VERSION;
	envelope->cluster_id = 0x42;
	envelope->from = 2;
	envelope->to = 1;
	size = mha__peer__envelope__get_packed_size(envelope);
	CHECK(size <= sizeof(bytes));
	mha__peer__envelope__pack(envelope, bytes);
	write_seed(base, "envelope", name, bytes, size);
	write_seed(base, "raft_message", name, bytes, size);
}

static void seed_raft(const char *base)
{
	static struct raft_envelope storage;
	uint8_t data[LOG_ENTRY_MAX], words[24] = "two words and one more";
	char a1[] = "10.0.0.1:7400", a2[] = "10.0.0.2:7400";
	struct raft_server servers[] = {{1, a1, RAFT_VOTER}, {2, a2, RAFT_VOTER}};
	struct entry entry = some_entry(ENTRY_ASSIGN);
	struct err why = {0};
	int size = log_entry_encode(&entry, data, &why);
	struct raft_entry entries[] = {
		{.term = 4, .type = RAFT_COMMAND, .buf = {data, (size_t)size}},
		{.term = 5, .type = RAFT_BARRIER, .buf = {words, 8}},
		{.term = 5, .type = RAFT_CHANGE, .buf = {words, 24}},
	};
	struct raft_message messages[] = {
		{.type = RAFT_IO_REQUEST_VOTE, .request_vote = {6, 2, 9, 5, false, true}},
		{.type = RAFT_IO_REQUEST_VOTE_RESULT,
		 .request_vote_result = {6, true, raft_tribool_true}},
		{.type = RAFT_IO_APPEND_ENTRIES, .append_entries = {6, 9, 4, 9, entries, 3}},
		{.type = RAFT_IO_APPEND_ENTRIES, .append_entries = {6, 9, 4, 9, NULL, 0}},
		{.type = RAFT_IO_APPEND_ENTRIES_RESULT, .append_entries_result = {6, 0, 9}},
		{.type = RAFT_IO_INSTALL_SNAPSHOT,
		 .install_snapshot = {6, 9, 5, {servers, 2}, 1, {words, sizeof(words)}}},
		{.type = RAFT_IO_TIMEOUT_NOW, .timeout_now = {6, 9, 5}},
	};
	static const char *const names[] = {"vote",   "vote_result", "append",     "heartbeat",
					    "result", "snapshot",    "timeout_now"};

	CHECK(size > 0);
	for (size_t i = 0; i < COUNT_OF(messages); i++) {
		CHECK(envelope_from_raft(&messages[i], 123456789, &storage, &why) == 0);
		seed_envelope(base, names[i], &storage.envelope);
	}
}

static struct call some_call(void)
{
	return (struct call){.id = 7,
			     .via = 2,
			     .kind = CALL_MODE,
			     .node = 3,
			     .mode = MODE_MAX_AVAILABILITY,
			     .quorum_sync = QUORUM_SYNC_KEEP,
			     .force = true};
}

static struct call_result some_result(void)
{
	return (struct call_result){
		.id = 7,
		.via = 1,
		.code = CALL_REFUSED,
		.leader = 2,
		.node = 3,
		.operation = 9,
		.loss_bytes = LOSS_NOT_BOUNDED,
		.blocker_count = 2,
		.blockers = {{BLOCK_LAG, 3, 99, 98}, {BLOCK_PAUSED, NODE_NONE, 0, 0}},
	};
}

static void seed_calls(const char *base)
{
	const struct call call = some_call();
	const struct call_result result = some_result();
	Mha__Peer__Envelope envelope = MHA__PEER__ENVELOPE__INIT;
	struct call_result_message result_message;
	Mha__Bus__Call call_message;

	call_to_message(&call, &call_message);
	envelope.body_case = MHA__PEER__ENVELOPE__BODY_CALL;
	envelope.call = &call_message;
	seed_envelope(base, "call", &envelope);
	call_result_to_message(&result, &result_message);
	envelope.body_case = MHA__PEER__ENVELOPE__BODY_CALL_RESULT;
	envelope.call_result = &result_message.result;
	seed_envelope(base, "call_result", &envelope);
}

static void seed_agents(const char *base)
{
	struct facts facts = some_facts();
	struct facts_message message;
	Mha__Peer__Envelope envelope = MHA__PEER__ENVELOPE__INIT;
	Mha__Peer__Survey survey = MHA__PEER__SURVEY__INIT;
	Mha__Peer__Answer answer = MHA__PEER__ANSWER__INIT;
	Mha__Peer__Heard heard = MHA__PEER__HEARD__INIT;

	facts_to_message(&facts, "streaming", &message);
	envelope.body_case = MHA__PEER__ENVELOPE__BODY_FACTS;
	envelope.facts = &message.facts;
	seed_envelope(base, "facts", &envelope);
	answer.term = 6;
	answer.epoch = 3;
	answer.facts = &message.facts;
	envelope.body_case = MHA__PEER__ENVELOPE__BODY_ANSWER;
	envelope.answer = &answer;
	seed_envelope(base, "answer", &envelope);
	survey.term = 6;
	survey.epoch = 3;
	envelope.body_case = MHA__PEER__ENVELOPE__BODY_SURVEY;
	envelope.survey = &survey;
	seed_envelope(base, "survey", &envelope);
	seed_calls(base);
	heard.term = 6;
	heard.sent_ns = 123456789;
	envelope.body_case = MHA__PEER__ENVELOPE__BODY_HEARD;
	envelope.heard = &heard;
	seed_envelope(base, "heard", &envelope);
}

static void seed_frame(const char *base, enum worker_id from, enum worker_id to,
		       enum route_id route, const ProtobufCMessage *message)
{
	uint8_t bytes[32768] = {(uint8_t)from, (uint8_t)to, (uint8_t)route, 0};
	size_t size = protobuf_c_message_get_packed_size(message);

	CHECK(size + 4 <= sizeof(bytes));
	protobuf_c_message_pack(message, bytes + 4);
	write_seed(base, "bus_frame", route_name(route), bytes, size + 4);
}

static void seed_bus(const char *base)
{
	struct facts facts = some_facts();
	struct facts_message message;
	struct order order = {.id = 1,
			      .epoch = 3,
			      .kind = ORDER_DB_CONFIGURE,
			      .promise = 3,
			      .upstream = 1,
			      .rule = {.members = 0xc, .need = 1},
			      .keep_rule = true,
			      .reserve_until = 4,
			      .lease_until_ns = 99};
	struct order_message order_message;
	Mha__Bus__FactsReport report = MHA__BUS__FACTS_REPORT__INIT;
	Mha__Bus__OrderResult result;
	Mha__Bus__Job job;
	Mha__Bus__FenceReport fence;
	Mha__Bus__Grant grant = MHA__BUS__GRANT__INIT;

	mha__bus__fence_report__init(&fence);
	mha__bus__job__init(&job);
	mha__bus__order_result__init(&result);
	facts_to_message(&facts, "streaming", &message);
	order_to_message(&order, &order_message);
	report.facts = result.facts = &message.facts;
	report.incarnation = result.incarnation = 7;
	result.order_id = 1;
	job.job = JOB_CLONE;
	job.done = 5;
	job.total = 10;
	fence.state = FENCE_OPEN;
	fence.epoch = 3;
	grant.epoch = 3;
	grant.until_ns = 99;
	seed_frame(base, WORKER_consensus, WORKER_dbctl, ROUTE_ORDER_DBCTL,
		   &order_message.order.base);
	seed_frame(base, WORKER_consensus, WORKER_vip, ROUTE_GRANT, &grant.base);
	seed_frame(base, WORKER_dbmon, WORKER_consensus, ROUTE_FACTS, &report.base);
	seed_frame(base, WORKER_dbmon, WORKER_consensus, ROUTE_RESULT_DBMON, &result.base);
	seed_frame(base, WORKER_dbctl, WORKER_consensus, ROUTE_JOB, &job.base);
	seed_frame(base, WORKER_vip, WORKER_consensus, ROUTE_FENCE, &fence.base);

	const struct call call = some_call();
	const struct call_result call_result = some_result();
	struct call_result_message result_message;
	Mha__Bus__Call call_message;

	call_to_message(&call, &call_message);
	call_result_to_message(&call_result, &result_message);
	seed_frame(base, WORKER_gateway, WORKER_consensus, ROUTE_CALL, &call_message.base);
	seed_frame(base, WORKER_consensus, WORKER_gateway, ROUTE_CALL_RESULT,
		   &result_message.result.base);
}

static void seed_status(const char *base)
{
	struct status_vip section = {.fence = FENCE_OPEN, .epoch = 3, .until_ns = 99};
	char path[] = "/tmp/mha-seed-XXXXXX";
	static uint8_t bytes[65536];
	struct status_map map;
	struct err why = {0};
	int fd = mkstemp(path);
	ssize_t size;

	CHECK(fd >= 0 && status_open_fd(&map, STATUS_VIP, fd, &why) == 0);
	status_publish(&map, &section);
	status_publish(&map, &section);
	status_close(&map);
	size = pread(fd, bytes, sizeof(bytes), 0);
	CHECK(size > 0);
	write_seed(base, "status", "vip", bytes, (size_t)size);
	close(fd);
	unlink(path);
}

/* What a client asks: somebody who may change things, and somebody who may not. */
static void seed_request(const char *base, const char *name, uint8_t trusted,
			 Mha__Client__Request *request)
{
	uint8_t bytes[4096] = {trusted};

	request->version = 1;
	request->id = 1;
	write_seed(base, "request", name, bytes,
		   1 + mha__client__request__pack(request, bytes + 1));
}

static void seed_requests(const char *base)
{
	Mha__Client__GetLeader leader = MHA__CLIENT__GET_LEADER__INIT;
	Mha__Client__GetStatus status = MHA__CLIENT__GET_STATUS__INIT;
	Mha__Client__GetHistory history = MHA__CLIENT__GET_HISTORY__INIT;
	Mha__Client__GetEvents events = MHA__CLIENT__GET_EVENTS__INIT;
	Mha__Client__Switchover switchover;
	Mha__Client__SetMode set_mode;
	Mha__Client__Maintenance maintenance;
	Mha__Client__MemberAdd member_add;
	char node[] = "n2", mode[] = "max_availability", quorum[] = "majority";
	Mha__Client__Request request;

	mha__client__switchover__init(&switchover);
	mha__client__set_mode__init(&set_mode);
	mha__client__maintenance__init(&maintenance);
	mha__client__member_add__init(&member_add);
	mha__client__request__init(&request);
	request.call_case = MHA__CLIENT__REQUEST__CALL_GET_LEADER;
	request.get_leader = &leader;
	seed_request(base, "leader", 0, &request);
	request.call_case = MHA__CLIENT__REQUEST__CALL_GET_STATUS;
	request.get_status = &status;
	seed_request(base, "status", 0, &request);
	request.call_case = MHA__CLIENT__REQUEST__CALL_GET_HISTORY;
	request.get_history = &history;
	seed_request(base, "history", 1, &request);
	request.call_case = MHA__CLIENT__REQUEST__CALL_GET_EVENTS;
	request.get_events = &events;
	events.wait_ms = 1000;
	seed_request(base, "events", 1, &request);
	request.call_case = MHA__CLIENT__REQUEST__CALL_SWITCHOVER;
	request.switchover = &switchover;
	switchover.to = node;
	switchover.start_ms = 5;
	switchover.end_ms = 6;
	seed_request(base, "switchover", 1, &request);
	request.call_case = MHA__CLIENT__REQUEST__CALL_SET_MODE;
	request.set_mode = &set_mode;
	set_mode.mode = mode;
	set_mode.quorum = quorum;
	seed_request(base, "set_mode", 1, &request);
	request.call_case = MHA__CLIENT__REQUEST__CALL_MAINTENANCE;
	request.maintenance = &maintenance;
	maintenance.node = node;
	seed_request(base, "maintenance", 1, &request);
	request.call_case = MHA__CLIENT__REQUEST__CALL_MEMBER_ADD;
	request.member_add = &member_add;
	member_add.node = node;
	seed_request(base, "member_add", 1, &request);
}

/* What an agent answers. */
static void seed_reply(const char *base, const char *name, Mha__Client__Reply *reply)
{
	static uint8_t bytes[65536];

	reply->version = 1;
	reply->id = 1;
	CHECK(mha__client__reply__get_packed_size(reply) <= sizeof(bytes));
	write_seed(base, "reply", name, bytes, mha__client__reply__pack(reply, bytes));
}

static void seed_replies(const char *base)
{
	static struct sections sections;
	static struct view_setup setup;
	static struct view view;
	static struct status_message status;
	static struct history_message history;
	struct leader_message leader;
	struct call_reply_message call;
	const struct call_result result = some_result();
	char text[] = "nobody is here", name[] = "failover.opened", json[] = "{\"primary\":\"n2\"}";
	Mha__Client__Events events;
	Mha__Client__Event event, *list[] = {&event};
	Mha__Client__Reply reply;

	fixture_sections(&sections, FIXTURE_NOW_NS, FIXTURE_WALL_MS);
	fixture_setup(&setup);
	view_build(&sections, &setup, &view);
	mha__client__reply__init(&reply);
	reply.code = -1;
	reply.error = text;
	seed_reply(base, "error", &reply);
	mha__client__reply__init(&reply);
	leader_to_message(&view, &leader);
	reply.body_case = MHA__CLIENT__REPLY__BODY_LEADER;
	reply.leader = &leader.leader;
	seed_reply(base, "leader", &reply);
	status_to_message(&view, &status);
	reply.body_case = MHA__CLIENT__REPLY__BODY_STATUS;
	reply.status = &status.status;
	seed_reply(base, "status", &reply);
	history_to_message(&view, &history);
	reply.body_case = MHA__CLIENT__REPLY__BODY_HISTORY;
	reply.history = &history.history;
	seed_reply(base, "history", &reply);
	call_reply_to_message(&view, &result, &call);
	reply.body_case = MHA__CLIENT__REPLY__BODY_CALL_REPLY;
	reply.call_reply = &call.reply;
	seed_reply(base, "call_reply", &reply);
	mha__client__event__init(&event);
	event.index = 7;
	event.name = name;
	event.json = json;
	mha__client__events__init(&events);
	events.n_events = 1;
	events.events = list;
	reply.body_case = MHA__CLIENT__REPLY__BODY_EVENTS;
	reply.events = &events;
	seed_reply(base, "events", &reply);
}

/* A leader's answer to GetStatus; the byte before it is the fuzz target's own. */
static void seed_client_reply(const char *base)
{
	char cluster[] = "c", name[] = "n1", other[] = "n2", address[] = "10.0.0.1",
	     kind[] = "data";
	char other_address[] = "fd99::2", role[] = "standby", vip[] = "10.0.0.9";
	Mha__Client__Reply reply;
	Mha__Client__Status status;
	Mha__Client__Leader leader;
	Mha__Client__Member members[2];
	Mha__Client__Member *list[2] = {&members[0], &members[1]};
	uint8_t bytes[512] = {0};
	size_t size;

	mha__client__reply__init(&reply);
	mha__client__status__init(&status);
	mha__client__leader__init(&leader);
	mha__client__member__init(&members[0]);
	mha__client__member__init(&members[1]);
	leader = (Mha__Client__Leader){.base = leader.base,
				       .known = true,
				       .name = name,
				       .address = address,
				       .postgres_port = 5432,
				       .epoch = 6,
				       .lease_ms = 900,
				       .vip = vip,
				       .why = leader.why};
	for (unsigned i = 0; i < 2; i++) {
		members[i].id = i + 1;
		members[i].name = i == 0 ? name : other;
		members[i].address = i == 0 ? address : other_address;
		members[i].kind = kind;
		members[i].role = role;
		members[i].postgres_port = 5432;
	}
	status.cluster = cluster;
	status.node = name;
	status.epoch = 6;
	status.leader = &leader;
	status.n_members = 2;
	status.members = list;
	reply.version = 1;
	reply.id = 1;
	reply.body_case = MHA__CLIENT__REPLY__BODY_STATUS;
	reply.status = &status;
	size = mha__client__reply__get_packed_size(&reply);
	CHECK(size < sizeof(bytes));
	mha__client__reply__pack(&reply, bytes + 1);
	write_seed(base, "client_reply", "first", bytes, size + 1);
	bytes[0] = 3;
	write_seed(base, "client_reply", "known", bytes, size + 1);
	bytes[0] = 4;
	write_seed(base, "client_reply", "curve", bytes, size + 1);
	leader.epoch = 5;
	leader.lease_ms = -1;
	size = mha__client__reply__get_packed_size(&reply);
	mha__client__reply__pack(&reply, bytes + 1);
	write_seed(base, "client_reply", "no_lease", bytes, size + 1);
}

int main(int argc, char **argv)
{
	/* A fixed key, known to everybody: of no use but here. */
	static const char key[] = "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6\n"
				  "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7\n";

	if (argc != 2) {
		fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
		return 2;
	}
	seed_log(argv[1]);
	seed_raft(argv[1]);
	seed_agents(argv[1]);
	seed_bus(argv[1]);
	seed_status(argv[1]);
	seed_client_reply(argv[1]);
	seed_requests(argv[1]);
	seed_replies(argv[1]);
	write_seed(argv[1], "key", "both", key, sizeof(key) - 1);
	write_seed(argv[1], "key", "secret", key, 40);
	return 0;
}
