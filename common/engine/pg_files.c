#include "engine/pg_files.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/text.h"
#include "engine/pg_parse.h"

/* What the configuration may change (postgresql.parameters is written after these). */
static const struct {
	const char *name, *value;
} DEFAULTS[] = {
	{"recovery_init_sync_method", "syncfs"},
	{"max_connections", "200"},
	{"max_wal_senders", "20"},
	{"max_replication_slots", "20"},
	{"wal_keep_size", "512MB"},
	{"wal_sender_timeout", "5s"},
	{"wal_receiver_timeout", "5s"},
	{"wal_receiver_status_interval", "1s"},
	{"max_standby_streaming_delay", "5s"},
	{"synchronous_commit", "on"},
	{"tcp_keepalives_idle", "5"},
	{"tcp_keepalives_interval", "1"},
	{"tcp_keepalives_count", "3"},
	{"tcp_user_timeout", "5s"},
	{"password_encryption", "scram-sha-256"},
	{"logging_collector", "on"},
	{"log_filename", "postgresql-%a.log"},
	{"log_rotation_age", "1d"},
	{"log_truncate_on_rotation", "on"},
	{"log_line_prefix", "%m [%p] %q%u@%d "},
};

/* What the agent relies on; written last, so that nothing before them counts. */
static const struct {
	const char *name, *value;
} FIXED[] = {
	{"listen_addresses", "*"}, /* the VIP comes and goes */
	{"wal_level", "replica"},
	{"wal_log_hints", "on"},
	{"hot_standby", "on"},
	{"recovery_target_timeline", "latest"},
	/* What a crash leaves behind is the agent's to judge, not the server's. */
	{"restart_after_crash", "off"},
	/* A standby that finds no upstream looks again soon; pointing it at one wakes it at once.
	 */
	{"wal_retrieve_retry_interval", "100ms"},
	{"restore_command", ""},
	{"primary_slot_name", ""},
	{"promote_trigger_file", ""},
	{"recovery_min_apply_delay", "0"},
};

/* Names in postgresql.auto.conf (ALTER SYSTEM) that would override ours. */
static const char *const AUTO_OWNED[] = {
	"primary_conninfo",
	"restore_command",
	"synchronous_standby_names",
	"port",
	"unix_socket_directories",
	"mha4rdb.",
	"recovery_",
	"hba_file",
	"ident_file",
};

/* 'text' as the server's configuration reader takes it. */
static void put_value(FILE *to, const char *text)
{
	fputc('\'', to);
	for (; *text != '\0'; text++) {
		if (*text == '\'' || *text == '\\')
			fputc(*text, to);
		if (*text != '\n' && *text != '\r')
			fputc(*text, to);
	}
	fputc('\'', to);
}

static void put_setting(FILE *to, const char *name, const char *value)
{
	fprintf(to, "%s = ", name);
	put_value(to, value);
	fputc('\n', to);
}

static void put_number(FILE *to, const char *name, uint64_t value)
{
	fprintf(to, "%s = '%" PRIu64 "'\n", name, value);
}

/* name='value' as libpq takes it. */
static void put_keyword(FILE *to, const char *name, const char *value)
{
	fprintf(to, "%s='", name);
	for (; *value != '\0'; value++) {
		if (*value == '\'' || *value == '\\')
			fputc('\\', to);
		fputc(*value, to);
	}
	fputs("' ", to);
}

int pg_files_conninfo(char text[PG_CONNINFO_SIZE], const struct conf *conf,
		      const struct pg_paths *paths, node_id member, const char *purpose,
		      const char *dbname, struct err *why)
{
	const struct conf_member *row = conf_member_by_id(conf, member);
	char name[64];
	FILE *to;
	long size;

	if (row == NULL || row->kind != MEMBER_DATA)
		return err_set(why, ERR_NOT_FOUND, "member %u is no data node", member);
	to = fmemopen(text, PG_CONNINFO_SIZE, "w");
	if (to == NULL)
		return err_set(why, ERR_NO_MEMORY, "out of memory");
	snprintf(name, sizeof(name), PG_MEMBER_PREFIX "%" PRIu64 "%s", conf_self(conf)->id,
		 purpose);
	put_keyword(to, "host", row->address);
	fprintf(to, "port=%" PRIu64 " ", row->postgres_port);
	put_keyword(to, "user", conf->pg_replication_user);
	put_keyword(to, "passfile", paths->passfile);
	put_keyword(to, "application_name", name);
	if (dbname != NULL)
		put_keyword(to, "dbname", dbname);
	fputs("connect_timeout=3 keepalives_idle=2 keepalives_interval=1 keepalives_count=3 "
	      "tcp_user_timeout=5000 gssencmode=disable",
	      to);
	size = ftell(to);
	if (fclose(to) != 0 || size < 0 || size >= PG_CONNINFO_SIZE - 1)
		return err_set(why, ERR_TOO_BIG, "the connection string is too long");
	return 0;
}

