#include "gateway/doors.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "gateway/requests.h"
#include "os/clock.h"
#include "os/listen.h"

#define REPLIES_QUEUED_MAX   64   /* per client; what is over is dropped */
#define EVENTS_QUEUED_MAX    1024 /* per subscriber */
#define REQUESTS_QUEUED_MAX  32
#define HANDSHAKE_MS         3000
#define HEARTBEAT_MS         5000
#define HEARTBEAT_TIMEOUT_MS 15000
#define BACKLOG              128
#define LAST_REPLIES_MS      500 /* for what was answered when the door is renewed */
#define LOG_GAP_MS           60000
#define EVENTS_DOMAIN        "mha.events"

static const struct {
	int type;
	int queue;
	const char *key;
} KINDS[DOOR_COUNT] = {
	[DOOR_LOCAL] = {ZMQ_ROUTER, REPLIES_QUEUED_MAX, "local request socket"},
	[DOOR_REQUESTS] = {ZMQ_ROUTER, REPLIES_QUEUED_MAX, "client.listen"},
	[DOOR_EVENTS] = {ZMQ_PUB, EVENTS_QUEUED_MAX, "client.publish"},
};

static zsock_t *socket_new(enum door_id id)
{
	zsock_t *socket = zsock_new(KINDS[id].type);

	if (socket == NULL)
		return NULL;
	zsock_set_sndhwm(socket, KINDS[id].queue);
	zsock_set_rcvhwm(socket, REQUESTS_QUEUED_MAX);
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
	return strncmp(endpoint, "tcp://127.", 10) == 0 ||
	       strncmp(endpoint, "tcp://[::1]", 11) == 0;
}

/* Events are for whoever has a role; a token is good for a request only. */
static bool may_listen(void *arg, const char *key)
{
	const struct doors *doors = arg;

	return access_by_key(&(*doors->access)->clients, key) != NULL;
}

static bool may_ask(void *arg, const char *key)
{
	const struct doors *doors = arg;

	return may_listen(arg, key) || tokens_find(doors->tokens, key, clock_boot_ns()) != NULL;
}

static void on_stranger(void *arg, const char *text)
{
	struct doors *doors = arg;
	const uint64_t now_ms = uv_now(doors->worker->loop);

	doors->refused++;
	if (doors->refused > 1 && now_ms - doors->logged_ms < LOG_GAP_MS)
		return;
	doors->logged_ms = now_ms;
	log_event(LOG_WARNING, "gateway.stranger", "refused=%llu %s",
		  (unsigned long long)doors->refused, text);
}

/*
 * Who may enter the directory may ask (mode 0666): what is told here is no secret on this host. Who
 * may change something is decided by the credentials of the connection.
 */
static int bind_local(const struct doors *doors, struct err *why)
{
	const char *run_dir = doors->worker->conf.run_dir;
	char endpoint[192], path[160];
	struct stat seen;

	snprintf(path, sizeof(path), "%s/client", run_dir);
	if (stat(path, &seen) == 0 && S_ISDIR(seen.st_mode))
		snprintf(path, sizeof(path), "%s/client/client.sock", run_dir);
	else
		snprintf(path, sizeof(path), "%s/client.sock", run_dir);
	snprintf(endpoint, sizeof(endpoint), "ipc://%s", path);
	if (zmq_bind(zsock_resolve(doors->doors[DOOR_LOCAL].socket), endpoint) != 0)
		return err_set(why, ERR_IO, "bind %s: %s", endpoint, zmq_strerror(zmq_errno()));
	if (chmod(path, 0666) < 0)
		return err_set_errno(why, ERR_IO, errno, "chmod %s", path);
	return 0;
}

static void set_keys(const struct doors *doors, const struct door *door, const char *key,
		     const char *endpoint)
{
	if ((*doors->access)->curve) {
		zsock_set_zap_domain(door->socket, door == &doors->doors[DOOR_EVENTS]
							   ? EVENTS_DOMAIN
							   : ZAP_DOMAIN);
		zsock_set_curve_server(door->socket, 1);
		zsock_set_curve_secretkey(door->socket, (*doors->access)->key.secret);
	} else if (!is_loopback(endpoint)) {
		log_event(LOG_WARNING, "gateway.plain",
			  "%s=%s is neither encrypted nor authenticated: everybody who reaches "
			  "it can read the cluster's state (client.secret_file)",
			  key, endpoint);
	}
}

