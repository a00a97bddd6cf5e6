#include "gateway/clients.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zmq.h>

#include "base/check.h"
#include "base/log.h"
#include "gateway/requests.h"
#include "wire/zloop.h"

#define REPLIES_QUEUED_MAX   64   /* per client; what is over is dropped */
#define EVENTS_QUEUED_MAX    1024 /* per subscriber */
#define REQUESTS_PER_TURN    32
#define REQUEST_PARTS_MAX    3 /* client, empty delimiter of a REQ socket, request */
#define HANDSHAKE_MS         3000
#define HEARTBEAT_MS         5000
#define HEARTBEAT_TIMEOUT_MS 15000
#define BACKLOG              128

struct clients {
	struct gateway *gateway;
	zsock_t *router;
	zsock_t *publisher; /* NULL: client.publish is empty */
	struct zloop_socket *watched;
};

/* One request as it came: parts[0] is the client, the last one the request. */
struct letter {
	unsigned count;
	bool too_many;
	zmq_msg_t parts[REQUEST_PARTS_MAX];
};

static void letter_free(struct letter *letter)
{
	for (unsigned i = 0; i < letter->count; i++)
		zmq_msg_close(&letter->parts[i]);
}

/* False: nothing more is waiting. Reads whole messages only, however many parts they have. */
static bool letter_receive(void *socket, struct letter *letter)
{
	bool more = true;

	letter->count = 0;
	letter->too_many = false;
	while (more) {
		zmq_msg_t part;

		CHECK(zmq_msg_init(&part) == 0);
		if (zmq_msg_recv(&part, socket, ZMQ_DONTWAIT) < 0) {
			zmq_msg_close(&part);
			letter_free(letter);
			return false;
		}
		more = zmq_msg_more(&part) != 0;
		if (letter->count == REQUEST_PARTS_MAX) {
			letter->too_many = true;
			zmq_msg_close(&part);
			continue;
		}
		letter->parts[letter->count++] = part;
	}
	return true;
}

/* The client, then a delimiter where the client's socket needs one, then the reply. */
static void letter_reply(void *socket, struct letter *letter, bool delimiter, const uint8_t *reply,
			 size_t size)
{
	zmq_msg_t *client = &letter->parts[0];

	/* A client that is gone, or whose queue is full, gets nothing; it may ask again. */
	if (zmq_send(socket, zmq_msg_data(client), zmq_msg_size(client),
		     ZMQ_DONTWAIT | ZMQ_SNDMORE) < 0)
		return;
	if (delimiter && zmq_send(socket, "", 0, ZMQ_DONTWAIT | ZMQ_SNDMORE) < 0)
		return;
	(void)zmq_send(socket, reply, size, ZMQ_DONTWAIT);
}

static void letter_answer(struct clients *clients, void *socket, struct letter *letter)
{
	struct gateway *gateway = clients->gateway;
	bool delimiter = letter->count >= 2 && zmq_msg_size(&letter->parts[1]) == 0;
	struct err why = {0};
	uint8_t *reply = NULL;
	bool refused = true;
	size_t size;

	if (letter->too_many || letter->count < 2 || (letter->count == 3) != delimiter) {
		err_set(&why, ERR_INVALID,
			"message: one frame with a mha.client.Request is wanted, after an empty "
			"one from a REQ socket");
		size = request_refuse(0, &why, &reply);
	} else {
		zmq_msg_t *request = &letter->parts[letter->count - 1];

		size = request_answer(zmq_msg_data(request), zmq_msg_size(request),
				      gateway_look(gateway), &gateway->events, &reply, &refused);
	}
	if (refused)
		gateway->counters.refused++;
	else
		gateway->counters.client_requests++;
	if (size > 0)
		letter_reply(socket, letter, delimiter, reply, size);
	free(reply);
}

static bool on_requests(void *arg, zsock_t *socket)
{
	struct clients *clients = arg;
	void *raw = zsock_resolve(socket);
	struct letter letter;

	for (unsigned i = 0; i < REQUESTS_PER_TURN; i++) {
		if (!letter_receive(raw, &letter))
			return false;
		letter_answer(clients, raw, &letter);
		letter_free(&letter);
	}
	return true;
}

static zsock_t *socket_new(int type, int queue)
{
	zsock_t *socket = zsock_new(type);

	if (socket == NULL)
		return NULL;
	zsock_set_sndhwm(socket, queue);
	zsock_set_rcvhwm(socket, REQUESTS_PER_TURN);
	zsock_set_linger(socket, 0);
	zsock_set_maxmsgsize(socket, REQUEST_BYTES_MAX);
	zsock_set_handshake_ivl(socket, HANDSHAKE_MS);
	zsock_set_heartbeat_ivl(socket, HEARTBEAT_MS);
	zsock_set_heartbeat_timeout(socket, HEARTBEAT_TIMEOUT_MS);
	zsock_set_backlog(socket, BACKLOG);
	zsock_set_ipv6(socket, 1);
	return socket;
}

