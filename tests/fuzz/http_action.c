/* The body of what HTTP can change: the first byte tells the action. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "fuzz.h"
#include "gateway/actions.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static const char *const WHICH[][2] = {
		{"POST", "/switchover"}, {"POST", "/failover"}, {"DELETE", "/switchover"}};
	static struct sections sections;
	static struct view view;
	struct http_answer answer = {.status = 0};
	struct action_call call;
	const struct action *action;
	unsigned status;

	if (size == 0)
		return 0;
	view.from = &sections;
	view.primary = 1;
	view.member_count = 2;
	view.members[0].id = 1;
	view.members[1].id = 2;
	memcpy(view.members[0].name, "n1", 3);
	memcpy(view.members[1].name, "n2", 3);
	action = action_find(WHICH[bytes[0] % 3][0], WHICH[bytes[0] % 3][1]);
	CHECK(action != NULL);
	status =
		action_read(action, (const char *)bytes + 1, size - 1, &view, 1000, &call, &answer);
	if (status == 0) {
		CHECK(call.call.kind != CALL_NONE && call.needs >= ROLE_OPERATE);
		CHECK(!call.call.accept_loss || call.needs == ROLE_ADMIN);
	} else {
		CHECK(status >= 400 && status < 500 && answer.status == status);
		CHECK(answer.body != NULL);
	}
	free(answer.body);
	return 0;
}
