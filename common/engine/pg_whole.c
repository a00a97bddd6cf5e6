/* A rewound copy that is not whole yet. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "engine/pg_parse.h"
#include "engine/pg_processes.h"
#include "engine/pg_rejoin.h"

#define NOTE_SIZE 64

int whole_note(const struct pg_paths *paths, const struct pg_control_file *control, struct err *why)
{
	char text[NOTE_SIZE], lsn[TEXT_LSN_SIZE];

	snprintf(text, sizeof(text), "%" PRIu32 " %s\n", control->whole_from.timeline,
		 text_format_lsn(control->whole_from.end, lsn));
	return file_write(paths->side, PG_REWOUND_NOTE, text, 0600, why);
}

bool whole_parse(const char *text, struct wal_branch *from)
{
	char timeline[NOTE_SIZE], lsn[NOTE_SIZE];
	uint64_t number;
	int length = 0;

	memset(from, 0, sizeof(*from));
	if (sscanf(text, "%63[0-9] %63[0-9A-F/]\n%n", timeline, lsn, &length) != 2 || length == 0 ||
	    text[length] != '\0' || !text_parse_u64(timeline, &number) || number == 0 ||
	    number > UINT32_MAX || !text_parse_lsn(lsn, &from->end))
		return false;
	from->timeline = (uint32_t)number;
	return true;
}

/* As a note says it that was read: a control file that has gone on since makes it void. */
static bool still_needs(const struct pg_paths *paths, const char *text, struct wal_branch *from)
{
	struct pg_control_file control;
	struct err why;

	if (!whole_parse(text, from)) {
		log_event(LOG_WARNING, "database.note", "%s/%s is not \"TIMELINE LSN\": ignored",
			  paths->side, PG_REWOUND_NOTE);
		return false;
	}
	if (pg_control_file_read(paths->data, &control, &why) < 0)
		return true;
	/* It has been whole since it first answered. */
	return pg_postmaster_status(paths->data) != PIDFILE_READY &&
	       control.whole_from.timeline == from->timeline && control.whole_from.end == from->end;
}

struct wal_branch whole_from(const struct pg_paths *paths)
{
	struct wal_branch from = {0};
	char *text = NULL;
	struct err why;
	bool needs;
	int rc;

	rc = file_read(paths->side, PG_REWOUND_NOTE, NOTE_SIZE, &text, &why);
	if (rc < 0) {
		if (rc != ERR_NOT_FOUND)
			log_event(LOG_WARNING, "database.note", "%s", why.text);
		return from;
	}
	needs = still_needs(paths, text, &from);
	free(text);
	if (needs)
		return from;
	if (file_remove(paths->side, PG_REWOUND_NOTE, &why) < 0)
		log_event(LOG_WARNING, "database.note", "%s", why.text);
	return (struct wal_branch){0};
}
