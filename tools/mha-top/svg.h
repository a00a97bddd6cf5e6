/* The screen as a picture for the documentation. */
#ifndef MHA_TOP_SVG_H
#define MHA_TOP_SVG_H

#include <stdio.h>

#include "top/lines.h"

/* Without `colours` only bold tells parts from each other. False: the stream failed. */
MUST_CHECK bool svg_print(const struct lines *lines, bool colours, FILE *to);

#endif
