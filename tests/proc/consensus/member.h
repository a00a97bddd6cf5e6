/*
 * One mha-consensus process as the master would start it: its descriptors, directories and keys.
 * The test plays the master and, over the bus, the executors.
 */
#ifndef MHA_TEST_MEMBER_H
#define MHA_TEST_MEMBER_H

#include <sys/types.h>
#include <uv.h>

#include "status/status.h"
#include "wire/bus.h"
#include "wire/key.h"

#define MEMBERS   3
#define PATH_SIZE 128

struct member {
	unsigned id;
	char dir[PATH_SIZE];   /* everything of this member */
	char state[PATH_SIZE]; /* paths.state_dir */
	char run[PATH_SIZE];   /* paths.run_dir */
	pid_t pid;             /* 0: not running */
	int control;
	int exit_status; /* of the last process that ended by itself, as waitpid() says */
	struct status_map map;
	bool mapped;
	struct status_consensus seen; /* by member_look() */
};

struct rig {
	uv_loop_t loop;
	uv_timer_t turn;
	bool open;
	uint64_t now_ms; /* since rig_open() */
	uint64_t start_ns;
	char dir[64];
	unsigned election_ms;
	struct key keys[MEMBERS + 1];
	uint16_t ports[MEMBERS + 1];
	struct member members[MEMBERS + 1]; /* by id */
};

void rig_open(struct rig *rig, unsigned election_ms);
/* Kills what still runs and removes all files. */
void rig_close(struct rig *rig);
/* The same after a test that failed half-way; asserts nothing, and nothing to do after rig_close().
 */
void rig_clean(struct rig *rig);
/* What `now_ms` is at this moment: since the last turn a command may have taken its time. */
uint64_t rig_now(struct rig *rig);
/* One turn of the loop, at most 5 ms. */
void rig_turn(struct rig *rig);

void member_start(struct rig *rig, unsigned id);
/* With this secret instead of its own. */
void member_start_with(struct rig *rig, unsigned id, const char *secret);
void member_kill(struct rig *rig, unsigned id);
/* Ask for an orderly stop and wait for the end; true if it exited with 0. */
bool member_stop(struct rig *rig, unsigned id, bool handover);
/* Reads its section; false when there is none yet. */
bool member_look(struct rig *rig, unsigned id);
/* It has ended by itself; `exit_status` says how. */
bool member_ended(struct rig *rig, unsigned id);

#endif
