#include "os/watchdog.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/watchdog.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/check.h"
#include "base/text.h"

static int open_error(int errnum, const char *device, struct err *why)
{
	int code = ERR_IO;

	if (errnum == ENOENT || errnum == ENODEV || errnum == ENXIO)
		code = ERR_NOT_FOUND;
	else if (errnum == EBUSY)
		code = ERR_BUSY;
	else if (errnum == EACCES || errnum == EPERM)
		code = ERR_PERM;
	return err_set_errno(why, code, errnum, "watchdog.device %s", device);
}

/* Before this has succeeded, nothing is written: it may be anybody's file. */
static int check_support(struct watchdog *watchdog, const char *device, struct err *why)
{
	struct watchdog_info info;

	memset(&info, 0, sizeof(info));
	if (ioctl(watchdog->fd, WDIOC_GETSUPPORT, &info) < 0)
		return err_set_errno(why, ERR_INVALID, errno,
				     "watchdog.device %s does not answer as a watchdog", device);
	memcpy(watchdog->identity, info.identity, sizeof(info.identity));
	watchdog->identity[sizeof(watchdog->identity) - 1] = '\0';
	for (char *c = watchdog->identity; *c != '\0'; c++) {
		if (*c < ' ' || *c > '~')
			*c = '?';
	}
	if ((info.options & WDIOF_MAGICCLOSE) == 0)
		return err_set(why, ERR_INVALID,
			       "watchdog.device %s (%s) stops counting when its owner is killed",
			       device, watchdog->identity);
	return 0;
}

static int set_timeout(struct watchdog *watchdog, const char *device, uint32_t wished,
		       struct err *why)
{
	int timeout = (int)wished;

	/* A driver with one fixed timeout does not know the first call. */
	if (ioctl(watchdog->fd, WDIOC_SETTIMEOUT, &timeout) < 0 && errno != EOPNOTSUPP &&
	    errno != ENOTTY)
		return err_set_errno(why, ERR_INVALID, errno,
				     "watchdog.device %s: a timeout of %u s", device, wished);
	if (ioctl(watchdog->fd, WDIOC_GETTIMEOUT, &timeout) < 0)
		return err_set_errno(why, ERR_INVALID, errno, "watchdog.device %s: timeout",
				     device);
	if (timeout < 1 || (uint32_t)timeout > 2 * wished)
		return err_set(why, ERR_INVALID,
			       "watchdog.device %s counts to %d s, watchdog.timeout wants %u s",
			       device, timeout, wished);
	watchdog->timeout_s = (uint32_t)timeout;
	return 0;
}

int watchdog_arm(struct watchdog *watchdog, const char *device, uint32_t timeout_s, struct err *why)
{
	struct err undone;
	int rc;

	CHECK(timeout_s >= 1 && timeout_s <= 300);
	*watchdog = (struct watchdog){.fd = open(device, O_WRONLY | O_CLOEXEC)};
	if (watchdog->fd < 0)
		return open_error(errno, device, why);
	if ((rc = check_support(watchdog, device, why)) < 0) {
		close(watchdog->fd);
		watchdog->fd = -1;
		return rc;
	}
	if ((rc = set_timeout(watchdog, device, timeout_s, why)) == 0)
		rc = watchdog_feed(watchdog, why);
	/* What cannot be relied on must not count either. */
	if (rc < 0 && watchdog_disarm(watchdog, &undone) < 0)
		return err_in(why, rc, "%s", undone.text);
	return rc;
}

int watchdog_feed(const struct watchdog *watchdog, struct err *why)
{
	int unused = 0;

	if (ioctl(watchdog->fd, WDIOC_KEEPALIVE, &unused) < 0)
		return err_set_errno(why, ERR_IO, errno, "feed the watchdog");
	return 0;
}

int watchdog_disarm(struct watchdog *watchdog, struct err *why)
{
	int rc = 0;

	if (watchdog->fd < 0)
		return 0;
	if (write(watchdog->fd, "V", 1) != 1)
		rc = err_set_errno(why, ERR_IO, errno, "disarm the watchdog");
	if (close(watchdog->fd) < 0 && rc == 0)
		rc = err_set_errno(why, ERR_IO, errno, "close the watchdog");
	watchdog->fd = -1;
	return rc;
}
