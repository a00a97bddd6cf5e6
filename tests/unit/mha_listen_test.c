/* The listener of libmha against stand-in agents. */
#include "mha_fixture.h"

TestSuite(mha_listen, .fini = end, .timeout = 600);

/* -- listening ------------------------------------------------------------------------------- */

struct heard {
	pthread_mutex_t lock;
	unsigned changes;
	int last_kind;
	uint64_t last_epoch;
	bool went_back;
	char last_name[MHA_NAME_SIZE];
	char last_old[MHA_NAME_SIZE];
	unsigned events;
	unsigned gaps;
	uint64_t last_index;
	uint32_t last_sub;
	bool out_of_order;
	bool nested; /* call back into the library */
};

static struct heard heard;

static void on_change(void *arg, const struct mha_change *change)
{
	struct heard *to = arg;
	struct mha_leader leader = MHA_LEADER_INIT;

	pthread_mutex_lock(&to->lock);
	to->changes++;
	to->went_back = to->went_back || change->epoch < to->last_epoch ||
			change->old_epoch > change->epoch;
	to->last_kind = change->kind;
	to->last_epoch = change->epoch;
	snprintf(to->last_name, sizeof(to->last_name), "%s", change->name);
	snprintf(to->last_old, sizeof(to->last_old), "%s", change->old_name);
	cr_expect_eq(change->kind == MHA_LEADER_LOST, change->why[0] != '\0');
	pthread_mutex_unlock(&to->lock);
	cr_expect_eq(mha_process(mha, &error), 0, "from a callback it does nothing");
	if (to->nested && change->kind != MHA_LEADER_LOST)
		cr_expect_eq(mha_get_leader(mha, &leader, LONG_MS, &error), 0);
}

static void on_event(void *arg, const struct mha_event *event)
{
	struct heard *to = arg;

	pthread_mutex_lock(&to->lock);
	if (event->gap) {
		to->gaps++;
	} else {
		to->events++;
		to->out_of_order = to->out_of_order || event->index < to->last_index ||
				   (event->index == to->last_index && event->sub <= to->last_sub);
		to->last_index = event->index;
		to->last_sub = event->sub;
	}
	pthread_mutex_unlock(&to->lock);
}

/* Work only when the descriptor says so, as a loop would: a missed wake-up would hang here. */
static bool turn_until(bool (*done)(void))
{
	struct pollfd item = {.fd = mha_fd(mha), .events = POLLIN};
	const int64_t deadline = client_now_ms() + 3 * LONG_MS;

	while (!done()) {
		int64_t left = deadline - client_now_ms();

		if (left <= 0)
			return false;
		if (poll(&item, 1, (int)left) > 0)
			cr_expect_eq(mha_process(mha, &error), 0, "%s", error.text);
	}
	return true;
}

static void listen_to(bool events, bool resume, uint64_t since)
{
	struct mha_listener listener = MHA_LISTENER_INIT;

	pthread_mutex_init(&heard.lock, NULL);
	listener.arg = &heard;
	listener.changed = on_change;
	listener.event = events ? on_event : NULL;
	listener.resume = resume;
	listener.since_index = since;
	cr_expect_eq(mha_fd(mha), -1);
	cr_expect_eq(mha_process(mha, &error), MHA_ERR_INVALID);
	cr_assert_eq(mha_listen(mha, &listener, &error), 0, "%s", error.text);
	cr_expect_eq(mha_listen(mha, &listener, &error), MHA_ERR_EXISTS);
}

static bool found(void)
{
	return heard.last_kind == MHA_LEADER_FOUND;
}

static bool lost(void)
{
	return heard.last_kind == MHA_LEADER_LOST;
}

static bool back(void)
{
	return heard.last_kind == MHA_LEADER_BACK;
}

static bool changed(void)
{
	return heard.last_kind == MHA_LEADER_CHANGED;
}

Test(mha_listen, changes_are_told_in_order)
{
	struct fake leader = leading(5);

	start(1);
	set_usual();
	heard.nested = true;
	listen_to(false, false, 0);
	cr_assert(turn_until(found));
	cr_expect_str_eq(heard.last_name, "n2");
	/* It says itself that it has no lease any more. */
	set(2, following(5, 2, 0x5000));
	cr_assert(turn_until(lost));
	cr_expect_str_eq(heard.last_old, "n2");
	cr_expect_eq(heard.last_epoch, 5);
	set(2, leader);
	cr_assert(turn_until(back));
	/* It is cut off: its lease runs out unrenewed. */
	leader.lease_ms = 400;
	set(2, leader);
	heard.last_kind = 0;
	usleep(300000);
	(void)mha_process(mha, NULL);
	set(2, (struct fake){.silent = true});
	set(1, following(5, 2, 0x5000));
	heard.last_kind = 0;
	/* A claim with an older epoch is told to nobody. */
	set(3, leading(4));
	set(1, following(4, 3, 0x5000));
	cr_assert(turn_until(lost));
	set(3, leading(7));
	cr_assert(turn_until(changed));
	cr_expect_str_eq(heard.last_name, "n3");
	cr_expect_str_eq(heard.last_old, "n2");
	cr_expect_eq(heard.last_epoch, 7);
	cr_expect_not(heard.went_back);
}

Test(mha_listen, a_newer_epoch_anywhere_ends_the_old_leader)
{
	start(1);
	set_usual();
	listen_to(false, false, 0);
	cr_assert(turn_until(found));
	/* The old leader goes on claiming; another one was assigned epoch 6 and does not serve yet.
	 */
	set(3, following(6, 3, 0x5000));
	cr_assert(turn_until(lost));
	set(3, leading(6));
	cr_assert(turn_until(changed));
	cr_expect_str_eq(heard.last_name, "n3");
	cr_expect_not(heard.went_back);
}

