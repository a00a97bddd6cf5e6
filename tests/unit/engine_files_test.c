/* The files that the agent writes for PostgreSQL, and the timeline numbers it reserves. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/macros.h"
#include "engine/files.h"
#include "engine/pg_files.h"
#include "engine/pg_history.h"
#include "engine/pg_parse.h"

static struct conf make_conf(void)
{
	static const struct {
		unsigned id;
		int kind;
		const char *address;
	} members[] = {{1, MEMBER_DATA, "10.0.0.1"},
		       {2, MEMBER_DATA, "fd00::2"},
		       {3, MEMBER_WITNESS, "10.0.0.3"}};
	struct conf conf;

	memset(&conf, 0, sizeof(conf));
	strcpy(conf.node_name, "node-1");
	strcpy(conf.pg_os_user, "postgres");
	strcpy(conf.pg_dbname, "postgres");
	strcpy(conf.pg_monitor_user, "mha_monitor");
	strcpy(conf.pg_replication_user, "mha_replication");
	strcpy(conf.pg_socket_dir, "/run/it's");
	conf.member_count = COUNT_OF(members);
	for (size_t i = 0; i < COUNT_OF(members); i++) {
		conf.members[i].id = members[i].id;
		conf.members[i].kind = members[i].kind;
		conf.members[i].postgres_port = 5432;
		strcpy(conf.members[i].address, members[i].address);
	}
	return conf;
}

static char *settings_text(const struct pg_settings *settings)
{
	char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	cr_assert(to != NULL);
	cr_assert_eq(pg_files_settings(to, settings, NULL), 0);
	fclose(to);
	return text;
}

Test(engine_settings, are_quoted_and_read_back)
{
	struct conf conf = make_conf();
	struct pg_paths paths;
	struct pg_settings settings = {.conf = &conf,
				       .paths = &paths,
				       .epoch = 7,
				       .promise = 8,
				       .upstream = 2,
				       .rule = "ANY 1 (mha_n2)",
				       .written = 12,
				       .rule_written = 11};
	char rule[PG_RULE_SIZE];
	uint64_t stamp;
	char *text;

	cr_assert_eq(pg_paths_make(&paths, "/srv/pg/data/", NULL), 0);
	cr_expect_str_eq(paths.data, "/srv/pg/data");
	cr_expect_str_eq(paths.clone, "/srv/pg/data.clone");
	text = settings_text(&settings);
	cr_expect(strstr(text, "\nunix_socket_directories = '/run/it''s'\n") != NULL);
	cr_expect(strstr(text, "application_name=''mha_n1'' ") != NULL);
	cr_expect(strstr(text, "host=''fd00::2'' ") != NULL);
	cr_expect(strstr(text, "\nmha4rdb.promise = '8'\n") != NULL);
	cr_expect(strstr(text, "\nmha4rdb.epoch = '7'\n") != NULL);
	cr_assert(pg_files_read_rule(text, rule, &stamp));
	cr_expect_str_eq(rule, "ANY 1 (mha_n2)");
	cr_expect_eq(stamp, 11);
	cr_expect_eq(pg_files_read_promise(text), 8);
	cr_expect(strstr(text, "\ndefault_transaction_read_only = 'on'\n") != NULL);
	cr_expect_eq(pg_files_read_served(text).epoch, 0);
	cr_expect_eq(pg_files_read_served("port = '1'\n").epoch, 0);
	cr_expect_eq(pg_files_read_promise("port = '1'\n"), 0);
	free(text);

	settings.upstream = NODE_NONE;
	settings.served = (struct pg_served){.epoch = 6, .alone = true};
	text = settings_text(&settings);
	cr_expect(strstr(text, "\nprimary_conninfo = ''\n") != NULL);
	cr_expect(strstr(text, "\ndefault_transaction_read_only = 'off'\n") != NULL);
	cr_expect_eq(pg_files_read_served(text).epoch, 6);
	cr_expect(pg_files_read_served(text).alone);
	free(text);
}

Test(engine_settings, what_the_agent_relies_on_comes_after_what_people_ask_for)
{
	struct conf conf = make_conf();
	struct pg_paths paths;
	struct pg_settings settings = {.conf = &conf, .paths = &paths, .rule = ""};
	const char *asked, *fixed;
	char *text;

	cr_assert_eq(pg_paths_make(&paths, "/srv/pg/data", NULL), 0);
	conf.pg_parameters_count = 1;
	strcpy(conf.pg_parameters[0].name, "restart_after_crash");
	strcpy(conf.pg_parameters[0].value, "on\nport = '1'");
	text = settings_text(&settings);
	asked = strstr(text, "\nrestart_after_crash = 'onport = ''1'''\n");
	fixed = strstr(text, "\nrestart_after_crash = 'off'\n");
	cr_expect(asked != NULL && fixed != NULL && asked < fixed);
	free(text);
}

Test(engine_settings, a_witness_is_no_upstream)
{
	struct conf conf = make_conf();
	struct pg_paths paths;
	char text[PG_CONNINFO_SIZE];
	struct err why;

	cr_assert_eq(pg_paths_make(&paths, "/srv/pg/data", NULL), 0);
	cr_expect_eq(pg_files_conninfo(text, &conf, &paths, 3, "", NULL, &why), ERR_NOT_FOUND);
	cr_expect_eq(pg_files_conninfo(text, &conf, &paths, 9, "", NULL, &why), ERR_NOT_FOUND);
	cr_expect_eq(pg_files_conninfo(text, &conf, &paths, 2, "_clone", "app", &why), 0);
	cr_expect(strstr(text, "application_name='mha_n1_clone' dbname='app' ") != NULL);
}

Test(engine_settings, an_endless_path_is_refused)
{
	struct pg_paths paths;
	char path[400];
	struct err why;

	memset(path, 'x', sizeof(path) - 1);
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	cr_expect_eq(pg_paths_make(&paths, path, &why), ERR_TOO_BIG);
}

Test(engine_access, members_may_replicate_and_nobody_else_has_their_roles)
{
	struct conf conf = make_conf();
	char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);
	const char *reject, *application;

	conf.pg_hba_count = 1;
	strcpy(conf.pg_hba[0], "host all all 0.0.0.0/0 trust");
	pg_files_hba(to, &conf);
	fclose(to);
	cr_expect(strstr(text, "\nlocal all mha_monitor peer map=mha4rdb\n") != NULL);
	cr_expect(strstr(text, "\nhost replication mha_replication 10.0.0.1/32 scram-sha-256\n") !=
		  NULL);
	cr_expect(strstr(text, "\nhost replication mha_replication fd00::2/128 scram-sha-256\n") !=
		  NULL);
	cr_expect(strstr(text, "10.0.0.3") == NULL, "a witness has no database");
	reject = strstr(text, "\nhost all,replication mha_replication all reject\n");
	application = strstr(text, "\nhost all all 0.0.0.0/0 trust\n");
	cr_expect(reject != NULL && application != NULL && reject < application);
	free(text);
}

Test(engine_access, passwords_survive_every_character)
{
	struct conf conf = make_conf();
	char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	pg_files_passfile(to, &conf, "a:b\\c'd");
	fclose(to);
	cr_expect_str_eq(text, "*:*:*:mha_replication:a\\:b\\\\c'd\n");
	free(text);
	to = open_memstream(&text, &size);
	pg_files_roles(to, &conf, "a:b\\c'd");
	fclose(to);
	cr_expect(strstr(text, "PASSWORD 'a:b\\c''d';\n") != NULL);
	free(text);
}

Test(engine_auto_conf, only_what_is_ours_goes)
{
	char text[] = "# Do not edit\n"
		      "primary_conninfo = 'host=x'\n"
		      "work_mem = '5MB'\n"
		      "  synchronous_standby_names='*'\n"
		      "port_something = '1'\n"
		      "recovery_target_name = 'x'\n"
		      "mha4rdb.promise = '0'\n"
		      "hot_standby = 'off'";

	cr_expect(pg_files_strip_auto(text));
	cr_expect_str_eq(text, "# Do not edit\nwork_mem = '5MB'\nport_something = '1'\n");
	cr_expect_not(pg_files_strip_auto(text));
}

static char *scratch(void)
{
	static char path[] = "/tmp/engine-unit-XXXXXX";

	cr_assert(mkdtemp(path) != NULL);
	return path;
}

Test(engine_history_files, numbers_are_reserved_and_released)
{
	char *dir = scratch();

	cr_assert_eq(file_write(dir, "00000003.history", "1\t0/10\tno\n", 0600, NULL), 0);
	cr_assert_eq(pg_history_reserve(dir, 5, NULL), 0);
	cr_expect(file_exists(dir, "00000002.history") && file_exists(dir, "00000004.history") &&
		  file_exists(dir, "00000005.history") && !file_exists(dir, "00000006.history"));
	cr_expect_not(file_exists(dir, "00000001.history"));
	cr_assert_eq(pg_history_release(dir, NULL), 0);
	/* Below the newest true history they stay: the search for it stops at a gap. */
	cr_expect(file_exists(dir, "00000002.history") && file_exists(dir, "00000003.history"));
	cr_expect_not(file_exists(dir, "00000004.history") || file_exists(dir, "00000005.history"));
	cr_assert_eq(pg_history_release(dir, NULL), 0);
	cr_assert_eq(tree_remove(dir, NULL), 0);
}

