/* Which database to connect to. */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/text.h"
#include "client/round.h"

/* Replicas that answer so much later than the first do not take part in the turn. */
#define GATHER_MS 200

struct routing {
	struct mha_want want;
	uint64_t token; /* 0: none */
	struct mha_target target;
	const struct ask *leader; /* NULL: none is confirmed */
	struct err leader_why;
	bool hopeful;   /* a replica streams that does not satisfy the bounds yet */
	bool unbounded; /* no bound is set */
	unsigned count; /* of replicas that qualify */
	struct mha_target replicas[LINKS_MAX];
	char refused[256]; /* why the last one does not */
};

static const Mha__Client__Member *own_row(const struct ask *ask)
{
	const Mha__Client__Status *status = ask->reply->status;

	for (size_t i = 0; i < status->n_members; i++) {
		if (strcmp(status->members[i]->name, status->node) == 0)
			return status->members[i];
	}
	return NULL;
}

/* What the leader had flushed when it was asked, minus the age of what it knows; lock held. */
static void take_sample(struct mha *mha, const struct ask *leader, const Mha__Client__Member *row)
{
	const struct sample *last = &mha->samples[(mha->sample_count - 1) % SAMPLES_MAX];
	struct sample sample = {
		.at_ms = leader->reply_sent_ms - (row->age_ms > 0 ? row->age_ms : 0),
		.timeline = leader->reply->status->timeline,
		.flushed = row->flushed,
	};

	if (row->age_ms < 0 || row->flushed == 0 ||
	    (mha->sample_count > 0 && sample.at_ms < last->at_ms + SAMPLE_SPACE_MS))
		return;
	mha->samples[mha->sample_count++ % SAMPLES_MAX] = sample;
}

/* All that was flushed so long ago is in what is replayed; -1: nothing is known to compare with. */
static int64_t lag_ms_of(const struct mha *mha, unsigned timeline, uint64_t replayed, int64_t now)
{
	int64_t at = -1;

	for (unsigned i = 0; i < SAMPLES_MAX && i < mha->sample_count; i++) {
		const struct sample *sample = &mha->samples[i];

		if (sample->timeline == timeline && sample->flushed <= replayed &&
		    sample->at_ms > at)
			at = sample->at_ms;
	}
	return at < 0 ? -1 : now - at;
}

static bool satisfies(struct routing *routing, const Mha__Client__Member *row,
		      const struct mha_target *replica)
{
	const struct mha_want *want = &routing->want;
	const char *text = NULL;

	if (routing->unbounded)
		return true;
	if (routing->leader == NULL)
		text = "no leader is confirmed to compare it with";
	else if (row->timeline != routing->leader->reply->status->timeline)
		text = "it is not on the leader's timeline";
	else if (routing->token != 0 && row->replayed < routing->token)
		text = "it has not replayed that far";
	else if (want->max_lag_bytes != 0 &&
		 (replica->lag_bytes < 0 || (uint64_t)replica->lag_bytes > want->max_lag_bytes))
		text = "it lags by more bytes";
	else if (want->max_lag_ms != 0 &&
		 (replica->lag_ms < 0 || replica->lag_ms > (int64_t)want->max_lag_ms))
		text = "it lags by more time";
	if (text == NULL)
		return true;
	snprintf(routing->refused, sizeof(routing->refused), "%.63s: %s", row->name, text);
	routing->hopeful = true;
	return false;
}

static void weigh_replica(struct mha *mha, struct routing *routing, const struct ask *ask)
{
	const Mha__Client__Member *row = own_row(ask), *ahead = NULL;
	struct mha_target *replica = &routing->replicas[routing->count];

	if (row == NULL || ask == routing->leader || strcmp(row->role, "standby") != 0)
		return;
	if (!row->streaming || !row->heard || row->maintenance || row->rebuilding ||
	    row->postgres_port == 0 || row->postgres_port > 65535) {
		snprintf(routing->refused, sizeof(routing->refused), "%.63s: %.100s", row->name,
			 row->maintenance ? "maintenance" : row->state);
		return;
	}
	if (routing->leader != NULL)
		ahead = own_row(routing->leader);
	*replica = (struct mha_target){
		.role = MHA_REPLICA,
		.wanted = routing->want.role,
		.epoch = routing->leader != NULL ? routing->leader->answer.leader.epoch : 0,
		.replayed = row->replayed,
		.lag_bytes = -1,
		.lag_ms = -1,
		.port = row->postgres_port,
	};
	if (!text_copy(replica->name, sizeof(replica->name), row->name) ||
	    !text_copy(replica->address, sizeof(replica->address), row->address) ||
	    row->address[0] == '\0')
		return;
	if (ahead != NULL && row->timeline == routing->leader->reply->status->timeline) {
		replica->lag_ms = lag_ms_of(mha, row->timeline, row->replayed, client_now_ms());
		if (ahead->flushed != 0 && row->replayed != 0)
			replica->lag_bytes = ahead->flushed > row->replayed
						     ? (int64_t)(ahead->flushed - row->replayed)
						     : 0;
	}
	if (satisfies(routing, row, replica))
		routing->count++;
}

