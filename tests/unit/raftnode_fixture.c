#include "raftnode_fixture.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static struct bench *bench_of(const struct raft_io *io)
{
	return io->impl;
}

static int io_init(struct raft_io *io, raft_id id, const char *address)
{
	UNUSED(io);
	UNUSED(id);
	UNUSED(address);
	return 0;
}

static void io_close(struct raft_io *io, raft_io_close_cb done)
{
	struct bench *bench = bench_of(io);

	for (unsigned i = 0; i < bench->write_count; i++)
		bench->writes[i].done(bench->writes[i].request, RAFT_CANCELED);
	bench->write_count = 0;
	if (bench->put.done != NULL)
		bench->put.done(bench->put.request, RAFT_CANCELED);
	bench->put.done = NULL;
	if (done != NULL)
		done(io);
}

static int io_load(struct raft_io *io, raft_term *term, raft_id *vote,
		   struct raft_snapshot **snapshot, raft_index *start, struct raft_entry *entries[],
		   size_t *count)
{
	struct bench *bench = bench_of(io);

	*term = bench->term;
	*vote = bench->vote;
	*snapshot = NULL;
	*start = 1;
	*count = bench->log_count;
	*entries = raft_calloc(bench->log_count, sizeof(**entries));
	for (unsigned i = 0; i < bench->log_count; i++) {
		(*entries)[i] = bench->log[i];
		(*entries)[i].batch = NULL;
		(*entries)[i].buf.base = raft_malloc(bench->log[i].buf.len);
		memcpy((*entries)[i].buf.base, bench->log[i].buf.base, bench->log[i].buf.len);
	}
	return 0;
}

static int io_start(struct raft_io *io, unsigned msecs, raft_io_tick_cb tick, raft_io_recv_cb recv)
{
	UNUSED(msecs);
	UNUSED(recv);
	bench_of(io)->tick = tick;
	return 0;
}

static void log_add(struct bench *bench, const struct raft_entry *entry)
{
	struct raft_entry *copy;

	bench->log = realloc(bench->log, (bench->log_count + 1) * sizeof(*bench->log));
	copy = &bench->log[bench->log_count++];
	*copy = *entry;
	copy->buf.base = malloc(entry->buf.len);
	memcpy(copy->buf.base, entry->buf.base, entry->buf.len);
}

static int io_bootstrap(struct raft_io *io, const struct raft_configuration *conf)
{
	struct bench *bench = bench_of(io);
	struct raft_entry entry = {.term = 1, .type = RAFT_CHANGE};

	if (bench->term != 0)
		return RAFT_CANTBOOTSTRAP;
	cr_assert_eq(raft_configuration_encode(conf, &entry.buf), 0);
	log_add(bench, &entry);
	raft_free(entry.buf.base);
	bench->term = 1;
	return 0;
}

static int io_set_term(struct raft_io *io, raft_term term)
{
	bench_of(io)->term = term;
	bench_of(io)->vote = 0;
	return 0;
}

static int io_set_vote(struct raft_io *io, raft_id id)
{
	bench_of(io)->vote = id;
	return 0;
}

static int io_append(struct raft_io *io, struct raft_io_append *request,
		     const struct raft_entry entries[], unsigned count, raft_io_append_cb done)
{
	struct bench *bench = bench_of(io);

	for (unsigned i = 0; i < count; i++)
		log_add(bench, &entries[i]);
	cr_assert_lt(bench->write_count, WRITES_MAX);
	bench->writes[bench->write_count].request = request;
	bench->writes[bench->write_count++].done = done;
	return 0;
}

static int io_truncate(struct raft_io *io, raft_index index)
{
	struct bench *bench = bench_of(io);

	while (bench->log_count >= index)
		free(bench->log[--bench->log_count].buf.base);
	return 0;
}

static int io_snapshot_put(struct raft_io *io, unsigned trailing, struct raft_io_snapshot_put *put,
			   const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb done)
{
	UNUSED(trailing);
	UNUSED(snapshot);
	bench_of(io)->put.request = put;
	bench_of(io)->put.done = done;
	return 0;
}

static raft_time io_time(struct raft_io *io)
{
	return bench_of(io)->now / MS;
}

static uint64_t op_now(void *arg)
{
	return ((struct bench *)arg)->now;
}

