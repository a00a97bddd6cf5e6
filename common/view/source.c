#include "view/source.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/check.h"
#include "base/text.h"

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	CHECK(clock_gettime(clock, &now) == 0);
	return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static void source_unmap(struct source *source, unsigned id)
{
	if (source->mapped[id])
		status_close(&source->map[id]);
	source->mapped[id] = false;
}

static void source_refresh_one(struct source *source, enum status_section_id id)
{
	struct err *why = &source->why[id];
	struct stat seen;
	char path[256];
	int length = snprintf(path, sizeof(path), "%s/status/%s", source->run_dir,
			      status_section_name(id));

	CHECK(length > 0 && (size_t)length < sizeof(path));
	if (stat(path, &seen) < 0) {
		source_unmap(source, id);
		err_set_errno(why, errno == EACCES ? ERR_PERM : ERR_NOT_FOUND, errno, "%s", path);
		return;
	}
	if (source->mapped[id] && source->device[id] == seen.st_dev &&
	    source->inode[id] == seen.st_ino)
		return;
	source_unmap(source, id);
	if (status_open_read(&source->map[id], id, source->run_dir, why) < 0)
		return;
	source->mapped[id] = true;
	source->device[id] = seen.st_dev;
	source->inode[id] = seen.st_ino;
}

int source_init(struct source *source, const char *run_dir, struct err *why)
{
	memset(source, 0, sizeof(*source));
	if (!text_copy(source->run_dir, sizeof(source->run_dir), run_dir))
		return err_set(why, ERR_TOO_BIG, "run directory: at most %zu characters",
			       sizeof(source->run_dir) - 1);
	source_refresh(source);
	return 0;
}

void source_fini(struct source *source)
{
	for (unsigned id = 0; id < STATUS_SECTION_COUNT; id++)
		source_unmap(source, id);
}

void source_refresh(struct source *source)
{
	for (unsigned id = 0; id < STATUS_SECTION_COUNT; id++)
		source_refresh_one(source, (enum status_section_id)id);
}

static void *section_at(struct sections *sections, unsigned id)
{
	void *const places[STATUS_SECTION_COUNT] = {
		[STATUS_MASTER] = &sections->master, [STATUS_CONSENSUS] = &sections->consensus,
		[STATUS_DBMON] = &sections->dbmon,   [STATUS_DBCTL] = &sections->dbctl,
		[STATUS_VIP] = &sections->vip,       [STATUS_GATEWAY] = &sections->gateway,
	};

	return places[id];
}

void source_read(struct source *source, struct sections *sections)
{
	memset(sections, 0, sizeof(*sections));
	for (unsigned id = 0; id < STATUS_SECTION_COUNT; id++) {
		int rc = source->why[id].code;

		if (source->mapped[id])
			rc = status_read(&source->map[id], section_at(sections, id),
					 &source->why[id]);
		sections->code[id] = rc;
		sections->has[id] = rc == 0;
		/* A failed read may have copied a part. */
		if (rc < 0)
			memset(section_at(sections, id), 0,
			       status_section_size((enum status_section_id)id));
	}
	/* After the reads: a deadline that has passed by now must be seen as passed. */
	sections->now_ns = clock_ns(CLOCK_BOOTTIME);
	sections->wall_ms = clock_ns(CLOCK_REALTIME) / 1000000;
}

bool sections_empty(const struct sections *sections)
{
	for (unsigned id = 0; id < STATUS_SECTION_COUNT; id++) {
		if (sections->has[id])
			return false;
	}
	return true;
}
