/* Saving the WAL that only this node has, before anything is overwritten. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "base/text.h"
#include "engine/pg_files.h"
#include "engine/pg_parse.h"
#include "engine/pg_rejoin.h"

/* What must stay free beside the copy. */
#define SPARE_BYTES   (UINT64_C(16) << 20)
#define UNFINISHED    "diverged.new"
#define SET_PREFIX    "diverged-"
#define SET_NAME_SIZE 128
#define REPORT_ONLY   "-report"

bool wal_segment_name(const char *name, uint32_t *timeline, uint32_t *high, uint32_t *low)
{
	uint32_t part[3] = {0, 0, 0};

	for (unsigned i = 0; i < 24; i++) {
		const char *digit = name[i] != '\0' ? strchr("0123456789ABCDEF", name[i]) : NULL;

		if (digit == NULL)
			return false;
		part[i / 8] = part[i / 8] << 4 | (uint32_t)(digit - "0123456789ABCDEF");
	}
	*timeline = part[0];
	*high = part[1];
	*low = part[2];
	return name[24] == '\0' || strcmp(name + 24, ".partial") == 0;
}

int wal_segments(const char *wal, uint32_t timeline, uint64_t segment_size, wal_lsn begin,
		 wal_lsn end, wal_visit visit, void *arg, struct err *why)
{
	DIR *dir = opendir(wal);
	const struct dirent *entry;
	int count = 0;

	if (dir == NULL)
		return errno == ENOENT
			       ? 0
			       : err_set_errno(why, ERR_IO, errno, "open directory %s", wal);
	while (count >= 0 && (entry = readdir(dir)) != NULL) {
		uint32_t number, high, low;
		wal_lsn first;
		int rc = 0;

		if (!wal_segment_name(entry->d_name, &number, &high, &low) || number != timeline)
			continue;
		first = ((uint64_t)high << 32) + low * segment_size;
		if (first >= end || first + segment_size <= begin)
			continue;
		if (visit != NULL)
			rc = visit(entry->d_name, arg, why);
		count = rc < 0 ? rc : count + 1;
	}
	closedir(dir);
	return count;
}

wal_lsn wal_oldest(const char *wal)
{
	DIR *dir = opendir(wal);
	const struct dirent *entry;
	uint64_t oldest = UINT64_MAX;
	struct stat file = {.st_size = 0};

	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		uint32_t timeline, high, low;
		uint64_t place;

		if (strlen(entry->d_name) != 24 ||
		    !wal_segment_name(entry->d_name, &timeline, &high, &low))
			continue;
		/* Every segment is as long as the others. */
		if (file.st_size == 0 &&
		    (fstatat(dirfd(dir), entry->d_name, &file, 0) < 0 || !S_ISREG(file.st_mode)))
			file.st_size = 0;
		place = (uint64_t)high << 32 | low;
		if (place < oldest)
			oldest = place;
	}
	if (dir != NULL)
		closedir(dir);
	if (oldest == UINT64_MAX || file.st_size <= 0)
		return 0;
	return (oldest & ~(uint64_t)UINT32_MAX) + (oldest & UINT32_MAX) * (uint64_t)file.st_size;
}

struct copying {
	const char *wal;
	const char *to; /* NULL: only count */
	uint64_t bytes;
};

static int copy_segment(const char *name, void *arg, struct err *why)
{
	struct copying *copying = arg;
	char from[2 * FILES_PATH_SIZE], to[2 * FILES_PATH_SIZE];
	struct stat stat_from;

	snprintf(from, sizeof(from), "%s/%.64s", copying->wal, name);
	if (stat(from, &stat_from) < 0 || !S_ISREG(stat_from.st_mode))
		return 0;
	copying->bytes += (uint64_t)stat_from.st_size;
	if (copying->to == NULL)
		return 0;
	snprintf(to, sizeof(to), "%s/%.64s", copying->to, name);
	return file_copy(from, to, why);
}

/* Every segment of the tail, or, with `to` NULL, their size. */
static int copy_tail(const struct rejoin *rejoin, const char *wal, const char *to, uint64_t *bytes,
		     struct err *why)
{
	struct copying copying = {.wal = wal, .to = to};

