/* A one-time token. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "fuzz.h"
#include "wire/token.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	char *text = malloc(size + 1), again[TOKEN_SIZE];
	struct token token;
	struct err why = {0};

	if (text == NULL)
		return 0;
	memcpy(text, bytes, size);
	text[size] = '\0';
	if (token_parse(text, &token, &why) == 0) {
		token_format(&token, again);
		CHECK(strcmp(text, again) == 0);
	} else {
		CHECK(why.text[0] != '\0' && token.key.secret[0] == '\0');
	}
	free(text);
	return 0;
}
