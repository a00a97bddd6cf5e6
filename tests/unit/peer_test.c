/* The wire between agents: real sockets with CURVE on the loopback, each end in its own context. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zmq.h>

#include "wire/convert.h"
#include "wire/peer.h"

#define NODES   4 /* the last one is never started by the fixture */
#define WAIT_MS 60000
#define TURN_MS 10
#define CLUSTER UINT64_C(0x1122334455667788)

struct end {
	void *context;
	struct peer_net *net;
	unsigned received;
	node_id from;
	uint64_t term;
};

struct fixture {
	uv_loop_t loop;
	uv_timer_t timer;
	unsigned turns;
	char public_keys[NODES + 1][PEER_KEY_SIZE];
	char secret_keys[NODES + 1][PEER_KEY_SIZE];
	uint16_t ports[NODES + 1];
	struct end ends[NODES + 1];
};

/* A port that nobody listens on now. */
static uint16_t free_port(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t size = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	cr_assert_geq(fd, 0);
	cr_assert_eq(bind(fd, (struct sockaddr *)&address, size), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&address, &size), 0);
	close(fd);
	return ntohs(address.sin_port);
}

static void fixture_open(struct fixture *f)
{
	memset(f, 0, sizeof(*f));
	cr_assert_eq(uv_loop_init(&f->loop), 0);
	cr_assert_eq(uv_timer_init(&f->loop, &f->timer), 0);
	f->timer.data = f;
	for (unsigned i = 1; i <= NODES; i++) {
		cr_assert_eq(zmq_curve_keypair(f->public_keys[i], f->secret_keys[i]), 0);
		f->ports[i] = free_port();
	}
}

static struct peer_config config_of(const struct fixture *f, node_id self)
{
	struct peer_config config = {.self = self, .cluster_id = CLUSTER, .election_ms = 400};

	config.count = NODES - 1;
	for (unsigned i = 0; i < config.count; i++) {
		struct peer_member *member = &config.members[i];

		member->id = (node_id)(i + 1);
		member->port = f->ports[i + 1];
		snprintf(member->name, sizeof(member->name), "n%u", i + 1);
		snprintf(member->address, sizeof(member->address), "127.0.0.1");
		memcpy(member->public_key, f->public_keys[i + 1], PEER_KEY_SIZE);
	}
	memcpy(config.secret_key, f->secret_keys[self], PEER_KEY_SIZE);
	return config;
}

static void on_envelope(void *arg, node_id from, const Mha__Peer__Envelope *envelope)
{
	struct end *end = arg;

	end->received++;
	end->from = from;
	if (envelope->body_case == MHA__PEER__ENVELOPE__BODY_HEARD)
		end->term = envelope->heard->term;
}

static void end_open(struct fixture *f, struct end *end, const struct peer_config *config)
{
	struct err why = {0};

	end->context = zmq_ctx_new();
	cr_assert_not_null(end->context);
	cr_assert_eq(peer_open(&end->net, end->context, &f->loop, config, on_envelope, end, &why),
		     0, "%s", why.text);
}

static void end_close(struct fixture *f, struct end *end)
{
	if (end->context == NULL)
		return;
	peer_close(end->net);
	uv_run(&f->loop, UV_RUN_NOWAIT);
	zmq_ctx_term(end->context);
	memset(end, 0, sizeof(*end));
}

static void node_open(struct fixture *f, node_id id)
{
	struct peer_config config = config_of(f, id);

	end_open(f, &f->ends[id], &config);
}

static void fixture_close(struct fixture *f)
{
	for (unsigned i = 1; i <= NODES; i++)
		end_close(f, &f->ends[i]);
	uv_close((uv_handle_t *)&f->timer, NULL);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	cr_assert_eq(uv_loop_close(&f->loop), 0);
}

static void on_turn(uv_timer_t *timer)
{
	struct fixture *f = timer->data;

	f->turns++;
}

static void turn(struct fixture *f)
{
	uv_run(&f->loop, UV_RUN_ONCE);
}

static void turns_start(struct fixture *f)
{
	f->turns = 0;
	uv_timer_start(&f->timer, on_turn, TURN_MS, TURN_MS);
}

static bool turns_left(const struct fixture *f)
{
	return f->turns < WAIT_MS / TURN_MS;
}

