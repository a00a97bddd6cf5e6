#include "client/handle.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

#include "base/check.h"
#include "base/text.h"
#include "wire/key.h"

#define POLL_MS_MIN     50
#define POLL_MS_MAX     60000
#define POLL_MS_DEFAULT 1000

_Static_assert((int)MHA_ERR_INVALID == ERR_INVALID && (int)MHA_ERR_IO == ERR_IO &&
		       (int)MHA_ERR_TOO_BIG == ERR_TOO_BIG && (int)MHA_ERR_CORRUPT == ERR_CORRUPT &&
		       (int)MHA_ERR_BUSY == ERR_BUSY,
	       "the codes of mha.h are those of base/err.h");
_Static_assert(CLIENT_KEY_SIZE == KEY_SIZE, "one size of keys");

const char *mha_error_name(int code)
{
	if (code == MHA_ERR_NO_LEADER)
		return "no_leader";
	if (code == MHA_ERR_NO_REPLICA)
		return "no_replica";
	return err_name(code);
}

const char *mha_version(void)
{
	return MHA_VERSION;
}

int error_tell(struct mha_error *error, int code, const struct err *why)
{
	/* What an agent refuses is nothing that the caller could tell apart. */
	if (code == ERR_GONE || code == ERR_STALE || code == ERR_REFUSED)
		code = MHA_ERR_IO;
	else if (code == ERR_NOT_ALLOWED)
		code = MHA_ERR_PERM;
	if (error != NULL && code != 0) {
		error->code = code;
		snprintf(error->text, sizeof(error->text), "%s", why->text);
	}
	return code;
}

static size_t size_of(const void *object)
{
	size_t size;

	memcpy(&size, object, sizeof(size));
	return size;
}

int struct_check(const void *to, size_t size, const char *what, struct err *why)
{
	if (to == NULL || size_of(to) < size)
		return err_set(why, ERR_INVALID,
			       "%s: its size must be set to sizeof the struct (%zu bytes)", what,
			       size);
	return 0;
}

int struct_take(void *to, size_t size, const void *from, const char *what, struct err *why)
{
	const unsigned char *bytes = from;
	int rc = struct_check(from, size, what, why);

	if (rc < 0)
		return rc;
	for (size_t i = size; i < size_of(from); i++) {
		if (bytes[i] != 0)
			return err_set(why, ERR_VERSION,
				       "%s: byte %zu is set, but libmha %s knows only %zu; a newer "
				       "library is needed",
				       what, i, MHA_VERSION, size);
	}
	memcpy(to, from, size);
	return 0;
}

void struct_give(void *to, const void *from, size_t size)
{
	const size_t head = sizeof(size_t);

	memcpy((char *)to + head, (const char *)from + head, size - head);
}

int link_open(const struct mha *mha, const struct link *link, struct client **client,
	      struct err *why)
{
	struct client_keys keys;
	int rc;

	if (link->server_key[0] == '\0')
		return client_open_in(client, mha->context, link->endpoint, NULL, why);
	memcpy(keys.server, link->server_key, sizeof(keys.server));
	memcpy(keys.public, mha->public_key, sizeof(keys.public));
	memcpy(keys.secret, mha->secret_key, sizeof(keys.secret));
	rc = client_open_in(client, mha->context, link->endpoint, &keys, why);
	explicit_bzero(&keys, sizeof(keys));
	return rc;
}

int link_ask(struct client *client, uint64_t *id, struct err *why)
{
	Mha__Client__Request request = MHA__CLIENT__REQUEST__INIT;
	Mha__Client__GetStatus call = MHA__CLIENT__GET_STATUS__INIT;
	int rc;

	request.call_case = MHA__CLIENT__REQUEST__CALL_GET_STATUS;
	request.get_status = &call;
	rc = client_send(client, &request, why);
	*id = request.id;
	return rc;
}

