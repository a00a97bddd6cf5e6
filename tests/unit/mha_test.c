/* libmha against stand-in agents that tell the truth, lies, nonsense and nothing. */
#include "mha_fixture.h"

TestSuite(mha, .fini = end, .timeout = 600);

Test(mha, the_leader_is_found_from_any_one_seed)
{
	struct mha_leader leader = MHA_LEADER_INIT;

	start(1);
	set_usual();
	cr_assert_eq(mha_get_leader(mha, &leader, LONG_MS, &error), 0, "%s", error.text);
	cr_expect_str_eq(leader.name, "n2");
	cr_expect_str_eq(leader.address, "127.0.0.2");
	cr_expect_eq(leader.port, 5433);
	cr_expect_eq(leader.epoch, 5);
	cr_expect(leader.valid_ms > 0 && leader.valid_ms <= 60000);
	cr_expect_eq(leader.size, sizeof(leader));
}

Test(mha, hearsay_is_not_enough)
{
	struct mha_leader leader = MHA_LEADER_INIT;
	struct fake hearsay = following(5, 2, 0x5000);

	start(1);
	hearsay.believes = 2;
	set(1, hearsay);
	set(2, (struct fake){.silent = true});
	set(3, hearsay);
	cr_expect_eq(mha_get_leader(mha, &leader, BRIEF_MS, &error), MHA_ERR_NO_LEADER);
	cr_expect_not_null(strstr(error.text, "n1: its record names n2"), "%s", error.text);
	cr_expect_not_null(strstr(error.text, "n2: no answer"), "%s", error.text);
	cr_expect_str_eq(leader.name, "");
	cr_expect_str_eq(mha_error_name(error.code), "no_leader");
}

Test(mha, all_answer_and_none_leads_is_told_at_once)
{
	struct mha_leader leader = MHA_LEADER_INIT;
	struct fake idle = following(5, 2, 0x5000);
	int64_t began;

	start(3);
	for (unsigned n = 1; n <= 3; n++)
		set(n, idle);
	began = client_now_ms();
	cr_expect_eq(mha_get_leader(mha, &leader, 60000, &error), MHA_ERR_NO_LEADER);
	cr_expect(client_now_ms() - began < 60000);
	cr_expect_not_null(strstr(error.text, "n2: it does not serve: as it was told"), "%s",
			   error.text);
}

Test(mha, silence_ends_at_the_deadline)
{
	struct mha_leader leader = MHA_LEADER_INIT;
	struct mha_cluster *cluster = NULL;
	int64_t began;

	start(1);
	set(1, (struct fake){.silent = true});
	began = client_now_ms();
	cr_expect_eq(mha_get_leader(mha, &leader, 200, &error), MHA_ERR_TIMEOUT);
	cr_expect(client_now_ms() - began >= 200);
	cr_expect_eq(mha_wait_leader(mha, &leader, 1500, &error), MHA_ERR_TIMEOUT);
	cr_expect_eq(mha_get_cluster(mha, &cluster, 100, &error), MHA_ERR_TIMEOUT);
	cr_expect_null(cluster);
}

struct later {
	unsigned after_asked; /* once agent 1 was asked so often */
	unsigned n;
	struct fake fake;
};

static void *change_later(void *arg)
{
	const struct later *later = arg;

	while (fake_agents_asked(agents, 1) < later->after_asked)
		usleep(1000);
	fake_agents_set(agents, later->n, &later->fake);
	return NULL;
}

Test(mha, a_leader_is_waited_for)
{
	struct mha_leader leader = MHA_LEADER_INIT;
	struct later later = {.after_asked = 4, .n = 3, .fake = leading(6)};
	pthread_t thread;

	start(1);
	for (unsigned n = 1; n <= 3; n++)
		set(n, following(5, 2, 0x5000));
	cr_assert_eq(pthread_create(&thread, NULL, change_later, &later), 0);
	cr_expect_eq(mha_wait_leader(mha, &leader, LONG_MS, &error), 0, "%s", error.text);
	cr_expect_str_eq(leader.name, "n3");
	cr_expect_eq(leader.epoch, 6);
	pthread_join(thread, NULL);
}