static int send_heard(struct end *end, node_id to, uint64_t term)
{
	Mha__Peer__Envelope envelope = MHA__PEER__ENVELOPE__INIT;
	Mha__Peer__Heard heard = MHA__PEER__HEARD__INIT;
	struct err why = {0};

	heard.term = term;
	envelope.body_case = MHA__PEER__ENVELOPE__BODY_HEARD;
	envelope.heard = &heard;
	return peer_send(end->net, to, &envelope, &why);
}

/* Send until it is taken, then until it has arrived. */
static void deliver(struct fixture *f, node_id from, node_id to, uint64_t term)
{
	int rc = ERR_BUSY;

	turns_start(f);
	while (rc == ERR_BUSY && turns_left(f)) {
		rc = send_heard(&f->ends[from], to, term);
		if (rc == ERR_BUSY)
			turn(f);
	}
	cr_assert_eq(rc, 0, "%u -> %u: %s", from, to, err_name(rc));
	while (f->ends[to].term != term && turns_left(f))
		turn(f);
	cr_assert_eq(f->ends[to].term, term, "%u -> %u", from, to);
	cr_assert_eq(f->ends[to].from, from);
	uv_timer_stop(&f->timer);
}

static void wait_dropped(struct fixture *f, node_id at, enum peer_drop reason, uint64_t count)
{
	turns_start(f);
	while (peer_dropped(f->ends[at].net, reason) < count && turns_left(f))
		turn(f);
	uv_timer_stop(&f->timer);
	cr_assert_geq(peer_dropped(f->ends[at].net, reason), count, "%s", peer_drop_name(reason));
}

static void expect_dropped_only(const struct end *end, enum peer_drop reason)
{
	for (int i = 0; i < PEER_DROP_COUNT; i++) {
		if (i != (int)reason)
			cr_expect_eq(peer_dropped(end->net, (enum peer_drop)i), 0, "%s",
				     peer_drop_name((enum peer_drop)i));
	}
}

Test(peer, three_members_reach_each_other_and_know_who_speaks)
{
	struct fixture f;
	uint64_t term = 100;

	fixture_open(&f);
	for (node_id id = 1; id <= 3; id++)
		node_open(&f, id);
	for (node_id from = 1; from <= 3; from++) {
		for (node_id to = 1; to <= 3; to++) {
			if (from != to)
				deliver(&f, from, to, term++);
		}
	}
	cr_assert_eq(send_heard(&f.ends[1], 1, 1), ERR_NOT_FOUND);
	cr_assert_eq(send_heard(&f.ends[1], 9, 1), ERR_NOT_FOUND);
	cr_assert_eq(send_heard(&f.ends[1], 200, 1), ERR_NOT_FOUND);
	for (node_id id = 1; id <= 3; id++)
		expect_dropped_only(&f.ends[id], PEER_DROP_COUNT);
	fixture_close(&f);
}

Test(peer, a_stranger_is_refused_and_counted_and_no_message_of_its_gets_in)
{
	struct fixture f;
	struct peer_config config;

	fixture_open(&f);
	node_open(&f, 1);
	node_open(&f, 2);
	deliver(&f, 2, 1, 5);
	/* It knows everything of node 3 but the secret key. */
	config = config_of(&f, 3);
	memcpy(config.secret_key, f.secret_keys[4], PEER_KEY_SIZE);
	memcpy(config.members[2].public_key, f.public_keys[4], PEER_KEY_SIZE);
	end_open(&f, &f.ends[3], &config);
	wait_dropped(&f, 1, PEER_DROP_STRANGER, 2);
	cr_assert_eq(send_heard(&f.ends[3], 1, 6), ERR_BUSY);
	deliver(&f, 2, 1, 7);
	cr_assert_eq(f.ends[1].received, 2);
	expect_dropped_only(&f.ends[1], PEER_DROP_STRANGER);
	fixture_close(&f);
}

Test(peer, without_curve_nobody_gets_in)
{
	struct fixture f;
	char endpoint[64];

	fixture_open(&f);
	node_open(&f, 1);

	void *context = zmq_ctx_new();
	void *plain = zmq_socket(context, ZMQ_PUSH);
	int linger = 0;

	zmq_setsockopt(plain, ZMQ_LINGER, &linger, sizeof(linger));
	snprintf(endpoint, sizeof(endpoint), "tcp://127.0.0.1:%u", f.ports[1]);
	cr_assert_eq(zmq_connect(plain, endpoint), 0);
	zmq_send(plain, "hello", 5, ZMQ_DONTWAIT);
	turns_start(&f);
	while (f.turns < 20)
		turn(&f);
	uv_timer_stop(&f.timer);
	cr_assert_eq(f.ends[1].received, 0);
	expect_dropped_only(&f.ends[1], PEER_DROP_COUNT);
	zmq_close(plain);
	zmq_ctx_term(context);
	fixture_close(&f);
}

