/* What the tests of libmha share: three stand-in agents and a handle. One test per process. */
#ifndef MHA_UNIT_MHA_FIXTURE_H
#define MHA_UNIT_MHA_FIXTURE_H

#include <criterion/criterion.h>
#include <libpq-fe.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

#include "client/handle.h"
#include "fake_agents.h"
#include "wire/key.h"

#define LONG_MS  60000 /* for what must come; how fast it comes is not judged */
#define BRIEF_MS 3000  /* for what does not come, or comes from agents that answer at once */

static struct fake_agents *agents;
static struct mha *mha;
static struct mha_error error;

static inline void open_with(const struct mha_options *options)
{
	cr_assert_eq(mha_open(&mha, options, &error), 0, "%s", error.text);
}

static inline void start(unsigned seed)
{
	struct mha_options options = MHA_OPTIONS_INIT;

	agents = fake_agents_open(3, NULL);
	options.seeds = fake_agents_seed(agents, seed);
	options.poll_ms = 100;
	open_with(&options);
}

static inline void end(void)
{
	mha_close(mha);
	if (agents != NULL)
		fake_agents_close(agents);
}

static inline struct fake leading(uint64_t epoch)
{
	return (struct fake){.leads = true, .epoch = epoch, .timeline = 3, .flushed = 0x5000};
}

static inline struct fake following(uint64_t epoch, unsigned record, uint64_t replayed)
{
	return (struct fake){.epoch = epoch,
			     .record = record,
			     .timeline = 3,
			     .flushed = replayed,
			     .replayed = replayed,
			     .streaming = true};
}

static inline void set(unsigned n, struct fake fake)
{
	fake_agents_set(agents, n, &fake);
}

/* n2 leads epoch 5; n1 and n3 follow. */
static inline void set_usual(void)
{
	set(1, following(5, 2, 0x5000));
	set(2, leading(5));
	set(3, following(5, 2, 0x4000));
}

#endif