Test(engine_history_files, many_are_reserved_with_one_file)
{
	char *dir = scratch();
	char path[128];
	struct stat first, last;
	char *text;

	cr_assert_eq(pg_history_reserve(dir, 300, NULL), 0);
	snprintf(path, sizeof(path), "%s/00000002.history", dir);
	cr_assert_eq(stat(path, &first), 0);
	snprintf(path, sizeof(path), "%s/0000012C.history", dir);
	cr_assert_eq(stat(path, &last), 0);
	cr_expect_eq(first.st_ino, last.st_ino, "one flush of content, whatever their number");
	/* A true history that takes the place of one stub leaves the others as they are. */
	cr_assert_eq(file_write(dir, "00000064.history", "1\t0/10\tno\n", 0600, NULL), 0);
	cr_assert_eq(file_read(dir, "00000063.history", 100, &text, NULL), 0);
	cr_expect_eq(text[0], '#');
	free(text);
	cr_assert_eq(pg_history_release(dir, NULL), 0);
	cr_expect(file_exists(dir, "00000063.history") && file_exists(dir, "00000064.history"));
	cr_expect_not(file_exists(dir, "00000065.history") || file_exists(dir, "0000012C.history"));
	cr_assert_eq(tree_remove(dir, NULL), 0);
}

