/*
 * A cluster of three data nodes as node n1 sees it: n1 is the primary of epoch 4, n2 and n3
 * stream from it, n2 or n3 must flush each commit, and three decisions are on record.
 */
#ifndef MHA_TESTS_GATEWAY_FIXTURE_H
#define MHA_TESTS_GATEWAY_FIXTURE_H

#include "view/view.h"

#define FIXTURE_NOW_NS  UINT64_C(500000000000)
#define FIXTURE_WALL_MS UINT64_C(1790000000000) /* 2026-09-21 14:13:20 UTC */

/* Every section as if written at `now_ns`; the lease and the fence have 800 ms left. */
void fixture_sections(struct sections *sections, uint64_t now_ns, uint64_t wall_ms);
/* The same facts from n2's side: the lease is n1's, the local fence is gone. */
void fixture_be_standby(struct sections *sections);
/* What the configuration of the cluster says. */
void fixture_setup(struct view_setup *setup);

#endif
