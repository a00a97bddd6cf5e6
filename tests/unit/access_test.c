/* Who may what: the tables, the bundle, tokens. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "access/bundle.h"
#include "access/table.h"
#include "wire/token.h"

#define KEY_A "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
#define KEY_B "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"
#define HASH                                                                                       \
	"$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$"                                   \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static struct access_table table;

static int parse(enum access_file file, const char *text, struct err *why)
{
	return access_parse(&table, file, text, strlen(text), why);
}

Test(access, a_table_is_read)
{
	struct err why = {0};

	cr_assert_eq(parse(ACCESS_CLIENTS, "# who\n\n  ada\tadmin  " KEY_A " \r\nrita read " KEY_B,
			   &why),
		     0, "%s", why.text);
	cr_assert_eq(table.count, 2);
	cr_assert_str_eq(access_by_key(&table, KEY_A)->name, "ada");
	cr_assert_eq(access_by_key(&table, KEY_A)->role, ROLE_ADMIN);
	cr_assert_eq(access_by_key(&table, KEY_B)->role, ROLE_READ);
	cr_assert_null(access_by_key(&table, ""));
	cr_assert_eq(parse(ACCESS_USERS,
			   "a read " HASH "\nb operate token:" HEX "\nc.d admin certificate\n",
			   &why),
		     0, "%s", why.text);
	cr_assert_eq(table.count, 3);
	cr_assert_not_null(access_by_name(&table, ACCESS_CERTIFICATE, "c.d"));
	/* A certificate's row is no password's, and the other way round. */
	cr_assert_null(access_by_name(&table, ACCESS_PASSWORD, "c.d"));
	cr_assert_null(access_by_name(&table, ACCESS_CERTIFICATE, "a"));
	cr_assert_null(access_by_key(&table, ""));
	cr_assert_eq(parse(ACCESS_CLIENTS, "", &why), 0);
	cr_assert_eq(table.count, 0);
}

Test(access, what_is_wrong_is_named)
{
	static const struct {
		enum access_file file;
		const char *text, *word;
	} cases[] = {
		{ACCESS_CLIENTS, "ada admin", "line 1: three words"},
		{ACCESS_CLIENTS, "#\nada admin " KEY_A " more", "line 2: three words"},
		{ACCESS_CLIENTS, "ada king " KEY_A, "the role of ada is none of"},
		{ACCESS_CLIENTS, "ada none " KEY_A, "the role of ada is none of"},
		{ACCESS_CLIENTS, "a/da admin " KEY_A, "the name must be"},
		{ACCESS_CLIENTS, "ada admin " KEY_A "x", "no CURVE public key"},
		{ACCESS_CLIENTS, "ada admin token:" HEX, "no CURVE public key"},
		{ACCESS_CLIENTS, "ada admin " KEY_A "\nada read " KEY_B, "line 2: the name ada"},
		{ACCESS_CLIENTS, "ada admin " KEY_A "\nb read " KEY_A, "b has the key of ada"},
		{ACCESS_USERS, "ada admin secret", "neither certificate, token"},
		{ACCESS_USERS, "ada admin token:12", "64 hexadecimal digits"},
		{ACCESS_USERS, "ada admin $argon2id$v=19$m=9999999,t=2,p=1$a$b", "at most 65536"},
		{ACCESS_USERS, "ada admin $argon2id$v=19$m=65536,t=99,p=1$a$b", "8 passes"},
		{ACCESS_USERS, "ada admin $6$salt$hash", "neither certificate, token"},
	};
	char *many = calloc(ACCESS_ROWS_MAX + 1, 128);
	struct err why;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		cr_expect_eq(parse(cases[i].file, cases[i].text, &why), ERR_INVALID, "%s",
			     cases[i].text);
		cr_expect_not_null(strstr(why.text, cases[i].word), "%s: %s", cases[i].text,
				   why.text);
		cr_expect_null(strstr(why.text, "secret"), "%s", why.text);
		cr_expect_eq(table.count, 0);
	}
	cr_expect_eq(access_parse(&table, ACCESS_CLIENTS, "a\0b", 3, &why), ERR_INVALID);
	for (unsigned i = 0; i <= ACCESS_ROWS_MAX; i++)
		sprintf(many + strlen(many), "n%u read certificate\n", i);
	cr_expect_eq(parse(ACCESS_USERS, many, &why), ERR_INVALID);
	cr_expect_not_null(strstr(why.text, "more than 64 rows"));
	free(many);
}

