/* One look at the server: what was asked, what came back, and what follows from it. Pure. */
#ifndef MHA_ENGINE_PG_LOOK_H
#define MHA_ENGINE_PG_LOOK_H

#include <libpq-fe.h>

#include "base/err.h"
#include "core/types.h"

#define PG_SENDERS_MAX 64

struct pg_sender {
	int pid;
	node_id node; /* NODE_NONE: no member's receiver */
	bool streaming;
	bool active; /* it sends WAL and takes answers */
	bool idle;   /* it waits in its main loop: it reads a new configuration before anything else
		      */
	wal_lsn sent;
	wal_lsn flushed;
	wal_lsn replayed;
};

struct pg_look {
	bool recovery;
	wal_lsn flushed;  /* primary: flush LSN, read after everything else of the look */
	wal_lsn inserted; /* primary: where the next record goes */
	wal_lsn replayed; /* standby, read after everything else of the look */
	wal_lsn received; /* standby: flushed by the receiver; 0: it has not run since the start */
	unsigned receivers; /* WAL receiver processes, streaming or not */
	/*
	 * Standby: its startup process has read all WAL that is here, has stopped the receiver, and
	 * reads the configuration before it does anything else.
	 */
	bool exhausted;
	bool upstream_empty;    /* the configuration names nothing to take WAL from */
	char host[64], port[8]; /* upstream of the receiver; empty: it does not stream */
	uint64_t promise, epoch;
	uint64_t written;      /* stamp of the configuration file that this look ran under */
	uint64_t rule_written; /* stamp of its rule */
	char names[256];       /* synchronous_standby_names */
	unsigned sender_count;
	struct pg_sender senders[PG_SENDERS_MAX]; /* members first */
	bool senders_cut;                         /* there were more */
	/* Pages whose checksum the server found wrong when it read them, as it remembers. */
	bool checksums_asked;
	uint64_t checksum_failures;
	uint64_t checksum_failed_ms; /* the last time, by the wall clock */
	char checksum_database[64];  /* where; "": in the relations that all databases share */
	bool locked; /* somebody waits for a lock on a system catalog; see PG_LOOK_LOCKS */
	/* From IDENTIFY_SYSTEM, asked after the above. */
	uint64_t system_id;
	uint32_t timeline; /* 0: not known */
	wal_lsn position;
};

#define PG_LOOK_PREPARE                                                                            \
	"PREPARE mha_look AS SELECT q.r,"                                                          \
	" CASE WHEN q.r THEN pg_last_wal_replay_lsn() END,"                                        \
	" CASE WHEN q.r THEN pg_last_wal_receive_lsn() END,"                                       \
	" CASE WHEN q.r THEN NULL ELSE pg_current_wal_insert_lsn() END,"                           \
	" (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walreceiver'),"             \
	" (SELECT wait_event FROM pg_stat_activity WHERE backend_type = 'startup'),"               \
	" w.sender_host, w.sender_port,"                                                           \
	" current_setting('mha4rdb.promise', true), current_setting('mha4rdb.epoch', true),"       \
	" current_setting('mha4rdb.written', true),"                                               \
	" current_setting('mha4rdb.rule_written', true),"                                          \
	" current_setting('synchronous_standby_names'),"                                           \
	" current_setting('primary_conninfo') = '' AND current_setting('restore_command') = ''"    \
	" FROM (SELECT pg_is_in_recovery() AS r OFFSET 0) q"                                       \
	" LEFT JOIN pg_stat_wal_receiver w ON w.status = 'streaming';"                             \
	"PREPARE mha_senders AS SELECT r.pid, r.application_name, r.state, r.flush_lsn,"           \
	" r.replay_lsn, a.wait_event, r.sent_lsn FROM pg_stat_replication r JOIN "                 \
	"pg_stat_activity a"                                                                       \
	" USING (pid) ORDER BY r.application_name LIKE 'mha\\_n%' DESC"

#define PG_LOOK_QUERY                                                                              \
	"EXECUTE mha_look; EXECUTE mha_senders;"                                                   \
	" SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()"                      \
	" ELSE pg_current_wal_flush_lsn() END"

/*
 * Appended to PG_LOOK_QUERY while a new connection waits: a session that holds a system catalog
 * keeps new ones from beginning, here and, by way of the WAL, on every standby.
 */
#define PG_LOOK_LOCKS                                                                              \
	"; SELECT count(*) FROM pg_catalog.pg_locks WHERE NOT granted AND locktype = 'relation'"   \
	" AND relation < 16384"

/* Appended now and then: what the server counts by itself. */
#define PG_LOOK_CHECKSUMS                                                                          \
	"; SELECT checksum_failures, (extract(epoch FROM checksum_last_failure) * 1000)::int8,"    \
	" datname FROM pg_catalog.pg_stat_database WHERE checksum_failures > 0"                    \
	" ORDER BY checksum_last_failure DESC LIMIT 1"

/*
 * The three results of PG_LOOK_QUERY, and those of PG_LOOK_LOCKS and PG_LOOK_CHECKSUMS if they were
 * asked. ERR_CORRUPT names what is not as expected.
 */
MUST_CHECK int pg_look_parse(struct pg_look *look, PGresult *const results[], unsigned count,
			     struct err *why);
/* The result of IDENTIFY_SYSTEM. */
MUST_CHECK int pg_look_identify(struct pg_look *look, const PGresult *result, struct err *why);

#endif