/* One of `options.seeds`: an address in one of its forms. */
static int seed_endpoint(const char *seed, char endpoint[CLIENT_ENDPOINT_SIZE], struct err *why)
{
	const char *colon = strrchr(seed, ':');
	struct in6_addr v6;
	int length;

	if (strncmp(seed, "tcp://", 6) == 0 || strncmp(seed, "ipc://", 6) == 0)
		length = snprintf(endpoint, CLIENT_ENDPOINT_SIZE, "%s", seed);
	else if (inet_pton(AF_INET6, seed, &v6) == 1)
		length = snprintf(endpoint, CLIENT_ENDPOINT_SIZE, "tcp://[%s]:%d", seed,
				  PORT_DEFAULT);
	else if (colon == NULL ||
		 (seed[0] == '[' && colon[-1] != ']' && seed[strlen(seed) - 1] == ']'))
		length =
			snprintf(endpoint, CLIENT_ENDPOINT_SIZE, "tcp://%s:%d", seed, PORT_DEFAULT);
	else
		length = snprintf(endpoint, CLIENT_ENDPOINT_SIZE, "tcp://%s", seed);
	if (length < 0 || length >= CLIENT_ENDPOINT_SIZE)
		return err_set(why, ERR_TOO_BIG, "seeds: '%.60s...' is longer than %d characters",
			       seed, CLIENT_ENDPOINT_SIZE - 1);
	return 0;
}

static int key_take(char to[CLIENT_KEY_SIZE], const char *from, const char *what, struct err *why)
{
	uint8_t raw[CLIENT_KEY_SIZE];

	if (strlen(from) != CLIENT_KEY_SIZE - 1 || zmq_z85_decode(raw, from) == NULL)
		return err_set(why, ERR_INVALID, "%s: a public key has 40 characters of Z85", what);
	memcpy(to, from, CLIENT_KEY_SIZE);
	return 0;
}

/* "address" or "address key". */
static int seed_add(struct mha *mha, char *text, struct err *why)
{
	struct link *link = &mha->links[mha->link_count];
	char *key;
	int rc;

	text += strspn(text, " \t\n");
	key = text + strcspn(text, " \t\n");
	if (*key != '\0')
		*key++ = '\0';
	key += strspn(key, " \t\n");
	key[strcspn(key, " \t\n")] = '\0';
	if (text[0] == '\0')
		return err_set(why, ERR_INVALID, "seeds: an address is missing between commas");
	if (mha->link_count == LINKS_MAX)
		return err_set(why, ERR_TOO_BIG, "seeds: at most %d", LINKS_MAX);
	if ((rc = seed_endpoint(text, link->endpoint, why)) < 0)
		return rc;
	if (key[0] != '\0') {
		if ((rc = key_take(link->server_key, key, "seeds", why)) < 0)
			return rc;
		mha->curve = true;
	}
	link->seed = true;
	mha->link_count++;
	return 0;
}

static int seeds_take(struct mha *mha, const char *seeds, struct err *why)
{
	char *copy = seeds != NULL ? strdup(seeds) : NULL;
	char *rest = copy, *seed;
	int rc = 0;

	if (seeds == NULL || seeds[strspn(seeds, " \t\n")] == '\0') {
		free(copy);
		return err_set(why, ERR_INVALID,
			       "seeds: at least one agent's address is wanted, such as "
			       "tcp://10.0.0.1:7401");
	}
	if (copy == NULL)
		return err_set(why, ERR_NO_MEMORY, "seeds: %zu bytes", strlen(seeds) + 1);
	while (rc == 0 && (seed = strsep(&rest, ",")) != NULL)
		rc = seed_add(mha, seed, why);
	free(copy);
	return rc;
}

/* The text never gets into an error. */
static int key_file_take(struct mha *mha, const char *path, struct err *why)
{
	char text[KEY_FILE_MAX];
	struct key key;
	ssize_t size;
	int rc, fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		return err_set_errno(why, errno == EACCES ? ERR_PERM : ERR_NOT_FOUND, errno,
				     "key_file %s", path);
	size = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (size < 0)
		return err_set_errno(why, ERR_IO, errno, "key_file %s", path);
	text[size] = '\0';
	rc = key_parse(text, &key, why);
	explicit_bzero(text, sizeof(text));
	if (rc < 0)
		return err_in(why, rc, "key_file %s", path);
	memcpy(mha->public_key, key.public, sizeof(mha->public_key));
	memcpy(mha->secret_key, key.secret, sizeof(mha->secret_key));
	explicit_bzero(&key, sizeof(key));
	return 0;
}

