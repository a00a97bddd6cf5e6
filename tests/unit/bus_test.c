/* The bus between workers: two buses in one process, on real local sockets. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bus.pb-c.h"
#include "wire/bus.h"
#include "wire/zloop.h"

#define WAIT_MS 60000

struct side {
	struct bus *bus;
	unsigned received;
	unsigned connected;
	enum route_id route;
	uint64_t number;
	uint64_t last_peer;
};

struct fixture {
	uv_loop_t loop;
	uv_timer_t timer;
	unsigned turns;
	bool late;
	char dir[64];
	struct side consensus;
	struct side vip;
};

static void make_dir(const char *base, const char *rest)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", base, rest);
	cr_assert_eq(mkdir(path, 0755), 0, "mkdir %s", path);
}

static void fixture_open(struct fixture *f)
{
	memset(f, 0, sizeof(*f));
	snprintf(f->dir, sizeof(f->dir), "/tmp/mha-bus-XXXXXX");
	cr_assert_not_null(mkdtemp(f->dir));
	make_dir(f->dir, "bus");
	make_dir(f->dir, "bus/vip");
	make_dir(f->dir, "bus/consensus");
	make_dir(f->dir, "bus/vip/consensus");
	make_dir(f->dir, "bus/consensus/vip");
	cr_assert_eq(uv_loop_init(&f->loop), 0);
	cr_assert_eq(uv_timer_init(&f->loop, &f->timer), 0);
	f->timer.data = f;
}

/* The loop turns at least this often: what arrives before a wait is seen without a wait. */
#define TURN_MS 10

static void on_turn(uv_timer_t *timer)
{
	struct fixture *f = timer->data;

	f->late = ++f->turns > WAIT_MS / TURN_MS;
}

static void watch_start(struct fixture *f)
{
	f->turns = 0;
	f->late = false;
	uv_timer_start(&f->timer, on_turn, TURN_MS, TURN_MS);
}

static void on_message(void *arg, enum route_id route, const ProtobufCMessage *message)
{
	struct side *side = arg;

	side->received++;
	side->route = route;
	if (route == ROUTE_GRANT)
		side->number = ((const Mha__Bus__Grant *)message)->epoch;
	if (route == ROUTE_FENCE)
		side->number = ((const Mha__Bus__FenceReport *)message)->epoch;
}

static void on_peer(void *arg, enum worker_id peer)
{
	struct side *side = arg;

	side->connected++;
	side->last_peer = peer;
}

static void side_open(struct fixture *f, struct side *side, enum worker_id self)
{
	struct err why = {0};

	cr_assert_eq(bus_open(&side->bus, &f->loop, f->dir, self, on_message, side, &why), 0, "%s",
		     why.text);
	bus_watch(side->bus, on_peer, side);
}

/* Run the loop until *counter has reached `wanted`. */
static void run_until(struct fixture *f, const unsigned *counter, unsigned wanted)
{
	watch_start(f);
	while (*counter < wanted && !f->late)
		uv_run(&f->loop, UV_RUN_ONCE);
	uv_timer_stop(&f->timer);
	cr_assert(*counter >= wanted, "got %u of %u in %d ms", *counter, wanted, WAIT_MS);
}

static void fixture_close(struct fixture *f)
{
	char command[128];

	bus_close(f->consensus.bus);
	bus_close(f->vip.bus);
	uv_close((uv_handle_t *)&f->timer, NULL);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	cr_assert_eq(uv_loop_close(&f->loop), 0);
	snprintf(command, sizeof(command), "rm -rf %s", f->dir);
	cr_assert_eq(system(command), 0);
}

static int send_grant(struct side *side, uint64_t epoch, struct err *why)
{
	Mha__Bus__Grant grant = MHA__BUS__GRANT__INIT;

	grant.epoch = epoch;
	grant.until_ns = 1;
	return bus_send(side->bus, ROUTE_GRANT, &grant.base, why);
}

