/* mha-keygen: keys, their change, and rows of the files that say who may what. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

#include "files.h"
#include "os/sanitizer.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

static void usage(FILE *to)
{
	fprintf(to,
		"usage: mha-keygen FILE            make a new key in FILE, print its public key\n"
		"       mha-keygen --public FILE   print the public key of the key in FILE\n"
		"       mha-keygen --rotate begin|switch|back|finish FILE\n"
		"                                  change a node's key, step by step\n"
		"       mha-keygen --client NAME ROLE FILE\n"
		"                                  make a client's key, print its row\n"
		"       mha-keygen --password NAME ROLE\n"
		"                                  read a password, print its row\n"
		"       mha-keygen --bearer NAME ROLE FILE\n"
		"                                  make a token for HTTP in FILE, print its row\n"
		"       mha-keygen --help\n"
		"\n"
		"ROLE: read, operate or admin.\n");
}

static int print_public(const char *path, int (*get)(const char *, struct key *, struct err *),
			struct err *why)
{
	struct key key;
	const int rc = get(path, &key, why);

	explicit_bzero(key.secret, sizeof(key.secret));
	if (rc == 0)
		puts(key.public);
	return rc;
}

/* EXIT_USAGE: the command line makes no sense; else 0 or an error's code. */
static int run(int argc, char **argv, struct err *why)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (argc == 3 && strcmp(what, "--public") == 0)
		return print_public(argv[2], key_file_read, why);
	if (argc == 2 && what[0] != '-' && what[0] != '\0')
		return print_public(what, key_file_make, why);
	if (argc == 4 && strcmp(what, "--rotate") == 0)
		return rotate(argv[2], argv[3], why);
	if (argc == 5 && strcmp(what, "--client") == 0)
		return row_client(argv[2], argv[3], argv[4], why);
	if (argc == 4 && strcmp(what, "--password") == 0)
		return row_password(argv[2], argv[3], why);
	if (argc == 5 && strcmp(what, "--bearer") == 0)
		return row_bearer(argv[2], argv[3], argv[4], why);
	return EXIT_USAGE;
}

int main(int argc, char **argv)
{
	struct err why = {0};
	int rc;

	if (argc == 2 && strcmp(argv[1], "--help") == 0) {
		usage(stdout);
		return EXIT_DONE;
	}
	/* A core file would hold what this program exists to keep secret. */
	if (!OS_SANITIZED)
		(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	rc = run(argc, argv, &why);
	if (rc == EXIT_USAGE) {
		usage(stderr);
		return EXIT_USAGE;
	}
	if (rc < 0) {
		fprintf(stderr, "mha-keygen: %s\n", why.text);
		return EXIT_FAILED;
	}
	if (fflush(stdout) != 0) {
		fprintf(stderr, "mha-keygen: the answer cannot be printed: %s\n", strerror(errno));
		return EXIT_FAILED;
	}
	return EXIT_DONE;
}
