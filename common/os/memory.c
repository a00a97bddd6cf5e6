#include "os/memory.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/resource.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MEMORY_HAS_SHADOW 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define MEMORY_HAS_SHADOW 1
#endif
#endif
#ifndef MEMORY_HAS_SHADOW
#define MEMORY_HAS_SHADOW 0
#endif

int memory_lock(struct err *why)
{
	struct rlimit limit;

	if (MEMORY_HAS_SHADOW)
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