int pg_files_settings(FILE *to, const struct pg_settings *settings, struct err *why)
{
	const struct conf *conf = settings->conf;
	char conninfo[PG_CONNINFO_SIZE] = "";
	int rc;

	if (settings->upstream != NODE_NONE &&
	    (rc = pg_files_conninfo(conninfo, conf, settings->paths, settings->upstream, "", NULL,
				    why)) < 0)
		return rc;
	fputs("# Written by mha4rdb; what is changed here by hand is lost.\n", to);
	for (size_t i = 0; i < COUNT_OF(DEFAULTS); i++)
		put_setting(to, DEFAULTS[i].name, DEFAULTS[i].value);
	put_setting(to, "log_directory", settings->paths->log_dir);
	for (unsigned i = 0; i < conf->pg_parameters_count; i++)
		put_setting(to, conf->pg_parameters[i].name, conf->pg_parameters[i].value);
	for (size_t i = 0; i < COUNT_OF(FIXED); i++)
		put_setting(to, FIXED[i].name, FIXED[i].value);
	put_number(to, "port", conf_self(conf)->postgres_port);
	put_setting(to, "unix_socket_directories", conf->pg_socket_dir);
	put_setting(to, "cluster_name", conf->node_name);
	put_setting(to, "primary_conninfo", conninfo);
	/*
	 * Nobody promotes who is configured to follow: where somebody does by hand, no application
	 * writes to it by mistake before the agent has ended it.
	 */
	put_setting(to, "default_transaction_read_only",
		    settings->upstream != NODE_NONE ? "on" : "off");
	put_setting(to, "synchronous_standby_names", settings->rule);
	put_number(to, "mha4rdb.epoch", settings->epoch);
	put_number(to, "mha4rdb.promise", settings->promise);
	put_number(to, "mha4rdb.rule_written", settings->rule_written);
	put_number(to, "mha4rdb.written", settings->written);
	put_number(to, "mha4rdb.served", settings->served.epoch);
	put_number(to, "mha4rdb.alone", settings->served.alone);
	return 0;
}

static void put_hba_members(FILE *to, const struct conf *conf, const char *database)
{
	for (unsigned i = 0; i < conf->member_count; i++) {
		const struct conf_member *member = &conf->members[i];
		const bool v6 = strchr(member->address, ':') != NULL;

		if (member->kind == MEMBER_DATA)
			fprintf(to, "host %s %s %s/%s scram-sha-256\n", database,
				conf->pg_replication_user, member->address, v6 ? "128" : "32");
	}
}

void pg_files_hba(FILE *to, const struct conf *conf)
{
	fputs("# Written by mha4rdb; applications' lines come from postgresql.hba.\n", to);
	fprintf(to, "local all %s peer\n", conf->pg_os_user);
	fprintf(to, "local all %s peer map=mha4rdb\n", conf->pg_monitor_user);
	fprintf(to, "local replication %s peer map=mha4rdb\n", conf->pg_monitor_user);
	put_hba_members(to, conf, "replication");
	put_hba_members(to, conf, conf->pg_dbname);
	for (int i = 0; i < 2; i++) {
		const char *role = i == 0 ? conf->pg_monitor_user : conf->pg_replication_user;

		fprintf(to, "local all,replication %s reject\n", role);
		fprintf(to, "host all,replication %s all reject\n", role);
	}
	for (unsigned i = 0; i < conf->pg_hba_count; i++)
		fprintf(to, "%s\n", conf->pg_hba[i]);
}

void pg_files_ident(FILE *to, const struct conf *conf, const char *monitor_os_user)
{
	fputs("# Written by mha4rdb.\n", to);
	fprintf(to, "mha4rdb %s %s\n", monitor_os_user, conf->pg_monitor_user);
}

void pg_files_passfile(FILE *to, const struct conf *conf, const char *password)
{
	fprintf(to, "*:*:*:%s:", conf->pg_replication_user);
	for (; *password != '\0'; password++) {
		if (*password == ':' || *password == '\\')
			fputc('\\', to);
		fputc(*password, to);
	}
	fputc('\n', to);
}

