"""kill -9 of every process of the agents."""

import collections
import random
import re
import signal
import threading
import time

from mhalab.lab import say
from mhalab.system import LabError, now_ns, signal_all, wait_until

from .world import WORKERS

# Whose death may cost the primary its lease before it is back, and the cluster a change of roles.
MAY_CHANGE = {"master", "consensus", "vip"}
TARGETS = ("master",) + WORKERS


class Appends:
    """
    Entries for the Raft log, as fast as the cluster takes them: several clients at different nodes,
    so that an entry is under way nearly all the time.
    """

    def __init__(self, world):
        self.world = world
        self.stopped = threading.Event()
        self.lock = threading.Lock()
        self.done = self.refused = self.under_way = 0
        self.threads = [threading.Thread(target=self._run, args=(at,), daemon=True)
                        for at in range(len(world.lab.data_nodes))]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        for thread in self.threads:
            thread.join()
        # As it was, whoever answers now.
        wait_until(lambda: self._say("off", 0), self.world.deadline, "the last setting", 0.1)

    def _say(self, word, at):
        nodes = self.world.lab.data_nodes
        with self.lock:
            self.under_way += 1
        try:
            for node in nodes[at:] + nodes[:at]:
                try:
                    self.world.lab.mhactl(node, "auto-switch", word, "--timeout", "5s")
                    return True
                except LabError:
                    continue
        finally:
            with self.lock:
                self.under_way -= 1
        return False

    def _run(self, at):
        turn = 0
        while not self.stopped.is_set():
            turn += 1
            said = self._say("on" if turn % 2 else "off", at)
            with self.lock:
                self.done += said
                self.refused += not said


