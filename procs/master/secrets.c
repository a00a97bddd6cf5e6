#include "secrets.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "access/bundle.h"
#include "access/table.h"
#include "os/memfd.h"
#include "os/secret.h"

/* The gateway's files: which option names each, and who may read it. */
static const struct {
	const char *key;
	size_t offset;
	enum secret_privacy privacy;
} PARTS[BUNDLE_PART_COUNT] = {
	[BUNDLE_CLIENT_KEY] = {"client.secret_file", offsetof(struct conf, client_secret_file),
			       SECRET_PRIVATE},
	[BUNDLE_CLIENTS] = {"client.authorized_file", offsetof(struct conf, client_authorized_file),
			    SECRET_PUBLIC},
	[BUNDLE_USERS] = {"http.users_file", offsetof(struct conf, http_users_file),
			  SECRET_PRIVATE},
	[BUNDLE_TLS_CERTIFICATE] = {"http.tls_certificate_file",
				    offsetof(struct conf, http_certificate_file), SECRET_PUBLIC},
	[BUNDLE_TLS_KEY] = {"http.tls_key_file", offsetof(struct conf, http_key_file),
			    SECRET_PRIVATE},
	[BUNDLE_TLS_CLIENT_CA] = {"http.tls_client_ca_file",
				  offsetof(struct conf, http_client_ca_file), SECRET_PUBLIC},
};

/* A table that does not parse is found before anybody relies on it. */
static int check_table(const struct bundle *bundle, enum bundle_part part, enum access_file file,
		       struct err *why)
{
	struct access_table *table;
	int rc;

	if (bundle->text[part] == NULL)
		return 0;
	table = calloc(1, sizeof(*table));
	if (table == NULL)
		return err_set(why, ERR_NO_MEMORY, "out of memory");
	rc = access_parse(table, file, bundle->text[part], bundle->size[part], why);
	free(table);
	return rc < 0 ? err_in(why, rc, "%s", PARTS[part].key) : 0;
}

static int read_parts(struct bundle *bundle, const struct conf *conf, struct err *why)
{
	int rc;

	for (unsigned i = 0; i < BUNDLE_PART_COUNT; i++) {
		const char *path = (const char *)conf + PARTS[i].offset;
		size_t size;
		char *text;

		if (path[0] == '\0')
			continue;
		rc = secret_load(path, 0, PARTS[i].privacy, BUNDLE_PART_MAX, &text, &size, why);
		if (rc < 0)
			return err_in(why, rc, "%s", PARTS[i].key);
		bundle_put(bundle, (enum bundle_part)i, text, size);
	}
	if ((rc = check_table(bundle, BUNDLE_CLIENTS, ACCESS_CLIENTS, why)) < 0)
		return rc;
	return check_table(bundle, BUNDLE_USERS, ACCESS_USERS, why);
}

/* A descriptor, or an error. */
static int read_bundle(const struct conf *conf, struct err *why)
{
	struct bundle bundle = {.text = {NULL}};
	uint8_t *bytes = NULL;
	size_t size = 0;
	int rc = read_parts(&bundle, conf, why);

	if (rc == 0)
		rc = bundle_write(&bundle, &bytes, &size, why);
	if (rc == 0)
		rc = memfd_sealed("gateway-access", bytes, size, why);
	if (bytes != NULL)
		explicit_bzero(bytes, size);
	free(bytes);
	bundle_clear(&bundle);
	return rc;
}

static int read_node_key(const struct conf *conf, struct err *why)
{
	const int fd = secret_read(conf->secret_key_file, "node-key", 0, why);

	return fd < 0 ? err_in(why, fd, "keys.secret_file") : fd;
}

int secrets_read(int fds[SECRET_COUNT], const struct conf *conf, const struct os_user *database,
		 struct err *why)
{
	int fd;

	for (unsigned i = 0; i < SECRET_COUNT; i++)
		fds[i] = -1;
	if ((fd = read_node_key(conf, why)) < 0)
		return fd;
	fds[SECRET_NODE_KEY] = fd;
	if ((fd = read_bundle(conf, why)) < 0)
		return fd;
	fds[SECRET_GATEWAY] = fd;
	if (conf_self(conf)->kind != MEMBER_DATA)
		return 0;
	fd = secret_read(conf->pg_replication_password_file, "replication-password", database->uid,
			 why);
	if (fd < 0)
		return err_in(why, fd, "postgresql.replication_password_file");
	fds[SECRET_REPLICATION_PASSWORD] = fd;
	return 0;
}

int secrets_again(int fds[SECRET_COUNT], const struct conf *conf, struct err *why)
{
	const int key = read_node_key(conf, why);
	int bundle;

	if (key < 0)
		return key;
	bundle = read_bundle(conf, why);
	if (bundle < 0) {
		close(key);
		return bundle;
	}
	close(fds[SECRET_NODE_KEY]);
	close(fds[SECRET_GATEWAY]);
	fds[SECRET_NODE_KEY] = key;
	fds[SECRET_GATEWAY] = bundle;
	return 0;
}

int secrets_check(const struct conf *conf, struct err *why)
{
	struct bundle bundle = {.text = {NULL}};
	const int rc = read_parts(&bundle, conf, why);

	bundle_clear(&bundle);
	return rc;
}
