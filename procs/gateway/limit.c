#include "gateway/limit.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

/* Pages of data and stack that the kernel counts now: the sixth number of statm. */
static int data_pages(unsigned long *pages, struct err *why)
{
	FILE *file = fopen("/proc/self/statm", "re");
	char line[256];
	char *at = line, *end = line;
	bool read;

	*pages = 0;
	if (file == NULL)
		return err_set_errno(why, ERR_IO, errno, "/proc/self/statm");
	read = fgets(line, sizeof(line), file) != NULL;
	fclose(file);
	for (unsigned field = 0; read && field < 6; field++) {
		*pages = strtoul(at, &end, 10);
		read = end != at;
		at = end;
	}
	return read ? 0 : err_set(why, ERR_IO, "/proc/self/statm: not understood");
}

int limit_growth(size_t growth, struct err *why)
{
	const long page = sysconf(_SC_PAGESIZE);
	struct rlimit limit;
	unsigned long pages;
	rlim_t wanted;
	int rc;

	if ((rc = data_pages(&pages, why)) < 0)
		return rc;
	if (getrlimit(RLIMIT_DATA, &limit) < 0)
		return err_set_errno(why, ERR_IO, errno, "RLIMIT_DATA");
	wanted = (rlim_t)pages * (rlim_t)page + growth;
	/* A stricter limit of the service stays. */
	if (limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < wanted)
		return 0;
	limit.rlim_cur = wanted;
	if (setrlimit(RLIMIT_DATA, &limit) < 0)
		return err_set_errno(why, ERR_IO, errno, "RLIMIT_DATA");
	return 0;
}
