#include "engine/pg_processes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "engine/pg_parse.h"
#include "os/clock.h"

#define PIDFILE_SIZE_MAX 4096
/* CPU time that counts as progress: of a server that starts, which polls; of a program. */
#define STARTUP_TICKS 500
#define PROGRAM_TICKS 10

static bool runs_postgres(const char *pid)
{
	char link[64], program[512];
	const char *name;
	ssize_t length;

	snprintf(link, sizeof(link), "/proc/%.16s/exe", pid);
	length = readlink(link, program, sizeof(program) - 1);
	/* One that is about to end has no program any more, but its directory and its files. */
	if (length <= 0)
		return errno == ENOENT;
	program[length] = '\0';
	name = strrchr(program, '/');
	/* After an upgrade of the package the name ends in " (deleted)". */
	return name != NULL && strncmp(name, "/postgres", 9) == 0 &&
	       (name[9] == '\0' || name[9] == ' ');
}

/* It works in the directory, is this user's and is alive (a zombie has no directory). */
static bool works_in(const char *pid, const struct stat *directory)
{
	char path[64];
	struct stat stat_self, stat_cwd;

	snprintf(path, sizeof(path), "/proc/%.16s", pid);
	if (stat(path, &stat_self) < 0 || stat_self.st_uid != geteuid())
		return false;
	snprintf(path, sizeof(path), "/proc/%.16s/cwd", pid);
	return stat(path, &stat_cwd) == 0 && stat_cwd.st_dev == directory->st_dev &&
	       stat_cwd.st_ino == directory->st_ino;
}

void pg_processes_find(struct pg_processes *found, const char *data_dir)
{
	DIR *proc = opendir("/proc");
	const struct dirent *entry;
	struct stat directory;

	found->count = 0;
	if (proc == NULL)
		return;
	if (stat(data_dir, &directory) < 0) {
		closedir(proc);
		return;
	}
	while ((entry = readdir(proc)) != NULL && found->count < PG_PROCESSES_MAX) {
		uint64_t pid;

		if (text_parse_u64(entry->d_name, &pid) && pid <= INT32_MAX &&
		    works_in(entry->d_name, &directory) && runs_postgres(entry->d_name))
			found->pids[found->count++] = (pid_t)pid;
	}
	closedir(proc);
}

static bool read_pidfile(const char *data_dir, struct pg_pidfile *pidfile)
{
	char *text = NULL;
	bool good = file_read(data_dir, "postmaster.pid", PIDFILE_SIZE_MAX, &text, NULL) == 0 &&
		    pg_parse_pidfile(text, pidfile, NULL) == 0;

	free(text);
	return good;
}

pid_t pg_postmaster_find(const char *data_dir)
{
	struct pg_pidfile pidfile;
	struct stat directory;
	char pid[16];

	if (!read_pidfile(data_dir, &pidfile) || !pidfile.postmaster ||
	    stat(data_dir, &directory) < 0)
		return 0;
	snprintf(pid, sizeof(pid), "%d", (int)pidfile.pid);
	return works_in(pid, &directory) && runs_postgres(pid) ? pidfile.pid : 0;
}

int pg_postmaster_status(const char *data_dir)
{
	struct pg_pidfile pidfile;

	return read_pidfile(data_dir, &pidfile) ? (int)pidfile.status : -1;
}