Test(peer, another_cluster_is_refused_by_name)
{
	struct fixture f;
	struct peer_config config;

	fixture_open(&f);
	node_open(&f, 1);
	config = config_of(&f, 2);
	config.cluster_id = 7;
	end_open(&f, &f.ends[2], &config);
	turns_start(&f);
	while (peer_dropped(f.ends[1].net, PEER_DROP_CLUSTER) == 0 && turns_left(&f)) {
		(void)!send_heard(&f.ends[2], 1, 1);
		turn(&f);
	}
	uv_timer_stop(&f.timer);
	cr_assert_gt(peer_dropped(f.ends[1].net, PEER_DROP_CLUSTER), 0);
	cr_assert_eq(f.ends[1].received, 0);
	expect_dropped_only(&f.ends[1], PEER_DROP_CLUSTER);
	fixture_close(&f);
}

/* A socket with node 2's keys that says what it likes to node 1. */
static void *liar_open(struct fixture *f, void *context)
{
	char endpoint[64];
	int zero = 0;
	void *socket = zmq_socket(context, ZMQ_PUSH);

	cr_assert_not_null(socket);
	zmq_setsockopt(socket, ZMQ_LINGER, &zero, sizeof(zero));
	zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, f->public_keys[1], PEER_KEY_SIZE - 1);
	zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, f->public_keys[2], PEER_KEY_SIZE - 1);
	zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, f->secret_keys[2], PEER_KEY_SIZE - 1);
	snprintf(endpoint, sizeof(endpoint), "tcp://127.0.0.1:%u", f->ports[1]);
	cr_assert_eq(zmq_connect(socket, endpoint), 0);
	return socket;
}

static void liar_send(void *socket, Mha__Peer__Envelope *envelope)
{
	uint8_t bytes[512];
	size_t size = mha__peer__envelope__pack(envelope, bytes);

	cr_assert_geq(zmq_send(socket, bytes, size, 0), 0);
}

Test(peer, lies_in_the_envelope_are_counted_by_reason)
{
	struct fixture f;
	Mha__Peer__Heard heard = MHA__PEER__HEARD__INIT;
	Mha__Peer__Envelope good = MHA__PEER__ENVELOPE__INIT, bad;

	fixture_open(&f);
	node_open(&f, 1);

	void *context = zmq_ctx_new();
	void *liar = liar_open(&f, context);

	heard.term = 77;
	good.version = PEER_PROTOCOL_VERSION;
	good.cluster_id = CLUSTER;
	good.from = 2;
	good.to = 1;
	good.body_case = MHA__PEER__ENVELOPE__BODY_HEARD;
	good.heard = &heard;

	bad = good;
	bad.version = PEER_PROTOCOL_VERSION + 1;
	liar_send(liar, &bad);
	wait_dropped(&f, 1, PEER_DROP_VERSION, 1);
	bad = good;
	bad.from = 3; /* enrolled, but not with this key */
	liar_send(liar, &bad);
	wait_dropped(&f, 1, PEER_DROP_IDENTITY, 1);
	bad = good;
	bad.to = 2;
	liar_send(liar, &bad);
	wait_dropped(&f, 1, PEER_DROP_IDENTITY, 2);
	bad = good;
	bad.body_case = MHA__PEER__ENVELOPE__BODY__NOT_SET;
	liar_send(liar, &bad);
	wait_dropped(&f, 1, PEER_DROP_MALFORMED, 1);
	zmq_send(liar, "\xff\xff\xff", 3, 0);
	wait_dropped(&f, 1, PEER_DROP_MALFORMED, 2);
	zmq_send(liar, "a", 1, ZMQ_SNDMORE);
	zmq_send(liar, "b", 1, 0);
	wait_dropped(&f, 1, PEER_DROP_MALFORMED, 4);
	cr_assert_eq(f.ends[1].received, 0);
	liar_send(liar, &good);
	turns_start(&f);
	while (f.ends[1].received == 0 && turns_left(&f))
		turn(&f);
	uv_timer_stop(&f.timer);
	cr_assert_eq(f.ends[1].term, 77);
	cr_assert_eq(f.ends[1].from, 2);
	zmq_close(liar);
	zmq_ctx_term(context);
	fixture_close(&f);
}

