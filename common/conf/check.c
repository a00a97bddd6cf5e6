/* What each value must look like, and which values contradict each other: the general part. */
#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#include "base/text.h"
#include "conf/option.h"
#include "conf/valid.h"

/* The longest socket name under run_dir, and what an ipc socket name may have. */
#define SOCKET_SUFFIX_MAX (sizeof("/bus/consensus/gateway/socket") - 1)
#define SOCKET_PATH_MAX   107

static int refuse(const struct conf_source *source, enum option_row row, struct err *why,
		  const char *reason)
{
	return conf_refuse(source, source->line[row], OPTIONS[row].key, why, "%s", reason);
}

static const char *text_of(const struct conf *conf, enum option_row row)
{
	return (const char *)conf + OPTIONS[row].offset;
}

static int check_cluster(struct conf *conf, const struct conf_source *source, struct err *why)
{
	const char *name_rule = "must be lower-case letters, digits, - and _, 1 to 32 of them";

	if (!text_is_name(conf->cluster_name, sizeof(conf->cluster_name) - 1))
		return refuse(source, OPT_cluster_name, why, name_rule);
	if (!text_is_name(conf->node_name, sizeof(conf->node_name) - 1))
		return refuse(source, OPT_node_name, why, name_rule);
	if (!valid_uuid(conf->cluster_id))
		return refuse(source, OPT_cluster_id, why,
			      "must be a UUID such as 3d1f0a52-6a0e-4d5c-8f55-0d2f1f0c9b7e");
	/* One spelling, so that every node computes the same digest. */
	for (char *c = conf->cluster_id; *c != '\0'; c++)
		*c = (char)tolower((unsigned char)*c);
	return 0;
}

/* Files that systemd may hand over as credentials. */
static int check_secret_files(const struct conf *conf, const struct conf_source *source,
			      struct err *why)
{
	static const enum option_row FILES[] = {
		OPT_secret_key_file,    OPT_pg_replication_password_file,
		OPT_client_secret_file, OPT_client_authorized_file,
		OPT_http_users_file,    OPT_http_certificate_file,
		OPT_http_key_file,      OPT_http_client_ca_file,
	};

	for (size_t i = 0; i < COUNT_OF(FILES); i++) {
		const char *path = text_of(conf, FILES[i]);

		if (path[0] == '\0' && FILES[i] != OPT_secret_key_file)
			continue;
		if (!valid_secret_path(path))
			return refuse(source, FILES[i], why,
				      "must be an absolute path of letters, digits and ._+@:,=- "
				      "without empty, \".\" or \"..\" parts, or credential:NAME");
	}
	return 0;
}

static int check_paths(const struct conf *conf, const struct conf_source *source, struct err *why)
{
	static const struct {
		enum option_row row;
		bool may_be_empty;
	} PATHS[] = {
		{OPT_state_dir, false},
		{OPT_run_dir, false},
		{OPT_libexec_dir, true},
		{OPT_pg_bin_dir, false},
		{OPT_pg_data_dir, true},
		{OPT_pg_socket_dir, false},
		{OPT_pg_bootstrap_sql_file, true},
		{OPT_watchdog_device, false},
	};

	for (size_t i = 0; i < COUNT_OF(PATHS); i++) {
		const char *path = text_of(conf, PATHS[i].row);

		if (path[0] == '\0' && PATHS[i].may_be_empty)
			continue;
		if (!valid_path(path))
			return refuse(source, PATHS[i].row, why,
				      "must be an absolute path of letters, digits and ._+@:,=- "
				      "without empty, \".\" or \"..\" parts");
	}
	for (unsigned i = 0; i < conf->sandbox_write_paths_count; i++) {
		if (!valid_path(conf->sandbox_write_paths[i]))
			return refuse(source, OPT_sandbox_write_paths, why,
				      "must be absolute paths of letters, digits and ._+@:,=- "
				      "without empty, \".\" or \"..\" parts");
	}
	if (strlen(conf->run_dir) + SOCKET_SUFFIX_MAX > SOCKET_PATH_MAX)
		return conf_refuse(source, source->line[OPT_run_dir], OPTIONS[OPT_run_dir].key, why,
				   "is too long for socket names, at most %zu characters",
				   SOCKET_PATH_MAX - SOCKET_SUFFIX_MAX);
	if (path_is_within(conf->state_dir, conf->run_dir))
		return refuse(source, OPT_state_dir, why,
			      "is inside paths.run_dir, which does not outlast a reboot");
	if (path_is_within(conf->secret_key_file, conf->run_dir))
		return refuse(source, OPT_secret_key_file, why,
			      "is inside paths.run_dir, which does not outlast a reboot");
	return 0;
}