Test(engine_history_files, a_true_history_is_never_overwritten)
{
	char *dir = scratch();
	char *text;

	cr_assert_eq(file_write(dir, "00000002.history", "1\t0/10\tno\n", 0600, NULL), 0);
	cr_assert_eq(pg_history_reserve(dir, 2, NULL), 0);
	cr_assert_eq(file_read(dir, "00000002.history", 100, &text, NULL), 0);
	cr_expect_str_eq(text, "1\t0/10\tno\n");
	free(text);
	cr_expect_eq(pg_history_reserve(dir, UINT32_MAX, NULL), ERR_INVALID);
	cr_assert_eq(tree_remove(dir, NULL), 0);
}

Test(engine_history_files, names)
{
	cr_expect_eq(pg_history_number("0000000A.history"), 10);
	cr_expect_eq(pg_history_number("0000000a.history"), 0);
	cr_expect_eq(pg_history_number("0000000A.history.new"), 0);
	cr_expect_eq(pg_history_number("000000010000000000000001"), 0);
}

Test(engine_files, are_whole_or_not_there)
{
	char *dir = scratch();
	char path[64];
	char *text = NULL;
	struct stat stat_file;
	struct err why;

	cr_assert_eq(file_write(dir, "a", "one", 0640, NULL), 0);
	cr_assert_eq(file_write_changed(dir, "a", "two", 0600, NULL), 0);
	cr_assert_eq(file_read(dir, "a", 3, &text, NULL), 0);
	cr_expect_str_eq(text, "two");
	free(text);
	snprintf(path, sizeof(path), "%s/a", dir);
	cr_assert_eq(stat(path, &stat_file), 0);
	cr_expect_eq(stat_file.st_mode & 0777, 0600);
	cr_expect_eq(file_read(dir, "a", 2, &text, &why), ERR_TOO_BIG);
	cr_expect_eq(file_read(dir, "b", 2, &text, &why), ERR_NOT_FOUND);
	cr_expect_eq(file_remove(dir, "a", NULL), 0);
	cr_expect_eq(file_remove(dir, "a", NULL), 0);
	cr_expect(directory_is_empty(dir));
	cr_expect_eq(tree_remove(dir, NULL), 0);
	cr_expect_eq(tree_remove(dir, NULL), 0);
	cr_expect(directory_is_empty(dir));
}
