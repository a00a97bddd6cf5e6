/* An agent on another host, as the command line names it. */
#ifndef MHA_CLIENT_REMOTE_H
#define MHA_CLIENT_REMOTE_H

#include <stdbool.h>

#include "client/client.h"

#define CLIENT_PORT 7401 /* of client.listen by default */

struct client_remote {
	const char *host;     /* HOST, HOST:PORT or [ADDRESS]:PORT */
	const char *key_file; /* the client's key (mha-keygen), its owner's alone */
	const char
		*server_key; /* the agent's public key, a file with it, or NULL: KEY_FILE.agents */
};

/* "tcp://HOST:PORT" of what is named so. */
MUST_CHECK int client_remote_endpoint(const char *host, char endpoint[CLIENT_ENDPOINT_SIZE],
				      struct err *why);

/*
 * The endpoint of `remote->host`, and the keys for it. A file of agents' keys has a row "HOST
 * KEY" or "HOST:PORT KEY" for each, '#' begins a comment. ERR_PERM: others can use the key file;
 * ERR_NOT_FOUND: a file is missing, or has no row for this host; ERR_INVALID.
 */
MUST_CHECK int client_remote_find(const struct client_remote *remote,
				  char endpoint[CLIENT_ENDPOINT_SIZE], struct client_keys *keys,
				  struct err *why);

/* The key of `host` ("HOST:PORT" or "HOST") in the text of such a file; false: it has none. */
bool client_agent_key(const char *text, const char *host, char key[41]);

#endif
