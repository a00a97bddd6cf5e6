/*
 * What libzmq asks about somebody who wants in: parts cut at each byte 0x1f, one of them often a
 * key. Only the enrolled key of exactly the right question is let in.
 */
#include <string.h>
#include <uv.h>
#include <zmq.h>

#include "base/check.h"
#include "fuzz.h"
#include "wire/zap.h"

#define PARTS_MAX 16

static struct gate {
	bool ready;
	void *context;
	void *asker;
	uv_loop_t loop;
	struct zap *zap;
	uint8_t enrolled[32];
	char enrolled_text[ZAP_KEY_SIZE];
	unsigned strangers;
} gate;

static void on_stranger(void *arg, const char *text)
{
	(void)arg;
	CHECK(text[0] != '\0');
	gate.strangers++;
}

static bool on_judge(void *arg, const char *public_key)
{
	(void)arg;
	CHECK(strlen(public_key) == ZAP_KEY_SIZE - 1);
	return strcmp(public_key, gate.enrolled_text) == 0;
}

static void prepare(void)
{
	struct err why = {0};

	if (gate.ready)
		return;
	gate.context = zmq_ctx_new();
	CHECK(gate.context != NULL && uv_loop_init(&gate.loop) == 0);
	for (unsigned i = 0; i < sizeof(gate.enrolled); i++)
		gate.enrolled[i] = (uint8_t)('A' + i);
	CHECK(zmq_z85_encode(gate.enrolled_text, gate.enrolled, 32) != NULL);
	CHECK(zap_open(&gate.zap, gate.context, &gate.loop, on_judge, on_stranger, NULL, &why) ==
	      0);
	gate.asker = zmq_socket(gate.context, ZMQ_DEALER);
	CHECK(gate.asker != NULL && zmq_connect(gate.asker, "inproc://zeromq.zap.01") == 0);
	gate.ready = true;
}

/* Returns whether the answer lets somebody in. */
static bool read_answer(void)
{
	char part[5][300];
	int more = 1, sizes[5] = {0};
	size_t size = sizeof(more);
	unsigned count = 0;

	while (more) {
		char bytes[300];
		int got = zmq_recv(gate.asker, bytes, sizeof(bytes), 0);

		CHECK(got >= 0 && got < (int)sizeof(bytes));
		if (count > 0 && count <= 5) {
			memcpy(part[count - 1], bytes, (size_t)got);
			sizes[count - 1] = got;
		}
		count++;
		CHECK(zmq_getsockopt(gate.asker, ZMQ_RCVMORE, &more, &size) == 0);
	}
	/* The delimiter, then version, id, code, text, user, metadata. */
	CHECK(count == 7 && sizes[2] == 3);
	return memcmp(part[2], "200", 3) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	unsigned parts = 0;
	bool has_key = false;
	const unsigned strangers = gate.strangers;

	if (size > 8192)
		return 0;
	prepare();
	CHECK(zmq_send(gate.asker, "", 0, ZMQ_SNDMORE) == 0);
	do {
		const uint8_t *end = size > 0 ? memchr(bytes, 0x1f, size) : NULL;
		const size_t length = end != NULL ? (size_t)(end - bytes) : size;
		const bool last = end == NULL || parts + 1 == PARTS_MAX;

		has_key = length == 32 && memcmp(bytes, gate.enrolled, 32) == 0;
		CHECK(zmq_send(gate.asker, bytes, length, last ? 0 : ZMQ_SNDMORE) >= 0);
		parts++;
		if (last)
			break;
		bytes += length + 1;
		size -= length + 1;
	} while (true);

	zmq_pollitem_t item = {.socket = gate.asker, .events = ZMQ_POLLIN};

	for (unsigned i = 0; i < 1000 && zmq_poll(&item, 1, 0) == 0; i++)
		(void)uv_run(&gate.loop, UV_RUN_NOWAIT);
	CHECK((item.revents & ZMQ_POLLIN) != 0);
	if (read_answer())
		CHECK(parts == 7 && has_key && gate.strangers == strangers);
	else
		CHECK(gate.strangers == strangers + 1);
	return 0;
}
