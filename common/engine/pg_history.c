#include "engine/pg_history.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/files.h"

#define STUB_TEXT "# mha4rdb: this timeline number is reserved\n"

uint32_t pg_history_number(const char *file_name)
{
	uint32_t number = 0;

	if (strlen(file_name) != 16 || strcmp(file_name + 8, ".history") != 0)
		return 0;
	for (unsigned i = 0; i < 8; i++) {
		const char *digit = strchr("0123456789ABCDEF", file_name[i]);

		if (digit == NULL)
			return 0;
		number = number << 4 | (uint32_t)(digit - "0123456789ABCDEF");
	}
	return number;
}

static void history_name(uint32_t number, char name[24])
{
	snprintf(name, 24, "%08" PRIX32 ".history", number);
}

/* One stub with its content on disk; all others are further names of it. */
static int stub_make(const char *wal_dir, const char *name, char path[FILES_PATH_SIZE],
		     struct err *why)
{
	int rc = file_write(wal_dir, name, STUB_TEXT, 0600, why);

	if (rc == 0 && snprintf(path, FILES_PATH_SIZE, "%s/%s", wal_dir, name) >= FILES_PATH_SIZE)
		rc = err_set(why, ERR_TOO_BIG, "path of %s is too long", name);
	return rc;
}

/*
 * Written in the middle of an outage: two flushes for the first stub, and one for the names of all
 * the others, however many they are.
 */
int pg_history_reserve(const char *wal_dir, uint32_t until, struct err *why)
{
	char stub[FILES_PATH_SIZE] = "", path[FILES_PATH_SIZE], name[24];
	bool linked = false;
	int rc = 0;

	if (until > PG_RESERVE_MAX)
		return err_set(why, ERR_INVALID, "timeline number %" PRIu32 " is out of range",
			       until);
	for (uint32_t number = 2; number <= until && rc == 0; number++) {
		history_name(number, name);
		if (file_exists(wal_dir, name))
			continue;
		if (stub[0] == '\0') {
			rc = stub_make(wal_dir, name, stub, why);
			continue;
		}
		if (snprintf(path, sizeof(path), "%s/%s", wal_dir, name) >= (int)sizeof(path))
			rc = err_set(why, ERR_TOO_BIG, "path of %s is too long", name);
		else if (link(stub, path) == 0)
			linked = true;
		else
			/* No more names for that one, or no links at all on this file system. */
			rc = stub_make(wal_dir, name, stub, why);
	}
	if (rc == 0 && linked)
		rc = directory_sync(wal_dir, why);
	return rc < 0 ? err_in(why, rc, "reserve timelines up to %" PRIu32, until) : 0;
}

static bool is_stub(const char *wal_dir, const char *name)
{
	char *text = NULL;
	/* Longer than a stub: a true one. */
	const bool stub = file_read(wal_dir, name, strlen(STUB_TEXT), &text, NULL) == 0 &&
			  strcmp(text, STUB_TEXT) == 0;

	free(text);
	return stub;
}

/* The highest number of any history file, stub or not; 0: there is none. */
static int highest(const char *wal_dir, uint32_t *number, struct err *why)
{
	DIR *dir = opendir(wal_dir);
	const struct dirent *entry;

	*number = 0;
	if (dir == NULL)
		return err_set_errno(why, ERR_IO, errno, "open directory %s", wal_dir);
	while ((entry = readdir(dir)) != NULL) {
		const uint32_t found = pg_history_number(entry->d_name);

		if (found > *number)
			*number = found;
	}
	closedir(dir);
	return 0;
}

/* From above, so that of a long history only the end is read. */
int pg_history_release(const char *wal_dir, struct err *why)
{
	uint32_t number;
	char name[24];
	int rc = highest(wal_dir, &number, why);

	for (; rc == 0 && number > 1; number--) {
		history_name(number, name);
		if (!file_exists(wal_dir, name))
			continue;
		if (!is_stub(wal_dir, name))
			break;
		rc = file_remove(wal_dir, name, why);
	}
	return rc < 0 ? err_in(why, rc, "reserved timelines") : 0;
}