	for (unsigned i = 0; i < rejoin->tail.part_count; i++) {
		const struct tail_part *part = &rejoin->tail.parts[i];
		/* Segments after the end are old ones, renamed for later use. */
		const wal_lsn end = part->end != 0 && !part->unread ? part->end : UINT64_MAX;
		char history[24];
		int rc;

		rc = wal_segments(wal, part->timeline, rejoin->source.segment_size, part->begin,
				  end, copy_segment, &copying, why);
		if (rc < 0)
			return rc;
		snprintf(history, sizeof(history), "%08" PRIX32 ".history", part->timeline);
		if (to != NULL && file_exists(wal, history) &&
		    (rc = copy_segment(history, &copying, why)) < 0)
			return rc;
	}
	*bytes = copying.bytes;
	return 0;
}

/* What the node's own configuration says of its last epoch as a primary. */
static void judge_rule(const char *data_dir, struct tail_facts *facts)
{
	char *text = NULL;
	struct pg_served served = {.epoch = 0};

	facts->rule = TAIL_RULE_UNKNOWN;
	if (file_read(data_dir, PG_SETTINGS_FILE, 1 << 20, &text, NULL) == 0 && text != NULL)
		served = pg_files_read_served(text);
	if (served.epoch != 0 || served.alone) {
		facts->served_epoch = served.epoch;
		facts->rule = served.alone ? TAIL_RULE_ALONE : TAIL_RULE_SYNC;
	}
	free(text);
}

static void time_now(struct tm *parts)
{
	const time_t now = time(NULL);

	if (gmtime_r(&now, parts) == NULL)
		memset(parts, 0, sizeof(*parts));
}

static wal_lsn tail_end_lsn(const struct pg_tail *tail)
{
	wal_lsn end = tail->fork.lsn;

	for (unsigned i = 0; i < tail->part_count; i++) {
		if (tail->parts[i].end > end)
			end = tail->parts[i].end;
	}
	return end;
}

/*
 * "diverged-TIME-e7-t3-0_5000028-0_6000060": date, epoch, timeline, fork and end. One without WAL
 * ends in REPORT_ONLY.
 */
static void set_name(const struct rejoin *rejoin, char name[SET_NAME_SIZE])
{
	const struct pg_tail *tail = &rejoin->tail;
	const wal_lsn end = tail_end_lsn(tail);
	struct tm now;
	char when[24];

	time_now(&now);
	if (strftime(when, sizeof(when), "%Y%m%dT%H%M%SZ", &now) == 0)
		when[0] = '\0';
	snprintf(name, SET_NAME_SIZE - sizeof(REPORT_ONLY),
		 SET_PREFIX "%s-e%" PRIu64 "-t%" PRIu32 "-%" PRIX64 "_%" PRIX64 "-%" PRIX64
			    "_%" PRIX64,
		 when, rejoin->facts.epoch, tail->fork.timeline, tail->fork.lsn >> 32,
		 tail->fork.lsn & UINT32_MAX, end >> 32, end & UINT32_MAX);
}

/* The end in a set's name, when it has WAL of the same timeline and fork as `fresh`. */
static bool same_fork(const char *fresh, const char *name, wal_lsn *end)
{
	const char *ours = strstr(fresh, "-t"), *theirs = strstr(name, "-t");
	const char *last_ours = strrchr(fresh, '-'), *last_theirs = strrchr(name, '-');
	unsigned high, low;
	int used = 0;

	if (ours == NULL || theirs == NULL || last_ours <= ours || last_theirs <= theirs ||
	    last_ours - ours != last_theirs - theirs ||
	    memcmp(ours, theirs, (size_t)(last_ours - ours)) != 0)
		return false;
	if (sscanf(last_theirs, "-%8X_%8X%n", &high, &low, &used) != 2 || last_theirs[used] != '\0')
		return false;
	*end = (wal_lsn)high << 32 | low;
	return true;
}

static int is_set(const struct dirent *entry)
{
	return strncmp(entry->d_name, SET_PREFIX, strlen(SET_PREFIX)) == 0 &&
	       strlen(entry->d_name) < SET_NAME_SIZE;
}

static int newest_first(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*b)->d_name, (*a)->d_name);
}

static void free_names(struct dirent **names, int count)
{
	for (int i = 0; i < count; i++)
		free(names[i]);
	free(names);
}

