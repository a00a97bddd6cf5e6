#include "client.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A write without an answer for so long makes the client look for a way around it. */
#define PATIENCE_FIRST (250 * NS_PER_MS)
#define PATIENCE_LAST  (10000 * NS_PER_MS)
/*
 * An attempt that no kernel answered is worthless after a while; one that was answered may meet a
 * slow server, so it gets more time each time, and further ones are started at a slower pace.
 */
#define SILENT_LIMIT  (200 * NS_PER_MS)
#define REACHED_MAX   5U
#define REACHED_RETRY (50 * NS_PER_MS)
#define FLUSH_EVERY   (200 * NS_PER_MS)

static void forget(struct client *client, struct session *session)
{
	if (session->state == SESSION_BUSY) {
		fprintf(client->log, "D %" PRIu64 " %" PRId64 " %" PRId64 " -\n", session->id,
			session->sent, now_ns());
		atomic_fetch_add(&client->doubtful, 1);
	}
	session_close(session);
}

static unsigned count(const struct client *client, enum session_state state)
{
	unsigned found = 0;

	for (unsigned i = 0; i < CLIENT_SESSIONS; i++)
		found += client->sessions[i].state == state && !client->sessions[i].given_up;
	return found;
}

/* A free place; if there is none, the write that has been waited for longest gives way. */
static struct session *free_place(struct client *client)
{
	struct session *oldest = NULL;

	for (unsigned i = 0; i < CLIENT_SESSIONS; i++) {
		struct session *session = &client->sessions[i];

		if (session->state == SESSION_EMPTY)
			return session;
		if (session->given_up && (oldest == NULL || session->since < oldest->since))
			oldest = session;
	}
	if (oldest != NULL)
		forget(client, oldest);
	return oldest;
}

static void finish_write(struct client *client, struct session *session, char mark)
{
	fprintf(client->log, "%c %" PRIu64 " %" PRId64 " %" PRId64 " %s\n", mark, session->id,
		session->sent, session->answered,
		session->timeline[0] != '\0' ? session->timeline : "-");
}

static void on_acknowledged(struct client *client, struct session *session)
{
	finish_write(client, session, 'A');
	atomic_fetch_add(&client->acknowledged, 1);
	atomic_store(&client->last_ack, session->answered);
	client->patience = PATIENCE_FIRST;
	if (session->given_up)
		session_close(session);
}

static void on_refused(struct client *client, struct session *session)
{
	atomic_fetch_add(&client->refused, 1);
	if (session->given_up || !session->read_only || !client->plan.stay)
		session_close(session);
}

static void step_sessions(struct client *client)
{
	for (unsigned i = 0; i < CLIENT_SESSIONS; i++) {
		struct session *session = &client->sessions[i];

		switch (session_step(session)) {
		case SESSION_NOTHING:
			break;
		case SESSION_CONNECTED:
			client->connect_patience = PATIENCE_FIRST;
			/* Two attempts may both succeed; one connection is enough. */
			if (count(client, SESSION_IDLE) + count(client, SESSION_BUSY) > 1)
				session_close(session);
			break;
		case SESSION_ACKNOWLEDGED:
			on_acknowledged(client, session);
			break;
		case SESSION_REFUSED:
			on_refused(client, session);
			break;
		case SESSION_DOUBTFUL:
			if (session->state == SESSION_BUSY) {
				forget(client, session);
				break;
			}
			finish_write(client, session, 'D');
			atomic_fetch_add(&client->doubtful, 1);
			break;
		case SESSION_LOST:
			session_close(session);
			break;
		}
	}
}

static int64_t longer(int64_t patience)
{
	return 2 * patience < PATIENCE_LAST ? 2 * patience : PATIENCE_LAST;
}

static void drop_late(struct client *client, int64_t now)
{
	for (unsigned i = 0; i < CLIENT_SESSIONS; i++) {
		struct session *session = &client->sessions[i];
		int64_t age = now - session->since;

		if (session->state == SESSION_CONNECTING) {
			bool reached = session_reached(session);

			if (age <= (reached ? client->connect_patience : SILENT_LIMIT))
				continue;
			session_close(session);
			if (reached)
				client->connect_patience = longer(client->connect_patience);
		} else if (session->state == SESSION_BUSY && !session->given_up &&
			   age > client->patience) {
			session->given_up = true;
			client->patience = longer(client->patience);
		} else if (session->state == SESSION_IDLE && client->plan.refresh_ns > 0 &&
			   session->id != 0 && /* once it has been used */
			   now - session->made > client->plan.refresh_ns) {
			session_close(session);
		}
	}
}

