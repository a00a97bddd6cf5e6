#include "client/client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

#include "base/check.h"

#define FRAMES_PASSED_OVER_MAX 64

struct client {
	void *context; /* NULL: somebody else's */
	void *socket;
	void *monitor; /* with keys: tells that a handshake failed; else NULL */
	uint64_t last_id;
	char endpoint[CLIENT_ENDPOINT_SIZE];
};

int client_local_endpoint(const char *run_dir, char endpoint[CLIENT_ENDPOINT_SIZE], struct err *why)
{
	struct stat seen;
	int length = snprintf(endpoint, CLIENT_ENDPOINT_SIZE, "ipc://%s/client.sock", run_dir);

	if (length < 0 || length >= CLIENT_ENDPOINT_SIZE)
		return err_set(why, ERR_TOO_BIG, "run directory %s: the path is too long", run_dir);
	if (stat(endpoint + strlen("ipc://"), &seen) < 0)
		return err_set_errno(why, errno == EACCES ? ERR_PERM : ERR_NOT_FOUND, errno, "%s",
				     endpoint + strlen("ipc://"));
	return 0;
}

/* ZeroMQ would go on trying in silence; one plain connect tells what is wrong. */
static int probe_local(const char *path, struct err *why)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd, rc = 0;

	if (strlen(path) >= sizeof(address.sun_path))
		return err_set(why, ERR_TOO_BIG, "%s: the path of a socket has at most %zu bytes",
			       path, sizeof(address.sun_path) - 1);
	memcpy(address.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_set_errno(why, ERR_IO, errno, "socket");
	/* EAGAIN: somebody listens, with a full queue. */
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 && errno != EAGAIN)
		rc = err_set_errno(why,
				   errno == ENOENT         ? ERR_NOT_FOUND
				   : errno == ECONNREFUSED ? ERR_GONE
				   : errno == EACCES       ? ERR_PERM
							   : ERR_IO,
				   errno, "%s", path);
	close(fd);
	return rc;
}

static int zmq_failed(const char *what, struct err *why)
{
	return err_set(why, ERR_IO, "%s: %s", what, zmq_strerror(zmq_errno()));
}

static int set_int(void *socket, int option, int value)
{
	return zmq_setsockopt(socket, option, &value, sizeof(value));
}

#define MONITOR "inproc://handshake"

static int set_keys(struct client *client, const struct client_keys *keys, struct err *why)
{
	const size_t size = sizeof(keys->server) - 1;

	if (zmq_setsockopt(client->socket, ZMQ_CURVE_SERVERKEY, keys->server, size) != 0 ||
	    zmq_setsockopt(client->socket, ZMQ_CURVE_PUBLICKEY, keys->public, size) != 0 ||
	    zmq_setsockopt(client->socket, ZMQ_CURVE_SECRETKEY, keys->secret, size) != 0)
		return zmq_failed("keys", why);
	return 0;
}

static int watch_handshake(struct client *client, struct err *why)
{
	if (zmq_socket_monitor(client->socket, MONITOR,
			       ZMQ_EVENT_HANDSHAKE_FAILED_AUTH |
				       ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL |
				       ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL) != 0)
		return zmq_failed("watch the handshake", why);
	client->monitor = zmq_socket(client->context, ZMQ_PAIR);
	if (client->monitor == NULL || set_int(client->monitor, ZMQ_LINGER, 0) != 0 ||
	    zmq_connect(client->monitor, MONITOR) != 0)
		return zmq_failed("watch the handshake", why);
	return 0;
}

static int client_connect(struct client *client, void *context, const struct client_keys *keys,
			  struct err *why)
{
	const int64_t reply_max = CLIENT_REPLY_MAX;

