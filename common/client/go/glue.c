/* Between Go and libmha: structs are filled here, where their sizes are known. */
#include <mha4rdb/mha.h>

#include "_cgo_export.h"

int mha_go_open(struct mha **mha, const char *seeds, const char *cluster, unsigned port,
		unsigned poll_ms, const char *key_file, const char *server_key,
		struct mha_error *error)
{
	struct mha_options options = MHA_OPTIONS_INIT;

	options.seeds = seeds;
	options.cluster = cluster;
	options.port = port;
	options.poll_ms = poll_ms;
	options.key_file = key_file;
	options.server_key = server_key;
	return mha_open(mha, &options, error);
}

int mha_go_leader(struct mha *mha, int wait, struct mha_leader *leader, unsigned timeout_ms,
		  struct mha_error *error)
{
	leader->size = sizeof(*leader);
	if (wait)
		return mha_wait_leader(mha, leader, timeout_ms, error);
	return mha_get_leader(mha, leader, timeout_ms, error);
}

int mha_go_conninfo(struct mha *mha, int role, int strict, unsigned long long max_lag_bytes,
		    unsigned max_lag_ms, const char *after_lsn, const char *const *params,
		    unsigned timeout_ms, char **conninfo, struct mha_error *error)
{
	struct mha_want want = MHA_WANT_INIT;

	want.role = role;
	want.strict = strict != 0;
	want.max_lag_bytes = max_lag_bytes;
	want.max_lag_ms = max_lag_ms;
	want.after_lsn = after_lsn;
	return mha_conninfo(mha, &want, params, timeout_ms, conninfo, error);
}

static void on_change(void *arg, const struct mha_change *change)
{
	union {
		const struct mha_change *from;
		struct mha_change *to;
	} given = {.from = change};

	mhaGoChanged((uintptr_t)arg, given.to);
}

int mha_go_listen(struct mha *mha, uintptr_t listener, struct mha_error *error)
{
	struct mha_listener how = MHA_LISTENER_INIT;
	int rc;

	how.arg = (void *)listener;
	how.changed = on_change;
	rc = mha_listen(mha, &how, error);
	return rc < 0 ? rc : mha_start_thread(mha, error);
}

const struct mha_member *mha_go_member(const struct mha_cluster *cluster, unsigned i)
{
	return cluster->members[i];
}
