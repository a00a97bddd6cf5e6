/* The report of a diverged tail, for people. */
#include <inttypes.h>
#include <string.h>

#include "base/text.h"
#include "engine/pg_tail.h"

static wal_lsn last_end(const struct pg_tail *tail)
{
	for (unsigned i = tail->part_count; i > 0; i--) {
		if (tail->parts[i - 1].end != 0)
			return tail->parts[i - 1].end;
	}
	return tail->fork.lsn;
}

static void put_acknowledged(FILE *to, const struct pg_tail *tail, const struct tail_facts *facts)
{
	fputs("Can a commit in it have been acknowledged to a client?\n", to);
	if (tail->commits == 0 && !tail_is_unread(tail))
		fputs("  No: no commit was found in it.\n", to);
	else if (facts->rule == TAIL_RULE_SYNC)
		fprintf(to,
			"  No: since this node was last made a primary (epoch %" PRIu64
			") every commit waited for\n"
			"  standbys, and the node that took over has all that they had confirmed.\n"
			"  Except for a session that had set synchronous_commit to local or off, "
			"or "
			"whose wait was\n  cancelled (PostgreSQL then warns that the transaction "
			"may not have been replicated).\n",
			facts->served_epoch);
	else if (facts->rule == TAIL_RULE_ALONE)
		fprintf(to,
			"  YES, it may: since this node was last made a primary (epoch %" PRIu64
			") its commits waited\n"
			"  for nobody, for a time at least. Compare the transactions below with "
			"what the clients\n  were told.\n",
			facts->served_epoch);
	else
		fputs("  Not known: this node has no record of what its commits waited for. "
		      "Somebody "
		      "else may have\n  promoted it.\n",
		      to);
}

static void put_parts(FILE *to, const struct pg_tail *tail)
{
	char begin[TEXT_LSN_SIZE], end[TEXT_LSN_SIZE];

	for (unsigned i = 0; i < tail->part_count; i++) {
		const struct tail_part *part = &tail->parts[i];

		fprintf(to, "  timeline %" PRIu32 " from %s ", part->timeline,
			text_format_lsn(part->begin, begin));
		if (part->end == 0)
			fputs("on: no record", to);
		else
			fprintf(to, "to %s: %" PRIu64 " bytes of records",
				text_format_lsn(part->end, end), part->size);
		if (part->unread)
			fputs("; MORE FOLLOWS that was not read", to);
		fputc('\n', to);
		if (part->last[0] != '\0')
			fprintf(to, "    it ends there because: %s\n", part->last);
	}
}

static void put_transactions(FILE *to, const struct pg_tail *tail)
{
	static const char *const words[] = {
		[TAIL_COMMIT] = "commit", [TAIL_ABORT] = "abort", [TAIL_PREPARE] = "prepare"};
	const unsigned open = tail_open_count(tail);
	char lsn[TEXT_LSN_SIZE];

	fprintf(to,
		"Transactions: %" PRIu64 " committed, %" PRIu64 " aborted, %" PRIu64
		" prepared; %s%u wrote and had not ended\n",
		tail->commits, tail->aborts, tail->prepared, tail->open_cut ? "at least " : "",
		open);
	for (unsigned i = 0; i < tail->end_count; i++) {
		const struct tail_end *end = &tail->ends[i];

		fprintf(to, "  %-7s %10" PRIu32 "  at %-17s  %s\n", words[end->kind], end->xid,
			text_format_lsn(end->lsn, lsn), end->when);
	}
	if (tail->commits + tail->aborts + tail->prepared > tail->end_count)
		fprintf(to, "  (only the first %u are listed)\n", tail->end_count);
}

static void put_relations(FILE *to, const struct pg_tail *tail, const struct tail_facts *facts)
{
	fprintf(to, "Relations touched: %u%s\n", tail->relation_count,
		tail->relations_cut ? " and more that are not listed" : "");
	if (facts->named_in == NULL)
		fputs("  (tablespace/database/relation number; names could not be asked for)\n",
		      to);
	else
		fprintf(to,
			"  (tablespace/database/relation number; names are those that the source "
			"has now, in database %s only)\n",
			facts->named_in);
	for (unsigned i = 0; i < tail->relation_count; i++) {
		const struct tail_relation *relation = &tail->relations[i];

		fprintf(to, "  %" PRIu32 "/%" PRIu32 "/%" PRIu32 "  %" PRIu64 " records  %s\n",
			relation->tablespace, relation->database, relation->relation,
			relation->records, relation->name);
	}
}

void tail_report(FILE *to, const struct pg_tail *tail, const struct tail_facts *facts)
{
	char fork[TEXT_LSN_SIZE], end[TEXT_LSN_SIZE];

	fprintf(to, "WAL of node %s that the cluster went on without\n\n", facts->node);
	fprintf(to, "Written %s, before a %s from node %s in epoch %" PRIu64 ".\n", facts->written,
		facts->operation, facts->source, facts->epoch);
	fprintf(to, "Fork: %s on timeline %" PRIu32 "\n", text_format_lsn(tail->fork.lsn, fork),
		tail->fork.timeline);
	fprintf(to, "End:  %s\n", text_format_lsn(last_end(tail), end));
	fprintf(to, "Contents: %" PRIu64 " records of %" PRIu64 " bytes\n", tail->records,
		tail->bytes);
	put_parts(to, tail);
	if (tail->unreadable > 0)
		fprintf(to, "  %" PRIu64 " lines about records could not be read\n",
			tail->unreadable);
	if (facts->saved)
		fprintf(to, "The WAL itself stands beside this report: %" PRIu64 " bytes.\n",
			facts->saved_bytes);
	else
		fputs("THE WAL ITSELF COULD NOT BE SAVED; this report is all that is left of it.\n",
		      to);
	fputc('\n', to);
	put_acknowledged(to, tail, facts);
	fputc('\n', to);
	put_transactions(to, tail);
	fputc('\n', to);
	put_relations(to, tail, facts);
	fputs("\nRecords by resource manager:\n", to);
	for (unsigned i = 0; i < tail->manager_count; i++)
		fprintf(to, "  %-16s %10" PRIu64 " records %12" PRIu64 " bytes\n",
			tail->managers[i].name, tail->managers[i].records, tail->managers[i].bytes);
	fputs("\nTo look at single records: pg_waldump -p (this directory) -t (timeline) -s "
	      "(LSN)\n",
	      to);
}

void tail_summary(const struct pg_tail *tail, const struct tail_facts *facts, char *text,
		  size_t size)
{
	char fork[TEXT_LSN_SIZE], end[TEXT_LSN_SIZE];

	snprintf(text, size,
		 "diverged WAL %s..%s: %s%" PRIu64 " commits, %" PRIu64 " aborts, %" PRIu64
		 " bytes; acknowledged: %s",
		 text_format_lsn(tail->fork.lsn, fork), text_format_lsn(last_end(tail), end),
		 tail_is_unread(tail) ? "not all could be read; " : "", tail->commits, tail->aborts,
		 tail->bytes,
		 (tail->commits == 0 && !tail_is_unread(tail)) || facts->rule == TAIL_RULE_SYNC
			 ? "none"
		 : facts->rule == TAIL_RULE_ALONE ? "possible"
						  : "not known");
}
