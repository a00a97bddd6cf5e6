"""kill -9 of every process of the agents."""

import collections
import random
import signal
import threading
import time

from mhalab.lab import say
from mhalab.system import LabError, signal_all, wait_until

from .roles import Roles
from .world import WORKERS

TARGETS = ("master",) + WORKERS
RENEWALS = 5  # each needs a majority, and whoever is heard says what it has promised


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


def is_primary(world, node):
    try:
        return world.lab.primary() is node
    except LabError:
        return False


def wait_settled(world, what):
    """
    Until a primary leads and renews its lease again, whoever it is now: what the kill has begun is
    over then, and what comes later is not the kill's.
    """
    seen = {}

    def renewed(node):
        status = world.status(node)
        leads = status.get("phase") == "steady" and status.get("raft_leader") == node["name"]
        count = world.renewals(node)[0] if leads else 0
        if not leads or count < seen.get(node["name"], 0):
            seen.pop(node["name"], None)
            return False
        return count - seen.setdefault(node["name"], count) >= RENEWALS

    wait_until(lambda: any(renewed(node) for node in world.lab.data_nodes), world.deadline, what,
               0.02)


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
        deed = self.roles.deed(name, node, was_primary)
        self.times[name].append(kill_one(world, node, name, self.counts))
        world.probe.wait_acknowledged(2, world.deadline, f"writes after a kill of {name}")
        if was_primary:
            wait_settled(world, f"a lease that is renewed after a kill of {name}")
        self.roles.check(deed)

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