bool pg_was_shut_down(const char *data_dir)
{
	/* struct ControlFileData: system identifier, two version numbers, enum DBState. */
	enum { STATE_AT = 16, SHUTDOWNED = 1, SHUTDOWNED_IN_RECOVERY = 2 };
	char path[FILES_PATH_SIZE + 32];
	int32_t state = -1;
	int fd;

	snprintf(path, sizeof(path), "%s/global/pg_control", data_dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	if (pread(fd, &state, sizeof(state), STATE_AT) != (ssize_t)sizeof(state))
		state = -1;
	close(fd);
	return state == SHUTDOWNED || state == SHUTDOWNED_IN_RECOVERY;
}

/* The first line of a file in /proc, without a final NUL. */
static bool read_line(pid_t pid, const char *name, char *line, size_t size)
{
	char path[64];
	ssize_t got;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	got = read(fd, line, size - 1);
	close(fd);
	if (got <= 0)
		return false;
	line[got] = '\0';
	return true;
}

/* utime + stime of /proc/PID/stat in ticks: the 12th and 13th field after the name. */
static uint64_t cpu_ticks(const char *stat_line)
{
	const char *at = strrchr(stat_line, ')');
	char *rest;
	uint64_t user;

	for (unsigned field = 0; at != NULL && field < 12; field++) {
		at = strchr(at, ' ');
		if (at != NULL)
			at++;
	}
	if (at == NULL)
		return 0;
	user = strtoull(at, &rest, 10);
	return user + strtoull(rest, NULL, 10);
}

/* "postgres: startup recovering 000000010000000000000003", as a number. */
static uint64_t title_number(const char *title)
{
	uint64_t number = 5381;

	for (; *title != '\0'; title++)
		number = number * 33 + (unsigned char)*title;
	return number;
}

/*
 * Who waits for what will never come still costs a little, again and again: CPU time counts in
 * units of so many ticks, and bytes read in megabytes.
 */
static uint64_t progress_of(pid_t pid, const char *stat_line, unsigned ticks)
{
	const char *name_end = strrchr(stat_line, ')');
	uint64_t sum = cpu_ticks(stat_line) / ticks;
	const char *read_bytes;
	char text[512];

	/* Inside the kernel, at the disk: a long fsync, say. */
	if (name_end != NULL && name_end[1] == ' ' && name_end[2] == 'D')
		sum += clock_boot_ns();
	if (read_line(pid, "io", text, sizeof(text)) &&
	    (read_bytes = strstr(text, "\nread_bytes: ")) != NULL)
		sum += strtoull(read_bytes + 13, NULL, 10) >> 24;
	return sum;
}

static uint64_t startup_progress(pid_t pid, const char *title)
{
	char text[512];

	return title_number(title) + (read_line(pid, "stat", text, sizeof(text))
					      ? progress_of(pid, text, STARTUP_TICKS)
					      : 0);
}

uint64_t pg_program_progress(pid_t leader)
{
	DIR *proc = opendir("/proc");
	const struct dirent *entry;
	uint64_t sum = 0;

	while (proc != NULL && (entry = readdir(proc)) != NULL) {
		const pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
		char text[512];

		if (pid > 0 && getsid(pid) == leader && read_line(pid, "stat", text, sizeof(text)))
			sum += progress_of(pid, text, PROGRAM_TICKS);
	}
	if (proc != NULL)
		closedir(proc);
	return sum;
}

uint64_t pg_processes_progress(const char *data_dir)
{
	struct pg_processes *found = malloc(sizeof(*found));
	uint64_t progress = 0;

	if (found == NULL)
		return 0;
	pg_processes_find(found, data_dir);
	for (unsigned i = 0; i < found->count; i++) {
		char title[512];

		if (read_line(found->pids[i], "cmdline", title, sizeof(title)) &&
		    strstr(title, " startup ") != NULL)
			progress = startup_progress(found->pids[i], title);
	}
	free(found);
	return progress;
}

bool pg_is_in_use(const char *data_dir)
{
	struct pg_processes *found = malloc(sizeof(*found));
	bool used = false;

	if (found == NULL)
		return false;
	pg_processes_find(found, data_dir);
	for (unsigned i = 0; i < found->count && !used; i++) {
		char title[512];

		used = read_line(found->pids[i], "cmdline", title, sizeof(title)) &&
		       (strstr(title, " walreceiver streaming ") != NULL ||
			strstr(title, " walwriter") != NULL);
	}
	free(found);
	return used;
}
