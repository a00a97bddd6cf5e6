#include "top/lines.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"

void lines_init(struct lines *lines, unsigned width, unsigned height)
{
	memset(lines, 0, sizeof(*lines));
	lines->width = width < LINE_CELLS_MAX ? width : LINE_CELLS_MAX;
	lines->height = height < LINES_MAX ? height : LINES_MAX;
}

bool lines_new(struct lines *lines)
{
	/* One beyond the last takes what does not fit. */
	if (lines->count > lines->height)
		return false;
	lines->count++;
	return lines->count <= lines->height;
}

static struct line *last_line(struct lines *lines)
{
	return lines->count > 0 && lines->count <= lines->height ? &lines->list[lines->count - 1]
								 : NULL;
}

/* Bytes of the character at `text`; 0 for what is no UTF-8. */
static unsigned character_size(const char *text)
{
	const unsigned char first = (unsigned char)text[0];
	unsigned size = first < 0x80 ? 1 : first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;

	if (first >= 0x80 && first < 0xc2)
		return 0;
	for (unsigned i = 1; i < size; i++) {
		if (((unsigned char)text[i] & 0xc0) != 0x80)
			return 0;
	}
	return size;
}

static void segment_grow(struct line *line, enum line_style style, unsigned bytes)
{
	struct line_segment *last =
		line->segment_count > 0 ? &line->segments[line->segment_count - 1] : NULL;

	if (last == NULL || (last->style != style && line->segment_count < LINE_SEGMENTS_MAX)) {
		last = &line->segments[line->segment_count++];
		*last = (struct line_segment){.style = style};
	}
	last->length += bytes;
}

static void append(struct lines *lines, enum line_style style, const char *text)
{
	struct line *line = last_line(lines);

	if (line == NULL)
		return;
	while (*text != '\0' && line->cells < lines->width) {
		unsigned size = character_size(text);
		bool printable = size > 1 || (size == 1 && *text >= ' ' && *text != 0x7f);

		if (printable)
			memcpy(line->text + line->bytes, text, size);
		else
			line->text[line->bytes] = '?';
		line->bytes += printable ? size : 1;
		line->cells++;
		segment_grow(line, style, printable ? size : 1);
		text += size > 0 ? size : 1;
	}
	line->text[line->bytes] = '\0';
}

void lines_put(struct lines *lines, enum line_style style, const char *format, ...)
{
	char text[LINE_SIZE];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	append(lines, style, text);
}

void lines_to(struct lines *lines, unsigned cell)
{
	struct line *line = last_line(lines);

	while (line != NULL && line->cells < cell && line->cells < lines->width)
		append(lines, LINE_PLAIN, " ");
}

void lines_put_right(struct lines *lines, enum line_style style, unsigned cell, const char *text)
{
	struct line *line = last_line(lines);
	unsigned length = 0;

	for (const char *at = text; *at != '\0'; at++)
		length += ((unsigned char)*at & 0xc0) != 0x80;
	if (line != NULL && cell > length)
		lines_to(lines, cell - length);
	append(lines, style, text);
}

void lines_add(struct lines *lines, enum line_style style, const char *text)
{
	if (lines_new(lines))
		append(lines, style, text);
}
