/*
 * libmha used by many threads at once, as its header allows. A plain program, because the
 * library of the unit tests does not live under ThreadSanitizer. Stand-in agents change the leader
 * all the time; what must hold is checked here, what must not be touched twice by the sanitizer.
 *
 * usage: libmha_threads [ROUNDS]
 */
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/macros.h"
#include "client/mha.h"
#include "fake_agents.h"

#define ROUNDS    60
#define LONG_MS   60000 /* for what must come; how fast it comes is not judged */
#define BRIEF_MS  200   /* for what is worth trying while leaders change */
#define CHANGE_MS 15
#define STOPS     10
#define DELAY_MS  20 /* of a callback that is waited for */

/* Everything that threads share besides the handle. */
struct world {
	struct fake_agents *agents;
	struct mha *mha;
	unsigned rounds;
	atomic_uint busy; /* threads that are not done */
	atomic_uint inside;
	atomic_uint changes;
	atomic_uint events;
	atomic_uint answers;
	uint64_t told; /* by the callback, which runs in one thread at a time */
};

static void fail(const char *what, const struct mha_error *error)
{
	fprintf(stderr, "libmha_threads: %s: %s\n", what, error->text);
	abort();
}

/* An answer, or one of those that a change of leaders makes. */
static bool answered(int rc, const char *what, const struct mha_error *error)
{
	if (rc != 0 && rc != MHA_ERR_NO_LEADER && rc != MHA_ERR_TIMEOUT && rc != MHA_ERR_NO_REPLICA)
		fail(what, error);
	return rc == 0;
}

static void set(struct fake_agents *agents, unsigned leader, uint64_t epoch)
{
	for (unsigned n = 1; n <= FAKES_MAX; n++) {
		const struct fake fake = {.leads = n == leader,
					  .record = leader,
					  .epoch = epoch,
					  .timeline = 3,
					  .flushed = 0x5000 + epoch,
					  .replayed = 0x5000 + epoch,
					  .streaming = n != leader};

		fake_agents_set(agents, n, &fake);
	}
}

static struct mha *open_handle(struct fake_agents *agents)
{
	struct mha_options options = MHA_OPTIONS_INIT;
	struct mha_error error = {0};
	struct mha *mha;

	options.seeds = fake_agents_seed(agents, 1);
	options.poll_ms = 50;
	if (mha_open(&mha, &options, &error) != 0)
		fail("open", &error);
	return mha;
}

/* -- callbacks ------------------------------------------------------------------------------- */

static void on_change(void *arg, const struct mha_change *change)
{
	struct world *world = arg;
	struct mha_leader leader = MHA_LEADER_INIT;
	struct mha_error error = {0};

	CHECK(atomic_fetch_add(&world->inside, 1) == 0);
	CHECK(change->epoch >= world->told);
	world->told = change->epoch;
	(void)answered(mha_get_leader(world->mha, &leader, BRIEF_MS, &error), "in a callback",
		       &error);
	CHECK(mha_process(world->mha, &error) == 0);
	atomic_fetch_add(&world->changes, 1);
	CHECK(atomic_fetch_sub(&world->inside, 1) == 1);
}

static void on_event(void *arg, const struct mha_event *event)
{
	struct world *world = arg;

	CHECK(atomic_fetch_add(&world->inside, 1) == 0);
	CHECK(event->name != NULL && event->json != NULL);
	atomic_fetch_add(&world->events, 1);
	CHECK(atomic_fetch_sub(&world->inside, 1) == 1);
}

/* -- what threads do on one handle ----------------------------------------------------------- */

static void ask(struct world *world)
{
	uint64_t newest = 0;

	for (unsigned i = 0; i < world->rounds; i++) {
		struct mha_leader leader = MHA_LEADER_INIT;
		struct mha_error error = {0};

		if (!answered(mha_get_leader(world->mha, &leader, LONG_MS, &error), "leader",
			      &error))
			continue;
		CHECK(leader.epoch >= newest);
		newest = leader.epoch;
		atomic_fetch_add(&world->answers, 1);
	}
}

