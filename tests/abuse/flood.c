/*
 * Floods for tests/abuse: what a stranger, a member gone mad and bad clients do to an agent.
 *
 *   abuse-flood stranger ADDRESS PORT SECONDS
 *   abuse-flood peer     ADDRESS PORT SECONDS SERVER_KEY KEY_FILE CLUSTER_ID FROM TO
 *   abuse-flood slow     ADDRESS PORT SECONDS COUNT      subscribers that do not read
 *   abuse-flood open     ADDRESS PORT SECONDS COUNT      connections on which nothing is said
 *   abuse-flood http     ADDRESS PORT SECONDS COUNT      so many at a time, each asking
 *
 * Prints one line of numbers in JSON at its end.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

#include "base/check.h"
#include "peer.pb-c.h"
#include "wire/envelope.h"
#include "wire/key.h"

#define COUNT_MAX 20000

struct flood {
	const char *address;
	unsigned port;
	double ends; /* on the monotonic clock, in seconds */
	unsigned long made, sent, answered, refused;
};

static double now(void)
{
	struct timespec time;

	CHECK(clock_gettime(CLOCK_MONOTONIC, &time) == 0);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static bool over(const struct flood *flood)
{
	return now() >= flood->ends;
}

/* A TCP connection that is under way, or -1. */
static int dial(struct flood *flood)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)flood->port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0) {
		flood->refused++;
		return -1;
	}
	CHECK(inet_pton(AF_INET, flood->address, &to.sin_addr) == 1);
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0 && errno != EINPROGRESS) {
		flood->refused++;
		close(fd);
		return -1;
	}
	flood->made++;
	return fd;
}

static void put_noise(struct flood *flood, int fd, bool greeting)
{
	uint8_t noise[2048];

	CHECK(getrandom(noise, sizeof(noise), 0) == (ssize_t)sizeof(noise));
	/* A greeting that ZeroMQ believes, and then nonsense. */
	if (greeting) {
		memset(noise, 0, 64);
		noise[0] = 0xff;
		noise[9] = 0x7f;
		noise[10] = 3;
		noise[11] = 1;
		memcpy(noise + 12, "CURVE", 5);
	}
	if (send(fd, noise, sizeof(noise), MSG_NOSIGNAL) > 0)
		flood->sent++;
}

/* Keys that nobody has enrolled, noise, and greetings with noise behind them. */
static void stranger(struct flood *flood)
{
	void *context = zmq_ctx_new();
	char endpoint[64], public[41], secret[41], server[41];
	const int linger = 0;

	CHECK(context != NULL && zmq_curve_keypair(server, secret) == 0);
	snprintf(endpoint, sizeof(endpoint), "tcp://%s:%u", flood->address, flood->port);
	while (!over(flood)) {
		int fds[32];
		void *socket = zmq_socket(context, ZMQ_PUSH);

		CHECK(socket != NULL && zmq_curve_keypair(public, secret) == 0);
		zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof(linger));
		zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, server, 41);
		zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, public, 41);
		zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, secret, 41);
		CHECK(zmq_connect(socket, endpoint) == 0);
		for (unsigned i = 0; i < 32; i++)
			fds[i] = dial(flood);
		(void)poll(NULL, 0, 5);
		for (unsigned i = 0; i < 32; i++) {
			if (fds[i] < 0)
				continue;
			put_noise(flood, fds[i], i % 2 == 0);
			close(fds[i]);
		}
		zmq_close(socket);
	}
	zmq_ctx_term(context);
}

