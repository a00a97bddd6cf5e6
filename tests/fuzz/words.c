/* What operators type, what tables in files say: numbers, times, addresses. */
#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "base/check.h"
#include "base/text.h"
#include "fuzz.h"
#include "gateway/routes.h"
#include "mhactl/when.h"
#include "peers.h"
#include "text.h"

#define NOW_MS UINT64_C(1790000000000)

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	char *text = fuzz_text(bytes, size), lsn_text[TEXT_LSN_SIZE];
	struct ip_prefix prefix;
	struct peer_address peer;
	uint64_t number, again;
	struct err why = {0};

	(void)!text_parse_u64(text, &number);
	if (text_parse_lsn(text, &number))
		CHECK(text_parse_lsn(text_format_lsn(number, lsn_text), &again) && again == number);
	if (text_is_name(text, 63))
		CHECK(strlen(text) <= 63 && strchr(text, '/') == NULL);
	(void)when_parse_span(text, &number);
	(void)when_parse_time(text, NOW_MS, &number);
	(void)http_parse_bytes(text, &number);
	if (ip_prefix_parse(&prefix, text, &why) == 0)
		CHECK(prefix.length >= 1 && prefix.length <= 8 * prefix.size);
	else
		CHECK(why.text[0] != '\0');
	if (peer_address_parse(&peer, text))
		CHECK(peer_address_size(peer.family) != 0);
	free(text);
	return 0;
}