Test(peer, too_big_is_counted_and_far_too_big_ends_the_connection)
{
	struct fixture f;
	static uint8_t bytes[3 * PEER_FRAME_MAX];

	fixture_open(&f);
	node_open(&f, 1);

	void *context = zmq_ctx_new();
	void *liar = liar_open(&f, context);

	cr_assert_geq(zmq_send(liar, bytes, PEER_FRAME_MAX + 1, 0), 0);
	wait_dropped(&f, 1, PEER_DROP_TOO_BIG, 1);
	cr_assert_geq(zmq_send(liar, bytes, sizeof(bytes), 0), 0);
	/* The connection comes back and the next message passes the bound, though it is nonsense.
	 */
	turns_start(&f);
	while (peer_dropped(f.ends[1].net, PEER_DROP_TOO_BIG) < 2 && turns_left(&f)) {
		zmq_send(liar, bytes, PEER_FRAME_MAX + 1, ZMQ_DONTWAIT);
		turn(&f);
	}
	uv_timer_stop(&f.timer);
	cr_assert_geq(peer_dropped(f.ends[1].net, PEER_DROP_TOO_BIG), 2);
	cr_assert_eq(f.ends[1].received, 0);
	zmq_close(liar);
	zmq_ctx_term(context);
	fixture_close(&f);
}

Test(peer, sending_over_the_bound_is_refused_here)
{
	struct fixture f;
	Mha__Peer__Envelope envelope = MHA__PEER__ENVELOPE__INIT;
	Mha__Peer__InstallSnapshot install = MHA__PEER__INSTALL_SNAPSHOT__INIT;
	static uint8_t bytes[PEER_FRAME_MAX];
	struct err why = {0};

	fixture_open(&f);
	node_open(&f, 1);
	install.data.data = bytes;
	install.data.len = sizeof(bytes);
	envelope.body_case = MHA__PEER__ENVELOPE__BODY_INSTALL_SNAPSHOT;
	envelope.install_snapshot = &install;
	cr_assert_eq(peer_send(f.ends[1].net, 2, &envelope, &why), ERR_TOO_BIG);
	fixture_close(&f);
}

Test(peer, a_restarted_member_is_reached_again_within_half_of_t)
{
	struct fixture f;
	uint64_t least_ms = UINT64_MAX;

	fixture_open(&f);
	node_open(&f, 1);
	node_open(&f, 2);
	deliver(&f, 1, 2, 5);
	deliver(&f, 2, 1, 6);
	/* A busy machine only adds: one of the rounds must be quick. */
	for (uint64_t round = 0; round < 3 || (round < 30 && least_ms >= 1000); round++) {
		end_close(&f, &f.ends[2]);
		turns_start(&f);
		while (send_heard(&f.ends[1], 2, 1) == 0 && turns_left(&f))
			turn(&f);
		uv_timer_stop(&f.timer);
		node_open(&f, 2);

		uint64_t since = uv_hrtime();

		deliver(&f, 1, 2, 10 + round);
		deliver(&f, 2, 1, 50 + round);

		const uint64_t took_ms = (uv_hrtime() - since) / 1000000;

		least_ms = took_ms < least_ms ? took_ms : least_ms;
	}
	/* T is 400 ms here. */
	cr_expect_lt(least_ms, 1000);
	fixture_close(&f);
}

Test(peer, the_queue_to_a_member_that_is_not_there_stays_empty)
{
	struct fixture f;

	fixture_open(&f);
	node_open(&f, 1);
	for (uint64_t i = 0; i < 1000; i++)
		cr_assert_eq(send_heard(&f.ends[1], 2, i), ERR_BUSY);
	node_open(&f, 2);
	deliver(&f, 1, 2, 4242);
	cr_assert_eq(f.ends[2].received, 1);
	fixture_close(&f);
}

