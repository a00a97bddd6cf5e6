#include "client/round.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "base/check.h"
#include "base/text.h"

static void ask_failed(struct ask *ask, const char *text)
{
	ask->answer = (struct answer){.any = false};
	snprintf(ask->answer.node, sizeof(ask->answer.node), "%.63s",
		 ask->link.name[0] != '\0' ? ask->link.name : ask->link.endpoint);
	snprintf(ask->answer.why, sizeof(ask->answer.why), "%.255s", text);
}

static void ask_send(const struct mha *mha, struct ask *ask, int64_t now)
{
	struct err why = {0};

	if (ask->client == NULL && link_open(mha, &ask->link, &ask->client, &why) < 0) {
		ask->sent_ms = now;
		ask_failed(ask, why.text);
		return;
	}
	ask->sent_ms = now;
	ask->waiting = true;
	if (link_ask(ask->client, &ask->id, &why) < 0) {
		ask->waiting = false;
		ask_failed(ask, why.text);
	}
}

/* Copies of the links that are not asked yet; the lock is held. */
static void round_join(struct round *round)
{
	const struct mha *mha = round->mha;

	for (unsigned i = 0; i < mha->link_count; i++) {
		const struct link *link = &mha->links[i];
		bool known = false;

		for (unsigned k = 0; k < round->count && !known; k++)
			known = strcmp(round->asks[k].link.endpoint, link->endpoint) == 0;
		if (known || round->count == LINKS_MAX)
			continue;
		round->asks[round->count].link = *link;
		ask_failed(&round->asks[round->count], "no answer yet");
		round->count++;
	}
}

static void round_send(struct round *round, bool again)
{
	const int64_t now = client_now_ms();

	for (unsigned i = 0; i < round->count; i++) {
		struct ask *ask = &round->asks[i];

		if (ask->waiting && now - ask->sent_ms >= ANSWER_MS) {
			/* The connection may be dead without knowing it. */
			client_close(ask->client);
			ask->client = NULL;
			ask->waiting = false;
			ask_failed(ask, "no answer within a second");
			client_reply_free(ask->reply);
			ask->reply = NULL;
			ask_send(round->mha, ask, now);
		} else if (ask->sent_ms == 0 ||
			   (again && !ask->waiting && now - ask->sent_ms >= ROUND_AGAIN_MS)) {
			ask_send(round->mha, ask, now);
		}
	}
}

/* What has come on one socket; the lock is held. */
static void ask_receive(struct mha *mha, struct ask *ask)
{
	Mha__Client__Reply *reply;

	while (ask->waiting && (reply = client_take(ask->client)) != NULL) {
		struct answer answer;

		/* An agent that could not read the request does not know its id. */
		if (reply->id != ask->id && !(reply->id == 0 && reply->code != 0)) {
			client_reply_free(reply);
			continue;
		}
		ask->waiting = false;
		answer_read(mha, &ask->link, reply, ask->sent_ms, &answer);
		client_reply_free(ask->reply);
		ask->reply = NULL;
		if (!answer.any) {
			client_reply_free(reply);
			ask_failed(ask, answer.why);
			continue;
		}
		ask->answer = answer;
		ask->reply = reply;
		ask->reply_sent_ms = ask->sent_ms;
		CHECK(text_copy(ask->link.name, sizeof(ask->link.name), answer.node));
	}
}

/* The next moment at which something is due without an answer. */
static int64_t round_due(const struct round *round, bool again)
{
	int64_t due = round->deadline_ms;

	for (unsigned i = 0; i < round->count; i++) {
		const struct ask *ask = &round->asks[i];
		int64_t mine = ask->sent_ms + (ask->waiting ? ANSWER_MS : ROUND_AGAIN_MS);

		if ((ask->waiting || again) && mine < due)
			due = mine;
	}
	return due;
}

static int round_wait(struct round *round, bool again, struct err *why)
{
	zmq_pollitem_t items[LINKS_MAX];
	const int64_t left = round_due(round, again) - client_now_ms();
	int count = 0;

	for (unsigned i = 0; i < round->count; i++) {
		if (round->asks[i].waiting)
			items[count++] =
				(zmq_pollitem_t){.socket = client_socket(round->asks[i].client),
						 .events = ZMQ_POLLIN};
	}
	if (zmq_poll(items, count, left > 0 ? (long)left : 0) < 0 && zmq_errno() != EINTR)
		return err_set(why, ERR_IO, "wait for answers: %s", zmq_strerror(zmq_errno()));
	return 0;
}

static bool nobody_waited_for(const struct round *round)
{
	for (unsigned i = 0; i < round->count; i++) {
		if (round->asks[i].waiting)
			return false;
	}
	return true;
}

static bool round_step(struct round *round, bool again, round_look look, void *arg, bool *all)
{
	struct mha *mha = round->mha;
	bool enough;

	CHECK(pthread_mutex_lock(&mha->lock) == 0);
	for (unsigned i = 0; i < round->count; i++) {
		if (round->asks[i].waiting)
			ask_receive(mha, &round->asks[i]);
	}
	round_join(round);
	CHECK(pthread_mutex_unlock(&mha->lock) == 0);
	round_send(round, again);
	*all = nobody_waited_for(round);
	CHECK(pthread_mutex_lock(&mha->lock) == 0);
	enough = look(arg, round, *all);
	CHECK(pthread_mutex_unlock(&mha->lock) == 0);
	return enough;
}

int round_run(struct mha *mha, unsigned timeout_ms, bool again, round_look look, void *arg,
	      struct round **ran, bool *enough, struct err *why)
{
	struct round *round = calloc(1, sizeof(*round));
	bool all = false;
	int rc = 0;

	*ran = NULL;
	*enough = false;
	if (round == NULL)
		return err_set(why, ERR_NO_MEMORY, "questions: %zu bytes", sizeof(*round));
	round->mha = mha;
	round->began_ms = client_now_ms();
	round->deadline_ms = round->began_ms + timeout_ms;
	while (!(*enough = round_step(round, again, look, arg, &all)) && (again || !all) &&
	       client_now_ms() < round->deadline_ms && rc == 0)
		rc = round_wait(round, again, why);
	if (rc < 0) {
		round_free(round);
		return rc;
	}
	*ran = round;
	return 0;
}

void round_free(struct round *round)
{
	if (round == NULL)
		return;
	for (unsigned i = 0; i < round->count; i++) {
		client_reply_free(round->asks[i].reply);
		client_close(round->asks[i].client);
	}
	free(round);
}

int round_leader(struct round *round, const struct ask **leader, struct err *why)
{
	const struct answer *answers[LINKS_MAX], *winner;
	int rc;

	*leader = NULL;
	for (unsigned i = 0; i < round->count; i++)
		answers[i] = &round->asks[i].answer;
	rc = leader_judge(round->mha, answers, round->count, client_now_ms(), &winner, why);
	for (unsigned i = 0; i < round->count && rc == 0; i++) {
		if (&round->asks[i].answer == winner)
			*leader = &round->asks[i];
	}
	return rc;
}
