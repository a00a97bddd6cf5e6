/* A small table for a terminal: cells of text, columns as wide as their widest cell. */
#ifndef MHA_MHACTL_TABLE_H
#define MHA_MHACTL_TABLE_H

#include <stdbool.h>
#include <stdio.h>

#include "base/macros.h"

#define TABLE_COLUMNS_MAX 12
#define TABLE_ROWS_MAX    16
#define TABLE_CELL_SIZE   80

enum table_style { STYLE_PLAIN = 0, STYLE_GOOD, STYLE_BAD, STYLE_STRONG };

struct table_column {
	const char *title;
	bool right; /* align to the right */
};

struct table {
	const struct table_column *columns;
	unsigned column_count;
	unsigned row_count;
	char cells[TABLE_ROWS_MAX][TABLE_COLUMNS_MAX][TABLE_CELL_SIZE];
	enum table_style styles[TABLE_ROWS_MAX][TABLE_COLUMNS_MAX];
};

/* `columns` is borrowed. */
void table_init(struct table *table, const struct table_column *columns, unsigned count);
/* Start a row; false when there is no room. */
bool table_row(struct table *table);
/* Set a cell of the last row; what does not fit is cut. */
void table_cell(struct table *table, unsigned column, enum table_style style, const char *format,
		...) PRINTF_LIKE(4, 5);
/* As patronictl draws it, with `title` in the upper rule. */
void table_print(const struct table *table, const char *title, bool colours, FILE *to);

/* Escape sequences, or "" without colours. */
const char *style_on(enum table_style style, bool colours);
const char *style_off(enum table_style style, bool colours);

#endif