static uint64_t op_wall(void *arg)
{
	UNUSED(arg);
	return 1;
}

static int op_random(void *arg, int min, int max)
{
	UNUSED(arg);
	return (min + max) / 2;
}

static int op_send(void *arg, const struct raft_message *message, uint64_t sent_ns)
{
	struct bench *bench = arg;
	struct sent *sent = &bench->sent[bench->sent_count++];

	cr_assert_lt(bench->sent_count, SENT_MAX);
	*sent = (struct sent){.type = message->type,
			      .to = (node_id)message->server_id,
			      .sent_ns = sent_ns,
			      .message = *message};
	return 0;
}

static void op_heard(void *arg, node_id to, uint64_t term, uint64_t sent_ns)
{
	struct bench *bench = arg;

	UNUSED(term);
	bench->heard_count++;
	bench->heard_ns = sent_ns;
	bench->heard_to = to;
}

static void op_effect(void *arg, const struct effect *effect)
{
	UNUSED(arg);
	UNUSED(effect);
}

static void op_applied(void *arg, uint64_t index, const struct entry *entry)
{
	UNUSED(index);
	UNUSED(entry);
	((struct bench *)arg)->applied_count++;
}

static void op_failed(void *arg, const char *reason)
{
	strncpy(((struct bench *)arg)->failure, reason, sizeof(((struct bench *)arg)->failure) - 1);
}

static const struct raftnode_ops ops = {
	.now_ns = op_now,
	.wall_ms = op_wall,
	.random = op_random,
	.send = op_send,
	.send_heard = op_heard,
	.effect = op_effect,
	.applied = op_applied,
	.failed = op_failed,
};

void bench_open(struct bench *bench)
{
	struct agent_config *agent = &bench->config.agent;
	struct err why;

	if (bench->now == 0)
		bench->now = 5000 * MS;
	agent->self = 1;
	agent->cluster_id = 7;
	agent->node_total = 3;
	agent->election_ns = ELECTION;
	agent->heartbeat_ns = ELECTION / 10;
	agent->settings = settings_default(3);
	for (unsigned i = 0; i < 3; i++) {
		agent->nodes[i].id = (node_id)(i + 1);
		agent->nodes[i].kind = NODE_WITNESS;
		agent->nodes[i].name[0] = (char)('a' + i);
	}
	bench->config.address[1] = "a";
	bench->config.address[2] = "b";
	bench->config.address[3] = "c";
	bench->config.lease_ns = LEASE;
	if (bench->config.snapshot_threshold == 0)
		bench->config.snapshot_threshold = 1000;
	if (bench->config.snapshot_trailing == 0)
		bench->config.snapshot_trailing = 1000;
	bench->io = (struct raft_io){
		.version = 1,
		.impl = bench,
		.init = io_init,
		.close = io_close,
		.load = io_load,
		.start = io_start,
		.bootstrap = io_bootstrap,
		.set_term = io_set_term,
		.set_vote = io_set_vote,
		.append = io_append,
		.truncate = io_truncate,
		.snapshot_put = io_snapshot_put,
		.time = io_time,
	};
	cr_assert_eq(raftnode_new(&bench->node, &bench->config, &bench->io, &ops, bench, &why), 0,
		     "%s", why.text);
}

void bench_start(struct bench *bench)
{
	struct err why = {0};

	bench_open(bench);
	cr_assert_eq(raftnode_start(bench->node, &why), 0, "%s", why.text);
}

void bench_close(struct bench *bench)
{
	raftnode_close(bench->node, NULL, NULL);
	raftnode_free(bench->node);
	bench->node = NULL;
}

static void end_writes(struct bench *bench, int status)
{
	while (bench->write_count > 0) {
		struct raft_io_append *request = bench->writes[0].request;
		const raft_io_append_cb done = bench->writes[0].done;

		memmove(&bench->writes[0], &bench->writes[1],
			--bench->write_count * sizeof(bench->writes[0]));
		done(request, status);
	}
}

void bench_fail_writes(struct bench *bench)
{
	end_writes(bench, RAFT_IOERR);
}

void bench_flush(struct bench *bench)
{
	end_writes(bench, 0);
	if (bench->put.done != NULL) {
		const raft_io_snapshot_put_cb done = bench->put.done;

		bench->put.done = NULL;
		done(bench->put.request, 0);
	}
}