def plan(kills, append_kills, seed):
    """
    (process, node index, during appends) of each kill: every process as often as every other, and
    those of `consensus` during appends spread over all of it.
    """
    dice = random.Random(seed)
    rest = kills - append_kills
    plain = [(TARGETS[index % len(TARGETS)], index // len(TARGETS) % 3, False)
             for index in range(rest)]
    # Shuffled in rounds, so that nobody is hit again and again before everybody was.
    size = len(TARGETS) * 3
    shuffled = []
    for at in range(0, len(plain), size):
        part = plain[at:at + size]
        dice.shuffle(part)
        shuffled += part
    for index in range(append_kills):
        at = (index + 1) * kills // append_kills - 1
        shuffled.insert(at, ("consensus", index % 3, True))
    return shuffled


def find(world, node, name):
    return world.lab.master(node) if name == "master" else world.lab.worker(node, name)


def kill_one(world, node, name, counts):
    """One kill, until the process is there again and ready; how long that took."""
    victim = wait_until(lambda: find(world, node, name), world.deadline,
                        f"{name} of {node['name']}", 0.01)
    begun = time.monotonic()
    signal_all([victim], signal.SIGKILL)
    counts[name] += 1
    if name == "master":
        # What systemd does: Restart=always. The workers have gone with it.
        wait_until(lambda: not world.lab.agent_processes(node), world.deadline,
                   f"the agent of {node['name']} to end", 0.01)
        world.lab.start(node)
    wait_until(lambda: (find(world, node, name) or victim).pid != victim.pid, world.deadline,
               f"{name} of {node['name']} to come back", 0.01)
    world.wait_ready(node, f"{node['name']} to be ready after a kill of its {name}")
    return time.monotonic() - begun


class Roles:
    """
    The epoch may rise only where the primary's lease was in danger: after a kill of its master, of
    its `consensus` or of its `vip`. A database that did not answer, on a machine that had next to
    no time for ordinary processes (5 ms of work took twenty times as long), counts by itself: the
    rule that acted was the right one, and the kill was not what it acted on.
    """

    STARVED_MS = 100
    # Who is told of a database by its own monitor may be told wrongly after a kill of that.
    REPORTERS = {"dbmon", "dbctl"}

    def __init__(self, world):
        self.world = world
        self.first = self.epoch = world.epoch()
        self.changes = []
        self._mark()

    def _mark(self):
        self.since_ns = now_ns()
        self.sizes = self.world.log_sizes()

    def _rules(self):
        """Which rules began a survey since the last look: what the leaders acted on."""
        found = []
        for node in self.world.lab.nodes:
            text = self.world.log_from(node, self.sizes[node["name"]])
            found += re.findall(r"agent\.rule rule=(\S+) phase=survey ", text)
        return found

    def check(self, node, name, was_primary, may_change=frozenset(MAY_CHANGE)):
        """Judge what was done to `name`; the newest epoch."""
        after = self.world.epoch()
        if after == self.epoch:
            self._mark()
            return after
        rules, stall = self._rules(), self.world.witness.longest_ms(self.since_ns)
        by_kill = was_primary and name in may_change
        starved = not by_kill and stall >= self.STARVED_MS and bool(rules) and \
            set(rules) <= {"steady/hung"} and not (was_primary and name in self.REPORTERS)
        row = {"killed": name, "node": node["name"], "primary": was_primary,
               "epochs": [self.epoch, after], "rules": rules, "took_ms": stall,
               "by": "kill" if by_kill else "machine" if starved else "nothing"}
        self.changes.append(row)
        say(f"the epoch rose: {row}")
        if not by_kill and not starved:
            self.world.fail(
                f"epoch {self.epoch} became {after} after {name} of {node['name']} was hit, "
                f"which was {'the primary' if was_primary else 'no primary'}, by the rules {rules}")
        self.epoch = after
        self._mark()
        return after

    def row(self):
        by = collections.Counter(change["by"] for change in self.changes)
        return {"epochs": [self.first, self.epoch], "epoch_changes": len(self.changes),
                "epoch_changes_by": dict(by), "changes": self.changes[:60]}


def is_primary(world, node):
    try:
        return world.lab.primary() is node
    except LabError:
        return False


def during_appends(world, kill, sums):
    """One kill while entries are appended; what the appending clients saw is added to `sums`."""
    with Appends(world) as load:
        wait_until(lambda: load.done >= 2, world.deadline, "appends to go on", 0.002)
        kill(lambda: load.under_way)
        begun = load.done
        wait_until(lambda: load.done > begun, world.deadline, "appends after a kill", 0.01)
    sums["done"] += load.done
    sums["refused"] += load.refused


class Tally:
    """What was killed so far, how long it took to come back, and where the epoch rose."""

    def __init__(self, world):
        self.world = world
        self.counts = collections.Counter()
        self.primary = 0  # kills on the node that was the primary
        self.under_way = 0  # kills while at least one entry was being appended
        self.times = collections.defaultdict(list)
        self.appends = collections.Counter()
        self.roles = Roles(world)

    def one(self, name, node, look=None):
        world = self.world
        was_primary = is_primary(world, node)
        self.primary += was_primary
        if look is not None and look() > 0:
            self.under_way += 1
        self.times[name].append(kill_one(world, node, name, self.counts))
        world.probe.wait_acknowledged(2, world.deadline, f"writes after a kill of {name}")
        self.roles.check(node, name, was_primary)

    def row(self):
        return {"kills": dict(self.counts), "kills_total": sum(self.counts.values()),
                "on_the_primary": self.primary, "during_appends": self.under_way,
                "appends": dict(self.appends), **self.roles.row(),
                "back_ms": {name: {"median": round(sorted(rows)[len(rows) // 2] * 1000),
                                   "max": round(max(rows) * 1000)}
                            for name, rows in self.times.items()}}


def run(world):
    options = world.options
    rows = plan(options.kills, min(options.append_kills, options.kills), options.seed)
    tally = Tally(world)
    world.partial = tally.row  # what was done counts when a later kill ends the part
    begun = time.monotonic()
    for number, (name, index, append) in enumerate(rows, 1):
        node = world.lab.data_nodes[index]
        if append:
            during_appends(world, lambda look: tally.one("consensus", node, look), tally.appends)
        else:
            tally.one(name, node)
        if number % 50 == 0:
            pace = (time.monotonic() - begun) / number
            say(f"{number} kills, {pace:.2f} s each, epoch {tally.roles.epoch}, "
                f"{world.probe.acknowledged()} writes acknowledged")
    return {**tally.row(), "seconds_per_kill": round((time.monotonic() - begun) / len(rows), 2)}
