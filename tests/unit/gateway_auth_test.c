/* Who asks over HTTP, times of schedules, and one-time tokens as the gateway keeps them. */
#include <criterion/criterion.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/actions.h"
#include "gateway/auth.h"
#include "gateway/tokens.h"

#define KEY_A "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
#define KEY_B "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"
#define KEY_C "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs"

static void header_of(const char *text, char header[AUTH_HEADER_MAX])
{
	memcpy(header, "Basic ", 7);
	sodium_bin2base64(header + 6, AUTH_HEADER_MAX - 6, (const unsigned char *)text,
			  strlen(text), sodium_base64_VARIANT_ORIGINAL);
}

Test(auth, basic_headers)
{
	char header[AUTH_HEADER_MAX], name[ACCESS_NAME_SIZE], password[AUTH_HEADER_MAX];
	char big[2 * AUTH_HEADER_MAX] = "Basic ";

	cr_assert_geq(sodium_init(), 0);
	header_of("ada:pass:word", header);
	cr_assert(auth_parse_basic(header, name, password));
	cr_assert_str_eq(name, "ada");
	cr_assert_str_eq(password, "pass:word");
	header_of("ada:", header);
	cr_assert(auth_parse_basic(header, name, password));
	cr_assert_str_eq(password, "");
	for (const char *const *bad =
		     (const char *const[]){"ada", ":x", "a b:x", "\xc3\xa4:x", NULL};
	     *bad != NULL; bad++) {
		header_of(*bad, header);
		cr_expect_not(auth_parse_basic(header, name, password), "%s", *bad);
	}
	cr_expect_not(auth_parse_basic("Basic", name, password));
	cr_expect_not(auth_parse_basic("Basic ====", name, password));
	cr_expect_not(auth_parse_basic("Bearer YTpi", name, password));
	/* "a:b\0c" */
	cr_expect_not(auth_parse_basic("Basic YTpiAGM=", name, password));
	memset(big + 6, 'A', sizeof(big) - 7);
	big[sizeof(big) - 1] = '\0';
	cr_expect_not(auth_parse_basic(big, name, password));
}

static enum auth_end check(struct auth *auth, const struct access_table *users, const char *pair,
			   uint64_t now_ms)
{
	struct auth_result result;
	char header[AUTH_HEADER_MAX];

	header_of(pair, header);
	auth_check(auth, users, header, NULL, now_ms, &result);
	cr_expect_eq(result.end == AUTH_KNOWN, result.role != ROLE_NONE);
	return result.end;
}

Test(auth, passwords_are_hashed_a_bounded_number_of_times)
{
	static struct access_table users;
	static struct auth auth;
	struct err why = {0};
	char hash[crypto_pwhash_STRBYTES];
	unsigned hashed = 0;

	cr_assert_eq(auth_init(&auth, &why), 0);
	cr_assert_eq(crypto_pwhash_str(hash, "right", 5, crypto_pwhash_OPSLIMIT_MIN,
				       crypto_pwhash_MEMLIMIT_MIN),
		     0);
	users.count = 1;
	users.rows[0] =
		(struct access_row){.name = "ada", .role = ROLE_ADMIN, .kind = ACCESS_PASSWORD};
	snprintf(users.rows[0].proof, sizeof(users.rows[0].proof), "%s", hash);
	cr_assert_eq(check(&auth, &users, "ada:wrong", 1000), AUTH_WRONG);
	cr_assert_eq(check(&auth, &users, "ada:right", 1000), AUTH_KNOWN);
	for (unsigned i = 0; i < 50; i++)
		hashed += check(&auth, &users, "ada:wrong", 1000) == AUTH_WRONG;
	cr_assert_eq(hashed, AUTH_BURST - 2);
	cr_assert_eq(check(&auth, &users, "eve:wrong", 1000), AUTH_LATER);
	/* Known already: it costs nothing. */
	cr_assert_eq(check(&auth, &users, "ada:right", 1000), AUTH_KNOWN);
	cr_assert_eq(check(&auth, &users, "ada:wrong", 1000 + 1000 / AUTH_PER_SECOND), AUTH_WRONG);
	cr_assert_eq(check(&auth, &users, "ada:wrong", 1000 + 1000 / AUTH_PER_SECOND), AUTH_LATER);
	auth_forget(&auth);
	cr_assert_eq(check(&auth, &users, "ada:right", 1250), AUTH_LATER);
	cr_assert_eq(check(&auth, &users, "ada:right", 99000), AUTH_KNOWN);
}

Test(actions, times)
{
	static const struct {
		const char *text;
		bool good, zone;
		uint64_t ms;
	} cases[] = {
		{"1970-01-02T00:00Z", true, false, 86400000},
		{"1970-01-02 00:00:01+01:00", true, false, 86400000 - 3600000 + 1000},
		{"1970-01-02T00:00:00.123456-0130", true, false, 86400000 + 5400000},
		{"2026-02-03T04:05:06 +00", true, false, 1770091506000},
		{"2026-02-03T04:05:06", false, true, 0},
		{"2026-02-03T04:05:06X", false, false, 0},
		{"2026-13-03T04:05Z", false, false, 0},
		{"2026-02-03", false, false, 0},
		{"2026-02-03T24:00Z", false, false, 0},
		{"1970-01-01T00:00+01:00", false, false, 0},
		{"", false, false, 0},
		{"now", false, false, 0},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		uint64_t ms = 0;
		bool zone;

		cr_expect_eq(action_parse_time(cases[i].text, &ms, &zone), cases[i].good, "%s",
			     cases[i].text);
		cr_expect(!cases[i].good || ms == cases[i].ms, "%s: %llu", cases[i].text,
			  (unsigned long long)ms);
		cr_expect(cases[i].good || zone == cases[i].zone, "%s", cases[i].text);
	}
}

