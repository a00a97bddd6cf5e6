/*
 * The stand-in agents as a process of their own: prints their three seeds, then takes orders from
 * standard input, one per line, each answered with "ok":
 *   lead N EPOCH
 *   follow N EPOCH LEADER REPLAYED
 *   silent N
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "fake_agents.h"

static bool obey(struct fake_agents *agents, const char *line)
{
	struct fake fake = {.timeline = 1, .streaming = true};
	unsigned n = 0;

	if (sscanf(line, "lead %u %" SCNu64, &n, &fake.epoch) == 2) {
		fake.leads = true;
		fake.flushed = 20480;
	} else if (sscanf(line, "follow %u %" SCNu64 " %u %" SCNu64, &n, &fake.epoch, &fake.record,
			  &fake.replayed) != 4) {
		fake.silent = sscanf(line, "silent %u", &n) == 1;
		if (!fake.silent)
			return false;
	}
	if (n < 1 || n > FAKES_MAX)
		return false;
	fake_agents_set(agents, n, &fake);
	return true;
}

int main(void)
{
	struct fake_agents *agents = fake_agents_open(FAKES_MAX, NULL);
	char line[256];

	printf("%s %s %s\n", fake_agents_seed(agents, 1), fake_agents_seed(agents, 2),
	       fake_agents_seed(agents, 3));
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin) != NULL) {
		puts(obey(agents, line) ? "ok" : "what?");
		fflush(stdout);
	}
	fake_agents_close(agents);
	return 0;
}
