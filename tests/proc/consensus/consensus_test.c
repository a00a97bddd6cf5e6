/* Three mha-consensus processes on the loopback: election, loss of processes, loss of logs. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bus.pb-c.h"
#include "member.h"
#include "os/clock.h"

#define ELECTION_MS 300
/* Generous: test machines are slow and shared. */
#define WAIT_MS 60000
/*
 * A busy machine delays what is timed here, and may cost a leader its lease for no fault of
 * ours. Noise only adds: what is promised must be seen in one of so many rounds.
 */
#define ROUNDS_MAX 12

static struct rig rig;

static void clean_up(void)
{
	rig_clean(&rig);
}

TestSuite(consensus, .fini = clean_up);

static bool has_lease(unsigned id)
{
	return rig.members[id].pid != 0 && member_look(&rig, id) &&
	       rig.members[id].seen.lease_until_ns > clock_boot_ns();
}

/* The member that leads and holds a lease that everybody else follows; 0: none now. */
static unsigned leader_now(void)
{
	unsigned leader = 0;

	for (unsigned id = 1; id <= MEMBERS; id++) {
		if (!has_lease(id))
			continue;
		if (leader != 0) {
			const uint64_t term = rig.members[leader].seen.term;

			/*
			 * Two leases at once would be the end of it all. Time has passed since the
			 * first was looked at: it counts if it is still held after the second was.
			 */
			cr_assert_not(has_lease(leader) && rig.members[leader].seen.term == term &&
					      rig.members[id].seen.lease_until_ns > clock_boot_ns(),
				      "%u and %u hold a lease", leader, id);
		}
		leader = id;
	}
	return leader;
}

static unsigned wait_leader(unsigned other_than, uint64_t *took_ms)
{
	const uint64_t since = rig_now(&rig);
	unsigned leader = 0;

	while (leader == 0 || leader == other_than) {
		cr_assert_lt(rig.now_ms - since, WAIT_MS, "no leader");
		rig_turn(&rig);
		leader = leader_now();
	}
	if (took_ms != NULL)
		*took_ms = rig.now_ms - since;
	return leader;
}

static void start_all_with(unsigned election_ms)
{
	rig_open(&rig, election_ms);
	for (unsigned id = 1; id <= MEMBERS; id++)
		member_start(&rig, id);
}

static void start_all(void)
{
	start_all_with(ELECTION_MS);
}

/* Every running member knows the cluster in the same version, which is at least `version`. */
static uint64_t wait_agreed(uint64_t version)
{
	const uint64_t since = rig_now(&rig);

	for (;;) {
		uint64_t low = UINT64_MAX, high = 0;

		cr_assert_lt(rig.now_ms - since, WAIT_MS, "no agreement");
		rig_turn(&rig);
		for (unsigned id = 1; id <= MEMBERS; id++) {
			uint64_t known;

			if (rig.members[id].pid == 0)
				continue;
			known = member_look(&rig, id) ? rig.members[id].seen.cluster.version : 0;
			low = known < low ? known : low;
			high = known > high ? known : high;
		}
		if (low == high && low >= version)
			return low;
	}
}

static void wait_failed(unsigned id, const char *says)
{
	const uint64_t since = rig_now(&rig);

	while (!member_look(&rig, id) || !rig.members[id].seen.failed) {
		cr_assert_not(member_ended(&rig, id), "member %u has ended", id);
		cr_assert_lt(rig.now_ms - since, WAIT_MS, "member %u does not say it failed", id);
		rig_turn(&rig);
	}
	cr_assert_not_null(strstr(rig.members[id].seen.failure, says), "'%s' does not say '%s'",
			   rig.members[id].seen.failure, says);
	cr_assert_eq(rig.members[id].seen.lease_until_ns, 0);
	cr_assert_eq(rig.members[id].seen.raft_state, 0);
}