static bool is_loopback(const char *endpoint)
{
	return strncmp(endpoint, "tcp://", 6) != 0 || strncmp(endpoint, "tcp://127.", 10) == 0 ||
	       strncmp(endpoint, "tcp://[::1]", 11) == 0;
}

static int socket_bind(zsock_t *socket, const char *key, const char *endpoint, struct err *why)
{
	if (strncmp(endpoint, "tcp://", 6) != 0 && strncmp(endpoint, "ipc://", 6) != 0)
		return err_set(why, ERR_INVALID, "%s: '%s': tcp://address:port is wanted", key,
			       endpoint);
	if (zmq_bind(zsock_resolve(socket), endpoint) != 0)
		return err_set(why, ERR_IO, "%s: bind %s: %s", key, endpoint,
			       zmq_strerror(zmq_errno()));
	if (!is_loopback(endpoint))
		log_event(LOG_WARNING, "gateway.plain",
			  "%s=%s is neither encrypted nor authenticated: everybody who reaches "
			  "it can read the cluster's state",
			  key, endpoint);
	return 0;
}

/* Who may enter the directory may ask; what is told here is no secret on this host. */
static int bind_local(struct clients *clients, struct err *why)
{
	const char *run_dir = clients->gateway->worker->conf.run_dir;
	char endpoint[192], path[160];
	struct stat seen;
	int rc;

	snprintf(path, sizeof(path), "%s/client", run_dir);
	if (stat(path, &seen) == 0 && S_ISDIR(seen.st_mode))
		snprintf(path, sizeof(path), "%s/client/client.sock", run_dir);
	else
		snprintf(path, sizeof(path), "%s/client.sock", run_dir);
	snprintf(endpoint, sizeof(endpoint), "ipc://%s", path);
	if ((rc = socket_bind(clients->router, "local request socket", endpoint, why)) < 0)
		return rc;
	if (chmod(path, 0666) < 0)
		return err_set_errno(why, ERR_IO, errno, "chmod %s", path);
	return 0;
}

static int open_router(struct clients *clients, struct err *why)
{
	const struct worker *worker = clients->gateway->worker;
	int rc;

	clients->router = socket_new(ZMQ_ROUTER, REPLIES_QUEUED_MAX);
	if (clients->router == NULL)
		return err_set(why, ERR_IO, "request socket: %s", zmq_strerror(zmq_errno()));
	if ((rc = bind_local(clients, why)) < 0)
		return rc;
	if (worker->conf.client_listen[0] != '\0' &&
	    (rc = socket_bind(clients->router, "client.listen", worker->conf.client_listen, why)) <
		    0)
		return rc;
	return zloop_attach(&clients->watched, worker->loop, clients->router, on_requests, clients,
			    why);
}

static int open_publisher(struct clients *clients, struct err *why)
{
	const char *endpoint = clients->gateway->worker->conf.client_publish;

	if (endpoint[0] == '\0')
		return 0;
	clients->publisher = socket_new(ZMQ_PUB, EVENTS_QUEUED_MAX);
	if (clients->publisher == NULL)
		return err_set(why, ERR_IO, "event socket: %s", zmq_strerror(zmq_errno()));
	return socket_bind(clients->publisher, "client.publish", endpoint, why);
}

int clients_open(struct clients **opened, struct gateway *gateway, struct err *why)
{
	struct clients *clients = calloc(1, sizeof(*clients));
	int rc;

	*opened = NULL;
	if (clients == NULL)
		return err_set(why, ERR_NO_MEMORY, "clients: %zu bytes", sizeof(*clients));
	clients->gateway = gateway;
	if ((rc = open_router(clients, why)) < 0 || (rc = open_publisher(clients, why)) < 0) {
		clients_close(clients);
		return rc;
	}
	*opened = clients;
	return 0;
}

void clients_close(struct clients *clients)
{
	if (clients == NULL)
		return;
	zloop_detach(clients->watched);
	zsock_destroy(&clients->router);
	zsock_destroy(&clients->publisher);
	free(clients);
}

void clients_publish(struct clients *clients, const struct event_row *row)
{
	Mha__Client__Event event;
	uint8_t *bytes;
	size_t size;
	void *socket;

	if (clients->publisher == NULL)
		return;
	event_row_to_message(row, &event);
	size = mha__client__event__get_packed_size(&event);
	bytes = malloc(size);
	if (bytes == NULL)
		return;
	CHECK(mha__client__event__pack(&event, bytes) == size);
	socket = zsock_resolve(clients->publisher);
	/* PUB never blocks: it drops for the subscriber whose queue is full. */
	if (zmq_send(socket, row->name, strlen(row->name), ZMQ_DONTWAIT | ZMQ_SNDMORE) >= 0 &&
	    zmq_send(socket, bytes, size, ZMQ_DONTWAIT) >= 0)
		clients->gateway->counters.events_published++;
	free(bytes);
}
