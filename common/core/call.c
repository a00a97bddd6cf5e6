#include "core/call.h"

#include <stddef.h>

#include "base/macros.h"
#include "core/cluster.h"

static const char *name_of(const char *const names[], unsigned count, unsigned value)
{
	return value < count && names[value] != NULL ? names[value] : "unknown";
}

const char *call_kind_name(unsigned kind)
{
	static const char *const names[CALL_KIND_COUNT] = {
		[CALL_NONE] = "none",
		[CALL_SWITCHOVER] = "switchover",
		[CALL_FAILOVER] = "failover",
		[CALL_CANCEL] = "cancel",
		[CALL_MODE] = "mode",
		[CALL_AUTO_FAILOVER] = "auto_failover",
		[CALL_AUTO_SWITCH] = "auto_primary_switch",
		[CALL_PAUSE] = "pause",
		[CALL_RESUME] = "resume",
		[CALL_MAINTENANCE] = "maintenance",
		[CALL_MEMBER_ADD] = "member_add",
		[CALL_MEMBER_REMOVE] = "member_remove",
		[CALL_RESTART] = "restart",
		[CALL_REINIT] = "reinit",
	};

	return name_of(names, CALL_KIND_COUNT, kind);
}

const char *call_code_name(unsigned code)
{
	static const char *const names[CALL_CODE_COUNT] = {
		[CALL_ACCEPTED] = "accepted",     [CALL_POSSIBLE] = "possible",
		[CALL_REFUSED] = "refused",       [CALL_UNCERTAIN] = "uncertain",
		[CALL_NOT_LEADER] = "not_leader",
	};

	return name_of(names, CALL_CODE_COUNT, code);
}

const char *protection_mode_name(unsigned mode)
{
	static const char *const names[MODE_COUNT] = {
		[MODE_MAX_PROTECTION] = "max_protection",
		[MODE_MAX_AVAILABILITY] = "max_availability",
		[MODE_MAX_PERFORMANCE] = "max_performance",
	};

	return name_of(names, MODE_COUNT, mode);
}

const char *hold_reason_name(unsigned reason)
{
	static const char *const names[HOLD_COUNT] = {
		[HOLD_NONE] = "none",
		[HOLD_ANSWERS] = "answers_missing",
		[HOLD_NO_CANDIDATE] = "no_candidate",
		[HOLD_AUTO_FAILOVER] = "auto_failover_off",
		[HOLD_PAUSED] = "paused",
		[HOLD_BUDGET] = "failover_budget_spent",
		[HOLD_LAG] = "lag_beyond_limit",
		[HOLD_LAG_UNKNOWN] = "lag_unknown",
	};

	return name_of(names, HOLD_COUNT, reason);
}

const char *operation_kind_name(unsigned kind)
{
	static const char *const names[OPERATION_KIND_COUNT] = {
		[OPERATION_NONE] = "none",
		[OPERATION_SWITCHOVER] = "switchover",
		[OPERATION_RESTART] = "restart",
		[OPERATION_RESTART_STANDBY] = "restart_standby",
	};

	return name_of(names, OPERATION_KIND_COUNT, kind);
}

const char *operation_state_name(unsigned state)
{
	static const char *const names[OPERATION_STATE_COUNT] = {
		[OPERATION_SCHEDULED] = "scheduled", [OPERATION_RUNNING] = "running",
		[OPERATION_DONE] = "done",           [OPERATION_ROLLED_BACK] = "rolled_back",
		[OPERATION_FAILED] = "failed",       [OPERATION_CANCELLED] = "cancelled",
		[OPERATION_EXPIRED] = "expired",
	};

	return name_of(names, OPERATION_STATE_COUNT, state);
}

