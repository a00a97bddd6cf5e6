/* The whole screen of mha-top as lines. Pure. */
#ifndef MHA_TOP_RENDER_H
#define MHA_TOP_RENDER_H

#include "top/lines.h"
#include "top/model.h"

/*
 * `lines` was given its size by lines_init(). `frame` is the last one with a status, or NULL;
 * `trouble` says why there is no newer one, or is empty.
 */
void top_render(const struct top_model *model, const Mha__Client__Frame *frame, const char *trouble,
		struct lines *lines);

/* The parts, for render.c. */
void render_members(const struct top_model *model, const Mha__Client__Frame *frame,
		    struct lines *lines);
void render_workers(const struct top_model *model, const Mha__Client__Status *status,
		    struct lines *lines);
/* At most `shown` of them. */
void render_failovers(const struct top_model *model, const Mha__Client__Frame *frame,
		      unsigned shown, struct lines *lines);
/* What is left of the screen. */
void render_notes(const struct top_model *model, const Mha__Client__Frame *frame,
		  struct lines *lines);
/* Every page but the main one. */
void render_page(const struct top_model *model, const Mha__Client__Frame *frame,
		 struct lines *lines);

#endif
