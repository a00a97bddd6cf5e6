/*
 * Stand-ins for agents: up to three request sockets at one port of 127.0.0.1, .2 and .3, served by
 * one thread and answering as they were told last. Functions may be called from any thread.
 */
#ifndef MHA_UNIT_FAKE_AGENTS_H
#define MHA_UNIT_FAKE_AGENTS_H

#include <stdbool.h>
#include <stdint.h>

#define FAKES_MAX 3

/* What an agent says. All zero: a standby that knows of nothing. */
struct fake {
	bool silent;
	bool garbage;       /* bytes that are no reply, then one to nobody's question, then this */
	bool other_body;    /* answers with a leader where the status was asked for */
	bool other_version; /* of the protocol */
	bool other_cluster;
	bool leads;        /* claims an unexpired lease */
	bool crowded;      /* has no room for long polls */
	bool gap;          /* says so with every answer about events */
	int32_t code;      /* refuses everything */
	int64_t lease_ms;  /* 0: 60000 */
	unsigned record;   /* 1..3: whom it believes to be primary; 0: nobody */
	unsigned believes; /* 1..3: "known" leader by hearsay; 0: nobody */
	uint64_t epoch;
	unsigned timeline; /* of its database; that of the log is the leader's */
	uint64_t flushed;
	uint64_t replayed;
	bool streaming;
	bool maintenance;
};

struct fake_agents;

/* `secret_key`: Z85, a CURVE server key for all; NULL: none. Aborts on trouble. */
struct fake_agents *fake_agents_open(unsigned count, const char *secret_key);
void fake_agents_close(struct fake_agents *agents);
/* "tcp://127.0.0.N:PORT"; n is 1..count. Lives as long as `agents`. */
const char *fake_agents_seed(const struct fake_agents *agents, unsigned n);
void fake_agents_set(struct fake_agents *agents, unsigned n, const struct fake *fake);
/* Agent `n` has noticed something. */
void fake_agents_event(struct fake_agents *agents, unsigned n, uint64_t index, uint32_t sub,
		       const char *name);
/* How many requests agent `n` has seen. */
unsigned fake_agents_asked(struct fake_agents *agents, unsigned n);

#endif
