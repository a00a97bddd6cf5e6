#include "access/table.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"

#define WORDS_MAX 3
#define BLANKS    " \t\r"

/* One line in words; the text behind the last one is none of them. */
struct line {
	unsigned count; /* WORDS_MAX + 1: too many */
	char words[WORDS_MAX][ACCESS_PROOF_SIZE];
};

static bool in_set(char c, const char *more)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c != '\0' && strchr(more, c) != NULL);
}

bool access_is_name(const char *text)
{
	size_t length = 0;

	for (; text[length] != '\0'; length++) {
		if (!in_set(text[length], "._-"))
			return false;
	}
	return length > 0 && length < ACCESS_NAME_SIZE;
}

/* False: a word is too long. */
static bool split(const char *text, size_t size, struct line *line)
{
	size_t at = 0;

	line->count = 0;
	while (at < size) {
		size_t length = 0;

		if (strchr(BLANKS, text[at]) != NULL) {
			at++;
			continue;
		}
		while (at + length < size && strchr(BLANKS, text[at + length]) == NULL)
			length++;
		if (line->count == 0 && text[at] == '#')
			return true;
		if (line->count == WORDS_MAX) {
			line->count++;
			return true;
		}
		if (length >= ACCESS_PROOF_SIZE)
			return false;
		memcpy(line->words[line->count], text + at, length);
		line->words[line->count++][length] = '\0';
		at += length;
	}
	return true;
}

static bool is_hex(const char *text, size_t length)
{
	if (strlen(text) != length)
		return false;
	return text[strspn(text, "0123456789abcdef")] == '\0';
}

/* "m=19456,t=2,p=1": bounds what one attempt to log in costs. */
static bool argon_is_bounded(const char *text)
{
	unsigned memory, passes, lanes;
	int used = 0;

	return sscanf(text, "$argon2id$v=19$m=%7u,t=%3u,p=%2u$%n", &memory, &passes, &lanes,
		      &used) == 3 &&
	       used > 0 && memory >= 8 && memory <= ACCESS_ARGON_KIB_MAX && passes >= 1 &&
	       passes <= ACCESS_ARGON_PASSES_MAX && lanes == 1;
}

static int read_user_proof(struct access_row *row, const char *text, struct err *why)
{
	if (strcmp(text, "certificate") == 0) {
		row->kind = ACCESS_CERTIFICATE;
		return 0;
	}
	if (strncmp(text, "token:", 6) == 0) {
		row->kind = ACCESS_TOKEN;
		if (!is_hex(text + 6, ACCESS_TOKEN_HEX))
			return err_set(why, ERR_INVALID,
				       "token: %d hexadecimal digits must follow; mha-keygen "
				       "--bearer makes the row",
				       ACCESS_TOKEN_HEX);
		snprintf(row->proof, sizeof(row->proof), "%s", text + 6);
		return 0;
	}
	row->kind = ACCESS_PASSWORD;
	if (!argon_is_bounded(text))
		return err_set(why, ERR_INVALID,
			       "the third word is neither certificate, token:..., nor an argon2id "
			       "hash of at most %d KiB and %d passes; mha-keygen --password makes "
			       "the row",
			       ACCESS_ARGON_KIB_MAX, ACCESS_ARGON_PASSES_MAX);
	snprintf(row->proof, sizeof(row->proof), "%s", text);
	return 0;
}

static int read_proof(struct access_row *row, enum access_file file, const char *text,
		      struct err *why)
{
	if (file == ACCESS_USERS)
		return read_user_proof(row, text, why);
	row->kind = ACCESS_KEY;
	if (!text_is_z85_key(text))
		return err_set(why, ERR_INVALID,
			       "the third word is no CURVE public key (40 characters of Z85)");
	snprintf(row->proof, sizeof(row->proof), "%s", text);
	return 0;
}

static int read_row(struct access_table *table, enum access_file file, const struct line *line,
		    struct err *why)
{
	struct access_row row = {.role = ROLE_NONE};
	int rc;

	if (line->count != WORDS_MAX)
		return err_set(why, ERR_INVALID, "three words are wanted: a name, a role and %s",
			       file == ACCESS_CLIENTS ? "a public key" : "how it is proven");
	if (!access_is_name(line->words[0]))
		return err_set(why, ERR_INVALID,
			       "the name must be letters, digits, '.', '_' and '-', 1 to %d of "
			       "them",
			       ACCESS_NAME_SIZE - 1);
	snprintf(row.name, sizeof(row.name), "%.*s", ACCESS_NAME_SIZE - 1, line->words[0]);
	if (!role_parse(line->words[1], &row.role))
		return err_set(why, ERR_INVALID, "the role of %s is none of read, operate, admin",
			       row.name);
	if ((rc = read_proof(&row, file, line->words[2], why)) < 0)
		return err_in(why, rc, "%s", row.name);
	for (unsigned i = 0; i < table->count; i++) {
		if (strcmp(table->rows[i].name, row.name) == 0)
			return err_set(why, ERR_INVALID, "the name %s stands here twice", row.name);
		if (row.proof[0] != '\0' && strcmp(table->rows[i].proof, row.proof) == 0)
			return err_set(why, ERR_INVALID, "%s has the key of %s", row.name,
				       table->rows[i].name);
	}
	if (table->count == ACCESS_ROWS_MAX)
		return err_set(why, ERR_INVALID, "more than %d rows", ACCESS_ROWS_MAX);
	table->rows[table->count++] = row;
	return 0;
}

static int parse(struct access_table *table, enum access_file file, const char *text, size_t size,
		 struct err *why)
{
	size_t at = 0;

	if (memchr(text, '\0', size) != NULL)
		return err_set(why, ERR_INVALID, "is no text");
	for (unsigned number = 1; at < size; number++) {
		const char *end = memchr(text + at, '\n', size - at);
		const size_t length = end != NULL ? (size_t)(end - text) - at : size - at;
		struct line line;
		int rc = 0;

		if (!split(text + at, length, &line))
			rc = err_set(why, ERR_INVALID, "a word is longer than %d characters",
				     ACCESS_PROOF_SIZE - 1);
		else if (line.count > 0)
			rc = read_row(table, file, &line, why);
		if (rc < 0)
			return err_in(why, rc, "line %u", number);
		at += length + 1;
	}
	return 0;
}

int access_parse(struct access_table *table, enum access_file file, const char *text, size_t size,
		 struct err *why)
{
	int rc;

	memset(table, 0, sizeof(*table));
	rc = parse(table, file, text, size, why);
	if (rc < 0)
		memset(table, 0, sizeof(*table));
	return rc;
}

const struct access_row *access_by_key(const struct access_table *table, const char *key)
{
	for (unsigned i = 0; i < table->count; i++) {
		if (table->rows[i].kind == ACCESS_KEY && strcmp(table->rows[i].proof, key) == 0)
			return &table->rows[i];
	}
	return NULL;
}

const struct access_row *access_by_name(const struct access_table *table, enum access_kind kind,
					const char *name)
{
	for (unsigned i = 0; i < table->count; i++) {
		if (table->rows[i].kind == kind && strcmp(table->rows[i].name, name) == 0)
			return &table->rows[i];
	}
	return NULL;
}

bool access_keys_kept(const struct access_table *before, const struct access_table *after)
{
	for (unsigned i = 0; i < before->count; i++) {
		const struct access_row *row = &before->rows[i];
		const struct access_row *now;

		if (row->kind != ACCESS_KEY)
			continue;
		now = access_by_key(after, row->proof);
		if (now == NULL || now->role < row->role || strcmp(now->name, row->name) != 0)
			return false;
	}
	return true;
}
