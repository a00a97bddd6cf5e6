/*
 * mha-pagecheck: reads every page of a database's relations once, slowly, and compares it with its
 * checksum. dbctl runs it as the database's OS user, while the server runs. It only reads, but for
 * the list of damaged pages in NOTES_DIRECTORY, which outlives it and the server.
 *
 *   mha-pagecheck BYTES_PER_SECOND BLOCKS_PER_SEGMENT DATA_DIRECTORY NOTES_DIRECTORY
 *
 * Lines on standard output:
 *   bad BLOCK STORED COMPUTED FILE      as soon as it is found; FILE within the data directory
 *   unread ERRNO FILE                   the rest of the file was not looked at
 *   done PAGES BAD UNREAD               the pass is over; the list says the same
 *
 * The server writes while this reads, so a page may be half old and half new: a page is damaged
 * when it is wrong each time that it is read again, over seconds. It ends with dbctl.
 */
#include <dirent.h>
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
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/text.h"
#include "engine/files.h"
#include "engine/pg_check.h"
#include "engine/pg_page.h"
#include "os/clock.h"

#define CHUNK_BYTES (32 * PG_PAGE_BYTES)
#define ALIGNMENT   4096
#define NS_PER_S    UINT64_C(1000000000)
/* A page that is wrong is read again so often, after pauses that double from the first one on. */
#define AGAIN_MAX      5
#define AGAIN_FIRST_MS 100
/* Links of tablespaces, a version's directory, a database's directory. */
#define DEPTH_MAX 4

struct pass {
	uint64_t bytes_per_s;
	uint64_t segment_blocks;
	const char *root;
	const char *notes;
	unsigned char *chunk; /* CHUNK_BYTES */
	unsigned char *again; /* one page */
	uint64_t begun_ns;
	uint64_t bytes;
	uint64_t pages;
	uint64_t bad;
	uint64_t unread;
	char list[PG_CHECK_NOTE_MAX + 1];
};

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "mha-pagecheck: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void say_all(void)
{
	if (fflush(stdout) != 0)
		exit(1);
}

static void pause_ms(uint64_t ms)
{
	(void)poll(NULL, 0, ms > 60000 ? 60000 : (int)ms);
}

/* So much has been read: wait until that is no more than the rate allows. */
static void keep_rate(struct pass *pass, size_t bytes)
{
	uint64_t due_ns;

	pass->bytes += bytes;
	due_ns = pass->begun_ns +
		 (uint64_t)((double)pass->bytes / (double)pass->bytes_per_s * (double)NS_PER_S);
	for (uint64_t now = clock_boot_ns(); now < due_ns; now = clock_boot_ns())
		pause_ms((due_ns - now) / 1000000 + 1);
}

static void write_list(struct pass *pass)
{
	struct err why;
	int rc = pass->bad == 0 ? file_remove(pass->notes, PG_CHECK_NOTE, &why)
				: file_write(pass->notes, PG_CHECK_NOTE, pass->list, 0600, &why);

	if (rc < 0)
		fprintf(stderr, "mha-pagecheck: %s\n", why.text);
}

/* The list names the first ones; the last line of the pass has the number of all. */
static void add_bad(struct pass *pass, const char *path, uint32_t block, const unsigned char *page)
{
	const size_t used = strlen(pass->list);
	char line[FILES_PATH_SIZE + 64];

	snprintf(line, sizeof(line), "%" PRIu32 " %u %u %s\n", block, pg_page_stored(page),
		 pg_page_checksum(page, block), path);
	pass->bad++;
	if (used + strlen(line) < sizeof(pass->list)) {
		strcpy(pass->list + used, line);
		write_list(pass);
	}
	printf("bad %s", line);
	say_all();
}

/* It is still wrong when nobody writes it, and still a part of a relation that is there. */
static bool still_bad(struct pass *pass, int fd, off_t at, uint32_t block)
{
	uint64_t ms = AGAIN_FIRST_MS;

	for (unsigned i = 0; i < AGAIN_MAX; i++, ms *= 2) {
		struct stat file;

		pause_ms(ms);
		if (fstat(fd, &file) != 0 || file.st_nlink == 0 ||
		    file.st_size < at + PG_PAGE_BYTES ||
		    pread(fd, pass->again, PG_PAGE_BYTES, at) != PG_PAGE_BYTES ||
		    pg_page_good(pass->again, block))
			return false;
	}
	return true;
}

static void add_unread(struct pass *pass, const char *path, int number)
{
	if (number == ENOENT)
		return; /* dropped since its directory was read */
	pass->unread++;
	printf("unread %d %s\n", number, path);
	say_all();
}

