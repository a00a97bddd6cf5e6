/* The listener: who leads now, told as it changes. Everything happens in mha_process(). */
#include "client/listen.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/check.h"
#include "base/text.h"

#define URGENT_MS      100 /* between questions while no leader is confirmed */
#define URGENT_LEASE   3   /* a leader is asked so often while its lease lasts */
#define NEXT_MIN_MS    20
#define IDLE_MS        60000 /* the longest time without a look */
#define REPLIES_MAX    32    /* of one member in one turn */
#define THREAD_REST_MS 20    /* of the own thread, after a turn in which nothing could be done */

struct note *note_add(struct listen *listen)
{
	struct note *note = calloc(1, sizeof(*note));

	if (note == NULL)
		return NULL;
	*listen->last = note;
	listen->last = &note->next;
	return note;
}

static void notes_free(struct note *note)
{
	while (note != NULL) {
		struct note *next = note->next;

		client_reply_free(note->events);
		free(note);
		note = next;
	}
}

void listen_hurry(struct listen *listen, int64_t now)
{
	if (now - listen->asked_again_ms < NEXT_MIN_MS)
		return;
	listen->asked_again_ms = now;
	for (unsigned i = 0; i < LINKS_MAX; i++) {
		if (listen->watches[i].used && listen->watches[i].next_ms > now)
			listen->watches[i].next_ms = now;
	}
}

static void listen_kick(const struct listen *listen)
{
	const uint64_t one = 1;

	/* EAGAIN: it is readable already. */
	if (write(listen->wake, &one, sizeof(one)) < 0)
		CHECK(errno == EAGAIN);
}

static void drain(int fd)
{
	uint64_t count;

	if (read(fd, &count, sizeof(count)) < 0)
		CHECK(errno == EAGAIN);
}

/* -- watches --------------------------------------------------------------------------------- */

static void watch_drop_client(struct mha *mha, struct watch *watch)
{
	if (watch->client == NULL)
		return;
	stream_leave(mha, watch);
	CHECK(epoll_ctl(mha->listen->epoll, EPOLL_CTL_DEL, client_fd(watch->client), NULL) == 0);
	client_close(watch->client);
	watch->client = NULL;
	watch->status_id = 0;
	watch->told = false;
}

static void watch_silent(struct watch *watch, const char *text)
{
	watch->answer = (struct answer){.any = false};
	snprintf(watch->answer.node, sizeof(watch->answer.node), "%.63s",
		 watch->link.name[0] != '\0' ? watch->link.name : watch->link.endpoint);
	snprintf(watch->answer.why, sizeof(watch->answer.why), "%.255s", text);
}

static int watch_open(struct mha *mha, struct watch *watch, struct err *why)
{
	struct epoll_event event = {.events = EPOLLIN};
	int rc = link_open(mha, &watch->link, &watch->client, why);

	if (rc < 0)
		return rc;
	event.data.fd = client_fd(watch->client);
	if (epoll_ctl(mha->listen->epoll, EPOLL_CTL_ADD, event.data.fd, &event) < 0) {
		rc = err_set_errno(why, ERR_IO, errno, "watch %s", watch->link.endpoint);
		client_close(watch->client);
		watch->client = NULL;
	}
	return rc;
}

static struct link *link_of(struct mha *mha, const char *endpoint)
{
	for (unsigned i = 0; i < mha->link_count; i++) {
		if (strcmp(mha->links[i].endpoint, endpoint) == 0)
			return &mha->links[i];
	}
	return NULL;
}

/* One watch per link: new members are joined, members that left are let go. */
static void watches_match(struct mha *mha, int64_t now)
{
	struct listen *listen = mha->listen;

	for (unsigned i = 0; i < LINKS_MAX; i++) {
		struct watch *watch = &listen->watches[i];

		if (watch->used && link_of(mha, watch->link.endpoint) == NULL) {
			watch_drop_client(mha, watch);
			watch->used = false;
		}
	}
	for (unsigned k = 0; k < mha->link_count; k++) {
		struct watch *room = NULL;
		bool known = false;

		for (unsigned i = 0; i < LINKS_MAX && !known; i++) {
			struct watch *watch = &listen->watches[i];

			known = watch->used &&
				strcmp(watch->link.endpoint, mha->links[k].endpoint) == 0;
			if (!watch->used && room == NULL)
				room = watch;
		}
		if (known || room == NULL)
			continue;
		*room = (struct watch){.used = true, .link = mha->links[k], .next_ms = now};
		watch_silent(room, "no answer yet");
	}
}