Test(bus, only_listed_senders_receivers_kinds_and_sizes_pass)
{
	static const struct {
		const char *what;
		enum worker_id from, to;
		unsigned route;
		size_t size;
		int code;
	} cases[] = {
		{"listed", WORKER_consensus, WORKER_vip, ROUTE_GRANT, 64, 0},
		{"too long", WORKER_consensus, WORKER_vip, ROUTE_GRANT, 65, ERR_TOO_BIG},
		{"from another", WORKER_dbmon, WORKER_vip, ROUTE_GRANT, 10, ERR_NOT_ALLOWED},
		{"to another", WORKER_consensus, WORKER_dbmon, ROUTE_GRANT, 10, ERR_NOT_ALLOWED},
		{"backwards", WORKER_vip, WORKER_consensus, ROUTE_GRANT, 10, ERR_NOT_ALLOWED},
		{"unknown", WORKER_consensus, WORKER_vip, ROUTE_COUNT, 10, ERR_NOT_ALLOWED},
		{"far off", WORKER_consensus, WORKER_vip, 65535, 10, ERR_NOT_ALLOWED},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct err why = {0};

		cr_expect_eq(route_check(cases[i].from, cases[i].to, cases[i].route, cases[i].size,
					 &why),
			     cases[i].code, "%s", cases[i].what);
		cr_expect_eq(why.text[0] != '\0', cases[i].code != 0, "%s", cases[i].what);
	}
}

Test(bus, messages_arrive_in_order_both_ways)
{
	struct fixture f;
	struct err why = {0};

	fixture_open(&f);
	side_open(&f, &f.consensus, WORKER_consensus);
	side_open(&f, &f.vip, WORKER_vip);
	run_until(&f, &f.consensus.connected, 1);
	cr_assert_eq(f.consensus.last_peer, WORKER_vip);
	for (uint64_t i = 1; i <= 40; i++)
		cr_assert_eq(send_grant(&f.consensus, i, &why), 0, "%s", why.text);
	run_until(&f, &f.vip.received, 40);
	cr_assert_eq(f.vip.number, 40);
	cr_assert_eq(f.vip.route, ROUTE_GRANT);

	Mha__Bus__FenceReport report;

	mha__bus__fence_report__init(&report);
	report.epoch = 7;
	run_until(&f, &f.vip.connected, 1);
	cr_assert_eq(bus_send(f.vip.bus, ROUTE_FENCE, &report.base, &why), 0, "%s", why.text);
	run_until(&f, &f.consensus.received, 1);
	cr_assert_eq(f.consensus.number, 7);
	cr_assert_eq(bus_refused(f.vip.bus), 0);
	fixture_close(&f);
}

Test(bus, sending_to_nobody_is_busy_and_loses_nothing_else)
{
	struct fixture f;
	struct err why = {0};

	fixture_open(&f);
	side_open(&f, &f.consensus, WORKER_consensus);
	cr_assert_eq(send_grant(&f.consensus, 1, &why), ERR_BUSY);

	/* dbctl has no folder: this node runs none. */
	Mha__Bus__Order order = MHA__BUS__ORDER__INIT;

	cr_assert_eq(bus_send(f.consensus.bus, ROUTE_ORDER_DBCTL, &order.base, &why), ERR_BUSY);
	/* What was refused is not delivered later. */
	side_open(&f, &f.vip, WORKER_vip);
	run_until(&f, &f.consensus.connected, 1);
	cr_assert_eq(send_grant(&f.consensus, 2, &why), 0, "%s", why.text);
	run_until(&f, &f.vip.received, 1);
	cr_assert_eq(f.vip.number, 2);
	fixture_close(&f);
}

Test(bus, a_wrong_sender_or_an_oversized_message_is_refused_before_it_leaves)
{
	struct fixture f;
	struct err why = {0};
	char text[2048];
	Mha__Bus__FenceReport report;

	mha__bus__fence_report__init(&report);
	fixture_open(&f);
	side_open(&f, &f.consensus, WORKER_consensus);
	side_open(&f, &f.vip, WORKER_vip);
	cr_assert_eq(bus_send(f.consensus.bus, ROUTE_FENCE, &report.base, &why), ERR_NOT_ALLOWED);
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	report.text = text;
	cr_assert_eq(bus_send(f.vip.bus, ROUTE_FENCE, &report.base, &why), ERR_TOO_BIG);
	fixture_close(&f);
}

