/*
 * A client of the agent's request socket (proto/client.proto), every wait with a deadline: one
 * request at a time with client_call(), or several under way with client_send() and client_take().
 * Not thread-safe; one client per thread.
 */
#ifndef MHA_CLIENT_CLIENT_H
#define MHA_CLIENT_CLIENT_H

#include <stdbool.h>

#include "base/err.h"
#include "client.pb-c.h"

#define CLIENT_VERSION       1
#define CLIENT_REPLY_MAX     (INT64_C(1024) * 1024)
#define CLIENT_ENDPOINT_SIZE 192
#define CLIENT_KEY_SIZE      41 /* Z85 with the final NUL */

struct client;

/* CURVE, all Z85: who is asked, and who asks. */
struct client_keys {
	char server[CLIENT_KEY_SIZE]; /* the agent's public key */
	char public[CLIENT_KEY_SIZE];
	char secret[CLIENT_KEY_SIZE]; /* overwritten by whoever has used it */
};

/*
 * The local request socket of the agent whose paths.run_dir is `run_dir`, as a ZeroMQ endpoint.
 * ERR_NOT_FOUND: there is none; ERR_TOO_BIG: the path.
 */
MUST_CHECK int client_local_endpoint(const char *run_dir, char endpoint[CLIENT_ENDPOINT_SIZE],
				     struct err *why);

/*
 * Connect to `endpoint` ("tcp://address:port" or "ipc:///path"). A local socket that nobody
 * listens on is found at once (ERR_GONE, ERR_NOT_FOUND, ERR_PERM); for tcp the first call tells.
 * `keys` NULL: without encryption.
 */
MUST_CHECK int client_open(struct client **client, const char *endpoint,
			   const struct client_keys *keys, struct err *why);
/*
 * The same in the caller's ZeroMQ context, which outlives the client (NULL: one of its own). There
 * client_call() cannot tell ERR_PERM from ERR_TIMEOUT.
 */
MUST_CHECK int client_open_in(struct client **client, void *context, const char *endpoint,
			      const struct client_keys *keys, struct err *why);
/* NULL is fine. */
void client_close(struct client *client);

/*
 * Ask and wait at most `timeout_ms`. `request->version` and `request->id` are filled in. On
 * success `*reply` is the caller's, to be given to client_reply_free(). ERR_TIMEOUT: no answer;
 * ERR_PERM: the agent does not know this key, or has another one than `keys` says;
 * an answer that says it is an error is returned as that error.
 */
MUST_CHECK int client_call(struct client *client, Mha__Client__Request *request,
			   unsigned timeout_ms, Mha__Client__Reply **reply, struct err *why);
/*
 * What client_call() does with a frame: the reply to request `id` in it, NULL when it is none; and
 * whether that reply is an answer, or an error to be returned as one.
 */
Mha__Client__Reply *client_reply_decode(const void *bytes, size_t size, uint64_t id);
MUST_CHECK int client_reply_check(const Mha__Client__Reply *reply, struct err *why);
void client_reply_free(Mha__Client__Reply *reply);

/* Ask without waiting. `request->version` and `request->id` are filled in. */
MUST_CHECK int client_send(struct client *client, Mha__Client__Request *request, struct err *why);
/*
 * The next reply that has come, to whichever request, or NULL. Frames that are no reply are passed
 * over. Id 0: the agent could not read a request.
 */
Mha__Client__Reply *client_take(struct client *client);
/* Something has come that client_take() has not been asked for. */
bool client_waiting(struct client *client);
/* ZMQ_FD: edge-triggered; after each readiness, client_take() until client_waiting() is false. */
int client_fd(struct client *client);
/* The ZeroMQ socket, for zmq_poll(). */
void *client_socket(struct client *client);

/* CLOCK_BOOTTIME in milliseconds: leases run on while a host sleeps. */
int64_t client_now_ms(void);

#endif
