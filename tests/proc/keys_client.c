/*
 * A client over TCP that stays connected: keys_client KEY-FILE SERVER-KEY REQUESTS EVENTS
 *
 * REQUESTS and EVENTS are ports of 127.0.0.1; KEY-FILE "-": without CURVE. Lines on stdin, one
 * answer line each:
 *   ask          the answer's code, or "none" after 500 ms
 *   state        "up" or "down": whether the subscriber is connected
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "base/check.h"
#include "client.pb-c.h"
#include "wire/key.h"

#define ANSWER_MS 500

static void set_keys(void *socket, const struct key *key, const char *server)
{
	CHECK(zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, server, strlen(server)) == 0);
	CHECK(zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, key->public, KEY_SIZE - 1) == 0);
	CHECK(zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, key->secret, KEY_SIZE - 1) == 0);
}

static void *connect_to(void *context, int type, const struct key *key, const char *server,
			const char *port)
{
	void *socket = zmq_socket(context, type);
	char endpoint[64];
	int zero = 0;

	CHECK(socket != NULL);
	CHECK(zmq_setsockopt(socket, ZMQ_LINGER, &zero, sizeof(zero)) == 0);
	if (key != NULL)
		set_keys(socket, key, server);
	if (type == ZMQ_SUB) {
		CHECK(zmq_setsockopt(socket, ZMQ_SUBSCRIBE, "", 0) == 0);
		CHECK(zmq_socket_monitor(socket, "inproc://news",
					 ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED) ==
		      0);
	}
	snprintf(endpoint, sizeof(endpoint), "tcp://127.0.0.1:%s", port);
	CHECK(zmq_connect(socket, endpoint) == 0);
	return socket;
}

static void ask(void *socket)
{
	Mha__Client__Request request = MHA__CLIENT__REQUEST__INIT;
	Mha__Client__GetLeader leader = MHA__CLIENT__GET_LEADER__INIT;
	zmq_pollitem_t item = {.socket = socket, .events = ZMQ_POLLIN};
	static uint64_t id;
	uint8_t bytes[128], answer[4096];
	int size;

	request.version = 1;
	request.id = ++id;
	request.call_case = MHA__CLIENT__REQUEST__CALL_GET_LEADER;
	request.get_leader = &leader;
	size = (int)mha__client__request__pack(&request, bytes);
	(void)zmq_send(socket, bytes, (size_t)size, ZMQ_DONTWAIT);
	while (zmq_poll(&item, 1, ANSWER_MS) > 0) {
		Mha__Client__Reply *reply;

		size = zmq_recv(socket, answer, sizeof(answer), 0);
		reply = size > 0 ? mha__client__reply__unpack(NULL, (size_t)size, answer) : NULL;
		CHECK(reply != NULL);
		if (reply->id == id) {
			printf("%d %s\n", reply->code, reply->error);
			mha__client__reply__free_unpacked(reply, NULL);
			return;
		}
		mha__client__reply__free_unpacked(reply, NULL);
	}
	puts("none");
}

static void state(void *news)
{
	static bool up;
	zmq_msg_t part;

	CHECK(zmq_msg_init(&part) == 0);
	while (zmq_msg_recv(&part, news, ZMQ_DONTWAIT) >= 0) {
		uint16_t event;

		if (!zmq_msg_more(&part) || zmq_msg_size(&part) < sizeof(event))
			continue;
		memcpy(&event, zmq_msg_data(&part), sizeof(event));
		up = event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED;
	}
	zmq_msg_close(&part);
	puts(up ? "up" : "down");
}

static bool read_key(const char *path, struct key *key)
{
	char text[KEY_FILE_MAX] = "";
	FILE *file = fopen(path, "r");
	struct err why;

	CHECK(file != NULL);
	CHECK(fread(text, 1, sizeof(text) - 1, file) > 0);
	fclose(file);
	return key_parse(text, key, &why) == 0;
}

int main(int argc, char **argv)
{
	struct key key = {.secret = ""};
	const bool curve = argc == 5 && strcmp(argv[1], "-") != 0;
	void *context = zmq_ctx_new();
	void *requests, *events, *news;
	char line[64];
	int zero = 0;

	if (argc != 5 || (curve && !read_key(argv[1], &key)))
		return 2;
	requests = connect_to(context, ZMQ_DEALER, curve ? &key : NULL, argv[2], argv[3]);
	events = connect_to(context, ZMQ_SUB, curve ? &key : NULL, argv[2], argv[4]);
	news = zmq_socket(context, ZMQ_PAIR);
	CHECK(zmq_setsockopt(news, ZMQ_LINGER, &zero, sizeof(zero)) == 0);
	CHECK(zmq_connect(news, "inproc://news") == 0);
	while (fgets(line, sizeof(line), stdin) != NULL) {
		if (strcmp(line, "ask\n") == 0)
			ask(requests);
		else
			state(news);
		fflush(stdout);
	}
	(void)zmq_socket_monitor(events, NULL, 0);
	zmq_close(news);
	zmq_close(events);
	zmq_close(requests);
	zmq_ctx_term(context);
	return 0;
}
