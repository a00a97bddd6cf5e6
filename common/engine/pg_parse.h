/* PostgreSQL's answers and files, as values. Pure: text in, values out, no I/O. */
#ifndef MHA_ENGINE_PG_PARSE_H
#define MHA_ENGINE_PG_PARSE_H

#include <sys/types.h>

#include "base/err.h"
#include "conf/conf.h"
#include "core/types.h"

/* Member n streams under this application_name followed by its id. */
#define PG_MEMBER_PREFIX "mha_n"
/* The standby that does not exist: a rule that nobody can satisfy. */
#define PG_NOBODY "mha4rdb_nobody"

/*
 * synchronous_standby_names as pg_format_rule() writes it. ERR_INVALID: somebody else wrote it,
 * or it is damaged; such a rule promises nothing that we know of.
 */
MUST_CHECK int pg_parse_rule(const char *text, struct sync_rule *rule, struct err *why);

#define PG_RULE_SIZE 256
/*
 * Write `rule`. An empty set with need > 0 becomes a rule that nobody can satisfy; need = 0 is '':
 * commits wait for nobody, whoever the members are.
 */
void pg_format_rule(struct sync_rule rule, char text[PG_RULE_SIZE]);

/* "mha_n<id>" -> id; NODE_NONE for anything else. */
node_id pg_parse_member(const char *application_name);

/*
 * A timeline history file. ERR_CORRUPT names the line. Only the newest WAL_HISTORY_MAX are kept: a
 * history has a line for each promotion that there ever was.
 */
MUST_CHECK int pg_parse_history(const char *text, size_t size, struct wal_position *position,
				struct err *why);
/* The same line by line, from a `position` without branches on; `number` is the line's, from 1. */
MUST_CHECK int pg_parse_history_line(const char *text, size_t length, unsigned number,
				     struct wal_position *position, struct err *why);

/* The member whose address and port a WAL receiver names. NODE_NONE: none. */
node_id pg_find_member(const struct conf *conf, const char *host, const char *port);

enum pg_pidfile_status { PIDFILE_STARTING, PIDFILE_STOPPING, PIDFILE_STANDBY, PIDFILE_READY };

struct pg_pidfile {
	pid_t pid;       /* of the process that owns the directory */
	bool postmaster; /* false: a single-user backend */
	enum pg_pidfile_status status;
};

/* postmaster.pid. ERR_CORRUPT: not (yet) a whole one. */
MUST_CHECK int pg_parse_pidfile(const char *text, struct pg_pidfile *pidfile, struct err *why);

/*
 * A progress line of pg_basebackup or pg_rewind: "  123/456 kB (27%)...". True when it is one;
 * bytes in `done` and `total`.
 */
bool pg_parse_progress(const char *line, uint64_t *done, uint64_t *total);

#endif
