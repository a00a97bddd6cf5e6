"""kill -9 of every process of the agents."""

import collections
import random
import signal
import threading
import time

from mhalab.lab import say
from mhalab.system import LabError, signal_all, wait_until

from .world import WORKERS

# Whose death may cost the primary its lease before it is back, and the cluster a change of roles.
MAY_CHANGE = {"master", "consensus", "vip"}
TARGETS = ("master",) + WORKERS


class Appends:
    """Entries for the Raft log, one after the other, as fast as the cluster takes them."""

    def __init__(self, world):
        self.world = world
        self.stopped = threading.Event()
        self.done = self.refused = 0
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.thread.join()
        # As it was, whoever answers now.
        wait_until(lambda: self._say("off"), self.world.deadline, "the last setting", 0.1)

    def _say(self, word):
        for node in self.world.lab.data_nodes:
            try:
                self.world.lab.mhactl(node, "auto-switch", word, "--timeout", "5s")
                return True
            except LabError:
                continue
        return False

    def _run(self):
        turn = 0
        while not self.stopped.is_set():
            turn += 1
            if self._say("on" if turn % 2 else "off"):
                self.done += 1
            else:
                self.refused += 1


def plan(kills, append_kills, seed):
    """(process, node index, during appends) of each kill: every process as often as every other."""
    dice = random.Random(seed)
    rest = kills - append_kills
    rows = [("consensus", index % 3, True) for index in range(append_kills)]
    plain = [(TARGETS[index % len(TARGETS)], index // len(TARGETS) % 3, False)
             for index in range(rest)]
    # Shuffled in rounds, so that nobody is hit again and again before everybody was.
    size = len(TARGETS) * 3
    shuffled = []
    for at in range(0, len(plain), size):
        part = plain[at:at + size]
        dice.shuffle(part)
        shuffled += part
    return shuffled, rows


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


def check_roles(world, before, node, name, was_primary, changes):
    """An epoch may rise only where the primary's lease was in danger."""
    after = world.epoch()
    if after == before:
        return after
    changes.append({"killed": name, "node": node["name"], "primary": was_primary,
                    "epochs": [before, after]})
    if not (was_primary and name in MAY_CHANGE):
        world.fail(f"epoch {before} became {after} after a kill of {name} on {node['name']}, "
                   f"which was {'the primary' if was_primary else 'no primary'}")
    return after


def is_primary(world, node):
    try:
        return world.lab.primary() is node
    except LabError:
        return False


def run(world):
    options = world.options
    append_kills = min(options.append_kills, options.kills)
    plain, during = plan(options.kills, append_kills, options.seed)
    counts, changes = collections.Counter(), []
    times = collections.defaultdict(list)
    epoch = world.epoch()
    appends = {"done": 0, "refused": 0}

    def one(number, name, index):
        nonlocal epoch
        node = world.lab.data_nodes[index]
        world.probe.wait_acknowledged(2, world.deadline, "writes between two kills")
        was_primary = is_primary(world, node)
        epoch = max(epoch, world.epoch())
        times[name].append(kill_one(world, node, name, counts))
        world.probe.wait_acknowledged(2, world.deadline, f"writes after a kill of {name}")
        epoch = check_roles(world, epoch, node, name, was_primary, changes)
        if number % 50 == 0:
            say(f"{number} kills, epoch {epoch}")

    number = 0
    for name, index, _ in plain:
        number += 1
        one(number, name, index)
    if during:
        with Appends(world) as load:
            for name, index, _ in during:
                number += 1
                wanted = load.done + 1
                wait_until(lambda: load.done >= wanted, world.deadline, "appends to go on", 0.002)
                one(number, name, index)
            appends = {"done": load.done, "refused": load.refused}
    return {"kills": dict(counts), "kills_total": sum(counts.values()),
            "during_appends": len(during), "appends": appends, "epoch_changes": len(changes),
            "changes": changes[:40],
            "back_ms": {name: {"median": round(sorted(rows)[len(rows) // 2] * 1000),
                               "max": round(max(rows) * 1000)} for name, rows in times.items()}}
