#include "engine/pg_page.h"

#include <string.h>

#include "base/text.h"

#define LANES          32
#define PRIME          UINT32_C(16777619)
#define WORDS_PER_PAGE (PG_PAGE_BYTES / sizeof(uint32_t))
/* Where the header keeps the checksum, and where the free space ends; both 16 bits wide. */
#define AT_CHECKSUM 8
#define AT_UPPER    14

/* Where each lane begins: part of the format on disk, as the order of the bytes is. */
static const uint32_t LANE_BEGINS[LANES] = {
	0x5B1F36E9, 0xB8525960, 0x02AB50AA, 0x1DE66D2A, 0x79FF467A, 0x9BB9F8A3, 0x217E7CD2,
	0x83E13D2C, 0xF8D4474F, 0xE39EB970, 0x42C6AE16, 0x993216FA, 0x7B093B5D, 0x98DAFF3C,
	0xF718902A, 0x0B1C9CDB, 0xE58F764B, 0x187636BC, 0x5D7B3BB1, 0xE73DE7DE, 0x92BEC979,
	0xCCA6C0B2, 0x304A0979, 0x85AA43D4, 0x783125BB, 0x6CA8EAA2, 0xE407EAC6, 0x4B5CFC3E,
	0x9FBF8C76, 0x15CA20BE, 0xF2CA9FD3, 0x959BD756,
};

static inline uint32_t mix(uint32_t lane, uint32_t word)
{
	const uint32_t mixed = lane ^ word;

	return mixed * PRIME ^ mixed >> 17;
}

uint16_t pg_page_stored(const unsigned char page[PG_PAGE_BYTES])
{
	uint16_t stored;

	memcpy(&stored, page + AT_CHECKSUM, sizeof(stored));
	return stored;
}

/* 32 lanes of FNV-1a side by side over the words of the page, its own checksum taken as 0. */
uint16_t pg_page_checksum(const unsigned char page[PG_PAGE_BYTES], uint32_t block)
{
	uint32_t words[WORDS_PER_PAGE], lanes[LANES], sum = 0;

	memcpy(words, page, sizeof(words));
	memset((unsigned char *)words + AT_CHECKSUM, 0, sizeof(uint16_t));
	memcpy(lanes, LANE_BEGINS, sizeof(lanes));
	for (unsigned at = 0; at < WORDS_PER_PAGE; at += LANES)
		for (unsigned lane = 0; lane < LANES; lane++)
			lanes[lane] = mix(lanes[lane], words[at + lane]);
	for (unsigned lane = 0; lane < LANES; lane++)
		sum ^= mix(mix(lanes[lane], 0), 0);
	/* A page in the wrong place is not the page; and no checksum is 0. */
	return (uint16_t)((sum ^ block) % 65535 + 1);
}

static bool is_unused(const unsigned char page[PG_PAGE_BYTES])
{
	return page[0] == 0 && memcmp(page, page + 1, PG_PAGE_BYTES - 1) == 0;
}

bool pg_page_good(const unsigned char page[PG_PAGE_BYTES], uint32_t block)
{
	uint16_t upper;

	/* Until it is given its header a page is only zeros. */
	memcpy(&upper, page + AT_UPPER, sizeof(upper));
	if (upper == 0)
		return is_unused(page);
	return pg_page_stored(page) == pg_page_checksum(page, block);
}

static bool skip(const char **text, const char *word)
{
	const size_t length = strlen(word);

	if (strncmp(*text, word, length) != 0)
		return false;
	*text += length;
	return true;
}

bool pg_page_file(const char *name, uint32_t *segment)
{
	static const char digits[] = "0123456789";
	const size_t length = strspn(name, digits);
	uint64_t number = 0;

	*segment = 0;
	if (length == 0)
		return false;
	name += length;
	if (!skip(&name, "_fsm") && !skip(&name, "_vm"))
		(void)skip(&name, "_init");
	if (*name == '\0')
		return true;
	if (*name != '.' || !text_parse_u64(name + 1, &number) || number > UINT16_MAX)
		return false;
	*segment = (uint32_t)number;
	return true;
}
