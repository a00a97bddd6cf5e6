/* Bounds of everything the core keeps. Fixed, so that states are plain values. */
#ifndef MHA_CORE_LIMITS_H
#define MHA_CORE_LIMITS_H

#define NODES_MAX       9  /* members of one cluster, witnesses included; ids are 1..NODES_MAX */
#define NODE_NAME_SIZE  33 /* with the final NUL */
#define LINEAGE_MAX     64 /* epochs whose timeline and fork are remembered */
#define EARLIER_MAX     8  /* promotions that may be unsettled at the same time */
#define WAL_HISTORY_MAX 32 /* forks of one node's own timeline history that are compared */
#define DECISIONS_MAX   32 /* decision records kept in the replicated state */
#define OPERATIONS_MAX  8  /* planned operations kept in it, the finished ones included */
/*
 * Each promotion is given a number so far beyond the last one. What a server promotes to on its
 * own, by a human's hand or after a promotion that nobody saw the end of, is the next free number:
 * it falls into the gap and is never taken for a recorded timeline.
 */
#define TIMELINE_STEP 4
#define EFFECTS_MAX   32 /* effects of one step */
/* How long a database that does not answer is kept when nobody could take over. */
#define HUNG_PATIENCE_NS UINT64_C(30000000000)
/* A standby so many bytes behind is not waited for yet, nor switched over to: one WAL segment. */
#define JOIN_LAG_MAX (UINT64_C(16) << 20)

#endif
