/*
 * The files that the agent writes for PostgreSQL: settings, access rules, the password file.
 * Pure formatting into a caller's stream; pg_write.c puts them on disk.
 */
#ifndef MHA_ENGINE_PG_FILES_H
#define MHA_ENGINE_PG_FILES_H

#include <stdio.h>

#include "conf/conf.h"
#include "core/order.h"
#include "engine/pg_paths.h"

/* How this node was a primary the last time. */
struct pg_served {
	uint64_t epoch; /* since when; 0: it never was, or it is not known */
	bool alone;     /* the server was told, for a time at least, to wait for nobody */
};

struct pg_settings {
	const struct conf *conf;
	const struct pg_paths *paths;
	uint64_t epoch;
	uint64_t promise;
	node_id upstream; /* NODE_NONE: from nobody */
	const char *rule; /* synchronous_standby_names */
	/* Stamps that differ with every write, and with every write that changes the rule. */
	uint64_t written;
	uint64_t rule_written;
	/* For the report about WAL that only this node has; see pg_files_read_served(). */
	struct pg_served served;
};

/* mha4rdb.conf. ERR_NOT_FOUND: the upstream is no data node. The stream's errors are the caller's.
 */
MUST_CHECK int pg_files_settings(FILE *to, const struct pg_settings *settings, struct err *why);
/* pg_hba.conf: the agent's own lines, then those of the configuration. */
void pg_files_hba(FILE *to, const struct conf *conf);
/* pg_ident.conf: the OS user that may log in as the monitor role. */
void pg_files_ident(FILE *to, const struct conf *conf, const char *monitor_os_user);
/* The password file for libpq. */
void pg_files_passfile(FILE *to, const struct conf *conf, const char *password);
/* SQL that makes the agent's roles in a new cluster. */
void pg_files_roles(FILE *to, const struct conf *conf, const char *password);

#define PG_CONNINFO_SIZE 1024
/*
 * How this node connects to `member` as the replication role. `purpose` "" is the WAL receiver's
 * own name mha_n<id>; anything else is appended to it, so that it counts for no rule. `dbname`
 * may be NULL. ERR_NOT_FOUND: the member is no data node.
 */
MUST_CHECK int pg_files_conninfo(char text[PG_CONNINFO_SIZE], const struct conf *conf,
				 const struct pg_paths *paths, node_id member, const char *purpose,
				 const char *dbname, struct err *why);

/*
 * What an earlier mha4rdb.conf says: its rule and when the rule was written. False when it does
 * not say so.
 */
bool pg_files_read_rule(const char *settings, char rule[256], uint64_t *rule_written);
/* Zeroes when it does not say. */
struct pg_served pg_files_read_served(const char *settings);
/* The epoch before which it takes no WAL; 0 when it does not say. */
uint64_t pg_files_read_promise(const char *settings);

/*
 * Remove from the text of postgresql.auto.conf, in place, the settings that are the agent's own.
 * True when there were any.
 */
bool pg_files_strip_auto(char *text);

#endif
