/*
 * One member of three on the disk that is going to lose its power: the daemon's own raftnode and
 * log on disk, with the other two played by a script that a seed draws. Whatever the member tells
 * anybody is a promise, and is marked in the disk's record before anybody can have heard it.
 *
 *     power-node run DIR MARKS SEED ROUNDS
 *     power-node check DIR
 *
 * The marks, each a line:
 *     term T           a message of term T was sent
 *     vote T N         the vote of term T was given to member N
 *     holds I T        the log up to entry I, which is of term T, is on this disk
 *     applied I T      the same, for ever
 *     cut I            a leader is about to replace the entries from I on
 *     owner            the directory is this member's from now on
 *
 * `check` loads what is there and prints it, or fails with the reason.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "disk.h"
#include "raftnode/raftnode_internal.h"

#define SECOND     UINT64_C(1000000000)
#define CLUSTER    7
#define SELF       1
#define ENTRY_SIZE 3000

struct script {
	uv_loop_t loop;
	struct disk disk;
	struct raftnode *node;
	struct raftnode_config config;
	int marks;
	uint64_t random;
	node_id leader; /* whom the script lets lead the present term; NODE_NONE: nobody */
	raft_index applied;
	unsigned said[RAFT_IO_TIMEOUT_NOW + 1]; /* messages of each type that it sent */
	bool closed;
};

