"""Descriptors, memory and processes run out, in each worker and in a whole agent.

The limits are set from outside (prlimit) on running processes at what they use now, so that the
next allocation fails; then something is done that needs one. The limits are lifted afterwards:
what has ended was started anew by its master, what has not ended goes on.
"""

import os
import re
import resource
import signal
import time

from mhalab.lab import say
from mhalab.system import LabError, in_netns, signal_all, wait_until

from .kills import MAY_CHANGE, find, is_primary
from .world import WORKERS

LIMITS = {
    "descriptors": resource.RLIMIT_NOFILE,
    "memory": resource.RLIMIT_AS,
    "processes": resource.RLIMIT_NPROC,
}
HOLD_S = 4
# What a person can act on: the system's own words, or the master's about a worker.
WORDS = re.compile(r"Too many open files|[Nn]o file descriptors|out of memory|Cannot allocate memory|"
                   r"Resource temporarily unavailable|worker\.ended|worker\.failed|bytes|"
                   r"not enough memory|Not enough space|No buffer space")


def used(process, kind):
    """What it uses now of that kind, so that there is nothing left."""
    if kind == "descriptors":
        return max(int(name) for name in os.listdir(f"/proc/{process.pid}/fd")) + 1
    if kind == "memory":
        with open(f"/proc/{process.pid}/statm", encoding="ascii") as handle:
            return int(handle.read().split()[0]) * resource.getpagesize()
    return 1


def tighten(process, kind):
    """Its limit is what it has; the limits that it had, None when it is gone."""
    try:
        before = resource.prlimit(process.pid, LIMITS[kind])
        resource.prlimit(process.pid, LIMITS[kind], (used(process, kind), before[1]))
        return before
    except (OSError, ProcessLookupError, ValueError):
        return None


def loosen(process, kind, before):
    try:
        if before is not None:
            resource.prlimit(process.pid, LIMITS[kind], before)
    except (OSError, ProcessLookupError):
        pass


def stimulate(world, node, name):
    """Something for which the process needs what it has not: others come and go."""
    lab = world.lab
    if name == "gateway":
        for _ in range(20):
            in_netns(node["ns"], lambda: _ask(world, node))
    elif name == "consensus":
        other = next(other for other in lab.nodes if other is not node)
        signal_all([lab.worker(other, "consensus")], signal.SIGKILL)
    elif name == "dbmon":
        backend = lab.backend(node, "mha_monitor")
        if backend is not None:
            signal_all([backend], signal.SIGTERM)
    elif name == "dbctl" and not is_primary(world, node):
        postmaster = lab.postmaster(node)
        if postmaster is not None:
            signal_all([postmaster], signal.SIGKILL)
    elif name == "agent":
        victim = lab.worker(node, "gateway")
        if victim is not None:
            signal_all([victim], signal.SIGKILL)


def _ask(world, node):
    try:
        world.lab.mhactl(node, "status", "--json", "--timeout", "1s")
    except LabError:
        pass


def victims(world, node, name):
    if name == "agent":
        return world.lab.agent_processes(node)
    return [process for process in (find(world, node, name),) if process is not None]


def one(world, node, name, kind):
    """One exhaustion; its row."""
    primary = is_primary(world, node)
    epoch = world.epoch()
    offset = len(world.log(node))
    hit = victims(world, node, name)
    before = [(process, tighten(process, kind)) for process in hit]
    begun = time.monotonic()
    try:
        stimulate(world, node, name)
        wait_until(lambda: time.monotonic() - begun > HOLD_S, world.deadline, "some time", 0.1)
    finally:
        for process, limits in before:
            loosen(process, kind, limits)
    ended = [process.program for process in hit
             if process.program not in ("", "mhad") and _gone(world, node, process)]
    if not world.lab.agent_processes(node):
        world.lab.start(node)  # what systemd does
        ended.append("mhad")
    lifted = time.monotonic()
    world.wait_ready(node, f"{node['name']} to be ready after {name} ran out of {kind}")
    world.probe.wait_acknowledged(5, world.deadline, f"writes after {name} ran out of {kind}")
    after = world.epoch()
    said = [line for line in world.log(node)[offset:].splitlines() if WORDS.search(line)]
    row = {"node": node["name"], "primary": primary, "who": name, "what": kind, "ended": ended,
           "back_ms": round((time.monotonic() - lifted) * 1000), "epochs": [epoch, after],
           "words": said[0][:300] if said else ""}
    say(str(row))
    if ended and not said:
        world.fail(f"{name} of {node['name']} ended without {kind} and nothing says why")
    if after != epoch and not (primary and name in MAY_CHANGE | {"agent", "dbmon", "dbctl"}):
        world.fail(f"epoch {epoch} became {after} when {name} of {node['name']} had no {kind}")
    return row


def _gone(world, node, process):
    name = process.program.removeprefix("mha-")
    now = find(world, node, name)
    return now is None or now.pid != process.pid


def run(world):
    lab, rows = world.lab, []
    for primary in (False, True):
        for name in WORKERS + ("agent",):
            for kind in LIMITS:
                if kind == "processes" and name not in ("dbctl", "agent"):
                    continue  # no other worker may make one: the sandbox refuses it
                node = next(node for node in lab.data_nodes
                            if is_primary(world, node) is primary)
                rows.append(one(world, node, name, kind))
        wait_until(lambda: all(world.ready(node) for node in lab.nodes), world.deadline,
                   "all agents to be ready", 0.2)
    return {"exhaustions": rows, "ended": sum(len(row["ended"]) for row in rows)}
