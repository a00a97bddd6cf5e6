/*
 * mha-diskprobe: writes one page of a small file in each directory and has it flushed, again and
 * again, and says so. dbctl runs it as the database's OS user. It may block on the disk for ever,
 * alone: that it falls silent is the answer.
 *
 *   mha-diskprobe INTERVAL_MS DIRECTORY...
 *
 * Lines on standard output, for the directory number N of the arguments, from 0:
 *   begin N
 *   end N ERRNO MICROSECONDS FREE_BYTES      ERRNO 0: written and flushed
 *
 * SIGUSR1 asks for an answer at once. It ends with dbctl. A directory that holds no database is
 * measured, not written into.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/text.h"
#include "os/clock.h"

#define PROBE_FILE "mha4rdb.probe"
#define PAGE_BYTES 8192
#define PATH_SIZE  1024
/* An error is believed when it comes twice: not long after. */
#define AGAIN_MS 100

/*
 * In place: once the page exists, a flush of it is a flush of WAL, without a change of the file
 * system's own records that may wait for much else.
 */
static int write_page(const char *directory)
{
	static const char page[PAGE_BYTES] = "mha4rdb: whether this disk still takes writes\n";
	char path[PATH_SIZE + sizeof(PROBE_FILE)];
	int fd, number = 0;

	snprintf(path, sizeof(path), "%s/" PROBE_FILE, directory);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return errno;
	errno = ENOSPC; /* of a write that is cut short */
	if (pwrite(fd, page, sizeof(page), 0) != (ssize_t)sizeof(page) || fdatasync(fd) != 0)
		number = errno;
	if (close(fd) != 0 && number == 0)
		number = errno;
	return number;
}

/* A file of ours in a directory that is being made would be in the way. */
static bool holds_database(const char *directory, bool is_wal)
{
	char path[PATH_SIZE + 32];

	snprintf(path, sizeof(path), "%s%s", directory,
		 is_wal ? "/../global/pg_control" : "/global/pg_control");
	/* pg_wal may be a link to somewhere else; what stands beside it does not matter then. */
	return access(path, F_OK) == 0 || (is_wal && access(directory, W_OK) == 0);
}

static uint64_t free_bytes(const char *directory, int *number)
{
	char parent[PATH_SIZE];
	struct statvfs disk;
	const char *path = directory;

	/* No data directory yet: it will be made on the disk of its parent. */
	if (access(directory, F_OK) != 0 && strlen(directory) < sizeof(parent)) {
		char *slash;

		strcpy(parent, directory);
		slash = strrchr(parent, '/');
		if (slash != NULL && slash != parent)
			*slash = '\0';
		path = parent;
	}
	if (statvfs(path, &disk) != 0) {
		/* Nothing is known, which is no sign of a full disk. */
		if (*number == 0 && errno != ENOENT)
			*number = errno;
		return UINT64_MAX;
	}
	if (disk.f_files != 0 && disk.f_favail == 0)
		return 0;
	return (uint64_t)disk.f_bavail * disk.f_frsize;
}

/* False: something failed. */
static bool probe(unsigned index, const char *directory)
{
	const uint64_t begun = clock_boot_ns();
	uint64_t free_now;
	int number = 0;

	printf("begin %u\n", index);
	if (fflush(stdout) != 0)
		exit(1);
	if (holds_database(directory, index > 0))
		number = write_page(directory);
	free_now = free_bytes(directory, &number);
	printf("end %u %d %" PRIu64 " %" PRIu64 "\n", index, number,
	       (clock_boot_ns() - begun) / 1000, free_now);
	if (fflush(stdout) != 0)
		exit(1);
	return number == 0;
}

/* SIGUSR1: somebody wants to know it now. */
static void on_hurry(int number)
{
	(void)number;
}

int main(int argc, char **argv)
{
	const struct sigaction hurry = {.sa_handler = on_hurry};
	uint64_t interval;
	bool was_bad = false;

	if (argc < 3 || !text_parse_u64(argv[1], &interval) || interval < 1 || interval > 600000) {
		fputs("usage: mha-diskprobe INTERVAL_MS DIRECTORY...\n", stderr);
		return 2;
	}
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || sigaction(SIGUSR1, &hurry, NULL) != 0)
		return 1;
	for (;;) {
		bool good = true;

		for (int i = 2; i < argc; i++) {
			if (strlen(argv[i]) < PATH_SIZE)
				good = probe((unsigned)(i - 2), argv[i]) && good;
		}
		(void)poll(NULL, 0,
			   good || was_bad || interval < AGAIN_MS ? (int)interval : AGAIN_MS);
		was_bad = !good;
	}
}
