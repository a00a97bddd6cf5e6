#include "gateway/auth.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define TOKEN_BYTES (ACCESS_TOKEN_HEX / 2)

int auth_init(struct auth *auth, struct err *why)
{
	memset(auth, 0, sizeof(*auth));
	if (sodium_init() < 0)
		return err_set(why, ERR_IO, "libsodium does not start");
	randombytes_buf(auth->salt, sizeof(auth->salt));
	auth->tokens = AUTH_BURST;
	return 0;
}

void auth_forget(struct auth *auth)
{
	sodium_memzero(auth->known, sizeof(auth->known));
	memset(auth->is_known, 0, sizeof(auth->is_known));
}

bool auth_parse_basic(const char *header, char name[ACCESS_NAME_SIZE],
		      char password[AUTH_HEADER_MAX])
{
	char text[AUTH_HEADER_MAX];
	size_t size, length;
	char *colon;
	bool good;

	if (strncasecmp(header, "Basic ", 6) != 0 || strlen(header) >= AUTH_HEADER_MAX)
		return false;
	if (sodium_base642bin((unsigned char *)text, sizeof(text) - 1, header + 6,
			      strlen(header + 6), " ", &size, NULL,
			      sodium_base64_VARIANT_ORIGINAL) != 0)
		return false;
	text[size] = '\0';
	colon = strchr(text, ':');
	length = colon != NULL ? (size_t)(colon - text) : 0;
	good = colon != NULL && strlen(text) == size && length < ACCESS_NAME_SIZE;
	if (good) {
		*colon = '\0';
		memcpy(name, text, length + 1);
		memcpy(password, colon + 1, size - length);
		good = access_is_name(name);
	}
	sodium_memzero(text, sizeof(text));
	return good;
}

static bool may_hash(struct auth *auth, uint64_t now_ms)
{
	const uint64_t refill = (now_ms - auth->refilled_ms) * AUTH_PER_SECOND / 1000;

	if (refill > 0) {
		auth->refilled_ms = now_ms;
		auth->tokens = refill + auth->tokens > AUTH_BURST ? AUTH_BURST
								  : auth->tokens + (unsigned)refill;
	}
	if (auth->tokens == 0)
		return false;
	auth->tokens--;
	return true;
}

static void known(const struct access_row *row, struct auth_result *result)
{
	result->end = AUTH_KNOWN;
	result->role = row->role;
	snprintf(result->name, sizeof(result->name), "%s", row->name);
}

static void check_password(struct auth *auth, const struct access_table *users, const char *name,
			   const char *password, uint64_t now_ms, struct auth_result *result)
{
	/* Takes as long to refuse as any: whether a name is there is not told by the time. */
	static const char NOBODY[crypto_pwhash_STRBYTES] =
		"$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$"
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
	const struct access_row *row = access_by_name(users, ACCESS_PASSWORD, name);
	const size_t at = row != NULL ? (size_t)(row - users->rows) : 0;
	unsigned char digest[32];

	(void)crypto_generichash(digest, sizeof(digest), (const unsigned char *)password,
				 strlen(password), auth->salt, sizeof(auth->salt));
	if (row != NULL && auth->is_known[at] &&
	    sodium_memcmp(digest, auth->known[at], sizeof(digest)) == 0) {
		known(row, result);
	} else if (!may_hash(auth, now_ms)) {
		result->end = AUTH_LATER;
	} else if (crypto_pwhash_str_verify(row != NULL ? row->proof : NOBODY, password,
					    strlen(password)) == 0 &&
		   row != NULL) {
		memcpy(auth->known[at], digest, sizeof(digest));
		auth->is_known[at] = true;
		known(row, result);
	} else {
		result->end = AUTH_WRONG;
	}
	sodium_memzero(digest, sizeof(digest));
}

/* Every row is looked at, whichever fits. */
static void check_token(const struct access_table *users, const char *token,
			struct auth_result *result)
{
	const struct access_row *found = NULL;
	unsigned char hash[TOKEN_BYTES];
	char digits[ACCESS_TOKEN_HEX + 1];

	(void)crypto_generichash(hash, sizeof(hash), (const unsigned char *)token, strlen(token),
				 NULL, 0);
	sodium_bin2hex(digits, sizeof(digits), hash, sizeof(hash));
	for (unsigned i = 0; i < users->count; i++) {
		if (users->rows[i].kind == ACCESS_TOKEN &&
		    sodium_memcmp(users->rows[i].proof, digits, ACCESS_TOKEN_HEX) == 0)
			found = &users->rows[i];
	}
	if (found != NULL)
		known(found, result);
	else
		result->end = AUTH_WRONG;
}

void auth_check(struct auth *auth, const struct access_table *users, const char *header,
		const char *certificate, uint64_t now_ms, struct auth_result *result)
{
	char name[ACCESS_NAME_SIZE], password[AUTH_HEADER_MAX];
	const struct access_row *row;

	*result = (struct auth_result){.end = AUTH_MISSING, .role = ROLE_NONE};
	if (header != NULL && strlen(header) >= AUTH_HEADER_MAX) {
		result->end = AUTH_WRONG;
	} else if (header != NULL && strncasecmp(header, "Bearer ", 7) == 0) {
		check_token(users, header + 7, result);
	} else if (header != NULL) {
		result->end = AUTH_WRONG;
		if (auth_parse_basic(header, name, password))
			check_password(auth, users, name, password, now_ms, result);
		sodium_memzero(password, sizeof(password));
	} else if (certificate != NULL) {
		row = access_by_name(users, ACCESS_CERTIFICATE, certificate);
		if (row != NULL)
			known(row, result);
		else
			result->end = AUTH_WRONG;
	}
}
