/* The client library against a stand-in agent in a thread. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <zmq.h>

#include "client/client.h"

/* What the agent answers to each request, one after the other. */
struct script {
	void *context;
	void *socket;
	pthread_t thread;
	char endpoint[128];
	unsigned count;
	struct step {
		bool silent;
		bool garbage;
		bool late; /* an answer to another request comes first */
		uint32_t version;
		int32_t code;
	} steps[4];
};

static void send_reply(struct script *script, const uint8_t *client, size_t client_size,
		       const struct step *step, uint64_t id)
{
	Mha__Client__Reply reply;
	char error[] = "this is why";
	uint8_t bytes[128];

	mha__client__reply__init(&reply);
	reply.version = step->version;
	reply.id = id;
	reply.code = step->code;
	if (step->code != 0)
		reply.error = error;
	zmq_send(script->socket, client, client_size, ZMQ_SNDMORE);
	zmq_send(script->socket, bytes, mha__client__reply__pack(&reply, bytes), 0);
}

static void *run_script(void *arg)
{
	struct script *script = arg;

	for (unsigned i = 0; i < script->count; i++) {
		const struct step *step = &script->steps[i];
		uint8_t client[64], bytes[256];
		int client_size = zmq_recv(script->socket, client, sizeof(client), 0);
		int size = zmq_recv(script->socket, bytes, sizeof(bytes), 0);
		Mha__Client__Request *request;

		cr_assert(client_size > 0 && size > 0);
		request = mha__client__request__unpack(NULL, (size_t)size, bytes);
		cr_assert_not_null(request);
		if (step->garbage) {
			zmq_send(script->socket, client, (size_t)client_size, ZMQ_SNDMORE);
			zmq_send(script->socket, "\xff\xff", 2, 0);
		}
		if (step->late)
			send_reply(script, client, (size_t)client_size, step, request->id + 1000);
		if (!step->silent)
			send_reply(script, client, (size_t)client_size, step, request->id);
		mha__client__request__free_unpacked(request, NULL);
	}
	return NULL;
}

static void script_start(struct script *script)
{
	size_t size = sizeof(script->endpoint);
	int linger = 1000;

	script->context = zmq_ctx_new();
	script->socket = zmq_socket(script->context, ZMQ_ROUTER);
	zmq_setsockopt(script->socket, ZMQ_LINGER, &linger, sizeof(linger));
	cr_assert_eq(zmq_bind(script->socket, "tcp://127.0.0.1:*"), 0);
	cr_assert_eq(zmq_getsockopt(script->socket, ZMQ_LAST_ENDPOINT, script->endpoint, &size), 0);
	cr_assert_eq(pthread_create(&script->thread, NULL, run_script, script), 0);
}

static void script_end(struct script *script)
{
	pthread_join(script->thread, NULL);
	zmq_close(script->socket);
	zmq_ctx_term(script->context);
}

static int call(struct client *client, unsigned timeout_ms, struct err *why)
{
	Mha__Client__Request request = MHA__CLIENT__REQUEST__INIT;
	Mha__Client__GetStatus status = MHA__CLIENT__GET_STATUS__INIT;
	Mha__Client__Reply *reply;
	int rc;

	request.call_case = MHA__CLIENT__REQUEST__CALL_GET_STATUS;
	request.get_status = &status;
	rc = client_call(client, &request, timeout_ms, &reply, why);
	cr_expect_eq(rc == 0, reply != NULL);
	client_reply_free(reply);
	return rc;
}

Test(client, only_the_answer_to_the_question_counts)
{
	struct script script = {.count = 4,
				.steps = {{.version = 1, .garbage = true, .late = true},
					  {.version = 1, .code = ERR_REFUSED},
					  {.version = 7},
					  {.silent = true}}};
	struct client *client;
	struct err why = {0};

	script_start(&script);
	cr_assert_eq(client_open(&client, script.endpoint, NULL, &why), 0, "%s", why.text);
	cr_expect_eq(call(client, 60000, &why), 0);
	cr_expect_eq(call(client, 60000, &why), ERR_REFUSED);
	cr_expect_not_null(strstr(why.text, "this is why"));
	cr_expect_eq(call(client, 60000, &why), ERR_VERSION);
	cr_expect_eq(call(client, 100, &why), ERR_TIMEOUT);
	client_close(client);
	script_end(&script);
}

Test(client, a_dead_socket_is_found_at_once)
{
	char base[] = "/tmp/mha-client-XXXXXX", endpoint[CLIENT_ENDPOINT_SIZE];
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct client *client;
	struct err why = {0};
	int fd;

	cr_assert_not_null(mkdtemp(base));
	cr_expect_eq(client_local_endpoint(base, endpoint, &why), ERR_NOT_FOUND);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/client.sock", base);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	cr_assert_eq(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
	cr_assert_eq(client_local_endpoint(base, endpoint, &why), 0);
	cr_expect_eq(client_open(&client, endpoint, NULL, &why), ERR_GONE);
	cr_expect_null(client);
	unlink(address.sun_path);
	cr_expect_eq(client_open(&client, endpoint, NULL, &why), ERR_NOT_FOUND);
	rmdir(base);
}

Test(client, wrong_endpoints_are_refused)
{
	char big[400];
	struct client *client;
	struct err why = {0};

	cr_expect_eq(client_open(&client, "inproc://x", NULL, &why), ERR_INVALID);
	cr_expect_eq(client_open(&client, "tcp://nonsense", NULL, &why), ERR_IO);
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	cr_expect_eq(client_open(&client, big, NULL, &why), ERR_TOO_BIG);
	memcpy(big, "ipc:///", 7);
	big[180] = '\0';
	cr_expect_eq(client_open(&client, big, NULL, &why), ERR_TOO_BIG);
	cr_expect_null(client);
}
