/* The configuration's keys as a Markdown table. */
#ifndef MHA_STATECHART_OPTIONS_H
#define MHA_STATECHART_OPTIONS_H

#include <stdio.h>

/* One table per section of the file, in the order of conf/options.def, then that of members[]. */
void options_markdown(FILE *to);

#endif