static unsigned wanted_events;

static bool events_came(void)
{
	return heard.events >= wanted_events;
}

static bool gap_came(void)
{
	return heard.gaps > 0;
}

Test(mha_listen, events_come_as_they_happen)
{
	start(1);
	set_usual();
	for (unsigned n = 1; n <= 3; n++)
		fake_agents_event(agents, n, 10, 0, "failover.opened");
	listen_to(true, false, 0);
	cr_assert(turn_until(found));
	for (unsigned i = 0; i < 20 && fake_agents_asked(agents, 2) < 4; i++)
		cr_assert(turn_until(found));
	for (uint32_t sub = 1; sub <= 5; sub++) {
		wanted_events = heard.events + 1;
		for (unsigned n = 1; n <= 3; n++)
			fake_agents_event(agents, n, 11, sub, "record.changed");
		cr_assert(turn_until(events_came));
	}
	cr_expect_not(heard.out_of_order);
	cr_expect_eq(heard.gaps, 0);
	cr_expect_eq(heard.last_index, 11);
}

Test(mha_listen, events_are_replayed_and_gaps_are_told)
{
	struct fake leader = leading(5);

	start(1);
	set_usual();
	for (unsigned n = 1; n <= 3; n++) {
		for (uint64_t index = 10; index < 15; index++)
			fake_agents_event(agents, n, index, 0, "record.changed");
	}
	wanted_events = 3;
	listen_to(true, true, 11);
	cr_assert(turn_until(events_came));
	cr_expect_eq(heard.events, 3, "12, 13 and 14");
	cr_expect_eq(heard.gaps, 0);
	/* The agent says that it has forgotten some. */
	leader.gap = true;
	set(2, leader);
	wanted_events = 4;
	for (unsigned n = 1; n <= 3; n++)
		fake_agents_event(agents, n, 30, 0, "record.changed");
	cr_assert(turn_until(events_came));
	if (heard.gaps == 0) {
		struct fake forgetful = following(5, 2, 0x5000);

		/* The stream was at another member than the leader. */
		forgetful.gap = true;
		set(1, forgetful);
		set(3, forgetful);
		for (unsigned n = 1; n <= 3; n++)
			fake_agents_event(agents, n, 31, 0, "record.changed");
		cr_assert(turn_until(gap_came));
	}
	cr_expect_not(heard.out_of_order);
}

Test(mha_listen, the_stream_moves_on_when_its_member_is_lost)
{
	start(1);
	set_usual();
	for (unsigned n = 1; n <= 3; n++)
		fake_agents_event(agents, n, 10, 0, "failover.opened");
	listen_to(true, true, 9);
	wanted_events = 1;
	cr_assert(turn_until(events_came));
	set(1, (struct fake){.silent = true});
	set(2, (struct fake){.silent = true});
	fake_agents_event(agents, 3, 11, 0, "record.changed");
	wanted_events = 2;
	cr_assert(turn_until(events_came));
	cr_expect_not(heard.out_of_order);
}

Test(mha_listen, an_agent_without_room_is_polled)
{
	struct fake crowded = following(5, 2, 0x5000);

	start(1);
	crowded.crowded = true;
	set(1, crowded);
	set(3, crowded);
	crowded = leading(5);
	crowded.crowded = true;
	set(2, crowded);
	for (unsigned n = 1; n <= 3; n++)
		fake_agents_event(agents, n, 10, 0, "failover.opened");
	listen_to(true, true, 10);
	cr_assert(turn_until(found));
	for (unsigned n = 1; n <= 3; n++)
		fake_agents_event(agents, n, 11, 0, "record.changed");
	wanted_events = 1;
	cr_assert(turn_until(events_came));
}

static void *ask_often(void *arg)
{
	unsigned *failed = arg;

	for (unsigned i = 0; i < 10; i++) {
		struct mha_leader leader = MHA_LEADER_INIT;
		struct mha_want want = MHA_WANT_INIT;
		struct mha_target target = MHA_TARGET_INIT;

		want.role = MHA_ANY;
		*failed += mha_get_leader(mha, &leader, LONG_MS, NULL) < 0 ||
			   strcmp(leader.name, "n2") != 0 ||
			   mha_route(mha, &want, &target, LONG_MS, NULL) < 0;
	}
	return NULL;
}

Test(mha_listen, one_handle_serves_many_threads)
{
	pthread_t threads[4];
	unsigned failed[4] = {0};
	int kind = 0;

	start(1);
	set_usual();
	cr_expect_eq(mha_start_thread(mha, &error), MHA_ERR_INVALID, "nobody listens yet");
	listen_to(true, false, 0);
	cr_assert_eq(mha_start_thread(mha, &error), 0, "%s", error.text);
	cr_expect_eq(mha_start_thread(mha, &error), MHA_ERR_EXISTS);
	for (unsigned i = 0; i < 4; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, ask_often, &failed[i]), 0);
	for (unsigned i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		cr_expect_eq(failed[i], 0);
	}
	for (int64_t until = client_now_ms() + LONG_MS; client_now_ms() < until && kind == 0;) {
		pthread_mutex_lock(&heard.lock);
		kind = heard.last_kind;
		pthread_mutex_unlock(&heard.lock);
		usleep(1000);
	}
	cr_expect_eq(kind, MHA_LEADER_FOUND);
	mha_stop_thread(mha);
	mha_stop_thread(mha);
	cr_expect_eq(mha_start_thread(mha, &error), 0, "%s", error.text);
}