static void route(struct world *world)
{
	static const char *const params[] = {"dbname", "a b", NULL};

	for (unsigned i = 0; i < world->rounds; i++) {
		struct mha_want want = MHA_WANT_INIT;
		struct mha_error error = {0};
		char *text = NULL;

		want.role = MHA_PRIMARY + (int)(i % 3);
		if (!answered(mha_conninfo(world->mha, &want, params, LONG_MS, &text, &error),
			      "conninfo", &error))
			continue;
		CHECK(strstr(text, "dbname='a b'") != NULL);
		mha_free(text);
		atomic_fetch_add(&world->answers, 1);
	}
}

static void view(struct world *world)
{
	for (unsigned i = 0; i < world->rounds; i++) {
		struct mha_cluster *cluster = NULL;
		struct mha_error error = {0};

		if (!answered(mha_get_cluster(world->mha, &cluster, LONG_MS, &error), "cluster",
			      &error))
			continue;
		CHECK(cluster->member_count == FAKES_MAX);
		mha_cluster_free(cluster);
	}
}

static void process(struct world *world)
{
	for (unsigned i = 0; i < world->rounds; i++) {
		struct pollfd item = {.fd = mha_fd(world->mha), .events = POLLIN};
		struct mha_error error = {0};

		CHECK(poll(&item, 1, CHANGE_MS) >= 0);
		if (mha_process(world->mha, &error) != 0)
			fail("process", &error);
	}
}

/* Its own thread comes and goes; two of these meet each other. */
static void start_and_stop(struct world *world)
{
	for (unsigned i = 0; i < world->rounds; i++) {
		struct mha_error error = {0};
		int rc = mha_start_thread(world->mha, &error);

		if (rc != 0 && rc != MHA_ERR_EXISTS)
			fail("start", &error);
		poll(NULL, 0, CHANGE_MS);
		mha_stop_thread(world->mha);
	}
}

/* Handles of its own, which end in the middle of what is told. */
static void come_and_go(struct world *world)
{
	for (unsigned i = 0; i < world->rounds; i++) {
		struct mha_listener listener = MHA_LISTENER_INIT;
		struct world *mine = calloc(1, sizeof(*mine));
		struct mha_leader leader = MHA_LEADER_INIT;
		struct mha_error error = {0};

		CHECK(mine != NULL);
		mine->mha = open_handle(world->agents);
		listener.arg = mine;
		listener.changed = on_change;
		listener.event = on_event;
		if (mha_listen(mine->mha, &listener, &error) != 0 ||
		    mha_start_thread(mine->mha, &error) != 0)
			fail("listen", &error);
		if (i % 2 == 0)
			(void)answered(mha_get_leader(mine->mha, &leader, LONG_MS, &error),
				       "leader", &error);
		mha_close(mine->mha);
		CHECK(atomic_load(&mine->inside) == 0);
		free(mine);
	}
}

static const struct job {
	void (*run)(struct world *world);
} jobs[] = {{ask},     {ask},        {route},          {route},
	    {view},    {process},    {start_and_stop}, {start_and_stop},
	    {process}, {come_and_go}};

struct thread {
	pthread_t id;
	struct world *world;
	const struct job *job;
};

static void *run(void *arg)
{
	const struct thread *thread = arg;

	thread->job->run(thread->world);
	atomic_fetch_sub(&thread->world->busy, 1);
	return NULL;
}

