/* Rows of the files that say who may what (common/access/table.h). */
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "access/table.h"
#include "files.h"

#define PASSWORD_MIN  8
#define PASSWORD_SIZE 256
/* Checking one costs some 20 ms: whoever guesses is slowed down, and so is the gateway. */
#define ARGON_PASSES 2
#define ARGON_BYTES  ((size_t)19 * 1024 * 1024)
#define TOKEN_BYTES  32

static int check_words(const char *name, const char *role, struct err *why)
{
	enum role parsed;

	if (!access_is_name(name))
		return err_set(
			why, ERR_INVALID,
			"%s: a name is letters, digits, '.', '_' and '-', at most %d of them", name,
			ACCESS_NAME_SIZE - 1);
	if (!role_parse(role, &parsed))
		return err_set(why, ERR_INVALID, "%s: is none of read, operate, admin", role);
	return 0;
}

int row_client(const char *name, const char *role, const char *path, struct err *why)
{
	struct key key;
	int rc = check_words(name, role, why);

	if (rc < 0)
		return rc;
	rc = key_file_make(path, &key, why);
	if (rc == 0)
		printf("%s %s %s\n", name, role, key.public);
	explicit_bzero(&key, sizeof(key));
	return rc;
}

/* One line; a terminal does not show it. */
static int read_password(char password[PASSWORD_SIZE], struct err *why)
{
	const bool shown = isatty(STDIN_FILENO) == 1;
	struct termios before, hidden;
	bool got;

	if (shown && tcgetattr(STDIN_FILENO, &before) == 0) {
		hidden = before;
		hidden.c_lflag &= ~(tcflag_t)ECHO;
		fputs("password: ", stderr);
		(void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden);
	}
	got = fgets(password, PASSWORD_SIZE, stdin) != NULL;
	if (shown) {
		(void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
		fputc('\n', stderr);
	}
	if (!got)
		return err_set(why, ERR_INVALID, "no password came on standard input");
	password[strcspn(password, "\r\n")] = '\0';
	if (strlen(password) < PASSWORD_MIN)
		return err_set(why, ERR_INVALID, "the password has fewer than %d characters",
			       PASSWORD_MIN);
	return 0;
}

int row_password(const char *name, const char *role, struct err *why)
{
	char password[PASSWORD_SIZE] = "", hash[crypto_pwhash_STRBYTES];
	int rc = check_words(name, role, why);

	if (rc == 0 && sodium_init() < 0)
		rc = err_set(why, ERR_IO, "libsodium does not start");
	if (rc == 0)
		rc = read_password(password, why);
	if (rc == 0 && crypto_pwhash_str_alg(hash, password, strlen(password), ARGON_PASSES,
					     ARGON_BYTES, crypto_pwhash_ALG_ARGON2ID13) != 0)
		rc = err_set(why, ERR_NO_MEMORY, "hash the password: out of memory");
	explicit_bzero(password, sizeof(password));
	if (rc == 0)
		printf("%s %s %s\n", name, role, hash);
	return rc;
}

int row_bearer(const char *name, const char *role, const char *path, struct err *why)
{
	unsigned char bytes[TOKEN_BYTES], hash[ACCESS_TOKEN_HEX / 2];
	char token[2 * TOKEN_BYTES + 2], digits[ACCESS_TOKEN_HEX + 1];
	int rc = check_words(name, role, why);

	if (rc < 0)
		return rc;
	if (sodium_init() < 0)
		return err_set(why, ERR_IO, "libsodium does not start");
	randombytes_buf(bytes, sizeof(bytes));
	sodium_bin2hex(token, sizeof(token), bytes, sizeof(bytes));
	(void)crypto_generichash(hash, sizeof(hash), (const unsigned char *)token, strlen(token),
				 NULL, 0);
	sodium_bin2hex(digits, sizeof(digits), hash, sizeof(hash));
	token[2 * TOKEN_BYTES] = '\n';
	rc = file_create(path, token, 2 * TOKEN_BYTES + 1, why);
	explicit_bzero(bytes, sizeof(bytes));
	explicit_bzero(token, sizeof(token));
	if (rc == 0)
		printf("%s %s token:%s\n", name, role, digits);
	return rc;
}
