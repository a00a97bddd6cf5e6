/* Operating system users, looked up once at start. */
#ifndef MHA_OS_USER_H
#define MHA_OS_USER_H

#include <sys/types.h>

#include "base/err.h"

struct os_user {
	char name[33];
	uid_t uid;
	gid_t gid; /* primary group */
};

/* ERR_NOT_FOUND: there is no such user; ERR_INVALID: it is root; ERR_IO. */
MUST_CHECK int user_find(struct os_user *user, const char *name, struct err *why);

#endif
