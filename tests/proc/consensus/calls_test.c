/* Operators' calls at three mha-consensus processes; the test plays the gateway. */
#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

#include "bus.pb-c.h"
#include "member.h"
#include "os/clock.h"
#include "wire/convert.h"

/* So long that a machine that stalls now and then does not cost the leader its lease. */
#define ELECTION_MS 2000
#define WAIT_MS     60000
#define ENDS_MAX    256
/* Noise only adds to what is timed here: the bound must hold once in so many rounds. */
#define ROUNDS_MAX 5
#define MANY       20

static struct rig rig;

static void clean_up(void)
{
	rig_clean(&rig);
}

TestSuite(calls, .fini = clean_up);

/* What the gateway of one member hears. */
struct gateway {
	struct bus *bus;
	bool heard; /* anything: consensus can reach it */
	unsigned count;
	struct call_result ends[ENDS_MAX];
};

static void on_end(void *arg, enum route_id route, const ProtobufCMessage *message)
{
	struct gateway *gateway = arg;
	struct err why = {0};

	gateway->heard = true;
	if (route != ROUTE_CALL_RESULT || gateway->count == ENDS_MAX)
		return;
	cr_assert_eq(call_result_from_message((const Mha__Bus__CallResult *)message,
					      &gateway->ends[gateway->count], &why),
		     0, "%s", why.text);
	gateway->count++;
}

static void gateway_open(struct gateway *gateway, unsigned id)
{
	const uint64_t since = rig_now(&rig);
	struct err why = {0};

	memset(gateway, 0, sizeof(*gateway));
	cr_assert_eq(bus_open(&gateway->bus, &rig.loop, rig.members[id].run, WORKER_gateway, on_end,
			      gateway, &why),
		     0, "%s", why.text);
	/* Events come as soon as consensus is connected; a result before that would be lost. */
	while (!gateway->heard) {
		cr_assert_lt(rig.now_ms - since, WAIT_MS, "nothing is heard of consensus");
		rig_turn(&rig);
	}
}

static void send_message(struct gateway *gateway, const Mha__Bus__Call *message)
{
	const uint64_t since = rig_now(&rig);
	struct err why = {0};

	while (bus_send(gateway->bus, ROUTE_CALL, &message->base, &why) < 0) {
		cr_assert_lt(rig.now_ms - since, WAIT_MS, "%s", why.text);
		rig_turn(&rig);
	}
}

static void send_call(struct gateway *gateway, struct call call)
{
	Mha__Bus__Call message;

	call_to_message(&call, &message);
	send_message(gateway, &message);
}

static const struct call_result *wait_end(struct gateway *gateway, uint64_t id)
{
	const uint64_t since = rig_now(&rig);

	for (;;) {
		for (unsigned i = 0; i < gateway->count; i++) {
			if (gateway->ends[i].id == id)
				return &gateway->ends[i];
		}
		cr_assert_lt(rig.now_ms - since, WAIT_MS, "call %llu has no end",
			     (unsigned long long)id);
		rig_turn(&rig);
	}
}

static unsigned leader_now(void)
{
	for (unsigned id = 1; id <= MEMBERS; id++) {
		if (rig.members[id].pid != 0 && member_look(&rig, id) &&
		    rig.members[id].seen.lease_until_ns > clock_boot_ns())
			return id;
	}
	return 0;
}

static unsigned wait_leader(void)
{
	const uint64_t since = rig_now(&rig);
	unsigned leader = 0;

	while (leader == 0) {
		cr_assert_lt(rig.now_ms - since, WAIT_MS, "no leader");
		rig_turn(&rig);
		leader = leader_now();
	}
	return leader;
}

/* Every running member has the setting on its own copy of the log. */
static void wait_paused(bool paused)
{
	const uint64_t since = rig_now(&rig);
	bool all = false;

	while (!all) {
		cr_assert_lt(rig.now_ms - since, WAIT_MS, "not everybody heard of it");
		rig_turn(&rig);
		all = true;
		for (unsigned id = 1; id <= MEMBERS; id++)
			all = all && (rig.members[id].pid == 0 ||
				      (member_look(&rig, id) &&
				       rig.members[id].seen.cluster.settings.mode != 0 &&
				       rig.members[id].seen.cluster.settings.paused == paused));
	}
}