static void watch_answer(struct mha *mha, struct watch *watch, const Mha__Client__Reply *reply,
			 int64_t now)
{
	struct answer answer;

	answer_read(mha, &watch->link, reply, watch->sent_ms, &answer);
	watch->status_id = 0;
	watch->next_ms = now + mha->poll_ms;
	if (!answer.any) {
		watch->told = false;
		watch_silent(watch, answer.why);
		return;
	}
	watch->answer = answer;
	watch->told = true;
	CHECK(text_copy(watch->link.name, sizeof(watch->link.name), answer.node));
	if (answer.claims) {
		int64_t soon = now + (answer.until_ms - now) / URGENT_LEASE;

		if (soon < watch->next_ms)
			watch->next_ms = soon > now + NEXT_MIN_MS ? soon : now + NEXT_MIN_MS;
	}
}

static void watch_receive(struct mha *mha, struct watch *watch, int64_t now)
{
	Mha__Client__Reply *reply;

	for (unsigned i = 0; i < REPLIES_MAX && watch->client != NULL; i++) {
		if ((reply = client_take(watch->client)) == NULL)
			return;
		if (stream_take(mha, watch, reply, now))
			continue;
		if (watch->status_id != 0 &&
		    (reply->id == watch->status_id || (reply->id == 0 && reply->code != 0)))
			watch_answer(mha, watch, reply, now);
		client_reply_free(reply);
	}
}

static void watch_step(struct mha *mha, struct watch *watch, int64_t now)
{
	struct err why = {0};

	if (watch->status_id != 0 && now - watch->sent_ms >= ANSWER_MS) {
		/* The connection may be dead without knowing it. */
		watch_drop_client(mha, watch);
		watch_silent(watch, "no answer within a second");
		watch->next_ms = now;
	}
	if (watch->status_id != 0 || now < watch->next_ms)
		return;
	if ((watch->client == NULL && watch_open(mha, watch, &why) < 0) ||
	    link_ask(watch->client, &watch->status_id, &why) < 0) {
		watch->status_id = 0;
		watch_silent(watch, why.text);
		watch->next_ms = now + mha->poll_ms;
		return;
	}
	watch->sent_ms = now;
}

/* -- changes --------------------------------------------------------------------------------- */

static bool same_leader(const struct mha_leader *a, const struct mha_leader *b)
{
	return a->epoch == b->epoch && strcmp(a->name, b->name) == 0;
}

static int tell_change(struct listen *listen, int kind, const struct mha_leader *leader,
		       const char *text, struct err *why)
{
	struct note *note = note_add(listen);

	if (note == NULL)
		return err_set(why, ERR_NO_MEMORY, "a change of leader");
	note->kind = kind;
	if (listen->any)
		note->old = listen->leader;
	if (leader != NULL)
		note->leader = *leader;
	snprintf(note->why, sizeof(note->why), "%s", text);
	return 0;
}

static int leader_step(struct mha *mha, int64_t now, struct err *why)
{
	struct listen *listen = mha->listen;
	const struct answer *answers[LINKS_MAX], *winner;
	struct err unknown = {0};
	unsigned count = 0;
	int kind, rc;

	for (unsigned i = 0; i < LINKS_MAX; i++) {
		if (listen->watches[i].used)
			answers[count++] = &listen->watches[i].answer;
	}
	if (leader_judge(mha, answers, count, now, &winner, &unknown) < 0) {
		if (!listen->any || listen->lost)
			return 0;
		if ((rc = tell_change(listen, MHA_LEADER_LOST, NULL, unknown.text, why)) < 0)
			return rc;
		listen->lost = true;
		listen_hurry(listen, now);
		return 0;
	}
	if (!listen->any)
		kind = MHA_LEADER_FOUND;
	else if (!same_leader(&winner->leader, &listen->leader))
		kind = MHA_LEADER_CHANGED;
	else if (listen->lost)
		kind = MHA_LEADER_BACK;
	else
		return 0;
	if ((rc = tell_change(listen, kind, &winner->leader, "", why)) < 0)
		return rc;
	listen->leader = winner->leader;
	listen->any = true;
	listen->lost = false;
	return 0;
}

