#include "os/memory.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "os/sanitizer.h"

int memory_lock(struct err *why)
{
	struct rlimit limit;

	if (OS_SANITIZED)
		return err_set(why, ERR_REFUSED, "a sanitizer's shadow memory is not locked");
	if (getrlimit(RLIMIT_MEMLOCK, &limit) < 0)
		return err_set_errno(why, ERR_IO, errno, "getrlimit");
	if (limit.rlim_cur != RLIM_INFINITY)
		return err_set(why, ERR_REFUSED,
			       "the limit on locked memory is %llu bytes; LimitMEMLOCK=infinity "
			       "lifts it",
			       (unsigned long long)limit.rlim_cur);
	if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) < 0)
		return err_set_errno(why, errno == EPERM ? ERR_PERM : ERR_IO, errno, "mlockall");
	return 0;
}
