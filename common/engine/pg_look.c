#include "engine/pg_look.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "engine/engine.h"
#include "engine/pg_parse.h"

enum look_column {
	LOOK_RECOVERY,
	LOOK_REPLAYED,
	LOOK_RECEIVED,
	LOOK_INSERTED,
	LOOK_RECEIVERS,
	LOOK_STARTUP_WAIT,
	LOOK_HOST,
	LOOK_PORT,
	LOOK_PROMISE,
	LOOK_EPOCH,
	LOOK_WRITTEN,
	LOOK_RULE_WRITTEN,
	LOOK_NAMES,
	LOOK_UPSTREAM_EMPTY,
	LOOK_COLUMNS
};

enum sender_column {
	SENDER_PID,
	SENDER_NAME,
	SENDER_STATE,
	SENDER_FLUSHED,
	SENDER_REPLAYED,
	SENDER_WAIT,
	SENDER_SENT,
	SENDER_COLUMNS
};

static const char *cell(const PGresult *result, int row, int column)
{
	return PQgetvalue(result, row, column); /* "" for NULL */
}

/* NULL and '' are 0. */
static bool cell_lsn(const PGresult *result, int row, int column, wal_lsn *lsn)
{
	*lsn = 0;
	return cell(result, row, column)[0] == '\0' ||
	       text_parse_lsn(cell(result, row, column), lsn);
}

static bool cell_number(const PGresult *result, int row, int column, uint64_t *number)
{
	*number = 0;
	return cell(result, row, column)[0] == '\0' ||
	       text_parse_u64(cell(result, row, column), number);
}

static int parse_main(struct pg_look *look, const PGresult *result, struct err *why)
{
	const char *wait;
	uint64_t receivers;

	if (PQntuples(result) != 1 || PQnfields(result) != LOOK_COLUMNS)
		return err_set(why, ERR_CORRUPT, "the look has %d rows of %d columns",
			       PQntuples(result), PQnfields(result));
	look->recovery = strcmp(cell(result, 0, LOOK_RECOVERY), "t") == 0;
	look->upstream_empty = strcmp(cell(result, 0, LOOK_UPSTREAM_EMPTY), "t") == 0;
	if (!cell_lsn(result, 0, LOOK_REPLAYED, &look->replayed) ||
	    !cell_lsn(result, 0, LOOK_RECEIVED, &look->received) ||
	    !cell_lsn(result, 0, LOOK_INSERTED, &look->inserted))
		return err_set(why, ERR_CORRUPT, "the look has an LSN that is none");
	/* The custom settings are written by dbctl alone; before that they are not there. */
	if (!cell_number(result, 0, LOOK_PROMISE, &look->promise) ||
	    !cell_number(result, 0, LOOK_EPOCH, &look->epoch) ||
	    !cell_number(result, 0, LOOK_WRITTEN, &look->written) ||
	    !cell_number(result, 0, LOOK_RULE_WRITTEN, &look->rule_written) ||
	    !cell_number(result, 0, LOOK_RECEIVERS, &receivers))
		return err_set(why, ERR_CORRUPT, "a setting mha4rdb.* is no number");
	look->receivers = receivers > 100 ? 100 : (unsigned)receivers;
	if (!text_copy(look->host, sizeof(look->host), cell(result, 0, LOOK_HOST)) ||
	    !text_copy(look->port, sizeof(look->port), cell(result, 0, LOOK_PORT)))
		look->host[0] = look->port[0] = '\0'; /* no member has so long an address */
	if (!text_copy(look->names, sizeof(look->names), cell(result, 0, LOOK_NAMES)))
		snprintf(look->names, sizeof(look->names), "too long");
	wait = cell(result, 0, LOOK_STARTUP_WAIT);
	look->exhausted = look->recovery && strcmp(wait, "RecoveryRetrieveRetryInterval") == 0;
	return 0;
}

