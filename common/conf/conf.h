/*
 * The configuration: one YAML file, every key in options.def.
 *
 * The master reads and checks the file; workers get the effective configuration, printed, in a
 * sealed memory file (they never open the file itself). conf_print() parses back to itself.
 */
#ifndef MHA_CONF_CONF_H
#define MHA_CONF_CONF_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"
#include "core/settings.h"

#define CONF_MEMBERS_MAX 9
#define CONF_PAIRS_MAX   64
#define CONF_LINES_MAX   64
#define CONF_PAIR_SIZE   256

/* Otherwise one of enum protection_mode. */
#define PROTECTION_AUTO 0

enum stop_policy { STOP_LEAVE, STOP_HANDOVER };
enum fence_mode { FENCE_MODE_AUTOMATIC, FENCE_MODE_REQUIRED, FENCE_MODE_OFF };
enum save_policy { SAVE_REQUIRED, SAVE_BEST_EFFORT };
enum verify_policy { VERIFY_MANIFEST, VERIFY_CONTROL };
enum old_policy { OLD_REMOVE, OLD_KEEP };
enum sandbox_mode { SANDBOX_ENFORCE, SANDBOX_LOG, SANDBOX_OFF };
enum landlock_mode { LANDLOCK_AUTOMATIC, LANDLOCK_REQUIRED, LANDLOCK_OFF };
enum watchdog_mode { WATCHDOG_OFF, WATCHDOG_AUTOMATIC, WATCHDOG_REQUIRED };
enum member_kind { MEMBER_DATA = 1, MEMBER_WITNESS = 2 };

struct conf_pair {
	char name[64];
	char value[CONF_PAIR_SIZE];
};

struct conf_member {
#define MEMBER_TEXT(key, field, size, ...) char field[size];
#define MEMBER_WORD(key, field, ...)       int field;
#define MEMBER_NUMBER(key, field, ...)     uint64_t field;
#include "conf/options.def"
};

struct conf {
#define TEXT(key, field, size, ...) char field[size];
#define WORD(key, field, ...)       int field; /* enum named by the row */
#define NUMBER(key, field, ...)     uint64_t field;
#define PAIRS(key, field, ...)                                                                     \
	unsigned field##_count;                                                                    \
	struct conf_pair field[CONF_PAIRS_MAX];
#define LINES(key, field, ...)                                                                     \
	unsigned field##_count;                                                                    \
	char field[CONF_LINES_MAX][CONF_PAIR_SIZE];
#include "conf/options.def"
	unsigned member_count;
	struct conf_member members[CONF_MEMBERS_MAX];
	unsigned self; /* index of node.name in members */
};

/* Read and check. Errors name file, line, key and reason. `conf` is valid only on success. */
MUST_CHECK int conf_read(struct conf *conf, const char *path, struct err *why);
/* The same from an open file (position 0); `name` stands in errors. */
MUST_CHECK int conf_read_fd(struct conf *conf, int fd, const char *name, struct err *why);

/* Print effective values as YAML that conf_read() accepts. */
MUST_CHECK int conf_print(const struct conf *conf, FILE *to, struct err *why);

/* One value as it is in effect, as text; of maps and lists each entry by itself. */
struct conf_value {
	const char *key;   /* "postgresql.parameters.work_mem", "members[0].name" */
	const char *value; /* as the file has it, in quotes where it is text; secrets are "***" */
	unsigned line;     /* of the file; 0: not there, a default */
	const char
		*effect; /* a change takes effect on "reload", "restart" or, for "new_log", never */
};

/*
 * Read and check the file, and give every value to `take`; what it is given lives until it returns.
 */
MUST_CHECK int conf_values(const char *path,
			   void (*take)(void *arg, const struct conf_value *value), void *arg,
			   struct err *why);
/*
 * Overwrite what looks like a secret in `text`, the value of `key`: all of it where the key's name
 * says so, else passwords in connection strings and URLs.
 */
void conf_redact(const char *key, char *text);

/*
 * Compare a newly read configuration with the running one. Returns 0 when everything that
 * changed takes effect on reload; ERR_REFUSED names the first key that needs a restart.
 */
MUST_CHECK int conf_reload_check(const struct conf *running, const struct conf *fresh,
				 struct err *why);

/* This node's row. */
const struct conf_member *conf_self(const struct conf *conf);
/* NULL when no member has that id. */
const struct conf_member *conf_member_by_id(const struct conf *conf, uint64_t id);
/* A 64-bit digest of cluster.id, never 0: what goes into messages and log entries. */
uint64_t conf_cluster_digest(const struct conf *conf);
/* Digest of the member's name and public key, never 0: whom its id is bound to. */
uint64_t conf_member_identity(const struct conf_member *member);
/* Digest of all rows of `members`, in whatever order they stand: equal lists, equal numbers. */
uint64_t conf_roster(const struct conf *conf);
/* How many of the first members run a database. */
unsigned conf_data_members(const struct conf *conf);
/* What a new log begins with: the file's values, defaults resolved. */
struct settings conf_settings(const struct conf *conf);
/* k of those settings: how many standbys must flush a commit. */
unsigned conf_sync_need(const struct conf *conf);

#endif
