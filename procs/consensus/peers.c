/* Other agents: Raft's messages, echoes, surveys, facts and operators' calls. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "consensus.h"
#include "wire/key.h"
#include "wire/zloop.h"

/*
 * A voter that lost its disk has forgotten whom it voted for and what it acknowledged. It helps
 * only those who have nothing to lose either, until the log of a leader has made it whole.
 */
static bool must_abstain(const struct consensus *self, const Mha__Peer__Envelope *envelope)
{
	return self->disk.fresh && !envelope->fresh &&
	       (envelope->body_case == MHA__PEER__ENVELOPE__BODY_REQUEST_VOTE ||
		envelope->body_case == MHA__PEER__ENVELOPE__BODY_TIMEOUT_NOW);
}

static void take_raft(struct consensus *self, node_id from, const Mha__Peer__Envelope *envelope)
{
	struct raft_message message;
	uint64_t sent_ns = 0;
	struct err why = {0};
	int rc = envelope_to_raft(envelope, &message, &sent_ns, &why);

	if (rc == 0) {
		message.server_address = self->address[from];
		rc = raftnode_receive(self->node, from, &message, sent_ns, &why);
	}
	if (rc == ERR_NO_MEMORY)
		log_event(LOG_WARNING, "consensus.memory", "%s", why.text);
	else if (rc == ERR_TOO_BIG)
		peer_drop(self->peers, from, PEER_DROP_TOO_BIG, why.text);
	/* ERR_REFUSED: sensible, but not now. */
	else if (rc < 0 && rc != ERR_REFUSED)
		peer_drop(self->peers, from, PEER_DROP_MALFORMED, why.text);
}

/* Facts of `from` itself, nobody else's. */
static bool take_facts(struct consensus *self, node_id from, const Mha__Bus__Facts *message,
		       struct facts *facts)
{
	struct err why = {0};
	int rc = message == NULL ? err_set(&why, ERR_INVALID, "facts are missing")
				 : facts_from_message(message, facts, &why);

	if (rc < 0) {
		peer_drop(self->peers, from,
			  rc == ERR_TOO_BIG ? PEER_DROP_TOO_BIG : PEER_DROP_MALFORMED, why.text);
		return false;
	}
	if (facts->node != from) {
		peer_drop(self->peers, from, PEER_DROP_IDENTITY, "it sent facts of another node");
		return false;
	}
	return true;
}

static void take_survey(struct consensus *self, node_id from, const Mha__Peer__Survey *survey)
{
	struct agent_event event = {.kind = EV_SURVEY};

	event.survey.from = from;
	event.survey.term = survey->term;
	event.survey.epoch = survey->epoch;
	raftnode_event(self->node, &event);
}

static void take_answer(struct consensus *self, node_id from, const Mha__Peer__Answer *answer)
{
	struct agent_event event = {.kind = EV_ANSWER};

	if (!take_facts(self, from, answer->facts, &event.answer.facts))
		return;
	event.answer.term = answer->term;
	event.answer.epoch = answer->epoch;
	raftnode_event(self->node, &event);
}

/*
 * What a node has to say that has left. Its facts are heard, so that it can be added again; a
 * leader's log is as well, for it may have been, and this node not have heard of it yet.
 */
static bool is_unwelcome(const struct consensus *self, node_id from,
			 const Mha__Peer__Envelope *envelope)
{
	if (!raftnode_has_left(self->node, from))
		return false;
	switch (envelope->body_case) {
	case MHA__PEER__ENVELOPE__BODY_HEARD:
	case MHA__PEER__ENVELOPE__BODY_SURVEY:
	case MHA__PEER__ENVELOPE__BODY_ANSWER:
	case MHA__PEER__ENVELOPE__BODY_CALL:
	case MHA__PEER__ENVELOPE__BODY_REQUEST_VOTE:
		return true;
	default:
		return false;
	}
}

/* For people: nothing is decided by it. */
static void take_clock(struct consensus *self, node_id from, uint64_t wall_ms)
{
	if (wall_ms == 0 || wall_ms > INT64_MAX)
		return;
	self->clocks[from].known = true;
	self->clocks[from].ms = (int64_t)wall_ms - (int64_t)consensus_wall_ms();
}

