/* The leader's phases as a picture. */
#ifndef MHA_STATECHART_PICTURE_H
#define MHA_STATECHART_PICTURE_H

#include <stdio.h>

/* SVG. Arrows carry the numbers of the rows in the table. */
void picture_svg(FILE *to);

#endif
