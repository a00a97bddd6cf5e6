/* A command line as main.c has read it, and what the verbs return. docs/man/mhactl.1 is binding. */
#ifndef MHA_MHACTL_COMMAND_H
#define MHA_MHACTL_COMMAND_H

#include <jansson.h>

#include "mhactl/fetch.h"

enum exit_status {
	EXIT_DONE = 0,
	EXIT_ERROR = 1,
	EXIT_USAGE = 2,
	EXIT_REFUSED = 3, /* nothing was changed: refused, or there is nobody to ask */
	EXIT_ROLLED_BACK = 4,
	EXIT_UNCERTAIN = 5, /* the time is up, or nobody knows the end */
	EXIT_FOUND = 6,     /* doctor: at least one error was found */
};

#define ARGUMENTS_MAX 2

struct command_line {
	struct fetch_from from;
	const char *config; /* the configuration file of this host's agent */
	bool run_dir_given;
	bool json;
	bool colours;
	uint64_t since_index;
	uint32_t since_sub;
	const char *to; /* NULL: none was given */
	uint64_t at_ms;
	uint64_t until_ms;
	uint64_t for_ms;
	const char *quorum;
	bool help;
	bool dry_run;
	bool wait;
	bool accept_loss;
	bool yes;
	bool pin;
	bool force;
	unsigned wait_ms; /* --timeout */
	unsigned argument_count;
	const char *arguments[ARGUMENTS_MAX];
};

/* Say what went wrong and which exit status that is. */
int command_failed(int rc, const struct err *why);
/* The same for a request that may have been carried out before its answer was lost. */
int command_lost(int rc, const struct err *why);

/* Print `value` and release it. Returns an exit status. */
int command_json(json_t *value);
/* The segment may be older than it looks: say on standard error where the answer comes from. */
void command_tell_source(const struct fetched *fetched);

/* The verbs that only ask. */
int run_topology(const struct command_line *line, struct fetched *fetched);
int run_config(const struct command_line *line, struct fetched *fetched);
int run_doctor(const struct command_line *line, struct fetched *fetched);

/* The verbs that change something. */
int run_switchover(const struct command_line *line, struct fetched *fetched);
int run_failover(const struct command_line *line, struct fetched *fetched);
int run_cancel(const struct command_line *line, struct fetched *fetched);
int run_mode(const struct command_line *line, struct fetched *fetched);
int run_auto_failover(const struct command_line *line, struct fetched *fetched);
int run_auto_switch(const struct command_line *line, struct fetched *fetched);
int run_pause(const struct command_line *line, struct fetched *fetched);
int run_resume(const struct command_line *line, struct fetched *fetched);
int run_maintenance(const struct command_line *line, struct fetched *fetched);
int run_restart(const struct command_line *line, struct fetched *fetched);
int run_reinit(const struct command_line *line, struct fetched *fetched);
int run_reload(const struct command_line *line, struct fetched *fetched);
int run_member(const struct command_line *line, struct fetched *fetched);

/* enroll.c: new nodes */
int run_enroll_token(const struct command_line *line, struct fetched *fetched);
int run_enrolled(const struct command_line *line, struct fetched *fetched);

/* What --wait waits for: an operation's end, an epoch's primary, or a node's new data. */
struct wait_for {
	uint64_t operation; /* 0: none */
	uint64_t epoch;     /* with operation 0 */
	const char *reinit; /* a node whose data are replaced; with operation 0 and epoch 0 */
	uint64_t since_index;
	uint32_t since_sub;
};

/* Where the event stream stands, so that nothing that comes later is missed. */
MUST_CHECK int wait_begin(const struct command_line *line, struct fetched *fetched,
			  struct wait_for *wait, struct err *why);
/*
 * Wait, printing the phases as they pass (not with --json: then the end is printed). Returns an
 * exit status.
 */
int wait_end(const struct command_line *line, struct fetched *fetched, struct wait_for *wait);

#endif
