#include "fake_agents.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <zmq.h>

#include "base/check.h"
#include "client/client.h"

#define EVENTS_KEPT  16
#define WAITERS_MAX  16
#define TURN_MS      20
#define CLIENT_BYTES 255

struct told {
	uint64_t index;
	uint32_t sub;
	char name[40];
};

/* A long poll that waits for an event. */
struct waiter {
	bool used;
	size_t client_size;
	char client[CLIENT_BYTES];
	uint64_t id;
	uint64_t since_index;
	uint32_t since_sub;
	int64_t until_ms;
};

struct agent {
	void *socket;
	char endpoint[64];
	struct fake fake;
	unsigned asked;
	unsigned told_count;
	struct told told[EVENTS_KEPT];
	struct waiter waiters[WAITERS_MAX];
};

struct fake_agents {
	pthread_mutex_t lock;
	pthread_t thread;
	void *context;
	int wake;
	bool stop;
	unsigned count;
	struct agent agents[FAKES_MAX];
};

/* Everything that a reply points to. */
struct paper {
	Mha__Client__Reply reply;
	Mha__Client__Status status;
	Mha__Client__Leader leader;
	Mha__Client__Member members[FAKES_MAX];
	Mha__Client__Member *member_list[FAKES_MAX];
	Mha__Client__Events events;
	Mha__Client__Event event_rows[EVENTS_KEPT];
	Mha__Client__Event *event_list[EVENTS_KEPT];
	char names[FAKES_MAX][16];
	char addresses[FAKES_MAX][16];
	char cluster[16];
	char why[32];
	char data[8];
	char standby[8];
	char primary[8];
};

static void write_member(struct paper *paper, const struct fake_agents *agents, unsigned i,
			 unsigned record)
{
	const struct fake *fake = &agents->agents[i].fake;
	Mha__Client__Member *member = &paper->members[i];

	mha__client__member__init(member);
	member->id = i + 1;
	member->name = paper->names[i];
	member->address = paper->addresses[i];
	member->postgres_port = 5431 + i + 1;
	member->kind = paper->data;
	member->role = record == i + 1 ? paper->primary : paper->standby;
	member->timeline = fake->timeline;
	member->flushed = fake->flushed;
	member->replayed = fake->replayed;
	member->streaming = fake->streaming;
	member->maintenance = fake->maintenance;
	member->heard = true;
	paper->member_list[i] = member;
}

static void write_names(struct paper *paper, const struct fake *self)
{
	memset(paper, 0, sizeof(*paper));
	for (unsigned i = 0; i < FAKES_MAX; i++) {
		snprintf(paper->names[i], sizeof(paper->names[i]), "n%u", i + 1);
		snprintf(paper->addresses[i], sizeof(paper->addresses[i]), "127.0.0.%u", i + 1);
	}
	snprintf(paper->cluster, sizeof(paper->cluster), "%s",
		 self->other_cluster ? "theirs" : "ours");
	snprintf(paper->why, sizeof(paper->why), "as it was told");
	snprintf(paper->data, sizeof(paper->data), "data");
	snprintf(paper->standby, sizeof(paper->standby), "standby");
	snprintf(paper->primary, sizeof(paper->primary), "primary");
}

static void write_leader(struct paper *paper, const struct fake *self, unsigned number)
{
	Mha__Client__Leader *leader = &paper->leader;
	unsigned record = self->leads           ? number
			  : self->believes != 0 ? self->believes
						: self->record;

	mha__client__leader__init(leader);
	leader->why = paper->why;
	leader->epoch = self->epoch;
	leader->known = self->leads || self->believes != 0;
	leader->lease_ms = self->leads ? (self->lease_ms != 0 ? self->lease_ms : 60000) : -1;
	if (record != 0) {
		leader->name = paper->names[record - 1];
		leader->address = paper->addresses[record - 1];
		leader->postgres_port = 5431 + record;
	}
}