void bench_pass(struct bench *bench, uint64_t ns)
{
	const uint64_t end = bench->now + ns;

	while (bench->now < end) {
		bench->now += end - bench->now < 10 * MS ? end - bench->now : 10 * MS;
		bench->tick(&bench->io);
		raftnode_tick(bench->node);
	}
}

unsigned bench_sent(const struct bench *bench, unsigned short type)
{
	unsigned count = 0;

	for (unsigned i = 0; i < bench->sent_count; i++)
		if (bench->sent[i].type == type)
			count++;
	return count;
}

const struct sent *bench_last(const struct bench *bench, unsigned short type)
{
	for (unsigned i = bench->sent_count; i-- > 0;)
		if (bench->sent[i].type == type)
			return &bench->sent[i];
	cr_assert_fail("no message of type %u was sent", type);
	return NULL;
}

void bench_forget(struct bench *bench)
{
	bench->sent_count = 0;
	bench->heard_count = 0;
}

int bench_receive(struct bench *bench, node_id from, struct raft_message message, struct err *why)
{
	return raftnode_receive(bench->node, from, &message, bench->now, why);
}

int bench_append(struct bench *bench, node_id leader, raft_term term, raft_index prev,
		 raft_term prev_term, unsigned count, raft_term entry_term, raft_index commit)
{
	struct raft_message message = {.type = RAFT_IO_APPEND_ENTRIES};
	struct raft_append_entries *append = &message.append_entries;
	struct err why = {0};
	char *batch = count > 0 ? raft_calloc(count, 8) : NULL;

	append->term = term;
	append->prev_log_index = prev;
	append->prev_log_term = prev_term;
	append->leader_commit = commit;
	append->n_entries = count;
	append->entries = count > 0 ? raft_calloc(count, sizeof(*append->entries)) : NULL;
	for (unsigned i = 0; i < count; i++)
		append->entries[i] = (struct raft_entry){
			.term = entry_term,
			.type = RAFT_BARRIER,
			.buf = {.base = batch + (size_t)8 * i, .len = 8},
			.batch = batch,
		};
	return bench_receive(bench, leader, message, &why);
}

int bench_ask_vote(struct bench *bench, node_id from, raft_term term, raft_index last,
		   raft_term last_term, bool pre_vote, bool disrupt)
{
	struct raft_message message = {.type = RAFT_IO_REQUEST_VOTE};
	struct err why = {0};

	message.request_vote = (struct raft_request_vote){
		.term = term,
		.candidate_id = from,
		.last_log_index = last,
		.last_log_term = last_term,
		.disrupt_leader = disrupt,
		.pre_vote = pre_vote,
	};
	return bench_receive(bench, from, message, &why);
}

static void give_vote(struct bench *bench, raft_term term, bool pre_vote)
{
	struct raft_message message = {.type = RAFT_IO_REQUEST_VOTE_RESULT};
	struct err why = {0};

	message.request_vote_result = (struct raft_request_vote_result){
		.term = term,
		.vote_granted = true,
		.pre_vote = pre_vote ? raft_tribool_true : raft_tribool_false,
	};
	cr_assert_eq(bench_receive(bench, 2, message, &why), 0, "%s", why.text);
}

raft_term bench_lead(struct bench *bench)
{
	const struct raft *raft = raftnode_raft(bench->node);

	for (unsigned i = 0; i < 300 && raft->state != RAFT_CANDIDATE; i++)
		bench_pass(bench, 10 * MS);
	cr_assert_eq(raft->state, RAFT_CANDIDATE);
	if (raft->candidate_state.in_pre_vote)
		give_vote(bench, raft->current_term, true);
	give_vote(bench, raft->current_term, false);
	cr_assert_eq(raft->state, RAFT_LEADER);
	return raft->current_term;
}

void bench_follow(struct bench *bench)
{
	const struct raft *raft = raftnode_raft(bench->node);

	bench_flush(bench);
	for (node_id from = 2; from <= 3; from++) {
		struct raft_message message = {.type = RAFT_IO_APPEND_ENTRIES_RESULT};
		struct err why = {0};

		message.append_entries_result = (struct raft_append_entries_result){
			.term = raft->current_term, .last_log_index = bench->log_count};
		cr_assert_eq(bench_receive(bench, from, message, &why), 0, "%s", why.text);
	}
}
