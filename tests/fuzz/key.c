/* A key file. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "fuzz.h"
#include "wire/key.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	char *text = malloc(size + 1), again[KEY_FILE_MAX];
	struct key key, same;
	struct err why = {0};

	if (text == NULL)
		return 0;
	memcpy(text, bytes, size);
	text[size] = '\0';
	if (key_parse(text, &key, &why) == 0) {
		CHECK(key_format(&key, again) == 2 * KEY_SIZE);
		CHECK(key_parse(again, &same, &why) == 0);
		CHECK(strcmp(key.public, same.public) == 0);
	} else {
		CHECK(why.text[0] != '\0' && key.secret[0] == '\0');
	}
	free(text);
	return 0;
}