/* It stays up and failed, and the others go on without it. */
static void expect_failed_but_alive(unsigned id)
{
	const uint64_t since = rig_now(&rig);

	while (rig.now_ms - since < 4 * ELECTION_MS) {
		rig_turn(&rig);
		cr_assert_not(member_ended(&rig, id));
		cr_assert(member_look(&rig, id));
		cr_assert(rig.members[id].seen.failed);
		cr_assert_eq(rig.members[id].seen.lease_until_ns, 0);
	}
	cr_assert_neq(wait_leader(0, NULL), id);
}

static unsigned follower(unsigned leader)
{
	return leader % MEMBERS + 1;
}

Test(consensus, three_members_elect_one_leader_and_write_the_first_entry)
{
	start_all();
	(void)wait_leader(0, NULL);
	cr_assert_geq(wait_agreed(1), 1);
	for (unsigned id = 1; id <= MEMBERS; id++) {
		const struct status_consensus *seen = &rig.members[id].seen;

		cr_expect_eq(seen->cluster.node_total, MEMBERS);
		cr_expect_str_eq(seen->cluster.nodes[1].name, "n2");
		cr_expect_not(seen->failed);
		for (int reason = 0; reason < DROP_REASON_COUNT; reason++)
			cr_expect_eq(seen->dropped[reason], 0, "member %u, reason %d", id, reason);
	}
	/* wait_leader() asserts that there is one only. */
	(void)wait_leader(0, NULL);
	for (unsigned id = 1; id <= MEMBERS; id++)
		cr_expect(member_stop(&rig, id, false), "member %u: status %d", id,
			  rig.members[id].exit_status);
	rig_close(&rig);
}

Test(consensus, the_loss_of_the_leader_costs_about_t)
{
	uint64_t least_ms = UINT64_MAX;
	bool stayed = false;

	start_all();
	for (unsigned round = 0;
	     round < 3 || (round < ROUNDS_MAX && (least_ms >= 10 * ELECTION_MS || !stayed));
	     round++) {
		uint64_t took_ms = 0, version = wait_agreed(1);
		unsigned lost = wait_leader(0, NULL), leader;

		member_kill(&rig, lost);
		leader = wait_leader(lost, &took_ms);
		printf("# leader killed: next lease after %lu ms (T = %d)\n",
		       (unsigned long)took_ms, ELECTION_MS);
		cr_expect_neq(leader, lost);
		least_ms = took_ms < least_ms ? took_ms : least_ms;
		/* Longer than the lost lease: it comes back as a follower. */
		member_start(&rig, lost);
		cr_assert_geq(wait_agreed(version), version);
		stayed = stayed || wait_leader(0, NULL) == leader;
	}
	cr_expect_lt(least_ms, 10 * ELECTION_MS);
	cr_expect(stayed, "a member that comes back costs the leader its place");
	rig_close(&rig);
}

Test(consensus, a_leader_that_is_back_at_once_leads_on)
{
	unsigned kept = 0;

	/* The new process must be there before the lease of the old one ends. */
	start_all_with(20 * ELECTION_MS);
	for (unsigned round = 0; round < ROUNDS_MAX && kept < 2; round++) {
		unsigned leader = wait_leader(0, NULL);
		uint64_t since, term;

		wait_agreed(1);
		cr_assert(member_look(&rig, leader));
		term = rig.members[leader].seen.term;
		member_kill(&rig, leader);
		member_start(&rig, leader);
		since = rig_now(&rig);
		while (!member_look(&rig, leader) || rig.members[leader].seen.term <= term) {
			cr_assert_lt(rig.now_ms - since, WAIT_MS);
			rig_turn(&rig);
		}
		if (wait_leader(0, NULL) == leader)
			kept++;
	}
	/* A slow machine lets a lease run out now and then. */
	cr_expect_eq(kept, 2);
	rig_close(&rig);
}

