#include "wire/key.h"

#include <stdio.h>
#include <string.h>
#include <zmq.h>

int key_make(struct key *key, struct err *why)
{
	memset(key, 0, sizeof(*key));
	if (zmq_curve_keypair(key->public, key->secret) != 0)
		return err_set(why, ERR_IO, "make a CURVE key: %s", zmq_strerror(zmq_errno()));
	return 0;
}

int key_format(const struct key *key, char text[KEY_FILE_MAX])
{
	return snprintf(text, KEY_FILE_MAX, "%s\n%s\n", key->secret, key->public);
}

/* One line of exactly one key; `*text` moves behind it. */
static int read_line(const char **text, char key[KEY_SIZE])
{
	size_t length = strcspn(*text, "\r\n");

	if (length != KEY_SIZE - 1)
		return -1;
	memcpy(key, *text, length);
	key[length] = '\0';
	*text += length;
	*text += strspn(*text, "\r\n");
	return 0;
}

static int parse(const char *text, struct key *key, struct err *why)
{
	char stated[KEY_SIZE];

	if (read_line(&text, key->secret) < 0 || zmq_curve_public(key->public, key->secret) != 0)
		return err_set(why, ERR_INVALID,
			       "line 1 is no Z85 key of 40 characters; mha-keygen makes one");
	if (*text == '\0')
		return 0;
	if (read_line(&text, stated) < 0 || *text != '\0')
		return err_set(why, ERR_INVALID,
			       "line 2 is no Z85 key of 40 characters, or more lines follow");
	if (strcmp(stated, key->public) != 0)
		return err_set(why, ERR_INVALID,
			       "line 2 is not the public key of the secret key in line 1");
	return 0;
}

int key_parse(const char *text, struct key *key, struct err *why)
{
	memset(key, 0, sizeof(*key));

	int rc = parse(text, key, why);

	if (rc < 0)
		explicit_bzero(key, sizeof(*key));
	return rc;
}