static int parse_senders(struct pg_look *look, const PGresult *result, struct err *why)
{
	if (PQnfields(result) != SENDER_COLUMNS)
		return err_set(why, ERR_CORRUPT, "the senders have %d columns", PQnfields(result));
	look->sender_count = 0;
	for (int row = 0; row < PQntuples(result); row++) {
		struct pg_sender *sender = &look->senders[look->sender_count];
		uint64_t pid;

		if (look->sender_count == PG_SENDERS_MAX) {
			look->senders_cut = true;
			return 0;
		}
		if (!cell_number(result, row, SENDER_PID, &pid) ||
		    !cell_lsn(result, row, SENDER_SENT, &sender->sent) ||
		    !cell_lsn(result, row, SENDER_FLUSHED, &sender->flushed) ||
		    !cell_lsn(result, row, SENDER_REPLAYED, &sender->replayed))
			return err_set(why, ERR_CORRUPT, "a sender has a number that is none");
		sender->pid = (int)pid;
		sender->node = pg_parse_member(cell(result, row, SENDER_NAME));
		sender->streaming = strcmp(cell(result, row, SENDER_STATE), "streaming") == 0;
		/* The others have just connected, or copy the files. */
		sender->active = strcmp(cell(result, row, SENDER_STATE), "startup") != 0 &&
				 strcmp(cell(result, row, SENDER_STATE), "backup") != 0;
		sender->idle = strcmp(cell(result, row, SENDER_WAIT), "WalSenderMain") == 0;
		look->sender_count++;
	}
	return 0;
}

static int parse_locks(struct pg_look *look, const PGresult *result, struct err *why)
{
	uint64_t waiting;

	if (PQntuples(result) != 1 || !cell_number(result, 0, 0, &waiting))
		return err_set(why, ERR_CORRUPT, "the number of locks is none");
	look->locked = waiting > 0;
	return 0;
}

/* No row: nothing was ever found, or the data have no checksums. */
static int parse_checksums(struct pg_look *look, const PGresult *result, struct err *why)
{
	look->checksums_asked = true;
	if (PQntuples(result) == 0)
		return 0;
	if (PQnfields(result) != 3 || PQntuples(result) != 1 ||
	    !cell_number(result, 0, 0, &look->checksum_failures) ||
	    !cell_number(result, 0, 1, &look->checksum_failed_ms))
		return err_set(why, ERR_CORRUPT, "the number of checksum failures is none");
	if (!text_copy(look->checksum_database, sizeof(look->checksum_database),
		       cell(result, 0, 2)))
		look->checksum_database[0] = '\0';
	return 0;
}

int pg_look_parse(struct pg_look *look, PGresult *const results[], unsigned count, struct err *why)
{
	int rc;

	memset(look, 0, sizeof(*look));
	if (count < 3 || count > 5)
		return err_set(why, ERR_CORRUPT, "the look has %u results", count);
	if ((rc = parse_main(look, results[0], why)) < 0 ||
	    (rc = parse_senders(look, results[1], why)) < 0)
		return rc;
	if (PQntuples(results[2]) != 1 ||
	    !cell_lsn(results[2], 0, 0, look->recovery ? &look->replayed : &look->flushed))
		return err_set(why, ERR_CORRUPT, "the end of the WAL is none");
	for (unsigned i = 3; i < count; i++) {
		rc = PQnfields(results[i]) == 1 ? parse_locks(look, results[i], why)
						: parse_checksums(look, results[i], why);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int pg_look_identify(struct pg_look *look, const PGresult *result, struct err *why)
{
	uint64_t timeline;

	if (PQntuples(result) != 1 || PQnfields(result) < 3 ||
	    !cell_number(result, 0, 0, &look->system_id) || !cell_number(result, 0, 1, &timeline) ||
	    timeline == 0 || timeline > UINT32_MAX || !cell_lsn(result, 0, 2, &look->position))
		return err_set(why, ERR_CORRUPT, "IDENTIFY_SYSTEM has an unexpected answer");
	look->timeline = (uint32_t)timeline;
	return 0;
}
