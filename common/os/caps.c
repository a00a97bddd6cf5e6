#include "os/caps.h"

#include <errno.h>
#include <stddef.h>
#include <sys/capability.h>
#include <sys/prctl.h>

int caps_bound(uint64_t keep, struct err *why)
{
	for (cap_value_t cap = 0; cap < 64; cap++) {
		const int bound = prctl(PR_CAPBSET_READ, (unsigned long)cap, 0, 0, 0);

		if (bound < 0) /* beyond the last one that this kernel knows */
			return 0;
		if (bound == 0 || (keep >> cap & 1) != 0)
			continue;
		if (prctl(PR_CAPBSET_DROP, (unsigned long)cap, 0, 0, 0) < 0)
			return err_set_errno(why, errno == EPERM ? ERR_PERM : ERR_IO, errno,
					     "drop capability %d from the bounding set", cap);
	}
	return 0;
}

static int apply(uint64_t keep, cap_t state)
{
	if (cap_clear(state) < 0)
		return -1;
	for (cap_value_t cap = 0; cap < 64; cap++) {
		if ((keep >> cap & 1) == 0)
			continue;
		if (cap_set_flag(state, CAP_PERMITTED, 1, &cap, CAP_SET) < 0 ||
		    cap_set_flag(state, CAP_EFFECTIVE, 1, &cap, CAP_SET) < 0 ||
		    cap_set_flag(state, CAP_INHERITABLE, 1, &cap, CAP_SET) < 0)
			return -1;
	}
	return cap_set_proc(state);
}

int caps_keep(uint64_t keep, bool ambient, struct err *why)
{
	cap_t state = cap_init();
	int rc;

	if (state == NULL)
		return err_set_errno(why, ERR_NO_MEMORY, errno, "capabilities");
	if (cap_reset_ambient() < 0) {
		cap_free(state);
		return err_set_errno(why, ERR_IO, errno, "clear ambient capabilities");
	}
	rc = apply(keep, state);
	cap_free(state);
	if (rc < 0)
		return err_set_errno(why, errno == EPERM ? ERR_PERM : ERR_IO, errno,
				     "set capabilities");
	for (cap_value_t cap = 0; ambient && cap < 64; cap++) {
		if ((keep >> cap & 1) != 0 && cap_set_ambient(cap, CAP_SET) < 0)
			return err_set_errno(why, ERR_IO, errno, "raise ambient capability %d",
					     cap);
	}
	return 0;
}

int caps_permitted(uint64_t *caps, struct err *why)
{
	cap_t state = cap_get_proc();

	*caps = 0;
	if (state == NULL)
		return err_set_errno(why, ERR_IO, errno, "read capabilities");
	for (cap_value_t cap = 0; cap < 64; cap++) {
		cap_flag_value_t value;

		if (cap_get_flag(state, cap, CAP_PERMITTED, &value) == 0 && value == CAP_SET)
			*caps |= CAP_BIT(cap);
	}
	cap_free(state);
	return 0;
}
