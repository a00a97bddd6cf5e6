/* What an agent answers to libmha: the first byte says what of the state is known already. */
#include <string.h>

#include "base/check.h"
#include "client/handle.h"
#include "fuzz.h"

static void judge(struct mha *mha, const struct answer *answer)
{
	const struct answer *list[1] = {answer}, *winner;
	const uint64_t floor = mha->floor_epoch;
	struct err why = {0};
	int rc = leader_judge(mha, list, 1, 1000, &winner, &why);

	if (rc < 0) {
		CHECK(winner == NULL && why.text[0] != '\0' && mha->floor_epoch == floor);
		return;
	}
	CHECK(winner == answer && answer->claims && answer->until_ms >= 1000);
	CHECK(answer->leader.epoch >= floor && mha->floor_epoch == answer->leader.epoch);
	CHECK(strcmp(answer->leader.name, answer->node) == 0);
	CHECK(answer->leader.port > 0 && answer->leader.port <= 65535);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct link link = {.endpoint = "tcp://10.0.0.1:7401", .seed = true};
	struct mha mha = {.link_count = 1, .links = {link}};
	Mha__Client__Reply *reply;
	struct answer answer;

	if (size < 1)
		return 0;
	if (bytes[0] & 1)
		memcpy(mha.cluster, "c", 2);
	if (bytes[0] & 2)
		mha.floor_epoch = 5;
	mha.curve = (bytes[0] & 4) != 0;
	reply = mha__client__reply__unpack(NULL, size - 1, bytes + 1);
	if (reply == NULL)
		return 0;
	answer_read(&mha, &link, reply, 500, &answer);
	CHECK(answer.any || answer.why[0] != '\0');
	CHECK(mha.link_count >= 1 && mha.link_count <= LINKS_MAX);
	for (unsigned i = 1; i < mha.link_count; i++)
		CHECK(strncmp(mha.links[i].endpoint, "tcp://", 6) == 0);
	judge(&mha, &answer);
	client_reply_free(reply);
	return 0;
}
