/*
 * A one-time token, by which a new node proves itself to an agent and the agent to it: the agent's
 * public key and a CURVE secret key made for this one purpose, in hexadecimal:
 * "mha1.<64 digits>.<64 digits>". The agent keeps only the public key of the second.
 */
#ifndef MHA_WIRE_TOKEN_H
#define MHA_WIRE_TOKEN_H

#include "wire/key.h"

#define TOKEN_SIZE (5 + 64 + 1 + 64 + 1)

struct token {
	char server[KEY_SIZE]; /* the agent's public key */
	struct key key;        /* of whoever holds the token */
};

/* A new one. */
MUST_CHECK int token_make(const char *server, struct token *token, struct err *why);
void token_format(const struct token *token, char text[TOKEN_SIZE]);
/* Errors never quote the text; `token` is zeroed then. */
MUST_CHECK int token_parse(const char *text, struct token *token, struct err *why);

#endif