/* Freeze the leader until there is another; true if nothing but the freeze moved the lead. */
static bool freeze_round(void)
{
	const unsigned frozen = wait_leader(0, NULL);
	uint64_t since, term;
	unsigned leader;

	cr_assert_eq(kill(rig.members[frozen].pid, SIGSTOP), 0);
	leader = wait_leader(frozen, NULL);
	term = rig.members[leader].seen.term;
	cr_assert_eq(kill(rig.members[frozen].pid, SIGCONT), 0);
	/* wait_leader() and this look for a second lease at every turn. */
	for (since = rig_now(&rig); rig.now_ms - since < 3 * ELECTION_MS; rig_turn(&rig)) {
		if (leader_now() != frozen)
			continue;
		cr_assert_gt(rig.members[frozen].seen.term, term, "it woke up with a lease");
		return false;
	}
	return wait_leader(0, NULL) == leader;
}

Test(consensus, a_frozen_leader_wakes_up_without_a_lease)
{
	unsigned clean = 0;

	start_all();
	wait_agreed(1);
	for (unsigned round = 0; round < ROUNDS_MAX && clean < 2; round++)
		clean += freeze_round();
	cr_expect_eq(clean, 2, "a leader that was frozen disturbs the next one");
	rig_close(&rig);
}

Test(consensus, an_orderly_stop_hands_over)
{
	bool handed_over = false;

	start_all();
	for (unsigned round = 0; round < ROUNDS_MAX && !handed_over; round++) {
		unsigned leader, next;

		wait_agreed(1);
		leader = wait_leader(0, NULL);
		cr_assert(member_stop(&rig, leader, true), "status %d",
			  rig.members[leader].exit_status);
		next = leader_now();
		handed_over = next != 0 && next != leader;
		if (!handed_over)
			printf("# leader %u has left, %u leads\n", leader, next);
		member_start(&rig, leader);
	}
	cr_expect(handed_over);
	rig_close(&rig);
}

static bool is_claimed(unsigned id)
{
	char path[PATH_SIZE + 30];

	snprintf(path, sizeof(path), "%s/raft/mha4rdb.owner", rig.members[id].state);
	return access(path, F_OK) == 0;
}

static void wait_claimed(unsigned id)
{
	const uint64_t since = rig_now(&rig);

	while (!is_claimed(id)) {
		cr_assert_lt(rig.now_ms - since, WAIT_MS, "member %u does not catch up", id);
		rig_turn(&rig);
	}
}

/* Damage the middle of each file of the log whose name starts with `prefix`. */
static unsigned damage(const struct member *member, const char *prefix)
{
	char path[PATH_SIZE + 300];
	unsigned count = 0;
	DIR *folder;

	snprintf(path, sizeof(path), "%s/raft", member->state);
	folder = opendir(path);
	cr_assert_not_null(folder);
	for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
		int fd;

		if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0)
			continue;
		snprintf(path, sizeof(path), "%s/raft/%s", member->state, entry->d_name);
		fd = open(path, O_WRONLY | O_CLOEXEC);
		cr_assert_geq(fd, 0);
		cr_assert_eq(pwrite(fd, "damage", 6, 40), 6);
		close(fd);
		count++;
	}
	closedir(folder);
	return count;
}

Test(consensus, a_damaged_log_steps_out_and_the_others_go_on)
{
	unsigned victim;

	start_all();
	wait_agreed(1);
	victim = follower(wait_leader(0, NULL));
	cr_assert(member_stop(&rig, victim, false));
	/* Closed segments carry their first and last index. */
	cr_assert_gt(damage(&rig.members[victim], "0000"), 0);
	member_start(&rig, victim);
	wait_failed(victim, "log");
	expect_failed_but_alive(victim);
	cr_expect(member_stop(&rig, victim, true));
	rig_close(&rig);
}

Test(consensus, a_lost_log_is_not_begun_anew)
{
	unsigned victim;
	char command[PATH_SIZE + 60];

	start_all();
	wait_agreed(1);
	victim = follower(wait_leader(0, NULL));
	wait_claimed(victim);
	member_kill(&rig, victim);
	snprintf(command, sizeof(command), "cd %s/raft && rm -f metadata* 0* open* snapshot*",
		 rig.members[victim].state);
	cr_assert_eq(system(command), 0);
	member_start(&rig, victim);
	wait_failed(victim, "lost its log");
	expect_failed_but_alive(victim);
	rig_close(&rig);
}