/* While nobody is confirmed, everybody is asked often. */
static void hasten(struct mha *mha, int64_t now)
{
	struct listen *listen = mha->listen;
	const int64_t urgent = mha->poll_ms < URGENT_MS ? mha->poll_ms : URGENT_MS;

	if (listen->any && !listen->lost)
		return;
	for (unsigned i = 0; i < LINKS_MAX; i++) {
		struct watch *watch = &listen->watches[i];

		if (watch->used && watch->next_ms > now + urgent)
			watch->next_ms = now + urgent;
	}
}

/* -- a turn ---------------------------------------------------------------------------------- */

/* The next moment at which something is due without an answer. */
static int64_t next_due(const struct listen *listen, int64_t now)
{
	int64_t due = now + IDLE_MS;

	for (unsigned i = 0; i < LINKS_MAX; i++) {
		const struct watch *watch = &listen->watches[i];
		int64_t mine = watch->status_id != 0 ? watch->sent_ms + ANSWER_MS : watch->next_ms;

		if (!watch->used)
			continue;
		if (mine < due)
			due = mine;
		/* A lease that runs out unrenewed is news by itself. */
		if (watch->answer.claims && watch->answer.until_ms >= now &&
		    watch->answer.until_ms + 1 < due)
			due = watch->answer.until_ms + 1;
	}
	return stream_due(listen) < due ? stream_due(listen) : due;
}

static void arm(const struct listen *listen, int64_t now)
{
	int64_t due = next_due(listen, now);
	struct itimerspec when = {0};

	/* A time of zero would disarm the timer. */
	if (due < 1)
		due = 1;
	when.it_value.tv_sec = due / 1000;
	when.it_value.tv_nsec = (long)(due % 1000) * 1000000;
	CHECK(timerfd_settime(listen->timer, TFD_TIMER_ABSTIME, &when, NULL) == 0);
}

/*
 * ZeroMQ's descriptors are edge-triggered: one that was looked at stays silent though more waits.
 * Whatever is left over makes the own descriptor readable.
 */
static void own_up(const struct listen *listen)
{
	for (unsigned i = 0; i < LINKS_MAX; i++) {
		const struct watch *watch = &listen->watches[i];

		if (watch->used && watch->client != NULL && client_waiting(watch->client)) {
			listen_kick(listen);
			return;
		}
	}
}

static int turn(struct mha *mha, struct err *why)
{
	struct listen *listen = mha->listen;
	const int64_t now = client_now_ms();
	int rc;

	drain(listen->timer);
	drain(listen->wake);
	for (unsigned i = 0; i < LINKS_MAX; i++) {
		if (listen->watches[i].used && listen->watches[i].client != NULL)
			watch_receive(mha, &listen->watches[i], now);
	}
	watches_match(mha, now);
	rc = leader_step(mha, now, why);
	hasten(mha, now);
	for (unsigned i = 0; i < LINKS_MAX; i++) {
		if (listen->watches[i].used)
			watch_step(mha, &listen->watches[i], now);
	}
	if (rc == 0)
		rc = stream_step(mha, now, why);
	own_up(listen);
	arm(listen, now);
	return rc;
}

static void dispatch_change(const struct mha_listener *how, const struct note *note)
{
	const struct mha_change change = {
		.size = sizeof(change),
		.kind = note->kind,
		.old_epoch = note->old.epoch,
		.epoch = note->kind == MHA_LEADER_LOST ? note->old.epoch : note->leader.epoch,
		.old_name = note->old.name,
		.name = note->leader.name,
		.address = note->leader.address,
		.port = note->leader.port,
		.why = note->why,
	};

	if (how->changed != NULL)
		how->changed(how->arg, &change);
}

