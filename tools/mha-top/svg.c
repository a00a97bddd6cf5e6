#include "top/svg.h"

#define CELL_WIDTH  8.4
#define CELL_HEIGHT 18
#define MARGIN      12

static const char *colour_of(enum line_style style)
{
	switch (style) {
	case LINE_TITLE:
		return "#ffffff";
	case LINE_HEADER:
		return "#7fb4e8";
	case LINE_GOOD:
		return "#7fd88f";
	case LINE_WARN:
		return "#e8c66a";
	case LINE_BAD:
		return "#f07178";
	case LINE_DIM:
		return "#8a919e";
	default:
		return "#d6dae0";
	}
}

static void put_escaped(const char *text, unsigned length, FILE *to)
{
	for (unsigned i = 0; i < length; i++) {
		switch (text[i]) {
		case '&':
			fputs("&amp;", to);
			break;
		case '<':
			fputs("&lt;", to);
			break;
		case '>':
			fputs("&gt;", to);
			break;
		default:
			fputc(text[i], to);
		}
	}
}

static unsigned cells_of(const char *text, unsigned length)
{
	unsigned cells = 0;

	for (unsigned i = 0; i < length; i++)
		cells += ((unsigned char)text[i] & 0xc0) != 0x80;
	return cells;
}

static void put_line(const struct line *line, unsigned row, bool colours, FILE *to)
{
	const char *at = line->text;
	unsigned cell = 0;

	for (unsigned i = 0; i < line->segment_count; i++) {
		const struct line_segment *segment = &line->segments[i];
		unsigned cells = cells_of(at, segment->length);

		fprintf(to,
			"<text x=\"%.1f\" y=\"%u\" textLength=\"%.1f\" fill=\"%s\"%s "
			"xml:space=\"preserve\">",
			MARGIN + cell * CELL_WIDTH, MARGIN + (row + 1) * CELL_HEIGHT - 5,
			cells * CELL_WIDTH, colour_of(colours ? segment->style : LINE_PLAIN),
			segment->style == LINE_TITLE || segment->style == LINE_HEADER
				? " font-weight=\"bold\""
				: "");
		put_escaped(at, segment->length, to);
		fputs("</text>\n", to);
		cell += cells;
		at += segment->length;
	}
}

bool svg_print(const struct lines *lines, bool colours, FILE *to)
{
	double width = lines->width * CELL_WIDTH + 2 * MARGIN;
	unsigned height = lines->count * CELL_HEIGHT + 2 * MARGIN;

	fprintf(to,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%u\" "
		"font-family=\"DejaVu Sans Mono, Menlo, Consolas, monospace\" "
		"font-size=\"14\">\n<rect width=\"100%%\" height=\"100%%\" rx=\"6\" "
		"fill=\"#1b1f27\"/>\n",
		width, height);
	for (unsigned row = 0; row < lines->count; row++)
		put_line(&lines->list[row], row, colours, to);
	fputs("</svg>\n", to);
	return ferror(to) == 0;
}