Test(mha, epochs_never_go_back)
{
	struct mha_leader leader = MHA_LEADER_INIT;

	start(1);
	set_usual();
	cr_assert_eq(mha_get_leader(mha, &leader, LONG_MS, &error), 0);
	set(2, (struct fake){.silent = true});
	set(1, leading(4));
	set(3, following(4, 1, 0x5000));
	cr_expect_eq(mha_get_leader(mha, &leader, BRIEF_MS, &error), MHA_ERR_NO_LEADER);
	cr_expect_not_null(strstr(error.text, "n2 was confirmed for epoch 5"), "%s", error.text);
	set(1, leading(5));
	set(3, following(5, 1, 0x5000));
	cr_expect_eq(mha_get_leader(mha, &leader, BRIEF_MS, &error), MHA_ERR_NO_LEADER);
	cr_expect_not_null(strstr(error.text, "for which n2 was confirmed"), "%s", error.text);
	set(1, leading(6));
	cr_expect_eq(mha_get_leader(mha, &leader, LONG_MS, &error), 0, "%s", error.text);
	cr_expect_str_eq(leader.name, "n1");
}

Test(mha, of_two_that_claim_one_epoch_at_most_one_is_ever_told)
{
	struct mha_leader leader = MHA_LEADER_INIT;
	char told[MHA_NAME_SIZE] = "";

	start(1);
	set(1, leading(5));
	set(2, leading(5));
	set(3, following(5, 1, 0x5000));
	for (unsigned i = 0; i < 30; i++) {
		if (mha_get_leader(mha, &leader, 200, &error) < 0)
			continue;
		if (told[0] == '\0')
			memcpy(told, leader.name, sizeof(told));
		cr_expect_str_eq(leader.name, told);
	}
}

/* The rules one by one, without sockets in between. */
static int judge(const struct answer *rows, unsigned count, int64_t now, char name[MHA_NAME_SIZE])
{
	const struct answer *list[4], *winner;
	struct err why = {0};
	int rc;

	for (unsigned i = 0; i < count; i++)
		list[i] = &rows[i];
	rc = leader_judge(mha, list, count, now, &winner, &why);
	cr_expect_eq(rc == 0, winner != NULL);
	cr_expect_eq(rc == 0, why.text[0] == '\0');
	snprintf(name, MHA_NAME_SIZE, "%s", winner != NULL ? winner->leader.name : "");
	return rc;
}

static struct answer claim(const char *name, uint64_t epoch, int64_t until_ms)
{
	struct answer answer = {.any = true, .epoch = epoch, .claims = true, .until_ms = until_ms};

	snprintf(answer.node, sizeof(answer.node), "%s", name);
	snprintf(answer.leader.name, sizeof(answer.leader.name), "%s", name);
	answer.leader.epoch = epoch;
	return answer;
}

Test(mha, claims_are_judged)
{
	struct mha_options options = MHA_OPTIONS_INIT;
	struct answer rows[3];
	char name[MHA_NAME_SIZE];

	options.seeds = "127.0.0.1";
	open_with(&options);
	rows[0] = claim("n1", 5, 1000);
	rows[1] = claim("n2", 6, 1000);
	rows[2] = claim("n3", 6, 1000);
	cr_expect_eq(judge(rows, 1, 1001, name), MHA_ERR_NO_LEADER, "a lease that ran out");
	cr_expect_eq(judge(rows, 3, 900, name), MHA_ERR_NO_LEADER, "two in the newest epoch");
	cr_expect_eq(mha->floor_epoch, 0);
	rows[2].claims = false;
	cr_expect_eq(judge(rows, 1, 1000, name), 0);
	cr_expect_str_eq(name, "n1");
	cr_expect_eq(judge(rows, 3, 900, name), 0);
	cr_expect_str_eq(name, "n2");
	rows[2].epoch = 7;
	cr_expect_eq(judge(rows, 3, 900, name), MHA_ERR_NO_LEADER, "superseded by epoch 7");
	cr_expect_eq(judge(rows, 1, 900, name), MHA_ERR_NO_LEADER, "older than confirmed");
	cr_expect_eq(mha->floor_epoch, 6);
	rows[0].any = false;
	cr_expect_eq(judge(rows, 1, 900, name), MHA_ERR_TIMEOUT);
	cr_expect_eq(judge(rows, 0, 900, name), MHA_ERR_TIMEOUT);
}

static void expect_unusable(struct fake fake, const char *part)
{
	struct mha_leader leader = MHA_LEADER_INIT;

	set(1, fake);
	cr_expect_neq(mha_get_leader(mha, &leader, LONG_MS, &error), 0);
	cr_expect_not_null(strstr(error.text, part), "'%s' is not in: %s", part, error.text);
}