static void dispatch_events(const struct mha_listener *how, const struct note *note)
{
	const Mha__Client__Events *events = note->events->events;
	struct mha_event event = {
		.size = sizeof(event), .gap = true, .name = "", .json = "", .source = note->source};

	if (note->gap)
		how->event(how->arg, &event);
	for (size_t i = 0; i < events->n_events; i++) {
		const Mha__Client__Event *from = events->events[i];

		event.gap = false;
		event.index = from->index;
		event.sub = from->sub;
		event.wall_ms = from->wall_ms;
		event.name = from->name;
		event.json = from->json;
		how->event(how->arg, &event);
	}
}

/* `busy`: another thread is in it. */
static int process(struct mha *mha, bool *busy, struct mha_error *error)
{
	struct listen *listen;
	struct note *notes;
	struct err why = {0};
	int rc;

	CHECK(pthread_mutex_lock(&mha->lock) == 0);
	listen = mha->listen;
	*busy = listen != NULL && listen->processing;
	if (listen == NULL || listen->processing) {
		CHECK(pthread_mutex_unlock(&mha->lock) == 0);
		rc = listen == NULL ? err_set(&why, ERR_INVALID,
					      "nobody listens; mha_listen() comes first")
				    : 0;
		return error_tell(error, rc, &why);
	}
	listen->processing = true;
	rc = turn(mha, &why);
	notes = listen->first;
	listen->first = NULL;
	listen->last = &listen->first;
	CHECK(pthread_mutex_unlock(&mha->lock) == 0);
	for (const struct note *note = notes; note != NULL; note = note->next) {
		if (note->events != NULL)
			dispatch_events(&listen->how, note);
		else
			dispatch_change(&listen->how, note);
	}
	notes_free(notes);
	CHECK(pthread_mutex_lock(&mha->lock) == 0);
	listen->processing = false;
	CHECK(pthread_mutex_unlock(&mha->lock) == 0);
	return error_tell(error, rc, &why);
}

int mha_process(struct mha *mha, struct mha_error *error)
{
	bool busy;

	return process(mha, &busy, error);
}

/* -- beginning and end ----------------------------------------------------------------------- */

static void listen_free(struct listen *listen)
{
	notes_free(listen->first);
	if (listen->wake >= 0)
		close(listen->wake);
	if (listen->timer >= 0)
		close(listen->timer);
	if (listen->epoll >= 0)
		close(listen->epoll);
	free(listen);
}

static int listen_open(struct listen *listen, struct err *why)
{
	struct epoll_event timer = {.events = EPOLLIN}, wake = {.events = EPOLLIN};

	listen->epoll = epoll_create1(EPOLL_CLOEXEC);
	listen->timer = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	/* Readable from the beginning: there is work to do. */
	listen->wake = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
	timer.data.fd = listen->timer;
	wake.data.fd = listen->wake;
	if (listen->epoll < 0 || listen->timer < 0 || listen->wake < 0 ||
	    epoll_ctl(listen->epoll, EPOLL_CTL_ADD, listen->timer, &timer) < 0 ||
	    epoll_ctl(listen->epoll, EPOLL_CTL_ADD, listen->wake, &wake) < 0)
		return err_set_errno(why, ERR_IO, errno, "descriptors to listen with");
	return 0;
}

int mha_listen(struct mha *mha, const struct mha_listener *how, struct mha_error *error)
{
	struct listen *listen = calloc(1, sizeof(*listen));
	struct err why = {0};
	int rc;

	if (listen == NULL)
		return error_tell(error, err_set(&why, ERR_NO_MEMORY, "listener"), &why);
	listen->epoll = listen->timer = listen->wake = -1;
	listen->last = &listen->first;
	if ((rc = struct_take(&listen->how, sizeof(*how), how, "mha_listener", &why)) < 0 ||
	    (rc = listen_open(listen, &why)) < 0) {
		listen_free(listen);
		return error_tell(error, rc, &why);
	}
	listen->stream.placed = how->resume;
	listen->stream.since_index = how->since_index;
	listen->stream.since_sub = how->since_sub;
	CHECK(pthread_mutex_lock(&mha->lock) == 0);
	if (mha->listen != NULL)
		rc = err_set(&why, ERR_EXISTS, "this handle has a listener already");
	else
		mha->listen = listen;
	CHECK(pthread_mutex_unlock(&mha->lock) == 0);
	if (rc < 0)
		listen_free(listen);
	return error_tell(error, rc, &why);
}