	if (context == NULL)
		context = client->context = zmq_ctx_new();
	if (context == NULL)
		return zmq_failed("ZeroMQ", why);
	client->socket = zmq_socket(context, ZMQ_DEALER);
	if (client->socket == NULL || set_int(client->socket, ZMQ_LINGER, 0) != 0 ||
	    set_int(client->socket, ZMQ_IPV6, 1) != 0 ||
	    zmq_setsockopt(client->socket, ZMQ_MAXMSGSIZE, &reply_max, sizeof(reply_max)) != 0)
		return zmq_failed("ZeroMQ socket", why);
	if (keys != NULL && set_keys(client, keys, why) < 0)
		return ERR_IO;
	/* Only client_call() looks, and the monitor's name is one per context. */
	if (keys != NULL && client->context != NULL && watch_handshake(client, why) < 0)
		return ERR_IO;
	if (zmq_connect(client->socket, client->endpoint) != 0)
		return zmq_failed(client->endpoint, why);
	return 0;
}

int client_open(struct client **opened, const char *endpoint, const struct client_keys *keys,
		struct err *why)
{
	return client_open_in(opened, NULL, endpoint, keys, why);
}

int client_open_in(struct client **opened, void *context, const char *endpoint,
		   const struct client_keys *keys, struct err *why)
{
	struct client *client;
	int rc;

	*opened = NULL;
	if (strlen(endpoint) >= CLIENT_ENDPOINT_SIZE)
		return err_set(why, ERR_TOO_BIG, "endpoint: at most %d characters",
			       CLIENT_ENDPOINT_SIZE - 1);
	if (strncmp(endpoint, "tcp://", 6) != 0 && strncmp(endpoint, "ipc://", 6) != 0)
		return err_set(why, ERR_INVALID,
			       "endpoint '%s': tcp://address:port or ipc:///path is wanted",
			       endpoint);
	if (strncmp(endpoint, "ipc://", 6) == 0 && (rc = probe_local(endpoint + 6, why)) < 0)
		return rc;
	client = calloc(1, sizeof(*client));
	if (client == NULL)
		return err_set(why, ERR_NO_MEMORY, "client: %zu bytes", sizeof(*client));
	memcpy(client->endpoint, endpoint, strlen(endpoint) + 1);
	if ((rc = client_connect(client, context, keys, why)) < 0) {
		client_close(client);
		return rc;
	}
	*opened = client;
	return 0;
}

void client_close(struct client *client)
{
	if (client == NULL)
		return;
	if (client->monitor != NULL) {
		(void)zmq_socket_monitor(client->socket, NULL, 0);
		zmq_close(client->monitor);
	}
	if (client->socket != NULL)
		zmq_close(client->socket);
	if (client->context != NULL)
		zmq_ctx_term(client->context);
	free(client);
}

