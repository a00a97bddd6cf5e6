#include "gateway/clients.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

#include "base/check.h"
#include "base/log.h"
#include "gateway/doors.h"
#include "gateway/enroll.h"
#include "gateway/requests.h"
#include "os/clock.h"
#include "wire/convert.h"

#define REQUESTS_PER_TURN 32
#define REQUEST_PARTS_MAX 3 /* client, empty delimiter of a REQ socket, request */

#define PENDING_MAX     48 /* requests whose answer is awaited */
#define PENDING_TURN_MS 100
#define CLIENT_ID_MAX   255 /* as ZeroMQ bounds it */
/* How libzmq names the other end of a local socket: with its user, group and process. */
#define LOCAL_PEER "localhost:"

/* A request that cannot be answered yet. */
struct pending {
	enum request_step step; /* REQUEST_CALL or REQUEST_WAIT; else: a free row */
	uint64_t id;            /* as the client numbered it */
	uint64_t call_id;
	struct event_number since;
	uint64_t until_ns;
	enum door_id door;
	char key[ACCESS_KEY_SIZE]; /* that the client has proven; empty: none */
	bool delimiter;
	size_t client_size;
	uint8_t client[CLIENT_ID_MAX];
};

struct clients {
	struct gateway *gateway;
	struct doors doors;
	bool renew;        /* connections over TCP end as soon as nobody of them is waiting */
	uv_timer_t *turns; /* runs while something is pending */
	struct pending pending[PENDING_MAX];
};