Test(access, what_is_lost_is_noticed)
{
	static struct access_table before, after;
	struct err why;
	static const struct {
		const char *text;
		bool kept;
	} cases[] = {
		{"ada operate " KEY_A "\nrita read " KEY_B "\n", true},
		{"rita read " KEY_B "\nada admin " KEY_A "\n", true},
		{"ada operate " KEY_A "\n", false},
		{"ada read " KEY_A "\nrita read " KEY_B "\n", false},
		{"otto operate " KEY_A "\nrita read " KEY_B "\n", false},
		{"", false},
	};

	cr_assert_eq(
		access_parse(&before, ACCESS_CLIENTS, cases[0].text, strlen(cases[0].text), &why),
		0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		cr_assert_eq(access_parse(&after, ACCESS_CLIENTS, cases[i].text,
					  strlen(cases[i].text), &why),
			     0);
		cr_expect_eq(access_keys_kept(&before, &after), cases[i].kept, "%s", cases[i].text);
	}
}

Test(access, a_bundle_comes_back_as_it_was)
{
	struct bundle bundle = {.text = {NULL}}, again;
	uint8_t *bytes;
	size_t size;
	struct err why;

	bundle_put(&bundle, BUNDLE_CLIENTS, strdup("who"), 3);
	bundle_put(&bundle, BUNDLE_TLS_CLIENT_CA, strdup(""), 0);
	cr_assert_eq(bundle_write(&bundle, &bytes, &size, &why), 0);
	cr_assert_eq(bundle_read(&again, bytes, size, &why), 0, "%s", why.text);
	cr_assert_str_eq(again.text[BUNDLE_CLIENTS], "who");
	cr_assert_eq(again.size[BUNDLE_TLS_CLIENT_CA], 0);
	cr_assert_not_null(again.text[BUNDLE_TLS_CLIENT_CA]);
	cr_assert_null(again.text[BUNDLE_USERS]);
	bundle_clear(&again);
	for (size_t cut = 0; cut < size; cut++)
		cr_assert_eq(bundle_read(&again, bytes, cut, &why), ERR_CORRUPT);
	free(bytes);
	bundle_clear(&bundle);
}

Test(access, a_token_comes_back_as_it_was)
{
	struct token token, again;
	char text[TOKEN_SIZE], bad[TOKEN_SIZE + 8];
	struct err why;

	cr_assert_eq(token_make(KEY_A, &token, &why), 0);
	token_format(&token, text);
	cr_assert_eq(strlen(text), TOKEN_SIZE - 1);
	cr_assert_eq(token_parse(text, &again, &why), 0, "%s", why.text);
	cr_assert_str_eq(again.server, KEY_A);
	cr_assert_str_eq(again.key.secret, token.key.secret);
	cr_assert_str_eq(again.key.public, token.key.public);
	for (size_t i = 0; i < strlen(text); i++) {
		memcpy(bad, text, sizeof(text));
		bad[i] = '!';
		cr_assert_eq(token_parse(bad, &again, &why), ERR_INVALID, "%zu", i);
		cr_assert_eq(again.key.secret[0], '\0');
		bad[i] = '\0';
		cr_assert_eq(token_parse(bad, &again, &why), ERR_INVALID, "%zu", i);
	}
	snprintf(bad, sizeof(bad), "%s0", text);
	cr_assert_eq(token_parse(bad, &again, &why), ERR_INVALID);
	cr_assert_null(strstr(why.text, text + 70));
}