/* All of them at once, while the leader and the events change. */
static void together(struct fake_agents *agents, unsigned rounds)
{
	struct world world = {.agents = agents, .rounds = rounds, .mha = open_handle(agents)};
	struct mha_listener listener = MHA_LISTENER_INIT;
	struct thread threads[COUNT_OF(jobs)];
	struct mha_error error = {0};
	uint64_t epoch = 1;

	set(agents, 1, epoch);
	listener.arg = &world;
	listener.changed = on_change;
	listener.event = on_event;
	if (mha_listen(world.mha, &listener, &error) != 0)
		fail("listen", &error);
	atomic_store(&world.busy, COUNT_OF(jobs));
	for (unsigned i = 0; i < COUNT_OF(jobs); i++) {
		threads[i] = (struct thread){.world = &world, .job = &jobs[i]};
		CHECK(pthread_create(&threads[i].id, NULL, run, &threads[i]) == 0);
	}
	while (atomic_load(&world.busy) > 0) {
		epoch++;
		set(agents, (unsigned)(epoch % FAKES_MAX) + 1, epoch);
		for (unsigned n = 1; n <= FAKES_MAX; n++)
			fake_agents_event(agents, n, epoch, 0, "leader.changed");
		poll(NULL, 0, CHANGE_MS);
	}
	for (unsigned i = 0; i < COUNT_OF(jobs); i++)
		CHECK(pthread_join(threads[i].id, NULL) == 0);
	/* What was not told while nobody looked is told now. */
	if (mha_start_thread(world.mha, &error) != 0)
		fail("start", &error);
	while (atomic_load(&world.changes) < 2 || atomic_load(&world.events) < 1) {
		epoch++;
		set(agents, (unsigned)(epoch % FAKES_MAX) + 1, epoch);
		for (unsigned n = 1; n <= FAKES_MAX; n++)
			fake_agents_event(agents, n, epoch, 0, "leader.changed");
		poll(NULL, 0, CHANGE_MS);
	}
	mha_close(world.mha);
	CHECK(atomic_load(&world.inside) == 0 && atomic_load(&world.answers) > 0);
	printf("%zu threads on one handle, %u rounds each: epoch %llu, %u answers, %u changes and "
	       "%u events told\n",
	       COUNT_OF(jobs), rounds, (unsigned long long)epoch, atomic_load(&world.answers),
	       atomic_load(&world.changes), atomic_load(&world.events));
}

/* -- whoever stops the thread has waited for its callback ------------------------------------- */

static void on_slow_event(void *arg, const struct mha_event *event)
{
	struct world *world = arg;

	UNUSED(event);
	atomic_store(&world->inside, 1);
	poll(NULL, 0, DELAY_MS);
	atomic_store(&world->inside, 0);
}

static void *stop(void *arg)
{
	struct world *world = arg;

	mha_stop_thread(world->mha);
	CHECK(atomic_load(&world->inside) == 0);
	return NULL;
}

static void stop_twice(struct fake_agents *agents)
{
	struct world world = {.agents = agents, .mha = open_handle(agents)};
	struct mha_listener listener = MHA_LISTENER_INIT;
	struct mha_error error = {0};
	uint64_t number = UINT64_C(1) << 32;

	listener.arg = &world;
	listener.event = on_slow_event;
	if (mha_listen(world.mha, &listener, &error) != 0)
		fail("listen", &error);
	for (unsigned i = 0; i < STOPS; i++) {
		pthread_t stoppers[2];

		if (mha_start_thread(world.mha, &error) != 0)
			fail("start", &error);
		while (atomic_load(&world.inside) == 0) {
			number++;
			for (unsigned n = 1; n <= FAKES_MAX; n++)
				fake_agents_event(agents, n, number, 0, "slow");
			poll(NULL, 0, 1);
		}
		for (unsigned k = 0; k < COUNT_OF(stoppers); k++)
			CHECK(pthread_create(&stoppers[k], NULL, stop, &world) == 0);
		for (unsigned k = 0; k < COUNT_OF(stoppers); k++)
			CHECK(pthread_join(stoppers[k], NULL) == 0);
	}
	mha_close(world.mha);
	printf("%d times two threads stopped a third one in its callback\n", STOPS);
}

int main(int argc, char **argv)
{
	unsigned rounds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : ROUNDS;
	struct fake_agents *agents = fake_agents_open(FAKES_MAX, NULL);

	together(agents, rounds);
	stop_twice(agents);
	fake_agents_close(agents);
	return 0;
}