Test(peer, a_bad_configuration_is_named)
{
	static const struct {
		const char *what;
		const char *says;
	} cases[] = {
		{"secret of another", "belongs to the public key"},
		{"no secret", "no CURVE key"},
		{"no key", "no Z85 key"},
		{"no address", "no IP address"},
		{"not a member", "not among"},
		{"twice", "has the id or key of"},
	};
	struct fixture f;

	fixture_open(&f);
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct peer_config config = config_of(&f, 1);
		struct peer_net *net = NULL;
		struct err why = {0};
		void *context = zmq_ctx_new();

		if (i == 0)
			memcpy(config.secret_key, f.secret_keys[2], PEER_KEY_SIZE);
		if (i == 1)
			config.secret_key[0] = '\0';
		if (i == 2)
			config.members[1].public_key[3] = '"';
		if (i == 3)
			snprintf(config.members[1].address, 64, "db2.example");
		if (i == 4)
			config.self = 8;
		if (i == 5)
			memcpy(config.members[2].public_key, config.members[1].public_key,
			       PEER_KEY_SIZE);
		cr_expect_eq(peer_open(&net, context, &f.loop, &config, on_envelope, NULL, &why),
			     ERR_INVALID, "%s", cases[i].what);
		cr_expect_not_null(strstr(why.text, cases[i].says), "%s: %s", cases[i].what,
				   why.text);
		cr_expect_null(net);
		zmq_ctx_term(context);
	}
	fixture_close(&f);
}

static void reload(struct fixture *f, node_id at, const struct peer_config *config)
{
	struct err why = {0};

	cr_assert_eq(peer_reload(f->ends[at].net, config, &why), 0, "%s", why.text);
}

/* Everybody has `next` as the next key of node 1; node 1 itself still uses the first one. */
static void announce_next(struct fixture *f, struct peer_config *configs, const char *next)
{
	for (node_id id = 1; id <= 3; id++) {
		configs[id] = config_of(f, id);
		memcpy(configs[id].members[0].next_public_key, next, PEER_KEY_SIZE);
		reload(f, id, &configs[id]);
	}
}

/* Send until something has arrived: what was on its way when keys changed is lost. */
static void deliver_at_last(struct fixture *f, node_id from, node_id to, uint64_t term)
{
	turns_start(f);
	while (f->ends[to].term != term && turns_left(f)) {
		(void)!send_heard(&f->ends[from], to, term);
		turn(f);
	}
	uv_timer_stop(&f->timer);
	cr_assert_eq(f->ends[to].term, term, "%u -> %u", from, to);
	cr_assert_eq(f->ends[to].from, from);
}

static void deliver_all(struct fixture *f, uint64_t *term)
{
	for (node_id from = 1; from <= 3; from++) {
		for (node_id to = 1; to <= 3; to++) {
			if (from != to)
				deliver_at_last(f, from, to, (*term)++);
		}
	}
}

Test(peer, a_node_changes_its_key_while_both_are_accepted)
{
	struct fixture f;
	struct peer_config configs[4];
	char public_key[PEER_KEY_SIZE], secret_key[PEER_KEY_SIZE];
	uint64_t term = 100;

	fixture_open(&f);
	for (node_id id = 1; id <= 3; id++)
		node_open(&f, id);
	deliver_all(&f, &term);
	cr_assert_eq(zmq_curve_keypair(public_key, secret_key), 0);
	announce_next(&f, configs, public_key);
	deliver_all(&f, &term);
	memcpy(configs[1].secret_key, secret_key, PEER_KEY_SIZE);
	reload(&f, 1, &configs[1]);
	deliver_all(&f, &term);
	for (node_id id = 1; id <= 3; id++) {
		memcpy(configs[id].members[0].public_key, public_key, PEER_KEY_SIZE);
		memset(configs[id].members[0].next_public_key, 0, PEER_KEY_SIZE);
		reload(&f, id, &configs[id]);
		deliver_all(&f, &term);
	}
	for (node_id id = 1; id <= 3; id++)
		expect_dropped_only(&f.ends[id], PEER_DROP_COUNT);
	fixture_close(&f);
}