Test(mha, nonsense_is_named_and_passed_over)
{
	struct mha_leader leader = MHA_LEADER_INIT;
	struct mha_options options = MHA_OPTIONS_INIT;
	struct fake fake = leading(5);

	agents = fake_agents_open(1, NULL);
	options.seeds = fake_agents_seed(agents, 1);
	options.cluster = "ours";
	open_with(&options);
	fake.other_cluster = true;
	expect_unusable(fake, "it belongs to cluster 'theirs', not to 'ours'");
	fake = leading(5);
	fake.other_version = true;
	expect_unusable(fake, "protocol version 2");
	fake = leading(5);
	fake.other_body = true;
	expect_unusable(fake, "another question");
	fake = leading(5);
	fake.code = ERR_PERM;
	expect_unusable(fake, "the agent refuses: as it was told");
	fake = leading(5);
	fake.garbage = true;
	set(1, fake);
	cr_expect_eq(mha_get_leader(mha, &leader, LONG_MS, &error), 0, "%s", error.text);
	cr_expect_str_eq(leader.name, "n1");
}

Test(mha, the_cluster_is_the_leaders_view)
{
	struct mha_cluster *cluster;

	start(3);
	set_usual();
	cr_assert_eq(mha_get_cluster(mha, &cluster, LONG_MS, &error), 0, "%s", error.text);
	cr_expect_str_eq(cluster->name, "ours");
	cr_expect_str_eq(cluster->told_by, "n2");
	cr_expect_str_eq(cluster->leader, "n2");
	cr_expect_str_eq(cluster->unknown, "");
	cr_assert_eq(cluster->member_count, 3);
	cr_expect_str_eq(cluster->members[0]->name, "n1");
	cr_expect_str_eq(cluster->members[1]->role, "primary");
	cr_expect_eq(cluster->members[2]->replayed, 0x4000);
	mha_cluster_free(cluster);
	set(2, (struct fake){.silent = true});
	cr_assert_eq(mha_get_cluster(mha, &cluster, BRIEF_MS, &error), 0, "%s", error.text);
	cr_expect_null(cluster->leader);
	cr_expect_neq(cluster->unknown[0], '\0');
	mha_cluster_free(cluster);
}

/* -- routing --------------------------------------------------------------------------------- */

static int route(const struct mha_want *want, unsigned timeout_ms, struct mha_target *target)
{
	*target = (struct mha_target)MHA_TARGET_INIT;
	return mha_route(mha, want, target, timeout_ms, &error);
}

Test(mha, reads_take_turns_and_writes_go_to_the_leader)
{
	struct mha_want want = MHA_WANT_INIT;
	struct mha_target target;
	unsigned seen[4] = {0};

	start(1);
	set_usual();
	cr_assert_eq(route(NULL, LONG_MS, &target), 0, "%s", error.text);
	cr_expect_str_eq(target.name, "n2");
	cr_expect_eq(target.role, MHA_PRIMARY);
	want.role = MHA_REPLICA;
	for (unsigned i = 0; i < 8; i++) {
		cr_assert_eq(route(&want, LONG_MS, &target), 0, "%s", error.text);
		cr_expect_eq(target.role, MHA_REPLICA);
		cr_expect_eq(target.epoch, 5);
		seen[target.name[1] - '0']++;
	}
	cr_expect(seen[1] > 0 && seen[3] > 0 && seen[2] == 0);
	want.role = MHA_ANY;
	for (unsigned i = 0; i < 12; i++) {
		cr_assert_eq(route(&want, LONG_MS, &target), 0, "%s", error.text);
		seen[target.name[1] - '0']++;
	}
	cr_expect(seen[2] > 0);
}

Test(mha, lag_bounds_leave_out_who_lags)
{
	struct mha_want want = MHA_WANT_INIT;
	struct mha_target target;

	start(1);
	set_usual(); /* n3 lacks 0x1000 bytes */
	want.role = MHA_REPLICA;
	want.max_lag_bytes = 0xfff;
	for (unsigned i = 0; i < 6; i++) {
		cr_assert_eq(route(&want, LONG_MS, &target), 0, "%s", error.text);
		cr_expect_str_eq(target.name, "n1");
		cr_expect_eq(target.lag_bytes, 0);
	}
	want.max_lag_bytes = 0;
	want.max_lag_ms = 10000;
	for (unsigned i = 0; i < 6; i++) {
		cr_assert_eq(route(&want, LONG_MS, &target), 0, "%s", error.text);
		cr_expect_str_eq(target.name, "n1",
				 "n3 never had what the leader has had all along");
		cr_expect(target.lag_ms >= 0 && target.lag_ms <= 10000);
	}
	set(1, following(5, 2, 0x3000));
	cr_expect_eq(route(&want, BRIEF_MS, &target), 0);
	cr_expect_str_eq(target.name, "n2", "the primary in the end");
	want.strict = true;
	cr_expect_eq(route(&want, BRIEF_MS, &target), MHA_ERR_NO_REPLICA);
	cr_expect_not_null(strstr(error.text, "lags"), "%s", error.text);
}

