#include "os/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"

int notify_open(struct notify *notify, struct err *why)
{
	const char *name = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const size_t length = name != NULL ? strlen(name) : 0;

	notify->fd = -1;
	if (length == 0)
		return 0;
	if ((name[0] != '/' && name[0] != '@') || length >= sizeof(address.sun_path))
		return err_set(why, ERR_INVALID, "NOTIFY_SOCKET=%.100s is no usable socket name",
			       name);
	memcpy(address.sun_path, name, length);
	if (name[0] == '@') /* the abstract namespace */
		address.sun_path[0] = '\0';
	notify->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (notify->fd < 0)
		return err_set_errno(why, ERR_IO, errno, "NOTIFY_SOCKET");
	if (connect(notify->fd, (const struct sockaddr *)&address,
		    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)) < 0) {
		const int code = err_set_errno(why, ERR_IO, errno, "NOTIFY_SOCKET=%.100s", name);

		close(notify->fd);
		notify->fd = -1;
		return code;
	}
	return 0;
}

void notify_send(const struct notify *notify, const char *state)
{
	if (notify->fd >= 0 && send(notify->fd, state, strlen(state), MSG_NOSIGNAL) < 0)
		log_event(LOG_WARNING, "master.notify", "%s: %s", state, strerror(errno));
}
