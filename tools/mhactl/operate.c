/* The verbs that change something: each builds one request and shows how it ended. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mhactl/command.h"
#include "mhactl/print.h"
#include "view/format.h"
#include "view/json.h"

/* protobuf-c's requests have char * without const and are only read. */
static char *borrow(const char *text)
{
	union {
		const char *from;
		char *to;
	} either = {.from = text != NULL ? text : ""};

	return either.to;
}

static int reply_status(const Mha__Client__CallReply *reply)
{
	if (strcmp(reply->code, "accepted") == 0 || strcmp(reply->code, "possible") == 0)
		return EXIT_DONE;
	return strcmp(reply->code, "refused") == 0 ? EXIT_REFUSED : EXIT_UNCERTAIN;
}

static int send_call(const struct command_line *line, struct fetched *fetched,
		     Mha__Client__Request *request, const char *verb)
{
	struct err why = {0};
	int rc = fetch_call(&line->from, request, fetched, &why);

	if (rc < 0)
		return command_lost(rc, &why);
	if (!line->json)
		print_call_reply(fetched->call, verb, line->colours,
				 reply_status(fetched->call) == EXIT_DONE ? stdout : stderr);
	return reply_status(fetched->call);
}

static int show_reply(const struct command_line *line, const struct fetched *fetched, int status)
{
	char *text;

	if (!line->json || fetched->call == NULL)
		return status;
	text = json_print(call_reply_to_json(fetched->call), JSON_INDENT(2));
	if (text == NULL)
		return EXIT_ERROR;
	puts(text);
	free(text);
	return status;
}

/* Most verbs: one request, one reply. */
static int simple(const struct command_line *line, struct fetched *fetched,
		  Mha__Client__Request *request, const char *verb)
{
	return show_reply(line, fetched, send_call(line, fetched, request, verb));
}

/* One request, and with --wait the end of what it began. */
static int begin_and_wait(const struct command_line *line, struct fetched *fetched,
			  Mha__Client__Request *request, const char *verb)
{
	struct wait_for wait = {0};
	struct err why = {0};
	int rc, status;

	if (line->wait && (rc = wait_begin(line, fetched, &wait, &why)) < 0)
		return command_failed(rc, &why);
	status = send_call(line, fetched, request, verb);
	if (!line->wait || status != EXIT_DONE || line->dry_run)
		return show_reply(line, fetched, status);
	wait.operation = fetched->call->operation;
	wait.epoch = fetched->call->epoch;
	return wait_end(line, fetched, &wait);
}

int run_switchover(const struct command_line *line, struct fetched *fetched)
{
	Mha__Client__Request request = MHA__CLIENT__REQUEST__INIT;
	Mha__Client__Switchover call;

	mha__client__switchover__init(&call);
	call.to = borrow(line->to);
	call.dry_run = line->dry_run;
	call.start_ms = line->at_ms;
	call.end_ms = line->until_ms;
	request.call_case = MHA__CLIENT__REQUEST__CALL_SWITCHOVER;
	request.switchover = &call;
	return begin_and_wait(line, fetched, &request, "switchover");
}

/* `node` is typed, or --yes was given. */
static bool confirmed(const struct command_line *line, const char *verb, const char *node)
{
	char typed[64] = "";

	if (line->yes)
		return true;
	if (isatty(STDIN_FILENO) != 1) {
		fprintf(stderr, "mhactl: %s: nobody is here to consent; add --yes\n", verb);
		return false;
	}
	fprintf(stderr, "Type the name of the node (%s) to go on: ", node);
	if (fgets(typed, sizeof(typed), stdin) == NULL)
		return false;
	typed[strcspn(typed, "\n")] = '\0';
	if (strcmp(typed, node) == 0)
		return true;
	fprintf(stderr, "mhactl: %s: not confirmed, nothing was changed\n", verb);
	return false;
}

/* Consent to a loss is typed, or given by --yes. */
static bool consents(const struct command_line *line, const Mha__Client__CallReply *reply)
{
	char bytes[FORMAT_SIZE];

	if (reply->loss_known && reply->loss_bytes == 0)
		return true;
	if (reply->loss_known)
		fprintf(stderr, "Acknowledged commits in up to %s of WAL will be lost.\n",
			format_bytes((int64_t)reply->loss_bytes, bytes));
	else
		fputs("Acknowledged commits will be lost, and nobody can say how many.\n", stderr);
	return confirmed(line, "failover", line->to);
}

/* The node on record as primary, which clients notice; false also when nobody can say. */
static bool is_primary(const struct command_line *line, struct fetched *fetched, const char *node)
{
	struct err why = {0};
	bool primary = false;

	if (fetch_status(&line->from, fetched, &why) == 0)
		primary = fetched->status->leader != NULL &&
			  strcmp(fetched->status->leader->name, node) == 0;
	fetched_free(fetched);
	return primary;
}