static void check_chunk(struct pass *pass, int fd, const char *path, off_t at, size_t bytes,
			uint32_t segment)
{
	for (size_t i = 0; i + PG_PAGE_BYTES <= bytes; i += PG_PAGE_BYTES) {
		const off_t page_at = at + (off_t)i;
		const uint32_t block = (uint32_t)((uint64_t)segment * pass->segment_blocks +
						  (uint64_t)page_at / PG_PAGE_BYTES);

		pass->pages++;
		if (!pg_page_good(pass->chunk + i, block) && still_bad(pass, fd, page_at, block))
			add_bad(pass, path, block, pass->again);
	}
}

/*
 * Past the page cache where the file system can: what counts is what the disk holds, and the pages
 * that the server works with stay in memory.
 */
static int open_file(int directory, const char *name)
{
	const int flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
	const int fd = openat(directory, name, flags | O_DIRECT);

	return fd >= 0 || errno != EINVAL ? fd : openat(directory, name, flags);
}

static void check_file(struct pass *pass, int directory, const char *name, const char *path,
		       uint32_t segment)
{
	const int fd = open_file(directory, name);
	struct stat file;
	off_t at = 0;
	ssize_t got;

	if (fd < 0) {
		add_unread(pass, path, errno);
		return;
	}
	if (fstat(fd, &file) == 0 && S_ISREG(file.st_mode)) {
		while ((got = pread(fd, pass->chunk, CHUNK_BYTES, at)) > 0) {
			check_chunk(pass, fd, path, at, (size_t)got, segment);
			keep_rate(pass, (size_t)got);
			/* A page that is being added may be there in part. */
			if (got % PG_PAGE_BYTES != 0)
				break;
			at += got;
		}
		if (got < 0)
			add_unread(pass, path, errno);
	}
	close(fd);
}

/* Every directory below holds relations, or directories of them; other files are not looked at. */
static void check_directory(struct pass *pass, int parent, const char *name, const char *path,
			    unsigned depth)
{
	/* The links in pg_tblspc are followed: they are the server's own. */
	const int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *stream = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (stream == NULL) {
		add_unread(pass, path, errno);
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((entry = readdir(stream)) != NULL) {
		char below[FILES_PATH_SIZE];
		struct stat what;
		uint32_t segment;

		if (entry->d_name[0] == '.' ||
		    snprintf(below, sizeof(below), "%s/%s", path, entry->d_name) >=
			    (int)sizeof(below) ||
		    fstatat(fd, entry->d_name, &what, 0) != 0)
			continue;
		if (S_ISDIR(what.st_mode) && depth < DEPTH_MAX &&
		    strcmp(entry->d_name, "pgsql_tmp") != 0)
			check_directory(pass, fd, entry->d_name, below, depth + 1);
		else if (S_ISREG(what.st_mode) && pg_page_file(entry->d_name, &segment))
			check_file(pass, fd, entry->d_name, below, segment);
	}
	closedir(stream);
}

static void run(struct pass *pass)
{
	static const char *const tops[] = {"global", "base", "pg_tblspc"};
	const int root = open(pass->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (root < 0)
		fail(pass->root);
	pass->begun_ns = clock_boot_ns();
	for (size_t i = 0; i < COUNT_OF(tops); i++)
		check_directory(pass, root, tops[i], tops[i], 0);
	/* What was not read is not known to be good: an earlier finding stays. */
	if (pass->bad > 0 || pass->unread == 0)
		write_list(pass);
	printf("done %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", pass->pages, pass->bad, pass->unread);
	say_all();
	close(root);
}

int main(int argc, char **argv)
{
	static struct pass pass;

	if (argc != 5 || !text_parse_u64(argv[1], &pass.bytes_per_s) || pass.bytes_per_s == 0 ||
	    !text_parse_u64(argv[2], &pass.segment_blocks) || pass.segment_blocks == 0) {
		fputs("usage: mha-pagecheck BYTES_PER_SECOND BLOCKS_PER_SEGMENT DATA_DIRECTORY "
		      "NOTES_DIRECTORY\n",
		      stderr);
		return 2;
	}
	pass.root = argv[3];
	pass.notes = argv[4];
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
		fail("prctl");
	/*
	 * Behind the server at the processors and (class 2: best effort, the last of its levels) at
	 * the disk, but not so far that a busy host never gets through.
	 */
	(void)setpriority(PRIO_PROCESS, 0, 10);
	(void)syscall(SYS_ioprio_set, 1, 0, 2 << 13 | 7);
	pass.chunk = aligned_alloc(ALIGNMENT, CHUNK_BYTES);
	pass.again = aligned_alloc(ALIGNMENT, PG_PAGE_BYTES);
	if (pass.chunk == NULL || pass.again == NULL)
		fail("memory");
	run(&pass);
	free(pass.chunk);
	free(pass.again);
	return 0;
}
