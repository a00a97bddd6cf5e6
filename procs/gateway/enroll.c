#include "gateway/enroll.h"

#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "gateway/access.h"
#include "os/clock.h"

#define MS_PER_MINUTE UINT64_C(60000)

static int issue(struct gateway *gateway, const struct caller *caller,
		 const Mha__Client__EnrollToken *wanted, struct request *out, struct err *why)
{
	const struct conf *conf = &gateway->worker->conf;
	Mha__Client__TokenReply body;
	Mha__Client__Reply reply;
	char text[TOKEN_SIZE];
	int rc;

	mha__client__token_reply__init(&body);
	mha__client__reply__init(&reply);
	if (!gateway->access->curve || conf->client_listen[0] == '\0')
		return err_set(why, ERR_REFUSED,
			       "a new node enrols over client.listen with client.secret_file: both "
			       "must be given");
	rc = tokens_issue(&gateway->tokens, conf, gateway->access->key.public, wanted->name,
			  wanted->minutes, clock_boot_ns(), text, why);
	if (rc < 0)
		return rc;
	body.token = text;
	body.expires_ms = clock_wall_ms() +
			  (wanted->minutes == 0 ? TOKEN_MINUTES : wanted->minutes) * MS_PER_MINUTE;
	reply.body_case = MHA__CLIENT__REPLY__BODY_TOKEN_REPLY;
	reply.token_reply = &body;
	out->size = request_reply(out->id, &reply, &out->reply);
	explicit_bzero(text, sizeof(text));
	log_event(LOG_NOTICE, "gateway.token", "name=%s by=%s a one-time token was made",
		  wanted->name, caller->local ? "local" : caller->name);
	return 0;
}

static int use(struct gateway *gateway, const char *key, const Mha__Client__Enroll *enroll,
	       struct request *out, struct err *why)
{
	const struct token_row *row =
		key != NULL ? tokens_find(&gateway->tokens, key, clock_boot_ns()) : NULL;
	Mha__Client__Reply reply;
	const struct token_node *node;
	struct enroll_message message;
	int rc;

	mha__client__reply__init(&reply);
	if (row == NULL)
		return err_set(why, ERR_PERM, "enroll needs a one-time token");
	rc = tokens_use(&gateway->tokens, row, &gateway->worker->conf, enroll, &message, why);
	if (rc < 0)
		return rc;
	reply.body_case = MHA__CLIENT__REPLY__BODY_ENROLL_REPLY;
	reply.enroll_reply = &message.reply;
	out->size = request_reply(out->id, &reply, &out->reply);
	node = &gateway->tokens.enrolled[gateway->tokens.enrolled_count - 1];
	log_event(
		LOG_NOTICE, "gateway.enrolled",
		"name=%s id=%u kind=%s address=%s peer_port=%u public_key=%s its row belongs into "
		"members (mhactl enrolled)",
		node->name, node->id, node->kind, node->address, node->peer_port, node->public_key);
	return 0;
}

static int list(struct gateway *gateway, struct request *out)
{
	Mha__Client__Reply reply;
	struct enrolled_message message;

	mha__client__reply__init(&reply);
	tokens_enrolled(&gateway->tokens, &message);
	reply.body_case = MHA__CLIENT__REPLY__BODY_ENROLLED;
	reply.enrolled = &message.reply;
	out->size = request_reply(out->id, &reply, &out->reply);
	return 0;
}

int enroll_answer(struct gateway *gateway, const struct caller *caller, const char *key,
		  struct request *out, struct err *why)
{
	Mha__Client__Request *request = out->enroll;
	int rc;

	if (request->call_case == MHA__CLIENT__REQUEST__CALL_ENROLL_TOKEN)
		rc = issue(gateway, caller, request->enroll_token, out, why);
	else if (request->call_case == MHA__CLIENT__REQUEST__CALL_ENROLL)
		rc = use(gateway, key, request->enroll, out, why);
	else
		rc = list(gateway, out);
	out->enroll = NULL;
	out->step = REQUEST_ANSWER;
	mha__client__request__free_unpacked(request, NULL);
	return rc;
}
