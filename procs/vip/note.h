/*
 * What a set element of the fence says about itself, as its comment: which cluster opened it, for
 * which epoch, under a lease or not. A restarted vip goes on from it, and `nft list` shows it.
 *
 *   "lease epoch 7 cluster 00c0ffee00c0ffee"      "standby epoch 7 cluster 00c0ffee00c0ffee"
 *   "switchover epoch 7 cluster 00c0ffee00c0ffee"
 */
#ifndef MHA_VIP_NOTE_H
#define MHA_VIP_NOTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

#define NOTE_SIZE 80

enum note_kind {
	NOTE_LEASE,      /* everybody, under a lease */
	NOTE_STANDBY,    /* everybody, without one */
	NOTE_SWITCHOVER, /* a member's address, under a lease */
	NOTE_KIND_COUNT
};

struct note {
	uint8_t kind; /* enum note_kind */
	uint64_t epoch;
	uint64_t cluster; /* conf_cluster_digest() */
};

/* Returns `text`. */
const char *note_print(const struct note *note, char text[static NOTE_SIZE]);
/* False on anything that note_print() does not write. `size` bytes, termination not needed. */
MUST_CHECK bool note_parse(struct note *note, const char *text, size_t size);

#endif