static int keys_take(struct mha *mha, const struct mha_options *options, struct err *why)
{
	int rc = 0;

	if (options->server_key != NULL) {
		if ((rc = key_take(mha->server_key, options->server_key, "server_key", why)) < 0)
			return rc;
		mha->curve = true;
	}
	if (options->key_file != NULL && !mha->curve)
		return err_set(why, ERR_INVALID,
			       "key_file: server_key is missing, or a key behind each seed");
	if (!mha->curve)
		return 0;
	if (options->key_file == NULL)
		return err_set(why, ERR_INVALID,
			       "server_key: key_file is missing; mha-keygen makes one");
	for (unsigned i = 0; i < mha->link_count; i++) {
		struct link *link = &mha->links[i];

		if (link->server_key[0] == '\0' && strncmp(link->endpoint, "tcp://", 6) == 0)
			memcpy(link->server_key, mha->server_key, sizeof(link->server_key));
		if (link->server_key[0] == '\0' && strncmp(link->endpoint, "tcp://", 6) == 0)
			return err_set(why, ERR_INVALID,
				       "seeds: %s has no key of its own, and "
				       "server_key is not given",
				       link->endpoint);
	}
	return key_file_take(mha, options->key_file, why);
}

static int options_take(struct mha *mha, const struct mha_options *given, struct err *why)
{
	struct mha_options options;
	int rc;

	if ((rc = struct_take(&options, sizeof(options), given, "mha_options", why)) < 0)
		return rc;
	if (options.port > 65535)
		return err_set(why, ERR_INVALID, "port: %u is over 65535", options.port);
	if (options.poll_ms != 0 &&
	    (options.poll_ms < POLL_MS_MIN || options.poll_ms > POLL_MS_MAX))
		return err_set(why, ERR_INVALID, "poll_ms: %u is not within %d to %d",
			       options.poll_ms, POLL_MS_MIN, POLL_MS_MAX);
	mha->port = options.port;
	mha->poll_ms = options.poll_ms != 0 ? options.poll_ms : POLL_MS_DEFAULT;
	if (options.cluster != NULL &&
	    !text_copy(mha->cluster, sizeof(mha->cluster), options.cluster))
		return err_set(why, ERR_TOO_BIG, "cluster: at most %d characters",
			       MHA_NAME_SIZE - 1);
	if ((rc = seeds_take(mha, options.seeds, why)) < 0)
		return rc;
	return keys_take(mha, &options, why);
}

int mha_open(struct mha **opened, const struct mha_options *options, struct mha_error *error)
{
	struct err why = {0};
	struct mha *mha = calloc(1, sizeof(*mha));
	int rc;

	*opened = NULL;
	if (mha == NULL)
		return error_tell(error, err_set(&why, ERR_NO_MEMORY, "handle"), &why);
	CHECK(pthread_mutex_init(&mha->lock, NULL) == 0);
	CHECK(pthread_mutex_init(&mha->ending, NULL) == 0);
	rc = options_take(mha, options, &why);
	if (rc == 0) {
		mha->context = zmq_ctx_new();
		if (mha->context == NULL)
			rc = err_set(&why, ERR_IO, "ZeroMQ: %s", zmq_strerror(zmq_errno()));
	}
	if (rc < 0) {
		mha_close(mha);
		return error_tell(error, rc, &why);
	}
	*opened = mha;
	return 0;
}

void mha_close(struct mha *mha)
{
	if (mha == NULL)
		return;
	mha_stop_thread(mha);
	listen_close(mha);
	if (mha->context != NULL)
		zmq_ctx_term(mha->context);
	CHECK(pthread_mutex_destroy(&mha->ending) == 0);
	CHECK(pthread_mutex_destroy(&mha->lock) == 0);
	explicit_bzero(mha->secret_key, sizeof(mha->secret_key));
	free(mha);
}

void mha_free(char *text)
{
	free(text);
}