static int check_timing(const struct conf *conf, const struct conf_source *source, struct err *why)
{
	if (conf->tick_ms > conf->election_ms / 10)
		return conf_refuse(source, source->line[OPT_tick_ms], OPTIONS[OPT_tick_ms].key, why,
				   "%" PRIu64 "ms is more than a tenth of %s (%" PRIu64 "ms)",
				   conf->tick_ms, OPTIONS[OPT_election_ms].key, conf->election_ms);
	return 0;
}

static int check_vip(const struct conf *conf, const struct conf_source *source, struct err *why)
{
	char address[64];

	if (conf->vip_address[0] == '\0') {
		if (conf->vip_interface[0] != '\0')
			return refuse(source, OPT_vip_interface, why,
				      "is given, but vip.address is not");
		return 0;
	}
	if (!valid_prefix(conf->vip_address, address))
		return refuse(source, OPT_vip_address, why,
			      "must be address/prefix, such as 10.0.0.100/24 or fd00::100/64");
	if (conf->vip_interface[0] == '\0')
		return refuse(source, OPT_vip_interface, why, "is required with vip.address");
	if (!valid_interface(conf->vip_interface))
		return refuse(source, OPT_vip_interface, why, "is no name of a network interface");
	for (unsigned i = 0; i < conf->member_count; i++) {
		if (same_address(address, conf->members[i].address))
			return conf_refuse(
				source, source->line[OPT_vip_address], OPTIONS[OPT_vip_address].key,
				why, "is the address of member %s; the VIP must be free to move",
				conf->members[i].name);
	}
	return 0;
}

static bool is_loopback(const char *listen)
{
	return strncmp(listen, "127.", 4) == 0 || strncmp(listen, "[::1]", 5) == 0;
}

/* Which of the files need each other. */
static int check_access(const struct conf *conf, const struct conf_source *source, struct err *why)
{
	const bool tls = conf->http_certificate_file[0] != '\0';

	if ((conf->client_secret_file[0] == '\0') != (conf->client_authorized_file[0] == '\0'))
		return refuse(source, OPT_client_authorized_file, why,
			      "and client.secret_file are given both or none of them");
	if (tls != (conf->http_key_file[0] != '\0'))
		return refuse(source, OPT_http_key_file, why,
			      "and http.tls_certificate_file are given both or none of them");
	if (!tls && conf->http_client_ca_file[0] != '\0')
		return refuse(source, OPT_http_client_ca_file, why,
			      "needs http.tls_certificate_file and http.tls_key_file");
	if (!tls && conf->http_users_file[0] != '\0' && conf->http_listen[0] != '\0' &&
	    !is_loopback(conf->http_listen))
		return refuse(source, OPT_http_users_file, why,
			      "would let passwords cross the network in clear: give "
			      "http.tls_certificate_file too, or listen at 127.0.0.1");
	return 0;
}

static int check_listeners(const struct conf *conf, const struct conf_source *source,
			   struct err *why)
{
	if (conf->http_listen[0] != '\0' && !valid_listen(conf->http_listen))
		return refuse(source, OPT_http_listen, why,
			      "must be address:port, such as 127.0.0.1:8008 or [::1]:8008");
	if (conf->client_listen[0] != '\0' && !valid_endpoint(conf->client_listen))
		return refuse(source, OPT_client_listen, why,
			      "must be tcp://address:port, such as tcp://127.0.0.1:7401");
	if (conf->client_publish[0] != '\0' && !valid_endpoint(conf->client_publish))
		return refuse(source, OPT_client_publish, why,
			      "must be tcp://address:port, such as tcp://127.0.0.1:7402");
	if (conf->client_listen[0] != '\0' &&
	    strcmp(conf->client_listen, conf->client_publish) == 0)
		return refuse(source, OPT_client_publish, why, "is the same as client.listen");
	if (conf->http_listen[0] != '\0') {
		if (strcmp(conf->client_listen + (conf->client_listen[0] != '\0' ? 6 : 0),
			   conf->http_listen) == 0)
			return refuse(source, OPT_client_listen, why, "is the same as http.listen");
		if (strcmp(conf->client_publish + (conf->client_publish[0] != '\0' ? 6 : 0),
			   conf->http_listen) == 0)
			return refuse(source, OPT_client_publish, why,
				      "is the same as http.listen");
	}
	return 0;
}

int conf_check(struct conf *conf, const struct conf_source *source, struct err *why)
{
	int rc;

	if ((rc = check_cluster(conf, source, why)) < 0)
		return rc;
	if ((rc = conf_check_members(conf, source, why)) < 0)
		return rc;
	if ((rc = check_paths(conf, source, why)) < 0)
		return rc;
	if ((rc = check_secret_files(conf, source, why)) < 0)
		return rc;
	if ((rc = check_access(conf, source, why)) < 0)
		return rc;
	if ((rc = check_timing(conf, source, why)) < 0)
		return rc;
	if ((rc = check_vip(conf, source, why)) < 0)
		return rc;
	if ((rc = check_listeners(conf, source, why)) < 0)
		return rc;
	return conf_check_database(conf, source, why);
}