static void end(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

static void end(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	exit(1);
}

static void mark(struct script *script, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void mark(struct script *script, const char *format, ...)
{
	char line[80];
	va_list arguments;
	int size;

	va_start(arguments, format);
	size = vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	if (write(script->marks, line, (size_t)size) != size)
		end("the mark '%s': %s", line, strerror(errno));
}

static uint64_t draw(struct script *script, uint64_t below)
{
	script->random ^= script->random << 13;
	script->random ^= script->random >> 7;
	script->random ^= script->random << 17;
	return script->random % below;
}

static struct raft *raft_of(struct script *script)
{
	return raftnode_raft(script->node);
}

/* --- what it says and does --- */

static uint64_t op_now(void *arg)
{
	struct timespec now;

	UNUSED(arg);
	clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec;
}

static uint64_t op_wall(void *arg)
{
	UNUSED(arg);
	return 1;
}

static int op_random(void *arg, int min, int max)
{
	return min + (int)draw(arg, (uint64_t)(max - min));
}

static int op_send(void *arg, const struct raft_message *message, uint64_t sent_ns)
{
	struct script *script = arg;
	const struct raft_request_vote *vote = &message->request_vote;
	const struct raft_append_entries_result *result = &message->append_entries_result;

	UNUSED(sent_ns);
	switch (message->type) {
	case RAFT_IO_REQUEST_VOTE:
		if (!vote->pre_vote)
			mark(script, "vote %llu %u\n", vote->term, SELF);
		break;
	case RAFT_IO_REQUEST_VOTE_RESULT:
		mark(script, "term %llu\n", message->request_vote_result.term);
		if (message->request_vote_result.vote_granted &&
		    message->request_vote_result.pre_vote != raft_tribool_true)
			mark(script, "vote %llu %llu\n", message->request_vote_result.term,
			     message->server_id);
		break;
	case RAFT_IO_APPEND_ENTRIES:
		mark(script, "term %llu\n", message->append_entries.term);
		break;
	case RAFT_IO_APPEND_ENTRIES_RESULT:
		mark(script, "term %llu\n", result->term);
		if (result->rejected == 0 && result->last_log_index > 0)
			mark(script, "holds %llu %llu\n", result->last_log_index,
			     raftnode_log_term(&raft_of(script)->log, result->last_log_index));
		break;
	default:
		break;
	}
	script->said[message->type]++;
	return 0;
}

static void op_heard(void *arg, node_id to, uint64_t term, uint64_t sent_ns)
{
	UNUSED(to);
	UNUSED(sent_ns);
	mark(arg, "term %" PRIu64 "\n", term);
}

static void op_effect(void *arg, const struct effect *effect)
{
	UNUSED(arg);
	UNUSED(effect);
}

/* Of barriers nobody is told; what was applied last is looked at after each round. */
static void op_applied(void *arg, uint64_t index, const struct entry *entry)
{
	UNUSED(arg);
	UNUSED(index);
	UNUSED(entry);
}

static void op_failed(void *arg, const char *reason)
{
	UNUSED(arg);
	end("the member has failed: %s", reason);
}

static const struct raftnode_ops OPS = {
	.now_ns = op_now,
	.wall_ms = op_wall,
	.random = op_random,
	.send = op_send,
	.send_heard = op_heard,
	.effect = op_effect,
	.applied = op_applied,
	.failed = op_failed,
};

/* --- what it is told --- */

static raft_index last_of(struct script *script)
{
	const struct raft_log *log = &raft_of(script)->log;
	raft_index last = raft_of(script)->last_stored;

	while (raftnode_log_term(log, last + 1) != 0)
		last++;
	return last;
}

static void give(struct script *script, node_id from, struct raft_message message)
{
	struct err why;

	if (raftnode_receive(script->node, from, &message, op_now(NULL), &why) < 0)
		end("%s", why.text);
}

/* Until it has said one more of `type`. What a disk does with it may take a while. */
static bool hear(struct script *script, unsigned short type, unsigned before, unsigned limit_ms)
{
	const uint64_t until = op_now(NULL) + limit_ms * (SECOND / 1000);

	while (script->said[type] == before && op_now(NULL) < until) {
		uv_run(&script->loop, UV_RUN_ONCE);
		raftnode_tick(script->node);
	}
	return script->said[type] != before;
}

static void note_applied(struct script *script)
{
	const struct raft *raft = raft_of(script);

	if (raft->last_applied <= script->applied)
		return;
	script->applied = raft->last_applied;
	mark(script, "applied %llu %llu\n", script->applied,
	     raftnode_log_term(&raft->log, script->applied));
}

/* A candidate of a later term, whose log is as good as this one's, or not. */
static void ask_vote(struct script *script)
{
	struct raft_message message = {.type = RAFT_IO_REQUEST_VOTE};
	const struct raft *raft = raft_of(script);
	const node_id from = (node_id)(2 + draw(script, 2));
	const raft_index last = last_of(script);
	const unsigned before = script->said[RAFT_IO_REQUEST_VOTE_RESULT];

	message.request_vote = (struct raft_request_vote){
		.term = raft->current_term + 1 + draw(script, 2),
		.candidate_id = from,
		.last_log_index = draw(script, 4) == 0 && last > 1 ? last - 1 : last,
		.last_log_term = raftnode_log_term(&raft->log, last),
		.disrupt_leader = true,
	};
	script->leader = NODE_NONE;
	give(script, from, message);
	if (!hear(script, RAFT_IO_REQUEST_VOTE_RESULT, before, 20000))
		end("no answer to a vote request");
	/* Another one in the same term: nobody has two votes. */
	message.request_vote.candidate_id = 5 - from;
	if (raft->voted_for == from) {
		struct err why;

		if (raftnode_receive(script->node, 5 - from, &message, op_now(NULL), &why) >= 0)
			end("a second vote was not refused");
	}
}

/* `count` entries of `term` after `prev`, each as long as it likes, and what it says to them. */
static void append(struct script *script, node_id leader, raft_term term, raft_index prev,
		   unsigned count)
{
	struct raft_message message = {.type = RAFT_IO_APPEND_ENTRIES};
	struct raft_append_entries *append = &message.append_entries;
	const unsigned before = script->said[RAFT_IO_APPEND_ENTRIES_RESULT];
	const raft_index committed = raft_of(script)->commit_index;
	char *batch = count > 0 ? raft_calloc(count, ENTRY_SIZE) : NULL;

	append->term = term;
	append->prev_log_index = prev;
	append->prev_log_term = raftnode_log_term(&raft_of(script)->log, prev);
	append->leader_commit = committed + draw(script, prev + count - committed + 1);
	append->n_entries = count;
	append->entries = count > 0 ? raft_calloc(count, sizeof(*append->entries)) : NULL;
	CHECK(count == 0 || (batch != NULL && append->entries != NULL));
	for (unsigned i = 0; i < count; i++) {
		char *bytes = batch + (size_t)ENTRY_SIZE * i;

		memset(bytes, (int)(prev + i + 1 + term) & 0xff, ENTRY_SIZE);
		append->entries[i] = (struct raft_entry){
			.term = term,
			.type = RAFT_BARRIER,
			.buf = {.base = bytes, .len = 8 * (1 + draw(script, ENTRY_SIZE / 8))},
			.batch = batch,
		};
	}
	script->leader = leader;
	give(script, leader, message);
	if (!hear(script, RAFT_IO_APPEND_ENTRIES_RESULT, before, 20000))
		end("no answer to %u entries", count);
}

static void follow(struct script *script)
{
	const raft_term term = raft_of(script)->current_term;
	const bool goes_on = script->leader != NODE_NONE && script->leader != SELF;

	append(script, goes_on ? script->leader : (node_id)(2 + draw(script, 2)),
	       goes_on ? term : term + 1, last_of(script), (unsigned)draw(script, 40));
}

/* A later leader whose log is another one from some entry on that was not committed. */
static void replace(struct script *script)
{
	const raft_index committed = raft_of(script)->commit_index, last = last_of(script);
	const raft_index prev = committed + draw(script, last - committed + 1);

	if (prev == 0)
		return;
	mark(script, "cut %llu\n", prev + 1);
	append(script, (node_id)(2 + draw(script, 2)), raft_of(script)->current_term + 1, prev,
	       1 + (unsigned)draw(script, 5));
}

/* The leader hands over to it; member 2 votes for it, or nobody does. */
static void stand(struct script *script)
{
	struct raft_message now = {.type = RAFT_IO_TIMEOUT_NOW};
	struct raft_message vote = {.type = RAFT_IO_REQUEST_VOTE_RESULT};
	struct raft_message holds = {.type = RAFT_IO_APPEND_ENTRIES_RESULT};
	const struct raft *raft = raft_of(script);
	unsigned before = script->said[RAFT_IO_REQUEST_VOTE];

	if (script->leader == NODE_NONE || script->leader == SELF)
		return;
	now.timeout_now.term = raft->current_term;
	now.timeout_now.last_log_index = last_of(script);
	now.timeout_now.last_log_term = raftnode_log_term(&raft->log, last_of(script));
	give(script, script->leader, now);
	script->leader = NODE_NONE;
	if (!hear(script, RAFT_IO_REQUEST_VOTE, before, 20000))
		end("it does not stand");
	if (raft->state != RAFT_CANDIDATE || draw(script, 3) == 0)
		return;
	vote.request_vote_result.term = raft->current_term;
	vote.request_vote_result.vote_granted = true;
	vote.request_vote_result.pre_vote = raft_tribool_false;
	before = script->said[RAFT_IO_APPEND_ENTRIES];
	give(script, 2, vote);
	if (raft->state != RAFT_LEADER)
		end("it was not elected");
	script->leader = SELF;
	(void)hear(script, RAFT_IO_APPEND_ENTRIES, before, 2000);
	holds.append_entries_result.term = raft->current_term;
	holds.append_entries_result.last_log_index = last_of(script);
	give(script, 2, holds);
	/* Its own disk has to have it, too, before that is committed. */
	(void)hear(script, RAFT_IO_APPEND_ENTRIES, script->said[RAFT_IO_APPEND_ENTRIES], 200);
}

static struct raft_message snapshot_message(struct script *script, raft_term term, raft_index last)
{
	struct raft_message message = {.type = RAFT_IO_INSTALL_SNAPSHOT};
	struct raft_install_snapshot *snapshot = &message.install_snapshot;
	struct raft_fsm *fsm = raft_of(script)->fsm;
	struct raft_buffer *buffers = NULL;
	unsigned count = 0;

	if (fsm->snapshot(fsm, &buffers, &count) != 0 || count != 1)
		end("no snapshot can be made");
	*snapshot = (struct raft_install_snapshot){.term = term,
						   .last_index = last,
						   .last_term = term,
						   .conf_index = 1,
						   .data = buffers[0]};
	raft_free(buffers);
	raft_configuration_init(&snapshot->conf);
	for (unsigned i = 1; i <= 3; i++)
		if (raft_configuration_add(&snapshot->conf, i, script->config.address[i],
					   RAFT_VOTER) != 0)
			end("out of memory");
	return message;
}

/* A leader that has its log no more from where this one ends sends what it was made from. */
static void install(struct script *script)
{
	const unsigned before = script->said[RAFT_IO_APPEND_ENTRIES_RESULT];
	const raft_term term = raft_of(script)->current_term + 1;
	const raft_index last = last_of(script) + 1 + draw(script, 30);

	script->leader = (node_id)(2 + draw(script, 2));
	/* While it writes a snapshot of its own it says nothing, and is sent it again. */
	for (unsigned i = 0; i < 100; i++) {
		give(script, script->leader, snapshot_message(script, term, last));
		if (hear(script, RAFT_IO_APPEND_ENTRIES_RESULT, before, 500))
			return;
	}
	end("no answer to a snapshot");
}

static void round_of(struct script *script)
{
	const uint64_t kind = draw(script, 20);

	if (kind < 4)
		ask_vote(script);
	else if (kind < 6)
		replace(script);
	else if (kind < 8)
		stand(script);
	else if (kind < 9)
		install(script);
	else
		follow(script);
	note_applied(script);
}

/* --- begin and end --- */

static void on_failure(void *arg, const char *reason)
{
	UNUSED(arg);
	end("the disk has failed: %s", reason);
}

static void on_closed(void *arg)
{
	((struct script *)arg)->closed = true;
}

static void open_disk(struct script *script, const char *path)
{
	struct err why;

	if (uv_loop_init(&script->loop) < 0)
		end("no event loop");
	if (disk_open(&script->disk, &script->loop, path, CLUSTER, SELF, on_failure, script, &why) <
	    0)
		end("%s", why.text);
}

static void configure(struct raftnode_config *config)
{
	static const char *const names[] = {NULL, "a", "b", "c"};
	struct agent_config *agent = &config->agent;

	agent->self = SELF;
	agent->cluster_id = CLUSTER;
	agent->node_total = 3;
	/* So long that nobody but the script begins an election. */
	agent->election_ns = 600 * SECOND;
	agent->heartbeat_ns = SECOND / 10;
	agent->settings = settings_default(3);
	for (unsigned i = 0; i < 3; i++) {
		agent->nodes[i].id = (node_id)(i + 1);
		agent->nodes[i].kind = NODE_WITNESS;
		agent->nodes[i].name[0] = names[i + 1][0];
		config->address[i + 1] = names[i + 1];
	}
	config->lease_ns = 500 * SECOND;
	config->snapshot_threshold = 60;
	config->snapshot_trailing = 10;
}

static void run(const char *path, const char *marks, uint64_t seed, unsigned rounds)
{
	static struct script script;
	struct err why;

	script.random = seed * 2654435761u + 1;
	script.marks = open(marks, O_WRONLY | O_CLOEXEC);
	if (script.marks < 0)
		end("%s: %s", marks, strerror(errno));
	open_disk(&script, path);
	configure(&script.config);
	if (raftnode_new(&script.node, &script.config, &script.disk.io, &OPS, &script, &why) < 0 ||
	    raftnode_start(script.node, &why) < 0 ||
	    disk_claim(&script.disk, CLUSTER, SELF, &why) < 0)
		end("%s", why.text);
	mark(&script, "owner\n");
	for (unsigned i = 0; i < rounds; i++)
		round_of(&script);
	raftnode_close(script.node, on_closed, &script);
	while (!script.closed)
		uv_run(&script.loop, UV_RUN_ONCE);
	/* Nothing of it comes later. */
	uv_run(&script.loop, UV_RUN_DEFAULT);
	raftnode_free(script.node);
	disk_close(&script.disk);
	close(script.marks);
}

static void check(const char *path)
{
	static struct script script;
	struct raft_snapshot *snapshot = NULL;
	struct raft_entry *entries = NULL;
	raft_index first = 0;
	raft_term term = 0;
	raft_id vote = 0;
	size_t count = 0;
	int rc;

	open_disk(&script, path);
	script.disk.io.data = &script;
	rc = script.disk.io.init(&script.disk.io, SELF, "a");
	if (rc == 0)
		rc = script.disk.io.load(&script.disk.io, &term, &vote, &snapshot, &first, &entries,
					 &count);
	if (rc != 0)
		end("%s: %s", raft_strerror(rc), script.disk.io.errmsg);
	printf("%s %llu %llu %llu %llu\n", script.disk.fresh ? "fresh" : "owned", term, vote,
	       snapshot == NULL ? 0 : snapshot->index, snapshot == NULL ? 0 : snapshot->term);
	for (size_t i = 0; i < count; i++) {
		const unsigned char *bytes = entries[i].buf.base;
		const raft_index index = first + i;

		/* The script's own entries are full of one byte. */
		for (size_t j = 0; j < entries[i].buf.len && entries[i].buf.len > 8; j++)
			if (entries[i].type == RAFT_BARRIER &&
			    bytes[j] != ((index + entries[i].term) & 0xff))
				end("entry %llu has byte %u at %zu", index, bytes[j], j);
		printf("%llu %llu\n", index, entries[i].term);
	}
}

int main(int argc, char **argv)
{
	if (argc == 6 && strcmp(argv[1], "run") == 0)
		run(argv[2], argv[3], strtoull(argv[4], NULL, 10),
		    (unsigned)strtoul(argv[5], NULL, 10));
	else if (argc == 3 && strcmp(argv[1], "check") == 0)
		check(argv[2]);
	else
		end("usage: power-node run DIR MARKS SEED ROUNDS | power-node check DIR");
	/* What was loaded is the system's to free. */
	_exit(fflush(stdout) == 0 ? 0 : 1);
}