Test(mha, bounds_need_a_leader_to_compare_with)
{
	struct mha_want want = MHA_WANT_INIT;
	struct mha_target target;

	start(1);
	set_usual();
	set(2, (struct fake){.silent = true});
	want.role = MHA_REPLICA;
	cr_expect_eq(route(&want, LONG_MS, &target), 0, "%s", error.text);
	cr_expect_eq(target.epoch, 0);
	cr_expect_eq(target.lag_bytes, -1);
	want.max_lag_bytes = UINT64_MAX;
	cr_expect_eq(route(&want, BRIEF_MS, &target), MHA_ERR_NO_LEADER);
}

Test(mha, a_token_is_waited_for)
{
	struct mha_want want = MHA_WANT_INIT;
	struct mha_target target;
	struct later later = {.after_asked = 8, .n = 3, .fake = following(5, 2, 0x5001)};
	pthread_t thread;

	start(1);
	set_usual();
	want.role = MHA_REPLICA;
	want.after_lsn = "0/5000";
	cr_assert_eq(route(&want, LONG_MS, &target), 0, "%s", error.text);
	cr_expect_str_eq(target.name, "n1");
	want.after_lsn = "0/5001";
	cr_assert_eq(pthread_create(&thread, NULL, change_later, &later), 0);
	cr_assert_eq(route(&want, LONG_MS, &target), 0, "%s", error.text);
	cr_expect_str_eq(target.name, "n3");
	cr_expect_eq(target.replayed, 0x5001);
	pthread_join(thread, NULL);
	want.after_lsn = "0/6000";
	cr_assert_eq(route(&want, BRIEF_MS, &target), 0, "%s", error.text);
	cr_expect_str_eq(target.name, "n2", "the primary has its own writes");
	cr_expect_eq(target.role, MHA_PRIMARY);
	want.strict = true;
	cr_expect_eq(route(&want, BRIEF_MS, &target), MHA_ERR_NO_REPLICA);
	cr_expect_not_null(strstr(error.text, "has not replayed that far"), "%s", error.text);
}

Test(mha, a_position_on_another_timeline_is_worth_nothing)
{
	struct mha_want want = MHA_WANT_INIT;
	struct mha_target target;
	struct fake astray = following(5, 2, 0x9000);

	start(1);
	set_usual();
	astray.timeline = 2;
	set(1, astray);
	want.role = MHA_REPLICA;
	want.strict = true;
	want.after_lsn = "0/5000";
	cr_expect_eq(route(&want, BRIEF_MS, &target), MHA_ERR_NO_REPLICA);
	cr_expect(strstr(error.text, "timeline") != NULL || strstr(error.text, "replayed") != NULL,
		  "%s", error.text);
	set(3, following(5, 2, 0x5000));
	cr_assert_eq(route(&want, LONG_MS, &target), 0, "%s", error.text);
	cr_expect_str_eq(target.name, "n3");
}

Test(mha, without_any_replica_the_primary_is_told_at_once)
{
	struct mha_want want = MHA_WANT_INIT;
	struct mha_target target;
	struct fake detached = following(5, 2, 0x5000);
	int64_t began;

	start(1);
	set_usual();
	detached.streaming = false;
	set(1, detached);
	detached.streaming = true;
	detached.maintenance = true;
	set(3, detached);
	want.role = MHA_REPLICA;
	want.max_lag_ms = 1;
	began = client_now_ms();
	cr_assert_eq(route(&want, 60000, &target), 0, "%s", error.text);
	cr_expect_str_eq(target.name, "n2");
	cr_expect(client_now_ms() - began < 60000);
}

static const char *value_of(PQconninfoOption *options, const char *keyword)
{
	for (PQconninfoOption *option = options; option->keyword != NULL; option++) {
		if (strcmp(option->keyword, keyword) == 0)
			return option->val != NULL ? option->val : "";
	}
	return "";
}

