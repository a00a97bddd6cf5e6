/* What somebody who is known by a key, a password or a certificate may do. */
#ifndef MHA_ACCESS_ROLE_H
#define MHA_ACCESS_ROLE_H

#include <stdbool.h>

/* Each includes the ones before it. */
enum role {
	ROLE_NONE = 0,
	ROLE_READ,    /* ask, and hear events */
	ROLE_OPERATE, /* what loses nothing and can be taken back: switchover, pause, ... */
	ROLE_ADMIN,   /* what can lose data, or changes what the cluster promises */
};

/* "none", "read", "operate", "admin". */
const char *role_name(enum role role);
/* False: `text` is none of read, operate, admin. */
bool role_parse(const char *text, enum role *role);

#endif