static void write_status(struct paper *paper, const struct fake_agents *agents, unsigned number)
{
	const struct fake *self = &agents->agents[number - 1].fake;

	write_leader(paper, self, number);
	mha__client__status__init(&paper->status);
	paper->status.cluster = paper->cluster;
	paper->status.node = paper->names[number - 1];
	paper->status.epoch = self->epoch;
	paper->status.timeline = self->timeline;
	paper->status.leader = &paper->leader;
	paper->status.members = paper->member_list;
	paper->status.n_members = agents->count;
	for (unsigned i = 0; i < agents->count; i++)
		write_member(paper, agents, i, self->leads ? number : self->record);
	paper->reply.body_case = self->other_body ? MHA__CLIENT__REPLY__BODY_LEADER
						  : MHA__CLIENT__REPLY__BODY_STATUS;
	if (self->other_body)
		paper->reply.leader = &paper->leader;
	else
		paper->reply.status = &paper->status;
}

static bool is_after(const struct told *told, uint64_t index, uint32_t sub)
{
	return told->index > index || (told->index == index && told->sub > sub);
}

static void write_events(struct paper *paper, struct agent *agent, uint64_t index, uint32_t sub)
{
	mha__client__events__init(&paper->events);
	paper->events.events = paper->event_list;
	paper->events.gap = agent->fake.gap || agent->told_count == 0;
	for (unsigned i = 0; i < agent->told_count; i++) {
		struct told *told = &agent->told[i];
		Mha__Client__Event *event = &paper->event_rows[paper->events.n_events];

		paper->events.last_index = told->index;
		paper->events.last_sub = told->sub;
		if (!is_after(told, index, sub))
			continue;
		mha__client__event__init(event);
		event->index = told->index;
		event->sub = told->sub;
		event->name = told->name;
		event->json = paper->why;
		paper->event_list[paper->events.n_events++] = event;
	}
	paper->reply.body_case = MHA__CLIENT__REPLY__BODY_EVENTS;
	paper->reply.events = &paper->events;
}

static void send_bytes(const struct agent *agent, const char *client, size_t client_size,
		       const void *bytes, size_t size)
{
	if (zmq_send(agent->socket, client, client_size, ZMQ_DONTWAIT | ZMQ_SNDMORE) >= 0)
		(void)zmq_send(agent->socket, bytes, size, ZMQ_DONTWAIT);
}

/* protobuf's init clears the body; it is put back behind it. */
static void send_body(const struct agent *agent, const char *client, size_t client_size,
		      struct paper *paper, uint64_t id, int32_t code)
{
	const Mha__Client__Reply body = paper->reply;
	uint8_t bytes[16384];

	mha__client__reply__init(&paper->reply);
	paper->reply.version = agent->fake.other_version ? CLIENT_VERSION + 1 : CLIENT_VERSION;
	paper->reply.id = id;
	paper->reply.code = code;
	if (code != 0) {
		paper->reply.error = paper->why;
	} else {
		paper->reply.body_case = body.body_case;
		paper->reply.status = body.status;
	}
	CHECK(mha__client__reply__get_packed_size(&paper->reply) <= sizeof(bytes));
	send_bytes(agent, client, client_size, bytes,
		   mha__client__reply__pack(&paper->reply, bytes));
}

static void keep_waiter(struct agent *agent, const char *client, size_t client_size,
			const Mha__Client__Request *request)
{
	for (unsigned i = 0; i < WAITERS_MAX; i++) {
		struct waiter *waiter = &agent->waiters[i];

		if (waiter->used)
			continue;
		*waiter = (struct waiter){.used = true, .client_size = client_size};
		memcpy(waiter->client, client, client_size);
		waiter->id = request->id;
		waiter->since_index = request->get_events->since_index;
		waiter->since_sub = request->get_events->since_sub;
		waiter->until_ms = client_now_ms() + request->get_events->wait_ms;
		return;
	}
}

