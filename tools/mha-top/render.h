/* The whole screen of mha-top as lines. Pure. */
#ifndef MHA_TOP_RENDER_H
#define MHA_TOP_RENDER_H

#include "top/lines.h"
#include "top/model.h"

/* `lines` was given its size by lines_init(). */
void top_render(const struct top_model *model, const struct view *view, struct lines *lines);
/* What the keys do. */
void top_render_help(struct lines *lines);

#endif
