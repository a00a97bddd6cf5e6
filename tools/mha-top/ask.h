/* One switchover, asked for by a process of its own: the screen goes on meanwhile. */
#ifndef MHA_TOP_ASK_H
#define MHA_TOP_ASK_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

struct asking {
	pid_t helper; /* 0: nobody is asked */
	int fd;       /* readable when the answer has come */
	size_t size;
	char text[600];
};

void asking_init(struct asking *asking);
/* Ask the local agent for a switchover to `target`. */
MUST_CHECK int asking_begin(struct asking *asking, const char *run_dir, const char *target,
			    struct err *why);
/* The descriptor is readable. True: `text` is the whole answer. */
bool asking_read(struct asking *asking);
/* Does not take back what was asked for. */
void asking_end(struct asking *asking);

#endif
