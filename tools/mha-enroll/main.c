/* mha-enroll: on a new node: make its key, enrol it by a one-time token, write the configuration.
 */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/text.h"
#include "client/remote.h"
#include "files.h"
#include "os/sanitizer.h"
#include "wire/token.h"

#define FOLDER     "/etc/mha4rdb"
#define TIMEOUT_MS 10000

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct wishes {
	const char *host;
	const char *folder;
	Mha__Client__Enroll enroll;
	bool help;
};

static void usage(FILE *to)
{
	fputs("usage: mha-enroll --host HOST[:PORT] --address ADDRESS [--kind data|witness]\n"
	      "                  [--peer-port PORT] [--postgres-port PORT] [--folder FOLDER] < "
	      "TOKEN\n"
	      "\n"
	      "  --host H            the agent whose token it is: its client.listen\n"
	      "  --address A         this node's IP address, for agents and replication\n"
	      "  --kind K            data (default) or witness\n"
	      "  --peer-port P       7400\n"
	      "  --postgres-port P   5432\n"
	      "  --folder F          where node.key and mha4rdb.conf are written (" FOLDER ")\n"
	      "\n"
	      "The token (mhactl enroll-token) comes on standard input.\n",
	      to);
}

static bool take_port(const char *text, uint32_t *port)
{
	uint64_t number;

	if (!text_parse_u64(text, &number) || number == 0 || number > 65535)
		return false;
	*port = (uint32_t)number;
	return true;
}

