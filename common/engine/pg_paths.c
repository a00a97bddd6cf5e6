#include "engine/pg_paths.h"

#include <stdio.h>
#include <string.h>

#include "base/macros.h"

int pg_paths_make(struct pg_paths *paths, const char *data_dir, struct err *why)
{
	const struct {
		char *path;
		const char *suffix;
	} rows[] = {
		{paths->data, ""},
		{paths->wal, "/pg_wal"},
		{paths->side, ".mha4rdb"},
		{paths->passfile, ".mha4rdb/" PG_PASSFILE},
		{paths->log_dir, ".mha4rdb/log"},
		{paths->initdb, ".initdb"},
		{paths->clone, ".clone"},
		{paths->old, ".old"},
		{paths->trash, ".trash"},
	};
	size_t length = strlen(data_dir);

	while (length > 1 && data_dir[length - 1] == '/')
		length--;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		const int used = snprintf(rows[i].path, FILES_PATH_SIZE, "%.*s%s", (int)length,
					  data_dir, rows[i].suffix);

		if (used < 0 || used >= FILES_PATH_SIZE - 64)
			return err_set(why, ERR_TOO_BIG, "postgresql.data_dir: %s is too long",
				       data_dir);
	}
	return 0;
}
