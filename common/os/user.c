#include "os/user.h"

#include <errno.h>
#include <pwd.h>

#include "base/text.h"

int user_find(struct os_user *user, const char *name, struct err *why)
{
	char buffer[4096];
	struct passwd entry, *found = NULL;
	const int rc = getpwnam_r(name, &entry, buffer, sizeof(buffer), &found);

	if (rc != 0)
		return err_set_errno(why, ERR_IO, rc, "user %s", name);
	if (found == NULL)
		return err_set(why, ERR_NOT_FOUND,
			       "there is no user %s; \"mhad --print-sysusers\" prints what "
			       "systemd-sysusers creates, tools/install-users does the same",
			       name);
	if (entry.pw_uid == 0 || entry.pw_gid == 0)
		return err_set(why, ERR_INVALID, "user %s is root, or in root's group", name);
	if (!text_copy(user->name, sizeof(user->name), name))
		return err_set(why, ERR_TOO_BIG, "user %s: the name is too long", name);
	user->uid = entry.pw_uid;
	user->gid = entry.pw_gid;
	return 0;
}