/* Where a request came in, and from whom. */
struct origin {
	enum door_id door;
	const char *key; /* NULL: none was proven */
	struct caller caller;
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
static void send_reply(void *socket, const void *client, size_t client_size, bool delimiter,
		       const uint8_t *reply, size_t size)
{
	/* A client that is gone, or whose queue is full, gets nothing; it may ask again. */
	if (zmq_send(socket, client, client_size, ZMQ_DONTWAIT | ZMQ_SNDMORE) < 0)
		return;
	if (delimiter && zmq_send(socket, "", 0, ZMQ_DONTWAIT | ZMQ_SNDMORE) < 0)
		return;
	(void)zmq_send(socket, reply, size, ZMQ_DONTWAIT);
}

static void on_turn(uv_timer_t *timer);

static struct pending *pending_new(struct clients *clients, struct letter *letter,
				   const struct origin *origin, bool delimiter,
				   const struct request *request, uint64_t wait_ms)
{
	zmq_msg_t *client = &letter->parts[0];

	for (unsigned i = 0; i < PENDING_MAX; i++) {
		struct pending *row = &clients->pending[i];

		if (row->step != REQUEST_ANSWER || zmq_msg_size(client) > CLIENT_ID_MAX)
			continue;
		*row = (struct pending){
			.step = request->step,
			.id = request->id,
			.since = request->since,
			.until_ns = clock_boot_ns() + wait_ms * 1000000,
			.door = origin->door,
			.delimiter = delimiter,
			.client_size = zmq_msg_size(client),
		};
		memcpy(row->client, zmq_msg_data(client), row->client_size);
		snprintf(row->key, sizeof(row->key), "%s", origin->key != NULL ? origin->key : "");
		CHECK(uv_timer_start(clients->turns, on_turn, PENDING_TURN_MS, PENDING_TURN_MS) ==
		      0);
		return row;
	}
	return NULL;
}

static void pending_reply(struct clients *clients, struct pending *row, uint8_t *reply, size_t size)
{
	zsock_t *socket = clients->doors.doors[row->door].socket;

	if (size > 0 && socket != NULL)
		send_reply(zsock_resolve(socket), row->client, row->client_size, row->delimiter,
			   reply, size);
	free(reply);
	row->step = REQUEST_ANSWER;
	clients->gateway->counters.client_requests++;
}

static void pending_events(struct clients *clients, struct pending *row)
{
	uint8_t *reply = NULL;
	size_t size = request_events(row->id, &clients->gateway->events, row->since, &reply);

	pending_reply(clients, row, reply, size);
}

static void pending_call_end(struct clients *clients, struct pending *row,
			     const struct call_result *result)
{
	uint8_t *reply = NULL;
	size_t size = request_call_end(row->id, gateway_look(clients->gateway), result, &reply);

	pending_reply(clients, row, reply, size);
}

void clients_events(struct clients *clients)
{
	for (unsigned i = 0; i < PENDING_MAX; i++) {
		struct pending *row = &clients->pending[i];

		if (row->step == REQUEST_WAIT &&
		    event_number_compare(clients->gateway->events.last, row->since) > 0)
			pending_events(clients, row);
	}
}

void clients_call_end(struct clients *clients, const struct call_result *result)
{
	for (unsigned i = 0; i < PENDING_MAX; i++) {
		struct pending *row = &clients->pending[i];

		if (row->step == REQUEST_CALL && row->call_id == result->id)
			pending_call_end(clients, row, result);
	}
}

static void pending_reload_end(struct clients *clients, struct pending *row, int code)
{
	const struct call_result done = {.code = CALL_ACCEPTED};
	struct err why = {0};
	uint8_t *reply = NULL;
	size_t size;

	if (code == 0) {
		pending_call_end(clients, row, &done);
		return;
	}
	request_reload_error(code, &why);
	size = request_refuse(row->id, &why, &reply);
	pending_reply(clients, row, reply, size);
}

void clients_reloaded(struct clients *clients, int code)
{
	for (unsigned i = 0; i < PENDING_MAX; i++) {
		if (clients->pending[i].step == REQUEST_RELOAD)
			pending_reload_end(clients, &clients->pending[i], code);
	}
}

/* Somebody over TCP waits for an answer. */
static bool is_waited_for(const struct clients *clients)
{
	for (unsigned i = 0; i < PENDING_MAX; i++) {
		if (clients->pending[i].step != REQUEST_ANSWER &&
		    clients->pending[i].door == DOOR_REQUESTS)
			return true;
	}
	return false;
}

/* Who was revoked may do nothing from the reload on; its connection ends here. */
static void renew_when_idle(struct clients *clients)
{
	struct err why = {0};

	if (!clients->renew || is_waited_for(clients))
		return;
	clients->renew = false;
	if (doors_renew(&clients->doors, &why) < 0) {
		log_event(LOG_ERROR, "gateway.keys", "%s; this worker begins anew", why.text);
		worker_stopped(clients->gateway->worker);
	}
}

/* Deadlines: no events came, or the consensus worker is gone with the call. */
static void on_turn(uv_timer_t *timer)
{
	struct clients *clients = timer->data;
	const struct call_result lost = {
		.code = CALL_UNCERTAIN,
		.blocker_count = 1,
		.blockers = {{.kind = BLOCK_NO_QUORUM}},
	};
	const uint64_t now = clock_boot_ns();
	bool any = false;

	for (unsigned i = 0; i < PENDING_MAX; i++) {
		struct pending *row = &clients->pending[i];

		if (row->step == REQUEST_CALL && now >= row->until_ns)
			pending_call_end(clients, row, &lost);
		else if (row->step == REQUEST_WAIT && now >= row->until_ns)
			pending_events(clients, row);
		else if (row->step == REQUEST_RELOAD && now >= row->until_ns)
			pending_reload_end(clients, row, ERR_TIMEOUT);
		any = any || row->step != REQUEST_ANSWER;
	}
	renew_when_idle(clients);
	if (!any && !clients->renew)
		uv_timer_stop(timer);
}

/*
 * Root, or the user that the agent's own workers run as, on a local socket: libzmq takes the
 * credentials from the kernel. Everybody else may only ask.
 */
static bool is_trusted(const zmq_msg_t *request)
{
	union {
		const zmq_msg_t *from;
		zmq_msg_t *to;
	} message = {.from = request};
	const char *peer = zmq_msg_gets(message.to, "Peer-Address");
	char *end;
	unsigned long user;

	if (peer == NULL || strncmp(peer, LOCAL_PEER, strlen(LOCAL_PEER)) != 0 ||
	    peer[strlen(LOCAL_PEER)] < '0' || peer[strlen(LOCAL_PEER)] > '9')
		return false;
	user = strtoul(peer + strlen(LOCAL_PEER), &end, 10);
	return *end == ':' && (user == 0 || user == geteuid());
}

/* What the connection proves: a user of this host, a key, or nothing. */
static void find_origin(const struct clients *clients, enum door_id door, zmq_msg_t *part,
			struct origin *origin)
{
	const struct access *access = clients->gateway->access;
	const struct access_row *row;

