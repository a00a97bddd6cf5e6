/*
 * Many subscribers of one event stream, in one process, and how long each event was on its way.
 *
 *   event-readers ENDPOINT COUNT EVENTS
 *   event-readers ENDPOINT publish EVENTS PAUSE_MS
 *
 * COUNT SUB sockets subscribe to everything. Prints "ready" once each of them has heard the tip of
 * the stream, then reads until each has EVENTS events or 60 s pass without any. An event's fields
 * hold {"ns": N}, CLOCK_BOOTTIME when it was given to the gateway. Prints one line of JSON: events
 * heard and missed, those missed without the stream having told so, and percentiles of the way in
 * microseconds: over all, and per event until the last subscriber had it.
 *
 * With `publish` it is a bare PUB socket that does nothing else, the floor: the tip every 100 ms
 * until a line comes on stdin, then EVENTS events, one per PAUSE_MS, until stdin ends.
 */
#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <zmq.h>

#include "base/text.h"
#include "client.pb-c.h"
#include "os/clock.h"

#define QUIET_MS    60000
#define BATCH       64
#define TOPIC_BYTES 128

struct reader {
	void *socket;
	uint64_t index; /* newest number that it knows */
	unsigned heard;
	unsigned missed; /* told by an event's `before` or by the tip */
	bool ready;
};

struct run {
	unsigned count;
	unsigned events;
	unsigned ready;
	unsigned done;
	struct reader *readers;
	uint64_t *ways; /* us, count * events at most */
	size_t way_count;
	uint64_t *last; /* us, per event: when the last reader had it */
};

static void die(const char *what)
{
	fprintf(stderr, "event-readers: %s: %s\n", what, zmq_strerror(zmq_errno()));
	exit(1);
}

static void took(struct run *run, struct reader *reader, const Mha__Client__Event *event)
{
	const uint64_t now = clock_boot_ns();
	const unsigned at = reader->heard;
	uint64_t sent = 0;

	if (sscanf(event->json, "{\"ns\":%" SCNu64 "}", &sent) != 1 || sent > now)
		return;
	if (at >= run->events)
		return;
	run->ways[run->way_count++] = (now - sent) / 1000;
	if ((now - sent) / 1000 > run->last[at])
		run->last[at] = (now - sent) / 1000;
	reader->heard++;
	if (reader->heard + reader->missed == run->events)
		run->done++;
}

/* The generator numbers its events one by one, so the distance is what was missed. */
static void miss(struct run *run, struct reader *reader, uint64_t known)
{
	const bool was = reader->heard + reader->missed >= run->events;

	if (reader->ready && known > reader->index)
		reader->missed += (unsigned)(known - reader->index);
	if (!was && reader->heard + reader->missed >= run->events)
		run->done++;
}

static void take(struct run *run, struct reader *reader, const char *topic, const void *bytes,
		 size_t size)
{
	Mha__Client__Event *event = mha__client__event__unpack(NULL, size, bytes);

	if (event == NULL)
		die("an event that is none");
	miss(run, reader, event->before_index);
	if (strcmp(topic, "tip") != 0)
		took(run, reader, event);
	else if (!reader->ready) {
		reader->ready = true;
		if (++run->ready == run->count) {
			printf("ready\n");
			fflush(stdout);
		}
	}
	reader->index = event->index;
	mha__client__event__free_unpacked(event, NULL);
}

static bool read_one(struct run *run, struct reader *reader)
{
	char topic[TOPIC_BYTES];
	int size = zmq_recv(reader->socket, topic, sizeof(topic) - 1, ZMQ_DONTWAIT);
	zmq_msg_t body;

	if (size < 0)
		return false;
	topic[size < (int)sizeof(topic) ? size : (int)sizeof(topic) - 1] = '\0';
	if (zmq_msg_init(&body) != 0 || zmq_msg_recv(&body, reader->socket, 0) < 0)
		die("second frame");
	take(run, reader, topic, zmq_msg_data(&body), zmq_msg_size(&body));
	zmq_msg_close(&body);
	return true;
}

static void reader_open(struct run *run, unsigned i, void *context, const char *endpoint, int epoll)
{
	struct reader *reader = &run->readers[i];
	struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u32 = i};
	size_t size = sizeof(int);
	int fd, none = 0;

	reader->socket = zmq_socket(context, ZMQ_SUB);
	if (reader->socket == NULL ||
	    zmq_setsockopt(reader->socket, ZMQ_RCVHWM, &none, sizeof(none)) != 0 ||
	    zmq_setsockopt(reader->socket, ZMQ_SUBSCRIBE, "", 0) != 0 ||
	    zmq_connect(reader->socket, endpoint) != 0 ||
	    zmq_getsockopt(reader->socket, ZMQ_FD, &fd, &size) != 0 ||
	    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0)
		die("socket");
}

static int compare(const void *a, const void *b)
{
	const uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

	return (left > right) - (left < right);
}