static size_t envelope_bytes(uint8_t *bytes, size_t size, uint64_t cluster, uint32_t from,
			     uint32_t to, unsigned turn)
{
	Mha__Peer__Envelope envelope;
	Mha__Peer__RequestVote vote;
	Mha__Peer__Survey survey;
	Mha__Peer__Heard heard;

	mha__peer__envelope__init(&envelope);
	mha__peer__request_vote__init(&vote);
	mha__peer__survey__init(&survey);
	mha__peer__heard__init(&heard);
	envelope.version = PEER_PROTOCOL_VERSION;
	envelope.cluster_id = cluster;
	envelope.from = from;
	envelope.to = to;
	switch (turn % 4) {
	case 0: /* valid: an echo of long ago */
		envelope.body_case = MHA__PEER__ENVELOPE__BODY_HEARD;
		heard.term = 1;
		heard.sent_ns = 1;
		envelope.heard = &heard;
		break;
	case 1: /* valid: a survey of no leader */
		envelope.body_case = MHA__PEER__ENVELOPE__BODY_SURVEY;
		survey.term = 1;
		survey.epoch = 1;
		envelope.survey = &survey;
		break;
	case 2: /* from somebody else than it is */
		envelope.from = from % 3 + 1;
		envelope.body_case = MHA__PEER__ENVELOPE__BODY_HEARD;
		envelope.heard = &heard;
		break;
	default: /* a pre-vote with a log that it cannot have */
		envelope.body_case = MHA__PEER__ENVELOPE__BODY_REQUEST_VOTE;
		vote.term = 1;
		vote.candidate_id = from;
		vote.last_log_index = UINT64_MAX;
		vote.last_log_term = 1;
		vote.pre_vote = true;
		envelope.request_vote = &vote;
		break;
	}
	CHECK(mha__peer__envelope__get_packed_size(&envelope) <= size);
	return mha__peer__envelope__pack(&envelope, bytes);
}

static void peer(struct flood *flood, char **arguments)
{
	void *context = zmq_ctx_new(), *socket;
	const int linger = 0, queue = 1000;
	struct key key;
	struct err why = {0};
	char endpoint[64], text[KEY_FILE_MAX];
	FILE *file = fopen(arguments[1], "r");
	uint8_t bytes[4096];

	CHECK(file != NULL && context != NULL);
	text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
	fclose(file);
	CHECK(key_parse(text, &key, &why) == 0);
	socket = zmq_socket(context, ZMQ_PUSH);
	CHECK(socket != NULL);
	zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof(linger));
	zmq_setsockopt(socket, ZMQ_SNDHWM, &queue, sizeof(queue));
	zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, arguments[0], 41);
	zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, key.public, 41);
	zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, key.secret, 41);
	snprintf(endpoint, sizeof(endpoint), "tcp://%s:%u", flood->address, flood->port);
	CHECK(zmq_connect(socket, endpoint) == 0);
	for (unsigned turn = 0; !over(flood); turn++) {
		size_t size = envelope_bytes(bytes, sizeof(bytes), strtoull(arguments[2], NULL, 0),
					     (uint32_t)strtoul(arguments[3], NULL, 10),
					     (uint32_t)strtoul(arguments[4], NULL, 10), turn);

		/* And now and then something that is no envelope at all. */
		if (turn % 16 == 15)
			size = getrandom(bytes, 1024, 0) == 1024 ? 1024 : 1;
		if (zmq_send(socket, bytes, size, ZMQ_DONTWAIT) >= 0)
			flood->sent++;
		else
			(void)poll(NULL, 0, 1);
	}
	zmq_close(socket);
	zmq_ctx_term(context);
}