static void on_envelope(void *arg, node_id from, const Mha__Peer__Envelope *envelope)
{
	struct consensus *self = arg;
	struct agent_event event = {.kind = EV_PEER_FACTS};

	if (!consensus_takes_part(self))
		return;
	if (is_unwelcome(self, from, envelope)) {
		peer_drop(self->peers, from, PEER_DROP_IDENTITY,
			  "is not a member any more: stop its agent, or add it again (mhactl "
			  "member add)");
		return;
	}
	switch (envelope->body_case) {
	case MHA__PEER__ENVELOPE__BODY_HEARD:
		raftnode_heard(self->node, from, envelope->heard->term, envelope->heard->sent_ns);
		break;
	case MHA__PEER__ENVELOPE__BODY_SURVEY:
		take_survey(self, from, envelope->survey);
		break;
	case MHA__PEER__ENVELOPE__BODY_ANSWER:
		take_answer(self, from, envelope->answer);
		break;
	case MHA__PEER__ENVELOPE__BODY_FACTS:
		if (take_facts(self, from, envelope->facts, &event.facts)) {
			take_clock(self, from, envelope->facts->wall_ms);
			raftnode_event(self->node, &event);
		}
		break;
	case MHA__PEER__ENVELOPE__BODY_CALL:
		calls_take_forwarded(self, from, envelope->call);
		break;
	case MHA__PEER__ENVELOPE__BODY_CALL_RESULT:
		calls_take_result(self, from, envelope->call_result);
		break;
	default:
		if (!must_abstain(self, envelope))
			take_raft(self, from, envelope);
		break;
	}
	report_publish(self);
}

/* Best effort: a peer that is not there or is behind gets the next one. */
static int send_to(struct consensus *self, node_id to, Mha__Peer__Envelope *envelope)
{
	struct err why = {0};
	int rc;

	envelope->fresh = self->disk.fresh;
	rc = peer_send(self->peers, to, envelope, &why);

	if (rc < 0 && rc != ERR_BUSY)
		log_event(LOG_WARNING, "peer.send", "%s", why.text);
	return rc;
}

int peers_send_raft(struct consensus *self, const struct raft_message *message, uint64_t sent_ns)
{
	struct err why = {0};

	if (message->server_id == 0 || message->server_id > NODES_MAX)
		return RAFT_NOCONNECTION;
	if (envelope_from_raft(message, sent_ns, self->envelope, &why) < 0) {
		log_event(LOG_WARNING, "peer.send", "%s", why.text);
		return RAFT_NOCONNECTION;
	}
	return send_to(self, (node_id)message->server_id, &self->envelope->envelope) == 0
		       ? 0
		       : RAFT_NOCONNECTION;
}

void peers_send_heard(struct consensus *self, node_id to, uint64_t term, uint64_t sent_ns)
{
	Mha__Peer__Envelope envelope = MHA__PEER__ENVELOPE__INIT;
	Mha__Peer__Heard heard = MHA__PEER__HEARD__INIT;

	heard.term = term;
	heard.sent_ns = sent_ns;
	envelope.body_case = MHA__PEER__ENVELOPE__BODY_HEARD;
	envelope.heard = &heard;
	(void)send_to(self, to, &envelope);
}

void peers_send_survey(struct consensus *self, node_id to, const struct survey_request *survey)
{
	Mha__Peer__Envelope envelope = MHA__PEER__ENVELOPE__INIT;
	Mha__Peer__Survey message = MHA__PEER__SURVEY__INIT;

	message.term = survey->term;
	message.epoch = survey->epoch;
	envelope.body_case = MHA__PEER__ENVELOPE__BODY_SURVEY;
	envelope.survey = &message;
	(void)send_to(self, to, &envelope);
}

void peers_send_answer(struct consensus *self, node_id to, const struct survey_reply *answer)
{
	Mha__Peer__Envelope envelope = MHA__PEER__ENVELOPE__INIT;
	Mha__Peer__Answer message = MHA__PEER__ANSWER__INIT;
	struct facts_message facts;

	facts_to_message(&answer->facts, NULL, &facts);
	message.term = answer->term;
	message.epoch = answer->epoch;
	message.facts = &facts.facts;
	envelope.body_case = MHA__PEER__ENVELOPE__BODY_ANSWER;
	envelope.answer = &message;
	(void)send_to(self, to, &envelope);
}

