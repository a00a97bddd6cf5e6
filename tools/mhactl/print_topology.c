/* Who streams from whom. */
#include <string.h>

#include "base/macros.h"
#include "mhactl/print.h"
#include "mhactl/table.h"
#include "view/format.h"

#define ROWS_MAX 32

struct tree {
	const Mha__Client__Status *status;
	bool shown[ROWS_MAX];
};

static size_t count_of(const Mha__Client__Status *status)
{
	return status->n_members < ROWS_MAX ? status->n_members : ROWS_MAX;
}

/* The next member that is not shown yet and streams from `upstream`; count: none. */
static size_t next_below(const struct tree *tree, const char *upstream)
{
	const size_t count = count_of(tree->status);

	for (size_t i = 0; i < count; i++) {
		const Mha__Client__Member *member = tree->status->members[i];

		if (!tree->shown[i] && upstream[0] != '\0' &&
		    strcmp(member->upstream, upstream) == 0)
			return i;
	}
	return count;
}

static void show(struct tree *tree, size_t row, unsigned depth, bool colours, FILE *to)
{
	const Mha__Client__Member *member = tree->status->members[row];
	const enum table_style style =
		strcmp(member->state, "serving") == 0 ? STYLE_GOOD : STYLE_PLAIN;
	char lag[FORMAT_SIZE];

	tree->shown[row] = true;
	fprintf(to, "%*s%s%s  %s, %s%s%s", (int)(2 * depth), "", depth > 0 ? "+ " : "",
		member->name, member->role, style_on(style, colours), member->state,
		style_off(style, colours));
	if (member->timeline != 0)
		fprintf(to, ", timeline %u", member->timeline);
	if (depth > 0)
		fprintf(to, ", %s behind", format_bytes(member->lag_bytes, lag));
	fputc('\n', to);
}

/* `root` and everything below it, whatever the depth; a ring is shown once. */
static void show_tree(struct tree *tree, size_t root, bool colours, FILE *to)
{
	const size_t count = count_of(tree->status);
	size_t path[ROWS_MAX];
	unsigned depth = 0;

	path[0] = root;
	show(tree, root, 0, colours, to);
	for (;;) {
		const size_t below = next_below(tree, tree->status->members[path[depth]]->name);

		if (below < count) {
			path[++depth] = below;
			show(tree, below, depth, colours, to);
		} else if (depth-- == 0) {
			return;
		}
	}
}

void print_topology(const Mha__Client__Status *status, bool colours, FILE *to)
{
	struct tree tree = {.status = status};
	const size_t count = count_of(status);

	for (size_t i = 0; i < count; i++) {
		if (strcmp(status->members[i]->role, "primary") == 0)
			show_tree(&tree, i, colours, to);
	}
	/* Whose upstream is shown nowhere above. */
	for (unsigned pass = 0; pass < 2; pass++) {
		for (size_t i = 0; i < count; i++) {
			if (!tree.shown[i] &&
			    (pass == 1 || status->members[i]->upstream[0] == '\0'))
				show_tree(&tree, i, colours, to);
		}
	}
}
