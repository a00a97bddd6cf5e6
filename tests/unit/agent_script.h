/* What the scripts share: a world that runs, and what is waited for in it. */
#ifndef MHA_TESTS_AGENT_SCRIPT_H
#define MHA_TESTS_AGENT_SCRIPT_H

#include <criterion/criterion.h>

#include "agent_world.h"

#define A 1
#define B 2
#define C 3

/* A world of the test's own (each test is a process), nothing in it yet; A leads. */
struct world *built(unsigned data, unsigned witnesses);
/* The same with A serving, all others on record and clients that write. */
struct world *started(unsigned data, unsigned witnesses);

/* The database of `host` cannot be started. */
void fail_starts(struct host *host, bool fail);

/* An operator's call that comes on record; what it becomes is on its way then. */
void expect_accepted(struct world *world, struct call call);
/* `kind` is among what stands against the call. */
bool has_blocker(const struct call_result *result, enum blocker_kind kind);

/* For world_until() */
bool serves(const struct world *world);
bool a_serves(const struct world *world);
bool b_serves(const struct world *world);
bool nobody_serves(const struct world *world);
bool all_stream(const struct world *world);
bool blocked(const struct world *world);
bool surveying(const struct world *world);
bool handing_over(const struct world *world);
bool promoting(const struct world *world);
bool opening(const struct world *world);
bool assigned_b(const struct world *world);
bool in_phase(const struct world *world, enum leader_phase phase);

/* A person makes a primary of it, behind its agent's back, and it has written since. */
void promote_by_hand(struct db *db, uint32_t timeline);

/* These rows of the leader's table were taken in this order, others may have come between. */
void expect_rows(const struct world *world, unsigned from, unsigned count,
		 const char *const rows[]);

#define EXPECT_ROWS(world, from, ...)                                                              \
	expect_rows((world), (from), sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *),       \
		    (const char *[]){__VA_ARGS__})

#endif