static void start_all(void)
{
	rig_open(&rig, ELECTION_MS);
	for (unsigned id = 1; id <= MEMBERS; id++)
		member_start(&rig, id);
	(void)wait_leader();
	wait_paused(false);
}

Test(calls, any_member_takes_a_call_and_everybody_learns_what_it_changed)
{
	struct gateway gateways[MEMBERS + 1];
	uint64_t id = 100;

	start_all();
	for (unsigned member = 1; member <= MEMBERS; member++)
		gateway_open(&gateways[member], member);
	for (unsigned member = 1; member <= MEMBERS; member++) {
		const struct call_result *end;

		send_call(&gateways[member], (struct call){.id = ++id, .kind = CALL_PAUSE});
		end = wait_end(&gateways[member], id);
		cr_expect_eq(end->code, CALL_ACCEPTED, "member %u: %s, %s", member,
			     call_code_name(end->code), blocker_name(end->blockers[0].kind));
		cr_expect_eq(end->via, member);
		wait_paused(true);
		send_call(&gateways[member], (struct call){.id = ++id, .kind = CALL_RESUME});
		cr_expect_eq(wait_end(&gateways[member], id)->code, CALL_ACCEPTED);
		wait_paused(false);
	}
	for (unsigned member = 1; member <= MEMBERS; member++) {
		cr_expect_eq(gateways[member].count, 2, "nobody hears of another's call");
		cr_expect_eq(rig.members[member].seen.cluster.settings.mode, MODE_MAX_PROTECTION);
		bus_close(gateways[member].bus);
	}
	rig_close(&rig);
}

Test(calls, a_refusal_names_its_blockers_and_changes_nothing)
{
	const struct call_result *end;
	struct gateway gateway;
	uint64_t version;
	unsigned leader;

	start_all();
	leader = wait_leader();
	gateway_open(&gateway, leader % MEMBERS + 1);
	cr_assert(member_look(&rig, leader));
	version = rig.members[leader].seen.cluster.version;
	send_call(&gateway, (struct call){.id = 1, .kind = CALL_RESUME});
	end = wait_end(&gateway, 1);
	cr_expect_eq(end->code, CALL_REFUSED);
	cr_assert_eq(end->blocker_count, 1);
	cr_expect_eq(end->blockers[0].kind, BLOCK_NOT_PAUSED);
	/* No primary was ever made here: there is nothing to switch. */
	send_call(&gateway, (struct call){.id = 2, .kind = CALL_SWITCHOVER, .node = 2});
	end = wait_end(&gateway, 2);
	cr_expect_eq(end->code, CALL_REFUSED);
	cr_expect_eq(end->blockers[0].kind, BLOCK_NOT_SERVING);
	send_call(&gateway, (struct call){.id = 3, .kind = CALL_PAUSE, .dry_run = true});
	cr_expect_eq(wait_end(&gateway, 3)->code, CALL_POSSIBLE);
	cr_assert(member_look(&rig, leader));
	cr_expect_eq(rig.members[leader].seen.cluster.version, version);
	bus_close(gateway.bus);
	rig_close(&rig);
}

Test(calls, junk_is_refused_by_name_and_harms_nobody)
{
	struct gateway gateway;
	Mha__Bus__Call message;

	start_all();
	gateway_open(&gateway, 2);
	for (unsigned i = 0; i < 5; i++) {
		const struct call good = {.id = 10 + i, .kind = CALL_PAUSE};
		const struct call_result *end;

		call_to_message(&good, &message);
		message.kind = i == 0 ? CALL_KIND_COUNT : i == 1 ? 0 : message.kind;
		message.node = i == 2 ? 4711 : message.node;
		message.mode = i == 3 ? UINT32_MAX : message.mode;
		message.quorum_sync = i == 4 ? 200 : message.quorum_sync;
		send_message(&gateway, &message);
		end = wait_end(&gateway, 10 + i);
		cr_expect_eq(end->code, CALL_REFUSED);
		cr_assert_eq(end->blocker_count, 1);
		cr_expect_eq(end->blockers[0].kind, BLOCK_INVALID);
	}
	/* A call that says it came in elsewhere came in here all the same. */
	send_call(&gateway, (struct call){.id = 20, .kind = CALL_PAUSE, .via = 3});
	cr_expect_eq(wait_end(&gateway, 20)->via, 2);
	for (unsigned id = 1; id <= MEMBERS; id++)
		cr_expect_not(member_ended(&rig, id));
	bus_close(gateway.bus);
	rig_close(&rig);
}