static void write_if_due(struct client *client, int64_t now)
{
	if (now < client->next_write || count(client, SESSION_BUSY) > 0)
		return;
	for (unsigned i = 0; i < CLIENT_SESSIONS; i++) {
		struct session *session = &client->sessions[i];

		if (session->state != SESSION_IDLE)
			continue;
		if (!session_write(session, client->plan.table, client->plan.number,
				   client->next_id)) {
			session_close(session);
			continue;
		}
		client->next_id++;
		client->next_write = now + client->plan.pace_ns;
		return;
	}
}

static void connect_if_due(struct client *client, int64_t now)
{
	struct session *place, *oldest = NULL;
	unsigned silent = 0, reached = 0;

	if (now < client->next_attempt ||
	    count(client, SESSION_IDLE) + count(client, SESSION_BUSY) > 0)
		return;
	for (unsigned i = 0; i < CLIENT_SESSIONS; i++) {
		struct session *session = &client->sessions[i];

		if (session->state != SESSION_CONNECTING)
			continue;
		if (session_reached(session)) {
			reached++;
			continue;
		}
		silent++;
		if (oldest == NULL || session->made < oldest->made)
			oldest = session;
	}
	client->next_attempt = now + client->plan.retry_ns;
	if (reached > 0 && client->plan.retry_ns < REACHED_RETRY)
		client->next_attempt = now + REACHED_RETRY;
	if (reached >= REACHED_MAX)
		return;
	/* The newest question has the best chance of an answer. */
	if (silent >= client->plan.attempts)
		session_close(oldest);
	place = free_place(client);
	if (place != NULL && !session_start(place, client->plan.conninfo))
		atomic_fetch_add(&client->refused, 1);
}

/* Sleep until something happens, at most until the next thing is due. */
static void wait_for_events(struct client *client, int64_t now)
{
	struct pollfd polled[CLIENT_SESSIONS];
	nfds_t polled_count = 0;
	bool connected = count(client, SESSION_IDLE) + count(client, SESSION_BUSY) > 0;
	int64_t until = now + 50 * NS_PER_MS;
	struct timespec timeout;

	if (count(client, SESSION_IDLE) > 0 && client->next_write < until)
		until = client->next_write;
	if (!connected && client->next_attempt > now && client->next_attempt < until)
		until = client->next_attempt;
	if (until <= now)
		until = now + NS_PER_MS / 10;
	for (unsigned i = 0; i < CLIENT_SESSIONS; i++) {
		short wants = session_wants(&client->sessions[i]);

		if (wants == 0)
			continue;
		polled[polled_count].fd = PQsocket(client->sessions[i].pg);
		polled[polled_count++].events = wants;
	}
	timeout.tv_sec = (until - now) / 1000000000;
	timeout.tv_nsec = (until - now) % 1000000000;
	if (ppoll(polled, polled_count, &timeout, NULL) < 0 && errno != EINTR)
		abort();
}

static void enter_namespace(const struct client *client)
{
	int fd = open(client->plan.netns, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || setns(fd, CLONE_NEWNET) != 0) {
		fprintf(stderr, "lab-probe: %s: %s\n", client->plan.netns, strerror(errno));
		exit(1);
	}
	close(fd);
}

void *client_run(void *arg)
{
	struct client *client = arg;

	enter_namespace(client);
	client->patience = client->connect_patience = PATIENCE_FIRST;
	client->next_write = client->next_attempt = client->next_flush = now_ns();
	while (!atomic_load(client->stop)) {
		int64_t now;

		step_sessions(client);
		now = now_ns();
		drop_late(client, now);
		write_if_due(client, now);
		connect_if_due(client, now);
		if (now >= client->next_flush) {
			fflush(client->log);
			client->next_flush = now + FLUSH_EVERY;
		}
		wait_for_events(client, now);
	}
	for (unsigned i = 0; i < CLIENT_SESSIONS; i++)
		forget(client, &client->sessions[i]);
	return NULL;
}
