/* What another agent may send: an envelope, and whatever is in it. */
#include "wire/envelope.h"
#include "base/check.h"
#include "fuzz.h"
#include "wire/convert.h"

static void take_facts(const Mha__Bus__Facts *message)
{
	struct facts facts;
	struct facts_message back;
	struct err why = {0};

	if (message == NULL || facts_from_message(message, &facts, &why) < 0)
		return;
	/* What was accepted can be said again. */
	facts_to_message(&facts, NULL, &back);
	CHECK(facts_from_message(&back.facts, &facts, &why) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	Mha__Peer__Envelope *envelope = NULL;
	struct raft_message message;
	uint64_t sent_ns;
	struct err why = {0};

	if (envelope_decode(bytes, size, &envelope, &why) < 0) {
		CHECK(envelope == NULL && why.text[0] != '\0');
		return 0;
	}
	if (envelope->body_case == MHA__PEER__ENVELOPE__BODY_FACTS)
		take_facts(envelope->facts);
	else if (envelope->body_case == MHA__PEER__ENVELOPE__BODY_ANSWER)
		take_facts(envelope->answer->facts);
	if (envelope_to_raft(envelope, &message, &sent_ns, &why) == 0)
		envelope_raft_free(&message);
	envelope_free(envelope);
	return 0;
}