static void slow(struct flood *flood, unsigned count)
{
	void *context = zmq_ctx_new();
	static void *sockets[COUNT_MAX];
	const int linger = 0, little = 1;
	char endpoint[64];

	CHECK(context != NULL && zmq_ctx_set(context, ZMQ_MAX_SOCKETS, (int)count + 16) == 0);
	snprintf(endpoint, sizeof(endpoint), "tcp://%s:%u", flood->address, flood->port);
	for (unsigned i = 0; i < count; i++) {
		sockets[i] = zmq_socket(context, ZMQ_SUB);
		if (sockets[i] == NULL) {
			flood->refused++;
			continue;
		}
		zmq_setsockopt(sockets[i], ZMQ_LINGER, &linger, sizeof(linger));
		zmq_setsockopt(sockets[i], ZMQ_RCVHWM, &little, sizeof(little));
		zmq_setsockopt(sockets[i], ZMQ_RCVBUF, &little, sizeof(little));
		zmq_setsockopt(sockets[i], ZMQ_SUBSCRIBE, "", 0);
		CHECK(zmq_connect(sockets[i], endpoint) == 0);
		flood->made++;
	}
	while (!over(flood))
		(void)poll(NULL, 0, 100);
	for (unsigned i = 0; i < count; i++)
		if (sockets[i] != NULL)
			zmq_close(sockets[i]);
	zmq_ctx_term(context);
}

/* What an answered connection said; it is made anew. Returns the descriptor in its place. */
static int turn_http(struct flood *flood, int fd, bool asks)
{
	static const char ask[] = "GET /metrics HTTP/1.1\r\nHost: n1\r\nConnection: close\r\n\r\n";
	char answer[16384];
	struct pollfd ready = {.fd = fd, .events = POLLIN | POLLOUT};
	ssize_t got;

	if (fd < 0)
		return dial(flood);
	if (poll(&ready, 1, 0) <= 0)
		return fd;
	got = recv(fd, answer, sizeof(answer), MSG_DONTWAIT);
	if (got > 0) {
		flood->answered++;
		return fd;
	}
	if (got == 0 || errno != EAGAIN) {
		flood->refused += got != 0;
		close(fd);
		return dial(flood);
	}
	/* One in ten asks, the others wait: half-open for the server. */
	if (asks && (ready.revents & POLLOUT) != 0 &&
	    send(fd, ask, sizeof(ask) - 1, MSG_NOSIGNAL) > 0)
		flood->sent++;
	return fd;
}

static void connections(struct flood *flood, unsigned count, bool http)
{
	static int fds[COUNT_MAX];
	unsigned turn = 0;

	for (unsigned i = 0; i < count; i++)
		fds[i] = dial(flood);
	while (!over(flood)) {
		for (unsigned i = 0; i < count && !over(flood); i++)
			if (http)
				fds[i] = turn_http(flood, fds[i], (i + turn) % 10 == 0);
		turn++;
		(void)poll(NULL, 0, 20);
	}
	for (unsigned i = 0; i < count; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

int main(int argc, char **argv)
{
	struct flood flood = {0};
	struct rlimit files = {COUNT_MAX + 1000, COUNT_MAX + 1000};
	unsigned count;

	if (argc < 5) {
		fprintf(stderr, "usage: %s KIND ADDRESS PORT SECONDS [MORE]...\n", argv[0]);
		return 2;
	}
	flood.address = argv[2];
	flood.port = (unsigned)strtoul(argv[3], NULL, 10);
	flood.ends = now() + strtod(argv[4], NULL);
	count = argc == 6 ? (unsigned)strtoul(argv[5], NULL, 10) : 0;
	if (count > COUNT_MAX)
		count = COUNT_MAX;
	if (setrlimit(RLIMIT_NOFILE, &files) != 0)
		perror("abuse-flood: descriptors");
	if (strcmp(argv[1], "stranger") == 0)
		stranger(&flood);
	else if (strcmp(argv[1], "peer") == 0 && argc == 10)
		peer(&flood, argv + 5);
	else if (strcmp(argv[1], "slow") == 0)
		slow(&flood, count);
	else if (strcmp(argv[1], "open") == 0 || strcmp(argv[1], "http") == 0)
		connections(&flood, count, argv[1][0] == 'h');
	else
		return 2;
	printf("{\"made\": %lu, \"sent\": %lu, \"answered\": %lu, \"refused\": %lu}\n", flood.made,
	       flood.sent, flood.answered, flood.refused);
	return 0;
}
