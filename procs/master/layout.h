/* The run and state directories: who owns what, and so who may talk to whom. */
#ifndef MHA_MASTER_LAYOUT_H
#define MHA_MASTER_LAYOUT_H

#include "conf/conf.h"
#include "os/user.h"
#include "table.h"

struct layout {
	int lock_fd;   /* run_dir/mhad.lock, held for life */
	int status_fd; /* run_dir/status */
};

/*
 * Take run_dir for this process alone (ERR_BUSY: another mhad has it), then make, with exact
 * owners and modes:
 *
 *   run_dir/                      root        0755
 *   run_dir/status/               root        0755  kept over restarts
 *   run_dir/bus/TO/FROM/          TO:FROM     0710  one pair per route; emptied
 *   run_dir/client/               mha-gateway 0755  emptied; run_dir/client.sock links into it
 *   state_dir/                    root        0755
 *   state_dir/raft/               mha-consensus 0700
 */
MUST_CHECK int layout_make(struct layout *layout, const struct conf *conf,
			   const struct os_user users[MASTER_WORKER_COUNT], struct err *why);

/* Open a section's file, creating it when it is missing: root's, 0644. A descriptor or an error. */
MUST_CHECK int layout_open_status(const struct layout *layout, enum status_section_id section,
				  struct err *why);

#endif
