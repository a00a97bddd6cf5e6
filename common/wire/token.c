#include "wire/token.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <zmq.h>

#define PREFIX    "mha1."
#define KEY_BYTES 32

int token_make(const char *server, struct token *token, struct err *why)
{
	memset(token, 0, sizeof(*token));
	snprintf(token->server, sizeof(token->server), "%s", server);
	return key_make(&token->key, why);
}

static void put_hex(char **to, const char *z85)
{
	uint8_t bytes[KEY_BYTES];

	if (zmq_z85_decode(bytes, z85) == NULL)
		memset(bytes, 0, sizeof(bytes));
	for (unsigned i = 0; i < KEY_BYTES; i++)
		*to += snprintf(*to, 3, "%02x", bytes[i]);
	explicit_bzero(bytes, sizeof(bytes));
}

void token_format(const struct token *token, char text[TOKEN_SIZE])
{
	memcpy(text, PREFIX, sizeof(PREFIX));
	text += strlen(PREFIX);
	put_hex(&text, token->server);
	*text++ = '.';
	put_hex(&text, token->key.secret);
}

static bool take_hex(const char **text, char z85[KEY_SIZE])
{
	static const char DIGITS[] = "0123456789abcdef";
	uint8_t bytes[KEY_BYTES];
	bool good = true;

	for (unsigned i = 0; good && i < KEY_BYTES; i++) {
		const char *high = **text != '\0' ? strchr(DIGITS, (*text)[0]) : NULL;
		const char *low =
			high != NULL && (*text)[1] != '\0' ? strchr(DIGITS, (*text)[1]) : NULL;

		good = low != NULL;
		if (good) {
			bytes[i] = (uint8_t)((high - DIGITS) << 4 | (low - DIGITS));
			*text += 2;
		}
	}
	good = good && zmq_z85_encode(z85, bytes, KEY_BYTES) != NULL;
	explicit_bzero(bytes, sizeof(bytes));
	return good;
}

int token_parse(const char *text, struct token *token, struct err *why)
{
	memset(token, 0, sizeof(*token));
	if (strncmp(text, PREFIX, strlen(PREFIX)) == 0) {
		text += strlen(PREFIX);
		if (take_hex(&text, token->server) && *text == '.') {
			text++;
			if (take_hex(&text, token->key.secret) && *text == '\0' &&
			    zmq_curve_public(token->key.public, token->key.secret) == 0)
				return 0;
		}
	}
	explicit_bzero(token, sizeof(*token));
	return err_set(why, ERR_INVALID,
		       "this is no token: mha1., 64 hexadecimal digits, a point and 64 more, as "
		       "mhactl enroll-token prints it");
}
