/*
 * The Raft log's directory as a disk, or somebody, may have damaged it: opened as the daemon does,
 * loaded, and what it says decoded. The input is a row of files: one byte of kind, two of length,
 * the bytes. From kind 128 on the file is longer by zeros, as libraft preallocates segments.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <raft.h>
#include <raft/uv.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <uv.h>

#include "base/check.h"
#include "disk.h"
#include "fuzz.h"
#include "wire/convert.h"

#define CLUSTER 77

static const char *const FILES[] = {
	"metadata1",
	"metadata2",
	"0000000000000001-0000000000000001",
	"0000000000000002-0000000000000004",
	"open-1",
	"open-2",
	"snapshot-1-3-100",
	"snapshot-1-3-100.meta",
	"mha4rdb.owner",
};
#define FILE_COUNT (sizeof(FILES) / sizeof(FILES[0]))

static char folder[64];

/*
 * libraft makes a context of the kernel's asynchronous I/O for each log, and to destroy one takes
 * the kernel some 30 ms. Nothing is read by it: it is only asked whether the file system can do it,
 * and tmpfs cannot. So the context is none, and the answer is what the kernel says of tmpfs.
 */
long syscall(long number, ...)
{
	static long (*real)(long, ...);
	long arg[6];
	va_list list;

	va_start(list, number);
	for (unsigned i = 0; i < 6; i++)
		arg[i] = va_arg(list, long);
	va_end(list);
	switch (number) {
	case SYS_io_setup:
		memcpy((void *)(uintptr_t)arg[1], &(unsigned long){1}, sizeof(unsigned long));
		return 0;
	case SYS_io_submit:
		errno = EOPNOTSUPP;
		return -1;
	case SYS_io_destroy:
		return 0;
	default:
		break;
	}
	if (real == NULL) {
		void *found = dlsym(RTLD_NEXT, "syscall");

		CHECK(found != NULL);
		memcpy(&real, &found, sizeof(real));
	}
	return real(number, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
}

static void empty(void)
{
	DIR *dir = opendir(folder);
	const struct dirent *entry;

	CHECK(dir != NULL);
	while ((entry = readdir(dir)) != NULL)
		(void)unlinkat(dirfd(dir), entry->d_name, 0);
	closedir(dir);
}

static void clean_up(void)
{
	empty();
	rmdir(folder);
}

static void prepare(void)
{
	if (folder[0] != '\0') {
		empty();
		return;
	}
	snprintf(folder, sizeof(folder), "/dev/shm/mha-fuzz-XXXXXX");
	CHECK(mkdtemp(folder) != NULL);
	CHECK(atexit(clean_up) == 0);
}

static void put_files(const uint8_t *bytes, size_t size)
{
	while (size >= 3) {
		const size_t wanted = bytes[1] | (size_t)bytes[2] << 8;
		const size_t length = wanted < size - 3 ? wanted : size - 3;
		char path[128];
		int fd;

		snprintf(path, sizeof(path), "%s/%s", folder, FILES[bytes[0] % FILE_COUNT]);
		fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		CHECK(fd >= 0 && write(fd, bytes + 3, length) == (ssize_t)length);
		if (bytes[0] >= 128)
			CHECK(ftruncate(fd, (off_t)(length + 4096)) == 0);
		close(fd);
		bytes += 3 + length;
		size -= 3 + length;
	}
}

static void on_failure(void *arg, const char *reason)
{
	(void)arg;
	CHECK(reason[0] != '\0');
}

static void take_snapshot(struct raft_snapshot *snapshot)
{
	static struct cluster cluster;

	for (unsigned i = 0; i < snapshot->n_bufs; i++) {
		(void)!log_snapshot_decode(snapshot->bufs[i].base, snapshot->bufs[i].len, &cluster,
					   NULL);
		raft_free(snapshot->bufs[i].base);
	}
	raft_free(snapshot->bufs);
	raft_configuration_close(&snapshot->configuration);
	raft_free(snapshot);
}

static void take_entries(struct raft_entry *entries, size_t count)
{
	void *batch = NULL;

	for (size_t i = 0; i < count; i++) {
		struct entry entry;

		if (entries[i].type == RAFT_COMMAND)
			(void)!log_entry_decode(entries[i].buf.base, entries[i].buf.len, &entry,
						NULL);
		if (entries[i].batch != batch)
			raft_free(batch);
		batch = entries[i].batch;
	}
	raft_free(batch);
	raft_free(entries);
}

static void load(struct raft_io *io)
{
	struct raft_snapshot *snapshot = NULL;
	struct raft_entry *entries = NULL;
	raft_index start = 0;
	raft_term term = 0;
	raft_id voted = 0;
	size_t count = 0;

	if (io->load(io, &term, &voted, &snapshot, &start, &entries, &count) != 0)
		return;
	if (snapshot != NULL)
		take_snapshot(snapshot);
	if (entries != NULL)
		take_entries(entries, count);
}

static void on_closed(struct raft_io *io)
{
	(void)io;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct disk disk;
	struct err why = {0};
	uv_loop_t loop;

	prepare();
	put_files(bytes, size);
	CHECK(uv_loop_init(&loop) == 0);
	if (disk_open(&disk, &loop, folder, CLUSTER, 1, on_failure, NULL, &why) == 0) {
		if (disk.io.init(&disk.io, 1, "1") == 0)
			load(&disk.io);
		disk.io.close(&disk.io, on_closed);
		(void)uv_run(&loop, UV_RUN_DEFAULT);
		disk_close(&disk);
	} else {
		CHECK(why.text[0] != '\0');
	}
	(void)uv_run(&loop, UV_RUN_DEFAULT);
	CHECK(uv_loop_close(&loop) == 0);
	return 0;
}
