/* The terminal of mha-top. */
#ifndef MHA_TOP_SCREEN_H
#define MHA_TOP_SCREEN_H

#include "view/source.h"

/* Draw until the user quits or a signal ends it. Returns 0, or an error before drawing. */
MUST_CHECK int screen_run(struct source *source, unsigned interval_ms, bool colours, bool ascii,
			  struct err *why);

#endif