int run_restart(const struct command_line *line, struct fetched *fetched)
{
	Mha__Client__Request request = MHA__CLIENT__REQUEST__INIT;
	const char *node = line->arguments[0];
	Mha__Client__Restart call;

	mha__client__restart__init(&call);
	if (!line->dry_run && !line->yes && is_primary(line, fetched, node)) {
		fprintf(stderr, "%s is the primary: clients are cut off until it is back.\n", node);
		if (!confirmed(line, "restart", node))
			return EXIT_REFUSED;
	}
	call.node = borrow(node);
	call.force = line->force;
	call.dry_run = line->dry_run;
	request.call_case = MHA__CLIENT__REQUEST__CALL_RESTART;
	request.restart = &call;
	return begin_and_wait(line, fetched, &request, "restart");
}

int run_reinit(const struct command_line *line, struct fetched *fetched)
{
	Mha__Client__Request request = MHA__CLIENT__REQUEST__INIT;
	struct wait_for wait = {.reinit = line->arguments[0]};
	Mha__Client__Reinit call;
	struct err why = {0};
	int rc, status;

	mha__client__reinit__init(&call);
	if (!line->dry_run && !line->yes) {
		fprintf(stderr, "The data directory of %s is replaced by a new clone.\n",
			line->arguments[0]);
		if (!confirmed(line, "reinit", line->arguments[0]))
			return EXIT_REFUSED;
	}
	call.node = borrow(line->arguments[0]);
	call.force = line->force;
	call.dry_run = line->dry_run;
	request.call_case = MHA__CLIENT__REQUEST__CALL_REINIT;
	request.reinit = &call;
	if (line->wait && (rc = wait_begin(line, fetched, &wait, &why)) < 0)
		return command_failed(rc, &why);
	status = send_call(line, fetched, &request, "reinit");
	if (!line->wait || status != EXIT_DONE || line->dry_run)
		return show_reply(line, fetched, status);
	return wait_end(line, fetched, &wait);
}

int run_reload(const struct command_line *line, struct fetched *fetched)
{
	Mha__Client__Request request = MHA__CLIENT__REQUEST__INIT;
	Mha__Client__Reload call = MHA__CLIENT__RELOAD__INIT;
	struct err why = {0};
	int rc;

	request.call_case = MHA__CLIENT__REQUEST__CALL_RELOAD;
	request.reload = &call;
	rc = fetch_call(&line->from, &request, fetched, &why);
	if (rc == ERR_REFUSED) {
		fprintf(stderr, "mhactl: %s\n", why.text);
		return EXIT_REFUSED;
	}
	if (rc < 0)
		return command_lost(rc, &why);
	if (!line->json)
		puts("reload: the configuration was read again");
	return show_reply(line, fetched, EXIT_DONE);
}

int run_failover(const struct command_line *line, struct fetched *fetched)
{
	Mha__Client__Request request = MHA__CLIENT__REQUEST__INIT;
	Mha__Client__Failover call;
	int status;

	mha__client__failover__init(&call);
	if (line->to == NULL) {
		fputs("mhactl: failover: --to NODE is wanted\n", stderr);
		return EXIT_USAGE;
	}
	call.to = borrow(line->to);
	call.accept_loss = line->accept_loss;
	call.dry_run = true;
	request.call_case = MHA__CLIENT__REQUEST__CALL_FAILOVER;
	request.failover = &call;
	/* What it would cost is known before anything is done. */
	status = send_call(line, fetched, &request, "failover");
	if (status != EXIT_DONE || line->dry_run)
		return show_reply(line, fetched, status);
	if (!consents(line, fetched->call))
		return EXIT_REFUSED;
	call.dry_run = false;
	fetched_free(fetched);
	return begin_and_wait(line, fetched, &request, "failover");
}

int run_cancel(const struct command_line *line, struct fetched *fetched)
{
	Mha__Client__Request request = MHA__CLIENT__REQUEST__INIT;
	Mha__Client__Cancel call = MHA__CLIENT__CANCEL__INIT;

	request.call_case = MHA__CLIENT__REQUEST__CALL_CANCEL;
	request.cancel = &call;
	return simple(line, fetched, &request, "cancel");
}

