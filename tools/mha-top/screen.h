/* The terminal of mha-top. */
#ifndef MHA_TOP_SCREEN_H
#define MHA_TOP_SCREEN_H

#include "top/origin.h"

struct screen_setup {
	const char *run_dir; /* of the local agent; NULL: it is not the one that is watched */
	unsigned interval_ms;
	bool colours;
	bool ascii;
	bool replay;
	bool headless; /* nothing is drawn and no key is read: only the recording is made */
};

/* Draw until the user quits or a signal ends it. Returns 0, or an error. */
MUST_CHECK int screen_run(struct origin *origin, const struct screen_setup *setup, struct err *why);

#endif