Test(consensus, a_member_that_lost_everything_helps_nobody_until_it_has_caught_up)
{
	unsigned victim, other, third;
	char command[2 * PATH_SIZE + 60];

	start_all();
	wait_agreed(1);
	for (unsigned id = 1; id <= MEMBERS; id++)
		wait_claimed(id);
	victim = follower(wait_leader(0, NULL));
	other = follower(victim);
	third = follower(other);
	for (unsigned id = 1; id <= MEMBERS; id++)
		member_kill(&rig, id);
	snprintf(command, sizeof(command), "rm -rf %s/raft && mkdir %s/raft",
		 rig.members[victim].state, rig.members[victim].state);
	cr_assert_eq(system(command), 0);
	/* A majority by number, but one of the two may have forgotten what counts. */
	member_start(&rig, victim);
	member_start(&rig, other);
	for (uint64_t since = rig_now(&rig); rig.now_ms - since < 8 * ELECTION_MS;) {
		rig_turn(&rig);
		cr_assert_eq(leader_now(), 0, "%u leads with the vote of %u, which is empty",
			     leader_now(), victim);
	}
	cr_assert_not(is_claimed(victim));
	member_start(&rig, third);
	cr_assert(wait_leader(0, NULL) != victim || is_claimed(victim));
	wait_claimed(victim);
	/* Now it counts: without the third it is the majority. */
	wait_agreed(1);
	member_kill(&rig, third);
	(void)wait_leader(third, NULL);
	rig_close(&rig);
}

Test(consensus, the_log_of_another_node_is_refused)
{
	unsigned victim;
	char command[4 * PATH_SIZE];

	start_all();
	wait_agreed(1);
	victim = follower(wait_leader(0, NULL));
	wait_claimed(follower(victim));
	member_kill(&rig, victim);
	member_kill(&rig, follower(victim));
	snprintf(command, sizeof(command), "rm -rf %s/raft && cp -r %s/raft %s/raft",
		 rig.members[victim].state, rig.members[follower(victim)].state,
		 rig.members[victim].state);
	cr_assert_eq(system(command), 0);
	member_start(&rig, victim);
	wait_failed(victim, "directory that belongs to it");
	rig_close(&rig);
}

/* What vip hears. */
struct fake_vip {
	struct bus *bus;
	unsigned closes;
	uint64_t last_id;
};

static void on_vip(void *arg, enum route_id route, const ProtobufCMessage *message)
{
	struct fake_vip *vip = arg;
	const Mha__Bus__Order *order = (const Mha__Bus__Order *)message;

	if (route != ROUTE_ORDER_VIP || order->kind != ORDER_FENCE_CLOSE)
		return;
	vip->closes++;
	vip->last_id = order->id;
}

static void vip_says_closed(struct fake_vip *vip)
{
	Mha__Bus__FenceReport report;
	Mha__Bus__OrderResult result;
	struct err why = {0};

	mha__bus__fence_report__init(&report);
	mha__bus__order_result__init(&result);
	report.state = FENCE_CLOSED;
	report.epoch = 3;
	report.incarnation = 1;
	result.order_id = vip->last_id;
	result.incarnation = 1;
	/* The way back may not be connected yet. */
	for (uint64_t since = rig_now(&rig); rig.now_ms - since < WAIT_MS; rig_turn(&rig)) {
		if (bus_send(vip->bus, ROUTE_RESULT_VIP, &result.base, &why) == 0)
			break;
	}
	cr_assert_eq(bus_send(vip->bus, ROUTE_FENCE, &report.base, &why), 0, "%s", why.text);
}

