/*
 * Bytes on a connection to the gateway's HTTP server, through libmicrohttpd and the handlers of
 * http.c as they are. The first byte says into how many pieces they are cut.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "base/check.h"
#include "fuzz.h"
#include "gateway/access.h"
#include "gateway/http.h"

#define TURNS_MAX 64

static struct server {
	bool ready;
	uv_loop_t loop;
	struct worker worker;
	struct gateway gateway;
	struct access access; /* there are users, and nobody is one */
	struct sockaddr_in address;
} server;

/* The only socket of this process that listens: the HTTP server's. */
static void find_address(void)
{
	for (int fd = 3; fd < 256; fd++) {
		socklen_t size = sizeof(int);
		int listens = 0;

		if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) != 0 || !listens)
			continue;
		size = sizeof(server.address);
		CHECK(getsockname(fd, (struct sockaddr *)&server.address, &size) == 0);
		return;
	}
	CHECK(false);
}

static void prepare(void)
{
	char name[] = "member.changed", fields[] = "{}";
	struct err why = {0};
	Mha__Bus__Event event;

	if (server.ready)
		return;
	CHECK(uv_loop_init(&server.loop) == 0);
	server.worker.loop = &server.loop;
	server.worker.conf.election_ms = 1000;
	snprintf(server.worker.conf.http_listen, sizeof(server.worker.conf.http_listen),
		 "127.0.0.1:0");
	server.gateway.worker = &server.worker;
	server.access.has_users = true;
	server.gateway.access = &server.access;
	events_init(&server.gateway.events);
	mha__bus__event__init(&event);
	event.index = 5;
	event.name = name;
	event.json = fields;
	CHECK(events_add(&server.gateway.events, &event, &why) != NULL);
	CHECK(source_init(&server.gateway.source, "/nonexistent", &why) == 0);
	CHECK(http_open(&server.gateway.http, &server.gateway, &why) == 0);
	find_address();
	server.ready = true;
}

/* Let the server do what there is to do, and take what it says. Returns how much it said. */
static size_t turn(int fd)
{
	char answer[65536];
	size_t said = 0;
	ssize_t got;

	(void)uv_run(&server.loop, UV_RUN_NOWAIT);
	while ((got = recv(fd, answer, sizeof(answer), MSG_DONTWAIT)) > 0)
		said += (size_t)got;
	return said;
}

/* libFuzzer's timer interrupts; the connection is made all the same, beside the program. */
static void reach(int fd)
{
	struct pollfd made = {.fd = fd, .events = POLLOUT};
	socklen_t length = sizeof(int);
	int trouble = -1;

	if (connect(fd, (struct sockaddr *)&server.address, sizeof(server.address)) == 0)
		return;
	CHECK(errno == EINTR);
	while (poll(&made, 1, -1) < 0)
		CHECK(errno == EINTR);
	CHECK(getsockopt(fd, SOL_SOCKET, SO_ERROR, &trouble, &length) == 0);
	CHECK(trouble == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	/* A reset at the end leaves nothing behind that would wait for a minute. */
	static const struct linger reset = {.l_onoff = 1};
	size_t piece;
	int fd;

	if (size < 2)
		return 0;
	prepare();
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(fd >= 0);
	CHECK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)) == 0);
	reach(fd);
	piece = (size - 1) / (1 + bytes[0] % 4) + 1;
	for (size_t at = 1; at < size; at += piece) {
		const size_t length = size - at < piece ? size - at : piece;

		if (send(fd, bytes + at, length, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			break;
		turn(fd);
	}
	for (unsigned i = 0; i < TURNS_MAX && turn(fd) > 0; i++)
		continue;
	CHECK(close(fd) == 0);
	/* Who hears events and has left is found by the tick of every second. */
	http_drop_idle(server.gateway.http);
	(void)uv_run(&server.loop, UV_RUN_NOWAIT);
	return 0;
}