static int remove_set(const struct pg_paths *paths, const char *name, const char *reason,
		      struct err *why)
{
	char path[2 * FILES_PATH_SIZE];
	int rc;

	snprintf(path, sizeof(path), "%s/%.127s", paths->side, name);
	rc = tree_remove(path, why);
	if (rc == 0)
		log_event(LOG_NOTICE, "rejoin.removed", "set=%s reason=\"%s\"", path, reason);
	return rc;
}

/* Cut REPORT_ONLY off; true when it was there. */
static bool cut_suffix(char name[SET_NAME_SIZE])
{
	char *suffix = strstr(name, REPORT_ONLY);

	if (suffix != NULL)
		*suffix = '\0';
	return suffix != NULL;
}

bool tail_set_contains(const char *fresh, const char *name)
{
	char ours[SET_NAME_SIZE], theirs[SET_NAME_SIZE];
	wal_lsn our_end, their_end;
	bool without_wal;

	snprintf(ours, sizeof(ours), "%.127s", fresh);
	snprintf(theirs, sizeof(theirs), "%.127s", name);
	without_wal = cut_suffix(ours);
	if (!cut_suffix(theirs) && without_wal)
		return false;
	return same_fork(ours, ours, &our_end) && same_fork(ours, theirs, &their_end) &&
	       their_end <= our_end;
}

int tail_prune(const struct pg_paths *paths, const char *fresh, unsigned keep, struct err *why)
{
	struct dirent **names;
	const int count = scandir(paths->side, &names, is_set, newest_first);
	unsigned kept = 0;
	int rc = 0;

	if (count < 0)
		return err_set_errno(why, ERR_IO, errno, "read %s", paths->side);
	for (int i = 0; i < count && rc == 0; i++) {
		const char *name = names[i]->d_name;

		/* The clock may have been set back: the fresh one stays, whatever its date. */
		if (strcmp(name, fresh) == 0)
			kept++;
		else if (tail_set_contains(fresh, name))
			rc = remove_set(paths, name, "the newest set has all of it", why);
		else if (kept + (strcmp(name, fresh) < 0 ? 0 : 1) >= keep)
			rc = remove_set(paths, name, "rejoin.diverged_keep is reached", why);
		else
			kept++;
	}
	free_names(names, count);
	return rc;
}

/* The same tail, saved before an attempt that did not come to its end. */
static bool saved_before(const struct pg_paths *paths, const struct rejoin *rejoin, bool with_wal,
			 char name[SET_NAME_SIZE])
{
	struct dirent **names;
	const int count = scandir(paths->side, &names, is_set, newest_first);
	const wal_lsn fresh_end = tail_end_lsn(&rejoin->tail);
	char fresh[SET_NAME_SIZE];
	bool found = false;

	set_name(rejoin, fresh);
	for (int i = 0; i < count && !found; i++) {
		char other[SET_NAME_SIZE];
		wal_lsn end;

		snprintf(other, sizeof(other), "%.127s", names[i]->d_name);
		if (cut_suffix(other) == with_wal)
			continue;
		found = same_fork(fresh, other, &end) && end == fresh_end;
		if (found)
			snprintf(name, SET_NAME_SIZE, "%.127s", names[i]->d_name);
	}
	if (count >= 0)
		free_names(names, count);
	return found;
}

static int write_report(const struct rejoin *rejoin, const char *dir, struct err *why)
{
	char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);
	int rc;

	if (to == NULL)
		return err_set(why, ERR_NO_MEMORY, "out of memory");
	tail_report(to, &rejoin->tail, &rejoin->facts);
	if (fclose(to) != 0 || text == NULL) {
		free(text);
		return err_set(why, ERR_NO_MEMORY, "out of memory");
	}
	rc = file_write(dir, "report.txt", text, 0600, why);
	free(text);
	return rc;
}

/* Complete before it has its name. */
static int fill_set(const struct pg_job *job, bool with_wal, const char *fresh, const char *path,
		    struct err *why)
{
	const struct pg_paths *paths = &job->control->paths;
	struct rejoin *rejoin = job->rejoin;
	int rc;