Test(peer, a_revoked_key_is_refused_and_its_connections_end)
{
	struct fixture f;
	struct peer_config config;
	unsigned received;

	fixture_open(&f);
	for (node_id id = 1; id <= 2; id++)
		node_open(&f, id);
	deliver(&f, 2, 1, 5);
	config = config_of(&f, 1);
	memcpy(config.members[1].public_key, f.public_keys[4], PEER_KEY_SIZE);
	reload(&f, 1, &config);
	received = f.ends[1].received;
	/* Until the old connection is gone its frames may still be taken by libzmq, not by us. */
	turns_start(&f);
	while (peer_dropped(f.ends[1].net, PEER_DROP_STRANGER) == 0 && turns_left(&f)) {
		(void)!send_heard(&f.ends[2], 1, 6);
		turn(&f);
	}
	uv_timer_stop(&f.timer);
	cr_assert_gt(peer_dropped(f.ends[1].net, PEER_DROP_STRANGER), 0);
	cr_assert_eq(send_heard(&f.ends[2], 1, 7), ERR_BUSY);
	cr_assert_eq(f.ends[1].received, received);
	/* Enrolled again, it is heard again. */
	config = config_of(&f, 1);
	reload(&f, 1, &config);
	deliver_at_last(&f, 2, 1, 8);
	fixture_close(&f);
}

Test(peer, what_cannot_be_reloaded_changes_nothing)
{
	struct fixture f;
	struct peer_config config;
	struct err why = {0};

	fixture_open(&f);
	for (node_id id = 1; id <= 2; id++)
		node_open(&f, id);
	config = config_of(&f, 1);
	memcpy(config.secret_key, f.secret_keys[4], PEER_KEY_SIZE);
	cr_assert_eq(peer_reload(f.ends[1].net, &config, &why), ERR_INVALID);
	cr_assert_not_null(strstr(why.text, "belongs to the public key"));
	config = config_of(&f, 1);
	config.members[1].port++;
	cr_assert_eq(peer_reload(f.ends[1].net, &config, &why), ERR_REFUSED);
	config = config_of(&f, 1);
	config.cluster_id++;
	cr_assert_eq(peer_reload(f.ends[1].net, &config, &why), ERR_REFUSED);
	config = config_of(&f, 1);
	config.members[0] = config.members[--config.count];
	cr_assert_eq(peer_reload(f.ends[1].net, &config, &why), ERR_INVALID);
	deliver(&f, 1, 2, 5);
	deliver(&f, 2, 1, 6);
	expect_dropped_only(&f.ends[1], PEER_DROP_COUNT);
	fixture_close(&f);
}

/* The list of the first `count` nodes, whatever their rows' order. */
static void reload_count(struct fixture *f, node_id at, unsigned count, bool turned)
{
	struct peer_config config = config_of(f, at);
	struct peer_member first = config.members[0];

	config.count = count;
	if (turned) {
		config.members[0] = config.members[count - 1];
		config.members[count - 1] = first;
	}
	reload(f, at, &config);
}

Test(peer, members_come_and_go_while_the_others_talk)
{
	struct fixture f;
	struct peer_config config;
	uint64_t term = 100;
	unsigned received;

	fixture_open(&f);
	for (node_id id = 1; id <= 2; id++) {
		config = config_of(&f, id);
		config.count = 2;
		end_open(&f, &f.ends[id], &config);
	}
	node_open(&f, 3);
	deliver(&f, 1, 2, 5);
	deliver(&f, 2, 1, 6);
	cr_assert_eq(send_heard(&f.ends[1], 3, 7), ERR_NOT_FOUND);
	for (node_id id = 1; id <= 2; id++)
		reload_count(&f, id, 3, true);
	deliver_all(&f, &term);
	for (node_id id = 1; id <= 2; id++)
		reload_count(&f, id, 2, false);
	cr_assert_eq(send_heard(&f.ends[1], 3, 8), ERR_NOT_FOUND);
	received = f.ends[1].received;
	turns_start(&f);
	while (peer_dropped(f.ends[1].net, PEER_DROP_STRANGER) == 0 && turns_left(&f)) {
		(void)!send_heard(&f.ends[3], 1, 9);
		turn(&f);
	}
	uv_timer_stop(&f.timer);
	cr_assert_gt(peer_dropped(f.ends[1].net, PEER_DROP_STRANGER), 0);
	cr_assert_eq(f.ends[1].received, received);
	deliver_at_last(&f, 1, 2, 10);
	deliver_at_last(&f, 2, 1, 11);
	for (node_id id = 1; id <= 2; id++)
		reload_count(&f, id, 3, false);
	deliver_all(&f, &term);
	fixture_close(&f);
}
