/*
 * Decisions, blockers and faults as sentences for people. What is written here names nodes, numbers
 * and what an operator may do; nothing is decided on it. Pure: no I/O, no clock, no heap.
 */
#ifndef MHA_VIEW_EXPLAIN_H
#define MHA_VIEW_EXPLAIN_H

#include "core/call.h"
#include "view/view.h"

#define EXPLAIN_SENTENCES (NODES_MAX + 8)

struct explanation {
	unsigned count;
	char sentences[EXPLAIN_SENTENCES][VIEW_SENTENCE];
};

/* Why this decision was made, and what each node said. */
void explain_decision(const struct view *view, const struct decision *decision,
		      struct explanation *out);

/* Why nobody is promoted, after "nobody is promoted: ", and what an operator may do. */
void explain_hold(const struct view *view, const struct decision *held, uint8_t hold,
		  char reason[VIEW_SENTENCE], char advice[VIEW_SENTENCE]);

/* What value and limit of a blocker mean: "24 MB behind, at most 16 MB"; "" where they do not. */
const char *explain_blocker(const struct blocker *blocker, char buffer[VIEW_SENTENCE]);

/* "n1, n2 and n3"; "nobody" for the empty set. */
const char *explain_nodes(const struct view *view, node_set nodes, char buffer[VIEW_SENTENCE]);

#endif