Test(consensus, a_missing_log_directory_fences_and_does_not_end_the_process)
{
	struct fake_vip vip = {0};
	struct err why = {0};
	char path[PATH_SIZE + 10];
	uint64_t since;
	unsigned heard;

	rig_open(&rig, ELECTION_MS);
	snprintf(path, sizeof(path), "%s/raft", rig.members[2].state);
	cr_assert_eq(rmdir(path), 0);
	cr_assert_eq(
		bus_open(&vip.bus, &rig.loop, rig.members[2].run, WORKER_vip, on_vip, &vip, &why),
		0, "%s", why.text);
	for (unsigned id = 1; id <= MEMBERS; id++)
		member_start(&rig, id);
	wait_failed(2, "log directory");
	since = rig_now(&rig);
	while (vip.closes == 0) {
		cr_assert_lt(rig.now_ms - since, WAIT_MS, "vip is not told to close");
		rig_turn(&rig);
	}
	/* Told again until vip says that it is so. */
	while (vip.closes < 2) {
		cr_assert_lt(rig.now_ms - since, WAIT_MS, "vip is told only once");
		rig_turn(&rig);
	}
	vip_says_closed(&vip);
	since = rig_now(&rig);
	/* What was on its way may still come. */
	do {
		cr_assert_lt(rig.now_ms - since, WAIT_MS, "vip is closed and told all the same");
		heard = vip.closes;
		expect_failed_but_alive(2);
	} while (vip.closes != heard);
	bus_close(vip.bus);
	rig_close(&rig);
}

Test(consensus, a_full_disk_ends_the_vote_not_the_process)
{
	char path[PATH_SIZE + 10], filler[PATH_SIZE + 30];
	static const uint8_t zeros[65536];
	const unsigned victim = 2;
	off_t size = 0;
	ssize_t got;
	int fd;

	rig_open(&rig, ELECTION_MS);
	snprintf(path, sizeof(path), "%s/raft", rig.members[victim].state);
	/* The mount is this test's alone and goes when its last process does. */
	if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount("tmpfs", path, "tmpfs", 0, "size=40m") != 0) {
		rig_close(&rig);
		cr_skip_test("needs the right to mount a file system");
	}
	/* Room for the term and the vote, but not for a segment of the log. */
	snprintf(filler, sizeof(filler), "%s/filler", path);
	fd = open(filler, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	cr_assert_geq(fd, 0);
	while ((got = write(fd, zeros, sizeof(zeros))) > 0)
		size += got;
	cr_assert_eq(ftruncate(fd, size - (off_t)sizeof(zeros)), 0);
	close(fd);
	for (unsigned id = 1; id <= MEMBERS; id++)
		member_start(&rig, id);
	wait_failed(victim, "raft log: disk full");
	printf("# disk full: %s\n", rig.members[victim].seen.failure);
	expect_failed_but_alive(victim);
	/* Space returns: it ends in good order, once, and the next one takes part. */
	cr_assert_eq(unlink(filler), 0);
	for (const uint64_t since = rig_now(&rig); !member_ended(&rig, victim); rig_turn(&rig))
		cr_assert_lt(rig.now_ms - since, WAIT_MS, "it does not come back");
	member_start(&rig, victim);
	for (const uint64_t since = rig_now(&rig);
	     !member_look(&rig, victim) || rig.members[victim].seen.failed ||
	     rig.members[victim].seen.leader == 0;
	     rig_turn(&rig))
		cr_assert_lt(rig.now_ms - since, WAIT_MS, "it does not take part");
	member_kill(&rig, victim);
	cr_assert_eq(umount(path), 0);
	rig_close(&rig);
}

/* A network of our own, in which packets to and from a member can be dropped. */
static bool own_network(void)
{
	return unshare(CLONE_NEWNET) == 0 && system("ip link set lo up") == 0 &&
	       system("nft 'add table ip cut; "
		      "add chain ip cut in { type filter hook input priority 0; }'") == 0;
}

