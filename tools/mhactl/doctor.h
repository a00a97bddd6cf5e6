/*
 * What `mhactl doctor` judges. The facts are measured by probe.c; every rule is a row of a table
 * and pure, so that each can be tested with made-up facts. A fact that is not known makes no
 * finding, except where not knowing is itself what is wrong.
 */
#ifndef MHA_MHACTL_DOCTOR_H
#define MHA_MHACTL_DOCTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "client.pb-c.h"
#include "conf/conf.h"
#include "view/source.h"

enum finding_level { FINDING_OK = 0, FINDING_WARNING, FINDING_ERROR, FINDING_LEVEL_COUNT };

#define FINDINGS_MAX     160
#define FINDING_TEXT     320
#define DOCTOR_PAIRS_MAX 160
#define DOCTOR_PORTS_MAX (2 * CONF_MEMBERS_MAX)

struct finding {
	enum finding_level level;
	const char *area; /* "host", "keys", ...: static */
	const char *name; /* of the rule: static, stable */
	char text[FINDING_TEXT];
	char remedy[FINDING_TEXT]; /* empty: nothing is to be done */
};

struct findings {
	unsigned count;
	struct finding list[FINDINGS_MAX];
};

enum seen { SEEN_UNKNOWN = 0, SEEN_NO, SEEN_YES };

struct doctor_disk {
	const char *what; /* the option that names the directory; NULL: none */
	char path[200];
	bool known;
	uint64_t free_bytes; /* for who is not root */
	uint64_t total_bytes;
};

/* One row of what the database says of itself. */
struct doctor_pair {
	char name[64];
	char value[256];
};

struct doctor_port {
	char member[NODE_NAME_SIZE];
	const char *what; /* "agent" or "database" */
	char address[64];
	uint16_t port;
	bool open;
	char why[80]; /* not open */
};

struct doctor_facts {
	bool root;
	bool local; /* the agent asked is this host's */
	uint64_t now_ns;

	/* host */
	char clock_source[32];  /* empty: not known */
	enum seen clock_synced; /* by adjtimex */
	int64_t clock_error_us; /* its estimate of the greatest error; with clock_synced known */
	enum seen pidfd;
	int landlock;           /* version; 0: none, -1: not looked at */
	enum seen nftables;     /* the kernel answers about tables */
	enum seen overcommits;  /* vm.overcommit_memory is not 2 */
	uint64_t memlock_bytes; /* limits of the running consensus worker; UINT64_MAX: none */
	uint64_t rtprio;
	bool limits_known;

	/* configuration: `conf` NULL: `conf_why` says why it could not be read */
	const struct conf *conf;
	const char *conf_path;
	struct err conf_why;
	enum seen conf_trusted; /* root's, and written by nobody else */

	/* secrets, looked at by root only: code 0: good */
	bool secrets_known;
	struct err key_why;
	char public_key[41]; /* that belongs to the node's key; empty: not known */
	struct err password_why;
	struct err access_why; /* the files of client.* and http.* */

	/* the agent */
	const Mha__Client__Status *status; /* NULL: `status_why` */
	struct err status_why;
	const char *version;            /* of this program */
	const struct sections *segment; /* NULL: not this host's, or none */

	enum seen fence_table; /* nftables table inet mha4rdb */

	struct doctor_disk disks[3];
	unsigned port_count;
	struct doctor_port ports[DOCTOR_PORTS_MAX];

	/* the database; with `asked` false and `database_why` empty: not tried */
	bool asked;
	struct err database_why;
	unsigned pair_count;
	struct doctor_pair pairs[DOCTOR_PAIRS_MAX];
};

/* All rules, in the order of their areas. */
void doctor_judge(const struct doctor_facts *facts, struct findings *found);
/* Rows of database settings, part of it; doctor_database.c. */
void doctor_judge_database(const struct doctor_facts *facts, struct findings *found);

/* For the rules: one more finding. `remedy` may be NULL. */
void finding_add(struct findings *found, enum finding_level level, const char *area,
		 const char *name, const char *remedy, const char *format, ...) PRINTF_LIKE(6, 7);
unsigned findings_count(const struct findings *found, enum finding_level level);
const char *finding_level_name(enum finding_level level);

/* Value of the first pair of that name; NULL: there is none. */
const char *doctor_value(const struct doctor_facts *facts, const char *name);

#endif
