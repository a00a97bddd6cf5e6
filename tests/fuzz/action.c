/*
 * What may change something over HTTP: the JSON body of each action, Authorization headers, times.
 * The first byte chooses which.
 */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "fuzz.h"
#include "gateway/actions.h"
#include "gateway/auth.h"
#include "gateway_fixture.h"
#include "text.h"

#define OTHERS 2 /* headers and times, before the actions */

static struct world {
	bool ready;
	struct sections sections;
	struct view_setup setup;
	struct view view;
} world;

static void prepare(void)
{
	if (world.ready)
		return;
	fixture_sections(&world.sections, FIXTURE_NOW_NS, FIXTURE_WALL_MS);
	fixture_setup(&world.setup);
	view_build(&world.sections, &world.setup, &world.view);
	world.ready = true;
}

static void take_body(unsigned which, const uint8_t *bytes, size_t size)
{
	const struct action *action = action_at(which);
	struct call_result result = {.code = CALL_REFUSED, .blocker_count = 1};
	struct http_answer answer = {.status = 0};
	struct action_call asked;
	unsigned status;

	CHECK(action != NULL);
	result.blockers[0].kind = BLOCK_LAG;
	status = action_read(action, (const char *)bytes, size, &world.view, FIXTURE_WALL_MS,
			     &asked, &answer);
	if (status == 0 && asked.reload) {
		action_reloaded(&asked, &world.view, (int)size % 2 == 0 ? 0 : ERR_CORRUPT, &answer);
		CHECK(answer.status >= 200 && answer.body != NULL);
	} else if (status == 0) {
		CHECK(asked.call.kind < CALL_KIND_COUNT && asked.needs >= ROLE_OPERATE);
		CHECK(memchr(asked.wanted, '\0', sizeof(asked.wanted)) != NULL);
		CHECK(action_end(&asked, &world.view, &result, &answer));
	} else {
		CHECK(status >= 400 && status < 600);
	}
	free(answer.body);
}

static void take_header(const uint8_t *bytes, size_t size)
{
	char name[ACCESS_NAME_SIZE], password[AUTH_HEADER_MAX];
	char *header = fuzz_text(bytes, size);

	if (auth_parse_basic(header, name, password)) {
		CHECK(memchr(name, '\0', sizeof(name)) != NULL);
		CHECK(memchr(password, '\0', sizeof(password)) != NULL);
	}
	free(header);
}

static void take_time(const uint8_t *bytes, size_t size)
{
	char *text = fuzz_text(bytes, size);
	uint64_t ms = 0;
	bool zone = false;

	(void)action_parse_time(text, &ms, &zone);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	unsigned count = 0, which;

	if (size < 1 || size - 1 > ACTION_BODY_MAX)
		return 0;
	prepare();
	while (action_at(count) != NULL)
		count++;
	which = bytes[0] % (count + OTHERS);
	switch (which) {
	case 0:
		take_header(bytes + 1, size - 1);
		break;
	case 1:
		take_time(bytes + 1, size - 1);
		break;
	default:
		take_body(which - OTHERS, bytes + 1, size - 1);
		break;
	}
	return 0;
}
