#include "gateway/access.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/tls.h"

static int take_tables(struct access *access, struct err *why)
{
	const struct bundle *files = &access->files;
	int rc = 0;

	if (files->text[BUNDLE_CLIENT_KEY] != NULL) {
		access->curve = true;
		rc = key_parse(files->text[BUNDLE_CLIENT_KEY], &access->key, why);
		if (rc < 0)
			return err_in(why, rc, "client.secret_file");
	}
	if (files->text[BUNDLE_CLIENTS] != NULL) {
		rc = access_parse(&access->clients, ACCESS_CLIENTS, files->text[BUNDLE_CLIENTS],
				  files->size[BUNDLE_CLIENTS], why);
		if (rc < 0)
			return err_in(why, rc, "client.authorized_file");
	}
	if (files->text[BUNDLE_USERS] != NULL) {
		access->has_users = true;
		rc = access_parse(&access->users, ACCESS_USERS, files->text[BUNDLE_USERS],
				  files->size[BUNDLE_USERS], why);
		if (rc < 0)
			return err_in(why, rc, "http.users_file");
	}
	return 0;
}

static int take(struct access *access, const struct worker *worker, struct err *why)
{
	uint8_t *bytes;
	size_t size;
	int rc = worker_secret_bytes(worker, &bytes, &size, why);

	/* Started without a master: nothing is configured. */
	if (rc == ERR_NOT_FOUND && worker->conf.client_secret_file[0] == '\0' &&
	    worker->conf.http_users_file[0] == '\0' &&
	    worker->conf.http_certificate_file[0] == '\0')
		return 0;
	if (rc < 0)
		return rc;
	rc = bundle_read(&access->files, bytes, size, why);
	explicit_bzero(bytes, size);
	free(bytes);
	if (rc == 0)
		rc = take_tables(access, why);
	return rc < 0 ? rc : tls_check(&access->files, why);
}

int access_take(struct access **access, const struct worker *worker, struct err *why)
{
	struct access *fresh = calloc(1, sizeof(*fresh));
	int rc;

	if (fresh == NULL)
		return err_set(why, ERR_NO_MEMORY, "access: %zu bytes", sizeof(*fresh));
	rc = take(fresh, worker, why);
	if (rc == 0 && fresh->curve != (worker->conf.client_secret_file[0] != '\0'))
		rc = err_set(why, ERR_INVALID, "client.secret_file did not come from the master");
	if (rc < 0) {
		access_free(fresh);
		return rc;
	}
	access_free(*access);
	*access = fresh;
	return 0;
}

void access_free(struct access *access)
{
	if (access == NULL)
		return;
	bundle_clear(&access->files);
	explicit_bzero(access, sizeof(*access));
	free(access);
}
