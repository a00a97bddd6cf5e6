#include "secrets.h"

#include "os/secret.h"

int secrets_read(int fds[SECRET_COUNT], const struct conf *conf, const struct os_user *database,
		 struct err *why)
{
	int fd;

	for (unsigned i = 0; i < SECRET_COUNT; i++)
		fds[i] = -1;
	fd = secret_read(conf->secret_key_file, "node-key", 0, why);
	if (fd < 0)
		return err_in(why, fd, "keys.secret_file");
	fds[SECRET_NODE_KEY] = fd;
	if (conf_self(conf)->kind != MEMBER_DATA)
		return 0;
	fd = secret_read(conf->pg_replication_password_file, "replication-password", database->uid,
			 why);
	if (fd < 0)
		return err_in(why, fd, "postgresql.replication_password_file");
	fds[SECRET_REPLICATION_PASSWORD] = fd;
	return 0;
}
