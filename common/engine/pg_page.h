/*
 * A page of a relation's file as PostgreSQL 12 and later writes it, and whether its checksum is
 * that of its content. Pure.
 */
#ifndef MHA_ENGINE_PG_PAGE_H
#define MHA_ENGINE_PG_PAGE_H

#include <stdbool.h>
#include <stdint.h>

#define PG_PAGE_BYTES 8192

/* What stands in the page, and what belongs there. `block`: its number within the relation. */
uint16_t pg_page_stored(const unsigned char page[PG_PAGE_BYTES]);
uint16_t pg_page_checksum(const unsigned char page[PG_PAGE_BYTES], uint32_t block);

/* Never used (all bytes 0), or its checksum fits. */
bool pg_page_good(const unsigned char page[PG_PAGE_BYTES], uint32_t block);

/*
 * The name of a file with pages of a relation: "16384", "16384_vm", "16384_fsm.2", ...; `segment`
 * is the number behind the point, or 0. False: another file, or one of a temporary relation.
 */
bool pg_page_file(const char *name, uint32_t *segment);

#endif