/* clang-format off */
static const struct {
	const char *name;
	const char *text;
	const char *remedy;
} blockers[BLOCK_KIND_COUNT] = {
	[BLOCK_NONE]               = {"none", "nothing stands against it", ""},
	[BLOCK_NO_QUORUM]          = {"no_quorum", "no leader is heard by a majority of the voters", "bring agents back until a majority of the members is up and connected"},
	[BLOCK_BUSY]               = {"busy", "another call is being carried out", "ask again in a moment"},
	[BLOCK_NOT_SERVING]        = {"not_serving", "no primary serves, so there is nothing to switch over", "see `mhactl why`; `mhactl failover --to NODE` promotes a standby"},
	[BLOCK_PRIMARY_SERVES]     = {"primary_serves", "the primary serves: a failover would only do harm", "use `mhactl switchover`, which loses nothing"},
	[BLOCK_PAUSED]             = {"paused", "the cluster is paused", "`mhactl resume` first"},
	[BLOCK_NOT_PAUSED]         = {"not_paused", "the cluster is not paused", "nothing needs to be done"},
	[BLOCK_OPERATION]          = {"operation_running", "another operation is scheduled or under way", "wait for its end, or `mhactl cancel`"},
	[BLOCK_NO_OPERATION]       = {"no_operation", "no operation is scheduled or under way", "nothing needs to be done"},
	[BLOCK_TOO_LATE]           = {"too_late", "the operation has begun to stop the primary and cannot be cancelled any more", "wait for its end"},
	[BLOCK_NO_SUCH_NODE]       = {"no_such_node", "no member has this name", "`mhactl list` shows the members"},
	[BLOCK_WITNESS]            = {"witness", "the node is a witness and has no database", "choose a data node"},
	[BLOCK_ALREADY_PRIMARY]    = {"already_primary", "the node is the primary already", "nothing needs to be done"},
	[BLOCK_IS_PRIMARY]         = {"is_primary", "the node is the primary", "switch over to another node first"},
	[BLOCK_NOFAILOVER]         = {"nofailover", "the node may never be primary (priority 0)", "choose another node, or give it a priority"},
	[BLOCK_MAINTENANCE]        = {"maintenance", "the node is in maintenance", "`mhactl maintenance off NODE` first"},
	[BLOCK_NOT_HEARD]          = {"not_heard", "the node's agent is not heard", "start its agent, or check the network to it"},
	[BLOCK_NOT_STANDBY]        = {"not_standby", "the node's database is no running standby", "see its state and log; the agent brings it back if it can"},
	[BLOCK_REBUILDING]         = {"rebuilding", "the node's data are being rebuilt", "wait until the rebuild has finished"},
	[BLOCK_EXCLUDED]           = {"excluded", "the node's agent stops, or promotions failed there a moment ago", "see its log; try again later or choose another node"},
	[BLOCK_FAULT]              = {"fault", "something is wrong with the node's database", "see the fault's own advice in `mhactl status`"},
	[BLOCK_NOT_STREAMING]      = {"not_streaming", "the node does not stream from the primary", "check the network and the replication role between the two"},
	[BLOCK_LAG]                = {"lag", "the node is too far behind", "wait until it has caught up"},
	[BLOCK_UNSETTLED]          = {"unsettled", "the last promotion is not settled: too few standbys have its WAL", "wait until the standbys have caught up"},
	[BLOCK_ANSWERS]            = {"answers", "too few of the synchronous standbys on record could answer the survey", "bring the missing standbys back first"},
	[BLOCK_NO_CANDIDATE]       = {"no_candidate", "no standby may and can become primary", "name one with --to to see what stands against it"},
	[BLOCK_NO_POSITION]        = {"no_position", "the node has not answered the survey with a position", "start its database's agent, or choose a node that has answered"},
	[BLOCK_LOSS]               = {"loss", "acknowledged commits may be lost", "bring the missing nodes back, or accept the loss with --accept-loss"},
	[BLOCK_PINNED]             = {"pinned", "the protection mode is pinned", "a pinned mode is never changed: it was chosen so on purpose"},
	[BLOCK_QUORUM_RANGE]       = {"quorum_range", "there are not so many standbys", "choose a smaller number, or `majority`"},
	[BLOCK_COMMITS_WOULD_WAIT] = {"commits_would_wait", "too few standbys are connected: commits would wait", "bring standbys back first, or add --force"},
	[BLOCK_WINDOW]             = {"window", "the window is over, or ends before it begins", "choose a window in the future"},
	[BLOCK_DEADLINE]           = {"deadline", "a phase took too long", "see `mhactl why`; the primary is writable again"},
	[BLOCK_INVALID]            = {"invalid", "the call makes no sense", "check its arguments"},
	[BLOCK_MEMBER_CHANGE]      = {"member_change", "the node is joining or leaving, and one change goes on at a time", "wait until `mhactl list` shows its end; a leave is taken back with `mhactl member add NODE`, a join with `mhactl member remove NODE`"},
	[BLOCK_NOT_CONFIGURED]     = {"not_configured", "the primary's configuration does not name the node", "add it to `members` in the file of every node (with `founding: off`), and reload the agents (SIGHUP)"},
	[BLOCK_ALREADY_MEMBER]     = {"already_member", "the node is a member already", "nothing needs to be done"},
	[BLOCK_ROSTER]             = {"roster", "the node's agent runs with another list of members than the primary's", "give every node the same `members`, and reload the agents (SIGHUP)"},
	[BLOCK_IDENTITY]           = {"identity", "the id or the name is, or was, another node's", "give the node an id and a name of its own; --force if the node that had the id is gone for good"},
	[BLOCK_FOREIGN_DATA]       = {"foreign_data", "the node has a data directory that is not known to be a copy of this cluster's", "move it away; or add --force, and it is replaced by a clone"},
	[BLOCK_QUORUM]             = {"quorum", "too few of the voters would be connected then", "bring agents back first: a majority of those that are to vote must be heard"},
	[BLOCK_LAST_STANDBY]       = {"last_standby", "commits would be on the primary alone", "add another data node first, or add --force"},
};
/* clang-format on */

const char *blocker_name(unsigned kind)
{
	return kind < COUNT_OF(blockers) && blockers[kind].name != NULL ? blockers[kind].name
									: "unknown";
}

const char *blocker_text(unsigned kind)
{
	return kind < COUNT_OF(blockers) && blockers[kind].text != NULL ? blockers[kind].text : "";
}

const char *blocker_remedy(unsigned kind)
{
	return kind < COUNT_OF(blockers) && blockers[kind].remedy != NULL ? blockers[kind].remedy
									  : "";
}