void peers_send_facts(struct consensus *self, const struct facts *own)
{
	const struct agent *agent = raftnode_agent(self->node);
	struct facts_message facts;

	facts_to_message(own, NULL, &facts);
	facts.facts.wall_ms = consensus_wall_ms();
	for (unsigned i = 0; i < agent->config.node_total; i++) {
		Mha__Peer__Envelope envelope = MHA__PEER__ENVELOPE__INIT;

		if (agent->config.nodes[i].id == agent->config.self)
			continue;
		envelope.body_case = MHA__PEER__ENVELOPE__BODY_FACTS;
		envelope.facts = &facts.facts;
		(void)send_to(self, agent->config.nodes[i].id, &envelope);
	}
}

int peers_send_call(struct consensus *self, node_id to, const struct call *call)
{
	Mha__Peer__Envelope envelope = MHA__PEER__ENVELOPE__INIT;
	Mha__Bus__Call message;

	call_to_message(call, &message);
	envelope.body_case = MHA__PEER__ENVELOPE__BODY_CALL;
	envelope.call = &message;
	return send_to(self, to, &envelope);
}

void peers_send_call_result(struct consensus *self, node_id to, const struct call_result *result)
{
	Mha__Peer__Envelope envelope = MHA__PEER__ENVELOPE__INIT;
	struct call_result_message message;

	call_result_to_message(result, &message);
	envelope.body_case = MHA__PEER__ENVELOPE__BODY_CALL_RESULT;
	envelope.call_result = &message.result;
	(void)send_to(self, to, &envelope);
}

static void take_members(const struct conf *conf, struct peer_config *config)
{
	for (unsigned i = 0; i < conf->member_count; i++) {
		const struct conf_member *from = &conf->members[i];
		struct peer_member *to = &config->members[i];

		to->id = (node_id)from->id;
		to->port = (uint16_t)from->peer_port;
		snprintf(to->name, sizeof(to->name), "%s", from->name);
		snprintf(to->address, sizeof(to->address), "%s", from->address);
		snprintf(to->public_key, sizeof(to->public_key), "%s", from->public_key);
		snprintf(to->next_public_key, sizeof(to->next_public_key), "%s",
			 from->next_public_key);
	}
}

static int take_secret(const struct consensus *self, struct peer_config *config, struct err *why)
{
	char text[KEY_FILE_MAX];
	struct key key;
	int rc;

	if ((rc = worker_secret(self->worker, text, sizeof(text), why)) == 0 &&
	    (rc = key_parse(text, &key, why)) == 0)
		memcpy(config->secret_key, key.secret, sizeof(config->secret_key));
	explicit_bzero(text, sizeof(text));
	explicit_bzero(&key, sizeof(key));
	return rc;
}

/* With `reload` the wire that is there takes the keys, else it is opened. */
static int peers_apply(struct consensus *self, bool reload, struct err *why)
{
	const struct conf *conf = &self->worker->conf;
	struct peer_config config = {
		.self = (node_id)conf_self(conf)->id,
		.cluster_id = conf_cluster_digest(conf),
		.election_ms = (unsigned)conf->election_ms,
		.count = conf->member_count,
	};
	int rc;

	take_members(conf, &config);
	rc = take_secret(self, &config, why);
	if (rc == 0 && reload)
		rc = peer_reload(self->peers, &config, why);
	else if (rc == 0)
		rc = peer_open(&self->peers, zsys_init(), self->worker->loop, &config, on_envelope,
			       self, why);
	explicit_bzero(config.secret_key, sizeof(config.secret_key));
	return rc < 0 ? err_in(why, rc, "keys.secret_file") : 0;
}

int peers_open(struct consensus *self, struct err *why)
{
	return peers_apply(self, false, why);
}

int peers_reload(struct consensus *self, struct err *why)
{
	return peers_apply(self, true, why);
}
