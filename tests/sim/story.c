/*
 * Stories: one course of events each, told step by step, with what must be true after each step.
 *
 * The arbiter trap: two data nodes and a witness, max_availability. The standby is lost, the
 * primary degrades and commits alone; the primary is lost; the standby returns, with a majority and
 * without the commits. It must not be promoted. Then either an operator accepts the loss, or the
 * primary returns with everything.
 */
#include <stdio.h>
#include <string.h>

#include "sim.h"

enum step {
	STEP_COMES_UP,
	STEP_DEGRADES,
	STEP_COMMITS_ALONE,
	STEP_BLOCKED,
	STEP_ASKED_WITHOUT_LOSS,
	STEP_ASKED_WITH_LOSS,
	STEP_COMES_BACK,
};

static const char *const names[STORY_COUNT] = {
	[STORY_ARBITER_ACCEPT] = "arbiter_accept",
	[STORY_ARBITER_RETURN] = "arbiter_return",
	[STORY_CUTS] = "cuts",
};

enum story story_named(const char *name)
{
	for (unsigned story = STORY_NONE + 1; story < STORY_COUNT; story++)
		if (strcmp(names[story], name) == 0)
			return (enum story)story;
	return STORY_NONE;
}

static void tell(const char *what)
{
	printf("%8.3f s  %s\n", (double)world.now / 1e9, what);
}

static void turn_page(enum step step, const char *what)
{
	world.story_step = step;
	world.story_at = world.now;
	tell(what);
}

static void story_later(void)
{
	event_add(world.now + 20 * MS, (struct event){.what = AT_STORY});
}

void story_begin(void)
{
	world.story_step = STEP_COMES_UP;
	story_later();
}

static struct host *the_primary(void)
{
	return &world.hosts[world.truth.primary];
}

static struct host *the_standby(void)
{
	return &world.hosts[world.truth.primary == 1 ? 2 : 1];
}

static bool commits_alone(void)
{
	return world.truth.record.need == 0 && world.truth.opened;
}

/* Whom the leader says it waits for, and that the log says so too. */
static bool blocked_for_the_primary(const struct agent *agent)
{
	const struct cluster *cluster = &agent->cluster;
	const struct decision *last = &cluster->decisions[cluster->decision_count - 1];
	const node_set primary = node_bit(cluster->primary);

	return agent->phase == PHASE_BLOCKED && agent->hold == HOLD_ANSWERS &&
	       agent->verdict.missing == primary && agent->verdict.missing_count == 1 &&
	       last->hold == HOLD_ANSWERS && last->missing == primary;
}

static void check_trap(void)
{
	const struct host *leader = leading_host();

	if (world.now < world.story_at + 30 * SEC)
		return;
	if (leader == NULL) {
		fail("nobody leads, though standby and witness are up");
		return;
	}
	if (!blocked_for_the_primary(raftnode_agent(leader->raftnode))) {
		fail("n%u is in phase %s (%s) and waits for %x", leader->id,
		     leader_phase_name(raftnode_agent(leader->raftnode)->phase),
		     hold_reason_name(raftnode_agent(leader->raftnode)->hold),
		     raftnode_agent(leader->raftnode)->verdict.missing);
		return;
	}
	printf("%8.3f s  blocked for 30 s: %s; waits for n%u\n", (double)world.now / 1e9,
	       hold_reason_name(HOLD_ANSWERS), world.truth.primary);
	if (world.options.story == STORY_ARBITER_RETURN) {
		host_boot(the_primary());
		turn_page(STEP_COMES_BACK, "the old primary returns");
		return;
	}
	(void)operator_ask(&world.hosts[leader->id],
			   (struct call){.kind = CALL_FAILOVER, .node = the_standby()->id});
	turn_page(STEP_ASKED_WITHOUT_LOSS, "an operator asks for the standby's promotion");
}

static void ask_with_loss(void)
{
	struct host *leader = leading_host();

	if (totals.answers[CALL_REFUSED] == 0 || leader == NULL)
		return;
	(void)operator_ask(leader, (struct call){.kind = CALL_FAILOVER,
						 .node = the_standby()->id,
						 .accept_loss = true});
	turn_page(STEP_ASKED_WITH_LOSS, "refused: commits may be lost. He accepts the loss");
}

static void check_accepted(void)
{
	const struct decision *decision;

	if (totals.answers[CALL_ACCEPTED] == 0 || !world.truth.opened)
		return;
	decision = &world.truth.decisions[world.truth.decision_count - 1];
	printf("%8.3f s  n%u is promoted; at risk %lu bytes, lost %lu commits\n",
	       (double)world.now / 1e9, world.truth.primary, (unsigned long)decision->at_risk,
	       (unsigned long)totals.lost);
	if (!decision->loss_accepted || decision->at_risk == 0 || totals.lost == 0)
		fail("the decision does not tell of the loss");
	host_boot(the_standby());
	turn_page(STEP_COMES_BACK, "the old primary returns");
}

static bool healthy(void)
{
	char what[256];

	return check_healthy(what, sizeof(what));
}

static bool story_over(void)
{
	const bool returned = world.options.story == STORY_ARBITER_RETURN;

	if (!healthy() || world.now < world.story_at + 5 * SEC)
		return false;
	if (returned && (totals.lost != 0 ||
			 world.truth.decisions[world.truth.decision_count - 1].loss_accepted))
		fail("commits were lost");
	printf("%8.3f s  n%u serves, n%u follows: %lu commits acknowledged, %lu of them lost\n",
	       (double)world.now / 1e9, world.truth.primary, the_standby()->id,
	       (unsigned long)(world.acknowledged + totals.lost), (unsigned long)totals.lost);
	world.over = true;
	return true;
}

void story_turn(void)
{
	if (world.now > 300 * SEC) {
		fail("the story does not come to its end (step %u)", world.story_step);
		return;
	}
	story_later();
	if (world.options.story == STORY_CUTS) {
		cuts_turn();
		return;
	}
	switch (world.story_step) {
	case STEP_COMES_UP:
		if (!healthy() || world.now < 10 * SEC)
			return;
		host_down(the_standby());
		turn_page(STEP_DEGRADES, "two data nodes and a witness serve; the standby is lost");
		return;
	case STEP_DEGRADES:
		if (commits_alone())
			turn_page(STEP_COMMITS_ALONE, "degraded on record: no standby is in S");
		return;
	case STEP_COMMITS_ALONE:
		if (world.now < world.story_at + 5 * SEC || world.last_ack < world.story_at)
			return;
		host_down(the_primary());
		host_boot(the_standby());
		turn_page(STEP_BLOCKED,
			  "after commits of its own the primary is lost; the standby returns");
		return;
	case STEP_BLOCKED:
		check_trap();
		return;
	case STEP_ASKED_WITHOUT_LOSS:
		ask_with_loss();
		return;
	case STEP_ASKED_WITH_LOSS:
		check_accepted();
		return;
	default:
		(void)story_over();
		return;
	}
}