static void print_percentiles(const char *name, uint64_t *values, size_t count)
{
	qsort(values, count, sizeof(*values), compare);
	printf(", \"%s\": {", name);
	if (count > 0)
		printf("\"p50\": %" PRIu64 ", \"p90\": %" PRIu64 ", \"p99\": %" PRIu64
		       ", \"max\": %" PRIu64,
		       values[count / 2], values[count * 9 / 10], values[count * 99 / 100],
		       values[count - 1]);
	printf("}");
}

static void print_result(struct run *run)
{
	uint64_t heard = 0, missed = 0, untold = 0;

	for (unsigned i = 0; i < run->count; i++) {
		const struct reader *reader = &run->readers[i];

		heard += reader->heard;
		missed += reader->missed;
		if (reader->heard + reader->missed < run->events)
			untold += run->events - reader->heard - reader->missed;
	}
	printf("{\"subscribers\": %u, \"events\": %u, \"heard\": %" PRIu64 ", \"missed\": %" PRIu64
	       ", \"missed_untold\": %" PRIu64,
	       run->count, run->events, heard, missed, untold);
	print_percentiles("way_us", run->ways, run->way_count);
	print_percentiles("last_us", run->last, run->events);
	printf("}\n");
}

static void read_all(struct run *run, int epoll)
{
	struct epoll_event events[BATCH];
	int got;

	while (run->done < run->count) {
		/* ZeroMQ's descriptors tell edges only. */
		got = epoll_wait(epoll, events, BATCH, QUIET_MS);
		if (got <= 0)
			return;
		for (int i = 0; i < got; i++) {
			while (read_one(run, &run->readers[events[i].data.u32]))
				;
		}
	}
}

static void send_event(void *socket, const char *topic, uint64_t index, uint64_t before)
{
	char json[64], name[] = "bench.event";
	uint8_t bytes[256];
	Mha__Client__Event event;
	size_t size;

	mha__client__event__init(&event);
	snprintf(json, sizeof(json), "{\"ns\":%" PRIu64 "}", clock_boot_ns());
	event.index = index;
	event.before_index = before;
	event.name = name;
	event.json = json;
	size = mha__client__event__pack(&event, bytes);
	if (zmq_send(socket, topic, strlen(topic), ZMQ_SNDMORE) < 0 ||
	    zmq_send(socket, bytes, size, 0) < 0)
		die("send");
}

/* False: stdin has ended. */
static bool wait_line(int timeout_ms, bool *line)
{
	struct pollfd input = {.fd = 0, .events = POLLIN};
	char byte;

	*line = false;
	if (poll(&input, 1, timeout_ms) <= 0)
		return true;
	*line = true;
	return read(0, &byte, 1) == 1;
}

static int publish(void *context, const char *endpoint, unsigned events, int pause_ms)
{
	void *socket = zmq_socket(context, ZMQ_PUB);
	bool line = false;

	if (socket == NULL || zmq_bind(socket, endpoint) != 0)
		die(endpoint);
	while (!line) {
		send_event(socket, "tip", 0, 0);
		if (!wait_line(100, &line))
			return 1;
	}
	for (unsigned i = 1; i <= events; i++) {
		send_event(socket, "bench.event", i, i - 1);
		if (!wait_line(pause_ms, &line))
			return 1;
	}
	while (wait_line(-1, &line))
		;
	zmq_close(socket);
	zmq_ctx_term(context);
	return 0;
}

int main(int argc, char **argv)
{
	struct run run = {0};
	uint64_t pause_ms;
	uint64_t count, events;
	void *context = zmq_ctx_new();
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	if (argc == 5 && strcmp(argv[2], "publish") == 0 && text_parse_u64(argv[3], &events) &&
	    text_parse_u64(argv[4], &pause_ms) && events <= 1000000 && pause_ms <= 1000)
		return publish(context, argv[1], (unsigned)events, (int)pause_ms);
	if (argc != 4 || !text_parse_u64(argv[2], &count) || !text_parse_u64(argv[3], &events) ||
	    count == 0 || count > 100000 || events == 0 || events > 1000000) {
		fprintf(stderr, "usage: event-readers ENDPOINT COUNT EVENTS\n"
				"       event-readers ENDPOINT publish EVENTS PAUSE_MS\n");
		return 2;
	}
	run.count = (unsigned)count;
	run.events = (unsigned)events;
	run.readers = calloc(run.count, sizeof(*run.readers));
	run.ways = calloc((size_t)run.count * run.events, sizeof(*run.ways));
	run.last = calloc(run.events, sizeof(*run.last));
	if (context == NULL || epoll < 0 || run.readers == NULL || run.ways == NULL ||
	    run.last == NULL || zmq_ctx_set(context, ZMQ_MAX_SOCKETS, (int)run.count + 10) != 0)
		die("start");
	for (unsigned i = 0; i < run.count; i++)
		reader_open(&run, i, context, argv[1], epoll);
	/* An edge may have passed before it was watched. */
	for (unsigned i = 0; i < run.count; i++) {
		while (read_one(&run, &run.readers[i]))
			;
	}
	read_all(&run, epoll);
	print_result(&run);
	for (unsigned i = 0; i < run.count; i++)
		zmq_close(run.readers[i].socket);
	zmq_ctx_term(context);
	free(run.readers);
	free(run.ways);
	free(run.last);
	return 0;
}
