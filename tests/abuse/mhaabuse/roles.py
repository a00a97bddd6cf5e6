"""Whether a rise of the epoch is within the rules: what was done, what the record says, what was
measured.

Each epoch has a decision on record (`mhactl history --json`) that names its cause. It is one of
  kill     what follows from the death of that process of the primary, and was decided after it
  machine  a cause that is nobody's death but a time that ran out, and the test's own meter saw the
           machine stand still that long, at that time
  nothing  everything else: a failure
A cause that no death of an agent's process and no stall can have (a server that ended, an
operator's word) is a failure whatever was measured.
"""

import collections
import datetime
import json
import time

from mhalab.lab import say
from mhalab.system import LabError, now_ns, wait_until

T_MS = 1000  # the election timeout, and the patience of the database's probes

# The primary's agent was not heard in time, or heard and not able to lead again in time.
LEASE = frozenset({"node_lost", "leader_unable", "resumed", "cold_start"})
# After a kill of which process of the primary which causes follow from it. The others go on
# without it: their death may cost nobody a role.
AFTER_KILL = {"master": LEASE, "consensus": LEASE}

# Which instrument has to have seen how long a stall (ms), and for how long before the survey (ms)
# the cause must have lasted. An answer of the database takes some ms of the processor's time: on a
# machine that needs T/4 for 5 ms it takes more than T. Whom nobody heard for T stood still for half
# of it: the rest is what was under way before.
Measure = collections.namedtuple("Measure", "instrument at_least lasted")
SLOW = Measure("work", T_MS // 4, T_MS)
SLOW_NEW = Measure("work", T_MS // 4, 3 * T_MS)
STALLED = Measure("disk", T_MS, 3 * T_MS)
SILENT = Measure("wake", T_MS // 2, T_MS)
BY_FAULT = {"no_answer": SLOW, "no_new_connections": SLOW_NEW, "disk_stalled": STALLED}
BY_CAUSE = {"node_lost": SILENT, "resumed": SILENT, "leader_unable": SILENT}
# A hung database is called down when its agent looks at it before it leads again.
DATABASE = {"database_hung", "database_down"}

# What was done to whom: when, in ns of CLOCK_MONOTONIC, and which causes may follow.
Deed = collections.namedtuple("Deed", "name node was_primary at_ns causes")


def measure_of(decision):
    """How the cause of a decision can be measured; None: it cannot."""
    if decision["cause"] in DATABASE:
        return BY_FAULT.get(decision["fault"])
    return BY_CAUSE.get(decision["cause"])


def moments(decision, clocks_ns):
    """(since, until): when that lasted which led to the decision, in ns of CLOCK_MONOTONIC."""
    at = datetime.datetime.fromisoformat(decision["at"].replace("Z", "+00:00"))
    decided = round(at.timestamp() * 1000) * 1_000_000 - clocks_ns
    measure = measure_of(decision)
    lasted = measure.lasted * 1_000_000 if measure else 0
    asked = decided - (decision["survey_us"] + decision["detect_us"]) * 1000
    return asked - lasted, decided


def judge(decision, deed, clocks_ns, longest):
    """
    The row of one decision. `clocks_ns`: by how much CLOCK_REALTIME is ahead of CLOCK_MONOTONIC;
    `longest(since, until)` is the meter's word.
    """
    since, until = moments(decision, clocks_ns)
    stall = longest(since, until)
    measure = measure_of(decision)
    row = {"epoch": decision["epoch"], "cause": decision["cause"], "fault": decision["fault"],
           "from": decision["from"], "to": decision["to"], "killed": deed.name,
           "node": deed.node, "primary": deed.was_primary, "stall_ms": stall}
    if deed.was_primary and decision["from"] == deed.node and decision["cause"] in deed.causes \
            and until >= deed.at_ns:
        row["by"] = "kill"
    elif measure is not None and stall[measure.instrument] >= measure.at_least:
        row["by"] = "machine"
    else:
        row["by"] = "nothing"
    return row


def unexplained(decisions, epoch, primary, after):
    """What the record leaves out between `epoch`, whose primary was `primary`, and `after`."""
    for decision in decisions:
        if decision["from"] != primary:
            return f"epoch {decision['epoch']} was taken from {decision['from']}, " \
                   f"and the one before was {primary}'s"
        epoch, primary = decision["epoch"], decision["to"]
    return "" if epoch == after else f"no decision of epoch {after} is on record"


class Roles:
    """The epochs of a cluster, judged one by one."""

    def __init__(self, world, after=None):
        self.world = world
        self.after = AFTER_KILL if after is None else after
        decisions = self._decisions(world.epoch())
        self.first = self.epoch = decisions[-1]["epoch"]
        self.primary = decisions[-1]["to"]
        self.changes = []

    def deed(self, name, node, was_primary):
        """To be made just before it is done."""
        return Deed(name, node["name"], was_primary, now_ns(), self.after.get(name, frozenset()))

    def _decisions(self, least):
        """What is on record of promotions, oldest first, once it has come to epoch `least`."""
        def look():
            for node in self.world.lab.nodes:
                try:
                    rows = json.loads(self.world.lab.mhactl(node, "history", "--json"))["decisions"]
                except (LabError, ValueError, KeyError):
                    continue
                rows = sorted((row for row in rows if not row["hold"]),
                              key=lambda row: row["epoch"])
                if rows and rows[-1]["epoch"] >= least:
                    return rows
            return None
        return wait_until(look, self.world.deadline, f"the decision of epoch {least}", 0.1)

    def check(self, deed):
        """Judge what has happened since the last look; the newest epoch."""
        after = self.world.epoch()
        if after == self.epoch:
            return after
        decisions = [row for row in self._decisions(after) if row["epoch"] > self.epoch]
        after = decisions[-1]["epoch"]
        done = now_ns()
        wait_until(lambda: self.world.meter.has_passed(done), self.world.deadline,
                   "the meter to have seen it", 0.05)
        clocks_ns = time.time_ns() - now_ns()
        gap = unexplained(decisions, self.epoch, self.primary, after)
        if gap:
            self.world.fail(f"{gap}; after {deed.name} of {deed.node} was hit")
        for decision in decisions:
            row = judge(decision, deed, clocks_ns, self.world.meter.longest)
            self.changes.append(row)
            say(f"the epoch rose: {row}")
            if row["by"] == "nothing":
                self.world.fail(
                    f"epoch {row['epoch']} went from {row['from']} to {row['to']} by "
                    f"{row['cause']} ({row['fault'] or 'nothing wrong with the database'}) after "
                    f"{deed.name} of {deed.node} was hit, "
                    f"{'the primary' if deed.was_primary else 'no primary'}; the machine stood "
                    f"still for {row['stall_ms']} ms")
        self.epoch, self.primary = after, decisions[-1]["to"]
        return after

    def row(self):
        by = collections.Counter(change["by"] for change in self.changes)
        causes = collections.Counter(change["cause"] for change in self.changes)
        return {"epochs": [self.first, self.epoch], "epoch_changes": len(self.changes),
                "epoch_changes_by": dict(by), "epoch_changes_causes": dict(causes),
                "other_primary": sum(row["from"] != row["to"] for row in self.changes),
                "changes": self.changes[:100]}