static void expect_conninfo(const char *conninfo, const char *keyword, const char *value)
{
	PQconninfoOption *options = PQconninfoParse(conninfo, NULL);

	cr_assert_not_null(options, "libpq cannot read: %s", conninfo);
	cr_expect_str_eq(value_of(options, keyword), value, "%s in: %s", keyword, conninfo);
	PQconninfoFree(options);
}

Test(mha, a_conninfo_survives_every_character)
{
	static const char NASTY[] = "a' host='evil' \\ port=1 \\' \xc3\xa9\n=";
	const char *params[] = {"user", NASTY, "password", "", "application_name", "x y", NULL};
	struct mha_target target = MHA_TARGET_INIT;
	char *conninfo;

	target.role = MHA_PRIMARY;
	target.wanted = MHA_PRIMARY;
	target.port = 6432;
	snprintf(target.address, sizeof(target.address), "fd99::12");
	cr_assert_eq(mha_target_conninfo(&target, params, &conninfo, &error), 0, "%s", error.text);
	expect_conninfo(conninfo, "user", NASTY);
	expect_conninfo(conninfo, "application_name", "x y");
	expect_conninfo(conninfo, "host", "fd99::12");
	expect_conninfo(conninfo, "hostaddr", "fd99::12");
	expect_conninfo(conninfo, "port", "6432");
	expect_conninfo(conninfo, "target_session_attrs", "read-write");
	mha_free(conninfo);
	snprintf(target.address, sizeof(target.address), "it's a \\name");
	target.wanted = target.role = MHA_REPLICA;
	cr_assert_eq(mha_target_conninfo(&target, NULL, &conninfo, &error), 0, "%s", error.text);
	expect_conninfo(conninfo, "host", "it's a \\name");
	expect_conninfo(conninfo, "hostaddr", "");
	expect_conninfo(conninfo, "target_session_attrs", "standby");
	mha_free(conninfo);
	target.role = MHA_PRIMARY;
	cr_assert_eq(mha_target_conninfo(&target, NULL, &conninfo, &error), 0, "%s", error.text);
	expect_conninfo(conninfo, "target_session_attrs", "primary");
	mha_free(conninfo);
}

Test(mha, nobody_says_where_to_go_but_the_cluster)
{
	static const char *const FORBIDDEN[] = {"host",
						"hostaddr",
						"port",
						"service",
						"servicefile",
						"target_session_attrs",
						"load_balance_hosts"};
	struct mha_target target = MHA_TARGET_INIT;
	const char *params[] = {"dbname", NULL, NULL};
	char *conninfo;

	cr_expect_eq(mha_target_conninfo(&target, NULL, &conninfo, &error), MHA_ERR_INVALID);
	target.role = target.wanted = MHA_PRIMARY;
	target.port = 5432;
	snprintf(target.address, sizeof(target.address), "10.0.0.1");
	for (size_t i = 0; i < sizeof(FORBIDDEN) / sizeof(FORBIDDEN[0]); i++) {
		params[0] = FORBIDDEN[i];
		params[1] = "evil";
		cr_expect_eq(mha_target_conninfo(&target, params, &conninfo, &error),
			     MHA_ERR_INVALID, "%s", FORBIDDEN[i]);
		cr_expect_null(conninfo);
	}
	params[0] = "dbname=x host";
	cr_expect_eq(mha_target_conninfo(&target, params, &conninfo, &error), MHA_ERR_INVALID);
	params[0] = "dbname";
	params[1] = NULL;
	cr_expect_eq(mha_target_conninfo(&target, params, &conninfo, &error), MHA_ERR_INVALID);
}

/* -- options --------------------------------------------------------------------------------- */

static int open_seeds(const char *seeds)
{
	struct mha_options options = MHA_OPTIONS_INIT;
	int rc;

	options.seeds = seeds;
	mha = NULL;
	rc = mha_open(&mha, &options, &error);
	if (rc == 0 && strcmp(mha->links[0].endpoint, "tcp://10.0.0.1:7401") != 0 &&
	    strcmp(mha->links[0].endpoint, "tcp://[fd99::1]:7401") != 0)
		rc = 1;
	mha_close(mha);
	mha = NULL;
	return rc;
}

