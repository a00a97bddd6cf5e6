/* The postgresql section: what a data node needs, and settings that would break the promises. */
#include <string.h>
#include <strings.h>

#include "conf/option.h"
#include "conf/valid.h"

/*
 * Settings that the agent writes itself, or that would take the database out of its hands. A
 * final '*' stands for any rest of the name.
 */
static const char *const OWNED[] = {
	"config_file",
	"data_directory",
	"external_pid_file",
	"hba_file",
	"hot_standby",
	"ident_file",
	"include",
	"include_dir",
	"include_if_exists",
	"listen_addresses",
	"mha4rdb.*",
	"port",
	"primary_conninfo",
	"primary_slot_name",
	"promote_trigger_file",
	"recovery_*",
	"restore_command",
	"synchronous_standby_names",
	"unix_socket_directories",
	"wal_level",
	"wal_log_hints",
};

/*
 * Settings on which the promise to keep every acknowledged commit stands, and the values that
 * keep it. PostgreSQL takes abbreviations of words too, so what is good is listed, not what is bad.
 */
static const struct {
	const char *name;
	const char *values[5];
} SAFE[] = {
	{"fsync", {"on", "true", "yes", "1", NULL}},
	{"full_page_writes", {"on", "true", "yes", "1", NULL}},
	{"synchronous_commit", {"on", "remote_apply", NULL}},
};

static const char *const HBA_TYPES[] = {"local",     "host",       "hostssl",
					"hostnossl", "hostgssenc", "hostnogssenc"};

static int refuse(const struct conf_source *source, enum option_row row, struct err *why,
		  const char *reason)
{
	return conf_refuse(source, source->line[row], OPTIONS[row].key, why, "%s", reason);
}

static int check_data_node(const struct conf *conf, const struct conf_source *source,
			   struct err *why)
{
	if (conf->pg_data_dir[0] == '\0')
		return refuse(source, OPT_pg_data_dir, why, "is required on a data node");
	if (conf->pg_replication_password_file[0] == '\0')
		return refuse(source, OPT_pg_replication_password_file, why,
			      "is required on a data node");
	if (path_is_within(conf->pg_data_dir, conf->run_dir))
		return refuse(source, OPT_pg_data_dir, why,
			      "is inside paths.run_dir, which does not outlast a reboot");
	if (path_is_within(conf->state_dir, conf->pg_data_dir))
		return refuse(source, OPT_state_dir, why,
			      "is inside postgresql.data_dir, which a rebuild replaces");
	if (path_is_within(conf->pg_replication_password_file, conf->pg_data_dir))
		return refuse(source, OPT_pg_replication_password_file, why,
			      "is inside postgresql.data_dir, which a rebuild replaces");
	return 0;
}

static int check_users(const struct conf *conf, const struct conf_source *source, struct err *why)
{
	if (!valid_os_user(conf->pg_os_user, 32))
		return refuse(source, OPT_pg_os_user, why, "is no name of a system user");
	if (strcmp(conf->pg_os_user, "root") == 0 || strncmp(conf->pg_os_user, "mha-", 4) == 0)
		return refuse(
			source, OPT_pg_os_user, why,
			"must be the database's own user, neither root nor one of the agent's");
	if (!valid_identifier(conf->pg_monitor_user, 63))
		return refuse(source, OPT_pg_monitor_user, why,
			      "must be lower-case letters, digits and _");
	if (!valid_identifier(conf->pg_replication_user, 63))
		return refuse(source, OPT_pg_replication_user, why,
			      "must be lower-case letters, digits and _");
	if (strcmp(conf->pg_monitor_user, conf->pg_replication_user) == 0)
		return refuse(source, OPT_pg_monitor_user, why,
			      "is the same as postgresql.replication_user");
	if (!valid_identifier(conf->pg_dbname, 63))
		return refuse(source, OPT_pg_dbname, why,
			      "must be lower-case letters, digits and _");
	return 0;
}

static bool is_owned(const char *name)
{
	for (size_t i = 0; i < COUNT_OF(OWNED); i++) {
		const size_t length = strlen(OWNED[i]);

		if (OWNED[i][length - 1] == '*' ? strncmp(name, OWNED[i], length - 1) == 0
						: strcmp(name, OWNED[i]) == 0)
			return true;
	}
	return false;
}

/* A setting, or one of an extension: "name" or "prefix.name". */
static bool is_setting(const char *name)
{
	const char *dot = strchr(name, '.');
	char prefix[64];

	if (dot == NULL)
		return valid_identifier(name, 63);
	memcpy(prefix, name, (size_t)(dot - name));
	prefix[dot - name] = '\0';
	return valid_identifier(prefix, 63) && valid_identifier(dot + 1, 63);
}

static bool is_safe(const struct conf_pair *pair)
{
	for (size_t i = 0; i < COUNT_OF(SAFE); i++) {
		if (strcmp(pair->name, SAFE[i].name) != 0)
			continue;
		for (const char *const *value = SAFE[i].values; *value != NULL; value++) {
			if (strcasecmp(pair->value, *value) == 0)
				return true;
		}
		return false;
	}
	return true;
}

static int check_parameter(const struct conf_source *source, const struct conf_pair *pair,
			   struct err *why)
{
	const unsigned line = source->line[OPT_pg_parameters];
	const char *key = OPTIONS[OPT_pg_parameters].key;

	if (!is_setting(pair->name))
		return conf_refuse(source, line, key, why,
				   "\"%s\" is no setting's name (lower-case letters, digits, _)",
				   pair->name);
	if (is_owned(pair->name))
		return conf_refuse(source, line, key, why, "%s is set by the agent itself",
				   pair->name);
	if (!is_safe(pair))
		return conf_refuse(source, line, key, why,
				   "%s = \"%.40s\" may lose acknowledged commits, which "
				   "protection.mode forbids",
				   pair->name, pair->value);
	return 0;
}

static int check_hba(const struct conf_source *source, const char *line, struct err *why)
{
	const size_t length = strcspn(line, " \t");

	for (size_t i = 0; i < COUNT_OF(HBA_TYPES); i++) {
		if (strlen(HBA_TYPES[i]) == length && strncmp(line, HBA_TYPES[i], length) == 0 &&
		    line[length] != '\0')
			return 0;
	}
	return conf_refuse(source, source->line[OPT_pg_hba], OPTIONS[OPT_pg_hba].key, why,
			   "\"%.80s\" does not begin with local, host, hostssl, hostnossl, "
			   "hostgssenc or hostnogssenc",
			   line);
}

int conf_check_database(const struct conf *conf, const struct conf_source *source, struct err *why)
{
	int rc;

	if ((rc = check_users(conf, source, why)) < 0)
		return rc;
	if (conf_self(conf)->kind == MEMBER_DATA && (rc = check_data_node(conf, source, why)) < 0)
		return rc;
	for (unsigned i = 0; i < conf->pg_parameters_count; i++) {
		if ((rc = check_parameter(source, &conf->pg_parameters[i], why)) < 0)
			return rc;
	}
	for (unsigned i = 0; i < conf->pg_hba_count; i++) {
		if ((rc = check_hba(source, conf->pg_hba[i], why)) < 0)
			return rc;
	}
	return 0;
}