static void put_literal(FILE *to, const char *text)
{
	fputc('\'', to);
	for (; *text != '\0'; text++) {
		if (*text == '\'')
			fputc(*text, to);
		fputc(*text, to);
	}
	fputc('\'', to);
}

void pg_files_roles(FILE *to, const struct conf *conf, const char *password)
{
	static const char *const REWIND[] = {
		"pg_ls_dir(text, boolean, boolean)",
		"pg_stat_file(text, boolean)",
		"pg_read_binary_file(text)",
		"pg_read_binary_file(text, bigint, bigint, boolean)",
	};
	const char *monitor = conf->pg_monitor_user;
	const char *replication = conf->pg_replication_user;

	fputs("SET standard_conforming_strings = on;\n", to);
	fprintf(to, "CREATE ROLE %s LOGIN REPLICATION PASSWORD ", replication);
	put_literal(to, password);
	fputs(";\n", to);
	for (size_t i = 0; i < COUNT_OF(REWIND); i++)
		fprintf(to, "GRANT EXECUTE ON FUNCTION pg_catalog.%s TO %s;\n", REWIND[i],
			replication);
	/* REPLICATION: the exact end of the WAL and the timeline history are asked for that way. */
	fprintf(to, "CREATE ROLE %s LOGIN REPLICATION CONNECTION LIMIT 16;\n", monitor);
	fprintf(to, "GRANT pg_monitor, pg_checkpoint TO %s;\n", monitor);
	fprintf(to, "GRANT EXECUTE ON FUNCTION pg_catalog.pg_promote(boolean, integer) TO %s;\n",
		monitor);
}

/* The quoted value of `name` in settings text. */
static bool find_setting(const char *settings, const char *name, char *value, size_t size)
{
	char head[64];
	const char *line;
	size_t length;

	snprintf(head, sizeof(head), "\n%s = '", name);
	line = strstr(settings, head);
	if (line == NULL)
		return false;
	line += strlen(head);
	length = strcspn(line, "'\n");
	if (line[length] != '\'' || length >= size)
		return false;
	memcpy(value, line, length);
	value[length] = '\0';
	return true;
}

bool pg_files_read_rule(const char *settings, char rule[256], uint64_t *rule_written)
{
	char number[24];

	return find_setting(settings, "synchronous_standby_names", rule, 256) &&
	       find_setting(settings, "mha4rdb.rule_written", number, sizeof(number)) &&
	       text_parse_u64(number, rule_written);
}

struct pg_served pg_files_read_served(const char *settings)
{
	struct pg_served served = {.epoch = 0};
	char number[24];
	uint64_t alone;

	if (!find_setting(settings, "mha4rdb.served", number, sizeof(number)) ||
	    !text_parse_u64(number, &served.epoch) ||
	    !find_setting(settings, "mha4rdb.alone", number, sizeof(number)) ||
	    !text_parse_u64(number, &alone))
		return (struct pg_served){.epoch = 0};
	served.alone = alone != 0;
	return served;
}

uint64_t pg_files_read_promise(const char *settings)
{
	char number[24];
	uint64_t promise;

	if (!find_setting(settings, "mha4rdb.promise", number, sizeof(number)) ||
	    !text_parse_u64(number, &promise))
		return 0;
	return promise;
}

static bool auto_line_is_owned(const char *line)
{
	line += strspn(line, " \t");
	for (size_t i = 0; i < COUNT_OF(AUTO_OWNED); i++) {
		const size_t length = strlen(AUTO_OWNED[i]);

		if (strncmp(line, AUTO_OWNED[i], length) != 0)
			continue;
		if (AUTO_OWNED[i][length - 1] == '.' || AUTO_OWNED[i][length - 1] == '_' ||
		    strchr(" \t=", line[length]) != NULL)
			return true;
	}
	for (size_t i = 0; i < COUNT_OF(FIXED); i++) {
		const size_t length = strlen(FIXED[i].name);

		if (strncmp(line, FIXED[i].name, length) == 0 &&
		    strchr(" \t=", line[length]) != NULL)
			return true;
	}
	return false;
}

bool pg_files_strip_auto(char *text)
{
	char *to = text;
	bool found = false;

	while (*text != '\0') {
		const size_t length = strcspn(text, "\n");
		const size_t whole = length + (text[length] == '\n' ? 1 : 0);

		if (auto_line_is_owned(text)) {
			found = true;
		} else {
			memmove(to, text, whole);
			to += whole;
		}
		text += whole;
	}
	*to = '\0';
	return found;
}