Test(bus, a_restarted_receiver_is_found_again_and_its_stale_socket_does_not_matter)
{
	struct fixture f;
	struct err why = {0};

	fixture_open(&f);
	side_open(&f, &f.consensus, WORKER_consensus);
	side_open(&f, &f.vip, WORKER_vip);
	run_until(&f, &f.consensus.connected, 1);

	bus_close(f.vip.bus);
	memset(&f.vip, 0, sizeof(f.vip));

	/* As after a SIGKILL: the socket file is there, nobody listens. */
	char path[128];

	snprintf(path, sizeof(path), "%s/bus/vip/consensus/socket", f.dir);
	cr_assert_eq(access(path, F_OK), 0);
	side_open(&f, &f.vip, WORKER_vip);
	run_until(&f, &f.consensus.connected, 2);
	cr_assert_eq(send_grant(&f.consensus, 3, &why), 0, "%s", why.text);
	run_until(&f, &f.vip.received, 1);
	cr_assert_eq(f.vip.number, 3);
	fixture_close(&f);
}

static void send_raw(struct fixture *f, zsock_t *raw, const void *bytes, size_t size, bool more)
{
	cr_assert_geq(zmq_send(zsock_resolve(raw), bytes, size, more ? ZMQ_SNDMORE : 0), 0);
	uv_run(&f->loop, UV_RUN_NOWAIT);
}

Test(bus, malformed_frames_are_dropped_and_counted)
{
	struct fixture f;
	struct err why = {0};
	char endpoint[128];
	static const uint8_t huge[66000];
	static uint8_t too_big[500] = {ROUTE_GRANT, 0};

	fixture_open(&f);
	side_open(&f, &f.vip, WORKER_vip);
	snprintf(endpoint, sizeof(endpoint), "ipc://%s/bus/vip/consensus/socket", f.dir);

	zsock_t *raw = zsock_new(ZMQ_PUSH);

	cr_assert_not_null(raw);
	zsock_set_linger(raw, 0);
	zsock_set_reconnect_ivl(raw, 5);
	cr_assert_eq(zsock_connect(raw, "%s", endpoint), 0);
	send_raw(&f, raw, "", 0, false);
	send_raw(&f, raw, "\0", 1, false);
	send_raw(&f, raw, "\xff\xff", 2, false);
	send_raw(&f, raw, (uint8_t[]){ROUTE_ORDER_DBCTL, 0}, 2, false);
	send_raw(&f, raw, (uint8_t[]){ROUTE_GRANT, 0, 0xff, 0xff, 0xff}, 5, false);
	send_raw(&f, raw, too_big, sizeof(too_big), false);
	send_raw(&f, raw, (uint8_t[]){ROUTE_GRANT, 0}, 2, true);
	send_raw(&f, raw, (uint8_t[]){ROUTE_GRANT, 0}, 2, false);
	/* Over the bound of all routes: the connection ends; it comes back by itself. */
	send_raw(&f, raw, huge, sizeof(huge), false);
	watch_start(&f);
	while (bus_refused(f.vip.bus) < 8 && !f.late)
		uv_run(&f.loop, UV_RUN_ONCE);
	uv_timer_stop(&f.timer);
	zsock_destroy(&raw);
	side_open(&f, &f.consensus, WORKER_consensus);
	run_until(&f, &f.consensus.connected, 1);
	cr_assert_eq(send_grant(&f.consensus, 9, &why), 0, "%s", why.text);
	run_until(&f, &f.vip.received, 1);
	cr_assert_eq(f.vip.number, 9);
	cr_assert_eq(f.vip.received, 1);
	cr_assert_eq(bus_refused(f.vip.bus), 8, "refused %lu",
		     (unsigned long)bus_refused(f.vip.bus));
	fixture_close(&f);
}

Test(bus, a_flood_is_bounded_and_does_not_wedge_the_loop)
{
	struct fixture f;
	struct err why = {0};
	unsigned taken = 0;

	fixture_open(&f);
	side_open(&f, &f.consensus, WORKER_consensus);
	side_open(&f, &f.vip, WORKER_vip);
	run_until(&f, &f.consensus.connected, 1);
	for (uint64_t i = 1; i <= 100000; i++) {
		int rc = send_grant(&f.consensus, i, &why);

		cr_assert(rc == 0 || rc == ERR_BUSY, "%s", why.text);
		if (rc < 0)
			break;
		taken++;
	}
	cr_assert_lt(taken, 100000, "nothing bounded the queue");
	run_until(&f, &f.vip.received, taken);
	cr_assert_eq(f.vip.number, taken);
	cr_assert_eq(send_grant(&f.consensus, 5, &why), 0, "%s", why.text);
	run_until(&f, &f.vip.received, taken + 1);
	fixture_close(&f);
}