static bool take_options(int argc, char **argv, struct wishes *wishes)
{
	static const struct option OPTIONS[] = {
		{"host", required_argument, NULL, 'h'},
		{"address", required_argument, NULL, 'a'},
		{"kind", required_argument, NULL, 'k'},
		{"peer-port", required_argument, NULL, 'p'},
		{"postgres-port", required_argument, NULL, 'q'},
		{"folder", required_argument, NULL, 'f'},
		{"help", no_argument, NULL, 'H'},
		{0},
	};
	bool right = true;
	int option;

	while (right && (option = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1) {
		switch (option) {
		case 'h':
			wishes->host = optarg;
			break;
		case 'a':
			wishes->enroll.address = optarg;
			break;
		case 'k':
			wishes->enroll.kind = optarg;
			break;
		case 'p':
			right = take_port(optarg, &wishes->enroll.peer_port);
			break;
		case 'q':
			right = take_port(optarg, &wishes->enroll.postgres_port);
			break;
		case 'f':
			wishes->folder = optarg;
			break;
		case 'H':
			wishes->help = true;
			break;
		default:
			right = false;
			break;
		}
	}
	if (!right || optind != argc)
		return false;
	return wishes->help || (wishes->host != NULL && wishes->enroll.address[0] != '\0');
}

static int read_token(struct token *token, struct err *why)
{
	char text[TOKEN_SIZE + 2] = "";
	int rc;

	if (isatty(STDIN_FILENO) == 1)
		fputs("token: ", stderr);
	if (fgets(text, sizeof(text), stdin) == NULL)
		return err_set(why, ERR_INVALID, "no token came on standard input");
	text[strcspn(text, "\r\n")] = '\0';
	rc = token_parse(text, token, why);
	explicit_bzero(text, sizeof(text));
	return rc;
}

static int ask(const struct wishes *wishes, const struct token *token, Mha__Client__Reply **reply,
	       struct err *why)
{
	Mha__Client__Request request = MHA__CLIENT__REQUEST__INIT;
	Mha__Client__Enroll enroll = wishes->enroll;
	char endpoint[CLIENT_ENDPOINT_SIZE];
	struct client_keys keys;
	struct client *client;
	int rc = client_remote_endpoint(wishes->host, endpoint, why);

	if (rc < 0)
		return rc;
	memcpy(keys.server, token->server, sizeof(keys.server));
	memcpy(keys.public, token->key.public, sizeof(keys.public));
	memcpy(keys.secret, token->key.secret, sizeof(keys.secret));
	rc = client_open(&client, endpoint, &keys, why);
	explicit_bzero(&keys, sizeof(keys));
	if (rc < 0)
		return rc;
	request.call_case = MHA__CLIENT__REQUEST__CALL_ENROLL;
	request.enroll = &enroll;
	rc = client_call(client, &request, TIMEOUT_MS, reply, why);
	client_close(client);
	if (rc == ERR_PERM)
		return err_in(why, rc, "the token is used up, has expired, or is of another agent");
	if (rc == 0 && ((*reply)->body_case != MHA__CLIENT__REPLY__BODY_ENROLL_REPLY ||
			(*reply)->enroll_reply->n_members < 2)) {
		client_reply_free(*reply);
		return err_set(why, ERR_CORRUPT,
			       "the agent answers another question than was asked");
	}
	return rc;
}

static void print_member(FILE *to, const Mha__Client__MemberRow *row)
{
	fprintf(to,
		"  - {name: %s, id: %u, kind: %s, address: \"%s\", peer_port: %u, postgres_port: "
		"%u, "
		"priority: %u, founding: %s, public_key: \"%s\"}\n",
		row->name, row->id, row->kind, row->address, row->peer_port, row->postgres_port,
		row->priority, row->later ? "off" : "on", row->public_key);
}

/* What the cluster knows; the database's part is this node's own. */
static int write_conf(const struct wishes *wishes, const Mha__Client__EnrollReply *reply,
		      const char *path, struct err *why)
{
	const Mha__Client__MemberRow *self = reply->members[reply->n_members - 1];
	char *text = NULL;
	size_t size = 0;
	FILE *to = open_memstream(&text, &size);
	int rc;

	if (to == NULL)
		return err_set_errno(why, ERR_NO_MEMORY, errno, "%s", path);
	fprintf(to,
		"# Written by mha-enroll. What else there is to say (postgresql, vip, ...): "
		"mha4rdb.conf(5).\n"
		"cluster:\n  name: %s\n  id: %s\nnode:\n  name: %s\nkeys:\n"
		"  secret_file: %s/node.key\nmembers:\n",
		reply->cluster_name, reply->cluster_id, self->name, wishes->folder);
	for (size_t i = 0; i < reply->n_members; i++)
		print_member(to, reply->members[i]);
	if (fclose(to) != 0)
		rc = err_set_errno(why, ERR_NO_MEMORY, errno, "%s", path);
	else
		rc = file_create(path, text, size, why);
	free(text);
	return rc;
}

static int enroll(struct wishes *wishes, struct err *why)
{
	char key_path[PATH_MAX], conf_path[PATH_MAX];
	Mha__Client__Reply *reply = NULL;
	struct token token;
	struct key key;
	int rc;

	if (snprintf(key_path, PATH_MAX, "%s/node.key", wishes->folder) >= PATH_MAX ||
	    snprintf(conf_path, PATH_MAX, "%s/mha4rdb.conf", wishes->folder) >= PATH_MAX)
		return err_set(why, ERR_TOO_BIG, "%s: the path is too long", wishes->folder);
	if (access(conf_path, F_OK) == 0)
		return err_set(why, ERR_EXISTS, "%s exists; move it away first", conf_path);
	if ((rc = read_token(&token, why)) < 0)
		return rc;
	rc = key_file_make(key_path, &key, why);
	explicit_bzero(key.secret, sizeof(key.secret));
	if (rc == 0) {
		wishes->enroll.public_key = key.public;
		rc = ask(wishes, &token, &reply, why);
		/* Nobody knows this key. */
		if (rc < 0)
			(void)unlink(key_path);
	}
	explicit_bzero(&token, sizeof(token));
	if (rc < 0)
		return rc;
	rc = write_conf(wishes, reply->enroll_reply, conf_path, why);
	if (rc == 0) {
		printf("%s and %s are written. This row belongs into members on every node:\n",
		       key_path, conf_path);
		print_member(stdout,
			     reply->enroll_reply->members[reply->enroll_reply->n_members - 1]);
	}
	client_reply_free(reply);
	return rc;
}

int main(int argc, char **argv)
{
	static char data[] = "data", nowhere[] = "";
	struct wishes wishes = {.folder = FOLDER};
	struct err why = {0};

	mha__client__enroll__init(&wishes.enroll);
	wishes.enroll.kind = data;
	wishes.enroll.address = nowhere;
	wishes.enroll.peer_port = 7400;
	wishes.enroll.postgres_port = 5432;
	if (!take_options(argc, argv, &wishes)) {
		usage(stderr);
		return EXIT_USAGE;
	}
	if (wishes.help) {
		usage(stdout);
		return EXIT_DONE;
	}
	/* A core file would hold the keys. */
	if (!OS_SANITIZED)
		(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	if (enroll(&wishes, &why) < 0) {
		fprintf(stderr, "mha-enroll: %s\n", why.text);
		return EXIT_FAILED;
	}
	return EXIT_DONE;
}
