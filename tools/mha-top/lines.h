/* Lines of styled text, cut to the width of the screen. Knows no terminal. */
#ifndef MHA_TOP_LINES_H
#define MHA_TOP_LINES_H

#include <stdbool.h>

#include "base/macros.h"

#define LINES_MAX         128
#define LINE_CELLS_MAX    250
#define LINE_SIZE         (LINE_CELLS_MAX * 4 + 1)
#define LINE_SEGMENTS_MAX 48

enum line_style {
	LINE_PLAIN = 0,
	LINE_TITLE,
	LINE_HEADER,
	LINE_GOOD,
	LINE_WARN,
	LINE_BAD,
	LINE_DIM,
	LINE_SELECTED,
	LINE_STYLE_COUNT
};

/* `length` bytes of the text have this style. */
struct line_segment {
	enum line_style style;
	unsigned length;
};

struct line {
	char text[LINE_SIZE]; /* UTF-8, every character one cell wide */
	unsigned bytes;
	unsigned cells;
	unsigned segment_count;
	struct line_segment segments[LINE_SEGMENTS_MAX];
};

struct lines {
	unsigned width;  /* cells, at most LINE_CELLS_MAX */
	unsigned height; /* lines that may be put, at most LINES_MAX */
	unsigned count;
	struct line list[LINES_MAX];
};

void lines_init(struct lines *lines, unsigned width, unsigned height);
/* Start a line. False: the screen is full, and what is put is thrown away. */
bool lines_new(struct lines *lines);
/* Append to the last line; what goes over the width is cut. Control characters become '?'. */
void lines_put(struct lines *lines, enum line_style style, const char *format, ...)
	PRINTF_LIKE(3, 4);
/* Blanks up to column `cell` of the last line. */
void lines_to(struct lines *lines, unsigned cell);
/* `text` so that it ends before column `cell`. */
void lines_put_right(struct lines *lines, enum line_style style, unsigned cell, const char *text);
/* A whole line at once; nothing when the screen is full. */
void lines_add(struct lines *lines, enum line_style style, const char *text);

#endif
