/* Secrets that workers need and only root may read: handed over as sealed memory files. */
#ifndef MHA_MASTER_SECRETS_H
#define MHA_MASTER_SECRETS_H

#include "conf/conf.h"
#include "os/user.h"
#include "table.h"

/*
 * Read the node's secret key (root's, 0600) and, on data nodes, the replication password (root's
 * or the database user's, 0600) into `fds`; -1 where there is none. ERR_PERM: others may read or
 * write it; ERR_INVALID: empty or too big.
 */
MUST_CHECK int secrets_read(int fds[SECRET_COUNT], const struct conf *conf,
			    const struct os_user *database, struct err *why);

#endif
