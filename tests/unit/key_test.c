/* The key file, and the program that makes it. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "wire/key.h"

Test(key, a_made_key_reads_back)
{
	char text[KEY_FILE_MAX];
	struct key key, back;
	struct err why = {0};

	cr_assert_eq(key_make(&key, &why), 0, "%s", why.text);
	cr_assert_eq(key_format(&key, text), 2 * KEY_SIZE);
	cr_assert_eq(key_parse(text, &back, &why), 0, "%s", why.text);
	cr_assert_str_eq(back.secret, key.secret);
	cr_assert_str_eq(back.public, key.public);

	/* The secret alone is enough, with or without a line end. */
	text[KEY_SIZE - 1] = '\0';
	cr_assert_eq(key_parse(text, &back, &why), 0, "%s", why.text);
	cr_assert_str_eq(back.public, key.public);
}

Test(key, what_is_no_key_is_refused_and_not_quoted)
{
	struct key first, second, back;
	struct err why = {0};
	char text[4][KEY_FILE_MAX];

	cr_assert_eq(key_make(&first, &why), 0);
	cr_assert_eq(key_make(&second, &why), 0);
	snprintf(text[0], KEY_FILE_MAX, "%.39s\n", first.secret);
	snprintf(text[1], KEY_FILE_MAX, "%s\n%s\n", first.secret, second.public);
	snprintf(text[2], KEY_FILE_MAX, "%s\n%s\nmore\n", first.secret, first.public);
	snprintf(text[3], KEY_FILE_MAX, "\"%.39s\n", first.secret);
	for (size_t i = 0; i < COUNT_OF(text); i++) {
		cr_expect_eq(key_parse(text[i], &back, &why), ERR_INVALID, "%zu", i);
		cr_expect_null(strstr(why.text, first.secret), "%zu: %s", i, why.text);
		cr_expect_eq(back.secret[0], '\0');
	}
	cr_expect_eq(key_parse("", &back, &why), ERR_INVALID);
}

/* Runs the program; its first line of output in `line`. Returns its exit status. */
static int keygen(const char *arguments, const char *path, char line[256])
{
	char command[512];
	FILE *from;
	int status;

	snprintf(command, sizeof(command), KEYGEN_PROGRAM " %s%s 2>&1", arguments, path);
	from = popen(command, "r");
	cr_assert_not_null(from);
	line[0] = '\0';
	if (fgets(line, 256, from) == NULL)
		line[0] = '\0';
	line[strcspn(line, "\n")] = '\0';
	status = pclose(from);
	cr_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

Test(keygen, makes_a_file_for_its_owner_only_and_never_over_another)
{
	char folder[] = "/tmp/mha-key-XXXXXX", path[64], line[256], again[256];
	struct stat file;

	cr_assert_not_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/node.key", folder);
	cr_assert_eq(keygen("", path, line), 0, "%s", line);
	cr_assert_eq(strlen(line), KEY_SIZE - 1);
	cr_assert_eq(stat(path, &file), 0);
	cr_assert_eq(file.st_mode & 07777, 0600);
	cr_assert_eq(keygen("--public ", path, again), 0);
	cr_assert_str_eq(line, again);
	cr_assert_eq(keygen("", path, again), 1);
	cr_assert_not_null(strstr(again, "exists"), "%s", again);
	cr_assert_eq(keygen("--public ", path, again), 0);
	cr_assert_str_eq(line, again);
	unlink(path);
	cr_assert_eq(keygen("--public ", path, again), 1);
	cr_assert_eq(keygen("--private ", path, again), 2);
	cr_assert_eq(keygen("", "", again), 2);
	cr_assert_eq(keygen("--help", "", again), 0);
	rmdir(folder);
}