static void answer(struct fake_agents *agents, unsigned number, const char *client,
		   size_t client_size, const Mha__Client__Request *request)
{
	struct agent *agent = &agents->agents[number - 1];
	const struct fake *fake = &agent->fake;
	struct paper paper;
	int32_t code = fake->code;

	agent->asked++;
	if (fake->silent)
		return;
	write_names(&paper, fake);
	if (fake->garbage) {
		send_bytes(agent, client, client_size, "\xff\xff\xff", 3);
		send_body(agent, client, client_size, &paper, request->id + 100000, 0);
	}
	if (request->call_case == MHA__CLIENT__REQUEST__CALL_GET_EVENTS) {
		const Mha__Client__GetEvents *get = request->get_events;

		write_events(&paper, agent, get->since_index, get->since_sub);
		if (get->wait_ms > 0 && fake->crowded)
			code = ERR_BUSY;
		if (get->wait_ms > 0 && code == 0 && paper.events.n_events == 0) {
			keep_waiter(agent, client, client_size, request);
			return;
		}
	} else {
		write_status(&paper, agents, number);
	}
	send_body(agent, client, client_size, &paper, request->id, code);
}

static void serve(struct fake_agents *agents, unsigned number)
{
	void *socket = agents->agents[number - 1].socket;
	char client[CLIENT_BYTES];
	uint8_t bytes[1024];

	for (;;) {
		int client_size = zmq_recv(socket, client, sizeof(client), ZMQ_DONTWAIT);
		int size = client_size < 0 ? -1 : zmq_recv(socket, bytes, sizeof(bytes), 0);
		Mha__Client__Request *request;

		if (size < 0)
			return;
		CHECK((size_t)size <= sizeof(bytes));
		request = mha__client__request__unpack(NULL, (size_t)size, bytes);
		CHECK(request != NULL);
		answer(agents, number, client, (size_t)client_size, request);
		mha__client__request__free_unpacked(request, NULL);
	}
}

static void serve_waiters(struct agent *agent)
{
	for (unsigned i = 0; i < WAITERS_MAX; i++) {
		struct waiter *waiter = &agent->waiters[i];
		struct paper paper;

		if (!waiter->used || agent->fake.silent)
			continue;
		write_names(&paper, &agent->fake);
		write_events(&paper, agent, waiter->since_index, waiter->since_sub);
		if (paper.events.n_events == 0 && client_now_ms() < waiter->until_ms)
			continue;
		send_body(agent, waiter->client, waiter->client_size, &paper, waiter->id, 0);
		waiter->used = false;
	}
}

static void *run(void *arg)
{
	struct fake_agents *agents = arg;
	bool stop = false;

	while (!stop) {
		zmq_pollitem_t items[FAKES_MAX + 1] = {{.fd = agents->wake, .events = ZMQ_POLLIN}};
		uint64_t count;

		for (unsigned i = 0; i < agents->count; i++)
			items[i + 1] = (zmq_pollitem_t){.socket = agents->agents[i].socket,
							.events = ZMQ_POLLIN};
		CHECK(zmq_poll(items, (int)agents->count + 1, TURN_MS) >= 0);
		if (items[0].revents != 0)
			CHECK(read(agents->wake, &count, sizeof(count)) == sizeof(count));
		CHECK(pthread_mutex_lock(&agents->lock) == 0);
		for (unsigned i = 0; i < agents->count; i++) {
			serve(agents, i + 1);
			serve_waiters(&agents->agents[i]);
		}
		stop = agents->stop;
		CHECK(pthread_mutex_unlock(&agents->lock) == 0);
	}
	return NULL;
}

static void *bind_socket(struct fake_agents *agents, unsigned i, unsigned port, const char *key)
{
	void *socket = zmq_socket(agents->context, ZMQ_ROUTER);
	struct agent *agent = &agents->agents[i];
	size_t size = sizeof(agent->endpoint);
	int linger = 0, server = 1;

	CHECK(socket != NULL);
	zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof(linger));
	if (key != NULL) {
		CHECK(zmq_setsockopt(socket, ZMQ_CURVE_SERVER, &server, sizeof(server)) == 0);
		CHECK(zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, key, strlen(key) + 1) == 0);
	}
	snprintf(agent->endpoint, sizeof(agent->endpoint), "tcp://127.0.0.%u:%u", i + 1, port);
	if (port == 0)
		snprintf(agent->endpoint, sizeof(agent->endpoint), "tcp://127.0.0.%u:*", i + 1);
	if (zmq_bind(socket, agent->endpoint) != 0) {
		zmq_close(socket);
		return NULL;
	}
	CHECK(zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, agent->endpoint, &size) == 0);
	return socket;
}