void listen_close(struct mha *mha)
{
	struct listen *listen = mha->listen;

	if (listen == NULL)
		return;
	for (unsigned i = 0; i < LINKS_MAX; i++)
		watch_drop_client(mha, &listen->watches[i]);
	mha->listen = NULL;
	listen_free(listen);
}

/* Locking changes nothing that a reader of a const handle could see. */
static pthread_mutex_t *lock_of(const struct mha *mha)
{
	union {
		const pthread_mutex_t *from;
		pthread_mutex_t *to;
	} lock = {.from = &mha->lock};

	return lock.to;
}

int mha_fd(const struct mha *mha)
{
	int fd;

	CHECK(pthread_mutex_lock(lock_of(mha)) == 0);
	fd = mha->listen != NULL ? mha->listen->epoll : -1;
	CHECK(pthread_mutex_unlock(lock_of(mha)) == 0);
	return fd;
}

/* -- the own thread -------------------------------------------------------------------------- */

static bool thread_goes_on(struct mha *mha)
{
	bool on;

	CHECK(pthread_mutex_lock(&mha->lock) == 0);
	on = !mha->listen->stop;
	CHECK(pthread_mutex_unlock(&mha->lock) == 0);
	return on;
}

static void *thread_run(void *arg)
{
	struct mha *mha = arg;
	struct pollfd item = {.fd = mha_fd(mha), .events = POLLIN};

	while (thread_goes_on(mha)) {
		bool busy;

		if (poll(&item, 1, IDLE_MS) < 0)
			CHECK(errno == EINTR);
		/* The descriptor stays readable until whoever is in it has done the work. */
		if (process(mha, &busy, NULL) < 0 || busy)
			poll(NULL, 0, THREAD_REST_MS);
	}
	return NULL;
}

int mha_start_thread(struct mha *mha, struct mha_error *error)
{
	struct listen *listen;
	struct err why = {0};
	sigset_t all, before;
	int rc = 0;

	CHECK(pthread_mutex_lock(&mha->lock) == 0);
	listen = mha->listen;
	if (listen == NULL) {
		rc = err_set(&why, ERR_INVALID, "nobody listens; mha_listen() comes first");
	} else if (listen->has_thread) {
		rc = err_set(&why, ERR_EXISTS, "this handle has a thread already");
	} else {
		CHECK(sigfillset(&all) == 0 && pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
		listen->stop = false;
		rc = pthread_create(&listen->thread, NULL, thread_run, mha);
		CHECK(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
		listen->has_thread = rc == 0;
		if (rc != 0)
			rc = err_set_errno(&why, ERR_IO, rc, "thread of the listener");
	}
	CHECK(pthread_mutex_unlock(&mha->lock) == 0);
	return error_tell(error, rc, &why);
}

void mha_stop_thread(struct mha *mha)
{
	struct listen *listen;
	pthread_t thread;
	bool any = false;

	/* Whoever comes second waits as well, and finds nothing left to stop. */
	CHECK(pthread_mutex_lock(&mha->ending) == 0);
	CHECK(pthread_mutex_lock(&mha->lock) == 0);
	listen = mha->listen;
	if (listen != NULL && listen->has_thread) {
		any = true;
		thread = listen->thread;
		listen->stop = true;
		listen_kick(listen);
	}
	CHECK(pthread_mutex_unlock(&mha->lock) == 0);
	if (any) {
		CHECK(pthread_join(thread, NULL) == 0);
		CHECK(pthread_mutex_lock(&mha->lock) == 0);
		listen->has_thread = false;
		CHECK(pthread_mutex_unlock(&mha->lock) == 0);
	}
	CHECK(pthread_mutex_unlock(&mha->ending) == 0);
}