int64_t client_now_ms(void)
{
	struct timespec now;

	CHECK(clock_gettime(CLOCK_BOOTTIME, &now) == 0);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int client_send(struct client *client, Mha__Client__Request *request, struct err *why)
{
	uint8_t *bytes;
	size_t size;
	int rc = 0;

	request->version = CLIENT_VERSION;
	request->id = ++client->last_id;
	size = mha__client__request__get_packed_size(request);
	bytes = malloc(size);
	if (bytes == NULL)
		return err_set(why, ERR_NO_MEMORY, "request: %zu bytes", size);
	CHECK(mha__client__request__pack(request, bytes) == size);
	if (zmq_send(client->socket, bytes, size, ZMQ_DONTWAIT) < 0)
		rc = zmq_failed(client->endpoint, why);
	free(bytes);
	return rc;
}

Mha__Client__Reply *client_take(struct client *client)
{
	Mha__Client__Reply *reply = NULL;

	/* Bounded: whoever floods this socket does not keep the caller here. */
	for (unsigned i = 0; i < FRAMES_PASSED_OVER_MAX && reply == NULL; i++) {
		zmq_msg_t frame;
		bool any;

		CHECK(zmq_msg_init(&frame) == 0);
		any = zmq_msg_recv(&frame, client->socket, ZMQ_DONTWAIT) >= 0;
		if (any)
			reply = mha__client__reply__unpack(NULL, zmq_msg_size(&frame),
							   zmq_msg_data(&frame));
		zmq_msg_close(&frame);
		if (!any)
			break;
	}
	return reply;
}

bool client_waiting(struct client *client)
{
	int events = 0;
	size_t size = sizeof(events);

	return zmq_getsockopt(client->socket, ZMQ_EVENTS, &events, &size) == 0 &&
	       (events & ZMQ_POLLIN) != 0;
}

int client_fd(struct client *client)
{
	int fd = -1;
	size_t size = sizeof(fd);

	CHECK(zmq_getsockopt(client->socket, ZMQ_FD, &fd, &size) == 0);
	return fd;
}

void *client_socket(struct client *client)
{
	return client->socket;
}

Mha__Client__Reply *client_reply_decode(const void *bytes, size_t size, uint64_t id)
{
	Mha__Client__Reply *reply = mha__client__reply__unpack(NULL, size, bytes);

	/* An agent that could not read the request does not know its id. */
	if (reply != NULL && reply->id != id && !(reply->id == 0 && reply->code != 0)) {
		mha__client__reply__free_unpacked(reply, NULL);
		reply = NULL;
	}
	return reply;
}

/* One frame; NULL for one that is no reply to `id` (a late one to an earlier request). */
static Mha__Client__Reply *client_receive(struct client *client, uint64_t id)
{
	Mha__Client__Reply *reply = NULL;
	zmq_msg_t frame;

	CHECK(zmq_msg_init(&frame) == 0);
	if (zmq_msg_recv(&frame, client->socket, ZMQ_DONTWAIT) >= 0)
		reply = client_reply_decode(zmq_msg_data(&frame), zmq_msg_size(&frame), id);
	zmq_msg_close(&frame);
	return reply;
}

int client_reply_check(const Mha__Client__Reply *reply, struct err *why)
{
	if (reply->version != CLIENT_VERSION)
		return err_set(why, ERR_VERSION,
			       "the agent answers in protocol version %u, this client speaks %d",
			       reply->version, CLIENT_VERSION);
	if (reply->code != 0)
		return err_set(why, reply->code < 0 ? reply->code : ERR_INVALID,
			       "the agent refuses: %s", reply->error);
	return 0;
}

/* [uint16 event, uint32 value][endpoint] */
static int handshake_failed(struct client *client, struct err *why)
{
	uint16_t event = 0;
	zmq_msg_t part;

	CHECK(zmq_msg_init(&part) == 0);
	if (zmq_msg_recv(&part, client->monitor, ZMQ_DONTWAIT) >= 0 &&
	    zmq_msg_size(&part) >= sizeof(event))
		memcpy(&event, zmq_msg_data(&part), sizeof(event));
	zmq_msg_close(&part);
	if (event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH)
		return err_set(why, ERR_PERM,
			       "%s: the agent does not know this key; its row in "
			       "client.authorized_file is missing, or was not reloaded",
			       client->endpoint);
	return err_set(why, ERR_PERM,
		       "%s: no CURVE handshake: the agent has another public key than was given, "
		       "or its client.secret_file is not set",
		       client->endpoint);
}

int client_call(struct client *client, Mha__Client__Request *request, unsigned timeout_ms,
		Mha__Client__Reply **reply, struct err *why)
{
	const int64_t deadline = client_now_ms() + timeout_ms;
	int rc;

	*reply = NULL;
	if ((rc = client_send(client, request, why)) < 0)
		return rc;
	while (*reply == NULL) {
		zmq_pollitem_t items[2] = {{.socket = client->socket, .events = ZMQ_POLLIN},
					   {.socket = client->monitor, .events = ZMQ_POLLIN}};
		int64_t left = deadline - client_now_ms();

		if (left <= 0)
			return err_set(why, ERR_TIMEOUT, "%s: no answer within %u ms",
				       client->endpoint, timeout_ms);
		if (zmq_poll(items, client->monitor != NULL ? 2 : 1, (long)left) < 0 &&
		    zmq_errno() != EINTR)
			return zmq_failed(client->endpoint, why);
		if (items[0].revents & ZMQ_POLLIN)
			*reply = client_receive(client, request->id);
		else if (items[1].revents & ZMQ_POLLIN)
			return handshake_failed(client, why);
	}
	rc = client_reply_check(*reply, why);
	if (rc < 0) {
		client_reply_free(*reply);
		*reply = NULL;
	}
	return rc;
}

void client_reply_free(Mha__Client__Reply *reply)
{
	if (reply != NULL)
		mha__client__reply__free_unpacked(reply, NULL);
}