static void take_leader(struct routing *routing)
{
	const struct mha_leader *leader = &routing->leader->answer.leader;

	routing->target = (struct mha_target){
		.role = MHA_PRIMARY,
		.wanted = routing->want.role,
		.epoch = leader->epoch,
		.port = leader->port,
	};
	CHECK(text_copy(routing->target.name, sizeof(routing->target.name), leader->name));
	CHECK(text_copy(routing->target.address, sizeof(routing->target.address), leader->address));
}

/* Everybody in turn: the replicas, and for MHA_ANY the leader. */
static void take_turn(struct mha *mha, struct routing *routing)
{
	const bool any = routing->want.role == MHA_ANY && routing->leader != NULL;
	const unsigned turn = mha->turn++ % (routing->count + any);

	if (turn == routing->count)
		take_leader(routing);
	else
		routing->target = routing->replicas[turn];
}

static bool look_for_target(void *arg, struct round *round, bool all)
{
	struct routing *routing = arg;
	struct mha *mha = round->mha;
	const Mha__Client__Member *row;

	routing->count = 0;
	routing->hopeful = false;
	if (round_leader(round, &routing->leader, &routing->leader_why) == 0 &&
	    (row = own_row(routing->leader)) != NULL)
		take_sample(mha, routing->leader, row);
	if (routing->want.role == MHA_PRIMARY) {
		if (routing->leader != NULL)
			take_leader(routing);
		return routing->leader != NULL;
	}
	for (unsigned i = 0; i < round->count; i++) {
		if (round->asks[i].reply != NULL)
			weigh_replica(mha, routing, &round->asks[i]);
	}
	if (!all && client_now_ms() - round->began_ms < GATHER_MS)
		return false;
	if (routing->count > 0) {
		take_turn(mha, routing);
		return true;
	}
	if (routing->leader == NULL ||
	    (routing->want.role == MHA_REPLICA && (routing->hopeful || routing->want.strict)))
		return false;
	take_leader(routing);
	return true;
}

/* The time is over. */
static int last_resort(struct routing *routing, struct err *why)
{
	if (routing->want.role == MHA_PRIMARY ||
	    (routing->leader == NULL && !routing->want.strict)) {
		*why = routing->leader_why;
		return why->code == MHA_ERR_TIMEOUT ? MHA_ERR_TIMEOUT : MHA_ERR_NO_LEADER;
	}
	if (routing->want.strict)
		return err_set(why, MHA_ERR_NO_REPLICA, "no replica is good enough: %s",
			       routing->refused[0] != '\0' ? routing->refused
							   : "none has answered");
	take_leader(routing);
	return 0;
}

static int want_take(struct routing *routing, const struct mha_want *want, struct err *why)
{
	int rc;

	if (want == NULL) {
		routing->want = (struct mha_want){.role = MHA_PRIMARY};
		return 0;
	}
	if ((rc = struct_take(&routing->want, sizeof(*want), want, "mha_want", why)) < 0)
		return rc;
	if (routing->want.role < MHA_PRIMARY || routing->want.role > MHA_ANY)
		return err_set(why, ERR_INVALID,
			       "mha_want.role: %d is none of MHA_PRIMARY, MHA_REPLICA, MHA_ANY",
			       routing->want.role);
	if (routing->want.after_lsn != NULL &&
	    !text_parse_lsn(routing->want.after_lsn, &routing->token))
		return err_set(why, ERR_INVALID, "mha_want.after_lsn: '%.40s' is no pg_lsn",
			       routing->want.after_lsn);
	return 0;
}

int mha_route(struct mha *mha, const struct mha_want *want, struct mha_target *target,
	      unsigned timeout_ms, struct mha_error *error)
{
	struct routing routing = {0};
	struct round *round = NULL;
	struct err why = {0};
	bool enough = false;
	int rc;

	if ((rc = struct_check(target, sizeof(*target), "mha_target", &why)) < 0 ||
	    (rc = want_take(&routing, want, &why)) < 0)
		return error_tell(error, rc, &why);
	routing.unbounded = routing.token == 0 && routing.want.max_lag_bytes == 0 &&
			    routing.want.max_lag_ms == 0;
	rc = round_run(mha, timeout_ms, true, look_for_target, &routing, &round, &enough, &why);
	if (rc == 0 && !enough)
		rc = last_resort(&routing, &why);
	round_free(round);
	if (rc == 0)
		struct_give(target, &routing.target, sizeof(routing.target));
	return error_tell(error, rc, &why);
}
