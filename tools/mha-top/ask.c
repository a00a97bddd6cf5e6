#include "top/ask.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/client.h"

#define CALL_TIMEOUT_MS 30000 /* the whole cluster has to agree */

void asking_init(struct asking *asking)
{
	*asking = (struct asking){.fd = -1};
}

static void describe(const Mha__Client__CallReply *reply, const char *target, int to)
{
	if (strcmp(reply->code, "accepted") == 0) {
		dprintf(to, "The switchover to %s is on record as operation %" PRIu64 ".", target,
			reply->operation);
		return;
	}
	dprintf(to, "The switchover to %s: %s.", target, reply->code);
	for (size_t i = 0; i < reply->n_blockers; i++) {
		const Mha__Client__Blocker *blocker = reply->blockers[i];

		dprintf(to, " %s%s%s%s%s%s. %s.", blocker->node, blocker->node[0] ? ": " : "",
			blocker->text, blocker->detail[0] ? " (" : "", blocker->detail,
			blocker->detail[0] ? ")" : "", blocker->remedy);
	}
}

static void helper_run(const char *run_dir, char *target, int to)
{
	Mha__Client__Request request = MHA__CLIENT__REQUEST__INIT;
	Mha__Client__Switchover call;
	char endpoint[CLIENT_ENDPOINT_SIZE];
	Mha__Client__Reply *reply = NULL;
	struct client *client;
	struct err why = {0};

	mha__client__switchover__init(&call);
	call.to = target;
	request.call_case = MHA__CLIENT__REQUEST__CALL_SWITCHOVER;
	request.switchover = &call;
	if (client_local_endpoint(run_dir, endpoint, &why) < 0 ||
	    client_open(&client, endpoint, NULL, &why) < 0) {
		dprintf(to, "Nothing was asked for: %s.", why.text);
		_exit(1);
	}
	if (client_call(client, &request, CALL_TIMEOUT_MS, &reply, &why) < 0)
		dprintf(to, "%s%s.",
			why.code == ERR_TIMEOUT ? "It may have been carried out: " : "", why.text);
	else if (reply->body_case != MHA__CLIENT__REPLY__BODY_CALL_REPLY)
		dprintf(to, "The agent answers another question than was asked.");
	else
		describe(reply->call_reply, target, to);
	_exit(0);
}

int asking_begin(struct asking *asking, const char *run_dir, const char *target, struct err *why)
{
	char copy[128];
	int ends[2];

	asking_end(asking);
	snprintf(copy, sizeof(copy), "%s", target);
	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_set_errno(why, ERR_IO, errno, "pipe");
	asking->helper = fork();
	if (asking->helper < 0) {
		asking->helper = 0;
		close(ends[0]);
		close(ends[1]);
		return err_set_errno(why, ERR_IO, errno, "fork");
	}
	if (asking->helper == 0) {
		close(ends[0]);
		helper_run(run_dir, copy, ends[1]);
	}
	close(ends[1]);
	asking->fd = ends[0];
	asking->size = 0;
	asking->text[0] = '\0';
	return 0;
}

bool asking_read(struct asking *asking)
{
	const size_t room = sizeof(asking->text) - 1 - asking->size;
	char rest[64];
	ssize_t got = read(asking->fd, room > 0 ? asking->text + asking->size : rest,
			   room > 0 ? room : sizeof(rest));

	if (got > 0 && room > 0) {
		asking->size += (size_t)got;
		asking->text[asking->size] = '\0';
	}
	if (got > 0 || (got < 0 && errno == EINTR))
		return false;
	close(asking->fd);
	asking->fd = -1;
	(void)waitpid(asking->helper, NULL, 0);
	asking->helper = 0;
	return true;
}

void asking_end(struct asking *asking)
{
	if (asking->helper > 0) {
		(void)kill(asking->helper, SIGTERM);
		(void)waitpid(asking->helper, NULL, 0);
	}
	if (asking->fd >= 0)
		close(asking->fd);
	asking_init(asking);
}
