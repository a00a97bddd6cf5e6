#include "os/memfd.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

static int fill(int fd, const char *bytes, size_t size)
{
	while (size > 0) {
		const ssize_t written = write(fd, bytes, size);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return -1;
		bytes += written;
		size -= (size_t)written;
	}
	return fcntl(fd, F_ADD_SEALS, SEALS);
}

int memfd_sealed(const char *name, const void *bytes, size_t size, struct err *why)
{
	const int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return err_set_errno(why, ERR_IO, errno, "memory file %s", name);
	if (fill(fd, bytes, size) < 0) {
		const int code = err_set_errno(why, ERR_IO, errno, "memory file %s", name);

		close(fd);
		return code;
	}
	return fd;
}

bool memfd_is_sealed(int fd)
{
	const int seals = fcntl(fd, F_GET_SEALS);

	return seals >= 0 && (seals & SEALS) == SEALS;
}
