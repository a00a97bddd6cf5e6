#include "engine/pg_bound.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "engine/files.h"
#include "os/landlock.h"

/* Renaming into another directory is always refused before. */
#define VERSION_MIN 2

#define ROWS_MAX     256
#define WRITE_ACCESS ((unsigned)LANDLOCK_READ | LANDLOCK_WRITE | LANDLOCK_SOCKETS)

/* The libraries' loader is executed, too; /bin/sh is what PostgreSQL's programs call others with.
 */
static const struct landlock_path SYSTEM[] = {
	{"/", LANDLOCK_READ},
	{"/usr", LANDLOCK_EXECUTE},
	{"/bin", LANDLOCK_EXECUTE},
	{"/sbin", LANDLOCK_EXECUTE},
	{"/lib", LANDLOCK_EXECUTE},
	{"/lib64", LANDLOCK_EXECUTE},
	{"/tmp", WRITE_ACCESS},
	{"/var/tmp", WRITE_ACCESS},
	{"/dev/shm", WRITE_ACCESS},
	{"/dev", (unsigned)LANDLOCK_DEVICES},
	{"/dev/null", (unsigned)LANDLOCK_WRITE},
	{"/dev/zero", (unsigned)LANDLOCK_WRITE},
	{"/dev/full", (unsigned)LANDLOCK_WRITE},
	{"/dev/tty", (unsigned)LANDLOCK_WRITE},
	/* oom_score_adj, and /dev/stdout by its other name */
	{"/proc", (unsigned)LANDLOCK_WRITE},
};

struct bound {
	struct landlock_path rows[ROWS_MAX];
	char *owned[ROWS_MAX]; /* paths that are freed at the end */
	size_t count;
	bool full;
};

static void add(struct bound *bound, const char *path, unsigned access)
{
	char *copy;

	if (bound->count == ROWS_MAX || (copy = strdup(path)) == NULL) {
		bound->full = true;
		return;
	}
	bound->owned[bound->count] = copy;
	bound->rows[bound->count++] = (struct landlock_path){copy, access};
}

static void add_parent(struct bound *bound, const char *path, unsigned access)
{
	char parent[FILES_PATH_SIZE];
	char *slash;

	CHECK(snprintf(parent, sizeof(parent), "%s", path) < (int)sizeof(parent));
	slash = strrchr(parent, '/');
	if (slash == NULL)
		return;
	slash[slash == parent] = '\0';
	add(bound, parent, access);
}

/* Links of the database lead to its tablespaces. */
static void add_tablespaces(struct bound *bound, const char *data_dir)
{
	char path[FILES_PATH_SIZE + 300];
	const struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/pg_tblspc", data_dir);
	dir = opendir(path);
	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/pg_tblspc/%s", data_dir, entry->d_name);
		add(bound, path, WRITE_ACCESS);
	}
	if (dir != NULL)
		closedir(dir);
}

static void collect(struct bound *bound, const struct conf *conf)
{
	char path[FILES_PATH_SIZE + 16];

	for (size_t i = 0; i < COUNT_OF(SYSTEM); i++)
		add(bound, SYSTEM[i].path, SYSTEM[i].access);
	/* Not only bin_dir: a database that is not Debian's has its libraries' helpers beside it.
	 */
	add_parent(bound, conf->pg_bin_dir, LANDLOCK_EXECUTE);
	/* A rebuild makes the new directory beside the old one. */
	add_parent(bound, conf->pg_data_dir, WRITE_ACCESS);
	add(bound, conf->pg_data_dir, WRITE_ACCESS);
	snprintf(path, sizeof(path), "%s/pg_wal", conf->pg_data_dir);
	add(bound, path, WRITE_ACCESS);
	add_tablespaces(bound, conf->pg_data_dir);
	add(bound, conf->pg_socket_dir, WRITE_ACCESS);
	for (unsigned i = 0; i < conf->sandbox_write_paths_count; i++)
		add(bound, conf->sandbox_write_paths[i], WRITE_ACCESS);
}

int pg_bound_make(const struct conf *conf, int *ruleset, struct err *why)
{
	struct landlock_rules rules = {.network = false, .alone = false};
	struct bound *bound;
	int rc;

	*ruleset = -1;
	if (conf->sandbox_landlock == LANDLOCK_OFF)
		return 0;
	if (landlock_version() < VERSION_MIN)
		return conf->sandbox_landlock == LANDLOCK_AUTOMATIC
			       ? 0
			       : err_set(why, ERR_NOT_FOUND,
					 "sandbox.landlock is 'required', and this kernel's "
					 "Landlock is none or older than Linux 5.19's");
	bound = calloc(1, sizeof(*bound));
	if (bound == NULL)
		return err_set(why, ERR_NO_MEMORY, "Landlock: out of memory");
	collect(bound, conf);
	rules.paths = bound->rows;
	rules.path_count = bound->count;
	rc = bound->full ? err_set(why, ERR_TOO_BIG, "Landlock: more than %d paths", ROWS_MAX)
			 : landlock_make(&rules, why);
	for (size_t i = 0; i < bound->count; i++)
		free(bound->owned[i]);
	free(bound);
	if (rc < 0)
		return rc;
	*ruleset = rc;
	return 0;
}

int pg_bound_start(const struct conf *conf, struct child **child, uv_loop_t *loop,
		   const struct child_spec *spec, const struct child_events *events, void *arg,
		   struct err *why)
{
	struct child_spec bound = *spec;
	int ruleset, rc;

	if ((rc = pg_bound_make(conf, &ruleset, why)) < 0)
		return rc;
	bound.ruleset = ruleset < 0 ? NULL : &ruleset;
	rc = child_start(child, loop, &bound, events, arg, why);
	if (ruleset >= 0)
		close(ruleset);
	return rc;
}
