#include "client/remote.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "os/secret.h"
#include "wire/key.h"

#define AGENTS_SIZE_MAX 65536

/* A port is behind the last colon, unless that is inside an IPv6 address. */
static bool has_port(const char *host)
{
	const char *colon = strrchr(host, ':');

	if (colon == NULL || strchr(colon, ']') != NULL)
		return false;
	return host[0] == '[' || strchr(host, ':') == colon;
}

bool client_agent_key(const char *text, const char *host, char key[41])
{
	while (*text != '\0') {
		char name[128], value[64], more;
		const size_t length = strcspn(text, "\n");
		char line[256];

		snprintf(line, sizeof(line), "%.*s", (int)(length < 255 ? length : 255), text);
		text += length + (text[length] == '\n');
		if (line[0] == '#' || sscanf(line, "%127s %63s %c", name, value, &more) != 2)
			continue;
		if (strcmp(name, host) == 0 && text_is_z85_key(value))
			return text_copy(key, 41, value);
	}
	return false;
}

static int find_in_file(const char *path, const char *host, const char *endpoint, char key[41],
			struct err *why)
{
	size_t size;
	char *text;
	int rc = secret_load(path, geteuid(), SECRET_PUBLIC, AGENTS_SIZE_MAX, &text, &size, why);

	if (rc < 0)
		return err_in(why, rc, "the agents' public keys");
	if (!client_agent_key(text, host, key) &&
	    !client_agent_key(text, endpoint + strlen("tcp://"), key))
		rc = err_set(why, ERR_NOT_FOUND, "%s: has no row for %s", path, host);
	free(text);
	return rc;
}

static int find_server(const struct client_remote *remote, const char *endpoint, char key[41],
		       struct err *why)
{
	char path[PATH_MAX];

	if (remote->server_key != NULL && text_is_z85_key(remote->server_key))
		return text_copy(key, 41, remote->server_key) ? 0 : ERR_TOO_BIG;
	if (remote->server_key != NULL)
		return find_in_file(remote->server_key, remote->host, endpoint, key, why);
	if (snprintf(path, sizeof(path), "%s.agents", remote->key_file) >= (int)sizeof(path))
		return err_set(why, ERR_TOO_BIG, "%s: the path is too long", remote->key_file);
	return find_in_file(path, remote->host, endpoint, key, why);
}

static int read_own(const char *path, struct client_keys *keys, struct err *why)
{
	struct key key;
	size_t size;
	char *text;
	int rc = secret_load(path, geteuid(), SECRET_PRIVATE, KEY_FILE_MAX, &text, &size, why);

	if (rc < 0)
		return rc;
	rc = key_parse(text, &key, why);
	if (rc == 0) {
		memcpy(keys->public, key.public, sizeof(keys->public));
		memcpy(keys->secret, key.secret, sizeof(keys->secret));
	}
	explicit_bzero(text, size);
	free(text);
	explicit_bzero(&key, sizeof(key));
	return rc < 0 ? err_in(why, rc, "%s", path) : 0;
}

int client_remote_endpoint(const char *host, char endpoint[CLIENT_ENDPOINT_SIZE], struct err *why)
{
	const bool six = host[0] != '[' && strchr(host, ':') != strrchr(host, ':');
	int length;

	if (has_port(host))
		length = snprintf(endpoint, CLIENT_ENDPOINT_SIZE, "tcp://%s", host);
	else
		length = snprintf(endpoint, CLIENT_ENDPOINT_SIZE,
				  six ? "tcp://[%s]:%d" : "tcp://%s:%d", host, CLIENT_PORT);
	if (length < 0 || length >= CLIENT_ENDPOINT_SIZE)
		return err_set(why, ERR_TOO_BIG, "host: at most %d characters",
			       CLIENT_ENDPOINT_SIZE - 16);
	return 0;
}

int client_remote_find(const struct client_remote *remote, char endpoint[CLIENT_ENDPOINT_SIZE],
		       struct client_keys *keys, struct err *why)
{
	int rc;

	memset(keys, 0, sizeof(*keys));
	if ((rc = client_remote_endpoint(remote->host, endpoint, why)) < 0)
		return rc;
	if (remote->key_file == NULL)
		return err_set(why, ERR_INVALID, "a key is needed to speak to another host: --key");
	if ((rc = find_server(remote, endpoint, keys->server, why)) < 0)
		return rc;
	return read_own(remote->key_file, keys, why);
}
