/*
 * What libraft's disk asks the kernel for, counted on its way: the log's writes go to files that
 * are open with O_DSYNC, so each of them is a flush; everything else is flushed by name. This
 * program's own definitions stand before those of the libraries.
 */
#include "kernel.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <uv.h>

static atomic_ulong flushes;

unsigned long kernel_flushes(void)
{
	return atomic_load(&flushes);
}

typedef long (*syscall_fn)(long number, long a, long b, long c, long d, long e, long f);
typedef int (*sync_fn)(uv_loop_t *loop, uv_fs_t *request, uv_file file, uv_fs_cb done);

/* POSIX lets the address of a function pass through a pointer, C does not. */
static void find(const char *name, void *function, size_t size)
{
	void *address = dlsym(RTLD_NEXT, name);

	memcpy(function, &address, size);
}

long syscall(long number, ...)
{
	static _Atomic(syscall_fn) next;
	syscall_fn call = atomic_load(&next);
	long argument[6];
	va_list list;

	if (call == NULL) {
		find("syscall", &call, sizeof(call));
		atomic_store(&next, call);
	}
	va_start(list, number);
	for (int i = 0; i < 6; i++)
		argument[i] = va_arg(list, long);
	va_end(list);
	if (number == SYS_io_submit)
		atomic_fetch_add(&flushes, (unsigned long)argument[1]);
	return call(number, argument[0], argument[1], argument[2], argument[3], argument[4],
		    argument[5]);
}

static int counted(const char *name, uv_loop_t *loop, uv_fs_t *request, uv_file file, uv_fs_cb done)
{
	sync_fn next;

	find(name, &next, sizeof(next));
	atomic_fetch_add(&flushes, 1);
	return next(loop, request, file, done);
}

int uv_fs_fsync(uv_loop_t *loop, uv_fs_t *req, uv_file file, uv_fs_cb cb)
{
	return counted("uv_fs_fsync", loop, req, file, cb);
}

int uv_fs_fdatasync(uv_loop_t *loop, uv_fs_t *req, uv_file file, uv_fs_cb cb)
{
	return counted("uv_fs_fdatasync", loop, req, file, cb);
}
