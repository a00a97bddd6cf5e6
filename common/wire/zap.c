#include "wire/zap.h"

#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "base/check.h"
#include "wire/zloop.h"

#define ZAP_ENDPOINT  "inproc://zeromq.zap.01"
#define ZAP_PARTS     7 /* version, request id, domain, address, identity, mechanism, key */
#define ZAP_PART_MAX  256
#define ZAP_KEY_BYTES 32
#define ZAP_DRAIN_MAX 16

struct zap {
	void *socket;
	struct zloop_socket *attached;
	zap_judge judge;
	const char *also; /* another domain, or NULL */
	zap_judge also_judge;
	zap_stranger stranger;
	void *arg;
};

struct zap_request {
	unsigned parts;
	size_t size[ZAP_PARTS];
	uint8_t part[ZAP_PARTS][ZAP_PART_MAX];
};

enum { PART_VERSION, PART_ID, PART_DOMAIN, PART_ADDRESS, PART_IDENTITY, PART_MECHANISM, PART_KEY };

/* Returns false when nothing waits. An overlong or surplus part leaves `parts` at no valid count.
 */
static bool request_read(void *socket, struct zap_request *request)
{
	bool more = true;

	memset(request, 0, sizeof(*request));
	while (more) {
		zmq_msg_t part;

		zmq_msg_init(&part);
		if (zmq_msg_recv(&part, socket, ZMQ_DONTWAIT) < 0) {
			zmq_msg_close(&part);
			return false;
		}

		size_t size = zmq_msg_size(&part);

		if (request->parts < ZAP_PARTS && size < ZAP_PART_MAX) {
			memcpy(request->part[request->parts], zmq_msg_data(&part), size);
			request->size[request->parts] = size;
		}
		if (size >= ZAP_PART_MAX)
			request->parts += ZAP_PARTS;
		request->parts++;
		more = zmq_msg_more(&part) != 0;
		zmq_msg_close(&part);
	}
	return true;
}

static bool part_is(const struct zap_request *request, unsigned part, const char *text)
{
	return request->size[part] == strlen(text) &&
	       memcmp(request->part[part], text, request->size[part]) == 0;
}

/* `key` is the proven one, or empty. */
static bool request_judge(const struct zap *zap, const struct zap_request *request,
			  char key[ZAP_KEY_SIZE])
{
	zap_judge judge = NULL;

	memset(key, 0, ZAP_KEY_SIZE);
	if (request->parts != ZAP_PARTS)
		return false;
	if (part_is(request, PART_DOMAIN, ZAP_DOMAIN))
		judge = zap->judge;
	else if (zap->also != NULL && part_is(request, PART_DOMAIN, zap->also))
		judge = zap->also_judge;
	if (judge == NULL || !part_is(request, PART_VERSION, "1.0") ||
	    !part_is(request, PART_MECHANISM, "CURVE") ||
	    request->size[PART_KEY] != ZAP_KEY_BYTES ||
	    zmq_z85_encode(key, request->part[PART_KEY], ZAP_KEY_BYTES) == NULL)
		return false;
	return judge(zap->arg, key);
}

/* The asker waits inside this process: a queue that is full cannot be, so a failure is ignored. */
static void reply_part(void *socket, const void *bytes, size_t size, bool last)
{
	(void)zmq_send(socket, bytes, size, ZMQ_DONTWAIT | (last ? 0 : ZMQ_SNDMORE));
}

static void reply(void *socket, const struct zap_request *request, const char *key, bool enrolled)
{
	const char *code = enrolled ? "200" : "400";
	const char *text = enrolled ? "OK" : "not enrolled";
	size_t id_size = request->parts > PART_ID ? request->size[PART_ID] : 0;

	reply_part(socket, "1.0", 3, false);
	reply_part(socket, request->part[PART_ID], id_size, false);
	reply_part(socket, code, strlen(code), false);
	reply_part(socket, text, strlen(text), false);
	reply_part(socket, key, enrolled ? strlen(key) : 0, false);
	reply_part(socket, "", 0, true);
}

static bool on_requests(void *arg, void *socket)
{
	struct zap *zap = arg;

	for (unsigned i = 0; i < ZAP_DRAIN_MAX; i++) {
		struct zap_request request;
		char key[ZAP_KEY_SIZE];
		struct err text = {0};

		if (!request_read(socket, &request))
			return false;

		const bool enrolled = request_judge(zap, &request, key);

		reply(socket, &request, key, enrolled);
		if (enrolled)
			continue;
		err_set(&text, ERR_NOT_ALLOWED,
			"refused %.*s with the key %s, which is not enrolled",
			(int)request.size[PART_ADDRESS], (const char *)request.part[PART_ADDRESS],
			key[0] == '\0' ? "(none)" : key);
		zap->stranger(zap->arg, text.text);
	}
	return true;
}

int zap_open(struct zap **zap, void *context, uv_loop_t *loop, zap_judge judge,
	     zap_stranger stranger, void *arg, struct err *why)
{
	struct zap *made = calloc(1, sizeof(*made));
	int linger = 0;
	int rc;

	*zap = NULL;
	if (made == NULL)
		return err_set(why, ERR_NO_MEMORY, "open the gate: out of memory");
	made->judge = judge;
	made->stranger = stranger;
	made->arg = arg;
	made->socket = zmq_socket(context, ZMQ_REP);
	if (made->socket == NULL ||
	    zmq_setsockopt(made->socket, ZMQ_LINGER, &linger, sizeof(linger)) != 0 ||
	    zmq_bind(made->socket, ZAP_ENDPOINT) != 0) {
		rc = err_set(why, ERR_IO, "open the gate: %s", zmq_strerror(zmq_errno()));
		zap_close(made);
		return rc;
	}
	rc = zloop_attach_raw(&made->attached, loop, made->socket, on_requests, made, why);
	if (rc < 0) {
		zap_close(made);
		return rc;
	}
	*zap = made;
	return 0;
}

void zap_also(struct zap *zap, const char *domain, zap_judge judge)
{
	zap->also = domain;
	zap->also_judge = judge;
}

void zap_close(struct zap *zap)
{
	if (zap == NULL)
		return;
	zloop_detach(zap->attached);
	if (zap->socket != NULL)
		zmq_close(zap->socket);
	free(zap);
}

const char *zap_sender(zmq_msg_t *message)
{
	const char *key = zmq_msg_gets(message, "User-Id");

	return key != NULL && strlen(key) == ZAP_KEY_SIZE - 1 ? key : NULL;
}