	*origin = (struct origin){.door = door, .caller = {.role = ROLE_READ, .name = ""}};
	if (door == DOOR_LOCAL) {
		origin->caller.local = true;
		if (is_trusted(part))
			origin->caller.role = ROLE_ADMIN;
		return;
	}
	if (!access->curve)
		return;
	/* As the table is now, not as it was when the connection was made. */
	origin->key = zap_sender(part);
	row = origin->key != NULL ? access_by_key(&access->clients, origin->key) : NULL;
	origin->caller.role = row != NULL ? row->role : ROLE_NONE;
	origin->caller.name = row != NULL ? row->name : "";
	if (row == NULL && origin->key != NULL)
		origin->caller.token = tokens_find(&clients->gateway->tokens, origin->key,
						   clock_boot_ns()) != NULL;
}

static int start_call(struct clients *clients, struct letter *letter, const struct origin *origin,
		      bool delimiter, struct request *request, struct err *why)
{
	struct gateway *gateway = clients->gateway;
	struct pending *row;
	int rc;

	row = pending_new(clients, letter, origin, delimiter, request, gateway_call_ms(gateway));
	if (row == NULL)
		return err_set(why, ERR_BUSY, "too many requests are being answered; ask again");
	rc = gateway_call(gateway, &request->call,
			  origin->caller.local ? "local" : origin->caller.name, why);
	row->call_id = request->call.id;
	if (rc < 0)
		row->step = REQUEST_ANSWER;
	return rc;
}

/* The answer comes with the master's. */
static int start_reload(struct clients *clients, struct letter *letter, const struct origin *origin,
			bool delimiter, const struct request *request, struct err *why)
{
	struct pending *row =
		pending_new(clients, letter, origin, delimiter, request, RELOAD_WAIT_MS);
	int rc;

	if (row == NULL)
		return err_set(why, ERR_BUSY, "too many requests are being answered; ask again");
	log_event(LOG_NOTICE, "gateway.reload", "by=%s",
		  origin->caller.local ? "local" : origin->caller.name);
	if ((rc = worker_ask_reload(why)) < 0)
		row->step = REQUEST_ANSWER;
	return rc;
}

static void read_letter(struct clients *clients, struct letter *letter, enum door_id door,
			bool delimiter, struct request *out)
{
	zmq_msg_t *part = &letter->parts[letter->count - 1];
	struct gateway *gateway = clients->gateway;
	struct origin origin;
	struct err why = {0};
	int rc = 0;

	find_origin(clients, door, part, &origin);
	request_read(zmq_msg_data(part), zmq_msg_size(part), gateway_look(gateway),
		     &gateway->events, &origin.caller, out);
	if (out->step == REQUEST_ENROLL)
		rc = enroll_answer(gateway, &origin.caller, origin.key, out, &why);
	else if (out->step == REQUEST_CALL)
		rc = start_call(clients, letter, &origin, delimiter, out, &why);
	else if (out->step == REQUEST_RELOAD)
		rc = start_reload(clients, letter, &origin, delimiter, out, &why);
	else if (out->step == REQUEST_WAIT &&
		 pending_new(clients, letter, &origin, delimiter, out, out->wait_ms) == NULL)
		rc = err_set(&why, ERR_BUSY, "too many requests are being answered; ask again");
	if (rc < 0) {
		out->step = REQUEST_REFUSE;
		out->size = request_refuse(out->id, &why, &out->reply);
	}
}

static void letter_answer(struct clients *clients, enum door_id door, void *socket,
			  struct letter *letter)
{
	bool delimiter = letter->count >= 2 && zmq_msg_size(&letter->parts[1]) == 0;
	struct request request = {.step = REQUEST_REFUSE};
	const uint64_t began_ns = clock_boot_ns();
	struct err why = {0};