static int bind_tcp(struct doors *doors, struct door *door, const char *key, const char *endpoint,
		    struct err *why)
{
	int fd;

	if (strncmp(endpoint, "tcp://", 6) != 0)
		return err_set(why, ERR_INVALID, "'%s': tcp://address:port is wanted", endpoint);
	if (door->listener < 0 &&
	    (door->listener = listen_tcp(endpoint + 6, BACKLOG, true, why)) < 0)
		return door->listener;
	/* libzmq closes its own; this one stays for the next socket. */
	fd = fcntl(door->listener, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return err_set_errno(why, ERR_IO, errno, "listen at %s", endpoint);
	set_keys(doors, door, key, endpoint);
	zsock_set_use_fd(door->socket, fd);
	if (zmq_bind(zsock_resolve(door->socket), endpoint) == 0)
		return 0;
	close(fd);
	return err_set(why, ERR_IO, "bind %s: %s", endpoint, zmq_strerror(zmq_errno()));
}

static int door_open(struct doors *doors, enum door_id id, const char *endpoint, struct err *why)
{
	struct door *door = &doors->doors[id];
	int rc;

	if (id != DOOR_LOCAL && endpoint[0] == '\0')
		return 0;
	door->socket = socket_new(id);
	if (door->socket == NULL)
		return err_set(why, ERR_IO, "%s: %s", KINDS[id].key, zmq_strerror(zmq_errno()));
	rc = id == DOOR_LOCAL ? bind_local(doors, why)
			      : bind_tcp(doors, door, KINDS[id].key, endpoint, why);
	if (rc == 0 && id != DOOR_EVENTS)
		rc = zloop_attach(&door->watched, doors->worker->loop, door->socket, doors->ready,
				  doors->arg, why);
	return rc < 0 ? err_in(why, rc, "%s", KINDS[id].key) : 0;
}

static int open_tcp(struct doors *doors, struct err *why)
{
	const struct conf *conf = &doors->worker->conf;
	int rc = door_open(doors, DOOR_REQUESTS, conf->client_listen, why);

	return rc < 0 ? rc : door_open(doors, DOOR_EVENTS, conf->client_publish, why);
}

int doors_open(struct doors *doors, const struct worker *worker, const struct tokens *tokens,
	       struct access *const *access, zloop_ready ready, void *arg, struct err *why)
{
	int rc;

	*doors = (struct doors){
		.worker = worker, .tokens = tokens, .access = access, .ready = ready, .arg = arg};
	for (unsigned i = 0; i < DOOR_COUNT; i++)
		doors->doors[i].listener = -1;
	rc = zap_open(&doors->zap, zsys_init(), worker->loop, may_ask, on_stranger, doors, why);
	if (rc < 0)
		return rc;
	zap_also(doors->zap, EVENTS_DOMAIN, may_listen);
	rc = door_open(doors, DOOR_LOCAL, NULL, why);
	return rc < 0 ? rc : open_tcp(doors, why);
}

static void door_close(struct door *door, int linger_ms)
{
	zloop_detach(door->watched);
	door->watched = NULL;
	if (door->socket != NULL)
		zsock_set_linger(door->socket, linger_ms);
	zsock_destroy(&door->socket);
}

int doors_renew(struct doors *doors, struct err *why)
{
	door_close(&doors->doors[DOOR_REQUESTS], LAST_REPLIES_MS);
	door_close(&doors->doors[DOOR_EVENTS], LAST_REPLIES_MS);
	return open_tcp(doors, why);
}

void doors_close(struct doors *doors)
{
	for (unsigned i = 0; i < DOOR_COUNT; i++) {
		door_close(&doors->doors[i], 0);
		if (doors->doors[i].listener >= 0)
			close(doors->doors[i].listener);
	}
	zap_close(doors->zap);
	doors->zap = NULL;
}