int run_mode(const struct command_line *line, struct fetched *fetched)
{
	Mha__Client__Request request = MHA__CLIENT__REQUEST__INIT;
	Mha__Client__SetMode call;

	mha__client__set_mode__init(&call);
	if (line->argument_count == 0 && line->quorum == NULL && !line->pin) {
		fputs("mhactl: mode: NAME, --quorum or --pin is wanted; `mhactl status` shows the "
		      "present mode\n",
		      stderr);
		return EXIT_USAGE;
	}
	call.mode = borrow(line->argument_count > 0 ? line->arguments[0] : "");
	call.quorum = borrow(line->quorum);
	call.pin = line->pin;
	call.force = line->force;
	call.dry_run = line->dry_run;
	request.call_case = MHA__CLIENT__REQUEST__CALL_SET_MODE;
	request.set_mode = &call;
	return simple(line, fetched, &request, "mode");
}

/* "on" or "off"; false, with words, on anything else. */
static bool parse_switch(const char *verb, const char *text, protobuf_c_boolean *on)
{
	*on = strcmp(text, "on") == 0;
	if (*on || strcmp(text, "off") == 0)
		return true;
	fprintf(stderr, "mhactl: %s: '%s' is neither on nor off\n", verb, text);
	return false;
}

int run_auto_failover(const struct command_line *line, struct fetched *fetched)
{
	Mha__Client__Request request = MHA__CLIENT__REQUEST__INIT;
	Mha__Client__AutoFailover call = MHA__CLIENT__AUTO_FAILOVER__INIT;

	if (!parse_switch("auto-failover", line->arguments[0], &call.on))
		return EXIT_USAGE;
	request.call_case = MHA__CLIENT__REQUEST__CALL_AUTO_FAILOVER;
	request.auto_failover = &call;
	return simple(line, fetched, &request, "auto-failover");
}

int run_auto_switch(const struct command_line *line, struct fetched *fetched)
{
	Mha__Client__Request request = MHA__CLIENT__REQUEST__INIT;
	Mha__Client__AutoSwitch call = MHA__CLIENT__AUTO_SWITCH__INIT;

	if (!parse_switch("auto-switch", line->arguments[0], &call.on))
		return EXIT_USAGE;
	request.call_case = MHA__CLIENT__REQUEST__CALL_AUTO_SWITCH;
	request.auto_switch = &call;
	return simple(line, fetched, &request, "auto-switch");
}

int run_pause(const struct command_line *line, struct fetched *fetched)
{
	Mha__Client__Request request = MHA__CLIENT__REQUEST__INIT;
	Mha__Client__Pause call = MHA__CLIENT__PAUSE__INIT;

	call.until_ms = line->until_ms;
	request.call_case = MHA__CLIENT__REQUEST__CALL_PAUSE;
	request.pause = &call;
	return simple(line, fetched, &request, "pause");
}

int run_resume(const struct command_line *line, struct fetched *fetched)
{
	Mha__Client__Request request = MHA__CLIENT__REQUEST__INIT;
	Mha__Client__Resume call = MHA__CLIENT__RESUME__INIT;

	request.call_case = MHA__CLIENT__REQUEST__CALL_RESUME;
	request.resume = &call;
	return simple(line, fetched, &request, "resume");
}

int run_member(const struct command_line *line, struct fetched *fetched)
{
	Mha__Client__Request request = MHA__CLIENT__REQUEST__INIT;
	Mha__Client__MemberAdd add;
	Mha__Client__MemberRemove take;

	if (strcmp(line->arguments[0], "add") == 0) {
		mha__client__member_add__init(&add);
		add.node = borrow(line->arguments[1]);
		add.force = line->force;
		add.dry_run = line->dry_run;
		request.call_case = MHA__CLIENT__REQUEST__CALL_MEMBER_ADD;
		request.member_add = &add;
		return simple(line, fetched, &request, "member add");
	}
	if (strcmp(line->arguments[0], "remove") != 0) {
		fprintf(stderr, "mhactl: member: '%s' is neither add nor remove\n",
			line->arguments[0]);
		return EXIT_USAGE;
	}
	mha__client__member_remove__init(&take);
	take.node = borrow(line->arguments[1]);
	take.force = line->force;
	take.dry_run = line->dry_run;
	request.call_case = MHA__CLIENT__REQUEST__CALL_MEMBER_REMOVE;
	request.member_remove = &take;
	return simple(line, fetched, &request, "member remove");
}

int run_maintenance(const struct command_line *line, struct fetched *fetched)
{
	Mha__Client__Request request = MHA__CLIENT__REQUEST__INIT;
	Mha__Client__Maintenance call;

	mha__client__maintenance__init(&call);
	if (!parse_switch("maintenance", line->arguments[0], &call.on))
		return EXIT_USAGE;
	call.node = borrow(line->arguments[1]);
	request.call_case = MHA__CLIENT__REQUEST__CALL_MAINTENANCE;
	request.maintenance = &call;
	return simple(line, fetched, &request, "maintenance");
}