	if (letter->too_many || letter->count < 2 || (letter->count == 3) != delimiter) {
		err_set(&why, ERR_INVALID,
			"message: one frame with a mha.client.Request is wanted, after an empty "
			"one from a REQ socket");
		request.size = request_refuse(0, &why, &request.reply);
	} else {
		read_letter(clients, letter, door, delimiter, &request);
	}
	if (request.step == REQUEST_REFUSE)
		clients->gateway->counters.refused++;
	else if (request.step == REQUEST_ANSWER)
		clients->gateway->counters.client_requests++;
	if (request.size > 0)
		send_reply(socket, zmq_msg_data(&letter->parts[0]), zmq_msg_size(&letter->parts[0]),
			   delimiter, request.reply, request.size);
	free(request.reply);
	if (request.step == REQUEST_ANSWER)
		status_time_add(&clients->gateway->counters.requests,
				(clock_boot_ns() - began_ns) / 1000);
}

static bool on_requests(void *arg, zsock_t *socket)
{
	struct clients *clients = arg;
	const enum door_id door =
		socket == clients->doors.doors[DOOR_LOCAL].socket ? DOOR_LOCAL : DOOR_REQUESTS;
	void *raw = zsock_resolve(socket);
	struct letter letter;

	for (unsigned i = 0; i < REQUESTS_PER_TURN; i++) {
		if (!letter_receive(raw, &letter))
			return false;
		letter_answer(clients, door, raw, &letter);
		letter_free(&letter);
	}
	return true;
}

int clients_open(struct clients **opened, struct gateway *gateway, struct err *why)
{
	struct clients *clients = calloc(1, sizeof(*clients));
	int rc;

	*opened = NULL;
	if (clients == NULL)
		return err_set(why, ERR_NO_MEMORY, "clients: %zu bytes", sizeof(*clients));
	clients->gateway = gateway;
	clients->turns = calloc(1, sizeof(*clients->turns));
	if (clients->turns == NULL) {
		free(clients);
		return err_set(why, ERR_NO_MEMORY, "clients: %zu bytes", sizeof(*clients->turns));
	}
	CHECK(uv_timer_init(gateway->worker->loop, clients->turns) == 0);
	clients->turns->data = clients;
	rc = doors_open(&clients->doors, gateway->worker, &gateway->tokens, &gateway->access,
			on_requests, clients, why);
	if (rc < 0) {
		clients_close(clients);
		return rc;
	}
	*opened = clients;
	return 0;
}

void clients_revoke(struct clients *clients)
{
	const struct access *access = clients->gateway->access;

	for (unsigned i = 0; i < PENDING_MAX; i++) {
		struct pending *row = &clients->pending[i];

		if (row->step != REQUEST_ANSWER && row->key[0] != '\0' &&
		    access_by_key(&access->clients, row->key) == NULL)
			row->step = REQUEST_ANSWER;
	}
	clients->renew = true;
	CHECK(uv_timer_start(clients->turns, on_turn, PENDING_TURN_MS, PENDING_TURN_MS) == 0);
	renew_when_idle(clients);
}

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void clients_close(struct clients *clients)
{
	if (clients == NULL)
		return;
	/* The loop frees it when it runs again. */
	clients->turns->data = clients->turns;
	uv_close((uv_handle_t *)clients->turns, on_closed);
	doors_close(&clients->doors);
	free(clients);
}

/* False: nobody could be told. PUB never blocks: it drops for the subscriber whose queue is full.
 */
static bool publish(struct clients *clients, const char *topic, const Mha__Client__Event *event)
{
	size_t size = mha__client__event__get_packed_size(event);
	uint8_t *bytes = malloc(size);
	void *socket = zsock_resolve(clients->doors.doors[DOOR_EVENTS].socket);
	bool done;

	if (bytes == NULL)
		return false;
	CHECK(mha__client__event__pack(event, bytes) == size);
	done = zmq_send(socket, topic, strlen(topic), ZMQ_DONTWAIT | ZMQ_SNDMORE) >= 0 &&
	       zmq_send(socket, bytes, size, ZMQ_DONTWAIT) >= 0;
	free(bytes);
	return done;
}

void clients_publish(struct clients *clients, const struct event_row *row)
{
	Mha__Client__Event event;

	if (clients->doors.doors[DOOR_EVENTS].socket == NULL)
		return;
	event_row_to_message(row, &event);
	if (publish(clients, row->name, &event))
		clients->gateway->counters.events_published++;
}

void clients_tip(struct clients *clients, struct event_number last)
{
	char topic[] = EVENTS_TIP;
	Mha__Client__Event event;

	if (clients->doors.doors[DOOR_EVENTS].socket == NULL)
		return;
	mha__client__event__init(&event);
	event.index = event.before_index = last.index;
	event.sub = event.before_sub = last.sub;
	event.name = topic;
	(void)publish(clients, topic, &event);
}
