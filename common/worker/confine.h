/*
 * The last step of the road from root to a worker, in the worker itself, when its libraries are
 * loaded and before it reads what anybody else has written. The master has done the others: user,
 * capabilities, limits, descriptors (procs/master/spawn.c).
 */
#ifndef MHA_WORKER_CONFINE_H
#define MHA_WORKER_CONFINE_H

#include "conf/conf.h"
#include "wire/bus.h"

/*
 * Make this process undumpable and bind it to the files, ports and system calls of its row of
 * workers.def, as sandbox.* of the configuration says. `control`: where a refused call is told
 * (-1: nowhere). ERR_NOT_FOUND: Landlock is required and this kernel has none.
 */
MUST_CHECK int worker_confine(enum worker_id id, const struct conf *conf, int control,
			      struct err *why);

#endif
