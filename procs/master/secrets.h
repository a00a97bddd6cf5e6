/* Secrets that workers need and only root may read: handed over as sealed memory files. */
#ifndef MHA_MASTER_SECRETS_H
#define MHA_MASTER_SECRETS_H

#include "conf/conf.h"
#include "os/user.h"
#include "table.h"

/*
 * Read what is needed at start: for the gateway, the files of client.* and http.* in one bundle
 * (access/bundle.h), whose tables must parse; the node's secret key (root's, 0600); on data nodes,
 * the replication password (root's or the database user's, 0600) into `fds`; -1 where there is
 * none. ERR_PERM: others may read or write it; ERR_INVALID: empty or too big.
 */
MUST_CHECK int secrets_read(int fds[SECRET_COUNT], const struct conf *conf,
			    const struct os_user *database, struct err *why);

/*
 * Reload: read the node's key and the gateway's bundle anew. Nothing changes unless all of it is
 * right. The replication password stays as it was at start: the database's user may own its file,
 * which the master can no longer open then.
 */
MUST_CHECK int secrets_again(int fds[SECRET_COUNT], const struct conf *conf, struct err *why);
/* That the tables parse and everything can be read, as --check-config does. */
MUST_CHECK int secrets_check(const struct conf *conf, struct err *why);

#endif