Test(mha, seeds_have_many_forms)
{
	char many[1024] = "10.0.0.1";

	cr_expect_eq(open_seeds("tcp://10.0.0.1:7401"), 0);
	cr_expect_eq(open_seeds("  10.0.0.1:7401 , 10.0.0.2"), 0);
	cr_expect_eq(open_seeds("10.0.0.1"), 0);
	cr_expect_eq(open_seeds("fd99::1"), 0);
	cr_expect_eq(open_seeds("[fd99::1]"), 0);
	cr_expect_eq(open_seeds("[fd99::1]:7401"), 0);
	cr_expect_eq(open_seeds(NULL), MHA_ERR_INVALID);
	cr_expect_eq(open_seeds(" "), MHA_ERR_INVALID);
	cr_expect_eq(open_seeds("10.0.0.1,,10.0.0.2"), MHA_ERR_INVALID);
	cr_expect_eq(open_seeds("10.0.0.1 shortkey"), MHA_ERR_INVALID);
	for (unsigned i = 0; i < LINKS_MAX; i++)
		strcat(many, ",10.0.0.2");
	cr_expect_eq(open_seeds(many), MHA_ERR_TOO_BIG);
	memset(many, 'x', sizeof(many) - 1);
	cr_expect_eq(open_seeds(many), MHA_ERR_TOO_BIG);
}

Test(mha, structs_carry_their_version)
{
	struct newer {
		struct mha_options options;
		void *later;
	} newer = {.options = MHA_OPTIONS_INIT};
	struct mha_leader leader = MHA_LEADER_INIT;

	newer.options.seeds = "10.0.0.1";
	newer.options.size = sizeof(newer);
	open_with(&newer.options);
	mha_close(mha);
	newer.later = &newer;
	cr_expect_eq(mha_open(&mha, &newer.options, &error), MHA_ERR_VERSION);
	newer.options.size = 0;
	cr_expect_eq(mha_open(&mha, &newer.options, &error), MHA_ERR_INVALID);
	newer.options.size = sizeof(newer.options);
	newer.options.poll_ms = 1;
	cr_expect_eq(mha_open(&mha, &newer.options, &error), MHA_ERR_INVALID);
	newer.options.poll_ms = 0;
	open_with(&newer.options);
	leader.size = 8;
	cr_expect_eq(mha_get_leader(mha, &leader, 10, &error), MHA_ERR_INVALID);
	cr_expect_not_null(strstr(error.text, "mha_leader"));
}

Test(mha, curve_keeps_everybody_else_out)
{
	struct mha_options options = MHA_OPTIONS_INIT;
	struct mha_leader leader = MHA_LEADER_INIT;
	struct key server, client, stranger;
	struct err why = {0};
	char path[] = "/tmp/mha-key-XXXXXX", text[KEY_FILE_MAX], seed[160];
	int fd = mkstemp(path);

	cr_assert(key_make(&server, &why) == 0 && key_make(&client, &why) == 0 &&
		  key_make(&stranger, &why) == 0);
	cr_assert_eq(write(fd, text, (size_t)key_format(&client, text)), (ssize_t)strlen(text));
	close(fd);
	agents = fake_agents_open(3, server.secret);
	set_usual();
	options.seeds = fake_agents_seed(agents, 1);
	open_with(&options);
	cr_expect_eq(mha_get_leader(mha, &leader, BRIEF_MS, &error), MHA_ERR_TIMEOUT, "no key");
	mha_close(mha);
	options.server_key = stranger.public;
	cr_expect_eq(mha_open(&mha, &options, &error), MHA_ERR_INVALID, "no key_file");
	options.key_file = path;
	open_with(&options);
	cr_expect_eq(mha_get_leader(mha, &leader, BRIEF_MS, &error), MHA_ERR_TIMEOUT, "wrong key");
	mha_close(mha);
	options.server_key = server.public;
	open_with(&options);
	cr_expect_eq(mha_get_leader(mha, &leader, LONG_MS, &error), 0, "%s", error.text);
	cr_expect_str_eq(leader.name, "n2", "learned members are asked with the same key");
	mha_close(mha);
	/* A key behind the seed: that one is asked, others have no known key. */
	fake_agents_close(agents);
	agents = fake_agents_open(3, server.secret);
	set_usual();
	options.server_key = NULL;
	snprintf(seed, sizeof(seed), "%s %s", fake_agents_seed(agents, 2), server.public);
	options.seeds = seed;
	open_with(&options);
	cr_expect_eq(mha_get_leader(mha, &leader, LONG_MS, &error), 0, "%s", error.text);
	cr_expect_eq(fake_agents_asked(agents, 3), 0);
	unlink(path);
}