static void cut(unsigned id)
{
	char command[200];

	snprintf(command, sizeof(command),
		 "nft 'add rule ip cut in ip saddr 127.0.0.%u ip daddr != 127.0.0.%u drop; "
		 "add rule ip cut in ip daddr 127.0.0.%u ip saddr != 127.0.0.%u drop'",
		 id, id, id, id);
	cr_assert_eq(system(command), 0);
}

static void heal(void)
{
	cr_assert_eq(system("nft flush chain ip cut in"), 0);
}

static void wait_ms(uint64_t duration)
{
	const uint64_t since = rig_now(&rig);

	while (rig.now_ms - since < duration)
		rig_turn(&rig);
}

/* How long until `id` follows the leader of the others again, or leads by their votes. */
static uint64_t wait_follows(unsigned id)
{
	const uint64_t since = rig_now(&rig);

	for (;;) {
		unsigned leader = leader_now();

		cr_assert_lt(rig.now_ms - since, WAIT_MS, "member %u does not come back", id);
		if (leader != 0 && member_look(&rig, id) && rig.members[id].seen.leader == leader &&
		    rig.members[id].seen.term == rig.members[leader].seen.term)
			return rig.now_ms - since;
		rig_turn(&rig);
	}
}

/* Cut a leader or a follower off for so many T; how long after the cut it is with the others. */
static uint64_t cut_round(unsigned length, bool leads)
{
	const unsigned leader = wait_leader(0, NULL);
	const unsigned victim = leads ? leader : follower(leader);
	uint64_t took, term;

	cut(victim);
	wait_ms(rig.election_ms);
	cr_assert(member_look(&rig, victim));
	term = rig.members[victim].seen.term;
	wait_ms((length - 1) * rig.election_ms);
	cr_expect_neq(leader_now(), victim, "it is cut off and holds a lease");
	cr_assert(member_look(&rig, victim));
	cr_expect_eq(rig.members[victim].seen.term, term, "alone it begins no term: pre-vote");
	heal();
	took = wait_follows(victim);
	printf("# %s cut for %u T: follows again after %lu ms (T = %u)\n",
	       leads ? "leader" : "follower", length, (unsigned long)took, rig.election_ms);
	return took;
}

Test(consensus, a_healed_cut_is_over_within_t)
{
	/* In units of T: a little more than a lease, and enough for TCP to back off for seconds. */
	static const unsigned lengths[] = {2, 10, 20};

	if (!own_network())
		cr_skip_test("needs the right to make a network namespace, and nft");
	start_all_with(2 * ELECTION_MS);
	wait_agreed(1);
	for (size_t i = 0; i < COUNT_OF(lengths); i++) {
		for (unsigned leads = 0; leads <= 1; leads++) {
			bool quick = false;

			for (unsigned round = 0; round < ROUNDS_MAX && !quick; round++)
				quick = cut_round(lengths[i], leads != 0) <= rig.election_ms;
			cr_expect(quick, "a cut of %u T always costs more than T", lengths[i]);
		}
	}
	rig_close(&rig);
}

Test(consensus, a_bad_key_is_an_error_at_once)
{
	static const char bad[] = "not a key\n";

	rig_open(&rig, ELECTION_MS);
	member_start_with(&rig, 1, bad);
	while (!member_ended(&rig, 1)) {
		cr_assert_lt(rig.now_ms, WAIT_MS);
		rig_turn(&rig);
	}
	cr_expect(WIFEXITED(rig.members[1].exit_status) &&
		  WEXITSTATUS(rig.members[1].exit_status) == 1);

	char text[KEY_FILE_MAX];

	key_format(&rig.keys[2], text);
	member_start_with(&rig, 1, text);
	while (!member_ended(&rig, 1)) {
		cr_assert_lt(rig.now_ms, 2 * WAIT_MS);
		rig_turn(&rig);
	}
	cr_expect(WIFEXITED(rig.members[1].exit_status) &&
		  WEXITSTATUS(rig.members[1].exit_status) == 1);
	rig_close(&rig);
}