Test(actions, the_table_is_closed)
{
	cr_expect_not_null(action_find("POST", "/switchover"));
	cr_expect_not_null(action_find("POST", "/failover"));
	cr_expect_not_null(action_find("DELETE", "/switchover"));
	cr_expect_not_null(action_find("POST", "/restart"));
	cr_expect_not_null(action_find("POST", "/reinitialize"));
	cr_expect_not_null(action_find("POST", "/reload"));
	cr_expect_null(action_find("GET", "/restart"));
	cr_expect_null(action_find("DELETE", "/reload"));
	cr_expect_null(action_find("PUT", "/reinitialize"));
	cr_expect_null(action_find("GET", "/switchover"));
	cr_expect_null(action_find("DELETE", "/failover"));
	cr_expect_null(action_find("POST", "/switchover/"));
	cr_expect_null(action_find("post", "/switchover"));
	cr_expect_null(action_find("PATCH", "/config"));
	cr_expect_null(action_find("", ""));
}

static struct conf *conf_of_two(void)
{
	struct conf *conf = calloc(1, sizeof(*conf));

	cr_assert_not_null(conf);
	conf->member_count = 2;
	for (unsigned i = 0; i < 2; i++) {
		conf->members[i].id = i + 1;
		conf->members[i].founding = i == 0;
		snprintf(conf->members[i].name, sizeof(conf->members[i].name), "n%u", i + 1);
		snprintf(conf->members[i].public_key, sizeof(conf->members[i].public_key), "%s",
			 i == 0 ? KEY_A : KEY_B);
	}
	return conf;
}

Test(tokens, are_good_once_and_for_a_time)
{
	static struct tokens tokens;
	static struct enroll_message message;
	char text[TOKEN_SIZE], address[] = "10.0.0.3", kind[] = "data", key[] = KEY_C, bad[] = "x";
	Mha__Client__Enroll enroll;
	const uint64_t minute = 60 * UINT64_C(1000000000);
	struct conf *conf = conf_of_two();
	const struct token_row *row;
	struct token token;
	struct err why;

	mha__client__enroll__init(&enroll);
	cr_assert_eq(tokens_issue(&tokens, conf, KEY_A, "n1", 1, 0, text, &why), ERR_EXISTS);
	cr_assert_eq(tokens_issue(&tokens, conf, KEY_A, "N 3", 1, 0, text, &why), ERR_INVALID);
	cr_assert_eq(tokens_issue(&tokens, conf, KEY_A, "n3", 9999, 0, text, &why), ERR_INVALID);
	cr_assert_eq(tokens_issue(&tokens, conf, KEY_A, "n3", 1, 0, text, &why), 0, "%s", why.text);
	cr_assert_eq(token_parse(text, &token, &why), 0);
	cr_assert_null(tokens_find(&tokens, token.key.public, minute));
	cr_assert_null(tokens_find(&tokens, KEY_B, 1));
	row = tokens_find(&tokens, token.key.public, minute - 1);
	cr_assert_not_null(row);
	enroll.address = address;
	enroll.kind = kind;
	enroll.public_key = key;
	enroll.peer_port = 7400;
	cr_assert_eq(tokens_use(&tokens, row, conf, &enroll, &message, &why), ERR_INVALID);
	enroll.postgres_port = 5432;
	enroll.public_key = bad;
	cr_assert_eq(tokens_use(&tokens, row, conf, &enroll, &message, &why), ERR_INVALID);
	enroll.public_key = conf->members[0].public_key;
	cr_assert_eq(tokens_use(&tokens, row, conf, &enroll, &message, &why), ERR_EXISTS);
	enroll.public_key = key;
	enroll.address = bad;
	cr_assert_eq(tokens_use(&tokens, row, conf, &enroll, &message, &why), ERR_INVALID);
	enroll.address = address;
	cr_assert_eq(tokens_use(&tokens, row, conf, &enroll, &message, &why), 0, "%s", why.text);
	cr_assert_eq(message.reply.n_members, 3);
	cr_assert_eq(message.rows[2].id, 3);
	cr_assert_str_eq(message.rows[2].name, "n3");
	cr_assert(message.rows[2].later);
	cr_assert_not(message.rows[0].later);
	cr_assert(message.rows[1].later);
	cr_assert_str_eq(message.rows[0].public_key, KEY_A);
	cr_assert_null(tokens_find(&tokens, token.key.public, 1));
	cr_assert_eq(tokens_issue(&tokens, conf, KEY_A, "n3", 1, 0, text, &why), ERR_EXISTS);
	for (unsigned i = 0; i < TOKENS_MAX; i++) {
		char name[8];

		snprintf(name, sizeof(name), "m%u", i);
		cr_assert_eq(tokens_issue(&tokens, conf, KEY_A, name, 1, 0, text, &why), 0);
	}
	cr_assert_eq(tokens_issue(&tokens, conf, KEY_A, "more", 1, 0, text, &why), ERR_BUSY);
	cr_assert_eq(tokens_issue(&tokens, conf, KEY_A, "m1", 1, 0, text, &why), 0);
	cr_assert_eq(tokens_issue(&tokens, conf, KEY_A, "more", 1, minute, text, &why), 0);
	free(conf);
}