	if ((rc = tree_remove(fresh, why)) < 0 || (rc = directory_ensure(fresh, why)) < 0 ||
	    (with_wal &&
	     (rc = copy_tail(rejoin, paths->wal, fresh, &rejoin->facts.saved_bytes, why)) < 0))
		return rc;
	rejoin->facts.saved = with_wal;
	if ((rc = write_report(rejoin, fresh, why)) < 0)
		return rc;
	if (rename(fresh, path) < 0)
		return err_set_errno(why, ERR_IO, errno, "rename %s to %s", fresh, path);
	return directory_sync(paths->side, why);
}

static int write_set(const struct pg_job *job, bool with_wal, char name[SET_NAME_SIZE],
		     struct err *why)
{
	const struct pg_paths *paths = &job->control->paths;
	char fresh[2 * FILES_PATH_SIZE], path[2 * FILES_PATH_SIZE];
	struct err ignored;
	int rc;

	if (saved_before(paths, job->rejoin, with_wal, name))
		return 0;
	set_name(job->rejoin, name);
	if (!with_wal)
		strcat(name, REPORT_ONLY); /* set_name() leaves room for it */
	snprintf(fresh, sizeof(fresh), "%s/" UNFINISHED, paths->side);
	snprintf(path, sizeof(path), "%s/%.127s", paths->side, name);
	rc = fill_set(job, with_wal, fresh, path, why);
	if (rc < 0)
		(void)!tree_remove(fresh, &ignored);
	return rc;
}

/* The WAL with its report, or, where that is allowed, the report alone. */
static int save_set(struct pg_job *job, char name[SET_NAME_SIZE], struct err *why)
{
	const struct pg_paths *paths = &job->control->paths;
	const bool required = job->control->conf->rejoin_save == SAVE_REQUIRED;
	struct rejoin *rejoin = job->rejoin;
	const uint64_t room = disk_free(paths->side);
	uint64_t need = 0;
	int rc;

	if (saved_before(paths, rejoin, true, name))
		return 0;
	rc = copy_tail(rejoin, paths->wal, NULL, &need, why);
	if (rc == 0 && room != UINT64_MAX && room < need + SPARE_BYTES)
		rc = err_set(why, ERR_REFUSED,
			     "%" PRIu64 " bytes of diverged WAL cannot be saved, the disk has "
			     "%" PRIu64 " left; make room, or set rejoin.save_diverged to "
			     "best_effort to give them up",
			     need, room);
	if (rc == 0)
		rc = write_set(job, true, name, why);
	if (rc == 0 || required)
		return rc;
	log_event(LOG_WARNING, "rejoin.not_saved", "%s", why != NULL ? why->text : "");
	rejoin->facts.saved_bytes = 0;
	rc = write_set(job, false, name, why);
	if (rc < 0)
		log_event(LOG_WARNING, "rejoin.no_report", "%s", why != NULL ? why->text : "");
	return 0;
}

/* In a thread. */
static int save_tail(struct pg_job *job, struct err *why)
{
	const struct pg_paths *paths = &job->control->paths;
	struct rejoin *rejoin = job->rejoin;
	char name[SET_NAME_SIZE], written[32], summary[160];
	struct tm now;
	int rc;

	if ((rc = write_side_directory(job->control, why)) < 0)
		return rc;
	if (!tail_has_data(&rejoin->tail)) {
		log_event(LOG_NOTICE, "rejoin.clean", "%s",
			  rejoin->saved_before ? "half a rewind: its WAL was saved before"
					       : "nothing was written beyond the fork");
		return 0;
	}
	time_now(&now);
	if (strftime(written, sizeof(written), "%Y-%m-%d %H:%M:%S UTC", &now) == 0)
		written[0] = '\0';
	rejoin->facts.written = written;
	judge_rule(paths->data, &rejoin->facts);
	tail_summary(&rejoin->tail, &rejoin->facts, summary, sizeof(summary));
	if ((rc = save_set(job, name, why)) < 0 ||
	    (rc = tail_prune(paths, name, (unsigned)job->control->conf->rejoin_keep, why)) < 0)
		return err_in(why, rc, "save the diverged WAL");
	snprintf(job->note, sizeof(job->note), "%s; %.90s", summary, name);
	log_event(LOG_WARNING, "rejoin.diverged", "%s report=%s/%s/report.txt", summary,
		  paths->side, name);
	return 0;
}

int rejoin_save(struct pg_job *job, struct err *why)
{
	return job_in_background(job, save_tail, why);
}