/* Many calls of which none can be carried out; how long until all have ended, in ms. */
static uint64_t refused_calls(struct gateway *gateway, uint64_t first)
{
	const uint64_t since = rig_now(&rig);

	for (uint64_t id = first; id < first + MANY; id++)
		send_call(gateway, (struct call){.id = id, .kind = CALL_PAUSE});
	for (uint64_t id = first; id < first + MANY; id++) {
		const struct call_result *end = wait_end(gateway, id);

		cr_expect_eq(end->code, CALL_REFUSED, "call %llu: %s", (unsigned long long)id,
			     call_code_name(end->code));
		cr_assert_eq(end->blocker_count, 1);
		/* So many wait for a leader; the rest is told at once. */
		cr_expect(end->blockers[0].kind == BLOCK_NO_QUORUM ||
				  end->blockers[0].kind == BLOCK_BUSY,
			  "%s", blocker_name(end->blockers[0].kind));
	}
	return rig.now_ms - since;
}

/* Without a majority every call ends with one clear code, within the time that is promised. */
Test(calls, a_minority_says_no_quorum)
{
	const uint64_t bound = 5 * ELECTION_MS + 1000 + 5000;
	struct gateway gateway;
	uint64_t since, took = bound;
	unsigned leader, alone, rounds = 0;

	start_all();
	leader = wait_leader();
	alone = leader % MEMBERS + 1;
	gateway_open(&gateway, alone);
	send_call(&gateway, (struct call){.id = 1, .kind = CALL_PAUSE, .dry_run = true});
	(void)wait_end(&gateway, 1);
	for (unsigned id = 1; id <= MEMBERS; id++) {
		if (id != alone)
			member_kill(&rig, id);
	}
	/* Long enough to notice that the leader is gone. */
	for (since = rig_now(&rig); rig.now_ms - since < 6 * ELECTION_MS;)
		rig_turn(&rig);
	for (; rounds < ROUNDS_MAX && took >= bound; rounds++) {
		took = refused_calls(&gateway, 2 + rounds * MANY);
		printf("# %d calls without a majority: all ended after %lu ms\n", MANY,
		       (unsigned long)took);
	}
	cr_expect_lt(took, bound);
	cr_expect_eq(gateway.count, 1 + rounds * MANY, "each call has one end");
	/* It is no worse for that: with a majority it takes calls again. */
	for (unsigned id = 1; id <= MEMBERS; id++) {
		if (id != alone)
			member_start(&rig, id);
	}
	(void)wait_leader();
	send_call(&gateway, (struct call){.id = 500, .kind = CALL_PAUSE});
	cr_expect_eq(wait_end(&gateway, 500)->code, CALL_ACCEPTED);
	bus_close(gateway.bus);
	rig_close(&rig);
}

/* The leader dies with the call: its end is not known, and that is what is said. */
Test(calls, a_call_whose_leader_is_lost_is_uncertain_or_carried_out_once)
{
	struct gateway gateway;
	const struct call_result *end;
	unsigned leader;

	start_all();
	leader = wait_leader();
	gateway_open(&gateway, leader % MEMBERS + 1);
	send_call(&gateway, (struct call){.id = 1, .kind = CALL_PAUSE, .dry_run = true});
	(void)wait_end(&gateway, 1);
	cr_assert_eq(kill(rig.members[leader].pid, SIGSTOP), 0);
	send_call(&gateway, (struct call){.id = 2, .kind = CALL_PAUSE});
	end = wait_end(&gateway, 2);
	cr_expect(end->code == CALL_UNCERTAIN || end->code == CALL_ACCEPTED, "%s",
		  call_code_name(end->code));
	if (end->code == CALL_UNCERTAIN)
		cr_expect_eq(end->blockers[0].kind, BLOCK_NO_QUORUM);
	cr_assert_eq(kill(rig.members[leader].pid, SIGCONT), 0);
	bus_close(gateway.bus);
	rig_close(&rig);
}
