#include "mhactl/table.h"

#include <stdarg.h>
#include <string.h>

#include "base/check.h"

void table_init(struct table *table, const struct table_column *columns, unsigned count)
{
	CHECK(count <= TABLE_COLUMNS_MAX);
	memset(table, 0, sizeof(*table));
	table->columns = columns;
	table->column_count = count;
}

bool table_row(struct table *table)
{
	if (table->row_count == TABLE_ROWS_MAX)
		return false;
	table->row_count++;
	return true;
}

void table_cell(struct table *table, unsigned column, enum table_style style, const char *format,
		...)
{
	unsigned row = table->row_count - 1;
	va_list args;

	CHECK(table->row_count > 0 && column < table->column_count);
	va_start(args, format);
	vsnprintf(table->cells[row][column], TABLE_CELL_SIZE, format, args);
	va_end(args);
	table->styles[row][column] = style;
}

const char *style_on(enum table_style style, bool colours)
{
	if (!colours || style == STYLE_PLAIN)
		return "";
	switch (style) {
	case STYLE_GOOD:
		return "\033[32m";
	case STYLE_BAD:
		return "\033[31m";
	default:
		return "\033[1m";
	}
}

const char *style_off(enum table_style style, bool colours)
{
	return colours && style != STYLE_PLAIN ? "\033[0m" : "";
}

static size_t column_width(const struct table *table, unsigned column)
{
	size_t width = strlen(table->columns[column].title);

	for (unsigned row = 0; row < table->row_count; row++) {
		size_t length = strlen(table->cells[row][column]);

		if (length > width)
			width = length;
	}
	return width;
}

static void dashes(size_t count, FILE *to)
{
	for (size_t i = 0; i < count; i++)
		fputc('-', to);
}

static void rule(const size_t *widths, unsigned count, FILE *to)
{
	for (unsigned i = 0; i < count; i++) {
		fputc('+', to);
		dashes(widths[i] + 2, to);
	}
	fputs("+\n", to);
}

/* The title stands in the upper rule where there is room for it. */
static void title_rule(const size_t *widths, unsigned count, const char *title, FILE *to)
{
	size_t total = 0, length = strlen(title);

	for (unsigned i = 0; i < count; i++)
		total += widths[i] + 3;
	fprintf(to, "+ %s ", title);
	dashes(total > length + 3 ? total - length - 3 : 0, to);
	fputs("+\n", to);
}

void table_print(const struct table *table, const char *title, bool colours, FILE *to)
{
	size_t widths[TABLE_COLUMNS_MAX] = {0};

	for (unsigned i = 0; i < table->column_count; i++)
		widths[i] = column_width(table, i);
	title_rule(widths, table->column_count, title, to);
	for (unsigned i = 0; i < table->column_count; i++)
		fprintf(to, "| %-*s ", (int)widths[i], table->columns[i].title);
	fputs("|\n", to);
	rule(widths, table->column_count, to);
	for (unsigned row = 0; row < table->row_count; row++) {
		for (unsigned i = 0; i < table->column_count; i++) {
			enum table_style style = table->styles[row][i];
			int width = table->columns[i].right ? (int)widths[i] : -(int)widths[i];

			fprintf(to, "| %s%*s%s ", style_on(style, colours), width,
				table->cells[row][i], style_off(style, colours));
		}
		fputs("|\n", to);
	}
	rule(widths, table->column_count, to);
}
