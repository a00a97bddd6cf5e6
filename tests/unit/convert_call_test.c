/* Operators' calls and their ends: through protobuf and back, and what is out of range. */
#include <criterion/criterion.h>
#include <string.h>

#include "wire/convert.h"

static struct call full_call(void)
{
	return (struct call){
		.id = UINT64_MAX,
		.via = 9,
		.kind = CALL_MAINTENANCE,
		.node = 8,
		.on = true,
		.dry_run = true,
		.accept_loss = true,
		.force = true,
		.pin = true,
		.mode = MODE_MAX_PERFORMANCE,
		.quorum_sync = QUORUM_SYNC_KEEP,
		.start_ms = 5,
		.end_ms = 6,
	};
}

Test(convert, a_call_comes_back_as_it_went_and_junk_is_refused)
{
	const struct call call = full_call();
	struct call back = {0};
	Mha__Bus__Call m;
	struct err why = {0};

	call_to_message(&call, &m);
	cr_assert_eq(call_from_message(&m, &back, &why), 0, "%s", why.text);
	cr_expect_eq(back.id, UINT64_MAX);
	cr_expect_eq(back.via, 9);
	cr_expect_eq(back.kind, CALL_MAINTENANCE);
	cr_expect_eq(back.node, 8);
	cr_expect(back.on && back.dry_run && back.accept_loss && back.force && back.pin);
	cr_expect_eq(back.mode, MODE_MAX_PERFORMANCE);
	cr_expect_eq(back.quorum_sync, QUORUM_SYNC_KEEP);
	cr_expect_eq(back.start_ms, 5);
	cr_expect_eq(back.end_ms, 6);
	back.id = 42;
	for (unsigned i = 0; i < 8; i++) {
		call_to_message(&call, &m);
		m.id = i == 0 ? 0 : m.id;
		m.via = i == 1 ? NODES_MAX + 1 : m.via;
		m.kind = i == 2 ? CALL_NONE : i == 3 ? CALL_KIND_COUNT : m.kind;
		m.node = i == 4 ? 256 : m.node;
		m.mode = i == 5 ? MODE_COUNT : m.mode;
		m.quorum_sync = i == 6 ? NODES_MAX : i == 7 ? 256 : m.quorum_sync;
		cr_expect_eq(call_from_message(&m, &back, &why), ERR_INVALID, "%u", i);
	}
	cr_expect_eq(back.id, 42);
}

Test(convert, the_end_of_a_call_comes_back_as_it_went_and_junk_is_refused)
{
	struct call_result result = {.id = 3,
				     .via = 2,
				     .code = CALL_UNCERTAIN,
				     .leader = 1,
				     .node = 9,
				     .operation = UINT64_MAX,
				     .epoch = 7,
				     .loss_bytes = LOSS_NOT_BOUNDED,
				     .blocker_count = BLOCKERS_MAX};
	struct call_result_message message;
	struct call_result back = {0};
	struct err why = {0};

	for (uint8_t i = 0; i < BLOCKERS_MAX; i++)
		result.blockers[i] =
			(struct blocker){(uint8_t)(i + 1), i % (NODES_MAX + 1), UINT64_MAX, i};
	call_result_to_message(&result, &message);
	cr_assert_eq(call_result_from_message(&message.result, &back, &why), 0, "%s", why.text);
	for (uint8_t i = 0; i < BLOCKERS_MAX; i++) {
		cr_expect_eq(back.blockers[i].kind, i + 1);
		cr_expect_eq(back.blockers[i].node, i % (NODES_MAX + 1));
		cr_expect_eq(back.blockers[i].value, UINT64_MAX);
		cr_expect_eq(back.blockers[i].limit, i);
	}
	cr_expect(back.id == 3 && back.via == 2 && back.code == CALL_UNCERTAIN &&
		  back.leader == 1 && back.node == 9 && back.operation == UINT64_MAX &&
		  back.epoch == 7 && back.loss_bytes == LOSS_NOT_BOUNDED);
	back.id = 42;
	message.blockers[0].kind = BLOCK_KIND_COUNT;
	cr_expect_eq(call_result_from_message(&message.result, &back, &why), ERR_INVALID);
	message.blockers[0].kind = BLOCK_NONE;
	cr_expect_eq(call_result_from_message(&message.result, &back, &why), ERR_INVALID);
	message.blockers[0].kind = BLOCK_BUSY;
	message.result.code = CALL_CODE_COUNT;
	cr_expect_eq(call_result_from_message(&message.result, &back, &why), ERR_INVALID);
	message.result.code = CALL_REFUSED;
	message.result.n_blockers = BLOCKERS_MAX + 1;
	cr_expect_eq(call_result_from_message(&message.result, &back, &why), ERR_TOO_BIG);
	cr_expect_eq(back.id, 42);
}
