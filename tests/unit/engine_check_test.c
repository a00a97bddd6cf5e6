/* Pages and their checksums, and what the programs of the background check say. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/macros.h"
#include "engine/pg_check.h"
#include "engine/pg_page.h"

/* A page with a header: where the free space ends is not 0. */
static void fill(unsigned char page[PG_PAGE_BYTES], unsigned seed)
{
	uint16_t checksum;

	for (unsigned i = 0; i < PG_PAGE_BYTES; i++)
		page[i] = (unsigned char)(seed += seed * 1103515245 + 12345);
	page[14] = 0xf0;
	page[15] = 0x1f;
	checksum = pg_page_checksum(page, 7);
	memcpy(page + 8, &checksum, sizeof(checksum));
}

/* 16 bits cannot tell all pages apart: one change in 65,535 meets the same checksum. */
Test(engine_check, a_flipped_bit_of_a_page_is_seen)
{
	static unsigned char page[PG_PAGE_BYTES];
	unsigned missed = 0;

	for (unsigned seed = 1; seed < 4; seed++) {
		fill(page, seed);
		cr_assert(pg_page_good(page, 7));
		cr_expect_eq(pg_page_stored(page), pg_page_checksum(page, 7));
		for (unsigned bit = seed; bit < PG_PAGE_BYTES * 8; bit += 61) {
			page[bit / 8] ^= (unsigned char)(1 << bit % 8);
			missed += pg_page_good(page, 7);
			page[bit / 8] ^= (unsigned char)(1 << bit % 8);
		}
		cr_assert(pg_page_good(page, 7));
		cr_expect_not(pg_page_good(page, 8), "a page of another block");
	}
	cr_expect_leq(missed, 2);
}

Test(engine_check, a_page_never_used_is_only_zeros)
{
	static unsigned char page[PG_PAGE_BYTES];

	cr_expect(pg_page_good(page, 0));
	page[PG_PAGE_BYTES - 1] = 1;
	cr_expect_not(pg_page_good(page, 0));
	page[PG_PAGE_BYTES - 1] = 0;
	page[0] = 1;
	cr_expect_not(pg_page_good(page, 0));
}

/* As PostgreSQL 15 itself computes it: an empty heap page of block 0, and the same of block 1. */
Test(engine_check, the_checksum_is_that_of_the_server)
{
	static unsigned char page[PG_PAGE_BYTES];
	static const unsigned char header[] = {0, 0, 0,  0, 0, 0,  0, 0,  0, 0,
					       0, 0, 24, 0, 0, 32, 0, 32, 4, 32};

	memcpy(page, header, sizeof(header));
	cr_expect_eq(pg_page_checksum(page, 0), 25952, "%u", pg_page_checksum(page, 0));
	cr_expect_eq(pg_page_checksum(page, 1), 25951, "%u", pg_page_checksum(page, 1));
}

Test(engine_check, files_of_relations_are_told_from_others)
{
	static const struct {
		const char *name;
		bool is;
		uint32_t segment;
	} cases[] = {
		{"16384", true, 0},
		{"16384.12", true, 12},
		{"16384_vm", true, 0},
		{"16384_fsm.1", true, 1},
		{"16384_init", true, 0},
		{"PG_VERSION", false, 0},
		{"pg_control", false, 0},
		{"t3_16384", false, 0},
		{"16384_xyz", false, 0},
		{"16384.", false, 0},
		{"16384.1x", false, 0},
		{"16384.99999", false, 0},
		{"pg_filenode.map", false, 0},
		{"", false, 0},
		{"16384_vm_vm", false, 0},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		uint32_t segment = 99;

		cr_expect_eq(pg_page_file(cases[i].name, &segment), cases[i].is, "%s",
			     cases[i].name);
		if (cases[i].is)
			cr_expect_eq(segment, cases[i].segment, "%s", cases[i].name);
	}
}

Test(engine_check, a_pass_counts_and_names_the_first)
{
	struct pg_check_pass pass = {.bad = 0};

	cr_expect(pg_check_line(&pass, "unread 5 base/5/1247"));
	cr_expect(pg_check_line(&pass, "bad 3 28885 52780 base/5/16392"));
	cr_expect(pg_check_line(&pass, "bad 9 1 2 base/5/99"));
	cr_expect_eq(pass.bad, 2);
	cr_expect_str_eq(pass.text, "block 3 of base/5/16392 has checksum 70d5, not ce2c");
	cr_expect_not(pass.done);
	cr_expect(pg_check_line(&pass, "done 2829 2 1"));
	cr_expect(pass.done);
	cr_expect_eq(pass.pages, 2829);
	cr_expect_eq(pass.bad, 2);
	cr_expect_eq(pass.unread, 1);
}

Test(engine_check, other_lines_are_none)
{
	static const char *const lines[] = {
		"",         "bad",    "bad x 1 2 f", "bad 1 2 f",
		"done 1 2", "unread", "unread x f",  "mha-pagecheck: base: no"};

	for (size_t i = 0; i < COUNT_OF(lines); i++) {
		struct pg_check_pass pass = {.bad = 0};

		cr_expect_not(pg_check_line(&pass, lines[i]), "%s", lines[i]);
		cr_expect_not(pass.done || pass.bad > 0 || pass.text[0] != '\0');
	}
}

Test(engine_check, the_control_file_says_whether_there_are_checksums)
{
	struct pg_check_pass pass = {.told = 0};

	pg_check_control_line(&pass, "pg_control version number:            1300");
	pg_check_control_line(&pass, "Database block size:                  8192");
	pg_check_control_line(&pass, "Blocks per segment of large relation: 131072");
	cr_expect_not(pass.controlled);
	pg_check_control_line(&pass, "Data page checksum version:           1");
	cr_expect(pass.controlled);
	cr_expect_eq(pass.page_bytes, 8192);
	cr_expect_eq(pass.segment_blocks, 131072);
	cr_expect_eq(pass.checksums, 1);
}