/* All at the same port, whichever is free at every address. */
static bool bind_all(struct fake_agents *agents, const char *key)
{
	unsigned port = 0;

	for (unsigned i = 0; i < agents->count; i++) {
		agents->agents[i].socket = bind_socket(agents, i, port, key);
		if (agents->agents[i].socket == NULL) {
			while (i-- > 0)
				zmq_close(agents->agents[i].socket);
			return false;
		}
		port = (unsigned)strtoul(strrchr(agents->agents[i].endpoint, ':') + 1, NULL, 10);
	}
	return true;
}

struct fake_agents *fake_agents_open(unsigned count, const char *secret_key)
{
	struct fake_agents *agents = calloc(1, sizeof(*agents));
	unsigned tries = 0;

	CHECK(agents != NULL && count <= FAKES_MAX);
	agents->count = count;
	agents->context = zmq_ctx_new();
	agents->wake = eventfd(0, EFD_CLOEXEC);
	CHECK(agents->context != NULL && agents->wake >= 0);
	while (!bind_all(agents, secret_key))
		CHECK(++tries < 100);
	CHECK(pthread_mutex_init(&agents->lock, NULL) == 0);
	CHECK(pthread_create(&agents->thread, NULL, run, agents) == 0);
	return agents;
}

static void wake(struct fake_agents *agents)
{
	const uint64_t one = 1;

	CHECK(write(agents->wake, &one, sizeof(one)) == sizeof(one));
}

void fake_agents_close(struct fake_agents *agents)
{
	CHECK(pthread_mutex_lock(&agents->lock) == 0);
	agents->stop = true;
	CHECK(pthread_mutex_unlock(&agents->lock) == 0);
	wake(agents);
	CHECK(pthread_join(agents->thread, NULL) == 0);
	for (unsigned i = 0; i < agents->count; i++)
		zmq_close(agents->agents[i].socket);
	zmq_ctx_term(agents->context);
	close(agents->wake);
	pthread_mutex_destroy(&agents->lock);
	free(agents);
}

const char *fake_agents_seed(const struct fake_agents *agents, unsigned n)
{
	return agents->agents[n - 1].endpoint;
}

void fake_agents_set(struct fake_agents *agents, unsigned n, const struct fake *fake)
{
	CHECK(pthread_mutex_lock(&agents->lock) == 0);
	agents->agents[n - 1].fake = *fake;
	CHECK(pthread_mutex_unlock(&agents->lock) == 0);
}

void fake_agents_event(struct fake_agents *agents, unsigned n, uint64_t index, uint32_t sub,
		       const char *name)
{
	struct agent *agent = &agents->agents[n - 1];
	struct told *told;

	CHECK(pthread_mutex_lock(&agents->lock) == 0);
	if (agent->told_count == EVENTS_KEPT) {
		/* The oldest is forgotten, as an agent does. */
		memmove(&agent->told[0], &agent->told[1],
			(EVENTS_KEPT - 1) * sizeof(agent->told[0]));
		agent->told_count--;
	}
	told = &agent->told[agent->told_count++];
	*told = (struct told){.index = index, .sub = sub};
	snprintf(told->name, sizeof(told->name), "%s", name);
	CHECK(pthread_mutex_unlock(&agents->lock) == 0);
	wake(agents);
}

unsigned fake_agents_asked(struct fake_agents *agents, unsigned n)
{
	unsigned asked;

	CHECK(pthread_mutex_lock(&agents->lock) == 0);
	asked = agents->agents[n - 1].asked;
	CHECK(pthread_mutex_unlock(&agents->lock) == 0);
	return asked;
}
