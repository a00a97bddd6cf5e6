/* Connection strings for libpq. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "base/text.h"
#include "client/handle.h"

/* Where a connection goes is said here, and nowhere else. */
static const char *const OURS[] = {
	"host",        "hostaddr",           "port", "target_session_attrs", "service",
	"servicefile", "load_balance_hosts",
};

/* Room for every value with each character escaped. */
static size_t room_for(const struct mha_target *target, const char *const *params)
{
	size_t room = 256 + 4 * strlen(target->address);

	for (size_t i = 0; params != NULL && params[i] != NULL && params[i + 1] != NULL; i += 2)
		room += strlen(params[i]) + 2 * strlen(params[i + 1]) + 8;
	return room;
}

static void put(char **at, const char *keyword, const char *value)
{
	char *to = *at;

	to += sprintf(to, "%s='", keyword);
	for (; *value != '\0'; value++) {
		if (*value == '\'' || *value == '\\')
			*to++ = '\\';
		*to++ = *value;
	}
	*to++ = '\'';
	*to++ = ' ';
	*to = '\0';
	*at = to;
}

static int check_params(const char *const *params, struct err *why)
{
	for (size_t i = 0; params != NULL && params[i] != NULL; i += 2) {
		if (params[i][0] == '\0' ||
		    strspn(params[i], "abcdefghijklmnopqrstuvwxyz_0123456789") != strlen(params[i]))
			return err_set(why, ERR_INVALID, "params: '%.40s' is no keyword of libpq",
				       params[i]);
		if (params[i + 1] == NULL)
			return err_set(why, ERR_INVALID, "params: '%.40s' has no value", params[i]);
		for (size_t k = 0; k < COUNT_OF(OURS); k++) {
			if (strcmp(params[i], OURS[k]) == 0)
				return err_set(
					why, ERR_INVALID,
					"params: '%s' would change where the connection goes, "
					"which the cluster decides",
					OURS[k]);
		}
	}
	return 0;
}

static const char *session_attrs(const struct mha_target *target)
{
	if (target->wanted == MHA_ANY)
		return "any";
	if (target->role == MHA_REPLICA)
		return "standby";
	return target->wanted == MHA_REPLICA ? "primary" : "read-write";
}

int mha_target_conninfo(const struct mha_target *given, const char *const *params, char **conninfo,
			struct mha_error *error)
{
	struct mha_target target;
	struct in6_addr binary;
	struct err why = {0};
	char port[16], *at;
	int rc;

	*conninfo = NULL;
	if ((rc = struct_take(&target, sizeof(target), given, "mha_target", &why)) < 0 ||
	    (rc = check_params(params, &why)) < 0)
		return error_tell(error, rc, &why);
	if (memchr(target.address, '\0', sizeof(target.address)) == NULL ||
	    target.address[0] == '\0' || target.port == 0 || target.port > 65535)
		return error_tell(
			error,
			err_set(&why, ERR_INVALID,
				"target: it has no address and port; mha_route() gives one"),
			&why);
	*conninfo = at = malloc(room_for(&target, params));
	if (at == NULL)
		return error_tell(error, err_set(&why, ERR_NO_MEMORY, "conninfo"), &why);
	snprintf(port, sizeof(port), "%u", target.port);
	for (size_t i = 0; params != NULL && params[i] != NULL; i += 2)
		put(&at, params[i], params[i + 1]);
	put(&at, "host", target.address);
	/* Else libpq would follow PGHOSTADDR of the environment. */
	if (inet_pton(AF_INET, target.address, &binary) == 1 ||
	    inet_pton(AF_INET6, target.address, &binary) == 1)
		put(&at, "hostaddr", target.address);
	put(&at, "port", port);
	put(&at, "target_session_attrs", session_attrs(&target));
	at[-1] = '\0';
	return 0;
}

int mha_conninfo(struct mha *mha, const struct mha_want *want, const char *const *params,
		 unsigned timeout_ms, char **conninfo, struct mha_error *error)
{
	struct mha_target target = MHA_TARGET_INIT;
	int rc;

	*conninfo = NULL;
	rc = mha_route(mha, want, &target, timeout_ms, error);
	return rc < 0 ? rc : mha_target_conninfo(&target, params, conninfo, error);
}
