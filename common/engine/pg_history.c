#include "engine/pg_history.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

int pg_history_reserve(const char *wal_dir, uint32_t until, struct err *why)
{
	if (until > PG_RESERVE_MAX)
		return err_set(why, ERR_INVALID, "timeline number %" PRIu32 " is out of range",
			       until);
	for (uint32_t number = 2; number <= until; number++) {
		char name[24];
		int rc;

		history_name(number, name);
		if (file_exists(wal_dir, name))
			continue;
		if ((rc = file_write(wal_dir, name, STUB_TEXT, 0600, why)) < 0)
			return err_in(why, rc, "reserve timeline %" PRIu32, number);
	}
	return 0;
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

typedef int (*history_visit)(const char *wal_dir, const char *name, uint32_t number, void *arg,
			     struct err *why);

static int each_history(const char *wal_dir, history_visit visit, void *arg, struct err *why)
{
	DIR *dir = opendir(wal_dir);
	const struct dirent *entry;
	int rc = 0;

	if (dir == NULL)
		return err_set_errno(why, ERR_IO, errno, "open directory %s", wal_dir);
	while (rc == 0 && (entry = readdir(dir)) != NULL) {
		const uint32_t number = pg_history_number(entry->d_name);

		if (number > 0)
			rc = visit(wal_dir, entry->d_name, number, arg, why);
	}
	closedir(dir);
	return rc;
}

static int find_newest(const char *wal_dir, const char *name, uint32_t number, void *arg,
		       struct err *why)
{
	uint32_t *newest = arg;

	UNUSED(why);
	if (number > *newest && !is_stub(wal_dir, name))
		*newest = number;
	return 0;
}

static int remove_above(const char *wal_dir, const char *name, uint32_t number, void *arg,
			struct err *why)
{
	const uint32_t *newest = arg;

	if (number <= *newest || !is_stub(wal_dir, name))
		return 0;
	return file_remove(wal_dir, name, why);
}

int pg_history_release(const char *wal_dir, struct err *why)
{
	uint32_t newest = 0;
	int rc;

	if ((rc = each_history(wal_dir, find_newest, &newest, why)) < 0 ||
	    (rc = each_history(wal_dir, remove_above, &newest, why)) < 0)
		return err_in(why, rc, "reserved timelines");
	return 0;
}
