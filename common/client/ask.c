/* The calls that ask once: the leader and the cluster. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "client/round.h"

struct seek {
	const struct ask *leader; /* NULL: none is confirmed */
	struct err why;
	int rc;
};

static bool look_for_leader(void *arg, struct round *round, bool all)
{
	struct seek *seek = arg;

	(void)all;
	seek->rc = round_leader(round, &seek->leader, &seek->why);
	return seek->rc == 0;
}

static int find_leader(struct mha *mha, struct mha_leader *leader, unsigned timeout_ms, bool again,
		       struct mha_error *error)
{
	struct seek seek = {0};
	struct round *round = NULL;
	struct mha_leader found;
	bool enough;
	int rc;

	if ((rc = struct_check(leader, sizeof(*leader), "mha_leader", &seek.why)) < 0)
		return error_tell(error, rc, &seek.why);
	rc = round_run(mha, timeout_ms, again, look_for_leader, &seek, &round, &enough, &seek.why);
	if (rc < 0)
		return error_tell(error, rc, &seek.why);
	if (seek.rc == 0) {
		int64_t left = seek.leader->answer.until_ms - client_now_ms();

		found = seek.leader->answer.leader;
		found.valid_ms = left > 0 ? left : 0;
		struct_give(leader, &found, sizeof(found));
	}
	round_free(round);
	return error_tell(error, seek.rc, &seek.why);
}

int mha_get_leader(struct mha *mha, struct mha_leader *leader, unsigned timeout_ms,
		   struct mha_error *error)
{
	return find_leader(mha, leader, timeout_ms, false, error);
}

int mha_wait_leader(struct mha *mha, struct mha_leader *leader, unsigned timeout_ms,
		    struct mha_error *error)
{
	return find_leader(mha, leader, timeout_ms, true, error);
}

/* A cluster as it is given away: the reply that its strings live in comes with it. */
struct kept_cluster {
	struct mha_cluster cluster;
	Mha__Client__Reply *reply;
	char unknown[ERR_TEXT_SIZE];
	const struct mha_member **list;
	struct mha_member *rows;
};

static void take_member(const Mha__Client__Member *from, struct mha_member *to)
{
	*to = (struct mha_member){
		.id = from->id,
		.port = from->postgres_port,
		.priority = from->priority,
		.timeline = from->timeline,
		.flushed = from->flushed,
		.replayed = from->replayed,
		.lag_bytes = from->lag_bytes,
		.replay_lag_bytes = from->replay_lag_bytes,
		.age_ms = from->age_ms,
		.heard = from->heard,
		.streaming = from->streaming,
		.in_record = from->in_record,
		.maintenance = from->maintenance,
		.name = from->name,
		.kind = from->kind,
		.address = from->address,
		.role = from->role,
		.state = from->state,
		.sync = from->sync,
		.fault = from->fault,
	};
}

/* Takes over the reply of `from`. */
static int keep_cluster(struct ask *from, const struct seek *seek, struct mha_cluster **cluster,
			struct err *why)
{
	const Mha__Client__Status *status = from->reply->status;
	struct kept_cluster *kept = calloc(1, sizeof(*kept));
	const size_t count = status->n_members;

	if (kept == NULL)
		return err_set(why, ERR_NO_MEMORY, "cluster: %zu bytes", sizeof(*kept));
	kept->rows = calloc(count > 0 ? count : 1, sizeof(*kept->rows));
	kept->list = calloc(count > 0 ? count : 1, sizeof(*kept->list));
	if (kept->rows == NULL || kept->list == NULL) {
		mha_cluster_free(&kept->cluster);
		return err_set(why, ERR_NO_MEMORY, "cluster of %zu members", count);
	}
	for (size_t i = 0; i < count; i++) {
		take_member(status->members[i], &kept->rows[i]);
		kept->list[i] = &kept->rows[i];
	}
	snprintf(kept->unknown, sizeof(kept->unknown), "%s", seek->rc == 0 ? "" : seek->why.text);
	kept->cluster = (struct mha_cluster){
		.name = status->cluster,
		.told_by = status->node,
		.leader = seek->rc == 0 ? status->node : NULL,
		.unknown = kept->unknown,
		.phase = status->phase,
		.why = status->why,
		.mode = status->mode,
		.epoch = status->epoch,
		.term = status->term,
		.timeline = status->timeline,
		.degraded = status->degraded,
		.member_count = (unsigned)count,
		.members = kept->list,
	};
	kept->reply = from->reply;
	from->reply = NULL;
	*cluster = &kept->cluster;
	return 0;
}

/* The leader's answer, else that with the newest epoch. */
static struct ask *best_view(struct round *round, const struct seek *seek)
{
	struct ask *best = NULL;

	for (unsigned i = 0; i < round->count; i++) {
		struct ask *ask = &round->asks[i];

		if (ask == seek->leader)
			return ask;
		if (ask->reply != NULL && (best == NULL || ask->answer.epoch > best->answer.epoch))
			best = ask;
	}
	return best;
}

int mha_get_cluster(struct mha *mha, struct mha_cluster **cluster, unsigned timeout_ms,
		    struct mha_error *error)
{
	struct seek seek = {0};
	struct round *round = NULL;
	struct err why = {0};
	struct ask *best;
	bool enough;
	int rc;

	*cluster = NULL;
	rc = round_run(mha, timeout_ms, false, look_for_leader, &seek, &round, &enough, &why);
	if (rc < 0)
		return error_tell(error, rc, &why);
	best = best_view(round, &seek);
	if (best != NULL)
		rc = keep_cluster(best, &seek, cluster, &why);
	else
		rc = err_set(&why, MHA_ERR_TIMEOUT, "%s", seek.why.text);
	round_free(round);
	return error_tell(error, rc, &why);
}

void mha_cluster_free(struct mha_cluster *cluster)
{
	/* The cluster is the first member of what it is kept in. */
	struct kept_cluster *kept = (struct kept_cluster *)cluster;

	if (kept == NULL)
		return;
	client_reply_free(kept->reply);
	free(kept->list);
	free(kept->rows);
	free(kept);
}
