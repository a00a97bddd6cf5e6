/* A file that says it is a status section: torn, cut, of another version, or nonsense. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "fuzz.h"
#include "status/status.h"

/* The folder of this process, made once. */
static const char *folder(void)
{
	static char path[64];

	if (path[0] != '\0')
		return path;
	snprintf(path, sizeof(path), "/dev/shm/mha-fuzz-XXXXXX");
	CHECK(mkdtemp(path) != NULL);
	return path;
}

static void clean_up(void)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/status/vip", folder());
	unlink(path);
	snprintf(path, sizeof(path), "%s/status", folder());
	rmdir(path);
	rmdir(folder());
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static bool ready;
	struct status_vip section;
	struct status_map map;
	struct err why = {0};
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/status", folder());
	if (!ready) {
		CHECK(mkdir(path, 0700) == 0);
		CHECK(atexit(clean_up) == 0);
		ready = true;
	}
	snprintf(path, sizeof(path), "%s/status/vip", folder());
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	CHECK(fd >= 0 && write(fd, bytes, size) == (ssize_t)size);
	if (status_open_read(&map, STATUS_VIP, folder(), &why) == 0) {
		if (status_read(&map, &section, &why) < 0)
			CHECK(why.text[0] != '\0');
		status_close(&map);
	} else {
		CHECK(why.text[0] != '\0');
	}
	/* Its writer makes it good again, or goes on with it. */
	CHECK(status_open_fd(&map, STATUS_VIP, fd, &why) == 0);
	memset(&section, 1, sizeof(section));
	status_publish(&map, &section);
	memset(&section, 2, sizeof(section));
	CHECK(status_read(&map, &section, &why) == 0);
	CHECK(((const uint8_t *)&section)[0] == 1);
	status_close(&map);
	close(fd);
	return 0;
}
